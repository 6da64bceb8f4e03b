/* The keys at the top of farm.yaml, and of its boards, registries and sources. */
#include "common/oci.h"
#include "daemon/config_int.h"

#include <ctype.h>

#define MINUTE (60 * 1000LL)
#define DAY    (24 * 60 * MINUTE)
#define MIB    (1024 * 1024LL)

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

bool config_valid_absolute(const char *text)
{
    return *text == '/';
}

static bool valid_word(const char *text)
{
    for (const char *c = text; *c; c++) {
        if (!isalnum((unsigned char)*c) && !strchr("._-", *c))
            return false;
    }
    return *text != '\0';
}

static bool valid_endpoint(const char *text)
{
    const char *rest = strstr(text, "://");
    if (!rest || !(str_starts(text, "http://") || str_starts(text, "https://")))
        return false;
    return isalnum((unsigned char)rest[3]) || rest[3] == '[';
}

static const struct config_text_check absolute = {config_valid_absolute,
                                                  "an absolute path, such as /etc/sheaf/secret"};
static const struct config_text_check word = {valid_word, "letters, digits, '.', '_' and '-'"};
static const struct config_text_check endpoint = {valid_endpoint,
                                                  "a URL, such as https://registry.example.org"};

static const struct config_range poll_range = {1000, 30 * DAY, "a time such as 90s, 5m or 12h"};
static const struct config_range timeout_range = {1000, 30 * DAY, "a time such as 90s, 5m or 12h"};
static const struct config_range lease_range = {5000, 60 * MINUTE, "a time from 5s to 1h"};
static const struct config_range size_range = {1, INT64_MAX, "a size such as 512MiB or 2GiB"};
static const struct config_range disk_range = {0, INT64_MAX, "a size such as 512MiB or 2GiB"};
static const struct config_range keep_range = {1, 100, "a number from 1 to 100"};
static const struct config_range slots_range = {1, 1024, "a number from 1 to 1024"};
static const struct config_range heat_range = {1, 150, "degrees Celsius from 1 to 150"};

/* ---- boards ---- */

static const struct config_key board_keys[] = {
    CONFIG_KEY("slots", config_int, struct farm_board_rule, slots, &slots_range),
    CONFIG_KEY("max-temperature", config_int, struct farm_board_rule, max_temperature, &heat_range),
    CONFIG_KEY("labels", config_strings, struct farm_board_rule, labels, &word),
    CONFIG_KEY("min-disk", config_size, struct farm_board_rule, min_disk, &disk_range),
};

static bool valid_board_pattern(const char *text)
{
    for (const char *c = text; *c; c++) {
        if (!isalnum((unsigned char)*c) && !strchr("._-*?[]!", *c))
            return false;
    }
    return true;
}

static void read_board(struct config *c, const char *name, const struct config_value *key,
                       const struct config_value *value, void *arg)
{
    if (!valid_board_pattern(name)) {
        config_error(c, key, "'%.100s' is no board; write a name, or a pattern such as rpi3-*",
                     name);
        return;
    }
    struct farm_board_rule rule = {.pattern = xstrdup(name), .min_disk = -1};
    config_read_mapping(c, value, board_keys, COUNT(board_keys), &rule);
    vec_push(&c->farm->boards, rule);
}

static void read_boards(struct config *c, const struct config_value *v,
                        const struct config_key *key, void *field)
{
    config_read_entries(c, v, read_board, NULL);
}

/* ---- registries ---- */

static const struct config_key registry_keys[] = {
    CONFIG_KEY("endpoint", config_string, struct farm_registry, endpoint, &endpoint),
    CONFIG_KEY("plain-http", config_bool, struct farm_registry, plain_http, NULL),
    CONFIG_KEY("username", config_string, struct farm_registry, username, NULL),
    CONFIG_KEY("password-file", config_string, struct farm_registry, password_file, &absolute),
};

/* A user without password, or the other way round. */
static void check_login(struct config *c, const struct config_value *key, const char *username,
                        const char *password_file)
{
    if (!username == !password_file)
        return;
    config_error(c, key, "%s alone is no login; write %s too",
                 username ? "username" : "password-file", username ? "password-file" : "username");
}

static bool valid_host(const char *text)
{
    cleanup_oci_reference struct oci_reference ref = {0};
    cleanup_free char *repository = xasprintf("%s/x", text);
    return !strchr(text, '/') && oci_repository_parse(repository, &ref, NULL) == 0 &&
           str_eq(ref.host, text);
}

static void read_registry(struct config *c, const char *name, const struct config_value *key,
                          const struct config_value *value, void *arg)
{
    if (!valid_host(name)) {
        config_error(c, key,
                     "'%.100s' is no registry; write its host as in references, such as docker.io "
                     "or 127.0.0.1:5000",
                     name);
        return;
    }
    struct farm_registry registry = {.host = xstrdup(name)};
    config_read_mapping(c, value, registry_keys, COUNT(registry_keys), &registry);
    check_login(c, key, registry.username, registry.password_file);
    vec_push(&c->farm->registries, registry);
    vec_push(&c->registry_entries, *value);
}

static void read_registries(struct config *c, const struct config_value *v,
                            const struct config_key *key, void *field)
{
    config_read_entries(c, v, read_registry, NULL);
}

/* `registry:` is the prefix of all repositories. */
static void read_prefix(struct config *c, const struct config_value *v,
                        const struct config_key *key, void *field)
{
    cleanup_oci_reference struct oci_reference ref = {0};
    const char *text = config_text(c, v);
    if (!text)
        return;
    cleanup_free char *prefix = xstrdup(text);
    size_t n = strlen(prefix);
    while (n > 0 && prefix[n - 1] == '/')
        prefix[--n] = '\0';
    cleanup_free char *repository = xasprintf("%s/x", prefix);
    size_t host = strcspn(prefix, "/");
    bool valid = oci_repository_parse(repository, &ref, NULL) == 0 && strlen(ref.host) == host &&
                 strncmp(ref.host, prefix, host) == 0;
    if (!valid) {
        config_error(c, v,
                     "'%.100s' is no registry with a path; write HOST/PATH, such as "
                     "registry.example.org/osf",
                     text);
        return;
    }
    c->farm->registry = steal_ptr(prefix);
    c->farm->registry_host = xstrndup(c->farm->registry, host);
}

/* ---- sources ---- */

static const struct config_key source_keys[] = {
    CONFIG_KEY("poll", config_duration, struct farm_source, poll_ms, &poll_range),
    CONFIG_KEY("ssh-key", config_string, struct farm_source, ssh_key, &absolute),
    CONFIG_KEY("username", config_string, struct farm_source, username, NULL),
    CONFIG_KEY("password-file", config_string, struct farm_source, password_file, &absolute),
};

static void read_source(struct config *c, const char *name, const struct config_value *key,
                        const struct config_value *value, void *arg)
{
    struct farm_source source = {.url = xstrdup(name), .poll_ms = -1};
    config_read_mapping(c, value, source_keys, COUNT(source_keys), &source);
    check_login(c, key, source.username, source.password_file);
    vec_push(&c->farm->sources, source);
    vec_push(&c->source_entries, *key);
}

static void read_sources(struct config *c, const struct config_value *v,
                         const struct config_key *key, void *field)
{
    config_read_entries(c, v, read_source, NULL);
}

/* ---- the top ---- */

static const struct config_key listen_keys[] = {
    CONFIG_KEY("agents", config_address, struct farm, listen_agents, NULL),
    CONFIG_KEY("status", config_address, struct farm, listen_status, NULL),
    CONFIG_KEY("socket", config_string, struct farm, listen_socket, &absolute),
    CONFIG_KEY("hosts", config_strings, struct farm, listen_hosts, &word),
    CONFIG_KEY("token-file", config_string, struct farm, listen_token_file, &absolute),
};

static void read_listen(struct config *c, const struct config_value *v,
                        const struct config_key *key, void *field)
{
    config_read_mapping(c, v, listen_keys, COUNT(listen_keys), c->farm);
}

static void read_images(struct config *c, const struct config_value *v,
                        const struct config_key *key, void *field)
{
    config_read_entries(c, v, config_read_image, NULL);
}

/* Includes were followed when the files were read. */
static void read_include(struct config *c, const struct config_value *v,
                         const struct config_key *key, void *field)
{
}

static const struct config_key farm_keys[] = {
    {"include", read_include, 0, NULL, true},
    {"registry", read_prefix, 0, NULL, false},
    CONFIG_KEY("platforms", config_platforms, struct farm, platforms, NULL),
    {"images", read_images, 0, NULL, true},
    {"boards", read_boards, 0, NULL, true},
    {"registries", read_registries, 0, NULL, true},
    {"sources", read_sources, 0, NULL, true},
    {"listen", read_listen, 0, NULL, true},
    CONFIG_KEY("freeze", config_bool, struct farm, freeze, NULL),
    CONFIG_KEY("enforce", config_bool, struct farm, enforce, NULL),
    CONFIG_KEY("keep", config_int, struct farm, keep, &keep_range),
    CONFIG_KEY("state", config_string, struct farm, state, &absolute),
    CONFIG_KEY("poll", config_duration, struct farm, poll_ms, &poll_range),
    CONFIG_KEY("base-poll", config_duration, struct farm, base_poll_ms, &poll_range),
    CONFIG_KEY("audit", config_duration, struct farm, audit_ms, &poll_range),
    CONFIG_KEY("git-timeout", config_duration, struct farm, git_timeout_ms, &timeout_range),
    CONFIG_KEY("timeout", config_duration, struct farm, timeout_ms, &timeout_range),
    CONFIG_KEY("lease-term", config_duration, struct farm, lease_term_ms, &lease_range),
    CONFIG_KEY("registry-timeout", config_duration, struct farm, registry_timeout_ms,
               &timeout_range),
    CONFIG_KEY("log-limit", config_size, struct farm, log_limit, &size_range),
    CONFIG_KEY("context-limit", config_size, struct farm, context_limit, &size_range),
    CONFIG_KEY("mirror-limit", config_size, struct farm, mirror_limit, &size_range),
    CONFIG_KEY("min-disk", config_size, struct farm, min_disk, &disk_range),
};

void config_read_file(struct config *c, const struct config_value *root)
{
    config_read_mapping(c, root, farm_keys, COUNT(farm_keys), c->farm);
}
