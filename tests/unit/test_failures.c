/* Design rule 5, a test for each row of its table. */
#include "tests/lib/model_commands.h"

#include "common/digest.h"

#define SOURCE "https://git.test/a.git"
#define MASTER "refs/heads/master"
#define TRACK  "base@master"
#define HOUR   ((int64_t)60 * 60 * 1000)
#define GIB    ((int64_t)1 << 30)

static void farm_of(struct world *w, const char *first, const char *second)
{
    world_init(w);
    world_image(w, "base", SOURCE, MASTER, "./mk");
    world_start(w);
    world_board(w, first);
    if (second)
        world_board(w, second);
}

static void push(struct world *w, const char *commit)
{
    world_see(w, SOURCE, MASTER, commit);
    world_inspect(w, NULL);
}

/* The board's poll brings exactly one lease, which the caller ends. */
static struct wire_lease *take(struct world *w, const char *board, struct wire_poll_response *got)
{
    *got = world_poll(w, board);
    assert_int_equal(got->leases.n, 1);
    return &got->leases.items[0];
}

static int offered(struct world *w, const char *board)
{
    struct wire_poll_response got = world_poll(w, board);
    int n = (int)got.leases.n;
    wire_poll_response_done(&got);
    return n;
}

static void fail_on(struct world *w, const char *board, enum wire_failure kind)
{
    struct wire_poll_response got;
    world_fail(w, take(w, board, &got), kind);
    wire_poll_response_done(&got);
}

static void succeed_on(struct world *w, const char *board)
{
    struct wire_poll_response got;
    world_succeed(w, take(w, board, &got), "x");
    wire_poll_response_done(&got);
}

static void assert_state(struct world *w, const char *state, const char *code)
{
    assert_string_equal(world_text(w, TRACK, "state", NULL), state);
    assert_string_equal(world_text(w, TRACK, "reason", "code"), code);
}

static void assert_says(struct world *w, const char *text)
{
    const char *said = world_text(w, TRACK, "reason", "text");
    if (!strstr(said, text))
        fail_msg("'%s' does not say '%s'", said, text);
}

/* ---- infra: never settles ---- */

static void test_infra_is_tried_for_ever_and_elsewhere(void **state)
{
    struct world w;
    farm_of(&w, "one", "two");
    push(&w, "c1");
    for (int i = 0; i < 20; i++) {
        const char *here = i % 2 ? "two" : "one", *there = i % 2 ? "one" : "two";
        fail_on(&w, here, WIRE_FAILURE_INFRA);
        assert_state(&w, "building", "backing-off");
        world_board(&w, there);
        world_wait(&w, 5 * 60 * 1000);
        world_board(&w, there);
        assert_int_equal(offered(&w, here), 0);
    }
    succeed_on(&w, "one");
    world_publish(&w);
    assert_state(&w, "published", "published");
    world_done(&w);
}

static void test_infra_on_the_only_board_waits(void **state)
{
    struct world w;
    farm_of(&w, "one", NULL);
    push(&w, "c1");
    fail_on(&w, "one", WIRE_FAILURE_INFRA);
    assert_int_equal(offered(&w, "one"), 0);
    world_wait(&w, 5000);
    assert_int_equal(offered(&w, "one"), 1);
    world_done(&w);
}

/* ---- recipe and rejected: once more, then failed for 1 h, doubling to 24 h ---- */

static void once_more_elsewhere(enum wire_failure kind, const char *says)
{
    struct world w;
    farm_of(&w, "one", "two");
    push(&w, "c1");
    fail_on(&w, "one", kind);
    assert_state(&w, "building", "boards-busy");
    assert_int_equal(offered(&w, "one"), 0);
    fail_on(&w, "two", kind);
    assert_state(&w, "failed", "job-failed");
    assert_says(&w, says);
    assert_says(&w, "tried again after 1 h");
    world_done(&w);
}

static void test_recipe_fails_once_more_elsewhere(void **state)
{
    once_more_elsewhere(WIRE_FAILURE_RECIPE, "recipe: it broke");
}

static void test_rejected_is_as_recipe(void **state)
{
    once_more_elsewhere(WIRE_FAILURE_REJECTED, "rejected: it broke");
}

static void fail_round(struct world *w)
{
    fail_on(w, "one", WIRE_FAILURE_RECIPE);
    fail_on(w, "one", WIRE_FAILURE_RECIPE);
    assert_state(w, "failed", "job-failed");
}

static void test_failed_is_tried_again_after_a_doubling_delay(void **state)
{
    static const int hours[] = {1, 2, 4, 8, 16, 24, 24};
    struct world w;
    farm_of(&w, "one", NULL);
    push(&w, "c1");
    for (size_t i = 0; i < sizeof(hours) / sizeof(*hours); i++) {
        fail_round(&w);
        world_wait(&w, hours[i] * HOUR - 60000);
        assert_int_equal(offered(&w, "one"), 0);
        world_wait(&w, 60000);
        assert_string_equal(world_text(&w, TRACK, "why", "code"), "tried-again");
    }
    succeed_on(&w, "one");
    world_publish(&w);
    assert_state(&w, "published", "published");
    world_done(&w);
}

static void test_the_delay_is_kept_over_a_restart(void **state)
{
    struct world w;
    farm_of(&w, "one", NULL);
    push(&w, "c1");
    fail_round(&w);
    world_wait(&w, HOUR);
    fail_round(&w);
    world_wait(&w, HOUR); /* of two; what is left is stored with each quarter of it */
    world_restart(&w);
    assert_state(&w, "failed", "job-failed");
    world_wait(&w, HOUR - 60000);
    assert_int_equal(offered(&w, "one"), 0);
    world_wait(&w, 60000);
    assert_int_equal(offered(&w, "one"), 1);
    world_done(&w);
}

/* A coordinator that is restarted more often than hourly waits no longer for that. */
static void test_restarts_do_not_put_a_delay_off(void **state)
{
    struct world w;
    farm_of(&w, "one", NULL);
    push(&w, "c1");
    fail_round(&w);
    for (int i = 0; i < 4; i++) {
        world_wait(&w, 15 * 60000);
        world_restart(&w);
    }
    world_wait(&w, 15 * 60000);
    assert_int_equal(offered(&w, "one"), 1);
    world_done(&w);
}

static void test_a_new_key_and_a_request_are_tried_at_once(void **state)
{
    struct world w;
    struct err err = ERR_INIT;
    farm_of(&w, "one", NULL);
    push(&w, "c1");
    fail_round(&w);
    push(&w, "c2");
    fail_round(&w);
    world_begin(&w, 1);
    assert_int_equal(model_on_rebuild(w.m, TRACK, NULL, false, &err), 0);
    world_end(&w);
    succeed_on(&w, "one");
    world_done(&w);
}

/* ---- timeout: once, on another board ---- */

static void test_timeout_once_elsewhere(void **state)
{
    struct world w;
    farm_of(&w, "one", "two");
    push(&w, "c1");
    fail_on(&w, "one", WIRE_FAILURE_TIMEOUT);
    assert_int_equal(offered(&w, "one"), 0);
    fail_on(&w, "two", WIRE_FAILURE_TIMEOUT);
    assert_state(&w, "failed", "job-failed");
    assert_says(&w, "timeout");
    world_done(&w);
}

static void test_timeout_with_no_elsewhere_has_failed(void **state)
{
    struct world w;
    farm_of(&w, "one", NULL);
    push(&w, "c1");
    fail_on(&w, "one", WIRE_FAILURE_TIMEOUT);
    assert_state(&w, "failed", "job-failed");
    world_wait(&w, HOUR);
    assert_int_equal(offered(&w, "one"), 1);
    world_done(&w);
}

/* ---- memory: only on a board with more ---- */

static void test_memory_needs_a_board_with_more(void **state)
{
    struct world w;
    farm_of(&w, "one", NULL);
    push(&w, "c1");
    fail_on(&w, "one", WIRE_FAILURE_MEMORY);
    assert_state(&w, "failed", "job-failed");
    assert_says(&w, "tried again on a board with more than 1024 MiB");
    world_wait(&w, 30 * HOUR); /* time alone changes nothing */
    assert_int_equal(offered(&w, "one"), 0);
    assert_state(&w, "failed", "job-failed");
    /* as small, and then larger: at once */
    world_board(&w, "two");
    assert_state(&w, "failed", "job-failed");
    world_session(&w, "two", "two", 4 * GIB, NULL);
    assert_state(&w, "building", "boards-busy");
    assert_int_equal(offered(&w, "one"), 0);
    world_done(&w);
}

/* ---- poison: two boards lost in the middle of it ---- */

/* The board takes the job, says that it runs, and is not heard of any more. */
static void lose(struct world *w, const char *board)
{
    struct wire_poll_response got;
    world_session(w, board, board, GIB, take(w, board, &got));
    world_wait(w, 91000);
    wire_poll_response_done(&got);
}

static void test_two_boards_lost_is_poison(void **state)
{
    struct world w;
    farm_of(&w, "one", "two");
    push(&w, "c1");
    lose(&w, "one");
    assert_string_equal(world_text(&w, TRACK, "state", NULL), "building");
    world_session(&w, "two", "two", GIB, NULL);
    lose(&w, "two");
    assert_state(&w, "failed", "job-failed");
    assert_says(&w, "poison: board two was lost");
    world_done(&w);
}

static void test_agents_that_restart_do_not_poison(void **state)
{
    struct world w;
    farm_of(&w, "one", NULL);
    push(&w, "c1");
    for (int i = 0; i < 4; i++) {
        struct wire_poll_response got;
        world_session(&w, "one", "one", GIB, take(&w, "one", &got));
        wire_poll_response_done(&got); /* the next poll's session holds nothing */
    }
    succeed_on(&w, "one");
    world_done(&w);
}

static void test_a_board_that_comes_back_was_not_lost(void **state)
{
    struct world w;
    farm_of(&w, "one", NULL);
    push(&w, "c1");
    struct wire_poll_response got;
    struct wire_lease *lease = take(&w, "one", &got);
    for (int i = 0; i < 3; i++) {
        world_session(&w, "one", "one", GIB, lease);
        assert_state(&w, "building", "running");
        world_wait(&w, 91000);
    }
    world_session(&w, "one", "one", GIB, lease);
    world_succeed(&w, lease, "x");
    assert_int_equal(w.last_status, 200);
    wire_poll_response_done(&got);
    world_done(&w);
}

/* The second board that is lost with it comes back when the job has failed of that. Returns its lease, borrowed of *ret. */
static struct wire_lease *come_back_after_poison(struct world *w, struct wire_poll_response *ret)
{
    farm_of(w, "one", "two");
    push(w, "c1");
    lose(w, "one");
    world_session(w, "two", "two", GIB, NULL);
    struct wire_lease *lease = take(w, "two", ret);
    world_session(w, "two", "two", GIB, lease);
    world_wait(w, 91000);
    assert_state(w, "failed", "job-failed");
    world_session(w, "two", "two", GIB, lease);
    return lease;
}

static void test_a_late_success_undoes_poison(void **state)
{
    struct world w;
    struct wire_poll_response got;
    world_succeed(&w, come_back_after_poison(&w, &got), "x");
    assert_int_equal(w.last_status, 200);
    wire_poll_response_done(&got);
    world_publish(&w);
    world_settle(&w, NULL);
    assert_state(&w, "published", "published");
    world_done(&w);
}

/* Its attempt goes on: it is not begun on another board as well. */
static void test_what_is_tried_again_while_it_runs_goes_on(void **state)
{
    struct world w;
    struct wire_poll_response got;
    struct wire_lease *lease = come_back_after_poison(&w, &got);
    world_ask(&w, COMMAND_RETRY, TRACK);
    assert_state(&w, "building", "running");
    assert_int_equal(offered(&w, "one"), 0);
    world_succeed(&w, lease, "x");
    assert_int_equal(w.last_status, 200);
    wire_poll_response_done(&got);
    world_publish(&w);
    assert_state(&w, "published", "published");
    world_done(&w);
}

/* ---- blame ---- */

static int64_t blames(struct world *w, const char *name, char *state, size_t n)
{
    json_t *view = view_boards(w->m), *b;
    size_t i;
    int64_t count = -1;
    json_array_foreach (json_object_get(view, "boards"), i, b) {
        if (!str_eq(json_string_value(json_object_get(b, "name")), name))
            continue;
        count = json_integer_value(json_object_get(b, "blames"));
        snprintf(state, n, "%s: %s", json_string_value(json_object_get(b, "state")),
                 json_is_null(json_object_get(b, "reason"))
                     ? ""
                     : json_string_value(json_object_get(json_object_get(b, "reason"), "text")));
    }
    json_decref(view);
    return count;
}

static void test_a_board_is_blamed_when_another_succeeds(void **state)
{
    struct world w;
    char text[256];
    farm_of(&w, "one", "two");
    push(&w, "c1");
    fail_on(&w, "one", WIRE_FAILURE_RECIPE);
    assert_int_equal(blames(&w, "one", text, sizeof(text)), 0);
    succeed_on(&w, "two");
    assert_int_equal(blames(&w, "one", text, sizeof(text)), 1);
    assert_int_equal(blames(&w, "two", text, sizeof(text)), 0);
    world_done(&w);
}

static void test_nobody_is_blamed_when_all_fail_or_for_infra(void **state)
{
    struct world w;
    char text[256];
    farm_of(&w, "one", "two");
    push(&w, "c1");
    fail_on(&w, "one", WIRE_FAILURE_RECIPE);
    fail_on(&w, "two", WIRE_FAILURE_RECIPE);
    push(&w, "c2");
    fail_on(&w, "one", WIRE_FAILURE_INFRA);
    world_board(&w, "two");
    world_wait(&w, 5000);
    succeed_on(&w, "two");
    assert_int_equal(blames(&w, "one", text, sizeof(text)), 0);
    assert_int_equal(blames(&w, "two", text, sizeof(text)), 0);
    world_done(&w);
}

static void blame_one(struct world *w, int times)
{
    for (int i = 0; i < times; i++) {
        char commit[16];
        snprintf(commit, sizeof(commit), "c%d", i);
        world_session(w, "two", "two", GIB, NULL);
        push(w, commit);
        fail_on(w, "one", WIRE_FAILURE_RECIPE);
        succeed_on(w, "two");
        world_publish(w);
    }
}

static void test_blamed_too_often_is_quarantined_until_started_anew(void **state)
{
    struct world w;
    char text[256];
    farm_of(&w, "one", "two");
    blame_one(&w, 3);
    assert_int_equal(blames(&w, "one", text, sizeof(text)), 3);
    assert_non_null(strstr(text, "quarantined: is quarantined: 3 jobs failed on it"));
    assert_non_null(strstr(text, "once its agent is started anew"));
    /* not by a restart of the coordinator, nor by a new session of the same agent */
    world_restart(&w);
    world_session(&w, "one", "one", GIB, NULL);
    blames(&w, "one", text, sizeof(text));
    assert_memory_equal(text, "quarantined", 11);
    world_session(&w, "one", "one again", GIB, NULL);
    assert_int_equal(blames(&w, "one", text, sizeof(text)), 0);
    assert_memory_equal(text, "online", 6);
    world_done(&w);
}

static void test_ten_successes_forget_the_blame(void **state)
{
    struct world w;
    char text[256];
    farm_of(&w, "one", "two");
    blame_one(&w, 2);
    for (int i = 0; i < 10; i++) {
        char commit[16];
        snprintf(commit, sizeof(commit), "d%d", i);
        world_board(&w, "one");
        push(&w, commit);
        succeed_on(&w, "one");
        world_publish(&w);
    }
    assert_int_equal(blames(&w, "one", text, sizeof(text)), 0);
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_infra_is_tried_for_ever_and_elsewhere),
        cmocka_unit_test(test_infra_on_the_only_board_waits),
        cmocka_unit_test(test_recipe_fails_once_more_elsewhere),
        cmocka_unit_test(test_rejected_is_as_recipe),
        cmocka_unit_test(test_failed_is_tried_again_after_a_doubling_delay),
        cmocka_unit_test(test_the_delay_is_kept_over_a_restart),
        cmocka_unit_test(test_restarts_do_not_put_a_delay_off),
        cmocka_unit_test(test_a_new_key_and_a_request_are_tried_at_once),
        cmocka_unit_test(test_timeout_once_elsewhere),
        cmocka_unit_test(test_timeout_with_no_elsewhere_has_failed),
        cmocka_unit_test(test_memory_needs_a_board_with_more),
        cmocka_unit_test(test_two_boards_lost_is_poison),
        cmocka_unit_test(test_agents_that_restart_do_not_poison),
        cmocka_unit_test(test_a_board_that_comes_back_was_not_lost),
        cmocka_unit_test(test_a_late_success_undoes_poison),
        cmocka_unit_test(test_what_is_tried_again_while_it_runs_goes_on),
        cmocka_unit_test(test_a_board_is_blamed_when_another_succeeds),
        cmocka_unit_test(test_nobody_is_blamed_when_all_fail_or_for_infra),
        cmocka_unit_test(test_blamed_too_often_is_quarantined_until_started_anew),
        cmocka_unit_test(test_ten_successes_forget_the_blame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
