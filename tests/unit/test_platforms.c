/* Design rule 7: required, optional, deadline, new and retired platforms. */
#include "daemon/model/objects.h"
#include "tests/lib/model_world.h"

#define SOURCE "https://git.test/a.git"
#define MASTER "refs/heads/master"
#define TRACK  "base@master"
#define HOUR   ((int64_t)60 * 60 * 1000)

static const char *const both[] = {"linux/amd64", "linux/arm64", NULL};

static struct farm_image *begin(struct world *w, bool optional)
{
    world_init(w);
    w->platforms = both;
    struct farm_image *image = world_image(w, "base", SOURCE, MASTER, "./mk");
    image->deadline_ms = 12 * HOUR;
    if (optional)
        vec_push(&image->optional, PLATFORM_ARM64);
    world_start(w);
    world_board(w, "one");
    return image;
}

static void push(struct world *w, const char *commit)
{
    world_see(w, SOURCE, MASTER, commit);
    world_inspect(w, NULL);
}

/* The board's jobs of `platform` succeed (or fail), the others are forgotten by its next session. Returns how many. */
static int finish(struct world *w, const char *platform, bool well)
{
    struct wire_poll_response got = world_poll(w, "one");
    int n = 0;
    VEC_FOREACH (&got.leases, lease) {
        if (!str_eq(lease->job.platform, platform))
            continue;
        n++;
        if (well)
            world_succeed(w, lease, lease->job.key);
        else
            world_fail(w, lease, WIRE_FAILURE_RECIPE);
    }
    wire_poll_response_done(&got);
    world_publish(w);
    return n;
}

static void fail_round(struct world *w, const char *platform)
{
    assert_int_equal(finish(w, platform, false), 1);
    assert_int_equal(finish(w, platform, false), 1);
}

static struct track *track(struct world *w)
{
    return track_find(w->m, TRACK);
}

/* The platforms of the index that `latest` names: "linux/amd64 linux/arm64". */
static const char *published(struct world *w)
{
    static char text[128];
    const struct tag *tag = tag_find(w->m, "r.test/osf/base", "latest");
    *text = '\0';
    if (tag)
        VEC_FOREACH (&tag->shown->child, c) {
            strcat(text, *text ? " " : "");
            strcat(text, platform_info(c->platform)->name);
        }
    return text;
}

static const char *child(struct world *w, enum platform p)
{
    return publication_child(tag_find(w->m, "r.test/osf/base", "latest")->shown, p)->digest;
}

static const struct job *job_of(struct world *w, const char *id, enum platform p)
{
    return track_find(w->m, id)->slots[p]->job;
}

static void test_optional_does_not_gate_and_publishes_again(void **state)
{
    struct world w;
    begin(&w, true);
    push(&w, "c1");
    finish(&w, "linux/amd64", true);
    assert_string_equal(published(&w), "linux/amd64");
    assert_string_equal(world_track_state(&w, TRACK), "published");
    finish(&w, "linux/arm64", true);
    assert_string_equal(published(&w), "linux/amd64 linux/arm64");
    world_done(&w);
}

static void test_an_optional_job_does_not_go_on_for_a_deleted_ref_alone(void **state)
{
    static const char *const two[] = {"refs/heads/a", "refs/heads/b", NULL};
    static const char *const one[] = {"refs/heads/a", NULL};
    struct world w;
    struct farm_image *image = begin(&w, true);
    str_replace(&image->ref, "refs/heads/*");
    str_replace(&image->tags.items[0], "$branch");
    world_restart(&w);
    world_board(&w, "one");
    world_see_all(&w, SOURCE, "c1", two);
    world_inspect(&w, NULL);
    finish(&w, "linux/amd64", true);
    const struct job *shared = job_of(&w, "base@a", PLATFORM_ARM64);
    assert_ptr_equal(shared, job_of(&w, "base@b", PLATFORM_ARM64));
    for (int i = 0; i < 2; i++)
        world_see_all(&w, SOURCE, "c1", one);
    assert_string_equal(world_track_state(&w, "base@b"), "deleted");
    assert_true(job_under_way(shared));
    world_see_all(&w, SOURCE, "c2", one);
    world_inspect(&w, NULL);
    assert_int_equal(shared->state, JOB_CANCELLED);
    world_done(&w);
}

static void test_the_last_good_child_stays_and_becomes_stale(void **state)
{
    struct world w;
    begin(&w, true);
    push(&w, "c1");
    finish(&w, "linux/amd64", true);
    finish(&w, "linux/arm64", true);
    cleanup_free char *old = xstrdup(child(&w, PLATFORM_ARM64));
    push(&w, "c2");
    finish(&w, "linux/amd64", true);
    assert_string_equal(published(&w), "linux/amd64 linux/arm64");
    assert_string_equal(child(&w, PLATFORM_ARM64), old);
    world_wait(&w, 6 * HOUR);
    assert_false(slot_stale(track(&w)->slots[PLATFORM_ARM64]));
    world_restart(&w); /* what is left is stored */
    world_wait(&w, 6 * HOUR - 1000);
    assert_false(world_attention(&w, "stale"));
    world_wait(&w, 1000);
    assert_true(slot_stale(track(&w)->slots[PLATFORM_ARM64]));
    assert_true(world_attention(&w, "stale"));
    world_restart(&w);
    assert_true(world_attention(&w, "stale"));
    /* its success publishes again, and it is up to date */
    world_board(&w, "one");
    finish(&w, "linux/arm64", true);
    assert_string_not_equal(child(&w, PLATFORM_ARM64), old);
    assert_false(world_attention(&w, "stale"));
    world_done(&w);
}

static void test_required_gates(void **state)
{
    struct world w;
    struct farm_image *image = begin(&w, false);
    (void)image;
    push(&w, "c1");
    fail_round(&w, "linux/amd64");
    assert_string_equal(published(&w), "");
    world_done(&w);
}

static void reload(struct world *w)
{
    world_begin(w, 1);
    model_on_config(w->m, w->farm);
    world_end(w);
    world_inspect(w, NULL);
}

static void test_a_new_required_platform_gates_from_its_first_success(void **state)
{
    struct world w;
    struct farm_image *image = begin(&w, false);
    push(&w, "c1");
    finish(&w, "linux/amd64", true);
    vec_push(&image->platforms, PLATFORM_ARM64);
    reload(&w);
    fail_round(&w, "linux/arm64");
    assert_string_equal(world_track_state(&w, TRACK), "published");
    push(&w, "c2");
    finish(&w, "linux/amd64", true); /* does not wait for arm64 */
    assert_string_equal(world_track_state(&w, TRACK), "published");
    const struct tag *tag = tag_find(w.m, "r.test/osf/base", "latest");
    int64_t generation = tag->generation;
    assert_int_equal(generation, 2);
    finish(&w, "linux/arm64", true);
    assert_string_equal(published(&w), "linux/amd64 linux/arm64");
    push(&w, "c3");
    fail_round(&w, "linux/arm64"); /* now it does */
    finish(&w, "linux/amd64", true);
    assert_string_equal(world_track_state(&w, TRACK), "failed");
    assert_int_equal(tag->generation, 3);
    world_done(&w);
}

/* Another repository has nothing of the track yet: nothing half is published there. */
static void test_a_new_required_platform_gates_in_a_new_repository(void **state)
{
    struct world w;
    struct farm_image *image = begin(&w, false);
    push(&w, "c1");
    finish(&w, "linux/amd64", true);
    vec_push(&image->platforms, PLATFORM_ARM64);
    str_replace(&image->repository, "r.test/osf/moved");
    reload(&w);
    finish(&w, "linux/amd64", true);
    assert_string_equal(world_track_state(&w, TRACK), "building");
    assert_null(tag_find(w.m, "r.test/osf/moved", "latest"));
    finish(&w, "linux/arm64", true);
    assert_string_equal(world_track_state(&w, TRACK), "published");
    const struct tag *tag = tag_find(w.m, "r.test/osf/moved", "latest");
    assert_non_null(tag);
    assert_int_equal(tag->shown->child.n, 2);
    world_done(&w);
}

/* Rule 6.6: a build that may finish although inputs are newer cannot, once it needs a platform that no board builds. */
static void test_what_may_finish_and_needs_more_is_superseded(void **state)
{
    struct world w;
    world_init(&w);
    struct farm_image *image = world_image(&w, "base", SOURCE, MASTER, "./mk");
    vec_push(&image->platforms, PLATFORM_ARM64);
    vec_push(&image->optional, PLATFORM_ARM64);
    world_start(&w);
    world_board(&w, "one"); /* amd64 alone */
    for (const char *const *c = (const char *const[]){"c1", "c2", "c3", "c4", NULL}; *c; c++)
        push(&w, *c);
    int64_t let_finish = track(&w)->build;
    assert_int_equal(track(&w)->superseded, 2);
    image->optional.n = 0;
    reload(&w);
    assert_int_equal(track(&w)->build, let_finish + 1);
    world_done(&w);
}

static void test_a_platform_that_farm_yaml_drops_stays_until_retired(void **state)
{
    struct world w;
    struct farm_image *image = begin(&w, false);
    vec_push(&image->platforms, PLATFORM_ARM64);
    reload(&w);
    push(&w, "c1");
    finish(&w, "linux/amd64", true);
    finish(&w, "linux/arm64", true);
    image->platforms.n = 1;
    reload(&w);
    assert_int_equal(world_publish(&w), 0);
    push(&w, "c2");
    finish(&w, "linux/amd64", true);
    assert_string_equal(published(&w), "linux/amd64 linux/arm64");
    world_begin(&w, 1);
    track(&w)->slots[PLATFORM_ARM64]->retired = true;
    model_touch(w.m, track(&w)->slots[PLATFORM_ARM64]);
    model_plan_later(w.m, track(&w));
    world_end(&w);
    world_publish(&w);
    assert_string_equal(published(&w), "linux/amd64");
    world_done(&w);
}

/* The folder of arm64 goes upstream: every inspection of its path says so. */
static void inspect_without(struct world *w, const char *path)
{
    for (size_t i = 0; i < w->todo.n; i++) {
        struct effect e = w->todo.items[i];
        if (e.kind != EFFECT_INSPECT || !str_eq(e.path, path))
            continue;
        vec_remove(&w->todo, i);
        world_begin(w, 1);
        model_on_context(w->m, e.source, e.commit, e.path, e.dockerfile,
                         &(struct context_facts){.exists = false, .time = 1600000000});
        world_end(w);
        effect_done(&e);
        break;
    }
    world_inspect(w, NULL);
}

static void test_a_folder_that_goes_blocks_and_one_that_never_was_is_not_offered(void **state)
{
    struct world w;
    struct farm_image *image = begin(&w, false);
    vec_push(&image->platforms, PLATFORM_ARM64);
    str_replace(&image->context, "$alpine_arch");
    reload(&w);
    world_see(&w, SOURCE, MASTER, "c1");
    inspect_without(&w, "aarch64");
    finish(&w, "linux/amd64", true);
    assert_string_equal(published(&w), "linux/amd64"); /* never was: not offered */
    push(&w, "c2");
    finish(&w, "linux/amd64", true);
    finish(&w, "linux/arm64", true);
    assert_string_equal(published(&w), "linux/amd64 linux/arm64");
    world_see(&w, SOURCE, MASTER, "c3");
    inspect_without(&w, "aarch64");
    assert_string_equal(world_track_state(&w, TRACK), "blocked");
    assert_string_equal(world_text(&w, TRACK, "reason", "code"), "context-gone");
    world_begin(&w, 1);
    track(&w)->slots[PLATFORM_ARM64]->retired = true;
    model_touch(w.m, track(&w)->slots[PLATFORM_ARM64]);
    model_plan_later(w.m, track(&w));
    world_end(&w);
    finish(&w, "linux/amd64", true);
    assert_string_equal(published(&w), "linux/amd64");
    world_done(&w);
}

static void test_only_optional_ones_publish_with_the_first(void **state)
{
    struct world w;
    struct farm_image *image = begin(&w, true);
    str_replace(&image->context, "$alpine_arch");
    reload(&w);
    world_see(&w, SOURCE, MASTER, "c1");
    inspect_without(&w, "x86_64");
    assert_string_equal(world_track_state(&w, TRACK), "building");
    finish(&w, "linux/arm64", true);
    assert_string_equal(published(&w), "linux/arm64");
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_optional_does_not_gate_and_publishes_again),
        cmocka_unit_test(test_an_optional_job_does_not_go_on_for_a_deleted_ref_alone),
        cmocka_unit_test(test_the_last_good_child_stays_and_becomes_stale),
        cmocka_unit_test(test_required_gates),
        cmocka_unit_test(test_a_new_required_platform_gates_from_its_first_success),
        cmocka_unit_test(test_a_new_required_platform_gates_in_a_new_repository),
        cmocka_unit_test(test_what_may_finish_and_needs_more_is_superseded),
        cmocka_unit_test(test_a_platform_that_farm_yaml_drops_stays_until_retired),
        cmocka_unit_test(test_a_folder_that_goes_blocks_and_one_that_never_was_is_not_offered),
        cmocka_unit_test(test_only_optional_ones_publish_with_the_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
