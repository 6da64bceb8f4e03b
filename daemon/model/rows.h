/* Rows: how the model's objects look to the store, and nothing more.
 *
 * Each kind of object that outlives a turn has one table: columns that name a member of its struct.
 * From that one description come the row that a turn writes (row_encode), the object that a start
 * loads (row_decode) and the statements of the store, which knows no meaning. */
#pragma once

#include "common/mem.h"

enum table_id {
    TABLE_SETTING,
    TABLE_SOURCE,
    TABLE_REF,
    TABLE_CONTEXT,
    TABLE_EPOCH,
    TABLE_BASE,
    TABLE_TRACK,
    TABLE_SLOT,
    TABLE_JOB,
    TABLE_ATTEMPT,
    TABLE_RESULT,
    TABLE_BUILD,
    TABLE_BUILD_JOB,
    TABLE_PUBLICATION,
    TABLE_PUBLICATION_TAG,
    TABLE_TAG,
    TABLE_BOARD,
    TABLE_ACTION,
    TABLE_RETENTION,
    TABLE_PAST_PUBLICATION,
    TABLE_COUNT
};

enum column_type {
    COLUMN_TEXT, /* char *, owned; NULL is SQL's NULL */
    COLUMN_INT,  /* int64_t */
    COLUMN_BOOL, /* bool, 0 or 1 in the store */
    COLUMN_ENUM, /* an enum, stored as its name */
};

struct column {
    const char *name;
    enum column_type type;
    size_t offset;
    const char *const *names; /* COLUMN_ENUM: value -> name, NULL-terminated */
};

struct table {
    const char *name;
    const struct column *columns;
    size_t n_columns;
    size_t n_key;           /* the first n_key columns are the primary key */
    size_t size;            /* of the struct */
    const char *load_where; /* which rows a start loads (SQL); NULL for all, "0" for none */
};

/* The description of a table; never NULL. */
const struct table *table_of(enum table_id id);

/* One value; text is owned. */
struct cell {
    bool is_text, is_null;
    int64_t i;
    char *s;
};

/* One row to write (upsert by key) or to delete (then only the key's cells are set). */
struct change {
    enum table_id table;
    bool deleted;
    size_t n_cells;
    struct cell *cells;
};

/* All that one or more turns changed, in order. Zeroed is empty. */
struct delta {
    VEC(struct change) changes;
};

/* Appends the row of `object`, a struct of that table, to the delta; strings are copied. */
void delta_upsert(struct delta *d, enum table_id table, const void *object);
/* Appends the deletion of `object`'s row. */
void delta_delete(struct delta *d, enum table_id table, const void *object);
/* Moves all of `from` to the end of `to`; leaves `from` empty. */
void delta_append(struct delta *to, struct delta *from);
/* Frees it; leaves it empty. */
void delta_done(struct delta *d);

/* Appends the row of `object` in a form for this process alone, without an allocation for each value: for copies of a whole
 * model. Texts of the columns in `without` (bit i: column i) are left empty. */
void row_pack(struct strbuf *to, enum table_id table, const void *object, uint64_t without);
/* Begins to fetch an object's struct into the cache. */
static inline void object_prefetch(const void *object)
{
    for (size_t i = 0; i < 512; i += 64)
        __builtin_prefetch((const char *)object + i);
}
/* Begins to fetch its texts; the struct had better be there. */
void row_prefetch(enum table_id table, const void *object);
/* Fills the columns of `object` (zeroed, of the table's size) from what row_pack appended; returns its end. */
const char *row_unpack(enum table_id table, const char *packed, void *object);

/* Fills the columns of `object` (zeroed, of the table's size) from `cells`, n_columns of them. An unknown
 * enum name gives -EINVAL. Strings are copied. */
int row_decode(enum table_id table, const struct cell *cells, void *object);
/* The same, but that texts stay the cells': for a look at a row. */
int row_borrow(enum table_id table, const struct cell *cells, void *object);
/* Frees the strings of `object` that are columns. */
void row_done(enum table_id table, void *object);
