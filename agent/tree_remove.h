/* Removing a folder that hostile code has filled. */
#pragma once

#include "common/err.h"

/* Unmounts what is mounted at or below `path` in this process's mount namespace; the number of mounts. */
int tree_unmount(const char *path);

/* Removes `path` and all below it, whatever its depth, names, modes and immutable flags. No link is followed
 * and no other file system entered (-EXDEV: something is mounted there). Not an error when it does not
 * exist. Nothing else may change the tree meanwhile. */
int tree_remove(const char *path, struct err *err);
