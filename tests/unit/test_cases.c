/* What an operator meets: cases that several rules of ARCHITECTURE.md's table decide together. */
#include "common/digest.h"
#include "daemon/model/objects.h"
#include "tests/lib/model_commands.h"
#include "tests/lib/model_farm.h"

#include <errno.h>

#define ARM64 "linux/arm64"

static const char *const two_platforms[] = {"linux/amd64", ARM64, NULL};

/* Tags v1, v2, … with `latest`; `refs` are published. */
static struct farm_image *by_version(struct world *w, const char *const *refs)
{
    struct farm_image *image = world_base(w);
    str_replace(&image->ref, "refs/tags/v*");
    str_replace(&image->tags.items[0], "$version");
    strvec_add(&image->tags, "latest");
    vec_push(&image->args, (struct farm_pair){xstrdup("V"), xstrdup("$version")});
    image->history = FARM_HISTORY_ALL;
    world_go(w);
    world_see_all(w, BASES, "c", refs);
    world_settle(w, NULL);
    return image;
}

static size_t children(struct world *w)
{
    return tag_find(w->m, REPO, "latest")->shown->child.n;
}

static enum job_state job_state(struct world *w, enum platform p)
{
    return track_find(w->m, BASE)->slots[p]->job->state;
}

/* What a build's row says of its end. */
static const char *end_of_build(struct world *w, int64_t id)
{
    const struct table *t = table_of(TABLE_BUILD);
    VEC_FOREACH (&w->rows, row)
        for (size_t i = 0; row->table == TABLE_BUILD && row->cells[0].i == id && i < t->n_columns;
             i++)
            if (str_eq(t->columns[i].name, "end"))
                return row->cells[i].s;
    fail_msg("no such build");
    return NULL;
}

/* ---- cancelling one platform ---- */

static void test_cancelling_one_platform(void **state)
{
    for (int optional = 0; optional < 2; optional++) {
        struct world w;
        struct err err = ERR_INIT;
        world_base_of_two(&w, optional);
        world_push(&w, BASES, "b2", NULL);
        world_begin(&w, 1);
        assert_int_equal(
            model_on_cancel_job(w.m, track_find(w.m, BASE)->slots[PLATFORM_ARM64]->key, &err), 0);
        world_end(&w);
        /* without a required one the other is of no use */
        assert_int_equal(job_state(&w, PLATFORM_AMD64) == JOB_CANCELLED, !optional);
        assert_int_equal(world_settle(&w, NULL), optional);
        world_is(&w, BASE, optional ? "published" : "cancelled",
                 optional ? "published" : "cancelled");
        world_ask(&w, COMMAND_RETRY, BASE);
        assert_int_equal(world_settle(&w, NULL), optional ? 1 : 2);
        world_is(&w, BASE, "published", "published");
        assert_int_equal(children(&w), 2);
        world_done(&w);
    }
}

/* ---- a publication that has not begun with its tags, and what comes then ---- */

/* Newer inputs alone do not end it: what is built already is published, and then what they bring. */
static void test_newer_inputs_let_a_publication_go_on(void **state)
{
    struct world w;
    world_base_published(&w);
    world_push(&w, BASES, "b2", NULL);
    world_build(&w, "one", "base", "two");
    world_retain(&w);
    world_push(&w, BASES, "b3", NULL);
    world_is(&w, BASE, "building", "boards-busy");
    assert_string_equal(end_of_build(&w, 2),
                        "newer inputs; its publication, generation 2, goes on");
    world_publish(&w);
    assert_int_equal(world_tag(&w, REPO, "latest"), 2);
    world_settle(&w, NULL);
    assert_int_equal(world_tag(&w, REPO, "latest"), 3);
    world_done(&w);
}

/* ---- promote ---- */

/* In a freeze every track is held, and keeps its tags; but what is promoted takes what it would own. */
static void test_promote_takes_latest_in_a_freeze(void **state)
{
    static const char *const two[] = {"refs/tags/v1", "refs/tags/v2", NULL};
    struct world w;
    by_version(&w, (const char *const[]){"refs/tags/v1", NULL});
    world_ask(&w, COMMAND_FREEZE, NULL);
    world_see_all(&w, BASES, "c", two);
    world_settle(&w, NULL);
    world_is(&w, "base@v2", "held", "frozen");
    world_ask(&w, COMMAND_PROMOTE, "base@v2");
    world_settle(&w, NULL);
    assert_string_equal(world_tag_digest(&w, REPO, "latest"), world_tag_digest(&w, REPO, "2"));
    int64_t latest = world_tag(&w, REPO, "latest");
    world_ask(&w, COMMAND_THAW, NULL);
    world_settle(&w, NULL);
    assert_int_equal(world_tag(&w, REPO, "latest"), latest);
    world_done(&w);
}

/* It is of a build that is finished; newer inputs before its publication is decided are held again. */
static void test_promote_and_newer_inputs(void **state)
{
    struct world w;
    world_base_published(&w);
    world_ask(&w, COMMAND_HOLD, BASE);
    world_push(&w, BASES, "b2", NULL);
    struct command c = {.verb = COMMAND_PROMOTE, .track = BASE};
    world_refused(&w, &c, -EBUSY, "base@master has no finished build to promote");
    world_build(&w, "one", "base", "two");
    world_do(&w, &c);
    world_is(&w, BASE, "publishing", "retaining");
    world_push(&w, BASES, "b3", NULL);
    world_settle(&w, NULL);
    world_is(&w, BASE, "held", "held");
    assert_int_equal(world_tag(&w, REPO, "latest"), 1);
    world_done(&w);
}

/* ---- returns, and what has stopped or is retired ---- */

static void test_a_return_to_an_index_with_a_retired_platform(void **state)
{
    struct world w;
    world_base_of_two(&w, false);
    struct command c = {.verb = COMMAND_RETIRE, .track = BASE, .platform = ARM64};
    world_do(&w, &c);
    world_settle(&w, NULL);
    assert_int_equal(children(&w), 1);
    world_ask(&w, COMMAND_ROLLBACK, BASE);
    world_settle(&w, NULL);
    assert_int_equal(children(&w), 2);
    world_ask(&w, COMMAND_RELEASE, BASE);
    world_settle(&w, NULL);
    assert_int_equal(children(&w), 1);
    world_done(&w);
}

static void release_says(struct world *w, const char *text)
{
    struct err err = ERR_INIT;
    struct command_answer a = {0};
    const struct command c = {.verb = COMMAND_RELEASE, .track = BASE};
    world_begin(w, 1);
    assert_int_equal(model_on_command(w->m, &c, &a, &err), 0);
    world_end(w);
    assert_string_equal(a.text, text);
    command_answer_done(&a);
}

/* What was held is cancelled: it is not what waits for the release. */
static void test_a_held_build_that_is_cancelled(void **state)
{
    struct world w;
    struct err err = ERR_INIT;
    world_base_published(&w);
    world_ask(&w, COMMAND_HOLD, BASE);
    world_publish_base(&w, "b2");
    world_begin(&w, 1);
    assert_int_equal(model_on_cancel_build(w.m, track_find(w.m, BASE)->build, &err), 0);
    world_end(&w);
    release_says(&w, "base@master is released, but is cancelled: by request");
    assert_int_equal(world_settle(&w, NULL), 0);
    assert_int_equal(world_tag(&w, REPO, "latest"), 1);
    world_ask(&w, COMMAND_RETRY, BASE);
    assert_int_equal(world_settle(&w, NULL), 0); /* it is built already */
    assert_int_equal(world_tag(&w, REPO, "latest"), 2);
    world_done(&w);
}

/* There is no newest build that could be published: it stays where it was put. */
static void test_a_deleted_track_that_is_released_stays(void **state)
{
    struct world w;
    world_base_published(&w);
    world_publish_base(&w, "b2");
    for (int i = 0; i < 2; i++)
        world_see(&w, BASES, "refs/heads/another", "b2");
    world_ask(&w, COMMAND_ROLLBACK, BASE);
    world_settle(&w, NULL);
    int64_t back = world_tag(&w, REPO, "latest");
    assert_int_equal(back, 3);
    release_says(&w, "base@master is released, but is deleted: refs/heads/master is gone upstream; "
                     "its tags stay");
    world_settle(&w, NULL);
    world_is(&w, BASE, "deleted", "ref-deleted");
    assert_int_equal(world_tag(&w, REPO, "latest"), back);
    world_done(&w);
}

/* Its tags go to the one below it, which sleeps on: it is not built when its inputs change. */
static void test_what_is_retired_wakes_no_older_version(void **state)
{
    static const char *const both[] = {"refs/tags/v1.1", "refs/tags/v1.2", NULL};
    struct world w;
    struct farm_image *image = by_version(&w, (const char *const[]){"refs/tags/v1.1", NULL});
    image->maintain = FARM_MAINTAIN_MAJOR;
    world_reload(&w);
    world_see_all(&w, BASES, "c", both);
    world_settle(&w, NULL);
    world_is(&w, "base@v1.1", "dormant", "dormant");
    world_ask(&w, COMMAND_RETIRE, "base@v1.2");
    assert_int_equal(world_settle(&w, NULL), 0);
    assert_string_equal(world_tag_digest(&w, REPO, "latest"), world_tag_digest(&w, REPO, "1.1"));
    str_replace(&image->args.items[0].value, "another $version");
    world_reload(&w);
    assert_int_equal(world_settle(&w, NULL), 0);
    world_is(&w, "base@v1.1", "dormant", "dormant");
    world_ask(&w, COMMAND_WAKE, "base@v1.1");
    assert_int_equal(world_settle(&w, NULL), 1);
    world_done(&w);
}

/* A held version sleeps when a newer one of its series is published; the tags that it has stay with it until it is
 * released, and then go to that one without a build. */
static void test_a_held_version_sleeps_and_keeps_its_tags(void **state)
{
    static const char *const both[] = {"refs/tags/v1.1", "refs/tags/v1.2", NULL};
    struct world w;
    struct farm_image *image = by_version(&w, (const char *const[]){"refs/tags/v1.1", NULL});
    image->maintain = FARM_MAINTAIN_MAJOR;
    world_reload(&w);
    world_ask(&w, COMMAND_HOLD, "base@v1.1");
    world_see_all(&w, BASES, "c", both);
    world_settle(&w, NULL);
    world_is(&w, "base@v1.1", "dormant", "dormant");
    world_is(&w, "base@v1.2", "published", "held");
    world_says(&w, "base@v1.2", "tag latest stays with base@v1.1, which is held");
    assert_string_equal(world_tag_digest(&w, REPO, "latest"), world_tag_digest(&w, REPO, "1.1"));
    world_restart(&w);
    world_ask(&w, COMMAND_RELEASE, "base@v1.1");
    world_session(&w, "one", "one", (int64_t)1 << 30, NULL);
    assert_int_equal(world_settle(&w, NULL), 0);
    world_is(&w, "base@v1.1", "dormant", "dormant");
    assert_string_equal(world_tag_digest(&w, REPO, "latest"), world_tag_digest(&w, REPO, "1.2"));
    world_done(&w);
}

/* ---- a tag that somebody deleted, and no `enforce` ---- */

/* The one lease, with the content that is published already. */
static void build_the_same(struct world *w)
{
    struct wire_poll_response got;
    const struct wire_lease *lease = world_lease(w, "one", "base", &got);
    cleanup_free char *content = xstrdup(track_find(w->m, BASE)->last->child.items[0].content);
    world_succeed_as(w, lease, content, content);
    wire_poll_response_done(&got);
}

/* It is left so by a build that changes nothing, and is put right by the next one that does. */
static void test_a_deleted_tag_and_the_next_build(void **state)
{
    struct world w;
    struct err err = ERR_INIT;
    world_base_published(&w);
    world_begin(&w, 1);
    assert_int_equal(model_on_audit(w.m, REPO, &err), 0);
    world_end(&w);
    struct effect e = world_take(&w, EFFECT_AUDIT);
    const struct audited seen = {"latest", world_tag_digest(&w, REPO, "latest"), NULL};
    world_begin(&w, 1);
    model_on_audited(w.m, e.repository, &seen, 1);
    world_end(&w);
    effect_done(&e);
    world_ask(&w, COMMAND_REBUILD, BASE);
    world_inspect(&w, NULL);
    build_the_same(&w);
    world_settle(&w, NULL);
    assert_true(world_attention(&w, "tag-deleted"));
    assert_int_equal(world_tag(&w, REPO, "latest"), 1);
    world_publish_base(&w, "b2");
    assert_false(world_attention(&w, "tag-deleted"));
    assert_int_equal(world_tag(&w, REPO, "latest"), 2);
    world_done(&w);
}

/* ---- newer inputs that cannot be built ---- */

static void see_elsewhere(struct world *w, const char *commit)
{
    for (int i = 0; i < 2; i++) {
        const struct seen_ref seen = {.name = WORLD_MASTER, .commit = commit, .descends = false};
        world_begin(w, 1);
        model_on_refs(w->m, BASES, &seen, 1);
        world_end(w);
    }
}

/* What is being built goes on, and waits: it is published if the ref comes back to it. */
static void test_newer_inputs_that_cannot_be_built(void **state)
{
    struct world w;
    world_base_published(&w);
    world_push(&w, BASES, "b2", NULL);
    world_see(&w, BASES, WORLD_MASTER, "b3");
    struct effect e = world_take(&w, EFFECT_INSPECT);
    world_begin(&w, 1);
    model_on_context(w.m, e.source, e.commit, e.path, e.dockerfile,
                     &(struct context_facts){.exists = true, .error = "too large", .id = "x"});
    world_end(&w);
    effect_done(&e);
    assert_int_equal(world_settle(&w, NULL), 1);
    world_is(&w, BASE, "blocked", "context-refused");
    assert_int_equal(world_tag(&w, REPO, "latest"), 1);
    world_restart(&w);
    assert_int_equal(track_find(w.m, BASE)->build, 2);
    see_elsewhere(&w, "b2");
    assert_int_equal(world_settle(&w, NULL), 0);
    world_is(&w, BASE, "published", "published");
    assert_int_equal(world_tag(&w, REPO, "latest"), 2);
    world_done(&w);
}

/* ---- platforms ---- */

/* The folder ARM64 is gone in b2. */
static void folder_goes(struct world *w)
{
    while (world_asked(w, EFFECT_INSPECT)) {
        struct effect e = world_take(w, EFFECT_INSPECT);
        bool gone = str_eq(e.path, "arm64");
        char id[DIGEST_SIZE];
        digest_of(e.commit, strlen(e.commit), id);
        world_begin(w, 1);
        model_on_context(
            w->m, e.source, e.commit, e.path, e.dockerfile,
            &(struct context_facts){.exists = !gone, .id = gone ? NULL : id, .time = 1600000000});
        world_end(w);
        effect_done(&e);
    }
}

/* A required one that goes blocks, until farm.yaml names it no more; an optional one is in nobody's way. Either keeps its
 * last child. */
static void test_a_folder_that_goes(void **state)
{
    for (int optional = 0; optional < 2; optional++) {
        struct world w;
        struct farm_image *image = world_base(&w);
        str_replace(&image->context, "$arch");
        platformvec *list = optional ? &image->optional : &image->platforms;
        vec_push(list, PLATFORM_ARM64);
        w.platforms = two_platforms;
        world_go(&w);
        world_see(&w, BASES, WORLD_MASTER, "b1");
        world_settle(&w, NULL);
        assert_int_equal(children(&w), 2);
        world_see(&w, BASES, WORLD_MASTER, "b2");
        folder_goes(&w);
        world_is(&w, BASE, optional ? "building" : "blocked",
                 optional ? "running" : "context-gone");
        list->n--;
        world_reload(&w);
        folder_goes(&w);
        world_settle(&w, NULL);
        world_is(&w, BASE, "published", "published");
        assert_int_equal(world_tag(&w, REPO, "latest"), 2);
        assert_int_equal(children(&w), 2);
        world_done(&w);
    }
}

/* A required platform that is new and fails is in nobody's way: its cell says so, and the build has ended by then. */
static void test_a_new_required_platform_that_fails(void **state)
{
    struct world w;
    struct farm_image *image = world_base(&w);
    w.platforms = two_platforms;
    world_go(&w);
    world_publish_base(&w, "b1");
    vec_push(&image->platforms, PLATFORM_ARM64);
    world_reload(&w);
    world_break_platform(&w, ARM64, 3);
    world_is(&w, BASE, "published", "published");
    assert_int_equal(track_find(w.m, BASE)->current->state, BUILD_UNCHANGED);
    json_t *view = view_track(w.m, BASE);
    const json_t *cell = json_array_get(json_object_get(view, "cells"), 1);
    assert_string_equal(json_string_value(json_object_get(json_object_get(cell, "reason"), "code")),
                        "job-failed");
    json_decref(view);
    world_push(&w, BASES, "b2", NULL);
    world_break_platform(&w, ARM64, 3);
    assert_int_equal(world_tag(&w, REPO, "latest"), 2);
    world_ask(&w, COMMAND_RETRY, BASE);
    world_settle(&w, NULL);
    assert_int_equal(children(&w), 2);
    world_push(&w, BASES, "b3", NULL);
    world_break_platform(&w, ARM64, 3); /* now it gates */
    world_is(&w, BASE, "failed", "job-failed");
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cancelling_one_platform),
        cmocka_unit_test(test_newer_inputs_let_a_publication_go_on),
        cmocka_unit_test(test_promote_takes_latest_in_a_freeze),
        cmocka_unit_test(test_promote_and_newer_inputs),
        cmocka_unit_test(test_a_return_to_an_index_with_a_retired_platform),
        cmocka_unit_test(test_a_held_build_that_is_cancelled),
        cmocka_unit_test(test_a_deleted_track_that_is_released_stays),
        cmocka_unit_test(test_a_held_version_sleeps_and_keeps_its_tags),
        cmocka_unit_test(test_a_deleted_tag_and_the_next_build),
        cmocka_unit_test(test_newer_inputs_that_cannot_be_built),
        cmocka_unit_test(test_what_is_retired_wakes_no_older_version),
        cmocka_unit_test(test_a_folder_that_goes),
        cmocka_unit_test(test_a_new_required_platform_that_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
