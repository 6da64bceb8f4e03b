/* The board's bounded cache of base images' blobs: an OCI layout without an index. Jobs share its files by
 * hard link, so that throwing one out never takes it from a job. */
#pragma once

#include "common/err.h"

#include <stdint.h>

/* Links blob `digest` from the cache into the layout `dir`; -ENOENT when the cache does not have it. */
int base_cache_take(const char *cache, const char *dir, const char *digest, struct err *err);
/* Puts the blob that `dir` has into the cache. Failing to is no error. */
void base_cache_give(const char *cache, const char *dir, const char *digest);
/* Throws out what was used longest ago until at most `limit` bytes are left. */
void base_cache_trim(const char *cache, int64_t limit);
