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
    /* children, index, latest-amd64, latest, verify */
    assert_int_equal(world_publish(&w), 5);
    assert_string_equal(world_track_state(&w, "base@master"), "published");
    wire_poll_response_done(&got);
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
        cmocka_unit_test(test_equal_output_keeps_the_manifest_and_moves_nothing),
        cmocka_unit_test(test_a_dependent_waits_then_follows),
        cmocka_unit_test(test_a_restart_decides_nothing),
        cmocka_unit_test(test_a_recipe_fails_twice_and_a_fix_publishes),
        cmocka_unit_test(test_rebuild_builds_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
