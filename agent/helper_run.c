#include "agent/helper_run.h"

#include "common/mem.h"
#include "common/subprocess.h"

#include <signal.h>

#define OUTPUT_MAX (1024 * 1024)

struct helper_run {
    struct helper_run_options options;
    struct subprocess *sub;
    struct strbuf output;
    uv_timer_t timer;
    bool late;
};

static void on_closed(uv_handle_t *handle)
{
    struct helper_run *run = handle->data;
    strbuf_done(&run->output);
    free(run);
}

static void on_output(void *arg, const char *data, size_t n)
{
    struct helper_run *run = arg;
    size_t room = OUTPUT_MAX - run->output.n;
    strbuf_addn(&run->output, data, n < room ? n : room);
}

static void on_ended(void *arg, int status, int sig)
{
    struct helper_run *run = arg;
    char failure[80] = "";
    if (run->late)
        snprintf(failure, sizeof(failure), "not done within %lld s",
                 (long long)run->options.limit_ms / 1000);
    else if (sig != 0)
        snprintf(failure, sizeof(failure), "ended by signal %d", sig);
    else if (status != 0)
        snprintf(failure, sizeof(failure), "ended with status %d", status);
    run->options.done(run->options.arg, failure[0] ? failure : NULL, strbuf_str(&run->output),
                      run->output.n);
    uv_close((uv_handle_t *)&run->timer, on_closed);
}

static void on_late(uv_timer_t *timer)
{
    struct helper_run *run = timer->data;
    run->late = true;
    subprocess_kill(run->sub, SIGKILL);
}

int helper_run_start(uv_loop_t *loop, const struct helper_run_options *options,
                     struct helper_run **ret, struct err *err)
{
    struct helper_run *run = xnew(struct helper_run);
    run->options = *options;
    run->options.args = NULL;
    run->timer.data = run;
    uv_timer_init(loop, &run->timer);
    struct subprocess_options o = {
        .args = options->args, .on_output = on_output, .on_exit = on_ended, .arg = run};
    int r = subprocess_start(loop, &o, &run->sub, err);
    if (r < 0) {
        uv_close((uv_handle_t *)&run->timer, on_closed);
        return r;
    }
    if (options->limit_ms > 0)
        uv_timer_start(&run->timer, on_late, (uint64_t)options->limit_ms, 0);
    *ret = run;
    return 0;
}

void helper_run_kill(struct helper_run *run)
{
    subprocess_kill(run->sub, SIGKILL);
}
