#include "agent/tree_remove.h"

#include "common/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>

struct level {
    dev_t dev;
    ino_t ino;
    char *name; /* of the next level down */
};

struct removal {
    VEC(struct level) above; /* from the top to the current folder's parent */
    int fd;                  /* the current folder */
    struct stat st;          /* its own */
    dev_t dev;               /* of the whole tree */
};

/* A mount point as mountinfo writes it: blanks and backslashes are octal. */
static void decode_mount_point(char *s)
{
    char *out = s;
    for (; *s; s++) {
        unsigned c;
        if (*s == '\\' && sscanf(s + 1, "%3o", &c) == 1) {
            *out++ = (char)c;
            s += 3;
        } else {
            *out++ = *s;
        }
    }
    *out = '\0';
}

int tree_unmount(const char *path)
{
    char real[PATH_MAX];
    cleanup_fclose FILE *f = fopen("/proc/self/mountinfo", "re");
    if (!f || !realpath(path, real))
        return 0;
    cleanup_strvec strvec points = {0};
    cleanup_free char *line = NULL;
    size_t cap = 0, n = strlen(real);
    while (getline(&line, &cap, f) > 0) {
        cleanup_free char *point = NULL;
        if (sscanf(line, "%*s %*s %*s %*s %ms", &point) != 1)
            continue;
        decode_mount_point(point);
        if (strncmp(point, real, n) == 0 && (point[n] == '/' || point[n] == '\0'))
            strvec_add(&points, point);
    }
    int count = 0;
    while (points.n-- > 0) {
        count += umount2(points.items[points.n], MNT_DETACH | UMOUNT_NOFOLLOW) == 0;
        free(points.items[points.n]);
    }
    points.n = 0;
    return count;
}

/* Takes immutable and append-only flags away, where this process may. */
static void clear_flags(int dir, const char *name)
{
    cleanup_close int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    int flags = 0;
    if (fd >= 0 && ioctl(fd, FS_IOC_SETFLAGS, &flags) != 0)
        errno = 0; /* the unlink that follows tells */
}

static int unlink_stubborn(int dir, const char *name, int flag)
{
    if (unlinkat(dir, name, flag) == 0)
        return 0;
    if (errno != EPERM && errno != EACCES)
        return -errno;
    clear_flags(dir, ".");
    clear_flags(dir, name);
    if (fchmod(dir, 0700) != 0)
        return -errno;
    return unlinkat(dir, name, flag) == 0 ? 0 : -errno;
}

static int open_folder(int dir, const char *name, struct stat *st)
{
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == EACCES && fchmodat(dir, name, 0700, 0) == 0)
        fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (fstat(fd, st) != 0) {
        close(fd);
        return -errno;
    }
    return fd;
}

/* Removes entries of the current folder up to the first folder that is not empty, whose name *ret_down
 * becomes; NULL when the current folder is empty. */
static int remove_entries(struct removal *r, char **ret_down)
{
    int fd = openat(r->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        closep(&fd);
        return -errno;
    }
    int code = 0;
    struct dirent *e;
    while (code == 0 && !*ret_down && (e = readdir(d))) {
        if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
            continue;
        code = unlink_stubborn(r->fd, e->d_name, 0);
        if (code == -EISDIR)
            code = unlink_stubborn(r->fd, e->d_name, AT_REMOVEDIR);
        if (code == -ENOTEMPTY || code == -EEXIST || code == -EBUSY) {
            *ret_down = xstrdup(e->d_name);
            code = 0;
        }
    }
    closedir(d);
    return code;
}

static int go_down(struct removal *r, char *name)
{
    struct stat st;
    int fd = open_folder(r->fd, name, &st);
    if (fd < 0 || st.st_dev != r->dev) {
        free(name);
        closep(&fd);
        return fd < 0 ? fd : -EXDEV;
    }
    vec_push(&r->above, (struct level){r->st.st_dev, r->st.st_ino, name});
    close(r->fd);
    r->fd = fd;
    r->st = st;
    return 0;
}

/* Depth costs no descriptors: the way up is "..", checked to be where we came from. */
static int go_up(struct removal *r)
{
    struct level up = r->above.items[--r->above.n];
    struct stat st;
    int fd = open_folder(r->fd, "..", &st);
    int code = fd < 0 ? fd : 0;
    if (code == 0 && (st.st_dev != up.dev || st.st_ino != up.ino))
        code = -ESTALE;
    if (code == 0)
        code = unlink_stubborn(fd, up.name, AT_REMOVEDIR);
    free(up.name);
    if (code != 0) {
        closep(&fd);
        return code;
    }
    close(r->fd);
    r->fd = fd;
    r->st = st;
    return 0;
}

static int remove_below(struct removal *r)
{
    for (;;) {
        char *down = NULL;
        int code = remove_entries(r, &down);
        if (code == 0 && down)
            code = go_down(r, down);
        else if (code == 0 && r->above.n == 0)
            return 0;
        else if (code == 0)
            code = go_up(r);
        else
            free(down);
        if (code != 0)
            return code;
    }
}

int tree_remove(const char *path, struct err *err)
{
    struct removal r = {.fd = open_folder(AT_FDCWD, path, &r.st)};
    if (r.fd == -ENOENT)
        return 0;
    if (r.fd == -ENOTDIR || r.fd == -ELOOP)
        return unlink(path) == 0 ? 0 : err_errno(err, -errno, "removing %s", path);
    if (r.fd < 0)
        return err_errno(err, r.fd, "removing %s", path);
    r.dev = r.st.st_dev;
    int code = remove_below(&r);
    VEC_FOREACH (&r.above, it)
        free(it->name);
    vec_free(&r.above);
    close(r.fd);
    if (code == 0 && unlinkat(AT_FDCWD, path, AT_REMOVEDIR) != 0)
        code = -errno;
    return code == 0 ? 0 : err_errno(err, code, "removing %s", path);
}
