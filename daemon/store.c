/* See store.h. The thread owns the connection from store_start to store_close.
 *
 *     happy path     idle -> committing -> done (callback on the loop) -> idle
 *     failure modes  no room: committing again, once a second, for ever; anything else: done, with an error */
#include "daemon/store_int.h"

#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

#define RETRY_MS 1000

struct statements {
    sqlite3_stmt *upsert, *delete;
};

struct store {
    char *path;
    int lock_fd; /* locked as long as the daemon lives: one coordinator a store */
    sqlite3 *db;
    struct statements statements[TABLE_COUNT];
    uv_thread_t thread;
    uv_async_t async;
    uv_mutex_t lock; /* of all below */
    uv_cond_t wake;
    bool started, stop;
    bool have_batch, have_answer;
    struct delta batch;
    struct err answer;
    char *stalled;
    store_done_fn done; /* the loop's alone, like all below */
    void *data;
    bool busy;
    store_stall_fn stall;
    void *stall_data;
    bool told_stalled; /* what `stall` was called with last */
};

/* ---- statements ---- */

/* The first `n` columns, each followed by `after`. */
static void add_columns(struct strbuf *b, const struct table *t, size_t n, const char *after,
                        const char *separator)
{
    for (size_t i = 0; i < n; i++)
        strbuf_addf(b, "%s\"%s\"%s", i ? separator : "", t->columns[i].name, after);
}

static void add_updates(struct strbuf *b, const struct table *t)
{
    for (size_t i = t->n_key; i < t->n_columns; i++)
        strbuf_addf(b, "%s\"%s\"=excluded.\"%s\"", i > t->n_key ? ", " : "", t->columns[i].name,
                    t->columns[i].name);
}

static char *upsert_sql(const struct table *t)
{
    struct strbuf b = {0};
    strbuf_addf(&b, "INSERT INTO \"%s\" (", t->name);
    add_columns(&b, t, t->n_columns, "", ", ");
    strbuf_add(&b, ") VALUES (?");
    for (size_t i = 1; i < t->n_columns; i++)
        strbuf_add(&b, ", ?");
    strbuf_add(&b, ") ON CONFLICT (");
    add_columns(&b, t, t->n_key, "", ", ");
    strbuf_add(&b, ") DO UPDATE SET ");
    add_updates(&b, t);
    return strbuf_steal(&b);
}

static char *delete_sql(const struct table *t)
{
    struct strbuf b = {0};
    strbuf_addf(&b, "DELETE FROM \"%s\" WHERE ", t->name);
    add_columns(&b, t, t->n_key, "=?", " AND ");
    return strbuf_steal(&b);
}

static int prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret, struct err *err)
{
    int rc = sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL);
    return rc == SQLITE_OK ? 0 : store_error(db, rc, err, "store: %s", sql);
}

static int prepare_all(struct store *s, struct err *err)
{
    for (int i = 0; i < TABLE_COUNT; i++) {
        const struct table *t = table_of((enum table_id)i);
        cleanup_free char *upsert = upsert_sql(t), *delete = delete_sql(t);
        int r = prepare(s->db, upsert, &s->statements[i].upsert, err);
        if (r == 0)
            r = prepare(s->db, delete, &s->statements[i].delete, err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- writing ---- */

static int bind_row(sqlite3_stmt *stmt, const struct change *change)
{
    for (size_t i = 0; i < change->n_cells; i++) {
        const struct cell *c = &change->cells[i];
        int rc = !c->is_text  ? sqlite3_bind_int64(stmt, (int)i + 1, c->i)
                 : c->is_null ? sqlite3_bind_null(stmt, (int)i + 1)
                              : sqlite3_bind_text(stmt, (int)i + 1, c->s, -1, SQLITE_STATIC);
        if (rc != SQLITE_OK)
            return rc;
    }
    return SQLITE_OK;
}

static int write_change(struct store *s, const struct change *change, struct err *err)
{
    struct statements *st = &s->statements[change->table];
    sqlite3_stmt *stmt = change->deleted ? st->delete : st->upsert;
    int rc = bind_row(stmt, change);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    int r = rc == SQLITE_DONE ? 0
                              : store_error(s->db, rc, err, "store: writing to %s",
                                            table_of(change->table)->name);
    sqlite3_reset(stmt);
    return r;
}

static int write_batch(struct store *s, struct err *err)
{
    /* Rows come in the order of their changes, not of their references. */
    int r = store_exec(s->db, "BEGIN IMMEDIATE; PRAGMA defer_foreign_keys=ON;", err);
    VEC_FOREACH (&s->batch.changes, change) {
        if (r < 0)
            break;
        r = write_change(s, change, err);
    }
    if (r == 0)
        r = store_exec(s->db, "COMMIT", err);
    if (r == 0)
        return 0;
    if (!sqlite3_get_autocommit(s->db)) {
        struct err ignored = ERR_INIT;
        if (store_exec(s->db, "ROLLBACK", &ignored) < 0)
            log_warning("%s", ignored.text);
    }
    return r;
}

/* ---- the thread ---- */

static void note_stall(struct store *s, const struct err *err)
{
    uv_mutex_lock(&s->lock);
    if (err && !s->stalled)
        log_error("%s: the farm stands still until there is room", err->text);
    else if (!err && s->stalled)
        log_info("store: there is room again");
    str_replace(&s->stalled, err ? err->text : NULL);
    uv_async_send(&s->async);
    uv_mutex_unlock(&s->lock);
}

static bool stopping(struct store *s)
{
    uv_mutex_lock(&s->lock);
    bool stop = s->stop;
    uv_mutex_unlock(&s->lock);
    return stop;
}

static void commit_until_done(struct store *s, struct err *err)
{
    for (;;) {
        *err = ERR_INIT;
        int r = write_batch(s, err);
        if (r == 0 || !err->retryable)
            break;
        note_stall(s, err);
        if (stopping(s))
            return;
        uv_sleep(RETRY_MS);
    }
    note_stall(s, NULL);
}

static void run(void *arg)
{
    struct store *s = arg;
    uv_mutex_lock(&s->lock);
    while (!s->stop || s->have_batch) {
        if (!s->have_batch) {
            uv_cond_wait(&s->wake, &s->lock);
            continue;
        }
        uv_mutex_unlock(&s->lock);
        struct err err = ERR_INIT;
        commit_until_done(s, &err);
        delta_done(&s->batch);
        uv_mutex_lock(&s->lock);
        s->have_batch = false;
        s->have_answer = true;
        s->answer = err;
        uv_async_send(&s->async);
    }
    uv_mutex_unlock(&s->lock);
}

static void on_async(uv_async_t *async)
{
    struct store *s = async->data;
    uv_mutex_lock(&s->lock);
    bool have = s->have_answer, stalled = s->stalled;
    struct err err = s->answer;
    s->have_answer = false;
    uv_mutex_unlock(&s->lock);
    if (stalled != s->told_stalled) {
        s->told_stalled = stalled;
        s->stall(s->stall_data, stalled);
    }
    if (!have)
        return;
    s->busy = false;
    s->done(s->data, &err);
}

/* ---- the interface ---- */

static int take_lock(struct store *s, struct err *err)
{
    cleanup_free char *path = xasprintf("%s.lock", s->path);
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (s->lock_fd < 0)
        return err_errno(err, -errno, "the store's lock");
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return err_set(err, -EBUSY, "another coordinator has this store");
    return 0;
}

int store_open(const char *path, struct store **ret_store, struct err *err)
{
    struct store *s = xnew(struct store);
    s->path = xstrdup(path);
    s->lock_fd = -1;
    uv_mutex_init(&s->lock);
    uv_cond_init(&s->wake);
    int r = take_lock(s, err);
    if (r == 0)
        r = store_connect(path, true, &s->db, err);
    if (r == 0)
        r = store_migrate(s->db, err);
    if (r == 0)
        r = prepare_all(s, err);
    if (r < 0) {
        store_close(s);
        return err_wrap(err, "%s", path);
    }
    *ret_store = s;
    return 0;
}

static int load_table(sqlite3 *db, enum table_id id, store_row_fn row, void *data, struct err *err)
{
    const struct table *t = table_of(id);
    cleanup_strbuf struct strbuf sql = {0};
    strbuf_add(&sql, "SELECT ");
    add_columns(&sql, t, t->n_columns, "", ", ");
    strbuf_addf(&sql, " FROM \"%s\" WHERE %s", t->name, t->load_where ? t->load_where : "1");
    sqlite3_stmt *stmt = NULL;
    int r = prepare(db, strbuf_str(&sql), &stmt, err), rc = SQLITE_DONE;
    struct cell *cells = xcalloc(t->n_columns, sizeof(*cells));
    while (r == 0 && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        for (size_t i = 0; i < t->n_columns; i++) {
            bool text = t->columns[i].type == COLUMN_TEXT || t->columns[i].type == COLUMN_ENUM;
            cells[i] = (struct cell){.is_text = text};
            if (text)
                cells[i].s = (char *)(uintptr_t)sqlite3_column_text(stmt, (int)i);
            else
                cells[i].i = sqlite3_column_int64(stmt, (int)i);
        }
        r = row(data, id, cells, err);
    }
    if (r == 0 && rc != SQLITE_DONE)
        r = store_error(db, rc, err, "store: reading %s", t->name);
    free(cells);
    sqlite3_finalize(stmt);
    return r;
}

static int load_all(sqlite3 *db, store_row_fn row, void *data, struct err *err)
{
    for (int i = 0; i < TABLE_COUNT; i++) {
        const struct table *t = table_of((enum table_id)i);
        if (str_eq(t->load_where, "0"))
            continue;
        int r = load_table(db, (enum table_id)i, row, data, err);
        if (r < 0)
            return r;
    }
    return 0;
}

int store_load(struct store *store, store_row_fn row, void *data, struct err *err)
{
    return load_all(store->db, row, data, err);
}

int store_load_committed(const char *path, store_row_fn row, void *data, struct err *err)
{
    sqlite3 *db = NULL;
    int r = store_connect(path, false, &db, err);
    if (r == 0)
        r = store_exec(db, "BEGIN", err);
    if (r == 0)
        r = load_all(db, row, data, err);
    sqlite3_close(db);
    return r;
}

int store_start(struct store *store, uv_loop_t *loop, store_stall_fn stall, void *data,
                struct err *err)
{
    store->stall = stall;
    store->stall_data = data;
    uv_async_init(loop, &store->async, on_async);
    store->async.data = store;
    int r = uv_thread_create(&store->thread, run, store);
    if (r < 0)
        return err_set(err, r, "store: starting its thread: %s", uv_strerror(r));
    store->started = true;
    return 0;
}

void store_commit(struct store *store, struct delta *delta, store_done_fn done, void *data)
{
    store->busy = true;
    store->done = done;
    store->data = data;
    uv_mutex_lock(&store->lock);
    store->batch = *delta;
    *delta = (struct delta){0};
    store->have_batch = true;
    uv_cond_signal(&store->wake);
    uv_mutex_unlock(&store->lock);
}

bool store_busy(const struct store *store)
{
    return store->busy;
}

char *store_stalled(struct store *store)
{
    uv_mutex_lock(&store->lock);
    char *copy = xstrdup(store->stalled);
    uv_mutex_unlock(&store->lock);
    return copy;
}

const char *store_path(const struct store *store)
{
    return store->path;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void store_close(struct store *store)
{
    if (!store)
        return;
    if (store->started) {
        uv_mutex_lock(&store->lock);
        store->stop = true;
        uv_cond_signal(&store->wake);
        uv_mutex_unlock(&store->lock);
        uv_thread_join(&store->thread);
    }
    delta_done(&store->batch);
    for (int i = 0; i < TABLE_COUNT; i++) {
        sqlite3_finalize(store->statements[i].upsert);
        sqlite3_finalize(store->statements[i].delete);
    }
    sqlite3_close(store->db);
    if (store->lock_fd >= 0)
        close(store->lock_fd);
    uv_mutex_destroy(&store->lock);
    uv_cond_destroy(&store->wake);
    free(store->path);
    free(store->stalled);
    if (store->started)
        uv_close((uv_handle_t *)&store->async,
                 on_closed); /* the loop frees what holds the handle */
    else
        free(store);
}
