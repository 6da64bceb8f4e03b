/* A cgroup (v2) for one sandbox, where this process may make one: kills and bounds beyond what the
 * namespaces and rlimits do. Where it may not, nothing here is an error. */
#pragma once

#include "common/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct sandbox_cgroup {
    char *path; /* NULL: there is none */
    bool memory, pids;
};

/* Makes a cgroup below this process's own, or below its parent where its own is named "daemon" (a cgroup
 * with members of its own cannot hand controllers down). ret->path is NULL when it cannot be had. */
void sandbox_cgroup_open(struct sandbox_cgroup *ret);
/* Bounds it: bytes and processes, 0 for none. Does what the controllers at hand can. */
void sandbox_cgroup_limit(const struct sandbox_cgroup *c, int64_t memory, int64_t processes);
/* Moves a process into it. */
int sandbox_cgroup_add(const struct sandbox_cgroup *c, pid_t pid, struct err *err);
/* Kills all members. */
void sandbox_cgroup_kill(const struct sandbox_cgroup *c);
/* Whether a member was killed for want of memory. */
bool sandbox_cgroup_oom(const struct sandbox_cgroup *c);
/* Removes those that were left behind by processes that are no more. */
void sandbox_cgroup_sweep(void);
/* Kills what is left, removes the cgroup and frees the struct. */
void sandbox_cgroup_done(struct sandbox_cgroup *c);
