#include "agent/agent.h"
#include "common/notify.h"

#include <malloc.h>
#include <signal.h>
#include <sys/stat.h>

static const int watched[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
enum { N_WATCHED = sizeof(watched) / sizeof(*watched) };

static struct {
    struct agent *agent;
    uv_signal_t signals[N_WATCHED];
} program;

static void on_signal(uv_signal_t *handle, int sig)
{
    if (sig == SIGUSR1 || sig == SIGUSR2)
        agent_set_draining(program.agent, sig == SIGUSR1);
    else if (sig == SIGTERM || sig == SIGINT)
        agent_stop(program.agent);
    /* SIGHUP: there is nothing to reload, and a terminal that closes ends nothing */
}

static void watch_signals(uv_loop_t *loop)
{
    for (int i = 0; i < N_WATCHED; i++) {
        uv_signal_init(loop, &program.signals[i]);
        uv_signal_start(&program.signals[i], on_signal, watched[i]);
        uv_unref((uv_handle_t *)&program.signals[i]); /* the loop runs out when the agent is done */
    }
}

static void unwatch_signals(uv_loop_t *loop)
{
    for (int i = 0; i < N_WATCHED; i++)
        uv_close((uv_handle_t *)&program.signals[i], NULL);
    uv_run(loop, UV_RUN_DEFAULT);
}

static int run(const struct settings *settings, struct err *err)
{
    uv_loop_t loop;
    int r = uv_loop_init(&loop);
    if (r < 0)
        return err_errno(err, r, "cannot make a loop");
    r = agent_start(&loop, settings, &program.agent, err);
    if (r == 0) {
        watch_signals(&loop);
        uv_run(&loop, UV_RUN_DEFAULT);
        unwatch_signals(&loop);
        agent_free(program.agent);
    }
    uv_loop_close(&loop);
    return r;
}

int main(int argc, char **argv)
{
    struct settings settings;
    struct err err = ERR_INIT;
    mallopt(M_ARENA_MAX, 1); /* one thread does all the work */
    umask(022);              /* recipes inherit it; what is ours is made private by name */
    signal(SIGPIPE, SIG_IGN);
    notify_init();
    int r = settings_load(argc, argv, &settings, &err);
    if (r > 0)
        return 0;
    if (r == 0) {
        r = run(&settings, &err);
        settings_done(&settings);
    }
    if (r < 0) {
        log_error("%s", err.text);
        return 1;
    }
    return 0;
}
