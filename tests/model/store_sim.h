/* The store in memory: tables of cells, to which the rows of each turn are applied; what is committed beside what
 * will be once all batches are. It holds the model to the schema's constraints. */
#pragma once

#include "daemon/model/rows.h"

#include <uthash.h>

/* One version of a row, shared by those that hold it. */
struct row_version {
    int refs;
    struct change change;
    struct store_row *row; /* weak: rows are there until a crash */
};

struct store_row {
    char *key;
    struct row_version *latest, *committed; /* NULL: not there */
    UT_hash_handle hh;
};

struct store_sim {
    struct store_row *table[TABLE_COUNT];
    bool sorted[TABLE_COUNT]; /* by key, since rows were last added */
};

typedef VEC(struct row_version *) row_versions;

/* Frees what it holds. */
void store_sim_done(struct store_sim *s);
/* Takes over one row that a turn has written. The caller drops what it returns; *ret_old, what was there before, is
 * borrowed until the next call for that row, NULL for nothing. */
struct row_version *store_sim_write(struct store_sim *s, struct change *change,
                                    const struct row_version **ret_old);
/* Commits the row. Returns what constraint it breaks, static, or NULL. */
const char *store_sim_commit(struct store_sim *s, struct row_version *v);
/* After all rows of a batch: what foreign key leads nowhere, or NULL. */
const char *store_sim_check(const struct store_sim *s, const row_versions *batch);
/* The process is gone: what is not committed is lost. */
void store_sim_crash(struct store_sim *s);
/* One more reference less. */
void row_version_drop(struct row_version *v);

/* Called with each row that a start loads. */
typedef void (*store_sim_fn)(void *data, enum table_id table, const struct change *row);
/* Loads, as SQLite would, by primary key; with `latest` what will be committed, else what is. */
void store_sim_load(struct store_sim *s, bool latest, store_sim_fn fn, void *data);

/* The latest, or the committed, version of the row with that key; NULL: none. */
const struct change *store_sim_find(const struct store_sim *s, bool latest, enum table_id table,
                                    const char *text, int64_t number);
/* The cell of that name. */
const struct cell *row_cell(const struct change *row, const char *column);
/* Its text, "" for NULL. */
const char *row_text(const struct change *row, const char *column);
/* Its number. */
int64_t row_int(const struct change *row, const char *column);
/* The key under which the store has the row: the caller owns it. */
char *row_key(const struct change *row);
