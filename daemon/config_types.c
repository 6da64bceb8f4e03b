/* Readers of the types that values have. */
#include "common/nearest.h"
#include "daemon/config_int.h"

#include <errno.h>
#include <limits.h>

struct unit {
    const char *name;
    double factor;
};

/* A number with a unit at *s; moves *s past both. -EINVAL when there is none. */
static int number_with_unit(const char **s, const struct unit *units, size_t n, double *ret)
{
    size_t digits = strspn(*s, "0123456789.");
    if (digits == 0 || digits > 18)
        return -EINVAL;
    cleanup_free char *text = xstrndup(*s, digits);
    char *end;
    double number = strtod(text, &end);
    const char *unit = *s + digits;
    unit += *unit == ' ';
    size_t length = strspn(unit, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
    if (*end)
        return -EINVAL;
    for (size_t i = 0; i < n; i++) {
        if (strlen(units[i].name) != length || strncmp(units[i].name, unit, length) != 0)
            continue;
        *ret = number * units[i].factor;
        *s = unit + length;
        return 0;
    }
    return -EINVAL;
}

int config_parse_duration(const char *text, int64_t *ret_ms)
{
    static const struct unit units[] = {{"ms", 1},      {"s", 1e3},    {"m", 60e3},
                                        {"min", 60e3},  {"h", 3600e3}, {"d", 86400e3},
                                        {"w", 604800e3}};
    double sum = 0, one;
    const char *s = text;
    do {
        if (number_with_unit(&s, units, sizeof(units) / sizeof(units[0]), &one) < 0)
            return -EINVAL;
        sum += one;
        s += *s == ' ';
    } while (*s);
    if (sum > 1e15)
        return -EINVAL;
    *ret_ms = (int64_t)(sum + 0.5);
    return 0;
}

int config_parse_size(const char *text, int64_t *ret_bytes)
{
    static const struct unit units[] = {{"B", 1},
                                        {"kB", 1e3},
                                        {"KB", 1e3},
                                        {"MB", 1e6},
                                        {"GB", 1e9},
                                        {"TB", 1e12},
                                        {"KiB", 1024},
                                        {"MiB", 1048576},
                                        {"GiB", 1073741824},
                                        {"TiB", 1099511627776.0}};
    double bytes;
    const char *s = text;
    if (number_with_unit(&s, units, sizeof(units) / sizeof(units[0]), &bytes) < 0 || *s ||
        bytes > 1e18)
        return -EINVAL;
    *ret_bytes = (int64_t)(bytes + 0.5);
    return 0;
}

/* The text of a value that `check` accepts; NULL with an error noted otherwise. */
static const char *checked_text(struct config *c, const struct config_value *v,
                                const struct config_text_check *check)
{
    const char *text = config_text(c, v);
    if (!text || !check || check->valid(text))
        return text;
    config_error(c, v, "'%.100s' will not do; write %s", text, check->wanted);
    return NULL;
}

void config_string(struct config *c, const struct config_value *v, const struct config_key *key,
                   void *field)
{
    const char *text = checked_text(c, v, key->arg);
    if (text)
        str_replace(field, text);
}

void config_bool(struct config *c, const struct config_value *v, const struct config_key *key,
                 void *field)
{
    const char *text = config_text(c, v);
    if (!text)
        return;
    if (str_eq(text, "true") || str_eq(text, "false"))
        *(bool *)field = *text == 't';
    else
        config_error(c, v, "'%.100s' will not do; write true or false", text);
}

/* Stores `number` when the value was one and is within bounds. */
static bool within(struct config *c, const struct config_value *v, const char *text, bool parsed,
                   int64_t number, const struct config_range *range)
{
    if (parsed && number >= range->min && number <= range->max)
        return true;
    config_error(c, v, "'%.100s' will not do; write %s", text, range->example);
    return false;
}

static bool parse_int(const char *text, int64_t *ret)
{
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    *ret = number;
    return errno == 0 && end != text && !*end && *text != ' ' && *text != '+';
}

void config_int(struct config *c, const struct config_value *v, const struct config_key *key,
                void *field)
{
    const char *text = config_text(c, v);
    int64_t number = 0;
    bool parsed = text && parse_int(text, &number);
    if (text && within(c, v, text, parsed, number, key->arg))
        *(int *)field = (int)number;
}

void config_duration(struct config *c, const struct config_value *v, const struct config_key *key,
                     void *field)
{
    const char *text = config_text(c, v);
    int64_t ms = 0;
    bool parsed = text && config_parse_duration(text, &ms) == 0;
    if (text && within(c, v, text, parsed, ms, key->arg))
        *(int64_t *)field = ms;
}

void config_size(struct config *c, const struct config_value *v, const struct config_key *key,
                 void *field)
{
    const char *text = config_text(c, v);
    int64_t bytes = 0;
    bool parsed = text && config_parse_size(text, &bytes) == 0;
    if (text && within(c, v, text, parsed, bytes, key->arg))
        *(int64_t *)field = bytes;
}

void config_enum(struct config *c, const struct config_value *v, const struct config_key *key,
                 void *field)
{
    const char *text = config_text(c, v);
    if (!text)
        return;
    cleanup_strbuf struct strbuf names = {0};
    for (const struct config_choice *choice = key->arg; choice->name; choice++) {
        if (str_eq(choice->name, text)) {
            *(int *)field = choice->value;
            return;
        }
        strbuf_addf(&names, "%s%s", names.n ? " or " : "", choice->name);
    }
    config_error(c, v, "'%.100s' will not do; write %s", text, strbuf_str(&names));
}

void config_history(struct config *c, const struct config_value *v, const struct config_key *key,
                    void *field)
{
    static const struct config_range range = {0, 100000, "newest, all or a number"};
    const char *text = config_text(c, v);
    int64_t number = 0;
    if (!text)
        return;
    bool parsed = parse_int(text, &number);
    if (str_eq(text, "newest"))
        *(int *)field = 1;
    else if (str_eq(text, "all"))
        *(int *)field = FARM_HISTORY_ALL;
    else if (within(c, v, text, parsed, number, &range))
        *(int *)field = (int)number;
}

void config_strings(struct config *c, const struct config_value *v, const struct config_key *key,
                    void *field)
{
    size_t n;
    const yaml_node_item_t *items = config_items(c, v, &n);
    if (items && n == 0)
        config_error(c, v, "an empty list; write what it should hold, or leave the key out");
    for (size_t i = 0; i < n; i++) {
        struct config_value item = config_item(v, items[i]);
        const char *text = checked_text(c, &item, key->arg);
        if (text && strvec_has(field, text))
            config_error(c, &item, "'%.100s' is there twice; leave one out", text);
        else if (text)
            strvec_add(field, text);
    }
}

void config_argv(struct config *c, const struct config_value *v, const struct config_key *key,
                 void *field)
{
    size_t n;
    const yaml_node_item_t *items = config_items(c, v, &n);
    for (size_t i = 0; i < n; i++) {
        struct config_value item = config_item(v, items[i]);
        bool empty = item.node->type == YAML_SCALAR_NODE && item.node->data.scalar.length == 0;
        const char *text = empty ? "" : config_text(c, &item);
        if (text)
            strvec_add(field, text);
    }
}

static void add_platform(struct config *c, const struct config_value *item, platformvec *out)
{
    const char *names[PLATFORM_COUNT];
    const char *text = config_text(c, item);
    enum platform platform;
    if (!text)
        return;
    for (int p = 0; p < PLATFORM_COUNT; p++)
        names[p] = platform_info((enum platform)p)->name;
    if (platform_parse(text, &platform, NULL) < 0) {
        const char *nearest = nearest_word(text, names, PLATFORM_COUNT);
        config_error(c, item, "'%.100s' is no platform; write %s", text,
                     nearest ? nearest : "one such as linux/amd64, linux/arm64 or linux/arm/v7");
    } else if (platformvec_has(out, platform)) {
        config_error(c, item, "%s is there twice; leave one out", names[platform]);
    } else {
        vec_push(out, platform);
    }
}

void config_platforms(struct config *c, const struct config_value *v, const struct config_key *key,
                      void *field)
{
    size_t n;
    const yaml_node_item_t *items = config_items(c, v, &n);
    if (items && n == 0)
        config_error(c, v, "an empty list; write platforms such as [linux/amd64]");
    for (size_t i = 0; i < n; i++) {
        struct config_value item = config_item(v, items[i]);
        add_platform(c, &item, field);
    }
}

/* Where pairs go, and what their names may be. */
struct pairs_target {
    farm_pairs *pairs;
    const struct config_text_check *check;
};

static void read_pair(struct config *c, const char *name, const struct config_value *key,
                      const struct config_value *value, void *arg)
{
    const struct pairs_target *target = arg;
    bool empty = value->node->type == YAML_SCALAR_NODE && value->node->data.scalar.length == 0;
    if (target->check && !target->check->valid(name)) {
        config_error(c, key, "'%.100s' will not do as a name; write %s", name,
                     target->check->wanted);
        return;
    }
    const char *text = empty ? "" : config_text(c, value);
    if (text)
        vec_push(target->pairs, (struct farm_pair){xstrdup(name), xstrdup(text)});
}

void config_pairs(struct config *c, const struct config_value *v, const struct config_key *key,
                  void *field)
{
    struct pairs_target target = {field, key->arg};
    config_read_entries(c, v, read_pair, &target);
}

void config_address(struct config *c, const struct config_value *v, const struct config_key *key,
                    void *field)
{
    const char *text = config_text(c, v);
    if (!text)
        return;
    struct farm_address *address = field;
    const char *colon = strrchr(text, ':');
    int64_t port = -1;
    bool bracketed = *text == '[' && colon && colon[-1] == ']';
    bool valid = colon && colon > text && parse_int(colon + 1, &port) && port >= 0 &&
                 port <= UINT16_MAX && (bracketed || !memchr(text, ':', (size_t)(colon - text)));
    if (!valid) {
        config_error(c, v, "'%.100s' will not do; write ADDRESS:PORT, as in 127.0.0.1:7430", text);
        return;
    }
    free(address->host);
    address->host = xstrndup(text + bracketed, (size_t)(colon - text) - 2 * (size_t)bracketed);
    address->port = (uint16_t)port;
}
