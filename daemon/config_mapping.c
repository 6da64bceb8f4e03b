/* Mappings: of known keys, and of names. */
#include "common/nearest.h"
#include "daemon/config_int.h"

static void want_mapping(struct config *c, const struct config_value *v)
{
    if (v->node->type == YAML_SCALAR_NODE && !*v->node->data.scalar.value)
        config_error(c, v, "is empty; write keys below it, or leave it out");
    else
        config_error(c, v, "keys with values are wanted here, as in 'key: value'");
}

/* Notes the key at hand as given; false, with an error, when it was before. */
static bool give(struct config *c, const struct config_value *key)
{
    struct config_given *given = NULL;
    HASH_FIND_STR(c->given, c->key.s, given);
    if (given) {
        config_error(c, key, "given twice; it is at %s already, leave one out", given->where);
        return false;
    }
    given = xnew(struct config_given);
    given->path = xstrdup(c->key.s);
    given->where = config_where(key);
    HASH_ADD_KEYPTR(hh, c->given, given->path, strlen(given->path), given);
    return true;
}

static void unknown_key(struct config *c, const struct config_value *at, const char *name,
                        const struct config_key *keys, size_t n)
{
    const char *names[64] = {0};
    for (size_t i = 0; i < n && i < 64; i++)
        names[i] = keys[i].name;
    const char *nearest = nearest_word(name, names, n < 64 ? n : 64);
    if (nearest) {
        config_error(c, at, "unknown key; write %s", nearest);
        return;
    }
    cleanup_strbuf struct strbuf list = {0};
    for (size_t i = 0; i < n; i++)
        strbuf_addf(&list, "%s%s", i ? ", " : "", keys[i].name);
    config_error(c, at, "unknown key; known here: %s", strbuf_str(&list));
}

static void read_known(struct config *c, const char *name, const struct config_value *at,
                       const struct config_value *value, const struct config_key *keys, size_t n,
                       void *target)
{
    for (size_t i = 0; i < n; i++) {
        if (!str_eq(keys[i].name, name))
            continue;
        if (keys[i].merges || give(c, at))
            keys[i].read(c, value, &keys[i], (char *)target + keys[i].offset);
        return;
    }
    unknown_key(c, at, name, keys, n);
}

/* What is done with each pair: either the known keys, or a function for names. */
struct pairs_reader {
    const struct config_key *keys;
    size_t n;
    void *target;
    config_entry_fn *entry;
};

static void read_pair(struct config *c, const struct config_value *key,
                      const struct config_value *value, const struct pairs_reader *reader)
{
    const char *name = config_text(c, key);
    if (!name)
        return;
    size_t mark = config_key_push(c, name);
    if (!reader->entry)
        read_known(c, name, key, value, reader->keys, reader->n, reader->target);
    else if (give(c, key))
        reader->entry(c, name, key, value, reader->target);
    config_key_pop(c, mark);
}

static void read_pairs(struct config *c, const struct config_value *v,
                       const struct pairs_reader *reader)
{
    if (v->node->type != YAML_MAPPING_NODE) {
        want_mapping(c, v);
        return;
    }
    yaml_document_t *document = &v->file->document;
    for (const yaml_node_pair_t *pair = v->node->data.mapping.pairs.start;
         pair < v->node->data.mapping.pairs.top && c->values <= CONFIG_VALUES_MAX; pair++) {
        struct config_value key = {v->file, yaml_document_get_node(document, pair->key)};
        struct config_value value = {v->file, yaml_document_get_node(document, pair->value)};
        read_pair(c, &key, &value, reader);
    }
}

void config_read_mapping(struct config *c, const struct config_value *v,
                         const struct config_key *keys, size_t n, void *target)
{
    struct pairs_reader reader = {.keys = keys, .n = n, .target = target};
    read_pairs(c, v, &reader);
}

void config_read_entries(struct config *c, const struct config_value *v, config_entry_fn *entry,
                         void *arg)
{
    struct pairs_reader reader = {.entry = entry, .target = arg};
    read_pairs(c, v, &reader);
}
