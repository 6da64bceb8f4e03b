#include "agent/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

int inside_open(const char *root, const char *path)
{
    cleanup_close int dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                           .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    if (dir < 0)
        return -errno;
    cleanup_close int fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
    /* An emulator may not know openat2: then a link at the end is refused; in the middle it is not, but such
     * a board contains nothing anyway. */
    if (fd < 0 && errno == ENOSYS && !strstr(path, ".."))
        fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        return -errno;
    return S_ISREG(st.st_mode) ? steal_fd(&fd) : -EINVAL;
}

int inside_read(const char *root, const char *path, size_t max, char **ret_text, size_t *ret_size,
                struct err *err)
{
    cleanup_close int fd = inside_open(root, path);
    if (fd < 0)
        return err_errno(err, fd, "%s", path);
    cleanup_strbuf struct strbuf text = {0};
    char buf[16384];
    ssize_t n;
    while ((n = read(fd, buf, sizeof(buf))) > 0) {
        if (text.n + (size_t)n > max)
            return err_set(err, -EFBIG, "%s is longer than %zu bytes", path, max);
        strbuf_addn(&text, buf, (size_t)n);
    }
    if (n < 0)
        return err_errno(err, -errno, "reading %s", path);
    *ret_size = text.n;
    *ret_text = strbuf_steal(&text);
    return 0;
}
