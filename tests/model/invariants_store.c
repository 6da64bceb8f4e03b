/* Invariant 4: what loading the store yields equals the model, and derives the same pending effects. */
#include "tests/model/check_int.h"

#include <assert.h>
#include <inttypes.h>

#define COLUMNS_MAX 64

/* ---- 4: every object against its row ---- */

static bool same_cell(const struct cell *a, const struct cell *b)
{
    return a->is_text == b->is_text && (a->is_text ? str_eq(a->s, b->s) : a->i == b->i);
}

/* Shown only, and not worth a commit with each poll. */
static bool may_lag(const struct table *t, size_t column)
{
    return t == table_of(TABLE_BOARD) && str_eq(t->columns[column].name, "seen_at");
}

/* A column of an object, whose text stays the object's. */
static struct cell column_of(const struct column *c, const void *object)
{
    const void *member = (const char *)object + c->offset;
    switch (c->type) {
    case COLUMN_TEXT:
        return (struct cell){.is_text = true, .s = *(char *const *)member};
    case COLUMN_INT:
        return (struct cell){.i = *(const int64_t *)member};
    case COLUMN_BOOL:
        return (struct cell){.i = *(const bool *)member};
    case COLUMN_ENUM:
        return (struct cell){.is_text = true,
                             .s = (char *)(uintptr_t)c->names[*(const unsigned *)member]};
    }
    abort();
}

static void compare_row(struct sim *s, const struct change *object)
{
    cleanup_free char *key = row_key(object);
    struct store_row *row = NULL;
    const struct table *t = table_of(object->table);
    HASH_FIND_STR(s->store.table[object->table], key, row);
    if (!row || !row->latest)
        sim_fail(s, "inv04_store_equals_model", "%s %s is not stored", t->name, key);
    for (size_t i = 0; i < t->n_columns; i++) {
        const struct cell *stored = &row->latest->change.cells[i], *is = &object->cells[i];
        if (!same_cell(stored, is) && !may_lag(t, i))
            sim_fail(s, "inv04_store_equals_model",
                     "%s %s: %s is stored as %s %" PRId64 " and is %s %" PRId64, t->name, key,
                     t->columns[i].name, stored->s ? stored->s : "", stored->i, is->s ? is->s : "",
                     is->i);
    }
}

static void compare_object(struct sim *s, enum table_id table, const void *object)
{
    struct cell cells[COLUMNS_MAX];
    const struct table *t = table_of(table);
    assert(t->n_columns <= COLUMNS_MAX);
    for (size_t i = 0; i < t->n_columns; i++)
        cells[i] = column_of(&t->columns[i], object);
    compare_row(s, &(struct change){.table = table, .n_cells = t->n_columns, .cells = cells});
}

#define compare_all(s, head, id)                                                                   \
    for (__auto_type o = (head); o; o = o->hh.next)                                                \
    compare_object(s, id, o)

static void compare_past(void *s, const struct job *j)
{
    compare_object(s, TABLE_JOB, j);
}

static void objects_equal_rows(struct sim *s)
{
    const struct model *m = s->m;
    compare_all(s, m->settings, TABLE_SETTING);
    compare_all(s, m->sources, TABLE_SOURCE);
    for (struct source *source = m->sources; source; source = source->hh.next)
        compare_all(s, source->refs, TABLE_REF);
    for (struct context *c = m->contexts; c; c = c->hh.next)
        if (c->known || c->error) /* one that was never answered for is not stored */
            compare_object(s, TABLE_CONTEXT, c);
    compare_all(s, m->epochs, TABLE_EPOCH);
    for (struct base *b = m->bases; b; b = b->hh.next)
        if (b->checked_at) /* one that was never answered for is not stored */
            compare_object(s, TABLE_BASE, b);
    compare_all(s, m->tracks, TABLE_TRACK);
    for (struct track *t = m->tracks; t; t = t->hh.next)
        for (int p = 0; p < PLATFORM_COUNT; p++)
            if (t->slots[p])
                compare_object(s, TABLE_SLOT, t->slots[p]);
    compare_all(s, m->jobs, TABLE_JOB);
    past_each(m, compare_past, s);
    compare_all(s, m->attempts, TABLE_ATTEMPT);
    compare_all(s, m->builds, TABLE_BUILD);
    for (struct build *b = m->builds; b; b = b->hh.next)
        VEC_FOREACH (&b->jobs, bj)
            compare_object(s, TABLE_BUILD_JOB, *bj);
    compare_all(s, m->publications, TABLE_PUBLICATION);
    for (struct publication *p = m->publications; p; p = p->hh.next)
        VEC_FOREACH (&p->tags, pt)
            compare_object(s, TABLE_PUBLICATION_TAG, *pt);
    compare_all(s, m->tags, TABLE_TAG);
    compare_all(s, m->boards, TABLE_BOARD);
    compare_all(s, m->places, TABLE_RETENTION);
}

/* ---- 4: another model, made from the store ---- */

static const char *compare_slots(const struct track *a, const struct track *b)
{
    for (int p = 0; p < PLATFORM_COUNT; p++) {
        const struct slot *x = a->slots[p], *y = b->slots[p];
        if (!x != !y)
            return "the slots";
        if (!x)
            continue;
        if (x->reason.code != y->reason.code)
            return "the reason of a slot";
        if (x->state != y->state)
            return "the state of a slot";
        if (x->state == SLOT_READY && !str_eq(x->key, y->key))
            return "the key of a slot";
    }
    return NULL;
}

/* In what the two differ beside state and reason; NULL: in nothing. */
static const char *compare_track(const struct track *a, const struct track *b)
{
    const char *what = a->stopped ? NULL : compare_slots(a, b);
    if (what)
        return what;
    if (a->stopped != b->stopped)
        return "whether it has stopped";
    if (a->under_way != b->under_way)
        return "whether it is under way";
    if (!a->wait_due != !b->wait_due)
        return "whether it waits for ancestors";
    bool judged = a->state == TRACK_PUBLISHED || a->state == TRACK_CONFLICT;
    if (judged && !str_eq(a->conflict, b->conflict)) /* else it is that of the last publication */
        return "its conflict";
    if ((a->current ? a->current->id : 0) != (b->current ? b->current->id : 0))
        return "its build";
    if ((a->last ? a->last->id : 0) != (b->last ? b->last->id : 0))
        return "its publication";
    return NULL;
}

static const char *compare_jobs(const struct model *a, const struct model *b)
{
    for (const struct job *x = a->jobs; x; x = x->hh.next) {
        const struct job *y = job_find(b, x->key);
        if (!y || !x->live != !y->live || (x->live && x->live->id != y->live->id))
            return "the live attempt of a job";
        bool waits = x->state == JOB_WANTED || x->state == JOB_FAILED;
        if (waits && !x->retry_due != !y->retry_due)
            return "whether a job backs off";
        if (x->builds.n != y->builds.n)
            return "the builds that want a job";
    }
    for (const struct attempt *x = a->attempts; x; x = x->hh.next) {
        const struct attempt *y = attempt_find(b, x->lease);
        if (!y || x->cancel != y->cancel)
            return "whether an attempt is to be cancelled";
    }
    return NULL;
}

static const char *compare_repositories(struct model *a, struct model *b)
{
    for (struct repository *x = a->repositories; x; x = x->hh.next) {
        const struct repository *y = model_repository(b, x->name);
        if ((x->running ? x->running->id : 0) != (y->running ? y->running->id : 0))
            return "the publication of a repository";
        if (x->owned && (!str_eq(x->stopped, y->stopped) || x->restoring != y->restoring ||
                         x->adopting != y->adopting || x->asked != y->asked))
            return "what was decided about a repository";
    }
    for (const struct tag *x = a->tags; x; x = x->hh.next) {
        const struct tag *y = tag_find(b, x->repository, x->name);
        if (!y || (x->shown ? x->shown->id : 0) != (y->shown ? y->shown->id : 0))
            return "what a tag names";
        if (x->put_back != y->put_back)
            return "whether a tag is to be put back";
    }
    return NULL;
}

static const char *compare_models(struct model *a, struct model *b)
{
    static char text[300];
    for (const struct track *t = a->tracks; t; t = t->hh.next) {
        const struct track *o = track_find(b, t->id);
        if (!o)
            return "a track is not there";
        const char *what = compare_track(t, o);
        if (!what && t->reason.code == o->reason.code && t->state == o->state)
            continue;
        snprintf(text, sizeof(text), "%s: %s: %s %s (%s), loaded %s %s (%s)", t->id,
                 what ? what : "the state", track_state_names[t->state],
                 reason_names[t->reason.code], t->reason.text ? t->reason.text : "",
                 track_state_names[o->state], reason_names[o->reason.code],
                 o->reason.text ? o->reason.text : "");
        return text;
    }
    const char *what = compare_jobs(a, b);
    return what ? what : compare_repositories(a, b);
}

static bool context_pending(const struct model *m, const struct effect *e)
{
    for (const struct context *c = m->contexts; c; c = c->hh.next)
        if (str_eq(c->source, e->source) && str_eq(c->commit, e->commit) &&
            str_eq(c->path, e->path) && str_eq(c->dockerfile, e->dockerfile ? e->dockerfile : ""))
            return c->asked || c->retry_due;
    return false;
}

static const struct effect *find_effect(const struct turn *t, enum effect_kind kind,
                                        bool (*is)(const struct effect *, const void *),
                                        const void *what)
{
    VEC_FOREACH (&t->effects, e)
        if (e->kind == kind && is(e, what))
            return e;
    return NULL;
}

static bool of_publication(const struct effect *e, const void *what)
{
    return e->publication == ((const struct publication *)what)->id;
}

static bool of_context(const struct effect *e, const void *what)
{
    const struct context *c = what;
    return str_eq(e->source, c->source) && str_eq(e->commit, c->commit) &&
           str_eq(e->path, c->path) && str_eq(e->dockerfile ? e->dockerfile : "", c->dockerfile);
}

static bool of_base(const struct effect *e, const void *what)
{
    return str_eq(e->reference, ((const struct base *)what)->reference);
}

static bool of_place(const struct effect *e, const void *what)
{
    const struct retention *r = what;
    return str_eq(e->repository, r->repository) && str_eq(e->tags.items[0].tag, r->name);
}

/* How far what is journalled as the next goes. */
static enum publish_step next_step(const struct publication *p)
{
    return p->state < PUBLICATION_TAGS ? PUBLISH_INDEX : PUBLISH_VERIFY;
}

static bool place_pending(const struct model *m, const struct effect *e)
{
    cleanup_free char *key = xasprintf("%s:%s", e->repository, e->tags.items[0].tag);
    const struct retention *r = NULL;
    HASH_FIND_STR(m->places, key, r);
    return r && (r->queued || r->asked) && str_eq(r->wanted, e->digest);
}

/* What a start derives is what is under way here, or waits to be tried again. */
static void effects_agree(struct sim *s, const struct turn *started)
{
    VEC_FOREACH (&started->effects, e) {
        if (e->kind == EFFECT_INSPECT && !context_pending(s->m, e))
            sim_fail(s, "inv04_store_equals_model", "a start reads %.12s of %s again", e->commit,
                     e->path);
        if (e->kind == EFFECT_RETAIN && !place_pending(s->m, e))
            sim_fail(s, "inv04_store_equals_model", "a start retains %s again",
                     e->tags.items[0].tag);
        if (e->kind == EFFECT_REPLY || e->kind == EFFECT_LEASE)
            sim_fail(s, "inv04_store_equals_model", "a start answers somebody");
        const struct publication *p =
            e->kind == EFFECT_PUBLISH ? publication_find(s->m, e->publication) : NULL;
        if (e->kind == EFFECT_PUBLISH && !(p && (p->asked || p->retry_due)))
            sim_fail(s, "inv04_store_equals_model", "a start publishes %" PRId64, e->publication);
    }
}

static void nothing_is_forgotten(struct sim *s, const struct turn *started)
{
    const char *const name = "inv04_store_equals_model";
    for (const struct publication *p = s->m->publications; p; p = p->hh.next) {
        if (!(p->asked || p->retry_due) || p->state >= PUBLICATION_VERIFIED ||
            !sim_names_registry(s, p->repository))
            continue;
        const struct effect *e = find_effect(started, EFFECT_PUBLISH, of_publication, p);
        if (!e || e->step != next_step(p))
            sim_fail(s, name, "a start forgets publication %" PRId64 ", or where it is", p->id);
    }
    for (const struct track *t = s->m->tracks; t; t = t->hh.next)
        for (int p = 0; p < PLATFORM_COUNT; p++) {
            const struct context *c = t->slots[p] && !t->stopped ? t->slots[p]->context : NULL;
            if (c && !c->known && (c->asked || c->retry_due) &&
                !find_effect(started, EFFECT_INSPECT, of_context, c))
                sim_fail(s, name, "a start does not read %.12s of %s", c->commit, c->path);
        }
    for (const struct base *b = s->m->bases; b; b = b->hh.next)
        if (b->dependents.n && (b->asked || b->check_due) &&
            !find_effect(started, EFFECT_RESOLVE_BASE, of_base, b))
            sim_fail(s, name, "a start does not look %s up", b->reference);
    for (const struct retention *r = s->m->places; r; r = r->hh.next)
        if (r->queued && r->wanted && sim_names_registry(s, r->repository) &&
            !str_eq(r->wanted, r->digest) && !r->publication && r->platform != PLATFORM_COUNT &&
            !find_effect(started, EFFECT_RETAIN, of_place, r))
            sim_fail(s, name, "a start does not bring %s about", r->name);
}

/* In what a row differs from the one that is stored. The caller owns it. */
char *row_differences(struct sim *s, const struct change *c)
{
    cleanup_free char *key = row_key(c);
    struct store_row *row = NULL;
    struct strbuf b = {0};
    HASH_FIND_STR(s->store.table[c->table], key, row);
    for (size_t i = 0; row && row->latest && i < c->n_cells; i++) {
        const struct cell *old = &row->latest->change.cells[i], *now = &c->cells[i];
        if (!same_cell(now, old))
            strbuf_addf(&b, "%s: %s%" PRId64 " -> %s%" PRId64 " ",
                        table_of(c->table)->columns[i].name, old->s ? old->s : "", old->i,
                        now->s ? now->s : "", now->i);
    }
    return strbuf_steal(&b);
}

/* A row that is written as it was. */
static bool as_stored(struct sim *s, const struct change *c)
{
    cleanup_free char *key = row_key(c);
    struct store_row *row = NULL;
    HASH_FIND_STR(s->store.table[c->table], key, row);
    if (!row || !row->latest || c->deleted)
        return false;
    for (size_t i = 0; i < c->n_cells; i++)
        if (!same_cell(&c->cells[i], &row->latest->change.cells[i]))
            return false;
    return true;
}

/* Its registry has left farm.yaml while a step was under way, or waited to be tried again: that it stands is said when
 * that is over, which it is at a start. */
static bool begins_to_stand(struct sim *s, const struct change *c)
{
    return c->table == TABLE_PUBLICATION && !c->deleted && str_eq(row_text(c, "state"), "tags") &&
           !sim_names_registry(s, row_text(c, "repository"));
}

static void start_decides_nothing(struct sim *s, const struct turn *started)
{
    VEC_FOREACH (&started->delta.changes, c) {
        cleanup_free char *key = row_key(c);
        if (as_stored(s, c) || begins_to_stand(s, c))
            continue;
        cleanup_free char *what = row_differences(s, c);
        sim_fail(s, "inv04_store_equals_model", "a start writes %s %s%s", table_of(c->table)->name,
                 key, what);
    }
}

void inv04_store_equals_model(struct sim *s)
{
    objects_equal_rows(s);
    struct turn started = {0};
    unsigned random = s->random;
    struct model *loaded = sim_load(s, true);
    model_turn_begin(loaded, &started, s->m->mono, s->m->wall);
    model_start(loaded);
    model_turn_end(loaded);
    s->random = random;
    covered(COVERED_LOADED);
    start_decides_nothing(s, &started);
    effects_agree(s, &started);
    nothing_is_forgotten(s, &started);
    const char *difference = compare_models(s->m, loaded);
    if (difference)
        sim_fail(s, __func__, "%s", difference);
    turn_done(&started);
    model_free(loaded);
}
