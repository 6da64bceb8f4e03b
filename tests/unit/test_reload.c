/* What another farm.yaml does to what is built and published already: by a reload, and by a start with it. */
#include "common/digest.h"
#include "daemon/model/objects.h"
#include "tests/lib/model_commands.h"
#include "tests/lib/model_farm.h"

#include <errno.h>

#define MOVED "https://git.test/moved.git"

static const char *const two_platforms[] = {"linux/amd64", "linux/arm64", NULL};

/* Tags v1, v2, … of `image`, one track each, with `latest`. */
static void by_version(struct farm_image *image)
{
    str_replace(&image->ref, "refs/tags/v*");
    str_replace(&image->tags.items[0], "$version");
    strvec_add(&image->tags, "latest");
    vec_push(&image->args, (struct farm_pair){xstrdup("V"), xstrdup("$version")});
}

static void load(struct world *w, bool restart)
{
    farm_sort(w->farm);
    if (restart)
        world_restart(w);
    else
        world_reload(w);
}

/* farm.yaml names the image no more; the caller puts it back or leaks it. */
static struct farm_image take_out(struct world *w, const char *name, bool restart)
{
    struct farm_image *image = world_find_image(w, name), taken = *image;
    vec_remove(&w->farm->images, (size_t)(image - w->farm->images.items));
    load(w, restart);
    return taken;
}

static void put_back(struct world *w, struct farm_image image, bool restart)
{
    vec_push(&w->farm->images, image);
    load(w, restart);
}

static int64_t last_build(struct world *w, const char *track)
{
    return track_find(w->m, track)->build;
}

/* ---- another source ---- */

/* Until it has been looked at nobody knows whether the ref is there: nothing is built, nothing counts as deleted. */
static void test_another_source_is_looked_at_first(void **state)
{
    for (int restart = 0; restart < 2; restart++) {
        struct world w;
        world_base_alone(&w);
        world_publish_base(&w, "b1");
        str_replace(&world_find_image(&w, "base")->source, MOVED);
        load(&w, restart);
        world_is(&w, BASE, "waiting", "inspecting");
        world_says(&w, BASE, "looking for refs/heads/master in " MOVED);
        world_begin(&w, 1);
        model_on_source_failed(w.m, MOVED, "no route to host");
        world_end(&w);
        world_is(&w, BASE, "waiting", "source-away");
        world_says(&w, BASE, "no route to host");
        world_restart(&w);
        world_is(&w, BASE, "waiting", "source-away");
        world_push(&w, MOVED, "b1", NULL);
        world_is(&w, BASE, "published", "published"); /* the same files: nothing to build */
        assert_int_equal(last_build(&w, BASE), 1);
        assert_int_equal(world_tag(&w, REPO, "latest"), 1);
        world_push(&w, MOVED, "b2", NULL);
        world_settle(&w, NULL);
        assert_int_equal(world_tag(&w, REPO, "latest"), 2);
        world_done(&w);
    }
}

static void test_another_source_that_has_not_the_ref(void **state)
{
    struct world w;
    world_base_alone(&w);
    world_publish_base(&w, "b1");
    str_replace(&world_find_image(&w, "base")->source, MOVED);
    world_reload(&w);
    world_see(&w, MOVED, "refs/heads/main", "b1");
    world_is(&w, BASE, "deleted", "ref-deleted");
    world_restart(&w);
    world_is(&w, BASE, "deleted", "ref-deleted");
    assert_int_equal(world_tag(&w, REPO, "latest"), 1);
    world_see_all(&w, MOVED, "b1", (const char *const[]){"refs/heads/main", WORLD_MASTER, NULL});
    world_inspect(&w, NULL);
    world_is(&w, BASE, "published", "published");
    world_done(&w);
}

/* What it has besides is first sight: older versions sleep. */
static void test_another_source_is_a_first_sight(void **state)
{
    struct world w;
    by_version(world_base(&w));
    world_go(&w);
    world_see_all(&w, BASES, "c", (const char *const[]){"refs/tags/v3", NULL});
    world_settle(&w, NULL);
    str_replace(&world_find_image(&w, "base")->source, MOVED);
    world_reload(&w);
    assert_true(model_source_unseen(w.m, MOVED));
    world_see_all(&w, MOVED, "c",
                  (const char *const[]){"refs/tags/v1", "refs/tags/v2", "refs/tags/v3", NULL});
    assert_int_equal(world_settle(&w, NULL), 0);
    world_is(&w, "base@v3", "published", "published");
    world_is(&w, "base@v2", "dormant", "dormant");
    world_is(&w, "base@v1", "dormant", "dormant");
    world_done(&w);
}

/* A version that the bounds leave out by now is there all the same: not deleted. */
static void test_another_source_and_stricter_versions(void **state)
{
    static const char *const both[] = {"refs/tags/v1", "refs/tags/v2", NULL};
    struct world w;
    struct farm_image *image = world_base(&w);
    by_version(image);
    image->history = FARM_HISTORY_ALL;
    world_go(&w);
    world_see_all(&w, BASES, "c", both);
    world_settle(&w, NULL);
    str_replace(&world_find_image(&w, "base")->source, MOVED);
    str_replace(&world_find_image(&w, "base")->versions, ">=2");
    world_reload(&w);
    world_see_all(&w, MOVED, "c", both);
    assert_int_equal(world_settle(&w, NULL), 0);
    world_is(&w, "base@v2", "published", "published");
    world_is(&w, "base@v1", "dormant", "out-of-bounds");
    world_restart(&w);
    world_is(&w, "base@v1", "dormant", "out-of-bounds");
    world_done(&w);
}

/* ---- an image that leaves, and is put back ---- */

static void it_is_held(struct world *w)
{
    world_publish_base(w, "b1");
    world_ask(w, COMMAND_HOLD, BASE);
    world_publish_base(w, "b2");
    world_is(w, BASE, "held", "held");
}
static void it_is_cancelled(struct world *w)
{
    struct err err = ERR_INIT;
    world_publish_base(w, "b1");
    world_push(w, BASES, "b2", NULL);
    world_begin(w, 1);
    assert_int_equal(model_on_cancel_build(w->m, last_build(w, BASE), &err), 0);
    world_end(w);
}
static void it_has_failed(struct world *w)
{
    world_publish_base(w, "b1");
    world_push(w, BASES, "b2", NULL);
    world_break(w, "one", "base", WIRE_FAILURE_RECIPE);
    world_break(w, "one", "base", WIRE_FAILURE_RECIPE);
    world_is(w, BASE, "failed", "job-failed");
}
static void it_is_retired(struct world *w)
{
    world_publish_base(w, "b1");
    world_ask(w, COMMAND_RETIRE, BASE);
}
static void it_is_pinned(struct world *w)
{
    world_publish_base(w, "b1");
    world_publish_base(w, "b2");
    world_ask(w, COMMAND_ROLLBACK, BASE);
    world_settle(w, NULL);
}

/* What people decided about it, and what has failed, is as it was: nothing is built, and no tag moves. */
static void test_an_image_that_is_put_back_is_as_it_was(void **state)
{
    static const struct {
        void (*given)(struct world *w);
        const char *state, *code;
    } cases[] = {
        {it_is_held, "held", "held"},
        {it_is_cancelled, "cancelled", "cancelled"},
        {it_has_failed, "failed", "job-failed"},
        {it_is_retired, "retired", "retired"},
        {it_is_pinned, "held", "pinned"},
    };
    for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(*cases); i++) {
        struct world w;
        bool restart = i % 2;
        world_base_alone(&w);
        cases[i / 2].given(&w);
        int64_t latest = world_tag(&w, REPO, "latest");
        struct farm_image image = take_out(&w, "base", restart);
        world_is(&w, BASE, "unknown", "not-configured");
        world_wait(&w, MINUTE);
        put_back(&w, image, restart);
        assert_int_equal(world_settle(&w, NULL), 0);
        world_is(&w, BASE, cases[i / 2].state, cases[i / 2].code);
        assert_int_equal(world_tag(&w, REPO, "latest"), latest);
        world_done(&w);
    }
}

/* Its job is cancelled; put back, it is built: nobody who was asked had cancelled it. */
static void test_an_image_that_leaves_while_it_is_built(void **state)
{
    for (int restart = 0; restart < 2; restart++) {
        struct world w;
        world_base_alone(&w);
        world_publish_base(&w, "b1");
        world_push(&w, BASES, "b2", NULL);
        struct wire_poll_response got;
        world_lease(&w, "one", "base", &got);
        wire_poll_response_done(&got);
        struct farm_image image = take_out(&w, "base", restart);
        assert_int_equal(track_find(w.m, BASE)->current->state, BUILD_SUPERSEDED);
        put_back(&w, image, restart);
        assert_int_equal(world_settle(&w, NULL), 1);
        world_is(&w, BASE, "published", "published");
        assert_int_equal(world_tag(&w, REPO, "latest"), 2);
        world_done(&w);
    }
}

/* Its repository is none of the farm's any more: what is built on it looks in the registry, where a base is named by its
 * digest and not by its content, and is built anew. */
static void test_an_image_that_others_are_built_on_leaves(void **state)
{
    for (int restart = 0; restart < 2; restart++) {
        struct world w;
        world_base_and_app(&w);
        struct farm_image image = take_out(&w, "base", restart);
        world_is(&w, APP, "waiting", "resolving-base");
        struct effect e = world_take(&w, EFFECT_RESOLVE_BASE);
        assert_string_equal(e.reference, REPO ":latest");
        effect_done(&e);
        char digest[DIGEST_SIZE];
        digest_of("its manifest", 12, digest);
        struct base_child child = {PLATFORM_AMD64, digest};
        world_begin(&w, 1);
        model_on_base(w.m, REPO ":latest", digest, &child, 1, false);
        world_end(&w);
        assert_int_equal(world_settle(&w, ON), 1);
        world_is(&w, APP, "published", "published");
        put_back(&w, image, restart); /* by its content, as it was */
        assert_int_equal(world_settle(&w, ON), 0);
        assert_string_equal(
            world_tag_digest(&w, "r.test/osf/app", "latest"),
            publication_find(w.m, world_tag(&w, "r.test/osf/app", "latest"))->digest);
        world_is(&w, APP, "published", "published");
        world_done(&w);
    }
}

/* ---- another repository, other tags ---- */

/* What is built for one repository is not what is built for another; what was published to the old one stays. */
static void test_a_repository_that_is_renamed_and_back(void **state)
{
    struct world w;
    world_base_alone(&w);
    world_publish_base(&w, "b1");
    str_replace(&world_find_image(&w, "base")->repository, "r.test/osf/elsewhere");
    world_reload(&w);
    assert_int_equal(world_settle(&w, NULL), 1);
    assert_int_equal(world_tag(&w, "r.test/osf/elsewhere", "latest"), 2);
    assert_int_equal(world_tag(&w, REPO, "latest"), 1);
    str_replace(&world_find_image(&w, "base")->repository, REPO);
    world_reload(&w);
    assert_int_equal(world_settle(&w, NULL), 0);
    world_is(&w, BASE, "published", "published");
    assert_int_equal(world_tag(&w, "r.test/osf/elsewhere", "latest"), 2);
    world_done(&w);
}

/* While it is away its tag stays behind; back, it follows without a build. */
static void test_a_tag_template_that_comes_back(void **state)
{
    for (int restart = 0; restart < 2; restart++) {
        struct world w;
        world_base_alone(&w);
        world_publish_base(&w, "b1");
        struct farm_image *image = world_find_image(&w, "base");
        str_replace(&image->tags.items[0], "edge");
        load(&w, restart);
        assert_int_equal(world_settle(&w, NULL), 0);
        assert_string_equal(world_tag_digest(&w, REPO, "edge"),
                            world_tag_digest(&w, REPO, "latest"));
        world_publish_base(&w, "b2");
        assert_int_equal(world_tag(&w, REPO, "latest"), 1);
        strvec_add(&image->tags, "latest");
        load(&w, restart);
        assert_int_equal(world_settle(&w, NULL), 0);
        assert_string_equal(world_tag_digest(&w, REPO, "edge"),
                            world_tag_digest(&w, REPO, "latest"));
        world_done(&w);
    }
}

/* What the track has no version for names no tag: it is built, and nothing is published. */
static void test_templates_that_give_no_tag(void **state)
{
    struct world w;
    world_base_alone(&w);
    world_publish_base(&w, "b1");
    struct farm_image *image = world_find_image(&w, "base");
    str_replace(&image->tags.items[0], "$version");
    world_reload(&w);
    world_push(&w, BASES, "b2", NULL);
    assert_int_equal(world_settle(&w, NULL), 1);
    world_is(&w, BASE, "published", "published");
    assert_int_equal(world_tag(&w, REPO, "latest"), 1);
    str_replace(&image->tags.items[0], "latest");
    world_reload(&w);
    assert_int_equal(world_settle(&w, NULL), 0);
    assert_int_equal(world_tag(&w, REPO, "latest"), 2);
    world_done(&w);
}

/* ---- platforms ---- */

static size_t children(struct world *w)
{
    return tag_find(w->m, REPO, "latest")->shown->child.n;
}

/* Named again, it is built if anything changed; retired, it stays so until it is woken. */
static void test_a_platform_that_is_named_again(void **state)
{
    struct world w;
    struct farm_image *image = world_base(&w);
    vec_push(&image->platforms, PLATFORM_ARM64);
    w.platforms = two_platforms;
    world_go(&w);
    world_publish_base(&w, "b1");
    image->platforms.n = 1;
    world_reload(&w);
    assert_int_equal(world_settle(&w, NULL), 0);
    world_publish_base(&w, "b2");
    assert_int_equal(children(&w), 2);
    image->platforms.n = 2;
    world_reload(&w);
    assert_int_equal(world_settle(&w, NULL), 1);
    struct command c = {.verb = COMMAND_RETIRE, .track = BASE, .platform = "linux/arm64"};
    world_do(&w, &c);
    world_settle(&w, NULL);
    assert_int_equal(children(&w), 1);
    image->platforms.n = 1;
    world_reload(&w);
    image->platforms.n = 2;
    world_reload(&w);
    assert_int_equal(world_settle(&w, NULL), 0);
    assert_int_equal(children(&w), 1);
    c.verb = COMMAND_WAKE;
    world_do(&w, &c);
    assert_int_equal(world_settle(&w, NULL), 0); /* its key has succeeded */
    assert_int_equal(children(&w), 2);
    world_done(&w);
}

/* ---- bounds of what is kept and built ---- */

static size_t publications(struct world *w)
{
    return track_find(w->m, BASE)->published.n;
}

/* It acts where something is published next. */
static void test_keep_made_smaller(void **state)
{
    for (int restart = 0; restart < 2; restart++) {
        struct world w;
        world_base_alone(&w);
        world_publish_base(&w, "b1");
        world_publish_base(&w, "b2");
        world_publish_base(&w, "b3");
        w.farm->keep = 1;
        load(&w, restart);
        assert_int_equal(publications(&w), 3);
        world_publish_base(&w, "b4");
        assert_int_equal(publications(&w), 1);
        struct command c = {.verb = COMMAND_ROLLBACK, .track = BASE};
        world_refused(&w, &c, -EBUSY, "publication 4 is the only one of base@master");
        world_done(&w);
    }
}

/* A version that is inside again is as it was; what came meanwhile is first sight. `history` says what sleeps at first
 * sight, and wakes nothing later. */
static void test_versions_and_history_made_wider(void **state)
{
    static const char *const all[] = {"refs/tags/v1", "refs/tags/v2", "refs/tags/v3", NULL};
    struct world w;
    by_version(world_base(&w));
    world_go(&w);
    world_see_all(&w, BASES, "c", (const char *const[]){"refs/tags/v1", "refs/tags/v2", NULL});
    world_settle(&w, NULL);
    world_is(&w, "base@v1", "dormant", "dormant");
    struct farm_image *image = world_find_image(&w, "base");
    image->versions = xstrdup("<2");
    world_reload(&w);
    world_see_all(&w, BASES, "c", all);
    assert_int_equal(world_settle(&w, NULL), 0);
    world_is(&w, "base@v2", "dormant", "out-of-bounds");
    str_replace(&image->versions, NULL);
    image->history = 3;
    world_reload(&w);
    world_is(&w, "base@v2", "published", "published");
    world_see_all(&w, BASES, "c", all);
    assert_int_equal(world_settle(&w, NULL), 1);
    world_is(&w, "base@v3", "published", "published");
    world_is(&w, "base@v1", "dormant", "dormant");
    world_done(&w);
}

/* A job has the limits of when it was made, or was last asked for anew. */
static void test_another_time_limit(void **state)
{
    struct world w;
    struct wire_poll_response got;
    world_base_alone(&w);
    world_push(&w, BASES, "b1", NULL);
    struct farm_image *image = world_find_image(&w, "base");
    image->timeout_ms = 2 * HOUR;
    world_reload(&w);
    assert_int_equal(last_build(&w, BASE), 1);
    struct wire_lease *lease = world_lease(&w, "one", "base", &got);
    assert_int_equal(lease->job.timeout_ms, HOUR);
    world_fail(&w, lease, WIRE_FAILURE_TIMEOUT);
    wire_poll_response_done(&got);
    world_is(&w, BASE, "failed", "job-failed");
    world_ask(&w, COMMAND_RETRY, BASE);
    assert_int_equal(world_lease(&w, "one", "base", &got)->job.timeout_ms, 2 * HOUR);
    wire_poll_response_done(&got);
    world_done(&w);
}

/* What waits for a board already goes by it too. */
static void test_another_priority(void **state)
{
    for (int restart = 0; restart < 2; restart++) {
        struct world w;
        struct wire_poll_response got;
        world_base(&w);
        w.slots = w.free = 1;
        world_image(&w, "app", APPS, WORLD_MASTER, "./app");
        world_start(&w);
        world_push(&w, BASES, "b1", NULL);
        world_wait(&w, MINUTE);
        world_push(&w, APPS, "a1", NULL);
        world_find_image(&w, "app")->priority = 2;
        load(&w, restart);
        world_board(&w, "one");
        world_lease(&w, "one", "app", &got);
        wire_poll_response_done(&got);
        world_done(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_another_source_is_looked_at_first),
        cmocka_unit_test(test_another_source_that_has_not_the_ref),
        cmocka_unit_test(test_another_source_is_a_first_sight),
        cmocka_unit_test(test_another_source_and_stricter_versions),
        cmocka_unit_test(test_an_image_that_is_put_back_is_as_it_was),
        cmocka_unit_test(test_an_image_that_leaves_while_it_is_built),
        cmocka_unit_test(test_an_image_that_others_are_built_on_leaves),
        cmocka_unit_test(test_a_repository_that_is_renamed_and_back),
        cmocka_unit_test(test_a_tag_template_that_comes_back),
        cmocka_unit_test(test_templates_that_give_no_tag),
        cmocka_unit_test(test_a_platform_that_is_named_again),
        cmocka_unit_test(test_keep_made_smaller),
        cmocka_unit_test(test_versions_and_history_made_wider),
        cmocka_unit_test(test_another_time_limit),
        cmocka_unit_test(test_another_priority),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
