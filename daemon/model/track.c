/* Tracks: linked to their slots, their tags and their bases. */
#include "daemon/model/objects.h"
#include "daemon/model/owner.h"
#include "daemon/model/plan.h"
#include "daemon/model/tagging.h"

#include <stdarg.h>

struct track *track_find(const struct model *m, const char *id)
{
    struct track *t = NULL;
    HASH_FIND_STR(m->tracks, id, t);
    return t;
}

bool track_published(const struct track *t)
{
    return t->image && t->last && str_eq(t->last->repository, t->image->repository);
}

void track_recall(struct model *m, struct track *t)
{
    const struct publication *best = NULL;
    if (!t->image || track_published(t))
        return;
    VEC_FOREACH (&t->published, it) {
        struct publication *p = *it;
        if (p->state != PUBLICATION_VERIFIED || !str_eq(p->repository, t->image->repository) ||
            (best && p->id < best->id))
            continue;
        best = t->last = p;
    }
    if (!best)
        return;
    t->publication = best->id;
    model_touch(m, t);
}

void track_add(struct model *m, struct track *t)
{
    HASH_ADD_KEYPTR(hh, m->tracks, t->id, strlen(t->id), t);
    t->in_woken = t->awake == AWAKE_NEEDED;
    if (t->in_woken)
        vec_push(&m->woken, t);
}

void track_state_set(struct model *m, struct track *t, enum track_state state,
                     enum reason_code code, const char *fmt, ...)
{
    (void)m;
    char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        abort();
    va_end(ap);
    t->state = state;
    reason_take(&t->reason, code, text);
}

/* ---- links ---- */

#define remove_weak(v, object)                                                                     \
    do {                                                                                           \
        for (size_t _k = 0; _k < (v)->n; _k++)                                                     \
            if ((v)->items[_k] == (object)) {                                                      \
                vec_remove(v, _k);                                                                 \
                break;                                                                             \
            }                                                                                      \
    } while (0)

static void unlink_claims(struct track *t)
{
    owner_rank_anew(t);
    VEC_FOREACH (&t->claims, n)
        remove_weak(&(*n)->claimants, t);
    t->claims.n = 0;
    t->shared.n = 0;
    strvec_done(&t->tags);
}

static void link_claims(struct model *m, struct track *t, const struct ref_reading *reading)
{
    cleanup_tag_claims tag_claims claims = {0};
    struct err err = ERR_INIT;
    struct template_vars vars = track_vars(m->farm, t->image, t->ref_name, reading, t->variant,
                                           t->ref ? t->ref->commit : NULL);
    if (tags_of_track(t->image, &vars, &claims, &err) < 0) {
        str_replace(&t->tag_error, err.text);
        return;
    }
    str_replace(&t->tag_error, NULL);
    VEC_FOREACH (&claims, c) {
        struct tag_node *n = model_node(m, t->image->repository, c->tag);
        strvec_add(&t->tags, c->tag);
        vec_push(&t->claims, n);
        vec_push(&t->shared, c->shared);
        vec_push(&n->claimants, t);
        if (t->last || !c->shared || !t->parsed_version.parts)
            n->ranked = false; /* else it is a version that is in no race yet */
    }
}

static struct slot *slot_get(struct model *m, struct track *t, enum platform p)
{
    if (t->slots[p])
        return t->slots[p];
    struct slot *s = xnew(struct slot);
    s->row.table = TABLE_SLOT;
    s->track = xstrdup(t->id);
    s->platform_name = xstrdup(platform_info(p)->name);
    s->platform = p;
    s->stale_clock = -1;
    s->t = t;
    t->slots[p] = s;
    model_touch(m, s);
    return s;
}

static void link_slots(struct model *m, struct track *t)
{
    for (int p = 0; p < PLATFORM_COUNT; p++) {
        bool offered = farm_image_offers(t->image, (enum platform)p);
        if (offered)
            slot_get(m, t, (enum platform)p);
        if (t->slots[p]) {
            t->slots[p]->optional = platformvec_has(&t->image->optional, (enum platform)p);
            t->slots[p]->wanted = offered;
            slot_forget(m, t->slots[p]);
        }
    }
}

static void set_ref(struct track *t, struct ref *r)
{
    if (t->ref)
        remove_weak(&t->ref->tracks, t);
    t->ref = r;
    if (r)
        vec_push(&r->tracks, t);
}

void track_link(struct model *m, struct track *t)
{
    unlink_claims(t);
    set_ref(t, NULL);
    t->image = farm_image(m->farm, t->image_name);
    if (!t->image)
        return;
    struct ref_reading reading = ref_read(t->image, t->ref_name);
    bool variant = t->variant ? strvec_has(&t->image->variants, t->variant) : !t->image->variants.n;
    t->out_of_bounds = reading.verdict == REF_OUT_OF_BOUNDS;
    if ((reading.verdict != REF_FOLLOWED && !t->out_of_bounds) || !variant) {
        t->image = NULL;
        return;
    }
    set_ref(t, source_ref(m, t->image->source, t->ref_name));
    if (t->ref && t->deleted != t->ref->deleted) { /* since it was not in farm.yaml */
        t->deleted = t->ref->deleted;
        model_touch(m, t);
    }
    str_replace(&t->version, reading.version);
    t->parsed_version = reading.parsed;
    link_slots(m, t);
    link_claims(m, t, &reading);
}

static void add_base_node(struct track *t, struct tag_node *n)
{
    VEC_FOREACH (&t->bases, it)
        if (*it == n)
            return;
    vec_push(&t->bases, n);
    vec_push(&n->dependents, t);
}

static void add_outside(struct track *t, struct base *b)
{
    VEC_FOREACH (&t->outside, it)
        if (*it == b)
            return;
    vec_push(&t->outside, b);
    vec_push(&b->dependents, t);
}

void track_set_bases(struct model *m, struct track *t)
{
    if (!t->rebase)
        return;
    t->rebase = false;
    m->edges++;
    VEC_FOREACH (&t->bases, n)
        remove_weak(&(*n)->dependents, t);
    VEC_FOREACH (&t->outside, b)
        remove_weak(&(*b)->dependents, t);
    t->bases.n = t->outside.n = 0;
    for (int p = 0; p < PLATFORM_COUNT; p++) {
        if (!t->slots[p])
            continue;
        VEC_FOREACH (&t->slots[p]->pins, pin) {
            if (pin->base)
                add_outside(t, pin->base);
            if (!pin->node)
                continue;
            add_base_node(t, pin->node);
            if (pin->node->whole) /* with which it is put, or may be */
                add_base_node(t, pin->node->whole);
        }
    }
}

void track_ask(struct model *m, struct track *t, enum reason_code asked)
{
    if (t->asked == asked)
        return;
    t->asked = asked;
    model_touch(m, t);
}

static void walk_below(struct model *m, struct track *t, track_visit_fn visit)
{
    t->mark = m->visit;
    VEC_FOREACH (&t->claims, n)
        VEC_FOREACH (&(*n)->dependents, d)
            if ((*d)->mark != m->visit && visit(m, *d))
                walk_below(m, *d, visit);
}

void track_walk_below(struct model *m, struct track *t, track_visit_fn visit)
{
    m->visit++;
    walk_below(m, t, visit);
}

void track_tell_dependents(struct model *m, struct track *t)
{
    VEC_FOREACH (&t->claims, n)
        VEC_FOREACH (&(*n)->dependents, d)
            if (*d != t)
                model_plan_later(m, *d);
}
