/* What waits for what, and for how long (design rules 5, 6 and 10): orders of events in which a wait went wrong, or could. */
#include "common/digest.h"
#include "daemon/model/objects.h"
#include "tests/lib/model_commands.h"
#include "tests/lib/model_steps.h"

#define BASES  "https://git.test/bases.git"
#define MIDS   "https://git.test/mids.git"
#define APPS   "https://git.test/apps.git"
#define LASTS  "https://git.test/lasts.git"
#define BASE   "base@master"
#define MID    "mid@master"
#define APP    "app@master"
#define ON     "FROM r.test/osf/base:latest\n"
#define ON_MID "FROM r.test/osf/mid:latest\n"
#define SECOND ((int64_t)1000)
#define MINUTE (60 * SECOND)

/* A base, something that is built on it, and an app on that; all published. */
static void three_images(struct world *w)
{
    world_init(w);
    world_image(w, "base", BASES, WORLD_MASTER, "./mk");
    world_image(w, "mid", MIDS, WORLD_MASTER, NULL);
    world_image(w, "app", APPS, WORLD_MASTER, NULL);
    world_start(w);
    world_board(w, "one");
    world_push(w, BASES, "b1", NULL);
    world_settle(w, NULL);
    world_push(w, MIDS, "m1", ON);
    world_settle(w, NULL);
    world_push(w, APPS, "a1", ON_MID);
    world_settle(w, NULL);
    world_is(w, APP, "published", "published");
}

/* The app is pushed while the base's files are read: it waits. */
static void wait_for_the_base(struct world *w, const char *base, const char *app)
{
    world_see(w, BASES, WORLD_MASTER, base);
    world_push(w, APPS, app, ON_MID);
    world_is(w, APP, "waiting", "base-building");
}

/* ---- rule 6: an hour for each wait ---- */

/* Pushes to what waits do not make its hour begin anew. */
static void test_a_push_does_not_begin_the_hour_anew(void **state)
{
    struct world w;
    three_images(&w);
    wait_for_the_base(&w, "b2", "a2");
    world_wait(&w, 40 * MINUTE);
    world_push(&w, APPS, "a3", ON_MID);
    world_is(&w, APP, "waiting", "base-building");
    world_wait(&w, 21 * MINUTE);
    assert_string_equal(world_track_state(&w, APP), "building");
    world_done(&w);
}

/* Each minute the coordinator is started anew: the hour passes all the same. */
static void test_the_hour_passes_over_many_restarts(void **state)
{
    struct world w;
    three_images(&w);
    wait_for_the_base(&w, "b2", "a2");
    for (int i = 0; i < 75; i++) {
        for (int k = 0; k < 6; k++)
            world_wait(&w, 10 * SECOND);
        world_restart(&w);
    }
    assert_string_equal(world_track_state(&w, APP), "building");
    world_done(&w);
}

/* ---- delays, and places in the queue, over many restarts ---- */

/* That many minutes pass, and after each the coordinator is started anew. */
static void minutes_and_restarts(struct world *w, int n)
{
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < 6; k++)
            world_wait(w, 10 * SECOND);
        world_restart(w);
    }
}

static void test_a_failed_one_is_tried_again_over_many_restarts(void **state)
{
    struct world w;
    three_images(&w);
    world_push(&w, BASES, "b2", NULL);
    world_break(&w, "one", "base", WIRE_FAILURE_RECIPE);
    world_break(&w, "one", "base", WIRE_FAILURE_RECIPE);
    minutes_and_restarts(&w, 59);
    world_is(&w, BASE, "failed", "job-failed");
    minutes_and_restarts(&w, 40); /* what each restart costs is less than half a minute */
    world_build(&w, "one", "base", "mended");
    world_done(&w);
}

static void test_what_backs_off_is_tried_again_over_many_restarts(void **state)
{
    struct world w;
    three_images(&w);
    world_push(&w, BASES, "b2", NULL);
    for (int i = 0; i < 7; i++) {
        world_break(&w, "one", "base", WIRE_FAILURE_INFRA);
        world_wait(&w, 5 * MINUTE);
    }
    world_break(&w, "one", "base", WIRE_FAILURE_INFRA);
    minutes_and_restarts(&w, 4);
    world_is(&w, BASE, "building", "backing-off");
    minutes_and_restarts(&w, 6);
    world_build(&w, "one", "base", "there");
    world_done(&w);
}

static void test_a_child_becomes_stale_over_many_restarts(void **state)
{
    struct world w;
    world_init(&w);
    struct farm_image *base = world_image(&w, "base", BASES, WORLD_MASTER, "./mk");
    vec_push(&base->optional, PLATFORM_ARM64);
    base->deadline_ms = 60 * MINUTE;
    static const char *const both[] = {"linux/amd64", "linux/arm64", NULL};
    w.platforms = both;
    world_start(&w);
    world_board(&w, "one");
    world_push(&w, BASES, "b1", NULL);
    world_settle(&w, NULL);
    world_push(&w, BASES, "b2", NULL);
    struct wire_poll_response got = world_poll(&w, "one");
    assert_int_equal(got.leases.n, 2);
    VEC_FOREACH (&got.leases, lease)
        if (str_eq(lease->job.platform, "linux/amd64"))
            world_succeed(&w, lease, "new");
    wire_poll_response_done(&got);
    world_publish(&w);
    minutes_and_restarts(&w, 59);
    assert_false(slot_stale(track_find(w.m, BASE)->slots[PLATFORM_ARM64]));
    minutes_and_restarts(&w, 40);
    assert_true(slot_stale(track_find(w.m, BASE)->slots[PLATFORM_ARM64]));
    world_done(&w);
}

/* A ripple that has waited for half a day goes before a person's request, though the coordinator was started anew. */
static void test_a_place_in_the_queue_outlives_restarts(void **state)
{
    struct world w;
    three_images(&w);
    w.slots = w.free = 1;
    world_push(&w, BASES, "b2", NULL);
    world_build(&w, "one", "base", "new");
    world_publish(&w); /* the middle one follows */
    for (int i = 0; i < 13 * 6; i++) {
        world_wait(&w, 10 * MINUTE);
        world_restart(&w);
    }
    struct err err = ERR_INIT;
    world_begin(&w, 1);
    assert_int_equal(model_on_rebuild(w.m, BASE, NULL, false, &err), 0);
    world_end(&w);
    world_build(&w, "one", "mid", "in its turn");
    world_done(&w);
}

/* How long a job took is not counted from the last restart. */
static void test_a_restart_does_not_make_boards_look_fast(void **state)
{
    struct world w;
    three_images(&w);
    world_push(&w, BASES, "b2", NULL);
    struct world_agent one = {.name = "one"};
    world_agent_session(&w, &one, NULL);
    struct wire_poll_response got = world_agent_poll(&w, &one, NULL, 0), more;
    assert_int_equal(got.leases.n, 1);
    more = world_agent_poll(&w, &one, got.leases.items, 1);
    wire_poll_response_done(&more);
    for (int i = 0; i < 59; i++) {
        world_wait(&w, MINUTE);
        world_restart(&w);
        world_agent_session(&w, &one, got.leases.items);
    }
    world_succeed(&w, &got.leases.items[0], "slow");
    const struct job *j = track_find(w.m, BASE)->slots[PLATFORM_AMD64]->job;
    assert_true(j->duration_ms > 58 * MINUTE && j->duration_ms < 61 * MINUTE);
    wire_poll_response_done(&got);
    world_done(&w);
}

/* ---- rule 6: through what ---- */

/* The middle one has failed, and will be built again when its base has moved: who is built on it waits for the base. */
static void test_through_a_failed_one_it_waits(void **state)
{
    struct world w;
    three_images(&w);
    world_push(&w, MIDS, "m2", ON);
    world_break(&w, "one", "mid", WIRE_FAILURE_RECIPE);
    world_break(&w, "one", "mid", WIRE_FAILURE_RECIPE);
    world_is(&w, MID, "failed", "job-failed");
    wait_for_the_base(&w, "b2", "a2");
    world_inspect_source(&w, BASES, NULL);
    world_build(&w, "one", "base", "new");
    world_publish(&w);
    world_build(&w, "one", "mid", "mended");
    world_publish(&w);
    world_build(&w, "one", "app", "once");
    world_publish(&w);
    assert_int_equal(world_settle(&w, NULL), 0);
    world_done(&w);
}

/* Through one that is held nothing comes. */
static void test_through_a_held_one_it_does_not_wait(void **state)
{
    struct world w;
    three_images(&w);
    world_find_image(&w, "mid")->hold = true;
    world_reload(&w);
    world_push(&w, MIDS, "m2", ON);
    world_build(&w, "one", "mid", "kept back");
    world_publish(&w);
    world_is(&w, MID, "held", "held");
    world_see(&w, BASES, WORLD_MASTER, "b2");
    world_push(&w, APPS, "a2", ON_MID);
    assert_string_equal(world_track_state(&w, APP), "building");
    world_done(&w);
}

/* Something between comes to let nothing through: whoever waits through it, however far below, waits no more. */
static void test_one_that_stops_between_ends_the_wait(void **state)
{
    struct world w;
    three_images(&w);
    world_image(&w, "last", LASTS, WORLD_MASTER, NULL);
    world_reload(&w);
    world_push(&w, LASTS, "l1", "FROM r.test/osf/app:latest\n");
    world_settle(&w, NULL);
    world_see(&w, BASES, WORLD_MASTER, "b2");
    world_push(&w, LASTS, "l2", "FROM r.test/osf/app:latest\n");
    world_is(&w, "last@master", "waiting", "base-building");
    world_ask(&w, COMMAND_RETIRE, MID);
    assert_string_equal(world_track_state(&w, "last@master"), "building");
    world_done(&w);
}

/* ---- rule 6: what is under way ---- */

static const char *const two[] = {"linux/amd64", "linux/arm64", NULL};

static void test_one_platform_that_backs_off_is_enough(void **state)
{
    struct world w;
    world_init(&w);
    struct farm_image *base = world_image(&w, "base", BASES, WORLD_MASTER, "./mk");
    vec_push(&base->platforms, PLATFORM_ARM64);
    world_image(&w, "app", APPS, WORLD_MASTER, NULL);
    w.platforms = two;
    world_start(&w);
    world_board(&w, "one");
    world_push(&w, BASES, "b1", NULL);
    world_settle(&w, NULL);
    world_push(&w, APPS, "a1", ON);
    world_settle(&w, NULL);
    world_push(&w, BASES, "b2", NULL);
    struct wire_poll_response got = world_poll(&w, "one");
    assert_int_equal(got.leases.n, 2);
    world_push(&w, APPS, "a2", ON);
    world_is(&w, APP, "waiting", "base-building");
    world_fail(&w, &got.leases.items[1], WIRE_FAILURE_INFRA);
    assert_string_equal(world_track_state(&w, APP), "building");
    wire_poll_response_done(&got);
    world_done(&w);
}

/* Another track's publication, which the registry does not take, is in the way of the base's. */
static void test_what_waits_behind_a_registry_that_is_away_is_not_waited_for(void **state)
{
    struct world w;
    world_init(&w);
    struct farm_image *base = world_image(&w, "base", BASES, "refs/heads/*", "./mk");
    strvec_done(&base->tags);
    strvec_add(&base->tags, "$branch");
    world_image(&w, "app", APPS, WORLD_MASTER, NULL);
    world_start(&w);
    world_board(&w, "one");
    static const char *const both[] = {WORLD_MASTER, "refs/heads/other", NULL};
    world_see_all(&w, BASES, "b1", both);
    world_settle(&w, NULL);
    world_push(&w, APPS, "a1", "FROM r.test/osf/base:master\n");
    world_settle(&w, NULL);
    world_is(&w, APP, "published", "published");
    struct seen_ref other[] = {{WORLD_MASTER, "b1", true}, {"refs/heads/other", "b2", true}};
    world_begin(&w, 1);
    model_on_refs(w.m, BASES, other, 2);
    world_end(&w);
    world_inspect(&w, NULL);
    world_build(&w, "one", "base", "x2");
    world_retain(&w);
    world_step(&w);
    other[0].commit = "b3";
    world_begin(&w, 1);
    model_on_refs(w.m, BASES, other, 2);
    world_end(&w);
    world_inspect(&w, NULL);
    world_build(&w, "one", "base", "x3");
    world_retain(&w);
    world_is(&w, BASE, "publishing", "repository-busy");
    world_push(&w, APPS, "a2", "FROM r.test/osf/base:master\n");
    world_is(&w, APP, "waiting", "base-building");
    world_step_fails(&w, PUBLISH_AWAY, PLATFORM_AMD64, "the registry is away");
    assert_string_equal(world_track_state(&w, APP), "building");
    world_done(&w);
}

/* ---- rule 6: superseded twice ---- */

/* The one that may finish cannot: it backs off, and may do so for ever. What is newer takes its place. */
static void test_what_may_finish_and_cannot_is_superseded(void **state)
{
    struct world w;
    three_images(&w);
    world_push(&w, BASES, "b2", NULL);
    world_push(&w, BASES, "b3", NULL);
    world_push(&w, BASES, "b4", NULL);
    int64_t third = track_find(w.m, BASE)->build;
    world_break(&w, "one", "base", WIRE_FAILURE_INFRA);
    world_push(&w, BASES, "b5", NULL);
    assert_int_not_equal(track_find(w.m, BASE)->build, third);
    world_build(&w, "one", "base", "mended");
    world_done(&w);
}

/* The newer inputs were there first: it is superseded when it turns out that it cannot finish. */
static void test_what_cannot_finish_any_more_is_superseded(void **state)
{
    struct world w;
    three_images(&w);
    world_push(&w, BASES, "b2", NULL);
    world_push(&w, BASES, "b3", NULL);
    world_push(&w, BASES, "b4", NULL);
    world_push(&w, BASES, "b5", NULL);
    int64_t third = track_find(w.m, BASE)->build;
    world_break(&w, "one", "base", WIRE_FAILURE_INFRA);
    assert_int_not_equal(track_find(w.m, BASE)->build, third);
    world_build(&w, "one", "base", "mended");
    world_done(&w);
}

/* ---- rule 6.3: what another track has built meanwhile ---- */

#define ON_NOTHING "FROM scratch\nCOPY a /\n"

/* Both folders of the commit are read; each text is another context. */
static void read_folders(struct world *w, const char *commit, const char *amd64, const char *arm64)
{
    for (size_t i = 0; i < w->todo.n;) {
        struct effect e = w->todo.items[i];
        if (e.kind != EFFECT_INSPECT || !str_eq(e.commit, commit)) {
            i++;
            continue;
        }
        vec_remove(&w->todo, i);
        const char *file = str_eq(e.path, "x86_64") ? amd64 : arm64;
        char id[DIGEST_SIZE];
        digest_of(file, strlen(file), id);
        struct context_facts facts = {
            .exists = true, .id = id, .dockerfile_text = file, .time = 1600000000, .size = 10};
        world_begin(w, 1);
        model_on_context(w->m, e.source, e.commit, e.path, e.dockerfile, &facts);
        world_end(w);
        effect_done(&e);
    }
}

static void image_of_folders(struct world *w, const char *name, const char *source)
{
    struct farm_image *image = world_image(w, name, source, WORLD_MASTER, NULL);
    vec_push(&image->platforms, PLATFORM_ARM64);
    str_replace(&image->context, "$alpine_arch");
    str_replace(&image->repository, "r.test/osf/app");
    str_replace(&image->tags.items[0], name);
}

/* What waits for a base takes up the job that it would have had made, when a track that waits for none makes it. */
static void test_who_waits_shares_what_another_begins(void **state)
{
    static const char *const both[] = {"linux/amd64", "linux/arm64", NULL};
    struct world w;
    world_init(&w);
    w.platforms = both;
    world_image(&w, "base", BASES, WORLD_MASTER, "./mk");
    image_of_folders(&w, "app", APPS);
    image_of_folders(&w, "other", MIDS);
    world_start(&w);
    world_board(&w, "one");
    world_push(&w, BASES, "b1", NULL);
    world_settle(&w, NULL);
    world_see(&w, APPS, WORLD_MASTER, "a1");
    read_folders(&w, "a1", "FROM r.test/osf/base\n", ON_NOTHING);
    world_settle(&w, NULL);
    world_is(&w, APP, "published", "published");
    world_see(&w, BASES, WORLD_MASTER, "b2"); /* its files are being read */
    world_see(&w, APPS, WORLD_MASTER, "a2");
    read_folders(&w, "a2", "FROM r.test/osf/base\n", ON_NOTHING "COPY b /\n");
    world_is(&w, APP, "waiting", "base-building");
    world_see(&w, MIDS, WORLD_MASTER, "m1");
    read_folders(&w, "m1", ON_NOTHING, ON_NOTHING "COPY b /\n");
    world_is(&w, "other@master", "building", "running");
    world_is(&w, APP, "building", "running");
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_push_does_not_begin_the_hour_anew),
        cmocka_unit_test(test_the_hour_passes_over_many_restarts),
        cmocka_unit_test(test_a_failed_one_is_tried_again_over_many_restarts),
        cmocka_unit_test(test_what_backs_off_is_tried_again_over_many_restarts),
        cmocka_unit_test(test_a_child_becomes_stale_over_many_restarts),
        cmocka_unit_test(test_a_place_in_the_queue_outlives_restarts),
        cmocka_unit_test(test_a_restart_does_not_make_boards_look_fast),
        cmocka_unit_test(test_through_a_failed_one_it_waits),
        cmocka_unit_test(test_through_a_held_one_it_does_not_wait),
        cmocka_unit_test(test_one_that_stops_between_ends_the_wait),
        cmocka_unit_test(test_one_platform_that_backs_off_is_enough),
        cmocka_unit_test(test_what_waits_behind_a_registry_that_is_away_is_not_waited_for),
        cmocka_unit_test(test_what_may_finish_and_cannot_is_superseded),
        cmocka_unit_test(test_what_cannot_finish_any_more_is_superseded),
        cmocka_unit_test(test_who_waits_shares_what_another_begins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
