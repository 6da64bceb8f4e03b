/* One git worker process.
 *
 * The happy path: started, asked, answers, asked again, killed when the pool closes.
 * What goes wrong: it does not answer in time (killed), it dies or closes its output (the request that it has
 * fails, it is reaped), it says too much (killed). In every case `line` with NULL comes at most once, and
 * `gone` exactly once, when the process is reaped and all its handles are closed. */
#include "daemon/git_pool_int.h"

#include <signal.h>

struct git_process {
    uv_process_t process;
    uv_pipe_t in, out;
    uv_timer_t deadline;
    struct strbuf text; /* of an answer that is not whole yet */
    struct git_process_events events;
    void *userdata;
    unsigned open; /* handles that are not closed */
    bool ended;    /* no more lines are given out */
    bool timed_out;
    bool running; /* not reaped yet */
};

struct line_write {
    uv_write_t write;
    char *line;
};

/* ---- the end ---- */

static void handle_closed(uv_handle_t *handle)
{
    struct git_process *process = handle->data;
    if (--process->open > 0)
        return;
    process->events.gone(process);
    strbuf_done(&process->text);
    free(process);
}

static void close_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, handle_closed);
}

static void exited(uv_process_t *handle, int64_t status, int sig)
{
    struct git_process *process = handle->data;
    process->running = false;
    close_handle((uv_handle_t *)&process->process);
    close_handle((uv_handle_t *)&process->in);
    close_handle((uv_handle_t *)&process->out);
    close_handle((uv_handle_t *)&process->deadline);
    if (!process->ended) {
        process->ended = true;
        process->events.line(process, NULL, 0);
    }
}

void git_process_kill(struct git_process *process)
{
    process->ended = true;
    uv_timer_stop(&process->deadline);
    if (process->running)
        (void)uv_process_kill(&process->process, SIGKILL);
}

/* Kills it and tells that no answer will come. */
static void give_up(struct git_process *process)
{
    if (process->ended)
        return;
    git_process_kill(process);
    process->events.line(process, NULL, 0);
}

static void late(uv_timer_t *timer)
{
    struct git_process *process = timer->data;
    process->timed_out = true;
    give_up(process);
}

/* ---- talking ---- */

static void written(uv_write_t *write, int status)
{
    struct line_write *line = (struct line_write *)write;
    free(line->line);
    free(line);
}

void git_process_ask(struct git_process *process, char *line, size_t n, int64_t timeout_ms)
{
    struct line_write *write = xnew(struct line_write);
    write->line = line;
    uv_buf_t buf = uv_buf_init(line, (unsigned)n);
    uv_timer_start(&process->deadline, late, (uint64_t)timeout_ms, 0);
    if (uv_write(&write->write, (uv_stream_t *)&process->in, &buf, 1, written) == 0)
        return;
    free(line); /* it is dying: its exit tells */
    free(write);
}

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct git_process *process = handle->data;
    struct strbuf *text = &process->text;
    if (text->cap - text->n < 4096) {
        size_t cap = text->cap ? text->cap * 2 : 16384;
        text->s = xrealloc(text->s, cap, 1);
        text->cap = cap;
    }
    *buf = uv_buf_init(text->s + text->n, (unsigned)(text->cap - text->n - 1));
}

static void take_lines(struct git_process *process, size_t fresh)
{
    struct strbuf *text = &process->text;
    const char *end = memchr(text->s + text->n - fresh, '\n', fresh);
    if (!end) {
        if (text->n > GIT_ANSWER_MAX)
            give_up(process);
        return;
    }
    uv_timer_stop(&process->deadline);
    struct strbuf line = *text;
    *text = (struct strbuf){0};
    size_t n = (size_t)(end - line.s);
    if (n + 1 != line.n)
        give_up(process); /* more than one answer to one question */
    else
        process->events.line(process, line.s, n);
    /* the room is kept for the next answer, unless this one was unusually long */
    line.n = 0;
    if (line.cap <= 1 << 20 && !text->s)
        *text = line;
    else
        strbuf_done(&line);
}

static void got(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct git_process *process = stream->data;
    if (n < 0) {
        uv_read_stop(stream);
        give_up(process);
    } else if (n > 0 && !process->ended) {
        process->text.n += (size_t)n;
        take_lines(process, (size_t)n);
    }
}

/* ---- the start ---- */

/* The worker's environment: enough to find servers, nothing of what sheafd was told. */
static char **make_environment(strvec *env)
{
    static const char *const names[] = {
        "PATH",        "LANG",     "TZ",       "http_proxy",   "HTTP_PROXY",    "https_proxy",
        "HTTPS_PROXY", "no_proxy", "NO_PROXY", "ASAN_OPTIONS", "UBSAN_OPTIONS", "SHEAF_TEST_MARK"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        const char *value = getenv(names[i]);
        if (value)
            vec_push(env, xasprintf("%s=%s", names[i], value));
    }
    vec_push(env, xstrdup("MALLOC_ARENA_MAX=1"));
    vec_push(env, NULL);
    return env->items;
}

static void init_handles(struct git_process *process, uv_loop_t *loop)
{
    uv_pipe_init(loop, &process->in, 0);
    uv_pipe_init(loop, &process->out, 0);
    uv_timer_init(loop, &process->deadline);
    process->in.data = process->out.data = process->deadline.data = process->process.data = process;
    process->open = 4;
}

static int spawn(struct git_process *process, uv_loop_t *loop, char **argv)
{
    cleanup_strvec strvec env = {0};
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&process->in},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&process->out},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
    };
    uv_process_options_t options = {.file = argv[0],
                                    .args = argv,
                                    .env = make_environment(&env),
                                    .exit_cb = exited,
                                    .stdio = stdio,
                                    .stdio_count = 3};
    return uv_spawn(loop, &process->process, &options);
}

int git_process_start(uv_loop_t *loop, char **argv, const struct git_process_events *events,
                      void *userdata, struct git_process **ret, struct err *err)
{
    struct git_process *process = xnew(struct git_process);
    init_handles(process, loop);
    process->events = *events;
    process->userdata = userdata;
    int r = spawn(process, loop, argv);
    if (r < 0) {
        process->ended = true;
        uv_close((uv_handle_t *)&process->process, handle_closed);
        close_handle((uv_handle_t *)&process->in);
        close_handle((uv_handle_t *)&process->out);
        close_handle((uv_handle_t *)&process->deadline);
        return err_set_retryable(err, r, true, "cannot start %s: %s", argv[0], uv_strerror(r));
    }
    process->running = true;
    uv_read_start((uv_stream_t *)&process->out, give_room, got);
    *ret = process;
    return 0;
}

bool git_process_timed_out(const struct git_process *process)
{
    return process->timed_out;
}

void *git_process_userdata(const struct git_process *process)
{
    return process->userdata;
}
