/* Leases (rule 5.8): when one ends, what is queued again, and which results count. Boards here hold a session and poll in
 * it, as the agent does. */
#include "daemon/model/objects.h"
#include "tests/lib/model_steps.h"

#define SOURCE "https://git.test/a.git"
#define TRACK  "base@master"
#define TERM   ((int64_t)90000)

/* It polls, and is told of nothing. */
static void poll_quietly(struct world *w, struct world_agent *a, const struct wire_lease *held)
{
    struct wire_poll_response got = world_agent_poll(w, a, held, held != NULL);
    assert_int_equal(got.leases.n + got.cancel.n, 0);
    wire_poll_response_done(&got);
}

static struct wire_lease *take(struct world *w, struct world_agent *a,
                               struct wire_poll_response *ret)
{
    *ret = world_agent_poll(w, a, NULL, 0);
    assert_int_equal(ret->leases.n, 1);
    return &ret->leases.items[0];
}

static void result(struct world *w, const struct wire_lease *lease, int64_t epoch, int status)
{
    struct wire_lease as = *lease;
    as.epoch = epoch;
    world_succeed(w, &as, "x");
    assert_int_equal(w->last_status, status);
}

static const struct job *job(struct world *w)
{
    const struct slot *s = track_find(w->m, TRACK)->slots[PLATFORM_AMD64];
    assert_non_null(s->job);
    return s->job;
}

/* A job waits; `one` is in a session. */
static void farm(struct world *w, struct world_agent *one)
{
    *one = (struct world_agent){.name = "one"};
    world_init(w);
    world_image(w, "base", SOURCE, WORLD_MASTER, "./mk");
    world_start(w);
    world_board(w, "one");
    world_agent_session(w, one, NULL);
    world_push(w, SOURCE, "c1", NULL);
}

static struct world_agent second(struct world *w)
{
    struct world_agent two = {.name = "two"};
    world_board(w, "two");
    world_agent_session(w, &two, NULL);
    return two;
}

/* The job runs on `one`; its lease was listed just now. */
static struct wire_lease *run(struct world *w, struct world_agent *one,
                              struct wire_poll_response *ret)
{
    farm(w, one);
    struct wire_lease *lease = take(w, one, ret);
    poll_quietly(w, one, lease);
    world_is(w, TRACK, "building", "running");
    return lease;
}

/* ---- the term ---- */

static void test_a_lease_that_no_poll_lists_ends_after_its_term(void **state)
{
    struct world w;
    struct world_agent one;
    struct wire_poll_response got;
    const struct wire_lease *lease = run(&w, &one, &got);
    /* its board goes on polling, and lists it no more */
    world_wait(&w, TERM - 2);
    poll_quietly(&w, &one, NULL);
    assert_int_equal(job(&w)->epoch, lease->epoch);
    assert_int_equal(job(&w)->state, JOB_RUNNING);
    world_wait(&w, 1);
    assert_int_equal(job(&w)->epoch, lease->epoch + 1); /* that poll is open: it gets it again */
    assert_int_equal(job(&w)->state, JOB_LEASED);
    wire_poll_response_done(&got);
    world_done(&w);
}

static void test_each_poll_that_lists_it_gives_a_full_term(void **state)
{
    struct world w;
    struct world_agent one;
    struct wire_poll_response got;
    const struct wire_lease *lease = run(&w, &one, &got);
    for (int i = 0; i < 5; i++) {
        world_wait(&w, TERM - 2);
        poll_quietly(&w, &one, lease);
    }
    world_wait(&w, TERM - 1);
    world_is(&w, TRACK, "building", "running");
    world_wait(&w, 1);
    world_is(&w, TRACK, "building", "boards-busy");
    wire_poll_response_done(&got);
    world_done(&w);
}

/* While the store has no room the monotonic clock stands, however much time goes by. */
static void test_a_stall_shifts_the_term(void **state)
{
    struct world w;
    struct world_agent one;
    struct wire_poll_response got;
    run(&w, &one, &got);
    world_wait(&w, TERM - 1);
    w.wall += 1000 * TERM;
    world_wait(&w, 0);
    world_is(&w, TRACK, "building", "running");
    world_wait(&w, 1);
    world_is(&w, TRACK, "building", "boards-busy");
    wire_poll_response_done(&got);
    world_done(&w);
}

static void test_a_restart_gives_a_full_term_again(void **state)
{
    struct world w;
    struct world_agent one;
    struct wire_poll_response got;
    run(&w, &one, &got);
    world_wait(&w, TERM - 1);
    world_restart(&w);
    world_wait(&w, TERM - 1);
    world_is(&w, TRACK, "building", "running");
    world_wait(&w, 1);
    world_is(&w, TRACK, "building", "boards-busy");
    wire_poll_response_done(&got);
    world_done(&w);
}

/* One that was granted and never came to run ends so too, if its board polls no more; the board is not to blame. */
static void test_a_granted_one_ends_after_its_term_too(void **state)
{
    struct world w;
    struct world_agent one;
    struct wire_poll_response got;
    farm(&w, &one);
    take(&w, &one, &got);
    world_wait(&w, TERM - 1);
    assert_int_equal(job(&w)->state, JOB_LEASED);
    world_wait(&w, 1);
    assert_int_equal(job(&w)->state, JOB_WANTED);
    assert_int_equal(job(&w)->losses, 0);
    wire_poll_response_done(&got);
    world_done(&w);
}

/* ---- an answer that was lost ---- */

static void test_granted_and_not_in_the_next_poll_is_queued_again(void **state)
{
    struct world w;
    struct world_agent one;
    struct wire_poll_response got, again;
    farm(&w, &one);
    const struct wire_lease *lease = take(&w, &one, &got);
    const struct wire_lease *next = take(&w, &one, &again); /* its board may have it at once */
    assert_string_not_equal(next->lease, lease->lease);
    assert_int_equal(next->epoch, lease->epoch + 1);
    assert_int_equal(job(&w)->losses + job(&w)->infra_failures + job(&w)->recipe_failures, 0);
    assert_null(job(&w)->suspect);
    assert_null(job(&w)->avoid);
    assert_int_equal(board_find(w.m, "one")->blames, 0);
    result(&w, lease, lease->epoch, 409);
    result(&w, next, next->epoch, 200);
    wire_poll_response_done(&got);
    wire_poll_response_done(&again);
    world_done(&w);
}

/* ---- which results count ---- */

static void test_a_result_counts_at_the_current_epoch_alone(void **state)
{
    struct world w;
    struct world_agent one;
    struct wire_poll_response got;
    const struct wire_lease *lease = run(&w, &one, &got);
    result(&w, lease, lease->epoch - 1, 409);
    result(&w, lease, lease->epoch + 1, 409);
    world_is(&w, TRACK, "building", "running");
    result(&w, lease, lease->epoch, 200);
    assert_int_equal(job(&w)->state, JOB_SUCCEEDED);
    wire_poll_response_done(&got);
    world_done(&w);
}

static void test_a_result_counts_once(void **state)
{
    struct world w;
    struct world_agent one;
    struct wire_poll_response got;
    const struct wire_lease *lease = run(&w, &one, &got);
    result(&w, lease, lease->epoch, 200);
    cleanup_free char *digest = xstrdup(job(&w)->manifest_digest);
    size_t rows = w.rows.n;
    world_succeed(&w, lease, "another");
    assert_int_equal(w.last_status, 409);
    world_fail(&w, lease, WIRE_FAILURE_RECIPE);
    assert_int_equal(w.last_status, 409);
    assert_string_equal(job(&w)->manifest_digest, digest);
    assert_int_equal(job(&w)->state, JOB_SUCCEEDED);
    assert_int_equal(w.rows.n, rows);
    /* nor after a restart */
    world_restart(&w);
    result(&w, lease, lease->epoch, 409);
    world_publish(&w);
    world_is(&w, TRACK, "published", "published");
    wire_poll_response_done(&got);
    world_done(&w);
}

static void test_a_failure_counts_once(void **state)
{
    struct world w;
    struct world_agent one;
    struct wire_poll_response got;
    const struct wire_lease *lease = run(&w, &one, &got);
    world_fail(&w, lease, WIRE_FAILURE_RECIPE);
    assert_int_equal(w.last_status, 200);
    world_fail(&w, lease, WIRE_FAILURE_RECIPE);
    assert_int_equal(w.last_status, 409);
    assert_int_equal(job(&w)->recipe_failures, 1);
    assert_int_equal(job(&w)->epoch, lease->epoch + 1);
    wire_poll_response_done(&got);
    world_done(&w);
}

/* ---- a board that comes back ---- */

/* Its lease has ended for want of polls. */
static struct wire_lease *lose(struct world *w, struct world_agent *one,
                               struct wire_poll_response *ret)
{
    struct wire_lease *lease = run(w, one, ret);
    world_wait(w, TERM);
    world_is(w, TRACK, "building", "boards-busy");
    return lease;
}

static void test_a_board_that_reattaches_takes_its_lease_up(void **state)
{
    struct world w;
    struct world_agent one;
    struct wire_poll_response got;
    const struct wire_lease *lease = lose(&w, &one, &got);
    int64_t epoch = job(&w)->epoch;
    assert_false(world_agent_session(&w, &one, lease));
    world_is(&w, TRACK, "building", "running");
    assert_int_equal(job(&w)->epoch, epoch);
    assert_int_equal(job(&w)->losses, 0);
    poll_quietly(&w, &one, lease);
    result(&w, lease, lease->epoch, 200);
    wire_poll_response_done(&got);
    world_done(&w);
}

/* Over a restart of the coordinator as well. */
static void test_it_does_after_a_restart(void **state)
{
    struct world w;
    struct world_agent one;
    struct wire_poll_response got;
    const struct wire_lease *lease = lose(&w, &one, &got);
    world_restart(&w);
    assert_false(world_agent_session(&w, &one, lease));
    world_is(&w, TRACK, "building", "running");
    result(&w, lease, lease->epoch, 200);
    wire_poll_response_done(&got);
    world_done(&w);
}

/* The result of a job that was finished meanwhile, before the board has said anything else. */
static void test_a_finished_result_is_taken_up(void **state)
{
    for (int restarted = 0; restarted < 2; restarted++) {
        struct world w;
        struct world_agent one;
        struct wire_poll_response got;
        const struct wire_lease *lease = lose(&w, &one, &got);
        if (restarted)
            world_restart(&w);
        result(&w, lease, lease->epoch, 200);
        assert_int_equal(job(&w)->state, JOB_SUCCEEDED);
        world_publish(&w);
        world_is(&w, TRACK, "published", "published");
        wire_poll_response_done(&got);
        world_done(&w);
    }
}

/* Too late: another board has it by now. */
static void test_what_was_granted_again_is_lost_to_the_first(void **state)
{
    struct world w;
    struct world_agent one;
    struct wire_poll_response got, other;
    const struct wire_lease *lease = lose(&w, &one, &got);
    struct world_agent two = second(&w);
    const struct wire_lease *next = take(&w, &two, &other);
    assert_int_equal(next->epoch, lease->epoch + 1);
    assert_true(world_agent_session(&w, &one, lease)); /* it is told to cancel it */
    result(&w, lease, lease->epoch, 409);
    poll_quietly(&w, &two, next);
    world_is(&w, TRACK, "building", "running");
    world_says(&w, TRACK, "on two");
    result(&w, next, next->epoch, 200);
    wire_poll_response_done(&got);
    wire_poll_response_done(&other);
    world_done(&w);
}

/* What a poll lists and is not current is told to be cancelled. */
static void test_listed_and_not_current_is_cancelled(void **state)
{
    struct world w;
    struct world_agent one;
    struct wire_poll_response got;
    farm(&w, &one);
    struct wire_lease *lease = take(&w, &one, &got);
    struct wire_lease stranger = {.lease = (char *)(uintptr_t) "L99", .epoch = 1};
    struct wire_poll_response answer = world_agent_poll(&w, &one, &stranger, 1);
    assert_int_equal(answer.cancel.n, 1);
    assert_string_equal(answer.cancel.items[0], "L99");
    wire_poll_response_done(&answer);
    lease->epoch++;
    answer = world_agent_poll(&w, &one, lease, 1);
    assert_int_equal(answer.cancel.n, 1);
    wire_poll_response_done(&answer);
    wire_poll_response_done(&got);
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_lease_that_no_poll_lists_ends_after_its_term),
        cmocka_unit_test(test_each_poll_that_lists_it_gives_a_full_term),
        cmocka_unit_test(test_a_stall_shifts_the_term),
        cmocka_unit_test(test_a_restart_gives_a_full_term_again),
        cmocka_unit_test(test_a_granted_one_ends_after_its_term_too),
        cmocka_unit_test(test_granted_and_not_in_the_next_poll_is_queued_again),
        cmocka_unit_test(test_a_result_counts_at_the_current_epoch_alone),
        cmocka_unit_test(test_a_result_counts_once),
        cmocka_unit_test(test_a_failure_counts_once),
        cmocka_unit_test(test_a_board_that_reattaches_takes_its_lease_up),
        cmocka_unit_test(test_it_does_after_a_restart),
        cmocka_unit_test(test_a_finished_result_is_taken_up),
        cmocka_unit_test(test_what_was_granted_again_is_lost_to_the_first),
        cmocka_unit_test(test_listed_and_not_current_is_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
