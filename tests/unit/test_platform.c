#include "common/platform.h"
#include "tests/lib/test.h"

static void test_parse_normalises(void **state)
{
    static const struct {
        const char *name;
        enum platform platform;
    } cases[] = {
        {"linux/arm", PLATFORM_ARM_V7},     {"linux/arm/v7", PLATFORM_ARM_V7},
        {"linux/arm/v6", PLATFORM_ARM_V6},  {"linux/arm64", PLATFORM_ARM64},
        {"linux/arm64/v8", PLATFORM_ARM64}, {"linux/amd64", PLATFORM_AMD64},
        {"linux/amd64/v1", PLATFORM_AMD64},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        enum platform p = PLATFORM_COUNT;
        assert_int_equal(platform_parse(cases[i].name, &p, NULL), 0);
        assert_int_equal(p, cases[i].platform);
    }
}

static void test_parse_refuses(void **state)
{
    static const char *const bad[] = {
        "", "arm", "linux/", "linux/arm/v9", "windows/amd64", "linux/arm/v7/x", "linux/arm64/"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        enum platform p = PLATFORM_COUNT;
        struct err err = ERR_INIT;
        assert_int_equal(platform_parse(bad[i], &p, &err), -EINVAL);
        assert_int_equal(p, PLATFORM_COUNT);
        assert_non_null(strstr(err.text, "linux/arm/v7"));
    }
}

static void test_naming_traps(void **state)
{
    assert_string_equal(platform_info(PLATFORM_ARM_V7)->debian, "armhf");
    assert_string_equal(platform_info(PLATFORM_ARM_V6)->alpine, "armhf");
    assert_string_equal(platform_info(PLATFORM_ARM_V7)->suffix, "arm");
    enum platform p;
    assert_int_equal(platform_from_uname("armv8l", &p), 0);
    assert_int_equal(p, PLATFORM_ARM_V7);
    assert_int_equal(platform_from_uname("vax", &p), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_normalises),
        cmocka_unit_test(test_parse_refuses),
        cmocka_unit_test(test_naming_traps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
