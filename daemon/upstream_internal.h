/* Shared by upstream*.c. */
#pragma once

#include "daemon/coordinator.h"
#include "daemon/git_pool.h"
#include "daemon/upstream.h"

#include <uthash.h>

/* A question about the files of a commit, waiting for its turn. */
struct inspection {
    char *ref, *commit, *path, *dockerfile; /* dockerfile NULL for none */
};

/* What is at work on one source. */
struct mirror {
    struct upstream *u;
    char *url, *folder;
    VEC(struct inspection) queue; /* the first is being answered while `inspecting` */
    bool inspecting;
    strvec have; /* commits that the mirror is known to hold */
    struct sighting *sighting;
    UT_hash_handle hh;
};

struct upstream {
    struct coordinator *c;
    struct git_pool *pool;
    struct watch *watch;
    struct mirror *mirrors;
    struct context_file *contexts; /* being made */
    char *folder;                  /* of finished contexts */
    bool closing;
};

/* The pool's error, or NULL for one that says that all went well. */
static inline const struct err *git_failure(const struct err *err)
{
    return err && err->code ? err : NULL;
}

/* The mirror of a source, made on first mention. */
struct mirror *upstream_mirror(struct upstream *u, const char *url);
/* How a source is spoken to: borrowed from the farm. */
struct git_login upstream_login(const struct upstream *u, const char *url);
/* Answers the mirror's next inspection, if none is being answered. */
void upstream_inspect_next(struct mirror *mr);
