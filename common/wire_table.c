#include "common/wire_table.h"

#include "common/json.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>

/* Where in the message we are; written out only when there is an error to report. */
struct path {
    const struct path *up;
    const char *name;
    ssize_t index; /* -1 for a member */
};

/* Any VEC: the header is copied in and out, since the item's type is the table's to know. */
struct any_vec {
    void *items;
    size_t n, cap;
};

static struct any_vec vec_load(const void *member)
{
    struct any_vec v;
    memcpy(&v, member, sizeof(v));
    return v;
}

static void path_write(const struct path *p, struct strbuf *out)
{
    if (!p)
        return;
    path_write(p->up, out);
    if (p->index >= 0)
        strbuf_addf(out, "[%zd]", p->index);
    else
        strbuf_addf(out, "%s%s", out->n ? "." : "", p->name);
}

static int fail(const struct path *at, struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4), warn_unused_result));

static int fail(const struct path *at, struct err *err, const char *fmt, ...)
{
    cleanup_strbuf struct strbuf where = {0};
    char what[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    path_write(at, &where);
    if (where.n == 0)
        return err_set(err, -EINVAL, "%s", what);
    return err_set(err, -EINVAL, "%.256s: %s", strbuf_str(&where), what);
}

/* The member's own storage, or what a nullable member points to. */
static bool held_by_pointer(const struct wire_field *f)
{
    bool big = f->kind == WIRE_OBJECT || f->kind == WIRE_LIST || f->kind == WIRE_STRINGS;
    return big && (f->flags & WIRE_NULLABLE);
}

static void *member_of(const struct wire_field *f, const void *value)
{
    void *at = (char *)value + f->offset;
    if (held_by_pointer(f))
        memcpy(&at, at, sizeof(at));
    return at;
}

static size_t pointee_size(const struct wire_field *f)
{
    return f->kind == WIRE_OBJECT ? f->type()->size : sizeof(struct any_vec);
}

/* ---- decoding ---- */

static int decode_object(const struct wire_type *t, const json_t *json, void *out,
                         const struct path *at, struct err *err);

static int check_text(const struct wire_field *f, const json_t *json, const struct path *at,
                      struct err *err)
{
    if (!json_is_string(json))
        return fail(at, err, "wants a string");
    if (json_string_length(json) > f->text)
        return fail(at, err, "is longer than %zu bytes", f->text);
    return 0;
}

static int check_form(const struct wire_field *f, const char *s, const struct path *at,
                      struct err *err)
{
    if (!f->valid || f->valid(s))
        return 0;
    return fail(at, err, "\"%.80s\" is not %s", s, f->expected);
}

static int decode_version(const json_t *json, const struct path *at, struct err *err)
{
    if (!json_is_integer(json))
        return fail(at, err, "wants a whole number");
    if (json_integer_value(json) != 1)
        return fail(at, err, "is %" JSON_INTEGER_FORMAT "; this program speaks version 1",
                    json_integer_value(json));
    return 0;
}

static int decode_string(const struct wire_field *f, const json_t *json, char **out,
                         const struct path *at, struct err *err)
{
    int r = check_text(f, json, at, err);
    if (r == 0)
        r = check_form(f, json_string_value(json), at, err);
    if (r == 0)
        *out = xstrdup(json_string_value(json));
    return r;
}

static int decode_int(const struct wire_field *f, const json_t *json, int64_t *out,
                      const struct path *at, struct err *err)
{
    if (!json_is_integer(json))
        return fail(at, err, "wants a whole number");
    json_int_t v = json_integer_value(json);
    if (v < f->min || v > f->max)
        return fail(at, err, "is %" JSON_INTEGER_FORMAT ", not between %" PRId64 " and %" PRId64, v,
                    f->min, f->max);
    *out = v;
    return 0;
}

static int decode_real(const struct wire_field *f, const json_t *json, double *out,
                       const struct path *at, struct err *err)
{
    if (!json_is_number(json))
        return fail(at, err, "wants a number");
    double v = json_number_value(json);
    if (!(v >= (double)f->min && v <= (double)f->max))
        return fail(at, err, "is %g, not between %" PRId64 " and %" PRId64, v, f->min, f->max);
    *out = v;
    return 0;
}

static int decode_enum(const struct wire_field *f, const json_t *json, unsigned *out,
                       const struct path *at, struct err *err)
{
    if (!json_is_string(json))
        return fail(at, err, "wants a string");
    unsigned first = f->flags & WIRE_NULLABLE ? 1 : 0;
    cleanup_strbuf struct strbuf known = {0};
    for (unsigned i = first; f->names[i]; i++) {
        if (strcmp(f->names[i], json_string_value(json)) == 0) {
            *out = i;
            return 0;
        }
        strbuf_addf(&known, "%s%s", known.n ? ", " : "", f->names[i]);
    }
    return fail(at, err, "is \"%.40s\", not one of %s", json_string_value(json),
                strbuf_str(&known));
}

static int check_list(const struct wire_field *f, const json_t *json, const struct path *at,
                      struct err *err)
{
    if (!json_is_array(json))
        return fail(at, err, "wants a list");
    if (json_array_size(json) > f->limit)
        return fail(at, err, "has more than %zu entries", f->limit);
    return 0;
}

static int decode_strings(const struct wire_field *f, const json_t *json, strvec *out,
                          const struct path *at, struct err *err)
{
    int r = check_list(f, json, at, err);
    for (size_t i = 0; r == 0 && i < json_array_size(json); i++) {
        struct path here = {at, NULL, (ssize_t)i};
        char *s = NULL;
        r = decode_string(f, json_array_get(json, i), &s, &here, err);
        if (r == 0)
            vec_push(out, s);
    }
    return r;
}

static int decode_map(const struct wire_field *f, const json_t *json, wire_map *out,
                      const struct path *at, struct err *err)
{
    if (!json_is_object(json))
        return fail(at, err, "wants an object");
    if (json_object_size(json) > f->limit)
        return fail(at, err, "has more than %zu entries", f->limit);
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)json, key, value) {
        struct path here = {at, key, -1};
        if (strlen(key) > f->text)
            return fail(at, err, "has a key longer than %zu bytes", f->text);
        int r = check_form(f, key, at, err);
        if (r == 0)
            r = check_text(f, value, &here, err);
        if (r < 0)
            return r;
        vec_push(out, (struct wire_pair){xstrdup(key), xstrdup(json_string_value(value))});
    }
    return 0;
}

static int pair_cmp(const void *a, const void *b)
{
    return strcmp(((const struct wire_pair *)a)->key, ((const struct wire_pair *)b)->key);
}

static int decode_list(const struct wire_field *f, const json_t *json, void *member,
                       const struct path *at, struct err *err)
{
    int r = check_list(f, json, at, err);
    if (r < 0 || json_array_size(json) == 0)
        return r;
    const struct wire_type *t = f->type();
    size_t n = json_array_size(json);
    struct any_vec v = {.items = xcalloc(n, t->size), .cap = n};
    /* n counts up with the items that exist, so that the destructor frees exactly those. */
    for (; r == 0 && v.n < n;) {
        struct path here = {at, NULL, (ssize_t)v.n};
        void *item = (char *)v.items + v.n * t->size;
        r = decode_object(t, json_array_get(json, v.n), item, &here, err);
        v.n++;
    }
    memcpy(member, &v, sizeof(v));
    return r;
}

static int decode_value(const struct wire_field *f, const json_t *json, void *member,
                        const struct path *at, struct err *err)
{
    int r;
    switch (f->kind) {
    case WIRE_VERSION:
        return decode_version(json, at, err);
    case WIRE_STRING:
        return decode_string(f, json, member, at, err);
    case WIRE_INT:
        return decode_int(f, json, member, at, err);
    case WIRE_REAL:
        return decode_real(f, json, member, at, err);
    case WIRE_BOOL:
        if (!json_is_boolean(json))
            return fail(at, err, "wants true or false");
        *(bool *)member = json_is_true(json);
        return 0;
    case WIRE_ENUM:
        return decode_enum(f, json, member, at, err);
    case WIRE_STRINGS:
        return decode_strings(f, json, member, at, err);
    case WIRE_MAP:
        r = decode_map(f, json, member, at, err);
        if (((wire_map *)member)->n > 1)
            qsort(((wire_map *)member)->items, ((wire_map *)member)->n, sizeof(struct wire_pair),
                  pair_cmp);
        return r;
    case WIRE_OBJECT:
        return decode_object(f->type(), json, member, at, err);
    case WIRE_LIST:
        return decode_list(f, json, member, at, err);
    }
    return fail(at, err, "unknown kind of field");
}

static int decode_field(const struct wire_field *f, const json_t *object, void *out,
                        const struct path *up, struct err *err)
{
    struct path at = {up, f->name, -1};
    const json_t *json = json_object_get(object, f->name);
    void *member = (char *)out + f->offset;
    if (f->kind == WIRE_REAL && (f->flags & WIRE_NULLABLE))
        *(double *)member = NAN;
    if (!json)
        return f->flags & WIRE_OPTIONAL ? 0 : fail(&at, err, "is missing");
    if (json_is_null(json))
        return f->flags & WIRE_NULLABLE ? 0 : fail(&at, err, "may not be null");
    if (held_by_pointer(f)) {
        void *pointee = xcalloc(1, pointee_size(f));
        memcpy(member, &pointee, sizeof(pointee));
        member = pointee;
    }
    return decode_value(f, json, member, &at, err);
}

static int decode_object(const struct wire_type *t, const json_t *json, void *out,
                         const struct path *at, struct err *err)
{
    if (!json_is_object(json))
        return fail(at, err, "wants an object");
    for (size_t i = 0; i < t->n; i++) {
        int r = decode_field(&t->fields[i], json, out, at, err);
        if (r < 0)
            return r;
    }
    struct err inner = ERR_INIT;
    if (t->check && t->check(out, &inner) < 0)
        return fail(at, err, "%s", inner.text);
    return 0;
}

int wire_from_json(const struct wire_type *type, const json_t *json, void *ret, struct err *err)
{
    cleanup_free void *value = xcalloc(1, type->size);
    int r = decode_object(type, json, value, NULL, err);
    if (r < 0) {
        wire_done(type, value);
        return err_wrap(err, "%s", type->name);
    }
    memcpy(ret, value, type->size);
    return 0;
}

int wire_decode(const struct wire_type *type, const char *text, size_t n, void *ret,
                struct err *err)
{
    if (n > type->max_text)
        return err_set(err, -E2BIG, "%s: longer than %zu bytes", type->name, type->max_text);
    json_t *json = NULL;
    int r = json_parse(text, n, type->max_text, &json, err);
    if (r < 0) {
        (void)!err_wrap(err, "%s", type->name);
        return r;
    }
    r = wire_from_json(type, json, ret, err);
    json_decref(json);
    return r;
}

/* ---- encoding ---- */

static void write_value(const struct wire_type *type, const void *value, struct strbuf *to);

static void write_int(int64_t v, struct strbuf *to)
{
    char text[24];
    int n = snprintf(text, sizeof(text), "%" PRId64, v);
    strbuf_addn(to, text, (size_t)n);
}

/* JSON has neither NAN nor infinities. */
static void write_real(double v, struct strbuf *to)
{
    char text[40];
    int n = isfinite(v) ? snprintf(text, sizeof(text), "%.17g", v) : 0;
    strbuf_addn(to, n ? text : "null", n ? (size_t)n : 4);
    if (n && !strpbrk(text, ".e"))
        strbuf_add(to, ".0"); /* it stays a real */
}

static void write_strings(const strvec *v, struct strbuf *to)
{
    strbuf_addc(to, '[');
    for (size_t i = 0; i < v->n; i++) {
        if (i)
            strbuf_addc(to, ',');
        json_write_text(to, v->items[i]);
    }
    strbuf_addc(to, ']');
}

static void write_map(const wire_map *map, struct strbuf *to)
{
    strbuf_addc(to, '{');
    for (size_t i = 0; i < map->n; i++) {
        if (i)
            strbuf_addc(to, ',');
        json_write_text(to, map->items[i].key);
        strbuf_addc(to, ':');
        json_write_text(to, map->items[i].value);
    }
    strbuf_addc(to, '}');
}

static void write_list(const struct wire_type *t, const void *member, struct strbuf *to)
{
    struct any_vec v = vec_load(member);
    strbuf_addc(to, '[');
    for (size_t i = 0; i < v.n; i++) {
        if (i)
            strbuf_addc(to, ',');
        write_value(t, (const char *)v.items + i * t->size, to);
    }
    strbuf_addc(to, ']');
}

static void write_enum(const struct wire_field *f, unsigned v, struct strbuf *to)
{
    if (v == 0 && (f->flags & WIRE_NULLABLE))
        strbuf_add(to, "null");
    else
        json_write_text(to, f->names[v]);
}

static void write_member(const struct wire_field *f, const void *member, struct strbuf *to)
{
    switch (f->kind) {
    case WIRE_VERSION:
        strbuf_addc(to, '1');
        return;
    case WIRE_STRING:
        if (*(char *const *)member)
            json_write_text(to, *(char *const *)member);
        else
            strbuf_add(to, "null");
        return;
    case WIRE_INT:
        write_int(*(const int64_t *)member, to);
        return;
    case WIRE_REAL:
        write_real(*(const double *)member, to);
        return;
    case WIRE_BOOL:
        strbuf_add(to, *(const bool *)member ? "true" : "false");
        return;
    case WIRE_ENUM:
        write_enum(f, *(const unsigned *)member, to);
        return;
    case WIRE_STRINGS:
        write_strings(member, to);
        return;
    case WIRE_MAP:
        write_map(member, to);
        return;
    case WIRE_OBJECT:
        write_value(f->type(), member, to);
        return;
    case WIRE_LIST:
        write_list(f->type(), member, to);
        return;
    }
}

static void write_field(const struct wire_field *f, const void *value, struct strbuf *to)
{
    const void *member = member_of(f, value);
    const char *text = NULL;
    if (f->as_text)
        memcpy(&text, (const char *)value + f->as_text, sizeof(text));
    if (text)
        strbuf_add(to, text);
    else if (member)
        write_member(f, member, to);
    else
        strbuf_add(to, "null");
}

static int field_cmp(const void *a, const void *b)
{
    return strcmp((*(const struct wire_field *const *)a)->name,
                  (*(const struct wire_field *const *)b)->name);
}

static void write_value(const struct wire_type *type, const void *value, struct strbuf *to)
{
    const struct wire_field *fields[WIRE_FIELDS_MAX];
    assert(type->n <= WIRE_FIELDS_MAX);
    for (size_t i = 0; i < type->n; i++)
        fields[i] = &type->fields[i];
    qsort(fields, type->n, sizeof(*fields), field_cmp);
    for (size_t i = 0; i < type->n; i++) {
        strbuf_addc(to, i ? ',' : '{');
        json_write_text(to, fields[i]->name);
        strbuf_addc(to, ':');
        write_field(fields[i], value, to);
    }
    strbuf_addc(to, '}');
}

char *wire_encode(const struct wire_type *type, const void *value)
{
    struct strbuf text = {0};
    write_value(type, value, &text);
    return strbuf_steal(&text);
}

char *wire_encode_member(const struct wire_type *type, const void *value, const char *name)
{
    struct strbuf text = {0};
    for (size_t i = 0; i < type->n; i++)
        if (str_eq(type->fields[i].name, name))
            write_field(&type->fields[i], value, &text);
    assert(text.n);
    return strbuf_steal(&text);
}

json_t *wire_to_json(const struct wire_type *type, const void *value)
{
    cleanup_free char *text = wire_encode(type, value);
    json_t *json = json_loads(text, 0, NULL);
    if (!json)
        abort(); /* no memory: as the allocators of common/mem.h */
    return json;
}

/* ---- ownership ---- */

static void map_done(wire_map *map)
{
    VEC_FOREACH (map, pair) {
        free(pair->key);
        free(pair->value);
    }
    vec_free(map);
}

static void list_done(const struct wire_type *t, void *member)
{
    struct any_vec v = vec_load(member);
    for (size_t i = 0; i < v.n; i++)
        wire_done(t, (char *)v.items + i * t->size);
    free(v.items);
}

static void field_done(const struct wire_field *f, void *value)
{
    void *member = member_of(f, value);
    if (!member)
        return;
    switch (f->kind) {
    case WIRE_STRING:
        free(*(char **)member);
        break;
    case WIRE_STRINGS:
        strvec_done(member);
        break;
    case WIRE_MAP:
        map_done(member);
        break;
    case WIRE_OBJECT:
        wire_done(f->type(), member);
        break;
    case WIRE_LIST:
        list_done(f->type(), member);
        break;
    default:
        break;
    }
    if (held_by_pointer(f))
        free(member);
}

void wire_done(const struct wire_type *type, void *value)
{
    for (size_t i = 0; i < type->n; i++)
        field_done(&type->fields[i], value);
    memset(value, 0, type->size);
}

static void list_copy(const struct wire_type *t, void *to, const void *from)
{
    struct any_vec v = vec_load(from), copy = {0};
    if (v.n > 0)
        copy = (struct any_vec){xcalloc(v.n, t->size), v.n, v.n};
    for (size_t i = 0; i < v.n; i++)
        wire_copy(t, (char *)copy.items + i * t->size, (const char *)v.items + i * t->size);
    memcpy(to, &copy, sizeof(copy));
}

static void value_copy(const struct wire_field *f, void *to, const void *from)
{
    switch (f->kind) {
    case WIRE_VERSION:
        break;
    case WIRE_STRING:
        *(char **)to = xstrdup(*(char *const *)from);
        break;
    case WIRE_INT:
        *(int64_t *)to = *(const int64_t *)from;
        break;
    case WIRE_REAL:
        *(double *)to = *(const double *)from;
        break;
    case WIRE_BOOL:
        *(bool *)to = *(const bool *)from;
        break;
    case WIRE_ENUM:
        *(unsigned *)to = *(const unsigned *)from;
        break;
    case WIRE_STRINGS:
        VEC_FOREACH ((const strvec *)from, s)
            strvec_add(to, *s);
        break;
    case WIRE_MAP:
        VEC_FOREACH ((const wire_map *)from, pair)
            vec_push((wire_map *)to, (struct wire_pair){xstrdup(pair->key), xstrdup(pair->value)});
        break;
    case WIRE_OBJECT:
        wire_copy(f->type(), to, from);
        break;
    case WIRE_LIST:
        list_copy(f->type(), to, from);
        break;
    }
}

static void field_copy(const struct wire_field *f, void *to, const void *from)
{
    const void *source = member_of(f, from);
    void *target = (char *)to + f->offset;
    if (!source)
        return;
    if (held_by_pointer(f)) {
        void *pointee = xcalloc(1, pointee_size(f));
        memcpy(target, &pointee, sizeof(pointee));
        target = pointee;
    }
    value_copy(f, target, source);
}

void wire_copy(const struct wire_type *type, void *ret, const void *value)
{
    memset(ret, 0, type->size);
    for (size_t i = 0; i < type->n; i++)
        field_copy(&type->fields[i], ret, value);
}

const char *wire_map_get(const wire_map *map, const char *key)
{
    VEC_FOREACH (map, pair)
        if (strcmp(pair->key, key) == 0)
            return pair->value;
    return NULL;
}

void wire_map_set(wire_map *map, const char *key, const char *value)
{
    size_t i = 0;
    while (i < map->n && strcmp(map->items[i].key, key) < 0)
        i++;
    if (i < map->n && strcmp(map->items[i].key, key) == 0) {
        str_replace(&map->items[i].value, value);
        return;
    }
    vec_reserve(map, 1);
    memmove(&map->items[i + 1], &map->items[i], (map->n - i) * sizeof(*map->items));
    map->items[i] = (struct wire_pair){xstrdup(key), xstrdup(value)};
    map->n++;
}
