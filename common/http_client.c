/* The only curl user.
 *
 * Two things shape this file. curl forbids adding, removing and unpausing a transfer from inside its
 * callbacks, and unpausing calls the write callback at once; so start, resume, cancel and failure only
 * put a request on the client's `pending` list, and on_idle, on the loop and outside curl, does the
 * step that is due. And curl speaks of sockets and one time-out, which on_socket and on_timeout turn
 * into uv_poll and uv_timer handles. */
#include "common/http_client.h"

#include "sheaf-config.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <strings.h>
#include <sys/socket.h>
#include <utlist.h>

#define HEADER_BYTES_MAX (256 * 1024)
#define ERROR_BODY_MAX   (64 * 1024)
#define MEMORY_LIMIT     (1024 * 1024)
#define STREAM_BUFFER    (256 * 1024)
#define IDLE_CONNECTIONS 8

struct http_client {
    uv_loop_t *loop;
    CURLM *multi;
    uv_timer_t timer;
    uv_idle_t idle;
    struct http_request *requests; /* every one whose `done` has not been called */
    struct http_request *pending;  /* those with a step due */
    struct watch *watches;
    size_t handles; /* uv handles that are not closed yet */
    bool shut, freed;
};

struct http_request {
    struct http_client *client;
    struct http_request *prev, *next;
    struct http_request *pending_prev, *pending_next;
    CURL *easy;
    struct curl_slist *headers;
    char detail[CURL_ERROR_SIZE];
    uv_timer_t stall;
    int64_t moved_ms, stall_ms;

    struct http_body body; /* .data is owned */
    struct http_sink sink;
    http_response_fn on_response;
    http_done_fn done;
    void *arg;
    int redirects;
    bool once;

    struct http_response response;
    struct err err;
    int64_t sent;
    size_t header_bytes;
    bool pending_step; /* on client->pending */
    bool attached;     /* curl's multi has it */
    bool answered;     /* on_response was called */
    bool finished;     /* the outcome is decided */
    bool delivered;    /* `done` was called */
    bool paused_recv, paused_send, resume;
};

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

static void finish(struct http_request *r)
{
    r->finished = true;
    schedule(r);
}

static void fail(struct http_request *r, int code, const char *what)
{
    if (!r->finished)
        code = err_set(&r->err, code, "%s", what);
    finish(r);
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

/* ---- the answer, as curl hands it over ---- */

static bool will_follow(const struct http_request *r)
{
    int s = r->response.status;
    return r->redirects > 0 && (s == 301 || s == 302 || s == 303 || s == 307 || s == 308) &&
           http_response_header(&r->response, "Location");
}

static void answer(struct http_request *r)
{
    char *url = NULL;
    if (r->answered)
        return;
    r->answered = true;
    curl_easy_getinfo(r->easy, CURLINFO_EFFECTIVE_URL, &url);
    str_replace(&r->response.url, url);
    if (r->on_response)
        r->on_response(r->arg, &r->response);
}

static void add_header(struct http_request *r, const char *line, size_t n)
{
    const char *colon = memchr(line, ':', n);
    if (!colon || colon == line)
        return;
    const char *value = colon + 1, *end = line + n;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    struct http_header h = {xstrndup(line, colon - line), xstrndup(value, end - value)};
    vec_push(&r->response.headers, h);
}

static void begin_answer(struct http_request *r, const char *line, size_t n)
{
    const char *space = memchr(line, ' ', n);
    http_response_done(&r->response);
    r->response.status = space ? atoi(space) : 0;
}

/* One header line. An answer that is not the last (100 Continue, a redirect that is followed) is
 * forgotten when the next one's status line comes. */
static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
    struct http_request *r = arg;
    size_t all = size * count, n = all;
    r->moved_ms = (int64_t)uv_now(r->client->loop);
    if (r->finished)
        return 0;
    if (r->answered) /* a trailer */
        return all;
    if ((r->header_bytes += n) > HEADER_BYTES_MAX) {
        fail(r, -EMSGSIZE, "the answer's header is too long");
        return 0;
    }
    while (n > 0 && (data[n - 1] == '\r' || data[n - 1] == '\n'))
        n--;
    if (n > 5 && memcmp(data, "HTTP/", 5) == 0)
        begin_answer(r, data, n);
    else if (n > 0)
        add_header(r, data, n);
    else if (r->response.status >= 200 && !will_follow(r))
        answer(r);
    return r->finished ? 0 : all;
}

static int write_all(int fd, const char *data, size_t n)
{
    while (n > 0) {
        ssize_t w = write(fd, data, n);
        if (w < 0 && errno != EINTR)
            return -errno;
        if (w > 0) {
            data += w;
            n -= (size_t)w;
        }
    }
    return 0;
}

static int keep_in_memory(struct http_request *r, const char *data, size_t n)
{
    size_t limit = ERROR_BODY_MAX;
    struct strbuf *b = &r->response.body;
    bool ok = http_response_ok(&r->response);
    if (ok)
        limit = r->sink.limit ? r->sink.limit : MEMORY_LIMIT;
    if (ok && n > limit - b->n)
        return -EMSGSIZE;
    strbuf_addn(b, data, n < limit - b->n ? n : limit - b->n);
    return 0;
}

static int take(struct http_request *r, const char *data, size_t n)
{
    if (!http_response_ok(&r->response) || r->sink.kind == HTTP_SINK_MEMORY)
        return keep_in_memory(r, data, n);
    if (r->sink.kind == HTTP_SINK_FD)
        return write_all(r->sink.fd, data, n);
    return r->sink.push(r->arg, data, n);
}

static size_t on_write(char *data, size_t size, size_t count, void *arg)
{
    struct http_request *r = arg;
    size_t n = size * count;
    if (r->finished)
        return 0;
    r->moved_ms = (int64_t)uv_now(r->client->loop);
    answer(r);
    int code = r->finished || n == 0 ? 0 : take(r, data, n);
    if (r->finished)
        return 0;
    r->paused_recv = code == -EAGAIN;
    if (code == -EAGAIN)
        return CURL_WRITEFUNC_PAUSE;
    if (code < 0) {
        fail(r, code, code == -EMSGSIZE ? "the answer is too long" : strerror(-code));
        return 0;
    }
    r->response.received += n;
    return n;
}

/* ---- the body, as curl asks for it ---- */

static ssize_t produce(struct http_request *r, char *buf, size_t room)
{
    struct http_body *b = &r->body;
    if (b->length >= 0 && (int64_t)room > b->length - r->sent)
        room = (size_t)(b->length - r->sent);
    if (room == 0 || b->kind == HTTP_BODY_NONE)
        return 0;
    if (b->kind == HTTP_BODY_PULL)
        return b->pull(r->arg, buf, room);
    if (b->kind == HTTP_BODY_MEMORY) {
        memcpy(buf, (const char *)b->data + r->sent, room);
        return (ssize_t)room;
    }
    ssize_t n = pread(b->fd, buf, room, b->offset + r->sent);
    return n < 0 ? -errno : n;
}

static size_t on_read(char *buf, size_t size, size_t count, void *arg)
{
    struct http_request *r = arg;
    if (r->finished)
        return CURL_READFUNC_ABORT;
    r->moved_ms = (int64_t)uv_now(r->client->loop);
    ssize_t n = produce(r, buf, size * count);
    if (r->finished)
        return CURL_READFUNC_ABORT;
    r->paused_send = n == -EAGAIN;
    if (n == -EAGAIN)
        return CURL_READFUNC_PAUSE;
    if (n == 0 && r->sent < r->body.length)
        n = -ENODATA;
    if (n < 0) {
        fail(r, (int)n, n == -ENODATA ? "the body ended early" : strerror((int)-n));
        return CURL_READFUNC_ABORT;
    }
    r->sent += n;
    return (size_t)n;
}

/* curl rewinds a body when it sends a request again: a redirect, or a pooled connection that died before
 * an answer came. */
static int on_seek(void *arg, curl_off_t offset, int origin)
{
    struct http_request *r = arg;
    bool fixed = r->once || r->body.kind == HTTP_BODY_PULL;
    if (origin != SEEK_SET || (fixed && offset != r->sent))
        return CURL_SEEKFUNC_CANTSEEK;
    r->sent = offset;
    return CURL_SEEKFUNC_OK;
}

/* ---- preparing a request ---- */

/* curl opens sockets that children inherit. */
static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

static void add_request_header(struct http_request *r, const char *line)
{
    for (const char *p = line; *p; p++) {
        if ((unsigned char)*p < ' ' && *p != '\t') {
            fail(r, -EINVAL, "control character in a request header");
            return;
        }
    }
    r->headers = curl_slist_append(r->headers, line);
}

static void set_headers(struct http_request *r, const struct http_options *o)
{
    add_request_header(r, "Expect:"); /* else curl waits a second for servers that ignore it */
    for (size_t i = 0; o->headers && o->headers[i]; i++)
        add_request_header(r, o->headers[i]);
    if (o->authorization) {
        cleanup_free char *line = xasprintf("Authorization: %s", o->authorization);
        add_request_header(r, line);
    }
    curl_easy_setopt(r->easy, CURLOPT_HTTPHEADER, r->headers);
}

static void set_method_and_body(struct http_request *r, const struct http_options *o)
{
    const char *method = o->method ? o->method : "GET";
    bool bare =
        strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 || strcmp(method, "DELETE") == 0;
    r->body = o->body;
    if (o->body.kind == HTTP_BODY_MEMORY)
        r->body.data = xmemdup(o->body.data, (size_t)o->body.length);
    else
        r->body.data = NULL;
    if (strcmp(method, "HEAD") == 0)
        curl_easy_setopt(r->easy, CURLOPT_NOBODY, 1L);
    else if (o->body.kind != HTTP_BODY_NONE || !bare) {
        /* A POST without a body must say so: Content-Length: 0. */
        curl_easy_setopt(r->easy, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(r->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)r->body.length);
    }
    curl_easy_setopt(r->easy, CURLOPT_CUSTOMREQUEST, strcmp(method, "HEAD") == 0 ? NULL : method);
    if (o->body.kind == HTTP_BODY_FD || o->body.kind == HTTP_BODY_PULL)
        curl_easy_setopt(r->easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)STREAM_BUFFER);
    if (o->body.kind == HTTP_BODY_PULL)
        curl_easy_setopt(r->easy, CURLOPT_FRESH_CONNECT, 1L);
    if (o->sink.kind != HTTP_SINK_MEMORY)
        curl_easy_setopt(r->easy, CURLOPT_BUFFERSIZE, (long)STREAM_BUFFER);
}

static void set_trust(struct http_request *r, const struct http_options *o)
{
    if (o->ca_file)
        curl_easy_setopt(r->easy, CURLOPT_CAINFO, o->ca_file);
    if (!o->pin)
        return;
    if (!*o->pin || !str_starts(o->url, "https://")) {
        /* curl takes an empty pin for none, and a pin without TLS checks nothing. */
        fail(r, -EINVAL, *o->pin ? "a pinned key wants an https URL" : "the pinned key is empty");
        return;
    }
    cleanup_free char *pin = xasprintf("sha256//%s", o->pin);
    curl_easy_setopt(r->easy, CURLOPT_PINNEDPUBLICKEY, pin);
    curl_easy_setopt(r->easy, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(r->easy, CURLOPT_SSL_VERIFYHOST, 0L);
    /* Parsing the system's bundle would cost 7 MB for nothing. */
    curl_easy_setopt(r->easy, CURLOPT_CAINFO, NULL);
    curl_easy_setopt(r->easy, CURLOPT_CAPATH, NULL);
}

static bool is_loopback(const char *url)
{
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    return str_starts(host, "127.") || str_starts(host, "localhost") || str_starts(host, "[::1]");
}

static void set_url(struct http_request *r, const struct http_options *o)
{
    const char *url = o->url ? o->url : "", *unix_socket = o->unix_socket;
    cleanup_free char *path = NULL, *plain = NULL;
    if (str_starts(url, "http://unix:")) {
        const char *socket_path = url + strlen("http://unix:"), *colon = strchr(socket_path, ':');
        size_t n = colon ? (size_t)(colon - socket_path) : strlen(socket_path);
        unix_socket = path = xstrndup(socket_path, n);
        url = plain = xasprintf("http://localhost%s", colon && colon[1] ? colon + 1 : "/");
    }
    if (unix_socket || is_loopback(url)) /* whatever http_proxy says */
        curl_easy_setopt(r->easy, CURLOPT_PROXY, "");
    if (unix_socket)
        curl_easy_setopt(r->easy, CURLOPT_UNIX_SOCKET_PATH, unix_socket);
    if (curl_easy_setopt(r->easy, CURLOPT_URL, url) != CURLE_OK)
        fail(r, -EINVAL, "bad URL");
    bool tls = str_starts(url, "https://");
    curl_easy_setopt(r->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(r->easy, CURLOPT_REDIR_PROTOCOLS_STR, tls ? "https" : "http,https");
    curl_easy_setopt(r->easy, CURLOPT_FOLLOWLOCATION, o->redirects > 0 ? 1L : 0L);
    curl_easy_setopt(r->easy, CURLOPT_MAXREDIRS, (long)o->redirects);
}

static long or_default(int64_t ms, long by_default)
{
    return ms > 0 ? (long)ms : ms == 0 ? by_default : 0;
}

static void set_times(struct http_request *r, const struct http_options *o)
{
    /* For curl 0 means 300 s to connect; "for ever" is 20 days: it fits a 32-bit long. */
    long connect = or_default(o->connect_ms, HTTP_CONNECT_MS_DEFAULT);
    curl_easy_setopt(r->easy, CURLOPT_CONNECTTIMEOUT_MS, connect ? connect : 20L * 86400 * 1000);
    curl_easy_setopt(r->easy, CURLOPT_TIMEOUT_MS, or_default(o->total_ms, 0));
    r->stall_ms = or_default(o->stall_ms, HTTP_STALL_MS_DEFAULT);
}

static void set_callbacks(struct http_request *r)
{
    curl_easy_setopt(r->easy, CURLOPT_PRIVATE, r);
    curl_easy_setopt(r->easy, CURLOPT_ERRORBUFFER, r->detail);
    curl_easy_setopt(r->easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(r->easy, CURLOPT_HEADERDATA, r);
    curl_easy_setopt(r->easy, CURLOPT_WRITEFUNCTION, on_write);
    curl_easy_setopt(r->easy, CURLOPT_WRITEDATA, r);
    curl_easy_setopt(r->easy, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(r->easy, CURLOPT_READDATA, r);
    curl_easy_setopt(r->easy, CURLOPT_SEEKFUNCTION, on_seek);
    curl_easy_setopt(r->easy, CURLOPT_SEEKDATA, r);
    curl_easy_setopt(r->easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
}

static void prepare(struct http_request *r, const struct http_options *o)
{
    r->easy = curl_easy_init();
    if (!r->easy)
        abort();
    set_callbacks(r);
    curl_easy_setopt(r->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(r->easy, CURLOPT_QUICK_EXIT, 1L); /* else a hung look-up blocks a cancel */
    curl_easy_setopt(r->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(r->easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(r->easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(r->easy, CURLOPT_SUPPRESS_CONNECT_HEADERS,
                     1L); /* a proxy's answer is not ours */
    curl_easy_setopt(r->easy, CURLOPT_USERAGENT, "sheaf/" SHEAF_VERSION);
    set_url(r, o);
    set_trust(r, o);
    set_times(r, o);
    set_method_and_body(r, o);
    set_headers(r, o);
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
    prepare(r, o);
    if (c->shut)
        fail(r, -ECANCELED, "cancelled");
    schedule(r);
    return r;
}

void http_request_cancel(struct http_request *r)
{
    if (r->delivered)
        return;
    int code = err_set_retryable(&r->err, -ECANCELED, false, "cancelled");
    (void)code;
    finish(r);
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
        fail(r, code_of(result), r->detail[0] ? r->detail : curl_easy_strerror(result));
        return;
    }
    answer(r);
    finish(r);
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
        fail(r, -ETIMEDOUT, "nothing moved for too long");
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
        fail(r, -EIO, curl_multi_strerror(m));
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
