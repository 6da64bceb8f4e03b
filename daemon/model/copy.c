/* Copies of a model. Texts that are rarely of use are left out: the bytes of indexes; what a job that has succeeded was
 * told and made from. */
#include "daemon/model/copy.h"

#include "daemon/model/objects.h"

#define BATCH 64
#define AHEAD 16

/* The bit of a column. */
static uint64_t column_bit(enum table_id table, const char *name)
{
    const struct table *t = table_of(table);
    for (size_t i = 0; i < t->n_columns; i++)
        if (str_eq(t->columns[i].name, name))
            return (uint64_t)1 << i;
    abort();
}

/* The texts that are left out, a bit for each column: of publications, and of jobs that have succeeded. */
static void leave_out(struct model_copy *copy)
{
    static const char *const of_jobs[] = {"inputs", "spec", "image",      "repository",   "source",
                                          "commit", "path", "dockerfile", "config_digest"};
    copy->no_bytes = column_bit(TABLE_PUBLICATION, "bytes");
    for (size_t i = 0; i < sizeof(of_jobs) / sizeof(*of_jobs); i++)
        copy->no_spec |= column_bit(TABLE_JOB, of_jobs[i]);
}

static uint64_t without(const struct model_copy *copy, const struct row *row)
{
    if (row->table == TABLE_PUBLICATION)
        return copy->no_bytes;
    bool done = row->table == TABLE_JOB && ((const struct job *)row)->state == JOB_SUCCEEDED;
    return done ? copy->no_spec : 0;
}

/* The objects lie all over memory, and waiting for each in turn is most of the work: they are gathered, and those of a
 * batch are fetched at the same time. */
static void flush(struct model_copy *copy)
{
    VEC_FOREACH (&copy->batch, b)
        row_prefetch((*b)->table, *b);
    VEC_FOREACH (&copy->batch, b) {
        strbuf_addc(&copy->rows, (char)(*b)->table);
        row_pack(&copy->rows, (*b)->table, *b, without(copy, *b));
    }
    copy->batch.n = 0;
}

static void add(struct model_copy *copy, const void *object)
{
    if (copy->batch.n == BATCH)
        flush(copy);
    object_prefetch(object);
    vec_push(&copy->batch, (const struct row *)object);
}

/* ---- what is copied as far as something refers to it ---- */

static void add_job(struct model *m, struct model_copy *copy, struct job *j)
{
    if (!j || j->mark == m->visit)
        return;
    j->mark = m->visit;
    add(copy, j);
}

static void add_context(struct model *m, struct model_copy *copy, struct context *c)
{
    if (!c || !c->known || c->mark == m->visit)
        return;
    c->mark = m->visit;
    add(copy, c);
    struct epoch *e = context_epoch(m, c);
    if (!e || e->mark == m->visit)
        return;
    e->mark = m->visit;
    add(copy, e);
}

static void add_whole(struct model_copy *copy, const struct row *row)
{
    strbuf_addc(&copy->more, (char)row->table);
    row_pack(&copy->more, row->table, row, 0);
}

bool model_copy_job(struct model *m, struct model_copy *copy, const char *key)
{
    const struct job *j = job_find(m, key);
    if (j)
        add_whole(copy, &j->row);
    return j != NULL;
}

bool model_copy_context(struct model *m, struct model_copy *copy, const char *source,
                        const char *commit, const char *path, const char *dockerfile)
{
    const struct context *c = context_find(m, source, commit, path, dockerfile);
    if (!c || !c->known)
        return false;
    add_whole(copy, &c->row);
    if (c->id)
        model_copy_epoch(m, copy, c->source, c->id);
    return true;
}

void model_copy_epoch(struct model *m, struct model_copy *copy, const char *source, const char *id)
{
    const struct epoch *e = epoch_find(m, source, id);
    if (e)
        add_whole(copy, &e->row);
}

/* ---- tables ---- */

static void add_sources(struct model *m, struct model_copy *copy)
{
    for (struct source *s = m->sources; s; s = s->hh.next) {
        add(copy, s);
        for (struct ref *r = s->refs; r; r = r->hh.next)
            add(copy, r);
    }
}

/* After the tracks: their slots with the contexts that these are planned with and the jobs that "why" compares with: the
 * last success of a slot whose job has succeeded is that job. */
static void add_slots(struct model *m, struct model_copy *copy)
{
    VEC(struct slot *) slots = {0};
    for (struct track *t = m->tracks; t; t = t->hh.next)
        for (int p = 0; p < PLATFORM_COUNT; p++)
            if (t->slots[p])
                vec_push(&slots, t->slots[p]);
    for (size_t i = 0; i < slots.n; i++) {
        struct slot *s = slots.items[i];
        if (i + 2 * AHEAD < slots.n)
            object_prefetch(slots.items[i + 2 * AHEAD]);
        if (i + AHEAD < slots.n && slots.items[i + AHEAD]->job)
            object_prefetch(slots.items[i + AHEAD]->job);
        add(copy, s);
        if (s->context)
            add_context(m, copy, (struct context *)(uintptr_t)s->context);
        add_job(m, copy, s->job);
        if (s->last_key && !(s->job && s->job->state == JOB_SUCCEEDED))
            add_job(m, copy, job_find(m, s->last_key));
    }
    vec_free(&slots);
}

static void add_builds(struct model *m, struct model_copy *copy)
{
    for (struct build *b = m->builds; b; b = b->hh.next)
        VEC_FOREACH (&b->jobs, bj)
            add_job(m, copy, (*bj)->job);
    for (struct attempt *a = m->attempts; a; a = a->hh.next) {
        add_job(m, copy, a->job);
        add(copy, a);
    }
    for (struct build *b = m->builds; b; b = b->hh.next) {
        add(copy, b);
        VEC_FOREACH (&b->jobs, bj)
            add(copy, *bj);
    }
}

static void add_publications(struct model *m, struct model_copy *copy)
{
    for (struct publication *p = m->publications; p; p = p->hh.next) {
        add(copy, p);
        VEC_FOREACH (&p->tags, pt)
            add(copy, *pt);
    }
    for (struct tag *t = m->tags; t; t = t->hh.next)
        add(copy, t);
    for (struct retention *r = m->places; r; r = r->hh.next)
        add(copy, r);
}

void model_copy_boards(const struct model *m, struct model_copy *copy)
{
    for (const struct board *b = m->boards; b; b = b->hh.next) {
        struct copy_board now = {
            .name = xstrdup(b->name),
            .there = b->session && (b->state == BOARD_ONLINE || b->state == BOARD_DRAINING),
            .draining = b->draining,
            .load = b->load,
            .temperature = b->temperature,
            .disk_free = b->disk_free,
            .memory_free = b->memory_free,
        };
        vec_push(&copy->boards, now);
    }
}

void model_copy_load_boards(const struct model_copy *copy, struct model *to)
{
    VEC_FOREACH (&copy->boards, now) {
        struct board *b = board_find(to, now->name);
        if (!b || !now->there)
            continue;
        str_replace(&b->session, "as it was");
        b->draining = now->draining;
        b->load = now->load;
        b->temperature = now->temperature;
        b->disk_free = now->disk_free;
        b->memory_free = now->memory_free;
    }
}

size_t model_copy_size(const struct model *m)
{
    size_t tracks = HASH_COUNT(m->tracks), publications = HASH_COUNT(m->publications);
    return ((size_t)1 << 20) + tracks * 8192 + publications * 4096;
}

void model_copy_reserve(struct model_copy *copy, size_t bytes)
{
    free(copy->rows.s);
    copy->rows = (struct strbuf){.s = xcalloc(1, bytes), .cap = bytes};
    memset(copy->rows.s, 1, bytes); /* calloc's pages are not there before they are written */
}

void model_copy_take(struct model *m, struct model_copy *ret)
{
    ret->mono = m->mono;
    ret->wall = m->wall;
    ret->clock = model_clock(m);
    leave_out(ret);
    m->visit++;
    for (struct setting *s = m->settings; s; s = s->hh.next)
        add(ret, s);
    add_sources(m, ret);
    for (struct base *b = m->bases; b; b = b->hh.next) {
        add(ret, b);
        if (b->error && b->gone)
            strvec_add(&ret->gone, b->reference);
    }
    for (struct track *t = m->tracks; t; t = t->hh.next)
        add(ret, t);
    add_slots(m, ret);
    add_builds(m, ret);
    add_publications(m, ret);
    for (struct board *b = m->boards; b; b = b->hh.next)
        add(ret, b);
    model_copy_boards(m, ret);
    flush(ret);
}

/* Whether it was loaded before, from what was added later. */
static bool there(const struct model *m, const struct row *row)
{
    const struct context *c = (const void *)row;
    const struct epoch *e = (const void *)row;
    switch (row->table) {
    case TABLE_JOB:
        return job_find(m, ((const struct job *)row)->key);
    case TABLE_CONTEXT:
        return context_find(m, c->source, c->commit, c->path, c->dockerfile);
    case TABLE_EPOCH:
        return epoch_find(m, e->source, e->context_id);
    default:
        return false;
    }
}

static void load(const struct strbuf *rows, struct model *to)
{
    const char *p = rows->s, *end = p + rows->n;
    while (rows->n && p < end) {
        enum table_id table = (enum table_id)(unsigned char)*p++;
        struct row *row = xcalloc(1, table_of(table)->size);
        row->table = table;
        p = row_unpack(table, p, row);
        if (there(to, row)) {
            row_done(table, row);
            free(row);
        } else if (model_add(to, table, row) < 0) {
            abort(); /* it was in a model */
        }
    }
}

void model_copy_load(const struct model_copy *copy, struct model *to)
{
    load(&copy->more, to);
    load(&copy->rows, to);
    to->clock_stored = copy->clock;
}

void model_copy_done(struct model_copy *copy)
{
    strbuf_done(&copy->rows);
    strbuf_done(&copy->more);
    vec_free(&copy->batch);
    VEC_FOREACH (&copy->boards, b)
        free(b->name);
    vec_free(&copy->boards);
    strvec_done(&copy->gone);
}
