#include "tests/lib/model_commands.h"

bool world_do(struct world *w, const struct command *c)
{
    struct err err = ERR_INIT;
    struct command_answer a = {0};
    size_t before = world_actions(w);
    world_begin(w, 1);
    int r = model_on_command(w->m, c, &a, &err);
    world_end(w);
    if (r < 0)
        fail_msg("%s: %s", command_name(c->verb), err.text);
    assert_non_null(a.text);
    assert_int_equal(a.changed, a.action != 0);
    assert_int_equal(world_actions(w), before + (a.changed ? 1 : 0));
    bool changed = a.changed;
    command_answer_done(&a);
    return changed;
}

bool world_ask(struct world *w, enum command_verb verb, const char *track)
{
    struct command c = {.verb = verb, .track = track, .who = "ann", .reason = "a reason"};
    return world_do(w, &c);
}

void world_refused(struct world *w, const struct command *c, int code, const char *says)
{
    struct err err = ERR_INIT;
    struct command_answer a = {0};
    world_begin(w, 1);
    int r = model_on_command(w->m, c, &a, &err);
    world_end(w);
    if (r == 0)
        fail_msg("%s was done: %s", command_name(c->verb), a.text);
    assert_int_equal(r, code);
    if (!strstr(err.text, says))
        fail_msg("'%s' does not say '%s'", err.text, says);
}

static const struct change *tag_row(struct world *w, const char *repository, const char *tag)
{
    VEC_FOREACH (&w->rows, row)
        if (row->table == TABLE_TAG && str_eq(row->cells[0].s, repository) &&
            str_eq(row->cells[1].s, tag))
            return row;
    return NULL;
}

static size_t column(enum table_id table, const char *name)
{
    for (size_t i = 0; i < table_of(table)->n_columns; i++)
        if (str_eq(table_of(table)->columns[i].name, name))
            return i;
    fail_msg("no column %s", name);
    return 0;
}

int64_t world_tag(struct world *w, const char *repository, const char *tag)
{
    const struct change *row = tag_row(w, repository, tag);
    return row ? row->cells[column(TABLE_TAG, "publication")].i : 0;
}

const char *world_tag_digest(struct world *w, const char *repository, const char *tag)
{
    const struct change *row = tag_row(w, repository, tag);
    return row ? row->cells[column(TABLE_TAG, "digest")].s : "";
}

size_t world_actions(struct world *w)
{
    size_t n = 0;
    VEC_FOREACH (&w->rows, row)
        n += row->table == TABLE_ACTION;
    return n;
}
