#include "tests/lib/test.h"

#include "daemon/git_pool.h"

#include <dirent.h>

/* What a test's callbacks have seen. */
struct seen {
    unsigned calls, good;
    int code;
    bool retryable;
    size_t refs;
    unsigned order; /* position among all answers */
};

static uv_loop_t loop;
static uv_timer_t tick; /* so that UV_RUN_ONCE comes back when only timers had something to do */
static struct git_pool *pool;
static unsigned answers;

static void ticked(uv_timer_t *timer)
{
}

static void start_loop(void)
{
    assert_int_equal(uv_loop_init(&loop), 0);
    uv_timer_init(&loop, &tick);
    uv_timer_start(&tick, ticked, 5, 5);
    uv_unref((uv_handle_t *)&tick);
}

/* Runs until nothing is left. */
static void stop_loop(void)
{
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    uv_close((uv_handle_t *)&tick, NULL);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void start(unsigned workers)
{
    struct git_pool_options options = {
        .worker = FAKE_GIT_WORKER, .state_dir = "/tmp", .workers = workers};
    struct err err = ERR_INIT;
    answers = 0;
    start_loop();
    assert_int_equal(git_pool_new(&loop, &options, &pool, &err), 0);
}

static void note_closed(void *userdata)
{
    *(bool *)userdata = true;
}

/* Closes the pool; the loop has nothing left then. */
static void stop(void)
{
    bool closed = false;
    git_pool_close(pool, note_closed, &closed);
    stop_loop();
    assert_true(closed);
}

static void note(struct seen *seen, bool good, const struct err *err)
{
    seen->calls++;
    seen->good += good;
    seen->code = err->code;
    seen->retryable = err->retryable;
    seen->order = ++answers;
    assert_int_equal(good, err->code == 0);
}

static void listed(const struct git_list_result *result, const struct err *err, void *userdata)
{
    struct seen *seen = userdata;
    note(seen, result, err);
    seen->refs = result ? result->refs.n : 0;
}

static void compared(const bool *ancestor, const struct err *err, void *userdata)
{
    note(userdata, ancestor, err);
}

static struct git_request *list(const char *url, int64_t timeout_ms, struct seen *seen)
{
    struct git_list_args args = {.url = url, .timeout_ms = timeout_ms};
    struct git_request *request = git_pool_list(pool, &args, listed, seen);
    assert_int_equal(seen->calls, 0);
    return request;
}

/* Runs the loop until `seen` was called. */
static void await(const struct seen *seen)
{
    while (!seen->calls)
        uv_run(&loop, UV_RUN_ONCE);
}

static struct seen ask(const char *url, int64_t timeout_ms)
{
    struct seen seen = {0};
    list(url, timeout_ms, &seen);
    await(&seen);
    assert_int_equal(seen.calls, 1);
    return seen;
}

static void test_answers(void **state)
{
    start(1);
    struct seen seen = ask("two", 0);
    assert_true(seen.good);
    assert_int_equal(seen.refs, 2);
    assert_int_equal(ask("many", 0).refs, 20000);
    assert_int_equal(ask("two", 0).refs, 2);
    seen = ask("refuse", 0);
    assert_int_equal(seen.code, -EACCES);
    assert_false(seen.retryable);
    stop();
}

/* Each in one worker: after whatever it did, the next request is served. */
static void test_bad_workers(void **state)
{
    start(1);
    const struct {
        const char *url;
        int code;
    } bad[] = {{"crash", -EIO},    {"leave", -EIO},     {"garbage", -EPROTO}, {"other", -EPROTO},
               {"extra", -EPROTO}, {"badoid", -EPROTO}, {"twice", -EIO}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct seen seen = ask(bad[i].url, 0);
        assert_int_equal(seen.code, bad[i].code);
        assert_true(ask("two", 0).good);
    }
    stop();
}

static void test_deadline(void **state)
{
    start(2);
    struct seen hang = {0}, half = {0}, fine = {0};
    list("hang", 200, &hang);
    list("half", 200, &half);
    list("two", 0, &fine);
    await(&hang);
    await(&half);
    await(&fine);
    assert_int_equal(hang.code, -ETIMEDOUT);
    assert_true(hang.retryable);
    assert_int_equal(half.code, -ETIMEDOUT);
    assert_true(fine.good);
    stop();
}

/* Upstreams that hang do not keep what speaks to nobody waiting. */
static void test_local_goes_first(void **state)
{
    start(2);
    struct seen hang[3] = {{0}}, local = {0};
    for (int i = 0; i < 3; i++)
        list("hang", 300, &hang[i]);
    uv_run(&loop, UV_RUN_NOWAIT);
    struct git_ancestor_args args = {.mirror = "m", .old = "a", .new = "b"};
    git_pool_ancestor(pool, &args, compared, &local);
    await(&local);
    assert_true(local.good);
    assert_int_equal(local.order, 1);
    for (int i = 0; i < 3; i++)
        await(&hang[i]);
    stop();
}

static void got(const struct git_fetch_result *result, const struct err *err, void *userdata)
{
    note(userdata, result, err);
}

static void fetch(const char *url, struct seen *seen)
{
    strvec refs = {0};
    struct git_fetch_args args = {.url = url, .mirror = "m", .refs = &refs, .timeout_ms = 500};
    git_pool_fetch(pool, &args, got, seen);
}

/* Fetches that hang stop neither polls nor, for longer than their deadline, each other. */
static void test_fetches_leave_a_worker_for_polls(void **state)
{
    start(3);
    struct seen hang[3] = {{0}}, fine = {0}, polls[3] = {{0}};
    for (int i = 0; i < 3; i++)
        fetch("hang", &hang[i]);
    fetch("fine", &fine);
    for (int i = 0; i < 3; i++) {
        list("two", 0, &polls[i]);
        await(&polls[i]);
        assert_true(polls[i].good);
    }
    assert_int_equal(answers, 3);
    await(&fine);
    assert_int_equal(fine.order, 7);
    for (int i = 0; i < 3; i++)
        assert_int_equal(hang[i].code, -ETIMEDOUT);
    stop();
}

static void test_cancel(void **state)
{
    start(1);
    struct seen running = {0}, queued = {0}, done = {0}, fine = {0};
    struct git_request *a = list("hang", 0, &running);
    struct git_request *b = list("two", 0, &queued);
    uv_run(&loop, UV_RUN_ONCE);
    git_request_cancel(b);
    git_request_cancel(a);
    assert_int_equal(running.calls + queued.calls, 0);
    await(&running);
    await(&queued);
    assert_int_equal(running.code, -ECANCELED);
    assert_int_equal(queued.code, -ECANCELED);
    list("two", 0, &fine);
    await(&fine);
    assert_true(fine.good);
    git_request_cancel(list("two", 0, &done));
    await(&done);
    assert_int_equal(done.code, -ECANCELED);
    stop();
    assert_int_equal(running.calls, 1);
    assert_int_equal(queued.calls, 1);
}

static void test_close_in_the_middle(void **state)
{
    start(3);
    struct seen seen[10] = {{0}};
    for (int i = 0; i < 10; i++)
        list(i % 2 ? "hang" : "slow", 0, &seen[i]);
    for (int i = 0; i < 4; i++)
        uv_run(&loop, UV_RUN_ONCE);
    stop();
    for (int i = 0; i < 10; i++)
        assert_int_equal(seen[i].calls, 1);
}

static void close_inside(const struct git_list_result *result, const struct err *err,
                         void *userdata)
{
    git_pool_close(pool, note_closed, userdata);
}

static void test_close_from_a_callback(void **state)
{
    start(2);
    bool closed = false;
    struct seen other = {0};
    struct git_list_args args = {.url = "two"};
    git_pool_list(pool, &args, close_inside, &closed);
    list("hang", 0, &other);
    stop_loop();
    assert_true(closed);
    assert_int_equal(other.code, -ECANCELED);
}

static void test_no_program(void **state)
{
    struct git_pool_options options = {.worker = "/nonexistent/worker", .state_dir = "/tmp"};
    struct err err = ERR_INIT;
    start_loop();
    assert_int_equal(git_pool_new(&loop, &options, &pool, &err), 0);
    struct seen seen = ask("two", 0);
    assert_int_equal(seen.code, -ENOENT);
    assert_true(seen.retryable);
    stop();
}

static void test_text_that_is_not_utf8(void **state)
{
    start(1);
    struct seen seen = ask("\xff\xfe", 0);
    assert_int_equal(seen.code, -EINVAL);
    stop();
}

static size_t open_descriptors(void)
{
    size_t n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* Workers come and go, and leave no descriptor. */
static void test_nothing_leaks(void **state)
{
    start(2);
    ask("two", 0);
    size_t before = open_descriptors();
    for (int i = 0; i < 20; i++)
        ask("leave", 0);
    ask("two", 0);
    assert_in_range(open_descriptors(), before, before + 4);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_bad_workers),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_local_goes_first),
        cmocka_unit_test(test_fetches_leave_a_worker_for_polls),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_close_in_the_middle),
        cmocka_unit_test(test_close_from_a_callback),
        cmocka_unit_test(test_no_program),
        cmocka_unit_test(test_text_that_is_not_utf8),
        cmocka_unit_test(test_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
