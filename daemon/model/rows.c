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

int row_decode(enum table_id table, const struct cell *cells, void *object)
{
    const struct table *t = table_of(table);
    for (size_t i = 0; i < t->n_columns; i++) {
        const struct column *c = &t->columns[i];
        void *p = member(object, c);
        if (c->type == COLUMN_TEXT)
            *(char **)p = xstrdup(cells[i].s);
        else if (c->type == COLUMN_INT)
            *(int64_t *)p = cells[i].i;
        else if (c->type == COLUMN_BOOL)
            *(bool *)p = cells[i].i != 0;
        else if (decode_enum(c, cells[i].s, p) < 0)
            return -EINVAL;
    }
    return 0;
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
