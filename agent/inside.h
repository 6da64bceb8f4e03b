/* Files below a folder that hostile code has filled: every link in a path is taken as inside the folder. */
#pragma once

#include "common/err.h"
#include "common/mem.h"

#include <stddef.h>

/* Opens `path` below `root` for reading. Returns a descriptor or -errno; -EINVAL if it is no regular file. */
int inside_open(const char *root, const char *path);
/* Reads all of it, at most `max` bytes (-EFBIG), NUL-terminated; the caller owns *ret_text. */
int inside_read(const char *root, const char *path, size_t max, char **ret_text, size_t *ret_size,
                struct err *err);
