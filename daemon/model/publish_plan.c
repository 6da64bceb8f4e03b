/* Tags wanted: for each tag that a track owns, the index that it should point to, against the one that it points
 * to. Equal output decides that nothing ripples; it never decides that a tag need not move. */
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

/* Equal output is an equal content digest: then the old manifest is kept, unless the packing changed. */
static void add_child(childvec *to, const struct track *t, const struct build_job *bj)
{
    const struct job *j = bj->job;
    const struct child *old = t->last ? publication_child(t->last, bj->platform) : NULL;
    const char *packing = key_packing(t->image);
    if (old && str_eq(old->content, j->content_digest) && str_eq(old->packing, packing)) {
        copy_child(to, old);
        return;
    }
    struct child c = {.platform = bj->platform,
                      .digest = j->manifest_digest,
                      .media_type = j->manifest_media_type,
                      .content = j->content_digest,
                      .key = j->key,
                      .packing = (char *)(uintptr_t)packing,
                      .size = j->manifest_size};
    copy_child(to, &c);
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

/* ---- the tags owned ---- */

static bool claim_shared(const struct track *t, const struct tag_node *n)
{
    for (size_t i = 0; i < t->claims.n; i++)
        if (t->claims.items[i] == n)
            return t->shared.items[i];
    return false;
}

/* Whether `rival` may own a tag: only with a publication that is complete. */
static bool in_the_race(const struct track *rival)
{
    return rival->last && rival->image;
}

/* Rule 3: the owner of a tag that several tracks can claim. Whether it is `t`, whose publication completes now;
 * `conflict` receives the track that claims exactly the same. */
static bool owns(const struct track *t, const struct tag_node *n, const struct track **conflict)
{
    struct tag_claimant mine = {.shared = claim_shared(t, n), .version = &t->parsed_version};
    VEC_FOREACH (&n->claimants, it) {
        const struct track *rival = *it;
        if (rival == t || !in_the_race(rival))
            continue;
        struct tag_claimant theirs = {.shared = claim_shared(rival, n),
                                      .version = &rival->parsed_version};
        int order = tag_owner_cmp(&mine, &theirs);
        if (order > 0)
            continue;
        bool incumbent = n->current && str_eq(n->current->track_id, t->id);
        if (order == 0 && incumbent)
            continue;
        if (order == 0)
            *conflict = rival;
        return false;
    }
    return true;
}

/* The tags that have to move so that each names `children`; returns how many are owned at all. */
static size_t tags_to_move(const struct track *t, const childvec *children, strvec *move,
                           const struct tag_node **conflicted, const struct track **conflict)
{
    size_t owned = 0;
    VEC_FOREACH (&t->claims, it) {
        struct tag_node *n = *it;
        const struct track *rival = NULL;
        if (!owns(t, n, &rival)) {
            if (rival) {
                *conflicted = n;
                *conflict = rival;
            }
            continue;
        }
        owned++;
        const struct publication *p = n->current ? n->current->shown : NULL;
        if (!p || !children_equal(&p->child, children) || !str_eq(n->current->digest, p->digest))
            strvec_add(move, n->tag);
    }
    return owned;
}

/* ---- what to do about it ---- */

static bool held(struct model *m, const struct track *t, const char **why)
{
    if (t->held)
        *why = t->hold_reason ? t->hold_reason : "held";
    else if (t->image->hold)
        *why = "farm.yaml holds the image";
    else if (m->farm->freeze)
        *why = "farm.yaml freezes the farm";
    else
        return false;
    return true;
}

static void nothing_to_move(struct model *m, struct track *t)
{
    if (build_active(t->current)) {
        bool published = t->current->publication != 0;
        build_end(m, t->current, published ? BUILD_PUBLISHED : BUILD_UNCHANGED,
                  published ? REASON_PUBLISHED : REASON_UNCHANGED, "%s",
                  published ? "" : "the output is what is published already");
        t->superseded = 0;
        model_touch(m, t);
    }
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
    return true;
}

static void show_publishing(struct model *m, struct track *t, const struct publication *p)
{
    if (p->failures)
        track_state_set(m, t, TRACK_PUBLISHING, REASON_REGISTRY_AWAY, "%s", p->error);
    else
        track_state_set(m, t, TRACK_PUBLISHING, REASON_PUBLISHING, "generation %lld",
                        (long long)p->generation);
}

static void publish(struct model *m, struct track *t, childvec *children, const strvec *move)
{
    struct repository *r = model_repository(m, t->image->repository);
    struct publication *running = r->running;
    if (r->stopped) {
        track_state_set(m, t, TRACK_BLOCKED, REASON_REPOSITORY_STOPPED, "%s", r->stopped);
        return;
    }
    if (running && running_is_wanted(running, t, children, move)) {
        show_publishing(m, t, running);
        return;
    }
    if (running && str_eq(running->track_id, t->id) && running->state < PUBLICATION_TAGS) {
        publication_abandon(m, running, "superseded before its first tag");
        running = NULL;
    }
    if (running) {
        track_state_set(m, t, TRACK_PUBLISHING, REASON_REPOSITORY_BUSY,
                        "after generation %lld of %s", (long long)running->generation, r->name);
        return;
    }
    struct publication *p = publication_make(m, t, children, move);
    if (build_active(t->current)) {
        if (t->current->state != BUILD_PUBLISHING)
            build_move(m, t->current, BUILD_PUBLISHING);
        t->current->publication = p->id;
        model_touch(m, t->current);
    }
    show_publishing(m, t, p);
}

void plan_publish(struct model *m, struct track *t)
{
    childvec children = {0};
    cleanup_strvec strvec move = {0};
    const struct track *rival = NULL;
    const struct tag_node *conflicted = NULL;
    const char *why = NULL;
    children_wanted(m, t, &children);
    size_t owned = tags_to_move(t, &children, &move, &conflicted, &rival);
    if (!owned && rival)
        track_state_set(m, t, TRACK_CONFLICT, REASON_TAG_CONFLICT, "%s is claimed by %s too",
                        conflicted->name, rival->id);
    else if (!move.n)
        nothing_to_move(m, t);
    else if (held(m, t, &why)) {
        if (build_active(t->current) && t->current->state != BUILD_HELD)
            build_move(m, t->current, BUILD_HELD);
        track_state_set(m, t, TRACK_HELD, REASON_HELD, "%s", why);
    } else {
        publish(m, t, &children, &move);
    }
    children_done(&children);
}
