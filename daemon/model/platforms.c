/* Platforms (design rule 7): which of them a publication waits for, which keep their last good child in it, and when
 * such a child counts as stale.
 *
 * Required ones gate. Of the others the last good child stays in the index until a newer one succeeds, which
 * publishes again with it: optional ones, those that farm.yaml does not name any more (a published platform is
 * dropped only by retiring it), and a required one that is new to a track already published to this repository,
 * until it has succeeded once. */
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"

/* The last good one: what a person returned the tags to meanwhile may lack the platform. */
static const struct child *last_child(const struct slot *s)
{
    const struct publication *p = publication_newest(s->t);
    return p ? publication_child(p, s->platform) : NULL;
}

bool slot_gates(const struct slot *s)
{
    if (s->optional || s->retired || !s->wanted)
        return false;
    return !track_published(s->t) || s->last_key || last_child(s);
}

const struct child *slot_kept_child(const struct slot *s)
{
    const struct child *c = s->retired ? NULL : last_child(s);
    return c && !c->lost ? c : NULL;
}

bool slot_child_gone(const struct slot *s)
{
    const struct child *c = s->retired || s->wanted ? NULL : last_child(s);
    return c && c->lost;
}

/* ---- staleness ---- */

bool slot_stale(const struct slot *s)
{
    return s->stale_clock == 0;
}

void slot_resume_wait(struct model *m, struct slot *s)
{
    if (s->stale_clock <= 0)
        return;
    s->stale_due = model_clock_due(m, s->stale_clock);
    vec_push(&m->behind, s);
    model_timer(m, s->stale_due);
    model_clock_keep(m);
}

void slot_behind(struct model *m, struct slot *s, bool behind)
{
    if (behind == (s->stale_clock >= 0))
        return;
    int64_t deadline = s->t->image->deadline_ms;
    s->stale_clock = !behind ? -1 : deadline ? model_clock(m) + deadline : 0;
    s->stale_due = 0;
    model_touch(m, s);
    slot_resume_wait(m, s);
}

void slot_timer(struct model *m)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->behind.n; i++) {
        struct slot *s = m->behind.items[i];
        if (!s->stale_due)
            continue;
        if (s->stale_due > m->mono) {
            m->behind.items[kept++] = s;
            model_timer(m, s->stale_due);
            continue;
        }
        s->stale_clock = s->stale_due = 0;
        model_touch(m, s);
    }
    m->behind.n = kept;
}
