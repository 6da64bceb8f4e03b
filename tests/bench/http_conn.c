#include "tests/bench/http_conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

static void die(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

int64_t load_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void load_init(struct load *load)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    *load = (struct load){.epoll = epoll_create1(EPOLL_CLOEXEC)};
}

static int connect_to(int port, const char *path)
{
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (path)
        snprintf(local.sun_path, sizeof(local.sun_path), "%s", path);
    else
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    int r = path ? connect(fd, (struct sockaddr *)&local, sizeof(local))
                 : connect(fd, (struct sockaddr *)&in, sizeof(in));
    if (r < 0)
        die("connect");
    return fd;
}

void conn_open(struct conn *conn, struct load *load, int port, const char *path)
{
    conn->load = load;
    conn->fd = connect_to(port, path);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = conn};
    if (epoll_ctl(load->epoll, EPOLL_CTL_ADD, conn->fd, &e) < 0)
        die("epoll");
}

static void flush_out(struct conn *c)
{
    while (c->sent < c->out.n) {
        ssize_t n = send(c->fd, c->out.s + c->sent, c->out.n - c->sent, MSG_NOSIGNAL);
        if (n < 0)
            die("send");
        c->sent += (size_t)n;
    }
    c->out.n = c->sent = 0;
}

void conn_send(struct conn *c, const char *method, const char *path, const char *secret,
               const char *body)
{
    strbuf_addf(&c->out, "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\n", method, path);
    if (secret)
        strbuf_addf(&c->out, "Authorization: Bearer %s\r\n", secret);
    if (body)
        strbuf_addf(&c->out, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                    strlen(body));
    strbuf_add(&c->out, "\r\n");
    if (body)
        strbuf_add(&c->out, body);
    flush_out(c);
}

/* Whether a whole answer is there; calls back with it. */
static bool take_answer(struct conn *c)
{
    char *head = c->in.n ? memmem(c->in.s, c->in.n, "\r\n\r\n", 4) : NULL;
    if (!head)
        return false;
    *head = '\0';
    const char *length = strcasestr(c->in.s, "\r\nContent-Length:");
    size_t n = length ? strtoull(length + strlen("\r\nContent-Length:"), NULL, 10) : 0;
    size_t begin = (size_t)(head - c->in.s) + 4;
    if (c->in.n < begin + n) {
        *head = '\r';
        return false;
    }
    int status = atoi(c->in.s + strlen("HTTP/1.1 "));
    struct strbuf answer = c->in;
    c->in = (struct strbuf){0};
    c->on_answer(c, status, answer.s + begin, n);
    if (!c->in.n && !c->in.s) { /* the buffer is used again */
        answer.n = 0;
        c->in = answer;
    } else {
        strbuf_done(&answer);
    }
    return true;
}

static void read_some(struct conn *c)
{
    static char buf[256 * 1024];
    ssize_t n = recv(c->fd, buf, sizeof(buf), 0);
    if (n == 0)
        errno = ECONNRESET;
    if (n <= 0)
        die("recv");
    strbuf_addn(&c->in, buf, (size_t)n);
    while (take_answer(c))
        ;
}

void load_run(struct load *load, int64_t ms)
{
    int64_t until = ms ? load_now() + ms * 1000000 : INT64_MAX;
    struct epoll_event events[64];
    while (!load->stopped && load_now() < until) {
        int n = epoll_wait(load->epoll, events, 64, 100);
        for (int i = 0; i < n && !load->stopped; i++)
            read_some(events[i].data.ptr);
    }
}
