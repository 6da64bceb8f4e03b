/* A database of the release before the farm's clock (schema 0007), full of things under way, is brought up to date and
 * started from: nothing is lost, and what waited waits as long as it would have. */
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"
#include "daemon/store_int.h"
#include "tests/lib/model_commands.h"
#include "tests/lib/model_steps.h"

#include <sqlite3.h>
#include <unistd.h>

#define OLD    7
#define SOURCE "https://git.test/a.git"
#define MINUTE ((int64_t)60 * 1000)
#define HOUR   (60 * MINUTE)

static char folder[64], path[96];

static int setup(void **state)
{
    strcpy(folder, "/tmp/sheaf-migrations-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/sheaf.db", folder);
    return 0;
}

static int teardown(void **state)
{
    static const char *const ends[] = {"", "-wal", "-shm", ".lock"};
    for (size_t i = 0; i < 4; i++) {
        char name[128];
        snprintf(name, sizeof(name), "%s%s", path, ends[i]);
        unlink(name);
    }
    return rmdir(folder);
}

/* ---- the old database ---- */

static void run_sql(sqlite3 *db, const char *sql)
{
    char *error = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK)
        fail_msg("%s: %.200s", error, sql);
}

static int64_t number(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return n;
}

static sqlite3 *old_database(void)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    for (size_t i = 0; i < OLD; i++)
        run_sql(db, store_migrations[i].sql);
    cleanup_free char *mark =
        xasprintf("PRAGMA application_id=%d; PRAGMA user_version=%d", 0x53686561, OLD);
    run_sql(db, mark);
    return db;
}

/* What a column was called then; NULL: there was none. */
static const char *old_name(sqlite3 *db, const char *table, const char *column)
{
    static const char *const renamed[][2] = {
        {"wait_clock", "wait_left"}, {"stale_clock", "stale_left"}, {"retry_clock", "retry_left"}};
    for (size_t i = 0; i < 3; i++)
        if (str_eq(column, renamed[i][0]))
            column = renamed[i][1];
    cleanup_free char *sql =
        xasprintf("SELECT count(*) FROM pragma_table_info('%s') WHERE name = '%s'", table, column);
    return number(db, sql) ? column : NULL;
}

/* Instead of the moment when something is due, what was left until then. */
static int64_t old_number(const struct world *w, const char *column, int64_t n)
{
    return strstr(column, "_left") && n > 0 ? n - model_clock(w->m) : n;
}

static void insert(const struct world *w, sqlite3 *db, const struct change *row)
{
    const struct table *t = table_of(row->table);
    cleanup_strbuf struct strbuf names = {0}, marks = {0};
    VEC(const struct cell *) cells = {0};
    for (size_t i = 0; i < t->n_columns; i++) {
        const char *name = old_name(db, t->name, t->columns[i].name);
        if (!name)
            continue;
        strbuf_addf(&names, "%s\"%s\"", names.n ? ", " : "", name);
        if (row->cells[i].is_text)
            strbuf_addf(&marks, "%s?", marks.n ? ", " : "");
        else
            strbuf_addf(&marks, "%s%lld", marks.n ? ", " : "",
                        (long long)old_number(w, name, row->cells[i].i));
        if (row->cells[i].is_text)
            vec_push(&cells, &row->cells[i]);
    }
    cleanup_free char *sql = xasprintf("INSERT INTO \"%s\" (%s) VALUES (%s)", t->name,
                                       strbuf_str(&names), strbuf_str(&marks));
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sqlite3_errmsg(db), sql);
    for (size_t i = 0; i < cells.n; i++)
        if (cells.items[i]->s)
            sqlite3_bind_text(stmt, (int)i + 1, cells.items[i]->s, -1, SQLITE_TRANSIENT);
    if (sqlite3_step(stmt) != SQLITE_DONE)
        fail_msg("%s: %s", sqlite3_errmsg(db), sql);
    sqlite3_finalize(stmt);
    vec_free(&cells);
}

/* ---- the farm ---- */

static struct farm_image *image(struct world *w, const char *name, enum platform platform)
{
    cleanup_free char *source = xasprintf("https://git.test/%s.git", name);
    struct farm_image *i = world_image(w, name, source, WORLD_MASTER, name);
    i->platforms.items[0] = platform;
    return i;
}

static void push(struct world *w, const char *name, const char *commit)
{
    cleanup_free char *source = xasprintf("https://git.test/%s.git", name);
    world_push(w, source, commit, NULL);
}

static struct wire_lease *lease_of(struct wire_poll_response *got, enum platform platform)
{
    VEC_FOREACH (&got->leases, l)
        if (str_eq(l->job.platform, platform_info(platform)->name))
            return l;
    fail_msg("no lease of %s", platform_info(platform)->name);
    return NULL;
}

/* Jobs of base are cancelled on their board and others wait, an optional child is behind, what is built on it waits, one job
 * backs off, one has failed, and one has no board. */
static void fill(struct world *w)
{
    static const char *const both[] = {"linux/amd64", "linux/arm64", NULL};
    world_init(w);
    w->platforms = both;
    w->slots = w->free = 8;
    struct farm_image *base = world_image(w, "base", SOURCE, WORLD_MASTER, "./mk");
    vec_push(&base->platforms, PLATFORM_ARM64);
    vec_push(&base->optional, PLATFORM_ARM64);
    base->deadline_ms = 12 * HOUR;
    world_image(w, "dep", "https://git.test/dep.git", WORLD_MASTER, NULL);
    image(w, "broken", PLATFORM_AMD64);
    image(w, "away", PLATFORM_AMD64);
    image(w, "lonely", PLATFORM_ARM_V7);
    world_start(w);
    world_board(w, "one");
    push(w, "broken", "c1");
    world_break(w, "one", "broken", WIRE_FAILURE_RECIPE);
    world_break(w, "one", "broken", WIRE_FAILURE_RECIPE);
    world_push(w, SOURCE, "c1", NULL);
    struct wire_poll_response got = world_poll(w, "one");
    world_succeed(w, lease_of(&got, PLATFORM_AMD64), "x1");
    world_succeed(w, lease_of(&got, PLATFORM_ARM64), "y1");
    wire_poll_response_done(&got);
    world_publish(w);
    world_push(w, SOURCE, "c2", NULL);
    got = world_poll(w, "one");
    world_succeed(w, lease_of(&got, PLATFORM_AMD64), "x2");
    wire_poll_response_done(&got);
    world_publish(w); /* arm64 is behind; its job goes on, until the next push */
    world_wait(w, 10 * 1000);
    world_push(w, SOURCE, "c3", NULL);
    world_see(w, "https://git.test/dep.git", WORLD_MASTER, "d1");
    world_inspect_source(w, "https://git.test/dep.git", "FROM r.test/osf/base\n");
    push(w, "lonely", "c1");
    push(w, "away", "c1");
    got = world_poll(w, "one"); /* both of base, too */
    VEC_FOREACH (&got.leases, l)
        if (str_eq(l->job.image, "away"))
            world_fail(w, l, WIRE_FAILURE_INFRA);
    wire_poll_response_done(&got);
    world_push(w, SOURCE, "c4", NULL); /* those are to stop */
}

/* ---- starting from it ---- */

static int take_row(void *data, enum table_id table, const struct cell *cells, struct err *err)
{
    struct world *w = data;
    size_t n = table_of(table)->n_columns;
    struct change row = {.table = table, .n_cells = n, .cells = xcalloc(n, sizeof(*cells))};
    for (size_t i = 0; i < n; i++) {
        row.cells[i] = cells[i];
        row.cells[i].s = xstrdup(cells[i].s);
    }
    vec_push(&w->rows, row);
    return 0;
}

/* The world's rows are those of the database now. */
static void load_all(struct world *w)
{
    struct err err = ERR_INIT;
    struct store *store = NULL;
    VEC_FOREACH (&w->rows, row) {
        for (size_t i = 0; i < row->n_cells; i++)
            free(row->cells[i].s);
        free(row->cells);
    }
    w->rows.n = 0;
    if (store_open(path, &store, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(store_load(store, take_row, w, &err), 0);
    store_close(store);
}

static void nothing_is_decided(struct world *w)
{
    struct turn turn = {0};
    model_turn_begin(w->m, &turn, w->mono, w->wall);
    plan_all(w->m);
    model_turn_end(w->m);
    assert_int_equal(turn.delta.changes.n, 0);
    assert_int_equal(turn.effects.n, 0);
    turn_done(&turn);
}

/* Until when it waits, from now. */
static int64_t left(const struct world *w, int64_t due)
{
    return due ? due - w->mono : 0;
}

/* What is not to be changed by what happens between the releases. */
struct waits {
    int64_t failed, away, dep, stale;
    size_t cancelled, attempts;
};

static struct job *job_of(struct world *w, const char *track, enum platform p)
{
    struct job *j = track_find(w->m, track)->slots[p]->job;
    assert_non_null(j);
    return j;
}

static struct waits waits_of(struct world *w)
{
    struct waits n = {
        .failed = left(w, job_of(w, "broken@master", PLATFORM_AMD64)->retry_due),
        .away = left(w, job_of(w, "away@master", PLATFORM_AMD64)->retry_due),
        .dep = left(w, track_find(w->m, "dep@master")->wait_due),
        .stale = left(w, track_find(w->m, "base@master")->slots[PLATFORM_ARM64]->stale_due),
    };
    for (const struct attempt *a = w->m->attempts; a; a = a->hh.next) {
        n.attempts++;
        n.cancelled += a->cancel;
    }
    return n;
}

static void are_as_they_were(struct world *w)
{
    world_is(w, "broken@master", "failed", "job-failed");
    world_is(w, "away@master", "building", "backing-off");
    world_is(w, "lonely@master", "building", "no-board");
    world_is(w, "dep@master", "waiting", "base-building");
    assert_string_equal(world_track_state(w, "base@master"), "building");
}

/* Written as the old release would have, and counted. Returns the number of rows. */
static int64_t write_old(struct world *w, const char *count)
{
    sqlite3 *db = old_database();
    VEC_FOREACH (&w->rows, row)
        if (row->table != TABLE_SETTING || !str_eq(row->cells[0].s, "clock"))
            insert(w, db, row);
    int64_t rows = number(db, count);
    sqlite3_close(db);
    return rows;
}

static void test_a_full_database_of_the_release_before(void **state)
{
    static const char count[] = "SELECT (SELECT count(*) FROM source) + (SELECT count(*) FROM ref) "
                                "+ (SELECT count(*) FROM context) + "
                                "(SELECT count(*) FROM base) + (SELECT count(*) FROM track) + "
                                "(SELECT count(*) FROM slot) + (SELECT count(*) FROM job) + "
                                "(SELECT count(*) FROM attempt) + (SELECT count(*) FROM build) + "
                                "(SELECT count(*) FROM publication) + "
                                "(SELECT count(*) FROM tag) + (SELECT count(*) FROM retention) + "
                                "(SELECT count(*) FROM setting)";
    struct world w;
    fill(&w);
    are_as_they_were(&w);
    struct waits before = waits_of(&w);
    assert_in_range(before.failed, 59 * MINUTE, HOUR);
    assert_in_range(before.away, 1, 5000);
    assert_in_range(before.dep, 59 * MINUTE, HOUR);
    assert_in_range(before.stale, 11 * HOUR, 12 * HOUR);
    assert_int_equal(before.cancelled, 2);
    int64_t rows = write_old(&w, count);
    load_all(&w);
    world_restart(&w);
    are_as_they_were(&w);
    struct waits after = waits_of(&w);
    /* a start is a millisecond later than what it goes on from */
    assert_in_range(after.failed, before.failed - 1, before.failed);
    assert_in_range(after.away, before.away - 1, before.away);
    assert_in_range(after.dep, before.dep - 1, before.dep);
    assert_in_range(after.stale, before.stale - 1, before.stale);
    assert_int_equal(after.cancelled, before.cancelled);
    assert_int_equal(after.attempts, before.attempts);
    /* a place in the queue, and when a lease was granted, are not known: as of now */
    assert_int_equal(job_of(&w, "lonely@master", PLATFORM_ARM_V7)->queued_clock, model_clock(w.m));
    for (const struct attempt *a = w.m->attempts; a; a = a->hh.next)
        assert_int_equal(a->granted_mono, w.mono);
    nothing_is_decided(&w);
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(number(db, count), rows);
    assert_int_equal(number(db, "PRAGMA user_version"), store_n_migrations);
    sqlite3_close(db);
    /* and all of it goes on */
    world_settle(&w, "FROM r.test/osf/base\n");
    world_wait(&w, 5000);
    world_settle(&w, NULL);
    world_is(&w, "away@master", "published", "published");
    world_is(&w, "base@master", "published", "published");
    world_is(&w, "dep@master", "published", "published");
    world_wait(&w, HOUR);
    world_settle(&w, NULL);
    world_is(&w, "broken@master", "published", "published");
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_full_database_of_the_release_before, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
