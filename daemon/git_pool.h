/* The git worker processes, from the loop's side: a bounded number of them, a queue, and a deadline for
 * each request, at which the worker that serves it is killed.
 *
 * A callback fires exactly once, from the loop, never before the call that started the request has
 * returned; the result is the pool's and lives until the callback returns, and is NULL on failure. Failures
 * carry: -ETIMEDOUT (retryable) at the deadline, -ECANCELED after git_request_cancel or git_pool_close,
 * -ENETUNREACH, -EACCES, -ENOENT, -EINVAL, -EFBIG, -ENOSPC, -EBUSY, -EIO as git_protocol.h has them, and
 * -EPROTO when the worker and this program do not understand each other.
 *
 * Requests that speak to nobody go first, and one worker is kept for them, so that upstreams that hang
 * cannot keep a board waiting for its context. Of three workers or more another is kept from fetches, so that
 * one upstream's slow fetch does not keep the others from being looked at. */
#pragma once

#include "common/digest.h"
#include "common/err.h"
#include "common/mem.h"
#include "daemon/git_protocol.h"

#include <stdint.h>
#include <uv.h>

struct git_pool;
struct git_request;

struct git_pool_options {
    const char *worker;    /* path of the program; NULL: sheaf-git-worker beside this one */
    const char *state_dir; /* absolute; exists; mirrors and archives are below it */
    const char *ssh_dir;   /* known_hosts and keys, or NULL */
    const char *ca_file;   /* for HTTPS, or NULL: the system's */
    unsigned workers;      /* processes at most, default 4; started when there is need */
    int64_t mirror_limit;  /* bytes before a mirror is made anew; 0: the worker's own */
    int64_t context_limit; /* bytes of one context; 0: the worker's own */
};

/* How a source is to be spoken to; strings may be NULL. */
struct git_login {
    const char *ssh_key;       /* path of a private key; NULL: those of ssh_dir */
    const char *username;      /* for http(s), with */
    const char *password_file; /* its first line */
};

/* Makes a pool on the loop; no process is started yet. The options are copied. SIGPIPE is ignored from
 * here on. -ENOENT: there is no worker program. */
int git_pool_new(uv_loop_t *loop, const struct git_pool_options *options,
                 struct git_pool **ret_pool, struct err *err);
/* Cancels all requests, ends the workers and frees the pool; `done` (may be NULL) is called when nothing
 * of it is left on the loop. No other call may follow. */
void git_pool_close(struct git_pool *pool, void (*done)(void *userdata), void *userdata);
/* Cancels a request whose callback has not fired; it will, with -ECANCELED. */
void git_request_cancel(struct git_request *request);

/* ---- list: the refs of an upstream ---- */

struct git_ref {
    char *name;
    char oid[GIT_OID_SIZE];
    char peeled[GIT_OID_SIZE]; /* what an annotated tag points to in the end; else as oid */
};

struct git_list_args {
    const char *url;
    struct git_login login;
    const strvec *patterns; /* ref_glob patterns; NULL: all refs */
    int64_t timeout_ms;     /* 0: one minute */
};

struct git_list_result {
    VEC(struct git_ref) refs; /* those that match, sorted by name; HEAD is one */
    size_t total;             /* how many upstream has in all */
    char *head;               /* the branch that HEAD is, or NULL */
};

typedef void (*git_list_cb)(const struct git_list_result *result, const struct err *err,
                            void *userdata);
/* Asks an upstream for its refs. The arguments are copied. The request is weak: valid until its callback
 * returns. */
struct git_request *git_pool_list(struct git_pool *pool, const struct git_list_args *args,
                                  git_list_cb cb, void *userdata);

/* ---- fetch: refs into a mirror ---- */

struct git_fetch_args {
    const char *url;
    struct git_login login;
    const char *mirror; /* below state_dir; made when it is not there */
    const strvec *refs; /* full names */
    bool anew;          /* the mirror is emptied first: what it has is no good */
    int64_t timeout_ms; /* 0: ten minutes */
};

struct git_fetched {
    char *name;
    char oid[GIT_OID_SIZE];
    char commit[GIT_OID_SIZE];
    int64_t time; /* the commit's committer time, seconds */
};

/* A ref that cannot be used, and why. */
struct git_refused {
    char *name;
    char oid[GIT_OID_SIZE]; /* what it is in the end */
    char *text;
};

struct git_fetch_result {
    VEC(struct git_fetched)
    fetched;        /* as upstream had them now, which need not be what a list saw */
    strvec missing; /* asked for, and not there any more */
    VEC(struct git_refused) refused; /* there, and not a commit */
};

typedef void (*git_fetch_cb)(const struct git_fetch_result *result, const struct err *err,
                             void *userdata);
/* Brings refs into a mirror. As git_pool_list. */
struct git_request *git_pool_fetch(struct git_pool *pool, const struct git_fetch_args *args,
                                   git_fetch_cb cb, void *userdata);

/* ---- inspect: what a build would see of a commit ---- */

struct git_inspect_args {
    const char *mirror;
    const char *commit;
    const char *context;    /* folder, "" for the root */
    const char *dockerfile; /* path below the context, or NULL */
    const strvec *paths;    /* files and folders in the commit, or NULL: see `touched` */
    int64_t timeout_ms;     /* 0: one minute */
};

struct git_inspect_result {
    bool exists; /* the commit has the context folder; if not, only `time` is set */
    char context_id
        [DIGEST_SIZE]; /* hash of the sorted modes, blob ids and paths after .dockerignore */
    char *dockerfile;  /* text; NULL when there is none or none was asked for */
    char dockerfile_blob[GIT_OID_SIZE];
    int64_t size;    /* bytes of all files */
    int64_t entries; /* files, links and submodules */
    int64_t time;    /* the commit's committer time, seconds */
    bool
        touched; /* a change of one of `paths`, which need not be there, would change the context */
    char *note;  /* something a person should know (submodules are empty), or NULL */
};

typedef void (*git_inspect_cb)(const struct git_inspect_result *result, const struct err *err,
                               void *userdata);
/* Reads a context. As git_pool_list. -EINVAL names the entry that must not be unpacked anywhere. */
struct git_request *git_pool_inspect(struct git_pool *pool, const struct git_inspect_args *args,
                                     git_inspect_cb cb, void *userdata);

/* ---- ancestor ---- */

struct git_ancestor_args {
    const char *mirror;
    const char *old, *new; /* commits */
    int64_t timeout_ms;    /* 0: one minute */
};

typedef void (*git_ancestor_cb)(const bool *ancestor, const struct err *err, void *userdata);
/* Whether `old` is an ancestor of `new`, or the same. As git_pool_list. */
struct git_request *git_pool_ancestor(struct git_pool *pool, const struct git_ancestor_args *args,
                                      git_ancestor_cb cb, void *userdata);

/* ---- archive ---- */

struct git_archive_args {
    const char *mirror;
    const char *commit;
    const char *context;
    const char
        *dockerfile;    /* stays in the tar even if .dockerignore leaves it out; NULL: exactly the
                               files that context_id is over */
    const char *output; /* below state_dir; appears whole, by a rename */
    int64_t epoch;      /* every entry's time, seconds */
    int64_t timeout_ms; /* 0: ten minutes */
};

typedef void (*git_archive_cb)(const int64_t *size, const struct err *err, void *userdata);
/* Writes the context as an uncompressed tar; its size is the result. As git_pool_list. */
struct git_request *git_pool_archive(struct git_pool *pool, const struct git_archive_args *args,
                                     git_archive_cb cb, void *userdata);
