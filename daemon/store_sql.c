/* Connections, errors and migrations. */
#include "common/log.h"
#include "daemon/store_int.h"

#include <errno.h>
#include <stdarg.h>

/* Marks a file as ours: "Sheaf" in SQLite's application_id. */
#define APPLICATION_ID 0x53686561

static int code_of(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_NOMEM:
        return -ENOSPC;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    case SQLITE_CANTOPEN:
        return -ENOENT;
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return -EROFS;
    default:
        return -EIO;
    }
}

int store_error(sqlite3 *db, int rc, struct err *err, const char *fmt, ...)
{
    cleanup_free char *context = NULL;
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&context, fmt, ap) < 0)
        abort();
    va_end(ap);
    int code = code_of(rc);
    return err_set_retryable(err, code, code == -ENOSPC, "%s: %s", context,
                             db ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
}

int store_exec(sqlite3 *db, const char *sql, struct err *err)
{
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : store_error(db, rc, err, "store: %.60s", sql);
}

int store_connect(const char *path, bool writable, sqlite3 **ret_db, struct err *err)
{
    sqlite3 *db = NULL;
    int flags = (writable ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY) |
                SQLITE_OPEN_NOMUTEX;
    int rc = sqlite3_open_v2(path, &db, flags, NULL);
    if (rc != SQLITE_OK) {
        int r = store_error(db, rc, err, "opening the store %s", path);
        sqlite3_close(db);
        return r;
    }
    sqlite3_busy_timeout(db, 5000);
    int r = store_exec(db, "PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF;", err);
    if (r == 0 && writable)
        r = store_exec(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;", err);
    /* Jobs' rows are large and their keys have no order: SQLite's own 2 MB are read through again and again. */
    if (r == 0 && writable)
        r = store_exec(db, "PRAGMA cache_size=-16384; PRAGMA wal_autocheckpoint=4000;", err);
    if (r < 0) {
        sqlite3_close(db);
        return r;
    }
    *ret_db = db;
    return 0;
}

static int pragma_int(sqlite3 *db, const char *sql, int *ret, struct err *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
    if (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        *ret = sqlite3_column_int(stmt, 0);
        rc = SQLITE_OK;
    }
    sqlite3_finalize(stmt);
    return rc == SQLITE_OK ? 0 : store_error(db, rc, err, "store: %s", sql);
}

static int apply(sqlite3 *db, size_t i, struct err *err)
{
    cleanup_free char *sql = xasprintf("BEGIN IMMEDIATE; %s; PRAGMA user_version=%zu; COMMIT;",
                                       store_migrations[i].sql, i + 1);
    int r = store_exec(db, sql, err);
    if (r == 0) {
        log_info("store: applied migration %s", store_migrations[i].name);
        return 0;
    }
    struct err ignored = ERR_INIT;
    if (store_exec(db, "ROLLBACK", &ignored) < 0)
        log_debug("store: %s", ignored.text);
    return err_wrap(err, "migration %s", store_migrations[i].name);
}

int store_migrate(sqlite3 *db, struct err *err)
{
    int id = 0, version = 0, r;
    if ((r = pragma_int(db, "PRAGMA application_id", &id, err)) < 0 ||
        (r = pragma_int(db, "PRAGMA user_version", &version, err)) < 0)
        return r;
    if (version == 0 && id == 0) {
        cleanup_free char *mark = xasprintf("PRAGMA application_id=%d", APPLICATION_ID);
        if ((r = store_exec(db, mark, err)) < 0)
            return r;
    } else if (id != APPLICATION_ID) {
        return err_set(err, -EINVAL, "the file is a database of another program");
    }
    if ((size_t)version > store_n_migrations)
        return err_set(err, -ENOTSUP,
                       "the store is of version %d, written by a newer release; this one knows %zu",
                       version, store_n_migrations);
    for (size_t i = (size_t)version; i < store_n_migrations; i++)
        if ((r = apply(db, i, err)) < 0)
            return r;
    return 0;
}
