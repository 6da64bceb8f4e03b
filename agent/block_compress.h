/* Compression on all cores whose output does not depend on their number.
 *
 * The input is cut into blocks of fixed size. gzip: one member of many deflate blocks, each flushed to a byte
 * boundary and primed with the 32 KiB before it, as pigz does: every reader takes a single member, and
 * the ratio stays gzip's. zstd: one frame a block. */
#pragma once

#include "agent/layer.h"
#include "common/err.h"

#include <stddef.h>

struct block_compressor;

/* Takes output, in order, on the caller's thread. Returns 0 or a negative errno with `err` set. */
typedef int (*block_sink)(void *ctx, const void *data, size_t n, struct err *err);

/* A compressor with `threads` workers (0: one for each CPU of this process). At most 4 * threads + 2 blocks are
 * in memory. Free with block_compressor_free. */
int block_compressor_new(enum layer_compression kind, int threads, block_sink sink, void *ctx,
                         struct block_compressor **ret, struct err *err);
/* Adds input; may call the sink. After a failure only freeing is allowed. */
int block_compressor_write(struct block_compressor *c, const void *data, size_t n, struct err *err);
/* Compresses what is left and the end of the stream, and passes it all to the sink. */
int block_compressor_finish(struct block_compressor *c, struct err *err);
/* Stops the workers and frees it; takes NULL. */
void block_compressor_free(struct block_compressor *c);
