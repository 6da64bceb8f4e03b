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

void *call_line(void *cls, const char *uri, struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct http_call *call = xnew(struct http_call);
    call->listener = cls;
    call->conn = info->socket_context;
    call->conn->call = call;
    size_t n = strcspn(uri, "?#");
    call->path = xstrndup(uri, n);
    call->query = xstrdup(uri[n] == '?' ? uri + n + 1 : "");
    return call;
}

static void drop_body(struct http_call *call)
{
    call->listener->bodies -= call->body.n;
    strbuf_done(&call->body);
}

static void call_free(struct http_call *call)
{
    if (call->response)
        MHD_destroy_response(call->response);
    http_params_done(&call->params);
    strvec_done(&call->query_values);
    drop_body(call);
    free(call->method);
    free(call->path);
    free(call->query);
    free(call);
}

void call_sleep(struct http_call *call)
{
    MHD_suspend_connection(call->conn->mhd);
    call->suspended = true;
    conn_set_phase(call->conn, CONN_ASLEEP);
    conn_watch_gone(call->conn);
}

void call_wake(struct http_call *call)
{
    if (!call->suspended)
        return;
    conn_unwatch_gone(call->conn);
    call->suspended = false;
    conn_set_phase(call->conn, call->ended ? CONN_WRITE : CONN_BODY);
    MHD_resume_connection(call->conn->mhd);
    server_kick(call->listener);
}

/* Tells the owner, which gives up its right. A request without a gone callback stays owned. */
static void tell_gone(struct http_call *call)
{
    call->dead = true;
    if (call->streaming)
        stream_finish(call, false);
    else if (call->gone && call->owned) {
        call->owned = false;
        void (*gone)(void *) = call->gone;
        call->gone = NULL;
        gone(call->gone_ctx);
    }
}

void call_gone(struct http_call *call)
{
    conn_cut(call->conn);
    call_wake(call);
    tell_gone(call);
}

void call_completed(void *cls, struct MHD_Connection *mhd, void **request,
                    enum MHD_RequestTerminationCode code)
{
    struct http_call *call = *request;
    if (!call)
        return;
    *request = NULL;
    struct http_conn *c = call->conn;
    bool sent = code == MHD_REQUEST_TERMINATED_COMPLETED_OK && !call->dead;
    if (call->streaming)
        stream_finish(call, sent);
    else if (!sent)
        tell_gone(call);
    c->call = NULL;
    call->conn = NULL;
    call->dead = true;
    conn_set_phase(c, CONN_HEADERS);
    if (!call->owned)
        call_free(call);
}

void call_answer(struct http_call *call, unsigned status, struct MHD_Response *response)
{
    call->owned = call->streaming; /* a stream's right ends with `done` */
    if (call->dead) {
        MHD_destroy_response(response);
        if (call->streaming)
            stream_finish(call, false);
        if (!call->conn)
            call_free(call);
        return;
    }
    call->answered = true;
    call->response = response;
    call->status = status;
    call->body_wanted = true;
    call_wake(call);
}

static enum MHD_Result queue_answer(struct http_call *call, struct MHD_Connection *mhd)
{
    if (call->listener->server->state != SERVER_RUNNING)
        MHD_add_response_header(call->response, "Connection", "close");
    call->queued = true;
    conn_set_phase(call->conn, CONN_WRITE);
    enum MHD_Result r = MHD_queue_response(mhd, call->status, call->response);
    MHD_destroy_response(steal_ptr(call->response));
    return r;
}

static void refuse_method(struct http_call *call, strvec *methods)
{
    cleanup_strbuf struct strbuf allow = {0};
    if (strvec_has(methods, "GET") && !strvec_has(methods, "HEAD"))
        strvec_add(methods, "HEAD");
    VEC_FOREACH (methods, it)
        strbuf_addf(&allow, "%s%s", allow.n ? ", " : "", *it);
    struct http_field headers[] = {
        {"Allow", allow.s}, {"Content-Type", "application/json"}, {NULL, NULL}};
    cleanup_free char *body =
        xasprintf("{\"error\":\"this path takes %s\",\"field\":\"method\"}", allow.s);
    http_respond(call, 405, headers, body, strlen(body));
}

/* Whether all percent escapes of a text can be decoded. */
static bool escapes_well(const char *text)
{
    cleanup_free char *decoded = http_decode(text, strlen(text), false);
    return decoded != NULL;
}

static bool method_serves(const char *route, const char *method)
{
    return strcmp(route, method) == 0 || (strcmp(route, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

/* Finds the route, or refuses. */
static void find_route(struct http_call *call)
{
    cleanup_strvec strvec methods = {0};
    const char *bad = !escapes_well(call->path)    ? "path"
                      : !escapes_well(call->query) ? "query"
                                                   : NULL;
    if (bad) {
        http_respond_error(call, 400, bad, "%s: a '%%' stands before two hexadecimal digits", bad);
        return;
    }
    for (size_t i = 0; i < call->listener->n_routes; i++) {
        const struct http_route *route = &call->listener->routes[i];
        if (!http_route_match(route->pattern, call->path, &call->params))
            continue;
        if (method_serves(route->method, call->method)) {
            call->route = route;
            return;
        }
        http_params_done(&call->params);
        if (!strvec_has(&methods, route->method))
            strvec_add(&methods, route->method);
    }
    if (methods.n)
        refuse_method(call, &methods);
    else
        http_respond_error(call, 404, "path", "there is nothing at %.200s", call->path);
}

static bool may_write(const struct http_call *call)
{
    const struct http_listener *l = call->listener;
    if (!(call->route->flags & HTTP_ROUTE_WRITE) || l->kind == HTTP_LISTENER_UNIX)
        return true;
    const char *token = http_call_bearer(call);
    return token && l->write_token && http_secret_equal(token, l->write_token);
}

static uint64_t body_limit(const struct http_route *route)
{
    if (route->body == HTTP_TAKES_NONE)
        return 0;
    return route->body == HTTP_TAKES_STREAMED && !route->max_body ? UINT64_MAX : route->max_body;
}

static bool query_is_known(struct http_call *call)
{
    const char *known = call->route->query;
    if (!call->listener->check_query || str_eq(known, HTTP_ANY_QUERY))
        return true;
    cleanup_free char *name = http_query_unknown(call->query, known);
    if (!name)
        return true;
    json_t *text = json_string(name); /* NULL: it is not UTF-8 */
    const char *field = text && *name ? name : "query";
    if (known)
        http_respond_error(call, 400, field, "%.100s: unknown parameter; this call takes %s", name,
                           known);
    else
        http_respond_error(call, 400, field, "%.100s: unknown parameter; this call takes none",
                           name);
    json_decref(text);
    return false;
}

/* Everything that can be known from the headers; refuses by setting the answer. */
static void check_headers(struct http_call *call)
{
    if (call->listener->check_host &&
        !http_host_allowed(http_call_header(call, "Host"),
                           (const char *const *)call->listener->hosts.items)) {
        http_respond_error(call, 403, "Host",
                           "Host: this address answers to localhost, 127.0.0.1, [::1] and what "
                           "listen.hosts of farm.yaml names");
        return;
    }
    find_route(call);
    if (!call->route)
        return;
    uint64_t limit = body_limit(call->route);
    if (!query_is_known(call))
        return;
    if (!may_write(call))
        http_respond_error(call, 403, "Authorization", "%s",
                           call->listener->write_token
                               ? "changes need 'Authorization: Bearer TOKEN' with the write token "
                                 "here; by the Unix socket they need nothing"
                               : "changes are made by the Unix socket; for changes here, "
                                 "listen.token-file of farm.yaml names a file with a token");
    else if (call->length > 0 && (uint64_t)call->length > limit)
        http_respond_error(call, 413, "body", "the body may have at most %llu bytes",
                           (unsigned long long)limit);
    else if (call->length < 0 && limit == 0)
        http_respond_error(call, 413, "body", "no body is taken here");
}

static bool expects_continue(const struct http_call *call)
{
    const char *expect = http_call_header(call, "Expect");
    return expect && strcasecmp(expect, "100-continue") == 0;
}

static enum MHD_Result call_first(struct http_call *call, struct MHD_Connection *mhd,
                                  const char *method)
{
    call->started = true;
    call->method = xstrdup(method);
    call->length = announced_length(mhd);
    conn_set_phase(call->conn, CONN_BODY);
    check_headers(call);
    if (!call->answered && call->route->body == HTTP_TAKES_STREAMED) {
        call->owned = true;
        call->route->handler(call, call->listener->data);
    } else if (!call->answered && call->route->body == HTTP_TAKES_BUFFERED && call->listener->admit)
        call->listener->admit(call, call->listener->data);
    bool drain = call->length >= 0 && call->length <= DRAIN_MAX && !expects_continue(call);
    return call->answered && !drain ? queue_answer(call, mhd) : MHD_YES;
}

/* A buffered body's piece; what exceeds the limit is not kept. */
static void buffer_data(struct http_call *call, const char *data, size_t n)
{
    if (call->answered)
        return;
    if (call->body_received > call->route->max_body) {
        drop_body(call);
        http_respond_error(call, 413, "body", "the body may have at most %llu bytes",
                           (unsigned long long)call->route->max_body);
        return;
    }
    if (n > call->listener->bodies_max - call->listener->bodies) {
        drop_body(call);
        http_respond_error(call, 503, NULL, "too much is being sent here at one time; try again");
        return;
    }
    strbuf_addn(&call->body, data, n);
    call->listener->bodies += n;
}

/* A streamed body's piece: what the handler does not take stays with libmicrohttpd. */
static size_t stream_data(struct http_call *call, const char *data, size_t n)
{
    if (call->answered || !call->body_ops.data)
        return n;
    call->body_wanted = false;
    size_t taken = call->body_ops.data(call, data, n, call->body_ctx);
    if (taken < n && !call->body_wanted && !call->answered) {
        call->body_paused = true;
        call_sleep(call);
    }
    return taken;
}

/* Whether a chunked body has gone so far beyond its route's limit that reading on is pointless. */
static bool body_is_endless(const struct http_call *call)
{
    uint64_t limit = call->route ? body_limit(call->route) : 0;
    if (call->length >= 0 || limit == UINT64_MAX)
        return false;
    uint64_t slack = call->route && call->route->body == HTTP_TAKES_STREAMED ? 0 : DRAIN_MAX;
    return call->body_received > limit + slack;
}

static enum MHD_Result call_data(struct http_call *call, const char *data, size_t *data_n)
{
    size_t taken = *data_n;
    bool streamed = call->route && call->route->body == HTTP_TAKES_STREAMED;
    call->conn->progress += *data_n;
    if (streamed)
        taken = stream_data(call, data, *data_n);
    call->body_received += taken;
    if (body_is_endless(call))
        return MHD_NO;
    if (!streamed)
        buffer_data(call, data, taken);
    *data_n -= taken;
    return MHD_YES;
}

static void body_ended(struct http_call *call)
{
    call->ended = true;
    if (call->answered)
        return;
    if (call->route->body == HTTP_TAKES_STREAMED) {
        if (call->body_ops.end)
            call->body_ops.end(call, call->body_ctx);
        return;
    }
    call->owned = true;
    call->route->handler(call, call->listener->data);
}

enum MHD_Result call_access(void *cls, struct MHD_Connection *mhd, const char *url,
                            const char *method, const char *version, const char *data,
                            size_t *data_n, void **request)
{
    struct http_listener *l = cls;
    struct http_call *call = *request;
    if (l->server->state == SERVER_DROPPING || call->dead)
        return MHD_NO;
    if (!call->started)
        return call_first(call, mhd, method);
    if (call->queued) { /* answered before its body: what still comes is thrown away */
        *data_n = 0;
        return MHD_YES;
    }
    if (*data_n)
        return call_data(call, data, data_n);
    if (!call->ended)
        body_ended(call);
    if (call->answered)
        return queue_answer(call, mhd);
    call_sleep(call);
    return MHD_YES;
}

void http_call_again(struct http_call *call)
{
    call->gone = NULL;
    call->route->handler(call, call->listener->data);
}

void http_call_body_start(struct http_call *call, const struct http_call_body_ops *ops, void *ctx)
{
    call->body_ops = *ops;
    call->body_ctx = ctx;
}

void http_call_body_resume(struct http_call *call)
{
    call->body_wanted = true;
    if (!call->body_paused)
        return;
    call->body_paused = false;
    call_wake(call);
}

void http_call_on_gone(struct http_call *call, void (*gone)(void *ctx), void *ctx)
{
    call->gone = gone;
    call->gone_ctx = ctx;
}
