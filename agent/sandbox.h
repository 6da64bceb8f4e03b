/* Where a recipe runs: its own user, mount, PID, IPC and UTS namespaces under an init of ours.
 *
 * The recipe is root of its user namespace and nobody outside it: ids 0..65535 are SANDBOX_ID_SHIFT and up
 * on the board. It sees a root file system of its own, the folders that it was given, a small /dev, a fresh
 * /proc, and the host's network; no file, environment or process of the agent. Every mount lives in the
 * sandbox's own namespace and is gone with it; killing its init kills all that ever ran in it. A board that
 * cannot give all of this gives less, and says so: see sandbox_ability. */
#pragma once

#include "common/err.h"
#include "common/mem.h"

#include <stdbool.h>
#include <stdint.h>

#define SANDBOX_ID_SHIFT 100000U
#define SANDBOX_ID_RANGE 65536U

/* What isolates a recipe on this board. */
struct sandbox_ability {
    bool user, mount, pid, ipc, uts; /* namespaces */
    bool cgroup_kill;                /* a cgroup v2 of our own whose members die at one write */
    bool cgroup_memory, cgroup_pids; /* controllers that bound it */
};

/* A folder or file of the board that the sandbox sees. */
struct sandbox_mount {
    const char *source; /* path on the board; one that does not exist is left out */
    const char *target; /* path in the sandbox; made if need be, links in it are replaced */
    bool read_only;
};

enum sandbox_root_mode {
    SANDBOX_ROOT_OVERLAY, /* `root` stays as it is; changes go to the scratch folder and are lost */
    SANDBOX_ROOT_DIRECT,  /* changes go to `root` itself */
    SANDBOX_ROOT_EMPTY,   /* no `root`: only what is mounted */
};

struct sandbox_spec {
    const char *scratch; /* a folder that does not exist yet, on the workspace's file system */
    const char *root;    /* the root file system, owners shifted by sandbox_id_shift() */
    enum sandbox_root_mode mode;
    const struct sandbox_mount *mounts;
    size_t n_mounts;
    const char *const *argv; /* NULL-terminated; argv[0] is looked up in env's PATH */
    const char *const *env;  /* NULL-terminated; all there is */
    const char *cwd;         /* in the sandbox; NULL is "/" */
    uint32_t uid, gid;       /* that the program runs as, inside */
    bool linux32;            /* uname says a 32-bit machine */
    int64_t timeout_ms;      /* 0: none */
    int64_t memory;          /* bytes; 0: none. Holds where cgroup_memory does */
    int64_t processes;       /* 0: a default that no build needs */
    int64_t disk_reserve;    /* bytes: below so much free space where `scratch` is, it is killed */
    int log_fd;              /* gets what the program writes; -1: our standard output */
    strvec *capture;         /* NULL, or gets the program's last lines */
};

enum sandbox_end {
    SANDBOX_EXITED,   /* status is the exit status */
    SANDBOX_SIGNALED, /* status is the signal */
    SANDBOX_TIMEOUT,
    SANDBOX_MEMORY, /* killed for want of memory */
    SANDBOX_DISK,   /* killed for want of disk space */
};

struct sandbox_outcome {
    enum sandbox_end end;
    int status;
    int64_t duration_ms;
};

/* What this board can give; found by trying once and remembered. */
const struct sandbox_ability *sandbox_ability(void);
/* Appends the names of what isolates a recipe here ("userns", "mount", "pid", "ipc", "uts", "cgroup-kill",
 * "cgroup-memory", "cgroup-pids") to `names`. */
void sandbox_ability_names(strvec *names);
/* Whether an overlay can be mounted in a sandbox over folders of `folder`'s file system (since Linux 5.11,
 * on most file systems); tried in a folder made for it. */
bool sandbox_overlay_works(const char *folder);
/* What is added to an owner inside to get the owner on disk: SANDBOX_ID_SHIFT, or 0 where there is no
 * user namespace. */
uint32_t sandbox_id_shift(void);

/* Runs a program in a sandbox and returns when nothing of it is left. 0 with *ret set however the program
 * ended; an error is the board's: the sandbox could not be made, or the program in it not be started
 * (-ENOEXEC, -ENOENT: also when it is the wrong platform's). `scratch` stays for the caller to remove. */
int sandbox_run(const struct sandbox_spec *spec, struct sandbox_outcome *ret, struct err *err);

/* Whether the outcome is an exit with status 0. */
static inline bool sandbox_succeeded(const struct sandbox_outcome *o)
{
    return o->end == SANDBOX_EXITED && o->status == 0;
}
