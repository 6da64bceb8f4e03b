/* What sightings and inspections become: design rules 8 and 9. */
#include "daemon/model/objects.h"
#include "tests/lib/model_world.h"

#define SOURCE "https://git.test/a.git"
#define V1     "refs/tags/v1.0.0"
#define V2     "refs/tags/v2.0.0"
#define V21    "refs/tags/v2.1.0"

/* What git says of the commits that a poll sees: they descend from what counts, or from what was seen last, or neither. */
enum descent { ELSEWHERE, DESCENDS, FOLLOWS };

/* A poll sees these refs, all at commits of that descent. */
static void see(struct world *w, enum descent descent, const char *const *refs, size_t n)
{
    struct seen_ref seen[8];
    for (size_t i = 0; i < n; i++)
        seen[i] = (struct seen_ref){.name = refs[2 * i],
                                    .commit = refs[2 * i + 1],
                                    .descends = descent == DESCENDS,
                                    .follows = descent == FOLLOWS};
    world_begin(w, 1);
    model_on_refs(w->m, SOURCE, seen, n);
    world_end(w);
}

#define SEE(w, descent, ...)                                                                       \
    do {                                                                                           \
        const char *const _refs[] = {__VA_ARGS__};                                                 \
        see(w, descent, _refs, sizeof(_refs) / sizeof(*_refs) / 2);                                \
    } while (0)

static int asked(const struct world *w)
{
    int n = 0;
    VEC_FOREACH (&w->todo, e)
        n += e->kind == EFFECT_INSPECT;
    return n;
}

static void drop_effects(struct world *w)
{
    VEC_FOREACH (&w->todo, e)
        effect_done(e);
    w->todo.n = 0;
}

static void start(struct world *w, const char *name, const char *ref)
{
    world_init(w);
    world_image(w, name, SOURCE, ref, "./mk");
    world_start(w);
}

static void two_branches(struct world *w)
{
    world_init(w);
    world_image(w, "a", SOURCE, "refs/heads/a", "./mk");
    world_image(w, "b", SOURCE, "refs/heads/b", "./mk");
    world_start(w);
}

/* Names the source in farm.yaml, as every one is that an image has. */
static void name_source(struct world *w)
{
    vec_push(&w->farm->sources, (struct farm_source){.url = xstrdup(SOURCE), .poll_ms = 60000});
}

static const char *commit_of(struct world *w, const char *ref)
{
    return model_ref_commit(w->m, SOURCE, ref);
}

/* An image that comes by a reload, and of whose pattern a part is known by another's: which of its tags are old
 * is not to be told from that part. */
static void test_a_new_pattern_waits_for_its_sighting(void **state)
{
    struct world w;
    start(&w, "one", V1);
    SEE(&w, DESCENDS, V1, "c1");
    assert_false(model_source_unseen(w.m, SOURCE));
    world_image(&w, "all", SOURCE, "refs/tags/v*", "./mk");
    world_begin(&w, 1);
    model_on_config(w.m, w.farm);
    world_end(&w);
    assert_true(model_source_unseen(w.m, SOURCE));
    SEE(&w, DESCENDS, V1, "c1", V2, "c2", V21, "c3");
    assert_false(model_source_unseen(w.m, SOURCE));
    assert_string_equal(world_track_state(&w, "all@v2.1.0"), "waiting");
    assert_string_equal(world_track_state(&w, "all@v2.0.0"), "dormant");
    assert_string_equal(world_track_state(&w, "all@v1.0.0"), "dormant");
    world_done(&w);
}

static void test_what_a_source_was_seen_to_have(void **state)
{
    struct world w;
    uint64_t sighting;
    bool had_refs;
    start(&w, "one", "refs/tags/v*");
    model_source_seen(w.m, SOURCE, &sighting, &had_refs);
    assert_true(sighting == 0 && !had_refs);
    SEE(&w, DESCENDS, V1, "c1", V2, "c2");
    SEE(&w, DESCENDS, V1, "c1", V2, "c2");
    world_restart(&w);
    model_source_seen(w.m, SOURCE, &sighting, &had_refs);
    assert_true(sighting == 2 && had_refs);
    /* nothing where there was something is no sighting, and deletes nothing */
    for (int i = 0; i < 3; i++)
        see(&w, DESCENDS, NULL, 0);
    model_source_seen(w.m, SOURCE, &sighting, &had_refs);
    assert_true(sighting == 2 && had_refs);
    world_done(&w);
}

static void test_moves_and_deletions_count_at_the_second_sighting(void **state)
{
    struct world w;
    start(&w, "one", "refs/tags/v*");
    SEE(&w, DESCENDS, V1, "c1", V2, "c2");
    SEE(&w, ELSEWHERE, V1, "c1", V2, "x");
    assert_string_equal(commit_of(&w, V2), "c2");
    SEE(&w, ELSEWHERE, V1, "c1", V2, "y"); /* another one: its first */
    assert_string_equal(commit_of(&w, V2), "c2");
    SEE(&w, ELSEWHERE, V1, "c1", V2, "y");
    assert_string_equal(commit_of(&w, V2), "y");
    SEE(&w, DESCENDS, V1, "c1");
    assert_string_not_equal(world_track_state(&w, "one@v2.0.0"), "deleted");
    SEE(&w, DESCENDS, V1, "c1", V2, "y"); /* it was only lagging */
    SEE(&w, DESCENDS, V1, "c1");
    assert_string_not_equal(world_track_state(&w, "one@v2.0.0"), "deleted");
    SEE(&w, DESCENDS, V1, "c1");
    assert_string_equal(world_track_state(&w, "one@v2.0.0"), "deleted");
    world_done(&w);
}

/* After a force-push, a branch that is pushed to before each look: the second look sees what follows the first. */
static void test_a_forced_branch_that_moves_on(void **state)
{
    struct world w;
    start(&w, "one", "refs/heads/m");
    SEE(&w, DESCENDS, "refs/heads/m", "c1");
    SEE(&w, ELSEWHERE, "refs/heads/m", "x1");
    assert_string_equal(commit_of(&w, "refs/heads/m"), "c1");
    assert_string_equal(model_ref_pending(w.m, SOURCE, "refs/heads/m"), "x1");
    world_restart(&w);
    assert_string_equal(model_ref_pending(w.m, SOURCE, "refs/heads/m"), "x1");
    SEE(&w, FOLLOWS, "refs/heads/m", "x2");
    assert_string_equal(commit_of(&w, "refs/heads/m"), "x2");
    assert_null(model_ref_pending(w.m, SOURCE, "refs/heads/m"));
    /* nothing was seen before that it could follow */
    SEE(&w, FOLLOWS, "refs/heads/m", "y1");
    assert_string_equal(commit_of(&w, "refs/heads/m"), "x2");
    /* one that is forced at every look is unsteady */
    SEE(&w, ELSEWHERE, "refs/heads/m", "z1");
    assert_string_equal(commit_of(&w, "refs/heads/m"), "x2");
    SEE(&w, FOLLOWS, "refs/heads/m", "z2");
    assert_string_equal(commit_of(&w, "refs/heads/m"), "z2");
    world_done(&w);
}

/* The same of a branch that was gone. */
static void test_a_branch_that_comes_back_and_moves_on(void **state)
{
    struct world w;
    two_branches(&w);
    SEE(&w, DESCENDS, "refs/heads/a", "c1", "refs/heads/b", "c1");
    SEE(&w, DESCENDS, "refs/heads/b", "c1");
    SEE(&w, DESCENDS, "refs/heads/b", "c1");
    SEE(&w, ELSEWHERE, "refs/heads/a", "d1", "refs/heads/b", "c1");
    assert_string_equal(world_track_state(&w, "a@a"), "deleted");
    SEE(&w, FOLLOWS, "refs/heads/a", "d2", "refs/heads/b", "c1");
    assert_string_equal(world_track_state(&w, "a@a"), "waiting");
    assert_string_equal(commit_of(&w, "refs/heads/a"), "d2");
    world_done(&w);
}

/* Elsewhere, not there, elsewhere again: that is not twice in a row. */
static void test_a_look_that_misses_it_is_between(void **state)
{
    struct world w;
    two_branches(&w);
    SEE(&w, DESCENDS, "refs/heads/a", "c1", "refs/heads/b", "c1");
    SEE(&w, ELSEWHERE, "refs/heads/a", "x", "refs/heads/b", "c1");
    SEE(&w, DESCENDS, "refs/heads/b", "c1");
    SEE(&w, ELSEWHERE, "refs/heads/a", "x", "refs/heads/b", "c1");
    assert_string_equal(commit_of(&w, "refs/heads/a"), "c1");
    SEE(&w, DESCENDS, "refs/heads/b", "c1");
    SEE(&w, DESCENDS, "refs/heads/b", "c1");
    assert_string_equal(world_track_state(&w, "a@a"), "deleted");
    for (int i = 0; i < 2; i++) {
        SEE(&w, ELSEWHERE, "refs/heads/a", "x", "refs/heads/b", "c1");
        assert_string_equal(world_track_state(&w, "a@a"), "deleted");
        SEE(&w, DESCENDS, "refs/heads/b", "c1");
    }
    SEE(&w, ELSEWHERE, "refs/heads/a", "x", "refs/heads/b", "c1");
    SEE(&w, ELSEWHERE, "refs/heads/a", "x", "refs/heads/b", "c1");
    assert_string_equal(commit_of(&w, "refs/heads/a"), "x");
    world_done(&w);
}

static void fail_inspections(struct world *w)
{
    for (size_t i = 0; i < w->todo.n; i++) {
        const struct effect *e = &w->todo.items[i];
        if (e->kind != EFFECT_INSPECT)
            continue;
        world_begin(w, 1);
        model_on_context_failed(w->m, e->source, e->commit, e->path, e->dockerfile, "away");
        struct effect done = w->todo.items[i];
        vec_remove(&w->todo, i--);
        world_end(w);
        effect_done(&done);
    }
}

static void pass(struct world *w, int64_t ms)
{
    world_begin(w, ms);
    model_on_timer(w->m);
    world_end(w);
}

/* ---- what is told of it ---- */

/* What the source's view says that awaits another look; "" where nothing does. Static. */
static const char *awaits(struct world *w)
{
    static char text[512];
    *text = '\0';
    json_t *view = view_sources(w->m), *it;
    json_t *source = json_array_get(json_object_get(view, "sources"), 0);
    size_t i;
    json_array_foreach (json_object_get(source, "awaits"), i, it)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", *text ? "\n" : "",
                 json_string_value(json_object_get(it, "text")));
    json_decref(view);
    return text;
}

#define MOVED                                                                                      \
    "look 2 found refs/heads/a at x1, which is not pushed onto c1: it counts if the next look "    \
    "finds it there too, or at a commit pushed onto that"
#define MISSED                                                                                     \
    "look 3 did not find refs/heads/a: it counts as gone if the next look does not find it either"
#define BACK                                                                                       \
    "look 5 found refs/heads/a at d1, which is not pushed onto c1, where it was before it was "    \
    "gone: it counts if the next look finds it there too, or at a commit pushed onto that"

/* Who forces a branch, or deletes it, is told that it was seen, and what makes it count. */
static void test_what_awaits_its_second_sighting_is_told(void **state)
{
    struct world w;
    two_branches(&w);
    name_source(&w);
    SEE(&w, DESCENDS, "refs/heads/a", "c1", "refs/heads/b", "c1");
    assert_string_equal(awaits(&w), "");
    assert_string_equal(world_text(&w, "a@a", "sighting", "text"), "");
    SEE(&w, ELSEWHERE, "refs/heads/a", "x1", "refs/heads/b", "c1");
    world_restart(&w);
    assert_string_equal(world_text(&w, "a@a", "sighting", "text"), MOVED);
    assert_string_equal(world_text(&w, "a@a", "sighting", "commit"), "x1");
    assert_string_equal(world_text(&w, "b@b", "sighting", "text"), "");
    assert_string_equal(awaits(&w), MOVED);
    SEE(&w, DESCENDS, "refs/heads/b", "c1");
    assert_string_equal(world_text(&w, "a@a", "sighting", "text"), MISSED);
    assert_string_equal(awaits(&w), MISSED);
    SEE(&w, DESCENDS, "refs/heads/b", "c1");
    assert_string_equal(world_track_state(&w, "a@a"), "deleted");
    assert_string_equal(awaits(&w), "");
    SEE(&w, ELSEWHERE, "refs/heads/a", "d1", "refs/heads/b", "c1");
    assert_string_equal(world_text(&w, "a@a", "sighting", "text"), BACK);
    SEE(&w, FOLLOWS, "refs/heads/a", "d2", "refs/heads/b", "c1");
    assert_string_equal(awaits(&w), "");
    assert_string_equal(world_text(&w, "a@a", "sighting", "text"), "");
    world_done(&w);
}

/* Nor is it silent about what has no track yet. */
static void test_what_was_not_seen_yet_is_told(void **state)
{
    struct world w;
    start(&w, "one", "refs/heads/v*");
    name_source(&w);
    assert_string_equal(awaits(&w), "one: waits for the first look for refs/heads/v*");
    SEE(&w, DESCENDS, "refs/heads/v1", "c1", "refs/heads/v2", "c1");
    assert_string_equal(awaits(&w), "");
    struct farm_image *image = world_image(&w, "two", SOURCE, "refs/heads/v*", "./mk");
    str_replace(&image->versions, ">=3");
    world_begin(&w, 1);
    model_on_config(w.m, w.farm);
    world_end(&w);
    assert_string_equal(awaits(&w),
                        "two: waits for the first look for refs/heads/v*, versions >=3");
    SEE(&w, DESCENDS, "refs/heads/v1", "c1", "refs/heads/v2", "c1");
    assert_string_equal(awaits(&w),
                        "two: look 2 found nothing that it follows (refs/heads/v*, versions >=3)");
    json_t *view = view_images(w.m);
    assert_string_equal(json_string_value(json_object_get(
                            json_array_get(json_object_get(view, "images"), 1), "awaits")),
                        "look 2 found nothing that it follows (refs/heads/v*, versions >=3)");
    json_decref(view);
    SEE(&w, DESCENDS, "refs/heads/v1", "c1", "refs/heads/v2", "c1", "refs/heads/v3", "c1");
    assert_string_equal(awaits(&w), "");
    world_done(&w);
}

/* What it was is gone: it is not built on the way to what it is. */
static void test_a_ref_that_comes_back_elsewhere(void **state)
{
    struct world w;
    two_branches(&w);
    SEE(&w, DESCENDS, "refs/heads/a", "c1", "refs/heads/b", "c1");
    drop_effects(&w);
    SEE(&w, DESCENDS, "refs/heads/b", "c1");
    SEE(&w, DESCENDS, "refs/heads/b", "c1");
    assert_string_equal(world_track_state(&w, "a@a"), "deleted");
    SEE(&w, ELSEWHERE, "refs/heads/a", "d1", "refs/heads/b", "c1");
    assert_string_equal(world_track_state(&w, "a@a"), "deleted");
    assert_int_equal(asked(&w), 0);
    SEE(&w, ELSEWHERE, "refs/heads/a", "d1", "refs/heads/b", "c1");
    assert_string_equal(world_track_state(&w, "a@a"), "waiting");
    assert_string_equal(commit_of(&w, "refs/heads/a"), "d1");
    assert_int_equal(asked(&w), 1);
    /* a descendant counts at once, as ever */
    SEE(&w, DESCENDS, "refs/heads/b", "c1");
    SEE(&w, DESCENDS, "refs/heads/b", "c1");
    SEE(&w, DESCENDS, "refs/heads/a", "d2", "refs/heads/b", "c1");
    assert_string_equal(commit_of(&w, "refs/heads/a"), "d2");
    assert_string_equal(world_track_state(&w, "a@a"), "waiting");
    world_done(&w);
}

/* An image that farm.yaml named while the ref was gone. */
static void test_a_ref_that_comes_back_to_a_new_image(void **state)
{
    struct world w;
    start(&w, "one", "refs/heads/v*");
    SEE(&w, DESCENDS, "refs/heads/v1", "c1", "refs/heads/v2", "c1");
    SEE(&w, DESCENDS, "refs/heads/v2", "c1");
    SEE(&w, DESCENDS, "refs/heads/v2", "c1");
    world_image(&w, "two", SOURCE, "refs/heads/v*", "./mk");
    world_begin(&w, 1);
    model_on_config(w.m, w.farm);
    world_end(&w);
    SEE(&w, DESCENDS, "refs/heads/v2", "c1");
    assert_null(track_find(w.m, "two@v1"));
    SEE(&w, DESCENDS, "refs/heads/v1", "c1", "refs/heads/v2", "c1");
    assert_string_equal(world_track_state(&w, "one@v1"), "waiting");
    assert_string_equal(world_track_state(&w, "two@v1"), "waiting");
    world_done(&w);
}

/* What cannot be read is asked for again while somebody wants it, by a ref that has it. */
static void test_a_commit_left_behind_is_not_asked_for_again(void **state)
{
    struct world w;
    two_branches(&w);
    SEE(&w, DESCENDS, "refs/heads/a", "c1", "refs/heads/b", "c1");
    assert_int_equal(asked(&w), 1);
    fail_inspections(&w);
    pass(&w, 600000);
    assert_int_equal(asked(&w), 1);
    fail_inspections(&w);
    /* a moves on: b has it still */
    SEE(&w, DESCENDS, "refs/heads/a", "c2", "refs/heads/b", "c1");
    drop_effects(&w);
    pass(&w, 600000);
    assert_int_equal(asked(&w), 1);
    assert_string_equal(w.todo.items[0].ref, "refs/heads/b");
    fail_inspections(&w);
    SEE(&w, DESCENDS, "refs/heads/a", "c2", "refs/heads/b", "c2");
    drop_effects(&w);
    pass(&w, 600000);
    assert_int_equal(asked(&w), 0);
    /* it comes back, and is wanted again */
    SEE(&w, DESCENDS, "refs/heads/a", "c2", "refs/heads/b", "c1");
    assert_int_equal(asked(&w), 1);
    world_done(&w);
}

static void inspect(struct world *w, const char *commit, const char *id, const char *text)
{
    struct context_facts facts = {.exists = true, .id = id, .dockerfile_text = text, .time = 1};
    world_begin(w, 1);
    model_on_context(w->m, SOURCE, commit, "", "", &facts);
    world_end(w);
}

/* Where a commit's files are to be had once the mirror has lost them. */
static void test_another_commit_with_the_same_files(void **state)
{
    struct world w;
    two_branches(&w);
    SEE(&w, DESCENDS, "refs/heads/a", "c1", "refs/heads/b", "d1");
    inspect(&w, "c1", "sha256:one", NULL);
    inspect(&w, "d1", "sha256:two", NULL);
    assert_string_equal(model_context_commit(w.m, SOURCE, "c1", "", ""), "c1");
    SEE(&w, DESCENDS, "refs/heads/a", "c2", "refs/heads/b", "d1");
    assert_null(model_context_commit(w.m, SOURCE, "c1", "", ""));
    inspect(&w, "c2", "sha256:one", NULL);
    assert_string_equal(model_context_commit(w.m, SOURCE, "c1", "", ""), "c2");
    assert_null(model_context_commit(w.m, SOURCE, "none", "", ""));
    strvec refs = {0};
    model_commit_refs(w.m, SOURCE, "c2", &refs);
    assert_int_equal(refs.n, 1);
    assert_string_equal(refs.items[0], "refs/heads/a");
    strvec_done(&refs);
    model_commit_refs(w.m, SOURCE, "c1", &refs);
    assert_int_equal(refs.n, 2);
    strvec_done(&refs);
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_new_pattern_waits_for_its_sighting),
        cmocka_unit_test(test_what_a_source_was_seen_to_have),
        cmocka_unit_test(test_moves_and_deletions_count_at_the_second_sighting),
        cmocka_unit_test(test_a_forced_branch_that_moves_on),
        cmocka_unit_test(test_a_branch_that_comes_back_and_moves_on),
        cmocka_unit_test(test_a_look_that_misses_it_is_between),
        cmocka_unit_test(test_a_ref_that_comes_back_elsewhere),
        cmocka_unit_test(test_a_ref_that_comes_back_to_a_new_image),
        cmocka_unit_test(test_what_awaits_its_second_sighting_is_told),
        cmocka_unit_test(test_what_was_not_seen_yet_is_told),
        cmocka_unit_test(test_a_commit_left_behind_is_not_asked_for_again),
        cmocka_unit_test(test_another_commit_with_the_same_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
