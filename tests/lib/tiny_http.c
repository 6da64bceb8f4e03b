#include "tests/lib/tiny_http.h"

#include "common/mem.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>

#define BODY_MAX        (4 * 1024 * 1024)
#define CONNECTIONS_MAX 64

struct connection {
    struct tiny_http *server;
    int fd;
    pthread_t thread;
};

struct tiny_http {
    int fd;
    char url[64];
    tiny_handler handler;
    void *arg;
    pthread_t thread;
    struct connection connections[CONNECTIONS_MAX];
    atomic_int n;
};

struct reader {
    int fd;
    char buf[65536];
    size_t n, used;
};

static int next_byte(struct reader *r)
{
    if (r->used == r->n) {
        ssize_t n = read(r->fd, r->buf, sizeof(r->buf));
        if (n <= 0)
            return -1;
        r->n = (size_t)n;
        r->used = 0;
    }
    return (unsigned char)r->buf[r->used++];
}

static int read_until(struct reader *r, struct strbuf *b, const char *end)
{
    while (!str_ends(strbuf_str(b), end)) {
        int c = next_byte(r);
        if (c < 0)
            return -1;
        strbuf_addc(b, (char)c);
    }
    return 0;
}

static int read_body(struct reader *r, struct strbuf *b, size_t n)
{
    for (; n > 0; n--) {
        int c = next_byte(r);
        if (c < 0)
            return -1;
        if (b->n < BODY_MAX)
            strbuf_addc(b, (char)c);
    }
    return 0;
}

static int read_chunks(struct reader *r, struct strbuf *b)
{
    for (;;) {
        cleanup_strbuf struct strbuf line = {0};
        if (read_until(r, &line, "\r\n") < 0)
            return -1;
        size_t n = strtoul(line.s, NULL, 16);
        cleanup_strbuf struct strbuf end = {0};
        if (read_body(r, b, n) < 0 || read_until(r, &end, "\r\n") < 0)
            return -1;
        if (n == 0)
            return 0;
    }
}

static int serve_one(struct connection *c, struct reader *r)
{
    cleanup_strbuf struct strbuf header = {0}, body = {0};
    if (read_until(r, &header, "\r\n\r\n") < 0)
        return 0;
    const char *length = strcasestr(header.s, "\r\nContent-Length: ");
    if (strcasestr(header.s, "\r\nTransfer-Encoding: chunked")) {
        if (read_chunks(r, &body) < 0)
            return 0;
    } else if (length && read_body(r, &body, strtoul(length + 18, NULL, 10)) < 0) {
        return 0;
    }
    return c->server->handler(c->server->arg, c->fd, header.s, strbuf_str(&body), body.n);
}

static void *serve(void *arg)
{
    struct connection *c = arg;
    struct reader *r = xnew(struct reader);
    r->fd = c->fd;
    while (serve_one(c, r))
        ;
    shutdown(c->fd, SHUT_RDWR);
    free(r);
    return NULL;
}

static void *accept_all(void *arg)
{
    struct tiny_http *s = arg;
    for (;;) {
        int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            return NULL;
        if (s->n == CONNECTIONS_MAX)
            abort();
        struct connection *c = &s->connections[s->n];
        *c = (struct connection){.server = s, .fd = fd};
        if (pthread_create(&c->thread, NULL, serve, c) != 0)
            abort();
        s->n++;
    }
}

static void listen_on(struct tiny_http *s, const char *path)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    socklen_t n = sizeof(in);
    s->fd = socket(path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (path) {
        snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
        if (bind(s->fd, (struct sockaddr *)&un, sizeof(un)) < 0)
            abort();
    } else {
        if (bind(s->fd, (struct sockaddr *)&in, n) < 0)
            abort();
        getsockname(s->fd, (struct sockaddr *)&in, &n);
        snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%d", ntohs(in.sin_port));
    }
    listen(s->fd, 64);
}

struct tiny_http *tiny_http_new(const char *path, tiny_handler handler, void *arg)
{
    struct tiny_http *s = xnew(struct tiny_http);
    s->handler = handler;
    s->arg = arg;
    listen_on(s, path);
    if (pthread_create(&s->thread, NULL, accept_all, s) != 0)
        abort();
    return s;
}

void tiny_http_free(struct tiny_http *s)
{
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    for (int i = 0; i < s->n; i++) {
        shutdown(s->connections[i].fd, SHUT_RDWR);
        pthread_join(s->connections[i].thread, NULL);
        close(s->connections[i].fd);
    }
    close(s->fd);
    free(s);
}

const char *tiny_http_url(const struct tiny_http *s)
{
    return s->url;
}

int tiny_http_connections(const struct tiny_http *s)
{
    return s->n;
}

void tiny_answer(int socket, const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    for (int done = 0; done < n;) {
        ssize_t w = send(socket, text + done, (size_t)(n - done), MSG_NOSIGNAL);
        if (w <= 0)
            break;
        done += (int)w;
    }
    free(text);
}
