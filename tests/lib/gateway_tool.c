/* The gateway alone, for tests: an HTTP server with nothing else behind it.
 *
 * usage: gateway-tool FILE, which is JSON: {"registries": [{"host","username","password"}],
 * "leases": [{"lease","secret","repository","bases":[{"repository","digest"}]}]}. Prints its port, makes
 * its registries anew on SIGHUP, as a reload may, and ends well on SIGTERM. */
#include "common/json.h"
#include "common/mem.h"
#include "daemon/gateway.h"

#include <errno.h>
#include <signal.h>

struct tool {
    uv_loop_t loop;
    struct http_client *client;
    struct http_server *server;
    struct gateway *gateway;
    uv_signal_t term, hup;
    json_t *config;
    struct registry *registries[8];
    struct gateway_base bases[16];
};

static const char *text(const json_t *o, const char *name)
{
    return json_string_value(json_object_get(o, name));
}

static int lookup(void *data, const char *lease, const char *secret, struct gateway_rights *ret)
{
    struct tool *t = data;
    size_t i, j;
    json_t *it, *base;
    json_array_foreach (json_object_get(t->config, "leases"), i, it) {
        if ((lease && !str_eq(text(it, "lease"), lease)) || !str_eq(text(it, "secret"), secret))
            continue;
        json_array_foreach (json_object_get(it, "bases"), j, base)
            t->bases[j] = (struct gateway_base){text(base, "repository"), text(base, "digest")};
        *ret = (struct gateway_rights){.lease = text(it, "lease"),
                                       .repository = text(it, "repository"),
                                       .bases = t->bases,
                                       .n_bases = json_array_size(json_object_get(it, "bases"))};
        return 0;
    }
    return -ENOENT;
}

static struct registry *find_registry(void *data, const char *host)
{
    struct tool *t = data;
    for (size_t i = 0; t->registries[i]; i++)
        if (str_eq(registry_host(t->registries[i]), host))
            return t->registries[i];
    return NULL;
}

static void on_v2(struct http_call *call, void *data)
{
    struct tool *t = data;
    gateway_handle(t->gateway, call);
}

static const struct http_route routes[] = {GATEWAY_ROUTES(on_v2)};

static void stopped(void *ctx)
{
    struct tool *t = ctx;
    gateway_free(t->gateway);
    for (size_t i = 0; t->registries[i]; i++)
        registry_free(t->registries[i]);
    http_client_free(t->client);
    uv_close((uv_handle_t *)&t->term, NULL);
    uv_close((uv_handle_t *)&t->hup, NULL);
}

static void on_term(uv_signal_t *signal, int number)
{
    struct tool *t = signal->data;
    uv_signal_stop(signal);
    http_server_stop(t->server, 1000, stopped, t);
}

static void make_registries(struct tool *t)
{
    size_t i;
    json_t *it;
    json_array_foreach (json_object_get(t->config, "registries"), i, it) {
        struct registry_options options = {.host = text(it, "host"),
                                           .username = text(it, "username"),
                                           .password = text(it, "password"),
                                           .attempts = 2,
                                           .retry_ms = 50};
        t->registries[i] = registry_new(t->client, &options);
    }
}

static void on_hup(uv_signal_t *signal, int number)
{
    struct tool *t = signal->data;
    for (size_t i = 0; t->registries[i]; i++)
        registry_free(t->registries[i]);
    make_registries(t);
    printf("reloaded\n");
    fflush(stdout);
}

static int start(struct tool *t, const char *file, struct err *err)
{
    int r = json_parse_file(file, 1 << 20, &t->config, err);
    if (r < 0)
        return r;
    uv_loop_init(&t->loop);
    uv_signal_init(&t->loop, &t->term);
    t->term.data = t;
    uv_signal_start(&t->term, on_term, SIGTERM);
    uv_signal_init(&t->loop, &t->hup);
    t->hup.data = t;
    uv_signal_start(&t->hup, on_hup, SIGHUP);
    t->client = http_client_new(&t->loop);
    make_registries(t);
    t->gateway = gateway_new(&(struct gateway_hooks){lookup, find_registry, t});
    r = http_server_new(&t->loop, &t->server, err);
    if (r < 0)
        return r;
    struct http_listener_options options = {.name = "agents",
                                            .address = "127.0.0.1:0",
                                            .routes = routes,
                                            .n_routes = sizeof(routes) / sizeof(*routes),
                                            .data = t};
    struct http_listener *listener;
    r = http_server_listen(t->server, &options, &listener, err);
    if (r == 0)
        printf("%u\n", http_listener_port(listener));
    return r;
}

int main(int argc, char **argv)
{
    struct tool *t = xnew(struct tool);
    struct err err = ERR_INIT;
    if (argc != 2 || start(t, argv[1], &err) < 0) {
        fprintf(stderr, "gateway-tool: %s\n", argc == 2 ? err.text : "one argument");
        return 1;
    }
    fflush(stdout);
    uv_run(&t->loop, UV_RUN_DEFAULT);
    http_server_free(t->server);
    json_decref(t->config);
    int r = uv_loop_close(&t->loop);
    free(t);
    return r < 0;
}
