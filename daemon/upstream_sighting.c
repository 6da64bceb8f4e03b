/* Sightings: from a poll's listing to what the model is told.
 *
 *     happy path     listed -> (refs that moved: fetched, then asked whether each descends) -> model_on_refs
 *     failure modes  the poll or the fetch fails: model_on_source_failed; farm.yaml changed meanwhile: dropped, since
 *                    a listing by other patterns would make refs look deleted, or old tags new; another poll ends
 *                    meanwhile: it waits, and only the newest does */
#include "common/log.h"
#include "daemon/upstream_internal.h"

#include <errno.h>

/* Moved refs that are fetched at once, to be told whether they descend: a source that moves more of them is not
 * followed at once but at the second sighting. */
#define MOVED_MAX 1000

/* What git is asked of a moved ref, one after the other: whether it descends from what counts; if not, from where it
 * was seen last; if so, whether it is below what counts. */
enum question { DESCENDS, FOLLOWS, LAGS };

/* One ref of a listing. */
struct listed {
    char *name, *commit;
    bool moved, descends, follows;
    enum question next;
};

struct sighting {
    struct mirror *mr; /* held */
    struct err err;    /* why there is no listing; code 0: there is */
    VEC(struct listed) refs;
    strvec moved; /* names */
    size_t i;     /* the ref whose descent is being asked for */
    bool outdated;
    bool emptied; /* the mirror was made anew for it */
};

static void begin(struct sighting *s);

static void sighting_free(struct sighting *s)
{
    VEC_FOREACH (&s->refs, r) {
        free(r->name);
        free(r->commit);
    }
    vec_free(&s->refs);
    strvec_done(&s->moved);
    free(s);
}

/* Ends a sighting, and takes up the one that came meanwhile. */
static void end(struct sighting *s)
{
    struct mirror *mr = s->mr;
    mr->sighting = steal_ptr(mr->next);
    sighting_free(s);
    if (mr->sighting)
        begin(mr->sighting);
    mirror_release(mr);
}

/* Whether the model is still to be told. */
static bool counts(const struct sighting *s)
{
    return !s->mr->u->closing && s->mr->watched && !s->outdated;
}

static void fail(struct sighting *s, const struct err *err)
{
    struct mirror *mr = s->mr;
    if (counts(s)) {
        log_warning("source %s: %s", mr->url, err->text);
        model_on_source_failed(coordinator_turn(mr->u->c), mr->url, err->text);
    }
    end(s);
}

static void report(struct sighting *s)
{
    struct mirror *mr = s->mr;
    VEC(struct seen_ref) seen = {0};
    VEC_FOREACH (&s->refs, r)
        vec_push(&seen, (struct seen_ref){.name = r->name,
                                          .commit = r->commit,
                                          .descends = r->descends,
                                          .follows = r->follows});
    if (counts(s))
        model_on_refs(coordinator_turn(mr->u->c), mr->url, seen.items, seen.n);
    vec_free(&seen);
    end(s);
}

/* ---- descent ---- */

static void ask_descent(struct sighting *s);

/* Takes an answer; true: there is more to ask of this ref. */
static bool take_answer(struct listed *r, bool ancestor)
{
    switch (r->next++) {
    case DESCENDS:
        r->descends = ancestor;
        return !ancestor;
    case FOLLOWS:
        return ancestor;
    case LAGS:
        r->follows = !ancestor;
    }
    return false;
}

/* A commit that the mirror does not have, or cannot read, is taken for no ancestor: the move counts all the same,
 * one interval later. */
static void on_descent(const bool *ancestor, const struct err *err, void *userdata)
{
    err = git_failure(err);
    struct sighting *s = userdata;
    if (err && err->code != -ENOENT && err->code != -EIO) {
        fail(s, err);
        return;
    }
    if (!take_answer(&s->refs.items[s->i], !err && *ancestor))
        s->i++;
    ask_descent(s);
}

/* The next question about a ref, if there is one. */
static bool question(const struct sighting *s, const struct listed *r,
                     struct git_ancestor_args *ret)
{
    const struct mirror *mr = s->mr;
    const struct model *m = coordinator_model(mr->u->c);
    const char *counted = r->moved ? model_ref_commit(m, mr->url, r->name) : NULL;
    const char *pending = r->moved ? model_ref_pending(m, mr->url, r->name) : NULL;
    *ret = (struct git_ancestor_args){.mirror = mr->path, .old = counted, .new = r->commit};
    if (r->next == FOLLOWS)
        ret->old = pending;
    if (r->next == LAGS) {
        ret->old = r->commit;
        ret->new = counted;
    }
    return ret->old && ret->new;
}

static void ask_descent(struct sighting *s)
{
    struct git_ancestor_args args;
    for (; s->i < s->refs.n && counts(s); s->i++)
        if (question(s, &s->refs.items[s->i], &args)) {
            git_pool_ancestor(s->mr->u->pool, &args, on_descent, s);
            return;
        }
    report(s);
}

/* ---- fetching ---- */

static bool fetch(struct sighting *s);

static void on_fetched(const struct git_fetch_result *result, const struct err *err, void *userdata)
{
    err = git_failure(err);
    struct sighting *s = userdata;
    if (err && err->code == -EIO && counts(s) && !s->emptied && mirror_may_empty(s->mr)) {
        s->emptied = true;
        if (fetch(s))
            return;
    }
    if (err) {
        fail(s, err);
        return;
    }
    s->i = 0;
    ask_descent(s);
}

static bool fetch(struct sighting *s)
{
    struct mirror *mr = s->mr;
    return watch_fetch(mr->u->watch, mr->url, &s->moved, s->emptied, on_fetched, s) == 0;
}

/* The refs that the model knows elsewhere are fetched, so that their descent can be told. */
static void begin(struct sighting *s)
{
    struct mirror *mr = s->mr;
    if (s->err.code) {
        fail(s, &s->err);
        return;
    }
    VEC_FOREACH (&s->refs, r) {
        const char *known = model_ref_commit(coordinator_model(mr->u->c), mr->url, r->name);
        if (!known || str_eq(known, r->commit))
            continue;
        r->descends = false;
        r->moved = s->moved.n < MOVED_MAX;
        if (r->moved)
            strvec_add(&s->moved, r->name);
    }
    if (!s->moved.n || !counts(s) || !fetch(s))
        report(s);
}

/* ---- the public side ---- */

void upstream_seen(struct mirror *mr, const struct watch_seen *seen)
{
    struct sighting *s = xnew(struct sighting);
    s->mr = mr;
    s->err = *seen->err;
    const struct git_list_result *list = seen->list;
    for (size_t i = 0; list && i < list->refs.n; i++)
        vec_push(&s->refs, (struct listed){.name = xstrdup(list->refs.items[i].name),
                                           .commit = xstrdup(list->refs.items[i].peeled),
                                           .descends = true});
    if (mr->next) {
        sighting_free(mr->next); /* its hold is the new one's */
        mr->next = s;
        return;
    }
    mirror_hold(mr->u, mr->url);
    if (mr->sighting) {
        mr->next = s;
        return;
    }
    mr->sighting = s;
    begin(s);
}

bool upstream_sighting_outdated(struct mirror *mr)
{
    if (mr->sighting)
        mr->sighting->outdated = true;
    if (mr->next)
        mr->next->outdated = true;
    return mr->sighting;
}
