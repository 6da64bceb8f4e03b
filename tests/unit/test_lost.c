/* Children that the registry has lost, and those that a return could lose: what is built again, what is said, and what an
 * index keeps. */
#include "daemon/model/objects.h"
#include "tests/lib/model_commands.h"
#include "tests/lib/model_steps.h"

#include <errno.h>

#define SOURCE "https://git.test/a.git"
#define TRACK  "base@master"
#define REPO   "r.test/osf/base"
#define GONE   "no such manifest"

static const char *const both[] = {"linux/amd64", "linux/arm64", NULL};

static struct farm_image *begin(struct world *w, const char *ref)
{
    world_init(w);
    w->platforms = both;
    return world_image(w, "base", SOURCE, ref, "./mk");
}

static void start(struct world *w, const char *const *refs)
{
    world_start(w);
    world_board(w, "one");
    world_see_all(w, SOURCE, "c1", refs);
    world_settle(w, NULL);
}

#define REFS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Where what its latest job gave is kept, or that of a track that is not built. */
static const struct retention *place_of(struct world *w, const char *track, enum platform p)
{
    const struct track *t = track_find(w->m, track);
    const struct job *j = t->slots[p] ? t->slots[p]->job : NULL;
    const char *digest = j && j->state == JOB_SUCCEEDED ? j->manifest_digest : NULL;
    VEC_FOREACH (&t->places, r)
        if ((*r)->platform == p && (*r)->digest && (!digest || str_eq((*r)->digest, digest)))
            return *r;
    fail_msg("%s has no such place", track);
    return NULL;
}

/* The child that is to be kept is not there, a second time either. */
static void look_for_it(struct world *w)
{
    for (int i = 0; i < 2; i++) {
        struct effect e = world_take(w, EFFECT_RETAIN);
        world_begin(w, 1);
        model_on_retain_failed(w->m, REPO, e.tags.items[0].tag, e.digest, PUBLISH_MISSING, GONE, 0);
        world_end(w);
        effect_done(&e);
        if (i == 0)
            world_wait(w, 10000);
    }
}

/* An audit finds the place gone, and the child with it. */
static void lose(struct world *w, const char *track, enum platform p)
{
    struct err err = ERR_INIT;
    const struct retention *r = place_of(w, track, p);
    struct audited gone = {r->name, r->digest, NULL};
    world_begin(w, 1);
    assert_int_equal(model_on_audit(w->m, REPO, &err), 0);
    world_end(w);
    struct effect audit = world_take(w, EFFECT_AUDIT);
    world_begin(w, 1);
    model_on_audited(w->m, REPO, &gone, 1);
    world_end(w);
    effect_done(&audit);
    look_for_it(w);
}

static size_t leases(struct world *w)
{
    struct wire_poll_response got = world_poll(w, "one");
    size_t n = got.leases.n;
    wire_poll_response_done(&got);
    return n;
}

/* ---- tracks that are not built ---- */

/* Nothing is built, over a restart neither, and it is said. */
static void waits_for_a_person(struct world *w, const char *track, const char *state,
                               const char *says)
{
    for (int restart = 0; restart < 2; restart++) {
        if (restart) {
            world_restart(w);
            world_inspect(w, NULL);
        }
        assert_int_equal(leases(w), 0);
        world_is(w, track, state, "child-missing");
        world_says(w, track, says);
        assert_true(world_attention(w, "child-missing"));
    }
}

static void test_a_deleted_track_is_not_built_for_it(void **state)
{
    struct world w;
    str_replace(&begin(&w, "refs/heads/*")->tags.items[0], "$branch");
    start(&w, REFS("refs/heads/master", "refs/heads/other"));
    for (int i = 0; i < 2; i++)
        world_see_all(&w, SOURCE, "c1", REFS("refs/heads/other"));
    world_is(&w, TRACK, "deleted", "ref-deleted");
    lose(&w, TRACK, PLATFORM_AMD64);
    waits_for_a_person(&w, TRACK, "deleted", "push the ref again, or retire it");
    world_see_all(&w, SOURCE, "c1", REFS("refs/heads/master", "refs/heads/other"));
    world_inspect(&w, NULL);
    look_for_it(&w);
    assert_int_equal(world_settle(&w, NULL), 1);
    world_is(&w, TRACK, "published", "published");
    assert_false(world_attention(&w, "child-missing"));
    world_done(&w);
}

static void test_a_dormant_track_is_not_built_for_it(void **state)
{
    struct world w;
    struct farm_image *image = begin(&w, "refs/tags/v*");
    str_replace(&image->tags.items[0], "$version");
    vec_push(&image->args, (struct farm_pair){xstrdup("V"), xstrdup("$version")});
    image->maintain = FARM_MAINTAIN_MINOR;
    start(&w, REFS("refs/tags/v1.0.0"));
    world_see_all(&w, SOURCE, "c1", REFS("refs/tags/v1.0.0", "refs/tags/v1.0.1"));
    world_settle(&w, NULL);
    world_is(&w, "base@v1.0.0", "dormant", "dormant");
    lose(&w, "base@v1.0.0", PLATFORM_AMD64);
    waits_for_a_person(&w, "base@v1.0.0", "dormant", "sheafctl wake base@v1.0.0");
    world_ask(&w, COMMAND_WAKE, "base@v1.0.0");
    world_inspect(&w, NULL);
    look_for_it(&w);
    assert_int_equal(world_settle(&w, NULL), 1);
    world_is(&w, "base@v1.0.0", "published", "published");
    world_done(&w);
}

static void test_one_out_of_bounds_is_not_built_for_it(void **state)
{
    struct world w;
    struct farm_image *image = begin(&w, "refs/tags/v*");
    str_replace(&image->tags.items[0], "$version");
    start(&w, REFS("refs/tags/v1.0.0"));
    image->versions = xstrdup(">=2");
    world_reload(&w);
    lose(&w, "base@v1.0.0", PLATFORM_AMD64);
    waits_for_a_person(&w, "base@v1.0.0", "dormant", "widen `versions`, or retire it");
    world_done(&w);
}

/* Nobody minds what a retired one has lost: it owns nothing. */
static void test_a_retired_track_is_not_built_for_it(void **state)
{
    struct world w;
    begin(&w, WORLD_MASTER);
    start(&w, REFS(WORLD_MASTER));
    world_ask(&w, COMMAND_RETIRE, TRACK);
    lose(&w, TRACK, PLATFORM_AMD64);
    assert_int_equal(leases(&w), 0);
    world_is(&w, TRACK, "retired", "retired");
    assert_false(world_attention(&w, "child-missing"));
    world_done(&w);
}

/* What a person cancelled is not published because something of it was lost. */
static void test_a_cancelled_build_is_not_taken_up_for_it(void **state)
{
    struct world w;
    struct err err = ERR_INIT;
    struct farm_image *image = begin(&w, WORLD_MASTER);
    vec_push(&image->platforms, PLATFORM_ARM64);
    start(&w, REFS(WORLD_MASTER));
    world_see(&w, SOURCE, WORLD_MASTER, "c2");
    world_inspect(&w, NULL);
    struct wire_poll_response got = world_poll(&w, "one");
    world_succeed(&w, &got.leases.items[0], "x");
    enum platform p;
    assert_int_equal(platform_parse(got.leases.items[0].job.platform, &p, NULL), 0);
    wire_poll_response_done(&got);
    world_retain(&w);
    world_begin(&w, 1);
    assert_int_equal(model_on_cancel_build(w.m, track_find(w.m, TRACK)->build, &err), 0);
    world_end(&w);
    world_is(&w, TRACK, "cancelled", "cancelled");
    int64_t build = track_find(w.m, TRACK)->build;
    world_begin(&w, 1);
    child_lost(w.m, track_find(w.m, TRACK),
               job_find(w.m, track_find(w.m, TRACK)->slots[p]->key)->manifest_digest, GONE);
    world_end(&w);
    assert_int_equal(leases(&w), 0);
    assert_int_equal(track_find(w.m, TRACK)->build, build);
    world_is(&w, TRACK, "cancelled", "cancelled");
    world_done(&w);
}

/* An optional platform is built still when its track stops: nobody wants it any more, until the track is built again. */
static void test_what_an_ended_build_left_ends_with_its_track(void **state)
{
    for (int restart = 0; restart < 2; restart++) {
        struct world w;
        struct farm_image *image = begin(&w, "refs/heads/*");
        str_replace(&image->tags.items[0], "$branch");
        vec_push(&image->optional, PLATFORM_ARM64);
        world_start(&w);
        world_board(&w, "one");
        world_see_all(&w, SOURCE, "c1", REFS(WORLD_MASTER, "refs/heads/other"));
        world_inspect(&w, NULL);
        const struct track *t = track_find(w.m, TRACK);
        for (bool published = false; !published; published = t->last) {
            struct wire_poll_response got = world_poll(&w, "one");
            VEC_FOREACH (&got.leases, lease)
                if (str_eq(lease->job.platform, "linux/amd64"))
                    world_succeed(&w, lease, lease->job.key);
            wire_poll_response_done(&got);
            world_publish(&w);
        }
        assert_true(job_under_way(t->slots[PLATFORM_ARM64]->job));
        world_ask(&w, COMMAND_RETIRE, "base@other"); /* it shares the job */
        assert_true(job_under_way(t->slots[PLATFORM_ARM64]->job));
        world_ask(&w, COMMAND_RETIRE, TRACK);
        assert_int_equal(leases(&w), 0);
        if (restart) {
            world_restart(&w);
            assert_int_equal(leases(&w), 0);
        }
        world_ask(&w, COMMAND_WAKE, TRACK);
        world_inspect(&w, NULL);
        assert_int_equal(world_settle(&w, NULL), 1);
        world_is(&w, TRACK, "published", "published");
        assert_non_null(publication_child(track_find(w.m, TRACK)->last, PLATFORM_ARM64));
        world_done(&w);
    }
}

/* ---- platforms ---- */

/* amd64 and arm64 are published, and farm.yaml names arm64 no more. */
static struct farm_image *without_arm64(struct world *w)
{
    struct farm_image *image = begin(w, WORLD_MASTER);
    vec_push(&image->platforms, PLATFORM_ARM64);
    start(w, REFS(WORLD_MASTER));
    image->platforms.n = 1;
    world_reload(w);
    world_settle(w, NULL);
    world_is(w, TRACK, "published", "published");
    return image;
}

static const char *platforms(struct world *w)
{
    static char text[128];
    *text = '\0';
    VEC_FOREACH (&tag_find(w->m, REPO, "latest")->shown->child, c)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", *text ? " " : "",
                 platform_info(c->platform)->name);
    return text;
}

static void test_the_lost_child_of_a_dropped_platform_blocks(void **state)
{
    for (int retire = 0; retire < 2; retire++) {
        struct world w;
        struct farm_image *image = without_arm64(&w);
        lose(&w, TRACK, PLATFORM_ARM64);
        world_is(&w, TRACK, "blocked", "child-missing");
        world_says(&w, TRACK, "sheafctl retire base@master --platform linux/arm64");
        world_see(&w, SOURCE, WORLD_MASTER, "c2");
        world_settle(&w, NULL);
        world_is(&w, TRACK, "blocked", "child-missing");
        assert_string_equal(platforms(&w), "linux/amd64 linux/arm64");
        world_restart(&w);
        world_is(&w, TRACK, "blocked", "child-missing");
        world_board(&w, "one");
        struct command c = {.verb = COMMAND_RETIRE, .track = TRACK, .platform = "linux/arm64"};
        if (retire) {
            world_do(&w, &c);
        } else {
            vec_push(&image->platforms, PLATFORM_ARM64);
            world_reload(&w);
        }
        assert_int_equal(world_settle(&w, NULL), retire ? 0 : 1);
        world_is(&w, TRACK, "published", "published");
        assert_string_equal(platforms(&w), retire ? "linux/amd64" : "linux/amd64 linux/arm64");
        world_done(&w);
    }
}

/* An optional one gates nothing: it is left out until it has succeeded again, also after a restart. */
static void test_the_lost_child_of_an_optional_platform_is_left_out(void **state)
{
    struct world w;
    struct farm_image *image = begin(&w, WORLD_MASTER);
    vec_push(&image->optional, PLATFORM_ARM64);
    start(&w, REFS(WORLD_MASTER));
    world_see(&w, SOURCE, WORLD_MASTER, "c2");
    world_inspect(&w, NULL);
    world_break_platform(&w, "linux/arm64", 2);
    assert_string_equal(platforms(&w), "linux/amd64 linux/arm64");
    lose(&w, TRACK, PLATFORM_ARM64);
    world_publish(&w);
    assert_string_equal(platforms(&w), "linux/amd64");
    int64_t generation = tag_find(w.m, REPO, "latest")->generation;
    world_restart(&w);
    world_publish(&w);
    assert_int_equal(tag_find(w.m, REPO, "latest")->generation, generation);
    world_is(&w, TRACK, "published", "published");
    world_done(&w);
}

/* ---- why it is built ---- */

/* A rebuild of which one platform failed is history: what is built after it is built since the registry lost a child of it,
 * not because a person asked once. */
static void test_the_lost_child_of_a_failed_rebuild_is_why(void **state)
{
    struct world w;
    struct farm_image *image = begin(&w, WORLD_MASTER);
    vec_push(&image->platforms, PLATFORM_ARM64);
    start(&w, REFS(WORLD_MASTER));
    world_ask(&w, COMMAND_REBUILD, TRACK);
    world_break_platform(&w, "linux/arm64", 2);
    world_is(&w, TRACK, "failed", "job-failed");
    assert_string_equal(world_text(&w, TRACK, "why", "code"), "rebuild-asked");
    lose(&w, TRACK, PLATFORM_AMD64);
    assert_string_equal(world_text(&w, TRACK, "why", "code"), "child-missing");
    assert_string_equal(world_text(&w, TRACK, "why", "text"),
                        "linux/amd64: the registry has lost what was built");
    world_done(&w);
}

/* ---- returns ---- */

static void test_a_return_drops_no_platform_that_farm_yaml_dropped(void **state)
{
    struct world w;
    struct farm_image *image = begin(&w, WORLD_MASTER);
    start(&w, REFS(WORLD_MASTER));
    vec_push(&image->platforms, PLATFORM_ARM64);
    world_reload(&w);
    world_settle(&w, NULL);
    assert_string_equal(platforms(&w), "linux/amd64 linux/arm64");
    image->platforms.n = 1;
    world_reload(&w);
    world_settle(&w, NULL);
    struct command c = {.verb = COMMAND_ROLLBACK, .track = TRACK};
    world_refused(&w, &c, -EBUSY, "has no linux/arm64");
    world_done(&w);
}

/* arm64 is optional, and fails with c2. */
/* c1 is published with linux/amd64 alone, and again with both. */
static void arm_comes_later(struct world *w)
{
    world_start(w);
    world_board(w, "one");
    world_see(w, SOURCE, WORLD_MASTER, "c1");
    world_inspect(w, NULL);
    struct wire_poll_response got = world_poll(w, "one");
    for (int arm = 0; arm < 2; arm++) {
        VEC_FOREACH (&got.leases, lease)
            if (str_eq(lease->job.platform, "linux/arm64") == arm)
                world_succeed(w, lease, lease->job.key);
        world_publish(w);
    }
    wire_poll_response_done(&got);
    assert_string_equal(platforms(w), "linux/amd64 linux/arm64");
}

static void fails_with_c2(struct world *w)
{
    world_see(w, SOURCE, WORLD_MASTER, "c2");
    world_inspect(w, NULL);
    world_break_platform(w, "linux/arm64", 2);
}

/* A rollback to what was before arm64 came; when it is released, its last good child is there as ever. */
static void test_a_rollback_keeps_the_last_good_child(void **state)
{
    for (int keep = 2; keep < 4; keep++)
        for (int later = 0; later < 2; later++) {
            struct world w;
            struct farm_image *image = begin(&w, WORLD_MASTER);
            w.farm->keep = keep;
            vec_push(&image->optional, PLATFORM_ARM64);
            arm_comes_later(&w);
            if (!later && keep > 2)
                fails_with_c2(&w);
            struct command c = {.verb = COMMAND_PIN, .track = TRACK, .publication = "1"};
            world_do(&w, &c);
            world_publish(&w);
            assert_string_equal(platforms(&w), "linux/amd64");
            if (later || keep == 2) /* it is one of the two that are kept */
                fails_with_c2(&w);
            world_restart(&w);
            world_ask(&w, COMMAND_RELEASE, TRACK);
            world_publish(&w);
            assert_string_equal(platforms(&w), "linux/amd64 linux/arm64");
            world_done(&w);
        }
}

/* The one before is what had other children, though it is of the same build. */
static void test_a_rollback_from_an_optional_success(void **state)
{
    struct world w;
    struct farm_image *image = begin(&w, WORLD_MASTER);
    vec_push(&image->optional, PLATFORM_ARM64);
    arm_comes_later(&w);
    struct command c = {.verb = COMMAND_ROLLBACK, .track = TRACK};
    world_do(&w, &c);
    world_publish(&w);
    assert_string_equal(platforms(&w), "linux/amd64");
    world_done(&w);
}

/* A board whose outputs the registry never has: the first time may be the registry's fault, from then on it backs off. */
static void test_what_is_never_there_backs_off(void **state)
{
    struct world w;
    world_init(&w);
    world_image(&w, "base", SOURCE, WORLD_MASTER, "./mk");
    world_start(&w);
    world_board(&w, "one");
    world_push(&w, SOURCE, "c1", NULL);
    for (int i = 0; i < 2; i++) {
        world_build(&w, "one", "base", "x");
        look_for_it(&w);
    }
    world_is(&w, TRACK, "building", "backing-off");
    world_says(&w, TRACK, "the registry does not have what board one put there");
    world_restart(&w);
    world_board(&w, "one");
    assert_int_equal(leases(&w), 0);
    world_wait(&w, 10000);
    world_build(&w, "one", "base", "x");
    world_retain(&w);
    world_publish(&w);
    world_is(&w, TRACK, "published", "published");
    lose(&w, TRACK, PLATFORM_AMD64); /* it was there for a time: that is the first again */
    assert_int_equal(leases(&w), 1);
    world_done(&w);
}

/* One whose newer files cannot be built: what the old ones were built on may be kept no more. */
static void test_a_blocked_track_is_not_built_for_it(void **state)
{
    struct world w;
    world_init(&w);
    world_image(&w, "base", SOURCE, WORLD_MASTER, NULL);
    world_start(&w);
    world_board(&w, "one");
    world_push(&w, SOURCE, "c1", "FROM scratch\n");
    world_settle(&w, NULL);
    world_push(&w, SOURCE, "c2", NULL);
    world_is(&w, TRACK, "blocked", "dockerfile");
    lose(&w, TRACK, PLATFORM_AMD64);
    assert_int_equal(leases(&w), 0);
    world_is(&w, TRACK, "blocked", "dockerfile");
    world_push(&w, SOURCE, "c1", "FROM scratch\n"); /* it is found out again */
    look_for_it(&w);
    assert_int_equal(world_settle(&w, "FROM scratch\n"), 1);
    world_is(&w, TRACK, "published", "published");
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_never_there_backs_off),
        cmocka_unit_test(test_a_blocked_track_is_not_built_for_it),
        cmocka_unit_test(test_a_deleted_track_is_not_built_for_it),
        cmocka_unit_test(test_a_dormant_track_is_not_built_for_it),
        cmocka_unit_test(test_one_out_of_bounds_is_not_built_for_it),
        cmocka_unit_test(test_a_retired_track_is_not_built_for_it),
        cmocka_unit_test(test_a_cancelled_build_is_not_taken_up_for_it),
        cmocka_unit_test(test_what_an_ended_build_left_ends_with_its_track),
        cmocka_unit_test(test_the_lost_child_of_a_dropped_platform_blocks),
        cmocka_unit_test(test_the_lost_child_of_an_optional_platform_is_left_out),
        cmocka_unit_test(test_the_lost_child_of_a_failed_rebuild_is_why),
        cmocka_unit_test(test_a_return_drops_no_platform_that_farm_yaml_dropped),
        cmocka_unit_test(test_a_rollback_keeps_the_last_good_child),
        cmocka_unit_test(test_a_rollback_from_an_optional_success),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
