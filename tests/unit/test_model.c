#include "tests/lib/model_world.h"

#define SOURCE "https://git.test/a.git"
#define MASTER "refs/heads/master"

static void one_image(struct world *w)
{
    world_init(w);
    world_image(w, "base", SOURCE, MASTER, "./mk");
    world_start(w);
    world_board(w, "one");
}

static void test_a_push_is_built_and_published(void **state)
{
    struct world w;
    one_image(&w);
    world_see(&w, SOURCE, MASTER, "c1");
    assert_string_equal(world_track_state(&w, "base@master"), "waiting");
    assert_int_equal(world_inspect(&w, NULL), 1);
    assert_string_equal(world_track_state(&w, "base@master"), "building");
    struct wire_poll_response got = world_poll(&w, "one");
    assert_int_equal(got.leases.n, 1);
    world_succeed(&w, &got.leases.items[0], "x");
    assert_int_equal(w.last_status, 200);
    assert_string_equal(world_track_state(&w, "base@master"), "publishing");
    /* the child's place, children, index, latest-amd64, latest, verify */
    assert_int_equal(world_publish(&w), 6);
    assert_string_equal(world_track_state(&w, "base@master"), "published");
    wire_poll_response_done(&got);
    world_done(&w);
}

/* The one effect of the publication that runs, which ends as the caller says. */
static struct effect only_effect(struct world *w, enum publish_step step, size_t n_tags)
{
    struct effect e = {0};
    for (size_t i = w->todo.n; i-- > 0;)
        if (w->todo.items[i].kind == EFFECT_PUBLISH) {
            assert_int_equal(e.publication, 0);
            e = w->todo.items[i];
            vec_remove(&w->todo, i);
        }
    assert_int_not_equal(e.publication, 0);
    assert_int_equal(e.step, step);
    assert_int_equal(e.tags.n, n_tags);
    return e;
}

static void step_done(struct world *w, enum publish_step step, size_t n_tags)
{
    struct effect e = only_effect(w, step, n_tags);
    world_begin(w, 1);
    for (size_t i = 0; i + 1 < n_tags; i++)
        model_on_publication_tag(w->m, e.publication, e.tags.items[i].tag);
    model_on_publication_step(w->m, e.publication, step,
                              n_tags ? e.tags.items[n_tags - 1].tag : NULL);
    world_end(w);
    effect_done(&e);
}

static void test_tags_of_a_rank_move_together_and_latest_last(void **state)
{
    struct world w;
    world_init(&w);
    world_image(&w, "base", SOURCE, MASTER, "./mk");
    strvec_add(&w.farm->images.items[0].tags, "1");
    strvec_add(&w.farm->images.items[0].tags, "1.2");
    world_start(&w);
    world_board(&w, "one");
    world_see(&w, SOURCE, MASTER, "c1");
    world_inspect(&w, NULL);
    struct wire_poll_response got = world_poll(&w, "one");
    world_succeed(&w, &got.leases.items[0], "x");
    wire_poll_response_done(&got);
    world_retain(&w);
    step_done(&w, PUBLISH_CHILDREN, 0);
    step_done(&w, PUBLISH_INDEX, 1); /* under its retention tag */
    step_done(&w, PUBLISH_TAG, 3);   /* 1-amd64, 1.2-amd64, latest-amd64 */
    /* one of two moves, the other's registry is away: only that is asked for again */
    struct effect e = only_effect(&w, PUBLISH_TAG, 2);
    world_begin(&w, 1);
    model_on_publication_tag(w.m, e.publication, "latest"); /* not of this rank: nothing */
    model_on_publication_tag(w.m, e.publication, "1.2");
    model_on_publication_failed(w.m, e.publication, PUBLISH_TAG, PUBLISH_AWAY, 0, "away", 0);
    world_end(&w);
    effect_done(&e);
    world_begin(&w, 10000);
    model_on_timer(w.m);
    world_end(&w);
    step_done(&w, PUBLISH_CHILDREN, 0); /* a registry that refuses may have lost one */
    e = only_effect(&w, PUBLISH_TAG, 1);
    assert_string_equal(e.tags.items[0].tag, "1");
    vec_push(&w.todo, e);
    step_done(&w, PUBLISH_TAG, 1);
    step_done(&w, PUBLISH_TAG, 1);
    step_done(&w, PUBLISH_VERIFY, 6);
    assert_string_equal(world_track_state(&w, "base@master"), "published");
    world_done(&w);
}

static void test_equal_output_keeps_the_manifest_and_moves_nothing(void **state)
{
    struct world w;
    one_image(&w);
    world_see(&w, SOURCE, MASTER, "c1");
    world_inspect(&w, NULL);
    struct wire_poll_response got = world_poll(&w, "one");
    world_succeed(&w, &got.leases.items[0], "x");
    wire_poll_response_done(&got);
    world_publish(&w);
    world_see(&w, SOURCE, MASTER, "c2");
    world_inspect(&w, NULL);
    got = world_poll(&w, "one");
    assert_int_equal(got.leases.n, 1);
    world_succeed(&w, &got.leases.items[0], "x");
    wire_poll_response_done(&got);
    assert_int_equal(world_publish(&w), 0);
    assert_string_equal(world_track_state(&w, "base@master"), "published");
    world_done(&w);
}

static void chain(struct world *w)
{
    world_init(w);
    world_image(w, "base", SOURCE, MASTER, "./mk");
    world_image(w, "middle", SOURCE, MASTER, NULL);
    world_start(w);
    world_board(w, "one");
}

static void test_a_dependent_waits_then_follows(void **state)
{
    struct world w;
    const char *dockerfile = "FROM r.test/osf/base:latest\n";
    chain(&w);
    world_see(&w, SOURCE, MASTER, "c1");
    world_inspect(&w, dockerfile);
    struct wire_poll_response got = world_poll(&w, "one");
    assert_int_equal(got.leases.n, 1);
    assert_string_equal(got.leases.items[0].job.image, "base");
    world_succeed(&w, &got.leases.items[0], "x");
    wire_poll_response_done(&got);
    world_publish(&w);
    assert_int_equal(world_settle(&w, dockerfile), 1);
    assert_string_equal(world_track_state(&w, "middle@master"), "published");
    /* a change of both is one build each */
    world_see(&w, SOURCE, MASTER, "c2");
    assert_int_equal(world_settle(&w, dockerfile), 2);
    assert_int_equal(world_settle(&w, dockerfile), 0);
    world_done(&w);
}

static void test_a_restart_decides_nothing(void **state)
{
    struct world w;
    const char *dockerfile = "FROM r.test/osf/base:latest\n";
    chain(&w);
    world_see(&w, SOURCE, MASTER, "c1");
    world_settle(&w, dockerfile);
    world_restart(&w);
    assert_int_equal(w.todo.n, 0);
    assert_string_equal(world_track_state(&w, "middle@master"), "published");
    assert_int_equal(world_settle(&w, dockerfile), 0);
    world_done(&w);
}

static void test_a_recipe_fails_twice_and_a_fix_publishes(void **state)
{
    struct world w;
    one_image(&w);
    world_see(&w, SOURCE, MASTER, "c1");
    world_inspect(&w, NULL);
    for (int i = 0; i < 2; i++) {
        struct wire_poll_response got = world_poll(&w, "one");
        assert_int_equal(got.leases.n, 1);
        world_fail(&w, &got.leases.items[0], WIRE_FAILURE_RECIPE);
        wire_poll_response_done(&got);
    }
    assert_string_equal(world_track_state(&w, "base@master"), "failed");
    world_see(&w, SOURCE, MASTER, "c2");
    assert_int_equal(world_settle(&w, NULL), 1);
    assert_string_equal(world_track_state(&w, "base@master"), "published");
    world_done(&w);
}

/* Of a job of the past only what planning needs is kept. */
static void test_inputs_that_come_again_are_not_built_again(void **state)
{
    struct world w;
    one_image(&w);
    world_see(&w, SOURCE, MASTER, "c1");
    assert_int_equal(world_settle(&w, NULL), 1);
    world_see(&w, SOURCE, MASTER, "c2");
    assert_int_equal(world_settle(&w, NULL), 1);
    world_restart(&w);
    world_see(&w, SOURCE, MASTER, "c1");
    assert_int_equal(world_settle(&w, NULL), 0);
    assert_string_equal(world_track_state(&w, "base@master"), "published");
    struct err err = ERR_INIT;
    world_begin(&w, 1);
    assert_int_equal(model_on_rebuild(w.m, "base@master", NULL, false, &err), 0);
    world_end(&w);
    assert_int_equal(world_settle(&w, NULL), 1);
    world_done(&w);
}

static void test_rebuild_builds_again(void **state)
{
    struct world w;
    one_image(&w);
    world_see(&w, SOURCE, MASTER, "c1");
    world_settle(&w, NULL);
    struct err err = ERR_INIT;
    world_begin(&w, 1);
    assert_int_equal(model_on_rebuild(w.m, "base@master", NULL, false, &err), 0);
    world_end(&w);
    assert_int_equal(world_settle(&w, NULL), 1);
    assert_int_equal(model_on_rebuild(w.m, "base@other", NULL, false, &err), -ENOENT);
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_push_is_built_and_published),
        cmocka_unit_test(test_tags_of_a_rank_move_together_and_latest_last),
        cmocka_unit_test(test_equal_output_keeps_the_manifest_and_moves_nothing),
        cmocka_unit_test(test_a_dependent_waits_then_follows),
        cmocka_unit_test(test_a_restart_decides_nothing),
        cmocka_unit_test(test_a_recipe_fails_twice_and_a_fix_publishes),
        cmocka_unit_test(test_inputs_that_come_again_are_not_built_again),
        cmocka_unit_test(test_rebuild_builds_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
