/* A tar as a layer's source. A stream cannot be sorted in one pass: the first indexes headers and offsets,
 * the second reads each file's data where it lies. */
#include "agent/layer_source.h"
#include "common/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <sys/stat.h>

#define CHUNK     (256u << 10)
#define TAR_BLOCK 512u
#define HEADERS_MAX                                                                                \
    (4u << 10) /* a generous share of headers for each entry, when a spool is bounded */

static int spool_open(const char *out, int *ret_fd, struct err *err)
{
    cleanup_free char *copy = xstrdup(out);
    const char *dir = dirname(copy);
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) {
        cleanup_free char *name = xasprintf("%s/.spool-XXXXXX", dir);
        fd = mkostemp(name, O_CLOEXEC);
        if (fd < 0)
            return err_errno(err, -errno, "cannot make a temporary file in %s", dir);
        unlink(name);
    }
    *ret_fd = fd;
    return 0;
}

static int write_all(int fd, const char *p, size_t n, struct err *err)
{
    int r = fd_write_all(fd, p, n);
    return r < 0 ? err_errno(err, r, "cannot write the unpacked tar") : 0;
}

/* Unpacks what is on `fd` to `to`. */
static int spool(int fd, int to, const struct layer_limits *limits, struct err *err)
{
    cleanup_(archive_freep) struct archive *a = NULL;
    struct archive_entry *ae;
    int r = tar_open_raw(fd, &a, err);
    if (r == 0)
        r = tar_next(a, &ae, err);
    uint64_t total = 0, max = limits->max_bytes + limits->max_entries * HEADERS_MAX;
    while (r > 0) {
        const void *p;
        size_t n;
        la_int64_t offset;
        r = archive_read_data_block(a, &p, &n, &offset);
        if (r == ARCHIVE_EOF)
            return 0;
        if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
            return tar_error(a, "cannot unpack the tar", err);
        total += n;
        if (total > max)
            return err_set(err, -EFBIG, "the tar unpacks to more than the limit");
        r = write_all(to, p, n, err);
        if (r == 0)
            r = 1;
    }
    return r;
}

/* Once the position after a file's data is known, so is where it begins; unless it is sparse. */
static void set_data_at(struct layer_node *n, uint64_t next_header)
{
    uint64_t padded = (n->entry.size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
    if (next_header >= n->header_at + TAR_BLOCK + padded && next_header % TAR_BLOCK == 0)
        n->data_at = next_header - padded;
}

static int index_next(struct archive *a, struct layer_index *ix, int64_t *previous, struct err *err)
{
    struct archive_entry *ae;
    int more = tar_next(a, &ae, err);
    if (more < 0)
        return more;
    uint64_t at = (uint64_t)archive_read_header_position(a);
    if (*previous >= 0)
        set_data_at(&ix->nodes.items[*previous], at);
    *previous = -1;
    if (!more)
        return 0;
    struct layer_entry e;
    struct layer_node *node;
    int r = tar_entry(ix, ae, &e, err);
    if (r == 0 && layer_index_leaves_out(ix, &e))
        return 1;
    if (r == 0)
        r = layer_index_add(ix, &e, &node, err);
    if (r < 0)
        return r;
    node->header_at = at;
    if (S_ISREG(e.mode) && !e.hard && archive_entry_sparse_count(ae) == 0)
        *previous = node->order;
    return 1;
}

/* Indexes what is on t->fd. 1 when it turns out to be compressed. */
static int index_tar(struct tar_source *t, struct layer_index *ix, bool may_spool, struct err *err)
{
    cleanup_(archive_freep) struct archive *a = NULL;
    if (lseek(t->fd, 0, SEEK_SET) < 0)
        return err_errno(err, -errno, "cannot read the tar from its beginning");
    int r = tar_open(t->fd, may_spool, &a, err);
    if (r < 0)
        return r;
    if (archive_filter_count(a) > 1) /* one is "none" */
        return 1;
    int64_t previous = -1;
    do
        r = index_next(a, ix, &previous, err);
    while (r > 0);
    return r;
}

/* The slow way: through libarchive, from the entry's header on. */
static int data_from_header(struct tar_source *t, const struct layer_node *node, data_sink sink,
                            void *ctx, struct err *err)
{
    cleanup_(archive_freep) struct archive *a = NULL;
    struct archive_entry *ae;
    if (lseek(t->fd, (off_t)node->header_at, SEEK_SET) < 0)
        return err_errno(err, -errno, "cannot seek in the tar");
    int r = tar_open(t->fd, false, &a, err);
    if (r < 0)
        return r;
    r = tar_next(a, &ae, err);
    if (r < 0)
        return r;
    if (r == 0 || (uint64_t)archive_entry_size(ae) != node->entry.size)
        return err_set(err, -EIO, "the tar changed while it was read");
    return tar_data(a, node->entry.size, sink, ctx, err);
}

static int tar_source_data(void *ctx, const struct layer_node *node, data_sink sink, void *sink_ctx,
                           struct err *err)
{
    struct tar_source *t = ctx;
    if (node->entry.size == 0)
        return 0;
    if (!node->data_at)
        return data_from_header(t, node, sink, sink_ctx, err);
    cleanup_free char *buf = xrealloc(NULL, 1, CHUNK);
    for (uint64_t at = 0; at < node->entry.size;) {
        uint64_t left = node->entry.size - at;
        ssize_t n =
            pread(t->fd, buf, left < CHUNK ? (size_t)left : CHUNK, (off_t)(node->data_at + at));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_errno(err, n ? -errno : -EIO, "cannot read the tar again");
        int r = sink(sink_ctx, buf, (size_t)n, err);
        if (r < 0)
            return r;
        at += (uint64_t)n;
    }
    return 0;
}

/* Replaces t->fd by a temporary file with the unpacked tar. */
static int unpack_to_spool(struct tar_source *t, const char *out, const struct layer_limits *limits,
                           struct err *err)
{
    int r = spool_open(out, &t->spool, err);
    if (r < 0)
        return r;
    if (lseek(t->fd, 0, SEEK_SET) < 0)
        return err_errno(err, -errno, "cannot read the tar from its beginning");
    r = spool(t->fd, t->spool, limits, err);
    t->fd = t->spool;
    return r;
}

int tar_source_open(struct tar_source *t, int fd, const char *out, struct layer_index *ix,
                    struct layer_source *ret_source, struct err *err)
{
    *t = (struct tar_source){.fd = fd, .spool = -1};
    int r = index_tar(t, ix, true, err);
    if (r == 1) {
        r = unpack_to_spool(t, out, &ix->limits, err);
        if (r == 0)
            r = index_tar(t, ix, false, err);
    }
    if (r == 0)
        r = layer_index_finish(ix, err);
    if (r == 0)
        *ret_source = (struct layer_source){.index = ix, .data = tar_source_data, .ctx = t};
    return r;
}

void tar_source_close(struct tar_source *t)
{
    if (t->spool >= 0)
        close(t->spool);
    t->spool = -1;
}
