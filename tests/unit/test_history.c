/* Design rule 8: first sight, dormant tracks, versions and maintain. */
#include "tests/lib/model_world.h"

#define SOURCE "https://git.test/a.git"
#define REFS(...)                                                                                  \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }
#define TAG(v) "refs/tags/v" v

static struct farm_image *begin(struct world *w)
{
    world_init(w);
    struct farm_image *image = world_image(w, "tool", SOURCE, "refs/tags/v*", "./mk");
    str_replace(&image->tags.items[0], "$version");
    strvec_add(&image->tags, "latest");
    return image;
}

static void start(struct world *w)
{
    world_start(w);
    world_board(w, "one");
}

static void see(struct world *w, const char *const *refs)
{
    world_see_all(w, SOURCE, "c1", refs);
}

/* The versions of image `tool` that are not dormant, in the order of their ids. */
static const char *awake(struct world *w)
{
    static char text[256];
    *text = '\0';
    json_t *view = view_tracks(w->m), *t;
    size_t i;
    json_array_foreach (json_object_get(view, "tracks"), i, t) {
        const char *version = json_string_value(json_object_get(t, "version"));
        if (!version || !str_eq(json_string_value(json_object_get(t, "image")), "tool") ||
            str_eq(json_string_value(json_object_get(t, "state")), "dormant"))
            continue;
        strcat(text, *text ? " " : "");
        strcat(text, version);
    }
    json_decref(view);
    return text;
}

static void test_first_sight_builds_the_newest(void **state)
{
    struct world w;
    begin(&w);
    start(&w);
    see(&w, REFS(TAG("1.0.0"), TAG("1.9.0"), TAG("1.10.0"), TAG("2.0.0-rc1")));
    assert_string_equal(awake(&w), "1.10.0");
    assert_int_equal(world_settle(&w, NULL), 1);
    /* what comes later is built, whatever its version */
    see(&w, REFS(TAG("1.0.0"), TAG("1.9.0"), TAG("1.9.1"), TAG("1.10.0"), TAG("2.0.0-rc1")));
    assert_string_equal(awake(&w), "1.10.0 1.9.1");
    world_restart(&w);
    assert_string_equal(awake(&w), "1.10.0 1.9.1");
    world_done(&w);
}

static void first_sight(int history, enum farm_maintain maintain, const char *versions,
                        const char *expected)
{
    struct world w;
    struct farm_image *image = begin(&w);
    image->history = history;
    image->maintain = maintain;
    str_replace(&image->versions, versions);
    start(&w);
    see(&w, REFS(TAG("1.4.0"), TAG("1.4.1"), TAG("1.5.0"), TAG("1.5.1"), TAG("2.0.0")));
    assert_string_equal(awake(&w), expected);
    world_done(&w);
}

static void test_history_maintain_and_versions_bound_it(void **state)
{
    first_sight(FARM_HISTORY_ALL, FARM_MAINTAIN_PATCH, NULL, "1.4.0 1.4.1 1.5.0 1.5.1 2.0.0");
    first_sight(2, FARM_MAINTAIN_PATCH, NULL, "1.5.1 2.0.0");
    first_sight(0, FARM_MAINTAIN_PATCH, NULL, "");
    first_sight(FARM_HISTORY_ALL, FARM_MAINTAIN_MINOR, NULL, "1.4.1 1.5.1 2.0.0");
    first_sight(FARM_HISTORY_ALL, FARM_MAINTAIN_MAJOR, NULL, "1.5.1 2.0.0");
    first_sight(3, FARM_MAINTAIN_MINOR, NULL, "1.4.1 1.5.1 2.0.0");
    first_sight(2, FARM_MAINTAIN_MINOR, "<2", "1.4.1 1.5.1");
    first_sight(FARM_HISTORY_ALL, FARM_MAINTAIN_PATCH, ">=1.5", "1.5.0 1.5.1 2.0.0");
}

static void test_branches_are_all_active(void **state)
{
    struct world w;
    struct farm_image *image = begin(&w);
    str_replace(&image->ref, "refs/heads/v*");
    start(&w);
    see(&w, REFS("refs/heads/v3.18", "refs/heads/v3.19", "refs/heads/v3.20"));
    assert_string_equal(awake(&w), "3.18 3.19 3.20");
    world_done(&w);
}

static int tracks_in_delta(struct world *w)
{
    int n = 0;
    VEC_FOREACH (&w->turn.delta.changes, change)
        n += change->table == TABLE_TRACK;
    return n;
}

static void test_first_sight_is_one_transaction(void **state)
{
    struct world w;
    begin(&w);
    start(&w);
    struct seen_ref refs[] = {
        {TAG("1.0.0"), "c1", true}, {TAG("1.1.0"), "c1", true}, {TAG("1.2.0"), "c1", true}};
    world_begin(&w, 1);
    model_on_refs(w.m, SOURCE, refs, 3);
    model_turn_end(w.m);
    assert_int_equal(tracks_in_delta(&w), 3);
    turn_done(&w.turn);
    world_done(&w);
}

static void test_maintain_keeps_the_highest_of_a_series(void **state)
{
    struct world w;
    struct farm_image *image = begin(&w);
    image->maintain = FARM_MAINTAIN_MINOR;
    start(&w);
    see(&w, REFS(TAG("1.4.0")));
    world_settle(&w, NULL);
    see(&w, REFS(TAG("1.4.0"), TAG("1.4.2")));
    assert_string_equal(awake(&w), "1.4.0 1.4.2"); /* until the newer one is published */
    world_settle(&w, NULL);
    assert_string_equal(awake(&w), "1.4.2");
    /* an older one that comes later is published, and then sleeps */
    see(&w, REFS(TAG("1.4.0"), TAG("1.4.1"), TAG("1.4.2"), TAG("1.5.0")));
    assert_string_equal(awake(&w), "1.4.1 1.4.2 1.5.0");
    world_settle(&w, NULL);
    assert_string_equal(awake(&w), "1.4.2 1.5.0");
    assert_non_null(strstr(world_text(&w, "tool@v1.4.1", "publication", "digest"), "sha256:"));
    /* stricter: as if published now; looser: nothing wakes unasked */
    image->maintain = FARM_MAINTAIN_MAJOR;
    world_begin(&w, 1);
    model_on_config(w.m, w.farm);
    world_end(&w);
    assert_string_equal(awake(&w), "1.5.0");
    image->maintain = FARM_MAINTAIN_PATCH;
    world_begin(&w, 1);
    model_on_config(w.m, w.farm);
    world_end(&w);
    assert_string_equal(awake(&w), "1.5.0");
    world_done(&w);
}

static void test_a_dormant_one_wakes_when_it_moves_and_on_request(void **state)
{
    struct world w;
    struct err err = ERR_INIT;
    begin(&w);
    start(&w);
    see(&w, REFS(TAG("1.0.0"), TAG("1.1.0"), TAG("1.2.0")));
    world_settle(&w, NULL);
    world_begin(&w, 1);
    assert_int_equal(model_on_rebuild(w.m, "tool@v1.0.0", NULL, false, &err), 0);
    world_end(&w);
    assert_string_equal(awake(&w), "1.0.0 1.2.0");
    struct seen_ref refs[] = {
        {TAG("1.0.0"), "c1", true}, {TAG("1.1.0"), "c9", true}, {TAG("1.2.0"), "c1", true}};
    world_begin(&w, 1);
    model_on_refs(w.m, SOURCE, refs, 3);
    world_end(&w);
    assert_string_equal(awake(&w), "1.0.0 1.1.0 1.2.0");
    world_done(&w);
}

static void test_a_dormant_one_wakes_for_a_dependent_and_no_other_does(void **state)
{
    struct world w;
    begin(&w);
    world_image(&w, "app", "https://git.test/b.git", "refs/heads/master", NULL);
    start(&w);
    see(&w, REFS(TAG("1.0.0"), TAG("1.1.0"), TAG("1.2.0")));
    world_see(&w, "https://git.test/b.git", "refs/heads/master", "b1");
    world_inspect(&w, "FROM r.test/osf/tool:latest\n"); /* 1.2.0 is about to publish it */
    assert_string_equal(awake(&w), "1.2.0");
    world_see(&w, "https://git.test/b.git", "refs/heads/master", "b2");
    world_inspect(&w, "FROM r.test/osf/tool:1.0.0\n");
    assert_string_equal(awake(&w), "1.0.0 1.2.0");
    world_settle(&w, "FROM r.test/osf/tool:1.0.0\n");
    assert_string_equal(world_track_state(&w, "app@master"), "published");
    world_done(&w);
}

/* What a dependent waits for was deleted, and is back as it was: moved it has not. */
static void test_one_that_comes_back_wakes_for_a_dependent(void **state)
{
    struct world w;
    const char *dockerfile = "FROM r.test/osf/tool:1.0.0\n";
    begin(&w);
    world_image(&w, "app", "https://git.test/b.git", "refs/heads/master", NULL);
    start(&w);
    see(&w, REFS(TAG("1.0.0"), TAG("1.1.0")));
    see(&w, REFS(TAG("1.1.0")));
    see(&w, REFS(TAG("1.1.0")));
    world_see(&w, "https://git.test/b.git", "refs/heads/master", "b1");
    world_inspect(&w, dockerfile);
    assert_string_equal(world_track_state(&w, "app@master"), "blocked");
    assert_string_equal(world_track_state(&w, "tool@v1.0.0"), "deleted");
    see(&w, REFS(TAG("1.0.0"), TAG("1.1.0")));
    assert_string_equal(awake(&w), "1.0.0 1.1.0");
    world_settle(&w, dockerfile);
    assert_string_equal(world_track_state(&w, "app@master"), "published");
    world_done(&w);
}

static void test_what_a_dependent_needs_does_not_sleep(void **state)
{
    struct world w;
    const char *dockerfile = "FROM r.test/osf/tool:1.4.0\n";
    begin(&w)->maintain = FARM_MAINTAIN_MINOR;
    world_image(&w, "app", "https://git.test/b.git", "refs/heads/master", NULL);
    start(&w);
    see(&w, REFS(TAG("1.4.0")));
    world_see(&w, "https://git.test/b.git", "refs/heads/master", "b1");
    world_settle(&w, dockerfile);
    see(&w, REFS(TAG("1.4.0"), TAG("1.4.1")));
    world_settle(&w, dockerfile);
    assert_string_equal(awake(&w), "1.4.0 1.4.1");
    world_done(&w);
}

static void test_versions_made_stricter_stop_and_keep_the_tags(void **state)
{
    struct world w;
    struct err err = ERR_INIT;
    struct farm_image *image = begin(&w);
    image->history = FARM_HISTORY_ALL;
    start(&w);
    see(&w, REFS(TAG("1.0.0"), TAG("2.0.0")));
    world_settle(&w, NULL);
    str_replace(&image->versions, ">=2");
    world_begin(&w, 1);
    model_on_config(w.m, w.farm);
    world_end(&w);
    assert_string_equal(awake(&w), "2.0.0");
    assert_string_equal(world_text(&w, "tool@v1.0.0", "reason", "code"), "out-of-bounds");
    assert_string_not_equal(world_text(&w, "tool@v1.0.0", "publication", "digest"), "");
    assert_int_equal(model_on_rebuild(w.m, "tool@v1.0.0", NULL, false, &err), -EBUSY);
    /* looser again: what was in date is, and what was never seen is a first sight */
    str_replace(&image->versions, NULL);
    image->history = 1;
    world_begin(&w, 1);
    model_on_config(w.m, w.farm);
    world_end(&w);
    assert_string_equal(awake(&w), "1.0.0 2.0.0");
    world_done(&w);
}

static void test_a_reload_waits_for_the_new_patterns_listing(void **state)
{
    struct world w;
    struct farm_image *image = begin(&w);
    str_replace(&image->ref, "refs/tags/v1*");
    start(&w);
    see(&w, REFS(TAG("1.0.0"), TAG("1.1.0")));
    str_replace(&image->ref, "refs/tags/v*");
    world_begin(&w, 1);
    model_on_config(w.m, w.farm);
    world_end(&w);
    see(&w, REFS(TAG("1.0.0"), TAG("1.1.0"), TAG("2.0.0"), TAG("2.1.0")));
    assert_string_equal(world_track_state(&w, "tool@v2.0.0"), "dormant");
    assert_string_not_equal(world_track_state(&w, "tool@v2.1.0"), "dormant");
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_sight_builds_the_newest),
        cmocka_unit_test(test_history_maintain_and_versions_bound_it),
        cmocka_unit_test(test_branches_are_all_active),
        cmocka_unit_test(test_first_sight_is_one_transaction),
        cmocka_unit_test(test_maintain_keeps_the_highest_of_a_series),
        cmocka_unit_test(test_a_dormant_one_wakes_when_it_moves_and_on_request),
        cmocka_unit_test(test_a_dormant_one_wakes_for_a_dependent_and_no_other_does),
        cmocka_unit_test(test_one_that_comes_back_wakes_for_a_dependent),
        cmocka_unit_test(test_what_a_dependent_needs_does_not_sleep),
        cmocka_unit_test(test_versions_made_stricter_stop_and_keep_the_tags),
        cmocka_unit_test(test_a_reload_waits_for_the_new_patterns_listing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
