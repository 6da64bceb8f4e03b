#include "agent/safe_dir.h"

#include "agent/layer_index.h"
#include "common/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define DIR_FLAGS   (O_PATH | O_DIRECTORY | O_NOFOLLOW)
#define LINKS_MAX   40
#define DEPTH_MAX   400
#define PATH_LENGTH 4096

static int failed(int code, const char *path, struct err *err)
{
    cleanup_free char *shown = layer_path_show(path);
    return err_errno(err, code, "%s", shown);
}

static int step(int dir, const char *name, size_t len, int *ret_fd)
{
    char buf[NAME_MAX + 1];
    if (len > NAME_MAX)
        return -ENAMETOOLONG;
    memcpy(buf, name, len);
    buf[len] = '\0';
    int fd = openat(dir, buf, DIR_FLAGS | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    *ret_fd = fd;
    return 0;
}

int safe_dir_open(int root, const char *path, int *ret_fd, struct err *err)
{
    cleanup_close int fd = openat(root, ".", DIR_FLAGS | O_CLOEXEC);
    if (fd < 0)
        return failed(-errno, path, err);
    for (const char *p = path; *p && strcmp(path, ".") != 0;) {
        size_t len = strcspn(p, "/");
        int next, r = step(fd, p, len, &next);
        if (r < 0)
            return failed(r, path, err);
        close(fd);
        fd = next;
        p += len + (p[len] == '/');
    }
    *ret_fd = steal_fd(&fd);
    return 0;
}

/* ------------------------------------------------------------------------ walking with links */

/* Where a walk is: `done` is a path without links below the root, open as `fd`; `rest` is to be walked. */
struct walk {
    struct safe_dir *d;
    int fd;
    char done[PATH_LENGTH], rest[PATH_LENGTH];
    int links;
};

static int back_to(struct walk *w, struct err *err)
{
    int fd, r = safe_dir_open(w->d->root, *w->done ? w->done : ".", &fd, err);
    if (r < 0)
        return r;
    close(w->fd);
    w->fd = fd;
    return 0;
}

/* ".." of a link's target: never above the root. */
static int up(struct walk *w, struct err *err)
{
    char *slash = strrchr(w->done, '/');
    *(slash ? slash : w->done) = '\0';
    return back_to(w, err);
}

static int make(struct walk *w, const char *name, const char *whole, struct err *err)
{
    struct safe_dir *d = w->d;
    if (mkdirat(w->fd, name, 0755) < 0)
        return failed(-errno, whole, err);
    if (fchmodat(w->fd, name, 0755, 0) < 0) /* whatever the umask */
        return failed(-errno, whole, err);
    if (d->owners && fchownat(w->fd, name, d->owner, d->owner, AT_SYMLINK_NOFOLLOW) < 0)
        return failed(-errno, whole, err);
    return 0;
}

/* Puts a link's target before what is left of the walk. */
static int follow(struct walk *w, const char *name, const char *whole, struct err *err)
{
    char target[PATH_LENGTH], rest[PATH_LENGTH];
    ssize_t n = readlinkat(w->fd, name, target, sizeof(target) - 1);
    if (n < 0)
        return failed(errno == EINVAL ? -ENOTDIR : -errno, whole, err);
    target[n] = '\0';
    if (!w->d->in_root || ++w->links > LINKS_MAX)
        return failed(-ELOOP, whole, err);
    int len = snprintf(rest, sizeof(rest), "%s/%s", target, w->rest);
    if (len < 0 || (size_t)len >= sizeof(rest))
        return failed(-ENAMETOOLONG, whole, err);
    memcpy(w->rest, rest, (size_t)len + 1);
    if (target[0] != '/')
        return 0;
    w->done[0] = '\0';
    return back_to(w, err);
}

static int enter(struct walk *w, const char *name, const char *whole, struct err *err)
{
    int fd = -1, r = step(w->fd, name, strlen(name), &fd);
    if (r == -ENOENT && w->d->create) {
        r = make(w, name, whole, err);
        if (r < 0)
            return r;
        r = step(w->fd, name, strlen(name), &fd);
    }
    if (r == -ELOOP || r == -ENOTDIR) /* the kernel's word for a link depends on the flags */
        return follow(w, name, whole, err);
    if (r < 0)
        return failed(r, whole, err);
    close(w->fd);
    w->fd = fd;
    size_t used = strlen(w->done);
    int len = snprintf(w->done + used, sizeof(w->done) - used, used ? "/%s" : "%s", name);
    if (len < 0 || (size_t)len >= sizeof(w->done) - used)
        return failed(-ENAMETOOLONG, whole, err);
    return 0;
}

static int walk_rest(struct walk *w, const char *whole, struct err *err)
{
    int r = 0;
    while (*w->rest && r == 0) {
        char name[NAME_MAX + 1];
        size_t len = strcspn(w->rest, "/");
        if (len > NAME_MAX)
            return failed(-ENAMETOOLONG, whole, err);
        memcpy(name, w->rest, len);
        name[len] = '\0';
        char *next = w->rest + len + (w->rest[len] == '/');
        memmove(w->rest, next, strlen(next) + 1);
        if (len == 0 || strcmp(name, ".") == 0)
            continue;
        r = strcmp(name, "..") == 0 ? up(w, err) : enter(w, name, whole, err);
    }
    return r;
}

static int open_parent(struct safe_dir *d, const char *parent, const char *whole, struct err *err)
{
    if (strlen(parent) >= PATH_LENGTH)
        return failed(-ENAMETOOLONG, whole, err);
    struct walk w = {.d = d, .fd = openat(d->root, ".", DIR_FLAGS | O_CLOEXEC)};
    if (w.fd < 0)
        return failed(-errno, whole, err);
    memcpy(w.rest, parent, strlen(parent) + 1);
    int r = walk_rest(&w, whole, err);
    if (r < 0) {
        close(w.fd);
        return r;
    }
    d->fd = w.fd;
    d->path = xstrdup(parent);
    return 0;
}

int safe_dir_parent(struct safe_dir *d, const char *path, int *ret_fd, const char **ret_name,
                    struct err *err)
{
    const char *slash = strrchr(path, '/');
    cleanup_free char *parent = slash ? xstrndup(path, (size_t)(slash - path)) : xstrdup(".");
    if (!d->path || strcmp(d->path, parent) != 0) {
        safe_dir_forget(d);
        int r = open_parent(d, parent, path, err);
        if (r < 0)
            return r;
    }
    *ret_fd = d->fd;
    *ret_name = slash ? slash + 1 : path;
    return 0;
}

void safe_dir_forget(struct safe_dir *d)
{
    if (d->fd >= 0)
        close(d->fd);
    d->fd = -1;
    free(d->path);
    d->path = NULL;
}

void safe_dir_done(struct safe_dir *d)
{
    safe_dir_forget(d);
}

/* --------------------------------------------------------------------------------------- removing */

static void closedirp(DIR **d)
{
    if (*d)
        closedir(*d);
}

static int remove_below(int fd, dev_t dev, int depth, struct err *err);

static int remove_name(int dir, const char *name, dev_t dev, int depth, struct err *err)
{
    if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return failed(-errno, name, err);
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return failed(-errno, name, err);
    int r = remove_below(fd, dev, depth, err);
    if (r == 0 && unlinkat(dir, name, AT_REMOVEDIR) < 0)
        r = failed(-errno, name, err);
    return r;
}

/* Takes over fd. */
static int remove_below(int fd, dev_t dev, int depth, struct err *err)
{
    struct stat st;
    cleanup_(closedirp) DIR *d = fdopendir(fd);
    if (!d) {
        close(fd);
        return err_errno(err, -ENOMEM, "cannot read a folder");
    }
    if (fstat(fd, &st) < 0 || st.st_dev != dev)
        return err_set(err, -EXDEV, "a mount is in the way");
    if (depth > DEPTH_MAX)
        return err_set(err, -ELOOP, "folders nested too deep");
    struct dirent *de;
    while ((de = readdir(d))) {
        if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
            continue;
        int r = remove_name(dirfd(d), de->d_name, dev, depth + 1, err);
        if (r < 0)
            return r;
    }
    return 0;
}

int safe_remove(int dir, const char *name, struct err *err)
{
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : failed(-errno, name, err);
    return remove_name(dir, name, st.st_dev, 0, err);
}
