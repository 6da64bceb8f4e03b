/* Where a layer's entries come from, and the one writer that they all go through. */
#pragma once

#include "agent/layer_index.h"
#include "agent/tar_read.h"

/* A source whose index is finished. `data` passes on exactly entry.size bytes of a regular file. */
struct layer_source {
    struct layer_index *index;
    int (*data)(void *ctx, const struct layer_node *node, data_sink sink, void *sink_ctx,
                struct err *err);
    void *ctx;
};

/* Writes the layer to `fd` (empty, at offset 0). */
int layer_write(const struct layer_source *source, int fd, const struct layer_options *options,
                struct layer_result *ret, struct err *err);

struct tar_source {
    int fd; /* a plain tar: the caller's, or the spooled one */
    int spool;
};
/* Indexes the tar on `fd` (a file); a compressed one is spooled beside the path `out`. Then *ret_source
 * refers to `t` and `ix`. tar_source_close in any case. */
int tar_source_open(struct tar_source *t, int fd, const char *out, struct layer_index *ix,
                    struct layer_source *ret_source, struct err *err);
/* Closes the spool. */
void tar_source_close(struct tar_source *t);

struct folder_inode;
struct folder_source {
    int root;
    uint32_t id_shift, id_range;
    struct layer_index *index;
    uint64_t skipped; /* sockets */
    struct folder_inode *inodes;
    char *parent; /* the folder that parent_fd has open */
    int parent_fd;
};
/* Walks the folder `path`. Then *ret_source refers to `f` and `ix`. folder_source_close in any case. */
int folder_source_open(struct folder_source *f, const char *path,
                       const struct layer_options *options, struct layer_index *ix,
                       struct layer_source *ret_source, struct err *err);
/* Frees and closes. */
void folder_source_close(struct folder_source *f);
