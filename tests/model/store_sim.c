#include "tests/model/store_sim.h"

#include <inttypes.h>

/* ---- cells ---- */

static int look_for_column(enum table_id table, const char *name)
{
    const struct table *t = table_of(table);
    for (size_t i = 0; i < t->n_columns; i++)
        if (t->columns[i].name == name || str_eq(t->columns[i].name, name))
            return (int)i;
    fprintf(stderr, "table %s has no column %s\n", t->name, name);
    abort();
}

/* Names are literals: each is looked for once. */
static int find_column(enum table_id table, const char *name)
{
    static struct {
        const char *name;
        enum table_id table;
        int column;
    } known[1024];
    size_t at = ((uintptr_t)name * 31 + table) % (sizeof(known) / sizeof(*known));
    if (known[at].name != name || known[at].table != table) {
        known[at].column = look_for_column(table, name);
        known[at].name = name;
        known[at].table = table;
    }
    return known[at].column;
}

const struct cell *row_cell(const struct change *row, const char *column)
{
    return &row->cells[find_column(row->table, column)];
}

const char *row_text(const struct change *row, const char *column)
{
    const char *s = row_cell(row, column)->s;
    return s ? s : "";
}

int64_t row_int(const struct change *row, const char *column)
{
    return row_cell(row, column)->i;
}

static void add_key_cell(struct strbuf *b, const struct cell *c)
{
    char digits[20]; /* of numbers, of which none is negative, all: they sort as texts */
    if (c->is_text) {
        strbuf_add(b, c->s ? c->s : "");
    } else {
        uint64_t left = (uint64_t)c->i;
        for (size_t i = sizeof(digits); i-- > 0; left /= 10)
            digits[i] = (char)('0' + left % 10);
        strbuf_addn(b, digits, sizeof(digits));
    }
    strbuf_addc(b, '\n');
}

char *row_key(const struct change *row)
{
    struct strbuf b = {0};
    for (size_t i = 0; i < table_of(row->table)->n_key; i++)
        add_key_cell(&b, &row->cells[i]);
    return strbuf_steal(&b);
}

/* ---- versions ---- */

void row_version_drop(struct row_version *v)
{
    if (!v || --v->refs)
        return;
    for (size_t i = 0; i < v->change.n_cells; i++)
        free(v->change.cells[i].s);
    free(v->change.cells);
    free(v);
}

static struct row_version *keep(struct row_version *v)
{
    if (v)
        v->refs++;
    return v;
}

static void set(struct row_version **at, struct row_version *v)
{
    struct row_version *kept = v && v->change.deleted ? NULL : keep(v);
    row_version_drop(*at);
    *at = kept;
}

static struct store_row *row_of(struct store_sim *s, const struct change *change)
{
    struct store_row *row = NULL;
    cleanup_free char *key = row_key(change);
    HASH_FIND_STR(s->table[change->table], key, row);
    if (row)
        return row;
    row = xnew(struct store_row);
    row->key = steal_ptr(key);
    HASH_ADD_KEYPTR(hh, s->table[change->table], row->key, strlen(row->key), row);
    s->sorted[change->table] = false;
    return row;
}

struct row_version *store_sim_write(struct store_sim *s, struct change *change,
                                    const struct row_version **ret_old)
{
    static _Thread_local struct row_version *before;
    struct row_version *v = xnew(struct row_version);
    v->refs = 1;
    v->change = *change;
    *change = (struct change){0};
    struct store_row *row = v->row = row_of(s, &v->change);
    row_version_drop(before);
    *ret_old = before = keep(row->latest);
    set(&row->latest, v);
    return v;
}

/* ---- constraints, as in schema/ ---- */

static const char *check_row(const struct change *c)
{
    if (c->deleted || c->table != TABLE_JOB)
        return NULL;
    bool succeeded = str_eq(row_text(c, "state"), "succeeded");
    bool digests = *row_text(c, "manifest_digest") && *row_text(c, "content_digest");
    return succeeded && !digests ? "job: succeeded without digests" : NULL;
}

const char *store_sim_commit(struct store_sim *s, struct row_version *v)
{
    set(&v->row->committed, v);
    return check_row(&v->change);
}

static const struct foreign_key {
    enum table_id table;
    const char *column;
    enum table_id to;
} foreign_keys[] = {
    {TABLE_REF, "source", TABLE_SOURCE},
    {TABLE_SLOT, "track", TABLE_TRACK},
    {TABLE_SLOT, "last_key", TABLE_JOB},
    {TABLE_ATTEMPT, "job_key", TABLE_JOB},
    {TABLE_RESULT, "attempt", TABLE_ATTEMPT},
    {TABLE_BUILD_JOB, "build", TABLE_BUILD},
    {TABLE_BUILD_JOB, "job_key", TABLE_JOB},
    {TABLE_PUBLICATION_TAG, "publication", TABLE_PUBLICATION},
    {TABLE_TAG, "publication", TABLE_PUBLICATION},
};

const struct change *store_sim_find(const struct store_sim *s, bool latest, enum table_id table,
                                    const char *text, int64_t number)
{
    struct cell cell = {.is_text = text != NULL, .s = (char *)(uintptr_t)text, .i = number};
    struct strbuf key = {0};
    add_key_cell(&key, &cell);
    struct store_row *row = NULL;
    HASH_FIND_STR(s->table[table], strbuf_str(&key), row);
    strbuf_done(&key);
    const struct row_version *v = !row ? NULL : latest ? row->latest : row->committed;
    return v ? &v->change : NULL;
}

/* Whether a row still refers to what is deleted. */
static bool referred_to(const struct store_sim *s, const struct foreign_key *f,
                        const struct change *gone)
{
    for (const struct store_row *row = s->table[f->table]; row; row = row->hh.next) {
        if (!row->committed)
            continue;
        const struct cell *cell = row_cell(&row->committed->change, f->column);
        if (cell->is_text ? str_eq(cell->s, gone->cells[0].s) : cell->i == gone->cells[0].i)
            return true;
    }
    return false;
}

const char *store_sim_check(const struct store_sim *s, const row_versions *batch)
{
    VEC_FOREACH (batch, it) {
        const struct change *c = &(*it)->change;
        for (size_t i = 0; i < sizeof(foreign_keys) / sizeof(*foreign_keys); i++) {
            const struct foreign_key *f = &foreign_keys[i];
            if (c->deleted && f->to == c->table && referred_to(s, f, c))
                return f->column;
            if (c->deleted || f->table != c->table)
                continue;
            const struct cell *cell = row_cell(c, f->column);
            if (cell->is_text && !cell->s)
                continue;
            if (!store_sim_find(s, false, f->to, cell->is_text ? cell->s : NULL, cell->i))
                return f->column;
        }
    }
    return NULL;
}

/* ---- losing and loading ---- */

static void free_row(struct store_sim *s, int table, struct store_row *row)
{
    HASH_DEL(s->table[table], row);
    row_version_drop(row->latest);
    row_version_drop(row->committed);
    free(row->key);
    free(row);
}

void store_sim_crash(struct store_sim *s)
{
    for (int t = 0; t < TABLE_COUNT; t++) {
        struct store_row *row, *next;
        HASH_ITER(hh, s->table[t], row, next)
        {
            if (!row->committed)
                free_row(s, t, row);
            else
                set(&row->latest, row->committed);
        }
    }
}

void store_sim_done(struct store_sim *s)
{
    for (int t = 0; t < TABLE_COUNT; t++) {
        struct store_row *row, *next;
        HASH_ITER(hh, s->table[t], row, next)
        free_row(s, t, row);
    }
}

static const struct change *version(const struct store_row *row, bool latest)
{
    const struct row_version *v = latest ? row->latest : row->committed;
    return v ? &v->change : NULL;
}

/* finished_at = 0 OR id IN (SELECT build FROM track) */
static bool live_build(const struct store_sim *s, bool latest, int64_t id)
{
    const struct change *build = store_sim_find(s, latest, TABLE_BUILD, NULL, id);
    if (build && !row_int(build, "finished_at"))
        return true;
    for (const struct store_row *row = s->table[TABLE_TRACK]; row; row = row->hh.next) {
        const struct change *track = version(row, latest);
        if (track && row_int(track, "build") == id)
            return true;
    }
    return false;
}

/* What rows_tables.c says in SQL: load_where. */
static bool loaded(const struct store_sim *s, bool latest, const struct change *row)
{
    switch (row->table) {
    case TABLE_ATTEMPT:
        return row_cell(row, "secret")->s != NULL;
    case TABLE_BUILD:
    case TABLE_BUILD_JOB:
        return live_build(s, latest, row->cells[0].i);
    default:
        return !str_eq(table_of(row->table)->load_where, "0");
    }
}

static int by_key(const struct store_row *a, const struct store_row *b)
{
    return strcmp(a->key, b->key);
}

void store_sim_load(struct store_sim *s, bool latest, store_sim_fn fn, void *data)
{
    for (int t = 0; t < TABLE_COUNT; t++) {
        if (!s->sorted[t])
            HASH_SORT(s->table[t], by_key);
        s->sorted[t] = true;
        for (const struct store_row *row = s->table[t]; row; row = row->hh.next) {
            const struct change *c = version(row, latest);
            if (c && loaded(s, latest, c))
                fn(data, (enum table_id)t, c);
        }
    }
}
