/* Jobs' logs: append-only files in the state folder, one an attempt. Written and read off the loop. */
#pragma once

#include "common/err.h"
#include "common/mem.h"

#include <uv.h>

struct logs;

/* Logs under `folder`, made when it is missing; none grows beyond `limit` bytes. The caller owns it. */
int logs_new(uv_loop_t *loop, const char *folder, int64_t limit, struct logs **ret,
             struct err *err);
/* Lets what is under way finish (callbacks are not called) and frees it. NULL is fine. */
void logs_free(struct logs *logs);

/* `received`: bytes that the log has; `durable`: of them, on disk for good. `err` NULL: well; -EILSEQ: `offset` was
 * not what is received (nothing was written). */
typedef void (*logs_done_fn)(void *data, int64_t received, int64_t durable, const struct err *err);
/* Appends `n` bytes, copied, at `offset`; `done` runs on the loop, never before this returns. What is beyond the
 * limit is received and thrown away. */
void logs_append(struct logs *logs, const char *lease, int64_t offset, const void *bytes, size_t n,
                 logs_done_fn done, void *data);
/* Makes all that was received durable. */
void logs_sync(struct logs *logs, const char *lease, logs_done_fn done, void *data);

/* Opens the log for reading: its descriptor is the caller's, its size now in *ret_size. Where there is none yet,
 * -ENOENT, or an empty one with `make`: for who waits for what is to come. */
int logs_open(struct logs *logs, const char *lease, bool make, int *ret_fd, int64_t *ret_size,
              struct err *err);

/* How many bytes a log has now, 0 where there is none. */
int64_t logs_size(const struct logs *logs, const char *lease);

/* Called when the log of a lease may have grown, or its attempt begun or ended. */
typedef void (*logs_watch_fn)(void *data, const char *lease);
/* Sets who is told of growth; NULL ends it. */
void logs_on_growth(struct logs *logs, logs_watch_fn watch, void *data);
/* Tells the watcher that a lease's attempt began or ended; an ended one's file is closed. */
void logs_touch(struct logs *logs, const char *lease);
