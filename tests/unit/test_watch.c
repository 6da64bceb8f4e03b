#include "tests/lib/test.h"

#include "daemon/watch.h"

/* The last things that were reported of one source. */
struct log {
    unsigned calls, good, changed;
    uint64_t sighting;
    unsigned failures;
    int code;
    size_t refs;
    int64_t next_ms;
};

static uv_loop_t loop;
static uv_timer_t tick; /* so that UV_RUN_ONCE comes back when only timers had something to do */
static struct git_pool *pool;
static struct watch *watch;
static struct log logs[3]; /* by the last character of the URL */
static char path[64], url[96];
static bool closed;
static void (*also)(void); /* called from within the next report */

static void ticked(uv_timer_t *timer)
{
}

static void saw(const struct watch_seen *seen, void *userdata)
{
    struct log *log = &logs[seen->url[strlen(seen->url) - 1] % 3];
    log->calls++;
    log->good += seen->list != NULL;
    log->changed += seen->changed;
    log->sighting = seen->sighting;
    log->failures = seen->failures;
    log->code = seen->err->code;
    log->refs = seen->list ? seen->list->refs.n : 0;
    log->next_ms = seen->next_ms;
    assert_int_equal(seen->list == NULL, seen->err->code != 0);
    void (*now)(void) = also;
    also = NULL;
    if (now)
        now();
}

static void set_refs(int n)
{
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fprintf(f, "%d", n);
    fclose(f);
}

/* The log of the source whose refs set_refs sets. */
static struct log *mine(void)
{
    return &logs[url[strlen(url) - 1] % 3];
}

static int setup(void **state)
{
    struct err err = ERR_INIT;
    struct git_pool_options options = {
        .worker = FAKE_GIT_WORKER, .state_dir = "/tmp", .workers = 3};
    struct watch_options watching = {.state_dir = "/tmp", .cap_ms = 400, .timeout_ms = 150};
    memset(logs, 0, sizeof(logs));
    closed = false;
    also = NULL;
    uv_loop_init(&loop);
    uv_timer_init(&loop, &tick);
    uv_timer_start(&tick, ticked, 5, 5);
    uv_unref((uv_handle_t *)&tick);
    assert_int_equal(git_pool_new(&loop, &options, &pool, &err), 0);
    watch = watch_new(&loop, pool, &watching, saw, NULL);
    snprintf(path, sizeof(path), "/tmp/sheaf-test-watch.%d", (int)getpid());
    snprintf(url, sizeof(url), "count:%s", path);
    set_refs(2);
    return 0;
}

static void watch_closed(void *userdata)
{
    closed = true;
    git_pool_close(pool, NULL, NULL);
}

static int teardown(void **state)
{
    watch_close(watch, watch_closed, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&tick, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    (void)unlink(path);
    return closed && uv_loop_close(&loop) == 0 ? 0 : -1;
}

static strvec all_refs(void)
{
    static char *items[] = {"refs/*"};
    return (strvec){.items = items, .n = 1};
}

static void configure(const char *one, int64_t interval_ms)
{
    strvec patterns = all_refs();
    struct watch_source source = {.url = one, .patterns = &patterns, .interval_ms = interval_ms};
    watch_configure(watch, &source, one ? 1 : 0);
}

static void await_calls(const struct log *log, unsigned calls)
{
    while (log->calls < calls)
        uv_run(&loop, UV_RUN_ONCE);
}

static void run_for(int64_t ms)
{
    uint64_t until = uv_hrtime() + (uint64_t)ms * 1000000;
    while (uv_hrtime() < until)
        uv_run(&loop, UV_RUN_ONCE);
}

static void test_sightings_are_numbered_and_compared(void **state)
{
    configure(url, 30);
    await_calls(mine(), 3);
    assert_int_equal(mine()->sighting, 3);
    assert_int_equal(mine()->changed, 1);
    assert_int_equal(mine()->refs, 2);
    set_refs(3);
    while (mine()->changed < 2)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(mine()->refs, 3);
    assert_int_equal(mine()->sighting, mine()->calls);
}

static void test_numbers_go_on_after_a_restart(void **state)
{
    strvec patterns = all_refs();
    struct watch_source source = {
        .url = url, .patterns = &patterns, .interval_ms = 30, .sighting = 41, .had_refs = true};
    set_refs(0);
    watch_configure(watch, &source, 1);
    await_calls(mine(), 1);
    assert_int_equal(mine()->code, -ENODATA);
    assert_int_equal(mine()->sighting, 41);
    set_refs(1);
    while (!mine()->good)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(mine()->sighting, 42);
}

static void test_empty_is_a_failure_only_where_there_was_something(void **state)
{
    set_refs(0);
    configure(url, 30);
    await_calls(mine(), 2);
    assert_int_equal(mine()->good, 2);
    set_refs(1);
    while (mine()->refs != 1)
        uv_run(&loop, UV_RUN_ONCE);
    set_refs(0);
    while (!mine()->failures)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(mine()->code, -ENODATA);
}

static void test_failures_back_off_and_recover(void **state)
{
    (void)unlink(path);
    configure(url, 40);
    await_calls(mine(), 4);
    assert_int_equal(mine()->failures, 4);
    assert_int_equal(mine()->code, -ENOENT);
    assert_in_range(mine()->next_ms, 288, 352); /* 40 doubled three times, a tenth either way */
    set_refs(1);
    assert_int_equal(watch_poll_now(watch, url), 0);
    await_calls(mine(), 5);
    assert_int_equal(mine()->failures, 0);
    assert_in_range(mine()->next_ms, 36, 44);
}

static void test_hanging_sources_stop_nobody(void **state)
{
    strvec patterns = all_refs();
    struct watch_source sources[] = {
        {.url = "hang-0", .patterns = &patterns, .interval_ms = 50}, /* '0' is 48: log 0 */
        {.url = url, .patterns = &patterns, .interval_ms = 50},
    };
    if (mine() == &logs[0])
        sources[0].url = "hang-1";
    watch_configure(watch, sources, 2);
    await_calls(mine(), 4);
    struct log *other = mine() == &logs[0] ? &logs[1] : &logs[0];
    await_calls(other, 1);
    assert_int_equal(other->code, -ETIMEDOUT);
}

static void test_poll_now(void **state)
{
    assert_int_equal(watch_poll_now(watch, "none"), -ENOENT);
    configure(url, 60000);
    watch_poll_now(watch, url);
    await_calls(mine(), 1);
    /* one that comes while a poll is under way is not lost in it, and three are one */
    watch_poll_now(watch, url);
    watch_poll_now(watch, url);
    watch_poll_now(watch, url);
    run_for(150);
    assert_int_equal(mine()->calls, 3);
}

static void test_when(void **state)
{
    struct watch_when when;
    assert_int_equal(watch_when(watch, url, &when), -ENOENT);
    configure(url, 60000);
    assert_int_equal(watch_when(watch, url, &when), 0);
    assert_false(when.polling);
    assert_in_range(when.next_ms, 0, 5000);
    watch_poll_now(watch, url);
    watch_when(watch, url, &when);
    assert_true(when.polling);
    watch_poll_now(watch, url); /* one more follows */
    await_calls(mine(), 1);
    watch_when(watch, url, &when);
    assert_true(when.polling);
    await_calls(mine(), 2);
    watch_when(watch, url, &when);
    assert_false(when.polling);
    assert_in_range(when.next_ms, 50000, 66000);
}

static unsigned fetches;
static int fetch_code;

static void fetched(const struct git_fetch_result *result, const struct err *err, void *userdata)
{
    fetches++;
    fetch_code = err->code;
    assert_int_equal(result == NULL, err->code != 0);
    if (result)
        assert_string_equal(result->missing.items[0], "gone");
}

static void test_fetches_and_polls_take_turns(void **state)
{
    strvec refs = all_refs();
    fetches = 0;
    assert_int_equal(watch_fetch(watch, url, &refs, false, fetched, NULL), -ENOENT);
    configure(url, 60000);
    watch_poll_now(watch, url);
    for (int i = 0; i < 3; i++)
        assert_int_equal(watch_fetch(watch, url, &refs, false, fetched, NULL), 0);
    assert_int_equal(fetches, 0);
    while (fetches < 3)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(fetch_code, 0);
    assert_int_equal(mine()->calls, 1);
}

static void test_forgetting_cancels(void **state)
{
    strvec refs = all_refs();
    fetches = 0;
    configure("hang-0", 60000);
    watch_poll_now(watch, "hang-0");
    watch_fetch(watch, "hang-0", &refs, false, fetched, NULL);
    uv_run(&loop, UV_RUN_ONCE);
    configure(NULL, 0);
    assert_int_equal(fetches, 0);
    run_for(50);
    assert_int_equal(fetches, 1);
    assert_int_equal(fetch_code, -ECANCELED);
    assert_int_equal(logs[0].calls + logs[1].calls + logs[2].calls, 0);
    assert_int_equal(watch_poll_now(watch, "hang-0"), -ENOENT);
}

static void forget_all(void)
{
    configure(NULL, 0);
}

static void test_forgetting_from_within_a_report(void **state)
{
    also = forget_all;
    configure(url, 20);
    await_calls(mine(), 1);
    run_for(100);
    assert_int_equal(mine()->calls, 1);
}

/* A poll that asked for less than is wanted now is made again, and reported once. */
static void test_new_patterns(void **state)
{
    static char *more[] = {"refs/*", "HEAD"};
    strvec patterns = {.items = more, .n = 2};
    struct watch_source source = {.url = url, .patterns = &patterns, .interval_ms = 60000};
    configure(url, 60000);
    watch_poll_now(watch, url);
    watch_configure(watch, &source, 1);
    run_for(100);
    assert_int_equal(mine()->calls, 1);
    watch_configure(watch, &source, 1);
    run_for(50);
    assert_int_equal(mine()->calls, 1);
    configure(url, 60000);
    await_calls(mine(), 2);
    assert_int_equal(mine()->changed, 2);
}

static void test_new_interval(void **state)
{
    configure(url, 60000);
    watch_poll_now(watch, url);
    await_calls(mine(), 1);
    configure(url, 20);
    await_calls(mine(), 3);
}

/* As while the store has no room: polls that come due, or are asked for, wait; fetches do not; then one poll makes up for
 * all of them. */
static void test_a_pause_puts_polls_off(void **state)
{
    strvec refs = all_refs();
    struct watch_when when;
    fetches = 0;
    configure(url, 20);
    await_calls(mine(), 1);
    watch_pause(watch, true);
    for (watch_when(watch, url, &when); when.polling; watch_when(watch, url, &when))
        uv_run(&loop, UV_RUN_ONCE); /* what is under way ends */
    unsigned calls = mine()->calls;
    assert_int_equal(watch_poll_now(watch, url), 0);
    watch_fetch(watch, url, &refs, false, fetched, NULL);
    run_for(100);
    assert_int_equal(fetches, 1);
    assert_int_equal(mine()->calls, calls);
    assert_int_equal(watch_when(watch, url, &when), 0);
    assert_false(when.polling); /* it is wanted, and not being looked at */
    configure(url, 60000);
    watch_pause(watch, false);
    assert_int_equal(watch_when(watch, url, &when), 0);
    assert_true(when.polling);
    await_calls(mine(), calls + 1);
    run_for(50);
    assert_int_equal(mine()->calls, calls + 1);
    assert_int_equal(mine()->sighting, calls + 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_sightings_are_numbered_and_compared),
        TEST(test_numbers_go_on_after_a_restart),
        TEST(test_empty_is_a_failure_only_where_there_was_something),
        TEST(test_failures_back_off_and_recover),
        TEST(test_hanging_sources_stop_nobody),
        TEST(test_poll_now),
        TEST(test_when),
        TEST(test_fetches_and_polls_take_turns),
        TEST(test_forgetting_cancels),
        TEST(test_forgetting_from_within_a_report),
        TEST(test_new_patterns),
        TEST(test_new_interval),
        TEST(test_a_pause_puts_polls_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
