/* What boards ask, each checked against the board's or the lease's secret before anything else is looked at. */
#include "daemon/api_agent.h"

#include "common/digest.h"
#include "common/wire.h"
#include "daemon/coordinator.h"
#include "daemon/logs.h"
#include "daemon/upstream.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define LOG_PIECE_MAX  (1024 * 1024)
#define LOG_OFFSET_MAX (INT64_C(1) << 50)

/* ---- who asks ---- */

/* The board whose secret it is, or NULL: then the request has been answered. */
static const char *board_of(struct coordinator *c, struct http_call *call)
{
    const char *secret = http_call_bearer(call), *board = NULL;
    char hash[DIGEST_SIZE];
    if (secret) {
        digest_of(secret, strlen(secret), hash);
        board = model_board_by_secret(coordinator_model(c), hash);
    }
    if (!board)
        http_respond_error(call, 401, NULL,
                           "the board's secret is not known here: sheafctl boards add makes one");
    return board;
}

static bool lease_of(struct coordinator *c, struct http_call *call, struct lease_rights *rights)
{
    const char *secret = http_call_bearer(call);
    if (secret &&
        model_lease_rights(coordinator_model(c), http_call_param(call, "id"), secret, rights) == 0)
        return true;
    http_respond_error(call, 409, NULL, "the lease is not current");
    return false;
}

void api_agent_admit(struct http_call *call, void *data)
{
    struct lease_rights rights;
    if (*http_call_param(call, "id"))
        (void)lease_of(data, call, &rights);
    else
        (void)board_of(data, call);
}

static bool refused_for_stall(struct coordinator *c, struct http_call *call)
{
    static const struct http_field later[] = {
        {"Content-Type", "application/json"}, {"Retry-After", "5"}, {0}};
    cleanup_free char *stalled = coordinator_stalled(c);
    if (!stalled)
        return false;
    struct wire_error error = {.error = stalled};
    cleanup_free char *body = wire_error_encode(&error);
    http_respond(call, 503, later, body, strlen(body));
    return true;
}

/* ---- sessions, polls, results ---- */

static void handle_session(struct http_call *call, void *data)
{
    struct coordinator *c = data;
    const char *board = board_of(c, call);
    if (!board || refused_for_stall(c, call))
        return;
    struct wire_session_request req = {0};
    struct err err = ERR_INIT;
    size_t n;
    const char *body = http_call_body(call, &n);
    if (wire_session_request_decode(body, n, &req, &err) < 0) {
        http_respond_error(call, 400, NULL, "%s", err.text);
        return;
    }
    model_on_session(coordinator_turn(c), board, &req, coordinator_token(c, call, NULL));
    wire_session_request_done(&req);
}

static void poll_closed(struct coordinator *c, uint64_t token)
{
    model_on_poll_closed(coordinator_turn(c), token);
}

static void handle_poll(struct http_call *call, void *data)
{
    struct coordinator *c = data;
    const char *board = board_of(c, call);
    if (!board || refused_for_stall(c, call))
        return;
    struct wire_poll_request req = {0};
    struct err err = ERR_INIT;
    size_t n;
    const char *body = http_call_body(call, &n);
    if (wire_poll_request_decode(body, n, &req, &err) < 0) {
        http_respond_error(call, 400, NULL, "%s", err.text);
        return;
    }
    model_on_poll(coordinator_turn(c), board, &req, coordinator_token(c, call, poll_closed));
    wire_poll_request_done(&req);
}

struct pending_result {
    struct coordinator *c;
    struct http_call *call;
    char *lease;
    struct wire_result result;
};

static void free_pending_result(struct pending_result *p)
{
    wire_result_done(&p->result);
    free(p->lease);
    free(p);
}

static void result_gone(void *ctx)
{
    struct pending_result *p = ctx;
    p->call = NULL;
}

/* The log is on disk before the result is: who reads of a failure can read its log. */
static void result_synced(void *data, int64_t received, int64_t durable, const struct err *err)
{
    struct pending_result *p = data;
    (void)durable;
    if (!p->call) {
        free_pending_result(p);
        return;
    }
    http_call_on_gone(p->call, NULL, NULL);
    if (err) {
        http_respond_error(p->call, 503, NULL, "%s", err->text);
        free_pending_result(p);
        return;
    }
    p->result.log_size = received;
    if (!refused_for_stall(p->c, p->call))
        model_on_result(coordinator_turn(p->c), p->lease, &p->result,
                        coordinator_token(p->c, p->call, NULL));
    free_pending_result(p);
}

static void handle_result(struct http_call *call, void *data)
{
    struct coordinator *c = data;
    struct lease_rights rights;
    if (!lease_of(c, call, &rights) || refused_for_stall(c, call))
        return;
    struct pending_result *p = xnew(struct pending_result);
    struct err err = ERR_INIT;
    size_t n;
    const char *body = http_call_body(call, &n);
    if (wire_result_decode(body, n, &p->result, &err) < 0) {
        http_respond_error(call, 400, NULL, "%s", err.text);
        free(p);
        return;
    }
    p->c = c;
    p->call = call;
    p->lease = xstrdup(http_call_param(call, "id"));
    http_call_on_gone(call, result_gone, p);
    logs_sync(coordinator_logs(c), p->lease, result_synced, p);
}

/* ---- logs ---- */

static void log_gone(void *ctx)
{
    *(struct http_call **)ctx = NULL;
}

static void log_appended(void *data, int64_t received, int64_t durable, const struct err *err)
{
    struct http_call **call = data;
    if (*call) {
        http_call_on_gone(*call, NULL, NULL);
        struct wire_log_answer answer = {.received = received, .durable = durable};
        if (err && err->code != -EILSEQ)
            http_respond_error(*call, 503, NULL, "%s", err->text);
        else
            http_respond_json(*call, err ? 409 : 200, wire_log_answer_to_json(&answer));
    }
    free(call);
}

static void handle_log(struct http_call *call, void *data)
{
    struct coordinator *c = data;
    struct lease_rights rights;
    if (!lease_of(c, call, &rights))
        return;
    const char *text = http_call_query(call, "offset");
    char *end = NULL;
    long long offset = text ? strtoll(text, &end, 10) : -1;
    if (offset < 0 || offset > LOG_OFFSET_MAX || !end || end == text || *end) {
        http_respond_error(call, 400, "offset",
                           "offset: a number of bytes from the log's beginning");
        return;
    }
    struct http_call **waiting = xnew(struct http_call *);
    *waiting = call;
    http_call_on_gone(call, log_gone, waiting);
    size_t n;
    const char *body = http_call_body(call, &n);
    logs_append(coordinator_logs(c), http_call_param(call, "id"), offset, body, n, log_appended,
                waiting);
}

/* ---- contexts ---- */

static void context_ready(void *data, const char *path, const struct err *err)
{
    struct http_call **waiting = data, *call = *waiting;
    free(waiting);
    if (!call)
        return;
    http_call_on_gone(call, NULL, NULL);
    int fd = err ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0) {
        http_respond_error(call, 503, NULL, "%s", err ? err->text : "the context is gone");
        if (fd >= 0)
            close(fd);
        return;
    }
    static const struct http_field tar[] = {{"Content-Type", "application/x-tar"}, {0}};
    http_respond_file(call, tar, fd, (uint64_t)st.st_size);
}

static void handle_context(struct http_call *call, void *data)
{
    struct coordinator *c = data;
    struct lease_rights rights;
    if (!lease_of(c, call, &rights))
        return;
    struct http_call **waiting = xnew(struct http_call *);
    *waiting = call;
    http_call_on_gone(call, log_gone, waiting);
    struct upstream_context_args args = {rights.source, rights.commit, rights.path,
                                         rights.dockerfile};
    upstream_context(coordinator_upstream(c), &args, context_ready, waiting);
}

static const struct http_route routes[] = {
    {"POST", "/v1/agent/session", handle_session, HTTP_TAKES_BUFFERED, 4 << 20, 0},
    {"POST", "/v1/agent/poll", handle_poll, HTTP_TAKES_BUFFERED, 1 << 20, 0},
    {"POST", "/v1/agent/leases/{id}/result", handle_result, HTTP_TAKES_BUFFERED, 16 << 20, 0},
    {"PATCH", "/v1/agent/leases/{id}/log", handle_log, HTTP_TAKES_BUFFERED, LOG_PIECE_MAX, 0},
    {"GET", "/v1/agent/leases/{id}/context", handle_context, HTTP_TAKES_NONE, 0, 0},
};

const struct http_route *api_agent_routes(size_t *ret_n)
{
    *ret_n = sizeof(routes) / sizeof(*routes);
    return routes;
}
