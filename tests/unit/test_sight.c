/* Where refs, farm.yaml and restarts meet: design rules 8 and 9. */
#include "daemon/model/objects.h"
#include "tests/lib/model_world.h"

#define SOURCE "https://git.test/a.git"
#define REFS(...)                                                                                  \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }
#define TAG(v)    "refs/tags/v" v
#define BRANCH(v) "refs/heads/v" v

/* An image of each version that the source has, the newest built. */
static struct farm_image *begin(struct world *w, const char *ref)
{
    world_init(w);
    struct farm_image *image = world_image(w, "tool", SOURCE, ref, "./mk");
    str_replace(&image->tags.items[0], "$version");
    world_start(w);
    world_board(w, "one");
    return image;
}

static void reload(struct world *w)
{
    world_begin(w, 1);
    model_on_config(w->m, w->farm);
    world_end(w);
}

/* Upstream makes branches of its tags, and farm.yaml follows them. */
static void test_a_branch_in_place_of_a_tag(void **state)
{
    struct world w;
    struct farm_image *image = begin(&w, "refs/tags/v*");
    world_see_all(&w, SOURCE, "c1", REFS(TAG("1")));
    assert_int_equal(world_settle(&w, NULL), 1);
    str_replace(&image->ref, "refs/heads/v*");
    reload(&w);
    world_see_all(&w, SOURCE, "c2", REFS(BRANCH("1")));
    assert_int_equal(world_settle(&w, NULL), 1);
    assert_string_equal(world_track_state(&w, "tool@v1"), "published");
    assert_string_equal(world_text(&w, "tool@v1", "ref", NULL), BRANCH("1"));
    world_restart(&w);
    assert_string_equal(world_track_state(&w, "tool@v1"), "published");
    assert_int_equal(world_settle(&w, NULL), 0);
    world_done(&w);
}

/* The same of a tag that is gone by then, and of one that sleeps. */
static void test_branches_in_place_of_tags_that_are_not_in_date(void **state)
{
    struct world w;
    struct farm_image *image = begin(&w, "refs/tags/v*");
    world_see_all(&w, SOURCE, "c1", REFS(TAG("1"), TAG("2"), TAG("3")));
    assert_int_equal(world_settle(&w, NULL), 1);
    for (int i = 0; i < 2; i++)
        world_see_all(&w, SOURCE, "c1", REFS(TAG("1"), TAG("2")));
    assert_string_equal(world_track_state(&w, "tool@v3"), "deleted");
    str_replace(&image->ref, "refs/heads/v*");
    reload(&w);
    world_see_all(&w, SOURCE, "c2", REFS(BRANCH("1"), BRANCH("3")));
    assert_int_equal(world_settle(&w, NULL), 1);
    assert_string_equal(world_track_state(&w, "tool@v1"), "published");
    assert_string_equal(world_track_state(&w, "tool@v3"), "published");
    assert_string_equal(world_text(&w, "tool@v2", "reason", "code"), "not-configured");
    world_done(&w);
}

/* A variant that farm.yaml adds is of the versions that are in date, not of all that ever were. */
static void test_a_new_variant_sleeps_where_the_others_do(void **state)
{
    struct world w;
    struct farm_image *image = begin(&w, "refs/tags/v*");
    str_replace(&image->tags.items[0], "$version-$variant");
    strvec_add(&image->variants, "full");
    reload(&w);
    world_see_all(&w, SOURCE, "c1", REFS(TAG("1.0.0"), TAG("1.1.0"), TAG("1.2.0")));
    assert_int_equal(world_settle(&w, NULL), 1);
    strvec_add(&image->variants, "slim");
    reload(&w);
    assert_int_equal(world_settle(&w, NULL), 1);
    assert_string_equal(world_track_state(&w, "tool@v1.2.0:slim"), "published");
    assert_string_equal(world_track_state(&w, "tool@v1.0.0:slim"), "dormant");
    assert_string_equal(world_track_state(&w, "tool@v1.1.0:slim"), "dormant");
    /* nor does another name of all variants build them */
    str_replace(&image->variants.items[0], "big");
    str_replace(&image->variants.items[1], "small");
    reload(&w);
    assert_int_equal(world_settle(&w, NULL), 2);
    assert_string_equal(world_track_state(&w, "tool@v1.0.0:big"), "dormant");
    /* a version that comes later has all of them */
    world_see_all(&w, SOURCE, "c1", REFS(TAG("1.0.0"), TAG("1.1.0"), TAG("1.2.0"), TAG("1.2.1")));
    assert_int_equal(world_settle(&w, NULL), 0); /* its files are those of the others */
    assert_string_equal(world_track_state(&w, "tool@v1.2.1:big"), "published");
    assert_string_equal(world_track_state(&w, "tool@v1.2.1:small"), "published");
    world_done(&w);
}

/* What farm.yaml follows is another thing now, and there is none of it yet: that is no repository that was emptied. */
static void test_a_pattern_that_finds_nothing_yet(void **state)
{
    struct world w;
    struct farm_image *image = begin(&w, BRANCH("1"));
    world_see_all(&w, SOURCE, "c1", REFS(BRANCH("1")));
    assert_int_equal(world_settle(&w, NULL), 1);
    str_replace(&image->ref, "refs/tags/v*");
    reload(&w);
    world_see_all(&w, SOURCE, "c1", REFS(NULL));
    assert_null(w.m->sources->error);
    world_see_all(&w, SOURCE, "c2", REFS(TAG("1.0.0")));
    assert_int_equal(world_settle(&w, NULL), 1);
    /* one that finds nothing any more is */
    world_see_all(&w, SOURCE, "c1", REFS(NULL));
    world_see_all(&w, SOURCE, "c1", REFS(NULL));
    assert_string_equal(world_track_state(&w, "tool@v1.0.0"), "published");
    assert_non_null(w.m->sources->error);
    world_done(&w);
}

/* A repository without tags gets its first ones: they are new, also where nothing old is to be built. */
static void test_the_first_tag_ever_is_new(void **state)
{
    struct world w;
    begin(&w, "refs/tags/v*")->history = 0;
    for (int i = 0; i < 2; i++)
        world_see_all(&w, SOURCE, "c1", REFS(NULL));
    world_restart(&w);
    world_see_all(&w, SOURCE, "c1", REFS(TAG("1.0.0")));
    assert_int_equal(world_settle(&w, NULL), 1);
    assert_string_equal(world_track_state(&w, "tool@v1.0.0"), "published");
    world_done(&w);
    /* of many, imported from elsewhere perhaps, the newest */
    begin(&w, "refs/tags/v*")->history = 0;
    world_see_all(&w, SOURCE, "c1", REFS(NULL));
    world_see_all(&w, SOURCE, "c1", REFS(TAG("1.0.0"), TAG("1.2.0"), TAG("1.1.0")));
    assert_int_equal(world_settle(&w, NULL), 1);
    assert_string_equal(world_track_state(&w, "tool@v1.2.0"), "published");
    assert_string_equal(world_track_state(&w, "tool@v1.1.0"), "dormant");
    world_done(&w);
}

/* What the first look finds is old, as is what the first look for another pattern or other bounds finds. */
static void test_nothing_old_is_built_where_history_is_0(void **state)
{
    struct world w;
    struct farm_image *image = begin(&w, "refs/tags/v*");
    image->history = 0;
    str_replace(&image->versions, "<1");
    reload(&w);
    for (int i = 0; i < 3; i++)
        world_see_all(&w, SOURCE, "c1", REFS(TAG("1.0.0")));
    str_replace(&image->versions, "<2");
    reload(&w);
    world_see_all(&w, SOURCE, "c1", REFS(TAG("1.0.0")));
    assert_int_equal(world_settle(&w, NULL), 0);
    assert_string_equal(world_track_state(&w, "tool@v1.0.0"), "dormant");
    world_see_all(&w, SOURCE, "c2", REFS(TAG("1.0.0"), TAG("1.0.1")));
    assert_string_not_equal(world_track_state(&w, "tool@v1.0.1"), "dormant");
    world_done(&w);
}

/* What the first image warns of; "" for nothing. Static. */
static const char *warned(struct world *w)
{
    static char text[512];
    json_t *view = view_images(w->m), *images = json_object_get(view, "images");
    json_t *list = json_object_get(json_array_get(images, 0), "warnings");
    const char *first = json_string_value(json_object_get(json_array_get(list, 0), "text"));
    snprintf(text, sizeof(text), "%s", first ? first : "");
    assert_true(json_array_size(list) <= 1);
    json_decref(view);
    return text;
}

/* Of a tag and a branch that one pattern follows and that are called alike the tag has the track if they are seen together,
 * whichever is listed first; else the one that was there. The other is told of. */
static void test_two_refs_of_one_short_name(void **state)
{
    struct world w;
    for (int i = 0; i < 2; i++) {
        str_replace(&begin(&w, "refs/*")->tags.items[0], "$ref");
        reload(&w);
        world_see_all(&w, SOURCE, "c1",
                      i ? REFS(TAG("1"), BRANCH("1")) : REFS(BRANCH("1"), TAG("1")));
        assert_string_equal(world_text(&w, "tool@v1", "ref", NULL), TAG("1"));
        assert_string_equal(warned(&w),
                            "refs/heads/v1 is not built: tool@v1 has that name already, "
                            "and follows refs/tags/v1; rename one of them, or let "
                            "`ref` match only one");
        world_restart(&w);
        assert_string_equal(world_text(&w, "tool@v1", "ref", NULL), TAG("1"));
        for (int k = 0; k < 2; k++)
            world_see_all(&w, SOURCE, "c1", REFS(TAG("1")));
        assert_string_equal(warned(&w), "");
        assert_false(world_attention(&w, "ref-ignored"));
        world_done(&w);
    }
    str_replace(&begin(&w, "refs/*")->tags.items[0], "$ref");
    reload(&w);
    world_see_all(&w, SOURCE, "c1", REFS(BRANCH("1")));
    world_see_all(&w, SOURCE, "c1", REFS(BRANCH("1"), TAG("1")));
    assert_string_equal(world_text(&w, "tool@v1", "ref", NULL), BRANCH("1"));
    for (int k = 0; k < 2; k++)
        world_see_all(&w, SOURCE, "c1", REFS(TAG("1")));
    assert_string_equal(world_track_state(&w, "tool@v1"), "deleted");
    assert_string_equal(warned(&w), "refs/tags/v1 is not built: tool@v1 has that name already, and "
                                    "follows refs/heads/v1, which is gone upstream; rename one of "
                                    "them, or let `ref` match only one");
    assert_true(world_attention(&w, "ref-ignored"));
    world_done(&w);
}

/* ---- bases from outside ---- */

/* Answers the look-ups that are asked for; returns how many there were. */
static int look_up(struct world *w)
{
    int n = 0;
    for (size_t i = 0; i < w->todo.n; i++) {
        struct effect e = w->todo.items[i];
        if (e.kind != EFFECT_RESOLVE_BASE)
            continue;
        vec_remove(&w->todo, i--);
        struct base_child child = {PLATFORM_AMD64, "sha256:child"};
        world_begin(w, 1);
        model_on_base(w->m, e.reference, "sha256:index", &child, 1, false);
        world_end(w);
        effect_done(&e);
        n++;
    }
    return n;
}

/* How often a base of that name is looked up: when it is first named, an interval later, after a start. */
static void looked_up(const char *from, int later, int after_a_start)
{
    struct world w;
    world_init(&w);
    world_image(&w, "app", SOURCE, "refs/heads/main", NULL);
    world_start(&w);
    world_see(&w, SOURCE, "refs/heads/main", "c1");
    world_inspect(&w, from);
    assert_int_equal(look_up(&w), 1);
    assert_string_equal(world_track_state(&w, "app@main"), "building");
    world_wait(&w, w.farm->base_poll_ms);
    assert_int_equal(look_up(&w), later);
    world_restart(&w);
    assert_int_equal(look_up(&w), after_a_start);
    assert_string_equal(world_track_state(&w, "app@main"), "building");
    world_done(&w);
}

static void test_what_is_named_by_digest_is_looked_up_once(void **state)
{
    looked_up("FROM debian:12\n", 1, 1);
    looked_up("FROM debian@sha256:"
              "0707070707070707070707070707070707070707070707070707070707070707\n",
              0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_branch_in_place_of_a_tag),
        cmocka_unit_test(test_branches_in_place_of_tags_that_are_not_in_date),
        cmocka_unit_test(test_a_new_variant_sleeps_where_the_others_do),
        cmocka_unit_test(test_a_pattern_that_finds_nothing_yet),
        cmocka_unit_test(test_the_first_tag_ever_is_new),
        cmocka_unit_test(test_nothing_old_is_built_where_history_is_0),
        cmocka_unit_test(test_two_refs_of_one_short_name),
        cmocka_unit_test(test_what_is_named_by_digest_is_looked_up_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
