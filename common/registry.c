/* The registry and the life of its operations. */
#include "common/registry_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <utlist.h>

#define ATTEMPTS     5
#define RETRY_MS     500
#define RETRY_MAX_MS 30000

/* ---- the registry ---- */

static bool is_loopback(const char *host)
{
    return str_starts(host, "127.") || str_starts(host, "[::1]") ||
           strcmp(host, "localhost") == 0 || str_starts(host, "localhost:");
}

static char *endpoint_of(const struct registry_options *o)
{
    if (o->endpoint)
        return xstrdup(o->endpoint);
    if (strcmp(o->host, "docker.io") == 0)
        return xstrdup("https://registry-1.docker.io");
    return xasprintf("%s://%s", o->plain_http || is_loopback(o->host) ? "http" : "https", o->host);
}

struct registry *registry_new(struct http_client *client, const struct registry_options *o)
{
    struct registry *r = xnew(struct registry);
    r->client = client;
    r->host = xstrdup(o->host);
    r->endpoint = endpoint_of(o);
    r->username = xstrdup(o->username);
    r->password = xstrdup(o->password ? o->password : "");
    r->pin = xstrdup(o->pin);
    r->ca_file = xstrdup(o->ca_file);
    r->attempts = o->attempts > 0 ? o->attempts : ATTEMPTS;
    r->retry_ms = o->retry_ms > 0 ? o->retry_ms : RETRY_MS;
    r->retry_max_ms = o->retry_max_ms > 0 ? o->retry_max_ms : RETRY_MAX_MS;
    r->stall_ms = o->stall_ms;
    r->refs = 1;
    return r;
}

void registry_ref(struct registry *r)
{
    r->refs++;
}

void registry_unref(struct registry *r)
{
    if (--r->refs > 0)
        return;
    auth_done(r);
    free(r->host);
    free(r->endpoint);
    free(r->username);
    free(r->password);
    free(r->pin);
    free(r->ca_file);
    free(r->realm);
    free(r->service);
    free(r);
}

void registry_free(struct registry *r)
{
    struct registry_op *op;
    if (!r)
        return;
    r->closed = true;
    DL_FOREACH(r->ops, op)
    registry_op_cancel(op);
    auth_cancel(r);
    registry_unref(r);
}

const char *registry_host(const struct registry *r)
{
    return r->host;
}

void registry_result_done(struct registry_result *result)
{
    free(result->media_type);
    strbuf_done(&result->body);
    strvec_done(&result->tags);
    *result = (struct registry_result){0};
}

/* ---- operations ---- */

struct registry_op *op_new(struct registry *r, const char *repository, char *what,
                           registry_done_fn done, void *arg)
{
    struct registry_op *op = xnew(struct registry_op);
    op->registry = r;
    op->repository = xstrdup(repository);
    op->what = what;
    op->done = done;
    op->arg = arg;
    uv_timer_init(http_client_loop(r->client), &op->timer);
    op->timer.data = op;
    registry_ref(r);
    DL_APPEND(r->ops, op);
    return op;
}

static void on_closed(uv_handle_t *handle)
{
    struct registry_op *op = handle->data;
    struct registry *r = op->registry;
    registry_result_done(&op->result);
    strvec_done(&op->headers);
    free(op->what);
    free(op->repository);
    free(op->method);
    free(op->url);
    free(op->from);
    free(op->sent_token);
    free(op->extra_scope);
    free(op);
    registry_unref(r);
}

static void tell(struct registry_op *op)
{
    const struct err *err = op->err.code ? &op->err : NULL;
    http_done_fn raw_done = op->raw.done;
    struct http_response none = {0};
    op->raw.done = NULL;
    if (raw_done)
        raw_done(op->raw.arg, &none, err);
    else if (op->waiter) {
        op->waiter->result = op->result;
        op->waiter->err = op->err;
        op->waiter->done = true;
        op->result = (struct registry_result){0};
    } else if (op->done)
        op->done(op->arg, &op->result, err);
}

static void on_end(uv_timer_t *timer)
{
    struct registry_op *op = timer->data;
    op->cancelled = true; /* too late from here on */
    tell(op);
    if (op->state_free)
        op->state_free(op);
    DL_DELETE(op->registry->ops, op);
    uv_close((uv_handle_t *)timer, on_closed);
}

static void end(struct registry_op *op)
{
    uv_timer_start(&op->timer, on_end, 0, 0);
}

void op_succeed(struct registry_op *op)
{
    end(op);
}

void op_fail_with(struct registry_op *op, int code, bool retryable, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    code = err_set_retryable(&op->err, code, retryable, "%s%s%s: %s: %s", op->registry->host,
                             op->repository ? "/" : "", op->repository ? op->repository : "",
                             op->what, text);
    end(op);
}

void op_fail(struct registry_op *op, const struct err *err)
{
    op_fail_with(op, err->code, err->retryable, "%s", err->text);
}

void op_later(struct registry_op *op, int64_t ms, uv_timer_cb then)
{
    uv_timer_start(&op->timer, then, (uint64_t)ms, 0);
}

void registry_op_cancel(struct registry_op *op)
{
    if (op->cancelled)
        return;
    op->cancelled = true;
    if (op->http) {
        http_request_cancel(op->http); /* its end is ours */
        return;
    }
    auth_forget(op);
    op_fail_with(op, -ECANCELED, false, "cancelled");
}

void registry_op_resume(struct registry_op *op)
{
    if (op->http)
        http_request_resume(op->http);
}

int registry_wait(struct registry_op *op, struct registry_result *ret_result, struct err *err)
{
    struct http_client *client = op->registry->client;
    cleanup_free struct registry_waiter *waiter = xnew(struct registry_waiter);
    op->waiter = waiter;
    while (!waiter->done) {
        if (http_client_is_shut(client))
            registry_op_cancel(op);
        uv_run(http_client_loop(client), UV_RUN_ONCE);
    }
    if (waiter->err.code) {
        struct registry_result failed = {.unknown = waiter->result.unknown,
                                         .retry_after_ms = waiter->result.retry_after_ms};
        registry_result_done(&waiter->result);
        waiter->result = failed;
    }
    if (ret_result)
        *ret_result = waiter->result;
    else
        registry_result_done(&waiter->result);
    if (waiter->err.code && err)
        *err = waiter->err;
    return waiter->err.code;
}
