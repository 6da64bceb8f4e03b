/* Bytes in both directions through a pipe of fixed size: whichever side is slower holds back the other
 * through TCP itself. */
#include "daemon/gateway_int.h"

#include <errno.h>

#define PIPE_SIZE (128 * 1024)

/* Puts as much of `data` as there is room for; returns how much. */
static size_t pipe_put(struct pipe *p, const char *data, size_t n)
{
    if (!p->data) {
        p->data = xcalloc(PIPE_SIZE, 1);
        p->cap = PIPE_SIZE;
    }
    size_t take = n < p->cap - p->n ? n : p->cap - p->n;
    size_t end = (p->start + p->n) % p->cap, first = take < p->cap - end ? take : p->cap - end;
    memcpy(p->data + end, data, first);
    memcpy(p->data, data + first, take - first);
    p->n += take;
    return take;
}

/* Takes at most n bytes; returns how many. */
static size_t pipe_take(struct pipe *p, char *buf, size_t n)
{
    if (!p->n)
        return 0;
    size_t take = n < p->n ? n : p->n;
    size_t first = take < p->cap - p->start ? take : p->cap - p->start;
    memcpy(buf, p->data + p->start, first);
    memcpy(buf + first, p->data, take - first);
    p->start = (p->start + take) % p->cap;
    p->n -= take;
    return take;
}

/* ---- from the registry to the board ---- */

static ssize_t download_pull(struct http_call *call, char *buf, size_t n, void *ctx)
{
    struct relay *r = ctx;
    size_t got = pipe_take(&r->pipe, buf, n);
    if (r->op && r->pipe.n < PIPE_SIZE / 2)
        registry_op_resume(r->op);
    if (got || !r->upstream_ended)
        return (ssize_t)got;
    return r->upstream_failed ? HTTP_STREAM_ABORT : HTTP_STREAM_END;
}

static void download_done(bool complete, void *ctx)
{
    struct relay *r = ctx;
    r->call = NULL;
    if (r->op)
        registry_op_cancel(r->op);
    relay_settle(r);
}

static int download_push(void *arg, const char *data, size_t n)
{
    struct relay *r = arg;
    if (!r->call)
        return -ECANCELED;
    /* All or nothing: what does not fit comes again. A piece larger than the pipe does not exist. */
    if (n > PIPE_SIZE - r->pipe.n)
        return n > PIPE_SIZE ? -EMSGSIZE : -EAGAIN;
    pipe_put(&r->pipe, data, n);
    http_stream_resume(r->call);
    return 0;
}

static int64_t content_length(const struct http_response *response)
{
    const char *length = http_response_header(response, "Content-Length");
    return length ? strtoll(length, NULL, 10) : -1;
}

/* Headers of an answer with content that are the board's business, ended by an empty entry. */
static void content_headers(const struct http_response *response, struct http_field headers[8])
{
    static const char *const names[] = {"Content-Type",  "Content-Range", "Docker-Content-Digest",
                                        "Accept-Ranges", "ETag",          "Last-Modified"};
    size_t n = 0;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        headers[n++] = (struct http_field){names[i], http_response_header(response, names[i])};
    headers[n++] = (struct http_field){"Docker-Distribution-Api-Version", "registry/2.0"};
    headers[n] = (struct http_field){NULL, NULL};
}

static void download_response(void *arg, const struct http_response *response)
{
    static const struct http_stream_ops ops = {download_pull, download_done};
    struct relay *r = arg;
    if (!http_response_ok(response) || !r->call)
        return; /* told when it is whole */
    struct http_field headers[8];
    content_headers(response, headers);
    r->streaming = true;
    http_respond_stream(r->call, (unsigned)response->status, headers, content_length(response),
                        &ops, r);
}

static void download_ended(void *arg, struct http_response *response, const struct err *err)
{
    struct relay *r = arg;
    r->op = NULL;
    r->upstream_ended = true;
    r->upstream_failed = err != NULL;
    if (!r->call)
        relay_settle(r);
    else if (r->streaming)
        http_stream_resume(r->call);
    else
        relay_refuse(r, response, err);
}

void relay_download(struct relay *r, const char *url)
{
    const char *range = http_call_header(r->call, "Range");
    cleanup_free char *range_line = range ? xasprintf("Range: %s", range) : NULL;
    const char *headers[] = {range_line, NULL};
    struct registry_raw raw = {.repository = r->path,
                               .http = {.method = "GET",
                                        .url = url,
                                        .headers = headers,
                                        .sink = http_sink_push(download_push),
                                        .on_response = download_response,
                                        .done = download_ended,
                                        .arg = r,
                                        .redirects = 5}};
    r->op = registry_raw(relay_registry(r), &raw);
}

static void head_ended(void *arg, struct http_response *response, const struct err *err)
{
    struct relay *r = arg;
    r->op = NULL;
    if (err || !http_response_ok(response)) {
        if (r->call)
            relay_refuse(r, response, err);
        else
            relay_settle(r);
        return;
    }
    struct http_field headers[8];
    content_headers(response, headers);
    relay_answer_head(r, headers, content_length(response));
}

void relay_head(struct relay *r, const char *url, const char *accept)
{
    cleanup_free char *accept_line = accept ? xasprintf("Accept: %s", accept) : NULL;
    const char *headers[] = {accept_line, NULL};
    struct registry_raw raw = {.repository = r->path,
                               .http = {.method = "HEAD",
                                        .url = url,
                                        .headers = headers,
                                        .done = head_ended,
                                        .arg = r,
                                        .redirects = 5}};
    r->op = registry_raw(relay_registry(r), &raw);
}

/* ---- from the board to the registry ---- */

static size_t upload_data(struct http_call *call, const char *data, size_t n, void *ctx)
{
    struct relay *r = ctx;
    size_t took = pipe_put(&r->pipe, data, n);
    if (r->op)
        registry_op_resume(r->op);
    return took;
}

static void upload_end(struct http_call *call, void *ctx)
{
    struct relay *r = ctx;
    r->body_ended = true;
    if (r->op)
        registry_op_resume(r->op);
}

static ssize_t upload_pull(void *arg, char *buf, size_t room)
{
    struct relay *r = arg;
    size_t got = pipe_take(&r->pipe, buf, room);
    if (got && r->call && r->pipe.n <= PIPE_SIZE / 2)
        http_call_body_resume(r->call);
    if (got || r->body_ended)
        return (ssize_t)got;
    return r->call ? -EAGAIN : -ECANCELED;
}

static void upload_ended(void *arg, struct http_response *response, const struct err *err)
{
    struct relay *r = arg;
    r->op = NULL;
    if (!r->call)
        relay_settle(r);
    else if (err)
        relay_refuse(r, response, err);
    else
        r->after(r, response);
}

void relay_send(struct relay *r, const char *method, const char *url, const char *from,
                const char *const *headers, struct http_body body, relay_after after)
{
    struct registry_raw raw = {.repository = r->path,
                               .from = from,
                               .push = true,
                               .http = {.method = method,
                                        .url = url,
                                        .headers = headers,
                                        .body = body,
                                        .done = upload_ended,
                                        .arg = r}};
    r->after = after;
    r->op = registry_raw(relay_registry(r), &raw);
}

void relay_upload(struct relay *r, const char *method, const char *url, const char *from,
                  relay_after after)
{
    static const struct http_call_body_ops ops = {upload_data, upload_end};
    const char *range = http_call_header(r->call, "Content-Range");
    cleanup_free char *range_line = range ? xasprintf("Content-Range: %s", range) : NULL;
    const char *headers[] = {"Content-Type: application/octet-stream", range_line, NULL};
    int64_t length = http_call_length(r->call);
    if (str_eq(method, "GET") || str_eq(method, "DELETE"))
        relay_send(r, method, url, from, NULL, (struct http_body){0}, after);
    else if (length == 0)
        relay_send(r, method, url, from, NULL, http_body_memory("", 0), after);
    else {
        http_call_body_start(r->call, &ops, r);
        relay_send(r, method, url, from, headers, http_body_pull(upload_pull, length), after);
    }
}
