#include "common/registry_internal.h"

#include "tests/lib/test.h"

static void check_resolve(const char *endpoint, const char *base, const char *location,
                          const char *expected)
{
    struct registry r = {.endpoint = (char *)endpoint};
    cleanup_free char *url = registry_resolve(&r, base, location);
    assert_string_equal(url, expected);
}

static void test_resolve(void **state)
{
    const char *e = "https://reg.example.org",
               *b = "https://reg.example.org/v2/a/blobs/uploads/?x=/y";
    check_resolve(e, b, "/v2/a/u1?s=1", "https://reg.example.org/v2/a/u1?s=1");
    check_resolve(e, b, "u1?s=1", "https://reg.example.org/v2/a/blobs/uploads/u1?s=1");
    check_resolve(e, b, "//cdn.example.org/u", "https://cdn.example.org/u");
    check_resolve(e, b, "https://cdn.example.org/u?q", "https://cdn.example.org/u?q");
    /* A proxy that ends TLS makes a registry believe in http. */
    check_resolve(e, b, "http://reg.example.org/v2/u?s", "https://reg.example.org/v2/u?s");
    check_resolve(e, b, "https://REG.example.org:443/v2/u", "https://reg.example.org/v2/u");
    check_resolve("http://127.0.0.1:5000", "http://127.0.0.1:5000/v2/",
                  "http://127.0.0.1:5000/v2/u", "http://127.0.0.1:5000/v2/u");
}

static bool own(const char *endpoint, const char *url)
{
    struct registry r = {.endpoint = (char *)endpoint};
    return registry_is_own(&r, url);
}

static void test_credentials_stay_at_home(void **state)
{
    assert_true(own("https://reg.example.org", "https://reg.example.org/v2/"));
    assert_true(own("https://reg.example.org:443/prefix", "https://Reg.example.org/x"));
    assert_true(own("http://127.0.0.1:5000", "http://127.0.0.1:5000/v2/"));
    assert_false(own("https://reg.example.org", "http://reg.example.org/v2/"));
    assert_false(own("https://reg.example.org", "https://reg.example.org.evil.org/v2/"));
    assert_false(own("https://reg.example.org", "https://reg.example.org:8443/v2/"));
    assert_false(own("https://reg.example.org", "https://evil.org/?https://reg.example.org/"));
    assert_false(own("https://reg.example.org", "https://reg.example.org@evil.org/"));
    assert_false(own("http://127.0.0.1:5000", "http://127.0.0.1:5001/"));
}

static void test_query(void **state)
{
    cleanup_free char *a = registry_with_query("http://x/u", "digest", "sha256:1");
    cleanup_free char *b = registry_with_query("http://x/u?_state=1%3D", "digest", "sha256:1");
    assert_string_equal(a, "http://x/u?digest=sha256:1");
    assert_string_equal(b, "http://x/u?_state=1%3D&digest=sha256:1");
}

static void test_names(void **state)
{
    assert_true(registry_name_ok("library/debian"));
    assert_true(registry_name_ok("127.0.0.1:5000/osf/minideb"));
    assert_false(registry_name_ok(""));
    assert_false(registry_name_ok("/a"));
    assert_false(registry_name_ok("a/../b"));
    assert_false(registry_name_ok("a?b"));
    assert_false(registry_name_ok("a%2e"));
    assert_false(registry_name_ok("a b"));
    assert_false(registry_name_ok(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resolve),
        cmocka_unit_test(test_credentials_stay_at_home),
        cmocka_unit_test(test_query),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
