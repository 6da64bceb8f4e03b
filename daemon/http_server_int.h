/* What the files of the HTTP server share. Only http_server*.c include it.
 *
 * Three lives are nested: listener > connection > request. libmicrohttpd owns the connections; ours
 * (struct http_conn) hang on them from NOTIFY_CONNECTION to its counterpart and carry the deadlines.
 * A request (struct http_call) lives from the first call of the access handler until both
 * libmicrohttpd has completed it and the handler has no right to it any more.
 *
 * The traps of an external epoll: MHD_resume_connection wakes nothing, so everything that resumes
 * calls server_kick, and the next prepare phase runs the daemon before the loop sleeps; a suspended
 * connection's descriptor is watched by nobody, so we watch it for hang-ups in an epoll of our own. */
#pragma once

#include "common/mem.h"
#include "daemon/http_route.h"
#include "daemon/http_server.h"

#include <microhttpd.h>

/* What a connection is being waited for; each phase is a queue in order of deadline. */
enum conn_phase {
    CONN_HEADERS, /* new or kept alive: for a request's headers */
    CONN_BODY,    /* for its body */
    CONN_WRITE,   /* for the client to read the answer */
    CONN_ASLEEP,  /* for our own side: no deadline */
    CONN_PHASES
};

struct http_conn {
    struct http_listener *listener; /* weak */
    struct MHD_Connection *mhd;     /* weak */
    struct http_call *call;         /* weak; NULL between requests */
    struct http_conn *prev, *next;  /* in listener->conns[phase] */
    int fd;                         /* libmicrohttpd's */
    enum conn_phase phase;
    int64_t deadline;  /* clock_mono_ms */
    uint64_t progress; /* bytes moved in this phase, body or answer */
    uint64_t checked;  /* progress when the deadline was last set */
    uid_t uid;
    char peer[64];
};

struct http_listener {
    struct http_server *server; /* weak */
    struct http_listener *next;
    char *name;
    enum http_listener_kind kind;
    int listen_fd;
    char *unix_path; /* unlinked at the stop, unless inherited */
    unsigned port;
    struct MHD_Daemon *mhd;
    uv_poll_t poll; /* libmicrohttpd's epoll descriptor */
    bool kicked;    /* must run before the loop sleeps */
    const struct http_route *routes;
    size_t n_routes;
    void *data;
    bool check_host, check_query;
    strvec hosts; /* NULL-terminated */
    char *write_token;
    char *tls_key, *tls_cert;
    http_handler admit;
    size_t bodies, bodies_max; /* bytes of buffered bodies that are held */
    unsigned phase_ms[CONN_PHASES];
    struct http_conn *conns[CONN_PHASES];
    unsigned n_conns;
};

enum server_state { SERVER_RUNNING, SERVER_DRAINING, SERVER_DROPPING, SERVER_STOPPED };

struct http_server {
    uv_loop_t *loop;
    struct http_listener *listeners;
    enum server_state state;
    uv_prepare_t prepare; /* runs kicked daemons before the loop sleeps */
    uv_idle_t idle;       /* active while one is kicked: the loop does not sleep */
    uv_timer_t mhd_timer; /* what libmicrohttpd itself wants to wait for */
    uv_timer_t deadlines;
    int64_t deadlines_at; /* what `deadlines` is set to; 0: not set */
    uv_timer_t grace;
    int gone_fd; /* epoll over suspended connections' descriptors */
    uv_poll_t gone_poll;
    unsigned open_handles;
    void (*stopped)(void *ctx);
    void *stopped_ctx;
};

struct http_call {
    struct http_listener *listener;
    struct http_conn *conn; /* NULL once the connection or libmicrohttpd's request is gone */
    const struct http_route *route;
    struct http_params params;
    char *method, *path, *query;
    strvec query_values; /* decoded ones that were handed out */
    int64_t length;
    struct strbuf body;
    uint64_t body_received;
    bool owned;     /* the handler has a right to it: it may not be freed */
    bool started;   /* the headers are in */
    bool answered;  /* the answer is set, */
    bool queued;    /* and given to libmicrohttpd */
    bool ended;     /* the body is complete */
    bool suspended; /* libmicrohttpd holds it suspended */
    bool dead;      /* the client is gone, or given up */
    void (*gone)(void *ctx);
    void *gone_ctx;
    struct http_call_body_ops body_ops;
    void *body_ctx;
    bool body_paused, body_wanted;
    struct MHD_Response *response;
    unsigned status;
    struct http_stream_ops stream_ops;
    void *stream_ctx;
    bool streaming, stream_paused, stream_wanted;
};

/* http_server.c */

/* Has the listener's daemon run before the loop sleeps. */
void server_kick(struct http_listener *l);
/* Called when a listener lost a connection: a draining server may be done. */
void server_conn_closed(struct http_listener *l);

/* http_server_socket.c */

/* Makes or adopts the listening socket; sets listen_fd, kind, port and unix_path. */
int listener_open_socket(struct http_listener *l, const struct http_listener_options *o,
                         struct err *err);

/* http_server_conn.c */

/* libmicrohttpd's MHD_OPTION_NOTIFY_CONNECTION. */
void conn_notify(void *cls, struct MHD_Connection *mhd, void **socket_context,
                 enum MHD_ConnectionNotificationCode code);
/* Moves a connection to a phase and sets its deadline anew. */
void conn_set_phase(struct http_conn *c, enum conn_phase phase);
/* The deadlines' timer. */
void conn_deadlines_cb(uv_timer_t *timer);
/* Cuts a connection: libmicrohttpd notices by itself. */
void conn_cut(struct http_conn *c);
/* Watches a sleeping connection for a client that goes away. */
void conn_watch_gone(struct http_conn *c);
/* Undoes conn_watch_gone. */
void conn_unwatch_gone(struct http_conn *c);
/* The poll callback of the server's epoll over sleeping connections. */
void conn_gone_cb(uv_poll_t *poll, int status, int events);

/* http_server_call.c */

/* libmicrohttpd's MHD_OPTION_URI_LOG_CALLBACK: sees the request line first and untouched, and makes the
 * request. */
void *call_line(void *cls, const char *uri, struct MHD_Connection *mhd);
/* Its access handler. */
enum MHD_Result call_access(void *cls, struct MHD_Connection *mhd, const char *url,
                            const char *method, const char *version, const char *data,
                            size_t *data_n, void **request);
/* Its MHD_OPTION_NOTIFY_COMPLETED. */
void call_completed(void *cls, struct MHD_Connection *mhd, void **request,
                    enum MHD_RequestTerminationCode code);
/* Suspends libmicrohttpd's side, and watches for hang-ups. */
void call_sleep(struct http_call *call);
/* Resumes it; harmless when it does not sleep. */
void call_wake(struct http_call *call);
/* The client is gone while the request sleeps: tells its owner and lets libmicrohttpd close it. */
void call_gone(struct http_call *call);
/* Sets the answer and lets it be sent; takes over `response`. */
void call_answer(struct http_call *call, unsigned status, struct MHD_Response *response);

/* http_server_respond.c */

/* Ends a stream that has not ended: its `done` is called. */
void stream_finish(struct http_call *call, bool complete);
