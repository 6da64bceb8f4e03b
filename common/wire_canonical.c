/* Reading canonical texts. This accepts nothing that the reader of JSON (wire_table.c) would refuse, and knows no errors: a text
 * that is in any way unusual, an escape other than those of a line's end and the like included, is left to that one. */
#include "common/wire_table_int.h"

#include <assert.h>
#include <math.h>

struct reader {
    const char *p, *end;
};

static bool read_object(struct reader *r, const struct wire_type *t, void *out);

static bool skip(struct reader *r, char c)
{
    if (r->p == r->end || *r->p != c)
        return false;
    r->p++;
    return true;
}

static bool skip_text(struct reader *r, const char *s)
{
    size_t n = strlen(s);
    if ((size_t)(r->end - r->p) < n || memcmp(r->p, s, n) != 0)
        return false;
    r->p += n;
    return true;
}

/* ---- strings ---- */

/* Past a string; *ret_escapes: how many characters of it are escaped. Printable ASCII only. */
static bool skip_string(struct reader *r, const char **ret_begin, size_t *ret_escapes)
{
    if (!skip(r, '"'))
        return false;
    *ret_begin = r->p;
    *ret_escapes = 0;
    for (; r->p < r->end && *r->p != '"'; r->p++) {
        if (*r->p < ' ' || *r->p > '~')
            return false;
        if (*r->p != '\\')
            continue;
        if (++r->p == r->end || !memchr("\"\\nt", *r->p, 4))
            return false;
        ++*ret_escapes;
    }
    return skip(r, '"');
}

/* A string of at most `max` bytes, owned; NULL: there is none. */
static char *read_string(struct reader *r, size_t max)
{
    const char *s;
    size_t escapes;
    if (!skip_string(r, &s, &escapes))
        return NULL;
    size_t n = (size_t)(r->p - 1 - s) - escapes;
    if (n > max)
        return NULL;
    if (!escapes)
        return xstrndup(s, n);
    char *text = xcalloc(n + 1, 1);
    for (size_t i = 0; i < n; i++, s++) {
        if (*s == '\\')
            s++;
        else {
            text[i] = *s;
            continue;
        }
        text[i] = *s == 'n' ? '\n' : *s == 't' ? '\t' : *s;
    }
    return text;
}

static bool read_text(struct reader *r, const struct wire_field *f, char **out)
{
    *out = read_string(r, f->text);
    return *out && (!f->valid || f->valid(*out));
}

static bool read_enum(struct reader *r, const struct wire_field *f, unsigned *out)
{
    const char *s;
    size_t escapes;
    if (!skip_string(r, &s, &escapes))
        return false;
    size_t n = (size_t)(r->p - 1 - s);
    for (unsigned i = f->flags & WIRE_NULLABLE ? 1 : 0; f->names[i]; i++)
        if (strlen(f->names[i]) == n && memcmp(f->names[i], s, n) == 0) {
            *out = i;
            return true;
        }
    return false;
}

/* ---- numbers ---- */

#define DIGITS_MAX 18 /* fewer than would overflow */

/* A whole number without superfluous zeros or sign. */
static bool read_whole(struct reader *r, int64_t *ret)
{
    bool negative = skip(r, '-');
    const char *begin = r->p;
    int64_t v = 0;
    for (; r->p < r->end && *r->p >= '0' && *r->p <= '9'; r->p++) {
        if (r->p - begin == DIGITS_MAX)
            return false;
        v = v * 10 + (*r->p - '0');
    }
    size_t n = (size_t)(r->p - begin);
    if (!n || (*begin == '0' && (n > 1 || negative)))
        return false;
    *ret = negative ? -v : v;
    return r->p < r->end && *r->p != '.' && *r->p != 'e' && *r->p != 'E';
}

static bool read_int(struct reader *r, const struct wire_field *f, int64_t *out)
{
    return read_whole(r, out) && *out >= f->min && *out <= f->max;
}

static size_t digits(const char *s)
{
    return strspn(s, "0123456789");
}

/* Whether `s` is a number of JSON's with a fraction. */
static bool is_real(const char *s)
{
    s += *s == '-';
    size_t whole = digits(s);
    if (!whole || (*s == '0' && whole > 1) || s[whole] != '.')
        return false;
    s += whole + 1;
    if (!digits(s))
        return false;
    s += digits(s);
    if (*s != 'e' && *s != 'E')
        return !*s;
    s += 1 + (s[1] == '-' || s[1] == '+');
    return digits(s) && !s[digits(s)];
}

static bool read_real(struct reader *r, const struct wire_field *f, double *out)
{
    char text[40];
    size_t n = 0;
    while (r->p + n < r->end && n < sizeof(text) - 1 && r->p[n] &&
           strchr("0123456789.eE+-", r->p[n]))
        n++;
    memcpy(text, r->p, n);
    text[n] = '\0';
    if (!is_real(text))
        return false;
    char *end;
    double v = strtod(text, &end);
    r->p += n;
    *out = v;
    return !*end && v >= (double)f->min && v <= (double)f->max;
}

static bool read_bool(struct reader *r, bool *out)
{
    *out = skip_text(r, "true");
    return *out || skip_text(r, "false");
}

/* ---- lists and maps ---- */

static bool read_strings(struct reader *r, const struct wire_field *f, strvec *out)
{
    if (!skip(r, '['))
        return false;
    if (skip(r, ']'))
        return true;
    do {
        char *s = NULL;
        bool ok = out->n < f->limit && read_text(r, f, &s);
        if (s)
            vec_push(out, s);
        if (!ok)
            return false;
    } while (skip(r, ','));
    return skip(r, ']');
}

static bool read_pair(struct reader *r, const struct wire_field *f, struct wire_pair *pair)
{
    if (!read_text(r, f, &pair->key) || !skip(r, ':'))
        return false;
    pair->value = read_string(r, f->text);
    return pair->value;
}

/* Keys ascend: none comes twice. */
static bool read_map(struct reader *r, const struct wire_field *f, wire_map *out)
{
    if (!skip(r, '{'))
        return false;
    if (skip(r, '}'))
        return true;
    do {
        struct wire_pair pair = {0};
        if (out->n == f->limit)
            return false;
        bool ok = read_pair(r, f, &pair);
        vec_push(out, pair);
        if (!ok || (out->n > 1 && strcmp(out->items[out->n - 2].key, pair.key) >= 0))
            return false;
    } while (skip(r, ','));
    return skip(r, '}');
}

static bool read_items(struct reader *r, const struct wire_field *f, struct any_vec *v)
{
    const struct wire_type *t = f->type();
    do {
        if (v->n == f->limit)
            return false;
        if (v->n == v->cap) {
            v->cap = v->cap ? v->cap * 2 : 2;
            v->items = xrealloc(v->items, v->cap, t->size);
        }
        void *item = (char *)v->items + v->n++ * t->size;
        memset(item, 0, t->size);
        if (!read_object(r, t, item))
            return false;
    } while (skip(r, ','));
    return skip(r, ']');
}

static bool read_list(struct reader *r, const struct wire_field *f, void *member)
{
    struct any_vec v = {0};
    if (!skip(r, '['))
        return false;
    if (skip(r, ']'))
        return true;
    bool ok = read_items(r, f, &v);
    memcpy(member, &v, sizeof(v));
    return ok;
}

/* ---- objects ---- */

static bool read_value(struct reader *r, const struct wire_field *f, void *member)
{
    int64_t version;
    switch (f->kind) {
    case WIRE_VERSION:
        return read_whole(r, &version) && version == 1;
    case WIRE_STRING:
        return read_text(r, f, member);
    case WIRE_INT:
        return read_int(r, f, member);
    case WIRE_REAL:
        return read_real(r, f, member);
    case WIRE_BOOL:
        return read_bool(r, member);
    case WIRE_ENUM:
        return read_enum(r, f, member);
    case WIRE_STRINGS:
        return read_strings(r, f, member);
    case WIRE_MAP:
        return read_map(r, f, member);
    case WIRE_OBJECT:
        return read_object(r, f->type(), member);
    case WIRE_LIST:
        return read_list(r, f, member);
    }
    return false;
}

static bool read_field(struct reader *r, const struct wire_field *f, void *out)
{
    void *member = (char *)out + f->offset;
    if (f->kind == WIRE_REAL && (f->flags & WIRE_NULLABLE))
        *(double *)member = NAN;
    if (skip_text(r, "null"))
        return f->flags & WIRE_NULLABLE;
    if (wire_held_by_pointer(f)) {
        void *pointee = xcalloc(1, wire_pointee_size(f));
        memcpy(member, &pointee, sizeof(pointee));
        member = pointee;
    }
    return read_value(r, f, member);
}

static bool read_object(struct reader *r, const struct wire_type *t, void *out)
{
    const unsigned char *order = wire_order(t);
    struct err ignored = ERR_INIT;
    for (size_t i = 0; i < t->n; i++) {
        const struct wire_field *f = &t->fields[order[i]];
        if (!skip(r, i ? ',' : '{') || !skip(r, '"') || !skip_text(r, f->name) || !skip(r, '"') ||
            !skip(r, ':') || !read_field(r, f, out))
            return false;
        order = wire_order(t); /* what was read within may have asked for many others */
    }
    return skip(r, '}') && (!t->check || t->check(out, &ignored) == 0);
}

bool wire_read_canonical(const struct wire_type *type, const char *text, size_t n, void *value)
{
    struct reader r = {text, text + n};
    return read_object(&r, type, value) && r.p == r.end;
}
