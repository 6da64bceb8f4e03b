/* sheafd: arguments, signals, what systemd is told, the exit status. */
#include "common/log.h"
#include "common/notify.h"
#include "daemon/config.h"
#include "daemon/coordinator.h"
#include "sheaf-config.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>

static const char usage[] =
    "usage: sheafd [--config FILE] [--state DIR] [--listen-agents HOST:PORT]\n"
    "              [--listen-status HOST:PORT] [--socket PATH] [--log-level LEVEL]\n"
    "       sheafd --check-config FILE\n"
    "\n"
    "Sheaf's coordinator. Options stand above what farm.yaml says.\n"
    "\n"
    "  --config FILE       the farm's configuration (/etc/sheaf/farm.yaml)\n"
    "  --check-config FILE reads FILE, tells what is wrong with it, and exits\n"
    "  --state DIR         store, mirrors, contexts, logs\n"
    "  --listen-agents     where boards connect\n"
    "  --listen-status     where the status page and its JSON are served\n"
    "  --socket PATH       the Unix socket that sheafctl speaks to\n"
    "  --log-level LEVEL   error, warning, info or debug\n";

struct arguments {
    struct coordinator_options options;
    const char *check;
    int exit; /* -1: go on */
};

static void parse(int argc, char **argv, struct arguments *a)
{
    static const struct option longs[] = {{"config", required_argument, NULL, 'c'},
                                          {"check-config", required_argument, NULL, 'k'},
                                          {"state", required_argument, NULL, 's'},
                                          {"listen-agents", required_argument, NULL, 'a'},
                                          {"socket", required_argument, NULL, 'u'},
                                          {"listen-status", required_argument, NULL, 'p'},
                                          {"log-level", required_argument, NULL, 'l'},
                                          {"help", no_argument, NULL, 'h'},
                                          {"version", no_argument, NULL, 'V'},
                                          {0}};
    for (int c; (c = getopt_long(argc, argv, "hV", longs, NULL)) != -1;) {
        if (c == 'c')
            a->options.config = optarg;
        else if (c == 'k')
            a->check = optarg;
        else if (c == 's')
            a->options.state = optarg;
        else if (c == 'a')
            a->options.listen_agents = optarg;
        else if (c == 'p')
            a->options.listen_status = optarg;
        else if (c == 'u')
            a->options.socket = optarg;
        else if (c == 'l' && log_set_level_name(optarg) == 0)
            continue;
        else if (c == 'h' || c == 'V') {
            fputs(c == 'h' ? usage : "sheafd " SHEAF_VERSION "\n", stdout);
            a->exit = 0;
            return;
        } else {
            fputs(usage, stderr);
            a->exit = 2;
            return;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "sheafd: '%s' is not an option\n%s", argv[optind], usage);
        a->exit = 2;
    }
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct coordinator *c = handle->data;
    if (number == SIGHUP) {
        notify_reloading();
        coordinator_reload(c);
        notify_ready();
        return;
    }
    log_info("stopping");
    notify_stopping();
    coordinator_stop(c, 0);
}

static void on_watchdog(uv_timer_t *timer)
{
    (void)timer;
    notify_watchdog();
}

#define N_WATCHED 3
static const int watched[N_WATCHED] = {SIGTERM, SIGINT, SIGHUP};

static void ignore_signals(void)
{
    for (int i = 0; i < N_WATCHED; i++)
        signal(watched[i], SIG_IGN);
}

static void watch_signals(uv_loop_t *loop, uv_signal_t *handles, struct coordinator *c)
{
    for (int i = 0; i < N_WATCHED; i++) {
        uv_signal_init(loop, &handles[i]);
        handles[i].data = c;
        uv_signal_start(&handles[i], on_signal, watched[i]);
        uv_unref((uv_handle_t *)&handles[i]);
    }
}

static void start_watchdog(uv_loop_t *loop, uv_timer_t *timer)
{
    int64_t period = notify_watchdog_ms();
    uv_timer_init(loop, timer);
    if (period)
        uv_timer_start(timer, on_watchdog, (uint64_t)period, (uint64_t)period);
    uv_unref((uv_handle_t *)timer);
}

static int run(const struct coordinator_options *options)
{
    uv_loop_t *loop = uv_default_loop();
    struct coordinator *c = NULL;
    struct err err = ERR_INIT;
    uv_signal_t signals[N_WATCHED];
    uv_timer_t watchdog;
    if (coordinator_start(loop, options, &c, &err) < 0) {
        log_error("%s", err.text);
        return 1;
    }
    watch_signals(loop, signals, c);
    start_watchdog(loop, &watchdog);
    notify_ready();
    uv_run(loop, UV_RUN_DEFAULT);
    ignore_signals(); /* libuv would look for the handles, which end with this function */
    return coordinator_free(c);
}

int main(int argc, char **argv)
{
    struct arguments a = {.options.config = "/etc/sheaf/farm.yaml", .exit = -1};
    signal(SIGPIPE, SIG_IGN);
    notify_init();
    parse(argc, argv, &a);
    if (a.exit >= 0)
        return a.exit;
    if (a.check)
        return config_check_main(a.check);
    return run(&a.options);
}
