/* Retry: what has failed, or waits to be tried again, is tried now. */
#include "daemon/model/command.h"
#include "daemon/model/hold.h"

#include <errno.h>

/* Of one job: failed, cancelled or backing off. Returns whether it was any of those. */
static bool retry_job(struct model *m, struct job *j, const struct track *t)
{
    if (j->state != JOB_FAILED && !(j->state == JOB_CANCELLED && j->settled))
        return job_retry_now(m, j);
    const struct slot *s = t ? t->slots[j->platform] : NULL;
    if (s && s->job == j)
        job_describe(m, j, s);
    job_want(m, j, CLASS_PERSON);
    return true;
}

/* A build that has ended is history: what is tried again belongs to a new one. */
static void ask_for_build(struct model *m, struct track *t)
{
    if (!t->current || !build_active(t->current))
        t->asked = REASON_RETRY_ASKED;
    model_plan_later(m, t);
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
    if (!t->current)
        return 0;
    VEC_FOREACH (&t->current->jobs, bj)
        n += retry_job(m, (*bj)->job, t);
    n += t->current->state == BUILD_CANCELLED && !t->asked;
    if (n)
        ask_for_build(m, t);
    return n;
}

static int retry_publication(struct model *m, struct track *t)
{
    struct repository *r = model_repository(m, t->image->repository);
    struct publication *pinned = hold_pinned(m, t);
    int n =
        r->running && str_eq(r->running->track_id, t->id) && publication_retry_now(m, r->running);
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
        return err_set(err, -EBUSY, "%s: its ref %s is gone upstream", t->id, t->ref_name);
    if (t->dormant)
        return err_set(err, -EBUSY, "%s is dormant: wake it (sheafctl wake %s)", t->id, t->id);
    return 0;
}

static int retry_one(struct model *m, const char *key, struct command_answer *a, struct err *err)
{
    struct job *j = job_find(m, key);
    if (!j)
        return err_set(err, -ENOENT, "no job '%.200s'; GET /v1/builds lists them", key);
    struct track *t = track_find(m, j->track);
    bool wanted =
        j->builds.n > 0 || (t && t->slots[j->platform] && t->slots[j->platform]->job == j);
    if (!wanted)
        return err_set(err, -EBUSY, "nothing wants this job any more: rebuild %s instead",
                       j->track);
    if (!retry_job(m, j, t)) {
        answer_set(a, false, "the job is %s: there is nothing to try again",
                   job_state_names[j->state]);
        return 0;
    }
    VEC_FOREACH (&j->builds, b)
        ask_for_build(m, (*b)->track);
    for (struct build *b = m->builds; b; b = b->hh.next)
        if (b->state == BUILD_CANCELLED && b->track && b->track->current == b && build_wants(b, j))
            ask_for_build(m, b->track);
    if (t)
        ask_for_build(m, t);
    answer_set(a, true, "%s of %s is tried again now", j->platform_name, j->track);
    return 0;
}

int command_retry(struct model *m, struct track *t, const struct command *c,
                  struct command_answer *a, struct err *err)
{
    if (c->job)
        return retry_one(m, c->job, a, err);
    const char *away = model_repository(m, t->image->repository)->stopped;
    int r = stopped(t, err);
    if (r < 0)
        return r;
    if (away)
        return err_set(err, -EBUSY, "%s has stopped: %s (adopt decides)", t->image->repository,
                       away);
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
