/* Waiting for ancestors (design rule 6): what needs to be built waits while something that it is built on, however
 * indirectly, is under way and may still change it; so a diamond is built once. At most an hour, counted from its first
 * wait until nothing of the kind is under way, and not for what is blocked, failed, held, backing off or without a board:
 * that is under way no more.
 *
 * Between the two there may be tracks that are built again when their base has moved: published as they should be, failed,
 * cancelled or backing off. Through any other state nothing comes. */
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"

#include <utlist.h>

#define ANCESTOR_WAIT_MS ((int64_t)60 * 60 * 1000)

/* Whether a base that moves makes the track be built, though nothing of it is under way. */
static bool follows(const struct track *t)
{
    return t->state == TRACK_PUBLISHED || t->state == TRACK_FAILED || t->state == TRACK_CANCELLED ||
           t->state == TRACK_BUILDING;
}

/* The first ancestor that `is` true of, or NULL; the walk goes on through tracks that follow. */
static struct track *find_above(struct model *m, struct track *t, bool (*is)(const struct track *))
{
    t->mark = m->visit;
    VEC_FOREACH (&t->bases, n)
        VEC_FOREACH (&(*n)->claimants, it) {
            struct track *c = *it, *found;
            if (c->mark == m->visit)
                continue;
            if (is(c))
                return c;
            if (follows(c) && (found = find_above(m, c, is)))
                return found;
        }
    return NULL;
}

static bool is_under_way(const struct track *t)
{
    return t->under_way;
}

static bool is_queued(const struct track *t)
{
    return t->queued && !t->visiting;
}

struct track *wait_queued_ancestor(struct model *m, struct track *t)
{
    m->visit++;
    return find_above(m, t, is_queued);
}

/* ---- what another track may have built meanwhile ---- */

static void await_none(struct model *m, struct track *t)
{
    for (int p = 0; p < PLATFORM_COUNT; p++) {
        struct slot *s = t->slots[p];
        struct awaited *a = s ? s->awaited : NULL;
        if (!a)
            continue;
        s->awaited = NULL;
        DL_DELETE(a->slots, s);
        if (a->slots)
            continue;
        HASH_DEL(m->awaited, a);
        free(a->key);
        free(a);
    }
}

static void await(struct model *m, struct slot *s)
{
    struct awaited *a = NULL;
    HASH_FIND_STR(m->awaited, s->key, a);
    if (!a) {
        a = xnew(struct awaited);
        a->key = xstrdup(s->key);
        HASH_ADD_KEYPTR(hh, m->awaited, a->key, strlen(a->key), a);
    }
    s->awaited = a;
    DL_APPEND(a->slots, s);
}

void wait_job_wanted(struct model *m, const char *key)
{
    struct awaited *a = NULL;
    HASH_FIND_STR(m->awaited, key, a);
    for (struct slot *s = a ? a->slots : NULL; s; s = s->next)
        model_plan_later(m, s->t);
}

void wait_free(struct model *m)
{
    for (struct track *t = m->tracks; t; t = t->hh.next)
        await_none(m, t);
}

/* ---- for whom ---- */

static void wait_for_none(struct track *t)
{
    if (!t->waits_for)
        return;
    *(t->waiter_before ? &t->waiter_before->waiter_after : &t->waits_for->waiters) =
        t->waiter_after;
    if (t->waiter_after)
        t->waiter_after->waiter_before = t->waiter_before;
    t->waits_for = t->waiter_before = t->waiter_after = NULL;
}

/* One ancestor at a time: when it is under way no more, the next is looked for. */
static void wait_for(struct track *t, struct track *ancestor)
{
    if (t->waits_for == ancestor)
        return;
    wait_for_none(t);
    t->waits_for = ancestor;
    t->waiter_after = ancestor->waiters;
    if (ancestor->waiters)
        ancestor->waiters->waiter_before = t;
    ancestor->waiters = t;
}

void wait_over(struct model *m, struct track *ancestor)
{
    while (ancestor->waiters) {
        struct track *t = ancestor->waiters;
        wait_for_none(t);
        model_plan_later(m, t);
    }
}

bool wait_passes(const struct track *t)
{
    return t->under_way || follows(t);
}

static bool look_again(struct model *m, struct track *t)
{
    if (t->waits_for)
        model_plan_later(m, t);
    return wait_passes(t);
}

void wait_cut(struct model *m, struct track *t)
{
    track_walk_below(m, t, look_again);
}

void wait_forget(struct model *m, struct track *t)
{
    if (t->wait_clock != -1)
        model_touch(m, t);
    t->wait_clock = -1;
    t->wait_due = 0;
    wait_for_none(t);
    await_none(m, t);
}

bool wait_for_ancestor(struct model *m, struct track *t, bool needs_work)
{
    await_none(m, t);
    if (!needs_work && t->wait_clock == -1)
        return false;
    m->visit++;
    struct track *ancestor = find_above(m, t, is_under_way);
    if (!ancestor) {
        wait_forget(m, t);
        return false;
    }
    if (t->wait_clock < 0) {
        t->wait_clock = model_clock(m) + ANCESTOR_WAIT_MS;
        model_touch(m, t);
    }
    t->wait_due = model_clock_due(m, t->wait_clock);
    /* also where nothing is to be built, or the wait is over: it ends with the ancestors */
    wait_for(t, ancestor);
    if (!needs_work || t->wait_due <= m->mono)
        return false;
    model_timer(m, t->wait_due);
    model_clock_keep(m);
    track_state_set(m, t, TRACK_WAITING, REASON_BASE_BUILDING, "base %s is under way",
                    ancestor->id);
    for (int p = 0; p < PLATFORM_COUNT; p++)
        if (t->slots[p] && slot_needs_work(t->slots[p]))
            await(m, t->slots[p]);
    return true;
}
