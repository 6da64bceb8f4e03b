/* The state machines: every pair of states is allowed or refused exactly as ARCHITECTURE.md lists it. */
#include "daemon/model/objects.h"
#include "tests/lib/test.h"

#define STATES 12

struct machine {
    const char *name;
    const char *const *states;
    size_t n;
    bool (*may)(int from, int to);
};

static bool job(int from, int to)
{
    return job_may((enum job_state)from, (enum job_state)to);
}

static bool attempt(int from, int to)
{
    return attempt_may((enum attempt_state)from, (enum attempt_state)to);
}

static bool build(int from, int to)
{
    return build_may((enum build_state)from, (enum build_state)to);
}

static bool publication(int from, int to)
{
    return publication_may((enum publication_state)from, (enum publication_state)to);
}

static bool board(int from, int to)
{
    return board_may((enum board_state)from, (enum board_state)to);
}

static const struct machine machines[] = {
    {"job", job_state_names, JOB_CANCELLED + 1, job},
    {"attempt", attempt_state_names, ATTEMPT_CANCELLED + 1, attempt},
    {"build", build_state_names, BUILD_CANCELLED + 1, build},
    {"publication", publication_state_names, PUBLICATION_ABANDONED + 1, publication},
    {"board", board_state_names, BOARD_QUARANTINED + 1, board},
};

/* The document's table, as lines "job wanted -> leased, running"; a state that ends has no line. */
struct listed {
    bool may[STATES][STATES];
    size_t moves;
};

static int state_of(const struct machine *machine, const char *name)
{
    for (size_t i = 0; i < machine->n; i++)
        if (str_eq(machine->states[i], name))
            return (int)i;
    fail_msg("a %s has no state '%s'", machine->name, name);
    return -1;
}

static void take_line(const struct machine *machine, char *line, struct listed *ret)
{
    char *saved = NULL, *word = strtok_r(line, " ,\n", &saved);
    if (!str_eq(word, machine->name))
        return;
    int from = state_of(machine, strtok_r(NULL, " ,\n", &saved));
    assert_string_equal(strtok_r(NULL, " ,\n", &saved), "->");
    while ((word = strtok_r(NULL, " ,\n", &saved))) {
        int to = state_of(machine, word);
        assert_false(ret->may[from][to]);
        ret->may[from][to] = true;
        ret->moves++;
    }
}

static void read_document(const struct machine *machine, struct listed *ret)
{
    char line[512];
    bool inside = false;
    FILE *f = fopen(ARCHITECTURE, "re");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f)) {
        if (line[0] == '#')
            inside = str_eq(line, "## State machines\n");
        if (inside && strstr(line, " -> ") && strncmp(line, "    ", 4) == 0)
            take_line(machine, line, ret);
    }
    fclose(f);
}

static void test_each_pair_of_states_is_as_listed(void **state)
{
    for (size_t i = 0; i < sizeof(machines) / sizeof(*machines); i++) {
        const struct machine *machine = &machines[i];
        struct listed listed = {0};
        read_document(machine, &listed);
        assert_true(machine->n <= STATES && listed.moves >= machine->n - 1);
        for (size_t from = 0; from < machine->n; from++)
            for (size_t to = 0; to < machine->n; to++)
                if (machine->may((int)from, (int)to) != listed.may[from][to])
                    fail_msg("%s: %s -> %s is %s, and the document says otherwise", machine->name,
                             machine->states[from], machine->states[to],
                             listed.may[from][to] ? "refused" : "allowed");
    }
}

/* What the listing itself has to be: nothing moves to where it is, and no first state is come back to but a job's. */
static void test_what_all_have_in_common(void **state)
{
    for (size_t i = 0; i < sizeof(machines) / sizeof(*machines); i++) {
        const struct machine *machine = &machines[i];
        for (size_t s = 0; s < machine->n; s++) {
            bool reached = s == 0;
            assert_false(machine->may((int)s, (int)s));
            for (size_t from = 0; from < machine->n; from++)
                reached = reached || machine->may((int)from, (int)s);
            assert_true(reached);
            if (machine->may != job)
                assert_false(machine->may((int)s, 0));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_pair_of_states_is_as_listed),
        cmocka_unit_test(test_what_all_have_in_common),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
