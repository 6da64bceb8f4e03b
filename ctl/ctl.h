/* sheafctl: what its commands share. A command returns the program's exit status. */
#pragma once

#include "common/http_sync.h"
#include "ctl/format.h"
#include "ctl/table.h"

#include <jansson.h>

enum {
    CTL_OK = 0,
    CTL_FAILED = 1,    /* refused by the coordinator, or what was asked about has failed */
    CTL_USAGE = 2,     /* the command line makes no sense */
    CTL_NOT_FOUND = 3, /* no such track, build, job, board or source */
    CTL_AWAY = 4,      /* no coordinator answers */
    CTL_WORSE =
        5, /* check --against-running: the file is good, and something would be worse with it */
};

struct ctl {
    struct http_sync *sync;
    const char *socket, *url; /* url NULL: by the socket */
    char *authorization;      /* NULL: none */
    bool json, colors;
    /* what the command line said; NULL and 0 where it did not */
    const char *command;
    int n_args;
    char **args;
    bool follow, no_cache, with_dependents;
    const char *platform, *track, *file, *attempt, *reason;
    bool quiet_away; /* a coordinator that does not answer has been told of */
    long limit, before;
    const char *ref, *to;
    json_t *paths; /* a list */
    bool lost, against_running;
};

/* ctl/client.c */

/* GETs a path (printf-formatted, ids escaped with ctl_escape). On CTL_OK *ret is the caller's; else the
 * reason has been printed. */
int ctl_get(struct ctl *ctl, json_t **ret, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* POSTs `body` (whose reference is taken over) to a path; *ret as with ctl_get. */
int ctl_post(struct ctl *ctl, json_t *body, json_t **ret, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* GETs a path and writes the body, as it comes, to `text`, or to standard output where that is NULL. *ret_written
 * (bytes) and *ret_attempt (the Sheaf-Attempt header, 0 without one) are always set. */
int ctl_stream(struct ctl *ctl, const char *path, struct strbuf *text, int64_t *ret_written,
               int64_t *ret_attempt);
/* An owned copy of `s`, percent-encoded for use as one segment or query value. */
char *ctl_escape(const char *s);
/* Prints "sheafctl: …" to standard error and returns `status`. */
int ctl_say(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Prints a document as it was answered, for --json. Returns CTL_OK. */
int ctl_print_json(json_t *json);

/* A string member of an answer, borrowed; "" where absent or null. */
const char *j_str(const json_t *o, const char *name);
/* A number; `otherwise` where there is none. */
int64_t j_int(const json_t *o, const char *name, int64_t otherwise);
/* Whether a member is true. */
bool j_true(const json_t *o, const char *name);
/* An object or array, borrowed; NULL where there is none. */
json_t *j_of(const json_t *o, const char *name);
/* The reason member `name` in words: its text, else its code, else "". Borrowed. */
const char *j_reason(const json_t *o, const char *name);

/* The commands; what each takes is in main.c. */

/* the farm. */
int cmd_status(struct ctl *ctl);
/* the tracks. */
int cmd_tracks(struct ctl *ctl);
/* what was built lately. */
int cmd_builds(struct ctl *ctl);
/* one build, track or job. */
int cmd_show(struct ctl *ctl);
/* a job's log. */
int cmd_logs(struct ctl *ctl);
/* build again. */
int cmd_rebuild(struct ctl *ctl);
/* hold, release, promote, retire, wake: what its name says, of one track. */
int cmd_track_command(struct ctl *ctl);
/* freeze, thaw. */
int cmd_farm_command(struct ctl *ctl);
/* pin, rollback: return to a publication. */
int cmd_return(struct ctl *ctl);
/* try again what has failed. */
int cmd_retry(struct ctl *ctl);
/* who did what. */
int cmd_actions(struct ctl *ctl);
/* cancel a build or a job. */
int cmd_cancel(struct ctl *ctl);
/* the boards, or a new one. */
int cmd_boards(struct ctl *ctl);
/* the upstreams. */
int cmd_sources(struct ctl *ctl);
/* look at an upstream now. */
int cmd_poll(struct ctl *ctl);
/* audit, adopt, restore a repository. */
int cmd_repository(struct ctl *ctl);
/* check a configuration. */
int cmd_check(struct ctl *ctl);
/* what an event would cause. */
int cmd_what_if(struct ctl *ctl);

/* ctl/cmd_what_if.c */

/* Prints what the farm.yaml at the absolute path would cause. CTL_WORSE: something would be worse. */
int ctl_against_running(struct ctl *ctl, const char *path);

/* ctl/cmd_command.c */

/* The body of a command: who asks, --reason, --platform. The caller owns it. */
json_t *ctl_command_body(struct ctl *ctl);

/* ctl/resolve.c */

/* Whether `s` is a build's number. */
bool ctl_is_number(const char *s);
/* The id of the one track that `name` means: a track's id, or the name of an image that has only one.
 * The caller owns *ret. */
int ctl_resolve_track(struct ctl *ctl, const char *name, char **ret);
/* The key of the job that the command's arguments mean: a key; or a build's number, or a track, and
 * after it a platform unless there is only one job. The caller owns *ret. */
int ctl_resolve_job(struct ctl *ctl, char **ret);
