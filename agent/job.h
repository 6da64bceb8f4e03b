/* One job, from its lease to its result: what every step of the helper works on.
 *
 * A step returns 0, or a negative errno after job_fail or job_error said what the result is to be. */
#pragma once

#include "agent/workspace.h"
#include "common/err.h"
#include "common/http_sync.h"
#include "common/mem.h"
#include "common/platform.h"
#include "common/wire.h"

struct job_options {
    char *coordinator;   /* base URL, no trailing slash */
    bool emulated;       /* the board may emulate */
    char *cache;         /* folder: bases and builder layers */
    int64_t cache_limit; /* bytes */
    char *buildroots;    /* folder */
    char *builder;       /* "buildah" */
};

struct job {
    struct wire_lease lease;
    struct job_options options;
    enum platform platform;
    bool native; /* the board's own CPU runs the platform */
    struct workspace ws;
    char *context; /* folder that holds the unpacked context, writable by the recipe */
    char *bases;   /* OCI layout with the pinned bases, each tagged with its digest's hex */
    char *image;   /* OCI layout with the finished image */
    struct http_sync *http;
    struct wire_result result;
    strvec tail; /* the last lines that the recipe or the test wrote */
};

/* Reads <dir>/lease.json and prepares the workspace. */
int job_open(struct job *job, const char *dir, struct err *err);
/* The first half of it: only the lease is read. job_close ends both. */
int job_read_lease(struct job *job, const char *dir, struct err *err);
/* Removes the workspace and frees the struct. */
void job_close(struct job *job);

/* Notes that the job failed, of which kind and why; a job that has failed already keeps its first reason.
 * Returns -ECANCELED. */
int job_fail(struct job *job, enum wire_failure kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4), cold));
/* The same from an error, with what was being done before it. */
int job_error(struct job *job, enum wire_failure kind, const struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 4, 5), cold));
/* The kind of a failure with this code on a job's own files: a full or broken disk is the board's (infra), all
 * else is wrong with what was given to work on (rejected). */
enum wire_failure job_kind_of(int code);
/* Writes a line about the job's progress to its log. */
void job_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Writes `result` to <dir>/result.json, whole or not at all. */
int job_write_result(const char *dir, const struct wire_result *result, struct err *err);
