/* Places in the queue (design rule 10.1) of jobs that several want, that are tried again, or that are asked for twice. */
#include "daemon/model/objects.h"
#include "tests/lib/model_commands.h"
#include "tests/lib/model_steps.h"

#define BASES  "https://git.test/bases.git"
#define APPS   "https://git.test/apps.git"
#define LATE   "https://git.test/late.git"
#define OTHERS "https://git.test/others.git"
#define ON     "FROM r.test/osf/base:latest\n"
#define OTHER  "other@master"
#define MINUTE ((int64_t)60 * 1000)
#define HOUR   (60 * MINUTE)

static const char *const branches[] = {"refs/heads/a", "refs/heads/b", NULL};

static void push_app(struct world *w, const char *commit)
{
    world_see_all(w, APPS, commit, branches);
    world_inspect(w, ON);
}

/* A base; an app of two branches with the same files, built on it; another image. All published, and a board of one slot. */
static void three_images(struct world *w)
{
    world_init(w);
    w->slots = w->free = 1;
    world_image(w, "base", BASES, WORLD_MASTER, "./mk");
    world_image(w, "other", OTHERS, WORLD_MASTER, "./other");
    struct farm_image *app = world_image(w, "app", APPS, "refs/heads/*", NULL);
    str_replace(&app->tags.items[0], "$branch");
    world_start(w);
    world_board(w, "one");
    world_push(w, BASES, "b1", NULL);
    world_settle(w, NULL);
    push_app(w, "a1");
    world_settle(w, ON);
    world_push(w, OTHERS, "o1", NULL);
    world_settle(w, NULL);
    world_is(w, "app@a", "published", "published");
}

/* The base moves: one job for both branches of the app ripples. */
static void ripple(struct world *w)
{
    world_push(w, BASES, "b2", NULL);
    world_build(w, "one", "base", "new");
    world_publish(w);
    world_is(w, "app@b", "building", "boards-busy");
}

/* One branch's build is cancelled, and a person asks for it again: the job is that of the other one still. */
static void ask_for_a(struct world *w)
{
    struct err err = ERR_INIT;
    world_begin(w, 1);
    assert_int_equal(model_on_cancel_build(w->m, track_find(w->m, "app@a")->build, &err), 0);
    world_end(w);
    world_is(w, "app@a", "cancelled", "cancelled");
    world_ask(w, COMMAND_RETRY, "app@a");
    world_is(w, "app@a", "building", "boards-busy");
}

/* ---- jobs that several want ---- */

/* A person's build that shares a job which ripples makes it a person's. */
static void test_a_person_raises_what_waits_already(void **state)
{
    for (int restart = 0; restart < 2; restart++) {
        struct world w;
        three_images(&w);
        ripple(&w);
        ask_for_a(&w);
        world_wait(&w, MINUTE);
        world_ask(&w, COMMAND_REBUILD, OTHER);
        if (restart)
            world_restart(&w);
        world_build(&w, "one", "app", "x");
        world_build(&w, "one", "other", "y");
        world_done(&w);
    }
}

/* What is raised keeps what it has waited: the earlier of its two places is its. */
static void test_what_is_raised_keeps_an_earlier_place(void **state)
{
    struct world w;
    three_images(&w);
    ripple(&w);
    world_wait(&w, 13 * HOUR);
    world_ask(&w, COMMAND_REBUILD, OTHER);
    world_wait(&w, HOUR);
    ask_for_a(&w);
    world_build(&w, "one", "app", "x");
    world_done(&w);
}

/* A push that wants what ripples raises it no further than a push. */
static void test_a_push_raises_it_less(void **state)
{
    struct world w;
    three_images(&w);
    ripple(&w);
    const struct job *j = track_find(w.m, "app@a")->slots[PLATFORM_AMD64]->job;
    assert_int_equal(j->class, CLASS_RIPPLE);
    /* a third branch at the same files: its first build */
    static const char *const three[] = {"refs/heads/a", "refs/heads/b", "refs/heads/c", NULL};
    world_see_all(&w, APPS, "a1", three);
    world_inspect(&w, ON);
    assert_ptr_equal(track_find(w.m, "app@c")->slots[PLATFORM_AMD64]->job, j);
    assert_int_equal(j->class, CLASS_SOURCE);
    world_wait(&w, MINUTE);
    world_push(&w, OTHERS, "o2", NULL);
    world_wait(&w, MINUTE);
    world_ask(&w, COMMAND_REBUILD, "base@master");
    world_build(&w, "one", "base", "z");
    world_build(&w, "one", "app", "x");
    world_done(&w);
}

/* The longest chain and the highest priority of those that want it count, whoever was the first to. */
static void test_it_counts_what_waits_for_any_of_them(void **state)
{
    static const char *const on[] = {"FROM r.test/osf/app:a\n", "FROM r.test/osf/app:b\n"};
    for (size_t i = 0; i < 2; i++) {
        struct world w;
        three_images(&w);
        world_image(&w, "late", LATE, WORLD_MASTER, NULL);
        world_reload(&w);
        world_push(&w, LATE, "l1", on[i]);
        world_settle(&w, on[i]);
        world_is(&w, "late@master", "published", "published");
        world_push(&w, OTHERS, "o2", NULL); /* as old, and nothing is built on it */
        push_app(&w, "a2");
        world_build(&w, "one", "app", "x");
        world_done(&w);
    }
}

/* ---- what is tried again ---- */

/* Want of something does not cost a job its place. */
static void test_what_backs_off_keeps_its_place(void **state)
{
    struct world w;
    three_images(&w);
    world_wait(&w, MINUTE);
    ripple(&w);
    world_wait(&w, 13 * HOUR);
    world_break(&w, "one", "app", WIRE_FAILURE_INFRA);
    world_wait(&w, 10000);
    world_ask(&w, COMMAND_REBUILD, OTHER);
    world_build(&w, "one", "app", "x");
    world_done(&w);
}

/* A person who tries again what backs off is not behind what is pushed later. */
static void test_a_retry_is_a_persons_request(void **state)
{
    struct world w;
    three_images(&w);
    ripple(&w);
    world_break(&w, "one", "app", WIRE_FAILURE_INFRA);
    world_ask(&w, COMMAND_RETRY, "app@a");
    world_wait(&w, MINUTE);
    world_push(&w, OTHERS, "o2", NULL);
    world_build(&w, "one", "app", "x");
    world_done(&w);
}

/* The required platform builds for ever; the optional one has failed. */
static const struct track *one_failed(struct world *w)
{
    static const char *const both[] = {"linux/amd64", "linux/arm64", NULL};
    world_init(w);
    w->platforms = both;
    struct farm_image *base = world_image(w, "base", BASES, WORLD_MASTER, "./mk");
    vec_push(&base->optional, PLATFORM_ARM64);
    world_start(w);
    world_board(w, "one");
    world_push(w, BASES, "b1", NULL);
    struct wire_poll_response got = world_poll(w, "one");
    assert_int_equal(got.leases.n, 2);
    wire_poll_response_done(&got);
    return track_find(w->m, "base@master");
}

static void fail_optional(struct world *w, const struct track *t)
{
    world_begin(w, 1);
    struct job *j = t->slots[PLATFORM_ARM64]->job;
    while (j->state != JOB_FAILED) {
        if (!j->live)
            attempt_grant(w->m, j, board_find(w->m, "one"));
        struct wire_result r = {.epoch = j->epoch,
                                .outcome = WIRE_FAILED,
                                .kind = WIRE_FAILURE_RECIPE,
                                .reason = (char *)(uintptr_t) "it broke"};
        model_on_result(w->m, j->live->lease, &r, ++w->token);
    }
    world_end(w);
    assert_int_equal(j->failures, 1);
}

static void is_persons(const struct job *j)
{
    assert_int_equal(j->state, JOB_WANTED);
    assert_int_equal(j->class, CLASS_PERSON);
    assert_int_equal(j->failures, 0);
}

/* Of a platform that the build goes on without as well: the doubling of its delay begins anew. */
static void test_a_retry_of_an_optional_one_is_a_persons_too(void **state)
{
    struct world w;
    const struct track *t = one_failed(&w);
    for (int i = 0; i < 3; i++) {
        fail_optional(&w, t);
        world_ask(&w, COMMAND_RETRY, "base@master");
        is_persons(t->slots[PLATFORM_ARM64]->job);
    }
    world_done(&w);
}

/* While newer files are read nobody knows whether the job is wanted still, nor on what base: it is told then. */
static void test_a_retry_waits_for_what_is_read(void **state)
{
    for (int same = 0; same < 2; same++) {
        struct world w;
        const struct track *t = one_failed(&w);
        fail_optional(&w, t);
        struct job *j = t->slots[PLATFORM_ARM64]->job;
        world_see(&w, BASES, WORLD_MASTER, "b2");
        world_ask(&w, COMMAND_RETRY, "base@master");
        assert_int_equal(j->state, JOB_FAILED);
        if (same) /* it went back: the build that goes on tries it again */
            world_push(&w, BASES, "b1", NULL);
        else
            world_inspect(&w, NULL);
        assert_int_equal(t->slots[PLATFORM_ARM64]->job == j, same);
        is_persons(t->slots[PLATFORM_ARM64]->job);
        assert_int_equal(t->asked, REASON_NONE);
        world_done(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_person_raises_what_waits_already),
        cmocka_unit_test(test_what_is_raised_keeps_an_earlier_place),
        cmocka_unit_test(test_a_push_raises_it_less),
        cmocka_unit_test(test_it_counts_what_waits_for_any_of_them),
        cmocka_unit_test(test_what_backs_off_keeps_its_place),
        cmocka_unit_test(test_a_retry_is_a_persons_request),
        cmocka_unit_test(test_a_retry_of_an_optional_one_is_a_persons_too),
        cmocka_unit_test(test_a_retry_waits_for_what_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
