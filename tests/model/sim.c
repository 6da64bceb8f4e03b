/* The coordinator's discipline, as in daemon/coordinator.c: effects start after the commit that records them, there
 * are at most two batches, and while the store has no room no event is applied and the model's clock stands still. */
#include "tests/model/sim.h"

#include "tests/model/check.h"

/* ---- clocks ---- */

static bool stalled_now(const struct sim *s)
{
    return s->stalled && s->busy;
}

int64_t sim_mono(struct sim *s)
{
    if (stalled_now(s)) {
        if (!s->stall_began)
            s->stall_began = s->now;
        return s->stall_began - s->stalled_ms;
    }
    if (s->stall_began) {
        s->stalled_ms += s->now - s->stall_began;
        s->stall_began = 0;
    }
    return s->now - s->stalled_ms;
}

/* ---- batches ---- */

static void batch_done(struct batch *b)
{
    turn_done(&b->turn);
    VEC_FOREACH (&b->rows, v)
        row_version_drop(*v);
    vec_free(&b->rows);
}

static void start_effects(struct sim *s, struct batch *b)
{
    VEC_FOREACH (&b->turn.effects, e) {
        check_effect(s, e);
        if (b->reloads == s->reloads)
            check_asked_of(s, e);
        effect_start(s, e);
    }
}

static void apply(struct sim *s, struct batch *b)
{
    covered(COVERED_COMMITS);
    VEC_FOREACH (&b->rows, v) {
        const char *broken = store_sim_commit(&s->store, *v);
        if (broken)
            sim_fail(s, "inv04_store_equals_model", "the store refuses: %s", broken);
        check_committed(s, &(*v)->change);
    }
    const char *dangling = store_sim_check(&s->store, &b->rows);
    if (dangling)
        sim_fail(s, "inv04_store_equals_model", "a foreign key leads nowhere: %s", dangling);
}

static void commit_next(struct sim *s)
{
    if (s->busy || s->in_turn)
        return;
    struct batch now = s->gathering;
    if (now.rows.n) {
        s->committing = now;
        s->gathering = (struct batch){0};
        s->busy = true;
        return;
    }
    if (!now.turn.effects.n)
        return;
    s->gathering = (struct batch){0};
    start_effects(s, &now);
    batch_done(&now);
}

void sim_commit_done(struct sim *s)
{
    while (s->busy && !s->stalled) {
        sim_mono(s);
        apply(s, &s->committing);
        struct batch done = s->committing;
        s->committing = (struct batch){0};
        s->busy = false;
        start_effects(s, &done);
        batch_done(&done);
        commit_next(s);
    }
}

void sim_stall(struct sim *s, bool stalled)
{
    sim_mono(s);
    s->stalled = stalled;
    sim_mono(s);
}

/* ---- turns ---- */

struct model *sim_turn(struct sim *s)
{
    if (s->in_turn)
        return s->m;
    s->in_turn = true;
    covered(COVERED_TURNS);
    if (s->busy)
        covered(COVERED_BATCHED);
    if (!s->gathering.rows.n && !s->gathering.turn.effects.n)
        s->gathering.reloads = s->reloads;
    model_turn_begin(s->m, &s->gathering.turn, sim_mono(s), s->wall + s->wall_skew);
    return s->m;
}

/* What only the time of day decides, or what the index's bytes, which tell it, do. */
static bool of_the_day(enum table_id table, const struct column *c)
{
    size_t n = strlen(c->name);
    if (str_eq(c->name, "at") || (n > 3 && str_eq(c->name + n - 3, "_at")))
        return true;
    if (table == TABLE_ACTION && str_eq(c->name, "text"))
        return true;
    if (table == TABLE_RETENTION) /* of indexes, which tell it */
        return str_eq(c->name, "digest") || str_eq(c->name, "wanted");
    if (table == TABLE_TAG && (str_eq(c->name, "found") || str_eq(c->name, "adopted")))
        return true;
    bool digests = table == TABLE_PUBLICATION || table == TABLE_PAST_PUBLICATION ||
                   table == TABLE_PUBLICATION_TAG || table == TABLE_TAG;
    return digests && (str_eq(c->name, "digest") || str_eq(c->name, "bytes"));
}

/* The columns of a table of which that is so, a bit each. */
static uint64_t days_columns(enum table_id id)
{
    static uint64_t known[TABLE_COUNT];
    const struct table *t = table_of(id);
    if (known[id])
        return known[id];
    known[id] = (uint64_t)1 << 63; /* asked */
    for (size_t i = 0; i < t->n_columns; i++)
        known[id] |= (uint64_t)of_the_day(id, &t->columns[i]) << i;
    return known[id];
}

static void trace_row(struct sim *s, const struct change *row)
{
    uint64_t left_out = days_columns(row->table);
    if (row->table == TABLE_SETTING && str_eq(row->cells[0].s, "frozen at"))
        left_out |= 2; /* the value */
    s->trace = mix3(s->trace, row->table, row->deleted);
    for (size_t i = 0; i < row->n_cells; i++) {
        if (left_out >> i & 1)
            continue;
        const struct cell *cell = &row->cells[i];
        s->trace = mix3(s->trace,
                        cell->is_text ? mix_bytes(cell->s, cell->s ? strlen(cell->s) : 0)
                                      : (uint64_t)cell->i,
                        i);
    }
}

static void write_rows(struct sim *s)
{
    VEC_FOREACH (&s->gathering.turn.delta.changes, change) {
        const struct row_version *old;
        trace_row(s, change);
        struct row_version *v = store_sim_write(&s->store, change, &old);
        vec_push(&s->gathering.rows, v);
        check_row(s, old ? &old->change : NULL, &v->change);
    }
    vec_free(&s->gathering.turn.delta.changes);
}

static void end_turn(struct sim *s)
{
    model_turn_end(s->m);
    s->in_turn = false;
    write_rows(s);
    check_pass(s);
}

void sim_pass(struct sim *s)
{
    if (s->in_turn)
        end_turn(s);
    commit_next(s);
    if (s->commit_slow)
        s->commit_slow--;
    else
        sim_commit_done(s);
    sim_mono(s); /* a stall is noticed when it begins */
}

/* ---- starts ---- */

static void fill_random(void *data, void *bytes, size_t n)
{
    struct sim *s = data;
    memset(bytes, 0, n);
    s->random++;
    memcpy(bytes, &s->random, sizeof(s->random) < n ? sizeof(s->random) : n);
}

struct loading {
    struct sim *s;
    struct model *m;
};

static void load_row(void *data, enum table_id table, const struct change *row)
{
    struct loading *l = data;
    struct err err = ERR_INIT;
    if (model_load(l->m, table, row->cells, &err) < 0)
        sim_fail(l->s, "inv04_store_equals_model", "%s", err.text);
}

struct model *sim_load(struct sim *s, bool latest)
{
    struct model_hooks hooks = {fill_random, s};
    struct loading l = {s, model_new(s->farm, &hooks)};
    store_sim_load(&s->store, latest, load_row, &l);
    return l.m;
}

static void note_crash(struct sim *s)
{
    covered(COVERED_CRASHES);
    if (s->busy)
        covered(COVERED_CRASHES_MID_COMMIT);
    if (s->m->attempts)
        covered(COVERED_CRASHES_WITH_LEASES);
    for (const struct publication *p = s->m->publications; p; p = p->hh.next)
        if (p->state < PUBLICATION_VERIFIED) {
            covered(COVERED_CRASHES_PUBLISHING);
            return;
        }
}

void sim_crash(struct sim *s, bool committed, unsigned landed)
{
    note_crash(s);
    if (s->busy && committed)
        apply(s, &s->committing);
    store_sim_crash(&s->store);
    batch_done(&s->committing);
    batch_done(&s->gathering);
    s->committing = s->gathering = (struct batch){0};
    s->busy = s->in_turn = s->stalled = false;
    s->stall_began = s->stalled_ms = 0;
    for (size_t i = 0; i < s->ops.n; i++)
        op_orphaned(s, &s->ops.items[i], landed >> (i % 8) & 1);
    s->ops.n = 0;
    for (unsigned i = 0; i < MAX_SOURCES; i++)
        s->source[i].listing = false;
    model_free(s->m);
    s->m = NULL;
    rpcs_fail(s);
    check_restarted(s);
    s->m = sim_load(s, false);
    model_start(sim_turn(s));
    sim_pass(s);
}

/* What has become of the images that were there. */
static void cover_reload(const struct farm *old, const struct farm *now)
{
    covered(COVERED_RELOADS);
    VEC_FOREACH (&now->images, image) {
        const struct farm_image *was = farm_image(old, image->name);
        if (was && !str_eq(was->source, image->source))
            covered(COVERED_SOURCES_CHANGED);
        if (was && !str_eq(was->repository, image->repository))
            covered(COVERED_REGISTRIES_CHANGED);
    }
}

bool sim_names_registry(const struct sim *s, const char *repository)
{
    size_t n = strcspn(repository, "/");
    VEC_FOREACH (&s->farm->registries, registry)
        if (strlen(registry->host) == n && strncmp(registry->host, repository, n) == 0)
            return true;
    VEC_FOREACH (&s->farm->images, image)
        if (strncmp(image->repository, repository, n + 1) == 0)
            return true;
    return false;
}

void sim_reload(struct sim *s)
{
    struct farm *old = s->farm;
    s->farm = farm_spec_build(&s->spec);
    cover_reload(old, s->farm);
    s->reloads++;
    model_on_config(sim_turn(s), s->farm);
    farm_free(old);
}

/* ---- time ---- */

static int64_t next_thing(struct sim *s, int64_t until)
{
    int64_t at = until;
    int64_t due = model_next_due(s->m);
    if (!stalled_now(s) && due != INT64_MAX && due + s->stalled_ms < at)
        at = due + s->stalled_ms;
    for (unsigned i = 0; i < s->spec.n_boards; i++) {
        const struct session *session = s->board[i].session;
        if (session && session_deadline(session) < at)
            at = session_deadline(session);
    }
    return at > s->now ? at : s->now;
}

void sim_advance(struct sim *s, int64_t ms)
{
    int64_t until = s->now + ms;
    for (unsigned spins = 0; s->now < until; spins++) {
        int64_t at = next_thing(s, until);
        if (at > s->now)
            spins = 0;
        if (spins > 200)
            sim_fail(s, "inv00_time_goes_on", "something is due over and over at %lld ms",
                     (long long)s->now);
        s->wall += at - s->now;
        s->now = at;
        for (unsigned i = 0; i < s->spec.n_boards; i++)
            if (s->board[i].session)
                session_tick(s->board[i].session, s->now);
        if (!stalled_now(s) && model_next_due(s->m) <= sim_mono(s))
            model_on_timer(sim_turn(s));
        sim_pass(s);
        boards_pump(s);
        sim_pass(s);
    }
}
