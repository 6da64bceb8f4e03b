#include "tests/lib/test.h"

#include "daemon/watch_timing.h"

#define MIDDLE 100u /* the random number that changes nothing */

static const struct watch_timing five_minutes = {.interval_ms = 300000, .cap_ms = 3600000};

static int64_t after(const struct watch_timing *timing, unsigned failures, bool retryable,
                     uint32_t random)
{
    struct watch_outcome outcome = {.failures = failures, .retryable = retryable};
    return watch_next_delay(timing, &outcome, random);
}

static void test_success_waits_the_interval(void **state)
{
    assert_int_equal(after(&five_minutes, 0, false, MIDDLE), 300000);
    assert_int_equal(after(&five_minutes, 0, false, 0), 270000);
    assert_int_equal(after(&five_minutes, 0, false, 200), 330000);
    for (uint32_t random = 0; random < 100000; random += 7)
        assert_in_range(after(&five_minutes, 0, false, random), 270000, 330000);
}

static void test_passing_failures_double_to_the_cap(void **state)
{
    const int64_t seconds[] = {15, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600};
    for (unsigned i = 0; i < sizeof(seconds) / sizeof(*seconds); i++)
        assert_int_equal(after(&five_minutes, i + 1, true, MIDDLE), seconds[i] * 1000);
    assert_int_equal(after(&five_minutes, 4000000000u, true, MIDDLE), 3600000);
}

static void test_lasting_failures_start_at_the_interval(void **state)
{
    assert_int_equal(after(&five_minutes, 1, false, MIDDLE), 300000);
    assert_int_equal(after(&five_minutes, 2, false, MIDDLE), 600000);
    assert_int_equal(after(&five_minutes, 9, false, MIDDLE), 3600000);
}

static void test_short_and_odd_intervals(void **state)
{
    struct watch_timing fast = {.interval_ms = 200, .cap_ms = 1000};
    assert_int_equal(after(&fast, 1, true, MIDDLE), 200);
    assert_int_equal(after(&fast, 9, true, MIDDLE), 1000);
    struct watch_timing no_cap = {.interval_ms = 60000, .cap_ms = 0};
    assert_int_equal(after(&no_cap, 9, true, MIDDLE), 60000);
    struct watch_timing zero = {0};
    assert_int_equal(after(&zero, 0, true, MIDDLE), 1);
    assert_int_equal(after(&zero, 5, true, MIDDLE), 1);
    assert_int_equal(watch_first_delay(&zero, 12345), 0);
}

static void test_first_polls_are_spread(void **state)
{
    for (uint32_t random = 0; random < 100000; random += 7)
        assert_in_range(watch_first_delay(&five_minutes, random), 0, 4999);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_success_waits_the_interval),
        cmocka_unit_test(test_passing_failures_double_to_the_cap),
        cmocka_unit_test(test_lasting_failures_start_at_the_interval),
        cmocka_unit_test(test_short_and_odd_intervals),
        cmocka_unit_test(test_first_polls_are_spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
