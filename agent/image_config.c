#include "agent/image_config.h"

#include <string.h>
#include <time.h>

static void epoch_text(int64_t epoch, char ret[32])
{
    struct tm tm;
    time_t t = (time_t)epoch;
    gmtime_r(&t, &tm);
    strftime(ret, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static json_t *epoch_json(const struct image_settings *s)
{
    char text[32];
    epoch_text(s->epoch, text);
    return json_string(text);
}

/* Where `name` (n bytes) stands in a list of NAME=VALUE, or the list's size. */
static size_t env_find(const json_t *list, const char *name, size_t n)
{
    size_t i;
    json_t *item;
    json_array_foreach (list, i, item) {
        const char *s = json_string_value(item);
        if (s && strncmp(s, name, n) == 0 && s[n] == '=')
            return i;
    }
    return json_array_size(list);
}

/* Merges {"NAME": "VALUE"} into the config's list; new names come last, sorted. */
static void set_env(json_t *run, const json_t *env)
{
    json_t *list = json_object_get(run, "Env");
    if (!json_is_array(list)) {
        list = json_array();
        json_object_set_new(run, "Env", list);
    }
    cleanup_free char *text = json_canonical(env);
    /* jansson keeps the order of insertion: now it is by name. */
    cleanup_json json_t *sorted = json_loads(text, 0, NULL);
    const char *name;
    json_t *value;
    json_object_foreach (sorted, name, value) {
        if (!json_is_string(value))
            continue;
        cleanup_free char *pair = xasprintf("%s=%s", name, json_string_value(value));
        size_t at = env_find(list, name, strlen(name));
        if (at < json_array_size(list))
            json_array_set_new(list, at, json_string(pair));
        else
            json_array_append_new(list, json_string(pair));
    }
}

static void set_labels(json_t *run, json_t *labels)
{
    json_t *own = json_object_get(run, "Labels");
    if (!json_is_object(own)) {
        own = json_object();
        json_object_set_new(run, "Labels", own);
    }
    json_object_update(own, labels);
}

/* What every builder leaves of itself and of its host, and what is empty. */
static void clean(json_t *run)
{
    static const char *const host[] = {"Hostname",    "Domainname",   "Image",
                                       "AttachStdin", "AttachStdout", "AttachStderr"};
    json_t *labels = json_object_get(run, "Labels");
    json_object_del(labels, "io.buildah.version");
    if (json_object_size(labels) == 0)
        json_object_del(run, "Labels");
    for (size_t i = 0; i < sizeof(host) / sizeof(*host); i++)
        json_object_del(run, host[i]);
    const char *name;
    json_t *value;
    void *tmp;
    json_object_foreach_safe(run, tmp, name, value)
    {
        if (json_is_null(value))
            json_object_del(run, name);
    }
}

static void apply(json_t *run, const struct image_settings *s)
{
    if (s->cmd)
        json_object_set(run, "Cmd", s->cmd);
    if (s->entrypoint)
        json_object_set(run, "Entrypoint", s->entrypoint);
    if (s->workdir)
        json_object_set_new(run, "WorkingDir", json_string(s->workdir));
    if (s->user)
        json_object_set_new(run, "User", json_string(s->user));
    if (json_object_size(s->env))
        set_env(run, s->env);
    if (json_object_size(s->labels))
        set_labels(run, s->labels);
}

/* The builder's history with our time and without its remarks, which name the base as it was loaded here. */
static json_t *history_of(const json_t *built, const struct image_settings *s)
{
    static const char *const kept[] = {"created_by", "author", "empty_layer"};
    json_t *list = json_array(), *item;
    size_t i;
    json_array_foreach (json_object_get(built, "history"), i, item) {
        json_t *entry = json_object();
        json_object_set_new(entry, "created", epoch_json(s));
        for (size_t k = 0; k < sizeof(kept) / sizeof(*kept); k++)
            json_object_set(entry, kept[k], json_object_get(item, kept[k]));
        json_array_append_new(list, entry);
    }
    return list;
}

json_t *image_config_new(const json_t *built, const struct image_settings *s)
{
    const struct platform_info *info = platform_info(s->platform);
    json_t *config = json_pack("{s:s, s:s}", "architecture", info->architecture, "os", "linux");
    if (info->variant)
        json_object_set_new(config, "variant", json_string(info->variant));
    json_object_set_new(config, "created", epoch_json(s));
    if (json_is_string(json_object_get(built, "author")))
        json_object_set(config, "author", json_object_get(built, "author"));
    json_t *run = json_deep_copy(json_object_get(built, "config"));
    if (!json_is_object(run)) {
        json_decref(run);
        run = json_object();
    }
    clean(run);
    apply(run, s);
    json_object_set_new(config, "config", run);
    json_object_set_new(config, "history", history_of(built, s));
    return config;
}

void image_config_set_layers(json_t *config, const struct image_layer *layers, size_t n)
{
    json_t *ids = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(ids, json_string(layers[i].diff_id));
    json_object_set_new(config, "rootfs",
                        json_pack("{s:s, s:o}", "type", "layers", "diff_ids", ids));
}

void image_config_add_history(json_t *config, const char *created_by,
                              const struct image_settings *s)
{
    json_t *entry = json_pack("{s:o, s:s}", "created", epoch_json(s), "created_by", created_by);
    json_array_append_new(json_object_get(config, "history"), entry);
}
