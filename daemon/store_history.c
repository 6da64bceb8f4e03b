/* Queries. SQLite makes the JSON; here it is only collected. */
#include "daemon/store_history.h"

#include "common/log.h"
#include "daemon/store_int.h"

struct store_history {
    uv_loop_t *loop;
    char *path;
    uv_mutex_t lock; /* of the connection: a reader at a time is enough */
    sqlite3 *db;
    unsigned under_way;
    bool closing;
};

struct query {
    struct store_history *h;
    const char *sql;
    int64_t numbers[2];
    char *text;
    uv_work_t work;
    json_t *rows;
    struct err err;
    store_rows_fn done;
    void *data;
};

/* ---- the queries ---- */

/* SQL is laid out as SQL. */
/* clang-format off */

#define TIME(column) "nullif(" column ", 0)"

/* json(): what a CASE, an iif or a subquery hands on may count as text only. */
#define BOOL(condition) "json(iif(" condition ", 'true', 'false'))"

#define REASON(code, text)                                                                      \
    "json(iif(" code " = 'none', NULL, "                                                        \
    "  json_object('code', " code ", 'text', ifnull(" text ", ''))))"

#define EMULATED(board, platform)                                                               \
    BOOL("EXISTS (SELECT 1 FROM board x, json_each(x.facts, '$.emulated') e "                   \
         "  WHERE x.name = " board " AND e.value = " platform ")")

#define JOB_REASON                                                                              \
    "json(CASE j.state "                                                                        \
    "  WHEN 'succeeded' THEN NULL "                                                             \
    "  WHEN 'failed' THEN json_object('code', 'job-failed', "                                   \
    "    'text', j.kind || ': ' || ifnull(j.reason, '')) "                                      \
    "  WHEN 'cancelled' THEN json_object('code', 'cancelled', "                                 \
    "    'text', iif(j.settled, 'by request', 'superseded')) "                                  \
    "  WHEN 'wanted' THEN json_object('code', 'boards-busy', "                                  \
    "    'text', ifnull(j.reason, 'waits for a board')) "                                       \
    "  ELSE json_object('code', 'running', 'text', 'on ' || j.board) END)"

#define JOB_BRIEF                                                                               \
    "'platform', bj.platform, "                                                                 \
    "'required', " BOOL("bj.required") ", "                                                     \
    "'job', j.key, "                                                                            \
    "'state', j.state, "                                                                        \
    "'reason', " JOB_REASON ", "                                                                \
    "'board', j.board, "                                                                        \
    "'emulated', " EMULATED("j.board", "j.platform") ", "                                       \
    "'started_at', " TIME("j.started_at") ", "                                                  \
    "'duration_ms', " TIME("j.duration_ms")

#define PUBLICATION                                                                             \
    "json(coalesce("                                                                            \
    "(SELECT json_object('id', p.id, 'generation', p.generation, 'digest', p.digest, "          \
    "  'published_at', iif(p.state = 'verified', p.finished_at, NULL)) "                        \
    "FROM publication p WHERE p.id = b.publication), "                                          \
    "(SELECT json_object('id', p.id, 'generation', p.generation, 'digest', p.digest, "          \
    "  'published_at', p.finished_at) FROM past_publication p WHERE p.id = b.publication)))"

#define BUILD(jobs)                                                                             \
    "SELECT json_object('id', b.id, "                                                           \
    "'track', b.track, "                                                                        \
    "'image', substr(b.track, 1, instr(b.track, '@') - 1), "                                    \
    "'state', b.state, "                                                                        \
    "'class', b.class, "                                                                        \
    "'why', " REASON("b.why_code", "b.why") ", "                                                \
    "'end', " REASON("b.end_code", "b.\"end\"") ", "                                            \
    "'commit', b.\"commit\", "                                                                  \
    "'created_at', " TIME("b.created_at") ", "                                                  \
    "'finished_at', " TIME("b.finished_at") ", "                                                \
    "'publication', " PUBLICATION ", "                                                          \
    "'jobs', json((SELECT json_group_array(json_object(" jobs ")) "                             \
    "  FROM build_job bj JOIN job j ON j.key = bj.job_key WHERE bj.build = b.id))) "            \
    "FROM build b "

#define ATTEMPT                                                                                 \
    "json_object('id', a.id, "                                                                  \
    "'lease', a.lease, "                                                                        \
    "'epoch', a.epoch, "                                                                        \
    "'board', a.board, "                                                                        \
    "'emulated', " EMULATED("a.board", "(SELECT platform FROM job WHERE key = a.job_key)") ", " \
    "'state', a.state, "                                                                        \
    "'kind', nullif(a.kind, 'none'), "                                                          \
    "'reason', a.reason, "                                                                      \
    "'granted_at', " TIME("a.granted_at") ", "                                                  \
    "'started_at', " TIME("a.started_at") ", "                                                  \
    "'finished_at', " TIME("a.finished_at") ", "                                                \
    "'timings', json(ifnull((SELECT r.timings FROM result r WHERE r.attempt = a.id), '{}')), "  \
    "'log_size', a.log_size)"

#define INPUTS                                                                                  \
    "json((SELECT json_group_array(json_object("                                                \
    "  'name', json_extract(i.value, '$[0]'), 'value', json(i.value -> '$[1]'))) "              \
    "FROM json_each(j.inputs) i))"

#define MANIFEST                                                                                \
    "json(iif(j.manifest_digest IS NULL, NULL, json_object('digest', j.manifest_digest, "       \
    "  'media_type', j.manifest_media_type, 'size', j.manifest_size)))"

#define JOB_WHOLE                                                                               \
    JOB_BRIEF ", "                                                                              \
    "'key', j.key, "                                                                            \
    "'image', j.image, "                                                                        \
    "'track', j.track, "                                                                        \
    "'repository', j.repository, "                                                              \
    "'kind', nullif(j.kind, 'none'), "                                                          \
    "'commit', j.\"commit\", "                                                                  \
    "'epoch', j.epoch, "                                                                        \
    "'wanted_at', " TIME("j.wanted_at") ", "                                                    \
    "'finished_at', " TIME("j.finished_at") ", "                                                \
    "'manifest', " MANIFEST ", "                                                                \
    "'config_digest', j.config_digest, "                                                        \
    "'content_digest', j.content_digest, "                                                      \
    "'inputs', " INPUTS ", "                                                                    \
    "'attempts', json((SELECT json_group_array(json(t.a)) FROM "                                \
    "  (SELECT " ATTEMPT " AS a FROM attempt a WHERE a.job_key = j.key ORDER BY a.id) t)), "    \
    "'log_size', ifnull((SELECT max(log_size) FROM attempt a WHERE a.id = j.attempt), 0)"

static const char builds_sql[] =
    BUILD(JOB_BRIEF)
    "WHERE (?1 = 0 OR b.id < ?1) AND (?3 IS NULL OR b.track = ?3) ORDER BY b.id DESC LIMIT ?2";
static const char build_sql[] =
    BUILD(JOB_WHOLE)
    "WHERE b.id = ?1";
static const char attempts_sql[] =
    "SELECT " ATTEMPT " FROM attempt a WHERE a.job_key = ?3 ORDER BY a.id";
static const char results_sql[] =
    "SELECT json_object('attempt', r.attempt, 'timings', json(r.timings), "
    "'layers', json(r.layers), 'packages', json(r.packages), 'build_root', json(r.build_root)) "
    "FROM result r WHERE r.job_key = ?3 ORDER BY r.attempt DESC LIMIT 1";
/* clang-format on */
static const char actions_sql[] =
    "SELECT json_object('id', a.id, 'done_at', a.at, 'by', a.who, 'command', a.verb, 'track', "
    "a.track, "
    "'job', a.job, 'reason', a.reason, 'text', a.text) FROM action a "
    "WHERE (?1 = 0 OR a.id < ?1) AND (?3 IS NULL OR a.track = ?3) ORDER BY a.id DESC LIMIT ?2";

/* ---- running one ---- */

static int collect(struct query *q, sqlite3_stmt *stmt)
{
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(stmt, 0);
        json_error_t bad;
        json_t *row = text ? json_loads(text, 0, &bad) : NULL;
        if (row)
            json_array_append_new(q->rows, row);
        else
            log_error("a row of the history is left out: %s", text ? bad.text : "no text");
    }
    return rc;
}

static void run_locked(struct query *q)
{
    struct store_history *h = q->h;
    if (!h->db && store_connect(h->path, false, &h->db, &q->err) < 0)
        return;
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(h->db, q->sql, -1, &stmt, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_bind_int64(stmt, 1, q->numbers[0]);
        sqlite3_bind_int64(stmt, 2, q->numbers[1]);
        sqlite3_bind_text(stmt, 3, q->text, -1, SQLITE_STATIC);
        rc = collect(q, stmt);
    }
    if (rc != SQLITE_DONE)
        q->err.code = store_error(h->db, rc, &q->err, "reading the history");
    sqlite3_finalize(stmt);
}

static void work(uv_work_t *w)
{
    struct query *q = w->data;
    uv_mutex_lock(&q->h->lock);
    run_locked(q);
    uv_mutex_unlock(&q->h->lock);
}

static void free_history(struct store_history *h)
{
    sqlite3_close(h->db);
    uv_mutex_destroy(&h->lock);
    free(h->path);
    free(h);
}

static void after(uv_work_t *w, int status)
{
    struct query *q = w->data;
    struct store_history *h = q->h;
    (void)status;
    h->under_way--;
    bool well = q->err.code == 0;
    if (!h->closing)
        q->done(q->data, well ? steal_ptr(q->rows) : NULL, well ? NULL : &q->err);
    json_decref(q->rows);
    free(q->text);
    free(q);
    if (h->closing && !h->under_way)
        free_history(h);
}

static void start(struct store_history *h, const char *sql, int64_t a, int64_t b, const char *text,
                  store_rows_fn done, void *data)
{
    struct query *q = xnew(struct query);
    *q = (struct query){.h = h,
                        .sql = sql,
                        .numbers = {a, b},
                        .text = xstrdup(text),
                        .rows = json_array(),
                        .done = done,
                        .data = data};
    q->work.data = q;
    h->under_way++;
    uv_queue_work(h->loop, &q->work, work, after);
}

/* ---- the interface ---- */

struct store_history *store_history_new(struct store *store, uv_loop_t *loop)
{
    struct store_history *h = xnew(struct store_history);
    h->loop = loop;
    h->path = xstrdup(store_path(store));
    uv_mutex_init(&h->lock);
    return h;
}

void store_history_free(struct store_history *h)
{
    if (!h)
        return;
    h->closing = true;
    if (!h->under_way)
        free_history(h);
}

void store_history_builds(struct store_history *h, int64_t limit, int64_t before, const char *track,
                          store_rows_fn done, void *data)
{
    start(h, builds_sql, before, limit, track, done, data);
}

void store_history_actions(struct store_history *h, int64_t limit, int64_t before,
                           const char *track, store_rows_fn done, void *data)
{
    start(h, actions_sql, before, limit, track, done, data);
}

void store_history_build(struct store_history *h, int64_t id, store_rows_fn done, void *data)
{
    start(h, build_sql, id, 0, NULL, done, data);
}

void store_history_attempts(struct store_history *h, const char *key, store_rows_fn done,
                            void *data)
{
    start(h, attempts_sql, 0, 0, key, done, data);
}

void store_history_results(struct store_history *h, const char *key, store_rows_fn done, void *data)
{
    start(h, results_sql, 0, 0, key, done, data);
}
