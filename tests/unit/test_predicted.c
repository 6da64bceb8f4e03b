/* What the table of ARCHITECTURE.md lets a reader predict of cases that nobody had thought of. */
#include "common/digest.h"
#include "daemon/model/objects.h"
#include "tests/lib/model_commands.h"
#include "tests/lib/model_farm.h"

#include <errno.h>

#define ARM64 "linux/arm64"
#define OTHER "r.test/osf/other"
#define HAND  "sha256:4242424242424242424242424242424242424242424242424242424242424242"

static const char *const two_platforms[] = {"linux/amd64", ARM64, NULL};

static void one_image(struct world *w)
{
    world_base(w);
    world_go(w);
    world_publish_base(w, "b1");
}

/* `base` for two platforms, of which the second is optional where that is said; b1 is published. */
static struct farm_image *two_of_them(struct world *w, bool optional)
{
    struct farm_image *image = world_base(w);
    vec_push(optional ? &image->optional : &image->platforms, PLATFORM_ARM64);
    image->deadline_ms = HOUR;
    w->platforms = two_platforms;
    world_go(w);
    world_publish_base(w, "b1");
    return image;
}

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
    one_image(&w);
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
    two_of_them(&w, true);
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
    one_image(&w);
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
    one_image(&w);
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
    struct farm_image *image = two_of_them(&w, false);
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
    one_image(&w);
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

/* ---- farm.yaml ---- */

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_pin_of_another_repository),
        cmocka_unit_test(test_an_optional_rebuild_is_asked_for_once),
        cmocka_unit_test(test_retry_of_what_the_registry_could_not_keep),
        cmocka_unit_test(test_holding_what_has_stopped),
        cmocka_unit_test(test_waking_a_platform_that_farm_yaml_does_not_name),
        cmocka_unit_test(test_commands_in_a_stopped_repository),
        cmocka_unit_test(test_a_conflict_that_farm_yaml_ends_in_a_freeze),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
