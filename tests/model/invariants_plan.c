/* What is decided of builds and tags: what a job is built on (8), and what nobody asked for (10). */
#include "daemon/model/tagging.h"
#include "tests/model/check_int.h"

#include <inttypes.h>

/* ---- 8: what a job is built on ---- */

static bool frozen_or_held(struct sim *s, const struct track *t)
{
    return t->held || (t->image && t->image->hold) || s->farm->freeze ||
           model_setting(s->m, "frozen at");
}

static bool repository_stopped(struct sim *s, const struct track *t)
{
    cleanup_free char *key = t->image ? xconcat("stopped ", t->image->repository, NULL) : NULL;
    return key && model_setting(s->m, key);
}

/* By our own reckoning: something of it goes on that will end by itself. */
static bool goes_on(struct sim *s, const struct track *t)
{
    for (const struct publication *p = s->m->publications; p; p = p->hh.next)
        if (p->state < PUBLICATION_VERIFIED && str_eq(p->track_id, t->id) && !p->error &&
            t->image &&
            str_eq(p->repository, t->image->repository)) /* elsewhere: it moves no tag of now */
            return true;
    bool promoted = t->current && t->promoted == t->current->id;
    if (repository_stopped(s, t) ||
        (t->state != TRACK_PUBLISHING && frozen_or_held(s, t) && !promoted))
        return false; /* whatever comes of it is not published */
    if (t->state == TRACK_WAITING)
        return t->reason.code == REASON_INSPECTING || t->reason.code == REASON_RESOLVING_BASE ||
               t->reason.code == REASON_BASE_BUILDING;
    if (t->state == TRACK_PUBLISHING) /* another's, that the registry does not take, may go first */
        return t->reason.code != REASON_REGISTRY_AWAY && !publish_stuck_behind(s->m, t);
    if (!t->current || !build_active(t->current) || t->state != TRACK_BUILDING)
        return false;
    bool any = false;
    VEC_FOREACH (&t->current->jobs, bj) {
        const struct job *j = (*bj)->job;
        if (!(*bj)->required)
            continue;
        if (j->state == JOB_WANTED && (j->retry_due || !schedule_can_run(s->m, j)))
            return false; /* it backs off, or has no board */
        any = any || job_under_way(j);
    }
    return any;
}

/* The first ancestor that goes on, however far above: what is published will follow. */
static const struct track *going_on_above(struct sim *s, struct track *t)
{
    t->mark = s->m->visit;
    VEC_FOREACH (&t->bases, n)
        VEC_FOREACH (&(*n)->claimants, c) {
            const struct track *found = NULL;
            if ((*c)->mark == s->m->visit)
                continue;
            if (goes_on(s, *c))
                return *c;
            if ((*c)->state == TRACK_PUBLISHED)
                found = going_on_above(s, *c);
            if (found)
                return found;
        }
    return NULL;
}

/* Tracks that share a key share its job: it is enough that one of them waits for nothing. */
static void inv08_ancestors_at_rest(struct sim *s, const struct job *j)
{
    const struct track *above = NULL, *below = NULL;
    VEC_FOREACH (&j->builds, b) {
        struct track *t = (*b)->track;
        if (!t || t->current != *b)
            continue;
        s->m->visit++;
        below = t;
        above = going_on_above(s, t);
        if (!above || (t->wait_due && t->wait_due <= s->m->mono))
            return;
    }
    if (above)
        sim_fail(s, __func__, "%s is built while its base %s is under way (%s)", below->id,
                 above->id, above->reason.text ? above->reason.text : "");
}

/* What the job's board is told to pull. */
static void spec_has_the_pins(struct sim *s, const struct job *j, const struct slot *slot)
{
    struct wire_job spec = {0};
    if (wire_job_decode(j->spec, strlen(j->spec), &spec, NULL) < 0)
        sim_fail(s, "inv08_pins_are_current", "%.14s of %s: nobody knows what to build", j->key,
                 j->track);
    VEC_FOREACH (&slot->pins, pin) {
        bool found = false;
        VEC_FOREACH (&spec.bases, base)
            found = found || (str_eq(base->digest, pin->digest) &&
                              str_eq(base->repository, pin->repository));
        if (!found)
            sim_fail(s, "inv08_pins_are_current", "%.14s of %s is built on another %s than pinned",
                     j->key, j->track, pin->reference);
    }
    wire_job_done(&spec);
}

static void pin_is_current(struct sim *s, const struct slot *slot, const struct pin *pin)
{
    const char *digest = NULL;
    if (pin->node) {
        const struct tag *tag = pin->node->current;
        const struct publication *on = tag ? publication_find(s->m, tag->publication) : NULL;
        const struct child *c = on ? publication_child(on, slot->platform) : NULL;
        digest = c ? c->digest : NULL;
    } else {
        digest = pin->base->child[slot->platform];
    }
    if (!digest || !str_eq(digest, pin->digest))
        sim_fail(s, "inv08_pins_are_current", "%s for %s: its pin of %s is not what that names",
                 slot->track, slot->platform_name, pin->reference);
}

static void inv08_pins_are_current(struct sim *s, const struct job *j)
{
    const struct track *t = track_find(s->m, j->track);
    const struct slot *slot = t ? t->slots[j->platform] : NULL;
    if (!slot || slot->state != SLOT_READY || !str_eq(slot->key, j->key) || !job_under_way(j))
        return;
    spec_has_the_pins(s, j, slot);
    for (int p = 0; p < PLATFORM_COUNT; p++) {
        if (!t->slots[p] || t->slots[p]->state != SLOT_READY)
            continue;
        VEC_FOREACH (&t->slots[p]->pins, pin)
            pin_is_current(s, t->slots[p], pin);
    }
}

void check_new_jobs(struct sim *s)
{
    VEC_FOREACH (&s->check->again_jobs, key)
        inv08_pins_are_current(s, job_find(s->m, *key));
    strvec_done(&s->check->again_jobs);
    VEC_FOREACH (&s->check->new_jobs, key) {
        const struct job *j = job_find(s->m, *key);
        if (!j)
            continue;
        inv08_pins_are_current(s, j);
        inv08_ancestors_at_rest(s, j);
    }
    strvec_done(&s->check->new_jobs);
}

/* ---- 10: dormant tracks ---- */

/* Whether it keeps itself in date, and did so before this pass. */
static bool was_in_date(const struct sim *s, const struct track *t)
{
    return !t->dormant && !t->deleted && !t->retired && !t->out_of_bounds &&
           !strvec_has(&s->check->woken, t->id);
}

/* Whether something in date is built on a tag that the track has or, where nobody has it, that nobody in date would
 * publish. */
static bool wanted_by_another(const struct sim *s, const struct track *t)
{
    VEC_FOREACH (&t->claims, it) {
        const struct tag_node *n = *it;
        bool its = !n->current || str_eq(n->current->track_id, t->id);
        VEC_FOREACH (&n->claimants, c)
            its = its && (n->current || *c == t || !was_in_date(s, *c));
        VEC_FOREACH (&n->dependents, d)
            if (its && *d != t && !(*d)->stopped)
                return true;
    }
    return false;
}

static void inv10_dormant_stay(struct sim *s, const char *id)
{
    const struct track *t = track_find(s->m, id);
    cleanup_free char *ref = xasprintf("%s %s", t->ref ? t->ref->source : "", t->ref_name);
    bool moved =
        !t->ref || strvec_has(&s->check->moved_refs, ref); /* its image left in the same pass */
    if (!strvec_has(&s->check->asked_tracks, id) && !moved && !wanted_by_another(s, t))
        sim_fail(s, __func__, "%s wakes unasked", id);
}

/* Whether it has the tag or, if that will do, may come to have it: nobody has, or a lower version that it did not publish before. */
static bool has_or_may(const struct sim *s, const struct tag_node *n, const struct track *t,
                       bool has)
{
    if (!n->current || str_eq(n->current->track_id, t->id))
        return n->current || !has;
    const struct track *owner = track_find(s->m, n->current->track_id);
    return !has && !t->publication && owner &&
           version_newer(&t->parsed_version, &owner->parsed_version) > 0;
}

/* Whether something in date, or of `of` if that is given, is built on such a tag. */
static bool has_dependents(const struct sim *s, const struct track *t, bool has, const strvec *of)
{
    VEC_FOREACH (&t->claims, it) {
        const struct tag_node *n = *it;
        if (!has_or_may(s, n, t, has))
            continue;
        VEC_FOREACH (&n->dependents, d)
            if (*d != t && (of ? strvec_has(of, (*d)->id) : !(*d)->stopped))
                return true;
    }
    return false;
}

/* What is built on it may be looked for in vain: its files are being read, or its source is yet to be looked at. */
static bool any_unread(const struct sim *s)
{
    if (s->m->sight_awaited)
        return true;
    for (const struct track *t = s->m->tracks; t; t = t->hh.next)
        for (int p = 0; p < PLATFORM_COUNT && !t->stopped; p++)
            if (t->slots[p] && t->slots[p]->context && !t->slots[p]->context->known)
                return true;
    return false;
}

static bool is_woken(const struct track *t)
{
    return !t->dormant && t->awake == AWAKE_NEEDED;
}

/* Those that keep themselves in date, and what they are built on, however indirectly. */
static void add_kept(const struct sim *s, strvec *kept)
{
    for (const struct track *t = s->m->tracks; t; t = t->hh.next)
        if (!t->stopped && !is_woken(t))
            strvec_add(kept, t->id);
    for (size_t before = 0; before != kept->n;) {
        before = kept->n;
        for (const struct track *t = s->m->tracks; t; t = t->hh.next)
            if (is_woken(t) && !strvec_has(kept, t->id) && has_dependents(s, t, false, kept))
                strvec_add(kept, t->id);
    }
}

static void rule08_awake_for_somebody(struct sim *s)
{
    bool any = false;
    for (const struct track *t = s->m->tracks; t; t = t->hh.next)
        any = any || is_woken(t);
    if (!any || any_unread(s))
        return;
    cleanup_strvec strvec kept = {0};
    add_kept(s, &kept);
    for (const struct track *t = s->m->tracks; t; t = t->hh.next)
        if (is_woken(t) && !strvec_has(&kept, t->id))
            sim_fail(s, __func__, "%s was woken for what is built on it, and nothing is", t->id);
}

static void rule08_needed_stay(struct sim *s, const char *id)
{
    if (has_dependents(s, track_find(s->m, id), true, NULL) || any_unread(s))
        sim_fail(s, __func__, "%s sleeps, and something may be built on it", id);
}

void check_woken(struct sim *s)
{
    VEC_FOREACH (&s->check->woken, id)
        inv10_dormant_stay(s, *id);
    strvec_done(&s->check->woken);
    VEC_FOREACH (&s->check->slept, id)
        rule08_needed_stay(s, *id);
    strvec_done(&s->check->slept);
    rule08_awake_for_somebody(s);
}

void inv10_dormant_build_nothing(struct sim *s, const struct change *build)
{
    const struct track *t = track_find(s->m, row_text(build, "track"));
    /* One that is awake until it is in date sleeps again in the turn that finds out that its output is what is published; and
     * one that nobody needs any more may have been planned before it is known, and gives up in the same turn. */
    const char *state = row_text(build, "state");
    if (t && t->dormant && !str_eq(state, "unchanged") && !str_eq(state, "superseded"))
        sim_fail(s, __func__, "%s is dormant, and is built", t->id);
}

/* ---- 10: held tracks ---- */

/* Whether it brings back what the track has published before. */
bool is_return(const struct model *m, const struct track *t, const struct publication *p)
{
    for (const struct publication *o = m->publications; o; o = o->hh.next)
        if (o->state == PUBLICATION_VERIFIED && o != p && str_eq(o->track_id, t->id) &&
            children_equal(&o->child, &p->child))
            return true;
    return false;
}

/* Whether an audit found the tag, or that of one of its architectures, to be something else. */
static bool found_moved(const struct model *m, const struct publication *p, const char *name)
{
    size_t n = strlen(name);
    for (const struct tag *tag = m->tags; tag; tag = tag->hh.next)
        if (tag->found && str_eq(tag->repository, p->repository) &&
            strncmp(tag->name, name, n) == 0 && (!tag->name[n] || tag->name[n] == '-'))
            return true;
    return false;
}

/* Every tag that it moves is the track's own, and only put back to where it was. */
static bool puts_back(struct sim *s, const struct track *t, const struct publication *p)
{
    VEC_FOREACH (&p->tags, it) {
        const struct publication_tag *pt = *it;
        const struct tag *tag = tag_find(s->m, p->repository, pt->tag);
        if (pt->index && (!tag || !str_eq(tag->track_id, t->id) || !found_moved(s->m, p, pt->tag) ||
                          !tag->shown || !children_equal(&tag->shown->child, &p->child)))
            return false;
    }
    return true;
}

/* The tags of other tracks that are held: nobody takes them. */
static void leaves_held_tags(struct sim *s, const struct track *t, const struct publication *p)
{
    VEC_FOREACH (&p->tags, it) {
        const struct tag *tag = tag_find(s->m, p->repository, (*it)->tag);
        const struct track *had = tag ? track_find(s->m, tag->track_id) : NULL;
        if (!(*it)->index || !had || had == t || !had->image || had->retired ||
            !frozen_or_held(s, had))
            continue;
        VEC_FOREACH (&had->claims, n)
            if (str_eq((*n)->tag, tag->name) && str_eq((*n)->repository, tag->repository))
                sim_fail(s, "inv10_held_tags_stay", "%s is held, and %s takes its tag %s", had->id,
                         t->id, tag->name);
    }
}

/* What it publishes in the pass in which it falls asleep goes on; its own row may come before that or after it. */
static bool slept_before(struct sim *s, const struct track *t)
{
    const struct change *row = store_sim_find(&s->store, true, TABLE_TRACK, t->id, 0);
    return t->dormant && row && row_int(row, "dormant") && !strvec_has(&s->check->slept, t->id);
}

void inv10_held_tags_stay(struct sim *s, const struct track *t, const struct publication *p)
{
    const struct publication *pinned = t->pinned ? publication_find(s->m, t->pinned) : NULL;
    bool here = pinned && str_eq(pinned->repository, p->repository); /* says nothing of another's */
    bool pin = here && children_equal(&pinned->child, &p->child);
    bool promoted = t->promoted && t->promoted == p->build;
    if (frozen_or_held(s, t) && !pin && !promoted && !puts_back(s, t, p))
        sim_fail(s, __func__, "%s is held, and is published", t->id);
    if (here && !pin)
        sim_fail(s, __func__, "%s is pinned, and is published", t->id);
    if ((slept_before(s, t) || t->retired) && !is_return(s->m, t, p))
        sim_fail(s, __func__, "%s is not kept in date, and is published", t->id);
    leaves_held_tags(s, t, p);
}

static bool claims(const struct track *t, const char *repository, const char *tag)
{
    VEC_FOREACH (&t->claims, n)
        if (str_eq((*n)->tag, tag) && str_eq((*n)->repository, repository))
            return true;
    return false;
}

/* Another track that has the tag, claims it, and has published here: NULL: none. */
static const struct track *incumbent(struct sim *s, const struct publication *p, const char *name)
{
    const struct tag *tag = tag_find(s->m, p->repository, name);
    const struct track *had = tag ? track_find(s->m, tag->track_id) : NULL;
    return had && !str_eq(had->id, p->track_id) && had->image && !had->retired && had->last &&
                   str_eq(had->last->repository, p->repository) && claims(had, p->repository, name)
               ? had
               : NULL;
}

/* Who puts TAG, and with it this name for one platform: another cannot begin to put it by its own template. */
static const struct track *has_with_whole(struct sim *s, const struct publication *p,
                                          const char *name)
{
    enum platform platform;
    size_t n;
    if (!tag_of_platform(name, &platform, &n))
        return NULL;
    cleanup_free char *whole = xstrndup(name, n);
    const struct tag *tag = tag_find(s->m, p->repository, name);
    const struct track *had = incumbent(s, p, whole);
    const struct slot *slot = had ? had->slots[platform] : NULL;
    bool its = tag && str_eq(tag->track_id, p->track_id);
    return !its && slot && !slot->retired && publication_child(had->last, platform) ? had : NULL;
}

/* A tag of one platform is whose it was: by its name, or with the tag that it is put with. */
void rule03_parts_are_the_incumbents(struct sim *s, const struct track *t,
                                     const struct publication *p)
{
    if (t->promoted && t->promoted == p->build)
        return; /* a person gave it to this one */
    VEC_FOREACH (&p->tags, it) {
        const char *name = (*it)->tag;
        const struct track *had = (*it)->index ? has_with_whole(s, p, name) : incumbent(s, p, name);
        if (had)
            sim_fail(s, __func__, "%s takes %s, which is %s's", t->id, name, had->id);
    }
}

/* A tag becomes another track's: not where who had it is held, but by `promote`. */
void inv10_held_owners_stay(struct sim *s, const struct change *old, const struct change *now)
{
    const struct track *had = track_find(s->m, row_text(old, "track"));
    if (!had || str_eq(row_text(now, "track"), had->id) || !frozen_or_held(s, had) ||
        row_int(now, "publication") != row_int(old, "publication"))
        return;
    if (had->image && !had->retired && !strvec_has(&s->check->asked_tracks, row_text(now, "track")))
        sim_fail(s, __func__, "%s is held, and its tag %s becomes one of %s", had->id,
                 row_text(now, "name"), row_text(now, "track"));
}
