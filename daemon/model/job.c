/* A job: one platform of one set of inputs, whichever tracks want it.
 *
 *     happy path     wanted -> leased -> running -> succeeded
 *     failure modes  an attempt is lost, or fails for want of something: wanted again, later or elsewhere;
 *                    it fails by itself: once more, then failed, and wanted again after a delay (failure.c);
 *                    nobody wants it any more: cancelled;
 *                    the registry lost its output: succeeded -> wanted */
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"
#include "daemon/model/queue.h"
#include "daemon/model/schedule.h"

#include <assert.h>

#define BIT(s) (1u << (s))
#define ENDS   (BIT(JOB_SUCCEEDED) | BIT(JOB_FAILED) | BIT(JOB_CANCELLED))

static const unsigned allowed[] = {
    /* to running and to an end: a lost attempt whose board came back in time */
    [JOB_WANTED] = BIT(JOB_LEASED) | BIT(JOB_RUNNING) | ENDS,
    [JOB_LEASED] = BIT(JOB_RUNNING) | BIT(JOB_WANTED) | ENDS,
    [JOB_RUNNING] = BIT(JOB_WANTED) | ENDS,
    [JOB_SUCCEEDED] = BIT(JOB_WANTED),
    /* to succeeded: a board that had been lost comes back with its result */
    [JOB_FAILED] = BIT(JOB_WANTED) | BIT(JOB_SUCCEEDED),
    /* to succeeded: superseded too late */
    [JOB_CANCELLED] = BIT(JOB_WANTED) | BIT(JOB_SUCCEEDED),
};

bool job_may(enum job_state from, enum job_state to)
{
    return allowed[from] & BIT(to);
}

struct job *job_find(const struct model *m, const char *key)
{
    struct job *j = NULL;
    HASH_FIND_STR(m->jobs, key, j);
    if (j)
        return j;
    return past_recall((struct model *)(uintptr_t)m,
                       key); /* which changes nothing but where it is */
}

bool job_under_way(const struct job *j)
{
    return j->state == JOB_WANTED || j->state == JOB_LEASED || j->state == JOB_RUNNING;
}

void job_changed(struct model *m, struct job *j)
{
    VEC_FOREACH (&j->builds, b)
        model_plan_later(m, (*b)->track);
}

void job_move(struct model *m, struct job *j, enum job_state state)
{
    assert(job_may(j->state, state));
    j->state = state;
    if (state != JOB_WANTED)
        queue_drop(j);
    retain_job(m, j, job_under_way(j));
    model_touch(m, j);
    job_changed(m, j);
}

void job_add(struct model *m, struct job *j)
{
    HASH_ADD_KEYPTR(hh, m->jobs, j->key, strlen(j->key), j);
    retain_job(m, j, job_under_way(j));
}

void job_free(struct job *j)
{
    strvec_done(&j->pins);
    vec_free(&j->builds);
    row_done(TABLE_JOB, j);
    free(j);
}

/* ---- making ---- */

void job_describe(struct model *m, struct job *j, const struct slot *s)
{
    str_replace(&j->source, s->context->source);
    str_replace(&j->commit, s->context->commit);
    str_replace(&j->path, s->context->path);
    str_replace(&j->dockerfile, s->context->dockerfile);
    struct wire_job spec = {0};
    job_spec_fill(m, s, &spec);
    free(j->spec);
    j->spec = wire_job_encode(&spec);
    retain_described(m, j, &spec);
    wire_job_done(&spec);
    model_touch(m, j);
}

/* Most jobs are of the past, and their specs are half of what they take. */
void job_forget_spec(struct model *m, struct job *j)
{
    bool done = j->state == JOB_SUCCEEDED || (j->state == JOB_CANCELLED && !j->settled);
    if (!done || j->live || !*j->spec)
        return;
    str_replace(&j->spec, "");
    model_touch(m, j);
    past_expect(m, j);
}

void job_note_builder(struct model *m, struct job *j, const struct slot *s)
{
    if (j->buildah == s->buildah && str_eq(j->buildah_for, s->buildah_for))
        return;
    j->buildah = s->buildah;
    str_replace(&j->buildah_for, s->buildah_for);
    schedule_demand_changed(m, j);
    model_touch(m, j);
}

struct job *job_make(struct model *m, struct slot *s, enum build_class class)
{
    const struct track *t = s->t;
    struct job *j = xnew(struct job);
    j->row.table = TABLE_JOB;
    j->key = xstrdup(s->key);
    j->platform = s->platform;
    j->platform_name = xstrdup(s->platform_name);
    j->repository = xstrdup(t->image->repository);
    j->image = xstrdup(t->image_name);
    j->track = xstrdup(t->id);
    j->inputs = steal_ptr(s->inputs);
    j->emulated = t->image->emulated;
    j->no_cache = s->no_cache;
    j->class = class;
    j->state = JOB_WANTED;
    j->wanted_at = m->wall;
    job_describe(m, j, s);
    job_note_builder(m, j, s);
    job_add(m, j);
    schedule_add(m, j);
    wait_job_wanted(m, j->key);
    return j;
}

/* Whether an attempt of it goes on: its board came back when the job had failed. */
static bool take_up_live(struct model *m, struct job *j)
{
    const struct attempt *a = j->live;
    if (!a || a->state != ATTEMPT_RUNNING || a->cancel)
        return false;
    str_replace(&j->board, a->board_name);
    job_move(m, j, JOB_RUNNING);
    return true;
}

void job_want(struct model *m, struct job *j, enum build_class class)
{
    if (job_under_way(j))
        return;
    j->class = class;
    j->settled = false;
    j->recipe_failures = j->timeouts = j->infra_failures = j->losses = 0;
    str_replace(&j->suspect, NULL);
    if (class == CLASS_PERSON)
        j->failures = j->memory_above = 0;
    j->retry_due = j->retry_clock = 0;
    j->wanted_at = m->wall;
    j->queued_clock = 0;
    job_move(m, j, JOB_WANTED);
    if (!take_up_live(m, j))
        schedule_add(m, j);
    wait_job_wanted(m, j->key);
}

void job_cancel(struct model *m, struct job *j, bool by_person)
{
    struct attempt *a = j->live;
    j->settled = by_person;
    j->finished_at = m->wall;
    job_move(m, j, JOB_CANCELLED);
    if (!a)
        return;
    a->cancel = true;
    model_touch(m, a);
    if (a->board)
        board_answer_poll(m, a->board);
}
