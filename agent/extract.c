#include "agent/extract.h"

#include "agent/layer_index.h"
#include "agent/safe_dir.h"
#include "agent/tar_read.h"
#include "agent/xattr_shift.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <uthash.h>

/* A folder whose mode and time are set at the end: what is made in it would change its time, and it may not
 * be writable. */
struct late_folder {
    char *path;
    size_t order;
    mode_t mode;
    int64_t mtime;
};

/* A path that this tar has made; an opaque folder hides all others. */
struct made {
    char *path;
    UT_hash_handle hh;
};

struct extractor {
    const struct extract_options *options;
    int root;
    struct archive *a;
    struct layer_index index; /* checks only: it keeps no nodes */
    struct safe_dir parents, targets;
    VEC(struct late_folder) late;
    struct made *made; /* layers only */
    uint64_t skipped;
};

static bool has(const struct extractor *x, enum extract_flags flag)
{
    return x->options->flags & flag;
}

static int failed(const struct layer_entry *e, const char *what, struct err *err)
{
    int code = -errno;
    cleanup_free char *shown = layer_path_show(e->path);
    return err_errno(err, code, "entry %s: cannot %s", shown, what);
}

static int refused(const struct layer_entry *e, const char *why, struct err *err)
{
    cleanup_free char *shown = layer_path_show(e->path);
    return err_set(err, -EBADMSG, "entry %s: %s", shown, why);
}

/* ------------------------------------------------------------------------------ attributes of files */

static uint32_t owner(const struct extractor *x, uint32_t id)
{
    return x->options->id_shift + id;
}

static mode_t permissions(const struct extractor *x, const struct layer_entry *e)
{
    mode_t mode = e->mode & 07777;
    return has(x, EXTRACT_SETID) ? mode : mode & ~(mode_t)(S_ISUID | S_ISGID);
}

static int set_xattrs(struct extractor *x, int fd, const struct layer_entry *e, struct err *err)
{
    for (size_t i = 0; has(x, EXTRACT_XATTRS) && i < e->n_xattrs; i++) {
        const struct layer_xattr *a = &e->xattrs[i];
        unsigned char v3[CAPABILITY_V3_SIZE];
        const void *value = a->value;
        size_t size = a->size;
        if (strcmp(a->name, "security.capability") == 0 &&
            capability_shift(value, size, x->options->id_shift, v3)) {
            value = v3;
            size = sizeof(v3);
        }
        if (fsetxattr(fd, a->name, value, size, 0) < 0 && errno != ENOTSUP)
            return failed(e, "set an attribute", err);
    }
    return 0;
}

static void set_time(int fd, int64_t mtime)
{
    struct timespec t[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = (time_t)mtime}};
    (void)futimens(fd, t); /* a time that the file system cannot hold harms nobody */
}

/* Owner first: changing it clears the set-id bits and the capability. */
static int finish_file(struct extractor *x, int fd, const struct layer_entry *e, struct err *err)
{
    if (has(x, EXTRACT_OWNERS) && fchown(fd, owner(x, e->uid), owner(x, e->gid)) < 0)
        return failed(e, "set the owner", err);
    if (fchmod(fd, permissions(x, e)) < 0)
        return failed(e, "set the mode", err);
    int r = set_xattrs(x, fd, e, err);
    if (r == 0)
        set_time(fd, e->mtime);
    return r;
}

/* ------------------------------------------------------------------------------------------- kinds */

static int to_fd(void *ctx, const void *data, size_t n, struct err *err)
{
    int fd = *(int *)ctx;
    for (const char *p = data; n > 0;) {
        ssize_t k = write(fd, p, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return err_errno(err, -errno, "cannot write");
        p += k;
        n -= (size_t)k;
    }
    return 0;
}

static int make_file(struct extractor *x, int dir, const char *name, const struct layer_entry *e,
                     struct err *err)
{
    int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    cleanup_close int fd = openat(dir, name, flags, 0600);
    if (fd < 0)
        return failed(e, "make the file", err);
    int r = tar_data(x->a, e->size, to_fd, &fd, err);
    if (r < 0) {
        cleanup_free char *shown = layer_path_show(e->path);
        return err_wrap(err, "entry %s", shown);
    }
    return finish_file(x, fd, e, err);
}

static int make_folder(struct extractor *x, int dir, const char *name, const struct layer_entry *e,
                       struct err *err)
{
    if (mkdirat(dir, name, 0700) < 0 && errno != EEXIST)
        return failed(e, "make the folder", err);
    cleanup_close int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return failed(e, "open the folder", err);
    if (has(x, EXTRACT_OWNERS) && fchown(fd, owner(x, e->uid), owner(x, e->gid)) < 0)
        return failed(e, "set the owner", err);
    vec_push(&x->late, (struct late_folder){.path = xstrdup(e->path),
                                            .order = x->late.n,
                                            .mode = permissions(x, e),
                                            .mtime = e->mtime});
    return set_xattrs(x, fd, e, err);
}

static int make_symlink(struct extractor *x, int dir, const char *name, const struct layer_entry *e,
                        struct err *err)
{
    if (symlinkat(e->link, dir, name) < 0)
        return failed(e, "make the link", err);
    if (has(x, EXTRACT_OWNERS) &&
        fchownat(dir, name, owner(x, e->uid), owner(x, e->gid), AT_SYMLINK_NOFOLLOW) < 0)
        return failed(e, "set the owner", err);
    struct timespec t[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = (time_t)e->mtime}};
    (void)utimensat(dir, name, t, AT_SYMLINK_NOFOLLOW);
    return 0;
}

static int make_node(struct extractor *x, int dir, const char *name, const struct layer_entry *e,
                     struct err *err)
{
    if (mknodat(dir, name, (e->mode & S_IFMT) | 0600, makedev(e->major, e->minor)) < 0)
        return failed(e, "make the node", err);
    if (has(x, EXTRACT_OWNERS) &&
        fchownat(dir, name, owner(x, e->uid), owner(x, e->gid), AT_SYMLINK_NOFOLLOW) < 0)
        return failed(e, "set the owner", err);
    if (fchmodat(dir, name, permissions(x, e), 0) < 0)
        return failed(e, "set the mode", err);
    return 0;
}

static int make_hard_link(struct extractor *x, int dir, const char *name,
                          const struct layer_entry *e, struct err *err)
{
    int from;
    const char *from_name;
    int r = safe_dir_parent(&x->targets, e->link, &from, &from_name, err);
    if (r < 0) {
        cleanup_free char *shown = layer_path_show(e->path);
        return err_wrap(err, "entry %s: a hard link", shown);
    }
    struct stat st;
    if (fstatat(from, from_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return refused(e, "a hard link to what is not there", err);
    if (S_ISDIR(st.st_mode))
        return refused(e, "a hard link to a folder", err);
    if (linkat(from, from_name, dir, name, 0) < 0)
        return failed(e, "make the hard link", err);
    return 0;
}

/* --------------------------------------------------------------------------------------- whiteouts */

static bool remembered(const struct extractor *x, const char *path)
{
    struct made *m;
    HASH_FIND_STR(x->made, path, m);
    return m != NULL;
}

/* Notes that this layer has made the path, and so the folders that it is in. */
static void remember(struct extractor *x, const char *path)
{
    cleanup_free char *p = xstrdup(path);
    while (!remembered(x, p)) {
        struct made *m = xnew(struct made);
        m->path = xstrdup(p);
        HASH_ADD_KEYPTR(hh, x->made, m->path, strlen(m->path), m);
        char *slash = strrchr(p, '/');
        if (!slash)
            return;
        *slash = '\0';
    }
}

static void closedirp(DIR **d)
{
    if (*d)
        closedir(*d);
}

static int hide_below(struct extractor *x, int fd, const char *path, struct err *err);

/* Removes what lower layers have at the path; what this layer has made there stays. */
static int hide(struct extractor *x, int dir, const char *name, const char *path, struct err *err)
{
    if (!remembered(x, path))
        return safe_remove(dir, name, err);
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? 0 : hide_below(x, fd, path, err);
}

/* The same for all that is in a folder. Takes over fd. */
static int hide_below(struct extractor *x, int fd, const char *path, struct err *err)
{
    cleanup_(closedirp) DIR *d = fdopendir(fd);
    if (!d) {
        close(fd);
        return err_set(err, -ENOMEM, "cannot read an opaque folder");
    }
    for (struct dirent *de; (de = readdir(d));) {
        const char *name = de->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        cleanup_free char *child = *path ? xasprintf("%s/%s", path, name) : xstrdup(name);
        int r = hide(x, dirfd(d), name, child, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int whiteout(struct extractor *x, int dir, const char *name, const struct layer_entry *e,
                    struct err *err)
{
    size_t prefix = strlen(e->path) - strlen(name);
    safe_dir_forget(&x->targets);
    if (strcmp(name, ".wh..wh..opq") == 0) {
        cleanup_free char *folder = xstrndup(e->path, prefix ? prefix - 1 : 0);
        int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? failed(e, "open its folder", err) : hide_below(x, fd, folder, err);
    }
    if (str_starts(name, ".wh..wh.")) /* aufs's own */
        return 0;
    const char *hidden = name + strlen(".wh.");
    if (!*hidden || strcmp(hidden, ".") == 0 || strcmp(hidden, "..") == 0)
        return refused(e, "a whiteout of nothing", err);
    cleanup_free char *path = xasprintf("%.*s%s", (int)prefix, e->path, hidden);
    return hide(x, dir, hidden, path, err);
}

/* ----------------------------------------------------------------------------------------- entries */

/* Makes room: a later entry replaces an earlier one, except that folders are merged. */
static int clear_place(struct extractor *x, int dir, const char *name, const struct layer_entry *e,
                       struct err *err)
{
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    if (S_ISDIR(st.st_mode) && S_ISDIR(e->mode) && !e->hard)
        return 0;
    /* A hard link to itself: the file is there already. */
    if (e->hard && strcmp(e->path, e->link) == 0)
        return -EALREADY;
    safe_dir_forget(&x->targets);
    return safe_remove(dir, name, err);
}

static int make_entry(struct extractor *x, int dir, const char *name, const struct layer_entry *e,
                      struct err *err)
{
    if (e->hard)
        return make_hard_link(x, dir, name, e, err);
    switch (e->mode & S_IFMT) {
    case S_IFREG:
        return make_file(x, dir, name, e, err);
    case S_IFDIR:
        return make_folder(x, dir, name, e, err);
    case S_IFLNK:
        return make_symlink(x, dir, name, e, err);
    default:
        return make_node(x, dir, name, e, err);
    }
}

static bool skipped(const struct extractor *x, const struct layer_entry *e)
{
    return !e->hard && (S_ISCHR(e->mode) || S_ISBLK(e->mode)) && has(x, EXTRACT_SKIP_DEVICES);
}

static int place_entry(struct extractor *x, const struct layer_entry *e, struct err *err)
{
    int dir;
    const char *name;
    if (strcmp(e->path, ".") == 0)
        return make_folder(x, x->root, ".", e, err);
    int r = safe_dir_parent(&x->parents, e->path, &dir, &name, err);
    if (r < 0) {
        cleanup_free char *shown = layer_path_show(e->path);
        return err_wrap(err, "entry %s goes through what is no folder", shown);
    }
    if (has(x, EXTRACT_LAYER) && str_starts(name, ".wh."))
        return whiteout(x, dir, name, e, err);
    r = clear_place(x, dir, name, e, err);
    if (r == -EALREADY)
        return 0;
    if (r == 0)
        r = make_entry(x, dir, name, e, err);
    if (r == 0 && has(x, EXTRACT_LAYER))
        remember(x, e->path);
    return r;
}

static int next_entry(struct extractor *x, struct err *err)
{
    struct archive_entry *ae;
    struct layer_entry e;
    int r = tar_next(x->a, &ae, err);
    if (r <= 0)
        return r;
    layer_index_forget(&x->index);
    r = tar_entry(&x->index, ae, &e, err);
    if (r == 0)
        r = layer_index_check(&x->index, &e, err);
    if (r < 0)
        return r;
    if (skipped(x, &e)) {
        x->skipped++;
        return 1;
    }
    r = place_entry(x, &e, err);
    return r < 0 ? r : 1;
}

/* Inner folders before outer ones; of a doubled one the last first. */
static int late_cmp(const void *pa, const void *pb)
{
    const struct late_folder *a = pa, *b = pb;
    int r = layer_path_cmp(b->path, a->path);
    return r ? r : (a->order < b->order) - (a->order > b->order);
}

/* Sets a folder's own mode and time; one that was replaced since is passed by. */
static int finish_folder(struct extractor *x, const struct late_folder *l, struct err *err)
{
    struct err ignored;
    int dir = x->root;
    const char *name = ".";
    if (strcmp(l->path, ".") != 0 &&
        safe_dir_parent(&x->parents, l->path, &dir, &name, &ignored) < 0)
        return 0;
    cleanup_close int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return 0;
    if (fchmod(fd, l->mode) < 0)
        return err_errno(err, -errno, "cannot set the mode of %s", l->path);
    set_time(fd, l->mtime);
    return 0;
}

static int finish_folders(struct extractor *x, struct err *err)
{
    int r = 0;
    if (x->late.n)
        qsort(x->late.items, x->late.n, sizeof(*x->late.items), late_cmp);
    safe_dir_forget(&x->parents);
    x->parents.create = false;
    for (size_t i = 0; i < x->late.n && r == 0; i++) {
        if (i == 0 || strcmp(x->late.items[i].path, x->late.items[i - 1].path) != 0)
            r = finish_folder(x, &x->late.items[i], err);
    }
    return r;
}

static void extractor_done(struct extractor *x)
{
    struct made *m, *tmp;
    HASH_ITER(hh, x->made, m, tmp)
    {
        HASH_DEL(x->made, m);
        free(m->path);
        free(m);
    }
    VEC_FOREACH (&x->late, l) {
        free(l->path);
    }
    vec_free(&x->late);
    safe_dir_done(&x->parents);
    safe_dir_done(&x->targets);
    layer_index_done(&x->index);
    if (x->a)
        archive_free(x->a);
    if (x->root >= 0)
        close(x->root);
}

static int extractor_open(struct extractor *x, int fd, const char *folder, struct err *err)
{
    bool layer = has(x, EXTRACT_LAYER);
    x->root = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (x->root < 0)
        return err_errno(err, -errno, "cannot open %s", folder);
    layer_index_init(&x->index, &x->options->limits, !layer);
    x->index.devices = has(x, EXTRACT_DEVICES) || has(x, EXTRACT_SKIP_DEVICES);
    x->index.whiteouts = true; /* in a build context these are names like any other */
    x->parents = SAFE_DIR_INIT(x->root);
    x->parents.in_root = layer;
    x->parents.owners = has(x, EXTRACT_OWNERS);
    x->parents.owner = x->options->id_shift;
    x->targets = x->parents;
    x->parents.create = true;
    return tar_open(fd, true, &x->a, err);
}

int extract_tar(int fd, const char *folder, const struct extract_options *options,
                struct extract_stats *ret, struct err *err)
{
    __attribute__((cleanup(locale_restore), unused)) locale_t old = locale_utf8();
    struct extractor x = {.options = options, .root = -1, .parents.fd = -1, .targets.fd = -1};
    int r = extractor_open(&x, fd, folder, err);
    if (r == 0) {
        do
            r = next_entry(&x, err);
        while (r > 0);
    }
    if (r == 0)
        r = finish_folders(&x, err);
    if (r == 0 && ret)
        *ret = (struct extract_stats){x.index.entries, x.index.bytes, x.skipped};
    extractor_done(&x);
    return r;
}

int extract_tar_file(const char *tar, const char *folder, const struct extract_options *options,
                     struct extract_stats *ret, struct err *err)
{
    cleanup_close int fd = open(tar, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, -errno, "cannot open %s", tar);
    return extract_tar(fd, folder, options, ret, err);
}
