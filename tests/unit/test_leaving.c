/* What becomes of a publication that runs when farm.yaml changes: its image or its registry leaves it, moves elsewhere, or is
 * held by it. */
#include "daemon/model/objects.h"
#include "tests/lib/model_commands.h"
#include "tests/lib/model_steps.h"

#include <errno.h>

#define SOURCE "https://git.test/a.git"
#define TRACK  "base@master"
#define REPO   "r.test/osf/base"
#define MOVED  "new.test/osf/base"

static struct farm_image *begin(struct world *w)
{
    world_init(w);
    return world_image(w, "base", SOURCE, WORLD_MASTER, "./mk");
}

/* A first publication whose next effect is to put the index, or the tags. */
static void begin_publication(struct world *w, enum publish_step next)
{
    world_start(w);
    world_board(w, "one");
    world_push(w, SOURCE, "c1", NULL);
    world_build(w, "one", "base", "x");
    world_retain(w);
    if (next == PUBLISH_VERIFY)
        world_step(w);
}

static const struct publication *one(struct world *w)
{
    return publication_find(w->m, 1);
}

/* Another image stands in farm.yaml in its place. */
static void rename_image(struct world *w, const char *name)
{
    struct farm_image *image = &w->farm->images.items[0];
    str_replace(&image->name, name);
    free(image->repository);
    image->repository = xasprintf("r.test/osf/%s", name);
}

static void move_registry(struct world *w, const char *host)
{
    struct farm_image *image = world_find_image(w, "base");
    str_replace(&w->farm->registry_host, host);
    free(w->farm->registry);
    w->farm->registry = xasprintf("%s/osf", host);
    free(image->repository);
    image->repository = xasprintf("%s/osf/base", host);
}

static void reload(struct world *w, bool restart)
{
    if (restart)
        world_restart(w);
    else
        world_reload(w);
}

/* It publishes to another repository of the same registry. */
static void move_repository(struct world *w, const char *name)
{
    struct farm_image *image = world_find_image(w, "base");
    free(image->repository);
    image->repository = xasprintf("r.test/osf/%s", name);
    world_reload(w);
}

/* An older publication, to where its image published before, ends when a newer one, elsewhere, has: the track's last one is the
 * newer, whatever became of the image meanwhile. */
static void test_a_late_older_publication_is_not_the_last(void **state)
{
    struct world w;
    begin(&w);
    begin_publication(&w, PUBLISH_VERIFY);
    struct effect late = world_take(&w, EFFECT_PUBLISH);
    move_repository(&w, "elsewhere");
    world_settle(&w, NULL);
    world_is(&w, TRACK, "published", "published");
    const struct track *t = track_find(w.m, TRACK);
    assert_int_equal(t->publication, 2);
    rename_image(&w, "other");
    world_reload(&w);
    vec_push(&w.todo, late);
    world_publish(&w);
    assert_int_equal(one(&w)->state, PUBLICATION_VERIFIED);
    assert_int_equal(t->publication, 2);
    assert_int_equal(t->last->id, 2);
    /* so nothing is published anew when it is back */
    rename_image(&w, "base");
    move_repository(&w, "elsewhere");
    world_settle(&w, NULL);
    world_is(&w, TRACK, "published", "published");
    assert_int_equal(t->publication, 2);
    world_done(&w);
}

/* Nothing outside was changed: it is given up, and the repository is free. */
static void test_an_image_that_leaves_before_the_first_tag(void **state)
{
    for (int restart = 0; restart < 2; restart++) {
        struct world w;
        begin(&w);
        begin_publication(&w, PUBLISH_INDEX);
        rename_image(&w, "other");
        reload(&w, restart);
        assert_int_equal(one(&w)->state, PUBLICATION_ABANDONED);
        assert_string_equal(one(&w)->error, "farm.yaml does not publish its image here any more");
        assert_null(model_repository(w.m, REPO)->running);
        world_publish(&w); /* the step that was under way */
        assert_string_equal(world_tag_digest(&w, REPO, "latest"), "");
        if (restart)
            world_board(&w, "one");
        /* it comes back */
        rename_image(&w, "base");
        world_reload(&w);
        world_settle(&w, NULL);
        world_is(&w, TRACK, "published", "published");
        assert_int_equal(tag_find(w.m, REPO, "latest")->generation, 2);
        world_done(&w);
    }
}

static void test_a_registry_that_leaves_before_the_first_tag(void **state)
{
    for (int restart = 0; restart < 2; restart++) {
        struct world w;
        begin(&w);
        begin_publication(&w, PUBLISH_INDEX);
        move_registry(&w, "new.test");
        reload(&w, restart);
        assert_int_equal(one(&w)->state, PUBLICATION_ABANDONED);
        if (restart)
            world_board(&w, "one");
        world_settle(&w, NULL);
        world_is(&w, TRACK, "published", "published");
        assert_string_equal(world_tag_digest(&w, REPO, "latest"), "");
        assert_string_not_equal(world_tag_digest(&w, MOVED, "latest"), "");
        world_done(&w);
    }
}

static void test_an_image_that_leaves_after_the_first_tag(void **state)
{
    for (int restart = 0; restart < 2; restart++) {
        struct world w;
        begin(&w);
        begin_publication(&w, PUBLISH_VERIFY);
        rename_image(&w, "other");
        reload(&w, restart);
        world_publish(&w);
        assert_int_equal(one(&w)->state, PUBLICATION_VERIFIED);
        assert_string_equal(world_tag_digest(&w, REPO, "latest"), one(&w)->digest);
        world_done(&w);
    }
}

static bool asks_of(struct world *w, const char *host)
{
    VEC_FOREACH (&w->todo, e)
        if ((e->kind == EFFECT_PUBLISH || e->kind == EFFECT_RETAIN) &&
            str_starts(e->repository, host))
            return true;
    return false;
}

/* Superseded twice a build may finish, but not one whose output is in the registry that the image has left. */
static void test_what_may_finish_for_another_registry_is_superseded(void **state)
{
    struct world w;
    begin(&w);
    world_start(&w);
    world_board(&w, "one");
    world_push(&w, SOURCE, "c1", NULL);
    world_push(&w, SOURCE, "c2", NULL);
    world_push(&w, SOURCE, "c3", NULL);
    int64_t third = track_find(w.m, TRACK)->build;
    world_push(&w, SOURCE, "c4", NULL);
    assert_int_equal(track_find(w.m, TRACK)->build, third);
    move_registry(&w, "new.test");
    world_reload(&w);
    assert_int_not_equal(track_find(w.m, TRACK)->build, third);
    assert_int_equal(world_settle(&w, NULL), 1);
    world_is(&w, TRACK, "published", "published");
    assert_string_not_equal(world_tag_digest(&w, MOVED, "latest"), "");
    assert_string_equal(world_tag_digest(&w, REPO, "latest"), "");
    world_done(&w);
}

/* It stands: whatever registry has that name by default is asked for nothing. */
static void test_a_registry_that_leaves_after_the_first_tag(void **state)
{
    for (int restart = 0; restart < 2; restart++) {
        struct world w;
        begin(&w);
        begin_publication(&w, PUBLISH_VERIFY);
        move_registry(&w, "new.test");
        reload(&w, restart);
        if (!restart) /* the step that was under way ends */
            world_step_fails(&w, PUBLISH_AWAY, PLATFORM_COUNT, "cancelled");
        if (restart)
            world_board(&w, "one");
        world_settle(&w, NULL);
        world_wait(&w, 3600000);
        assert_false(asks_of(&w, "r.test"));
        assert_int_equal(one(&w)->state, PUBLICATION_TAGS);
        assert_string_equal(one(&w)->error,
                            "the registry of " REPO
                            " is not in farm.yaml any more; it goes on when "
                            "that names it again, and sheafctl adopt " REPO " gives it up");
        assert_true(world_attention(&w, "registry-away"));
        world_is(&w, TRACK, "published", "published"); /* to its new registry */
        world_restart(&w);
        assert_false(asks_of(&w, "r.test"));
        assert_true(world_attention(&w, "registry-away"));
        /* it is named again, though no image publishes there */
        vec_push(&w.farm->registries, (struct farm_registry){.host = xstrdup("r.test")});
        world_reload(&w);
        world_publish(&w);
        assert_int_equal(one(&w)->state, PUBLICATION_VERIFIED);
        assert_false(world_attention(&w, "registry-away"));
        assert_string_equal(track_find(w.m, TRACK)->last->repository, MOVED);
        world_done(&w);
    }
}

static void adopt(struct world *w, int expected)
{
    struct err err = ERR_INIT;
    world_begin(w, 1);
    assert_int_equal(model_on_adopt(w->m, REPO, &err), expected);
    world_end(w);
}

/* A registry that never comes back: a person gives up what stands there. */
static void test_what_its_registry_left_is_given_up(void **state)
{
    struct world w;
    begin(&w);
    begin_publication(&w, PUBLISH_VERIFY);
    move_registry(&w, "new.test");
    reload(&w, false);
    adopt(&w, -EBUSY); /* a PUT may be under way */
    world_step_fails(&w, PUBLISH_AWAY, PLATFORM_COUNT, "cancelled");
    world_settle(&w, NULL);
    adopt(&w, 0);
    assert_int_equal(one(&w)->state, PUBLICATION_ABANDONED);
    assert_false(world_attention(&w, "registry-away"));
    size_t rows = w.rows.n;
    adopt(&w, 0);
    assert_int_equal(w.rows.n, rows);
    world_restart(&w);
    world_board(&w, "one");
    adopt(&w, 0);
    assert_false(asks_of(&w, "r.test"));
    assert_false(world_attention(&w, "registry-away"));
    world_is(&w, TRACK, "published", "published");
    /* the farm publishes there again: some tags may name what was given up */
    move_registry(&w, "r.test");
    world_reload(&w);
    world_retain(&w);
    world_step(&w);
    struct effect e = world_take(&w, EFFECT_PUBLISH);
    assert_true(e.step == PUBLISH_VERIFY && e.adopt);
    vec_push(&w.todo, e);
    world_settle(&w, NULL);
    assert_int_equal(tag_find(w.m, REPO, "latest")->generation, 2);
    world_done(&w);
}

/* So it is with one that its registry refuses for ever, of an image that has left. One of an image that is there is no
 * such thing. */
static void test_what_its_image_left_is_given_up(void **state)
{
    struct world w;
    begin(&w);
    begin_publication(&w, PUBLISH_VERIFY);
    world_step_fails(&w, PUBLISH_AWAY, PLATFORM_COUNT, "denied");
    adopt(&w, 0);
    assert_int_equal(one(&w)->state, PUBLICATION_TAGS);
    rename_image(&w, "other");
    reload(&w, false);
    assert_true(world_attention(&w, "registry-away"));
    adopt(&w, 0);
    assert_int_equal(one(&w)->state, PUBLICATION_ABANDONED);
    assert_false(world_attention(&w, "registry-away"));
    world_wait(&w, 3600000);
    assert_false(asks_of(&w, REPO));
    world_done(&w);
}

/* What a place is to name is not asked for there either. */
static void test_places_of_a_registry_that_leaves(void **state)
{
    struct world w;
    begin(&w);
    world_start(&w);
    world_board(&w, "one");
    world_push(&w, SOURCE, "c1", NULL);
    world_build(&w, "one", "base", "x");
    assert_true(asks_of(&w, "r.test"));
    move_registry(&w, "new.test");
    world_restart(&w);
    assert_false(asks_of(&w, "r.test"));
    world_done(&w);
}

/* What somebody published to another repository owns nothing in this one. */
static void test_nobody_owns_what_they_published_elsewhere(void **state)
{
    static const char *const both[] = {"refs/tags/v1", "refs/tags/v2", NULL};
    static const char *const old[] = {"refs/tags/v1", NULL};
    struct world w;
    struct farm_image *image = begin(&w);
    str_replace(&image->ref, "refs/tags/v*");
    image->history = 2;
    world_start(&w);
    world_board(&w, "one");
    world_see_all(&w, SOURCE, "c1", both);
    world_settle(&w, NULL);
    for (int i = 0; i < 2; i++)
        world_see_all(&w, SOURCE, "c1", old);
    world_settle(&w, NULL);
    world_is(&w, "base@v2", "deleted", "ref-deleted");
    move_registry(&w, "new.test");
    world_reload(&w);
    world_settle(&w, NULL);
    world_is(&w, "base@v1", "published", "published");
    assert_string_equal(tag_find(w.m, MOVED, "latest")->track_id, "base@v1");
    world_done(&w);
}

/* farm.yaml was made to hold the image while the coordinator was down. */
static void test_a_start_heeds_a_hold_of_farm_yaml(void **state)
{
    struct world w;
    struct farm_image *image = begin(&w);
    begin_publication(&w, PUBLISH_INDEX);
    image->hold = true;
    world_restart(&w);
    world_publish(&w);
    assert_string_equal(world_tag_digest(&w, REPO, "latest"), "");
    world_is(&w, TRACK, "held", "held");
    world_done(&w);
}

/* Tags that are not to be moved any more are not moved, though others of the same publication are. */
static void test_a_template_that_leaves_before_the_first_tag(void **state)
{
    struct world w;
    struct farm_image *image = begin(&w);
    strvec_add(&image->tags, "extra");
    begin_publication(&w, PUBLISH_INDEX);
    free(image->tags.items[1]);
    vec_remove(&image->tags, 1);
    world_reload(&w);
    world_settle(&w, NULL);
    world_is(&w, TRACK, "published", "published");
    assert_string_not_equal(world_tag_digest(&w, REPO, "latest"), "");
    assert_string_equal(world_tag_digest(&w, REPO, "extra"), "");
    world_done(&w);
}

/* `other` has `latest`. Returns the digest of that tag. */
static char *begin_rival(struct world *w)
{
    static const char *const old[] = {"refs/tags/v1", NULL};
    struct farm_image *image = begin(w);
    str_replace(&image->ref, "refs/tags/v*");
    strvec_add(&image->tags, "$version");
    struct farm_image *other =
        world_image(w, "other", "https://git.test/b.git", "refs/tags/v*", "./mk");
    str_replace(&other->repository, REPO);
    world_start(w);
    world_board(w, "one");
    world_see_all(w, "https://git.test/b.git", "b1", old);
    world_settle(w, NULL);
    return xstrdup(world_tag_digest(w, REPO, "latest"));
}

/* A higher version, of `base`, is about to take it. */
static void build_higher(struct world *w)
{
    static const char *const new[] = {"refs/tags/v2", NULL};
    world_see_all(w, SOURCE, "c1", new);
    world_inspect(w, NULL);
    world_build(w, "one", "base", "x");
    world_retain(w);
}

static void move_other(struct world *w, const char *repository)
{
    str_replace(&world_find_image(w, "other")->repository, repository);
}

/* It has published elsewhere since, and is back, held: what it had here it has still. */
static void test_what_comes_back_has_what_it_had(void **state)
{
    for (int restart = 0; restart < 2; restart++) {
        struct world w;
        cleanup_free char *digest = begin_rival(&w);
        move_other(&w, "r.test/osf/elsewhere");
        world_reload(&w);
        world_settle(&w, NULL);
        assert_string_not_equal(world_tag_digest(&w, "r.test/osf/elsewhere", "latest"), "");
        world_ask(&w, COMMAND_HOLD, "other@v1");
        move_other(&w, REPO);
        reload(&w, restart);
        if (restart)
            world_board(&w, "one");
        build_higher(&w);
        world_settle(&w, NULL);
        assert_string_equal(world_tag_digest(&w, REPO, "latest"), digest);
        assert_string_not_equal(world_tag_digest(&w, REPO, "2"), "");
        world_done(&w);
    }
}

static void test_an_incumbent_that_farm_yaml_holds_keeps_its_tag(void **state)
{
    for (int restart = 0; restart < 2; restart++) {
        struct world w;
        cleanup_free char *digest = begin_rival(&w);
        build_higher(&w);
        world_find_image(&w, "other")->hold = true;
        reload(&w, restart);
        if (restart)
            world_board(&w, "one");
        world_settle(&w, NULL);
        assert_string_equal(world_tag_digest(&w, REPO, "latest"), digest);
        assert_string_not_equal(world_tag_digest(&w, REPO, "2"), "");
        world_done(&w);
    }
}

/* What takes a tag and leaves farm.yaml meanwhile leaves it to who claims it still. */
static void test_a_tag_that_was_taken_by_what_leaves_goes_back(void **state)
{
    for (int restart = 0; restart < 2; restart++) {
        struct world w;
        cleanup_free char *digest = begin_rival(&w);
        build_higher(&w);
        world_step(&w); /* the first tag's PUT is journalled */
        str_replace(&world_find_image(&w, "base")->ref, "refs/heads/none");
        reload(&w, restart);
        world_publish(&w);
        assert_string_equal(tag_find(w.m, REPO, "latest")->track_id, "other@v1");
        assert_string_equal(world_tag_digest(&w, REPO, "latest"), digest);
        world_done(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_late_older_publication_is_not_the_last),
        cmocka_unit_test(test_an_image_that_leaves_before_the_first_tag),
        cmocka_unit_test(test_a_registry_that_leaves_before_the_first_tag),
        cmocka_unit_test(test_an_image_that_leaves_after_the_first_tag),
        cmocka_unit_test(test_a_registry_that_leaves_after_the_first_tag),
        cmocka_unit_test(test_what_may_finish_for_another_registry_is_superseded),
        cmocka_unit_test(test_what_its_registry_left_is_given_up),
        cmocka_unit_test(test_what_its_image_left_is_given_up),
        cmocka_unit_test(test_places_of_a_registry_that_leaves),
        cmocka_unit_test(test_nobody_owns_what_they_published_elsewhere),
        cmocka_unit_test(test_a_start_heeds_a_hold_of_farm_yaml),
        cmocka_unit_test(test_a_template_that_leaves_before_the_first_tag),
        cmocka_unit_test(test_what_comes_back_has_what_it_had),
        cmocka_unit_test(test_an_incumbent_that_farm_yaml_holds_keeps_its_tag),
        cmocka_unit_test(test_a_tag_that_was_taken_by_what_leaves_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
