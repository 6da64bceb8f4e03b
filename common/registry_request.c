/* One call: send, renew what a 401 turned away, repeat what may go better, translate what went wrong. */
#include "common/registry_internal.h"

#include "common/json.h"

#include <ctype.h>
#include <errno.h>
#include <sys/random.h>
#include <time.h>

static void send_call(struct registry_op *op);

/* ---- trying again ---- */

bool retry_makes_sense(const struct http_response *response, const struct err *err)
{
    if (err)
        return err->retryable;
    switch (response->status) {
    case 408:
    case 429:
    case 500:
    case 502:
    case 503:
    case 504:
        return true;
    default:
        return false;
    }
}

/* Retry-After in milliseconds, from seconds or a date; -1 if there is none. */
static int64_t retry_after_ms(const struct http_response *response)
{
    const char *value = response ? http_response_header(response, "Retry-After") : NULL;
    struct tm tm = {0};
    char *end;
    if (!value)
        return -1;
    long seconds = strtol(value, &end, 10);
    if (end > value)
        return seconds < 0 ? 0 : seconds > 86400 ? 86400000 : seconds * 1000;
    if (!strptime(value, "%a, %d %b %Y %H:%M:%S GMT", &tm))
        return -1;
    int64_t left = (int64_t)timegm(&tm) - (int64_t)time(NULL);
    return left < 0 ? 0 : left * 1000;
}

static int64_t jitter(int64_t ms)
{
    uint32_t r = 0;
    if (getrandom(&r, sizeof(r), GRND_NONBLOCK) < 0)
        r = 0;
    return ms - (int64_t)(r % (uint64_t)(ms / 2 + 1));
}

int64_t retry_delay(const struct registry *r, int failures, const struct http_response *response)
{
    int64_t asked = retry_after_ms(response), ms = r->retry_ms;
    if (failures >= r->attempts || asked > r->retry_max_ms)
        return -1;
    for (int i = 1; i < failures && ms < r->retry_max_ms; i++)
        ms *= 2;
    ms = jitter(ms < r->retry_max_ms ? ms : r->retry_max_ms);
    return asked > ms ? asked : ms;
}

static void on_again(uv_timer_t *timer)
{
    send_call(timer->data);
}

/* Whether the call will be sent again, later. */
static bool try_later(struct registry_op *op, const struct http_response *response,
                      const struct err *err)
{
    if (op->call.once || !retry_makes_sense(response, err))
        return false;
    int64_t ms = retry_delay(op->registry, ++op->attempt, response);
    if (ms >= 0)
        op_later(op, ms, on_again);
    return ms >= 0;
}

/* ---- sending ---- */

/* A body that was pulled is gone, and so is a part of an answer that a sink took. */
static bool can_resend(const struct registry_op *op, const struct http_response *response)
{
    bool taken = http_response_ok(response) && response->received > 0;
    return op->call.body.kind != HTTP_BODY_PULL &&
           !(taken && op->call.sink.kind != HTTP_SINK_MEMORY);
}

static void on_response(void *arg, const struct http_response *response)
{
    struct registry_op *op = arg;
    if (op->on_response && !op->cancelled)
        op->on_response(op, response);
}

static void on_done(void *arg, struct http_response *response, const struct err *err)
{
    struct registry_op *op = arg;
    struct registry *r = op->registry;
    op->http = NULL;
    if (op->cancelled) {
        op_fail_with(op, -ECANCELED, false, "cancelled");
        return;
    }
    bool again = can_resend(op, response);
    if (!err && response->status == 401 && auth_challenged(op, response) && again) {
        send_call(op);
        return;
    }
    if (!err && r->scheme == SCHEME_UNKNOWN && (response->status < 400 || response->status == 404))
        r->scheme = SCHEME_NONE;
    if (again && try_later(op, response, err))
        return;
    op->after(op, response, err);
}

static void start_request(struct registry_op *op, const char *authorization)
{
    struct registry *r = op->registry;
    bool reads = strcmp(op->method, "GET") == 0 || strcmp(op->method, "HEAD") == 0;
    bool own = registry_is_own(r, op->url);
    bool document =
        op->call.sink.kind == HTTP_SINK_MEMORY && !op->raw.done &&
        (op->call.body.kind == HTTP_BODY_NONE || op->call.body.kind == HTTP_BODY_MEMORY);
    struct http_options o = {
        .method = op->method,
        .url = op->url,
        .headers = (const char *const *)op->headers.items,
        .authorization = authorization,
        .body = op->call.body,
        .sink = op->call.sink,
        .on_response = on_response,
        .done = on_done,
        .arg = op,
        .stall_ms = op->raw.stall_ms ? op->raw.stall_ms : r->stall_ms,
        .connect_ms = op->raw.connect_ms,
        .total_ms = document ? DOCUMENT_MS : op->raw.total_ms,
        .once = op->call.alone,
        .redirects = reads ? REDIRECTS_MAX : 0,
        .pin = own ? r->pin : NULL,
        .ca_file = r->ca_file,
    };
    op->http = http_request_start(r->client, &o);
}

/* GET /v2/, for nothing but its challenge. */
static void on_learned(void *arg, struct http_response *response, const struct err *err)
{
    struct registry_op *op = arg;
    op->http = NULL;
    if (op->cancelled) {
        op_fail_with(op, -ECANCELED, false, "cancelled");
    } else if (err) {
        op->after(op, response, err);
    } else {
        op->registry->scheme = SCHEME_NONE;
        if (response->status == 401)
            (void)auth_challenged(op, response);
        send_call(op);
    }
}

static void learn_scheme(struct registry_op *op)
{
    struct registry *r = op->registry;
    cleanup_free char *url = xasprintf("%s/v2/", r->endpoint);
    op->http = http_request_start(r->client, &(struct http_options){.url = url,
                                                                    .done = on_learned,
                                                                    .arg = op,
                                                                    .stall_ms = r->stall_ms,
                                                                    .pin = r->pin,
                                                                    .ca_file = r->ca_file});
}

static void send_call(struct registry_op *op)
{
    cleanup_free char *authorization = NULL;
    if (op->call.body.kind == HTTP_BODY_PULL && op->registry->scheme == SCHEME_UNKNOWN)
        learn_scheme(op);
    else if (auth_header(op, &authorization) == 0)
        start_request(op, authorization);
}

void op_call(struct registry_op *op, const struct registry_call *call, registry_next_fn after)
{
    if (op->cancelled) {
        op_fail_with(op, -ECANCELED, false, "cancelled");
        return;
    }
    op->call = *call;
    str_replace(&op->method, call->method);
    str_replace(&op->from, call->from);
    free(op->url);
    op->url = *call->path == '/' ? xasprintf("%s%s", op->registry->endpoint, call->path)
                                 : xstrdup(call->path);
    strvec_done(&op->headers);
    for (size_t i = 0; call->headers && call->headers[i]; i++)
        strvec_add(&op->headers, call->headers[i]);
    vec_push(&op->headers, NULL);
    op->after = after;
    op->attempt = op->renewals = 0;
    send_call(op);
}

void op_token_ready(struct registry_op *op, const struct http_response *response,
                    const struct err *err)
{
    if (!err && http_response_ok(response)) {
        op->waited_token = true;
        send_call(op);
    } else if (!try_later(op, response, err)) {
        cleanup_free char *what = xasprintf("%s: token from %s", op->what, op->registry->realm);
        free(op->what);
        op->what = steal_ptr(what);
        op_fail_answer(op, response, err);
    }
}

/* ---- what went wrong ---- */

/* The first of the errors that a registry puts into its answer. */
static void first_error(const struct http_response *response, json_t **ret_json, const char **code,
                        const char **message)
{
    const struct strbuf *body = &response->body;
    json_t *list = NULL;
    if (json_parse(strbuf_str(body), body->n, 64 * 1024, ret_json, NULL) < 0 ||
        json_opt_array(*ret_json, "errors", &list, NULL) < 0)
        return;
    const json_t *e = json_array_get(list, 0);
    if (!json_is_object(e))
        return;
    if (json_opt_string(e, "code", code, NULL) < 0 ||
        json_opt_string(e, "message", message, NULL) < 0)
        return;
}

static int errno_of(int status, const char *code)
{
    static const struct {
        const char *code;
        int value;
    } codes[] = {
        {"MANIFEST_BLOB_UNKNOWN", -ENODATA},
        {"BLOB_UNKNOWN_TO_REGISTRY", -ENODATA},
        {"DIGEST_INVALID", -EBADMSG},
        {"SIZE_INVALID", -EBADMSG},
        {"DENIED", -EACCES},
        {"UNAUTHORIZED", -EACCES},
        {"TOOMANYREQUESTS", -EAGAIN},
    };
    for (size_t i = 0; code && i < sizeof(codes) / sizeof(*codes); i++) {
        if (strcmp(code, codes[i].code) == 0)
            return codes[i].value;
    }
    switch (status) {
    case 401:
    case 403:
        return -EACCES;
    case 404:
        return -ENOENT;
    case 408:
    case 504: /* by a proxy, behind which it may go on */
        return -ETIMEDOUT;
    case 502:
        return -ECONNRESET;
    case 413:
        return -EFBIG;
    case 416:
        return -ERANGE;
    case 429:
        return -EAGAIN;
    default:
        return status >= 500 ? -EREMOTEIO : -EPROTO;
    }
}

void op_fail_answer(struct registry_op *op, const struct http_response *response,
                    const struct err *err)
{
    cleanup_json json_t *json = NULL;
    const char *code = NULL, *message = NULL;
    if (err) {
        op_fail(op, err);
        return;
    }
    first_error(response, &json, &code, &message);
    const char *wait = http_response_header(response, "Retry-After");
    int64_t wait_ms = retry_after_ms(response);
    op->result.retry_after_ms = wait_ms > 0 ? wait_ms : 0;
    op_fail_with(op, errno_of(response->status, code), retry_makes_sense(response, NULL),
                 "%s: %d%s%.64s%s%.300s%s%.40s%s", op->method, response->status, code ? " " : "",
                 code ? code : "", message ? ": " : "", message ? message : "",
                 wait ? ", retry after " : "", wait ? wait : "",
                 wait && isdigit((unsigned char)*wait) ? " s" : "");
}

/* ---- registry_raw ---- */

static void raw_on_response(struct registry_op *op, const struct http_response *response)
{
    /* This 401 is not the caller's business yet. */
    if (response->status == 401 && op->renewals < RENEWALS_MAX &&
        op->call.body.kind != HTTP_BODY_PULL)
        return;
    op->raw_answered = true;
    if (op->raw.on_response)
        op->raw.on_response(op->raw.arg, response);
}

static int raw_push(void *arg, const char *data, size_t n)
{
    struct registry_op *op = arg;
    return op->raw.sink.push(op->raw.arg, data, n);
}

static ssize_t raw_pull(void *arg, char *buf, size_t room)
{
    struct registry_op *op = arg;
    return op->raw.body.pull(op->raw.arg, buf, room);
}

static void raw_after(struct registry_op *op, struct http_response *response, const struct err *err)
{
    http_done_fn done = op->raw.done;
    if (!err && !op->raw_answered && op->raw.on_response)
        op->raw.on_response(op->raw.arg, response);
    op->raw.done = NULL;
    op->cancelled = true; /* a cancel from inside `done` comes too late */
    done(op->raw.arg, response, err);
    op_succeed(op);
}

static void raw_free(struct registry_op *op)
{
    free(op->state);
}

struct registry_op *registry_raw(struct registry *r, const struct registry_raw *raw)
{
    const char *method = raw->http.method ? raw->http.method : "GET";
    struct registry_op *op = op_new(r, raw->repository, xstrdup(method), NULL, NULL);
    op->raw = raw->http;
    op->on_response = raw_on_response;
    struct registry_call call = {
        .method = method,
        .path = raw->http.url,
        .headers = raw->http.headers,
        .body = raw->http.body,
        .sink = raw->http.sink,
        .actions = raw->push ? ACTION_PULL | ACTION_PUSH : ACTION_PULL,
        .from = raw->from,
        .once = true,
        .alone = raw->http.once,
    };
    if (call.body.kind == HTTP_BODY_MEMORY) {
        call.body.data = op->state = xmemdup(call.body.data, (size_t)call.body.length);
        op->state_free = raw_free;
    }
    call.sink.push = raw->http.sink.push ? raw_push : NULL;
    call.body.pull = raw->http.body.pull ? raw_pull : NULL;
    op_call(op, &call, raw_after);
    return op;
}
