/* Holds (design rule 4): a held track plans and builds and publishes nothing; a freeze holds all of them.
 *
 *     happy path     held -> builds wait as `held` -> released: the newest is published
 *     also           pinned: its tags stay at one publication; promoted: one build is let through
 *     what it stops  publications whose first tag is not journalled; one that is runs to its end
 *
 * A held track's tags change for nobody unasked: a tag that names what a held track published stays with it, even
 * where another track would own it. */
#include "daemon/model/hold.h"

#include "daemon/model/command.h"

#include <errno.h>
#include <inttypes.h>

#define FROZEN_AT  "frozen at"
#define FROZEN_BY  "frozen by"
#define FROZEN_WHY "frozen why"

bool frozen(struct model *m)
{
    return m->farm->freeze || model_setting(m, FROZEN_AT);
}

bool held(struct model *m, const struct track *t)
{
    return t->held || (t->image && t->image->hold) || frozen(m);
}

struct publication *hold_pinned_in(const struct model *m, const struct track *t,
                                   const char *repository)
{
    struct publication *p = t->pinned ? publication_find(m, t->pinned) : NULL;
    return p && str_eq(p->repository, repository) ? p : NULL;
}

struct publication *hold_pinned(const struct model *m, const struct track *t)
{
    return t->image ? hold_pinned_in(m, t, t->image->repository) : NULL;
}

bool hold_lets_through(const struct track *t)
{
    return !t->pinned && t->promoted && t->current && t->current->id == t->promoted;
}

/* ---- in words ---- */

static void fill(struct hold *h, enum reason_code code, const char *by, const char *why,
                 const char *at, const char *what)
{
    *h = (struct hold){.code = code, .by = by, .why = why, .at = at ? strtoll(at, NULL, 10) : 0};
    h->text =
        xasprintf("%s by %s%s%s", what, by ? by : "a person", why ? ": " : "", why ? why : "");
}

bool hold_of(struct model *m, const struct track *t, struct hold *ret)
{
    if (t && t->held) {
        const struct publication *p = t->pinned ? publication_find(m, t->pinned) : NULL;
        bool elsewhere = p && !hold_pinned(m, t);
        cleanup_free char *what =
            t->pinned ? xasprintf("pinned to publication %" PRId64 "%s%s", t->pinned,
                                  elsewhere ? " of " : "", elsewhere ? p->repository : "")
                      : xstrdup("held");
        fill(ret, t->pinned ? REASON_PINNED : REASON_HELD, t->held_by, t->hold_reason, NULL, what);
        ret->at = t->held_at;
    } else if (t && t->image && t->image->hold) {
        *ret = (struct hold){.code = REASON_HELD, .text = xstrdup("farm.yaml holds the image")};
    } else if (model_setting(m, FROZEN_AT)) {
        fill(ret, REASON_FROZEN, model_setting(m, FROZEN_BY), model_setting(m, FROZEN_WHY),
             model_setting(m, FROZEN_AT), "the farm is frozen");
    } else if (m->farm->freeze) {
        *ret = (struct hold){.code = REASON_FROZEN, .text = xstrdup("farm.yaml freezes the farm")};
    } else {
        return false;
    }
    return true;
}

void hold_done(struct hold *h)
{
    free(h->text);
    *h = (struct hold){0};
}

/* ---- what it stops ---- */

/* Whether it puts tags of the track, which somebody moved by hand, back to what they named. */
static bool puts_back(const struct model *m, const struct track *t, const struct publication *p)
{
    VEC_FOREACH (&p->tags, pt) {
        const struct tag *tag = (*pt)->index ? tag_find(m, p->repository, (*pt)->tag) : NULL;
        if ((*pt)->index && !(tag && str_eq(tag->track_id, t->id) && tag->shown &&
                              children_equal(&tag->shown->child, &p->child)))
            return false;
    }
    return true;
}

/* What a person asked for by name passes: a return to a publication, and a promoted build. */
static bool asked_for(const struct model *m, const struct track *t, const struct publication *p)
{
    const struct publication *pinned = hold_pinned(m, t);
    if (pinned)
        return children_equal(&pinned->child, &p->child);
    return t->promoted && t->promoted == p->build; /* though newer inputs came meanwhile */
}

void hold_apply(struct model *m)
{
    for (struct repository *r = m->repositories; r; r = r->hh.next) {
        struct publication *p = r->running;
        const struct track *t = p ? track_find(m, p->track_id) : NULL;
        if (t && p->state < PUBLICATION_TAGS && held(m, t) && !asked_for(m, t, p) &&
            !puts_back(m, t, p))
            publication_abandon(m, p, "held before its first tag");
    }
}

void hold_put(struct model *m, struct track *t, const struct command *c)
{
    t->held = true;
    t->held_at = m->wall;
    t->pinned = t->promoted = 0;
    prune_later(m, t);
    str_replace(&t->held_by, command_who(c));
    str_replace(&t->hold_reason, c->reason);
    model_touch(m, t);
    publication_reconsider(m, t->image->repository);
}

/* ---- the commands ---- */

int command_hold(struct model *m, struct track *t, const struct command *c,
                 struct command_answer *a, struct err *err)
{
    (void)err;
    if (t->held) {
        cleanup_hold struct hold h = {0};
        hold_of(m, t, &h);
        answer_set(a, false, "%s is %s already", t->id, h.text);
        return 0;
    }
    hold_put(m, t, c);
    if (t->stopped)
        answer_set(a, true,
                   "%s is held, but is %s and not built; it publishes nothing until it is released",
                   t->id, track_state_names[t->state]);
    else
        answer_set(a, true, "%s is held: it builds, and publishes nothing until it is released",
                   t->id);
    return 0;
}

/* Ends the hold of the track itself. */
static void take_off(struct model *m, struct track *t)
{
    t->held = false;
    t->held_at = t->pinned = t->promoted = 0;
    prune_later(m, t);
    str_replace(&t->held_by, NULL);
    str_replace(&t->hold_reason, NULL);
    model_touch(m, t);
}

/* It has stopped, or what it built last came to nothing. */
static bool nothing_to_publish(const struct track *t)
{
    return t->stopped || t->state == TRACK_BLOCKED || t->state == TRACK_FAILED ||
           t->state == TRACK_CANCELLED;
}

int command_release(struct model *m, struct track *t, const struct command *c,
                    struct command_answer *a, struct err *err)
{
    (void)c;
    bool was = t->held;
    if (was)
        take_off(m, t);
    cleanup_hold struct hold h = {0};
    bool still = hold_of(m, t, &h);
    const char *remedy = h.code == REASON_FROZEN && h.by ? "sheafctl thaw ends that"
                                                         : "change that there and reload";
    if (!was && still)
        return err_set(err, -EBUSY, "%s is not held by itself, but %s: %s", t->id, h.text, remedy);
    if (!was) {
        answer_set(a, false, "%s is not held", t->id);
        return 0;
    }
    publication_reconsider(m, t->image->repository);
    struct err away = ERR_INIT;
    bool stopped = command_repository_stopped(m, t, &away) < 0;
    if (still)
        answer_set(a, true, "%s is released, but %s: %s", t->id, h.text, remedy);
    else if (stopped && !t->stopped)
        answer_set(a, true, "%s is released, but %s", t->id, away.text);
    else if (t->state == TRACK_CONFLICT)
        answer_set(a, true, "%s is released, but is in conflict: %s", t->id, t->reason.text);
    else if (nothing_to_publish(t))
        answer_set(a, true, "%s is released, but is %s: %s", t->id, track_state_names[t->state],
                   t->reason.text);
    else
        answer_set(a, true, "%s is released: its newest build is published", t->id);
    return 0;
}

int command_freeze(struct model *m, struct track *t, const struct command *c,
                   struct command_answer *a, struct err *err)
{
    (void)t, (void)err;
    if (model_setting(m, FROZEN_AT)) {
        const char *by = model_setting(m, FROZEN_BY), *why = model_setting(m, FROZEN_WHY);
        answer_set(a, false, "the farm is frozen already, by %s%s%s", by ? by : "a person",
                   why ? ": " : "", why ? why : "");
        return 0;
    }
    cleanup_free char *at = xasprintf("%" PRId64, m->wall);
    model_set_setting(m, FROZEN_AT, at);
    model_set_setting(m, FROZEN_BY, command_who(c));
    model_set_setting(m, FROZEN_WHY, c->reason);
    hold_apply(m);
    plan_all(m);
    answer_set(a, true, "the farm is frozen: it builds, and publishes nothing until it is thawed");
    return 0;
}

int command_thaw(struct model *m, struct track *t, const struct command *c,
                 struct command_answer *a, struct err *err)
{
    (void)t, (void)c;
    bool was = model_setting(m, FROZEN_AT);
    if (!was && m->farm->freeze)
        return err_set(err, -EBUSY,
                       "farm.yaml freezes the farm: take `freeze: true` out of it and reload");
    model_set_setting(m, FROZEN_AT, NULL);
    model_set_setting(m, FROZEN_BY, NULL);
    model_set_setting(m, FROZEN_WHY, NULL);
    if (was)
        plan_all(m);
    if (!was)
        answer_set(a, false, "the farm is not frozen");
    else if (m->farm->freeze)
        answer_set(a, true,
                   "the farm is thawed, but farm.yaml freezes it still: take `freeze: "
                   "true` out of it and reload");
    else
        answer_set(a, true, "the farm is thawed: what waited is published");
    return 0;
}
