/* A folder as a layer's source. It is walked from descriptors, and no link in it is ever followed. */
#include "agent/layer_source.h"
#include "agent/safe_dir.h"
#include "agent/xattr_shift.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <uthash.h>

#define CHUNK      (256u << 10)
#define DEPTH_MAX  200 /* each level holds a descriptor */
#define XATTRS_MAX 128

struct inode_key {
    uint64_t dev, ino;
};
/* A file with several names: the node that it was first seen as. */
struct folder_inode {
    struct inode_key key;
    uint32_t order;
    UT_hash_handle hh;
};

static int bad(const char *path, int code, const char *why, struct err *err)
{
    cleanup_free char *shown = layer_path_show(path);
    return err_set(err, code, "%s: %s", shown, why);
}

static int failed(const char *path, const char *what, struct err *err)
{
    int code = -errno;
    cleanup_free char *shown = layer_path_show(path);
    return err_errno(err, code, "%s: cannot %s", shown, what);
}

/* ------------------------------------------------------------------------------------ attributes */

static int read_xattr(struct folder_source *f, int fd, const char *path, const char *name,
                      struct layer_xattr *ret, struct err *err)
{
    unsigned char buf[64 << 10];
    ssize_t n = fgetxattr(fd, name, buf, sizeof(buf));
    if (n < 0)
        return failed(path, "read an attribute", err);
    size_t size = (size_t)n;
    if (strcmp(name, "security.capability") == 0)
        size = capability_unshift(buf, size, f->id_shift);
    const char *copied_name, *value;
    int r = layer_index_copy(f->index, name, strlen(name), path, &copied_name, err);
    if (r == 0)
        r = layer_index_copy(f->index, buf, size, path, &value, err);
    if (r == 0)
        *ret = (struct layer_xattr){copied_name, value, size};
    return r;
}

static int read_xattrs(struct folder_source *f, int fd, struct layer_entry *e, struct err *err)
{
    char names[64 << 10];
    ssize_t size = flistxattr(fd, names, sizeof(names));
    if (size < 0 && errno == ENOTSUP)
        return 0;
    if (size < 0)
        return failed(e->path, "list attributes", err);
    struct layer_xattr x[XATTRS_MAX];
    size_t n = 0;
    for (const char *p = names; p < names + size; p += strlen(p) + 1) {
        if (!layer_xattr_kept(p))
            continue;
        if (n == XATTRS_MAX)
            return bad(e->path, -EBADMSG, "too many attributes", err);
        int r = read_xattr(f, fd, e->path, p, &x[n++], err);
        if (r < 0)
            return r;
    }
    if (n == 0)
        return 0;
    e->n_xattrs = xattrs_sort(x, n);
    const char *copy;
    int r = layer_index_copy(f->index, x, e->n_xattrs * sizeof(*x), e->path, &copy, err);
    if (r == 0)
        e->xattrs = (const struct layer_xattr *)(const void *)copy;
    return r;
}

/* ------------------------------------------------------------------------------------------- walk */

static int unshift(const struct folder_source *f, const char *path, uint32_t id, uint32_t *ret,
                   struct err *err)
{
    if (id < f->id_shift || id - f->id_shift >= f->id_range) {
        cleanup_free char *shown = layer_path_show(path);
        return err_set(err, -EBADMSG, "%s: owned by %" PRIu32 ", who is not of the sandbox", shown,
                       id);
    }
    *ret = id - f->id_shift;
    return 0;
}

static int read_link(struct folder_source *f, int dir, const char *name, struct layer_entry *e,
                     struct err *err)
{
    char target[4096];
    ssize_t n = readlinkat(dir, name, target, sizeof(target));
    if (n < 0)
        return failed(e->path, "read the link", err);
    return layer_index_copy(f->index, target, (size_t)n, e->path, &e->link, err);
}

/* The rest of a file's or folder's entry needs it open: *ret_fd is set for a folder. */
static int read_open(struct folder_source *f, int dir, const char *name, struct layer_entry *e,
                     int *ret_fd, struct err *err)
{
    int flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
    cleanup_close int fd = openat(dir, name, flags | (S_ISDIR(e->mode) ? O_DIRECTORY : 0));
    if (fd < 0)
        return failed(e->path, "open", err);
    int r = read_xattrs(f, fd, e, err);
    if (r == 0 && S_ISDIR(e->mode))
        *ret_fd = steal_fd(&fd);
    return r;
}

static int fill_entry(struct folder_source *f, int dir, const char *name, const struct stat *st,
                      struct layer_entry *e, int *ret_fd, struct err *err)
{
    e->mode = S_ISLNK(st->st_mode) ? S_IFLNK | 0777 : st->st_mode;
    e->size = S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0;
    e->mtime = st->st_mtim.tv_sec;
    if (S_ISCHR(e->mode) || S_ISBLK(e->mode)) {
        e->major = major(st->st_rdev);
        e->minor = minor(st->st_rdev);
    }
    int r = unshift(f, e->path, st->st_uid, &e->uid, err);
    if (r == 0)
        r = unshift(f, e->path, st->st_gid, &e->gid, err);
    if (r == 0 && S_ISLNK(e->mode))
        r = read_link(f, dir, name, e, err);
    if (r == 0 && (S_ISREG(e->mode) || S_ISDIR(e->mode)))
        r = read_open(f, dir, name, e, ret_fd, err);
    return r;
}

/* The inode's record when it has more than one name; *ret_new says whether this is the first. */
static struct folder_inode *inode_of(struct folder_source *f, const struct stat *st, bool *ret_new)
{
    *ret_new = false;
    if (S_ISDIR(st->st_mode) || st->st_nlink < 2)
        return NULL;
    struct inode_key key = {st->st_dev, st->st_ino};
    struct folder_inode *i = NULL;
    HASH_FIND(hh, f->inodes, &key, sizeof(key), i);
    if (i)
        return i;
    *ret_new = true;
    i = xnew(struct folder_inode);
    i->key = key;
    HASH_ADD(hh, f->inodes, key, sizeof(key), i);
    return i;
}

/* Adds one name; *ret_fd is set for a folder. */
static int add_name(struct folder_source *f, int dir, const char *path, const char *name,
                    int *ret_fd, struct err *err)
{
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return failed(path, "stat", err);
    if (S_ISSOCK(st.st_mode)) {
        f->skipped++;
        return 0;
    }
    struct layer_entry e = {0};
    int r = layer_index_path(f->index, path, "entry", &e.path, err);
    if (r < 0)
        return r;
    bool first;
    struct folder_inode *inode = inode_of(f, &st, &first);
    if (inode && !first)
        e.hard = true;
    else
        r = fill_entry(f, dir, name, &st, &e, ret_fd, err);
    if (r == 0 && layer_index_leaves_out(f->index, &e))
        return 0;
    struct layer_node *node = NULL;
    if (r == 0)
        r = layer_index_add(f->index, &e, &node, err);
    if (r < 0)
        return r;
    if (inode && first)
        inode->order = node->order;
    else if (inode)
        node->inode = inode->order;
    return 0;
}

static void closedirp(DIR **d)
{
    if (*d)
        closedir(*d);
}

static int walk(struct folder_source *f, int fd, const char *path, int depth, struct err *err)
{
    cleanup_(closedirp) DIR *d = fdopendir(fd);
    if (!d) {
        close(fd);
        return failed(path, "read the folder", err);
    }
    if (depth > DEPTH_MAX)
        return bad(path, -EBADMSG, "folders nested too deep", err);
    for (;;) {
        errno = 0;
        struct dirent *de = readdir(d);
        if (!de)
            return errno ? failed(path, "read the folder", err) : 0;
        if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
            continue;
        cleanup_free char *child =
            *path ? xasprintf("%s/%s", path, de->d_name) : xstrdup(de->d_name);
        int sub = -1;
        int r = add_name(f, dirfd(d), child, de->d_name, &sub, err);
        if (sub >= 0 && r == 0)
            r = walk(f, sub, child, depth + 1, err);
        else if (sub >= 0)
            close(sub);
        if (r < 0)
            return r;
    }
}

/* ------------------------------------------------------------------------------------------- data */

/* Opens the entry's parent unless it is the one that is open: entries come sorted. */
static int open_parent(struct folder_source *f, const char *path, const char **ret_name,
                       struct err *err)
{
    const char *slash = strrchr(path, '/');
    *ret_name = slash ? slash + 1 : path;
    cleanup_free char *parent = slash ? xstrndup(path, (size_t)(slash - path)) : xstrdup(".");
    if (f->parent && strcmp(f->parent, parent) == 0)
        return 0;
    int fd;
    int r = safe_dir_open(f->root, parent, &fd, err);
    if (r < 0)
        return r;
    if (f->parent_fd >= 0)
        close(f->parent_fd);
    f->parent_fd = fd;
    free(f->parent);
    f->parent = steal_ptr(parent);
    return 0;
}

static int folder_source_data(void *ctx, const struct layer_node *node, data_sink sink,
                              void *sink_ctx, struct err *err)
{
    struct folder_source *f = ctx;
    const struct layer_entry *e = &node->entry;
    const char *name;
    int r = open_parent(f, e->path, &name, err);
    if (r < 0)
        return r;
    cleanup_close int fd =
        openat(f->parent_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return failed(e->path, "open", err);
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != e->size)
        return bad(e->path, -EIO, "changed while the layer was made", err);
    cleanup_free char *buf = xrealloc(NULL, 1, e->size < CHUNK ? e->size + 1 : CHUNK);
    for (uint64_t left = e->size; left > 0;) {
        ssize_t n = read(fd, buf, left < CHUNK ? (size_t)left : CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return failed(e->path, "read", err);
        if (n == 0)
            return bad(e->path, -EIO, "changed while the layer was made", err);
        r = sink(sink_ctx, buf, (size_t)n, err);
        if (r < 0)
            return r;
        left -= (uint64_t)n;
    }
    return 0;
}

int folder_source_open(struct folder_source *f, const char *path,
                       const struct layer_options *options, struct layer_index *ix,
                       struct layer_source *ret_source, struct err *err)
{
    *f = (struct folder_source){.root = -1,
                                .parent_fd = -1,
                                .index = ix,
                                .id_shift = options->id_shift,
                                .id_range = options->id_range ? options->id_range : 65536};
    f->root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->root < 0)
        return err_errno(err, -errno, "cannot open the folder %s", path);
    int fd = openat(f->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, -errno, "cannot open the folder %s", path);
    int r = walk(f, fd, "", 0, err);
    if (r == 0)
        r = layer_index_finish(ix, err);
    if (r == 0)
        *ret_source = (struct layer_source){.index = ix, .data = folder_source_data, .ctx = f};
    return r;
}

void folder_source_close(struct folder_source *f)
{
    struct folder_inode *i, *tmp;
    HASH_ITER(hh, f->inodes, i, tmp)
    {
        HASH_DEL(f->inodes, i);
        free(i);
    }
    free(f->parent);
    if (f->parent_fd >= 0)
        close(f->parent_fd);
    if (f->root >= 0)
        close(f->root);
}
