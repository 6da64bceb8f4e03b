/* What the store alone remembers: builds, attempts and results of the past, as the JSON that docs/api.md describes.
 * Read on worker threads, from what is committed. */
#pragma once

#include "daemon/store.h"

#include <jansson.h>

struct store_history;

/* Reads the database of `store`, which must outlive it. The caller owns it. */
struct store_history *store_history_new(struct store *store, uv_loop_t *loop);
/* Frees it once its queries are over (their callbacks are not called any more). NULL is fine. */
void store_history_free(struct store_history *h);

/* The rows as an array, the callee's to keep; `err` NULL: well (then `rows` is not NULL). */
typedef void (*store_rows_fn)(void *data, json_t *rows, const struct err *err);

/* The newest `limit` builds with ids below `before` (0: from the newest), of one track (NULL: of all). */
void store_history_builds(struct store_history *h, int64_t limit, int64_t before, const char *track,
                          store_rows_fn done, void *data);
/* The newest `limit` records of what people did, as above. */
void store_history_actions(struct store_history *h, int64_t limit, int64_t before,
                           const char *track, store_rows_fn done, void *data);
/* One build, whose jobs are whole with their attempts; an empty array: no such build. */
void store_history_build(struct store_history *h, int64_t id, store_rows_fn done, void *data);
/* The attempts of a job, oldest first. */
void store_history_attempts(struct store_history *h, const char *key, store_rows_fn done,
                            void *data);
/* The results of a job's attempts: timings, layers, packages, newest first. */
void store_history_results(struct store_history *h, const char *key, store_rows_fn done,
                           void *data);
