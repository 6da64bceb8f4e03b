/* Patterns, escapes, queries, ranges and host names. */
#include "tests/lib/test.h"

#include "common/mem.h"
#include "daemon/http_route.h"

static void check_match(const char *pattern, const char *path, bool expected)
{
    struct http_params params;
    bool matched = http_route_match(pattern, path, &params);
    if (matched != expected)
        fail_msg("%s against %s: %d", pattern, path, matched);
    http_params_done(&params);
}

static void test_match(void **state)
{
    check_match("/", "/", true);
    check_match("/", "/a", false);
    check_match("/v1/jobs", "/v1/jobs", true);
    check_match("/v1/jobs", "/v1/jobs/", false);
    check_match("/v1/jobs", "v1/jobs", false);
    check_match("/v1/jobs/{id}", "/v1/jobs/", false);
    check_match("/v1/jobs/{id}", "/v1/jobs/a%2fb", true);
    check_match("/v1/jobs/{id}", "/v1/jobs/a/b", false);
    check_match("/v1/jobs/{id}/log", "/v1/jobs/7/log", true);
    check_match("/v1/jobs/{id}/log", "/v1/jobs/%00/log", false);
    check_match("/v1/jobs/{id}/log", "/v1/jobs/%4/log", false);
    check_match("/v2/{rest...}", "/v2/a/b/c", true);
    check_match("/v2/{rest...}", "/v2/", false);
    check_match("/v2/", "/v2/", true);
}

static void test_params(void **state)
{
    struct http_params params;
    assert_true(http_route_match("/x/{a}/{rest...}", "/x/1%3a2/b/c%20d", &params));
    assert_string_equal(http_params_get(&params, "a"), "1:2");
    assert_string_equal(http_params_get(&params, "rest"), "b/c d");
    assert_null(http_params_get(&params, "b"));
    http_params_done(&params);
}

static void test_query(void **state)
{
    cleanup_free char *a = http_query_get("a=1&b=x%20y+z&c&d=", "a"),
                      *b = http_query_get("a=1&b=x%20y+z&c&d=", "b"),
                      *c = http_query_get("a=1&b=x%20y+z&c&d=", "c"),
                      *d = http_query_get("a=1&b=x%20y+z&c&d=", "d"),
                      *e = http_query_get("a=1&b=x%20y+z&c&d=", "e"),
                      *f = http_query_get("f=%zz", "f"), *g = http_query_get("", "a");
    assert_string_equal(a, "1");
    assert_string_equal(b, "x y z");
    assert_string_equal(c, "");
    assert_string_equal(d, "");
    assert_null(e);
    assert_null(f);
    assert_null(g);
}

static void check_unknown(const char *query, const char *known, const char *expected)
{
    cleanup_free char *name = http_query_unknown(query, known);
    if (expected)
        assert_string_equal(name, expected);
    else
        assert_null(name);
}

static void test_query_unknown(void **state)
{
    check_unknown("", NULL, NULL);
    check_unknown("&", NULL, NULL);
    check_unknown("limit=1&before=2", "limit before", NULL);
    check_unknown("before=2&&limit", "limit before", NULL);
    check_unknown("li%6dit=1", "limit before", NULL);
    check_unknown("a=1", NULL, "a");
    check_unknown("limit=1&limi=2&x", "limit before", "limi");
    check_unknown("limits=2", "limit before", "limits");
    check_unknown("limit before=2", "limit before", "limit before");
    check_unknown("=2", "limit", "");
    check_unknown("%zz=2", "limit", "%zz");
}

static void check_range(const char *header, enum http_range expected, uint64_t from, uint64_t n)
{
    uint64_t got_from = 0, got_n = 0;
    assert_int_equal(http_range_parse(header, 10, &got_from, &got_n), expected);
    assert_int_equal(got_from, from);
    assert_int_equal(got_n, n);
}

static void test_range(void **state)
{
    check_range(NULL, HTTP_RANGE_NONE, 0, 0);
    check_range("bytes=0-0", HTTP_RANGE_PART, 0, 1);
    check_range("bytes=3-99", HTTP_RANGE_PART, 3, 7);
    check_range("bytes=3-", HTTP_RANGE_PART, 3, 7);
    check_range("bytes=-4", HTTP_RANGE_PART, 6, 4);
    check_range("bytes=-40", HTTP_RANGE_PART, 0, 10);
    check_range("bytes=-0", HTTP_RANGE_UNSATISFIABLE, 0, 0);
    check_range("bytes=10-", HTTP_RANGE_UNSATISFIABLE, 0, 0);
    check_range("bytes=4-2", HTTP_RANGE_NONE, 0, 0);
    check_range("bytes=0-1,3-4", HTTP_RANGE_NONE, 0, 0);
    check_range("bytes=-", HTTP_RANGE_NONE, 0, 0);
    check_range("bytes=99999999999999999999-", HTTP_RANGE_NONE, 0, 0);
    check_range("bytes=0-18446744073709551615", HTTP_RANGE_PART, 0, 10);
}

static void test_host(void **state)
{
    static const char *const names[] = {"farm.example", NULL};
    assert_true(http_host_allowed("localhost", NULL));
    assert_true(http_host_allowed("LOCALHOST:8080", NULL));
    assert_true(http_host_allowed("127.0.0.1:80", NULL));
    assert_true(http_host_allowed("127.9.9.9", NULL));
    assert_true(http_host_allowed("[::1]:80", NULL));
    assert_true(http_host_allowed("[::1]", NULL));
    assert_true(http_host_allowed("farm.example.:80", names));
    assert_false(http_host_allowed("farm.example", NULL));
    assert_false(http_host_allowed("127.0.0.1.evil.example", names));
    assert_false(http_host_allowed("localhost@evil.example", names));
    assert_false(http_host_allowed("localhost:80@evil.example", names));
    assert_false(http_host_allowed("[::1", names));
    assert_false(http_host_allowed("", names));
    assert_false(http_host_allowed(NULL, names));
}

static void test_secret(void **state)
{
    assert_true(http_secret_equal("abc", "abc"));
    assert_false(http_secret_equal("abcabc", "abc"));
    assert_false(http_secret_equal("", "abc"));
    assert_false(http_secret_equal("abd", "abc"));
    assert_false(http_secret_equal("a", ""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_match),  cmocka_unit_test(test_params),
        cmocka_unit_test(test_query),  cmocka_unit_test(test_query_unknown),
        cmocka_unit_test(test_range),  cmocka_unit_test(test_host),
        cmocka_unit_test(test_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
