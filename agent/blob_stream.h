/* A layer blob read once, as a stream: hashed as it lies on disk and as it is unpacked, while its tar is
 * read. */
#pragma once

#include "agent/tar_read.h"

struct blob_stream;

/* Begins at the current offset of `fd`, which stays the caller's and open. Free with blob_stream_free. */
int blob_stream_open(int fd, struct blob_stream **ret, struct err *err);
/* The reader of the tar inside; borrowed. */
struct archive *blob_stream_tar(struct blob_stream *s);
/* To be called when the tar has ended: reads what comes after its end, and sets ret's digest, diff_id, size and
 * unpacked. */
int blob_stream_finish(struct blob_stream *s, struct layer_result *ret, struct err *err);
/* Frees it; takes NULL. */
void blob_stream_free(struct blob_stream *s);
