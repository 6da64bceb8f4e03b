/* A job: one platform of one set of inputs, whichever tracks want it.
 *
 *     happy path     wanted -> leased -> running -> succeeded
 *     failure modes  an attempt is lost, or fails for want of something: wanted again, later or elsewhere;
 *                    it fails by itself: once more, then failed; nobody wants it any more: cancelled;
 *                    the registry lost its output: succeeded -> wanted */
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"
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
    [JOB_FAILED] = BIT(JOB_WANTED),
    /* to succeeded: superseded too late */
    [JOB_CANCELLED] = BIT(JOB_WANTED) | BIT(JOB_SUCCEEDED),
};

struct job *job_find(const struct model *m, const char *key)
{
    struct job *j = NULL;
    HASH_FIND_STR(m->jobs, key, j);
    return j;
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
    assert(allowed[j->state] & BIT(state));
    j->state = state;
    model_touch(m, j);
    job_changed(m, j);
}

void job_add(struct model *m, struct job *j)
{
    HASH_ADD_KEYPTR(hh, m->jobs, j->key, strlen(j->key), j);
}

/* ---- making ---- */

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
    j->inputs = xstrdup(s->inputs);
    j->source = xstrdup(s->context->source);
    j->commit = xstrdup(s->context->commit);
    j->path = xstrdup(s->context->path);
    j->dockerfile = xstrdup(s->context->dockerfile);
    j->emulated = t->image->emulated;
    j->no_cache = s->no_cache;
    j->class = class;
    j->state = JOB_WANTED;
    j->wanted_at = m->wall;
    struct wire_job spec = {0};
    job_spec_fill(m, s, &spec);
    j->spec = wire_job_encode(&spec);
    wire_job_done(&spec);
    job_add(m, j);
    model_touch(m, j);
    schedule_add(m, j);
    return j;
}

void job_want(struct model *m, struct job *j, enum build_class class)
{
    if (job_under_way(j))
        return;
    j->class = class;
    j->settled = false;
    j->recipe_failures = j->timeouts = j->infra_failures = j->losses = 0;
    j->memory_above = 0;
    j->retry_due = j->retry_left = 0;
    j->wanted_at = m->wall;
    job_move(m, j, JOB_WANTED);
    schedule_add(m, j);
}

/* ---- failing ---- */

static void fail(struct model *m, struct job *j, enum failure_kind kind)
{
    j->kind = kind;
    j->finished_at = m->wall;
    job_move(m, j, JOB_FAILED);
}

static void try_again(struct model *m, struct job *j, int64_t delay)
{
    j->retry_left = delay;
    j->retry_due = delay ? m->mono + delay : 0;
    if (j->state != JOB_WANTED)
        job_move(m, j, JOB_WANTED);
    model_touch(m, j);
    if (!delay) {
        schedule_add(m, j);
        return;
    }
    vec_push(&m->backing_off, j);
    model_timer(m, j->retry_due);
}

static void note_failure(struct job *j, const struct attempt *a)
{
    j->kind = a->kind;
    str_replace(&j->reason, a->reason);
    str_replace(&j->avoid, a->board_name);
}

/* design rule 5. */
void job_attempt_failed(struct model *m, struct job *j, struct attempt *a)
{
    note_failure(j, a);
    switch (a->kind) {
    case FAILURE_INFRA:
        j->infra_failures++;
        try_again(m, j, model_backoff(j->infra_failures));
        return;
    case FAILURE_TIMEOUT:
        j->timeouts++;
        if (j->timeouts > 1 || !schedule_elsewhere(m, j, a->board_name, 0))
            fail(m, j, FAILURE_TIMEOUT);
        else
            try_again(m, j, 0);
        return;
    case FAILURE_MEMORY:
        j->memory_above = a->board ? a->board->memory : 0;
        if (!schedule_elsewhere(m, j, a->board_name, j->memory_above))
            fail(m, j, FAILURE_MEMORY);
        else
            try_again(m, j, 0);
        return;
    default:
        j->recipe_failures++;
        if (j->recipe_failures > 1)
            fail(m, j, a->kind);
        else
            try_again(m, j, 0);
    }
}

void job_attempt_lost(struct model *m, struct job *j, struct attempt *a, bool blame)
{
    if (blame) {
        j->losses++;
        str_replace(&j->avoid, a->board_name);
        cleanup_free char *reason =
            xasprintf("board %s was lost while it built this", a->board_name);
        str_replace(&j->reason, reason);
    }
    if (j->losses > 1)
        fail(m, j, FAILURE_POISON);
    else
        try_again(m, j, 0);
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
    if (a->board)
        board_answer_poll(m, a->board);
}

void job_timer(struct model *m)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->backing_off.n; i++) {
        struct job *j = m->backing_off.items[i];
        if (j->state != JOB_WANTED || !j->retry_due)
            continue;
        if (j->retry_due > m->mono) {
            m->backing_off.items[kept++] = j;
            model_timer(m, j->retry_due);
            continue;
        }
        j->retry_due = j->retry_left = 0;
        model_touch(m, j);
        schedule_add(m, j);
        job_changed(m, j);
    }
    m->backing_off.n = kept;
}
