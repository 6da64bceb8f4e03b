/* Connections: who is at the other end, and until when each thing they owe us may take.
 *
 * libmicrohttpd's own time-out is of idleness: a byte a second survives it. Ours are deadlines by
 * phase. Within a phase all connections of a listener have the same span, so that each phase is a
 * queue whose head expires first, and setting one costs nothing however many there are. */
#include "common/clock.h"
#include "common/log.h"
#include "daemon/http_server_int.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <utlist.h>

/* A streamed body must bring this much in each window, or it is a slow loris. */
#define BODY_WINDOW_MIN 4096

static void describe_peer(struct http_conn *c)
{
    c->uid = (uid_t)-1;
    if (c->listener->kind == HTTP_LISTENER_UNIX) {
        struct ucred cred;
        socklen_t n = sizeof(cred);
        if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) == 0)
            c->uid = cred.uid;
        strcpy(c->peer, "unix");
        return;
    }
    struct sockaddr_storage addr = {0};
    socklen_t n = sizeof(addr);
    if (getpeername(c->fd, (struct sockaddr *)&addr, &n) < 0)
        return;
    if (addr.ss_family == AF_INET)
        inet_ntop(AF_INET, &((struct sockaddr_in *)&addr)->sin_addr, c->peer, sizeof(c->peer));
    else if (addr.ss_family == AF_INET6)
        inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&addr)->sin6_addr, c->peer, sizeof(c->peer));
}

static void conn_opened(struct http_listener *l, struct MHD_Connection *mhd, void **ret)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct http_conn *c = xnew(struct http_conn);
    c->listener = l;
    c->mhd = mhd;
    c->fd = info ? info->connect_fd : -1;
    describe_peer(c);
    c->phase = CONN_HEADERS;
    DL_APPEND(l->conns[CONN_HEADERS], c);
    l->n_conns++;
    conn_set_phase(c, CONN_HEADERS);
    *ret = c;
}

static void conn_closed(struct http_conn *c)
{
    struct http_listener *l = c->listener;
    DL_DELETE(l->conns[c->phase], c);
    l->n_conns--;
    free(c);
    server_conn_closed(l);
}

void conn_notify(void *cls, struct MHD_Connection *mhd, void **socket_context,
                 enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        conn_opened(cls, mhd, socket_context);
    else if (*socket_context)
        conn_closed(steal_ptr(*socket_context));
}

static void arm(struct http_server *s, int64_t at)
{
    if (s->deadlines_at && s->deadlines_at <= at)
        return;
    s->deadlines_at = at;
    int64_t wait = at - clock_mono_ms();
    uv_update_time(s->loop);
    uv_timer_start(&s->deadlines, conn_deadlines_cb, wait > 0 ? (uint64_t)wait : 0, 0);
}

void conn_set_phase(struct http_conn *c, enum conn_phase phase)
{
    struct http_listener *l = c->listener;
    DL_DELETE(l->conns[c->phase], c);
    if (c->phase != phase)
        c->progress = 0;
    c->phase = phase;
    c->checked = c->progress;
    DL_APPEND(l->conns[phase], c);
    if (phase == CONN_ASLEEP)
        return;
    c->deadline = clock_mono_ms() + l->phase_ms[phase];
    arm(l->server, c->deadline);
    if (phase == CONN_HEADERS && l->server->state != SERVER_RUNNING)
        conn_cut(c);
}

void conn_cut(struct http_conn *c)
{
    shutdown(c->fd, SHUT_RDWR);
}

/* The kernel's tcp_info as far as we read it: the C library's ends before. */
struct tcp_info_acked {
    struct tcp_info base;
    uint64_t pacing_rate, max_pacing_rate, bytes_acked;
};

/* What the peer's TCP has acknowledged so far; 0 where that cannot be known. */
static uint64_t bytes_acked(const struct http_conn *c)
{
    struct tcp_info_acked info = {0};
    socklen_t n = sizeof(info);
    if (c->listener->kind != HTTP_LISTENER_TCP ||
        getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &n) < 0)
        return 0;
    return info.bytes_acked;
}

/* Whether enough has moved since the deadline was set for a further term. */
static bool conn_earned_term(struct http_conn *c)
{
    if (c->phase == CONN_WRITE) {
        if (c->listener->kind == HTTP_LISTENER_UNIX)
            return true; /* whoever may connect there is trusted, and nothing counts its reading */
        c->progress = bytes_acked(c);
        return c->progress > c->checked;
    }
    if (c->phase == CONN_BODY && c->call && c->call->route &&
        c->call->route->body == HTTP_TAKES_STREAMED)
        return c->progress >= c->checked + BODY_WINDOW_MIN;
    return false;
}

static void conn_expired(struct http_conn *c)
{
    if (conn_earned_term(c)) {
        conn_set_phase(c, c->phase);
        return;
    }
    static const char *const words[] = {"headers", "body", "reading the answer"};
    bool idle = c->phase == CONN_HEADERS;
    if (!idle)
        log_info("%s: %s: too slow (%s): closed", c->listener->name, c->peer, words[c->phase]);
    conn_cut(c);
    conn_set_phase(c, CONN_ASLEEP);
}

void conn_deadlines_cb(uv_timer_t *timer)
{
    struct http_server *s = timer->data;
    int64_t now = clock_mono_ms(), next = 0;
    s->deadlines_at = 0;
    for (struct http_listener *l = s->listeners; l; l = l->next)
        for (int phase = 0; phase < CONN_ASLEEP; phase++) {
            struct http_conn *c;
            while ((c = l->conns[phase]) && c->deadline <= now)
                conn_expired(c);
            if (c && (!next || c->deadline < next))
                next = c->deadline;
        }
    if (next)
        arm(s, next);
}

void conn_watch_gone(struct http_conn *c)
{
    struct epoll_event ev = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.ptr = c};
    if (epoll_ctl(c->listener->server->gone_fd, EPOLL_CTL_ADD, c->fd, &ev) < 0)
        log_warning("%s: cannot watch a waiting connection: %m", c->listener->name);
}

void conn_unwatch_gone(struct http_conn *c)
{
    epoll_ctl(c->listener->server->gone_fd, EPOLL_CTL_DEL, c->fd, NULL);
}

void conn_gone_cb(uv_poll_t *poll, int status, int events)
{
    struct http_server *s = poll->data;
    struct epoll_event ev[64];
    int n = epoll_wait(s->gone_fd, ev, 64, 0);
    for (int i = 0; i < n; i++) {
        struct http_conn *c = ev[i].data.ptr;
        if (c->call && c->call->suspended)
            call_gone(c->call);
    }
}
