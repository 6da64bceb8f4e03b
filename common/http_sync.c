#include "common/http_sync.h"

#include <errno.h>

struct http_sync {
    uv_loop_t loop;
    uv_async_t interrupt;
    struct http_client *client;
};

struct call {
    const struct http_options *options;
    struct http_response response;
    struct err err;
    bool done;
};

static void on_interrupt(uv_async_t *async)
{
    struct http_sync *s = async->data;
    http_client_shut(s->client);
}

struct http_sync *http_sync_new(void)
{
    struct http_sync *s = xnew(struct http_sync);
    if (uv_loop_init(&s->loop) < 0 || uv_async_init(&s->loop, &s->interrupt, on_interrupt) < 0)
        abort();
    s->interrupt.data = s;
    uv_unref((uv_handle_t *)&s->interrupt);
    s->client = http_client_new(&s->loop);
    return s;
}

void http_sync_free(struct http_sync *s)
{
    if (!s)
        return;
    http_client_free(s->client);
    uv_close((uv_handle_t *)&s->interrupt, NULL);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    uv_loop_close(&s->loop);
    free(s);
}

struct http_client *http_sync_client(struct http_sync *s)
{
    return s->client;
}

void http_sync_interrupt(struct http_sync *s)
{
    uv_async_send(&s->interrupt);
}

void http_sync_run(struct http_sync *s, const bool *done)
{
    while (!*done && uv_run(&s->loop, UV_RUN_ONCE))
        ;
}

static void on_response(void *arg, const struct http_response *response)
{
    struct call *call = arg;
    call->options->on_response(call->options->arg, response);
}

static int on_push(void *arg, const char *data, size_t n)
{
    struct call *call = arg;
    return call->options->sink.push(call->options->arg, data, n);
}

static ssize_t on_pull(void *arg, char *buf, size_t room)
{
    struct call *call = arg;
    return call->options->body.pull(call->options->arg, buf, room);
}

static void on_done(void *arg, struct http_response *response, const struct err *err)
{
    struct call *call = arg;
    if (err)
        call->err = *err;
    call->response = *response;
    *response = (struct http_response){0};
    call->done = true;
}

int http_sync_request(struct http_sync *s, const struct http_options *options,
                      struct http_response *ret_response, struct err *err)
{
    struct call call = {.options = options};
    struct http_options o = *options;
    o.arg = &call;
    o.done = on_done;
    o.on_response = options->on_response ? on_response : NULL;
    o.sink.push = options->sink.push ? on_push : NULL;
    o.body.pull = options->body.pull ? on_pull : NULL;
    http_request_start(s->client, &o);
    http_sync_run(s, &call.done);
    if (call.err.code) {
        http_response_done(&call.response);
        if (err)
            *err = call.err;
        return call.err.code;
    }
    *ret_response = call.response;
    return 0;
}
