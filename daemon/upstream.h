/* The coordinator's view of upstreams: polls become sightings, inspections and build contexts come from the mirrors.
 * All git is done by worker processes. */
#pragma once

#include "common/err.h"
#include "daemon/model/model.h"

struct coordinator;
struct upstream;

/* Begins to watch the farm's sources. Mirrors and contexts are kept under the coordinator's state folder. The caller
 * owns it. */
int upstream_new(struct coordinator *c, struct upstream **ret, struct err *err);
/* Stops watching and ends the workers; frees itself once that is done. NULL is fine. */
void upstream_free(struct upstream *u);
/* The farm changed: begins, changes and ends watching. */
void upstream_configure(struct upstream *u);

/* Carries out an EFFECT_INSPECT, whose texts are taken over. */
void upstream_inspect(struct upstream *u, struct effect *effect);
/* Looks at a source, given by URL or by the name of an image, now. Returns its URL (borrowed), or NULL. */
const char *upstream_poll_now(struct upstream *u, const char *source);

/* `path` of the tar of a context, which stays there; `err` NULL: well. */
typedef void (*upstream_context_fn)(void *data, const char *path, const struct err *err);
/* Makes the tar of the context of `path` at `commit`, or finds it made; `done` runs on the loop, never before this
 * returns. */
void upstream_context(struct upstream *u, const char *source, const char *commit, const char *path,
                      const char *dockerfile, const char *context_id, upstream_context_fn done,
                      void *data);
