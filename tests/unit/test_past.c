/* Jobs of the past: packed to the letter, found again by their key, and not there for those that are still referred to. */
#include "common/digest.h"
#include "daemon/model/objects.h"
#include "tests/lib/model_world.h"

#define MANY   2000
#define SOURCE "https://git.test/a.git"
#define MASTER "refs/heads/master"

static uint64_t seed;

static unsigned below(unsigned n)
{
    seed = seed * 6364136223846793005 + 1442695040888963407;
    return (unsigned)(seed >> 33) % n;
}

/* A text of what lists of inputs consist of, of what looks like it, or NULL. */
static char *any_text(void)
{
    static const char *const parts[] = {"],[",
                                        "],",
                                        "[",
                                        "sha256:",
                                        "s",
                                        "\"base a:1\",",
                                        "0123456789abcdef",
                                        "sha256:ABCDEF",
                                        "\"\\u0001\"",
                                        "\xc3\xa9",
                                        "x",
                                        ""};
    struct strbuf text = {0};
    if (!below(6))
        return NULL;
    for (unsigned n = below(8); n > 0; n--) {
        char digest[DIGEST_SIZE];
        uint64_t what = below(40);
        digest_of(&what, sizeof(what), digest);
        digest[strlen(digest) - (below(3) ? 0 : 1)] = '\0'; /* some are cut short */
        strbuf_add(&text, below(2) ? parts[below(sizeof(parts) / sizeof(*parts))] : digest);
    }
    return strbuf_steal(&text);
}

static int64_t any_number(void)
{
    static const int64_t edges[] = {0,   1,   -1,        63,        64,
                                    -64, -65, INT64_MAX, INT64_MIN, 1700000000000};
    return below(2) ? edges[below(10)] : (int64_t)seed;
}

static char *key_of(size_t number)
{
    char key[DIGEST_SIZE];
    digest_of(&number, sizeof(number), key);
    return xstrdup(key);
}

/* A job of the past with that key, anything else in its columns. */
static struct job *any_job(size_t number)
{
    const struct table *t = table_of(TABLE_JOB);
    struct job *j = xnew(struct job);
    j->row.table = TABLE_JOB;
    for (size_t i = 0; i < t->n_columns; i++) {
        void *member = (char *)j + t->columns[i].offset;
        if (t->columns[i].type == COLUMN_TEXT)
            *(char **)member = any_text();
        else if (t->columns[i].type == COLUMN_INT)
            *(int64_t *)member = any_number();
        else if (t->columns[i].type == COLUMN_BOOL)
            *(bool *)member = below(2);
    }
    free(j->key);
    j->key = key_of(number);
    str_replace(&j->platform_name, below(2) ? "linux/arm64" : "linux/arm/v7");
    str_replace(&j->spec, "");
    j->kind = (enum failure_kind)below(7);
    j->class = (enum build_class)below(3);
    j->state = JOB_SUCCEEDED;
    return j;
}

/* Its row. */
static struct change row_of(const struct job *j)
{
    struct delta d = {0};
    delta_upsert(&d, TABLE_JOB, j);
    struct change row = d.changes.items[0];
    vec_free(&d.changes);
    return row;
}

static void row_free(struct change *row)
{
    struct delta d = {0};
    vec_push(&d.changes, *row);
    delta_done(&d);
}

static void assert_same(const struct job *j, const struct change *row)
{
    struct change is = row_of(j);
    for (size_t i = 0; i < row->n_cells; i++) {
        if (is.cells[i].s && row->cells[i].s)
            assert_string_equal(is.cells[i].s, row->cells[i].s);
        assert_int_equal(!is.cells[i].s, !row->cells[i].s);
        assert_int_equal(is.cells[i].i, row->cells[i].i);
    }
    row_free(&is);
}

static void count(void *n, const struct job *j)
{
    assert_non_null(j->key);
    (*(size_t *)n)++;
}

static size_t past_jobs(const struct model *m)
{
    size_t n = 0;
    past_each(m, count, &n);
    return n;
}

static void nothing(void *data, void *bytes, size_t n)
{
    memset(bytes, 0, n);
}

static void test_what_was_packed_comes_back_to_the_letter(void **state)
{
    struct farm farm = {0};
    struct model_hooks hooks = {nothing, NULL};
    struct model *m = model_new(&farm, &hooks);
    struct change *rows = xcalloc(MANY, sizeof(*rows));
    struct err err = ERR_INIT;
    for (size_t i = 0; i < MANY; i++) {
        struct job *j = any_job(i);
        rows[i] = row_of(j);
        job_free(j);
        assert_int_equal(model_load(m, TABLE_JOB, rows[i].cells, &err), 0);
    }
    assert_int_equal(past_jobs(m), MANY);
    assert_null(m->jobs);
    for (size_t n = MANY; n > 0; n--) { /* in any order: those that are left are found still */
        size_t i = below((unsigned)n);
        assert_same(job_find(m, rows[i].cells[0].s), &rows[i]);
        if (n % 64 == 0)
            assert_int_equal(past_jobs(m), n - 1);
        row_free(&rows[i]);
        rows[i] = rows[n - 1];
    }
    free(rows);
    model_free(m);
}

static void test_what_was_never_there_is_not_found(void **state)
{
    struct farm farm = {0};
    struct model_hooks hooks = {nothing, NULL};
    struct model *m = model_new(&farm, &hooks);
    struct job *j = any_job(1);
    struct change row = row_of(j);
    struct err err = ERR_INIT;
    cleanup_free char *other = key_of(2);
    assert_null(job_find(m, other));
    assert_int_equal(model_load(m, TABLE_JOB, row.cells, &err), 0);
    assert_null(job_find(m, other));
    assert_null(job_find(m, "no key"));
    assert_non_null(job_find(m, j->key));
    row_free(&row);
    job_free(j);
    model_free(m);
}

/* Those that a start wants, or that may be tried again, are objects. */
static void test_what_is_not_done_is_no_past(void **state)
{
    static const struct {
        enum job_state state;
        bool settled;
        const char *spec;
        bool past;
    } cases[] = {{JOB_SUCCEEDED, false, "", true}, {JOB_SUCCEEDED, false, "{}", false},
                 {JOB_CANCELLED, false, "", true}, {JOB_CANCELLED, true, "", false},
                 {JOB_FAILED, false, "", false},   {JOB_WANTED, false, "", false},
                 {JOB_RUNNING, false, "", false}};
    struct farm farm = {0};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct model_hooks hooks = {nothing, NULL};
        struct model *m = model_new(&farm, &hooks);
        struct job *j = any_job(i);
        struct err err = ERR_INIT;
        j->state = cases[i].state;
        j->settled = cases[i].settled;
        str_replace(&j->spec, cases[i].spec);
        j->retry_clock = 0;
        struct change row = row_of(j);
        assert_int_equal(model_load(m, TABLE_JOB, row.cells, &err), 0);
        assert_int_equal(past_jobs(m), cases[i].past);
        assert_int_equal(!m->jobs, cases[i].past);
        row_free(&row);
        job_free(j);
        model_free(m);
    }
}

/* Commits come and go: what is published stays an object, what came before is packed, and its key is not built again. */
static void test_a_farm_packs_what_was_replaced(void **state)
{
    struct world w;
    char commit[16], first[DIGEST_SIZE];
    world_init(&w);
    world_image(&w, "base", SOURCE, MASTER, "./mk");
    world_start(&w);
    world_board(&w, "one");
    for (int i = 0; i < 12; i++) {
        snprintf(commit, sizeof(commit), "c%d", i);
        world_see(&w, SOURCE, MASTER, commit);
        assert_int_equal(world_settle(&w, NULL), 1);
        if (i == 0)
            snprintf(first, sizeof(first), "%s", w.m->jobs->key);
    }
    assert_in_range(past_jobs(w.m), 8, 11);
    assert_int_equal(past_jobs(w.m) + HASH_COUNT(w.m->jobs), 12);
    world_see(&w, SOURCE, MASTER, "c0");
    assert_int_equal(world_settle(&w, NULL), 0);
    assert_string_equal(world_track_state(&w, "base@master"), "published");
    struct job *now = NULL;
    HASH_FIND_STR(w.m->jobs, first, now);
    assert_non_null(now);
    assert_int_not_equal(*now->spec, '\0');
    world_restart(&w);
    assert_int_equal(past_jobs(w.m) + HASH_COUNT(w.m->jobs), 12);
    assert_int_equal(world_settle(&w, NULL), 0);
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_packed_comes_back_to_the_letter),
        cmocka_unit_test(test_what_was_never_there_is_not_found),
        cmocka_unit_test(test_what_is_not_done_is_no_past),
        cmocka_unit_test(test_a_farm_packs_what_was_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
