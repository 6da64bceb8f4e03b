#include "tests/lib/http_app.h"

#include "common/mem.h"

#include <assert.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/mman.h>

struct http_app {
    pthread_t thread;
    sem_t ready;
    uv_loop_t loop;
    uv_async_t command;
    uv_timer_t timer;
    volatile bool stop, wake;
    unsigned grace;
    struct http_server *server;
    struct http_listener *tcp;
    struct http_listener_options options;
    const char *unix_path;
    struct http_app_counters counters;
    VEC(struct waiter *) waiters;
    VEC(struct job *) jobs; /* streams and bodies that the timer moves on */
};

struct waiter {
    struct http_app *app;
    struct http_call *call;
};

struct job {
    struct http_app *app;
    struct http_call *call;
    bool body, paused;
    unsigned left;
    uint64_t received;
};

static void forget(struct job *job)
{
    struct http_app *app = job->app;
    for (size_t i = app->jobs.n; i-- > 0;)
        if (app->jobs.items[i] == job)
            vec_remove(&app->jobs, i);
    free(job);
}

static void on_plain(struct http_call *call, void *data)
{
    static const struct http_field headers[] = {{"Content-Type", "text/plain"}, {NULL, NULL}};
    http_respond_static(call, 200, headers, "hello", 5);
}

static void on_item(struct http_call *call, void *data)
{
    const char *q = http_call_query(call, "q");
    http_respond_json(call, 200,
                      json_pack("{s:s,s:s?,s:i}", "id", http_call_param(call, "id"), "q", q, "uid",
                                (int)http_call_peer_uid(call)));
}

static void on_echo(struct http_call *call, void *data)
{
    size_t n;
    const char *body = http_call_body(call, &n);
    http_respond(call, 200, NULL, body, n);
}

static void waiter_gone(void *ctx)
{
    struct waiter *w = ctx;
    struct http_app *app = w->app;
    for (size_t i = app->waiters.n; i-- > 0;)
        if (app->waiters.items[i] == w)
            vec_remove(&app->waiters, i);
    free(w);
    app->counters.gone++;
    app->counters.waiting = (unsigned)app->waiters.n;
}

static void on_wait(struct http_call *call, void *data)
{
    struct http_app *app = data;
    struct waiter *w = xnew(struct waiter);
    w->app = app;
    w->call = call;
    http_call_on_gone(call, waiter_gone, w);
    vec_push(&app->waiters, w);
    app->counters.waiting = (unsigned)app->waiters.n;
}

static void job_gone(void *ctx)
{
    struct job *job = ctx;
    job->app->counters.gone++;
    forget(job);
}

/* Takes half of each piece and pauses, every other time. */
static size_t sink_data(struct http_call *call, const char *data, size_t n, void *ctx)
{
    struct job *job = ctx;
    size_t take = job->paused ? n : (n + 1) / 2;
    job->paused = !job->paused && take < n;
    job->received += take;
    job->app->counters.sunk += take;
    return take;
}

static void sink_end(struct http_call *call, void *ctx)
{
    struct job *job = ctx;
    http_respond_json(call, 201, json_pack("{s:I}", "received", (json_int_t)job->received));
    forget(job);
}

static struct job *job_new(struct http_call *call, struct http_app *app)
{
    struct job *job = xnew(struct job);
    job->app = app;
    job->call = call;
    vec_push(&app->jobs, job);
    return job;
}

static void on_sink(struct http_call *call, void *data)
{
    static const struct http_call_body_ops ops = {sink_data, sink_end};
    if (http_call_query(call, "refuse")) {
        http_respond_error(call, 403, "refuse", "as you wish");
        return;
    }
    struct job *job = job_new(call, data);
    job->body = true;
    http_call_on_gone(call, job_gone, job);
    http_call_body_start(call, &ops, job);
}

static ssize_t stream_pull(struct http_call *call, char *buf, size_t n, void *ctx)
{
    struct job *job = ctx;
    if (!job->paused) { /* every piece comes with a turn of the timer */
        job->paused = true;
        return 0;
    }
    job->paused = false;
    if (job->left-- == 0)
        return HTTP_STREAM_END;
    return snprintf(buf, n, "data: %u\n\n", job->left);
}

static void stream_done(bool complete, void *ctx)
{
    struct job *job = ctx;
    job->app->counters.streams_done++;
    if (!complete)
        job->app->counters.streams_cut++;
    forget(job);
}

static void on_stream(struct http_call *call, void *data)
{
    static const struct http_stream_ops ops = {stream_pull, stream_done};
    static const struct http_field headers[] = {{"Content-Type", "text/event-stream"},
                                                {NULL, NULL}};
    struct job *job = job_new(call, data);
    const char *n = http_call_query(call, "n");
    job->left = n ? (unsigned)atoi(n) : 1000000;
    http_respond_stream(call, 200, headers, -1, &ops, job);
}

static void on_file(struct http_call *call, void *data)
{
    int fd = memfd_create("file", MFD_CLOEXEC);
    assert(write(fd, "0123456789", 10) == 10);
    http_respond_file(call, NULL, fd, 10);
}

static const struct http_route routes[] = {
    {"GET", "/plain", on_plain, HTTP_TAKES_NONE, 0, 0},
    {"GET", "/items/{id}", on_item, HTTP_TAKES_NONE, 0, 0},
    {"POST", "/echo", on_echo, HTTP_TAKES_BUFFERED, 100000, 0},
    {"PATCH", "/echo", on_echo, HTTP_TAKES_BUFFERED, 1000, 0},
    {"GET", "/wait", on_wait, HTTP_TAKES_NONE, 0, 0},
    {"POST", "/sink", on_sink, HTTP_TAKES_STREAMED, 0, 0},
    {"PATCH", "/sink", on_sink, HTTP_TAKES_STREAMED, 0, 0},
    {"GET", "/stream", on_stream, HTTP_TAKES_NONE, 0, 0},
    {"GET", "/file", on_file, HTTP_TAKES_NONE, 0, 0},
    {"POST", "/write", on_echo, HTTP_TAKES_BUFFERED, 1000, HTTP_ROUTE_WRITE},
};

static void on_timer(uv_timer_t *timer)
{
    struct http_app *app = timer->data;
    for (size_t i = 0; i < app->jobs.n; i++) {
        if (app->jobs.items[i]->body)
            http_call_body_resume(app->jobs.items[i]->call);
        else
            http_stream_resume(app->jobs.items[i]->call);
    }
}

static void stopped(void *ctx)
{
    struct http_app *app = ctx;
    uv_close((uv_handle_t *)&app->command, NULL);
    uv_close((uv_handle_t *)&app->timer, NULL);
}

static void on_command(uv_async_t *async)
{
    struct http_app *app = async->data;
    if (app->wake) {
        app->wake = false;
        while (app->waiters.n) {
            struct waiter *w = app->waiters.items[--app->waiters.n];
            http_respond(w->call, 200, NULL, "woken", 5);
            free(w);
        }
        app->counters.waiting = 0;
    }
    if (app->stop)
        http_server_stop(app->server, app->grace, stopped, app);
}

static int listen_on_both(struct http_app *app, struct err *err)
{
    int r = http_server_new(&app->loop, &app->server, err);
    if (r == 0)
        r = http_server_listen(app->server, &app->options, &app->tcp, err);
    struct http_listener_options unix_options = app->options;
    unix_options.address = NULL;
    unix_options.unix_path = app->unix_path;
    if (r == 0 && app->unix_path)
        r = http_server_listen(app->server, &unix_options, NULL, err);
    return r;
}

static void *run(void *arg)
{
    struct http_app *app = arg;
    struct err err = ERR_INIT;
    uv_loop_init(&app->loop);
    uv_async_init(&app->loop, &app->command, on_command);
    uv_timer_init(&app->loop, &app->timer);
    app->command.data = app->timer.data = app;
    uv_timer_start(&app->timer, on_timer, 2, 2);
    if (listen_on_both(app, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    sem_post(&app->ready);
    uv_run(&app->loop, UV_RUN_DEFAULT);
    assert(uv_loop_close(&app->loop) == 0);
    return NULL;
}

struct http_app *http_app_start(const struct http_listener_options *options, const char *unix_path)
{
    struct http_app *app = xnew(struct http_app);
    app->options = *options;
    app->options.address = "127.0.0.1:0";
    app->options.routes = routes;
    app->options.n_routes = sizeof(routes) / sizeof(*routes);
    app->options.data = app;
    app->unix_path = unix_path;
    sem_init(&app->ready, 0, 0);
    pthread_create(&app->thread, NULL, run, app);
    sem_wait(&app->ready);
    return app;
}

unsigned http_app_port(const struct http_app *app)
{
    return http_listener_port(app->tcp);
}

struct http_app_counters *http_app_counters(struct http_app *app)
{
    return &app->counters;
}

void http_app_wake(struct http_app *app)
{
    app->wake = true;
    uv_async_send(&app->command);
}

void http_app_stop(struct http_app *app, unsigned grace_ms)
{
    app->grace = grace_ms;
    app->stop = true;
    uv_async_send(&app->command);
    pthread_join(app->thread, NULL);
    http_server_free(app->server);
    vec_free(&app->waiters);
    vec_free(&app->jobs);
    sem_destroy(&app->ready);
    free(app);
}
