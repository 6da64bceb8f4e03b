#include "daemon/store.h"

#include "daemon/model/state.h"
#include "tests/lib/test.h"

#include <sqlite3.h>
#include <sys/stat.h>

static char folder[64], path[96];

static int setup(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/sheaf-store-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/sheaf.db", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    static const char *const ends[] = {"", "-wal", "-shm", ".lock"};
    for (size_t i = 0; i < 4; i++) {
        char name[128];
        snprintf(name, sizeof(name), "%s%s", path, ends[i]);
        unlink(name);
    }
    return rmdir(folder);
}

/* ---- the schema agrees with the tables ---- */

static const char *sql_type(const struct column *c)
{
    return c->type == COLUMN_TEXT || c->type == COLUMN_ENUM ? "TEXT" : "INTEGER";
}

static void check_table(sqlite3 *db, const struct table *t)
{
    sqlite3_stmt *stmt = NULL;
    char sql[128];
    size_t found = 0;
    snprintf(sql, sizeof(sql), "SELECT name, type, pk FROM pragma_table_info('%s')", t->name);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(stmt, 0);
        const struct column *column = NULL;
        for (size_t i = 0; i < t->n_columns; i++)
            if (strcmp(t->columns[i].name, name) == 0) {
                column = &t->columns[i];
                assert_int_equal(sqlite3_column_int(stmt, 2), i < t->n_key ? (int)i + 1 : 0);
            }
        if (!column)
            fail_msg("%s.%s is in the schema and not in the model", t->name, name);
        assert_string_equal((const char *)sqlite3_column_text(stmt, 1), sql_type(column));
        found++;
    }
    assert_int_equal(found, t->n_columns);
    sqlite3_finalize(stmt);
}

static void test_schema_is_the_models(void **state)
{
    struct store *s = NULL;
    struct err err = ERR_INIT;
    sqlite3 *db = NULL;
    assert_int_equal(store_open(path, &s, &err), 0);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    for (int i = 0; i < TABLE_COUNT; i++)
        check_table(db, table_of((enum table_id)i));
    sqlite3_close(db);
    store_close(s);
}

/* ---- what is committed is loaded ---- */

struct loaded {
    int rows;
    char *value;
};

static int load_row(void *data, enum table_id table, const struct cell *cells, struct err *err)
{
    struct loaded *l = data;
    l->rows++;
    if (table == TABLE_SETTING)
        str_replace(&l->value, cells[1].s);
    return 0;
}

static void on_done(void *data, const struct err *err)
{
    assert_int_equal(err->code, 0);
    *(bool *)data = true;
}

static void on_stall(void *data, bool stalled)
{
    fail_msg("there was room");
}

static void commit(struct store *s, uv_loop_t *loop, struct delta *d)
{
    bool done = false;
    store_commit(s, d, on_done, &done);
    assert_false(done);
    while (!done)
        uv_run(loop, UV_RUN_ONCE);
    assert_false(store_busy(s));
}

static void test_round_trip(void **state)
{
    struct store *s = NULL;
    struct err err = ERR_INIT;
    uv_loop_t loop;
    uv_loop_init(&loop);
    assert_int_equal(store_open(path, &s, &err), 0);
    assert_int_equal(store_start(s, &loop, on_stall, NULL, &err), 0);
    struct setting one = {.key = (char *)"a", .value = (char *)"1"};
    struct delta d = {0};
    delta_upsert(&d, TABLE_SETTING, &one);
    one.value = (char *)"2";
    delta_upsert(&d, TABLE_SETTING, &one);
    commit(s, &loop, &d);
    struct setting two = {.key = (char *)"b", .value = (char *)"3"};
    delta_upsert(&d, TABLE_SETTING, &two);
    delta_delete(&d, TABLE_SETTING, &two);
    commit(s, &loop, &d);
    store_close(s);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);

    struct loaded l = {0};
    assert_int_equal(store_open(path, &s, &err), 0);
    assert_int_equal(store_load(s, load_row, &l, &err), 0);
    assert_int_equal(l.rows, 1);
    assert_string_equal(l.value, "2");
    free(l.value);
    store_close(s);
}

/* Rows come in the order of their changes; references are checked at the commit. */
static void test_references_are_checked_at_the_end(void **state)
{
    struct store *s = NULL;
    struct err err = ERR_INIT;
    uv_loop_t loop;
    uv_loop_init(&loop);
    assert_int_equal(store_open(path, &s, &err), 0);
    assert_int_equal(store_start(s, &loop, on_stall, NULL, &err), 0);
    struct ref ref = {.source = (char *)"u", .name = (char *)"refs/heads/a", .commit = (char *)"c"};
    struct source source = {.url = (char *)"u"};
    struct delta d = {0};
    delta_upsert(&d, TABLE_REF, &ref);
    delta_upsert(&d, TABLE_SOURCE, &source);
    commit(s, &loop, &d);
    store_close(s);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
}

static void test_one_coordinator_at_a_time(void **state)
{
    struct store *s = NULL, *second = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(store_open(path, &s, &err), 0);
    assert_int_equal(store_open(path, &second, &err), -EBUSY);
    assert_null(second);
    store_close(s);
}

static void test_newer_is_refused(void **state)
{
    struct store *s = NULL;
    struct err err = ERR_INIT;
    sqlite3 *db = NULL;
    assert_int_equal(store_open(path, &s, &err), 0);
    store_close(s);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version=999", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(store_open(path, &s, &err), -ENOTSUP);
    assert_non_null(strstr(err.text, "newer release"));
}

static void test_a_strangers_database_is_refused(void **state)
{
    struct store *s = NULL;
    struct err err = ERR_INIT;
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE x(y); PRAGMA user_version=1", NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(store_open(path, &s, &err), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_schema_is_the_models, setup, teardown),
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_references_are_checked_at_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_coordinator_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_newer_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_strangers_database_is_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
