/* Sorted entries to a layer's bytes: one pass, in which the tar, its compressed form and its content are
 * hashed, and the observers see what is written. */
#include "agent/block_compress.h"
#include "agent/layer_source.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

struct writer {
    const struct layer_options *options;
    int fd;
    struct archive *tar;
    struct archive_entry *entry;
    struct block_compressor *compressor;
    struct digest diff, digest, content, data;
    uint64_t unpacked, size;
    uint64_t watched; /* bit i: observer i wants this entry's data */
    struct err *err;  /* of the call into libarchive that is under way */
    int failed;
};

static int to_file(void *ctx, const void *data, size_t n, struct err *err)
{
    struct writer *w = ctx;
    digest_update(&w->digest, data, n);
    w->size += n;
    for (const char *p = data; n > 0;) {
        ssize_t k = write(w->fd, p, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return err_errno(err, -errno, "cannot write the layer");
        p += k;
        n -= (size_t)k;
    }
    return 0;
}

/* libarchive's output: the tar's bytes. */
static la_ssize_t tar_bytes(struct archive *a, void *ctx, const void *data, size_t n)
{
    struct writer *w = ctx;
    digest_update(&w->diff, data, n);
    w->unpacked += n;
    w->failed = block_compressor_write(w->compressor, data, n, w->err);
    if (w->failed == 0)
        return (la_ssize_t)n;
    archive_set_error(a, -w->failed, "cannot write");
    return -1;
}

static int archive_failed(struct writer *w, const char *what, struct err *err)
{
    return w->failed < 0 ? w->failed : tar_error(w->tar, what, err);
}

static int64_t clamp(int64_t t, int64_t epoch)
{
    if (t > epoch)
        t = epoch;
    return t < 0 ? 0 : t;
}

static void fill_kind(struct archive_entry *ae, const struct layer_entry *e)
{
    if (e->hard) {
        archive_entry_set_mode(ae, S_IFREG | (e->mode & 07777));
        archive_entry_copy_hardlink(ae, e->link);
        archive_entry_set_size(ae, 0);
        return;
    }
    archive_entry_set_mode(ae, e->mode);
    archive_entry_set_size(ae, (la_int64_t)e->size);
    if (S_ISLNK(e->mode))
        archive_entry_copy_symlink(ae, e->link);
    if (S_ISCHR(e->mode) || S_ISBLK(e->mode)) {
        archive_entry_set_rdevmajor(ae, e->major);
        archive_entry_set_rdevminor(ae, e->minor);
    }
}

static int write_header(struct writer *w, const struct layer_entry *e, struct err *err)
{
    struct archive_entry *ae = archive_entry_clear(w->entry);
    archive_entry_copy_pathname(ae, e->path);
    fill_kind(ae, e);
    archive_entry_set_uid(ae, e->uid);
    archive_entry_set_gid(ae, e->gid);
    /* libarchive writes them in the order in which they were added. */
    for (size_t i = 0; i < e->n_xattrs; i++)
        archive_entry_xattr_add_entry(ae, e->xattrs[i].name, e->xattrs[i].value, e->xattrs[i].size);
    archive_entry_set_mtime(ae, (time_t)clamp(e->mtime, w->options->epoch), 0);
    w->err = err;
    errno = 0; /* libarchive takes an older ENOMEM for its own */
    int r = archive_write_header(w->tar, ae);
    if (r == ARCHIVE_OK || r == ARCHIVE_WARN) /* a name that is not UTF-8 is written as it is */
        return 0;
    cleanup_free char *shown = layer_path_show(e->path);
    r = archive_failed(w, "cannot write the header", err);
    return err ? err_wrap(err, "entry %s", shown) : r;
}

static int file_data(void *ctx, const void *data, size_t n, struct err *err)
{
    struct writer *w = ctx;
    digest_update(&w->data, data, n);
    for (size_t i = 0; i < w->options->n_observers; i++) {
        if (w->watched >> i & 1)
            w->options->observers[i].data(w->options->observers[i].ctx, data, n);
    }
    w->err = err;
    for (const char *p = data; n > 0;) {
        la_ssize_t k = archive_write_data(w->tar, p, n);
        if (k <= 0)
            return archive_failed(w, "cannot write the layer", err);
        p += k;
        n -= (size_t)k;
    }
    return 0;
}

static void announce(struct writer *w, const struct layer_entry *e)
{
    w->watched = 0;
    for (size_t i = 0; i < w->options->n_observers; i++) {
        const struct layer_observer *o = &w->options->observers[i];
        if (o->entry(o->ctx, e) && !e->hard && S_ISREG(e->mode))
            w->watched |= (uint64_t)1 << i;
    }
}

static int write_node(struct writer *w, const struct layer_source *s, const struct layer_node *n,
                      struct err *err)
{
    const struct layer_entry *e = &n->entry;
    announce(w, e);
    int r = write_header(w, e, err);
    char data_digest[DIGEST_SIZE] = "";
    if (r == 0 && !e->hard && S_ISREG(e->mode)) {
        digest_init(&w->data);
        r = s->data(s->ctx, n, file_data, w, err);
        digest_final(&w->data, data_digest);
    }
    layer_content_add(&w->content, e, data_digest);
    return r;
}

static int writer_open(struct writer *w, struct err *err)
{
    int r = block_compressor_new(w->options->compression, w->options->threads, to_file, w,
                                 &w->compressor, err);
    if (r < 0)
        return r;
    digest_init(&w->diff);
    digest_init(&w->digest);
    digest_init(&w->content);
    layer_content_begin(&w->content);
    w->entry = archive_entry_new();
    w->tar = archive_write_new();
    if (!w->tar || !w->entry)
        abort();
    archive_write_set_format_pax_restricted(w->tar);
    archive_write_set_bytes_per_block(w->tar, 0); /* straight through, no padding */
    if (archive_write_set_format_option(w->tar, "pax", "xattrheader", "SCHILY") != ARCHIVE_OK ||
        archive_write_open(w->tar, w, NULL, tar_bytes, NULL) != ARCHIVE_OK)
        return tar_error(w->tar, "cannot begin a tar", err);
    return 0;
}

static void writer_close(struct writer *w)
{
    if (w->tar) {
        archive_write_fail(w->tar); /* nothing more may come out */
        archive_write_free(w->tar);
    }
    archive_entry_free(w->entry);
    block_compressor_free(w->compressor);
    digest_done(&w->diff);
    digest_done(&w->digest);
    digest_done(&w->content);
}

static int write_all(struct writer *w, const struct layer_source *s, struct err *err)
{
    int r = writer_open(w, err);
    if (r < 0)
        return r;
    VEC_FOREACH (&s->index->nodes, n) {
        r = write_node(w, s, n, err);
        if (r < 0)
            return r;
    }
    w->err = err;
    if (archive_write_close(w->tar) != ARCHIVE_OK)
        return archive_failed(w, "cannot end the tar", err);
    r = block_compressor_finish(w->compressor, err);
    for (size_t i = 0; i < w->options->n_observers && r == 0; i++) {
        if (w->options->observers[i].end)
            w->options->observers[i].end(w->options->observers[i].ctx);
    }
    return r;
}

int layer_write(const struct layer_source *source, int fd, const struct layer_options *options,
                struct layer_result *ret, struct err *err)
{
    struct writer w = {.options = options, .fd = fd};
    int r = options->n_observers > 64 ? err_set(err, -EINVAL, "too many observers")
                                      : write_all(&w, source, err);
    if (r == 0) {
        *ret = (struct layer_result){
            .size = w.size, .unpacked = w.unpacked, .entries = source->index->nodes.n};
        digest_final(&w.digest, ret->digest);
        digest_final(&w.diff, ret->diff_id);
        digest_final(&w.content, ret->content);
    }
    writer_close(&w);
    return r;
}
