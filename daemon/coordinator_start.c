/* Wiring: what is opened at a start, changed by a reload, closed at a stop. */
#include "daemon/coordinator_internal.h"

#include "common/clock.h"
#include "common/log.h"
#include "daemon/api_agent.h"
#include "daemon/api_status.h"
#include "daemon/config.h"
#include "daemon/gateway.h"
#include "daemon/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <uthash.h>

#define STOP_GRACE_MS 3000

/* ---- farm.yaml ---- */

static int write_file(const char *path, const char *text, struct err *err)
{
    cleanup_free char *temporary = xasprintf("%s.new", path);
    cleanup_close int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || fsync(fd) < 0 ||
        rename(temporary, path) < 0)
        return err_errno(err, -errno, "keeping a copy of farm.yaml in %s", path);
    return 0;
}

static int read_file(const char *path, char **ret, struct err *err)
{
    cleanup_fclose FILE *f = fopen(path, "re");
    if (!f)
        return err_errno(err, -errno, "%s", path);
    struct strbuf text = {0};
    char piece[8192];
    for (size_t n; (n = fread(piece, 1, sizeof(piece), f)) > 0;)
        strbuf_addn(&text, piece, n);
    *ret = strbuf_steal(&text);
    return 0;
}

/* Reads farm.yaml; *ret_copy is what keep_farm takes. */
static int load_farm(struct coordinator *c, struct farm **ret, char **ret_copy, struct err *err)
{
    cleanup_strvec strvec errors = {0};
    int r = config_read(c->config, ret, ret_copy, &errors);
    VEC_FOREACH (&errors, line)
        log_error("%s", *line);
    if (r < 0)
        return err_set(err, r, "%s", errors.n ? errors.items[0] : "farm.yaml cannot be read");
    return 0;
}

/* Keeps a copy of what the farm runs on, so that a start with a bad file runs on the last good one. For want of room it
 * goes without: the farm is to run. */
static void keep_farm(struct coordinator *c, const char *copy)
{
    cleanup_free char *kept = xasprintf("%s/farm.yaml.accepted", c->state), *before = NULL;
    struct err err = ERR_INIT;
    if (!copy || (read_file(kept, &before, &err) == 0 && str_eq(before, copy)))
        return;
    if (write_file(kept, copy, &err) < 0)
        log_warning("%s", err.text);
}

static int load_last_accepted(struct coordinator *c, struct farm **ret)
{
    cleanup_free char *kept = xasprintf("%s/farm.yaml.accepted", c->state), *text = NULL;
    struct err err = ERR_INIT;
    if (read_file(kept, &text, &err) < 0 || config_load_copy(text, ret, &err) < 0)
        return -ENOENT;
    log_warning("running on the last accepted farm.yaml, since %s is bad", c->config);
    return 0;
}

/* The state folder is named by the file that we may not be able to read: an option names it too. */
static int first_farm(struct coordinator *c, char **ret_copy, struct err *err)
{
    struct farm *farm = NULL;
    if (!c->options.state) {
        if (config_load(c->config, &farm, err) < 0)
            return err->code;
        str_replace(&c->state, farm->state);
        farm_free(farm);
    }
    if (mkdir(c->state, 0750) < 0 && errno != EEXIST)
        return err_errno(err, -errno, "state folder %s", c->state);
    char *absolute = realpath(c->state, NULL);
    if (!absolute)
        return err_errno(err, -errno, "state folder %s", c->state);
    free(c->state);
    c->state = absolute;
    if (load_farm(c, &c->farm, ret_copy, err) < 0 && load_last_accepted(c, &c->farm) < 0)
        return err->code;
    return 0;
}

void coordinator_reload(struct coordinator *c)
{
    struct farm *farm = NULL;
    cleanup_free char *copy = NULL;
    struct err err = ERR_INIT;
    c->reload = c->stalled && !c->stopping;
    if (c->reload)
        log_info("reload: waits until there is room");
    if (c->reload || c->stopping)
        return;
    if (load_farm(c, &farm, &copy, &err) < 0 ||
        registries_configure(c->registries, farm, &err) < 0) {
        log_error("reload: nothing is changed: %s", err.text);
        farm_free(farm);
        return;
    }
    keep_farm(c, copy);
    struct farm *old = c->farm;
    c->farm = farm;
    model_on_config(coordinator_turn(c), farm);
    farm_free(c->gathering.farm);
    c->gathering.farm = farm_hold(farm);
    upstream_configure(c->upstream);
    publisher_set_limit(c->publisher, farm->registry_timeout_ms);
    farm_free(old);
    log_info("reloaded %s", c->config);
}

/* ---- the model ---- */

static void fill_random(void *data, void *bytes, size_t n)
{
    (void)data;
    if (getrandom(bytes, n, 0) != (ssize_t)n)
        abort();
}

static int start_model(struct coordinator *c, struct err *err)
{
    cleanup_free char *path = xasprintf("%s/sheaf.db", c->state);
    struct model_hooks hooks = {.fill_random = fill_random};
    c->model = model_new(c->farm, &hooks);
    if (store_open(path, &c->store, err) < 0 ||
        store_load(c->store, model_load_row, c->model, err) < 0)
        return err->code;
    return store_start(c->store, c->loop, coordinator_on_stall, c, err);
}

/* ---- the boards' registry ---- */

/* What gateway_lookup last said; the gateway borrows it. */
static void rights_done(struct coordinator *c)
{
    wire_job_done(&c->rights_job);
    c->rights_job = (struct wire_job){0};
    vec_free(&c->rights_bases);
}

static int gateway_lookup(void *data, const char *lease, const char *secret,
                          struct gateway_rights *ret)
{
    struct coordinator *c = data;
    struct lease_rights rights;
    if (!lease || model_lease_rights(c->model, lease, secret, &rights) < 0 || !rights.current)
        return -ENOENT;
    rights_done(c);
    if (wire_job_decode(rights.spec, strlen(rights.spec), &c->rights_job, NULL) < 0)
        return -ENOENT;
    VEC_FOREACH (&c->rights_job.bases, base)
        vec_push(&c->rights_bases, (struct gateway_base){base->repository, base->digest});
    *ret = (struct gateway_rights){.lease = lease,
                                   .repository = c->rights_job.repository,
                                   .bases = c->rights_bases.items,
                                   .n_bases = c->rights_bases.n};
    return 0;
}

static struct registry *gateway_registry(void *data, const char *host)
{
    struct coordinator *c = data;
    return registries_get(c->registries, host);
}

static void handle_gateway(struct http_call *call, void *data)
{
    struct coordinator *c = data;
    gateway_handle(c->gateway, call);
}

/* ---- listeners ---- */

static char *address_of(const char *option, const struct farm_address *address)
{
    if (option)
        return xstrdup(option);
    return xasprintf(strchr(address->host, ':') ? "[%s]:%u" : "%s:%u", address->host,
                     address->port);
}

#define TOKEN_MIN 16

/* The token for changes by TCP, NULL where farm.yaml names no file; the caller owns *ret. */
static int read_token(const struct farm *farm, char **ret, struct err *err)
{
    const char *path = farm->listen_token_file;
    char token[512] = "";
    if (!path)
        return 0;
    cleanup_fclose FILE *f = fopen(path, "re");
    struct stat st;
    if (!f || fstat(fileno(f), &st) < 0)
        return err_errno(err, -errno, "listen.token-file: %s", path);
    if (st.st_mode & 077)
        return err_set(err, -EPERM, "listen.token-file: others can read %s; chmod 600 it", path);
    if (!fgets(token, sizeof(token), f))
        token[0] = '\0';
    token[strcspn(token, "\r\n")] = '\0';
    if (strlen(token) < TOKEN_MIN)
        return err_set(err, -EINVAL,
                       "listen.token-file: the first line of %s is no token of %d or more letters",
                       path, TOKEN_MIN);
    *ret = xstrdup(token);
    return 0;
}

static int listen_all(struct coordinator *c, struct err *err)
{
    static const struct http_route gateway[] = {GATEWAY_ROUTES(handle_gateway)};
    size_t n_agent, n_gateway = sizeof(gateway) / sizeof(*gateway), n_status;
    const struct http_route *agent = api_agent_routes(&n_agent);
    const struct http_route *status = api_status_routes(&n_status);
    cleanup_free char *agents_at = address_of(c->options.listen_agents, &c->farm->listen_agents);
    cleanup_free char *status_at = address_of(c->options.listen_status, &c->farm->listen_status);
    cleanup_free char *token = NULL;
    cleanup_strvec strvec hosts = {0};
    int r = read_token(c->farm, &token, err);
    if (r < 0)
        return r;
    VEC_FOREACH (&c->farm->listen_hosts, host)
        strvec_add(&hosts, *host);
    vec_push(&hosts, NULL);
    c->agent_routes = xcalloc(n_agent + n_gateway, sizeof(*agent));
    memcpy(c->agent_routes, agent, n_agent * sizeof(*agent));
    memcpy(c->agent_routes + n_agent, gateway, n_gateway * sizeof(*gateway));
    struct http_listener_options agents = {.name = "agents",
                                           .address = agents_at,
                                           .routes = c->agent_routes,
                                           .n_routes = n_agent + n_gateway,
                                           .data = c,
                                           .admit = api_agent_admit,
                                           .max_connections = 20000};
    struct http_listener_options by_tcp = {.name = "status",
                                           .address = status_at,
                                           .routes = status,
                                           .n_routes = n_status,
                                           .data = c,
                                           .check_host = true,
                                           .check_query = true,
                                           .hosts = (const char *const *)hosts.items,
                                           .write_token = token};
    struct http_listener_options by_socket = {
        .name = "socket",
        .unix_path = c->options.socket ? c->options.socket : c->farm->listen_socket,
        .routes = status,
        .n_routes = n_status,
        .data = c,
        .check_query = true};
    r = http_server_listen(c->server, &agents, &c->agents_listener, err);
    if (r == 0)
        r = http_server_listen(c->server, &by_tcp, &c->status_listener, err);
    if (r == 0)
        r = http_server_listen(c->server, &by_socket, NULL, err);
    if (r < 0)
        return r;
    log_info("boards at %s, status at http://%s/", agents_at, status_at);
    return 0;
}

/* ---- start ---- */

static void start_handles(struct coordinator *c)
{
    uv_check_init(c->loop, &c->check);
    uv_idle_init(c->loop, &c->idle);
    uv_timer_init(c->loop, &c->timer);
    c->check.data = c->idle.data = c->timer.data = c;
    uv_check_start(&c->check, coordinator_on_check);
}

static int start_parts(struct coordinator *c, struct err *err)
{
    cleanup_free char *logs = xasprintf("%s/logs", c->state);
    int r = http_server_new(c->loop, &c->server, err);
    if (r < 0 || (r = logs_new(c->loop, logs, c->farm->log_limit, &c->logs, err)) < 0)
        return r;
    c->client = http_client_new(c->loop);
    c->registries = registries_new(c->client);
    if ((r = registries_configure(c->registries, c->farm, err)) < 0)
        return r;
    c->publisher = publisher_new(c->loop, c->registries, coordinator_on_published, c);
    publisher_set_limit(c->publisher, c->farm->registry_timeout_ms);
    c->resolver = resolver_new(c->registries, coordinator_on_resolved, c);
    c->auditor = auditor_new(c->loop, c->registries, coordinator_on_audited, c);
    struct gateway_hooks hooks = {gateway_lookup, gateway_registry, c};
    c->gateway = gateway_new(&hooks);
    if ((r = upstream_new(c, &c->upstream, err)) < 0)
        return r;
    c->status = api_status_new(c);
    return listen_all(c, err);
}

static void copy_options(struct coordinator *c, const struct coordinator_options *o)
{
    c->options = (struct coordinator_options){
        .config = c->config,
        .state = o->state,
        .listen_agents = o->listen_agents,
        .listen_status = o->listen_status,
        .socket = o->socket,
    };
}

int coordinator_start(uv_loop_t *loop, const struct coordinator_options *options,
                      struct coordinator **ret, struct err *err)
{
    struct coordinator *c = xnew(struct coordinator);
    cleanup_free char *copy = NULL;
    c->loop = loop;
    c->config = xstrdup(options->config);
    c->state = xstrdup(options->state);
    c->started_at = clock_wall_ms();
    copy_options(c, options);
    start_handles(c);
    int r = first_farm(c, &copy, err);
    if (r == 0)
        r = start_model(c, err);
    if (r == 0)
        r = start_parts(c, err);
    if (r < 0) {
        coordinator_stop(c, 1);
        uv_run(loop, UV_RUN_DEFAULT);
        coordinator_free(c);
        return r;
    }
    keep_farm(c, copy); /* not before the store's lock: it may be another coordinator's folder */
    c->committed_farm = farm_hold(c->farm);
    model_start(coordinator_turn(c));
    upstream_configure(c->upstream);
    *ret = c;
    return 0;
}

/* ---- stop ---- */

static void on_server_stopped(void *ctx)
{
    struct coordinator *c = ctx;
    http_server_free(c->server);
    c->server = NULL;
    api_status_free(c->status);
    gateway_free(c->gateway);
    publisher_free(c->publisher);
    resolver_free(c->resolver);
    auditor_free(c->auditor);
    upstream_free(c->upstream);
    registries_free(c->registries);
    logs_free(c->logs);
    http_client_free(c->client);
    committed_free(c->committed);
    c->committed = NULL;
    store_close(c->store);
    c->store = NULL;
    uv_close((uv_handle_t *)&c->check, NULL);
    uv_close((uv_handle_t *)&c->idle, NULL);
    uv_close((uv_handle_t *)&c->timer, NULL);
}

void coordinator_stop(struct coordinator *c, int status)
{
    if (c->stopping)
        return;
    c->stopping = true;
    c->exit_status = status;
    uv_timer_stop(&c->timer);
    coordinator_end_polls(c);
    coordinator_end_readers(c);
    if (c->status)
        stream_end(api_status_stream(c->status));
    if (c->server)
        http_server_stop(c->server, STOP_GRACE_MS, on_server_stopped, c);
    else
        on_server_stopped(c);
}

int coordinator_free(struct coordinator *c)
{
    int status = c->exit_status;
    turn_done(&c->gathering.turn);
    turn_done(&c->committing.turn);
    model_free(c->model);
    farm_free(c->gathering.farm);
    farm_free(c->committing.farm);
    farm_free(c->committed_farm);
    farm_free(c->farm);
    rights_done(c);
    free(c->agent_routes);
    free(c->config);
    free(c->state);
    free(c);
    return status;
}
