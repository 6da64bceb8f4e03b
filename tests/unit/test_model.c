#include "daemon/model/objects.h"
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
    /* the child's place; children and index; tags, and all read back: what each answers is a commit */
    assert_int_equal(world_publish(&w), 3);
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
    model_on_publication_step(w->m, e.publication, step);
    world_end(w);
    effect_done(&e);
}

/* Of so many of the effect's tags it is told that they were moved, and then that the registry is away. */
static void tags_fail(struct world *w, size_t n)
{
    struct effect e = only_effect(w, PUBLISH_VERIFY, 6);
    world_begin(w, 1);
    for (size_t i = 0; i < n; i++)
        model_on_publication_tag(w->m, e.publication, e.tags.items[i].tag);
    model_on_publication_failed(w->m, e.publication, PUBLISH_TAGS, PUBLISH_AWAY, 0, "away", 0);
    world_end(w);
    effect_done(&e);
    world_begin(w, 10000);
    model_on_timer(w->m);
    world_end(w);
    step_done(w, PUBLISH_CHILDREN, 0); /* a registry that refuses may have lost one */
}

/* Whether the publication has moved the tag, and the farm's record says so. */
static bool moved(struct world *w, const char *name)
{
    const struct tag *tag = tag_find(w->m, "r.test/osf/base", name);
    bool done = false;
    VEC_FOREACH (&publication_find(w->m, 1)->tags, pt)
        done = done || ((*pt)->done && str_eq((*pt)->tag, name));
    assert_int_equal(done, tag && tag->publication == 1);
    return done;
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
    step_done(&w, PUBLISH_INDEX, 1); /* under its retention tag */
    struct effect e = only_effect(&w, PUBLISH_VERIFY, 6);
    static const struct {
        const char *tag;
        int rank;
    } all[] = {{"latest-amd64", 0}, {"1-amd64", 0}, {"1.2-amd64", 0}, {"1", 1},
               {"1.2", 1},          {"latest", 2}};
    for (size_t i = 0; i < 6; i++) {
        assert_string_equal(e.tags.items[i].tag, all[i].tag);
        assert_int_equal(e.tags.items[i].rank, all[i].rank);
    }
    world_begin(&w, 1);
    model_on_publication_tag(w.m, e.publication, "latest"); /* not before the others: nothing */
    world_end(&w);
    vec_push(&w.todo, e);
    assert_false(moved(&w, "latest"));
    tags_fail(&w, 1);
    assert_true(moved(&w, "latest-amd64"));
    assert_false(moved(&w, "1-amd64"));
    tags_fail(&w, 4);
    assert_true(moved(&w, "1-amd64") && moved(&w, "1"));
    assert_false(moved(&w, "1.2") || moved(&w, "latest"));
    world_restart(&w); /* asks for all of them again: those that are right are left alone */
    step_done(&w, PUBLISH_VERIFY, 6);
    assert_true(moved(&w, "1.2") && moved(&w, "latest"));
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
