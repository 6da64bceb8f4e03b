/* Runs `sheaf-job DIR` for each lease: its output goes to the spool, it is told to end by SIGTERM and, if
 * it does not, killed; it is reaped, and where it left no result, one is made for it. */
#pragma once

#include "agent/spool.h"

#include <uv.h>

struct runner;

struct runner_options {
    uv_loop_t *loop;
    const char *helper; /* path of sheaf-job; outlives the runner */
    int64_t kill_ms;    /* from SIGTERM to SIGKILL */
    /* The job's log has grown. */
    void (*on_output)(void *arg, const char *lease);
    /* The process is gone and its result is in the spool; from the loop, once a start. */
    void (*on_ended)(void *arg, const char *lease);
    void *arg;
};

/* The caller owns it. */
struct runner *runner_new(const struct runner_options *options);
/* Frees it; no process may be left. NULL is fine. */
void runner_free(struct runner *runner);

/* Starts the helper for a job. On failure the spool has got a result that says so, and on_ended does not
 * come. */
int runner_start(struct runner *runner, struct spool_job *job, struct err *err);
/* Tells the helper of a lease to end. `outcome` is what to say of it if it leaves no better result:
 * WIRE_CANCELLED, or WIRE_LOST when it is the agent that ends. */
void runner_end(struct runner *runner, const char *lease, enum wire_outcome outcome);
/* Kills whatever still runs. */
void runner_kill_all(struct runner *runner);
