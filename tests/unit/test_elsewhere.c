/* Who counts as elsewhere (design rules 5.1 to 5.4): a job that is to go to another board waits for one that may come back,
 * and not for ever. */
#include "daemon/model/objects.h"
#include "tests/lib/model_steps.h"

#define BASES  "https://git.test/bases.git"
#define BASE   "base@master"
#define GIB    ((int64_t)1 << 30)
#define MINUTE ((int64_t)60 * 1000)
#define HOUR   (60 * MINUTE)

/* One image; board `two` was there and is offline, `one` has polled just now. */
static void two_is_away(struct world *w)
{
    world_init(w);
    w->farm->min_disk = GIB;
    world_image(w, "base", BASES, WORLD_MASTER, "./mk");
    world_start(w);
    world_board(w, "one");
    world_session(w, "two", "two", GIB, NULL);
    world_board(w, "two");
    world_wait(w, w->farm->lease_term_ms);
    world_push(w, BASES, "b1", NULL);
}

static size_t offered(struct world *w, const char *board)
{
    struct wire_poll_response got = world_poll(w, board);
    size_t n = got.leases.n;
    wire_poll_response_done(&got);
    return n;
}

/* Each hour somebody looks at the time, and `one` asks for work. */
static void hours(struct world *w, int n, const char *state)
{
    for (int i = 0; i < n; i++) {
        world_wait(w, HOUR);
        assert_int_equal(offered(w, "one"), 0);
        assert_string_equal(world_track_state(w, BASE), state);
    }
}

/* ---- timeouts ---- */

/* It waits for a board that is away, and says for whom and until when: a day after it went. */
static void test_a_timeout_waits_a_day_for_a_board_that_is_away(void **state)
{
    for (int restarts = 0; restarts < 2; restarts++) {
        struct world w;
        two_is_away(&w);
        world_break(&w, "one", "base", WIRE_FAILURE_TIMEOUT);
        world_is(&w, BASE, "building", "boards-busy");
        world_says(&w, BASE, "board one has failed it");
        world_says(&w, BASE, "board two is offline");
        world_says(&w, BASE, "no other board takes it by 2023-11-1");
        for (int i = 0; i < 23; i++) {
            hours(&w, 1, "building");
            if (restarts)
                world_restart(&w);
        }
        world_wait(&w, HOUR);
        world_is(&w, BASE, "failed", "job-failed");
        world_says(&w, BASE, "timeout: it timed out on board one, and no other board takes it");
        world_says(&w, BASE, "tried again after 1 h");
        world_wait(&w, HOUR);
        assert_int_equal(offered(&w, "one"), 1);
        world_done(&w);
    }
}

static void test_a_board_that_is_back_in_time_gets_it(void **state)
{
    struct world w;
    two_is_away(&w);
    world_break(&w, "one", "base", WIRE_FAILURE_TIMEOUT);
    hours(&w, 20, "building");
    assert_int_equal(offered(&w, "two"), 1);
    world_done(&w);
}

/* One that has been away for a day is none from the beginning. */
static void test_who_is_away_for_long_does_not_count(void **state)
{
    struct world w;
    two_is_away(&w);
    world_wait(&w, 25 * HOUR);
    world_break(&w, "one", "base", WIRE_FAILURE_TIMEOUT);
    world_is(&w, BASE, "failed", "job-failed");
    world_done(&w);
}

/* A board that is there and takes nothing is waited for no longer; neither is one that only connects. */
static void full(struct world *w)
{
    w->disk_free = 1;
    assert_int_equal(offered(w, "two"), 0);
    w->disk_free = 10 * GIB;
}
static void draining(struct world *w)
{
    w->draining = true;
    assert_int_equal(offered(w, "two"), 0);
    w->draining = false;
}
static void connecting(struct world *w)
{
    world_session(w, "two", "two", GIB, NULL);
    world_wait(w, w->farm->lease_term_ms);
}

static void test_who_takes_nothing_is_not_waited_for_longer(void **state)
{
    static void (*const cases[])(struct world *) = {full, draining, connecting};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct world w;
        two_is_away(&w);
        world_break(&w, "one", "base", WIRE_FAILURE_TIMEOUT);
        for (int hour = 0; hour < 24; hour++) {
            cases[i](&w);
            world_wait(&w, HOUR);
        }
        world_is(&w, BASE, "failed", "job-failed");
        world_done(&w);
    }
}

/* It has failed at once when the other one can build it no more. */
static void test_a_board_that_cannot_any_more_is_not_waited_for(void **state)
{
    static const char *const arm64[] = {"linux/arm64", NULL};
    struct world w;
    two_is_away(&w);
    world_break(&w, "one", "base", WIRE_FAILURE_TIMEOUT);
    w.platforms = arm64;
    world_session(&w, "two", "two", GIB, NULL);
    world_is(&w, BASE, "failed", "job-failed");
    world_done(&w);
}

/* A round has two tries that fail by themselves, of whatever kind: what timed out does not come back. */
static void test_two_failures_by_itself_are_a_round(void **state)
{
    for (int first = 0; first < 2; first++) {
        struct world w;
        two_is_away(&w);
        world_board(&w, "three");
        assert_int_equal(offered(&w, "three"), 1);
        world_session(&w, "three", "three", GIB, NULL); /* its agent has restarted */
        world_wait(&w, 1000);
        world_break(&w, "one", "base", first ? WIRE_FAILURE_TIMEOUT : WIRE_FAILURE_RECIPE);
        world_break(&w, "three", "base", first ? WIRE_FAILURE_REJECTED : WIRE_FAILURE_TIMEOUT);
        world_is(&w, BASE, "failed", "job-failed");
        world_done(&w);
    }
}

/* ---- memory ---- */

static void test_want_of_memory_waits_a_day_for_a_larger_board(void **state)
{
    struct world w;
    two_is_away(&w);
    world_session(&w, "two", "two", 4 * GIB, NULL);
    world_wait(&w, w.farm->lease_term_ms);
    world_break(&w, "one", "base", WIRE_FAILURE_MEMORY);
    world_is(&w, BASE, "building", "boards-busy");
    world_says(&w, BASE, "board two is offline");
    world_says(&w, BASE, "no other board takes it by 2023-11-1");
    hours(&w, 23, "building");
    world_wait(&w, HOUR);
    world_is(&w, BASE, "failed", "job-failed");
    world_says(&w, BASE, "tried again on a board with more than 1024 MiB");
    hours(&w, 30, "failed"); /* time alone changes nothing */
    world_session(&w, "two", "two", 4 * GIB, NULL);
    struct wire_poll_request poll = {.session = board_find(w.m, "two")->session, .seq = 1};
    poll.disk_free = 10 * GIB;
    world_begin(&w, 1);
    model_on_poll(w.m, "two", &poll, ++w.token);
    world_end(&w);
    world_is(&w, BASE, "building", "boards-busy");
    world_done(&w);
}

/* ---- infra ---- */

/* Whoever has failed it gets it again when the other one, though there, has taken nothing for a day. */
static void test_infra_does_not_avoid_a_board_for_ever(void **state)
{
    struct world w;
    two_is_away(&w);
    w.disk_free = 1;
    assert_int_equal(offered(&w, "two"), 0);
    w.disk_free = 10 * GIB;
    world_break(&w, "one", "base", WIRE_FAILURE_INFRA);
    int taken = 0, after = 0;
    for (; after < 30 && !taken; after++) {
        w.disk_free = 1;
        world_poll(&w, "two");
        w.disk_free = 10 * GIB;
        if (after && after < 23)
            world_says(&w, BASE, "board two is low on disk");
        if (after && after < 23)
            world_says(&w, BASE, "board one gets it again if no other takes it by 2023-11-1");
        taken = (int)offered(&w, "one");
        world_wait(&w, HOUR);
    }
    assert_in_range(after, 23, 26);
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_timeout_waits_a_day_for_a_board_that_is_away),
        cmocka_unit_test(test_a_board_that_is_back_in_time_gets_it),
        cmocka_unit_test(test_who_is_away_for_long_does_not_count),
        cmocka_unit_test(test_who_takes_nothing_is_not_waited_for_longer),
        cmocka_unit_test(test_a_board_that_cannot_any_more_is_not_waited_for),
        cmocka_unit_test(test_two_failures_by_itself_are_a_round),
        cmocka_unit_test(test_want_of_memory_waits_a_day_for_a_larger_board),
        cmocka_unit_test(test_infra_does_not_avoid_a_board_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
