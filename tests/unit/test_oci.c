#include "common/oci.h"

#include "tests/lib/test.h"

#define D1 "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define D2 "sha256:2222222222222222222222222222222222222222222222222222222222222222"

/* ---- references ---- */

static void check_reference(const char *text, const char *host, const char *path, const char *tag,
                            const char *digest)
{
    cleanup_oci_reference struct oci_reference r = {0};
    struct err err = ERR_INIT;
    if (oci_reference_parse(text, &r, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(r.host, host);
    assert_string_equal(r.path, path);
    assert_true(str_eq(r.tag, tag));
    assert_true(str_eq(r.digest, digest));
}

static void test_references(void **state)
{
    check_reference("debian", "docker.io", "library/debian", "latest", NULL);
    check_reference("debian:bookworm", "docker.io", "library/debian", "bookworm", NULL);
    check_reference("bitnami/minideb", "docker.io", "bitnami/minideb", "latest", NULL);
    check_reference("index.docker.io/debian", "docker.io", "library/debian", "latest", NULL);
    check_reference("docker.io/library/debian:bookworm@" D1, "docker.io", "library/debian",
                    "bookworm", D1);
    check_reference("debian@" D1, "docker.io", "library/debian", NULL, D1);
    check_reference("127.0.0.1:5000/osf/minideb", "127.0.0.1:5000", "osf/minideb", "latest", NULL);
    check_reference("localhost/x:1", "localhost", "x", "1", NULL);
    check_reference("[::1]:5000/a/b:c", "[::1]:5000", "a/b", "c", NULL);
    check_reference("reg.example.org/a-b/c__d/e.f:V1_x.y-z", "reg.example.org", "a-b/c__d/e.f",
                    "V1_x.y-z", NULL);
    check_reference("localhost:5000", "docker.io", "library/localhost", "5000", NULL);
}

static void test_bad_references(void **state)
{
    static const char *const bad[] = {"",
                                      "Debian",
                                      "a//b",
                                      "/a",
                                      "a/",
                                      "a:",
                                      "a:b/c:",
                                      "a@sha256:12",
                                      "a@",
                                      "-a",
                                      "a-",
                                      "a..b",
                                      "a___b",
                                      "host:x/a",
                                      "a b",
                                      "a:-x",
                                      "a:b:c",
                                      "a\n",
                                      "h.x/../etc",
                                      "[::1/a",
                                      "a@" D1 "@" D1,
                                      "host:123456/a",
                                      "$x"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct oci_reference r = {0};
        struct err err = ERR_INIT;
        if (oci_reference_parse(bad[i], &r, &err) != -EINVAL)
            fail_msg("\"%s\" is taken", bad[i]);
        assert_null(r.host);
    }
    cleanup_free char *deep = xcalloc(1, 400);
    memset(deep, 'a', 300);
    struct oci_reference r = {0};
    assert_int_equal(oci_reference_parse(deep, &r, NULL), -EINVAL);
}

static void test_reference_format(void **state)
{
    cleanup_oci_reference struct oci_reference r = {0};
    assert_int_equal(oci_reference_parse("debian:12@" D1, &r, NULL), 0);
    cleanup_free char *all = oci_reference_format(&r), *repository = oci_reference_repository(&r);
    assert_string_equal(all, "docker.io/library/debian:12@" D1);
    assert_string_equal(repository, "docker.io/library/debian");
}

static void test_repositories(void **state)
{
    cleanup_oci_reference struct oci_reference r = {0};
    assert_int_equal(oci_repository_parse("127.0.0.1:5000/osf/minideb", &r, NULL), 0);
    assert_string_equal(r.host, "127.0.0.1:5000");
    assert_string_equal(r.path, "osf/minideb");
    assert_null(r.tag);
    assert_int_equal(oci_repository_parse("osf/minideb:1", &r, NULL), -EINVAL);
}

/* ---- documents ---- */

#define LAYER(d) "{\"mediaType\":\"" OCI_TYPE_LAYER_GZ "\",\"digest\":\"" d "\",\"size\":7}"
#define CONFIG   "{\"mediaType\":\"" OCI_TYPE_CONFIG "\",\"digest\":\"" D1 "\",\"size\":3}"
#define MANIFEST(type)                                                                             \
    "{\"schemaVersion\":2,\"mediaType\":\"" type "\",\"config\":" CONFIG                           \
    ",\"layers\":[" LAYER(D2) "],\"unknown\":1}"

static void test_manifest(void **state)
{
    const char *text = MANIFEST(OCI_TYPE_MANIFEST);
    cleanup_oci_manifest struct oci_manifest m = {0};
    assert_int_equal(oci_manifest_parse(text, strlen(text), NULL, &m, NULL), 0);
    assert_string_equal(m.media_type, OCI_TYPE_MANIFEST);
    assert_string_equal(m.config.digest, D1);
    assert_int_equal(m.layers.n, 1);
    assert_int_equal(m.layers.items[0].size, 7);
    cleanup_free char *dump = oci_manifest_dump(&m);
    assert_string_equal(
        dump, "{\"config\":{\"digest\":\"" D1 "\",\"mediaType\":\"" OCI_TYPE_CONFIG
              "\",\"size\":3},\"layers\":[{\"digest\":\"" D2 "\",\"mediaType\":\"" OCI_TYPE_LAYER_GZ
              "\",\"size\":7}],\"mediaType\":\"" OCI_TYPE_MANIFEST "\",\"schemaVersion\":2}");
}

static void refuse_manifest(const char *text, const char *type)
{
    struct oci_manifest m = {0};
    struct err err = ERR_INIT;
    if (oci_manifest_parse(text, strlen(text), type, &m, &err) != -EINVAL)
        fail_msg("taken: %s", text);
    assert_null(m.media_type);
}

static void test_bad_manifests(void **state)
{
    refuse_manifest(MANIFEST(OCI_TYPE_MANIFEST), DOCKER_TYPE_MANIFEST);
    refuse_manifest(MANIFEST(OCI_TYPE_INDEX), NULL);
    refuse_manifest(MANIFEST("application/octet-stream"), NULL);
    refuse_manifest("{\"schemaVersion\":1}", NULL);
    refuse_manifest("{}", NULL);
    refuse_manifest("[]", NULL);
    refuse_manifest("{\"schemaVersion\":2,\"layers\":[]}", NULL);
    refuse_manifest(
        "{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[" LAYER("sha256:7") "]}", NULL);
    refuse_manifest("{\"schemaVersion\":2,\"config\":" CONFIG
                    ",\"layers\":[{\"mediaType\":\"x\",\"digest\":"
                    "\"" D1 "\",\"size\":-1}]}",
                    NULL);
}

static void test_document_type(void **state)
{
    static const struct {
        const char *text, *content_type, *expected;
    } rows[] = {
        {"{\"schemaVersion\":2,\"manifests\":[]}", NULL, OCI_TYPE_INDEX},
        {"{\"schemaVersion\":2,\"layers\":[]}", "application/json", OCI_TYPE_MANIFEST},
        {"{\"schemaVersion\":2}", DOCKER_TYPE_LIST "; charset=utf-8", DOCKER_TYPE_LIST},
        {"{\"schemaVersion\":2,\"mediaType\":\"" DOCKER_TYPE_MANIFEST "\"}", "text/plain",
         DOCKER_TYPE_MANIFEST},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        cleanup_free char *type = NULL;
        assert_int_equal(oci_document_type(rows[i].text, strlen(rows[i].text), rows[i].content_type,
                                           &type, NULL),
                         0);
        assert_string_equal(type, rows[i].expected);
    }
}

static void add_child(struct oci_index *index, const char *digest, enum platform p)
{
    struct oci_descriptor d = {.media_type = xstrdup(OCI_TYPE_MANIFEST), .size = 5};
    strcpy(d.digest, digest);
    oci_descriptor_set_platform(&d, p);
    vec_push(&index->manifests, d);
}

static void test_index_round(void **state)
{
    cleanup_oci_index struct oci_index a = {.media_type = xstrdup(OCI_TYPE_INDEX)}, b = {0};
    add_child(&a, D1, PLATFORM_ARM_V7);
    add_child(&a, D2, PLATFORM_ARM64);
    a.manifests.items[0].annotations = json_pack("{s:s}", "k", "v");
    a.annotations = json_pack("{s:s}", "org.opencontainers.image.version", "1");
    cleanup_free char *text = oci_index_dump(&a);
    assert_int_equal(oci_index_parse(text, strlen(text), OCI_TYPE_INDEX, &b, NULL), 0);
    cleanup_free char *again = oci_index_dump(&b);
    assert_string_equal(text, again);
    assert_non_null(strstr(text, "\"variant\":\"v7\""));
    assert_string_equal(oci_index_find(&b, PLATFORM_ARM64)->digest, D2);
    assert_string_equal(oci_index_find(&b, PLATFORM_ARM_V7)->digest, D1);
    assert_null(oci_index_find(&b, PLATFORM_AMD64));
    str_replace(&b.media_type, DOCKER_TYPE_LIST);
    cleanup_free char *docker = oci_index_dump(&b);
    assert_null(strstr(docker, "image.version"));
}

static void test_attestations_are_passed_over(void **state)
{
    cleanup_oci_index struct oci_index index = {.media_type = xstrdup(OCI_TYPE_INDEX)};
    add_child(&index, D1, PLATFORM_AMD64);
    add_child(&index, D2, PLATFORM_AMD64);
    index.manifests.items[0].annotations =
        json_pack("{s:s}", "vnd.docker.reference.type", "attestation-manifest");
    assert_string_equal(oci_index_find(&index, PLATFORM_AMD64)->digest, D2);
}

/* An index within an index, whatever platform it claims, is not an image that a board could pull. */
static void test_inner_indexes_are_passed_over(void **state)
{
    cleanup_oci_index struct oci_index index = {.media_type = xstrdup(OCI_TYPE_INDEX)};
    add_child(&index, D1, PLATFORM_AMD64);
    add_child(&index, D2, PLATFORM_AMD64);
    str_replace(&index.manifests.items[0].media_type, OCI_TYPE_INDEX);
    assert_string_equal(oci_index_find(&index, PLATFORM_AMD64)->digest, D2);
}

static void test_config(void **state)
{
    const char *text = "{\"os\":\"linux\",\"architecture\":\"arm\",\"rootfs\":{\"type\":\"layers\","
                       "\"diff_ids\":[\"" D1 "\"]}}";
    cleanup_oci_config struct oci_config c = {0};
    struct err err = ERR_INIT;
    assert_int_equal(oci_config_parse(text, strlen(text), &c, NULL), 0);
    assert_string_equal(c.diff_ids.items[0], D1);
    assert_int_equal(oci_config_check_platform(&c, PLATFORM_ARM_V7, &err), 0);
    assert_int_equal(oci_config_check_platform(&c, PLATFORM_ARM64, &err), -EINVAL);
    assert_string_equal(err.text, "the config is for linux/arm, wanted is linux/arm64");
    struct oci_config none = {0};
    assert_int_equal(oci_config_parse("{}", 2, &none, &err), -EINVAL);
    assert_int_equal(err.code, -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_bad_references),
        cmocka_unit_test(test_reference_format),
        cmocka_unit_test(test_repositories),
        cmocka_unit_test(test_manifest),
        cmocka_unit_test(test_bad_manifests),
        cmocka_unit_test(test_document_type),
        cmocka_unit_test(test_index_round),
        cmocka_unit_test(test_attestations_are_passed_over),
        cmocka_unit_test(test_inner_indexes_are_passed_over),
        cmocka_unit_test(test_config),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
