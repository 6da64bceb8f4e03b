#include "daemon/model/version.h"
#include "tests/lib/test.h"

static void in_order(void **state)
{
    static const char *const ascending[] = {
        "0",
        "0.9",
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0.0-rc1.1",
        "1.0.0-rc2",
        "1.0.0rc10",
        "1",
        "1.0",
        "1.0.0",
        "1.0.1",
        "1.4",
        "1.4.0",
        "1.4.1-1",
        "1.4.1",
        "1.10",
        "2.0_beta2",
        "2.0_rc1",
        "2.0",
        "3.9",
        "3.20",
        "3.20.0.1",
        "24.04",
        "20240101",
    };
    size_t n = sizeof(ascending) / sizeof(ascending[0]);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            struct version a, b;
            assert_int_equal(version_parse(ascending[i], &a), 0);
            assert_int_equal(version_parse(ascending[j], &b), 0);
            int expected = (i > j) - (i < j), got = version_cmp(&a, &b);
            if (got != expected)
                fail_msg("%s against %s: %d", ascending[i], ascending[j], got);
        }
    }
}

static void no_versions(void **state)
{
    static const char *const bad[] = {"",
                                      "v1.2",
                                      "edge",
                                      ".1",
                                      "1.",
                                      "1..2",
                                      "1.2-",
                                      "1.2-+x",
                                      "1.1.1w",
                                      "1.2 3",
                                      "1/2",
                                      "-1",
                                      "+1",
                                      "1.x",
                                      "1.2-r\xc3\xa9",
                                      "1.2:3",
                                      "1.2.3.4.5.6.7",
                                      "1234567890123456789",
                                      "1-a/b",
                                      "1+a b"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct version v;
        if (version_parse(bad[i], &v) != -EINVAL)
            fail_msg("'%s' was taken for a version", bad[i]);
    }
    char longest[VERSION_TEXT_MAX + 2] = {0};
    memset(longest, '1', sizeof(longest) - 1);
    struct version v;
    assert_int_equal(version_parse(longest, &v), -EINVAL);
}

static void prereleases(void **state)
{
    static const struct {
        const char *text;
        bool prerelease;
    } cases[] = {{"1.0", false},     {"1.0+deb1", false}, {"1.0-rc.1", true}, {"1.0a2", true},
                 {"1.0.dev3", true}, {"1.0-1", true},     {"1.0rc", true},    {"1.0+a-b", false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct version v;
        assert_int_equal(version_parse(cases[i].text, &v), 0);
        if (version_is_prerelease(&v) != cases[i].prerelease)
            fail_msg("%s", cases[i].text);
    }
}

static void bounds(void **state)
{
    static const struct {
        const char *bounds, *version;
        bool within;
    } cases[] = {
        {">=3.19", "3.19", true},      {">=3.19", "3.19.4", true},
        {">=3.19", "3.18.9", false},   {">=3.19", "3.20", true},
        {">=3.19", "3.9", false},      {">= 3.19", "3.20", true},
        {">=1.4, <2", "1.9.9", true},  {">=1.4, <2", "2", false},
        {">=1.4 <2", "2.0.1", false},  {">=1.4,<2", "2.0-rc1", false},
        {"<2.0-rc2", "2.0-rc1", true}, {">=2", "2.0-rc1", false},
        {">1.4", "1.4.0", false},      {">1.4", "1.4.1", true},
        {"<=1.4", "1.4.0", true},      {"<=1.4", "1.4.1", false},
        {"=1.4", "1.4.0", true},       {"==1.4", "1.4.1", false},
        {"!=1.4.2", "1.4.2", false},   {"!=1.4.2", "1.4.3", true},
        {">=v1", "1.2", true},         {NULL, "0.1", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct version v;
        assert_int_equal(version_parse(cases[i].version, &v), 0);
        if (cases[i].bounds)
            assert_int_equal(version_bounds_check(cases[i].bounds, NULL), 0);
        if (version_within(cases[i].bounds, &v) != cases[i].within)
            fail_msg("%s against %s", cases[i].version, cases[i].bounds);
    }
}

static void bad_bounds(void **state)
{
    static const char *const bad[] = {"", " ", "3.19", "~1.2", "^1", ">=", ">=x", ">=1 2", "=>1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err err = ERR_INIT;
        assert_int_equal(version_bounds_check(bad[i], &err), -EINVAL);
        assert_non_null(strstr(err.text, ">=3.19"));
    }
}

static void series(void **state)
{
    struct version a, b, c;
    assert_int_equal(version_parse("1.4.0", &a), 0);
    assert_int_equal(version_parse("1.4.7", &b), 0);
    assert_int_equal(version_parse("1.5", &c), 0);
    assert_false(version_same_series(&a, &b, FARM_MAINTAIN_PATCH));
    assert_true(version_same_series(&a, &b, FARM_MAINTAIN_MINOR));
    assert_false(version_same_series(&a, &c, FARM_MAINTAIN_MINOR));
    assert_true(version_same_series(&a, &c, FARM_MAINTAIN_MAJOR));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(in_order),    cmocka_unit_test(no_versions),
                                       cmocka_unit_test(prereleases), cmocka_unit_test(bounds),
                                       cmocka_unit_test(bad_bounds),  cmocka_unit_test(series)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
