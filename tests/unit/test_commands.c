/* Retry, retire, wake, rebuild, and the tags that several tracks claim. */
#include "daemon/model/objects.h"
#include "daemon/model/owner.h"

#include "tests/lib/model_commands.h"

#include <errno.h>

#define SOURCE "https://git.test/a.git"
#define MASTER "refs/heads/master"
#define BASE   "r.test/osf/base"
#define TRACK  "base@master"
#define TOOL   "r.test/osf/tool"

static struct command of(enum command_verb verb, const char *track)
{
    return (struct command){.verb = verb, .track = track, .who = "ann"};
}

static void one_image(struct world *w)
{
    world_init(w);
    world_image(w, "base", SOURCE, MASTER, "./mk");
    world_start(w);
    world_board(w, "one");
    world_see(w, SOURCE, MASTER, "c1");
}

/* Lets the board do what it can get, each failing in this way; returns how many. */
static size_t fail_all(struct world *w, enum wire_failure kind)
{
    struct wire_poll_response got = world_poll(w, "one");
    size_t n = got.leases.n;
    VEC_FOREACH (&got.leases, lease)
        world_fail(w, lease, kind);
    wire_poll_response_done(&got);
    return n;
}

/* ---- retry ---- */

static void test_retry_of_what_failed(void **state)
{
    struct world w;
    one_image(&w);
    world_inspect(&w, NULL);
    while (fail_all(&w, WIRE_FAILURE_RECIPE))
        ;
    assert_string_equal(world_track_state(&w, TRACK), "failed");
    assert_true(world_ask(&w, COMMAND_RETRY, TRACK));
    assert_false(world_ask(&w, COMMAND_RETRY, TRACK));
    assert_string_equal(world_track_state(&w, TRACK), "building");
    world_restart(&w);
    assert_int_equal(world_settle(&w, NULL), 1);
    assert_string_equal(world_track_state(&w, TRACK), "published");
    struct command c = of(COMMAND_RETRY, "nobody");
    world_refused(&w, &c, -ENOENT, "sheafctl tracks");
    world_done(&w);
}

static void test_retry_of_a_job_that_backs_off(void **state)
{
    struct world w;
    one_image(&w);
    world_inspect(&w, NULL);
    assert_int_equal(fail_all(&w, WIRE_FAILURE_INFRA), 1);
    assert_string_equal(world_text(&w, TRACK, "reason", "code"), "backing-off");
    json_t *view = view_track(w.m, TRACK);
    json_t *cell = json_array_get(json_object_get(view, "cells"), 0);
    struct command c = {.verb = COMMAND_RETRY,
                        .job = json_string_value(json_object_get(cell, "job"))};
    assert_true(world_do(&w, &c));
    assert_false(world_do(&w, &c));
    json_decref(view);
    assert_int_equal(world_settle(&w, NULL), 1);
    c.job = "sha256:00";
    world_refused(&w, &c, -ENOENT, "no job");
    world_done(&w);
}

static void copy_job(struct world *w, char key[80])
{
    json_t *view = view_track(w->m, TRACK);
    json_t *cell = json_array_get(json_object_get(view, "cells"), 0);
    snprintf(key, 80, "%s", json_string_value(json_object_get(cell, "job")));
    json_decref(view);
}

static void test_retry_of_what_was_cancelled(void **state)
{
    struct world w;
    char key[80];
    struct err err = ERR_INIT;
    one_image(&w);
    world_inspect(&w, NULL);
    copy_job(&w, key);
    world_begin(&w, 1);
    assert_int_equal(model_on_cancel_job(w.m, key, &err), 0);
    world_end(&w);
    assert_string_equal(world_track_state(&w, TRACK), "cancelled");
    struct command c = {.verb = COMMAND_RETRY, .job = key};
    assert_true(world_do(&w, &c));
    assert_false(world_do(&w, &c));
    assert_int_equal(world_settle(&w, NULL), 1);
    assert_string_equal(world_track_state(&w, TRACK), "published");
    world_done(&w);
}

/* A reload forgets what the recipes meant until the turn's end. */
static void test_retry_in_the_turn_of_a_reload(void **state)
{
    struct world w;
    char key[80];
    one_image(&w);
    world_inspect(&w, NULL);
    copy_job(&w, key);
    while (fail_all(&w, WIRE_FAILURE_RECIPE))
        ;
    struct command c = {.verb = COMMAND_RETRY, .job = key};
    struct command_answer a = {0};
    struct err err = ERR_INIT;
    world_begin(&w, 1);
    model_on_config(w.m, w.farm);
    assert_int_equal(model_on_command(w.m, &c, &a, &err), 0);
    world_end(&w);
    assert_true(a.changed);
    command_answer_done(&a);
    assert_int_equal(world_settle(&w, NULL), 1);
    /* and one that nothing wants is refused */
    world_see(&w, SOURCE, MASTER, "c2");
    world_settle(&w, NULL);
    world_refused(&w, &c, -EBUSY, "nothing wants this job");
    world_done(&w);
}

static void test_retry_of_a_publication(void **state)
{
    struct world w;
    one_image(&w);
    world_inspect(&w, NULL);
    struct wire_poll_response got = world_poll(&w, "one");
    world_succeed(&w, &got.leases.items[0], "x");
    wire_poll_response_done(&got);
    world_retain(&w);
    struct effect e = w.todo.items[w.todo.n - 1];
    assert_int_equal(e.kind, EFFECT_PUBLISH);
    w.todo.n--;
    world_begin(&w, 1);
    model_on_publication_failed(w.m, e.publication, e.step, PUBLISH_AWAY, PLATFORM_COUNT, "away",
                                0);
    world_end(&w);
    effect_done(&e);
    assert_string_equal(world_text(&w, TRACK, "reason", "code"), "registry-away");
    assert_true(world_ask(&w, COMMAND_RETRY, TRACK));
    assert_true(world_publish(&w) > 0);
    assert_string_equal(world_track_state(&w, TRACK), "published");
    world_done(&w);
}

/* ---- rebuild ---- */

static void test_rebuild_with_dependents(void **state)
{
    struct world w;
    const char *dockerfile = "FROM r.test/osf/base:latest\n";
    world_init(&w);
    world_image(&w, "base", SOURCE, MASTER, "./mk");
    world_image(&w, "middle", SOURCE, MASTER, NULL);
    world_start(&w);
    world_board(&w, "one");
    world_see(&w, SOURCE, MASTER, "c1");
    assert_int_equal(world_settle(&w, dockerfile), 2);
    struct command c = of(COMMAND_REBUILD, TRACK);
    c.with_dependents = c.no_cache = true;
    struct command_answer a = {0};
    struct err err = ERR_INIT;
    world_begin(&w, 1);
    assert_int_equal(model_on_command(w.m, &c, &a, &err), 0);
    world_end(&w);
    assert_int_equal(a.tracks.n, 2);
    assert_true(strvec_has(&a.tracks, "middle@master"));
    command_answer_done(&a);
    assert_false(world_do(&w, &c)); /* it is on its way */
    /* the dependent waits for its base, and both are built once */
    struct wire_poll_response got = world_poll(&w, "one");
    assert_int_equal(got.leases.n, 1);
    assert_true(got.leases.items[0].job.no_cache);
    world_succeed(&w, &got.leases.items[0], "other");
    wire_poll_response_done(&got);
    assert_int_equal(world_settle(&w, dockerfile), 1);
    assert_true(world_do(&w, &c));
    world_done(&w);
}

/* ---- versions ---- */

static void tool(struct world *w)
{
    world_init(w);
    struct farm_image *image = world_image(w, "tool", SOURCE, "refs/tags/v*", "./mk");
    strvec_done(&image->tags);
    strvec_add(&image->tags, "$version");
    strvec_add(&image->tags, "latest");
    world_start(w);
    world_board(w, "one");
}

static void see_versions(struct world *w, const char *const *versions, size_t n)
{
    struct seen_ref refs[8];
    char names[8][32], commits[8][32];
    for (size_t i = 0; i < n; i++) {
        snprintf(names[i], sizeof(names[i]), "refs/tags/v%s", versions[i]);
        snprintf(commits[i], sizeof(commits[i]), "c%s", versions[i]);
        refs[i] = (struct seen_ref){.name = names[i], .commit = commits[i], .descends = true};
    }
    world_begin(w, 1);
    model_on_refs(w->m, SOURCE, refs, n);
    world_end(w);
    world_settle(w, NULL);
}

static const char *const both[] = {"1.0.0", "1.1.0"};

static void test_wake(void **state)
{
    struct world w;
    tool(&w);
    see_versions(&w, both, 2);
    assert_string_equal(world_track_state(&w, "tool@v1.0.0"), "dormant");
    struct command c = of(COMMAND_RETRY, "tool@v1.0.0");
    world_refused(&w, &c, -EBUSY, "sheafctl wake");
    assert_true(world_ask(&w, COMMAND_WAKE, "tool@v1.0.0"));
    assert_false(world_ask(&w, COMMAND_WAKE, "tool@v1.0.0"));
    assert_int_equal(world_settle(&w, NULL), 1);
    assert_string_equal(world_track_state(&w, "tool@v1.0.0"), "published");
    assert_string_equal(world_tag_digest(&w, TOOL, "1.0.0"), world_tag_digest(&w, TOOL, "1.0.0"));
    assert_string_not_equal(world_tag_digest(&w, TOOL, "1.0.0"),
                            world_tag_digest(&w, TOOL, "latest"));
    world_done(&w);
}

static void test_a_retired_track_gives_its_tags_up(void **state)
{
    struct world w;
    tool(&w);
    see_versions(&w, both, 2);
    world_ask(&w, COMMAND_WAKE, "tool@v1.0.0");
    world_settle(&w, NULL);
    cleanup_free char *new = xstrdup(world_tag_digest(&w, TOOL, "1.1.0"));
    assert_string_equal(world_tag_digest(&w, TOOL, "latest"), new);
    /* deleted upstream: it keeps what it has */
    see_versions(&w, both, 1);
    see_versions(&w, both, 1);
    assert_string_equal(world_track_state(&w, "tool@v1.1.0"), "deleted");
    assert_string_equal(world_tag_digest(&w, TOOL, "latest"), new);
    assert_true(world_ask(&w, COMMAND_RETIRE, "tool@v1.1.0"));
    assert_false(world_ask(&w, COMMAND_RETIRE, "tool@v1.1.0"));
    world_restart(&w);
    world_settle(&w, NULL);
    assert_string_equal(world_track_state(&w, "tool@v1.1.0"), "retired");
    assert_string_equal(world_tag_digest(&w, TOOL, "latest"), world_tag_digest(&w, TOOL, "1.0.0"));
    assert_string_equal(world_tag_digest(&w, TOOL, "1.1.0"), new);
    /* and back: its ref is gone still, but its tags are its own */
    assert_true(world_ask(&w, COMMAND_WAKE, "tool@v1.1.0"));
    world_settle(&w, NULL);
    assert_string_equal(world_track_state(&w, "tool@v1.1.0"), "deleted");
    assert_string_equal(world_tag_digest(&w, TOOL, "latest"), new);
    world_done(&w);
}

/* The tags of a track that is gone upstream go on being owned: it takes what a retired one leaves. */
static void test_what_a_retired_track_leaves_goes_to_a_deleted_one(void **state)
{
    struct world w;
    tool(&w);
    see_versions(&w, both, 2);
    world_ask(&w, COMMAND_WAKE, "tool@v1.0.0");
    world_settle(&w, NULL);
    see_versions(&w, both + 1, 1);
    see_versions(&w, both + 1, 1);
    assert_string_equal(world_track_state(&w, "tool@v1.0.0"), "deleted");
    world_ask(&w, COMMAND_RETIRE, "tool@v1.1.0");
    world_settle(&w, NULL);
    assert_string_equal(world_tag_digest(&w, TOOL, "latest"), world_tag_digest(&w, TOOL, "1.0.0"));
    assert_string_equal(world_track_state(&w, "tool@v1.0.0"), "deleted");
    world_done(&w);
}

static void test_a_held_tracks_tags_stay_with_it(void **state)
{
    struct world w;
    static const char *const three[] = {"1.0.0", "1.1.0", "1.2.0"};
    tool(&w);
    see_versions(&w, three, 2);
    cleanup_free char *old = xstrdup(world_tag_digest(&w, TOOL, "latest"));
    world_ask(&w, COMMAND_HOLD, "tool@v1.1.0");
    see_versions(&w, three, 3);
    assert_string_equal(world_track_state(&w, "tool@v1.2.0"), "published");
    assert_string_equal(world_text(&w, "tool@v1.2.0", "reason", "code"), "held");
    assert_string_equal(world_tag_digest(&w, TOOL, "latest"), old);
    /* a person may say otherwise, or release it */
    assert_true(world_ask(&w, COMMAND_PROMOTE, "tool@v1.2.0"));
    world_settle(&w, NULL);
    assert_string_equal(world_tag_digest(&w, TOOL, "latest"), world_tag_digest(&w, TOOL, "1.2.0"));
    world_ask(&w, COMMAND_RELEASE, "tool@v1.1.0");
    world_settle(&w, NULL);
    assert_string_equal(world_tag_digest(&w, TOOL, "latest"), world_tag_digest(&w, TOOL, "1.2.0"));
    world_done(&w);
}

static void test_release_lets_the_higher_version_have_it(void **state)
{
    struct world w;
    static const char *const three[] = {"1.0.0", "1.1.0", "1.2.0"};
    tool(&w);
    see_versions(&w, three, 2);
    world_ask(&w, COMMAND_HOLD, "tool@v1.1.0");
    see_versions(&w, three, 3);
    world_ask(&w, COMMAND_RELEASE, "tool@v1.1.0");
    world_settle(&w, NULL);
    assert_string_equal(world_tag_digest(&w, TOOL, "latest"), world_tag_digest(&w, TOOL, "1.2.0"));
    world_done(&w);
}

/* ---- conflicts ---- */

static void test_promote_settles_a_tag_conflict(void **state)
{
    struct world w;
    world_init(&w);
    struct farm_image *image = world_image(&w, "a", SOURCE, MASTER, "./a");
    str_replace(&image->repository, "r.test/osf/shared");
    image = world_image(&w, "b", SOURCE, MASTER, "./b");
    str_replace(&image->repository, "r.test/osf/shared");
    world_start(&w);
    world_board(&w, "one");
    world_see(&w, SOURCE, MASTER, "c1");
    world_settle(&w, NULL);
    bool a_first = str_eq(world_track_state(&w, "a@master"), "published");
    const char *owner = a_first ? "a@master" : "b@master",
               *other = a_first ? "b@master" : "a@master";
    assert_string_equal(world_track_state(&w, other), "conflict");
    cleanup_free char *before = xstrdup(world_tag_digest(&w, "r.test/osf/shared", "latest"));
    assert_true(world_ask(&w, COMMAND_PROMOTE, other));
    world_restart(&w);
    world_settle(&w, NULL);
    assert_string_equal(world_track_state(&w, other), "published");
    assert_string_equal(world_track_state(&w, owner), "conflict");
    assert_string_not_equal(world_tag_digest(&w, "r.test/osf/shared", "latest"), before);
    assert_false(world_ask(&w, COMMAND_PROMOTE, other));
    /* and back */
    assert_true(world_ask(&w, COMMAND_PROMOTE, owner));
    world_settle(&w, NULL);
    assert_string_equal(world_tag_digest(&w, "r.test/osf/shared", "latest"), before);
    world_done(&w);
}

/* It is held, and its output has to be built again first: who had the tag publishes meanwhile, and does not take it back. */
static void test_what_is_promoted_and_held_keeps_what_it_got(void **state)
{
    struct world w;
    world_init(&w);
    struct farm_image *image = world_image(&w, "a", SOURCE, MASTER, "./a");
    str_replace(&image->repository, "r.test/osf/shared");
    image = world_image(&w, "b", "https://git.test/b.git", MASTER, "./b");
    image->hold = true;
    str_replace(&image->repository, "r.test/osf/shared");
    world_start(&w);
    world_board(&w, "one");
    world_see(&w, SOURCE, MASTER, "c1");
    world_settle(&w, NULL);
    world_see(&w, "https://git.test/b.git", MASTER, "b1");
    world_settle(&w, NULL);
    cleanup_free char *before = xstrdup(world_tag_digest(&w, "r.test/osf/shared", "latest"));
    assert_true(world_ask(&w, COMMAND_PROMOTE, "b@master"));
    const struct track *a = track_find(w.m, "a@master");
    struct rivalry why = {0};
    assert_false(owner_is(w.m, a, a->claims.items[0], &why));
    assert_string_equal(why.holder->id, "b@master");
    world_settle(&w, NULL);
    assert_string_not_equal(world_tag_digest(&w, "r.test/osf/shared", "latest"), before);
    world_done(&w);
}

/* ---- platforms ---- */

static const char *const two[] = {"linux/amd64", "linux/arm64", NULL};

static struct farm_image *two_platforms(struct world *w)
{
    world_init(w);
    w->platforms = two;
    struct farm_image *image = world_image(w, "base", SOURCE, MASTER, "./mk");
    world_start(w);
    world_board(w, "one");
    world_see(w, SOURCE, MASTER, "c1");
    world_settle(w, NULL);
    return image;
}

static size_t children(struct world *w)
{
    json_t *view = view_track(w->m, TRACK);
    json_t *newest = json_array_get(json_object_get(view, "publications"), 0);
    size_t n = json_array_size(json_object_get(newest, "platforms"));
    json_decref(view);
    return n;
}

static void add_arm64(struct world *w, struct farm_image *image)
{
    vec_push(&image->platforms, PLATFORM_ARM64);
    world_begin(w, 1);
    model_on_config(w->m, w->farm);
    world_end(w);
    world_settle(w, NULL);
}

static void test_a_retired_platform_is_left_out(void **state)
{
    struct world w;
    struct farm_image *image = two_platforms(&w);
    struct command c = of(COMMAND_RETIRE, TRACK);
    c.platform = "linux/amd64";
    world_refused(&w, &c, -EBUSY, "only platform");
    c.platform = "linux/arm64";
    world_refused(&w, &c, -EINVAL, "is not built for");
    add_arm64(&w, image);
    assert_int_equal(children(&w), 2);
    assert_true(world_do(&w, &c));
    assert_false(world_do(&w, &c));
    world_settle(&w, NULL);
    assert_int_equal(children(&w), 1);
    c.verb = COMMAND_REBUILD;
    world_refused(&w, &c, -EBUSY, "retired");
    c.verb = COMMAND_WAKE;
    assert_true(world_do(&w, &c));
    assert_false(world_do(&w, &c));
    world_restart(&w);
    assert_int_equal(world_settle(&w, NULL), 0); /* what it had built is good still */
    assert_int_equal(children(&w), 2);
    world_done(&w);
}

static void test_a_rollback_drops_no_platform(void **state)
{
    struct world w;
    struct farm_image *image = two_platforms(&w);
    add_arm64(&w, image);
    struct command c = of(COMMAND_ROLLBACK, TRACK);
    world_refused(&w, &c, -EBUSY, "--platform linux/arm64");
    c.verb = COMMAND_RETIRE;
    c.platform = "linux/arm64";
    world_do(&w, &c);
    world_settle(&w, NULL);
    assert_int_equal(children(&w), 1);
    world_done(&w);
}

static void test_promote_goes_through_a_freeze(void **state)
{
    struct world w;
    one_image(&w);
    world_settle(&w, NULL);
    cleanup_free char *before = xstrdup(world_tag_digest(&w, BASE, "latest"));
    world_ask(&w, COMMAND_FREEZE, NULL);
    world_see(&w, SOURCE, MASTER, "c2");
    world_settle(&w, NULL);
    assert_string_equal(world_tag_digest(&w, BASE, "latest"), before);
    assert_true(world_ask(&w, COMMAND_PROMOTE, TRACK));
    world_settle(&w, NULL);
    assert_string_not_equal(world_tag_digest(&w, BASE, "latest"), before);
    world_see(&w, SOURCE, MASTER, "c3");
    world_settle(&w, NULL);
    assert_string_equal(world_text(&w, TRACK, "reason", "code"), "frozen");
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_retry_of_what_failed),
        cmocka_unit_test(test_retry_of_a_job_that_backs_off),
        cmocka_unit_test(test_retry_of_a_publication),
        cmocka_unit_test(test_retry_of_what_was_cancelled),
        cmocka_unit_test(test_retry_in_the_turn_of_a_reload),
        cmocka_unit_test(test_rebuild_with_dependents),
        cmocka_unit_test(test_wake),
        cmocka_unit_test(test_a_retired_track_gives_its_tags_up),
        cmocka_unit_test(test_what_a_retired_track_leaves_goes_to_a_deleted_one),
        cmocka_unit_test(test_a_held_tracks_tags_stay_with_it),
        cmocka_unit_test(test_release_lets_the_higher_version_have_it),
        cmocka_unit_test(test_promote_settles_a_tag_conflict),
        cmocka_unit_test(test_what_is_promoted_and_held_keeps_what_it_got),
        cmocka_unit_test(test_a_retired_platform_is_left_out),
        cmocka_unit_test(test_a_rollback_drops_no_platform),
        cmocka_unit_test(test_promote_goes_through_a_freeze),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
