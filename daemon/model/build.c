/* A build: bringing one track up to date, one job a platform.
 *
 *     happy path     waiting -> running -> publishing -> published
 *     also           running -> unchanged (equal output), -> held -> publishing (released);
 *                    publishing, held -> running (the registry lost a child)
 *     failure modes  failed (a required job), superseded (newer keys), cancelled (a person); with the first tag of its
 *                    publication journalled newer keys end it as published */
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"
#include "daemon/model/schedule.h"

#include <assert.h>
#include <stdarg.h>

#define BIT(s) (1u << (s))
#define ENDS                                                                                       \
    (BIT(BUILD_UNCHANGED) | BIT(BUILD_FAILED) | BIT(BUILD_SUPERSEDED) | BIT(BUILD_CANCELLED))

static const unsigned allowed[] = {
    [BUILD_WAITING] = BIT(BUILD_RUNNING) | BIT(BUILD_HELD) | BIT(BUILD_PUBLISHING) | ENDS,
    /* to published: the tags of its publication moved while a lost child was built again */
    [BUILD_RUNNING] = BIT(BUILD_HELD) | BIT(BUILD_PUBLISHING) | BIT(BUILD_PUBLISHED) | ENDS,
    /* to published: held while its tags moved */
    [BUILD_HELD] = BIT(BUILD_RUNNING) | BIT(BUILD_PUBLISHING) | BIT(BUILD_PUBLISHED) | ENDS,
    [BUILD_PUBLISHING] = BIT(BUILD_RUNNING) | BIT(BUILD_HELD) | BIT(BUILD_PUBLISHED) | ENDS,
    [BUILD_PUBLISHED] = 0,
    [BUILD_UNCHANGED] = 0,
    [BUILD_FAILED] = 0,
    [BUILD_SUPERSEDED] = 0,
    [BUILD_CANCELLED] = 0,
};

bool build_may(enum build_state from, enum build_state to)
{
    return allowed[from] & BIT(to);
}

bool build_active(const struct build *b)
{
    return allowed[b->state] != 0;
}

void build_move(struct model *m, struct build *b, enum build_state state)
{
    assert(build_may(b->state, state));
    b->state = state;
    model_touch(m, b);
}

/* An optional job goes on after its build's end, but not for a track that has stopped alone: see build_stop. */
static void plan_stopped(struct model *m, const struct job *j)
{
    if (!job_under_way(j))
        return;
    VEC_FOREACH (&j->builds, b)
        if ((*b)->track && (*b)->track->stopped)
            model_plan_later(m, (*b)->track);
}

/* The build wants its jobs no longer; a job that nothing else wants is cancelled. */
static void release_jobs(struct model *m, struct build *b)
{
    VEC_FOREACH (&b->jobs, bj) {
        struct job *j = (*bj)->job;
        for (size_t i = 0; i < j->builds.n; i++)
            if (j->builds.items[i] == b) {
                vec_remove(&j->builds, i);
                break;
            }
        if (!j->builds.n && job_under_way(j))
            job_cancel(m, j, b->state == BUILD_CANCELLED);
        if (!j->builds.n)
            job_forget_spec(m, j);
        plan_stopped(m, j);
    }
}

void build_end(struct model *m, struct build *b, enum build_state state, enum reason_code code,
               const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        abort();
    va_end(ap);
    build_move(m, b, state);
    b->end_code = code;
    free(b->end);
    b->end = text;
    b->finished_at = m->wall;
    if (b->track && b->track->current == b)
        model_plan_later(m, b->track); /* it may have been let finish though inputs were newer */
    if (state == BUILD_SUPERSEDED || state == BUILD_CANCELLED)
        release_jobs(m, b);
}

bool build_past_first_tag(const struct model *m, const struct build *b)
{
    const struct publication *p = b->publication ? publication_find(m, b->publication) : NULL;
    return p && (p->state == PUBLICATION_TAGS || p->state == PUBLICATION_VERIFIED);
}

void build_give_up(struct model *m, struct build *b, enum reason_code code, const char *text)
{
    const struct publication *p = b->publication ? publication_find(m, b->publication) : NULL;
    if (build_past_first_tag(m, b))
        build_end(m, b, BUILD_PUBLISHED, REASON_PUBLISHED, "%s", "");
    else if (p && p->state < PUBLICATION_TAGS)
        build_end(m, b, BUILD_SUPERSEDED, code, "%s; its publication, generation %lld, goes on",
                  text, (long long)p->generation);
    else
        build_end(m, b, BUILD_SUPERSEDED, code, "%s", text);
}

/* Whether another build wants the job, of a track that is built. */
static bool wanted_elsewhere(const struct build *b, const struct job *j)
{
    VEC_FOREACH (&j->builds, other)
        if (*other != b && (*other)->track && !(*other)->track->stopped)
            return true;
    return false;
}

void build_stop(struct model *m, struct build *b, enum reason_code code, const char *text)
{
    if (build_active(b)) {
        build_give_up(m, b, code, text);
        return;
    }
    VEC_FOREACH (&b->jobs, bj)
        if (job_under_way((*bj)->job) && !wanted_elsewhere(b, (*bj)->job))
            job_cancel(m, (*bj)->job, false);
}

/* ---- does it want what is wanted now? ---- */

bool build_wants(const struct build *b, const struct job *j)
{
    VEC_FOREACH (&b->jobs, bj)
        if ((*bj)->job == j)
            return true;
    return false;
}

static const struct build_job *find_job(const struct build *b, enum platform p)
{
    VEC_FOREACH (&b->jobs, bj)
        if ((*bj)->platform == p)
            return *bj;
    return NULL;
}

bool build_goes_on(const struct model *m, const struct build *b)
{
    const struct publication *p = b->publication ? publication_find(m, b->publication) : NULL;
    const struct farm_image *image = b->track->image;
    VEC_FOREACH (&b->jobs, bj) {
        const struct job *j = (*bj)->job;
        if (image && !str_eq(j->repository, image->repository))
            return false; /* its image is published to another by now: never of what this pushes */
        if (j->state == JOB_WANTED && (j->retry_due || !schedule_can_run(m, j)) &&
            slot_gates(b->track->slots[(*bj)->platform])) /* `required` may be of before a reload */
            return false;
    }
    return !p || !p->error || p->state >= PUBLICATION_VERIFIED;
}

static bool same_platforms(const struct build *b, const struct track *t)
{
    for (int p = 0; p < PLATFORM_COUNT; p++) {
        const struct slot *s = t->slots[p];
        if ((s && s->state == SLOT_READY) != (find_job(b, (enum platform)p) != NULL))
            return false;
    }
    return true;
}

bool build_matches(const struct build *b, const struct track *t)
{
    for (int p = 0; p < PLATFORM_COUNT; p++) {
        const struct slot *s = t->slots[p];
        const struct build_job *bj = find_job(b, (enum platform)p);
        bool ready = s && s->state == SLOT_READY;
        if (ready != (bj != NULL))
            return false;
        if (bj && (!s->job || bj->job != s->job) && !str_eq(bj->job_key, s->key))
            return false;
    }
    return true;
}

/* ---- making it ---- */

/* A person's cancellation settles a key until a person asks; a failure until its delay is over. */
static bool want_again(const struct model *m, const struct job *j, enum build_class class)
{
    if ((j->state == JOB_CANCELLED && !j->settled) || job_retry_due(m, j))
        return true;
    return class == CLASS_PERSON && (j->state == JOB_CANCELLED || j->state == JOB_FAILED);
}

static void add_job(struct model *m, struct build *b, struct slot *s)
{
    struct build_job *bj = xnew(struct build_job);
    bj->row.table = TABLE_BUILD_JOB;
    bj->build = b->id;
    bj->platform = s->platform;
    bj->platform_name = xstrdup(s->platform_name);
    bj->job_key = xstrdup(s->key);
    bj->required = slot_gates(s);
    if (!s->job)
        slot_set_job(m, s, job_make(m, s, b->class));
    else if (want_again(m, s->job, b->class)) {
        job_describe(m, s->job, s);
        job_want(m, s->job, b->class);
    } else if (!*s->job->spec)
        job_describe(m, s->job, s); /* its key came again, and a person may have it retried */
    bj->job = s->job;
    job_hold(bj->job);
    vec_push(&bj->job->builds, b);
    schedule_join(m, bj->job, b);
    vec_push(&b->jobs, bj);
    model_touch(m, bj);
}

static struct build *make(struct model *m, struct track *t)
{
    struct build *b = xnew(struct build);
    b->row.table = TABLE_BUILD;
    b->id = model_next(m, "next build");
    b->track = t;
    b->track_id = xstrdup(t->id);
    b->commit = xstrdup(t->ref->commit);
    b->created_at = m->wall;
    build_explain(m, t, b);
    HASH_ADD(hh, m->builds, id, sizeof(b->id), b);
    model_touch(m, b);
    for (int p = 0; p < PLATFORM_COUNT; p++)
        if (t->slots[p] && t->slots[p]->state == SLOT_READY)
            add_job(m, b, t->slots[p]);
    return b;
}

void build_free(struct model *m, struct build *b)
{
    VEC_FOREACH (&b->jobs, bj) {
        job_let_go(m, (*bj)->job);
        row_done(TABLE_BUILD_JOB, *bj);
        free(*bj);
    }
    vec_free(&b->jobs);
    HASH_DEL(m->builds, b);
    row_done(TABLE_BUILD, b);
    free(b);
}

/* The build that was the latest is history: the store keeps it. */
static void retire(struct model *m, struct build *b)
{
    if (build_active(b))
        build_give_up(m, b, REASON_SUPERSEDED, "newer inputs");
    release_jobs(m, b); /* also of one that was loaded after its end */
    vec_push(&m->retired_builds, b);
}

void build_update_required(struct model *m, struct build *b)
{
    VEC_FOREACH (&b->jobs, bj) {
        bool gates = slot_gates(b->track->slots[(*bj)->platform]);
        if ((*bj)->required == gates)
            continue;
        (*bj)->required = gates;
        model_touch(m, *bj);
    }
}

/* A build that goes on without a platform that failed tries it again itself. */
static void retry_in(struct model *m, struct build *b)
{
    VEC_FOREACH (&b->jobs, bj)
        if (job_retry_due(m, (*bj)->job)) {
            job_describe(m, (*bj)->job, b->track->slots[(*bj)->platform]);
            job_want(m, (*bj)->job, b->class == CLASS_PERSON ? CLASS_SOURCE : b->class);
        }
}

/* The track had stopped when a job was under way still that the build did not wait for, or that was lost. */
static bool gave_up_job(const struct build *b)
{
    VEC_FOREACH (&b->jobs, bj)
        if (b->state != BUILD_CANCELLED && (*bj)->job->state == JOB_CANCELLED &&
            !(*bj)->job->settled)
            return true;
    return false;
}

/* The latest build runs, and is not past its first tag: what newer inputs supersede. */
static bool may_be_superseded(const struct model *m, const struct track *t)
{
    const struct build *b = t->current;
    return b && build_active(b) && b->state != BUILD_HELD && !build_past_first_tag(m, b);
}

bool build_may_finish(const struct model *m, const struct track *t)
{
    return may_be_superseded(m, t) && t->superseded >= 2 && !t->asked &&
           !build_matches(t->current, t) && same_platforms(t->current, t) &&
           build_goes_on(m, t->current);
}

bool build_stays_cancelled(const struct track *t)
{
    const struct build *b = t->current;
    return b && b->state == BUILD_CANCELLED && build_matches(b, t) && !t->asked;
}

void build_sync(struct model *m, struct track *t)
{
    struct build *old = t->current;
    if (old && build_matches(old, t)) {
        build_update_required(m, old);
        if (build_active(old)) {
            if (t->asked == REASON_RETRY_ASKED)
                retry_in_build(m, t);
            retry_in(m, old);
            track_ask(m, t, REASON_NONE); /* what was asked for is this very build */
            return;
        }
        /* One that was given up when its track had stopped is taken up by a new one; one that a person cancelled is
         * not tried again of itself. */
        bool again = old->state == BUILD_SUPERSEDED || gave_up_job(old) ||
                     (old->state != BUILD_CANCELLED && slot_to_retry(m, t));
        if (!again && !t->asked)
            return;
    }
    if (build_may_finish(m, t))
        return;
    bool publishes = old && build_active(old) && build_past_first_tag(m, old);
    bool superseded = may_be_superseded(m, t);
    t->superseded = publishes ? 0 : superseded ? t->superseded + 1 : t->superseded;
    t->current = make(m, t);
    t->build = t->current->id;
    model_touch(m, t);
    if (old)
        retire(m, old); /* after: a job that both want goes on */
}
