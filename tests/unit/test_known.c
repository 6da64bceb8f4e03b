/* Sets of digests that effects hold while the model goes on. */
#include "daemon/model/known.h"
#include "tests/lib/test.h"

static void test_each_is_counted(void **state)
{
    struct known *k = NULL;
    assert_false(known_has(k, "a"));
    known_add(&k, "a");
    known_add(&k, "a");
    known_add(&k, "b");
    known_remove(&k, "a");
    assert_true(known_has(k, "a"));
    known_remove(&k, "a");
    known_remove(&k, "a"); /* it is not there */
    assert_false(known_has(k, "a"));
    assert_true(known_has(k, "b"));
    known_free(k);
}

/* Who holds it has it as it was; nobody else is copied for. */
static void test_what_is_held_does_not_change(void **state)
{
    struct known *k = NULL;
    known_add(&k, "a");
    struct known *held = known_hold(k), *alone;
    known_add(&k, "b");
    known_remove(&k, "a");
    assert_true(known_has(held, "a") && !known_has(held, "b"));
    assert_true(!known_has(k, "a") && known_has(k, "b"));
    alone = k;
    known_add(&k, "c");
    assert_ptr_equal(k, alone);
    known_free(k);
    assert_true(known_has(held, "a"));
    known_free(held);
    known_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_is_counted),
        cmocka_unit_test(test_what_is_held_does_not_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
