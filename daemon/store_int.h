/* Shared by store*.c alone. */
#pragma once

#include "daemon/store.h"

#include <sqlite3.h>

/* Translates SQLite's last error on `db` into err, with a printf-formatted context. -ENOSPC for want of room and
 * for the I/O errors as which a full disk or a quota also arrives; those are retryable, others are not. */
int store_error(sqlite3 *db, int rc, struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 4, 5), warn_unused_result));
/* Runs statements that return nothing. */
int store_exec(sqlite3 *db, const char *sql, struct err *err);
/* Brings the schema up to date, in one transaction a migration. */
int store_migrate(sqlite3 *db, struct err *err);
/* Opens a connection with the settings that all of ours have. */
int store_connect(const char *path, bool writable, sqlite3 **ret_db, struct err *err);

/* The migrations, in order; made from schema/ when Sheaf is built. */
struct store_migration {
    const char *name;
    const char *sql;
};
extern const struct store_migration store_migrations[];
extern const size_t store_n_migrations;
