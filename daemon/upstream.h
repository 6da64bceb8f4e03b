/* The coordinator's view of upstreams: what watch.h sees becomes sightings of the model; inspections and build contexts
 * come from the mirrors. All git is done by worker processes. */
#pragma once

#include "common/err.h"
#include "daemon/model/model.h"

struct coordinator;
struct upstream;

/* Makes it, without sources. Mirrors and contexts are kept under the coordinator's state folder. The caller owns it. */
int upstream_new(struct coordinator *c, struct upstream **ret, struct err *err);
/* Stops watching and ends the workers; frees itself once that is done. NULL is fine. */
void upstream_free(struct upstream *u);
/* The farm is new or has changed, and the model has been told: begins, changes and ends watching. */
void upstream_configure(struct upstream *u);
/* While they are paused, nothing new is looked for. */
void upstream_pause(struct upstream *u, bool paused);

/* Carries out an EFFECT_INSPECT, whose texts are taken over. */
void upstream_inspect(struct upstream *u, struct effect *effect);
/* Looks at a source, given by URL or by the name of an image, now. Returns its URL (borrowed), or NULL. */
const char *upstream_poll_now(struct upstream *u, const char *source);

/* What only the watch knows of a source. */
struct upstream_when {
    bool polling;    /* it is being looked at, or will be at once */
    int64_t next_at; /* wall-clock milliseconds of the next look otherwise; 0: unknown */
};
/* Says when a source is looked at next; nothing is known of one that is not in farm.yaml. */
struct upstream_when upstream_when(const struct upstream *u, const char *url);

/* Which files of a commit are wanted. Borrowed. */
struct upstream_context_args {
    const char *source, *commit;
    const char *path;       /* folder, "" for the root */
    const char *dockerfile; /* its path below the folder; "": none */
};
/* `path` of the tar of a context, which stays there at least until this returns; `err` NULL: well. */
typedef void (*upstream_context_fn)(void *data, const char *path, const struct err *err);
/* Makes the tar of a context, or finds it made; `done` runs on the loop, never before this returns. */
void upstream_context(struct upstream *u, const struct upstream_context_args *args,
                      upstream_context_fn done, void *data);

/* What the mirror has of a context; NULL: it cannot tell. `touched`: a change of one of the paths would change it. */
typedef void (*upstream_look_fn)(void *data, const struct context_facts *facts, bool touched);
/* Reads a context from the mirror as it is: nothing is fetched. `paths`, in the source, may be NULL. `done` runs on the
 * loop, never before this returns. */
void upstream_look(struct upstream *u, const struct upstream_context_args *args,
                   const strvec *paths, upstream_look_fn done, void *data);
