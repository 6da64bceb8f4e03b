/* The outer half of a running sandbox: relays what the program writes, holds the deadline, watches the
 * disk, and kills. */
#pragma once

#include "agent/sandbox.h"
#include "agent/sandbox_cgroup.h"

#include <sys/types.h>

struct sandbox_watch {
    const struct sandbox_spec *spec;
    const struct sandbox_cgroup *cgroup;
    pid_t pid;             /* init, our child */
    int status_fd, log_fd; /* read ends; borrowed */
    int sync_fd;           /* write end; borrowed */
};

/* Returns when init and all below it are dead and reaped. As sandbox_run. */
int sandbox_watch(const struct sandbox_watch *w, struct sandbox_outcome *ret, struct err *err);
