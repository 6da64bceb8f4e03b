/* Listening sockets: made here, or inherited from systemd. */
#include "common/log.h"
#include "daemon/http_server_int.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define BACKLOG 512

/* Splits "host:port" or "[v6]:port" into owned parts. */
static int split_address(const char *address, char **host, char **port, struct err *err)
{
    const char *colon = strrchr(address, ':');
    if (!colon || !colon[1])
        return err_set(err, -EINVAL, "%s: not an address of the form host:port", address);
    const char *start = address;
    size_t n = (size_t)(colon - address);
    if (n > 1 && *start == '[' && start[n - 1] == ']') {
        start++;
        n -= 2;
    }
    *host = xstrndup(start, n);
    *port = xstrdup(colon + 1);
    return 0;
}

static int bind_tcp(const struct addrinfo *ai, int *ret_fd)
{
    cleanup_close int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
        return -errno;
    *ret_fd = steal_fd(&fd);
    return 0;
}

static int open_tcp(struct http_listener *l, const char *address, struct err *err)
{
    cleanup_free char *host = NULL, *port = NULL;
    int r = split_address(address, &host, &port, err);
    if (r < 0)
        return r;
    struct addrinfo *found = NULL,
                    hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    r = getaddrinfo(*host ? host : NULL, port, &hints, &found);
    if (r != 0)
        return err_set(err, -EINVAL, "%s: %s", address, gai_strerror(r));
    r = bind_tcp(found, &l->listen_fd);
    freeaddrinfo(found);
    if (r < 0)
        return err_errno(err, r, "cannot listen on %s", address);
    return 0;
}

/* A socket that nobody listens on any more is removed; one that answers is left alone. */
static int remove_dead_socket(const struct sockaddr_un *addr, struct err *err)
{
    struct stat st;
    if (lstat(addr->sun_path, &st) < 0)
        return 0;
    if (!S_ISSOCK(st.st_mode))
        return err_set(err, -EEXIST, "%s: is there, and is no socket", addr->sun_path);
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0)
        return err_set(err, -EADDRINUSE, "%s: somebody listens there already", addr->sun_path);
    unlink(addr->sun_path);
    return 0;
}

static int open_unix(struct http_listener *l, const char *path, unsigned mode, struct err *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(addr.sun_path))
        return err_set(err, -ENAMETOOLONG, "%s: too long for a socket's path", path);
    strcpy(addr.sun_path, path);
    int r = remove_dead_socket(&addr, err);
    if (r < 0)
        return r;
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_errno(err, -errno, "cannot make a socket");
    if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
        chmod(path, mode ? mode : 0660) < 0 || listen(fd, BACKLOG) < 0)
        return err_errno(err, -errno, "cannot listen on %s", path);
    l->unix_path = xstrdup(path);
    l->listen_fd = steal_fd(&fd);
    return 0;
}

static int adopt_socket(struct http_listener *l, int fd, struct err *err)
{
    int listening = 0;
    socklen_t n = sizeof(listening);
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &n) < 0 || !listening)
        return err_set(err, -EINVAL, "descriptor %d is no listening socket", fd);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    l->listen_fd = fd;
    return 0;
}

int listener_open_socket(struct http_listener *l, const struct http_listener_options *o,
                         struct err *err)
{
    int r = o->inherited_fd > 2 ? adopt_socket(l, o->inherited_fd, err)
            : o->unix_path      ? open_unix(l, o->unix_path, o->unix_mode, err)
                                : open_tcp(l, o->address, err);
    if (r < 0)
        return err_wrap(err, "%s", l->name);
    struct sockaddr_storage addr = {0};
    socklen_t n = sizeof(addr);
    if (getsockname(l->listen_fd, (struct sockaddr *)&addr, &n) < 0)
        return err_errno(err, -errno, "%s: no address", l->name);
    l->kind = addr.ss_family == AF_UNIX ? HTTP_LISTENER_UNIX : HTTP_LISTENER_TCP;
    if (addr.ss_family == AF_INET)
        l->port = ntohs(((struct sockaddr_in *)&addr)->sin_port);
    else if (addr.ss_family == AF_INET6)
        l->port = ntohs(((struct sockaddr_in6 *)&addr)->sin6_port);
    return 0;
}
