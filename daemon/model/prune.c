/* Which publications are kept, and what becomes of a child that a registry has lost.
 *
 * Of each track the last few indexes (`keep`) are kept for rollback, besides the newest that it made, what it is pinned to
 * and what a tag still names. What the store keeps, the registry keeps (retain.c); of the others history remembers that they were. */
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"

/* ---- pruning ---- */

static void remember(struct model *m, const struct publication *p)
{
    delta_upsert(&m->turn->delta, TABLE_PAST_PUBLICATION, p);
}

static void forget(struct model *m, struct track *t, size_t i)
{
    struct publication *p = t->published.items[i];
    struct repository *r = model_repository(m, p->repository);
    if (p->state == PUBLICATION_VERIFIED)
        remember(m, p);
    vec_remove(&t->published, i);
    for (size_t k = 0; k < r->publications.n; k++)
        if (r->publications.items[k] == p) {
            vec_remove(&r->publications, k);
            break;
        }
    publication_known(m, p, false);
    HASH_DEL(m->publications, p);
    VEC_FOREACH (&p->tags, pt) {
        (*pt)->row.dead = true;
        model_touch(m, *pt);
    }
    vec_free(&p->tags);
    children_done(&p->child);
    p->row.dead = true;
    model_touch(m, p);
}

/* Whether one of the newer ones that are kept has the same index. */
static bool repeated(const struct track *t, size_t i)
{
    for (size_t k = i + 1; k < t->published.n; k++)
        if (t->published.items[k]->state == PUBLICATION_VERIFIED &&
            str_eq(t->published.items[k]->digest, t->published.items[i]->digest))
            return true;
    return false;
}

/* Whether a return made it: an older one of the same build has the same children. */
static bool is_return(const struct track *t, size_t i)
{
    const struct publication *p = t->published.items[i];
    for (size_t k = 0; k < i; k++) {
        const struct publication *o = t->published.items[k];
        if (o->state == PUBLICATION_VERIFIED && o->build == p->build &&
            children_equal(&o->child, &p->child))
            return true;
    }
    return false;
}

static struct publication *newest(const struct track *t, bool begun)
{
    struct publication *best = NULL;
    for (size_t i = t->published.n; t->image && i-- > 0;) {
        struct publication *p = t->published.items[i];
        bool counts = p->state == PUBLICATION_VERIFIED || (begun && p->state == PUBLICATION_TAGS);
        if (counts && (!best || p->build > best->build) &&
            str_eq(p->repository, t->image->repository) && !is_return(t, i))
            best = p;
    }
    return best;
}

struct publication *publication_newest(const struct track *t)
{
    return newest(t, false);
}

struct publication *publication_newest_begun(const struct track *t)
{
    return newest(t, true);
}

static void publication_prune(struct model *m, struct track *t)
{
    int kept = 0;
    const struct publication *newest = publication_newest(t);
    for (size_t i = t->published.n; i-- > 0;) {
        const struct publication *p = t->published.items[i];
        if (p->state < PUBLICATION_VERIFIED || p->asked)
            continue;
        bool counts = p->state == PUBLICATION_VERIFIED && !repeated(t, i);
        bool dear = p == t->last || p == newest || p->id == t->pinned || publication_shown(m, p);
        if (!dear && (!counts || kept >= m->farm->keep))
            forget(m, t, i);
        else
            kept += counts;
    }
}

void prune_later(struct model *m, struct track *t)
{
    if (!t || t->to_prune || !t->image)
        return;
    t->to_prune = true;
    vec_push(&model_repository(m, t->image->repository)->to_prune, t);
}

void prune_all(struct model *m)
{
    for (struct repository *r = m->repositories; r; r = r->hh.next) {
        VEC_FOREACH (&r->to_prune, t)
            (*t)->to_prune = false; /* its image may publish elsewhere by now */
        r->to_prune.n = 0;
    }
    for (struct track *t = m->tracks; t; t = t->hh.next)
        if (t->published.n)
            prune_later(m, t);
}

void prune_now(struct model *m, struct repository *r)
{
    VEC_FOREACH (&r->to_prune, t) {
        (*t)->to_prune = false;
        publication_prune(m, *t);
    }
    r->to_prune.n = 0;
}

/* ---- lost children ---- */

/* Marks those children of the publication that have the digest. Returns whether it has such. */
static bool mark_children(struct model *m, struct publication *p, const char *digest, bool lost)
{
    bool names = false, changed = false;
    VEC_FOREACH (&p->child, c) {
        if (!str_eq(c->digest, digest))
            continue;
        names = true;
        changed = changed || c->lost != lost;
        c->lost = lost;
    }
    if (!changed)
        return names;
    free(p->children);
    p->children = publication_children_text(&p->child);
    model_touch(m, p);
    return names;
}

static void mark(struct model *m, const struct track *t, const char *digest, bool lost,
                 const char *error)
{
    VEC_FOREACH (&t->published, it) {
        struct publication *p = *it;
        bool names = mark_children(m, p, digest, lost) || str_eq(p->digest, digest);
        if (!names || p->state != PUBLICATION_VERIFIED || str_eq(p->error, error))
            continue;
        str_replace(&p->error, error);
        model_touch(m, p);
    }
}

void child_lost(struct model *m, struct track *t, const char *digest, const char *error)
{
    mark(m, t, digest, true, error);
    retain_lost(m, t, digest); /* with a manifest that is deleted go its tags */
    model_plan_later(m, t);
    /* What is not built is not built for this: it is found out again when the track is woken, or a person asks, or a build
     * takes the place of one that was given up. */
    if (!t->current || t->stopped || t->current->state == BUILD_CANCELLED ||
        t->current->state == BUILD_SUPERSEDED)
        return;
    VEC_FOREACH (&t->current->jobs, bj) {
        struct job *j = (*bj)->job;
        const struct slot *s = t->slots[(*bj)->platform];
        if (j->state != JOB_SUCCEEDED || !str_eq(j->manifest_digest, digest))
            continue;
        /* What it was built on may be kept no more: it is built again only as what is wanted now. */
        if (!s || s->state != SLOT_READY)
            continue;
        bool newer = !str_eq(s->key, j->key);
        if (!newer) {
            job_describe(m, j, s);
            job_output_lost(m, j);
        }
        if ((newer || !build_active(t->current)) && !t->asked) /* one that has ended is history */
            track_ask(m, t, REASON_CHILD_MISSING);
    }
}

void child_found(struct model *m, const struct track *t, const char *digest)
{
    mark(m, t, digest, false, NULL);
    for (size_t i = 0; t->current && i < t->current->jobs.n; i++) {
        struct job *j = t->current->jobs.items[i]->job;
        if (j->state == JOB_SUCCEEDED && str_eq(j->manifest_digest, digest))
            job_output_kept(m, j);
    }
}
