/* The entries of a layer's source, gathered, checked and sorted before anything is written.
 *
 * Happy path: layer_index_add for each entry as the source has it, then layer_index_finish, after which
 * nodes[] are the entries of the result in order. Doubled names keep their last entry; hard links are
 * resolved to the entry that held the name when the link was met, and the first name of a linked set
 * becomes the file. */
#pragma once

#include "agent/layer.h"
#include "common/digest.h"
#include "common/err.h"
#include "common/mem.h"

#define NODE_NONE UINT32_MAX

struct layer_node {
    struct layer_entry entry; /* its strings are the index's */
    uint32_t order;           /* in the source */
    uint32_t inode;           /* order of the node whose data and attributes this name has */
    bool dropped;
    /* Where the data is: a tar's header and data (0: to be read through libarchive). */
    uint64_t header_at, data_at;
    char data_digest[DIGEST_SIZE]; /* filled by layer_scan only */
};

struct layer_arena {
    struct arena_chunk *chunk;
    size_t total;
};

struct layer_index {
    VEC(struct layer_node) nodes;
    struct layer_arena arena;
    struct layer_limits limits;
    uint64_t bytes, entries; /* that passed layer_index_check */
    bool strict;             /* a root file system's source; else a layer, of which less is asked */
    bool devices, whiteouts;
};

/* Prepares an empty index under `options` limits; strict as above. */
void layer_index_init(struct layer_index *ix, const struct layer_limits *limits, bool strict);
/* Frees what it holds. */
void layer_index_done(struct layer_index *ix);

/* Checks `name` (any bytes) and sets ret_path to its normal form, "." for the root, borrowed from
 * the index. -EBADMSG for "..", absolute (strict only), overlong. `what` names the role in the message. */
int layer_index_path(struct layer_index *ix, const char *name, const char *what,
                     const char **ret_path, struct err *err);
/* Copies n bytes, NUL-terminated; borrowed from the index. -EFBIG when names and attributes take too
 * much memory: `path` is then named. */
int layer_index_copy(struct layer_index *ix, const void *p, size_t n, const char *path,
                     const char **ret, struct err *err);
/* Forgets all strings; only for who keeps no nodes. */
void layer_index_forget(struct layer_index *ix);
/* Whether it is one of the devices of /dev that whoever runs an image mounts there anyway, and that a layer of a
 * root file system is better without: debootstrap leaves them. */
bool layer_index_leaves_out(const struct layer_index *ix, const struct layer_entry *entry);
/* Checks an entry's kind, and counts it against the limits. -EBADMSG or -EFBIG, naming it. */
int layer_index_check(struct layer_index *ix, const struct layer_entry *entry, struct err *err);
/* Checks and adds an entry whose strings are the index's. ret_node (may be NULL) is
 * borrowed until the next call. */
int layer_index_add(struct layer_index *ix, const struct layer_entry *entry,
                    struct layer_node **ret_node, struct err *err);
/* Sorts and resolves. */
int layer_index_finish(struct layer_index *ix, struct err *err);

/* Compares paths byte by byte, '/' before all else: the order of a walk that sorts each folder. */
int layer_path_cmp(const char *a, const char *b);
/* A copy of a path for messages: bytes that are not printable become \xNN; the caller owns it. */
char *layer_path_show(const char *path);
/* Whether a layer keeps the extended attribute. Labels and ACLs describe the building host, trusted.* and
 * system.* mean something to its file system. */
bool layer_xattr_kept(const char *name);

/* Hashes entries into a content digest, in order. */
void layer_content_begin(struct digest *h);
/* Adds one; data_digest only matters for regular files. */
void layer_content_add(struct digest *h, const struct layer_entry *e, const char *data_digest);
