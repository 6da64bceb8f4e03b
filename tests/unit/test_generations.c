/* Generations (rules 2.1 and P.3): each decision to publish takes the next one, and the same children are the same bytes. */
#include "daemon/model/objects.h"
#include "tests/lib/model_commands.h"
#include "tests/lib/model_steps.h"

#define SOURCE "https://git.test/a.git"
#define OTHERS "https://git.test/b.git"
#define BASE   "r.test/osf/base"
#define TRACK  "base@master"

static void farm(struct world *w)
{
    world_init(w);
    world_image(w, "base", SOURCE, WORLD_MASTER, "./mk");
    world_image(w, "other", OTHERS, WORLD_MASTER, "./other");
    world_start(w);
    world_board(w, "one");
}

static void publish(struct world *w, const char *commit, const char *content)
{
    world_push(w, SOURCE, commit, NULL);
    world_build(w, "one", "base", content);
    world_publish(w);
    world_is(w, TRACK, "published", "published");
}

static int64_t generation(struct world *w, const char *repository)
{
    const struct tag *t = tag_find(w->m, repository, "latest");
    assert_non_null(t);
    assert_non_null(t->shown);
    assert_int_equal(t->generation, t->shown->generation);
    return t->generation;
}

static const struct publication *shown(struct world *w)
{
    return tag_find(w->m, BASE, "latest")->shown;
}

/* Builds, returns, pins, releases and promotions, whatever index they name, and over restarts. */
static void test_every_decision_takes_the_next_generation(void **state)
{
    struct world w;
    struct command pin = {.verb = COMMAND_PIN, .track = TRACK, .publication = "3"};
    farm(&w);
    publish(&w, "c1", "x");
    assert_int_equal(generation(&w, BASE), 1);
    publish(&w, "c2", "y");
    assert_int_equal(generation(&w, BASE), 2);
    world_ask(&w, COMMAND_ROLLBACK, TRACK);
    world_publish(&w);
    assert_int_equal(generation(&w, BASE), 3);
    world_restart(&w);
    assert_int_equal(generation(&w, BASE), 3);
    world_ask(&w, COMMAND_RELEASE, TRACK); /* what c2 gave is what it names again */
    world_publish(&w);
    assert_int_equal(generation(&w, BASE), 4);
    world_do(&w, &pin);
    world_publish(&w);
    assert_int_equal(generation(&w, BASE), 5);
    world_restart(&w);
    world_ask(&w, COMMAND_PROMOTE, TRACK);
    world_publish(&w);
    assert_int_equal(generation(&w, BASE), 6);
    world_ask(&w, COMMAND_RELEASE, TRACK);
    world_publish(&w);
    assert_int_equal(generation(&w, BASE), 6); /* nothing is decided: it is there already */
    publish(&w, "c3", "x");
    assert_int_equal(generation(&w, BASE), 7);
    world_done(&w);
}

/* One that was given up has taken its number; the next one has another, after a restart too. */
static void test_a_generation_that_was_given_up_is_not_taken_again(void **state)
{
    struct world w;
    farm(&w);
    world_push(&w, SOURCE, "c1", NULL);
    world_build(&w, "one", "base", "x");
    world_retain(&w);
    world_ask(&w, COMMAND_FREEZE, NULL);
    world_restart(&w);
    world_ask(&w, COMMAND_THAW, NULL);
    world_publish(&w);
    assert_int_equal(generation(&w, BASE), 2);
    world_done(&w);
}

static void test_each_repository_counts_its_own(void **state)
{
    struct world w;
    farm(&w);
    publish(&w, "c1", "x");
    publish(&w, "c2", "y");
    world_push(&w, OTHERS, "o1", NULL);
    world_build(&w, "one", "other", "z");
    world_publish(&w);
    assert_int_equal(generation(&w, "r.test/osf/other"), 1);
    assert_int_equal(generation(&w, BASE), 2);
    world_done(&w);
}

/* The second has another commit, another date, and labels that would be annotations of its index. */
static void test_same_children_are_the_same_bytes(void **state)
{
    struct world w;
    farm(&w);
    publish(&w, "c1", "x");
    cleanup_free char *bytes = xstrdup(shown(&w)->bytes), *digest = xstrdup(shown(&w)->digest);
    assert_non_null(strstr(bytes, "\"c1\"")); /* org.opencontainers.image.revision */
    publish(&w, "c2", "y");
    assert_string_not_equal(shown(&w)->bytes, bytes);
    w.wall += (int64_t)1000 * 24 * 60 * 60 * 1000;
    publish(&w, "c3", "x");
    assert_int_equal(generation(&w, BASE), 3);
    assert_string_equal(shown(&w)->bytes, bytes);
    assert_string_equal(shown(&w)->digest, digest);
    world_ask(&w, COMMAND_ROLLBACK, TRACK);
    world_publish(&w);
    world_restart(&w);
    world_ask(&w, COMMAND_RELEASE, TRACK);
    world_publish(&w);
    assert_int_equal(generation(&w, BASE), 5);
    assert_string_equal(shown(&w)->bytes, bytes);
    assert_string_equal(world_tag_digest(&w, BASE, "latest"), digest);
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_decision_takes_the_next_generation),
        cmocka_unit_test(test_a_generation_that_was_given_up_is_not_taken_again),
        cmocka_unit_test(test_each_repository_counts_its_own),
        cmocka_unit_test(test_same_children_are_the_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
