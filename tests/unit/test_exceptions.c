/* What the rules except or do not allow (ARCHITECTURE.md), where what they say of the ordinary case would hold without. */
#include "common/digest.h"
#include "daemon/model/audit.h"
#include "daemon/model/objects.h"
#include "tests/lib/model_commands.h"
#include "tests/lib/model_steps.h"

#define SOURCE "https://git.test/a.git"
#define BASE   "r.test/osf/base"
#define TRACK  "base@master"

static const char *const both[] = {"linux/amd64", "linux/arm64", NULL};

/* "base" for amd64 and, optionally, for arm64; one board of both. */
static void begin(struct world *w)
{
    world_init(w);
    w->platforms = both;
    struct farm_image *image = world_image(w, "base", SOURCE, WORLD_MASTER, "./mk");
    vec_push(&image->platforms, PLATFORM_ARM64);
    vec_push(&image->optional, PLATFORM_ARM64);
    world_start(w);
    world_board(w, "one");
}

static struct wire_lease *lease_for(struct wire_poll_response *got, enum platform platform)
{
    VEC_FOREACH (&got->leases, l)
        if (str_eq(l->job.platform, platform_info(platform)->name))
            return l;
    return NULL;
}

/* The job of that platform, which is leased now, ends: well with `content`, or badly where that is NULL. */
static void ends(struct world *w, struct wire_poll_response *got, enum platform platform,
                 const char *content)
{
    struct wire_lease *l = lease_for(got, platform);
    assert_non_null(l);
    if (content)
        world_succeed(w, l, content);
    else
        world_fail(w, l, WIRE_FAILURE_RECIPE);
}

/* Rule 0.5: a cancelled build is not tried again with a job of it that had failed, whose hour is over. */
static void test_a_cancelled_build_is_not_tried_again_with_what_failed(void **state)
{
    struct world w;
    struct err err = ERR_INIT;
    begin(&w);
    world_push(&w, SOURCE, "c1", NULL);
    for (int i = 0; i < 2; i++) {
        struct wire_poll_response got = world_poll(&w, "one");
        ends(&w, &got, PLATFORM_ARM64, NULL);
        wire_poll_response_done(&got);
    }
    int64_t build = track_find(w.m, TRACK)->build;
    world_begin(&w, 1);
    assert_int_equal(model_on_cancel_build(w.m, build, &err), 0);
    world_end(&w);
    for (int i = 0; i < 30; i++)
        world_wait(&w, 60 * 60 * 1000);
    world_restart(&w); /* which looks at all */
    world_is(&w, TRACK, "cancelled", "cancelled");
    assert_int_equal(track_find(w.m, TRACK)->build, build);
    world_done(&w);
}

/* Rule 1.1: output that is equal to that of a child which the registry has lost takes its place. */
static void test_equal_output_replaces_what_was_lost(void **state)
{
    struct world w;
    struct err err = ERR_INIT;
    char content[DIGEST_SIZE], digest[DIGEST_SIZE];
    world_init(&w);
    world_image(&w, "base", SOURCE, WORLD_MASTER, "./mk");
    world_start(&w);
    world_board(&w, "one");
    world_push(&w, SOURCE, "c1", NULL);
    world_build(&w, "one", "base", "x");
    world_publish(&w);
    world_begin(&w, 1);
    assert_int_equal(model_on_rebuild(w.m, TRACK, NULL, false, &err), 0);
    world_end(&w);
    struct wire_poll_response got;
    const struct wire_lease *lease = world_lease(&w, "one", "base", &got);
    digest_of("x", 1, content);
    digest_of("the same, packed another way", 5, digest);
    world_succeed_as(&w, lease, digest, content);
    wire_poll_response_done(&got);
    world_publish(&w);
    assert_int_equal(world_tag(&w, BASE, "latest"), 1); /* equal, and there */
    world_begin(&w, 1);
    child_lost(w.m, track_find(w.m, TRACK), content, "gone");
    model_plan_later(w.m, track_find(w.m, TRACK));
    world_end(&w);
    world_publish(&w);
    assert_int_equal(world_tag(&w, BASE, "latest"), 2);
    assert_string_equal(
        publication_child(tag_find(w.m, BASE, "latest")->shown, PLATFORM_AMD64)->digest, digest);
    world_done(&w);
}

static enum publish_step next_step(const struct world *w)
{
    VEC_FOREACH (&w->todo, e)
        if (e->kind == EFFECT_PUBLISH)
            return e->step;
    fail_msg("nothing is being published");
    return PUBLISH_CHILDREN;
}

/* Rule 2.2: who came first to wait for a repository goes first, whoever is looked at first. */
static void test_whose_turn_it_is(void **state)
{
    static const char *const names[] = {"a", "b", "c"};
    struct world w;
    world_init(&w);
    for (int i = 0; i < 3; i++) {
        cleanup_free char *source = xasprintf("https://git.test/%s.git", names[i]);
        struct farm_image *image = world_image(&w, names[i], source, WORLD_MASTER, names[i]);
        str_replace(&image->repository, "r.test/osf/shared");
        str_replace(&image->tags.items[0], names[i]);
    }
    world_start(&w);
    world_board(&w, "one");
    for (int i = 0; i < 3; i++) {
        cleanup_free char *source = xasprintf("https://git.test/%s.git", names[i]);
        world_push(&w, source, "c1", NULL);
        world_build(&w, "one", names[i], names[i]);
        world_retain(&w);
        if (i == 0)
            world_step(&w);
    }
    world_is(&w, "b@master", "publishing", "repository-busy");
    world_is(&w, "c@master", "publishing", "repository-busy");
    while (next_step(&w) != PUBLISH_VERIFY)
        world_step(&w);
    struct effect e = world_take(&w, EFFECT_PUBLISH);
    world_begin(&w, 1);
    model_on_publication_step(w.m, e.publication, e.step);
    model_plan_later(w.m, track_find(w.m, "c@master"));
    world_end(&w);
    effect_done(&e);
    world_is(&w, "b@master", "publishing", "publishing");
    world_is(&w, "c@master", "publishing", "repository-busy");
    world_publish(&w);
    world_is(&w, "c@master", "published", "published");
    world_done(&w);
}

/* Rule 3.3: not even by `promote` does an older version get what a higher one owns, held or not. */
static void test_promote_takes_nothing_from_a_higher_version(void **state)
{
    static const char *const refs[] = {"refs/tags/v1.0.0", "refs/tags/v1.1.0", NULL};
    struct world w;
    world_init(&w);
    struct farm_image *image = world_image(&w, "base", SOURCE, "refs/tags/*", "./mk");
    image->history = FARM_HISTORY_ALL;
    strvec_add(&image->tags, "$version");
    world_start(&w);
    world_board(&w, "one");
    world_see_all(&w, SOURCE, "c1", refs);
    world_settle(&w, NULL);
    for (int hold = 0; hold < 2; hold++) {
        if (hold)
            world_ask(&w, COMMAND_HOLD, "base@v1.1.0");
        assert_false(world_ask(&w, COMMAND_PROMOTE, "base@v1.0.0"));
        world_publish(&w);
        assert_string_equal(tag_find(w.m, BASE, "latest")->track_id, "base@v1.1.0");
        assert_string_equal(tag_find(w.m, BASE, "1.0.0")->track_id, "base@v1.0.0");
    }
    world_done(&w);
}

/* Rule 3.2: a conflict is told of a tag that is in conflict still, once a higher version has another of them. */
static void test_a_conflict_names_what_is_in_conflict_still(void **state)
{
    static const char *const refs[] = {"refs/tags/v1.0.0", NULL}, *const more[] = {
                                                                      "refs/tags/v1.0.0",
                                                                      "refs/tags/v1.1.0", NULL};
    struct world w;
    world_init(&w);
    for (int i = 0; i < 2; i++) {
        const char *name = i ? "b" : "a";
        cleanup_free char *source = xasprintf("https://git.test/%s.git", name);
        struct farm_image *image = world_image(&w, name, source, "refs/tags/*", name);
        str_replace(&image->repository, "r.test/osf/shared");
        str_replace(&image->tags.items[0], "$major.$minor");
        strvec_add(&image->tags, "latest");
    }
    world_start(&w);
    world_board(&w, "one");
    world_see_all(&w, "https://git.test/b.git", "c1", refs);
    world_settle(&w, NULL);
    world_see_all(&w, "https://git.test/a.git", "c1", refs);
    world_settle(&w, NULL);
    world_is(&w, "a@v1.0.0", "conflict", "tag-conflict");
    world_says(&w, "a@v1.0.0", "shared:latest");
    world_see_all(&w, "https://git.test/b.git", "c1", more);
    world_settle(&w, NULL);
    world_is(&w, "b@v1.1.0", "published", "published");
    world_is(&w, "a@v1.0.0", "conflict", "tag-conflict");
    world_says(&w, "a@v1.0.0", "shared:1.0 ");
    world_done(&w);
}

/* Rule 4.5: what is promoted is published once; an optional platform that succeeds later waits for the hold's end. */
static void test_a_hold_stays_for_what_joins_a_promoted_build(void **state)
{
    struct world w;
    begin(&w);
    world_push(&w, SOURCE, "c1", NULL);
    world_ask(&w, COMMAND_HOLD, TRACK);
    struct wire_poll_response got = world_poll(&w, "one");
    ends(&w, &got, PLATFORM_AMD64, "x");
    world_is(&w, TRACK, "held", "held");
    world_ask(&w, COMMAND_PROMOTE, TRACK);
    world_publish(&w);
    assert_int_equal(world_tag(&w, BASE, "latest"), 1);
    ends(&w, &got, PLATFORM_ARM64, "y");
    wire_poll_response_done(&got);
    world_publish(&w);
    world_is(&w, TRACK, "held", "held");
    assert_int_equal(world_tag(&w, BASE, "latest"), 1);
    world_ask(&w, COMMAND_RELEASE, TRACK);
    world_publish(&w);
    assert_int_equal(world_tag(&w, BASE, "latest"), 2);
    world_done(&w);
}

static struct board *board(struct world *w, const char *name)
{
    struct board *b = board_find(w->m, name);
    assert_non_null(b);
    return b;
}

/* Rule 5.7: who failed it and then succeeds itself is not to blame: nobody else has shown that it can be done. */
static void test_who_succeeds_itself_is_not_blamed(void **state)
{
    struct world w;
    world_init(&w);
    world_image(&w, "base", SOURCE, WORLD_MASTER, "./mk");
    world_start(&w);
    world_board(&w, "one");
    for (int i = 0; i < 4; i++) {
        cleanup_free char *commit = xasprintf("c%d", i);
        world_push(&w, SOURCE, commit, NULL);
        world_break(&w, "one", "base", WIRE_FAILURE_RECIPE);
        world_build(&w, "one", "base", commit);
        world_publish(&w);
    }
    assert_int_equal(board(&w, "one")->blames, 0);
    assert_int_equal(board(&w, "one")->state, BOARD_ONLINE);
    world_done(&w);
}

/* Rule 6.6: what a person asks for does not wait for a build that would be let finish. */
static void test_what_a_person_asks_for_supersedes_at_once(void **state)
{
    struct world w;
    struct err err = ERR_INIT;
    world_init(&w);
    world_image(&w, "base", SOURCE, WORLD_MASTER, "./mk");
    world_start(&w);
    world_board(&w, "one");
    for (int i = 1; i <= 4; i++) {
        cleanup_free char *commit = xasprintf("c%d", i);
        world_push(&w, SOURCE, commit, NULL);
    }
    int64_t let_finish = track_find(w.m, TRACK)->build;
    assert_int_equal(track_find(w.m, TRACK)->superseded, 2);
    world_begin(&w, 1);
    assert_int_equal(model_on_rebuild(w.m, TRACK, NULL, false, &err), 0);
    world_end(&w);
    assert_int_equal(track_find(w.m, TRACK)->build, let_finish + 1);
    world_done(&w);
}

/* Rule 6.3: who waits for what is far above is told when that ends without a new tag, though what is in between is not. */
static void test_who_waits_far_below_is_told(void **state)
{
    struct world w;
    world_init(&w);
    world_image(&w, "base", SOURCE, WORLD_MASTER, "./mk");
    world_image(&w, "mid", "https://git.test/mid.git", WORLD_MASTER, NULL);
    world_image(&w, "top", "https://git.test/top.git", WORLD_MASTER, NULL);
    world_start(&w);
    world_board(&w, "one");
    world_push(&w, SOURCE, "c1", NULL);
    world_settle(&w, NULL);
    world_push(&w, "https://git.test/mid.git", "m1", "FROM r.test/osf/base\n");
    world_settle(&w, NULL);
    world_push(&w, "https://git.test/top.git", "t1", "FROM r.test/osf/mid\n");
    world_settle(&w, NULL);
    world_push(&w, SOURCE, "c2", NULL);
    world_push(&w, "https://git.test/top.git", "t2", "FROM r.test/osf/mid\n");
    world_is(&w, "mid@master", "published", "published");
    world_is(&w, "top@master", "waiting", "base-building");
    world_break(&w, "one", "base", WIRE_FAILURE_RECIPE);
    world_break(&w, "one", "base", WIRE_FAILURE_RECIPE);
    world_is(&w, TRACK, "failed", "job-failed");
    assert_string_equal(world_track_state(&w, "top@master"), "building");
    world_done(&w);
}

/* Rule 8.3: a version that was deleted upstream keeps no older one of its series from being kept in date. */
static void test_a_deleted_version_maintains_nothing(void **state)
{
    static const char *const newer[] = {"refs/tags/v1.4.2", "refs/tags/v2.0.0", NULL},
                             *const gone[] = {"refs/tags/v2.0.0", NULL},
                             *const older[] = {"refs/tags/v1.4.1", "refs/tags/v2.0.0", NULL};
    struct world w;
    world_init(&w);
    struct farm_image *image = world_image(&w, "base", SOURCE, "refs/tags/*", "./mk");
    image->history = FARM_HISTORY_ALL;
    image->maintain = FARM_MAINTAIN_MINOR;
    str_replace(&image->tags.items[0], "$version");
    world_start(&w);
    world_board(&w, "one");
    world_see_all(&w, SOURCE, "c1", newer);
    world_settle(&w, NULL);
    world_see_all(&w, SOURCE, "c1", gone);
    world_see_all(&w, SOURCE, "c1", gone);
    world_is(&w, "base@v1.4.2", "deleted", "ref-deleted");
    world_see_all(&w, SOURCE, "c1", older);
    world_settle(&w, NULL);
    world_is(&w, "base@v1.4.1", "published", "published");
    world_done(&w);
}

/* Rule P.7: what the store does not know is not put back by `enforce`, and not said to be. */
static void test_enforce_puts_nothing_unknown_back(void **state)
{
    struct world w;
    world_init(&w);
    world_image(&w, "base", SOURCE, WORLD_MASTER, "./mk")->enforce = true;
    world_start(&w);
    world_board(&w, "one");
    world_push(&w, SOURCE, "c1", NULL);
    world_settle(&w, NULL);
    world_audited(&w, BASE, "sha256:hand");
    struct tag *tag = tag_find(w.m, BASE, "latest");
    cleanup_free char *text = audit_text(w.m, tag);
    assert_false(tag->put_back);
    assert_non_null(strstr(text, "adopt or restore decides"));
    assert_null(strstr(text, "put back"));
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_cancelled_build_is_not_tried_again_with_what_failed),
        cmocka_unit_test(test_equal_output_replaces_what_was_lost),
        cmocka_unit_test(test_whose_turn_it_is),
        cmocka_unit_test(test_promote_takes_nothing_from_a_higher_version),
        cmocka_unit_test(test_a_conflict_names_what_is_in_conflict_still),
        cmocka_unit_test(test_a_hold_stays_for_what_joins_a_promoted_build),
        cmocka_unit_test(test_who_succeeds_itself_is_not_blamed),
        cmocka_unit_test(test_what_a_person_asks_for_supersedes_at_once),
        cmocka_unit_test(test_who_waits_far_below_is_told),
        cmocka_unit_test(test_a_deleted_version_maintains_nothing),
        cmocka_unit_test(test_enforce_puts_nothing_unknown_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
