/* Tags wanted: for each tag that a track owns, the index that it should point to, against the one that it points
 * to. Equal output decides that nothing ripples; it never decides that a tag need not move. */
#include "daemon/model/audit.h"
#include "daemon/model/hold.h"
#include "daemon/model/objects.h"
#include "daemon/model/owner.h"
#include "daemon/model/plan.h"

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

bool publish_pending(struct model *m, struct track *t)
{
    childvec children = {0};
    cleanup_strvec strvec move = {0};
    struct rivalry why = {0};
    children_wanted(m, t, &children);
    owner_to_move(m, t, &children, &move, &why);
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
        cleanup_free char *text = repository_stopped_text(r);
        track_state_set(m, t, TRACK_BLOCKED, REASON_REPOSITORY_STOPPED, "%s", text);
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
            !owner_is(m, t, *n, &why))
            continue;
        const struct track *had = track_find(m, tag->track_id);
        if (had && owner_keeps(had, t, *n))
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
    if (!running || hold_pinned(m, t))
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
    size_t owned = owner_to_move(m, t, &children, &move, &why);
    str_replace(&t->conflict, NULL);
    if (why.rival)
        t->conflict = xasprintf("%s is claimed by %s too", why.conflict->name, why.rival->id);
    if (!owned && (why.rival || why.holder)) {
        wait_for_person(m, t);
        if (!hold_pinned(m, t) && publish_running(m, t) &&
            publish_running(m, t)->state < PUBLICATION_TAGS)
            running_goes_first(m, t);
    }
    if (!owned && why.rival)
        track_state_set(m, t, TRACK_CONFLICT, REASON_TAG_CONFLICT, "%s", t->conflict);
    else if (!owned && why.holder)
        track_state_set(m, t, TRACK_HELD, REASON_HELD, "tag %s stays with %s, which is held",
                        why.stays->tag, why.holder->id);
    else if (!move.n && running_goes_first(m, t))
        ;
    else if (!move.n && build_active(t->current) && !kept(m, t, &children))
        ; /* what the registry had lost is there again, under no tag that keeps it */
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
    return owner_has(t, n) || (n->current && !t->pinned && owner_is(m, t, n, &why));
}

/* Whether the registry has what it names, as far as is known. `error` of one that was given up says why it was. */
static bool is_whole(const struct publication *p)
{
    if (p->state == PUBLICATION_VERIFIED)
        return !p->error;
    VEC_FOREACH (&p->child, c)
        if (c->lost)
            return false;
    return true;
}

static bool to_put_back(const struct track *t, const struct tag_node *n)
{
    return owner_has(t, n) && n->current->put_back && n->current->shown &&
           is_whole(n->current->shown);
}

/* What tags of its that somebody moved named, which they are to name again whatever the build does. Where a publication ended
 * between two of them that is not the same for all: the oldest, then the others. NULL: there are none. */
static struct publication *broken_target(const struct track *t)
{
    struct publication *best = NULL;
    VEC_FOREACH (&t->claims, n)
        if (to_put_back(t, *n) && (!best || (*n)->current->shown->id < best->id))
            best = (*n)->current->shown;
    return best;
}

/* What the tags should name whatever is built: where that is for the plan to say. */
static struct publication *return_target(struct model *m, const struct track *t, bool *only_broken)
{
    if (!t->image || t->retired)
        return NULL;
    struct publication *pinned = hold_pinned(m, t);
    if (pinned)
        return pinned;
    if (!track_published(t))
        return NULL;
    if ((t->deleted || t->dormant || t->out_of_bounds) && !held(m, t))
        return t->last;
    *only_broken = true;
    if (t->state == TRACK_PUBLISHING || model_repository(m, t->image->repository)->stopped)
        return NULL; /* now; nor does it change what is said of the build */
    return broken_target(t);
}

bool plan_return(struct model *m, struct track *t)
{
    bool only_broken = false;
    struct publication *target = return_target(m, t, &only_broken);
    if (!target)
        return false;
    cleanup_strvec strvec move = {0};
    VEC_FOREACH (&t->claims, n)
        if (only_broken
                ? to_put_back(t, *n) && children_equal(&(*n)->current->shown->child, &target->child)
                : keeps(m, t, *n) && tag_differs(*n, &target->child))
            strvec_add(&move, (*n)->tag);
    if (!move.n)
        return false;
    if (!is_whole(target)) {
        track_state_set(m, t, TRACK_BLOCKED, REASON_CHILD_MISSING,
                        "publication %lld cannot be returned to: %s; choose another, or release",
                        (long long)target->id, target->error);
        return true;
    }
    childvec children = {0};
    VEC_FOREACH (&target->child, c)
        copy_child(&children, c);
    publish(m, t, only_broken ? t->last->build : target->build, &children, &move);
    children_done(&children);
    return true;
}
