/* The rules of ARCHITECTURE.md's table that have no file of tests of their own: keys and generations, what waits for what,
 * bases, and what cannot be built. */

#include "common/digest.h"
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"
#include "tests/lib/model_farm.h"

/* ---- what happens ---- */

static const struct tag *tag(struct world *w, const char *repository, const char *name)
{
    const struct tag *t = tag_find(w->m, repository, name);
    assert_non_null(t);
    return t;
}

/* ---- farms ---- */

/* An app on whatever its Dockerfile says. */
static void one_app(struct world *w)
{
    world_init(w);
    world_image(w, "app", APPS, WORLD_MASTER, NULL);
    world_start(w);
    world_board(w, "one");
}

/* A base, and an app that is built on it; both published. */
/* ---- keys ---- */

/* A commit that leaves the context's files as they are, however late, keeps their date too. */
static void test_a_commit_that_changes_other_files_builds_nothing(void **state)
{
    char same[DIGEST_SIZE];
    struct world w;
    digest_of("same", 4, same);
    world_base_alone(&w);
    for (int64_t i = 0; i < 3; i++) {
        char commit[8];
        snprintf(commit, sizeof(commit), "c%d", (int)i);
        world_see(&w, BASES, WORLD_MASTER, commit);
        struct effect e = world_take(&w, EFFECT_INSPECT);
        struct context_facts facts = {.exists = true, .id = same, .time = 1600000000 + i * 1000};
        world_begin(&w, 1);
        model_on_context(w.m, e.source, e.commit, e.path, e.dockerfile, &facts);
        world_end(&w);
        effect_done(&e);
        assert_int_equal(world_settle(&w, NULL), i ? 0 : 1);
        world_is(&w, BASE, "published", "published");
    }
    world_done(&w);
}

/* Two branches at one commit are one job; what one of them gives up the other wants still. */
static void test_tracks_with_one_key_share_its_job(void **state)
{
    static const char *const both[] = {"refs/heads/a", "refs/heads/b", NULL};
    struct world w;
    world_init(&w);
    struct farm_image *branches = world_image(&w, "base", BASES, "refs/heads/*", "./mk");
    str_replace(&branches->tags.items[0], "$branch");
    world_start(&w);
    world_board(&w, "one");
    world_see_all(&w, BASES, "c1", both);
    world_inspect_source(&w, BASES, NULL);
    struct wire_poll_response got = world_poll(&w, "one");
    assert_int_equal(got.leases.n, 1);
    struct seen_ref moved[] = {{"refs/heads/a", "c2", true}, {"refs/heads/b", "c1", true}};
    world_begin(&w, 1);
    model_on_refs(w.m, BASES, moved, 2);
    world_end(&w);
    world_inspect_source(&w, BASES, NULL);
    world_succeed(&w, &got.leases.items[0], "x");
    wire_poll_response_done(&got);
    world_publish(&w);
    world_is(&w, "base@b", "published", "published");
    assert_int_equal(world_settle(&w, NULL), 1);
    world_is(&w, "base@a", "published", "published");
    world_done(&w);
}

/* A build that was cancelled wants its job no more, after a restart neither. */
static void test_a_cancelled_build_does_not_keep_a_shared_job(void **state)
{
    static const char *const both[] = {"refs/heads/a", "refs/heads/b", NULL};
    struct world w;
    struct err err = ERR_INIT;
    world_init(&w);
    struct farm_image *branches = world_image(&w, "base", BASES, "refs/heads/*", "./mk");
    str_replace(&branches->tags.items[0], "$branch");
    world_start(&w);
    world_see_all(&w, BASES, "c1", both);
    world_inspect_source(&w, BASES, NULL);
    const struct job *shared = track_find(w.m, "base@a")->slots[PLATFORM_AMD64]->job;
    cleanup_free char *key = xstrdup(shared->key);
    world_begin(&w, 1);
    assert_int_equal(model_on_cancel_build(w.m, track_find(w.m, "base@a")->build, &err), 0);
    world_end(&w);
    assert_int_equal(shared->state, JOB_WANTED); /* for b */
    world_restart(&w);
    struct seen_ref moved[] = {{"refs/heads/a", "c1", true}, {"refs/heads/b", "c2", true}};
    world_begin(&w, 1);
    model_on_refs(w.m, BASES, moved, 2);
    world_end(&w);
    world_inspect_source(&w, BASES, NULL);
    assert_int_equal(job_find(w.m, key)->state, JOB_CANCELLED);
    world_done(&w);
}

/* ---- rule 1: equal output ---- */

static void test_packing_alone_replaces_the_manifest_and_ripples_nothing(void **state)
{
    struct world w;
    char digest[DIGEST_SIZE], content[DIGEST_SIZE];
    world_base_and_app(&w);
    const struct publication *p = tag(&w, "r.test/osf/base", "latest")->shown;
    cleanup_free char *before = xstrdup(p->child.items[0].digest);
    snprintf(content, sizeof(content), "%s", p->child.items[0].content);
    world_find_image(&w, "base")->compression = FARM_COMPRESSION_ZSTD;
    world_reload(&w);
    world_inspect(&w, NULL);
    struct wire_poll_response got = world_poll(&w, "one");
    assert_int_equal(got.leases.n, 1);
    digest_of("zstd", 4, digest);
    world_succeed_as(&w, &got.leases.items[0], digest, content);
    wire_poll_response_done(&got);
    world_publish(&w);
    p = tag(&w, "r.test/osf/base", "latest")->shown;
    assert_string_not_equal(p->child.items[0].digest, before);
    assert_string_equal(p->child.items[0].digest, digest);
    assert_int_equal(world_settle(&w, ON), 0);
    world_done(&w);
}

/* ---- rule 2: generations ---- */

static void test_one_publication_of_a_repository_at_a_time(void **state)
{
    static const char *const both[] = {"refs/heads/a", "refs/heads/b", NULL};
    struct world w;
    world_init(&w);
    struct farm_image *image = world_image(&w, "base", BASES, "refs/heads/*", "./mk");
    str_replace(&image->tags.items[0], "$branch");
    str_replace(&image->script, "./mk $branch");
    vec_push(&image->args, (struct farm_pair){xstrdup("BRANCH"), xstrdup("$branch")});
    world_start(&w);
    world_board(&w, "one");
    world_see_all(&w, BASES, "c1", both);
    world_inspect_source(&w, BASES, NULL);
    struct wire_poll_response got = world_poll(&w, "one");
    assert_int_equal(got.leases.n, 2);
    for (size_t i = 0; i < 2; i++)
        world_succeed(&w, &got.leases.items[i], i ? "x" : "y");
    wire_poll_response_done(&got);
    world_retain(&w);
    bool a_first = str_eq(world_text(&w, "base@a", "reason", "code"), "publishing");
    world_is(&w, a_first ? "base@a" : "base@b", "publishing", "publishing");
    world_is(&w, a_first ? "base@b" : "base@a", "publishing", "repository-busy");
    world_publish(&w);
    int64_t a = tag(&w, "r.test/osf/base", "a")->generation;
    int64_t b = tag(&w, "r.test/osf/base", "b")->generation;
    assert_true(a_first ? a == 1 && b == 2 : a == 2 && b == 1);
    world_done(&w);
}

/* c1's publication has taken `steps` steps when c2 is built. */
static void overtake(struct world *w, int steps)
{
    world_base_alone(w);
    world_push(w, BASES, "c1", NULL);
    world_build(w, "one", "base", "x");
    world_retain(w);
    for (int i = 0; i < steps; i++)
        world_step(w);
    world_push(w, BASES, "c2", NULL);
    world_build(w, "one", "base", "y");
    world_retain(w);
}

static void test_newer_keys_supersede_before_the_first_tag(void **state)
{
    struct world w;
    overtake(&w, 0);
    world_is(&w, BASE, "publishing", "publishing");
    world_publish(&w);
    /* the first generation never had a tag */
    assert_int_equal(tag(&w, "r.test/osf/base", "latest")->generation, 2);
    assert_int_equal(track_find(w.m, BASE)->last->generation, 2);
    world_done(&w);
}

static void test_from_the_first_tag_on_it_runs_to_its_end(void **state)
{
    struct world w;
    overtake(&w, 1); /* the first tag's PUT is journalled */
    world_is(&w, BASE, "publishing", "publishing");
    world_says(&w, BASE, "generation 1");
    world_step(&w);
    assert_int_equal(tag(&w, "r.test/osf/base", "latest")->generation, 1);
    world_publish(&w);
    assert_int_equal(tag(&w, "r.test/osf/base", "latest")->generation, 2);
    world_is(&w, BASE, "published", "published");
    world_done(&w);
}

/* ---- rule 6: what waits for what ---- */

static void test_superseded_twice_it_may_finish(void **state)
{
    struct world w;
    world_base_alone(&w);
    world_push(&w, BASES, "c1", NULL);
    int64_t first = track_find(w.m, BASE)->build;
    world_push(&w, BASES, "c2", NULL);
    world_push(&w, BASES, "c3", NULL);
    assert_int_equal(track_find(w.m, BASE)->build, first + 2);
    world_push(&w, BASES, "c4", NULL);
    assert_int_equal(track_find(w.m, BASE)->build, first + 2);
    world_build(&w, "one", "base", "x");
    world_publish(&w);
    assert_int_equal(tag(&w, "r.test/osf/base", "latest")->generation, 1);
    assert_int_equal(world_settle(&w, NULL), 1); /* and then the newest */
    assert_int_equal(tag(&w, "r.test/osf/base", "latest")->generation, 2);
    world_done(&w);
}

static void test_what_may_finish_waits_for_no_base(void **state)
{
    struct world w;
    world_base_and_app(&w);
    int64_t published = track_find(w.m, APP)->last->id;
    for (const char *const *c = (const char *const[]){"a2", "a3", "a4", "a5", NULL}; *c; c++)
        world_push(&w, APPS, *c, ON);
    world_see(&w, BASES, WORLD_MASTER, "b2"); /* its files are being read */
    assert_string_equal(world_track_state(&w, APP), "building");
    world_build(&w, "one", "app", "x");
    world_publish(&w);
    assert_true(track_find(w.m, APP)->last->id > published);
    world_is(&w, APP, "waiting", "base-building"); /* the newest one */
    world_done(&w);
}

static void test_a_dependent_waits_an_hour_at_most(void **state)
{
    struct world w;
    world_base_and_app(&w);
    world_see(&w, BASES, WORLD_MASTER, "b2"); /* its files are being read, and no answer comes */
    world_push(&w, APPS, "a2", ON);
    world_is(&w, APP, "waiting", "base-building");
    world_says(&w, APP, BASE);
    for (int i = 0; i < 3; i++) {
        world_wait(&w, 16 * MINUTE);
        world_is(&w, APP, "waiting", "base-building");
        world_restart(
            &w); /* what is left of the hour is stored, as it was a quarter of it ago at most */
        world_is(&w, APP, "waiting", "base-building");
    }
    world_wait(&w, 16 * MINUTE);
    assert_string_equal(world_track_state(&w, APP), "building");
    world_done(&w);
}

static void test_each_wait_is_a_whole_one(void **state)
{
    struct world w;
    world_base_and_app(&w);
    world_see(&w, BASES, WORLD_MASTER, "b2");
    world_push(&w, APPS, "a2", ON);
    world_is(&w, APP, "waiting", "base-building");
    world_push(&w, APPS, "a1", ON); /* that is built already: there is nothing to wait for */
    world_is(&w, APP, "published", "published");
    world_see(&w, BASES, WORLD_MASTER, "b1");
    world_is(&w, BASE, "published", "published");
    world_wait(&w, 120 * MINUTE);
    world_see(&w, BASES, WORLD_MASTER, "b3");
    world_push(&w, APPS, "a3", ON);
    world_is(&w, APP, "waiting", "base-building");
    world_done(&w);
}

static void test_a_broken_base_does_not_stop_its_dependents(void **state)
{
    struct world w;
    world_base_and_app(&w);
    world_push(&w, BASES, "b2", NULL);
    world_break(&w, "one", "base", WIRE_FAILURE_RECIPE);
    world_break(&w, "one", "base", WIRE_FAILURE_RECIPE);
    world_is(&w, BASE, "failed", "job-failed");
    world_push(&w, APPS, "a2", ON);
    world_build(&w, "one", "app", "fixed");
    world_publish(&w);
    world_is(&w, APP, "published", "published");
    world_done(&w);
}

static void test_a_base_that_backs_off_is_not_waited_for(void **state)
{
    struct world w;
    world_base_and_app(&w);
    world_push(&w, BASES, "b2", NULL);
    struct wire_poll_response got = world_poll(&w, "one");
    assert_int_equal(got.leases.n, 1);
    world_fail(&w, &got.leases.items[0], WIRE_FAILURE_INFRA);
    wire_poll_response_done(&got);
    world_is(&w, BASE, "building", "backing-off");
    world_push(&w, APPS, "a2", ON);
    world_build(&w, "one", "app", "fixed");
    world_done(&w);
}

static void test_a_cycle_is_blocked_and_named(void **state)
{
    struct world w;
    world_init(&w);
    world_image(&w, "base", BASES, WORLD_MASTER, NULL);
    world_image(&w, "app", APPS, WORLD_MASTER, NULL);
    world_start(&w);
    world_board(&w, "one");
    world_push(&w, BASES, "b0", ON);
    world_push(&w, BASES, "b1", "FROM r.test/osf/app:latest\n");
    world_push(&w, APPS, "a1", ON);
    world_is(&w, BASE, "blocked", "base-cycle");
    world_is(&w, APP, "blocked", "base-cycle");
    world_says(&w, APP, "app@master <- base@master <- app@master");
    world_see(&w, BASES, WORLD_MASTER,
              "b0"); /* another one, without the app, of files that are known */
    world_is(&w, BASE, "blocked", "base-cycle");
    world_is(&w, APP, "blocked", "base-missing");
    world_push(&w, BASES, "b3", "FROM scratch\n");
    world_build(&w, "one", "base", "x");
    world_publish(&w);
    world_build(&w, "one", "app", "y");
    world_publish(&w);
    world_is(&w, APP, "published", "published");
    world_done(&w);
}

static void test_a_base_of_ours_that_is_missing_blocks(void **state)
{
    struct world w;
    world_base_and_app(&w);
    world_push(&w, APPS, "a2", "FROM r.test/osf/base:none\n");
    world_is(&w, APP, "blocked", "base-missing");
    world_says(&w, APP, "base r.test/osf/base:none is not published");
    VEC_FOREACH (&w.todo, e)
        assert_int_not_equal(e->kind, EFFECT_RESOLVE_BASE); /* never from outside instead */
    vec_push(&world_find_image(&w, "app")->platforms, PLATFORM_ARM64);
    world_reload(&w);
    world_push(&w, APPS, "a3", ON); /* arm64 is new to what is published: it does not gate */
    world_build(&w, "one", "app", "z");
    world_publish(&w);
    world_is(&w, APP, "published", "published");
    world_done(&w);
}

static void test_a_base_without_the_platform_blocks(void **state)
{
    struct world w;
    world_init(&w);
    world_image(&w, "base", BASES, WORLD_MASTER, "./mk");
    struct farm_image *app = world_image(&w, "app", APPS, WORLD_MASTER, NULL);
    vec_push(&app->platforms, PLATFORM_ARM64);
    world_start(&w);
    world_board(&w, "one");
    world_push(&w, BASES, "b1", NULL);
    world_settle(&w, NULL);
    world_push(&w, APPS, "a1", ON);
    world_is(&w, APP, "blocked", "base-missing");
    world_says(&w, APP, "linux/arm64: base r.test/osf/base:latest has no linux/arm64");
    world_done(&w);
}

/* What was asked for is answered: `digest` NULL: it failed, and perhaps there is no such thing. */
static void resolve(struct world *w, const char *digest, bool gone)
{
    struct effect e = world_take(w, EFFECT_RESOLVE_BASE);
    struct base_child child = {PLATFORM_AMD64, digest};
    world_begin(w, 1);
    if (digest)
        model_on_base(w->m, e.reference, digest, &child, 1, false);
    else
        model_on_base_failed(w->m, e.reference, gone, "no answer", 0);
    world_end(w);
    effect_done(&e);
}

static void test_a_base_from_outside_is_looked_up_and_polled(void **state)
{
    char one[DIGEST_SIZE], two[DIGEST_SIZE];
    struct world w;
    digest_of("1", 1, one);
    digest_of("2", 1, two);
    one_app(&w);
    world_push(&w, APPS, "a1", "FROM debian:12\n");
    world_is(&w, APP, "waiting", "resolving-base");
    resolve(&w, NULL, false);
    world_is(&w, APP, "waiting", "registry-away");
    world_wait(&w, 5000);
    resolve(&w, NULL, true);
    world_is(&w, APP, "blocked", "base-missing");
    world_wait(&w, 10000);
    resolve(&w, one, false);
    world_build(&w, "one", "app", "x");
    world_publish(&w);
    /* polled: the same, away, another */
    world_wait(&w, w.farm->base_poll_ms);
    resolve(&w, one, false);
    world_is(&w, APP, "published", "published");
    world_wait(&w, w.farm->base_poll_ms);
    resolve(&w, NULL, false);
    world_is(&w, APP, "published", "published"); /* the last digest stays good */
    world_wait(&w, 5000);
    resolve(&w, two, false);
    assert_string_equal(world_text(&w, APP, "why", "code"), "input-changed");
    world_build(&w, "one", "app", "y");
    world_publish(&w);
    world_is(&w, APP, "published", "published");
    world_done(&w);
}

/* ---- what cannot be built ---- */

static void test_what_cannot_be_built_says_why(void **state)
{
    struct world w;
    one_app(&w);
    world_see(&w, APPS, WORLD_MASTER, "a1");
    world_is(&w, APP, "waiting", "inspecting");
    struct effect e = world_take(&w, EFFECT_INSPECT);
    world_begin(&w, 1);
    model_on_context_failed(w.m, e.source, e.commit, e.path, e.dockerfile, "away");
    world_end(&w);
    effect_done(&e);
    world_is(&w, APP, "waiting", "source-away");
    world_wait(&w, 5000);
    e = world_take(&w, EFFECT_INSPECT);
    world_begin(&w, 1);
    model_on_context(
        w.m, e.source, e.commit, e.path, e.dockerfile,
        &(struct context_facts){.exists = true, .id = "sha256:1", .error = "too large"});
    world_end(&w);
    effect_done(&e);
    world_is(&w, APP, "blocked", "context-refused");
    world_push(&w, APPS, "a2", NULL);
    world_is(&w, APP, "blocked", "dockerfile");
    world_push(&w, APPS, "a3",
               "FROM --platform=linux/arm64 scratch AS a\nFROM --platform=nonsense b\n");
    world_is(&w, APP, "blocked", "dockerfile");
    world_push(&w, APPS, "a4", "FROM scratch\n");
    world_is(&w, APP, "building", "boards-busy");
    world_done(&w);
}

static void test_what_farm_yaml_names_no_more_is_left_as_it_is(void **state)
{
    struct world w;
    world_base_and_app(&w);
    int64_t generation = tag(&w, "r.test/osf/app", "latest")->generation;
    str_replace(&world_find_image(&w, "app")->name, "other");
    farm_sort(w.farm);
    world_reload(&w);
    world_is(&w, APP, "unknown", "not-configured");
    assert_int_equal(tag(&w, "r.test/osf/app", "latest")->generation, generation);
    world_done(&w);
}

static void test_what_a_person_cancelled_waits_for_a_new_key_or_a_person(void **state)
{
    struct err err = ERR_INIT;
    struct world w;
    world_base_alone(&w);
    world_push(&w, BASES, "c1", NULL);
    world_begin(&w, 1);
    assert_int_equal(model_on_cancel_build(w.m, track_find(w.m, BASE)->build, &err), 0);
    world_end(&w);
    world_is(&w, BASE, "cancelled", "cancelled");
    world_restart(&w);
    world_wait(&w, 48 * 60 * MINUTE);
    world_is(&w, BASE, "cancelled", "cancelled");
    world_push(&w, BASES, "c2", NULL);
    assert_int_equal(world_settle(&w, NULL), 1);
    world_is(&w, BASE, "published", "published");
    world_done(&w);
}

/* ---- what a board is shown as ---- */

static void test_farm_yaml_adds_labels_to_a_board(void **state)
{
    struct world w;
    world_init(&w);
    struct farm_board_rule rule = {.pattern = xstrdup("on*"), .min_disk = -1};
    strvec_add(&rule.labels, "slow");
    vec_push(&w.farm->boards, rule);
    world_start(&w);
    world_board(&w, "one");
    json_t *view = view_boards(w.m), *board = json_array_get(json_object_get(view, "boards"), 0);
    json_t *labels = json_object_get(board, "labels");
    assert_int_equal(json_array_size(labels), 1);
    assert_string_equal(json_string_value(json_array_get(labels, 0)), "slow");
    json_decref(view);
    world_done(&w);
}

static void test_dockerfiles_go_to_boards_with_buildah(void **state)
{
    struct world w;
    world_init(&w);
    w.no_buildah = true;
    world_image(&w, "base", BASES, WORLD_MASTER, NULL);
    world_image(&w, "tree", APPS, WORLD_MASTER, "./make");
    world_start(&w);
    world_board(&w, "one");
    world_push(&w, BASES, "c1", "FROM scratch\n");
    world_push(&w, APPS, "c1", NULL);
    struct wire_poll_response got = world_poll(&w, "one");
    assert_int_equal(got.leases.n, 1);
    assert_string_equal(got.leases.items[0].job.image, "tree");
    world_succeed(&w, &got.leases.items[0], "t");
    wire_poll_response_done(&got);
    assert_non_null(strstr(world_text(&w, BASE, "reason", "text"), "install buildah"));
    w.no_buildah = false; /* it was installed, and the agent started anew */
    world_session(&w, "one", "b", (int64_t)1 << 30, NULL);
    world_build(&w, "one", "base", "a");
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_commit_that_changes_other_files_builds_nothing),
        cmocka_unit_test(test_tracks_with_one_key_share_its_job),
        cmocka_unit_test(test_a_cancelled_build_does_not_keep_a_shared_job),
        cmocka_unit_test(test_packing_alone_replaces_the_manifest_and_ripples_nothing),
        cmocka_unit_test(test_one_publication_of_a_repository_at_a_time),
        cmocka_unit_test(test_newer_keys_supersede_before_the_first_tag),
        cmocka_unit_test(test_from_the_first_tag_on_it_runs_to_its_end),
        cmocka_unit_test(test_superseded_twice_it_may_finish),
        cmocka_unit_test(test_what_may_finish_waits_for_no_base),
        cmocka_unit_test(test_a_dependent_waits_an_hour_at_most),
        cmocka_unit_test(test_each_wait_is_a_whole_one),
        cmocka_unit_test(test_a_broken_base_does_not_stop_its_dependents),
        cmocka_unit_test(test_a_base_that_backs_off_is_not_waited_for),
        cmocka_unit_test(test_a_cycle_is_blocked_and_named),
        cmocka_unit_test(test_a_base_of_ours_that_is_missing_blocks),
        cmocka_unit_test(test_a_base_without_the_platform_blocks),
        cmocka_unit_test(test_a_base_from_outside_is_looked_up_and_polled),
        cmocka_unit_test(test_what_cannot_be_built_says_why),
        cmocka_unit_test(test_what_farm_yaml_names_no_more_is_left_as_it_is),
        cmocka_unit_test(test_what_a_person_cancelled_waits_for_a_new_key_or_a_person),
        cmocka_unit_test(test_farm_yaml_adds_labels_to_a_board),
        cmocka_unit_test(test_dockerfiles_go_to_boards_with_buildah),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
