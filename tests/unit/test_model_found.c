/* What random histories (tests/model) have found, in short. */
#include "common/digest.h"
#include "daemon/model/objects.h"
#include "tests/lib/model_world.h"

#define SOURCE "https://git.test/a.git"
#define MASTER "refs/heads/master"
#define TRACK  "base@master"

static void one_image(struct world *w)
{
    world_init(w);
    world_image(w, "base", SOURCE, MASTER, "./mk");
    world_start(w);
    world_board(w, "one");
}

static void push(struct world *w, const char *commit)
{
    world_see(w, SOURCE, MASTER, commit);
    world_inspect(w, NULL);
}

/* The build of a first push, which is about to be published. */
static void built(struct world *w)
{
    push(w, "c1");
    struct wire_poll_response got = world_poll(w, "one");
    world_succeed(w, &got.leases.items[0], "x");
    wire_poll_response_done(&got);
    world_retain(w);
    assert_string_equal(world_track_state(w, TRACK), "publishing");
}

/* Takes the one step of a publication that is asked for. */
static struct effect take_step(struct world *w)
{
    struct effect e = {0};
    for (size_t i = w->todo.n; i-- > 0;)
        if (w->todo.items[i].kind == EFFECT_PUBLISH) {
            e = w->todo.items[i];
            vec_remove(&w->todo, i);
        }
    return e;
}

static void test_newer_inputs_follow_a_build_that_was_let_finish(void **state)
{
    struct world w;
    one_image(&w);
    push(&w, "c1");
    push(&w, "c2");
    push(&w, "c3");
    struct wire_poll_response got = world_poll(&w, "one");
    push(&w, "c4"); /* superseded twice: the build of c3 may finish */
    assert_int_equal(got.leases.n, 1);
    world_succeed(&w, &got.leases.items[0], "x");
    wire_poll_response_done(&got);
    assert_int_equal(world_settle(&w, NULL), 1); /* c4 */
    assert_string_equal(world_track_state(&w, TRACK), "published");
    world_done(&w);
}

/* They need not wait for its last tag. */
static void test_newer_inputs_follow_from_the_first_tag_on(void **state)
{
    struct world w;
    one_image(&w);
    push(&w, "c1");
    push(&w, "c2");
    push(&w, "c3");
    struct wire_poll_response got = world_poll(&w, "one");
    push(&w, "c4");
    int64_t third = track_find(w.m, TRACK)->build;
    world_succeed(&w, &got.leases.items[0], "x");
    wire_poll_response_done(&got);
    world_retain(&w);
    for (struct effect e = take_step(&w);; e = take_step(&w)) {
        if (e.step == PUBLISH_VERIFY) {
            effect_done(&e);
            break;
        }
        assert_int_equal(track_find(w.m, TRACK)->build, third);
        world_begin(&w, 1);
        model_on_publication_step(w.m, e.publication, e.step);
        world_end(&w);
        effect_done(&e);
    }
    assert_int_not_equal(track_find(w.m, TRACK)->build, third);
    world_done(&w);
}

static void test_a_tag_read_back_as_something_else_is_put_again(void **state)
{
    struct world w;
    one_image(&w);
    built(&w);
    struct effect e = take_step(&w);
    for (; e.step != PUBLISH_VERIFY; e = take_step(&w)) {
        world_begin(&w, 1);
        model_on_publication_step(w.m, e.publication, e.step);
        world_end(&w);
        effect_done(&e);
    }
    world_begin(&w, 1);
    model_on_publication_failed(w.m, e.publication, PUBLISH_VERIFY, PUBLISH_AWAY, PLATFORM_COUNT,
                                "latest was read back as another", 0);
    world_end(&w);
    effect_done(&e);
    world_wait(&w, 10000);
    e = take_step(&w);
    assert_int_equal(e.step, PUBLISH_VERIFY);
    VEC_FOREACH (&publication_find(w.m, e.publication)->tags, pt)
        assert_false((*pt)->done);
    vec_push(&w.todo, e);
    world_settle(&w, NULL);
    assert_string_equal(world_track_state(&w, TRACK), "published");
    world_done(&w);
}

static void test_a_cancelled_build_is_not_published(void **state)
{
    struct world w;
    struct err err = ERR_INIT;
    one_image(&w);
    built(&w);
    world_begin(&w, 1);
    assert_int_equal(model_on_cancel_build(w.m, 1, &err), 0);
    world_end(&w);
    assert_string_equal(world_track_state(&w, TRACK), "cancelled");
    struct effect e = take_step(&w);
    world_begin(&w, 1); /* the answer of what was on its way */
    model_on_publication_step(w.m, e.publication, e.step);
    world_end(&w);
    effect_done(&e);
    assert_int_equal(world_publish(&w), 0);
    world_restart(&w);
    assert_string_equal(world_track_state(&w, TRACK), "cancelled");
    world_done(&w);
}

static void test_a_ref_that_comes_back_is_built(void **state)
{
    struct world w;
    one_image(&w);
    struct seen_ref other = {.name = "refs/heads/other", .commit = "c0", .descends = true};
    push(&w, "c1");
    for (int i = 0; i < 2; i++) { /* gone */
        world_begin(&w, 1);
        model_on_refs(w.m, SOURCE, &other, 1);
        world_end(&w);
    }
    assert_string_equal(world_track_state(&w, TRACK), "deleted");
    push(&w, "c1");
    assert_string_equal(world_track_state(&w, TRACK), "building");
    assert_int_equal(world_settle(&w, NULL), 1);
    assert_string_equal(world_track_state(&w, TRACK), "published");
    world_done(&w);
}

static void test_a_restart_knows_who_backs_off(void **state)
{
    struct world w;
    one_image(&w);
    push(&w, "c1");
    struct wire_poll_response got = world_poll(&w, "one");
    world_fail(&w, &got.leases.items[0], WIRE_FAILURE_INFRA);
    wire_poll_response_done(&got);
    assert_string_equal(world_text(&w, TRACK, "reason", "code"), "backing-off");
    world_restart(&w);
    assert_string_equal(world_text(&w, TRACK, "reason", "code"), "backing-off");
    world_done(&w);
}

/* A person asks to try again what was cancelled, while the files of another commit are read: they turn out to be the
 * same. */
static void test_a_retry_outlives_a_restart(void **state)
{
    struct world w;
    struct err err = ERR_INIT;
    struct command_answer answer = {0};
    struct command retry = {.verb = COMMAND_RETRY, .track = TRACK, .who = "a test"};
    struct context_facts same = {.exists = true, .time = 1600000000, .size = 10};
    char id[DIGEST_SIZE];
    digest_of("c1", 2, id);
    same.id = id;
    one_image(&w);
    push(&w, "c1");
    world_begin(&w, 1);
    assert_int_equal(model_on_cancel_build(w.m, 1, &err), 0);
    world_end(&w);
    world_see(&w, SOURCE, MASTER, "c2");
    assert_string_equal(world_text(&w, TRACK, "reason", "code"), "inspecting");
    world_begin(&w, 1);
    assert_int_equal(model_on_command(w.m, &retry, &answer, &err), 0);
    world_end(&w);
    assert_true(answer.changed);
    command_answer_done(&answer);
    world_restart(&w);
    world_begin(&w, 1);
    model_on_context(w.m, SOURCE, "c2", "", NULL, &same);
    world_end(&w);
    assert_string_equal(world_track_state(&w, TRACK), "building");
    world_done(&w);
}

static void test_a_restart_knows_what_could_not_be_read(void **state)
{
    struct world w;
    one_image(&w);
    world_see(&w, SOURCE, MASTER, "c1");
    world_begin(&w, 1);
    model_on_context_failed(w.m, SOURCE, "c1", "", NULL, "no route to host");
    world_end(&w);
    assert_string_equal(world_text(&w, TRACK, "reason", "code"), "source-away");
    world_restart(&w);
    assert_string_equal(world_text(&w, TRACK, "reason", "code"), "source-away");
    assert_int_equal(world_inspect(&w, NULL), 1); /* asked again at once */
    assert_string_equal(world_track_state(&w, TRACK), "building");
    world_done(&w);
}

static void test_a_restart_knows_which_base_is_gone(void **state)
{
    struct world w;
    world_init(&w);
    world_image(&w, "base", SOURCE, MASTER, NULL);
    world_start(&w);
    world_see(&w, SOURCE, MASTER, "c1");
    world_inspect(&w, "FROM debian:12\n");
    world_begin(&w, 1);
    model_on_base_failed(w.m, "docker.io/library/debian:12", true, "no such tag", 0);
    world_end(&w);
    assert_string_equal(world_text(&w, TRACK, "reason", "code"), "base-missing");
    world_restart(&w);
    assert_string_equal(world_text(&w, TRACK, "reason", "code"), "base-missing");
    world_done(&w);
}

static void test_a_restart_knows_that_the_registry_was_away(void **state)
{
    struct world w;
    one_image(&w);
    push(&w, "c1");
    struct wire_poll_response got = world_poll(&w, "one");
    world_succeed(&w, &got.leases.items[0], "x");
    wire_poll_response_done(&got);
    const struct effect *e = &w.todo.items[0];
    while (e->kind != EFFECT_RETAIN)
        e++;
    world_begin(&w, 1);
    model_on_retain_failed(w.m, e->repository, e->tags.items[0].tag, e->digest, PUBLISH_AWAY,
                           "no route to host", 0);
    world_end(&w);
    assert_string_equal(world_text(&w, TRACK, "reason", "code"), "registry-away");
    world_restart(&w);
    assert_string_equal(world_text(&w, TRACK, "reason", "code"), "registry-away");
    world_publish(&w);
    assert_string_equal(world_track_state(&w, TRACK), "published");
    world_done(&w);
}

/* The output of a key that came again was collected meanwhile, and the build that wants it is let finish though inputs
 * are newer by then: what it is built on may be kept no more, so that it is those that are built. */
static void test_what_may_finish_and_is_lost_is_superseded(void **state)
{
    struct world w;
    one_image(&w);
    push(&w, "c1");
    struct wire_poll_response got = world_poll(&w, "one");
    cleanup_free char *key = xstrdup(got.leases.items[0].job.key);
    world_succeed(&w, &got.leases.items[0], "x");
    wire_poll_response_done(&got);
    push(&w, "c2");
    push(&w, "c1");
    push(&w, "c3"); /* superseded twice: the build of c1 may finish */
    for (int again = 0; again < 2; again++) {
        for (size_t i = w.todo.n; i-- > 0;) {
            struct effect e = w.todo.items[i];
            if (e.kind != EFFECT_RETAIN)
                continue;
            vec_remove(&w.todo, i);
            world_begin(&w, 1);
            model_on_retain_failed(w.m, e.repository, e.tags.items[0].tag, e.digest,
                                   PUBLISH_MISSING, "no such manifest", 0);
            world_end(&w);
            effect_done(&e);
        }
        world_wait(&w, 5000);
    }
    got = world_poll(&w, "one");
    assert_int_equal(got.leases.n, 1);
    assert_string_not_equal(got.leases.items[0].job.key, key);
    world_succeed(&w, &got.leases.items[0], "y");
    wire_poll_response_done(&got);
    assert_int_equal(world_settle(&w, NULL), 0);
    assert_string_equal(world_track_state(&w, TRACK), "published");
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_newer_inputs_follow_a_build_that_was_let_finish),
        cmocka_unit_test(test_newer_inputs_follow_from_the_first_tag_on),
        cmocka_unit_test(test_a_tag_read_back_as_something_else_is_put_again),
        cmocka_unit_test(test_a_cancelled_build_is_not_published),
        cmocka_unit_test(test_a_ref_that_comes_back_is_built),
        cmocka_unit_test(test_a_restart_knows_who_backs_off),
        cmocka_unit_test(test_a_retry_outlives_a_restart),
        cmocka_unit_test(test_a_restart_knows_what_could_not_be_read),
        cmocka_unit_test(test_a_restart_knows_which_base_is_gone),
        cmocka_unit_test(test_a_restart_knows_that_the_registry_was_away),
        cmocka_unit_test(test_what_may_finish_and_is_lost_is_superseded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
