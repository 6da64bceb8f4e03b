#include "common/wire.h"
#include "tests/lib/test.h"

#include <math.h>

#define D1 "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define D2 "sha256:2222222222222222222222222222222222222222222222222222222222222222"

#define HELD "{\"epoch\":1,\"lease\":\"L1\",\"state\":\"finished\"}"
#define FACTS                                                                                      \
    "{\"builders\":{\"buildah\":\"1.28.2\"},\"cpus\":4,\"emulated\":[\"linux/arm/v7\"],"           \
    "\"kernel\":\"6.1.0\",\"kinds\":[\"rootfs\",\"dockerfile\"],\"labels\":[\"slow\"],"            \
    "\"machine\":\"x86_64\",\"memory\":1024,\"page_size\":4096,\"platforms\":[\"linux/amd64\"],"   \
    "\"sandbox\":[\"userns\"],\"slots\":2}"
#define JOB                                                                                        \
    "{\"args\":{\"A\":\"\",\"K\":\"V\"},\"bases\":[{\"digest\":\"" D1                              \
    "\",\"reference\":\"debian\",\"repository\":\"docker.io/library/debian\"}],"                   \
    "\"builder\":\"debian\",\"cmd\":[\"/bin/sh\"],\"compression\":\"zstd\",\"context\":{\"id\":"   \
    "\"" D2 "\"},\"dockerfile\":\"a/Dockerfile\",\"emulated\":true,\"entrypoint\":[],"             \
    "\"env\":{\"PATH\":\"/bin\"},\"epoch\":1700000000,\"image\":\"minideb\",\"key\":\"" D1         \
    "\",\"kind\":\"dockerfile\",\"labels\":{\"l\":\"v\"},\"media_type\":\"docker\","               \
    "\"no_cache\":true,\"platform\":\"linux/arm/v7\",\"previous\":{\"content\":\"" D1              \
    "\",\"manifest\":\"" D2 "\"},\"repository\":\"127.0.0.1:5000/osf/minideb\",\"script\":"        \
    "\"./mkimage\",\"target\":\"t\",\"test\":\"true\",\"timeout_ms\":3600000,\"track\":"           \
    "\"minideb@master:bookworm\",\"user\":\"u\",\"variant\":\"bookworm\",\"workdir\":\"/w\"}"
#define LEASE      "{\"epoch\":3,\"job\":" JOB ",\"lease\":\"L_1-a\",\"secret\":\"s3cret\"}"
#define DESCRIPTOR "{\"digest\":\"" D1 "\",\"media_type\":\"a/b+gzip\",\"size\":12345678901}"
#define PACKAGE                                                                                    \
    "{\"architecture\":\"armhf\",\"manager\":\"dpkg\",\"name\":\"apt\",\"version\":\"2.6.1\"}"
#define RESULT                                                                                     \
    "{\"build_root\":[" PACKAGE "],\"config_digest\":\"" D1 "\",\"content_digest\":\"" D2          \
    "\",\"epoch\":1,\"kind\":\"recipe\",\"layers\":[" DESCRIPTOR "," DESCRIPTOR                    \
    "],\"log_size\":77,\"manifest\":" DESCRIPTOR ",\"outcome\":\"failed\",\"packages\":[" PACKAGE  \
    "],\"reason\":\"exit status 1\",\"reused_previous\":false,\"timings\":{"                       \
    "\"context\":1,\"layer\":2,\"pull\":3,\"push\":4,\"recipe\":5,\"test\":6},\"version\":1}"

/* Canonical texts with every member there. */
static const struct sample {
    const struct wire_type *(*type)(void);
    const char *text;
} samples[] = {
    {wire_held_type, HELD},
    {wire_facts_type, FACTS},
    {wire_session_request_type, "{\"agent\":\"0.1.0\",\"boot\":\"b00t\",\"facts\":" FACTS
                                ",\"held\":[" HELD "],\"version\":1}"},
    {wire_session_response_type, "{\"board\":\"pi-1\",\"cancel\":[\"L3\"],\"poll_ms\":30000,"
                                 "\"session\":\"S1\",\"term_ms\":90000}"},
    {wire_poll_request_type,
     "{\"disk_free\":5,\"draining\":false,\"free\":1,\"held\":[" HELD
     "],\"load\":0.5,\"memory_free\":6,\"seq\":12,\"session\":\"S1\",\"temperature\":55.25,"
     "\"version\":1}"},
    {wire_poll_response_type, "{\"cancel\":[\"L3\"],\"leases\":[" LEASE "," LEASE "],\"seq\":12}"},
    {wire_job_type, JOB},
    {wire_result_type, RESULT},
    {wire_log_answer_type, "{\"durable\":3,\"received\":4}"},
    {wire_error_type, "{\"error\":\"no\"}"},
};
#define N_SAMPLES (sizeof(samples) / sizeof(*samples))

static void assert_round_trip(const struct wire_type *t, const char *text)
{
    struct err err = ERR_INIT;
    cleanup_free void *value = xcalloc(1, t->size);
    cleanup_free void *copy = xcalloc(1, t->size);
    if (wire_decode(t, text, strlen(text), value, &err) < 0)
        fail_msg("%s", err.text);
    wire_copy(t, copy, value);
    cleanup_free char *again = wire_encode(t, value);
    wire_done(t, value);
    cleanup_free char *copied = wire_encode(t, copy);
    wire_done(t, copy);
    assert_string_equal(again, text);
    assert_string_equal(copied, text);
}

static void test_round_trip(void **state)
{
    for (size_t i = 0; i < N_SAMPLES; i++)
        assert_round_trip(samples[i].type(), samples[i].text);
}

static void assert_refused(const struct wire_type *t, json_t *root, const char *named)
{
    struct err err = ERR_INIT;
    cleanup_free void *value = xcalloc(1, t->size);
    int r = wire_from_json(t, root, value, &err);
    if (r == 0)
        fail_msg("%s: accepted without or with a bad %s", t->name, named);
    assert_int_equal(r, -EINVAL);
    if (!strstr(err.text, named))
        fail_msg("%s does not name %s", err.text, named);
}

static json_t *mistyped(const json_t *value)
{
    if (json_is_string(value) || json_is_boolean(value))
        return json_integer(7);
    if (json_is_object(value))
        return json_array();
    return json_string("x");
}

/* Objects with free keys; a job's labels are one too, a board's are a list. */
static bool is_map(const char *name)
{
    return str_eq(name, "args") || str_eq(name, "env") || str_eq(name, "builders");
}

static void break_every_member(const struct wire_type *t, json_t *root, json_t *at)
{
    cleanup_strvec strvec keys = {0};
    const char *key;
    json_t *value;
    json_object_foreach (at, key, value)
        strvec_add(&keys, key);
    VEC_FOREACH (&keys, name) {
        json_t *old = json_incref(json_object_get(at, *name));
        bool optional = str_eq(*name, "log_size") || str_eq(*name, "durable");
        json_object_del(at, *name);
        if (!optional)
            assert_refused(t, root, *name);
        json_object_set_new(at, *name, mistyped(old));
        assert_refused(t, root, *name);
        json_object_set(at, *name, old);
        bool map = is_map(*name) || (str_eq(*name, "labels") && json_is_object(old));
        if (json_is_object(old) && !map)
            break_every_member(t, root, old);
        json_t *item = json_array_get(old, 0);
        if (json_is_object(item))
            break_every_member(t, root, item);
        json_decref(old);
    }
}

static void test_every_field_missing_or_mistyped(void **state)
{
    for (size_t i = 0; i < N_SAMPLES; i++) {
        json_t *root = json_loads(samples[i].text, 0, NULL);
        assert_non_null(root);
        break_every_member(samples[i].type(), root, root);
        json_decref(root);
    }
}

static void test_truncated_anywhere(void **state)
{
    for (size_t i = 0; i < N_SAMPLES; i++) {
        const struct wire_type *t = samples[i].type();
        cleanup_free void *value = xcalloc(1, t->size);
        for (size_t n = 0; n < strlen(samples[i].text); n++)
            assert_int_equal(wire_decode(t, samples[i].text, n, value, NULL), -EINVAL);
    }
}

static void test_unknown_fields_are_ignored(void **state)
{
    struct wire_log_answer a;
    const char *text = "{\"received\":9,\"durable\":1,\"later\":{\"x\":[1]}}";
    assert_int_equal(wire_log_answer_decode(text, strlen(text), &a, NULL), 0);
    assert_int_equal(a.received, 9);
}

static void test_nulls(void **state)
{
    struct wire_result r = {.epoch = 1, .outcome = WIRE_LOST};
    cleanup_free char *text = wire_result_encode(&r);
    assert_round_trip(wire_result_type(), text);
    assert_non_null(strstr(text, "\"manifest\":null"));
    assert_non_null(strstr(text, "\"build_root\":null"));
    struct wire_poll_request p = {.session = (char *)"S", .temperature = NAN};
    cleanup_free char *poll = wire_poll_request_encode(&p);
    assert_non_null(strstr(poll, "\"temperature\":null"));
    assert_round_trip(wire_poll_request_type(), poll);
}

static void test_rules_between_fields(void **state)
{
    struct err err = ERR_INIT;
    struct wire_result r = {.epoch = 1, .outcome = WIRE_FAILED}, out;
    cleanup_free char *text = wire_result_encode(&r);
    assert_int_equal(wire_result_decode(text, strlen(text), &out, &err), -EINVAL);
    assert_non_null(strstr(err.text, "needs a kind"));
    r.outcome = WIRE_SUCCEEDED;
    cleanup_free char *bare = wire_result_encode(&r);
    assert_int_equal(wire_result_decode(bare, strlen(bare), &out, &err), -EINVAL);
}

/* One member of the job replaced by a JSON text. */
static void assert_job_refused(const char *name, const char *json)
{
    json_t *root = json_loads(JOB, 0, NULL);
    json_object_set_new(root, name, json_loads(json, JSON_DECODE_ANY, NULL));
    assert_refused(wire_job_type(), root, name);
    json_decref(root);
}

static void test_hostile_values(void **state)
{
    assert_job_refused("key", "\"sha256:11\"");
    assert_job_refused("platform", "\"linux/arm/v9\"");
    assert_job_refused("dockerfile", "\"../../etc/shadow\"");
    assert_job_refused("dockerfile", "\"a/../b\"");
    assert_job_refused("dockerfile", "\"/etc/shadow\"");
    assert_job_refused("repository", "\"a b\"");
    assert_job_refused("repository", "\"a\\r\\nHost: b\"");
    assert_job_refused("epoch", "-1");
    assert_job_refused("epoch", "9223372036854775807");
    assert_job_refused("epoch", "1.5");
    assert_job_refused("timeout_ms", "0");
    assert_job_refused("args", "{\"A=B\":\"\"}");
    assert_job_refused("env", "{\"\":\"\"}");
    assert_job_refused("cmd", "[\"a\",null]");
    assert_job_refused("kind", "\"shell\"");
}

static void test_lease_ids(void **state)
{
    static const char *const bad[] = {"", ".", "..", "a/b", "a b", "a:b", "a\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_false(wire_lease_id_valid(bad[i]));
    char longest[66];
    memset(longest, 'a', 65);
    longest[65] = '\0';
    assert_false(wire_lease_id_valid(longest));
    assert_true(wire_lease_id_valid(longest + 1));
}

static void assert_text_refused(const struct wire_type *t, const char *text, size_t n, int code)
{
    cleanup_free void *value = xcalloc(1, t->size);
    struct err err = ERR_INIT;
    assert_int_equal(wire_decode(t, text, n, value, &err), code);
    assert_false(err.retryable);
}

static void test_hostile_sizes(void **state)
{
    cleanup_strbuf struct strbuf b = {0};
    for (int i = 0; i < 100000; i++)
        strbuf_addc(&b, '[');
    assert_text_refused(wire_result_type(), b.s, b.n, -EINVAL); /* too deep */
    assert_text_refused(wire_held_type(), b.s, b.n, -E2BIG);

    strbuf_done(&b);
    strbuf_add(&b, "{\"seq\":1,\"leases\":[],\"cancel\":[\"L\"");
    for (int i = 0; i < WIRE_MAX_HELD; i++)
        strbuf_add(&b, ",\"L\"");
    strbuf_add(&b, "]}");
    assert_text_refused(wire_poll_response_type(), b.s, b.n, -EINVAL);

    const char *twice = "{\"received\":1,\"received\":2,\"durable\":1}";
    assert_text_refused(wire_log_answer_type(), twice, strlen(twice), -EINVAL);
    const char *nul = "{\"error\":\"a\\u0000b\"}";
    assert_text_refused(wire_error_type(), nul, strlen(nul), -EINVAL);
    const char *version = "{\"version\":2}";
    assert_text_refused(wire_result_type(), version, strlen(version), -EINVAL);
}

static void test_equal_jobs_have_equal_texts(void **state)
{
    struct wire_job job;
    assert_int_equal(wire_job_decode(JOB, strlen(JOB), &job, NULL), 0);
    assert_string_equal(wire_map_get(&job.args, "K"), "V");
    assert_null(wire_map_get(&job.args, "k"));
    wire_map_set(&job.args, "B", "2");
    wire_map_set(&job.args, "Z", "3");
    wire_map_set(&job.args, "Z", "4");
    assert_int_equal(job.args.n, 4);
    assert_string_equal(job.args.items[1].key, "B");
    assert_string_equal(job.args.items[3].value, "4");
    wire_job_done(&job);
}

static void test_parts_and_texts_in_their_place(void **state)
{
    struct wire_lease lease;
    assert_int_equal(wire_lease_decode(LEASE, strlen(LEASE), &lease, NULL), 0);
    assert_null(lease.job_text);
    cleanup_free char *secret = wire_encode_member(wire_lease_type(), &lease, "secret");
    cleanup_free char *job = wire_encode_member(wire_lease_type(), &lease, "job");
    assert_string_equal(secret, "\"s3cret\"");
    assert_string_equal(job, JOB);
    lease.job_text = "{}";
    cleanup_free char *text = wire_lease_encode(&lease);
    assert_string_equal(text, "{\"epoch\":3,\"job\":{},\"lease\":\"L_1-a\",\"secret\":\"s3cret\"}");
    wire_lease_done(&lease);
}

static void test_reals(void **state)
{
    static const struct {
        double value;
        const char *text;
    } reals[] = {{0, "0.0"},      {-1, "-1.0"},  {0.1, "0.10000000000000001"},
                 {1e22, "1e+22"}, {NAN, "null"}, {INFINITY, "null"}};
    for (size_t i = 0; i < sizeof(reals) / sizeof(*reals); i++) {
        struct wire_poll_request req = {.load = reals[i].value};
        cleanup_free char *text = wire_encode_member(wire_poll_request_type(), &req, "load");
        assert_string_equal(text, reals[i].text);
    }
}

static void test_text_that_is_not_utf8(void **state)
{
    struct wire_error e = {.error = (char *)"caf\xe9"};
    cleanup_free char *text = wire_error_encode(&e);
    assert_string_equal(text, "{\"error\":\"caf?\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_every_field_missing_or_mistyped),
        cmocka_unit_test(test_truncated_anywhere),
        cmocka_unit_test(test_unknown_fields_are_ignored),
        cmocka_unit_test(test_nulls),
        cmocka_unit_test(test_rules_between_fields),
        cmocka_unit_test(test_hostile_values),
        cmocka_unit_test(test_lease_ids),
        cmocka_unit_test(test_hostile_sizes),
        cmocka_unit_test(test_equal_jobs_have_equal_texts),
        cmocka_unit_test(test_parts_and_texts_in_their_place),
        cmocka_unit_test(test_reals),
        cmocka_unit_test(test_text_that_is_not_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
