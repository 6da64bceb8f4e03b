/* A relay's life and its answers. */
#include "common/log.h"
#include "daemon/gateway_int.h"

#include <errno.h>
#include <stdarg.h>
#include <utlist.h>

static void relay_gone(void *ctx)
{
    struct relay *r = ctx;
    r->call = NULL;
    if (r->op)
        registry_op_cancel(r->op);
    relay_settle(r);
}

struct relay *relay_new(struct gateway *g, struct http_call *call, struct gateway_target *target)
{
    struct relay *r = xnew(struct relay);
    r->gateway = g;
    r->call = call;
    r->target = *target;
    *target = (struct gateway_target){.kind = GATEWAY_ROOT};
    DL_APPEND(g->relays, r);
    http_call_on_gone(call, relay_gone, r);
    return r;
}

static void relay_free(struct relay *r)
{
    struct gateway *g = r->gateway;
    DL_DELETE(g->relays, r);
    gateway_target_done(&r->target);
    strvec_done(&r->pins);
    strbuf_done(&r->body);
    free(r->pipe.data);
    free(r->lease);
    free(r->host);
    free(r->path);
    free(r->session);
    free(r);
    gateway_settle(g);
}

struct registry *relay_registry(const struct relay *r)
{
    return r->gateway->hooks.registry(r->gateway->hooks.data, r->host);
}

void relay_settle(struct relay *r)
{
    if (r->call || r->op)
        return;
    base_forget(r);
    relay_free(r);
}

void relay_answer(struct relay *r, unsigned status, const struct http_field *headers)
{
    if (r->call)
        http_respond(steal_ptr(r->call), status, headers, "", 0);
    relay_settle(r);
}

/* {"errors":[{"code","message","detail":null}]}; owned. */
static char *error_body(const char *code, const char *message)
{
    json_t *text = json_string(message);
    json_t *json = json_pack("{s:[{s:s,s:o,s:n}]}", "errors", "code", code, "message",
                             text ? text : json_string(""), "detail");
    char *body = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    return body;
}

void relay_deny(struct relay *r, unsigned status, const char *code, const char *fmt, ...)
{
    char message[ERR_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    static const char challenge[] = "Basic realm=\"sheaf\"";
    struct http_field headers[] = {{"Content-Type", "application/json"},
                                   {"Docker-Distribution-Api-Version", "registry/2.0"},
                                   {"WWW-Authenticate", status == 401 ? challenge : NULL},
                                   {NULL, NULL}};
    if (status == 403 && r->call)
        log_info("gateway: lease %s: %s %s: %s", r->lease, http_call_method(r->call),
                 http_call_path(r->call), message);
    char *body = error_body(code, message);
    if (r->call)
        http_respond_take(steal_ptr(r->call), status, headers, body, strlen(body));
    else
        free(body);
    relay_settle(r);
}

/* Statuses that say something about what the board asked for, and not about us. */
static bool is_the_boards(int status)
{
    static const int statuses[] = {400, 404, 405, 406, 409, 411, 412, 413, 415, 416, 422, 429};
    for (size_t i = 0; i < sizeof(statuses) / sizeof(*statuses); i++)
        if (statuses[i] == status)
            return true;
    return false;
}

void relay_refuse(struct relay *r, const struct http_response *response, const struct err *err)
{
    const char *host = r->host ? r->host : "?";
    if (!r->call)
        relay_settle(r);
    else if (err && err->code == -ECANCELED)
        relay_deny(r, 503, "UNAVAILABLE", "the coordinator is stopping");
    else if (err && err->code == -ENOENT)
        relay_deny(r, 404, "MANIFEST_UNKNOWN", "%s", err->text);
    else if (err)
        relay_deny(r, err->code == -ETIMEDOUT ? 504 : 502, "UNAVAILABLE", "%s: %s", host,
                   err->text);
    else if (!is_the_boards(response->status))
        relay_deny(r,
                   response->status >= 500 && response->status <= 599 ? (unsigned)response->status
                                                                      : 502,
                   "UNAVAILABLE", "%s answers %d", host, response->status);
    else {
        struct http_field headers[] = {
            {"Content-Type", http_response_header(response, "Content-Type")},
            {"Retry-After", http_response_header(response, "Retry-After")},
            {"Range", http_response_header(response, "Range")},
            {"Content-Range", http_response_header(response, "Content-Range")},
            {"Docker-Distribution-Api-Version", "registry/2.0"},
            {NULL, NULL}};
        http_respond(steal_ptr(r->call), (unsigned)response->status, headers,
                     strbuf_str(&response->body), response->body.n);
        relay_settle(r);
    }
}

static ssize_t nothing_to_pull(struct http_call *call, char *buf, size_t n, void *ctx)
{
    return HTTP_STREAM_END;
}

static void nothing_is_done(bool complete, void *ctx)
{
}

void relay_answer_head(struct relay *r, const struct http_field *headers, int64_t length)
{
    static const struct http_stream_ops ops = {nothing_to_pull, nothing_is_done};
    if (r->call)
        http_respond_stream(steal_ptr(r->call), 200, headers, length, &ops, NULL);
    relay_settle(r);
}
