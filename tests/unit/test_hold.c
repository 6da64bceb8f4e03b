/* Hold, release, freeze, thaw, pin, rollback, promote: what tags name, before and after a restart. */
#include "daemon/model/objects.h"
#include "tests/lib/model_commands.h"

#include <errno.h>

#define SOURCE "https://git.test/a.git"
#define MASTER "refs/heads/master"
#define BASE   "r.test/osf/base"
#define TRACK  "base@master"

static void one_image(struct world *w)
{
    world_init(w);
    world_image(w, "base", SOURCE, MASTER, "./mk");
    world_start(w);
    world_board(w, "one");
    world_see(w, SOURCE, MASTER, "c1");
    world_settle(w, NULL);
}

static void push(struct world *w, const char *commit)
{
    world_see(w, SOURCE, MASTER, commit);
    world_settle(w, NULL);
}

static void test_a_held_track_builds_and_publishes_nothing(void **state)
{
    struct world w;
    one_image(&w);
    int64_t first = world_tag(&w, BASE, "latest");
    assert_true(world_ask(&w, COMMAND_HOLD, TRACK));
    assert_false(world_ask(&w, COMMAND_HOLD, TRACK));
    assert_string_equal(world_track_state(&w, TRACK), "published");
    push(&w, "c2");
    push(&w, "c3");
    assert_string_equal(world_track_state(&w, TRACK), "held");
    assert_string_equal(world_text(&w, TRACK, "reason", "code"), "held");
    assert_int_equal(world_tag(&w, BASE, "latest"), first);
    world_restart(&w);
    assert_int_equal(world_settle(&w, NULL), 0);
    assert_string_equal(world_track_state(&w, TRACK), "held");
    assert_true(world_ask(&w, COMMAND_RELEASE, TRACK));
    assert_false(world_ask(&w, COMMAND_RELEASE, TRACK));
    assert_int_equal(world_settle(&w, NULL), 0);
    assert_string_equal(world_track_state(&w, TRACK), "published");
    assert_int_equal(world_tag(&w, BASE, "latest"), first + 1);
    world_done(&w);
}

static void test_a_freeze_holds_all_and_survives(void **state)
{
    struct world w;
    one_image(&w);
    int64_t first = world_tag(&w, BASE, "latest");
    assert_true(world_ask(&w, COMMAND_FREEZE, NULL));
    assert_false(world_ask(&w, COMMAND_FREEZE, NULL));
    push(&w, "c2");
    assert_string_equal(world_text(&w, TRACK, "reason", "code"), "frozen");
    world_restart(&w);
    world_settle(&w, NULL);
    assert_string_equal(world_text(&w, TRACK, "reason", "code"), "frozen");
    assert_int_equal(world_tag(&w, BASE, "latest"), first);
    struct command release = {.verb = COMMAND_RELEASE, .track = TRACK};
    world_refused(&w, &release, -EBUSY, "sheafctl thaw");
    assert_true(world_ask(&w, COMMAND_THAW, NULL));
    assert_false(world_ask(&w, COMMAND_THAW, NULL));
    world_settle(&w, NULL);
    assert_int_equal(world_tag(&w, BASE, "latest"), first + 1);
    w.farm->freeze = true;
    struct command thaw = {.verb = COMMAND_THAW};
    world_refused(&w, &thaw, -EBUSY, "farm.yaml freezes");
    world_done(&w);
}

/* Takes `n` steps of the publication that runs. */
static void steps(struct world *w, int n)
{
    for (size_t i = 0; n > 0 && i < w->todo.n;) {
        struct effect e = w->todo.items[i];
        if (e.kind != EFFECT_PUBLISH) {
            i++;
            continue;
        }
        vec_remove(&w->todo, i);
        world_begin(w, 1);
        model_on_publication_step(w->m, e.publication, e.step);
        world_end(w);
        effect_done(&e);
        n--;
    }
}

static void build_to_publishing(struct world *w, const char *commit)
{
    world_see(w, SOURCE, MASTER, commit);
    world_inspect(w, NULL);
    struct wire_poll_response got = world_poll(w, "one");
    assert_int_equal(got.leases.n, 1);
    world_succeed(w, &got.leases.items[0], got.leases.items[0].job.key);
    wire_poll_response_done(&got);
    world_retain(w);
    assert_string_equal(world_track_state(w, TRACK), "publishing");
}

static void test_a_hold_stops_what_is_not_journalled(void **state)
{
    struct world w;
    one_image(&w);
    int64_t first = world_tag(&w, BASE, "latest");
    build_to_publishing(&w, "c2");
    world_ask(&w, COMMAND_HOLD, TRACK);
    world_settle(&w, NULL);
    assert_string_equal(world_track_state(&w, TRACK), "held");
    assert_int_equal(world_tag(&w, BASE, "latest"), first);
    /* by a freeze, too */
    world_ask(&w, COMMAND_RELEASE, TRACK);
    assert_string_equal(world_track_state(&w, TRACK), "publishing");
    world_ask(&w, COMMAND_FREEZE, NULL);
    world_settle(&w, NULL);
    assert_int_equal(world_tag(&w, BASE, "latest"), first);
    world_done(&w);
}

static void test_what_is_journalled_runs_to_its_end(void **state)
{
    struct world w;
    one_image(&w);
    int64_t first = world_tag(&w, BASE, "latest");
    build_to_publishing(&w, "c2");
    steps(&w, 1); /* the first tag's PUT is journalled */
    world_ask(&w, COMMAND_HOLD, TRACK);
    world_restart(&w);
    world_settle(&w, NULL);
    assert_true(world_tag(&w, BASE, "latest") > first);
    assert_string_equal(world_track_state(&w, TRACK), "published");
    world_done(&w);
}

static void test_rollback_returns_and_stays(void **state)
{
    struct world w;
    one_image(&w);
    cleanup_free char *one = xstrdup(world_tag_digest(&w, BASE, "latest"));
    struct command rollback = {.verb = COMMAND_ROLLBACK, .track = TRACK, .who = "ann"};
    world_refused(&w, &rollback, -EBUSY, "the only one");
    push(&w, "c2");
    cleanup_free char *two = xstrdup(world_tag_digest(&w, BASE, "latest"));
    int64_t at = world_tag(&w, BASE, "latest");
    assert_true(world_do(&w, &rollback));
    assert_false(world_do(&w, &rollback));
    assert_string_equal(world_track_state(&w, TRACK), "publishing");
    world_restart(&w);
    assert_int_equal(world_settle(&w, NULL), 0);
    assert_string_equal(world_tag_digest(&w, BASE, "latest"), one);
    assert_int_equal(world_tag(&w, BASE, "latest"), at + 1); /* a publication of its own */
    assert_string_equal(world_track_state(&w, TRACK), "held");
    assert_string_equal(world_text(&w, TRACK, "reason", "code"), "pinned");
    assert_false(world_do(&w, &rollback));
    /* it builds on, and stays */
    push(&w, "c3");
    assert_string_equal(world_tag_digest(&w, BASE, "latest"), one);
    /* back to what it was, by the index's digest */
    struct command pin = {.verb = COMMAND_PIN, .track = TRACK, .publication = two};
    assert_true(world_do(&w, &pin));
    assert_false(world_do(&w, &pin));
    world_settle(&w, NULL);
    assert_string_equal(world_tag_digest(&w, BASE, "latest"), two);
    pin.publication = "99";
    world_refused(&w, &pin, -ENOENT, "those that it has: 2, 3, 4");
    pin.publication = NULL;
    world_refused(&w, &pin, -EINVAL, "which one");
    assert_true(world_ask(&w, COMMAND_RELEASE, TRACK));
    world_settle(&w, NULL);
    assert_string_not_equal(world_tag_digest(&w, BASE, "latest"), two);
    assert_string_equal(world_track_state(&w, TRACK), "published");
    world_done(&w);
}

/* Somebody sees that the newest goes out, and wants it back. Before its first tag, nothing is there to return from. */
static void test_rollback_of_what_moves_its_tags(void **state)
{
    struct command rollback = {.verb = COMMAND_ROLLBACK, .track = TRACK, .who = "ann"};
    struct world w;
    one_image(&w);
    int64_t at = world_tag(&w, BASE, "latest");
    cleanup_free char *one = xstrdup(world_tag_digest(&w, BASE, "latest"));
    build_to_publishing(&w, "c2");
    world_refused(&w, &rollback, -EBUSY,
                  "publication 2 has not begun with its tags: sheafctl hold");
    steps(&w, 1); /* the first tag's PUT is journalled */
    assert_true(world_do(&w, &rollback));
    assert_false(world_do(&w, &rollback));
    world_restart(&w);
    assert_false(world_do(&w, &rollback));
    world_settle(&w, NULL);
    assert_string_equal(world_tag_digest(&w, BASE, "latest"), one);
    assert_int_equal(world_tag(&w, BASE, "latest"), at + 2); /* the second ran to its end before */
    assert_string_equal(world_text(&w, TRACK, "reason", "code"), "pinned");
    assert_false(world_do(&w, &rollback));
    world_done(&w);
}

/* With an older one behind it, what is returned from is what the tags name, or begin to name. */
static void test_rollback_with_more_behind(void **state)
{
    for (int begun = 0; begun < 2; begun++) {
        struct world w;
        one_image(&w);
        push(&w, "c2");
        build_to_publishing(&w, "c3");
        steps(&w, begun);
        assert_true(world_ask(&w, COMMAND_ROLLBACK, TRACK));
        assert_false(world_ask(&w, COMMAND_ROLLBACK, TRACK));
        assert_int_equal(track_find(w.m, TRACK)->pinned, 1 + begun);
        world_settle(&w, NULL);
        assert_false(world_ask(&w, COMMAND_ROLLBACK, TRACK));
        assert_string_equal(world_tag_digest(&w, BASE, "latest"),
                            publication_find(w.m, 1 + begun)->digest);
        world_done(&w);
    }
}

static void test_rollback_while_the_build_fails_and_the_farm_is_frozen(void **state)
{
    struct world w;
    one_image(&w);
    cleanup_free char *one = xstrdup(world_tag_digest(&w, BASE, "latest"));
    push(&w, "c2");
    world_see(&w, SOURCE, MASTER, "c3");
    world_inspect(&w, NULL);
    world_ask(&w, COMMAND_FREEZE, NULL);
    assert_string_equal(world_track_state(&w, TRACK), "building");
    assert_true(world_ask(&w, COMMAND_ROLLBACK, TRACK));
    world_publish(&w);
    assert_string_equal(world_tag_digest(&w, BASE, "latest"), one);
    world_done(&w);
}

static void test_rollback_to_what_the_registry_lost(void **state)
{
    struct world w;
    one_image(&w);
    push(&w, "c2");
    cleanup_free char *two = xstrdup(world_tag_digest(&w, BASE, "latest"));
    world_ask(&w, COMMAND_ROLLBACK, TRACK);
    for (int i = 0; i < 2; i++) {
        struct effect e = w.todo.items[w.todo.n - 1];
        assert_int_equal(e.kind, EFFECT_PUBLISH);
        w.todo.n--;
        world_begin(&w, 1);
        model_on_publication_failed(w.m, e.publication, e.step, PUBLISH_MISSING, PLATFORM_AMD64,
                                    "no such manifest", 0);
        world_end(&w);
        effect_done(&e);
        world_wait(&w, 5000);
    }
    assert_int_equal(world_settle(&w, NULL), 0);
    assert_string_equal(world_track_state(&w, TRACK), "blocked");
    assert_string_equal(world_text(&w, TRACK, "reason", "code"), "child-missing");
    assert_string_equal(world_tag_digest(&w, BASE, "latest"), two);
    world_restart(&w);
    assert_string_equal(world_track_state(&w, TRACK), "blocked");
    /* asked again, it is looked for again */
    assert_true(world_ask(&w, COMMAND_RETRY, TRACK));
    world_settle(&w, NULL);
    assert_string_equal(world_text(&w, TRACK, "reason", "code"), "pinned");
    assert_string_not_equal(world_tag_digest(&w, BASE, "latest"), two);
    world_done(&w);
}

static void test_promote_lets_one_build_through(void **state)
{
    struct world w;
    one_image(&w);
    world_ask(&w, COMMAND_HOLD, TRACK);
    assert_false(world_ask(&w, COMMAND_PROMOTE, TRACK));
    push(&w, "c2");
    int64_t before = world_tag(&w, BASE, "latest");
    assert_true(world_ask(&w, COMMAND_PROMOTE, TRACK));
    assert_false(world_ask(&w, COMMAND_PROMOTE, TRACK));
    world_restart(&w);
    world_settle(&w, NULL);
    assert_int_equal(world_tag(&w, BASE, "latest"), before + 1);
    push(&w, "c3");
    assert_string_equal(world_track_state(&w, TRACK), "held");
    assert_int_equal(world_tag(&w, BASE, "latest"), before + 1);
    /* after a rollback it goes forward, and stays held */
    world_ask(&w, COMMAND_ROLLBACK, TRACK);
    world_settle(&w, NULL);
    assert_true(world_ask(&w, COMMAND_PROMOTE, TRACK));
    world_settle(&w, NULL);
    assert_string_equal(world_track_state(&w, TRACK), "published");
    push(&w, "c4");
    assert_string_equal(world_text(&w, TRACK, "reason", "code"), "held");
    /* what is not finished cannot be promoted */
    world_see(&w, SOURCE, MASTER, "c5");
    struct command promote = {.verb = COMMAND_PROMOTE, .track = TRACK};
    world_refused(&w, &promote, -EBUSY, "no finished build");
    world_done(&w);
}

static void test_dependents_read_what_the_tag_names(void **state)
{
    struct world w;
    const char *dockerfile = "FROM r.test/osf/base:latest\n";
    world_init(&w);
    world_image(&w, "base", SOURCE, MASTER, "./mk");
    world_image(&w, "middle", "https://git.test/b.git", MASTER, NULL);
    world_start(&w);
    world_board(&w, "one");
    world_see(&w, SOURCE, MASTER, "c1");
    world_settle(&w, dockerfile);
    world_see(&w, "https://git.test/b.git", MASTER, "d1");
    world_settle(&w, dockerfile);
    world_ask(&w, COMMAND_HOLD, TRACK);
    world_see(&w, SOURCE, MASTER, "c2");
    assert_int_equal(world_settle(&w, dockerfile), 1); /* the base alone */
    world_ask(&w, COMMAND_RELEASE, TRACK);
    assert_int_equal(world_settle(&w, dockerfile), 1); /* what is built on it */
    world_ask(&w, COMMAND_ROLLBACK, TRACK);
    assert_int_equal(world_settle(&w, dockerfile), 0); /* those inputs were built once */
    assert_string_equal(world_track_state(&w, "middle@master"), "published");
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_held_track_builds_and_publishes_nothing),
        cmocka_unit_test(test_a_freeze_holds_all_and_survives),
        cmocka_unit_test(test_a_hold_stops_what_is_not_journalled),
        cmocka_unit_test(test_what_is_journalled_runs_to_its_end),
        cmocka_unit_test(test_rollback_returns_and_stays),
        cmocka_unit_test(test_rollback_of_what_moves_its_tags),
        cmocka_unit_test(test_rollback_with_more_behind),
        cmocka_unit_test(test_rollback_while_the_build_fails_and_the_farm_is_frozen),
        cmocka_unit_test(test_rollback_to_what_the_registry_lost),
        cmocka_unit_test(test_promote_lets_one_build_through),
        cmocka_unit_test(test_dependents_read_what_the_tag_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
