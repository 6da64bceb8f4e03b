/* A child process on a libuv loop whose output is read to its end.
 *
 * One owner; `on_exit` is called exactly once, from the loop, after the child is reaped and its output
 * has come to its end, and the subprocess is gone when it returns. The child gets its own session (a
 * terminal's Ctrl-C does not reach it), /dev/null as input, and none of our descriptors. */
#pragma once

#include "common/err.h"

#include <stddef.h>
#include <sys/types.h>
#include <uv.h>

struct subprocess;

struct subprocess_options {
    char *const *args; /* args[0] is the executable's path; NULL-terminated */
    const char *const
        *env;        /* "K=V" that are added to our own environment, NULL-terminated; or NULL */
    const char *cwd; /* or NULL */
    bool merge;      /* standard error joins the output; else it is ours */
    /* `n` bytes of output, n > 0 */
    void (*on_output)(void *arg, const char *data, size_t n);
    /* `status` is the exit status, `sig` the signal that ended it or 0 */
    void (*on_exit)(void *arg, int status, int sig);
    void *arg;
};

/* Starts it; the options are needed during the call only. Owned by the loop until on_exit. On failure
 * no callback comes. */
int subprocess_start(uv_loop_t *loop, const struct subprocess_options *options,
                     struct subprocess **ret, struct err *err);

/* Sends a signal to the child, and with SIGKILL to everything in its process group as well. Harmless
 * once it has ended. */
void subprocess_kill(struct subprocess *sub, int sig);

/* Its process id. */
pid_t subprocess_pid(const struct subprocess *sub);
