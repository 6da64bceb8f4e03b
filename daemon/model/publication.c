/* A publication: one index in one repository, with a generation and the tags that point to it. One runs at a time
 * in each repository. What is stored when: ARCHITECTURE.md, "What a publication journals".
 *
 *     happy path     prepared -> children -> index -> tags -> verified
 *     failure modes  the registry is away or refuses: the same step again after a back-off, for ever, the
 *                    children being looked at again before;
 *                    a child is not there: looked at again after a back-off, since a registry that lags, or collects, may not
 *                    show it for a moment; not there either: abandoned, and the child's job is wanted again;
 *                    superseded before the first tag's PUT is journalled, or its image has left farm.yaml then:
 *                    abandoned; after it, and without its registry in farm.yaml, it stands until that is named again, or a
 *                    person gives it up (`adopt`);
 *                    a tag names what the store does not know: abandoned, and the repository stops */
#include "daemon/model/audit.h"
#include "daemon/model/hold.h"
#include "daemon/model/known.h"
#include "daemon/model/objects.h"
#include "daemon/model/owner.h"
#include "daemon/model/plan.h"

#include <assert.h>
#include <errno.h>

#define BIT(s) (1u << (s))

static const unsigned allowed[] = {
    [PUBLICATION_PREPARED] = BIT(PUBLICATION_CHILDREN) | BIT(PUBLICATION_ABANDONED),
    [PUBLICATION_CHILDREN] = BIT(PUBLICATION_INDEX) | BIT(PUBLICATION_ABANDONED),
    [PUBLICATION_INDEX] = BIT(PUBLICATION_TAGS) | BIT(PUBLICATION_ABANDONED),
    [PUBLICATION_TAGS] = BIT(PUBLICATION_VERIFIED) | BIT(PUBLICATION_ABANDONED),
    [PUBLICATION_VERIFIED] = 0,
    [PUBLICATION_ABANDONED] = 0,
};

bool publication_may(enum publication_state from, enum publication_state to)
{
    return allowed[from] & BIT(to);
}

struct publication *publication_find(const struct model *m, int64_t id)
{
    struct publication *p = NULL;
    HASH_FIND(hh, m->publications, &id, sizeof(id), p);
    return p;
}

void publication_add(struct model *m, struct publication *p)
{
    HASH_ADD(hh, m->publications, id, sizeof(p->id), p);
    vec_push(&model_repository(m, p->repository)->publications, p);
    struct track *t = track_find(m, p->track_id);
    if (!t)
        return;
    vec_push(&t->published, p);
    for (size_t i = t->published.n - 1; i > 0 && t->published.items[i - 1]->id > p->id; i--) {
        t->published.items[i] = t->published.items[i - 1];
        t->published.items[i - 1] = p;
    }
}

void publication_known(struct model *m, const struct publication *p, bool known)
{
    struct repository *r = model_repository(m, p->repository);
    if (known)
        known_add(&r->known, p->digest);
    else
        known_remove(r->known, p->digest);
    VEC_FOREACH (&p->child, c) {
        if (known)
            known_add(&r->known, c->digest);
        else
            known_remove(r->known, c->digest);
    }
}

static void move(struct model *m, struct publication *p, enum publication_state state)
{
    assert(publication_may(p->state, state));
    p->state = state;
    model_touch(m, p);
}

/* ---- children ---- */

const struct child *publication_child(const struct publication *p, enum platform platform)
{
    VEC_FOREACH (&p->child, c)
        if (c->platform == platform)
            return c;
    return NULL;
}

bool children_equal(const childvec *a, const childvec *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (a->items[i].platform != b->items[i].platform ||
            !str_eq(a->items[i].digest, b->items[i].digest))
            return false;
    return true;
}

void children_done(childvec *c)
{
    VEC_FOREACH (c, child) {
        free(child->digest);
        free(child->media_type);
        free(child->content);
        free(child->key);
        free(child->packing);
    }
    vec_free(c);
}

/* Whether a child was not there for the first time since all were. A start forgets it, and asks twice again. */
static bool missed_first(struct publication *p, enum platform platform)
{
    VEC_FOREACH (&p->child, c)
        if (c->platform == platform && !c->missed)
            return c->missed = true;
    return false;
}

static void all_found(struct publication *p)
{
    VEC_FOREACH (&p->child, c)
        c->missed = false;
}

/* ---- making ---- */

static const struct publication *same_children(const struct repository *r, const childvec *children)
{
    VEC_FOREACH (&r->publications, p)
        if (children_equal(&(*p)->child, children))
            return *p;
    return NULL;
}

static void add_tag(struct model *m, struct publication *p, const char *tag, const char *digest,
                    bool index)
{
    struct publication_tag *pt = xnew(struct publication_tag);
    pt->row.table = TABLE_PUBLICATION_TAG;
    pt->publication = p->id;
    pt->ordinal = (int64_t)p->tags.n;
    pt->tag = xstrdup(tag);
    pt->digest = xstrdup(digest);
    pt->index = index;
    vec_push(&p->tags, pt);
    model_touch(m, pt);
}

/* Per-architecture tags first, `latest` last. */
static void add_tags(struct model *m, const struct track *t, struct publication *p,
                     const strvec *tags)
{
    VEC_FOREACH (tags, tag)
        VEC_FOREACH (&p->child, c) {
            cleanup_free char *name = xasprintf("%s-%s", *tag, platform_info(c->platform)->suffix);
            if (!owner_part_taken(m, t, name))
                add_tag(m, p, name, c->digest, false);
        }
    VEC_FOREACH (tags, tag)
        if (!str_eq(*tag, "latest"))
            add_tag(m, p, *tag, p->digest, true);
    if (strvec_has(tags, "latest"))
        add_tag(m, p, "latest", p->digest, true);
}

struct publication *publication_make(struct model *m, struct track *t, int64_t build,
                                     childvec *children, const strvec *tags)
{
    struct publication *p = xnew(struct publication);
    struct repository *r = model_repository(m, t->image->repository);
    const struct publication *same = same_children(r, children);
    cleanup_free char *counter = xasprintf("generation %s", t->image->repository);
    p->row.table = TABLE_PUBLICATION;
    p->id = model_next(m, "next publication");
    p->repository = xstrdup(t->image->repository);
    p->track_id = xstrdup(t->id);
    p->build = build;
    p->generation = model_next(m, counter);
    p->created_at = m->wall;
    p->child = *children;
    *children = (childvec){0};
    p->children = publication_children_text(&p->child);
    if (same) {
        p->bytes = xstrdup(same->bytes);
        p->digest = xstrdup(same->digest);
        p->media_type = xstrdup(same->media_type);
    } else {
        publication_serialise(m, t, p);
    }
    publication_add(m, p);
    publication_known(m, p, true);
    model_touch(m, p);
    add_tags(m, t, p, tags);
    retain_index(m, t, p->digest);
    r->running = p;
    publication_go_on(m, p);
    return p;
}

/* ---- steps ---- */

static struct publication_tag *next_tag(const struct publication *p)
{
    VEC_FOREACH (&p->tags, pt)
        if (!(*pt)->done)
            return *pt;
    return NULL;
}

/* Tags of one rank may move in any order: first those of single platforms, then those of versions, then `latest`. */
static int rank(const struct publication_tag *pt)
{
    return !pt->index ? 0 : !str_eq(pt->tag, "latest") ? 1 : 2;
}

static void effect_add_tag(struct effect *e, const struct publication_tag *pt)
{
    vec_push(&e->tags, (struct effect_tag){.tag = xstrdup(pt->tag),
                                           .digest = xstrdup(pt->digest),
                                           .index = pt->index,
                                           .rank = rank(pt)});
}

/* What one of our tags may name without a stranger having been there. */
static void add_known(const struct model *m, struct effect *e, const struct repository *r)
{
    e->known = known_hold(r->known);
    VEC_FOREACH (&e->tags, et) {
        const struct tag *tag = tag_find(m, r->name, et->tag);
        if (tag && tag->adopted)
            strvec_add(&e->adopted, tag->adopted);
    }
}

/* How far the next effect goes. */
static enum publish_step step_of(const struct publication *p)
{
    if (p->state < PUBLICATION_TAGS)
        return PUBLISH_INDEX;
    return p->recheck ? PUBLISH_CHILDREN : PUBLISH_VERIFY;
}

/* The first tag's PUT is journalled before it starts. From here the publication runs to its end, and newer inputs need not
 * wait for it any more. */
static void begin_tags(struct model *m, struct publication *p)
{
    move(m, p, PUBLICATION_TAGS);
    struct track *t = track_find(m, p->track_id);
    if (t)
        model_plan_later(m, t);
}

bool publication_stands(const struct model *m, const struct publication *p)
{
    return p->state < PUBLICATION_VERIFIED && !model_knows_registry(m, p->repository);
}

bool publication_forsaken(const struct model *m, const struct publication *p)
{
    return publication_stands(m, p) ||
           (p->state < PUBLICATION_VERIFIED && p->error && !model_owns(m, p->repository));
}

/* Its registry has left farm.yaml: nothing is asked of it with whatever it would be by default. */
static void stand(struct model *m, struct publication *p)
{
    cleanup_free char *error = xasprintf("the registry of %s is not in farm.yaml any more; it goes "
                                         "on when that names it again, and sheafctl adopt %s "
                                         "gives it up",
                                         p->repository, p->repository);
    if (str_eq(p->error, error))
        return;
    str_replace(&p->error, error);
    model_touch(m, p);
}

void publication_go_on(struct model *m, struct publication *p)
{
    if (p->asked || p->retry_due)
        return;
    if (publication_stands(m, p)) {
        stand(m, p);
        return;
    }
    if (p->state == PUBLICATION_INDEX)
        begin_tags(m, p);
    p->asked = true;
    struct effect *e = model_effect(m, EFFECT_PUBLISH);
    e->publication = p->id;
    e->step = step_of(p);
    e->repository = xstrdup(p->repository);
    e->digest = xstrdup(p->digest);
    e->media_type = xstrdup(p->media_type);
    e->bytes = xstrdup(p->bytes);
    VEC_FOREACH (&p->child, c)
        vec_push(&e->children,
                 (struct effect_child){c->platform, xstrdup(c->digest), xstrdup(c->media_type)});
    if (e->step == PUBLISH_INDEX) {
        const char *place = retain_index_begin(m, p);
        if (place)
            vec_push(&e->tags, (struct effect_tag){xstrdup(place), xstrdup(p->digest), true});
    } else if (e->step == PUBLISH_VERIFY) {
        VEC_FOREACH (&p->tags, pt)
            effect_add_tag(e, *pt);
        add_known(m, e, model_repository(m, p->repository));
        cleanup_free char *adopted = xasprintf("adopted %s", p->repository);
        e->adopt = model_setting(m, adopted) || model_repository(m, p->repository)->restoring;
    }
}

/* ---- ends ---- */

static void plan_repository(struct model *m, const char *name)
{
    VEC_FOREACH (&model_repository(m, name)->tracks, t)
        model_plan_later(m, *t);
}

static void leave_repository(struct model *m, struct publication *p)
{
    struct repository *r = model_repository(m, p->repository);
    struct track *t = track_find(m, p->track_id);
    if (r->running == p)
        r->running = NULL;
    p->finished_at = m->wall;
    if (t)
        model_plan_later(m, t);
    owner_plan_rivals(m, t, p);
    if (r->queue.n)
        model_plan_later(m, r->queue.items[0]);
}

/* A step that was asked for and not committed yet does not begin. */
static void drop_step(struct model *m, struct publication *p)
{
    for (size_t i = m->turn->effects.n; i-- > 0;) {
        struct effect *e = &m->turn->effects.items[i];
        if (e->kind != EFFECT_PUBLISH || e->publication != p->id)
            continue;
        if (e->step == PUBLISH_INDEX)
            retain_index_end(m, p, false, false);
        effect_done(e);
        vec_remove(&m->turn->effects, i);
        p->asked = false;
    }
}

void publication_abandon(struct model *m, struct publication *p, const char *why)
{
    bool moved = p->state >= PUBLICATION_TAGS;
    drop_step(m, p);
    str_replace(&p->error, why);
    move(m, p, PUBLICATION_ABANDONED);
    prune_later(m, track_find(m, p->track_id));
    retain_index_drop(m, p);
    leave_repository(m, p);
    if (moved) /* some of what was to be put back may be */
        audit_judge(m, model_repository(m, p->repository));
}

void publication_reconsider(struct model *m, const char *repository)
{
    struct publication *p = model_repository(m, repository)->running;
    if (p && p->state < PUBLICATION_TAGS)
        publication_abandon(m, p, "a person's command came before its first tag");
    plan_repository(m, repository);
}

bool publication_retry_now(struct model *m, struct publication *p)
{
    if (!p->retry_due)
        return false;
    p->retry_due = 0;
    publication_go_on(m, p);
    return true;
}

/* Whether the track's last publication is another, though this one ends later: its image publishes elsewhere by now, or did so
 * before it left farm.yaml. */
static bool is_outdated(const struct track *t, const struct publication *p)
{
    return t->image ? !str_eq(t->image->repository, p->repository) : t->publication > p->id;
}

static void verified(struct model *m, struct publication *p)
{
    move(m, p, PUBLICATION_VERIFIED);
    str_replace(&p->error, NULL);
    leave_repository(m, p);
    cleanup_free char *adopted = xasprintf("adopted %s", p->repository);
    model_set_setting(m, adopted, NULL);
    struct track *t = track_find(m, p->track_id);
    if (!t || is_outdated(t, p))
        return;
    bool first = !t->publication, here = track_published(t);
    t->publication = p->id;
    t->last = p;
    if (!here)
        owner_rank(t);
    model_touch(m, t);
    model_plan_later(m, t);
    if (first)
        track_first_published(m, t);
    struct repository *r = model_repository(m, p->repository);
    prune_later(m, t);
    prune_now(m, r);
    audit_judge(m, r);
}

/* ---- tags ---- */

static struct tag *tag_get(struct model *m, const char *repository, const char *name)
{
    struct tag *tag = tag_find(m, repository, name);
    if (tag)
        return tag;
    tag = xnew(struct tag);
    tag->row.table = TABLE_TAG;
    tag->repository = xstrdup(repository);
    tag->name = xstrdup(name);
    tag_add(m, tag);
    return tag;
}

struct tag *tag_find(const struct model *m, const char *repository, const char *name)
{
    cleanup_free char *key = xconcat(repository, ":", name, NULL);
    struct tag *tag = NULL;
    HASH_FIND_STR(m->tags, key, tag);
    return tag;
}

void tag_add(struct model *m, struct tag *tag)
{
    tag->hash_key = xconcat(tag->repository, ":", tag->name, NULL);
    HASH_ADD_KEYPTR(hh, m->tags, tag->hash_key, strlen(tag->hash_key), tag);
    model_node(m, tag->repository, tag->name)->current = tag;
    struct repository *r = model_repository(m, tag->repository);
    vec_push(&r->tags, tag);
    r->odd += tag->found != NULL;
}

static void tag_moved(struct model *m, struct publication *p, struct publication_tag *pt)
{
    pt->done = true;
    model_touch(m, pt);
    struct tag *tag = tag_get(m, p->repository, pt->tag);
    struct track *had = tag->track_id ? track_find(m, tag->track_id) : NULL;
    if (had && !str_eq(tag->track_id, p->track_id))
        had->lost_tag = true;
    if (tag->shown && tag->shown != p) /* it may be shown by none any more */
        prune_later(m, track_find(m, tag->shown->track_id));
    str_replace(&tag->track_id, p->track_id);
    str_replace(&tag->digest, pt->digest);
    tag->publication = p->id;
    tag->generation = p->generation;
    tag->shown = p;
    tag->put_back = false;
    tag_note(m, tag, NULL);
    str_replace(&tag->adopted, NULL);
    model_repository(m, p->repository)->changes++;
    model_touch(m, tag);
    VEC_FOREACH (&model_node(m, p->repository, pt->tag)->dependents, t)
        model_plan_later(m, *t);
}

/* ---- events ---- */

/* An effect of the publication has ended: all is done to that step, or that step failed. Whether it changes nothing: the
 * publication was abandoned meanwhile. */
static bool effect_is_over(struct model *m, struct publication *p, enum publish_step step,
                           bool done)
{
    if (!p)
        return true;
    p->asked = false;
    if (p->state == PUBLICATION_ABANDONED)
        prune_later(m, track_find(m, p->track_id)); /* it was kept for its step */
    if (step <= PUBLISH_INDEX)
        retain_index_end(m, p, done, step == PUBLISH_INDEX);
    return p->state >= PUBLICATION_VERIFIED || (done ? step != step_of(p) : step > step_of(p));
}

void model_on_publication_tag(struct model *m, int64_t publication, const char *tag)
{
    struct publication *p = publication_find(m, publication);
    const struct publication_tag *next = p ? next_tag(p) : NULL;
    if (!next || p->state != PUBLICATION_TAGS)
        return;
    VEC_FOREACH (&p->tags, pt)
        if (!(*pt)->done && rank(*pt) == rank(next) && str_eq((*pt)->tag, tag)) {
            tag_moved(m, p, *pt);
            return;
        }
}

static void all_moved(struct model *m, struct publication *p)
{
    VEC_FOREACH (&p->tags, pt)
        if (!(*pt)->done)
            tag_moved(m, p, *pt);
}

void model_on_publication_step(struct model *m, int64_t publication, enum publish_step step)
{
    struct publication *p = publication_find(m, publication);
    if (effect_is_over(m, p, step, true))
        return;
    if (p->error) /* the registry is there again: worth waiting for */
        plan_repository(m, p->repository);
    p->recheck = false;
    p->failures = 0;
    all_found(p);
    str_replace(&p->error, NULL);
    model_touch(m, p);
    if (step == PUBLISH_VERIFY) {
        all_moved(m, p);
        verified(m, p);
        return;
    }
    if (p->state == PUBLICATION_PREPARED)
        move(m, p, PUBLICATION_CHILDREN);
    if (p->state == PUBLICATION_CHILDREN)
        move(m, p, PUBLICATION_INDEX);
    publication_go_on(m, p);
}

/* Whether it returns the track's tags to an older publication, which then can no longer be done. */
static bool return_failed(struct model *m, const struct track *t, const struct publication *p,
                          const char *error)
{
    struct publication *target = t ? hold_pinned_in(m, t, p->repository) : NULL;
    if (!target || !children_equal(&target->child, &p->child))
        return false;
    str_replace(&target->error, error);
    model_touch(m, target);
    return true;
}

static void child_missing(struct model *m, struct publication *p, enum platform platform,
                          const char *error)
{
    const struct child *c = publication_child(p, platform);
    struct track *t = track_find(m, p->track_id);
    publication_abandon(m, p, error);
    if (!return_failed(m, t, p, error) && t && c)
        child_lost(m, t, c->digest, error);
}

/* A tag may have been read back as something else: each is looked at, and put where it is not right. */
static void put_again(struct model *m, struct publication *p)
{
    VEC_FOREACH (&p->tags, pt) {
        (*pt)->done = false;
        model_touch(m, *pt);
    }
}

void model_on_publication_failed(struct model *m, int64_t publication, enum publish_step step,
                                 enum publish_failure failure, enum platform platform,
                                 const char *error, int64_t wait_ms)
{
    struct publication *p = publication_find(m, publication);
    if (effect_is_over(m, p, step, false))
        return;
    if (step > PUBLISH_CHILDREN && failure != PUBLISH_MISSING)
        all_found(p);
    bool again = failure == PUBLISH_MISSING && missed_first(p, platform);
    p->failures++;
    str_replace(&p->error, again ? NULL : error);
    model_touch(m, p);
    plan_repository(m, p->repository);
    if (failure == PUBLISH_MISSING && !again) {
        child_missing(m, p, platform, error);
    } else if (failure == PUBLISH_FOREIGN) {
        cleanup_free char *key = xasprintf("stopped %s", p->repository);
        model_set_setting(m, key, error);
        str_replace(&model_repository(m, p->repository)->stopped, error);
        publication_abandon(m, p, error);
    } else {
        if (step == PUBLISH_VERIFY)
            put_again(m, p);
        /* What was refused may want for a child that the registry has lost meanwhile. */
        p->recheck = p->recheck || step == PUBLISH_TAGS;
        p->retry_due = m->mono + model_backoff_asked(p->failures, wait_ms);
        model_timer(m, p->retry_due);
    }
}

void publication_timer(struct model *m)
{
    for (struct repository *r = m->repositories; r; r = r->hh.next) {
        struct publication *p = r->running;
        if (!p || !p->retry_due)
            continue;
        if (p->retry_due > m->mono) {
            model_timer(m, p->retry_due);
            continue;
        }
        publication_retry_now(m, p);
    }
}
