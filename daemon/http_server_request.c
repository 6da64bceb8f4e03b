/* Requests: from libmicrohttpd's calls to the handler's, and back.
 *
 * libmicrohttpd calls the access handler once with the headers, then with pieces of the body, then
 * once more, and again from the same place after each suspension. We suspend in the last call (while
 * the handler makes up its mind) and between pieces of a body (back-pressure), never in the first. */
#include "common/log.h"
#include "daemon/http_server_int.h"

#include <errno.h>
#include <strings.h>

/* A refused request's body up to this size is read, so that the connection lives on and the client
 * is sure to see the answer; larger ones are answered at once, and the connection is closed. */
#define DRAIN_MAX (256 * 1024)

static const char *mhd_header(struct MHD_Connection *mhd, const char *name)
{
    return MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, name);
}

/* -1: chunked. libmicrohttpd has refused lengths that are no number. */
static int64_t announced_length(struct MHD_Connection *mhd)
{
    if (mhd_header(mhd, "Transfer-Encoding"))
        return -1;
    const char *length = mhd_header(mhd, "Content-Length");
    return length ? (int64_t)strtoull(length, NULL, 10) : 0;
}

void *request_line(void *cls, const char *uri, struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct http_request *req = xnew(struct http_request);
    req->listener = cls;
    req->conn = info->socket_context;
    req->conn->req = req;
    size_t n = strcspn(uri, "?#");
    req->path = xstrndup(uri, n);
    req->query = xstrdup(uri[n] == '?' ? uri + n + 1 : "");
    return req;
}

static void request_free(struct http_request *req)
{
    if (req->response)
        MHD_destroy_response(req->response);
    http_params_done(&req->params);
    strvec_done(&req->query_values);
    strbuf_done(&req->body);
    free(req->method);
    free(req->path);
    free(req->query);
    free(req);
}

void request_sleep(struct http_request *req)
{
    MHD_suspend_connection(req->conn->mhd);
    req->suspended = true;
    conn_set_phase(req->conn, CONN_ASLEEP);
    conn_watch_gone(req->conn);
}

void request_wake(struct http_request *req)
{
    if (!req->suspended)
        return;
    conn_unwatch_gone(req->conn);
    req->suspended = false;
    conn_set_phase(req->conn, req->ended ? CONN_WRITE : CONN_BODY);
    MHD_resume_connection(req->conn->mhd);
    server_kick(req->listener);
}

/* Tells the owner, which gives up its right. A request without a gone callback stays owned. */
static void tell_gone(struct http_request *req)
{
    req->dead = true;
    if (req->streaming)
        stream_finish(req, false);
    else if (req->gone && req->owned) {
        req->owned = false;
        void (*gone)(void *) = req->gone;
        req->gone = NULL;
        gone(req->gone_ctx);
    }
}

void request_gone(struct http_request *req)
{
    conn_cut(req->conn);
    request_wake(req);
    tell_gone(req);
}

void request_completed(void *cls, struct MHD_Connection *mhd, void **request,
                       enum MHD_RequestTerminationCode code)
{
    struct http_request *req = *request;
    if (!req)
        return;
    *request = NULL;
    struct http_conn *c = req->conn;
    bool sent = code == MHD_REQUEST_TERMINATED_COMPLETED_OK && !req->dead;
    if (req->streaming)
        stream_finish(req, sent);
    else if (!sent)
        tell_gone(req);
    c->req = NULL;
    req->conn = NULL;
    req->dead = true;
    conn_set_phase(c, CONN_HEADERS);
    if (!req->owned)
        request_free(req);
}

void request_answer(struct http_request *req, unsigned status, struct MHD_Response *response)
{
    req->owned = req->streaming; /* a stream's right ends with `done` */
    if (req->dead) {
        MHD_destroy_response(response);
        if (req->streaming)
            stream_finish(req, false);
        if (!req->conn)
            request_free(req);
        return;
    }
    req->answered = true;
    req->response = response;
    req->status = status;
    req->body_wanted = true;
    request_wake(req);
}

static enum MHD_Result queue_answer(struct http_request *req, struct MHD_Connection *mhd)
{
    if (req->listener->server->state != SERVER_RUNNING)
        MHD_add_response_header(req->response, "Connection", "close");
    req->queued = true;
    conn_set_phase(req->conn, CONN_WRITE);
    enum MHD_Result r = MHD_queue_response(mhd, req->status, req->response);
    MHD_destroy_response(steal_ptr(req->response));
    return r;
}

static void refuse_method(struct http_request *req, strvec *methods)
{
    struct strbuf allow = {0};
    VEC_FOREACH (methods, it)
        strbuf_addf(&allow, "%s%s", allow.n ? ", " : "", *it);
    struct http_header headers[] = {
        {"Allow", allow.s}, {"Content-Type", "application/json"}, {NULL, NULL}};
    cleanup_free char *body =
        xasprintf("{\"error\":\"this path takes %s\",\"field\":null}\n", allow.s);
    http_respond(req, 405, headers, body, strlen(body));
    strbuf_done(&allow);
}

static bool method_serves(const char *route, const char *method)
{
    return strcmp(route, method) == 0 || (strcmp(route, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

/* Finds the route, or refuses. */
static void find_route(struct http_request *req)
{
    cleanup_strvec strvec methods = {0};
    for (size_t i = 0; i < req->listener->n_routes; i++) {
        const struct http_route *route = &req->listener->routes[i];
        if (!http_route_match(route->pattern, req->path, &req->params))
            continue;
        if (method_serves(route->method, req->method)) {
            req->route = route;
            return;
        }
        http_params_done(&req->params);
        if (!strvec_has(&methods, route->method))
            strvec_add(&methods, route->method);
    }
    if (methods.n)
        refuse_method(req, &methods);
    else
        http_respond_error(req, 404, NULL, "there is nothing at this path");
}

static bool may_write(const struct http_request *req)
{
    const struct http_listener *l = req->listener;
    if (!(req->route->flags & HTTP_ROUTE_WRITE) || l->kind == HTTP_LISTENER_UNIX)
        return true;
    const char *token = http_request_bearer(req);
    return token && l->write_token && http_secret_equal(token, l->write_token);
}

static uint64_t body_limit(const struct http_route *route)
{
    if (route->body == HTTP_BODY_NONE)
        return 0;
    return route->body == HTTP_BODY_STREAMED && !route->max_body ? UINT64_MAX : route->max_body;
}

/* Everything that can be known from the headers; refuses by setting the answer. */
static void check_headers(struct http_request *req)
{
    if (req->listener->check_host &&
        !http_host_allowed(http_request_header(req, "Host"),
                           (const char *const *)req->listener->hosts.items)) {
        http_respond_error(req, 403, NULL, "this address does not serve that host name");
        return;
    }
    find_route(req);
    if (!req->route)
        return;
    uint64_t limit = body_limit(req->route);
    if (!may_write(req))
        http_respond_error(req, 403, NULL,
                           "changes are made by the Unix socket or with the write token");
    else if (req->length > 0 && (uint64_t)req->length > limit)
        http_respond_error(req, 413, NULL, "the body may have at most %llu bytes",
                           (unsigned long long)limit);
    else if (req->length < 0 && limit == 0)
        http_respond_error(req, 413, NULL, "no body is taken here");
}

static bool expects_continue(const struct http_request *req)
{
    const char *expect = http_request_header(req, "Expect");
    return expect && strcasecmp(expect, "100-continue") == 0;
}

static enum MHD_Result request_first(struct http_request *req, struct MHD_Connection *mhd,
                                     const char *method)
{
    req->started = true;
    req->method = xstrdup(method);
    req->length = announced_length(mhd);
    conn_set_phase(req->conn, CONN_BODY);
    check_headers(req);
    if (!req->answered && req->route->body == HTTP_BODY_STREAMED) {
        req->owned = true;
        req->route->handler(req, req->listener->data);
    }
    bool drain = req->length >= 0 && req->length <= DRAIN_MAX && !expects_continue(req);
    return req->answered && !drain ? queue_answer(req, mhd) : MHD_YES;
}

/* A buffered body's piece; what exceeds the limit is not kept. */
static void buffer_data(struct http_request *req, const char *data, size_t n)
{
    if (req->answered)
        return;
    if (req->body_received > req->route->max_body) {
        strbuf_done(&req->body);
        http_respond_error(req, 413, NULL, "the body may have at most %llu bytes",
                           (unsigned long long)req->route->max_body);
        return;
    }
    strbuf_addn(&req->body, data, n);
}

/* A streamed body's piece: what the handler does not take stays with libmicrohttpd. */
static size_t stream_data(struct http_request *req, const char *data, size_t n)
{
    if (req->answered || !req->body_ops.data)
        return n;
    req->body_wanted = false;
    size_t taken = req->body_ops.data(req, data, n, req->body_ctx);
    if (taken < n && !req->body_wanted && !req->answered) {
        req->body_paused = true;
        request_sleep(req);
    }
    return taken;
}

/* Whether a chunked body has gone so far beyond its route's limit that reading on is pointless. */
static bool body_is_endless(const struct http_request *req)
{
    uint64_t limit = req->route ? body_limit(req->route) : 0;
    if (req->length >= 0 || limit == UINT64_MAX)
        return false;
    uint64_t slack = req->route && req->route->body == HTTP_BODY_STREAMED ? 0 : DRAIN_MAX;
    return req->body_received > limit + slack;
}

static enum MHD_Result request_data(struct http_request *req, const char *data, size_t *data_n)
{
    size_t taken = *data_n;
    bool streamed = req->route && req->route->body == HTTP_BODY_STREAMED;
    req->conn->progress += *data_n;
    if (streamed)
        taken = stream_data(req, data, *data_n);
    req->body_received += taken;
    if (body_is_endless(req))
        return MHD_NO;
    if (!streamed)
        buffer_data(req, data, taken);
    *data_n -= taken;
    return MHD_YES;
}

static void body_ended(struct http_request *req)
{
    req->ended = true;
    if (req->answered)
        return;
    if (req->route->body == HTTP_BODY_STREAMED) {
        if (req->body_ops.end)
            req->body_ops.end(req, req->body_ctx);
        return;
    }
    req->owned = true;
    req->route->handler(req, req->listener->data);
}

enum MHD_Result request_access(void *cls, struct MHD_Connection *mhd, const char *url,
                               const char *method, const char *version, const char *data,
                               size_t *data_n, void **request)
{
    struct http_listener *l = cls;
    struct http_request *req = *request;
    if (l->server->state == SERVER_DROPPING || req->dead)
        return MHD_NO;
    if (!req->started)
        return request_first(req, mhd, method);
    if (req->queued) { /* answered before its body: what still comes is thrown away */
        *data_n = 0;
        return MHD_YES;
    }
    if (*data_n)
        return request_data(req, data, data_n);
    if (!req->ended)
        body_ended(req);
    if (req->answered)
        return queue_answer(req, mhd);
    request_sleep(req);
    return MHD_YES;
}

void http_body_start(struct http_request *req, const struct http_body_ops *ops, void *ctx)
{
    req->body_ops = *ops;
    req->body_ctx = ctx;
}

void http_body_resume(struct http_request *req)
{
    req->body_wanted = true;
    if (!req->body_paused)
        return;
    req->body_paused = false;
    request_wake(req);
}

void http_request_on_gone(struct http_request *req, void (*gone)(void *ctx), void *ctx)
{
    req->gone = gone;
    req->gone_ctx = ctx;
}
