#include "common/digest.h"

#include "tests/lib/test.h"

#define EMPTY "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define ABC   "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static void test_known(void **state)
{
    char d[DIGEST_SIZE];
    digest_of("", 0, d);
    assert_string_equal(d, EMPTY);
    digest_of("abc", 3, d);
    assert_string_equal(d, ABC);
}

static void test_stream(void **state)
{
    cleanup_digest struct digest s = {0};
    char d[DIGEST_SIZE];
    digest_init(&s);
    digest_update(&s, "a", 1);
    digest_update(&s, NULL, 0);
    digest_update(&s, "bc", 2);
    digest_final(&s, d);
    assert_string_equal(d, ABC);
}

static void test_fd(void **state)
{
    char d[DIGEST_SIZE];
    int64_t size = -1;
    struct err err = ERR_INIT;
    FILE *f = tmpfile();
    fputs("abc", f);
    fflush(f);
    assert_int_equal(digest_of_fd(fileno(f), d, &size, &err), 0);
    assert_string_equal(d, ABC);
    assert_int_equal(size, 3);
    fclose(f);
    assert_int_equal(digest_of_fd(-1, d, NULL, &err), -EBADF);
}

static void test_valid(void **state)
{
    assert_true(digest_valid(ABC));
    assert_false(digest_valid(NULL));
    assert_false(digest_valid(""));
    assert_false(digest_valid("sha256:ba78"));
    assert_false(digest_valid(ABC "0"));
    assert_false(digest_valid("sha512" ABC));
    assert_false(
        digest_valid("sha256:BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_fd),
        cmocka_unit_test(test_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
