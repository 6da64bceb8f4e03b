/* What is committed, as a model for readers while the store has no room: the model that runs has decided more than that.
 *
 *     happy path     loading (a worker's thread) -> there
 *     failure modes  the store cannot be read: told, and nothing is there; freed while it loads: it goes when it has
 *                    loaded, and nobody is told */
#pragma once

#include "daemon/store.h"

#include <uv.h>

struct committed;
struct farm;
struct model;

/* Called on the loop when the model is there, or (err->code set) cannot be. */
typedef void (*committed_fn)(void *data, const struct err *err);

/* Begins to load what the store's database `path` has committed, at `mono` of the model's clock, for what `farm` (held)
 * says; what boards said last, which no row has, is taken from `live`. The caller owns it. */
struct committed *committed_load(uv_loop_t *loop, const char *path, struct farm *farm,
                                 const struct model *live, int64_t mono, committed_fn done,
                                 void *data);
/* The model, for reading alone; NULL until it is there. */
struct model *committed_model(const struct committed *committed);
/* Frees it, at once or when it has loaded. NULL is fine. */
void committed_free(struct committed *committed);
