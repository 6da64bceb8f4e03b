#include "daemon/model/rows.h"

#include <errno.h>

static void *member(const void *object, const struct column *c)
{
    return (char *)(uintptr_t)object + c->offset;
}

static struct cell encode_cell(const struct column *c, const void *object)
{
    const void *p = member(object, c);
    switch (c->type) {
    case COLUMN_TEXT: {
        const char *s = *(char *const *)p;
        return (struct cell){.is_text = true, .is_null = !s, .s = xstrdup(s)};
    }
    case COLUMN_INT:
        return (struct cell){.i = *(const int64_t *)p};
    case COLUMN_BOOL:
        return (struct cell){.i = *(const bool *)p};
    case COLUMN_ENUM:
        return (struct cell){.is_text = true, .s = xstrdup(c->names[*(const unsigned *)p])};
    }
    abort();
}

static void delta_add(struct delta *d, enum table_id id, const void *object, size_t n, bool deleted)
{
    const struct table *t = table_of(id);
    struct change change = {.table = id, .deleted = deleted, .n_cells = n};
    change.cells = xcalloc(n, sizeof(struct cell));
    for (size_t i = 0; i < n; i++)
        change.cells[i] = encode_cell(&t->columns[i], object);
    vec_push(&d->changes, change);
}

void delta_upsert(struct delta *d, enum table_id table, const void *object)
{
    delta_add(d, table, object, table_of(table)->n_columns, false);
}

void delta_delete(struct delta *d, enum table_id table, const void *object)
{
    delta_add(d, table, object, table_of(table)->n_key, true);
}

void delta_append(struct delta *to, struct delta *from)
{
    vec_reserve(&to->changes, from->changes.n);
    VEC_FOREACH (&from->changes, change)
        to->changes.items[to->changes.n++] = *change;
    vec_free(&from->changes);
}

void delta_done(struct delta *d)
{
    VEC_FOREACH (&d->changes, change) {
        for (size_t i = 0; i < change->n_cells; i++)
            free(change->cells[i].s);
        free(change->cells);
    }
    vec_free(&d->changes);
}

static int decode_enum(const struct column *c, const char *name, unsigned *ret)
{
    for (unsigned v = 0; c->names[v]; v++)
        if (str_eq(c->names[v], name)) {
            *ret = v;
            return 0;
        }
    return -EINVAL;
}

static int decode(enum table_id table, const struct cell *cells, void *object, bool borrow)
{
    const struct table *t = table_of(table);
    for (size_t i = 0; i < t->n_columns; i++) {
        const struct column *c = &t->columns[i];
        void *p = member(object, c);
        if (c->type == COLUMN_TEXT)
            *(char **)p = borrow ? cells[i].s : xstrdup(cells[i].s);
        else if (c->type == COLUMN_INT)
            *(int64_t *)p = cells[i].i;
        else if (c->type == COLUMN_BOOL)
            *(bool *)p = cells[i].i != 0;
        else if (decode_enum(c, cells[i].s, p) < 0)
            return -EINVAL;
    }
    return 0;
}

int row_decode(enum table_id table, const struct cell *cells, void *object)
{
    return decode(table, cells, object, false);
}

int row_borrow(enum table_id table, const struct cell *cells, void *object)
{
    return decode(table, cells, object, true);
}

/* ---- packed ---- */

#define NO_TEXT UINT32_MAX

static inline size_t size_of(enum column_type type)
{
    return type == COLUMN_INT    ? sizeof(int64_t)
           : type == COLUMN_BOOL ? sizeof(bool)
                                 : sizeof(unsigned);
}

/* Room for `n` more bytes; a copy is long, so it grows by much. */
static char *room(struct strbuf *to, size_t n)
{
    if (to->n + n + 1 > to->cap) {
        size_t cap = to->cap ? to->cap * 2 : (size_t)1 << 20;
        to->cap = cap < to->n + n + 1 ? to->n + n + 1 : cap;
        to->s = xrealloc(to->s, to->cap, 1);
    }
    return to->s + to->n;
}

void row_prefetch(enum table_id table, const void *object)
{
    const struct table *t = table_of(table);
    for (size_t i = 0; i < t->n_columns; i++) {
        if (t->columns[i].type != COLUMN_TEXT)
            continue;
        const char *s = *(char *const *)member(object, &t->columns[i]);
        __builtin_prefetch(s);
        __builtin_prefetch(s + 64);
    }
}

static void pack_text(struct strbuf *to, const char *s)
{
    uint32_t n = s ? (uint32_t)strlen(s) : NO_TEXT;
    char *w = room(to, sizeof(n) + (s ? (size_t)n + 1 : 0));
    memcpy(w, &n, sizeof(n));
    to->n += sizeof(n);
    if (!s)
        return;
    memcpy(w + sizeof(n), s, (size_t)n + 1);
    to->n += (size_t)n + 1;
}

void row_pack(struct strbuf *to, enum table_id table, const void *object, uint64_t without)
{
    const struct table *t = table_of(table);
    room(to, t->n_columns * sizeof(int64_t));
    for (size_t i = 0; i < t->n_columns; i++) {
        const struct column *c = &t->columns[i];
        const void *p = member(object, c);
        if (c->type == COLUMN_TEXT) {
            pack_text(to, without >> i & 1 ? "" : *(char *const *)p);
            room(to, (t->n_columns - i) * sizeof(int64_t));
            continue;
        }
        size_t n = size_of(c->type);
        memcpy(to->s + to->n, p, n);
        to->n += n;
    }
}

static const char *unpack_text(const char *packed, char **ret)
{
    uint32_t n;
    memcpy(&n, packed, sizeof(n));
    packed += sizeof(n);
    *ret = n == NO_TEXT ? NULL : xmemdup(packed, (size_t)n + 1);
    return n == NO_TEXT ? packed : packed + n + 1;
}

const char *row_unpack(enum table_id table, const char *packed, void *object)
{
    const struct table *t = table_of(table);
    for (size_t i = 0; i < t->n_columns; i++) {
        const struct column *c = &t->columns[i];
        void *p = member(object, c);
        if (c->type == COLUMN_TEXT) {
            packed = unpack_text(packed, p);
            continue;
        }
        size_t n = size_of(c->type);
        memcpy(p, packed, n);
        packed += n;
    }
    return packed;
}

void row_done(enum table_id table, void *object)
{
    const struct table *t = table_of(table);
    for (size_t i = 0; i < t->n_columns; i++)
        if (t->columns[i].type == COLUMN_TEXT) {
            char **s = member(object, &t->columns[i]);
            free(*s);
            *s = NULL;
        }
}
