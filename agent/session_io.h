/* The session's calls to the coordinator: what session.h decides, as HTTP requests, and their answers as its
 * events. Knows nothing of jobs. */
#pragma once

#include "agent/session.h"
#include "common/http_client.h"

struct session_io;

/* Each is called from the loop, once for each call made below that was not dropped. */
struct session_io_events {
    void (*joined)(void *arg, const struct wire_session_response *answer);
    void (*join_failed)(void *arg);
    void (*polled)(void *arg, int64_t seq, struct wire_poll_response *answer);
    void (*poll_failed)(void *arg, int64_t seq, bool gone);
    /* The result was taken, or nobody wants it. */
    void (*result_sent)(void *arg, const char *lease);
    /* `refused`: as it stands it will never be taken (400, 413). */
    void (*result_failed)(void *arg, const char *lease, bool refused);
};

struct session_io_options {
    struct http_client *client;
    const char *coordinator; /* base URL; outlives this */
    const char *secret;      /* the board's */
    const char *boot;        /* of this start */
    const struct session_io_events *events;
    void *arg;
};

/* The caller owns it. */
struct session_io *session_io_new(const struct session_io_options *options);
/* Cancels what is under way; no event comes any more. The rest goes when the loop lets it. */
void session_io_free(struct session_io *io);

/* POST /v1/agent/session with these facts and the session's held leases. */
void session_io_join(struct session_io *io, const struct wire_facts *facts,
                     const struct session *session);
/* POST /v1/agent/poll; `request` has its seq. `poll_ms` is how long it may be held. */
void session_io_poll(struct session_io *io, const struct wire_poll_request *request,
                     int64_t poll_ms);
/* Cancels a poll; its event does not come. */
void session_io_drop_poll(struct session_io *io, int64_t seq);
/* POST /v1/agent/leases/{lease}/result. */
void session_io_send_result(struct session_io *io, const char *lease, const char *secret,
                            const struct wire_result *result);
