#include "agent/runner.h"

#include "common/log.h"
#include "common/subprocess.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>

struct run {
    struct runner *runner;
    struct spool_job *job;
    struct subprocess *sub;
    uv_timer_t killer;
    bool told; /* to end */
    enum wire_outcome outcome;
};

struct runner {
    struct runner_options options;
    VEC(struct run *) runs;
};

struct runner *runner_new(const struct runner_options *options)
{
    struct runner *runner = xnew(struct runner);
    runner->options = *options;
    return runner;
}

void runner_free(struct runner *runner)
{
    if (!runner)
        return;
    assert(runner->runs.n == 0);
    vec_free(&runner->runs);
    free(runner);
}

/* ---- results that the helper did not write ---- */

static void set_failure(struct spool_job *job, enum wire_outcome outcome, const char *reason)
{
    struct wire_result result = {.epoch = job->epoch, .outcome = outcome, .reason = (char *)reason};
    result.kind = outcome == WIRE_FAILED ? WIRE_FAILURE_INFRA : WIRE_FAILURE_NONE;
    spool_note(job, "%s", reason);
    spool_set_result(job, &result);
}

static void describe_end(char *buf, size_t size, int status, int sig)
{
    if (sig != 0)
        snprintf(buf, size, "sheaf-job was ended by signal %d (%s) without a result", sig,
                 strsignal(sig));
    else
        snprintf(buf, size, "sheaf-job ended with status %d without a result", status);
}

static bool has_result(const struct run *run)
{
    struct wire_result result;
    struct err err = ERR_INIT;
    int r = spool_result(run->job, &result, &err);
    if (r < 0) {
        if (r != -ENOENT)
            log_warning("lease %s: %s", run->job->lease, err.text);
        return false;
    }
    log_info("lease %s: %s%s%s", run->job->lease, wire_outcome_name(result.outcome),
             result.reason ? ": " : "", result.reason ? result.reason : "");
    wire_result_done(&result);
    return true;
}

static void settle_result(struct run *run, int status, int sig)
{
    char reason[160];
    if (has_result(run))
        return;
    if (run->told && run->outcome == WIRE_LOST)
        snprintf(reason, sizeof(reason), "the agent was stopped");
    else if (run->told)
        snprintf(reason, sizeof(reason), "cancelled");
    else
        describe_end(reason, sizeof(reason), status, sig);
    log_info("lease %s: %s", run->job->lease, reason);
    set_failure(run->job, run->told ? run->outcome : WIRE_FAILED, reason);
}

/* ---- the process ---- */

static void on_output(void *arg, const char *data, size_t n)
{
    struct run *run = arg;
    spool_log(run->job, data, n);
    run->runner->options.on_output(run->runner->options.arg, run->job->lease);
}

static void on_killer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void forget(struct run *run)
{
    struct runner *runner = run->runner;
    for (size_t i = 0; i < runner->runs.n; i++)
        if (runner->runs.items[i] == run) {
            vec_remove(&runner->runs, i);
            break;
        }
    uv_close((uv_handle_t *)&run->killer, on_killer_closed);
}

static void on_process_ended(void *arg, int status, int sig)
{
    struct run *run = arg;
    struct runner_options *o = &run->runner->options;
    struct spool_job *job = run->job;
    settle_result(run, status, sig);
    forget(run);
    o->on_ended(o->arg, job->lease);
}

static void on_killer(uv_timer_t *timer)
{
    struct run *run = timer->data;
    log_warning("lease %s: its helper does not end; killed", run->job->lease);
    subprocess_kill(run->sub, SIGKILL);
}

static int spawn(struct run *run, struct err *err)
{
    char *args[] = {(char *)run->runner->options.helper, run->job->dir, NULL};
    struct subprocess_options o = {
        .args = args,
        .merge = true,
        .on_output = on_output,
        .on_exit = on_process_ended,
        .arg = run,
    };
    return subprocess_start(run->runner->options.loop, &o, &run->sub, err);
}

int runner_start(struct runner *runner, struct spool_job *job, struct err *err)
{
    struct run *run = xnew(struct run);
    run->runner = runner;
    run->job = job;
    run->killer.data = run;
    uv_timer_init(runner->options.loop, &run->killer);
    vec_push(&runner->runs, run);
    int r = spawn(run, err);
    if (r < 0) {
        set_failure(job, WIRE_FAILED, err->text);
        forget(run);
    }
    return r;
}

static void end_run(struct run *run, enum wire_outcome outcome)
{
    if (run->told)
        return;
    run->told = true;
    run->outcome = outcome;
    if (outcome == WIRE_CANCELLED)
        spool_mark_cancelled(run->job);
    subprocess_kill(run->sub, SIGTERM);
    uv_timer_start(&run->killer, on_killer, (uint64_t)run->runner->options.kill_ms, 0);
}

void runner_end(struct runner *runner, const char *lease, enum wire_outcome outcome)
{
    VEC_FOREACH (&runner->runs, run)
        if (strcmp((*run)->job->lease, lease) == 0) {
            end_run(*run, outcome);
            return;
        }
}

void runner_kill_all(struct runner *runner)
{
    VEC_FOREACH (&runner->runs, run) {
        end_run(*run, WIRE_LOST);
        subprocess_kill((*run)->sub, SIGKILL);
    }
}
