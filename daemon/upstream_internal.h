/* Shared by upstream*.c. */
#pragma once

#include "daemon/coordinator.h"
#include "daemon/git_pool.h"
#include "daemon/upstream.h"
#include "daemon/watch.h"

#include <uthash.h>

struct sighting;

/* A question about the files of a commit, waiting for its turn. */
struct inspection {
    char *ref, *commit, *path, *dockerfile; /* dockerfile NULL for none */
};

/* One source, and what is being done with it. It lives while it is in farm.yaml or `holds` is not 0. */
struct mirror {
    struct upstream *u; /* weak */
    char *url, *path;
    bool watched;
    unsigned holds;
    struct sighting *sighting;    /* being made; NULL: none */
    struct sighting *next;        /* the newest that came meanwhile */
    VEC(struct inspection) queue; /* the first is being answered while `inspecting` */
    bool inspecting;
    uint64_t emptied; /* loop's time at which it was last made anew; 0: never */
    UT_hash_handle hh;
};

struct upstream {
    struct coordinator *c; /* weak */
    struct git_pool *pool;
    struct watch *watch;
    struct mirror *mirrors;
    struct context_file *contexts; /* being made */
    char *folder;                  /* of finished contexts */
    bool closing;                  /* nothing is told to the model any more */
};

/* The pool's error, or NULL for one that says that all went well. */
static inline const struct err *git_failure(const struct err *err)
{
    return err && err->code ? err : NULL;
}

/* ---- upstream.c ---- */

/* A source, made on first mention, kept until mirror_release. */
struct mirror *mirror_hold(struct upstream *u, const char *url);
/* Ends a mirror_hold; nobody may use the mirror afterwards. */
void mirror_release(struct mirror *mr);
/* Whether the mirror may be made anew because what it has is no good: once an hour at most, since it brings
 * everything again. Counts as done. */
bool mirror_may_empty(struct mirror *mr);

/* ---- upstream_sweep.c ---- */

/* Removes what earlier runs left on disk and nobody wants. Once, before a worker runs. */
void upstream_sweep(struct upstream *u);

/* ---- upstream_context.c ---- */

/* Answers those who wait for a context that is there; the others are answered as the pool closes. */
void upstream_contexts_close(struct upstream *u);

/* ---- upstream_sighting.c ---- */

/* A poll has ended: becomes a sighting, which the model is told of. */
void upstream_seen(struct mirror *mr, const struct watch_seen *seen);
/* What is being made of polls was asked with other patterns than are wanted now. Returns whether there is any:
 * then the source is to be polled again. */
bool upstream_sighting_outdated(struct mirror *mr);

/* ---- upstream_reading.c: questions that need a commit ---- */

/* One question to a mirror about a commit, asked again with more and more effort while the mirror cannot answer. */
struct reading {
    struct mirror *mr; /* held by whoever owns this */
    const char *commit;
    const strvec *refs; /* by which upstream may be asked for the commit */
    /* Asks the pool; from its callback, upstream_reading_goes_on. */
    void (*ask)(struct reading *reading);
    /* The end, when upstream could not be asked, or (`refused`) says that this is no commit. */
    void (*failed)(struct reading *reading, const struct err *err);
    enum { READING_AS_IS, READING_FETCHED, READING_ANEW } stage;
    bool named; /* one of the refs was the commit when it was fetched */
    bool refused;
};

/* Whether the failure of a question is dealt with: then `ask` or `failed` is called later, from the loop. */
bool upstream_reading_goes_on(struct reading *reading, const struct err *err);
