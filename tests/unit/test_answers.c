/* What a registry answers to a publication, a retention or a look at a base, and what follows from it. */
#include "daemon/model/objects.h"
#include "tests/lib/model_steps.h"

#define SOURCE "https://git.test/base.git"
#define TRACK  "base@master"
#define SECOND ((int64_t)1000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)

/* One image that is built, and whose child is to be kept. */
static void built(struct world *w)
{
    world_init(w);
    world_image(w, "base", SOURCE, WORLD_MASTER, "./mk");
    world_start(w);
    world_board(w, "one");
    world_push(w, SOURCE, "c1", NULL);
    world_build(w, "one", "base", "x");
}

/* Its effect of that kind fails; for `wait_ms` the registry asks not to be asked. */
static void answer(struct world *w, enum effect_kind kind, enum publish_failure failure,
                   int64_t wait_ms)
{
    struct effect e = world_take(w, kind);
    world_begin(w, 1);
    if (kind == EFFECT_RETAIN)
        model_on_retain_failed(w->m, e.repository, e.tags.items[0].tag, e.digest, failure,
                               "r.test: 429, retry after it", wait_ms);
    else if (kind == EFFECT_PUBLISH)
        model_on_publication_failed(w->m, e.publication, e.step, failure, PLATFORM_AMD64,
                                    "r.test: 429, retry after it", wait_ms);
    else
        model_on_base_failed(w->m, e.reference, false, "r.test: 429, retry after it", wait_ms);
    world_end(w);
    effect_done(&e);
}

/* ---- Retry-After ---- */

static void asked_no_earlier(struct world *w, enum effect_kind kind)
{
    answer(w, kind, PUBLISH_AWAY, 10 * MINUTE);
    world_wait(w, 10 * MINUTE - SECOND);
    assert_false(world_asked(w, kind));
    world_wait(w, SECOND);
    assert_true(world_asked(w, kind));
    /* not for ever, whatever it says */
    answer(w, kind, PUBLISH_AWAY, 24 * HOUR);
    world_wait(w, HOUR - SECOND);
    assert_false(world_asked(w, kind));
    world_wait(w, SECOND);
    assert_true(world_asked(w, kind));
    /* and what is sooner than the ordinary back-off hastens nothing: this is the third in a row */
    answer(w, kind, PUBLISH_AWAY, 1 * SECOND);
    world_wait(w, 19 * SECOND);
    assert_false(world_asked(w, kind));
    world_wait(w, 1 * SECOND);
    assert_true(world_asked(w, kind));
}

static void test_a_registry_that_asks_not_to_be_asked(void **state)
{
    struct world w;
    built(&w);
    asked_no_earlier(&w, EFFECT_RETAIN);
    world_is(&w, TRACK, "publishing", "registry-away");
    world_says(&w, TRACK, "retry after it");
    world_retain(&w);
    asked_no_earlier(&w, EFFECT_PUBLISH);
    world_is(&w, TRACK, "publishing", "registry-away");
    world_says(&w, TRACK, "retry after it");
    world_publish(&w);
    world_is(&w, TRACK, "published", "published");
    world_done(&w);
}

static void test_a_bases_registry_that_asks_not_to_be_asked(void **state)
{
    struct world w;
    world_init(&w);
    world_image(&w, "base", SOURCE, WORLD_MASTER, NULL);
    world_start(&w);
    world_push(&w, SOURCE, "c1", "FROM debian:12\n");
    asked_no_earlier(&w, EFFECT_RESOLVE_BASE);
    world_is(&w, TRACK, "waiting", "registry-away");
    world_says(&w, TRACK, "retry after it");
    world_done(&w);
}

/* ---- 404 ---- */

/* A registry that lags, a replica of it or one that collects answers 404 for a moment: nothing is built for that. */
static void test_a_child_that_is_not_there_for_a_moment(void **state)
{
    struct world w;
    built(&w);
    answer(&w, EFFECT_RETAIN, PUBLISH_MISSING, 0);
    world_is(&w, TRACK, "publishing", "retaining"); /* worth waiting for */
    assert_false(world_asked(&w, EFFECT_RETAIN));
    world_wait(&w, 5 * SECOND);
    world_retain(&w);
    for (int i = 0; i < 2; i++) { /* once more, though it was found meanwhile */
        answer(&w, EFFECT_PUBLISH, PUBLISH_MISSING, 0);
        world_is(&w, TRACK, "publishing", "publishing");
        assert_false(world_asked(&w, EFFECT_PUBLISH));
        world_wait(&w, 10 * SECOND);
        answer(&w, EFFECT_PUBLISH, PUBLISH_AWAY, 0);
        world_wait(&w, 20 * SECOND);
        world_step(&w);
        if (i == 0) { /* what is lost meanwhile is looked for before anything is tried again */
            answer(&w, EFFECT_PUBLISH, PUBLISH_AWAY, 0);
            world_wait(&w, 5 * SECOND);
        }
    }
    world_publish(&w);
    world_is(&w, TRACK, "published", "published");
    struct wire_poll_response got = world_poll(&w, "one");
    assert_int_equal(got.leases.n, 0);
    wire_poll_response_done(&got);
    world_done(&w);
}

/* Not there a second time: it is lost. */
static void test_a_child_that_is_not_there_twice_is_built_again(void **state)
{
    for (int restart = 0; restart < 2; restart++)
        for (int published = 0; published < 2; published++) {
            enum effect_kind kind = published ? EFFECT_PUBLISH : EFFECT_RETAIN;
            struct world w;
            built(&w);
            if (published)
                world_retain(&w);
            answer(&w, kind, PUBLISH_MISSING, 0);
            if (restart) { /* which forgets it: it is asked for twice again */
                world_restart(&w);
                answer(&w, kind, PUBLISH_MISSING, 0);
            }
            world_is(&w, TRACK, "publishing", published ? "publishing" : "retaining");
            world_wait(&w, 5 * SECOND);
            answer(&w, kind, PUBLISH_MISSING, 0);
            world_is(&w, TRACK, "building", "boards-busy");
            world_build(&w, "one", "base", "again");
            world_publish(&w);
            world_is(&w, TRACK, "published", "published");
            world_done(&w);
        }
}

/* ---- two who put an index ---- */

/* A publication takes the place of one with the same index, whose retention was asked for then: whichever of the two puts it,
 * what became of the other is forgotten. */
static void test_an_index_that_a_publication_puts_is_kept(void **state)
{
    for (int first = 0; first < 2; first++) {
        struct world w;
        built(&w);
        world_retain(&w);
        strvec_add(&world_find_image(&w, "base")->tags, "another");
        world_reload(&w);
        assert_int_equal(publication_find(w.m, 1)->state, PUBLICATION_ABANDONED);
        struct effect old = world_take(&w, EFFECT_PUBLISH);
        effect_done(&old);
        if (first)
            world_step(&w);
        answer(&w, EFFECT_RETAIN, PUBLISH_AWAY, 0);
        if (!first)
            world_step(&w);
        world_step(&w);
        world_is(&w, TRACK, "published", "published");
        for (const struct retention *r = w.m->places; r; r = r->hh.next) {
            assert_null(r->error);
            assert_true(str_eq(r->digest, r->wanted));
        }
        world_done(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_index_that_a_publication_puts_is_kept),
        cmocka_unit_test(test_a_child_that_is_not_there_for_a_moment),
        cmocka_unit_test(test_a_child_that_is_not_there_twice_is_built_again),
        cmocka_unit_test(test_a_registry_that_asks_not_to_be_asked),
        cmocka_unit_test(test_a_bases_registry_that_asks_not_to_be_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
