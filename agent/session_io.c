#include "agent/session_io.h"

#include "common/log.h"
#include "sheaf-config.h"

#include <errno.h>

#define CALL_MS      30000 /* a call that is answered at once may take so long */
#define RESULT_MS    60000
#define ANSWER_LIMIT (8 * 1024 * 1024)

enum call_kind { CALL_JOIN, CALL_POLL, CALL_RESULT };

struct call {
    struct session_io *io;
    struct http_request *request;
    enum call_kind kind;
    int64_t seq;
    char lease[65];
    bool dropped;
};

struct session_io {
    struct session_io_options options;
    char *authorization;
    VEC(struct call *) calls;
    bool closing;
    bool complained; /* about a coordinator that cannot be reached: once */
};

/* ---- saying what is wrong, once ---- */

static void complain(struct session_io *io, const char *what, const struct http_response *response,
                     const struct err *err)
{
    char why[256];
    struct wire_error said;
    if (err)
        snprintf(why, sizeof(why), "%.200s", err->text);
    else if (wire_error_decode(strbuf_str(&response->body), response->body.n, &said, NULL) == 0) {
        snprintf(why, sizeof(why), "status %d: %.200s", response->status, said.error);
        wire_error_done(&said);
    } else
        snprintf(why, sizeof(why), "status %d", response->status);
    log_write(io->complained ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING, "%s: %s", what, why);
    io->complained = true;
}

static void recovered(struct session_io *io)
{
    if (io->complained)
        log_info("the coordinator answers again");
    io->complained = false;
}

/* ---- answers ---- */

static void join_over(struct call *call, struct http_response *response, const struct err *err)
{
    struct session_io *io = call->io;
    struct wire_session_response answer;
    struct err bad = ERR_INIT;
    if (err || !http_response_ok(response)) {
        complain(io, "no session", response, err);
        io->options.events->join_failed(io->options.arg);
        return;
    }
    if (wire_session_response_decode(strbuf_str(&response->body), response->body.n, &answer, &bad) <
        0) {
        complain(io, "no session", NULL, &bad);
        io->options.events->join_failed(io->options.arg);
        return;
    }
    recovered(io);
    io->options.events->joined(io->options.arg, &answer);
    wire_session_response_done(&answer);
}

static void poll_over(struct call *call, struct http_response *response, const struct err *err)
{
    struct session_io *io = call->io;
    struct wire_poll_response answer;
    struct err bad = ERR_INIT;
    if (!err && http_response_ok(response) &&
        wire_poll_response_decode(strbuf_str(&response->body), response->body.n, &answer, &bad) ==
            0) {
        recovered(io);
        io->options.events->polled(io->options.arg, call->seq, &answer);
        wire_poll_response_done(&answer);
        return;
    }
    bool gone = !err && response->status == 410;
    if (gone)
        log_info("the coordinator does not know this session; asking for a new one");
    else
        complain(io, "poll failed", response, bad.code ? &bad : err);
    io->options.events->poll_failed(io->options.arg, call->seq, gone);
}

/* The lease's secret is not taken, or the lease not known, or its epoch over: nobody wants the result. */
static bool is_unwanted(int status)
{
    return status == 401 || status == 403 || status == 404 || status == 409 || status == 410;
}

static void result_over(struct call *call, struct http_response *response, const struct err *err)
{
    struct session_io *io = call->io;
    int status = err ? 0 : response->status;
    if (is_unwanted(status))
        log_info("lease %s: nobody wants its result (status %d)", call->lease, status);
    if (is_unwanted(status) || (!err && http_response_ok(response))) {
        io->options.events->result_sent(io->options.arg, call->lease);
        return;
    }
    complain(io, "result not taken", response, err);
    bool refused = status == 400 || status == 413 || status == 422;
    io->options.events->result_failed(io->options.arg, call->lease, refused);
}

/* ---- calls ---- */

static void settle(struct session_io *io)
{
    if (!io->closing || io->calls.n > 0)
        return;
    vec_free(&io->calls);
    free(io->authorization);
    free(io);
}

static void on_done(void *arg, struct http_response *response, const struct err *err)
{
    static void (*const over[])(struct call *, struct http_response *, const struct err *) = {
        [CALL_JOIN] = join_over, [CALL_POLL] = poll_over, [CALL_RESULT] = result_over};
    struct call *call = arg;
    struct session_io *io = call->io;
    if (!io->closing && !call->dropped)
        over[call->kind](call, response, err); /* may close us: the call is still listed */
    for (size_t i = 0; i < io->calls.n; i++)
        if (io->calls.items[i] == call) {
            vec_remove(&io->calls, i);
            break;
        }
    free(call);
    settle(io);
}

static struct call *start(struct session_io *io, enum call_kind kind, const char *path,
                          const char *authorization, const char *body, int64_t total_ms)
{
    static const char *const headers[] = {"Content-Type: application/json", NULL};
    cleanup_free char *url = xasprintf("%s%s", io->options.coordinator, path);
    struct call *call = xnew(struct call);
    call->io = io;
    call->kind = kind;
    vec_push(&io->calls, call);
    struct http_options o = {
        .method = "POST",
        .url = url,
        .headers = headers,
        .authorization = authorization,
        .body = http_body_memory(body, strlen(body)),
        .sink = http_sink_memory(ANSWER_LIMIT),
        .done = on_done,
        .arg = call,
        .total_ms = total_ms,
        .stall_ms = HTTP_FOREVER,
    };
    call->request = http_request_start(io->options.client, &o);
    return call;
}

struct session_io *session_io_new(const struct session_io_options *options)
{
    struct session_io *io = xnew(struct session_io);
    io->options = *options;
    io->authorization = xasprintf("Bearer %s", options->secret);
    return io;
}

void session_io_free(struct session_io *io)
{
    if (!io)
        return;
    io->closing = true;
    VEC_FOREACH (&io->calls, call)
        http_request_cancel((*call)->request);
    settle(io);
}

void session_io_join(struct session_io *io, const struct wire_facts *facts,
                     const struct session *session)
{
    struct wire_session_request request = {
        .agent = (char *)SHEAF_VERSION, .boot = (char *)io->options.boot, .facts = *facts};
    session_held(session, &request.held);
    cleanup_free char *body = wire_session_request_encode(&request);
    wire_held_list_done(&request.held);
    start(io, CALL_JOIN, "/v1/agent/session", io->authorization, body, CALL_MS);
}

void session_io_poll(struct session_io *io, const struct wire_poll_request *request,
                     int64_t poll_ms)
{
    cleanup_free char *body = wire_poll_request_encode(request);
    start(io, CALL_POLL, "/v1/agent/poll", io->authorization, body, poll_ms + CALL_MS)->seq =
        request->seq;
}

void session_io_drop_poll(struct session_io *io, int64_t seq)
{
    VEC_FOREACH (&io->calls, call)
        if ((*call)->kind == CALL_POLL && (*call)->seq == seq) {
            (*call)->dropped = true;
            http_request_cancel((*call)->request);
            return;
        }
}

void session_io_send_result(struct session_io *io, const char *lease, const char *secret,
                            const struct wire_result *result)
{
    cleanup_free char *path = xasprintf("/v1/agent/leases/%s/result", lease);
    cleanup_free char *authorization = xasprintf("Bearer %s", secret);
    cleanup_free char *body = wire_result_encode(result);
    struct call *call = start(io, CALL_RESULT, path, authorization, body, RESULT_MS);
    snprintf(call->lease, sizeof(call->lease), "%s", lease);
}
