/* The board's bounded cache of base images' blobs: an OCI layout without an index. Jobs share its files by
 * hard link, so that throwing one out never takes it from a job. */
#pragma once

#include "common/err.h"
#include "common/mem.h"

#include <stdint.h>

/* Links blob `digest` from the cache into the layout `dir`; -ENOENT when the cache does not have it. */
int base_cache_take(const char *cache, const char *dir, const char *digest, struct err *err);
/* Puts the blob that `dir` has into the cache. Failing to is no error. */
void base_cache_give(const char *cache, const char *dir, const char *digest);
/* Reads manifest `digest` from the cache, checked: its bytes are appended to *ret, its media type is the caller's.
 * -ENOENT when the cache does not have it; what *ret has after another failure is of no use. */
int base_cache_manifest(const char *cache, const char *digest, struct strbuf *ret,
                        char **ret_media_type, struct err *err);
/* Throws out what was used longest ago until at most `limit` bytes are left. */
void base_cache_trim(const char *cache, int64_t limit);
