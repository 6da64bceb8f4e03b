/* Faults end and inputs stand still: the farm has to come to rest within a bounded time, and then to stay so. */
#include "daemon/model/schedule.h"
#include "tests/model/check.h"

#define ROUNDS 400

/* In two of three histories somebody looks after what has stopped. */
static void adopt_all(struct sim *s)
{
    struct err err = ERR_INIT;
    for (const struct repository *r = s->m->repositories; r; r = r->hh.next)
        if (r->stopped && s->history->seed % 3 == 1 &&
            model_on_adopt(sim_turn(s), r->name, &err) == 0)
            covered(COVERED_ADOPTED);
        else if (r->stopped && s->history->seed % 3 == 2 &&
                 model_on_restore(sim_turn(s), r->name, &err) == 0)
            covered(COVERED_RESTORED);
    sim_pass(s);
}

static void end_faults(struct sim *s)
{
    s->calm = true;
    s->calm_at = s->now;
    s->commit_slow = 0;
    sim_stall(s, false);
    sim_pass(s);
    s->registry.away = false;
    for (unsigned i = 0; i < N_OUTSIDE; i++)
        s->outside[i].away = false;
    for (unsigned i = 0; i < s->spec.n_boards; i++) {
        struct board_sim *b = &s->board[i];
        b->net = NET_OK;
        b->lose_replies = 0;
        b->hot = b->full = b->bad = b->mute = false;
        if (b->session)
            session_set_draining(b->session, s->now, false);
        board_up(s, i);
        sim_pass(s);
    }
    for (unsigned i = 0; i < MAX_SOURCES; i++)
        s->source[i].up.away = false;
    boards_pump(s);
    if (s->history->seed % 2) /* what stands for want of its registry goes on */
        s->spec.named = true;
    sim_reload(s);
    sim_pass(s);
    adopt_all(s);
}

/* Again: what is deleted or forced counts at its second sighting. */
void look_everywhere(struct sim *s)
{
    for (unsigned n = 0; n < 3; n++)
        for (unsigned i = 0; i < s->spec.n_sources; i++) {
            source_list(s, i, 0);
            source_listed(s, i, false);
            sim_pass(s);
        }
}

/* What has failed is waited for now and then only: it is tried again after an hour. */
static bool job_waits_for_time(const struct sim *s)
{
    VEC_FOREACH (&s->m->backing_off, j)
        if ((*j)->state == JOB_WANTED || ((*j)->state == JOB_FAILED && s->history->seed % 16 == 1))
            return true;
    return false;
}

static bool something_waits(const struct sim *s)
{
    if (job_waits_for_time(s))
        return true;
    for (const struct publication *p = s->m->publications; p; p = p->hh.next)
        if (p->state < PUBLICATION_VERIFIED &&
            (p->asked || p->retry_due || sim_names_registry(s, p->repository)))
            return true; /* else it stands till farm.yaml names its registry again */
    for (const struct context *c = s->m->contexts; c; c = c->hh.next)
        if (c->retry_due)
            return true;
    for (const struct job *j = s->m->jobs; j; j = j->hh.next)
        if (j->state == JOB_WANTED && schedule_can_run(s->m, j))
            return true;
    for (const struct attempt *a = s->m->attempts; a; a = a->hh.next)
        return true;
    for (const struct track *t = s->m->tracks; t; t = t->hh.next)
        if ((t->state == TRACK_WAITING && !waits_for_refs(t)) || t->state == TRACK_PUBLISHING ||
            (t->state == TRACK_BUILDING && t->reason.code == REASON_RUNNING))
            return true;
    return false;
}

bool settle(struct sim *s)
{
    for (unsigned idle = 0, n = 0; n < ROUNDS; n++) {
        idle = go_on(s) ? 0 : idle + 1;
        bool away = inv11_away_ends(s, s->now - s->calm_at);
        if (idle >= 2 && !away && !something_waits(s))
            return true;
        if (idle >= 2)
            sim_advance(s, n < ROUNDS / 4 ? 20000 : 330000); /* back-offs end */
    }
    return false;
}

static const struct track *restless(const struct sim *s)
{
    for (const struct track *t = s->m->tracks; t; t = t->hh.next)
        if ((t->state == TRACK_WAITING && !waits_for_refs(t)) || t->state == TRACK_PUBLISHING ||
            t->state == TRACK_BUILDING)
            return t;
    return NULL;
}

void come_to_rest(struct sim *s)
{
    sim_say(s, "faults end, inputs stand still");
    end_faults(s);
    look_everywhere(s);
    if (!settle(s)) {
        const struct track *t = restless(s);
        sim_fail(s, "inv03_fixpoint", "the farm does not come to rest: %s: %s", t ? t->id : "?",
                 t && t->reason.text ? t->reason.text : "?");
    }
    covered(COVERED_RESTED);
    check_rest(s);
}
