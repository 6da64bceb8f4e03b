/* The store: SQLite, written by one thread, one transaction at a time.
 *
 * It knows tables and cells (model/rows.h), not what they mean. A commit is durable (synchronous=FULL) when its
 * callback runs. For want of room the same batch is tried again until it goes through; any other error ends the
 * daemon, which reloads what is there. */
#pragma once

#include "common/err.h"
#include "daemon/model/rows.h"

#include <uv.h>

struct store;

/* Opens the database `path`, makes or migrates it. Blocks: for use before the loop runs. The caller owns
 * *ret_store. -ENOTSUP when it was written by a newer release; -EBUSY when another daemon has it. */
int store_open(const char *path, struct store **ret_store, struct err *err);

/* One loaded row; an error ends the loading. */
typedef int (*store_row_fn)(void *data, enum table_id table, const struct cell *cells,
                            struct err *err);
/* Gives every row that a start needs to `row`, table by table in the order of enum table_id. Blocks. */
int store_load(struct store *store, store_row_fn row, void *data, struct err *err);

/* The same of what the database `path` has committed by now, by a connection of its own and in one transaction: for any
 * thread, beside a store that is open. Blocks. */
int store_load_committed(const char *path, store_row_fn row, void *data, struct err *err);

/* Called when the commit under way turns out to have no room, and when there is some again. */
typedef void (*store_stall_fn)(void *data, bool stalled);
/* Starts the thread; callbacks run on `loop`. */
int store_start(struct store *store, uv_loop_t *loop, store_stall_fn stall, void *data,
                struct err *err);

/* Called once the batch is durable, or (err->code set) when it cannot be. Runs on the loop, after store_commit
 * has returned. */
typedef void (*store_done_fn)(void *data, const struct err *err);
/* Commits a batch, which is taken over. One at a time: not while store_busy. */
void store_commit(struct store *store, struct delta *delta, store_done_fn done, void *data);
/* Whether a commit is under way. */
bool store_busy(const struct store *store);
/* Why the commit under way does not get through (no room), or NULL. The caller owns the answer. */
char *store_stalled(struct store *store);
/* The path of its database. Borrowed. */
const char *store_path(const struct store *store);

/* Waits for the commit under way, ends the thread and closes. NULL is fine. The callback of a commit that was
 * under way is not called. */
void store_close(struct store *store);
