/* What another farm.yaml does to what is built and published already: by a reload, and by a start with it. */
#include "daemon/model/objects.h"
#include "tests/lib/model_commands.h"
#include "tests/lib/model_steps.h"

#define BASES "https://git.test/bases.git"
#define MOVED "https://git.test/moved.git"
#define BASE  "base@master"
#define REPO  "r.test/osf/base"

static struct farm_image *base_image(struct world *w)
{
    world_init(w);
    return world_image(w, "base", BASES, WORLD_MASTER, "./mk");
}

static void start(struct world *w)
{
    world_start(w);
    world_board(w, "one");
}

static void one_image(struct world *w)
{
    base_image(w);
    start(w);
}

static void publish(struct world *w, const char *commit)
{
    world_push(w, BASES, commit, NULL);
    world_settle(w, NULL);
}

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
        one_image(&w);
        publish(&w, "b1");
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
    one_image(&w);
    publish(&w, "b1");
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
    by_version(base_image(&w));
    start(&w);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_another_source_is_looked_at_first),
        cmocka_unit_test(test_another_source_that_has_not_the_ref),
        cmocka_unit_test(test_another_source_is_a_first_sight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
