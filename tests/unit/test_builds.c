/* How builds go on and end, where several things happen at once. */
#include "daemon/model/objects.h"
#include "tests/lib/model_commands.h"
#include "tests/lib/model_steps.h"

#define SOURCE "https://git.test/a.git"
#define BASE   "r.test/osf/base"
#define TRACK  "base@master"

static void farm(struct world *w)
{
    world_init(w);
    world_image(w, "base", SOURCE, WORLD_MASTER, "./mk");
    world_start(w);
    world_board(w, "one");
}

/* The state in which a build's row was written last. */
static const char *build_state(struct world *w, int64_t id)
{
    const struct table *t = table_of(TABLE_BUILD);
    VEC_FOREACH (&w->rows, row)
        for (size_t i = 0; row->table == TABLE_BUILD && row->cells[0].i == id && i < t->n_columns;
             i++)
            if (str_eq(t->columns[i].name, "state"))
                return row->cells[i].s;
    return "no such build";
}

static int64_t latest(struct world *w)
{
    return track_find(w->m, TRACK)->build;
}

/* `commit` is built, and is to be published; after a step its first tag's PUT is journalled. */
static int64_t publishing(struct world *w, const char *commit, int steps)
{
    world_push(w, SOURCE, commit, NULL);
    world_build(w, "one", "base", commit);
    world_retain(w);
    for (int i = 0; i < steps; i++)
        world_step(w);
    assert_string_equal(build_state(w, latest(w)), "publishing");
    return latest(w);
}

/* Rule 2.3: from its first tag on a build is not superseded; it was published, whatever comes after it. */
static void test_newer_inputs_do_not_supersede_what_moves_its_tags(void **state)
{
    for (int verified = 0; verified < 2; verified++) {
        struct world w;
        farm(&w);
        int64_t first = publishing(&w, "c1", 1);
        world_see(&w, SOURCE, WORLD_MASTER, "c2"); /* its files are being read */
        if (verified)
            world_publish(&w);
        world_inspect(&w, NULL);
        assert_int_equal(latest(&w), first + 1);
        assert_string_equal(build_state(&w, first), "published");
        assert_int_equal(track_find(w.m, TRACK)->superseded, 0);
        assert_int_equal(world_settle(&w, NULL), 1);
        assert_string_equal(build_state(&w, first + 1), "published");
        world_done(&w);
    }
}

static void test_newer_inputs_supersede_before_the_first_tag(void **state)
{
    struct world w;
    farm(&w);
    int64_t first = publishing(&w, "c1", 0);
    world_push(&w, SOURCE, "c2", NULL);
    assert_string_equal(build_state(&w, first), "superseded");
    assert_int_equal(track_find(w.m, TRACK)->superseded, 1);
    world_done(&w);
}

/* A track that stops while its tags move: they do, and the build has published them. */
static void test_a_track_that_stops_while_its_tags_move_has_published(void **state)
{
    struct world w;
    farm(&w);
    int64_t first = publishing(&w, "c1", 1);
    world_ask(&w, COMMAND_RETIRE, TRACK);
    world_publish(&w);
    world_is(&w, TRACK, "retired", "retired");
    assert_string_equal(build_state(&w, first), "published");
    assert_int_equal(world_tag(&w, BASE, "latest"), 1);
    world_done(&w);
}

/* Rule P.6: a child that is lost when it is to be published is built again, and the build runs again. */
static void test_a_lost_child_makes_its_build_run_again(void **state)
{
    for (int held = 0; held < 2; held++) {
        struct world w;
        farm(&w);
        int64_t first = publishing(&w, "c1", 0);
        world_child_missing(&w, PLATFORM_AMD64, "linux/amd64 is gone");
        world_is(&w, TRACK, "building", "boards-busy");
        struct wire_poll_response got;
        const struct wire_lease *lease = world_lease(&w, "one", "base", &got);
        world_is(&w, TRACK, "building", "running");
        assert_string_equal(build_state(&w, first), "running");
        if (held)
            world_ask(&w, COMMAND_HOLD, TRACK);
        world_succeed(&w, lease, "again");
        wire_poll_response_done(&got);
        assert_string_equal(build_state(&w, first), held ? "held" : "running");
        if (held)
            world_ask(&w, COMMAND_RELEASE, TRACK);
        world_publish(&w);
        assert_int_equal(latest(&w), first);
        assert_string_equal(build_state(&w, first), "published");
        world_done(&w);
    }
}

/* A held build whose child the registry loses meanwhile runs again too, and is held again. */
static void test_a_held_build_runs_again(void **state)
{
    struct world w;
    farm(&w);
    world_ask(&w, COMMAND_FREEZE, NULL);
    world_push(&w, SOURCE, "c1", NULL);
    world_build(&w, "one", "base", "x");
    int64_t first = latest(&w);
    assert_string_equal(build_state(&w, first), "held");
    for (int i = 0; i < 2; i++) {
        struct effect e = world_take(&w, EFFECT_RETAIN);
        world_begin(&w, 1);
        model_on_retain_failed(w.m, e.repository, e.tags.items[0].tag, e.digest, PUBLISH_MISSING,
                               "gone", 0);
        world_end(&w);
        effect_done(&e);
        world_wait(&w, 5000);
    }
    world_is(&w, TRACK, "building", "boards-busy");
    world_build(&w, "one", "base", "y");
    assert_string_equal(build_state(&w, first), "held");
    world_ask(&w, COMMAND_THAW, NULL);
    world_publish(&w);
    assert_string_equal(build_state(&w, first), "published");
    world_done(&w);
}

/* Its publication was given up, and its tags came to name its children by another one: it published nothing. */
static void test_a_build_whose_publication_was_given_up_has_not_published(void **state)
{
    struct world w;
    farm(&w);
    world_push(&w, SOURCE, "c1", NULL);
    world_build(&w, "one", "base", "x");
    world_publish(&w);
    world_push(&w, SOURCE, "c2", NULL);
    world_build(&w, "one", "base", "y");
    world_publish(&w);
    world_push(&w, SOURCE, "c3", NULL);
    world_build(&w, "one", "base", "x"); /* as c1 gave; its generation is the third */
    world_retain(&w);
    world_ask(&w, COMMAND_ROLLBACK, TRACK);
    world_publish(&w);
    assert_string_equal(build_state(&w, latest(&w)), "unchanged");
    assert_int_equal(world_tag(&w, BASE, "latest"), 4);
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_newer_inputs_do_not_supersede_what_moves_its_tags),
        cmocka_unit_test(test_newer_inputs_supersede_before_the_first_tag),
        cmocka_unit_test(test_a_track_that_stops_while_its_tags_move_has_published),
        cmocka_unit_test(test_a_lost_child_makes_its_build_run_again),
        cmocka_unit_test(test_a_held_build_runs_again),
        cmocka_unit_test(test_a_build_whose_publication_was_given_up_has_not_published),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
