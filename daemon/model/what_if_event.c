/* What if: the events. */
#include "common/digest.h"
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"
#include "daemon/model/what_if_int.h"

/* ---- a push ---- */

static bool kept_in_date(const struct track *t)
{
    return t->image && !t->dormant && !t->retired && !t->deleted && !t->out_of_bounds;
}

/* Whether something that is kept in date follows the ref; of that image, unless it is NULL. */
static bool followed(const struct ref *r, const struct farm_image *image)
{
    VEC_FOREACH (&r->tracks, t)
        if (kept_in_date(*t) && (!image || (*t)->image == image))
            return true;
    return false;
}

/* Whether the ref is the one that is meant. */
static bool named(const char *ref, const char *name)
{
    if (str_eq(ref, name))
        return true;
    return (str_starts(ref, "refs/heads/") && str_eq(ref + strlen("refs/heads/"), name)) ||
           (str_starts(ref, "refs/tags/") && str_eq(ref + strlen("refs/tags/"), name));
}

/* Where the ref goes. */
static const char *moves_to(struct what_if *w, const char *ref, const char *was)
{
    char digest[DIGEST_SIZE];
    cleanup_free char *text = xasprintf("what if %s", ref);
    digest_of(text, strlen(text), digest);
    struct what_commit c = {.ref = xstrdup(ref), .was = xstrdup(was), .real = w->q.commit};
    c.commit = c.real ? xstrdup(w->q.commit) : xstrndup(digest + strlen("sha256:"), 40);
    vec_push(&w->commits, c);
    strvec_add(&w->refs, ref);
    return c.commit;
}

/* A push to an image changes its contexts alone. */
static void paths_of(struct model *m, struct what_if *w, const struct farm_image *image)
{
    if (!image || w->q.paths.n)
        return;
    for (const struct track *t = m->tracks; t; t = t->hh.next)
        for (int p = 0; p < PLATFORM_COUNT; p++) {
            const struct slot *s = t->image == image ? t->slots[p] : NULL;
            if (s && s->context && !strvec_has(&w->q.paths, s->context->path))
                strvec_add(&w->q.paths, s->context->path);
        }
}

static void note_error(struct what_if *w, const struct source *s)
{
    if (s->error)
        what_if_note(
            w, "the last look at %s failed (%s): its refs are taken to be those that are known",
            s->url, s->error);
}

static void push(struct sim *sim, struct what_if *w)
{
    const struct farm_image *image;
    struct source *s = what_if_source(sim->m, w->q.source, &image);
    VEC(struct seen_ref) seen = {0};
    bool found = false;
    paths_of(sim->m, w, image);
    note_error(w, s);
    for (const struct ref *r = s->refs; r; r = r->hh.next) {
        if (r->deleted)
            continue;
        bool moves = w->q.ref ? named(r->name, w->q.ref) : followed(r, image);
        found = found || moves;
        vec_push(&seen, (struct seen_ref){
                            r->name, moves ? moves_to(w, r->name, r->commit) : r->commit, true});
    }
    if (!found && w->q.ref)
        vec_push(&seen, (struct seen_ref){w->q.ref, moves_to(w, w->q.ref, NULL), true});
    else if (!found)
        what_if_note(w, "nothing that is kept in date follows a ref of %s", s->url);
    cleanup_free char *url = xstrdup(s->url);
    model_on_refs(sim->m, url, seen.items, seen.n);
    vec_free(&seen);
}

/* ---- a base ---- */

/* One of ours has new content when it is built again. */
static void base_of_ours(struct sim *sim, const struct tag_node *n)
{
    struct err err = ERR_INIT;
    what_if_note(sim->w, "%s is %s's: it is built again, as if its content were new", n->name,
                 n->current->track_id);
    if (model_on_rebuild(sim->m, n->current->track_id, NULL, false, &err) < 0)
        what_if_note(sim->w, "%s", err.text);
}

static void base_moves(struct sim *sim, struct what_if *w)
{
    const struct tag_node *ours = what_if_ours(sim->m, w->q.reference);
    if (ours) {
        base_of_ours(sim, ours);
        return;
    }
    struct base *b = base_find(sim->m, w->q.reference);
    char digest[PLATFORM_COUNT][DIGEST_SIZE], whole[DIGEST_SIZE];
    struct base_child children[PLATFORM_COUNT];
    size_t n = 0;
    digest_of(b->reference, strlen(b->reference), whole);
    for (int p = 0; p < PLATFORM_COUNT; p++) {
        if (!b->child[p])
            continue;
        cleanup_free char *text = xasprintf("%s %d", b->reference, p);
        digest_of(text, strlen(text), digest[n]);
        children[n] = (struct base_child){(enum platform)p, digest[n]};
        n++;
    }
    if (!n)
        what_if_note(w, "%s has not been looked up yet", b->reference);
    model_on_base(sim->m, w->q.reference, whole, children, n, false);
}

/* ---- another farm.yaml ---- */

/* The next poll sees what it saw before, and with that an image whose pattern is new. */
static void sight(struct sim *sim, const char *url)
{
    struct source *s = NULL;
    VEC(struct seen_ref) seen = {0};
    HASH_FIND_STR(sim->m->sources, url, s);
    for (const struct ref *r = s ? s->refs : NULL; r; r = r->hh.next)
        if (!r->deleted)
            vec_push(&seen, (struct seen_ref){r->name, r->commit, true});
    if (seen.n)
        note_error(sim->w, s);
    if (seen.n)
        model_on_refs(sim->m, url, seen.items, seen.n);
    else
        what_if_note(sim->w, "%s has not been read yet: what it has decides what is built", url);
    vec_free(&seen);
}

static bool has_track(struct model *m, const struct farm_image *image)
{
    VEC_FOREACH (&model_repository(m, image->repository)->tracks, t)
        if ((*t)->image == image)
            return true;
    return false;
}

/* An image whose pattern is new, or was not asked for any more, waits for the next poll. `before`: the patterns of its
 * source that are asked for now. */
static void sight_unseen(struct sim *sim, const struct farm_image *image, const strvec *before)
{
    struct model *m = sim->m;
    const struct source *s = what_if_source(m, image->name, &(const struct farm_image *){NULL});
    bool asked = strvec_has(before, image->ref);
    if (asked && !track_image_unseen(m, image))
        return;
    sight(sim, image->source);
    if (!s || !s->refs)
        return;
    if (!asked)
        what_if_note(sim->w,
                     "%s is not asked for %s now: of its refs only those count that are known",
                     image->source, image->ref);
    if (!farm_image(sim->w->farm, image->name) && !has_track(m, image))
        what_if_note(sim->w, "no ref of %s that is known fits %s", image->source, image->name);
}

static void config_changes(struct sim *sim, struct what_if *w)
{
    struct model *m = sim->m;
    strvec *before = xcalloc(w->q.farm->images.n + 1, sizeof(*before));
    for (size_t i = 0; i < w->q.farm->images.n; i++)
        model_source_patterns(m, w->q.farm->images.items[i].source, &before[i]);
    model_on_config(m, w->q.farm);
    for (size_t i = 0; i < m->farm->images.n; i++) {
        sight_unseen(sim, &m->farm->images.items[i], &before[i]);
        strvec_done(&before[i]);
    }
    free(before);
}

/* ---- a lost board ---- */

static void board_lost(struct sim *sim, struct what_if *w)
{
    struct board *b = board_find(sim->m, w->q.board);
    VEC_FOREACH (&b->leases, it) {
        struct attempt *a = *it;
        if (a->state == ATTEMPT_LOST)
            continue;
        if (a->job->live == a && job_under_way(a->job))
            strvec_add(&w->interrupted, a->job_key);
        a->due = sim->mono;
    }
    b->due = sim->mono;
    board_timer(sim->m);
}

void what_if_event(struct sim *s)
{
    struct what_if *w = s->w;
    sim_begin(s);
    switch (w->q.kind) {
    case WHAT_IF_PUSH:
        push(s, w);
        break;
    case WHAT_IF_BASE:
        base_moves(s, w);
        break;
    case WHAT_IF_CONFIG:
        config_changes(s, w);
        break;
    case WHAT_IF_BOARD:
        board_lost(s, w);
        break;
    }
    sim_end(s);
}
