/* Which ids an image's "User" is, as its own passwd and group say. */
#pragma once

#include "common/err.h"

#include <stdint.h>

/* Resolves "name", "uid", "name:group" or "uid:gid" (NULL or "": root) in the unpacked root file system
 * `root`, whose links lead nowhere outside it. -ENOENT for a name that is not there. */
int image_user(const char *root, const char *user, uint32_t *ret_uid, uint32_t *ret_gid,
               struct err *err);
