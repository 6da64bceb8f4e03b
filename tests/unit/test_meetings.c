/* Where two rules of ARCHITECTURE.md's table meet: which of them wins. */
#include "daemon/model/objects.h"
#include "tests/lib/model_commands.h"
#include "tests/lib/model_farm.h"

#include <errno.h>

#define GIB ((int64_t)1 << 30)

static const char *const two_platforms[] = {"linux/amd64", "linux/arm64", NULL};

/* v1 and v2, both published; v2 has `latest`. */
static void two_versions(struct world *w)
{
    static const char *const both[] = {"refs/tags/v1", "refs/tags/v2", NULL};
    struct farm_image *image = world_base(w);
    str_replace(&image->ref, "refs/tags/v*");
    str_replace(&image->tags.items[0], "$version");
    strvec_add(&image->tags, "latest");
    vec_push(&image->args, (struct farm_pair){xstrdup("V"), xstrdup("$version")});
    image->history = 2;
    world_go(w);
    world_see_all(w, BASES, "b1", both);
    world_settle(w, NULL);
    assert_string_equal(world_tag_digest(w, REPO, "latest"), world_tag_digest(w, REPO, "2"));
}

static int cancel_latest(struct world *w, const char *track)
{
    struct err err = ERR_INIT;
    world_begin(w, 1);
    int r = model_on_cancel_build(w->m, track_find(w->m, track)->build, &err);
    world_end(w);
    return r;
}

/* ---- retire, and hold, pin or freeze ---- */

static void test_retiring_a_held_track_gives_its_tags_up(void **state)
{
    struct world w;
    two_versions(&w);
    world_ask(&w, COMMAND_HOLD, "base@v2");
    world_ask(&w, COMMAND_RETIRE, "base@v2");
    world_settle(&w, NULL);
    world_is(&w, "base@v2", "retired", "retired");
    assert_string_equal(world_tag_digest(&w, REPO, "latest"), world_tag_digest(&w, REPO, "1"));
    /* woken, it is held still: nothing of it moves before it is released */
    world_ask(&w, COMMAND_WAKE, "base@v2");
    world_settle(&w, NULL);
    world_is(&w, "base@v2", "held", "held");
    assert_string_equal(world_tag_digest(&w, REPO, "latest"), world_tag_digest(&w, REPO, "1"));
    world_ask(&w, COMMAND_RELEASE, "base@v2");
    world_settle(&w, NULL);
    assert_string_equal(world_tag_digest(&w, REPO, "latest"), world_tag_digest(&w, REPO, "2"));
    world_done(&w);
}

static void test_a_retired_track_returns_to_nothing(void **state)
{
    struct world w;
    world_base_alone(&w);
    world_publish_base(&w, "b1");
    world_publish_base(&w, "b2");
    world_ask(&w, COMMAND_RETIRE, BASE);
    struct command c = {.verb = COMMAND_ROLLBACK, .track = BASE};
    world_refused(&w, &c, -EBUSY, "base@master is retired: wake it (sheafctl wake base@master)");
    c = (struct command){.verb = COMMAND_PIN, .track = BASE, .publication = "1"};
    world_refused(&w, &c, -EBUSY, "base@master is retired: wake it (sheafctl wake base@master)");
    world_done(&w);
}

static void test_what_is_retired_in_a_freeze_is_passed_on_when_it_is_thawed(void **state)
{
    struct world w;
    two_versions(&w);
    world_ask(&w, COMMAND_FREEZE, NULL);
    world_ask(&w, COMMAND_RETIRE, "base@v2");
    world_settle(&w, NULL);
    assert_string_equal(world_tag_digest(&w, REPO, "latest"), world_tag_digest(&w, REPO, "2"));
    world_is(&w, "base@v1", "held", "frozen");
    world_ask(&w, COMMAND_THAW, NULL);
    world_settle(&w, NULL);
    assert_string_equal(world_tag_digest(&w, REPO, "latest"), world_tag_digest(&w, REPO, "1"));
    world_done(&w);
}

/* A required platform that has failed stops the track no more once it is retired. */
static void test_retiring_the_platform_that_fails_lets_the_others_through(void **state)
{
    struct world w;
    struct farm_image *image = world_base(&w);
    vec_push(&image->platforms, PLATFORM_ARM64);
    w.platforms = two_platforms;
    world_go(&w);
    world_push(&w, BASES, "b1", NULL);
    for (int i = 0; i < 2; i++) {
        struct wire_poll_response got = world_poll(&w, "one");
        VEC_FOREACH (&got.leases, lease)
            if (str_eq(lease->job.platform, "linux/arm64"))
                world_fail(&w, lease, WIRE_FAILURE_RECIPE);
            else
                world_succeed(&w, lease, "x");
        wire_poll_response_done(&got);
    }
    world_is(&w, BASE, "failed", "job-failed");
    struct command c = {.verb = COMMAND_RETIRE, .track = BASE, .platform = "linux/arm64"};
    world_do(&w, &c);
    assert_int_equal(world_settle(&w, NULL), 0);
    world_is(&w, BASE, "published", "published");
    world_done(&w);
}

/* ---- a tag conflict, and tracks that have stopped ---- */

/* `base` and `other` claim exactly one tag; `base` has it. */
static void conflict(struct world *w)
{
    world_base(w);
    struct farm_image *other = world_image(w, "other", APPS, WORLD_MASTER, "./other");
    str_replace(&other->repository, REPO);
    world_go(w);
    world_publish_base(w, "b1");
    world_push(w, APPS, "a1", NULL);
    world_settle(w, NULL);
    world_is(w, "other@master", "conflict", "tag-conflict");
}

static void test_an_incumbent_that_is_deleted_keeps_its_tag(void **state)
{
    struct world w;
    conflict(&w);
    cleanup_free char *digest = xstrdup(world_tag_digest(&w, REPO, "latest"));
    for (int i = 0; i < 2; i++)
        world_see(&w, BASES, "refs/heads/another", "b1");
    world_settle(&w, NULL);
    world_is(&w, BASE, "deleted", "ref-deleted");
    world_is(&w, "other@master", "conflict", "tag-conflict");
    assert_string_equal(world_tag_digest(&w, REPO, "latest"), digest);
    world_ask(&w, COMMAND_RETIRE, BASE);
    world_settle(&w, NULL);
    world_is(&w, "other@master", "published", "published");
    world_done(&w);
}

/* One that has stopped is in conflict with nobody, and is not among what wants attention. */
static void test_what_has_stopped_has_no_conflict(void **state)
{
    for (int retire = 0; retire < 2; retire++) {
        struct world w;
        conflict(&w);
        assert_true(world_attention(&w, "tag-conflict"));
        if (retire)
            world_ask(&w, COMMAND_RETIRE, "other@master");
        for (int i = 0; i < 2 && !retire; i++)
            world_see(&w, APPS, "refs/heads/another", "a1");
        world_settle(&w, NULL);
        world_is(&w, "other@master", retire ? "retired" : "deleted",
                 retire ? "retired" : "ref-deleted");
        assert_false(world_attention(&w, "tag-conflict"));
        world_done(&w);
    }
}

/* ---- what waits for a person, and newer inputs ---- */

static void in_conflict(struct world *w)
{
    conflict(w);
}

/* `latest`, the only tag, stays with v1, which is held. */
static void behind_a_held_one(struct world *w)
{
    static const char *const both[] = {"refs/tags/v1", "refs/tags/v2", NULL};
    struct farm_image *image = world_base(w);
    str_replace(&image->ref, "refs/tags/v*");
    world_go(w);
    world_see_all(w, BASES, "b1", (const char *const[]){"refs/tags/v1", NULL});
    world_settle(w, NULL);
    world_ask(w, COMMAND_HOLD, "base@v1");
    world_see_all(w, BASES, "b1", both);
    world_settle(w, NULL);
    world_is(w, "base@v2", "held", "held");
}

static void in_a_stopped_repository(struct world *w)
{
    world_base_alone(w);
    world_publish_base(w, "b1");
    world_audited(w, REPO, "sha256:hand");
}

/* A build that a person keeps from publishing waits as one that is held does: newer inputs take its place however often
 * they come, and what is promoted in the end is the newest. */
static void test_what_waits_for_a_person_keeps_no_newer_inputs_out(void **state)
{
    static const struct {
        void (*given)(struct world *w);
        const char *track, *source, *ref, *state;
    } cases[] = {
        {in_conflict, "other@master", APPS, WORLD_MASTER, "conflict"},
        {behind_a_held_one, "base@v2", BASES, "refs/tags/v2", "held"},
        {in_a_stopped_repository, BASE, BASES, WORLD_MASTER, "blocked"},
    };
    static const char *const commits[] = {"x1", "x2", "x3", "x4", "x5"};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct world w;
        cases[i].given(&w);
        for (size_t k = 0; k < sizeof(commits) / sizeof(*commits); k++) {
            world_see(&w, cases[i].source, cases[i].ref, commits[k]);
            if (world_settle(&w, NULL) == 0)
                fail_msg("%s: %s is not built", cases[i].track, commits[k]);
            assert_string_equal(world_track_state(&w, cases[i].track), cases[i].state);
            const struct build *b = track_find(w.m, cases[i].track)->current;
            assert_string_equal(b->commit, commits[k]);
            assert_int_equal(b->state, BUILD_HELD);
            world_restart(&w);
        }
        world_done(&w);
    }
}

/* ---- deadlines, and what is blocked ---- */

static void test_a_deadline_goes_on_while_the_track_is_blocked(void **state)
{
    struct world w;
    struct farm_image *image = world_base(&w);
    vec_push(&image->optional, PLATFORM_ARM64);
    image->deadline_ms = 12 * HOUR;
    w.platforms = two_platforms;
    world_go(&w);
    world_publish_base(&w, "b1");
    w.platforms = NULL; /* the board of the optional platform is gone */
    world_session(&w, "one", "one", GIB, NULL);
    world_publish_base(&w, "b2");
    world_see(&w, BASES, WORLD_MASTER, "b3");
    struct effect e = world_take(&w, EFFECT_INSPECT);
    world_begin(&w, 1);
    model_on_context(w.m, e.source, e.commit, e.path, e.dockerfile,
                     &(struct context_facts){.exists = true, .error = "too large", .id = "x"});
    world_end(&w);
    effect_done(&e);
    world_is(&w, BASE, "blocked", "context-refused");
    world_wait(&w, 12 * HOUR - 2 * MINUTE);
    assert_false(world_attention(&w, "stale"));
    world_wait(&w, 2 * MINUTE);
    assert_true(world_attention(&w, "stale"));
    assert_true(world_attention(&w, "context-refused"));
    world_done(&w);
}

/* ---- optional platforms, and a publication that runs ---- */

/* The required platform's publication has taken `steps` steps when the optional one succeeds. */
static void optional_comes_late(struct world *w, int steps)
{
    struct farm_image *image = world_base(w);
    vec_push(&image->optional, PLATFORM_ARM64);
    w->platforms = two_platforms;
    world_go(w);
    world_push(w, BASES, "b1", NULL);
    struct wire_poll_response got = world_poll(w, "one");
    assert_int_equal(got.leases.n, 2);
    bool first = str_eq(got.leases.items[0].job.platform, "linux/amd64");
    world_succeed(w, &got.leases.items[!first], "x");
    world_retain(w);
    for (int i = 0; i < steps; i++)
        world_step(w);
    world_succeed(w, &got.leases.items[first], "y");
    world_retain(w);
    wire_poll_response_done(&got);
}

static size_t children(struct world *w)
{
    return tag_find(w->m, REPO, "latest")->shown->child.n;
}

static void test_an_optional_success_before_the_first_tag_joins_in(void **state)
{
    struct world w;
    optional_comes_late(&w, 0);
    world_publish(&w);
    assert_int_equal(world_tag(&w, REPO, "latest"), 2);
    assert_int_equal(children(&w), 2);
    assert_int_equal(track_find(w.m, BASE)->build, 1);
    world_done(&w);
}

static void test_an_optional_success_after_it_follows_in_the_next_generation(void **state)
{
    struct world w;
    optional_comes_late(&w, 1);
    world_is(&w, BASE, "publishing", "publishing");
    while (!tag_find(w.m, REPO, "latest"))
        world_step(&w);
    assert_int_equal(world_tag(&w, REPO, "latest"), 1);
    assert_int_equal(children(&w), 1);
    world_publish(&w);
    assert_int_equal(world_tag(&w, REPO, "latest"), 2);
    assert_int_equal(children(&w), 2);
    world_is(&w, BASE, "published", "published");
    world_done(&w);
}

/* ---- cancelling, and waiting or sharing ---- */

/* What a person cancels while its next inputs wait for a base is that build: the next ones are another key. */
static void test_cancelling_while_it_waits_for_a_base(void **state)
{
    struct world w;
    world_base_and_app(&w);
    world_push(&w, APPS, "a2", ON);
    world_push(&w, BASES, "b2", NULL);
    int64_t build = track_find(w.m, APP)->build;
    world_push(&w, APPS, "a3", ON);
    world_is(&w, APP, "waiting", "base-building");
    assert_int_equal(cancel_latest(&w, APP), 0);
    world_is(&w, APP, "waiting", "base-building");
    assert_int_equal(cancel_latest(&w, APP), 0); /* once more changes nothing */
    world_settle(&w, ON);
    world_is(&w, APP, "published", "published");
    assert_int_equal(track_find(w.m, APP)->build, build + 1 + 1); /* that of b2 is between */
    world_done(&w);
}

static void test_what_is_cancelled_stays_so_though_others_build_it(void **state)
{
    static const char *const both[] = {"refs/heads/a", "refs/heads/b", NULL};
    struct world w;
    struct farm_image *image = world_base(&w);
    str_replace(&image->ref, "refs/heads/*");
    str_replace(&image->tags.items[0], "$branch");
    world_go(&w);
    world_see_all(&w, BASES, "b1", both);
    world_inspect(&w, NULL);
    assert_int_equal(cancel_latest(&w, "base@a"), 0);
    world_is(&w, "base@a", "cancelled", "cancelled");
    assert_int_equal(world_settle(&w, NULL), 1); /* the job that both want is b's alone */
    world_is(&w, "base@b", "published", "published");
    world_is(&w, "base@a", "cancelled", "cancelled");
    world_ask(&w, COMMAND_RETRY, "base@a");
    assert_int_equal(world_settle(&w, NULL), 0); /* it is built already */
    world_is(&w, "base@a", "published", "published");
    world_done(&w);
}

/* What it wanted is nobody's any more, and a base is under way: it waits for nothing. */
static void test_what_is_cancelled_waits_for_no_base(void **state)
{
    static const char *const both[] = {"refs/heads/a", "refs/heads/b", NULL};
    static const char *const one[] = {"refs/heads/a", NULL};
    struct world w;
    world_base(&w);
    struct farm_image *app = world_image(&w, "app", APPS, "refs/heads/*", NULL);
    str_replace(&app->tags.items[0], "$branch");
    world_go(&w);
    world_publish_base(&w, "b1");
    world_see_all(&w, APPS, "a1", both);
    world_inspect(&w, ON);
    world_see(&w, BASES, WORLD_MASTER, "b2"); /* its files are being read */
    assert_int_equal(cancel_latest(&w, "app@a"), 0);
    for (int i = 0; i < 2; i++)
        world_see_all(&w, APPS, "a1", one);
    world_is(&w, "app@b", "deleted", "ref-deleted");
    world_is(&w, "app@a", "cancelled", "cancelled");
    world_reload(&w);
    world_is(&w, "app@a", "cancelled", "cancelled");
    world_restart(&w);
    world_is(&w, "app@a", "cancelled", "cancelled");
    world_done(&w);
}

/* The files that are to be read next are none to build of. */
static void refuse_files(struct world *w)
{
    struct effect e = world_take(w, EFFECT_INSPECT);
    world_begin(w, 1);
    model_on_context(w->m, e.source, e.commit, e.path, e.dockerfile,
                     &(struct context_facts){.exists = true, .error = "too large", .id = "x"});
    world_end(w);
    effect_done(&e);
}

static void test_a_retry_of_one_tries_the_job_for_the_other(void **state)
{
    static const char *const both[] = {"refs/heads/a", "refs/heads/b", NULL};
    const struct seen_ref apart[] = {{.name = both[0], .commit = "b2", .descends = true},
                                     {.name = both[1], .commit = "b1", .descends = true}};
    struct world w;
    struct farm_image *image = world_base(&w);
    str_replace(&image->ref, "refs/heads/*");
    str_replace(&image->tags.items[0], "$branch");
    world_go(&w);
    world_see_all(&w, BASES, "b1", both);
    world_inspect(&w, NULL);
    world_break(&w, "one", "base", WIRE_FAILURE_RECIPE);
    world_break(&w, "one", "base", WIRE_FAILURE_RECIPE);
    world_is(&w, "base@b", "failed", "job-failed");
    world_begin(&w, 1);
    model_on_refs(w.m, BASES, apart, 2);
    world_end(&w);
    refuse_files(&w);
    world_is(&w, "base@a", "blocked", "context-refused");
    world_ask(&w, COMMAND_RETRY, "base@a");
    world_settle(&w, NULL);
    world_is(&w, "base@a", "blocked", "context-refused");
    world_is(&w, "base@b", "published", "published");
    world_done(&w);
}

/* ---- bases that something is in the way of ---- */

static void files_are_refused(struct world *w)
{
    world_see(w, BASES, WORLD_MASTER, "b2");
    refuse_files(w);
}
static void the_source_is_away(struct world *w)
{
    world_see(w, BASES, WORLD_MASTER, "b2");
    struct effect e = world_take(w, EFFECT_INSPECT);
    world_begin(w, 1);
    model_on_context_failed(w->m, e.source, e.commit, e.path, e.dockerfile, "away");
    world_end(w);
    effect_done(&e);
}
static void it_has_failed(struct world *w)
{
    world_push(w, BASES, "b2", NULL);
    world_break(w, "one", "base", WIRE_FAILURE_RECIPE);
    world_break(w, "one", "base", WIRE_FAILURE_RECIPE);
}
static void it_backs_off(struct world *w)
{
    world_push(w, BASES, "b2", NULL);
    world_break(w, "one", "base", WIRE_FAILURE_INFRA);
}
static void it_is_cancelled(struct world *w)
{
    world_push(w, BASES, "b2", NULL);
    assert_int_equal(cancel_latest(w, BASE), 0);
}
static void it_is_held_and_wanted(struct world *w)
{
    world_ask(w, COMMAND_HOLD, BASE);
    world_push(w, BASES, "b2", NULL);
}
static void it_is_held_while_it_runs(struct world *w)
{
    world_push(w, BASES, "b2", NULL);
    world_push(w, APPS, "a2", ON);
    world_is(w, APP, "waiting", "base-building");
    world_ask(w, COMMAND_HOLD, BASE); /* what waits for it waits no more */
}
static void the_farm_is_frozen(struct world *w)
{
    world_push(w, BASES, "b2", NULL);
    world_push(w, APPS, "a2", ON);
    world_ask(w, COMMAND_FREEZE, NULL);
}
static void the_registry_is_away(struct world *w)
{
    world_push(w, BASES, "b2", NULL);
    world_build(w, "one", "base", "new");
    world_retain(w);
    world_step_fails(w, PUBLISH_AWAY, PLATFORM_COUNT, "away");
}
static void it_is_retired(struct world *w)
{
    world_push(w, BASES, "b2", NULL);
    world_ask(w, COMMAND_RETIRE, BASE);
}

static void its_repository_has_stopped(struct world *w)
{
    world_push(w, BASES, "b2", NULL);
    world_audited(w, REPO, "sha256:hand");
}

/* Rule 6.4: what is built on it is built on what it published last. */
static void test_a_base_that_something_is_in_the_way_of_is_not_waited_for(void **state)
{
    static void (*const cases[])(struct world *) = {
        files_are_refused,
        the_source_is_away,
        it_has_failed,
        it_backs_off,
        it_is_cancelled,
        it_is_held_and_wanted,
        it_is_held_while_it_runs,
        the_farm_is_frozen,
        the_registry_is_away,
        it_is_retired,
        its_repository_has_stopped,
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct world w;
        world_base_and_app(&w);
        cases[i](&w);
        world_push(&w, APPS, "a2", ON);
        if (!str_eq(world_track_state(&w, APP), "building"))
            fail_msg("%zu: %s is %s: %s", i, APP, world_track_state(&w, APP),
                     world_text(&w, APP, "reason", "text"));
        world_done(&w);
    }
}

/* ---- failures of several kinds ---- */

/* The board has the job, says that it runs, and is not heard of any more. */
static void lose(struct world *w, const char *board)
{
    struct wire_poll_response got;
    const struct wire_lease *lease = world_lease(w, board, "base", &got);
    world_session(w, board, board, GIB, lease);
    world_wait(w, 91000);
    wire_poll_response_done(&got);
}

static void test_lost_boards_count_whatever_fails_between(void **state)
{
    struct world w;
    world_base_alone(&w);
    world_push(&w, BASES, "b1", NULL);
    lose(&w, "one");
    world_break(&w, "one", "base", WIRE_FAILURE_INFRA);
    world_wait(&w, 5000);
    world_break(&w, "one", "base", WIRE_FAILURE_RECIPE);
    world_is(&w, BASE, "building", "boards-busy");
    lose(&w, "one"); /* one board twice counts as two */
    world_is(&w, BASE, "failed", "job-failed");
    world_says(&w, BASE, "poison: board one was lost while it built this");
    world_done(&w);
}

/* Want of something does not use up the other board that a timeout asks for. */
static void test_a_timeout_goes_elsewhere_whatever_fails_between(void **state)
{
    struct world w;
    world_base_alone(&w);
    world_board(&w, "two");
    world_push(&w, BASES, "b1", NULL);
    world_break(&w, "one", "base", WIRE_FAILURE_TIMEOUT);
    world_break(&w, "two", "base", WIRE_FAILURE_INFRA);
    world_wait(&w, 5000);
    struct wire_poll_response got = world_poll(&w, "one");
    assert_int_equal(got.leases.n, 0);
    wire_poll_response_done(&got);
    world_says(&w, BASE, "board one has failed it");
    world_build(&w, "two", "base", "x");
    world_publish(&w);
    world_is(&w, BASE, "published", "published");
    world_done(&w);
}

/* Where the other one has not the memory either, there is no elsewhere any more: it has failed, and after the delay it
 * goes to the first again. */
static void test_a_timeout_and_want_of_memory_do_not_wait_for_ever(void **state)
{
    struct world w;
    world_base_alone(&w);
    world_board(&w, "two");
    world_session(&w, "one", "one", 4 * GIB, NULL);
    world_push(&w, BASES, "b1", NULL);
    struct board *one = board_find(w.m, "one");
    world_break(&w, "one", "base", WIRE_FAILURE_TIMEOUT);
    world_begin(&w, 1);
    one->memory = 4 * GIB; /* world_poll's sessions have less */
    world_end(&w);
    world_break(&w, "two", "base", WIRE_FAILURE_MEMORY);
    world_is(&w, BASE, "failed", "job-failed");
    world_says(&w, BASE, "memory: it broke; tried again after 1 h");
    world_wait(&w, HOUR);
    world_is(&w, BASE, "building", "boards-busy");
    world_says(&w, BASE, "board one is offline");
    world_done(&w);
}

/* ---- what is put back, and a platform that gates by now ---- */

/* A platform that became required succeeds, and its publication finds that somebody moved the tag. In a freeze the tag is
 * put back to what it named; with the platform it is published when that is thawed. */
static void test_what_is_put_back_is_what_the_tag_named(void **state)
{
    struct world w;
    struct err err = ERR_INIT;
    world_base(&w);
    w.platforms = two_platforms;
    world_go(&w);
    world_publish_base(&w, "b1");
    struct farm_image *image = world_find_image(&w, "base");
    vec_push(&image->platforms, PLATFORM_ARM64);
    world_reload(&w);
    world_inspect(&w, NULL);
    world_build(&w, "one", "base", "arm64");
    world_retain(&w);
    world_step(&w);
    world_step_fails(&w, PUBLISH_FOREIGN, PLATFORM_COUNT, "latest names what we do not know");
    world_is(&w, BASE, "blocked", "repository-stopped");
    world_ask(&w, COMMAND_FREEZE, NULL);
    world_begin(&w, 1);
    assert_int_equal(model_on_restore(w.m, REPO, &err), 0);
    world_end(&w);
    struct effect e = world_take(&w, EFFECT_AUDIT);
    const struct audited seen = {"latest", world_tag_digest(&w, REPO, "latest"), "sha256:hand"};
    world_begin(&w, 1);
    model_on_audited(w.m, e.repository, &seen, 1);
    world_end(&w);
    effect_done(&e);
    world_publish(&w);
    assert_int_equal(world_tag(&w, REPO, "latest"), 3);
    assert_int_equal(children(&w), 1);
    world_ask(&w, COMMAND_THAW, NULL);
    world_publish(&w);
    assert_int_equal(world_tag(&w, REPO, "latest"), 4);
    assert_int_equal(children(&w), 2);
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_retiring_a_held_track_gives_its_tags_up),
        cmocka_unit_test(test_a_retired_track_returns_to_nothing),
        cmocka_unit_test(test_what_is_retired_in_a_freeze_is_passed_on_when_it_is_thawed),
        cmocka_unit_test(test_retiring_the_platform_that_fails_lets_the_others_through),
        cmocka_unit_test(test_an_incumbent_that_is_deleted_keeps_its_tag),
        cmocka_unit_test(test_what_has_stopped_has_no_conflict),
        cmocka_unit_test(test_what_waits_for_a_person_keeps_no_newer_inputs_out),
        cmocka_unit_test(test_a_deadline_goes_on_while_the_track_is_blocked),
        cmocka_unit_test(test_an_optional_success_before_the_first_tag_joins_in),
        cmocka_unit_test(test_an_optional_success_after_it_follows_in_the_next_generation),
        cmocka_unit_test(test_cancelling_while_it_waits_for_a_base),
        cmocka_unit_test(test_what_is_cancelled_stays_so_though_others_build_it),
        cmocka_unit_test(test_what_is_cancelled_waits_for_no_base),
        cmocka_unit_test(test_a_retry_of_one_tries_the_job_for_the_other),
        cmocka_unit_test(test_a_base_that_something_is_in_the_way_of_is_not_waited_for),
        cmocka_unit_test(test_lost_boards_count_whatever_fails_between),
        cmocka_unit_test(test_a_timeout_goes_elsewhere_whatever_fails_between),
        cmocka_unit_test(test_what_is_put_back_is_what_the_tag_named),
        cmocka_unit_test(test_a_timeout_and_want_of_memory_do_not_wait_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
