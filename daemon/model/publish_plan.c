/* Tags wanted: for each tag that a track owns, the index that it should point to, against the one that it points
 * to. Equal output decides that nothing ripples; it never decides that a tag need not move. */
#include "daemon/model/hold.h"
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"
#include "daemon/model/tagging.h"

/* ---- the children wanted ---- */

static void copy_child(childvec *to, const struct child *c)
{
    vec_push(to, (struct child){.platform = c->platform,
                                .digest = xstrdup(c->digest),
                                .media_type = xstrdup(c->media_type),
                                .content = xstrdup(c->content),
                                .key = xstrdup(c->key),
                                .packing = xstrdup(c->packing),
                                .size = c->size});
}

/* Equal output is an equal content digest: then the old manifest is kept, unless the packing changed. NULL: the new
 * one. */
static const struct child *same_output(const struct track *t, const struct build_job *bj)
{
    const struct child *old = track_published(t) ? publication_child(t->last, bj->platform) : NULL;
    bool same = old && !old->lost && str_eq(old->content, bj->job->content_digest) &&
                str_eq(old->packing, key_packing(t->image));
    return same ? old : NULL;
}

static void add_child(childvec *to, const struct track *t, const struct build_job *bj)
{
    const struct job *j = bj->job;
    const struct child *old = same_output(t, bj);
    struct child c = {.platform = bj->platform,
                      .digest = j->manifest_digest,
                      .media_type = j->manifest_media_type,
                      .content = j->content_digest,
                      .key = j->key,
                      .packing = (char *)(uintptr_t)key_packing(t->image),
                      .size = j->manifest_size};
    copy_child(to, old ? old : &c);
}

static const struct build_job *succeeded_job(const struct track *t, enum platform p)
{
    VEC_FOREACH (&t->current->jobs, bj)
        if ((*bj)->platform == p && (*bj)->job->state == JOB_SUCCEEDED)
            return *bj;
    return NULL;
}

/* In the stable order of an index: by platform, variants descending, as the platform table has them. */
static void children_wanted(struct model *m, struct track *t, childvec *to)
{
    for (int p = 0; p < PLATFORM_COUNT; p++) {
        struct slot *s = t->slots[p];
        if (!s)
            continue;
        const struct build_job *bj = succeeded_job(t, (enum platform)p);
        const struct child *kept = bj ? NULL : slot_kept_child(s);
        if (bj)
            add_child(to, t, bj);
        else if (kept)
            copy_child(to, kept);
        slot_behind(m, s, kept != NULL);
    }
}

void publish_keep(struct model *m, struct track *t)
{
    const char *error;
    VEC_FOREACH (&t->current->jobs, bj) {
        if ((*bj)->job->state != JOB_SUCCEEDED)
            continue;
        const struct child *old = same_output(t, *bj);
        retain_child(m, t, (*bj)->platform, old ? old->digest : (*bj)->job->manifest_digest,
                     &error);
    }
}

/* Whether the registry keeps all of them; says what is missing otherwise. */
static bool kept(struct model *m, struct track *t, const childvec *children)
{
    VEC_FOREACH (children, c) {
        const char *error;
        if (retain_child(m, t, c->platform, c->digest, &error))
            continue;
        const char *platform = platform_info(c->platform)->name;
        if (error)
            track_state_set(m, t, TRACK_PUBLISHING, REASON_REGISTRY_AWAY, "keeping %s: %s",
                            platform, error);
        else
            track_state_set(m, t, TRACK_PUBLISHING, REASON_RETAINING,
                            "the registry is told to keep %s", platform);
        return false;
    }
    return true;
}

/* ---- the tags owned ---- */

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

static bool incumbent(const struct track *t, const struct tag_node *n)
{
    return n->current && str_eq(n->current->track_id, t->id);
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

bool publish_part_taken(struct model *m, const struct track *t, const char *tag)
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
    if (!n->whole || incumbent(t, n))
        return NULL;
    VEC_FOREACH (&n->whole->claimants, it)
        if (*it != t && in_the_race(*it) && has_part(*it, n) &&
            (!best || strcmp((*it)->id, best->id) < 0))
            best = *it;
    return best;
}

/* Why a track that claims a tag does not own it. */
struct rivalry {
    const struct tag_node *conflict, *stays; /* NULL: no such tag */
    const struct track *rival;               /* claims exactly the same */
    const struct track *holder;              /* is held, and has it */
};

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

void publish_rank(struct track *t)
{
    VEC_FOREACH (&t->claims, n)
        if ((*n)->ranked && in_the_race(t))
            come_into_race(*n, t);
}

void publish_rank_anew(struct track *t)
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

/* Who has the tag, claims it and is held: it stays with that one, though `t` is higher. NULL: nobody. */
static const struct track *held_incumbent(struct model *m, const struct track *t,
                                          const struct tag_node *n)
{
    bool shared;
    const struct track *had = n->current ? track_find(m, n->current->track_id) : NULL;
    return had && had != t && in_the_race(had) && claims(had, n, &shared) && held(m, had) ? had
                                                                                          : NULL;
}

/* Rules 3 and 4: the owner of a tag that several tracks can claim. Whether it is `t`, whose publication completes now.
 * Nothing depends on the order of the claimants, the reason neither. */
static bool owns(struct model *m, const struct track *t, struct tag_node *n, struct rivalry *why)
{
    const struct track *equal = NULL, *holder = NULL;
    int all = against_all(t, n);
    if (all < 0)
        return false;
    if (all > 0)
        holder = held_incumbent(m, t, n);
    for (size_t i = 0; all == 0 && i < n->claimants.n; i++) {
        const struct track **it = (const struct track **)&n->claimants.items[i];
        const struct track *rival = *it;
        if (rival == t || !in_the_race(rival))
            continue;
        int order = rank(t, rival, n);
        if (order < 0)
            return false;
        if (order > 0 && incumbent(rival, n) && held(m, rival))
            holder = rival;
        else if (order == 0 && !incumbent(t, n) && (!equal || strcmp(rival->id, equal->id) < 0))
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

bool publish_contends(struct model *m, const struct track *owner, const struct track *t,
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

/* Whether the tag names something else than an index of these children. */
static bool differs(const struct tag_node *n, const childvec *children)
{
    const struct publication *p = n->current ? n->current->shown : NULL;
    return !p || n->current->put_back || !children_equal(&p->child, children) ||
           !str_eq(n->current->digest, p->digest);
}

/* The tags that have to move so that each names `children`; returns how many are owned at all. A track without a publication
 * of its own makes one even of what its tags name already, since it could own none of them without (rule 3). */
static size_t tags_to_move(struct model *m, const struct track *t, const childvec *children,
                           strvec *move, struct rivalry *why)
{
    size_t owned = 0;
    VEC_FOREACH (&t->claims, it) {
        struct tag_node *n = *it;
        if (!owns(m, t, n, why))
            continue;
        owned++;
        note_parts(m, t, n, why);
        if (!track_published(t) || differs(n, children) || parts_differ(m, t, n, children))
            strvec_add(move, n->tag);
    }
    return owned;
}

static bool concerned(const struct track *t, const struct track *rival, const struct tag_node *n)
{
    return rival->lost_tag || rival->conflict || incumbent(rival, n) ||
           rival->reason.code == REASON_HELD ||
           (n->ranked && n->versions ? version_cmp(&t->parsed_version, &rival->parsed_version) == 0
                                     : rank(t, rival, n) == 0);
}

static void plan_claimants(struct model *m, const struct tag_node *n)
{
    VEC_FOREACH (&n->claimants, c)
        model_plan_later(m, *c);
}

void publish_plan_rivals(struct model *m, const struct track *t)
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

bool publish_pending(struct model *m, struct track *t)
{
    childvec children = {0};
    cleanup_strvec strvec move = {0};
    struct rivalry why = {0};
    children_wanted(m, t, &children);
    tags_to_move(m, t, &children, &move, &why);
    children_done(&children);
    return move.n > 0;
}

/* ---- what to do about it ---- */

static void nothing_to_move(struct model *m, struct track *t, const struct rivalry *why)
{
    if (build_active(t->current)) {
        bool published = build_past_first_tag(m, t->current);
        build_end(m, t->current, published ? BUILD_PUBLISHED : BUILD_UNCHANGED,
                  published ? REASON_PUBLISHED : REASON_UNCHANGED, "%s",
                  published ? "" : "the output is what is published already");
        t->superseded = 0;
        model_touch(m, t);
    }
    if (hold_lets_through(t)) { /* what was promoted is published; its hold holds the next one */
        t->promoted = 0;
        model_touch(m, t);
    }
    if (why->stays)
        track_state_set(m, t, TRACK_PUBLISHED, REASON_HELD, "tag %s stays with %s, which is held",
                        why->stays->tag, why->holder->id);
    else
        track_state_set(m, t, TRACK_PUBLISHED, REASON_PUBLISHED, "%s", "");
}

/* The publication of this track that runs and is still what is wanted. */
static bool running_is_wanted(const struct publication *p, const struct track *t,
                              const childvec *children, const strvec *tags)
{
    if (!str_eq(p->track_id, t->id) || !children_equal(&p->child, children))
        return false;
    VEC_FOREACH (tags, tag) {
        bool found = false;
        VEC_FOREACH (&p->tags, pt)
            found = found || ((*pt)->index && str_eq((*pt)->tag, *tag));
        if (!found)
            return false;
    }
    size_t moves = 0; /* before the first tag, whatever it was to move is to be moved still */
    VEC_FOREACH (&p->tags, pt)
        moves += (*pt)->index;
    return p->state >= PUBLICATION_TAGS || moves == tags->n;
}

static void show_publishing(struct model *m, struct track *t, const struct publication *p)
{
    if (p->error)
        track_state_set(m, t, TRACK_PUBLISHING, REASON_REGISTRY_AWAY, "%s", p->error);
    else
        track_state_set(m, t, TRACK_PUBLISHING, REASON_PUBLISHING, "generation %lld",
                        (long long)p->generation);
}

const struct publication *publish_running(struct model *m, const struct track *t)
{
    const struct publication *p =
        t->image ? model_repository(m, t->image->repository)->running : NULL;
    return p && str_eq(p->track_id, t->id) ? p : NULL;
}

bool publish_stuck_behind(struct model *m, const struct track *t)
{
    const struct publication *p = model_repository(m, t->image->repository)->running;
    return t->reason.code == REASON_REPOSITORY_BUSY && p && p->error;
}

void plan_show_running(struct model *m, struct track *t)
{
    const struct publication *p = publish_running(m, t);
    if (p && t->state != TRACK_WAITING && t->state != TRACK_BUILDING)
        show_publishing(m, t, p);
}

void publish_apply_farm(struct model *m)
{
    for (struct repository *r = m->repositories; r; r = r->hh.next) {
        struct publication *p = r->running;
        const struct track *t = p ? track_find(m, p->track_id) : NULL;
        if (!p)
            continue;
        bool there = t && t->image && str_eq(t->image->repository, p->repository);
        if (!there && p->state < PUBLICATION_TAGS)
            publication_abandon(m, p, "farm.yaml does not publish its image here any more");
        else
            publication_go_on(m, p);
    }
}

/* ---- whose turn it is ---- */

/* While nothing of the repository runs, the first in its queue is to be planned: it begins, or leaves. */
static void leave_queue(struct model *m, struct track *t)
{
    struct repository *r = steal_ptr(t->turn_in);
    for (size_t i = 0; i < r->queue.n; i++)
        if (r->queue.items[i] == t) {
            vec_remove(&r->queue, i);
            break;
        }
    if (!r->running && r->queue.n)
        model_plan_later(m, r->queue.items[0]);
}

static void wait_for_turn(struct model *m, struct repository *r, struct track *t)
{
    if (t->turn_in && t->turn_in != r)
        leave_queue(m, t);
    if (!t->turn_in)
        vec_push(&r->queue, t);
    t->turn_in = r;
    track_state_set(m, t, TRACK_PUBLISHING, REASON_REPOSITORY_BUSY,
                    "another publication of %s goes first", r->name);
}

void publish_waits_no_more(struct model *m, struct track *t)
{
    if (t->turn_in && (t->state != TRACK_PUBLISHING || t->reason.code != REASON_REPOSITORY_BUSY))
        leave_queue(m, t);
}

/* What was built is published when a person says so: it waits as held. Newer inputs that it kept waiting, as what may
 * finish in spite of them, are built now. */
static void wait_for_person(struct model *m, struct track *t)
{
    if (!build_active(t->current) || t->current->state == BUILD_HELD)
        return;
    build_move(m, t->current, BUILD_HELD);
    model_plan_later(m, t);
}

static void publish(struct model *m, struct track *t, int64_t build, childvec *children,
                    const strvec *move)
{
    struct repository *r = model_repository(m, t->image->repository);
    struct publication *running = r->running;
    if (r->stopped) {
        if (t->current && t->current->id == build && !publish_running(m, t))
            wait_for_person(m, t);
        track_state_set(m, t, TRACK_BLOCKED, REASON_REPOSITORY_STOPPED, "%s", r->stopped);
        return;
    }
    if (running && running_is_wanted(running, t, children, move)) {
        show_publishing(m, t, running);
        return;
    }
    if (!kept(m, t, children))
        return;
    if (running && str_eq(running->track_id, t->id) && running->state < PUBLICATION_TAGS) {
        publication_abandon(m, running, "superseded before its first tag");
    } else if (running || (r->queue.n && r->queue.items[0] != t)) {
        wait_for_turn(m, r, t);
        return;
    }
    struct publication *p = publication_make(m, t, build, children, move);
    if (t->current && t->current->id == build && build_active(t->current)) {
        if (t->current->state != BUILD_PUBLISHING)
            build_move(m, t->current, BUILD_PUBLISHING);
        t->current->publication = p->id;
        model_touch(m, t->current);
    }
    show_publishing(m, t, p);
}

static void show_held(struct model *m, struct track *t)
{
    cleanup_hold struct hold hold = {0};
    hold_of(m, t, &hold);
    wait_for_person(m, t);
    track_state_set(m, t, TRACK_HELD, hold.code, "%s", hold.text);
}

/* Tags that name the right children already become the track's without moving, where it outranks who had them, or who
 * had them claims them no more. */
static void take_over(struct model *m, struct track *t, const strvec *move)
{
    if (!track_published(t) || held(m, t))
        return;
    VEC_FOREACH (&t->claims, n) {
        struct tag *tag = (*n)->current;
        struct rivalry why = {0};
        if (!tag || str_eq(tag->track_id, t->id) || strvec_has(move, (*n)->tag) ||
            !owns(m, t, *n, &why))
            continue;
        bool shared;
        const struct track *had = track_find(m, tag->track_id);
        if (had && had->image && !had->retired && claims(had, *n, &shared) && rank(t, had, *n) <= 0)
            continue;
        str_replace(&tag->track_id, t->id);
        model_touch(m, tag);
    }
}

/* All tags are where they should be, and a publication of the track runs: it is read back before the build counts as
 * published. One that has not begun with its tags, and is not what is wanted any more, is given up. */
static bool running_goes_first(struct model *m, struct track *t)
{
    const struct publication *running = publish_running(m, t);
    if (!running || t->pinned)
        return false;
    if (running->state < PUBLICATION_TAGS) {
        publication_abandon(m, model_repository(m, running->repository)->running,
                            "superseded before its first tag");
        return false;
    }
    show_publishing(m, t, running);
    return true;
}

/* A platform that only `retire` may drop, and that no index can have: says so. */
static bool lacks_platform(struct model *m, struct track *t)
{
    for (int p = 0; p < PLATFORM_COUNT; p++) {
        const struct slot *s = t->slots[p];
        if (!s || succeeded_job(t, (enum platform)p) || !slot_child_gone(s))
            continue;
        wait_for_person(m, t);
        track_state_set(m, t, TRACK_BLOCKED, REASON_CHILD_MISSING,
                        "%s: the registry lost its last child, and farm.yaml does not name it any "
                        "more: name it again, or drop it (sheafctl retire %s --platform %s)",
                        s->platform_name, t->id, s->platform_name);
        return true;
    }
    return false;
}

void plan_publish(struct model *m, struct track *t)
{
    childvec children = {0};
    cleanup_strvec strvec move = {0};
    struct rivalry why = {0};
    if (lacks_platform(m, t))
        return;
    children_wanted(m, t, &children);
    size_t owned = tags_to_move(m, t, &children, &move, &why);
    str_replace(&t->conflict, NULL);
    if (why.rival)
        t->conflict = xasprintf("%s is claimed by %s too", why.conflict->name, why.rival->id);
    if (!owned && (why.rival || why.holder)) {
        wait_for_person(m, t);
        if (!t->pinned && publish_running(m, t) && publish_running(m, t)->state < PUBLICATION_TAGS)
            running_goes_first(m, t);
    }
    if (!owned && why.rival)
        track_state_set(m, t, TRACK_CONFLICT, REASON_TAG_CONFLICT, "%s", t->conflict);
    else if (!owned && why.holder)
        track_state_set(m, t, TRACK_HELD, REASON_HELD, "tag %s stays with %s, which is held",
                        why.stays->tag, why.holder->id);
    else if (!move.n && running_goes_first(m, t))
        ;
    else if (!move.n)
        nothing_to_move(m, t, &why);
    else if (held(m, t) && !hold_lets_through(t))
        show_held(m, t);
    else
        publish(m, t, t->current->id, &children, &move);
    take_over(m, t, &move);
    children_done(&children);
}

/* ---- returning to an older publication ---- */

/* Whether the track may move the tag without a build. A pinned one moves its own and no other; one that has stopped
 * owns what it always would, but gets no tag that nobody had. */
static bool keeps(struct model *m, const struct track *t, struct tag_node *n)
{
    struct rivalry why = {0};
    return incumbent(t, n) || (n->current && !t->pinned && owns(m, t, n, &why));
}

/* Whether somebody moved a tag of its, which is to be put back whatever the build does. */
static bool to_put_back(const struct track *t)
{
    VEC_FOREACH (&t->claims, n)
        if (incumbent(t, *n) && (*n)->current->put_back)
            return true;
    return false;
}

/* What the tags should name whatever is built: where that is for the plan to say. */
static struct publication *return_target(struct model *m, const struct track *t, bool *only_broken)
{
    if (!t->image || t->retired)
        return NULL;
    if (t->pinned)
        return hold_pinned(m, t);
    if (!track_published(t))
        return NULL;
    if ((t->deleted || t->dormant || t->out_of_bounds) && !held(m, t))
        return t->last;
    bool broken = t->state != TRACK_PUBLISHING && to_put_back(t) && !t->last->error;
    *only_broken = true;
    return broken ? t->last : NULL;
}

bool plan_return(struct model *m, struct track *t)
{
    bool only_broken = false;
    struct publication *target = return_target(m, t, &only_broken);
    if (!target)
        return false;
    cleanup_strvec strvec move = {0};
    VEC_FOREACH (&t->claims, n)
        if (keeps(m, t, *n) && differs(*n, &target->child) &&
            (!only_broken || (*n)->current->put_back))
            strvec_add(&move, (*n)->tag);
    if (!move.n)
        return false;
    if (target->error) {
        track_state_set(m, t, TRACK_BLOCKED, REASON_CHILD_MISSING,
                        "publication %lld cannot be returned to: %s; choose another, or release",
                        (long long)target->id, target->error);
        return true;
    }
    childvec children = {0};
    VEC_FOREACH (&target->child, c)
        copy_child(&children, c);
    publish(m, t, target->build, &children, &move);
    children_done(&children);
    return true;
}
