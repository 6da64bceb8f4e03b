/* The client and the life of its requests; _setup.c turns options into a curl handle, _stream.c moves the
 * bytes.
 *
 * Two things shape this file. curl forbids adding, removing and unpausing a transfer from inside its
 * callbacks, and unpausing calls the write callback at once; so start, resume, cancel and failure only
 * put a request on the client's `pending` list, and on_idle, on the loop and outside curl, does the
 * step that is due. And curl speaks of sockets and one time-out, which on_socket and on_timeout turn
 * into uv_poll and uv_timer handles. */
#include "common/http_client_int.h"

#include <errno.h>
#include <pthread.h>
#include <utlist.h>

#define IDLE_CONNECTIONS 8

/* A socket of curl's that the loop watches. */
struct watch {
    struct http_client *client;
    struct watch *prev, *next;
    uv_poll_t poll;
    curl_socket_t fd;
    int events; /* that curl wants */
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void curl_start(void)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        abort();
}

/* ---- the life of a request ---- */

static void on_idle(uv_idle_t *idle);

static void schedule(struct http_request *r)
{
    struct http_client *c = r->client;
    if (r->pending_step || r->delivered)
        return;
    r->pending_step = true;
    DL_APPEND2(c->pending, r, pending_prev, pending_next);
    uv_idle_start(&c->idle, on_idle);
}

void http_request_finish(struct http_request *r)
{
    r->finished = true;
    schedule(r);
}

void http_request_fail(struct http_request *r, int code, const char *what)
{
    if (!r->finished)
        code = err_set(&r->err, code, "%s", what);
    http_request_finish(r);
}

static void release_client(struct http_client *c)
{
    if (c->freed && c->handles == 0)
        free(c);
}

static void on_request_closed(uv_handle_t *handle)
{
    struct http_request *r = handle->data;
    struct http_client *c = r->client;
    curl_slist_free_all(r->headers);
    free((void *)r->body.data);
    http_response_done(&r->response);
    free(r);
    c->handles--;
    release_client(c);
}

static void on_client_closed(uv_handle_t *handle)
{
    struct http_client *c = handle->data;
    c->handles--;
    release_client(c);
}

static void detach(struct http_request *r)
{
    if (r->attached)
        curl_multi_remove_handle(r->client->multi, r->easy);
    r->attached = false;
    curl_easy_cleanup(steal_ptr(r->easy));
}

static void on_watch_closed(uv_handle_t *handle)
{
    struct watch *w = handle->data;
    struct http_client *c = w->client;
    free(w);
    c->handles--;
    release_client(c);
}

static void watch_close(struct watch *w)
{
    DL_DELETE(w->client->watches, w);
    uv_close((uv_handle_t *)&w->poll, on_watch_closed);
}

static void close_client(struct http_client *c)
{
    curl_multi_cleanup(steal_ptr(c->multi));
    while (c->watches)
        watch_close(c->watches);
    uv_close((uv_handle_t *)&c->timer, on_client_closed);
    uv_close((uv_handle_t *)&c->idle, on_client_closed);
}

static void deliver(struct http_request *r)
{
    struct http_client *c = r->client;
    detach(r);
    r->delivered = true;
    r->done(r->arg, &r->response, r->err.code ? &r->err : NULL);
    DL_DELETE(c->requests, r);
    uv_close((uv_handle_t *)&r->stall, on_request_closed);
}

struct http_request *http_request_start(struct http_client *c, const struct http_options *o)
{
    struct http_request *r = xnew(struct http_request);
    r->client = c;
    r->sink = o->sink;
    r->on_response = o->on_response;
    r->done = o->done;
    r->arg = o->arg;
    r->redirects = o->redirects;
    r->once = o->once;
    uv_timer_init(c->loop, &r->stall);
    r->stall.data = r;
    c->handles++;
    DL_APPEND(c->requests, r);
    http_request_prepare(r, o);
    if (c->shut)
        http_request_fail(r, -ECANCELED, "cancelled");
    schedule(r);
    return r;
}

void http_request_cancel(struct http_request *r)
{
    if (r->delivered)
        return;
    int code = err_set_retryable(&r->err, -ECANCELED, false, "cancelled");
    (void)code;
    http_request_finish(r);
}

void http_request_resume(struct http_request *r)
{
    if (r->finished || !(r->paused_recv || r->paused_send))
        return;
    r->resume = true;
    schedule(r);
}

/* ---- outcomes ---- */

static int code_of(CURLcode result)
{
    switch (result) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return -EHOSTUNREACH;
    case CURLE_COULDNT_CONNECT:
        return -ECONNREFUSED;
    case CURLE_OPERATION_TIMEDOUT:
        return -ETIMEDOUT;
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_SEND_FAIL_REWIND:
    case CURLE_SSL_CONNECT_ERROR:
        return -ECONNRESET;
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        return -EKEYREJECTED;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return -EINVAL;
    case CURLE_TOO_MANY_REDIRECTS:
        return -ELOOP;
    case CURLE_OUT_OF_MEMORY:
        return -ENOMEM;
    default:
        return -EPROTO;
    }
}

static void conclude(struct http_request *r, CURLcode result)
{
    if (r->finished)
        return;
    if (result != CURLE_OK) {
        http_request_fail(r, code_of(result),
                          r->detail[0] ? r->detail : curl_easy_strerror(result));
        return;
    }
    http_request_answer(r);
    http_request_finish(r);
}

/* Every finished transfer, not one a wake-up. */
static void collect(struct http_client *c)
{
    CURLMsg *m;
    int left;
    while (c->multi && (m = curl_multi_info_read(c->multi, &left))) {
        struct http_request *r = NULL;
        if (m->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&r);
        conclude(r, m->data.result);
    }
}

/* The timer is not moved at each byte; when it fires it looks how long ago the last one was. */
static void on_stall(uv_timer_t *timer)
{
    struct http_request *r = timer->data;
    int64_t now = (int64_t)uv_now(r->client->loop);
    if (r->paused_recv || r->paused_send)
        r->moved_ms = now;
    int64_t left = r->moved_ms + r->stall_ms - now;
    if (left > 0)
        uv_timer_start(timer, on_stall, (uint64_t)left, 0);
    else
        http_request_fail(r, -ETIMEDOUT, "nothing moved for too long");
}

/* ---- steps that are due ---- */

static void attach(struct http_request *r)
{
    r->attached = true;
    uv_update_time(r->client->loop);
    r->moved_ms = (int64_t)uv_now(r->client->loop);
    if (r->stall_ms > 0)
        uv_timer_start(&r->stall, on_stall, (uint64_t)r->stall_ms, 0);
    CURLMcode m = curl_multi_add_handle(r->client->multi, r->easy);
    if (m != CURLM_OK)
        http_request_fail(r, -EIO, curl_multi_strerror(m));
}

static void unpause(struct http_request *r)
{
    r->resume = r->paused_recv = r->paused_send = false;
    r->moved_ms = (int64_t)uv_now(r->client->loop);
    CURLcode e = curl_easy_pause(r->easy, CURLPAUSE_CONT);
    if (e != CURLE_OK)
        conclude(r, e);
}

static void on_idle(uv_idle_t *idle)
{
    struct http_client *c = idle->data;
    struct http_request *batch = steal_ptr(c->pending), *r;
    uv_idle_stop(idle);
    while ((r = batch)) {
        DL_DELETE2(batch, r, pending_prev, pending_next);
        r->pending_step = false;
        if (r->finished)
            deliver(r);
        else if (!r->attached)
            attach(r);
        else if (r->resume)
            unpause(r);
    }
    if (c->freed && !c->requests && c->multi)
        close_client(c);
}

/* ---- curl's sockets and time-out on the loop ---- */

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct watch *w = poll->data;
    struct http_client *c = w->client;
    int flags = 0, running;
    if (status < 0) {
        /* A reset, perhaps with an answer before it: curl is to read, not to be told of an error. libuv
         * has stopped watching. */
        events = UV_READABLE | UV_WRITABLE;
        uv_poll_start(poll, w->events, on_poll);
    }
    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    curl_multi_socket_action(c->multi, w->fd, flags, &running);
    collect(c);
}

static struct watch *watch_new(struct http_client *c, curl_socket_t fd)
{
    struct watch *w = xnew(struct watch);
    w->client = c;
    w->fd = fd;
    if (uv_poll_init(c->loop, &w->poll, fd) < 0) {
        free(w);
        return NULL;
    }
    w->poll.data = w;
    DL_APPEND(c->watches, w);
    c->handles++;
    curl_multi_assign(c->multi, fd, w);
    return w;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct http_client *c = arg;
    struct watch *w = socket_arg;
    if (what == CURL_POLL_REMOVE) {
        if (w)
            watch_close(w);
        return 0;
    }
    if (!w && !(w = watch_new(c, fd)))
        return -1;
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    w->events = events;
    uv_poll_start(&w->poll, events, on_poll);
    return 0;
}

static void on_timer(uv_timer_t *timer)
{
    struct http_client *c = timer->data;
    int running;
    curl_multi_socket_action(c->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    collect(c);
}

static int on_timeout(CURLM *multi, long ms, void *arg)
{
    struct http_client *c = arg;
    if (ms < 0)
        uv_timer_stop(&c->timer);
    else
        uv_timer_start(&c->timer, on_timer, (uint64_t)ms, 0);
    return 0;
}

/* ---- the client ---- */

struct http_client *http_client_new(uv_loop_t *loop)
{
    pthread_once(&curl_once, curl_start);
    struct http_client *c = xnew(struct http_client);
    c->loop = loop;
    c->multi = curl_multi_init();
    if (!c->multi)
        abort();
    uv_timer_init(loop, &c->timer);
    uv_idle_init(loop, &c->idle);
    c->timer.data = c->idle.data = c;
    c->handles = 2;
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)IDLE_CONNECTIONS);
    return c;
}

void http_client_free(struct http_client *c)
{
    if (!c)
        return;
    http_client_shut(c);
    c->freed = true;
    uv_idle_start(&c->idle, on_idle);
}

uv_loop_t *http_client_loop(const struct http_client *c)
{
    return c->loop;
}

void http_client_shut(struct http_client *c)
{
    struct http_request *r;
    c->shut = true;
    DL_FOREACH(c->requests, r)
    http_request_cancel(r);
}

bool http_client_is_shut(const struct http_client *c)
{
    return c->shut;
}
