/* Retry: what has failed, or waits to be tried again, is tried now. */
#include "daemon/model/command.h"
#include "daemon/model/hold.h"
#include "daemon/model/schedule.h"

#include <errno.h>

/* One that backs off is queued, and the delay of one that failed is over. Returns whether there was one to end. */
static bool end_delay(struct model *m, struct job *j)
{
    if (j->state == JOB_WANTED && j->retry_due)
        schedule_raise(m, j, CLASS_PERSON);
    if (j->state != JOB_FAILED)
        return job_retry_now(m, j);
    bool waited = j->retry_due || j->memory_above;
    j->retry_due = j->retry_clock = j->memory_above = 0;
    model_touch(m, j);
    job_changed(m, j); /* it is due for other tracks that want it as well */
    return waited;
}

static bool settled_badly(const struct job *j)
{
    return j->state == JOB_FAILED || j->state == JOB_CANCELLED;
}

/* What a board is told of a job is what is wanted now: the base that it was described with may be kept no more. */
static bool is_wanted_now(const struct track *t, const struct job *j)
{
    const struct slot *s = t->slots[j->platform];
    return s && s->state == SLOT_READY && s->job == j && s->context;
}

void retry_in_build(struct model *m, struct track *t)
{
    VEC_FOREACH (&t->current->jobs, bj) {
        struct job *j = (*bj)->job;
        if (!settled_badly(j) || !is_wanted_now(t, j))
            continue;
        job_describe(m, j, t->slots[j->platform]);
        job_want(m, j, CLASS_PERSON);
    }
}

/* A build that has ended is history: what is tried again belongs to a new one, whose plan says anew what a board is told.
 * One that goes on has what failed or was cancelled of it wanted again, as a person's request, unless newer inputs are
 * read still or cannot be built: then once they are known, by it or by the build that they make. Returns whether that was
 * not asked for already. */
static bool ask_for_build(struct model *m, struct track *t)
{
    bool fresh = false, later = !t->current || !build_active(t->current);
    model_plan_later(m, t);
    for (size_t i = 0; !later && i < t->current->jobs.n; i++) {
        const struct job *j = t->current->jobs.items[i]->job;
        later = settled_badly(j) && !is_wanted_now(t, j);
        fresh = fresh || settled_badly(j);
    }
    if (later) {
        fresh = !t->asked;
        track_ask(m, t, t->asked ? t->asked : REASON_RETRY_ASKED);
        return fresh;
    }
    retry_in_build(m, t);
    return fresh;
}

static int retry_slots(struct model *m, struct track *t)
{
    int n = 0;
    for (int p = 0; p < PLATFORM_COUNT; p++) {
        struct slot *s = t->slots[p];
        if (!s)
            continue;
        n += s->context && context_retry_now(m, s->context);
        VEC_FOREACH (&s->pins, pin)
            n += pin->base && base_retry_now(m, pin->base);
    }
    return n;
}

static int retry_jobs(struct model *m, struct track *t)
{
    int n = 0;
    bool badly = false;
    if (!t->current)
        return 0;
    VEC_FOREACH (&t->current->jobs, bj) {
        n += end_delay(m, (*bj)->job);
        badly = badly || settled_badly((*bj)->job);
    }
    badly = badly || t->current->state == BUILD_CANCELLED;
    return n + (badly && ask_for_build(m, t));
}

static int retry_publication(struct model *m, struct track *t)
{
    struct repository *r = model_repository(m, t->image->repository);
    struct publication *pinned = hold_pinned(m, t);
    int n = retain_retry_now(m, t);
    n += r->running && str_eq(r->running->track_id, t->id) && publication_retry_now(m, r->running);
    if (pinned && pinned->error) {
        str_replace(&pinned->error, NULL);
        model_touch(m, pinned);
        n++;
    }
    return n;
}

static int stopped(const struct track *t, struct err *err)
{
    if (t->retired)
        return err_set(err, -EBUSY, "%s is retired: wake it (sheafctl wake %s)", t->id, t->id);
    if (t->deleted)
        return err_set(err, -EBUSY, "%s: its ref %s is gone upstream; push it again", t->id,
                       t->ref_name);
    if (t->out_of_bounds)
        return command_out_of_bounds(t, err);
    if (t->dormant)
        return err_set(err, -EBUSY, "%s is dormant: wake it (sheafctl wake %s)", t->id, t->id);
    return 0;
}

/* Whether the track's latest build is for that job. */
static bool wants(const struct track *t, const struct job *j)
{
    return t->image && t->current && stopped(t, NULL) == 0 && build_wants(t->current, j);
}

typedef VEC(struct track *) trackvec;

/* The tracks that want the job: a build that was cancelled is no longer among the job's. */
static void wanted_by(const struct model *m, const struct job *j, trackvec *ret)
{
    VEC_FOREACH (&j->builds, b)
        if ((*b)->track->current == *b && wants((*b)->track, j))
            vec_push(ret, (*b)->track);
    for (const struct build *b = m->builds; b; b = b->hh.next)
        if (b->state == BUILD_CANCELLED && b->track && b->track->current == b && wants(b->track, j))
            vec_push(ret, b->track);
}

static int retry_one(struct model *m, const char *key, struct command_answer *a, struct err *err)
{
    struct job *j = job_find(m, key);
    if (!j)
        return err_set(err, -ENOENT, "no job '%.200s'; GET /v1/builds lists them", key);
    trackvec tracks = {0};
    wanted_by(m, j, &tracks);
    if (!tracks.n)
        return err_set(err, -EBUSY, "nothing wants this job any more: rebuild %s instead",
                       j->track);
    bool changed = end_delay(m, j), badly = settled_badly(j);
    VEC_FOREACH (&tracks, t)
        changed = (badly && ask_for_build(m, *t)) || changed;
    vec_free(&tracks);
    if (changed)
        answer_set(a, true, "%s of %s is tried again now", j->platform_name, j->track);
    else
        answer_set(a, false, "the job is %s: there is nothing to try again",
                   job_state_names[j->state]);
    return 0;
}

int command_retry(struct model *m, struct track *t, const struct command *c,
                  struct command_answer *a, struct err *err)
{
    if (c->job)
        return retry_one(m, c->job, a, err);
    int r = stopped(t, err);
    if (r == 0)
        r = command_repository_stopped(m, t, err);
    if (r < 0)
        return r;
    int n = retry_slots(m, t) + retry_jobs(m, t) + retry_publication(m, t);
    model_plan_later(m, t);
    if (n)
        answer_set(a, true, "%s is tried again now", t->id);
    else
        answer_set(a, false, "nothing of %s has failed or waits to be tried again: it is %s%s%s",
                   t->id, track_state_names[t->state],
                   *(t->reason.text ? t->reason.text : "") ? ": " : "",
                   t->reason.text ? t->reason.text : "");
    return 0;
}
