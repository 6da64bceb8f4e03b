/* The server and its listeners: libmicrohttpd's daemons on the loop, and how they stop. */
#include "common/log.h"
#include "daemon/http_server_int.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>

#define BODIES_MAX (256 * 1024 * 1024)

static void handle_closed(struct http_server *s)
{
    if (--s->open_handles > 0)
        return;
    close(steal_fd(&s->gone_fd));
    if (s->stopped)
        s->stopped(s->stopped_ctx);
}

static void close_cb(uv_handle_t *handle)
{
    handle_closed(handle->data);
}

static void mhd_timer_cb(uv_timer_t *timer)
{
    struct http_server *s = timer->data;
    for (struct http_listener *l = s->listeners; l; l = l->next)
        server_kick(l);
}

/* Runs a daemon as long as it says that it would rather not wait; bounded, so that one listener's
 * load does not keep the rest of the loop waiting. Returns its wish in ms, UINT64_MAX for none. */
static uint64_t run_daemon(struct http_listener *l)
{
    MHD_UNSIGNED_LONG_LONG wait = UINT64_MAX;
    for (int i = 0; i < 4; i++) {
        l->kicked = false;
        MHD_run(l->mhd);
        if (MHD_get_timeout(l->mhd, &wait) != MHD_YES)
            wait = UINT64_MAX;
        if (wait > 0 && !l->kicked)
            return wait;
    }
    l->kicked = true;
    return 0;
}

static void prepare_cb(uv_prepare_t *prepare)
{
    struct http_server *s = prepare->data;
    bool again = false;
    uint64_t wait = UINT64_MAX;
    for (struct http_listener *l = s->listeners; l; l = l->next) {
        if (!l->kicked || !l->mhd)
            continue;
        uint64_t wish = run_daemon(l);
        again |= l->kicked;
        wait = wish < wait ? wish : wait;
    }
    for (struct http_listener *l = s->listeners; l; l = l->next)
        again |= l->kicked && l->mhd;
    if (!again)
        uv_idle_stop(&s->idle);
    if (wait > 0 && wait != UINT64_MAX)
        uv_timer_start(&s->mhd_timer, mhd_timer_cb, wait, 0);
}

static void idle_cb(uv_idle_t *idle)
{
}

void server_kick(struct http_listener *l)
{
    if (l->kicked)
        return;
    l->kicked = true;
    uv_idle_start(&l->server->idle, idle_cb);
}

static void mhd_readable_cb(uv_poll_t *poll, int status, int events)
{
    server_kick(poll->data);
}

static void own(struct http_server *s, void *handle)
{
    ((uv_handle_t *)handle)->data = s;
    s->open_handles++;
}

int http_server_new(uv_loop_t *loop, struct http_server **ret, struct err *err)
{
    cleanup_close int gone_fd = epoll_create1(EPOLL_CLOEXEC);
    if (gone_fd < 0)
        return err_errno(err, -errno, "cannot make an epoll descriptor");
    struct http_server *s = xnew(struct http_server);
    int r = uv_poll_init(loop, &s->gone_poll, gone_fd);
    if (r < 0) {
        free(s);
        return err_errno(err, r, "cannot poll");
    }
    signal(SIGPIPE, SIG_IGN);
    s->loop = loop;
    s->gone_fd = steal_fd(&gone_fd);
    uv_prepare_init(loop, &s->prepare);
    uv_idle_init(loop, &s->idle);
    uv_timer_init(loop, &s->mhd_timer);
    uv_timer_init(loop, &s->deadlines);
    uv_timer_init(loop, &s->grace);
    void *handles[] = {&s->gone_poll, &s->prepare,   &s->idle,
                       &s->mhd_timer, &s->deadlines, &s->grace};
    for (size_t i = 0; i < sizeof(handles) / sizeof(*handles); i++)
        own(s, handles[i]);
    uv_poll_start(&s->gone_poll, UV_READABLE, conn_gone_cb);
    uv_prepare_start(&s->prepare, prepare_cb);
    *ret = s;
    return 0;
}

static void mhd_log(void *cls, const char *fmt, va_list ap)
{
    struct http_listener *l = cls;
    char text[512];
    vsnprintf(text, sizeof(text), fmt, ap);
    text[strcspn(text, "\n")] = '\0';
    log_debug("%s: %s", l->name, text);
}

/* Escapes are decoded by segment after routing ("%2F" is no slash): nothing is done here. */
static size_t mhd_no_unescape(void *cls, struct MHD_Connection *mhd, char *s)
{
    return strlen(s);
}

/* libmicrohttpd's options; the array is ended by MHD_OPTION_END. */
static void fill_options(struct http_listener *l, const struct http_listener_options *o,
                         struct MHD_OptionItem *items)
{
    struct MHD_OptionItem *p = items;
    *p++ = (struct MHD_OptionItem){MHD_OPTION_LISTEN_SOCKET, l->listen_fd, NULL};
    *p++ = (struct MHD_OptionItem){MHD_OPTION_CONNECTION_LIMIT,
                                   o->max_connections ? o->max_connections : 1000, NULL};
    *p++ = (struct MHD_OptionItem){MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                                   (intptr_t)(o->pool_size ? o->pool_size : 8192), NULL};
    *p++ = (struct MHD_OptionItem){MHD_OPTION_CONNECTION_TIMEOUT, 0, NULL};
    *p++ = (struct MHD_OptionItem){MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, NULL};
    *p++ = (struct MHD_OptionItem){MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)conn_notify, l};
    *p++ = (struct MHD_OptionItem){MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)call_completed, l};
    *p++ = (struct MHD_OptionItem){MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)call_line, l};
    *p++ = (struct MHD_OptionItem){MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)mhd_no_unescape, l};
    if (l->tls_key) {
        *p++ = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, l->tls_key};
        *p++ = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, l->tls_cert};
        *p++ = (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0,
                                       (void *)"NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"};
    }
    *p = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
}

static int start_daemon(struct http_listener *l, const struct http_listener_options *o,
                        struct err *err)
{
    struct MHD_OptionItem items[16];
    fill_options(l, o, items);
    unsigned flags = MHD_USE_ERROR_LOG | MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME |
                     (l->tls_key ? MHD_USE_TLS : 0);
    l->mhd = MHD_start_daemon(flags, 0, NULL, NULL, call_access, l, MHD_OPTION_EXTERNAL_LOGGER,
                              mhd_log, l, MHD_OPTION_ARRAY, items, MHD_OPTION_END);
    if (!l->mhd)
        return err_set(err, -EINVAL, "%s: libmicrohttpd does not start", l->name);
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(l->mhd, MHD_DAEMON_INFO_EPOLL_FD);
    int r = info ? uv_poll_init(l->server->loop, &l->poll, info->epoll_fd) : -EINVAL;
    if (r < 0)
        return err_errno(err, r, "%s: cannot poll", l->name);
    l->poll.data = l;
    return 0;
}

static void listener_free(struct http_listener *l)
{
    if (l->mhd)
        MHD_stop_daemon(l->mhd); /* closes the listening socket unless quiesced */
    else if (l->listen_fd >= 0)
        close(l->listen_fd);
    if (l->unix_path)
        unlink(l->unix_path);
    strvec_done(&l->hosts);
    free(l->unix_path);
    free(l->name);
    free(l->write_token);
    free(l->tls_key);
    free(l->tls_cert);
    free(l);
}
DEFINE_CLEANUP(struct http_listener *, listener_free)

static struct http_listener *listener_new(struct http_server *s,
                                          const struct http_listener_options *o)
{
    struct http_listener *l = xnew(struct http_listener);
    l->server = s;
    l->name = xstrdup(o->name ? o->name : "http");
    l->listen_fd = -1;
    l->routes = o->routes;
    l->n_routes = o->n_routes;
    l->data = o->data;
    l->check_host = o->check_host;
    l->check_query = o->check_query;
    l->admit = o->admit;
    l->bodies_max = o->bodies_max ? o->bodies_max : BODIES_MAX;
    for (const char *const *h = o->hosts; h && *h; h++)
        strvec_add(&l->hosts, *h);
    vec_push(&l->hosts, NULL);
    l->write_token = xstrdup(o->write_token && *o->write_token ? o->write_token : NULL);
    if (o->tls_key && o->tls_cert) {
        l->tls_key = xstrdup(o->tls_key);
        l->tls_cert = xstrdup(o->tls_cert);
    }
    l->phase_ms[CONN_HEADERS] = o->headers_ms ? o->headers_ms : 30000;
    l->phase_ms[CONN_BODY] = o->body_ms ? o->body_ms : 60000;
    l->phase_ms[CONN_WRITE] = o->write_ms ? o->write_ms : 60000;
    return l;
}

int http_server_listen(struct http_server *s, const struct http_listener_options *options,
                       struct http_listener **ret, struct err *err)
{
    cleanup_(listener_freep) struct http_listener *l = listener_new(s, options);
    int r = listener_open_socket(l, options, err);
    if (r < 0)
        return r;
    r = start_daemon(l, options, err);
    if (r < 0)
        return r;
    s->open_handles++;
    uv_poll_start(&l->poll, UV_READABLE, mhd_readable_cb);
    l->next = s->listeners;
    s->listeners = l;
    server_kick(l);
    if (ret)
        *ret = l;
    l = NULL;
    return 0;
}

unsigned http_listener_port(const struct http_listener *l)
{
    return l->port;
}

unsigned http_listener_connections(const struct http_listener *l)
{
    return l->n_conns;
}

static void listener_close_cb(uv_handle_t *handle)
{
    struct http_listener *l = handle->data;
    struct http_server *s = l->server;
    struct http_listener **p = &s->listeners;
    while (*p != l)
        p = &(*p)->next;
    *p = l->next;
    listener_free(l);
    handle_closed(s);
}

static void close_all(struct http_server *s)
{
    s->state = SERVER_STOPPED;
    void *handles[] = {&s->gone_poll, &s->prepare,   &s->idle,
                       &s->mhd_timer, &s->deadlines, &s->grace};
    for (size_t i = 0; i < sizeof(handles) / sizeof(*handles); i++)
        uv_close(handles[i], close_cb);
    for (struct http_listener *l = s->listeners; l; l = l->next)
        uv_close((uv_handle_t *)&l->poll, listener_close_cb);
}

/* The grace timer's last act, and what the last connection's end brings forward. */
static void closed_cb(uv_timer_t *timer)
{
    close_all(timer->data);
}

void server_conn_closed(struct http_listener *l)
{
    struct http_server *s = l->server;
    if (s->state != SERVER_DRAINING && s->state != SERVER_DROPPING)
        return;
    for (struct http_listener *it = s->listeners; it; it = it->next)
        if (it->n_conns > 0)
            return;
    s->state = SERVER_DROPPING;
    uv_timer_start(&s->grace, closed_cb, 0, 0); /* not from within libmicrohttpd */
}

/* A connection whose request sleeps; NULL when there is none. */
static struct http_conn *sleeping(struct http_listener *l)
{
    struct http_conn *c = l->conns[CONN_ASLEEP];
    while (c && !(c->call && c->call->suspended))
        c = c->next;
    return c;
}

/* The grace is over. Sleeping requests are told; then all connections are cut, and whatever
 * libmicrohttpd has not closed a moment later it closes with the daemon. */
static void drop_cb(uv_timer_t *timer)
{
    struct http_server *s = timer->data;
    s->state = SERVER_DROPPING;
    for (struct http_listener *l = s->listeners; l; l = l->next) {
        for (int phase = 0; phase < CONN_PHASES; phase++)
            for (struct http_conn *c = l->conns[phase]; c; c = c->next)
                conn_cut(c);
        struct http_conn *c;
        while ((c = sleeping(l)))
            call_gone(c->call);
    }
    uv_timer_start(&s->grace, closed_cb, 200, 0);
}

void http_server_stop(struct http_server *s, unsigned grace_ms, void (*done)(void *ctx), void *ctx)
{
    if (s->state != SERVER_RUNNING)
        return;
    s->state = SERVER_DRAINING;
    s->stopped = done;
    s->stopped_ctx = ctx;
    unsigned open = 0;
    for (struct http_listener *l = s->listeners; l; l = l->next) {
        MHD_socket fd = MHD_quiesce_daemon(l->mhd);
        if (fd != MHD_INVALID_SOCKET)
            close(fd);
        l->listen_fd = -1;
        if (l->unix_path)
            unlink(l->unix_path);
        free(steal_ptr(l->unix_path));
        for (struct http_conn *c = l->conns[CONN_HEADERS]; c; c = c->next)
            conn_cut(c);
        open += l->n_conns;
        server_kick(l);
    }
    uv_timer_start(&s->grace, open ? drop_cb : closed_cb, open ? grace_ms : 0, 0);
}

void http_server_free(struct http_server *s)
{
    free(s);
}
