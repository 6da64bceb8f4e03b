/* Who owns a tag that several tracks can claim (design rules 3 and 4), and which tags have to move so that each names what its
 * owner has published. A tag's claimants are in its node (state.h); `parts` are the tags of single platforms, TAG-arm64, that are
 * put with TAG.
 *
 *     happy path     versions of one image: the highest that has published owns what they share
 *     failure modes  two claim exactly one tag: the incumbent keeps it, the other is in conflict; the incumbent is held: the
 *                    tag stays with it */
#include "daemon/model/owner.h"

#include "daemon/model/hold.h"
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"
#include "daemon/model/tagging.h"

static bool claims(const struct track *t, const struct tag_node *n, bool *ret_shared)
{
    *ret_shared = false;
    for (size_t i = 0; i < t->claims.n; i++)
        if (t->claims.items[i] == n) {
            *ret_shared = t->shared.items[i];
            return true;
        }
    return false;
}

/* Whether `rival` may own a tag: only with a publication that is complete. That its ref was deleted, or that it is
 * dormant, changes nothing: its tags stay its own. */
static bool in_the_race(const struct track *rival)
{
    return track_published(rival) && !rival->retired;
}

/* >0 where `a` outranks `b` as the owner of the tag, <0 the other way round, 0: neither. */
static int rank(const struct track *a, const struct track *b, const struct tag_node *n)
{
    struct tag_claimant x = {.version = &a->parsed_version};
    struct tag_claimant y = {.version = &b->parsed_version};
    claims(a, n, &x.shared);
    claims(b, n, &y.shared);
    return tag_owner_cmp(&x, &y);
}

bool owner_has(const struct track *t, const struct tag_node *n)
{
    return n->current && str_eq(n->current->track_id, t->id);
}

bool owner_keeps(const struct track *had, const struct track *t, const struct tag_node *n)
{
    bool shared;
    return had->image && !had->retired && claims(had, n, &shared) && rank(t, had, n) <= 0;
}

/* Whether `part` is put with the track's tag that it is a part of. */
static bool has_part(const struct track *t, const struct tag_node *part)
{
    const struct slot *s = t->slots[part->platform];
    bool published = track_published(t) && publication_child(t->last, part->platform);
    return s && !s->retired && (s->wanted || published);
}

/* Who claims the very name of a single platform's tag of one of the track's, and has it: it keeps that. NULL: nobody. */
static const struct track *part_taken(const struct model *m, const struct track *t,
                                      const struct tag_node *part)
{
    bool shared;
    const struct track *had =
        part->current && part->claimants.n ? track_find(m, part->current->track_id) : NULL;
    return had && had != t && in_the_race(had) && claims(had, part, &shared) ? had : NULL;
}

bool owner_part_taken(struct model *m, const struct track *t, const char *tag)
{
    bool shared;
    cleanup_free char *name = xconcat(t->image->repository, ":", tag, NULL);
    const struct tag_node *n = NULL;
    HASH_FIND_STR(m->nodes, name, n);
    return n && (claims(t, n, &shared) || part_taken(m, t, n));
}

/* Who has a tag of which this one, that `t` claims and has not got, is a single platform's. NULL: nobody. */
static const struct track *whole_of(const struct track *t, const struct tag_node *n)
{
    const struct track *best = NULL;
    if (!n->whole || owner_has(t, n))
        return NULL;
    VEC_FOREACH (&n->whole->claimants, it)
        if (*it != t && in_the_race(*it) && has_part(*it, n) &&
            (!best || strcmp((*it)->id, best->id) < 0))
            best = *it;
    return best;
}

/* ---- which of many versions is the highest ---- */

static void come_into_race(struct tag_node *n, struct track *t)
{
    int order = n->top ? version_cmp(&t->parsed_version, &n->top->parsed_version) : 1;
    if (order > 0)
        n->tied = 0;
    if (order > 0)
        n->top = t;
    n->tied += order >= 0;
}

static void rank_claimants(struct tag_node *n)
{
    bool shared;
    n->ranked = n->versions = true;
    n->top = NULL;
    n->tied = 0;
    VEC_FOREACH (&n->claimants, t) {
        claims(*t, n, &shared);
        n->versions = n->versions && shared && (*t)->parsed_version.parts;
        if (in_the_race(*t))
            come_into_race(n, *t);
    }
}

void owner_rank(struct track *t)
{
    VEC_FOREACH (&t->claims, n)
        if ((*n)->ranked && in_the_race(t))
            come_into_race(*n, t);
}

void owner_rank_anew(struct track *t)
{
    VEC_FOREACH (&t->claims, n)
        (*n)->ranked = false;
}

/* Where all that claim the tag are versions the highest tells: <0 where it is higher than `t`, >0 where nobody else is as high,
 * 0 where each has to be looked at. */
static int against_all(const struct track *t, struct tag_node *n)
{
    if (!n->ranked)
        rank_claimants(n);
    if (!n->versions)
        return 0;
    if (!n->top || (n->top == t && n->tied == 1))
        return 1;
    return n->top == t ? 0 : version_cmp(&t->parsed_version, &n->top->parsed_version);
}

/* Who has the tag, claims it and is held: it stays with that one, though `t` is higher. That it has published nothing yet
 * changes nothing: it may have been promoted to it. NULL: nobody. */
static const struct track *held_incumbent(struct model *m, const struct track *t,
                                          const struct tag_node *n)
{
    bool shared;
    const struct track *had = n->current ? track_find(m, n->current->track_id) : NULL;
    return had && had != t && !had->retired && claims(had, n, &shared) && held(m, had) ? had : NULL;
}

bool owner_is(struct model *m, const struct track *t, struct tag_node *n, struct rivalry *why)
{
    const struct track *equal = NULL, *holder = NULL;
    int all = against_all(t, n);
    if (all < 0)
        return false;
    holder = held_incumbent(m, t, n);
    for (size_t i = 0; all == 0 && i < n->claimants.n; i++) {
        const struct track **it = (const struct track **)&n->claimants.items[i];
        const struct track *rival = *it;
        if (rival == t || !in_the_race(rival))
            continue;
        int order = rank(t, rival, n);
        if (order < 0)
            return false;
        if (order == 0 && !owner_has(t, n) && (!equal || strcmp(rival->id, equal->id) < 0))
            equal = rival;
    }
    if (!equal)
        equal = whole_of(t, n);
    if (equal) {
        why->conflict = n;
        why->rival = equal;
    } else if (holder) {
        why->stays = n;
        why->holder = holder;
    }
    return !equal && !holder;
}

/* Of the tags that are put with those that it owns, one that another has by its own claim. */
static void note_parts(struct model *m, const struct track *t, const struct tag_node *n,
                       struct rivalry *why)
{
    VEC_FOREACH (&n->parts, part) {
        const struct track *had = part_taken(m, t, *part);
        if (!had || why->rival || !has_part(t, *part))
            continue;
        why->conflict = *part;
        why->rival = had;
    }
}

bool owner_contends(struct model *m, const struct track *owner, const struct track *t,
                    const struct tag_node *n)
{
    bool shared;
    if (n->whole && claims(owner, n->whole, &shared) && !claims(owner, n, &shared))
        return true; /* it has it as a single platform's */
    int order = in_the_race(owner) ? rank(t, owner, n) : -1;
    return order == 0 || (order > 0 && held(m, owner));
}

/* Whether a single platform's tag, that was another's by its own claim, is to be put with the track's. */
static bool parts_differ(const struct model *m, const struct track *t, const struct tag_node *n,
                         const childvec *children)
{
    bool shared;
    VEC_FOREACH (&n->parts, part)
        VEC_FOREACH (children, c)
            if (c->platform == (*part)->platform && (*part)->current &&
                !str_eq((*part)->current->digest, c->digest) && !claims(t, *part, &shared) &&
                !part_taken(m, t, *part))
                return true;
    return false;
}

bool tag_differs(const struct tag_node *n, const childvec *children)
{
    const struct publication *p = n->current ? n->current->shown : NULL;
    return !p || n->current->put_back || !children_equal(&p->child, children) ||
           !str_eq(n->current->digest, p->digest);
}

size_t owner_to_move(struct model *m, const struct track *t, const childvec *children, strvec *move,
                     struct rivalry *why)
{
    size_t owned = 0;
    VEC_FOREACH (&t->claims, it) {
        struct tag_node *n = *it;
        if (!owner_is(m, t, n, why))
            continue;
        owned++;
        note_parts(m, t, n, why);
        if (!track_published(t) || tag_differs(n, children) || parts_differ(m, t, n, children))
            strvec_add(move, n->tag);
    }
    return owned;
}

static bool concerned(const struct track *t, const struct track *rival, const struct tag_node *n)
{
    return rival->lost_tag || rival->conflict || owner_has(rival, n) ||
           rival->state == TRACK_HELD || rival->reason.code == REASON_REPOSITORY_STOPPED ||
           rival->reason.code == REASON_HELD ||
           (n->ranked && n->versions ? version_cmp(&t->parsed_version, &rival->parsed_version) == 0
                                     : rank(t, rival, n) == 0);
}

static void plan_claimants(struct model *m, const struct tag_node *n)
{
    VEC_FOREACH (&n->claimants, c)
        model_plan_later(m, *c);
}

static void plan_rivals(struct model *m, const struct track *t)
{
    VEC_FOREACH (&t->claims, n) {
        VEC_FOREACH (&(*n)->claimants, c)
            if (concerned(t, *c, *n))
                model_plan_later(m, *c);
        VEC_FOREACH (&(*n)->parts, part)
            plan_claimants(m, *part);
        if ((*n)->whole)
            plan_claimants(m, (*n)->whole);
    }
}

void owner_plan_rivals(struct model *m, const struct track *t, const struct publication *p)
{
    bool shared;
    if (t)
        plan_rivals(m, t);
    VEC_FOREACH (&p->tags, pt) {
        const struct tag_node *n = model_node(m, p->repository, (*pt)->tag);
        if (!t || !claims(t, n, &shared))
            plan_claimants(m, n);
    }
}
