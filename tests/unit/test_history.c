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

/* ---- when what was woken sleeps again ---- */

#define APP     "https://git.test/b.git"
#define APP_REF "refs/heads/master"
#define ON(v)   "FROM r.test/osf/tool:" v "\n"

static void reload(struct world *w)
{
    world_begin(w, 1);
    model_on_config(w->m, w->farm);
    world_end(w);
}

/* Versions 1.0.0 and 1.2.0, of which the older is dormant but for an app that is built on it, published. */
static void woken_for_an_app(struct world *w)
{
    begin(w);
    world_image(w, "app", APP, APP_REF, NULL);
    start(w);
    see(w, REFS(TAG("1.0.0"), TAG("1.2.0")));
    world_see(w, APP, APP_REF, "b1");
    world_settle(w, ON("1.0.0"));
    assert_string_equal(awake(w), "1.0.0 1.2.0");
    assert_string_equal(world_track_state(w, "app@master"), "published");
}

/* A person's command about a track. */
static void command(struct world *w, enum command_verb verb, const char *track)
{
    struct command c = {.verb = verb, .track = track};
    struct command_answer a = {0};
    struct err err = ERR_INIT;
    world_begin(w, 1);
    assert_int_equal(model_on_command(w->m, &c, &a, &err), 0);
    assert_true(a.changed);
    command_answer_done(&a);
    world_end(w);
}

static void test_one_woken_for_a_dependent_sleeps_once_that_is_built_on_another(void **state)
{
    struct world w;
    woken_for_an_app(&w);
    world_restart(&w);
    assert_string_equal(awake(&w), "1.0.0 1.2.0");
    /* what the push is built on is not known before its files are read; a restart knows no more */
    world_see(&w, APP, APP_REF, "b2");
    assert_string_equal(awake(&w), "1.0.0 1.2.0");
    world_restart(&w);
    assert_string_equal(awake(&w), "1.0.0 1.2.0");
    world_inspect(&w, ON("1.2.0"));
    assert_string_equal(awake(&w), "1.2.0");
    /* and wakes once it is wanted again */
    world_settle(&w, ON("1.2.0"));
    world_see(&w, APP, APP_REF, "b3");
    world_inspect(&w, ON("1.0.0"));
    assert_string_equal(awake(&w), "1.0.0 1.2.0");
    world_done(&w);
}

static void test_one_woken_for_a_dependent_sleeps_once_that_has_stopped(void **state)
{
    struct world w;
    woken_for_an_app(&w);
    command(&w, COMMAND_RETIRE, "app@master");
    assert_string_equal(awake(&w), "1.2.0");
    command(&w, COMMAND_WAKE, "app@master");
    world_inspect(&w, ON("1.0.0"));
    assert_string_equal(awake(&w), "1.0.0 1.2.0");
    world_begin(&w, 1);
    struct seen_ref other = {.name = "refs/heads/other", .commit = "b1", .descends = true};
    model_on_refs(w.m, APP, &other, 1);
    world_end(&w);
    assert_string_equal(awake(&w), "1.0.0 1.2.0");
    world_begin(&w, 1);
    model_on_refs(w.m, APP, &other, 1);
    world_end(&w);
    assert_string_equal(world_track_state(&w, "app@master"), "deleted");
    assert_string_equal(awake(&w), "1.2.0");
    world_see(&w, APP, APP_REF, "b1");
    assert_string_equal(awake(&w), "1.0.0 1.2.0");
    /* no longer in farm.yaml; what the image in its place has is not known before its source was looked at */
    str_replace(&w.farm->images.items[0].name, "other");
    str_replace(&w.farm->images.items[0].ref, "refs/heads/none");
    assert_string_equal(w.farm->images.items[1].name, "tool");
    reload(&w);
    world_restart(&w);
    assert_string_equal(awake(&w), "1.0.0 1.2.0");
    world_see(&w, APP, APP_REF, "b1");
    assert_string_equal(awake(&w), "1.2.0");
    world_done(&w);
}

/* Two that are built on each other keep each other awake no longer than something else is built on one of them. */
static void test_what_is_awake_for_each_other_sleeps(void **state)
{
    static const char both[] = "FROM r.test/osf/tool:1.0.0 AS tool\nFROM r.test/osf/middle:1.0.0\n"
                               "COPY --from=tool / /\n";
    struct world w;
    world_init(&w);
    for (const char *const *name = (const char *const[]){"tool", "middle", NULL}; *name; name++) {
        struct farm_image *image = world_image(&w, *name, SOURCE, "refs/tags/v*", NULL);
        str_replace(&image->tags.items[0], "$version");
    }
    world_image(&w, "app", APP, APP_REF, NULL);
    start(&w);
    const struct seen_ref refs[] = {{.name = TAG("1.0.0"), .commit = "c0", .descends = true},
                                    {.name = TAG("1.2.0"), .commit = "c1", .descends = true}};
    world_begin(&w, 1);
    model_on_refs(w.m, SOURCE, refs, 2);
    world_end(&w);
    world_settle(&w, "FROM scratch\n");
    world_see(&w, APP, APP_REF, "b1");
    while (world_inspect(&w, both) > 0)
        ;
    assert_string_equal(awake(&w), "1.0.0 1.2.0");
    assert_string_equal(world_track_state(&w, "middle@v1.0.0"), "blocked");
    command(&w, COMMAND_RETIRE, "app@master");
    assert_string_equal(awake(&w), "1.2.0");
    assert_string_equal(world_track_state(&w, "middle@v1.0.0"), "dormant");
    world_done(&w);
}

/* The build of what another version of its dependent needs as well goes on. */
static void test_nothing_sleeps_before_a_new_pattern_is_looked_for(void **state)
{
    struct world w;
    woken_for_an_app(&w);
    str_replace(&w.farm->images.items[0].ref, "refs/heads/v*");
    assert_string_equal(w.farm->images.items[1].name, "tool");
    reload(&w);
    assert_string_equal(awake(&w), "1.0.0 1.2.0");
    world_see(&w, APP, "refs/heads/v2", "b2");
    assert_string_equal(awake(&w), "1.0.0 1.2.0");
    world_inspect(&w, ON("1.0.0"));
    assert_string_equal(awake(&w), "1.0.0 1.2.0");
    /* a look that fails tells what it would take long to wait for */
    str_replace(&w.farm->images.items[0].ref, "refs/heads/w*");
    reload(&w);
    assert_string_equal(awake(&w), "1.0.0 1.2.0");
    world_begin(&w, 1);
    model_on_source_failed(w.m, APP, "no route to host");
    world_end(&w);
    assert_string_equal(awake(&w), "1.2.0");
    world_done(&w);
}

/* A chain of which only the end is wanted sleeps whole. */
static void test_what_is_woken_for_what_is_woken_sleeps_with_it(void **state)
{
    struct world w;
    begin(&w);
    struct farm_image *middle =
        world_image(&w, "middle", "https://git.test/m.git", "refs/tags/v*", NULL);
    str_replace(&middle->tags.items[0], "$version");
    world_image(&w, "app", APP, APP_REF, NULL);
    start(&w);
    see(&w, REFS(TAG("1.0.0"), TAG("1.2.0")));
    world_see_all(&w, "https://git.test/m.git", "m1", REFS(TAG("5.0.0"), TAG("6.0.0")));
    world_see(&w, APP, "refs/heads/none", "b0");
    world_settle(&w, ON("1.0.0"));
    assert_string_equal(world_track_state(&w, "middle@v5.0.0"), "dormant");
    command(&w, COMMAND_RETIRE, "middle@v6.0.0");
    assert_string_equal(awake(&w), "1.2.0");
    world_see(&w, APP, APP_REF, "b1");
    world_inspect(&w, "FROM r.test/osf/middle:5.0.0\n");
    world_settle(&w, ON("1.0.0"));
    assert_string_equal(awake(&w), "1.0.0 1.2.0");
    assert_string_equal(world_track_state(&w, "app@master"), "published");
    command(&w, COMMAND_RETIRE, "app@master");
    assert_string_equal(world_track_state(&w, "middle@v5.0.0"), "dormant");
    assert_string_equal(awake(&w), "1.2.0");
    world_done(&w);
}

static void test_what_a_person_woke_does_not_sleep_by_itself(void **state)
{
    struct world w;
    woken_for_an_app(&w);
    command(&w, COMMAND_WAKE, "tool@v1.0.0"); /* it is awake, but not for ever */
    command(&w, COMMAND_RETIRE, "app@master");
    assert_string_equal(awake(&w), "1.0.0 1.2.0");
    world_restart(&w);
    assert_string_equal(awake(&w), "1.0.0 1.2.0");
    world_done(&w);
    /* nor for a newer version of its series */
    begin(&w)->maintain = FARM_MAINTAIN_MINOR;
    start(&w);
    see(&w, REFS(TAG("1.4.0"), TAG("1.4.1")));
    world_settle(&w, NULL);
    command(&w, COMMAND_WAKE, "tool@v1.4.0");
    world_settle(&w, NULL);
    see(&w, REFS(TAG("1.4.0"), TAG("1.4.1"), TAG("1.4.2")));
    world_settle(&w, NULL);
    assert_string_equal(awake(&w), "1.4.0 1.4.2");
    world_done(&w);
}

/* 1.4.0 of 1.4.0 and 1.4.1 moves; whether it sleeps again once it is published. */
static void one_that_moves(enum farm_maintain maintain, const char *expected)
{
    struct world w;
    begin(&w)->maintain = maintain;
    start(&w);
    see(&w, REFS(TAG("1.4.0")));
    world_settle(&w, NULL);
    see(&w, REFS(TAG("1.4.0"), TAG("1.4.1")));
    world_settle(&w, NULL);
    struct seen_ref refs[] = {{.name = TAG("1.4.0"), .commit = "c9", .descends = true},
                              {.name = TAG("1.4.1"), .commit = "c1", .descends = true}};
    world_begin(&w, 1);
    model_on_refs(w.m, SOURCE, refs, 2);
    world_end(&w);
    assert_string_equal(awake(&w), "1.4.0 1.4.1");
    world_restart(&w);
    assert_int_equal(world_settle(&w, NULL), 1);
    assert_string_equal(awake(&w), expected);
    /* what is built again on request likewise */
    struct err err = ERR_INIT;
    world_begin(&w, 1);
    assert_int_equal(model_on_rebuild(w.m, "tool@v1.4.0", NULL, false, &err), 0);
    world_end(&w);
    assert_string_equal(awake(&w), "1.4.0 1.4.1");
    assert_int_equal(world_settle(&w, NULL), 1);
    assert_string_equal(awake(&w), expected);
    world_done(&w);
}

static void test_one_that_moves_is_published_once_where_a_higher_one_is_maintained(void **state)
{
    one_that_moves(FARM_MAINTAIN_MINOR, "1.4.1");
    one_that_moves(FARM_MAINTAIN_PATCH, "1.4.0 1.4.1");
}

static void test_what_maintain_leaves_to_a_dependent_sleeps_without_it(void **state)
{
    struct world w;
    begin(&w)->maintain = FARM_MAINTAIN_MINOR;
    world_image(&w, "app", APP, APP_REF, NULL);
    start(&w);
    see(&w, REFS(TAG("1.4.0")));
    world_see(&w, APP, APP_REF, "b1");
    world_settle(&w, ON("1.4.0"));
    see(&w, REFS(TAG("1.4.0"), TAG("1.4.1")));
    world_settle(&w, ON("1.4.0"));
    assert_string_equal(awake(&w), "1.4.0 1.4.1");
    world_see(&w, APP, APP_REF, "b2");
    world_settle(&w, ON("1.4.1"));
    assert_string_equal(awake(&w), "1.4.1");
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

static const char *why_awake(struct world *w, const char *id)
{
    return world_text(w, id, "awake", "text");
}

/* Who wonders why an old version is built reads what keeps it in date (rule 8.6). */
static void test_why_a_track_is_awake_is_told(void **state)
{
    static const char *const names[] = {"bot", "cat", "dog"};
    struct world w;
    woken_for_an_app(&w);
    assert_string_equal(world_text(&w, "tool@v1.0.0", "awake", "code"), "needed");
    assert_string_equal(why_awake(&w, "tool@v1.0.0"),
                        "app@master is built on it: it sleeps once nothing in date is");
    assert_string_equal(why_awake(&w, "tool@v1.2.0"), ""); /* it never slept */
    for (int i = 0; i < 3; i++) {
        world_image(&w, names[i], APP, APP_REF, NULL);
        farm_sort(w.farm);
        reload(&w);
        world_see(&w, APP, APP_REF, "b1");
        world_settle(&w, ON("1.0.0"));
        if (i == 0)
            assert_string_equal(
                why_awake(&w, "tool@v1.0.0"),
                "app@master and bot@master are built on it: it sleeps once nothing in date is");
    }
    assert_string_equal(why_awake(&w, "tool@v1.0.0"),
                        "app@master, bot@master, cat@master and 1 more are built on it: it sleeps "
                        "once nothing in date is");
    command(&w, COMMAND_WAKE, "tool@v1.0.0");
    world_restart(&w);
    assert_string_equal(world_text(&w, "tool@v1.0.0", "awake", "code"), "asked");
    assert_string_equal(why_awake(&w, "tool@v1.0.0"),
                        "a person woke it: it does not sleep by itself");
    command(&w, COMMAND_RETIRE, "tool@v1.0.0");
    assert_string_equal(why_awake(&w, "tool@v1.0.0"), "");
    world_done(&w);
}

static void test_one_that_is_awake_until_it_is_published_says_so(void **state)
{
    struct world w;
    begin(&w);
    start(&w);
    see(&w, REFS(TAG("1.0.0"), TAG("1.2.0")));
    world_settle(&w, NULL);
    assert_string_equal(why_awake(&w, "tool@v1.0.0"), "");
    world_see_all(&w, SOURCE, "c2", REFS(TAG("1.0.0"), TAG("1.2.0")));
    assert_string_equal(world_text(&w, "tool@v1.0.0", "awake", "code"), "once");
    assert_string_equal(why_awake(&w, "tool@v1.0.0"),
                        "its ref moved, or a rebuild was asked for: it is published once, and "
                        "stays in date unless `maintain` has a higher version in its place");
    world_settle(&w, NULL);
    assert_string_equal(why_awake(&w, "tool@v1.0.0"), "");
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
        cmocka_unit_test(test_one_woken_for_a_dependent_sleeps_once_that_is_built_on_another),
        cmocka_unit_test(test_one_woken_for_a_dependent_sleeps_once_that_has_stopped),
        cmocka_unit_test(test_what_is_awake_for_each_other_sleeps),
        cmocka_unit_test(test_nothing_sleeps_before_a_new_pattern_is_looked_for),
        cmocka_unit_test(test_what_is_woken_for_what_is_woken_sleeps_with_it),
        cmocka_unit_test(test_what_a_person_woke_does_not_sleep_by_itself),
        cmocka_unit_test(test_one_that_moves_is_published_once_where_a_higher_one_is_maintained),
        cmocka_unit_test(test_what_maintain_leaves_to_a_dependent_sleeps_without_it),
        cmocka_unit_test(test_versions_made_stricter_stop_and_keep_the_tags),
        cmocka_unit_test(test_why_a_track_is_awake_is_told),
        cmocka_unit_test(test_one_that_is_awake_until_it_is_published_says_so),
        cmocka_unit_test(test_a_reload_waits_for_the_new_patterns_listing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
