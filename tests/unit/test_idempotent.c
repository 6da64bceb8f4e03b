/* What people ask for: done twice it decides nothing the second time and is answered equally; what cannot be done is
 * refused with what is wrong and what to do about it. */
#include "daemon/model/objects.h"
#include "tests/lib/model_commands.h"
#include "tests/lib/model_steps.h"

#include <errno.h>

#define BASES  "https://git.test/bases.git"
#define APPS   "https://git.test/apps.git"
#define BASE   "base@master"
#define APP    "app@master"
#define REPO   "r.test/osf/base"
#define ON     "FROM r.test/osf/base:latest\n"
#define HAND   "sha256:4242424242424242424242424242424242424242424242424242424242424242"
#define MINUTE ((int64_t)60000)

/* ---- farms ---- */

static const char *const two_platforms[] = {"linux/amd64", "linux/arm64", NULL};

/* A base of two platforms and an app on it, on which nothing was pushed yet. */
static void farm(struct world *w)
{
    world_init(w);
    w->platforms = two_platforms;
    struct farm_image *base = world_image(w, "base", BASES, WORLD_MASTER, "./mk");
    vec_push(&base->platforms, PLATFORM_ARM64);
    world_image(w, "app", APPS, WORLD_MASTER, NULL);
    world_start(w);
    world_board(w, "one");
}

static void published(struct world *w)
{
    farm(w);
    world_push(w, BASES, "b1", NULL);
    world_settle(w, NULL);
    world_push(w, APPS, "a1", ON);
    world_settle(w, ON);
    world_is(w, APP, "published", "published");
}

static void published_twice(struct world *w)
{
    published(w);
    world_push(w, BASES, "b2", NULL);
    world_settle(w, ON);
}

static void held(struct world *w)
{
    published_twice(w);
    world_ask(w, COMMAND_HOLD, BASE);
    world_push(w, BASES, "b3", NULL);
    world_settle(w, ON);
    world_is(w, BASE, "held", "held");
}

static void frozen(struct world *w)
{
    published(w);
    world_ask(w, COMMAND_FREEZE, NULL);
}

static void retired(struct world *w)
{
    published(w);
    world_ask(w, COMMAND_RETIRE, BASE);
}

static void platform_retired(struct world *w)
{
    struct command c = {.verb = COMMAND_RETIRE, .track = BASE, .platform = "linux/arm64"};
    published(w);
    world_do(w, &c);
    world_settle(w, ON);
}

static void building(struct world *w)
{
    published(w);
    world_push(w, BASES, "b2", NULL);
}

static void backs_off(struct world *w)
{
    building(w);
    struct wire_poll_response got = world_poll(w, "one");
    VEC_FOREACH (&got.leases, lease)
        world_fail(w, lease, WIRE_FAILURE_INFRA);
    wire_poll_response_done(&got);
}

static void failed(struct world *w)
{
    building(w);
    for (int i = 0; i < 2; i++) {
        struct wire_poll_response got = world_poll(w, "one");
        VEC_FOREACH (&got.leases, lease)
            world_fail(w, lease, WIRE_FAILURE_RECIPE);
        wire_poll_response_done(&got);
    }
    world_is(w, BASE, "failed", "job-failed");
}

static void registry_away(struct world *w)
{
    building(w);
    struct wire_poll_response got = world_poll(w, "one");
    VEC_FOREACH (&got.leases, lease)
        world_succeed(w, lease, lease->job.key);
    wire_poll_response_done(&got);
    world_retain(w);
    world_step_fails(w, PUBLISH_AWAY, PLATFORM_COUNT, "away");
}

static void source_away(struct world *w)
{
    published(w);
    world_see(w, BASES, WORLD_MASTER, "b2");
    struct effect e = world_take(w, EFFECT_INSPECT);
    world_begin(w, 1);
    model_on_context_failed(w->m, e.source, e.commit, e.path, e.dockerfile, "away");
    world_end(w);
    effect_done(&e);
}

static void stopped(struct world *w)
{
    published(w);
    world_audited(w, REPO, HAND);
}

/* ---- asking ---- */

/* What a person asks for: a verb, or one of those that are no commands by name. */
struct wish {
    struct command command;
    int (*other)(struct world *w, struct err *err);
};

static int cancel_build(struct world *w, struct err *err)
{
    return model_on_cancel_build(w->m, track_find(w->m, BASE)->build, err);
}
static int cancel_job(struct world *w, struct err *err)
{
    const struct slot *s = track_find(w->m, BASE)->slots[PLATFORM_AMD64];
    cleanup_free char *key = xstrdup(s->key);
    return model_on_cancel_job(w->m, key, err);
}
static int adopt(struct world *w, struct err *err)
{
    return model_on_adopt(w->m, REPO, err);
}
static int restore(struct world *w, struct err *err)
{
    return model_on_restore(w->m, REPO, err);
}
static int audit(struct world *w, struct err *err)
{
    return model_on_audit(w->m, REPO, err);
}
static int audit_all(struct world *w, struct err *err)
{
    return model_on_audit(w->m, NULL, err);
}

/* Asks; returns what is answered, which the caller frees. *ret_rows: how many rows the turn wrote. */
static char *ask(struct world *w, const struct wish *wish, size_t *ret_rows, int *ret_code)
{
    struct command_answer a = {0};
    struct err err = ERR_INIT;
    world_begin(w, 1);
    *ret_code =
        wish->other ? wish->other(w, &err) : model_on_command(w->m, &wish->command, &a, &err);
    model_turn_end(w->m);
    *ret_rows = w->turn.delta.changes.n;
    w->m->turn = &w->turn; /* world_end ends it once more: planning again decides nothing */
    world_end(w);
    char *text = xstrdup(*ret_code ? err.text : a.text ? a.text : "");
    command_answer_done(&a);
    return text;
}

#define OF(v)     .command = {.verb = COMMAND_##v, .track = BASE, .who = "ann", .reason = "a reason"}
#define OF_ARM(v) .command = {.verb = COMMAND_##v, .track = BASE, .platform = "linux/arm64"}

static const struct {
    void (*before)(struct world *);
    struct wish wish;
    const char *again; /* the answer to the second; NULL: none */
} twice[] = {
    {published, {OF(HOLD)}, "base@master is held by ann: a reason already"},
    {held, {OF(RELEASE)}, "base@master is not held"},
    {published,
     {.command = {.verb = COMMAND_FREEZE, .who = "ann"}},
     "the farm is frozen already, by ann"},
    {frozen, {.command = {.verb = COMMAND_THAW, .who = "ann"}}, "the farm is not frozen"},
    {published_twice,
     {.command = {.verb = COMMAND_PIN, .track = BASE, .publication = "1"}},
     "base@master is pinned to publication 1 already"},
    {published_twice,
     {OF(ROLLBACK)},
     "base@master is back at publication 1 already; name one to go further back"},
    {published_twice,
     {.command = {.verb = COMMAND_ROLLBACK, .track = BASE, .publication = "1"}},
     "base@master is pinned to publication 1 already"},
    {held, {OF(PROMOTE)}, "build 5 of base@master is let through its hold already"},
    {failed,
     {OF(RETRY)},
     "nothing of base@master has failed or waits to be tried again: it is building: linux/amd64: "
     "board one is busy"},
    {backs_off,
     {OF(RETRY)},
     "nothing of base@master has failed or waits to be tried again: it is building: linux/amd64: "
     "board one is busy"},
    {registry_away,
     {OF(RETRY)},
     "nothing of base@master has failed or waits to be tried again: it is publishing: away"},
    {source_away,
     {OF(RETRY)},
     "nothing of base@master has failed or waits to be tried again: it is waiting: linux/amd64: "
     "reading b2 of https://git.test/bases.git: away"},
    {published, {OF(RETIRE)}, "base@master is retired already"},
    {published, {OF_ARM(RETIRE)}, "linux/arm64 of base@master is retired already"},
    {retired, {OF(WAKE)}, "base@master is awake"},
    {platform_retired, {OF_ARM(WAKE)}, "linux/arm64 of base@master is not retired"},
    {published, {OF(REBUILD)}, "base@master is being rebuilt already"},
    {published, {OF_ARM(REBUILD)}, "base@master is being rebuilt already"},
    {published,
     {.command = {.verb = COMMAND_REBUILD, .track = BASE, .no_cache = true}},
     "base@master is being rebuilt already"},
    {published,
     {.command = {.verb = COMMAND_REBUILD, .track = BASE, .with_dependents = true}},
     "base@master is being rebuilt already"},
    {building, {.other = cancel_build}, NULL},
    {building, {.other = cancel_job}, NULL},
    {stopped, {.other = adopt}, NULL},
    {stopped, {.other = restore}, NULL},
    {published, {.other = audit}, NULL},
    {published, {.other = audit_all}, NULL},
};

static void test_asked_twice_it_decides_nothing_more(void **state)
{
    int wrong = 0;
    for (size_t i = 0; i < sizeof(twice) / sizeof(*twice); i++) {
        struct world w;
        size_t rows;
        int code;
        twice[i].before(&w);
        free(ask(&w, &twice[i].wish, &rows, &code));
        assert_int_equal(code, 0);
        assert_true(rows > 0);
        size_t effects = w.todo.n;
        for (int k = 0; k < 2; k++) {
            cleanup_free char *text = ask(&w, &twice[i].wish, &rows, &code);
            if (code || rows || w.todo.n != effects ||
                !str_eq(text, twice[i].again ? twice[i].again : "")) {
                print_error("%zu: %d, %zu rows, %zu effects, not %zu: \"%s\"\n", i, code, rows,
                            w.todo.n, effects, text);
                wrong++;
            }
        }
        world_done(&w);
    }
    assert_int_equal(wrong, 0);
}

/* ---- what is refused ---- */

static void version_out_of_bounds(struct world *w)
{
    world_init(w);
    struct farm_image *image = world_image(w, "base", BASES, "refs/tags/v*", "./mk");
    image->versions = xstrdup("<3");
    world_start(w);
    world_board(w, "one");
    world_see(w, BASES, "refs/tags/v2", "b1");
    world_settle(w, NULL);
    str_replace(&world_find_image(w, "base")->versions, "<2");
    world_reload(w);
}

static void deleted(struct world *w)
{
    static const char *const both[] = {"refs/tags/v1", "refs/tags/v2", NULL};
    world_init(w);
    world_image(w, "base", BASES, "refs/tags/v*", "./mk");
    world_start(w);
    world_board(w, "one");
    world_see_all(w, BASES, "b1", both);
    world_settle(w, NULL);
    world_see_all(w, BASES, "b1", both);
    world_see_all(w, BASES, "b1", (const char *const[]){"refs/tags/v1", NULL});
    world_see_all(w, BASES, "b1", (const char *const[]){"refs/tags/v1", NULL});
}

static void never_published(struct world *w)
{
    farm(w);
    world_push(w, BASES, "b1", NULL);
}

static void frozen_by_farm_yaml(struct world *w)
{
    published(w);
    w->farm->freeze = true;
    world_reload(w);
}

static void held_by_farm_yaml(struct world *w)
{
    published(w);
    world_find_image(w, "base")->hold = true;
    world_reload(w);
}

static int cancel_no_build(struct world *w, struct err *err)
{
    return model_on_cancel_build(w->m, 99, err);
}
static int cancel_ended_build(struct world *w, struct err *err)
{
    return model_on_cancel_build(w->m, 1, err);
}
static int cancel_no_job(struct world *w, struct err *err)
{
    return model_on_cancel_job(w->m, "sha256:0", err);
}
static int adopt_nothing(struct world *w, struct err *err)
{
    return model_on_adopt(w->m, "r.test/osf/none", err);
}
static int restore_nothing(struct world *w, struct err *err)
{
    return model_on_restore(w->m, "r.test/osf/none", err);
}
static int audit_nothing(struct world *w, struct err *err)
{
    return model_on_audit(w->m, "r.test/osf/none", err);
}

/* Its first index is without a platform that became required later. */
static void first_without_arm64(struct world *w)
{
    world_init(w);
    w->platforms = two_platforms;
    world_image(w, "base", BASES, WORLD_MASTER, "./mk");
    world_start(w);
    world_board(w, "one");
    world_push(w, BASES, "b1", NULL);
    world_settle(w, NULL);
    struct farm_image *base = world_find_image(w, "base");
    vec_push(&base->platforms, PLATFORM_ARM64);
    world_reload(w);
    world_settle(w, NULL);
}

#define NONE(v)           .command = {.verb = COMMAND_##v, .track = "none@master"}
#define V2(v)             .command = {.verb = COMMAND_##v, .track = "base@v2"}
#define ON_PLATFORM(v, p) .command = {.verb = COMMAND_##v, .track = BASE, .platform = p}

static const struct {
    void (*before)(struct world *);
    struct wish wish;
    int code;
    const char *says;
} refused[] = {
    {published, {NONE(HOLD)}, -ENOENT, "no track 'none@master' (sheafctl tracks lists them)"},
    {published, {NONE(REBUILD)}, -ENOENT, "no track 'none@master' (sheafctl tracks lists them)"},
    {published,
     {.command = {.verb = COMMAND_HOLD}},
     -ENOENT,
     "no track '' (sheafctl tracks lists them)"},
    {frozen,
     {OF(RELEASE)},
     -EBUSY,
     "base@master is not held by itself, but the farm is frozen by ann: a reason: sheafctl thaw "
     "ends that"},
    {frozen_by_farm_yaml,
     {OF(RELEASE)},
     -EBUSY,
     "base@master is not held by itself, but farm.yaml freezes the farm: change that there and "
     "reload"},
    {held_by_farm_yaml,
     {OF(RELEASE)},
     -EBUSY,
     "base@master is not held by itself, but farm.yaml holds the image: change that there and "
     "reload"},
    {frozen_by_farm_yaml,
     {.command = {.verb = COMMAND_THAW}},
     -EBUSY,
     "farm.yaml freezes the farm: take `freeze: true` out of it and reload"},
    {published,
     {OF(PIN)},
     -EINVAL,
     "publication: which one? (sheafctl show base@master lists them)"},
    {published,
     {.command = {.verb = COMMAND_PIN, .track = BASE, .publication = "7"}},
     -ENOENT,
     "base@master has no publication '7'; those that it has: 1"},
    {published,
     {.command = {.verb = COMMAND_PIN, .track = BASE, .publication = "x"}},
     -ENOENT,
     "base@master has no publication 'x'; those that it has: 1"},
    {first_without_arm64,
     {.command = {.verb = COMMAND_PIN, .track = BASE, .publication = "1"}},
     -EBUSY,
     "publication 1 has no linux/arm64, which base@master must have: retire that platform first "
     "(sheafctl retire base@master --platform linux/arm64)"},
    {never_published,
     {OF(ROLLBACK)},
     -EBUSY,
     "base@master was never published: there is nothing to return to"},
    {published, {OF(ROLLBACK)}, -EBUSY, "publication 1 is the only one of base@master"},
    {building,
     {OF(PROMOTE)},
     -EBUSY,
     "base@master has no finished build to promote: it is building: linux/amd64 on one"},
    {retired, {OF(RETRY)}, -EBUSY, "base@master is retired: wake it (sheafctl wake base@master)"},
    {deleted, {V2(RETRY)}, -EBUSY, "base@v2: its ref refs/tags/v2 is gone upstream; push it again"},
    {stopped,
     {OF(RETRY)},
     -EBUSY,
     "r.test/osf/base has stopped: tag latest names sha256:424242424242, which this farm did not "
     "publish (adopt or restore decides)"},
    {published,
     {.command = {.verb = COMMAND_RETRY, .job = "sha256:0"}},
     -ENOENT,
     "no job 'sha256:0'; GET /v1/builds lists them"},
    {published,
     {ON_PLATFORM(RETIRE, "linux/arm/v7")},
     -EINVAL,
     "platform: base@master is not built for linux/arm/v7; write one of linux/amd64, linux/arm64"},
    {published,
     {ON_PLATFORM(RETIRE, "arm")},
     -EINVAL,
     "platform: unknown platform 'arm' (known: linux/amd64, linux/arm64, linux/arm/v7, "
     "linux/arm/v6, linux/386, linux/riscv64, linux/ppc64le, linux/s390x)"},
    {platform_retired,
     {ON_PLATFORM(RETIRE, "linux/amd64")},
     -EBUSY,
     "linux/amd64 is the only platform of base@master: retire the track itself"},
    {deleted, {V2(WAKE)}, -EBUSY, "base@v2: its ref refs/tags/v2 is gone upstream; push it again"},
    {version_out_of_bounds,
     {V2(WAKE)},
     -EBUSY,
     "base@v2: its version is outside versions: <2; change that in farm.yaml"},
    {published,
     {ON_PLATFORM(WAKE, "linux/arm/v7")},
     -EINVAL,
     "platform: base@master is not built for linux/arm/v7; write one of linux/amd64, linux/arm64"},
    {retired, {OF(REBUILD)}, -EBUSY, "base@master is retired: wake it first"},
    {platform_retired,
     {OF_ARM(REBUILD)},
     -EBUSY,
     "base@master, linux/arm64 is retired: wake it first"},
    {deleted,
     {V2(REBUILD)},
     -EBUSY,
     "base@v2: its ref refs/tags/v2 is gone upstream; push it again to build it"},
    {version_out_of_bounds,
     {V2(REBUILD)},
     -EBUSY,
     "base@v2: its version is outside versions: <2; change that in farm.yaml"},
    {published,
     {ON_PLATFORM(REBUILD, "linux/arm/v7")},
     -EINVAL,
     "platform: base@master is not built for linux/arm/v7; write one of linux/amd64, linux/arm64"},
    {published, {.other = cancel_no_build}, -ENOENT, "no build '99'; GET /v1/builds lists them"},
    {published,
     {.other = cancel_ended_build},
     -EBUSY,
     "build 1 has ended: only what is under way can be cancelled"},
    {published, {.other = cancel_no_job}, -ENOENT, "no job 'sha256:0'; GET /v1/builds lists them"},
    {published,
     {.other = cancel_job},
     -EBUSY,
     "the job is succeeded already: only what is under way can be cancelled"},
    {published,
     {.other = adopt_nothing},
     -ENOENT,
     "the farm publishes to no repository 'r.test/osf/none'; GET /v1/images names them"},
    {published,
     {.other = restore_nothing},
     -ENOENT,
     "the farm publishes to no repository 'r.test/osf/none'; GET /v1/images names them"},
    {published,
     {.other = audit_nothing},
     -ENOENT,
     "the farm publishes to no repository 'r.test/osf/none'; GET /v1/images names them"},
};

static void test_what_is_refused_says_what_to_do(void **state)
{
    int wrong = 0;
    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
        struct world w;
        size_t rows, effects;
        int code;
        refused[i].before(&w);
        effects = w.todo.n;
        cleanup_free char *text = ask(&w, &refused[i].wish, &rows, &code);
        if (code != refused[i].code || rows || w.todo.n != effects ||
            !str_eq(text, refused[i].says)) {
            print_error("%zu: %d, %zu rows: \"%s\"\n", i, code, rows, text);
            wrong++;
        }
        world_done(&w);
    }
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_asked_twice_it_decides_nothing_more),
        cmocka_unit_test(test_what_is_refused_says_what_to_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
