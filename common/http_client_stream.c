/* The bytes: curl's callbacks for the answer's header and body and for the request's body. None of them may
 * add, remove or unpause a transfer. */
#include "common/fd.h"
#include "common/http_client_int.h"

#include <errno.h>
#include <sys/socket.h>

#define HEADER_BYTES_MAX (256 * 1024)
#define ERROR_BODY_MAX   (64 * 1024)
#define DROPPED_MAX      (1024 * 1024)
#define MEMORY_LIMIT     (1024 * 1024)

/* ---- the answer, as curl hands it over ---- */

static bool will_follow(const struct http_request *r)
{
    int s = r->response.status;
    return r->redirects > 0 && (s == 301 || s == 302 || s == 303 || s == 307 || s == 308) &&
           http_response_header(&r->response, "Location");
}

void http_request_answer(struct http_request *r)
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
        http_request_fail(r, -EMSGSIZE, "the answer's header is too long");
        return 0;
    }
    while (n > 0 && (data[n - 1] == '\r' || data[n - 1] == '\n'))
        n--;
    if (n > 5 && memcmp(data, "HTTP/", 5) == 0)
        begin_answer(r, data, n);
    else if (n > 0)
        add_header(r, data, n);
    else if (r->response.status >= 200 && !will_follow(r))
        http_request_answer(r);
    return r->finished ? 0 : all;
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
    size_t kept = n < limit - b->n ? n : limit - b->n;
    strbuf_addn(b, data, kept);
    /* An error's text is for people: one that does not end has said enough. */
    if ((r->dropped += n - kept) > DROPPED_MAX)
        http_request_finish(r);
    return 0;
}

static int take(struct http_request *r, const char *data, size_t n)
{
    if (!http_response_ok(&r->response) || r->sink.kind == HTTP_SINK_MEMORY)
        return keep_in_memory(r, data, n);
    if (r->sink.kind == HTTP_SINK_FD)
        return fd_write_all(r->sink.fd, data, n);
    return r->sink.push(r->arg, data, n);
}

static size_t on_write(char *data, size_t size, size_t count, void *arg)
{
    struct http_request *r = arg;
    size_t n = size * count;
    if (r->finished)
        return 0;
    r->moved_ms = (int64_t)uv_now(r->client->loop);
    http_request_answer(r);
    int code = r->finished || n == 0 ? 0 : take(r, data, n);
    if (r->finished)
        return 0;
    r->paused_recv = code == -EAGAIN;
    if (code == -EAGAIN)
        return CURL_WRITEFUNC_PAUSE;
    if (code < 0) {
        http_request_fail(r, code, code == -EMSGSIZE ? "the answer is too long" : strerror(-code));
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
        http_request_fail(r, (int)n, n == -ENODATA ? "the body ended early" : strerror((int)-n));
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

/* curl opens sockets that children inherit. */
static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

void http_request_set_callbacks(struct http_request *r)
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
