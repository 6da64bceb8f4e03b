/* GET /v1/jobs/{key}/log: one attempt's log, what there is of it or as it grows. */
#include "daemon/api_status.h"
#include "daemon/logs.h"
#include "daemon/stream.h"

#include <errno.h>
#include <inttypes.h>

/* What was asked for. */
struct log_request {
    struct coordinator *c;
    struct http_call *call; /* NULL: the client has gone */
    char *key;
    int64_t attempt, offset;
    bool follow;
};

static void free_request(struct log_request *r)
{
    free(r->key);
    free(r);
}

static void request_gone(void *ctx)
{
    struct log_request *r = ctx;
    r->call = NULL;
}

static void send_log(struct log_request *r)
{
    cleanup_free char *lease = xasprintf("L%" PRId64, r->attempt);
    int fd = -1;
    int64_t size = 0;
    struct err err = ERR_INIT;
    bool live = model_live_attempt(coordinator_model(r->c), r->key) == r->attempt;
    int opened = logs_open(coordinator_logs(r->c), lease, live, &fd, &size, &err);
    if (opened < 0 &&
        opened != -ENOENT) { /* an attempt that has written nothing has an empty log */
        http_respond_error(r->call, 500, NULL, "%s", err.text);
        return;
    }
    if (r->follow && live) {
        stream_log(api_status_stream(coordinator_api(r->c)), r->call, r->key, r->attempt, fd,
                   r->offset);
        return;
    }
    char id[32];
    snprintf(id, sizeof(id), "%" PRId64, r->attempt);
    const struct http_field fields[] = {
        {"Content-Type", "text/plain; charset=utf-8"}, {"Sheaf-Attempt", id}, {0}};
    int64_t offset = r->offset < size ? r->offset : size;
    if (fd < 0)
        http_respond(r->call, 200, fields, "", 0);
    else if (r->offset)
        http_respond_fd(r->call, 200, fields, fd, (uint64_t)offset, (uint64_t)(size - offset));
    else
        http_respond_file(r->call, fields, fd, (uint64_t)size);
}

/* An attempt of another job is none of this one's. */
static void got_attempts(void *data, json_t *rows, const struct err *err)
{
    struct log_request *r = data;
    bool found = false;
    json_t *attempt;
    size_t i;
    json_array_foreach (rows, i, attempt)
        found |= json_integer_value(json_object_get(attempt, "id")) == r->attempt;
    json_decref(rows);
    if (r->call) {
        http_call_on_gone(r->call, NULL, NULL);
        if (err)
            http_respond_error(r->call, 500, NULL, "%s", err->text);
        else if (found)
            send_log(r);
        else
            http_respond_error(r->call, 404, "attempt",
                               "attempt: the job has none with the id %" PRId64
                               "; its 'attempts' lists them",
                               r->attempt);
    }
    free_request(r);
}

static bool query_follow(struct http_call *call, bool *ret)
{
    const char *text = http_call_query(call, "follow");
    *ret = text && str_eq(text, "1");
    if (!text || *ret || str_eq(text, "0"))
        return true;
    http_respond_error(call, 400, "follow", "follow: write 0 or 1");
    return false;
}

void api_get_log(struct http_call *call, void *data)
{
    struct coordinator *c = data;
    const char *key = http_call_param(call, "key");
    if (coordinator_wait(c, call))
        return;
    int64_t last = model_last_attempt(coordinator_look(c), key), attempt, offset;
    bool follow;
    if (last < 0) {
        api_not_found(call, "job", key);
        return;
    }
    if (!api_query_number(call, "attempt", 1, INT64_MAX, last, &attempt) ||
        !api_query_number(call, "offset", 0, INT64_MAX, 0, &offset) || !query_follow(call, &follow))
        return;
    if (!attempt) {
        http_respond_error(call, 404, "attempt",
                           "the job has no log yet: no board has begun it; ask again later");
        return;
    }
    struct log_request *r = xnew(struct log_request);
    *r = (struct log_request){.c = c,
                              .call = call,
                              .key = xstrdup(key),
                              .attempt = attempt,
                              .offset = offset,
                              .follow = follow};
    if (attempt == last) {
        send_log(r);
        free_request(r);
        return;
    }
    http_call_on_gone(call, request_gone, r);
    store_history_attempts(api_status_history(coordinator_api(c)), key, got_attempts, r);
}
