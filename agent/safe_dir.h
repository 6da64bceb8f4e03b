/* Folders below a root, reached component by component from its descriptor.
 *
 * The same guarantee as openat2's RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS, or RESOLVE_IN_ROOT, but it also
 * works where openat2 is missing (qemu-user), and can make what is not there. Paths are in the normal form
 * of layer_index_path: no "..", no leading or doubled slashes, "." is the root. */
#pragma once

#include "common/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Opens (O_PATH) the folder `path` below `root`, following no link; the caller owns *ret_fd. -ENOENT,
 * -ENOTDIR (a link included) with the path in the text. */
int safe_dir_open(int root, const char *path, int *ret_fd, struct err *err);

/* One open folder below a root, kept from call to call: paths mostly come in order. */
struct safe_dir {
    int root;     /* borrowed */
    bool in_root; /* follow links, as a process whose root is `root` would; else -ELOOP */
    bool create;  /* make missing folders, 0755 */
    bool owners;  /* give those to `owner`:`owner` */
    uint32_t owner;
    char *path; /* that `fd` has open */
    int fd;
};

#define SAFE_DIR_INIT(root_)                                                                       \
    (struct safe_dir)                                                                              \
    {                                                                                              \
        .root = (root_), .fd = -1                                                                  \
    }

/* Opens the parent folder of `path` and sets *ret_name to its last component (borrowed from `path`) and
 * *ret_fd to the folder (O_PATH, borrowed until the next call). -ENOENT only without `create`. */
int safe_dir_parent(struct safe_dir *d, const char *path, int *ret_fd, const char **ret_name,
                    struct err *err);
/* To be called when a folder may have been removed or replaced: forgets the open one. */
void safe_dir_forget(struct safe_dir *d);
/* Closes and frees. */
void safe_dir_done(struct safe_dir *d);

/* Removes `name` in `dir` and everything below it, following no link and crossing into no mount. 0 too when
 * there is nothing. */
int safe_remove(int dir, const char *name, struct err *err);
