/* What the table of ARCHITECTURE.md lets a reader predict of cases that nobody had thought of. */
#include "common/digest.h"
#include "daemon/model/objects.h"
#include "tests/lib/model_commands.h"
#include "tests/lib/model_farm.h"

#include <errno.h>

#define ARM64 "linux/arm64"
#define OTHER "r.test/osf/other"
#define MAIN  "base@main"
#define HAND  "sha256:4242424242424242424242424242424242424242424242424242424242424242"

/* The images `a` and `b`, published in one repository under the tags x and `of_b`. */
static void two_images(struct world *w, const char *of_b)
{
    world_init(w);
    for (int k = 0; k < 2; k++) {
        struct farm_image *image =
            world_image(w, k ? "b" : "a", k ? APPS : BASES, WORLD_MASTER, k ? "./b" : "./a");
        str_replace(&image->repository, REPO);
        str_replace(&image->tags.items[0], k ? of_b : "x");
    }
    world_go(w);
    world_publish_base(w, "a1");
    world_push(w, APPS, "b1", NULL);
    world_settle(w, NULL);
}

static void retag(struct world *w, const char *image, const char *tag)
{
    str_replace(&world_find_image(w, image)->tags.items[0], tag);
}

/* Asks; the answer's text has to be `says`. */
static void answered(struct world *w, const struct command *c, const char *says)
{
    struct err err = ERR_INIT;
    struct command_answer a = {0};
    world_begin(w, 1);
    assert_int_equal(model_on_command(w->m, c, &a, &err), 0);
    world_end(w);
    assert_string_equal(a.text, says);
    command_answer_done(&a);
}

static void of_base(struct world *w, enum command_verb verb, const char *says)
{
    answered(w, &(struct command){.verb = verb, .track = BASE}, says);
}

static void cancel(struct world *w)
{
    struct err err = ERR_INIT;
    world_begin(w, 1);
    assert_int_equal(model_on_cancel_build(w->m, track_find(w->m, BASE)->build, &err), 0);
    world_end(w);
}

static void publish_to(struct world *w, const char *repository)
{
    str_replace(&world_find_image(w, "base")->repository, repository);
    world_reload(w);
    world_settle(w, NULL);
}

static size_t children(struct world *w)
{
    return tag_find(w->m, REPO, "latest")->shown->child.n;
}

/* ---- commands ---- */

/* Its tags in another repository are not those that were pinned: they stay, and it is held there. Back, it is pinned. */
static void test_a_pin_of_another_repository(void **state)
{
    struct world w;
    world_base_published(&w);
    world_publish_base(&w, "b2");
    publish_to(&w, OTHER);
    publish_to(&w, REPO);
    struct command pin = {.verb = COMMAND_PIN, .track = BASE, .publication = "1"};
    world_do(&w, &pin);
    world_settle(&w, NULL);
    int64_t pinned = world_tag(&w, REPO, "latest"), other = world_tag(&w, OTHER, "latest");
    publish_to(&w, OTHER);
    world_is(&w, BASE, "published", "published");
    assert_int_equal(world_tag(&w, OTHER, "latest"), other);
    world_publish_base(&w, "b3");
    world_restart(&w);
    world_is(&w, BASE, "held", "pinned");
    world_says(&w, BASE, "pinned to publication 1 of " REPO " by a person");
    assert_int_equal(world_tag(&w, OTHER, "latest"), other);
    publish_to(&w, REPO);
    assert_int_equal(world_tag(&w, REPO, "latest"), pinned);
    world_done(&w);
}

/* The build ends without the optional platform, which is being rebuilt all the same. */
static void test_an_optional_rebuild_is_asked_for_once(void **state)
{
    struct world w;
    world_base_of_two(&w, true);
    struct command c = {.verb = COMMAND_REBUILD, .track = BASE, .platform = ARM64};
    assert_true(world_do(&w, &c));
    world_is(&w, BASE, "published", "published");
    answered(&w, &c, "base@master is being rebuilt already");
    assert_int_equal(world_settle(&w, NULL), 1);
    assert_true(world_do(&w, &c));
    world_done(&w);
}

static void test_retry_of_what_the_registry_could_not_keep(void **state)
{
    struct world w;
    world_base_published(&w);
    world_push(&w, BASES, "b2", NULL);
    world_build(&w, "one", "base", "two");
    struct effect e = world_take(&w, EFFECT_RETAIN);
    world_begin(&w, 1);
    model_on_retain_failed(w.m, e.repository, e.tags.items[0].tag, e.digest, PUBLISH_AWAY, "away",
                           0);
    world_end(&w);
    effect_done(&e);
    world_is(&w, BASE, "publishing", "registry-away");
    of_base(&w, COMMAND_RETRY, "base@master is tried again now");
    assert_true(world_asked(&w, EFFECT_RETAIN));
    of_base(&w, COMMAND_RETRY,
            "nothing of base@master has failed or waits to be tried again: it is publishing: "
            "keeping linux/amd64: away");
    world_settle(&w, NULL);
    assert_int_equal(world_tag(&w, REPO, "latest"), 2);
    world_done(&w);
}

/* A person is told what it comes to, though it may be asked. */
static void test_holding_what_has_stopped(void **state)
{
    struct world w;
    world_base_published(&w);
    world_ask(&w, COMMAND_RETIRE, BASE);
    of_base(&w, COMMAND_HOLD,
            "base@master is held, but is retired and not built; it publishes nothing until it is "
            "released");
    world_ask(&w, COMMAND_WAKE, BASE);
    world_publish_base(&w, "b2");
    world_is(&w, BASE, "held", "held");
    world_done(&w);
}

static void test_waking_a_platform_that_farm_yaml_does_not_name(void **state)
{
    struct world w;
    struct farm_image *image = world_base_of_two(&w, false);
    struct command c = {.verb = COMMAND_RETIRE, .track = BASE, .platform = ARM64};
    world_do(&w, &c);
    image->platforms.n--;
    world_reload(&w);
    world_settle(&w, NULL);
    c.verb = COMMAND_WAKE;
    answered(&w, &c,
             "linux/arm64 of base@master is retired no more, but farm.yaml does not name it: it is "
             "built once it does");
    assert_int_equal(world_settle(&w, NULL), 0);
    assert_int_equal(children(&w), 1);
    vec_push(&image->platforms, PLATFORM_ARM64);
    world_reload(&w);
    world_settle(&w, NULL);
    assert_int_equal(children(&w), 2);
    world_done(&w);
}

/* Nothing is published there before somebody decides, whatever is asked for meanwhile. */
static void test_commands_in_a_stopped_repository(void **state)
{
    struct world w;
    struct err err = ERR_INIT;
    world_base_published(&w);
    world_publish_base(&w, "b2");
    world_audited(&w, REPO, HAND);
    world_ask(&w, COMMAND_HOLD, BASE);
    world_publish_base(&w, "b3");
    struct command promote = {.verb = COMMAND_PROMOTE, .track = BASE};
    world_refused(&w, &promote, -EBUSY, "(adopt or restore decides)");
    of_base(&w, COMMAND_RELEASE,
            "base@master is released, but r.test/osf/base has stopped: tag latest names "
            "sha256:424242424242, which this farm did not publish (adopt or restore decides)");
    world_is(&w, BASE, "blocked", "repository-stopped");
    world_says(&w, BASE, "which this farm did not publish; adopt or restore decides");
    world_ask(&w, COMMAND_ROLLBACK, BASE);
    world_settle(&w, NULL);
    assert_int_equal(world_tag(&w, REPO, "latest"), 2);
    world_begin(&w, 1);
    assert_int_equal(model_on_adopt(w.m, REPO, &err), 0);
    world_end(&w);
    world_settle(&w, NULL);
    world_is(&w, BASE, "held", "pinned");
    assert_int_equal(world_tag(&w, REPO, "latest"), 3);
    world_done(&w);
}

/* It is given up; woken, what was built is published without a build. */
static void test_retiring_before_the_first_tag(void **state)
{
    struct world w;
    world_base_published(&w);
    world_push(&w, BASES, "b2", NULL);
    world_build(&w, "one", "base", "two");
    world_retain(&w);
    world_is(&w, BASE, "publishing", "publishing");
    world_ask(&w, COMMAND_RETIRE, BASE);
    world_settle(&w, NULL);
    world_is(&w, BASE, "retired", "retired");
    assert_int_equal(world_tag(&w, REPO, "latest"), 1);
    world_ask(&w, COMMAND_WAKE, BASE);
    assert_int_equal(world_settle(&w, NULL), 0);
    assert_int_equal(world_tag(&w, REPO, "latest"), 3);
    world_done(&w);
}

/* Also where its inputs were others in between; what a board had finished by then counts for nothing. */
static void test_what_was_cancelled_and_comes_back(void **state)
{
    struct world w;
    struct wire_poll_response got;
    world_base_published(&w);
    world_push(&w, BASES, "b2", NULL);
    const struct wire_lease *lease = world_lease(&w, "one", "base", &got);
    cancel(&w);
    world_succeed(&w, lease, "two");
    assert_int_equal(w.last_status, 200);
    wire_poll_response_done(&got);
    world_push(&w, BASES, "b1", NULL);
    world_settle(&w, NULL);
    world_is(&w, BASE, "published", "published");
    world_push(&w, BASES, "b2", NULL);
    assert_int_equal(world_settle(&w, NULL), 0);
    world_is(&w, BASE, "cancelled", "cancelled");
    world_ask(&w, COMMAND_RETRY, BASE);
    assert_int_equal(world_settle(&w, NULL), 1);
    world_is(&w, BASE, "published", "published");
    world_done(&w);
}

/* It goes on for what follows, until a rebuild is asked for that is not so. */
static void test_no_cache_is_for_what_follows_too(void **state)
{
    struct world w;
    world_base_published(&w);
    struct command c = {.verb = COMMAND_REBUILD, .track = BASE, .no_cache = true};
    world_do(&w, &c);
    world_settle(&w, NULL);
    for (int no_cache = 1; no_cache >= 0; no_cache--) {
        struct wire_poll_response got;
        world_push(&w, BASES, no_cache ? "b2" : "b3", NULL);
        struct wire_lease *lease = world_lease(&w, "one", "base", &got);
        assert_int_equal(lease->job.no_cache, no_cache);
        world_succeed(&w, lease, lease->job.key);
        wire_poll_response_done(&got);
        world_settle(&w, NULL);
        world_ask(&w, COMMAND_REBUILD, BASE);
        world_settle(&w, NULL);
    }
    world_done(&w);
}

/* Its base is not under way any more: it is built on what that published last. */
static void test_a_base_that_is_retired_is_waited_for_no_more(void **state)
{
    struct world w;
    world_base_and_app(&w);
    world_push(&w, BASES, "b2", NULL);
    world_push(&w, APPS, "a2", ON);
    world_is(&w, APP, "waiting", "base-building");
    world_ask(&w, COMMAND_RETIRE, BASE);
    assert_int_equal(world_settle(&w, ON), 1);
    world_is(&w, APP, "published", "published");
    world_ask(&w, COMMAND_WAKE, BASE);
    assert_int_equal(world_settle(&w, ON), 2);
    world_done(&w);
}

/* ---- farm.yaml ---- */

/* The tags change hands without a build, also in turn. */
static void test_tags_that_two_images_swap(void **state)
{
    struct world w;
    two_images(&w, "y");
    cleanup_free char *x = xstrdup(world_tag_digest(&w, REPO, "x"));
    cleanup_free char *y = xstrdup(world_tag_digest(&w, REPO, "y"));
    retag(&w, "a", "y");
    retag(&w, "b", "x");
    world_reload(&w);
    assert_int_equal(world_settle(&w, NULL), 0);
    world_is(&w, "a@master", "published", "published");
    world_is(&w, "b@master", "published", "published");
    assert_string_equal(world_tag_digest(&w, REPO, "x"), y);
    assert_string_equal(world_tag_digest(&w, REPO, "y"), x);
    world_done(&w);
}

/* What was in conflict has the tag that its incumbent claims no more, but no hold is passed by. */
static void test_a_conflict_that_farm_yaml_ends_in_a_freeze(void **state)
{
    struct world w;
    two_images(&w, "x");
    world_is(&w, "b@master", "conflict", "tag-conflict");
    world_ask(&w, COMMAND_HOLD, "b@master");
    answered(&w, &(struct command){.verb = COMMAND_RELEASE, .track = "b@master"},
             "b@master is released, but is in conflict: " REPO ":x is claimed by a@master too");
    world_ask(&w, COMMAND_FREEZE, NULL);
    retag(&w, "a", "y");
    world_reload(&w);
    world_settle(&w, NULL);
    world_is(&w, "b@master", "held", "frozen");
    assert_int_equal(world_tag(&w, REPO, "x"), 1);
    world_ask(&w, COMMAND_THAW, NULL);
    assert_int_equal(world_settle(&w, NULL), 0);
    assert_string_equal(tag_find(w.m, REPO, "x")->track_id, "b@master");
    assert_string_equal(tag_find(w.m, REPO, "y")->track_id, "a@master");
    world_done(&w);
}

/* The same files under another ref are the same inputs: its tags name the index that they named. */
static void test_a_branch_that_farm_yaml_renames(void **state)
{
    struct world w;
    world_base_published(&w);
    cleanup_free char *was = xstrdup(world_tag_digest(&w, REPO, "latest"));
    str_replace(&world_find_image(&w, "base")->ref, "refs/heads/main");
    world_reload(&w);
    world_is(&w, BASE, "unknown", "not-configured");
    world_see(&w, BASES, "refs/heads/main", "b1");
    assert_int_equal(world_settle(&w, NULL), 0);
    world_is(&w, MAIN, "published", "published");
    assert_string_equal(world_tag_digest(&w, REPO, "latest"), was);
    assert_string_equal(tag_find(w.m, REPO, "latest")->track_id, MAIN);
    world_done(&w);
}

/* What an audit has found counts at once, and no more when `enforce` is gone before the first tag. */
static void test_enforce_that_comes_and_goes(void **state)
{
    struct world w;
    world_base_published(&w);
    world_audited(&w, REPO, NULL);
    assert_true(world_attention(&w, "tag-deleted"));
    struct farm_image *image = world_find_image(&w, "base");
    for (int i = 0; i < 2; i++) {
        image->enforce = true;
        world_reload(&w);
        world_is(&w, BASE, "publishing", "publishing");
        image->enforce = i;
        world_reload(&w);
        world_settle(&w, NULL);
        world_is(&w, BASE, "published", "published");
        assert_int_equal(world_tag(&w, REPO, "latest"), i ? 3 : 1);
        assert_int_equal(world_attention(&w, "tag-deleted"), !i);
    }
    world_done(&w);
}

/* The others are published at once, with its last child; required again it is in the way again. */
static void test_a_required_platform_that_becomes_optional(void **state)
{
    struct world w;
    struct farm_image *image = world_base_of_two(&w, false);
    world_push(&w, BASES, "b2", NULL);
    world_break_platform(&w, ARM64, 3);
    world_is(&w, BASE, "failed", "job-failed");
    image->platforms.n--;
    vec_push(&image->optional, PLATFORM_ARM64);
    world_reload(&w);
    world_settle(&w, NULL);
    world_is(&w, BASE, "published", "published");
    assert_int_equal(world_tag(&w, REPO, "latest"), 2);
    assert_int_equal(children(&w), 2);
    image->optional.n--;
    vec_push(&image->platforms, PLATFORM_ARM64);
    world_reload(&w);
    world_is(&w, BASE, "failed", "job-failed");
    world_done(&w);
}

/* One that runs already stays as it is: it counts from the next time. */
static void test_a_deadline_that_farm_yaml_changes(void **state)
{
    struct world w;
    struct farm_image *image = world_base_of_two(&w, true);
    image->deadline_ms = HOUR;
    world_reload(&w);
    world_push(&w, BASES, "b2", NULL);
    world_break_platform(&w, ARM64, 3);
    image->deadline_ms = 10 * MINUTE;
    world_reload(&w);
    world_wait(&w, 30 * MINUTE);
    assert_false(world_attention(&w, "stale"));
    world_wait(&w, 30 * MINUTE);
    assert_true(world_attention(&w, "stale"));
    world_ask(&w, COMMAND_RETRY, BASE);
    world_settle(&w, NULL);
    assert_false(world_attention(&w, "stale"));
    world_push(&w, BASES, "b3", NULL);
    world_break_platform(&w, ARM64, 3);
    world_wait(&w, 10 * MINUTE);
    assert_true(world_attention(&w, "stale"));
    world_done(&w);
}

/* What was being built is finished, and published without another build once farm.yaml opens the cycle. */
static void test_a_cycle_that_comes_while_it_is_built(void **state)
{
    struct world w;
    struct wire_poll_response got;
    world_base_and_app(&w);
    world_push(&w, APPS, "a2", ON);
    const struct wire_lease *lease = world_lease(&w, "one", "app", &got);
    struct farm_image *base = world_find_image(&w, "base");
    str_replace(&base->builder, "r.test/osf/app:latest");
    world_reload(&w);
    world_succeed(&w, lease, "two");
    wire_poll_response_done(&got);
    world_settle(&w, ON);
    world_is(&w, APP, "blocked", "base-cycle");
    world_is(&w, BASE, "blocked", "base-cycle");
    assert_int_equal(world_tag(&w, "r.test/osf/app", "latest"), 2);
    free(steal_ptr(base->builder));
    world_reload(&w);
    assert_int_equal(world_settle(&w, ON), 0);
    world_is(&w, APP, "published", "published");
    assert_int_equal(world_tag(&w, "r.test/osf/app", "latest"), 3);
    world_done(&w);
}

/* Its publication has ended meanwhile, and so has the build: there is nothing left to cancel. */
static void test_what_is_blocked_while_its_tags_move_has_published(void **state)
{
    struct world w;
    struct err err = ERR_INIT;
    world_base_published(&w);
    world_push(&w, BASES, "b2", NULL);
    world_build(&w, "one", "base", "two");
    world_retain(&w);
    world_step(&w); /* its tags move */
    world_see(&w, BASES, WORLD_MASTER, "b3");
    struct effect e = world_take(&w, EFFECT_INSPECT);
    world_begin(&w, 1);
    model_on_context(w.m, e.source, e.commit, e.path, e.dockerfile,
                     &(struct context_facts){.exists = true, .error = "too large", .id = "x"});
    world_end(&w);
    effect_done(&e);
    world_settle(&w, NULL);
    world_is(&w, BASE, "blocked", "context-refused");
    assert_int_equal(world_tag(&w, REPO, "latest"), 2);
    assert_int_equal(track_find(w.m, BASE)->current->state, BUILD_PUBLISHED);
    world_begin(&w, 1);
    assert_int_equal(model_on_cancel_build(w.m, 2, &err), -EBUSY);
    world_end(&w);
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_pin_of_another_repository),
        cmocka_unit_test(test_an_optional_rebuild_is_asked_for_once),
        cmocka_unit_test(test_retry_of_what_the_registry_could_not_keep),
        cmocka_unit_test(test_holding_what_has_stopped),
        cmocka_unit_test(test_waking_a_platform_that_farm_yaml_does_not_name),
        cmocka_unit_test(test_commands_in_a_stopped_repository),
        cmocka_unit_test(test_retiring_before_the_first_tag),
        cmocka_unit_test(test_what_was_cancelled_and_comes_back),
        cmocka_unit_test(test_no_cache_is_for_what_follows_too),
        cmocka_unit_test(test_a_base_that_is_retired_is_waited_for_no_more),
        cmocka_unit_test(test_tags_that_two_images_swap),
        cmocka_unit_test(test_a_conflict_that_farm_yaml_ends_in_a_freeze),
        cmocka_unit_test(test_a_branch_that_farm_yaml_renames),
        cmocka_unit_test(test_enforce_that_comes_and_goes),
        cmocka_unit_test(test_a_required_platform_that_becomes_optional),
        cmocka_unit_test(test_a_deadline_that_farm_yaml_changes),
        cmocka_unit_test(test_a_cycle_that_comes_while_it_is_built),
        cmocka_unit_test(test_what_is_blocked_while_its_tags_move_has_published),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
