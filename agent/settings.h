/* The agent's settings: from the command line, and from one file of `key = value` lines with the same
 * names. The command line wins.
 *
 *     # /etc/sheaf/agent.conf, mode 0600
 *     coordinator = http://127.0.0.1:7480
 *     secret = …
 *     slots = 2
 */
#pragma once

#include "common/err.h"
#include "common/log.h"
#include "common/mem.h"

struct settings {
    char *coordinator; /* base URL without a slash at its end */
    char *secret;      /* this board's own */
    char *name;        /* how it calls itself in its log; the host's name */
    char *state;       /* folder; absolute */
    char *helper;      /* sheaf-job; NULL: found with helper_path */
    char *builder;
    int64_t slots;
    int64_t log_limit;   /* bytes of log a job */
    int64_t cache_limit; /* bytes */
    int64_t kill_after;  /* seconds from a job's SIGTERM to its SIGKILL */
    strvec labels;
    strvec emulated; /* platforms, or "all"; empty: emulates nothing */
    char *log_level;
};

/* Reads them. Returns 1 when the command line asked for help or the version, which has been printed.
 * -EINVAL: something is wrong or missing; -EACCES: a file with a secret in it may be read by others. */
int settings_load(int argc, char **argv, struct settings *ret, struct err *err);
/* Frees what it owns. */
void settings_done(struct settings *settings);
