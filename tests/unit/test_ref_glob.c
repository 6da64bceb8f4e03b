#include "tests/lib/test.h"

#include "common/ref_glob.h"

static void test_matches(void **state)
{
    assert_true(ref_glob("refs/heads/master", "refs/heads/master"));
    assert_true(ref_glob("refs/heads/v*", "refs/heads/v3.20"));
    assert_true(ref_glob("refs/tags/*", "refs/tags/a/b"));
    assert_true(ref_glob("refs/tags/v*.*", "refs/tags/v1.2.3"));
    assert_true(ref_glob("*a*b", "xaxbxab"));
    assert_true(ref_glob("**", ""));
}

static void test_differs(void **state)
{
    assert_false(ref_glob("refs/heads/master", "refs/heads/master2"));
    assert_false(ref_glob("refs/heads/v*", "refs/tags/v1"));
    assert_false(ref_glob("refs/heads/v*x", "refs/heads/v"));
    assert_false(ref_glob("refs/heads/v?", "refs/heads/v1"));
    assert_false(ref_glob("", "a"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matches),
        cmocka_unit_test(test_differs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
