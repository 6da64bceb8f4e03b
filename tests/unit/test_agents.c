/* Boards whose agents are broken or hostile (rule 5.8): what they say of leases that are not theirs, twice, out of order or for
 * ever. What cannot be decoded at all is in test_wire.c; results that are late, doubled or of another epoch in test_leases.c. */
#include "daemon/model/objects.h"
#include "tests/lib/model_steps.h"

#define SOURCE "https://git.test/a.git"
#define TRACK  "base@master"
#define TERM   ((int64_t)90000)
#define SECOND ((int64_t)1000)

static struct world_agent join(struct world *w, const char *name)
{
    struct world_agent a = {.name = name};
    world_board(w, name);
    world_agent_session(w, &a, NULL);
    return a;
}

/* It polls, and is told to end `cancel` leases; returns those that it gets, to be ended. */
static struct wire_poll_response polls(struct world *w, struct world_agent *a,
                                       const struct wire_lease *held, size_t n, size_t cancel)
{
    struct wire_poll_response got = world_agent_poll(w, a, held, n);
    assert_int_equal(got.cancel.n, cancel);
    return got;
}

static void polls_for_nothing(struct world *w, struct world_agent *a, const struct wire_lease *held,
                              size_t n, size_t cancel)
{
    struct wire_poll_response got = polls(w, a, held, n, cancel);
    assert_int_equal(got.leases.n, 0);
    wire_poll_response_done(&got);
}

/* The job is leased to `one`, which polls once more with it. */
static struct wire_lease *begin(struct world *w, struct world_agent *one,
                                struct wire_poll_response *ret)
{
    world_init(w);
    world_image(w, "base", SOURCE, WORLD_MASTER, "./mk");
    world_start(w);
    *one = join(w, "one");
    world_push(w, SOURCE, "c1", NULL);
    *ret = polls(w, one, NULL, 0, 0);
    assert_int_equal(ret->leases.n, 1);
    polls_for_nothing(w, one, ret->leases.items, 1, 0);
    world_is(w, TRACK, "building", "running");
    return ret->leases.items;
}

static const struct job *job(struct world *w)
{
    return track_find(w->m, TRACK)->slots[PLATFORM_AMD64]->job;
}

static void nobody_is_blamed(struct world *w)
{
    const struct job *j = job(w);
    assert_int_equal(j->losses + j->recipe_failures + j->timeouts, 0);
    assert_null(j->suspect);
    for (const struct board *b = w->m->boards; b; b = b->hh.next)
        assert_int_equal(b->blames, 0);
}

static void result(struct world *w, const struct wire_lease *lease, enum wire_outcome outcome,
                   int status)
{
    struct wire_result r = {.epoch = lease->epoch, .outcome = outcome};
    world_begin(w, 1);
    model_on_result(w->m, lease->lease, &r, ++w->token);
    world_end(w);
    assert_int_equal(w->last_status, status);
}

/* Another board's lease, in a session and in polls: it is told to end it, and who holds it is not helped by that. */
static void test_a_lease_of_another_board(void **state)
{
    struct world w;
    struct world_agent one;
    struct wire_poll_response got;
    const struct wire_lease *lease = begin(&w, &one, &got);
    struct world_agent two = join(&w, "two");
    assert_true(world_agent_session(&w, &two, lease));
    world_wait(&w, TERM / 2);
    polls_for_nothing(&w, &two, lease, 1, 1);
    world_says(&w, TRACK, "on one");
    world_wait(&w, TERM / 2 + SECOND);
    polls_for_nothing(&w, &two, lease, 1, 1);
    struct wire_poll_response next = polls(&w, &two, NULL, 0, 0);
    assert_int_equal(next.leases.n, 1); /* its term was over: the other has it by rights */
    assert_int_equal(next.leases.items[0].epoch, lease->epoch + 1);
    wire_poll_response_done(&next);
    wire_poll_response_done(&got);
    world_done(&w);
}

/* One lease three times, and one that was never granted twice. */
static void test_listed_more_than_once(void **state)
{
    struct world w;
    struct world_agent one;
    struct wire_poll_response got;
    const struct wire_lease *lease = begin(&w, &one, &got);
    struct wire_lease stranger = {.lease = (char *)(uintptr_t) "L99", .epoch = 1};
    struct wire_lease held[] = {*lease, stranger, *lease, stranger, *lease};
    polls_for_nothing(&w, &one, held, 5, 2);
    assert_int_equal(job(&w)->state, JOB_RUNNING);
    assert_int_equal(board_find(w.m, "one")->leases.n, 1);
    assert_false(world_agent_session(&w, &one, lease));
    polls_for_nothing(&w, &one, held, 1, 0);
    result(&w, lease, WIRE_CANCELLED, 200);
    wire_poll_response_done(&got);
    world_done(&w);
}

/* Two agents with one secret: the newest session counts, whoever has another is told so; jobs go from the one to the
 * other, and nobody is blamed. */
static void test_two_agents_with_one_secret(void **state)
{
    struct world w;
    struct world_agent one;
    struct wire_poll_response got;
    const struct wire_lease *lease = begin(&w, &one, &got);
    struct world_agent twin = {.name = "one"};
    world_agent_session(&w, &twin, NULL);
    assert_int_equal(job(&w)->state, JOB_WANTED);
    result(&w, lease, WIRE_FAILED, 409);
    struct wire_poll_response next = polls(&w, &twin, NULL, 0, 0);
    assert_int_equal(next.leases.n, 1);
    assert_int_equal(next.leases.items[0].epoch, lease->epoch + 1);
    struct wire_poll_request late = {.session = one.session, .seq = 99};
    world_begin(&w, 1);
    model_on_poll(w.m, "one", &late, ++w.token);
    world_end(&w);
    assert_int_equal(w.last_status, 410);
    polls_for_nothing(&w, &twin, next.leases.items, 1, 0);
    world_is(&w, TRACK, "building", "running");
    nobody_is_blamed(&w);
    wire_poll_response_done(&next);
    wire_poll_response_done(&got);
    world_done(&w);
}

/* Polls whose number stands still, or goes back: what was granted and is not listed ends with its term all the same. */
static void test_polls_that_do_not_count_up(void **state)
{
    for (int64_t step = 1; step <= 2; step++) {
        struct world w;
        struct world_agent one;
        struct wire_poll_response got;
        const struct wire_lease *lease = begin(&w, &one, &got);
        result(&w, lease, WIRE_LOST, 200);
        one.seq += 10;
        wire_poll_response_done(&got);
        got = polls(&w, &one, NULL, 0, 0);
        assert_int_equal(got.leases.n, 1);
        for (int i = 0; i < 3; i++) {
            one.seq -= step;
            polls_for_nothing(&w, &one, NULL, 0, 0);
        }
        assert_int_equal(job(&w)->state, JOB_LEASED);
        world_wait(&w, TERM);
        assert_int_equal(job(&w)->state, JOB_WANTED);
        nobody_is_blamed(&w);
        wire_poll_response_done(&got);
        world_done(&w);
    }
}

/* Platforms that nobody knows are nobody's, and a board that has no other gets nothing. */
static void test_platforms_that_nobody_knows(void **state)
{
    static const char *const odd[] = {"linux/z80", "plan9/amd64",      "linux",
                                      "/",         "linux/amd64/v9/x", NULL};
    struct world w;
    world_init(&w);
    world_image(&w, "base", SOURCE, WORLD_MASTER, "./mk");
    world_start(&w);
    w.platforms = odd;
    struct world_agent one = join(&w, "one");
    world_push(&w, SOURCE, "c1", NULL);
    polls_for_nothing(&w, &one, NULL, 0, 0);
    world_is(&w, TRACK, "building", "no-board");
    world_done(&w);
}

/* An agent that gives up whatever it is given, unasked: once that costs nothing, as when it is started anew; then it is as if
 * its board failed: after a while, on another. */
static void test_an_agent_that_gives_up_whatever_it_gets(void **state)
{
    static const enum wire_outcome unasked[] = {WIRE_LOST, WIRE_CANCELLED};
    for (size_t i = 0; i < 2; i++) {
        struct world w;
        struct world_agent one;
        struct wire_poll_response got;
        const struct wire_lease *lease = begin(&w, &one, &got);
        result(&w, lease, unasked[i], 200);
        for (int64_t wait = 0; wait <= 20 * SECOND; wait = wait ? 2 * wait : 10 * SECOND) {
            wire_poll_response_done(&got);
            if (wait) {
                world_is(&w, TRACK, "building", "backing-off");
                world_says(&w, TRACK, "gave it up");
                world_wait(&w, wait - SECOND);
                polls_for_nothing(&w, &one, NULL, 0, 0);
                world_wait(&w, SECOND);
            }
            got = polls(&w, &one, NULL, 0, 0);
            assert_int_equal(got.leases.n, 1);
            result(&w, got.leases.items, unasked[i], 200);
        }
        struct world_agent two = join(&w, "two");
        polls_for_nothing(&w, &two, NULL, 0, 0);
        world_wait(&w, 40 * SECOND);
        polls_for_nothing(&w, &one, NULL, 0, 0);
        struct wire_poll_response next = polls(&w, &two, NULL, 0, 0);
        assert_int_equal(next.leases.n, 1);
        nobody_is_blamed(&w);
        wire_poll_response_done(&next);
        wire_poll_response_done(&got);
        world_done(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_lease_of_another_board),
        cmocka_unit_test(test_listed_more_than_once),
        cmocka_unit_test(test_two_agents_with_one_secret),
        cmocka_unit_test(test_polls_that_do_not_count_up),
        cmocka_unit_test(test_platforms_that_nobody_knows),
        cmocka_unit_test(test_an_agent_that_gives_up_whatever_it_gets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
