#include "common/mem.h"
#include "common/subprocess.h"
#include "tests/lib/test.h"

#include <linux/close_range.h>
#include <signal.h>

struct seen {
    struct strbuf output;
    int exits, status, sig;
};

static void on_output(void *arg, const char *data, size_t n)
{
    strbuf_addn(&((struct seen *)arg)->output, data, n);
}

static void on_ended(void *arg, int status, int sig)
{
    struct seen *seen = arg;
    seen->exits++;
    seen->status = status;
    seen->sig = sig;
}

static struct subprocess_options shell(struct seen *seen, char **args, const char *script)
{
    args[0] = (char *)"/bin/sh";
    args[1] = (char *)"-c";
    args[2] = (char *)script;
    args[3] = NULL;
    return (struct subprocess_options){
        .args = args, .merge = true, .on_output = on_output, .on_exit = on_ended, .arg = seen};
}

static void run(const char *script, struct seen *seen)
{
    uv_loop_t loop;
    char *args[4];
    struct subprocess_options o = shell(seen, args, script);
    static const char *const env[] = {"HOME=/nowhere", "SUBPROCESS=yes", NULL};
    o.env = env;
    struct subprocess *sub;
    uv_loop_init(&loop);
    assert_int_equal(subprocess_start(&loop, &o, &sub, NULL), 0);
    assert_int_equal(seen->exits, 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(seen->exits, 1);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void test_output_and_status(void **state)
{
    struct seen seen = {0};
    run("echo $HOME $SUBPROCESS; echo oops >&2; echo again >/dev/stderr; exit 7", &seen);
    assert_string_equal(seen.output.s, "/nowhere yes\noops\nagain\n");
    assert_int_equal(seen.status, 7);
    strbuf_done(&seen.output);
}

static void test_all_output_comes_before_the_exit(void **state)
{
    struct seen seen = {0};
    run("head -c 3000000 /dev/zero", &seen);
    assert_int_equal(seen.output.n, 3000000);
    strbuf_done(&seen.output);
}

static void test_a_pipe_held_by_another_does_not_hang(void **state)
{
    struct seen seen = {0};
    run("sleep 4 & echo here; exit 0", &seen);
    assert_string_equal(seen.output.s, "here\n");
    strbuf_done(&seen.output);
}

static void test_no_descriptor_leaks(void **state)
{
    struct seen seen = {0};
    close_range(3, ~0U, CLOSE_RANGE_CLOEXEC); /* what whoever started this test left open */
    run("ls /proc/self/fd | wc -l; readlink /proc/self/fd/0", &seen);
    /* 0, 1, 2 and the folder that ls reads */
    assert_string_equal(seen.output.s, "4\n/dev/null\n");
    strbuf_done(&seen.output);
}

static void test_missing_program(void **state)
{
    uv_loop_t loop;
    struct seen seen = {0};
    struct err err = ERR_INIT;
    char *args[] = {(char *)"/nonexistent/program", NULL};
    struct subprocess_options o = {
        .args = args, .on_output = on_output, .on_exit = on_ended, .arg = &seen};
    struct subprocess *sub = NULL;
    uv_loop_init(&loop);
    assert_int_equal(subprocess_start(&loop, &o, &sub, &err), -ENOENT);
    assert_null(sub);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(seen.exits, 0);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void on_timer(uv_timer_t *timer)
{
    subprocess_kill(timer->data, SIGKILL);
    uv_close((uv_handle_t *)timer, NULL);
}

static void test_kill_takes_the_group(void **state)
{
    uv_loop_t loop;
    struct seen seen = {0};
    char *args[4];
    /* the background process would hold the pipe, so that its end shows that it is gone */
    struct subprocess_options o = shell(&seen, args, "trap '' TERM; sleep 60 & wait");
    struct subprocess *sub;
    uv_timer_t timer;
    uv_loop_init(&loop);
    assert_int_equal(subprocess_start(&loop, &o, &sub, NULL), 0);
    uv_timer_init(&loop, &timer);
    timer.data = sub;
    uv_timer_start(&timer, on_timer, 100, 0);
    uint64_t start = uv_hrtime();
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(seen.sig, SIGKILL);
    assert_true((uv_hrtime() - start) / 1000000 < 900);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_output_and_status),
        cmocka_unit_test(test_all_output_comes_before_the_exit),
        cmocka_unit_test(test_a_pipe_held_by_another_does_not_hang),
        cmocka_unit_test(test_no_descriptor_leaks),
        cmocka_unit_test(test_missing_program),
        cmocka_unit_test(test_kill_takes_the_group),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
