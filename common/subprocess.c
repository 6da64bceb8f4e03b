#include "common/subprocess.h"

#include "common/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>

/* How long output is read on after the child is gone: something it left behind may hold the pipe. */
#define LINGER_MS 1000

extern char **environ;

struct subprocess {
    uv_process_t process;
    uv_pipe_t pipe;
    uv_timer_t linger;
    struct subprocess_options options;
    int open; /* handles that are not closed yet */
    int status, sig;
    bool spawned, exited, drained;
};

/* One buffer for all: libuv reads and calls back in one go. */
static char read_buffer[64 * 1024];

static void on_closed(uv_handle_t *handle)
{
    struct subprocess *sub = handle->data;
    if (--sub->open > 0)
        return;
    sub->options.on_exit(sub->options.arg, sub->status, sub->sig);
    free(sub);
}

static void close_all(struct subprocess *sub)
{
    if (sub->spawned)
        uv_close((uv_handle_t *)&sub->process, on_closed);
    uv_close((uv_handle_t *)&sub->pipe, on_closed);
    uv_close((uv_handle_t *)&sub->linger, on_closed);
}

static void settle(struct subprocess *sub)
{
    if (sub->exited && sub->drained)
        close_all(sub);
}

static void on_linger(uv_timer_t *timer)
{
    struct subprocess *sub = timer->data;
    uv_read_stop((uv_stream_t *)&sub->pipe);
    sub->drained = true;
    settle(sub);
}

static void on_process_exit(uv_process_t *process, int64_t status, int sig)
{
    struct subprocess *sub = process->data;
    sub->exited = true;
    sub->status = (int)status;
    sub->sig = sig;
    if (!sub->drained)
        uv_timer_start(&sub->linger, on_linger, LINGER_MS, 0);
    settle(sub);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    *buf = uv_buf_init(read_buffer, sizeof(read_buffer));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct subprocess *sub = stream->data;
    if (n > 0)
        sub->options.on_output(sub->options.arg, buf->base, (size_t)n);
    if (n >= 0)
        return;
    uv_read_stop(stream);
    uv_timer_stop(&sub->linger);
    sub->drained = true;
    settle(sub);
}

/* Our environment with `added` over it; the caller frees the array only. */
static char **join_environment(const char *const *added)
{
    VEC(char *) all = {0};
    for (char **e = environ; *e; e++) {
        bool hidden = false;
        for (const char *const *a = added; a && *a; a++)
            hidden |= strncmp(*e, *a, strcspn(*a, "=") + 1) == 0;
        if (!hidden)
            vec_push(&all, *e);
    }
    for (const char *const *a = added; a && *a; a++)
        vec_push(&all, (char *)*a);
    vec_push(&all, NULL);
    return all.items;
}

static void init_handles(uv_loop_t *loop, struct subprocess *sub)
{
    uv_pipe_init(loop, &sub->pipe, 0);
    uv_timer_init(loop, &sub->linger);
    sub->process.data = sub->pipe.data = sub->linger.data = sub;
    sub->open = 2;
}

/* A process handle that did not start is closed like the others, but tells nobody. */
static void ignore_exit(void *arg, int status, int sig)
{
}

/* A pipe, not libuv's socket pair: a recipe may open /dev/stdout, which a socket refuses. The reading
 * end becomes the handle's; the writing end is the caller's to close once the child has it. */
static int open_output(struct subprocess *sub, int *ret_child_end, struct err *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_errno(err, -errno, "cannot make a pipe");
    int r = uv_pipe_open(&sub->pipe, ends[0]);
    if (r < 0) {
        close(ends[0]);
        close(ends[1]);
        return err_errno(err, r, "cannot watch a pipe");
    }
    *ret_child_end = ends[1];
    return 0;
}

static int spawn(uv_loop_t *loop, struct subprocess *sub, int output, struct err *err)
{
    const struct subprocess_options *options = &sub->options;
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = output},
        {.flags = UV_INHERIT_FD, .data.fd = options->merge ? output : STDERR_FILENO},
    };
    cleanup_free char **env = join_environment(options->env);
    uv_process_options_t how = {
        .exit_cb = on_process_exit,
        .file = options->args[0],
        .args = (char **)options->args,
        .env = env,
        .cwd = options->cwd,
        .flags = UV_PROCESS_DETACHED,
        .stdio_count = 3,
        .stdio = stdio,
    };
    sub->spawned = true; /* the handle needs closing from here on, even if it fails */
    sub->open++;
    int r = uv_spawn(loop, &sub->process, &how);
    return r < 0 ? err_errno(err, r, "cannot start %s", options->args[0]) : 0;
}

int subprocess_start(uv_loop_t *loop, const struct subprocess_options *options,
                     struct subprocess **ret, struct err *err)
{
    struct subprocess *sub = xnew(struct subprocess);
    cleanup_close int output = -1;
    sub->options = *options;
    init_handles(loop, sub);
    int r = open_output(sub, &output, err);
    if (r == 0)
        r = spawn(loop, sub, output, err);
    if (r < 0) {
        sub->options.on_exit = ignore_exit;
        close_all(sub);
        return r;
    }
    uv_read_start((uv_stream_t *)&sub->pipe, on_alloc, on_read);
    sub->options.args = NULL; /* the caller's; not needed any more */
    sub->options.env = NULL;
    *ret = sub;
    return 0;
}

void subprocess_kill(struct subprocess *sub, int sig)
{
    if (sub->exited)
        return;
    uv_process_kill(&sub->process, sig);
    if (sig == SIGKILL)
        kill(-sub->process.pid, SIGKILL); /* it leads its group */
}

pid_t subprocess_pid(const struct subprocess *sub)
{
    return sub->process.pid;
}
