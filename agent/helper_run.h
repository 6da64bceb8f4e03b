/* One short run of our helper whose output is wanted: facts, sweeps. */
#pragma once

#include "common/err.h"

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct helper_run;

struct helper_run_options {
    char *const
        *args; /* args[0] is the helper's path; NULL-terminated; needed during the call only */
    int64_t limit_ms; /* it is killed after this; 0: it may take as long as it likes */
    /* Called once, from the loop. `failure` is NULL when it exited with 0, else says what went wrong;
     * `output` is what it wrote to its standard output, at most 1 MiB. Both are borrowed. */
    void (*done)(void *arg, const char *failure, const char *output, size_t n);
    void *arg;
};

/* Starts it; it is owned by the loop until `done`. On failure `done` does not come. */
int helper_run_start(uv_loop_t *loop, const struct helper_run_options *options,
                     struct helper_run **ret, struct err *err);
/* Kills it; `done` follows. */
void helper_run_kill(struct helper_run *run);
