/* HTTP requests on a libuv loop: curl's multi interface behind one small face. HTTP/1.1 only, so that a
 * paused stream holds back its sender instead of filling a window of curl's.
 *
 * Asynchronous rules: everything below runs on the loop's thread. Starting a request never fails and
 * never calls back; whatever goes wrong arrives by `done`, which is called exactly once, from the loop,
 * cancellation included. No other callback of a request comes after cancel or after `done`. All
 * functions may be called from inside any callback.
 *
 * http_sync.h has the blocking form. */
#pragma once

#include "common/err.h"
#include "common/mem.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct http_client;
struct http_request;

/* ---- the answer ---- */

struct http_header {
    char *name, *value;
};
typedef VEC(struct http_header) http_headers;

struct http_response {
    int status;           /* of the last answer, redirects followed; 0 before there is one */
    http_headers headers; /* in the order received */
    struct strbuf body;   /* memory sink, or the first 64 KiB of an answer that is not 2xx */
    uint64_t received;    /* bytes of body that came, wherever they went */
    char *url;            /* of the last answer, set when the header is complete */
};

/* The value of the first header called `name` (any case), or NULL. Borrowed from the response. */
const char *http_response_header(const struct http_response *response, const char *name);
/* As above for the n-th (from 0) header of that name. */
const char *http_response_header_nth(const struct http_response *response, const char *name,
                                     size_t n);
/* Whether the status is 200 to 299. */
static inline bool http_response_ok(const struct http_response *response)
{
    return response->status >= 200 && response->status < 300;
}
/* Frees what a response owns and leaves it empty. Only for those who were given one to own. */
void http_response_done(struct http_response *response);
#define cleanup_http_response cleanup_(http_response_done)

/* ---- what is sent ---- */

/* Writes at most `room` bytes of body to `buf`. Returns their number, 0 at the end, -EAGAIN for
 * "nothing yet" (http_request_resume asks again), any other negative errno to give up with it. */
typedef ssize_t (*http_pull_fn)(void *arg, char *buf, size_t room);

/* Made by one of the http_body_ functions; all zeroes is no body. */
struct http_body {
    enum { HTTP_BODY_NONE, HTTP_BODY_MEMORY, HTTP_BODY_FD, HTTP_BODY_PULL } kind;
    const void *data;
    int fd;
    int64_t offset, length;
    http_pull_fn pull;
};

/* `n` bytes, copied at the start. */
static inline struct http_body http_body_memory(const void *data, size_t n)
{
    return (struct http_body){.kind = HTTP_BODY_MEMORY, .data = data, .length = (int64_t)n};
}
/* `length` bytes of the regular file `fd` from `offset`. Read with pread; the descriptor stays the
 * caller's and stays open until `done`. */
static inline struct http_body http_body_fd(int fd, int64_t offset, int64_t length)
{
    return (struct http_body){.kind = HTTP_BODY_FD, .fd = fd, .offset = offset, .length = length};
}
/* What `pull` yields: exactly `length` bytes, or, when that is -1, any number (sent chunked). Such a
 * body cannot be sent twice, so the request gets a connection of its own. */
static inline struct http_body http_body_pull(http_pull_fn pull, int64_t length)
{
    return (struct http_body){.kind = HTTP_BODY_PULL, .pull = pull, .length = length};
}

/* ---- where the answer's body goes ---- */

/* Takes `n` bytes of body (n > 0). Returns 0, or -EAGAIN for "not now": nothing was taken, and after
 * http_request_resume the same bytes come again; any other negative errno gives up with it. */
typedef int (*http_push_fn)(void *arg, const char *data, size_t n);

/* Made by one of the http_sink_ functions; all zeroes is memory with a limit of 1 MiB. A sink gets the
 * bodies of 2xx answers only; of any other, response.body keeps the first 64 KiB. */
struct http_sink {
    enum { HTTP_SINK_MEMORY, HTTP_SINK_FD, HTTP_SINK_PUSH } kind;
    size_t limit;
    int fd;
    http_push_fn push;
};

/* response.body; more than `limit` bytes fail with -EMSGSIZE. */
static inline struct http_sink http_sink_memory(size_t limit)
{
    return (struct http_sink){.kind = HTTP_SINK_MEMORY, .limit = limit};
}
/* Written to `fd`, a regular file, at its position. The descriptor stays the caller's. */
static inline struct http_sink http_sink_fd(int fd)
{
    return (struct http_sink){.kind = HTTP_SINK_FD, .fd = fd};
}
/* Handed to `push` piece by piece. */
static inline struct http_sink http_sink_push(http_push_fn push)
{
    return (struct http_sink){.kind = HTTP_SINK_PUSH, .push = push};
}

/* ---- requests ---- */

/* The header of the final answer is complete; its body follows. `response` is borrowed. */
typedef void (*http_response_fn)(void *arg, const struct http_response *response);
/* The request is over. `err` is NULL when an answer came whole, whatever its status; else it says
 * what went wrong on the way (-ECANCELED after a cancel), and `response` holds what had come so far.
 * Both are borrowed; the request is gone when this returns. */
typedef void (*http_done_fn)(void *arg, struct http_response *response, const struct err *err);

#define HTTP_CONNECT_MS_DEFAULT 15000
#define HTTP_STALL_MS_DEFAULT   60000
#define HTTP_FOREVER            (-1)

struct http_options {
    const char *method; /* NULL is GET */
    /* http:// or https://, and http://unix:/run/x.sock:/path for a request over a Unix socket. */
    const char *url;
    const char *const *headers; /* "Name: value" strings, then NULL; copied. May itself be NULL. */
    const char *authorization;  /* value of that header, or NULL; not sent on to another host */
    struct http_body body;
    struct http_sink sink;
    http_response_fn on_response; /* or NULL */
    http_done_fn done;
    void *arg; /* for every callback above */

    /* Milliseconds; 0 is the default, HTTP_FOREVER none. */
    int64_t connect_ms; /* look-up, connection and handshake: 15 s */
    int64_t total_ms;   /* the whole request: none */
    int64_t stall_ms;   /* without a byte moving either way, pauses not counted: 60 s */

    bool once;       /* a body of which some was sent is not sent again, not even by curl */
    int redirects;   /* how many to follow; never from https to http */
    const char *pin; /* base64 of the SHA-256 of the server's public key, the one thing checked */
    const char *ca_file;     /* PEM bundle instead of the system's, or NULL */
    const char *unix_socket; /* path, or NULL */
};

/* A client on `loop`, with a pool of connections. It keeps the loop alive only while there are
 * requests. The caller owns it. */
struct http_client *http_client_new(uv_loop_t *loop);
/* Cancels what is under way; the rest happens on the loop, which must be run until it has nothing left
 * (every `done` is called). NULL is fine. */
void http_client_free(struct http_client *client);
/* The loop it was made on. */
uv_loop_t *http_client_loop(const struct http_client *client);
/* Cancels what is under way, and from now on every new request ends with -ECANCELED as well. */
void http_client_shut(struct http_client *client);
/* Whether http_client_shut was called. */
bool http_client_is_shut(const struct http_client *client);

/* Starts a request. `options` and what it points to is needed during this call only (descriptors and
 * `arg` excepted). The request belongs to the client and is borrowed until `done`. */
struct http_request *http_request_start(struct http_client *client,
                                        const struct http_options *options);
/* Ends it with -ECANCELED; `done` follows from the loop. Harmless inside `done`. */
void http_request_cancel(struct http_request *request);
/* Asks a push or pull function that answered -EAGAIN again, from the loop. Harmless otherwise. */
void http_request_resume(struct http_request *request);
