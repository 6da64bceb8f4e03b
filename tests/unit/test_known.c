/* Sets of digests that effects share with the model. */
#include "daemon/model/known.h"
#include "tests/lib/test.h"

static void test_each_is_counted(void **state)
{
    struct known *k = NULL;
    assert_false(known_has(k, "a"));
    known_add(&k, "a");
    known_add(&k, "a");
    known_add(&k, "b");
    known_remove(k, "a");
    assert_true(known_has(k, "a"));
    known_remove(k, "a");
    known_remove(k, "a"); /* it is not there */
    assert_false(known_has(k, "a"));
    assert_true(known_has(k, "b"));
    known_free(k);
}

/* An effect may outlive the model. */
static void test_who_holds_it_sees_it_as_it_is(void **state)
{
    struct known *k = NULL;
    known_add(&k, "a");
    struct known *held = known_hold(k);
    known_add(&k, "b");
    known_remove(k, "a");
    assert_true(known_has(held, "b") && !known_has(held, "a"));
    known_free(k);
    assert_true(known_has(held, "b"));
    known_free(held);
    known_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_is_counted),
        cmocka_unit_test(test_who_holds_it_sees_it_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
