/* One entry of a layer, and who may watch entries go by. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct layer_xattr {
    const char *name;
    const void *value;
    size_t size;
};

struct layer_entry {
    const char
        *path; /* no leading "./" or "/", no trailing "/"; "." is the root itself; any bytes */
    const char
        *link; /* symlink's target, or the path of the file that this is a hard link to; or NULL */
    bool hard; /* a hard link: only path and link mean anything */
    mode_t mode; /* type and permissions */
    uint32_t uid, gid;
    uint64_t size; /* of a regular file's data, holes included */
    int64_t mtime; /* seconds since 1970 */
    uint32_t major, minor;
    const struct layer_xattr *xattrs; /* sorted by name */
    size_t n_xattrs;
};

/* Sees the entries of a layer while it is read or written. All that is passed is borrowed for the call. */
struct layer_observer {
    void *ctx;
    /* An entry begins. Returns whether its data is wanted (asked of regular files only). */
    bool (*entry)(void *ctx, const struct layer_entry *entry);
    /* A piece of the wanted data, in order; the entry has ended when the next begins or `end` is called. */
    void (*data)(void *ctx, const void *data, size_t size);
    /* The layer has ended. May be NULL. */
    void (*end)(void *ctx);
};
