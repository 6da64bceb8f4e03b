/* Values and their places: errors, keys, scalars, lists. */
#include "daemon/config_int.h"

#include <stdarg.h>

void config_error_at(struct config *c, const char *file, size_t line, size_t column,
                     const char *key, const char *fmt, ...)
{
    if (c->errors->n >= CONFIG_ERRORS_MAX) {
        c->dropped++;
        return;
    }
    struct strbuf text = {0};
    strbuf_addf(&text, "%s:%zu:%zu: %s: ", file, line + 1, column + 1, key);
    va_list args;
    va_start(args, fmt);
    char *message = NULL;
    if (vasprintf(&message, fmt, args) < 0)
        abort();
    va_end(args);
    strbuf_add(&text, message);
    free(message);
    for (char *s = text.s; *s; s++) {
        if (*s == '\n' || *s == '\r')
            *s = ' '; /* one line an error */
    }
    vec_push(c->errors, strbuf_steal(&text));
}

static void verror(struct config *c, const struct config_value *v, size_t column, const char *fmt,
                   va_list args)
{
    cleanup_free char *message = NULL;
    if (vasprintf(&message, fmt, args) < 0)
        abort();
    const char *key = c->key.n ? c->key.s : "file";
    config_error_at(c, v->file->path, v->node->start_mark.line, v->node->start_mark.column + column,
                    key, "%s", message);
}

void config_error(struct config *c, const struct config_value *v, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    verror(c, v, 0, fmt, args);
    va_end(args);
}

void config_error_in(struct config *c, const struct config_value *v, size_t offset, const char *fmt,
                     ...)
{
    const yaml_node_t *node = v->node;
    bool plain = node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    bool quoted = node->data.scalar.style == YAML_SINGLE_QUOTED_SCALAR_STYLE ||
                  node->data.scalar.style == YAML_DOUBLE_QUOTED_SCALAR_STYLE;
    bool one_line = node->start_mark.line == node->end_mark.line && (plain || quoted);
    va_list args;
    va_start(args, fmt);
    verror(c, v, one_line ? offset + quoted : 0, fmt, args);
    va_end(args);
}

char *config_where(const struct config_value *v)
{
    return xasprintf("%s:%zu:%zu", v->file->path, v->node->start_mark.line + 1,
                     v->node->start_mark.column + 1);
}

size_t config_key_push(struct config *c, const char *name)
{
    size_t mark = c->key.n;
    const char *quote = strpbrk(name, ". '") ? "'" : ""; /* so that no two keys look the same */
    strbuf_addf(&c->key, "%s%s%.1000s%s", mark ? "." : "", quote, name, quote);
    return mark;
}

void config_key_pop(struct config *c, size_t mark)
{
    c->key.n = mark;
    c->key.s[mark] = '\0';
}

/* What a value is, for messages. */
static const char *kind_text(const struct config_value *v)
{
    switch (v->node->type) {
    case YAML_SEQUENCE_NODE:
        return "a list";
    case YAML_MAPPING_NODE:
        return "a mapping";
    default:
        return "a single value";
    }
}

/* Whether more may be looked at; tells once when not. */
static bool count_value(struct config *c, const struct config_value *v)
{
    if (c->values++ == CONFIG_VALUES_MAX)
        config_error(c, v, "more than %d values; aliases may repeat too much", CONFIG_VALUES_MAX);
    return c->values <= CONFIG_VALUES_MAX;
}

const char *config_text(struct config *c, const struct config_value *v)
{
    if (!count_value(c, v))
        return NULL;
    if (v->node->type != YAML_SCALAR_NODE) {
        config_error(c, v, "%s, where a single value is wanted", kind_text(v));
        return NULL;
    }
    const char *text = (const char *)v->node->data.scalar.value;
    if (strlen(text) != v->node->data.scalar.length) {
        config_error(c, v, "a NUL character within a value");
        return NULL;
    }
    if (!*text) {
        config_error(c, v, "has no value; write one after the colon, or leave the key out");
        return NULL;
    }
    return text;
}

bool config_child(const struct config_value *mapping, const char *key,
                  struct config_value *ret_value)
{
    const yaml_node_t *node = mapping->node;
    yaml_document_t *document = &mapping->file->document;
    if (node->type != YAML_MAPPING_NODE)
        return false;
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *name = yaml_document_get_node(document, pair->key);
        if (name->type != YAML_SCALAR_NODE || !str_eq((const char *)name->data.scalar.value, key))
            continue;
        *ret_value =
            (struct config_value){mapping->file, yaml_document_get_node(document, pair->value)};
        return true;
    }
    return false;
}

const yaml_node_item_t *config_items(struct config *c, const struct config_value *v, size_t *ret_n)
{
    *ret_n = 0;
    if (v->node->type != YAML_SEQUENCE_NODE) {
        bool scalar = v->node->type == YAML_SCALAR_NODE;
        config_error(c, v, "%s, where a list is wanted; write [%s]", kind_text(v),
                     scalar ? (const char *)v->node->data.scalar.value : "a, b");
        return NULL;
    }
    if (!count_value(c, v))
        return NULL;
    *ret_n = (size_t)(v->node->data.sequence.items.top - v->node->data.sequence.items.start);
    return v->node->data.sequence.items.start;
}

struct config_value config_item(const struct config_value *v, yaml_node_item_t item)
{
    return (struct config_value){v->file, yaml_document_get_node(&v->file->document, item)};
}
