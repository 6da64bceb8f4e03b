/* What if: what is kept of a run. Turns are read as the store would read them, from the rows that they write. */
#include "daemon/model/objects.h"
#include "daemon/model/what_if_int.h"

/* A run that takes more jobs is given up, and the answer says so. */
#define JOBS_MAX 50000

/* ---- before ---- */

unsigned what_if_served(const struct model *m, const struct track *t)
{
    unsigned served = 0;
    for (int p = 0; p < PLATFORM_COUNT; p++) {
        const struct slot *s = t->slots[p];
        if (!s || !s->wanted || s->retired || s->state == SLOT_NOT_OFFERED)
            continue;
        for (const struct board *b = m->boards; b; b = b->hh.next)
            if (b->state == BOARD_ONLINE &&
                (b->native[p] || (b->emulated[p] && t->image && t->image->emulated)))
                served |= 1U << p;
    }
    return served;
}

static void note_track(struct what_if *w, const struct model *m, const struct track *t)
{
    struct what_track *b = xnew(struct what_track);
    b->id = xstrdup(t->id);
    b->state = t->state;
    b->known = t->image != NULL;
    b->conflict = xstrdup(t->conflict);
    b->served = what_if_served(m, t);
    reason_copy(&b->reason, &t->reason);
    for (int p = 0; p < PLATFORM_COUNT; p++)
        if (t->slots[p])
            b->last[p] = xstrdup(t->slots[p]->last_key);
    HASH_ADD_KEYPTR(hh, w->tracks, b->id, strlen(b->id), b);
}

static struct what_tag *tag_of(struct what_if *w, const char *name)
{
    struct what_tag *t = NULL;
    HASH_FIND_STR(w->tags, name, t);
    if (t)
        return t;
    t = xnew(struct what_tag);
    t->name = xstrdup(name);
    HASH_ADD_KEYPTR(hh, w->tags, t->name, strlen(t->name), t);
    return t;
}

void what_if_note_before(struct what_if *w, struct model *m)
{
    for (const struct track *t = m->tracks; t; t = t->hh.next)
        note_track(w, m, t);
    for (const struct tag *t = m->tags; t; t = t->hh.next) {
        struct what_tag *b = tag_of(w, t->hash_key);
        b->digest = xstrdup(t->digest);
        b->track = xstrdup(t->track_id);
    }
}

/* ---- turns ---- */

static struct what_track *track_of(struct what_if *w, const char *id)
{
    struct what_track *t = NULL;
    HASH_FIND_STR(w->tracks, id, t);
    return t;
}

/* One more than that of the last of its bases' builds. */
static int wave_of(struct what_if *w, const struct track *t)
{
    int wave = 0;
    VEC_FOREACH (&t->bases, n)
        VEC_FOREACH (&(*n)->claimants, c) {
            const struct what_track *base = *c == t ? NULL : track_of(w, (*c)->id);
            wave = base && base->wave > wave ? base->wave : wave;
        }
    return wave + 1;
}

static void set_wave(struct what_if *w, const struct model *m, struct what_build *b)
{
    const struct track *t = track_find(m, b->b.track_id);
    struct what_track *known = track_of(w, b->b.track_id);
    b->wave = t ? wave_of(w, t) : 1;
    if (!known) { /* the track is new */
        known = xnew(struct what_track);
        known->id = xstrdup(b->b.track_id);
        HASH_ADD_KEYPTR(hh, w->tracks, known->id, strlen(known->id), known);
    }
    known->wave = b->wave;
}

static struct what_build *find_build(struct what_if *w, int64_t id)
{
    for (size_t i = w->builds.n; i-- > 0;)
        if (w->builds.items[i].b.id == id)
            return &w->builds.items[i];
    return NULL;
}

/* "Why" compares with the inputs of the last success, which the copy may lack. */
static void lack_inputs(struct sim *s, const char *key)
{
    const struct job *last = key ? job_find(s->m, key) : NULL;
    if (key && (!last || !*last->inputs))
        what_if_lack_job(s->w, key);
}

/* The last success is another one already where the key that is wanted has been built before. */
static void lack_last(struct sim *s, const struct track *t)
{
    struct what_track *known = track_of(s->w, t->id);
    for (int p = 0; p < PLATFORM_COUNT; p++) {
        const char *last = t->slots[p] ? t->slots[p]->last_key : NULL;
        lack_inputs(s, last);
        if (!known)
            continue;
        lack_inputs(s, known->last[p]);
        str_replace(&known->last[p], last);
    }
}

/* A build that there was before the event is not one that it causes. */
static void record_build(struct sim *s, const struct change *change, int64_t first)
{
    struct build b = {0};
    if (row_decode(TABLE_BUILD, change->cells, &b) < 0)
        abort();
    struct what_build *known = find_build(s->w, b.id);
    if (known) {
        row_done(TABLE_BUILD, &known->b);
        known->b = b;
        return;
    }
    if (b.id < first) {
        row_done(TABLE_BUILD, &b);
        return;
    }
    struct what_build new = {.b = b, .made = s->mono};
    vec_push(&s->w->builds, new);
    const struct track *t = track_find(s->m, b.track_id);
    if (t)
        lack_last(s, t);
    set_wave(s->w, s->m, &s->w->builds.items[s->w->builds.n - 1]);
}

static void record_need(struct sim *s, const struct change *change)
{
    struct build_job bj = {0};
    if (row_decode(TABLE_BUILD_JOB, change->cells, &bj) < 0)
        abort();
    struct what_build *b = find_build(s->w, bj.build);
    const struct job *j = job_find(s->m, bj.job_key);
    bool again = false;
    if (b)
        VEC_FOREACH (&b->needs, n)
            again = again || str_eq(n->platform, bj.platform_name);
    if (b && !again)
        vec_push(&b->needs, (struct what_need){xstrdup(bj.platform_name), xstrdup(bj.job_key),
                                               bj.required, j && j->state == JOB_SUCCEEDED});
    row_done(TABLE_BUILD_JOB, &bj);
}

/* A key that the copy does not have may be settled in the farm. */
static void record_job(struct sim *s, const struct change *change)
{
    const struct job *j = job_find(s->m, change->cells[0].s);
    if (j && j->epoch <= 1 && (j->state == JOB_WANTED || j->state == JOB_LEASED))
        what_if_lack_job(s->w, j->key);
}

static void record_tag(struct sim *s, const struct change *change)
{
    struct tag t = {0};
    if (row_decode(TABLE_TAG, change->cells, &t) < 0)
        abort();
    cleanup_free char *name = xasprintf("%s:%s", t.repository, t.name);
    tag_of(s->w, name)->moved = true;
    row_done(TABLE_TAG, &t);
}

void what_if_record(struct sim *s)
{
    int64_t first = s->first_build;
    VEC_FOREACH (&s->turn.delta.changes, change) {
        if (change->deleted)
            continue;
        if (change->table == TABLE_JOB)
            record_job(s, change);
        if (!s->recording)
            continue;
        if (change->table == TABLE_BUILD)
            record_build(s, change, first);
        else if (change->table == TABLE_TAG)
            record_tag(s, change);
    }
    if (s->recording)
        VEC_FOREACH (&s->turn.delta.changes, change)
            if (change->table == TABLE_BUILD_JOB && !change->deleted)
                record_need(s, change);
}

void what_if_record_grant(struct sim *s, const struct attempt *a, int64_t ends)
{
    struct what_if *w = s->w;
    struct what_job *j = NULL;
    if (!s->grants)
        return;
    HASH_FIND_STR(*s->grants, a->job_key, j);
    if (!j) {
        j = xnew(struct what_job);
        j->key = xstrdup(a->job_key);
        j->track = xstrdup(a->job->track);
        j->platform = xstrdup(a->job->platform_name);
        j->begins = s->mono;
        HASH_ADD_KEYPTR(hh, *s->grants, j->key, strlen(j->key), j);
    }
    str_replace(&j->board, a->board_name);
    j->ends = ends;
    w->too_much = w->too_much || HASH_COUNT(*s->grants) > JOBS_MAX;
}

/* ---- the end ---- */

static void forget_jobs(struct what_job **jobs)
{
    struct what_job *j, *next;
    HASH_ITER(hh, *jobs, j, next)
    {
        HASH_DEL(*jobs, j);
        free(j->key);
        free(j->board);
        free(j->track);
        free(j->platform);
        free(j);
    }
}

static void forget_before(struct what_if *w)
{
    struct what_track *t, *next;
    HASH_ITER(hh, w->tracks, t, next)
    {
        HASH_DEL(w->tracks, t);
        free(t->id);
        free(t->conflict);
        reason_done(&t->reason);
        for (int p = 0; p < PLATFORM_COUNT; p++)
            free(t->last[p]);
        free(t);
    }
    struct what_tag *tag, *after;
    HASH_ITER(hh, w->tags, tag, after)
    {
        HASH_DEL(w->tags, tag);
        free(tag->name);
        free(tag->digest);
        free(tag->track);
        free(tag);
    }
}

void what_if_forget(struct what_if *w)
{
    VEC_FOREACH (&w->commits, c) {
        free(c->ref);
        free(c->commit);
        free(c->was);
    }
    vec_free(&w->commits);
    strvec_done(&w->notes);
    strvec_done(&w->refs);
    strvec_done(&w->interrupted);
    VEC_FOREACH (&w->builds, b) {
        row_done(TABLE_BUILD, &b->b);
        VEC_FOREACH (&b->needs, n) {
            free(n->platform);
            free(n->key);
        }
        vec_free(&b->needs);
    }
    vec_free(&w->builds);
    forget_jobs(&w->jobs);
    forget_jobs(&w->without);
    forget_before(w);
    json_decref(steal_ptr(w->answer));
    w->too_much = false;
}
