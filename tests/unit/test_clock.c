/* The wall clock decides nothing (rule A.2): the same happens however it jumps, forwards and back. */
#include "daemon/model/objects.h"
#include "tests/lib/model_commands.h"
#include "tests/lib/model_steps.h"

#define BASES  "https://git.test/bases.git"
#define APPS   "https://git.test/apps.git"
#define ON     "FROM r.test/osf/base:latest\n"
#define MINUTE ((int64_t)60000)
#define YEAR   ((int64_t)365 * 24 * 60 * MINUTE)

/* What is noted of a history: a line for each of its moments. */
struct notes {
    struct world w;
    struct strbuf text;
    const int64_t *jumps; /* of the wall clock, one after each moment; NULL: it stands */
    size_t n_jumps, moment;
};

static void note_track(struct notes *n, const char *id)
{
    cleanup_free char *state = xstrdup(world_track_state(&n->w, id));
    cleanup_free char *code = xstrdup(world_text(&n->w, id, "reason", "code"));
    strbuf_addf(&n->text, "%s %s %s %s; ", id, state, code,
                world_text(&n->w, id, "reason", "text"));
}

static void moment(struct notes *n)
{
    note_track(n, "base@master");
    note_track(n, "app@master");
    strbuf_addf(&n->text, "%zu effects, next in %lld\n", n->w.todo.n,
                (long long)(model_next_due(n->w.m) - n->w.mono));
    if (n->jumps)
        n->w.wall += n->jumps[n->moment % n->n_jumps];
    n->moment++;
}

static void pass(struct notes *n, int64_t ms)
{
    world_wait(&n->w, ms);
    moment(n);
}

/* All delays that there are: back-offs, a term, the wait for an ancestor, that of what has failed, a base's poll. */
static void history(struct notes *n)
{
    struct world *w = &n->w;
    struct wire_poll_response got;
    world_init(w);
    world_image(w, "base", BASES, WORLD_MASTER, "./mk");
    world_image(w, "app", APPS, WORLD_MASTER, NULL);
    world_start(w);
    world_board(w, "one");
    world_push(w, BASES, "b1", NULL);
    moment(n);
    world_break(w, "one", "base", WIRE_FAILURE_INFRA);
    pass(n, 4999);
    pass(n, 1);
    world_build(w, "one", "base", "x");
    moment(n);
    world_retain(w);
    world_step_fails(w, PUBLISH_AWAY, PLATFORM_COUNT, "away");
    pass(n, 4999);
    pass(n, 1);
    world_publish(w);
    moment(n);
    world_see(w, BASES, WORLD_MASTER, "b2"); /* and is never read: app waits its hour */
    world_push(w, APPS, "a1", ON);
    pass(n, 30 * MINUTE);
    world_restart(w);
    pass(n, 30 * MINUTE - 2);
    pass(n, 30 * MINUTE + 2);
    world_lease(w, "one", "app", &got);
    wire_poll_response_done(&got);
    pass(n, 89999);
    pass(n, 1);
    world_break(w, "one", "app", WIRE_FAILURE_RECIPE);
    world_break(w, "one", "app", WIRE_FAILURE_RECIPE);
    pass(n, 60 * MINUTE - 1);
    world_restart(w);
    pass(n, 60 * MINUTE);
    world_build(w, "one", "app", "y");
    world_publish(w);
    moment(n);
    world_ask(w, COMMAND_HOLD, "app@master");
    moment(n);
}

/* The cells that show a time, or that are made of one: an index has the date of its making. */
static bool shows_time(const char *column)
{
    size_t n = strlen(column);
    return (n > 3 && str_eq(column + n - 3, "_at")) || str_eq(column, "bytes") ||
           str_eq(column, "digest") || str_eq(column, "wanted");
}

static void note_rows(struct notes *n)
{
    VEC_FOREACH (&n->w.rows, row) {
        const struct table *t = table_of(row->table);
        strbuf_addf(&n->text, "%s", t->name);
        for (size_t i = 0; i < t->n_columns; i++)
            if (!shows_time(t->columns[i].name) && row->table != TABLE_ACTION &&
                row->table != TABLE_SETTING)
                strbuf_addf(&n->text, " %lld %s", (long long)row->cells[i].i,
                            row->cells[i].s ? row->cells[i].s : "");
        strbuf_add(&n->text, "\n");
    }
}

static char *told(const int64_t *jumps, size_t n_jumps)
{
    struct notes n = {.jumps = jumps, .n_jumps = n_jumps};
    history(&n);
    note_rows(&n);
    world_done(&n.w);
    return strbuf_steal(&n.text);
}

static void test_jumps_of_the_wall_clock_change_nothing(void **state)
{
    static const int64_t forwards[] = {YEAR}, back[] = {-2 * YEAR},
                         both[] = {-40 * YEAR, 80 * YEAR}, little[] = {-1, 1, -5000, 90000};
    cleanup_free char *still = told(NULL, 0);
    assert_non_null(strstr(still, "tried again after 5 s"));
    cleanup_free char *a = told(forwards, 1), *b = told(back, 1), *c = told(both, 2),
                      *d = told(little, 4);
    assert_string_equal(a, still);
    assert_string_equal(b, still);
    assert_string_equal(c, still);
    assert_string_equal(d, still);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jumps_of_the_wall_clock_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
