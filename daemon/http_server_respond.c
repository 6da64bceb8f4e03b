/* Answers: bytes, JSON, files and streams. */
#include "common/log.h"
#include "daemon/http_server_int.h"

#include <inttypes.h>
#include <stdarg.h>
#include <strings.h>
#include <sys/stat.h>

/* What a stream hands over at a time. Chunked ones are event streams and logs that are followed. */
#define STREAM_BLOCK  (64 * 1024)
#define CHUNKED_BLOCK 8192

/* Headers that are libmicrohttpd's to write. */
static bool is_ours(const char *name)
{
    static const char *const names[] = {"Content-Length", "Transfer-Encoding", "Connection",
                                        "Keep-Alive", "Date"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (strcasecmp(name, names[i]) == 0)
            return true;
    return false;
}

static void add_headers(struct MHD_Response *response, const struct http_field *headers)
{
    for (const struct http_field *h = headers; h && h->name; h++)
        if (h->value && !is_ours(h->name))
            MHD_add_response_header(response, h->name, h->value);
}

static void respond_buffer(struct http_call *call, unsigned status,
                           const struct http_field *headers, const void *body, size_t n,
                           enum MHD_ResponseMemoryMode mode)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(n, (void *)body, mode);
    add_headers(response, headers);
    call_answer(call, status, response);
}

void http_respond(struct http_call *call, unsigned status, const struct http_field *headers,
                  const void *body, size_t n)
{
    respond_buffer(call, status, headers, body, n, MHD_RESPMEM_MUST_COPY);
}

void http_respond_take(struct http_call *call, unsigned status, const struct http_field *headers,
                       char *body, size_t n)
{
    respond_buffer(call, status, headers, body, n, MHD_RESPMEM_MUST_FREE);
}

void http_respond_static(struct http_call *call, unsigned status, const struct http_field *headers,
                         const void *body, size_t n)
{
    respond_buffer(call, status, headers, body, n, MHD_RESPMEM_PERSISTENT);
}

static const struct http_field json_headers[] = {
    {"Content-Type", "application/json"}, {"Cache-Control", "no-store"}, {NULL, NULL}};

/* The store is asked for room once a second, a question of what if is worked out in as long, and a coordinator that stops
 * is soon there again. */
static const struct http_field later_headers[] = {{"Content-Type", "application/json"},
                                                  {"Cache-Control", "no-store"},
                                                  {"Retry-After", "5"},
                                                  {NULL, NULL}};

void http_respond_json_text(struct http_call *call, unsigned status, char *text, size_t n)
{
    bool later = status == 429 || status == 503;
    http_respond_take(call, status, later ? later_headers : json_headers, text, n);
}

void http_respond_json(struct http_call *call, unsigned status, json_t *json)
{
    char *body = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    if (!body) { /* a member could not be made: nothing of the answer is left */
        status = 500;
        body = xstrdup("{\"error\":\"the answer could not be made: a text is not UTF-8\","
                       "\"field\":null}");
    }
    http_respond_json_text(call, status, body, strlen(body));
}

void http_respond_error(struct http_call *call, unsigned status, const char *field, const char *fmt,
                        ...)
{
    char text[ERR_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    json_t *error = json_string(text);
    if (!error)
        error = json_string("an error whose text is not UTF-8");
    http_respond_json(call, status, json_pack("{s:o,s:s?}", "error", error, "field", field));
}

void http_respond_fd(struct http_call *call, unsigned status, const struct http_field *headers,
                     int fd, uint64_t offset, uint64_t length)
{
    struct MHD_Response *response =
        length ? MHD_create_response_from_fd_at_offset64(length, fd, offset) : NULL;
    if (!response) { /* nothing to send, or an impossible offset */
        close(fd);
        http_respond(call, status, headers, "", 0);
        return;
    }
    add_headers(response, headers);
    call_answer(call, status, response);
}

void http_respond_json_fd(struct http_call *call, unsigned status, int fd, size_t n)
{
    http_respond_fd(call, status, json_headers, fd, 0, n);
}

#define HEADERS_MAX 16

/* Copies headers into `out` of HEADERS_MAX entries, leaving room for two; returns how many. */
static size_t copy_headers(struct http_field *out, const struct http_field *headers)
{
    size_t n = 0;
    for (; headers && headers->name && n < HEADERS_MAX - 3; headers++)
        out[n++] = *headers;
    return n;
}

void http_respond_file(struct http_call *call, const struct http_field *headers, int fd,
                       uint64_t size)
{
    struct http_field all[HEADERS_MAX] = {0};
    size_t n = copy_headers(all, headers);
    char content_range[64];
    uint64_t from = 0, length = size;
    enum http_range range = http_range_parse(http_call_header(call, "Range"), size, &from, &length);
    all[n++] = (struct http_field){"Accept-Ranges", "bytes"};
    if (range == HTTP_RANGE_NONE) {
        http_respond_fd(call, 200, all, fd, 0, size);
        return;
    }
    if (range == HTTP_RANGE_PART)
        snprintf(content_range, sizeof(content_range), "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64,
                 from, from + length - 1, size);
    else
        snprintf(content_range, sizeof(content_range), "bytes */%" PRIu64, size);
    all[n++] = (struct http_field){"Content-Range", content_range};
    if (range == HTTP_RANGE_PART) {
        http_respond_fd(call, 206, all, fd, from, length);
        return;
    }
    close(fd);
    http_respond(call, 416, all, "", 0);
}

void stream_finish(struct http_call *call, bool complete)
{
    call->streaming = false;
    call->owned = false;
    call->stream_ops.done(complete, call->stream_ctx);
}

/* libmicrohttpd asks for the next piece. Nothing now means: suspend, not "ask again at once". */
static ssize_t stream_read(void *cls, uint64_t pos, char *buf, size_t max)
{
    struct http_call *call = cls;
    if (!call->streaming || call->dead || call->listener->server->state == SERVER_DROPPING)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    call->stream_wanted = false;
    ssize_t n = call->stream_ops.pull(call, buf, max, call->stream_ctx);
    if (n == HTTP_STREAM_END)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (n < 0)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (n == 0 && !call->stream_wanted) {
        call->stream_paused = true;
        call_sleep(call);
    }
    return n;
}

void http_respond_stream(struct http_call *call, unsigned status, const struct http_field *headers,
                         int64_t length, const struct http_stream_ops *ops, void *ctx)
{
    uint64_t size = length < 0 ? MHD_SIZE_UNKNOWN : (uint64_t)length;
    struct MHD_Response *response = MHD_create_response_from_callback(
        size, length < 0 ? CHUNKED_BLOCK : STREAM_BLOCK, stream_read, call, NULL);
    add_headers(response, headers);
    call->stream_ops = *ops;
    call->stream_ctx = ctx;
    call->streaming = true;
    call_answer(call, status, response);
}

void http_stream_resume(struct http_call *call)
{
    call->stream_wanted = true;
    if (!call->stream_paused)
        return;
    call->stream_paused = false;
    call_wake(call);
}
