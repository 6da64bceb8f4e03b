/* The HTTP server: several listeners (TCP, Unix socket) on one loop, each with its own table of
 * routes. The only user of libmicrohttpd.
 *
 * A request, step by step: its headers are read (deadline), the Host header is checked where the
 * listener asks for it, the route is looked up, its body's length is held against the route's limit,
 * and only then is anything of the body read. A buffered route's handler is called when the body is
 * complete, a streamed route's when the headers are. The handler answers at once or at any later
 * time; until then the connection sleeps and costs nothing but its memory.
 *
 * Whose a request is: the handler's, from its call until it is answered with one of the http_respond
 * functions or its gone callback has been called, whichever comes first: exactly one of the two
 * happens. A request for which no gone callback is set stays valid until it is answered, whether or
 * not there is still anybody to read the answer. After http_respond_stream it is valid until the
 * stream's `done`.
 *
 * All functions belong to the loop's thread. The server ignores SIGPIPE for the whole process. */
#pragma once

#include "common/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

struct http_server;
struct http_listener;
struct http_call;

enum http_listener_kind { HTTP_LISTENER_TCP, HTTP_LISTENER_UNIX };

enum http_takes {
    HTTP_TAKES_NONE,     /* a body is refused with 413 */
    HTTP_TAKES_BUFFERED, /* read whole, at most max_body bytes, before the handler is called */
    HTTP_TAKES_STREAMED, /* the handler is called first and takes it piece by piece */
};

/* Route flags. */
enum {
    /* Changes something: only by a Unix socket or with the listener's write token (else 403). */
    HTTP_ROUTE_WRITE = 1 << 0,
};

typedef void (*http_handler)(struct http_call *call, void *data);

/* One entry of a route table. A pattern is a path whose segments are literal or "{name}" (any one
 * segment, not empty); the last may be "{name...}", which takes all that is left, slashes included.
 * The first pattern that matches wins. A GET route serves HEAD too, unless HEAD has its own. */
struct http_route {
    const char *method;
    const char *pattern;
    http_handler handler;
    enum http_takes body;
    uint64_t max_body; /* bytes, buffered and streamed; 0 with HTTP_TAKES_STREAMED: no limit */
    unsigned flags;
    /* The query's parameters, separated by blanks; NULL: there are none, HTTP_ANY_QUERY: whatever there is. Any other is refused
     * where the listener asks for that. */
    const char *query;
};
#define HTTP_ANY_QUERY "*"

struct http_listener_options {
    const char *name;      /* for log lines: "agents", "status" */
    const char *address;   /* TCP: "127.0.0.1:8080", "[::1]:0"; NULL for a Unix socket */
    const char *unix_path; /* Unix: its path; a dead socket there is replaced */
    unsigned unix_mode;    /* its permission bits; 0 is 0660 */
    int inherited_fd;      /* above 2: this listening socket is used (and owned) instead */
    const struct http_route *routes; /* borrowed, for as long as the server lives */
    size_t n_routes;
    void *data; /* given to the handlers */
    /* Called when the headers of a request are in whose body will be buffered: answers it (which refuses it: no byte
     * of the body is kept), or leaves it alone. NULL: all are let in. */
    http_handler admit;
    size_t bodies_max;        /* bytes of buffered bodies at one time, 503 beyond; 0 is 256 MiB */
    unsigned max_connections; /* further ones wait in the backlog; 0 is 1000 */
    size_t pool_size;         /* bytes of memory a connection; 0 is 8192 */
    unsigned headers_ms; /* from connection or last answer to the end of the headers; 0 is 30 s */
    unsigned body_ms;    /* for a buffered body; window of a streamed one's progress; 0 is 60 s */
    unsigned write_ms;   /* without progress while an answer is written; 0 is 60 s */
    bool check_host;     /* Host must be a loopback name or address, or one of `hosts` */
    const char *const
        *hosts;              /* NULL-terminated further names (without port), copied; may be NULL */
    bool check_query;        /* a parameter that the route does not name is answered with 400 */
    const char *write_token; /* bearer token for HTTP_ROUTE_WRITE by TCP, copied; NULL: refused */
    const char *tls_key, *tls_cert; /* PEM; both set: TLS 1.2 and 1.3 */
};

/* Makes a server on `loop`, which must outlive it. Never fails but for want of descriptors. */
int http_server_new(uv_loop_t *loop, struct http_server **ret, struct err *err);
/* Opens a listener; it serves from the loop's next pass on. *ret (which may be NULL as an argument)
 * is owned by the server. -EADDRINUSE when the address is taken. */
int http_server_listen(struct http_server *s, const struct http_listener_options *options,
                       struct http_listener **ret, struct err *err);
/* Stops: listens no more, lets what runs finish for at most `grace_ms`, then drops it (gone callbacks
 * are called), closes everything and calls `done` once, never before this call returns. Waiting
 * requests that are answered during the grace are sent. After `done`, call http_server_free. */
void http_server_stop(struct http_server *s, unsigned grace_ms, void (*done)(void *ctx), void *ctx);
/* Frees a server that has stopped, or never listened and whose loop's handles were closed by
 * http_server_stop. NULL is allowed. */
void http_server_free(struct http_server *s);
/* The TCP port that a listener got (for ":0"), 0 for a Unix socket. */
unsigned http_listener_port(const struct http_listener *l);
/* How many connections a listener has at this moment. */
unsigned http_listener_connections(const struct http_listener *l);

/* Getters. Strings are borrowed and live as long as the request. */

/* "GET", "HEAD", … */
const char *http_call_method(const struct http_call *call);
/* The path as it was sent (percent escapes included), without the query. */
const char *http_call_path(const struct http_call *call);
/* The decoded value of "{name}", "" if the pattern has none. */
const char *http_call_param(const struct http_call *call, const char *name);
/* The decoded value of ?name=…, "" for a bare ?name, NULL if it is absent. */
const char *http_call_query(struct http_call *call, const char *name);
/* The query as it was sent, without the question mark; "" if there is none. */
const char *http_call_query_string(struct http_call *call);
/* The first header of this name in any case, NULL if absent (or the client is gone). */
const char *http_call_header(const struct http_call *call, const char *name);
/* The token of "Authorization: Bearer …", NULL if that is not what was sent. */
const char *http_call_bearer(const struct http_call *call);
/* The buffered body; *ret_n may be NULL. Always followed by a NUL. */
const char *http_call_body(const struct http_call *call, size_t *ret_n);
/* Parses a buffered body as one JSON object. On failure the request has been answered with 400 and
 * NULL is returned; else the caller owns the reference. */
json_t *http_call_json(struct http_call *call);
/* The announced length of the body in bytes, -1 when it is chunked. */
int64_t http_call_length(const struct http_call *call);
/* Which kind of listener it came by. */
enum http_listener_kind http_call_listener_kind(const struct http_call *call);
/* Peer credentials on a Unix socket; (uid_t)-1 on TCP. */
uid_t http_call_peer_uid(const struct http_call *call);
/* The peer's address without port as text ("unix" for a Unix socket). */
const char *http_call_peer(const struct http_call *call);
/* Whether the client is there and the request is unanswered. */
bool http_call_alive(const struct http_call *call);

/* Sets (or, with NULL, clears) what is called, once, when the client goes away before the answer. The
 * request must not be used after it. */
void http_call_on_gone(struct http_call *call, void (*gone)(void *ctx), void *ctx);

/* Bodies of streamed routes. */

struct http_call_body_ops {
    /* Takes up to n bytes and returns how many it took. Fewer than n: the connection is paused (the
     * sender is held back by TCP) until http_call_body_resume. */
    size_t (*data)(struct http_call *call, const char *data, size_t n, void *ctx);
    /* The body is complete. Answer now or later. */
    void (*end)(struct http_call *call, void *ctx);
};
/* Calls the route's handler once more, for a buffered request that has not been answered. */
void http_call_again(struct http_call *call);
/* To be called by a streamed route's handler (unless it answers there and then). Answering before the
 * end is allowed: the rest of the body is then read and thrown away, after which the answer is sent.
 * When the client goes away in the middle, only the gone callback is called. */
void http_call_body_start(struct http_call *call, const struct http_call_body_ops *ops, void *ctx);
/* Lets a paused body go on; `data` is called again from the loop. Harmless when it is not paused. */
void http_call_body_resume(struct http_call *call);

/* Answers. Each ends the caller's right to the request (but for http_respond_stream). A HEAD request
 * gets the same headers and no body. */

struct http_field {
    const char *name, *value; /* ended by a NULL name; entries with a NULL value are left out */
};

/* Answers with a copy of n bytes. `headers` may be NULL. */
void http_respond(struct http_call *call, unsigned status, const struct http_field *headers,
                  const void *body, size_t n);
/* As http_respond, but takes over `body` (from malloc). */
void http_respond_take(struct http_call *call, unsigned status, const struct http_field *headers,
                       char *body, size_t n);
/* As http_respond with bytes that outlive the server (embedded files). */
void http_respond_static(struct http_call *call, unsigned status, const struct http_field *headers,
                         const void *body, size_t n);
/* Answers with n bytes that are JSON already, and takes them over. */
void http_respond_json_text(struct http_call *call, unsigned status, char *text, size_t n);
/* The same from the beginning of a file, whose descriptor is taken over. */
void http_respond_json_fd(struct http_call *call, unsigned status, int fd, size_t n);
/* Answers with JSON and takes over the reference. */
void http_respond_json(struct http_call *call, unsigned status, json_t *json);
/* Answers {"error":text,"field":field}; `field` (what in the request is wrong) may be NULL. What may go better soon, 429 and
 * 503, says to try again in five seconds (Retry-After). */
void http_respond_error(struct http_call *call, unsigned status, const char *field, const char *fmt,
                        ...) __attribute__((format(printf, 4, 5)));
/* Answers with `length` bytes of a regular file from `offset` on; takes over the descriptor. */
void http_respond_fd(struct http_call *call, unsigned status, const struct http_field *headers,
                     int fd, uint64_t offset, uint64_t length);
/* Answers with a file of `size` bytes, honouring a Range header of one range (206, 416); takes over
 * the descriptor. */
void http_respond_file(struct http_call *call, const struct http_field *headers, int fd,
                       uint64_t size);

#define HTTP_STREAM_END   (-1) /* complete */
#define HTTP_STREAM_ABORT (-2) /* failed: the connection is cut so that the client notices */
struct http_stream_ops {
    /* Writes up to n bytes to buf and returns how many; 0: nothing now, paused until
     * http_stream_resume; HTTP_STREAM_END; HTTP_STREAM_ABORT. Not called for HEAD. */
    ssize_t (*pull)(struct http_call *call, char *buf, size_t n, void *ctx);
    /* Called exactly once, last: sent whole, or given up (client gone, server stopping). */
    void (*done)(bool complete, void *ctx);
};
/* Answers with a body that is pulled piece by piece: `length` bytes, or chunked when it is -1. `done`
 * may be called before this returns when the client has gone already. */
void http_respond_stream(struct http_call *call, unsigned status, const struct http_field *headers,
                         int64_t length, const struct http_stream_ops *ops, void *ctx);
/* Lets a paused stream go on. Harmless when it is not paused. */
void http_stream_resume(struct http_call *call);
