#include "agent/tar_read.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#define READ_BLOCK (256u << 10)
#define XATTR_MAX  (64u << 10) /* the kernel's limit for a value */
#define XATTRS_MAX 128

static locale_t utf8;

static void make_utf8(void)
{
    utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
}

locale_t locale_utf8(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_utf8);
    return uselocale(utf8);
}

void locale_restore(locale_t *old)
{
    uselocale(*old);
}

int tar_error(struct archive *a, const char *what, struct err *err)
{
    int code = archive_errno(a);
    const char *text = archive_error_string(a);
    bool system = code == ENOSPC || code == EIO || code == ENOMEM || code == EDQUOT;
    return err_set(err, system ? -code : -EBADMSG, "%s: %s", what, text ? text : "unknown error");
}

static int open_fd(struct archive *a, int fd, struct archive **ret, struct err *err)
{
    if (archive_read_open_fd(a, fd, READ_BLOCK) == ARCHIVE_OK) {
        *ret = a;
        return 0;
    }
    int r = tar_error(a, "not a tar", err);
    archive_free(a);
    return r;
}

struct archive *tar_reader(bool compressed)
{
    struct archive *a = archive_read_new();
    if (!a)
        abort();
    if (!compressed)
        return a;
    /* Not filter_all: some of those start programs. */
    archive_read_support_filter_gzip(a);
    archive_read_support_filter_zstd(a);
    archive_read_support_filter_xz(a);
    archive_read_support_filter_lzma(a);
    archive_read_support_filter_bzip2(a);
    archive_read_support_filter_lz4(a);
    archive_read_support_filter_lzip(a);
    archive_read_support_filter_compress(a);
    return a;
}

int tar_open(int fd, bool compressed, struct archive **ret, struct err *err)
{
    struct archive *a = tar_reader(compressed);
    archive_read_support_format_tar(a);
    return open_fd(a, fd, ret, err);
}

int tar_open_raw(int fd, struct archive **ret, struct err *err)
{
    struct archive *a = tar_reader(true);
    archive_read_support_format_raw(a);
    return open_fd(a, fd, ret, err);
}

int tar_next(struct archive *a, struct archive_entry **ret, struct err *err)
{
    int r = archive_read_next_header(a, ret);
    if (r == ARCHIVE_EOF)
        return 0;
    /* A warning is about a name that is not UTF-8, or an attribute; the bytes are there. */
    if (r == ARCHIVE_OK || r == ARCHIVE_WARN)
        return 1;
    return tar_error(a, "cannot read the tar", err);
}

static int xattr_cmp(const void *a, const void *b)
{
    return strcmp(((const struct layer_xattr *)a)->name, ((const struct layer_xattr *)b)->name);
}

size_t xattrs_sort(struct layer_xattr *x, size_t n)
{
    if (n < 2)
        return n;
    qsort(x, n, sizeof(*x), xattr_cmp);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (i + 1 < n && strcmp(x[i].name, x[i + 1].name) == 0)
            continue;
        x[kept++] = x[i];
    }
    return kept;
}

static int bad_entry(const struct layer_entry *e, const char *why, struct err *err)
{
    cleanup_free char *shown = layer_path_show(e->path);
    return err_set(err, -EBADMSG, "entry %s: %s", shown, why);
}

static int copy_xattr(struct layer_index *ix, const struct layer_entry *e, const char *name,
                      const void *value, size_t size, struct layer_xattr *ret, struct err *err)
{
    const char *n, *v;
    int r = layer_index_copy(ix, name, strlen(name), e->path, &n, err);
    if (r == 0)
        r = layer_index_copy(ix, value, size, e->path, &v, err);
    if (r == 0)
        *ret = (struct layer_xattr){n, v, size};
    return r;
}

static int tar_xattrs(struct layer_index *ix, struct archive_entry *ae, struct layer_entry *e,
                      struct err *err)
{
    struct layer_xattr x[XATTRS_MAX];
    size_t n = 0, size;
    const char *name;
    const void *value;
    archive_entry_xattr_reset(ae);
    while (archive_entry_xattr_next(ae, &name, &value, &size) == ARCHIVE_OK) {
        if (!name || !layer_xattr_kept(name))
            continue;
        if (n == XATTRS_MAX || size > XATTR_MAX || strlen(name) > 255)
            return bad_entry(e, "too many or too large attributes", err);
        int r = copy_xattr(ix, e, name, value, size, &x[n++], err);
        if (r < 0)
            return r;
    }
    if (n == 0)
        return 0;
    e->n_xattrs = xattrs_sort(x, n);
    const char *copy;
    int r = layer_index_copy(ix, x, e->n_xattrs * sizeof(*x), e->path, &copy, err);
    if (r == 0)
        e->xattrs = (const struct layer_xattr *)(const void *)copy;
    return r;
}

static bool id_ok(int64_t id)
{
    return id >= 0 && id < UINT32_MAX;
}

static int tar_numbers(struct archive_entry *ae, struct layer_entry *e, struct err *err)
{
    int64_t uid = archive_entry_uid(ae), gid = archive_entry_gid(ae);
    int64_t size = archive_entry_size(ae);
    mode_t type = e->hard ? S_IFREG : archive_entry_filetype(ae);
    if (type == 0 || S_ISSOCK(type))
        return bad_entry(e, "of a kind that a layer cannot hold", err);
    if (!id_ok(uid) || !id_ok(gid))
        return bad_entry(e, "an owner that is no 32-bit number", err);
    if (size < 0)
        return bad_entry(e, "a negative size", err);
    e->mode = type | (archive_entry_perm(ae) & 07777);
    if (S_ISLNK(e->mode))
        e->mode = S_IFLNK | 0777;
    e->uid = (uint32_t)uid;
    e->gid = (uint32_t)gid;
    e->size = S_ISREG(e->mode) && !e->hard ? (uint64_t)size : 0;
    e->mtime = archive_entry_mtime_is_set(ae) ? archive_entry_mtime(ae) : 0;
    if (S_ISCHR(e->mode) || S_ISBLK(e->mode)) {
        e->major = (uint32_t)archive_entry_rdevmajor(ae);
        e->minor = (uint32_t)archive_entry_rdevminor(ae);
    }
    return 0;
}

static int tar_hard_link(struct layer_index *ix, const char *to, struct layer_entry *e,
                         struct err *err)
{
    e->hard = true;
    int r = layer_index_path(ix, to, "a hard link to", &e->link, err);
    if (r == 0)
        return 0;
    cleanup_free char *shown = layer_path_show(e->path);
    return err_wrap(err, "entry %s", shown);
}

int tar_entry(struct layer_index *ix, struct archive_entry *ae, struct layer_entry *ret,
              struct err *err)
{
    struct layer_entry e = {0};
    int r = layer_index_path(ix, archive_entry_pathname(ae), "entry", &e.path, err);
    if (r < 0)
        return r;
    const char *hard = archive_entry_hardlink(ae), *symlink = archive_entry_symlink(ae);
    if (hard)
        r = tar_hard_link(ix, hard, &e, err);
    if (r == 0)
        r = tar_numbers(ae, &e, err);
    if (r == 0 && S_ISLNK(e.mode) && symlink)
        r = layer_index_copy(ix, symlink, strlen(symlink), e.path, &e.link, err);
    if (r == 0)
        r = tar_xattrs(ix, ae, &e, err);
    if (r == 0)
        *ret = e;
    return r;
}

static int zeros(uint64_t n, data_sink sink, void *ctx, struct err *err)
{
    static const char zero[READ_BLOCK];
    while (n > 0) {
        size_t piece = n < sizeof(zero) ? (size_t)n : sizeof(zero);
        int r = sink(ctx, zero, piece, err);
        if (r < 0)
            return r;
        n -= piece;
    }
    return 0;
}

int tar_data(struct archive *a, uint64_t size, data_sink sink, void *ctx, struct err *err)
{
    uint64_t at = 0;
    for (;;) {
        const void *p;
        size_t n;
        la_int64_t offset;
        int r = archive_read_data_block(a, &p, &n, &offset);
        if (r == ARCHIVE_EOF)
            return zeros(size - at, sink, ctx, err);
        if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
            return tar_error(a, "cannot read the tar", err);
        if (offset < 0 || (uint64_t)offset < at || (uint64_t)offset > size ||
            n > size - (uint64_t)offset)
            return err_set(err, -EBADMSG, "pieces of a sparse file overlap or go beyond its size");
        r = zeros((uint64_t)offset - at, sink, ctx, err);
        if (r == 0 && n)
            r = sink(ctx, p, n, err);
        if (r < 0)
            return r;
        at = (uint64_t)offset + n;
    }
}
