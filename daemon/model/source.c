/* Upstreams: what a sighting of refs means (design rules 8 and 9).
 *
 *     happy path     a ref is new, or moves to a descendant: it counts at once
 *     failure modes  a ref is gone, or moves to what is no descendant: it counts at the second sighting in a
 *                    row (a lagging mirror imitates both), for which what follows the first will do;
 *                    no refs where there were some is an error */
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"
#include "daemon/model/tagging.h"

/* Refs among which a commit is looked for at most. */
#define COMMIT_REFS_MAX 1000

static struct source *find_source(const struct model *m, const char *url)
{
    struct source *s = NULL;
    HASH_FIND_STR(m->sources, url, s);
    return s;
}

struct source *source_get(struct model *m, const char *url)
{
    struct source *s = find_source(m, url);
    if (s)
        return s;
    s = xnew(struct source);
    s->row.table = TABLE_SOURCE;
    s->url = xstrdup(url);
    HASH_ADD_KEYPTR(hh, m->sources, s->url, strlen(s->url), s);
    model_touch(m, s);
    return s;
}

static struct ref *find_ref(const struct source *s, const char *name)
{
    struct ref *r = NULL;
    HASH_FIND_STR(s->refs, name, r);
    return r;
}

struct ref *source_ref(const struct model *m, const char *source, const char *name)
{
    const struct source *s = find_source(m, source);
    return s ? find_ref(s, name) : NULL;
}

static bool had_refs(const struct source *s)
{
    for (const struct ref *r = s->refs; r; r = r->hh.next)
        if (!r->deleted)
            return true;
    return false;
}

const char *model_ref_commit(const struct model *m, const char *source, const char *ref)
{
    const struct ref *r = source_ref(m, source, ref);
    return r ? r->commit : NULL;
}

const char *model_ref_pending(const struct model *m, const char *source, const char *ref)
{
    const struct ref *r = source_ref(m, source, ref);
    return r ? r->pending_commit : NULL;
}

void model_source_patterns(const struct model *m, const char *source, strvec *patterns)
{
    VEC_FOREACH (&m->farm->images, image)
        if (str_eq(image->source, source) && !strvec_has(patterns, image->ref))
            strvec_add(patterns, image->ref);
}

bool model_commit_is_current(const struct model *m, const char *source, const char *commit)
{
    const struct source *s = find_source(m, source);
    for (const struct ref *r = s ? s->refs : NULL; r; r = r->hh.next)
        if (!r->deleted && str_eq(r->commit, commit))
            return true;
    return false;
}

void model_commit_refs(const struct model *m, const char *source, const char *commit, strvec *refs)
{
    const struct source *s = find_source(m, source);
    for (const struct ref *r = s ? s->refs : NULL; r; r = r->hh.next)
        if (!r->deleted && str_eq(r->commit, commit))
            strvec_add(refs, r->name);
    if (refs->n)
        return;
    for (const struct ref *r = s ? s->refs : NULL; r; r = r->hh.next)
        if (!r->deleted && refs->n < COMMIT_REFS_MAX)
            strvec_add(refs, r->name);
}

void model_source_seen(const struct model *m, const char *source, uint64_t *ret_sighting,
                       bool *ret_had_refs)
{
    const struct source *s = find_source(m, source);
    *ret_sighting = s ? (uint64_t)s->sighting : 0;
    *ret_had_refs = s && had_refs(s);
}

/* Everything that follows the ref looks again; a dormant track wakes when its ref moves. */
static void ref_changed(struct model *m, const struct ref *r, bool moved)
{
    VEC_FOREACH (&r->tracks, it) {
        struct track *t = *it;
        if (t->deleted != r->deleted) {
            t->deleted = r->deleted;
            model_touch(m, t);
            track_tell_dependents(m, t); /* who waits for its tags may wake it, dormant as it is */
        }
        if (moved)
            track_wake(m, t, AWAKE_ONCE);
        model_plan_later(m, t);
    }
}

static void ref_move(struct model *m, struct ref *r, const char *commit)
{
    str_replace(&r->commit, commit);
    str_replace(&r->pending_commit, NULL);
    ref_changed(m, r, true);
}

static struct ref *ref_new(struct model *m, struct source *s, const struct seen_ref *seen)
{
    struct ref *r = xnew(struct ref);
    r->row.table = TABLE_REF;
    r->source = xstrdup(s->url);
    r->name = xstrdup(seen->name);
    r->commit = xstrdup(seen->commit);
    HASH_ADD_KEYPTR(hh, s->refs, r->name, strlen(r->name), r);
    model_touch(m, r);
    return r;
}

/* Whether the last sighting saw the ref there too, or at a commit that this one was pushed onto. */
static bool seen_before(const struct ref *r, const struct seen_ref *seen)
{
    return r->pending_commit && (seen->follows || str_eq(r->pending_commit, seen->commit));
}

/* One that was gone is there again. Elsewhere than it was it is so at the second sighting, like any other that moves: until
 * then what it was is gone, and not to be built. Returns whether it counts. */
static bool ref_back(struct model *m, struct ref *r, const struct seen_ref *seen)
{
    bool moved = !str_eq(r->commit, seen->commit);
    model_touch(m, r);
    if (moved && !seen->descends && !seen_before(r, seen)) {
        str_replace(&r->pending_commit, seen->commit);
        return false;
    }
    r->missing = 0;
    r->deleted = false;
    str_replace(&r->commit, seen->commit);
    str_replace(&r->pending_commit, NULL);
    ref_changed(m, r, moved);
    return true;
}

/* One ref that is there. Returns whether it is new, or there again: an image that came meanwhile has no track for it. */
static bool ref_seen(struct model *m, struct source *s, const struct seen_ref *seen)
{
    struct ref *r = find_ref(s, seen->name);
    if (!r) {
        ref_new(m, s, seen);
        return true;
    }
    if (r->deleted)
        return ref_back(m, r, seen);
    if (r->missing)
        model_touch(m, r);
    r->missing = 0;
    if (str_eq(r->commit, seen->commit)) {
        if (r->pending_commit) {
            str_replace(&r->pending_commit, NULL);
            model_touch(m, r);
        }
        return false;
    }
    model_touch(m, r);
    if (seen->descends || seen_before(r, seen))
        ref_move(m, r, seen->commit);
    else
        str_replace(&r->pending_commit, seen->commit);
    return false;
}

/* Where it was seen before was not twice in a row. */
static void ref_missed(struct model *m, struct ref *r)
{
    str_replace(&r->pending_commit, NULL);
    model_touch(m, r);
    if (r->deleted)
        return;
    r->missing++;
    if (r->missing < 2)
        return;
    r->deleted = true;
    ref_changed(m, r, false);
}

bool source_ref_is_listed(const struct model *m, const struct ref *r)
{
    VEC_FOREACH (&m->farm->images, image)
        if (str_eq(image->source, r->source) && ref_match(image->ref, r->name, NULL, NULL))
            return true;
    return false;
}

char *source_ref_awaits(const struct model *m, const struct ref *r, int64_t *ret_look)
{
    const struct source *s = find_source(m, r->source);
    if (!s || (!r->pending_commit && (r->deleted || !r->missing)))
        return NULL;
    *ret_look = s->sighting;
    if (!r->pending_commit)
        return xasprintf("look %lld did not find %s: it counts as gone if the next look does not "
                         "find it either",
                         (long long)s->sighting, r->name);
    return xasprintf(
        "look %lld found %s at %.12s, which is not pushed onto %.12s%s: it counts if the "
        "next look finds it there too, or at a commit pushed onto that",
        (long long)s->sighting, r->name, r->pending_commit, r->commit,
        r->deleted ? ", where it was before it was gone" : "");
}

/* Whether anything is gone if a listing is empty. */
static bool had_listed(const struct model *m, const struct source *s)
{
    for (const struct ref *r = s->refs; r; r = r->hh.next)
        if (!r->deleted && source_ref_is_listed(m, r))
            return true;
    return false;
}

/* Names of what was seen, for telling what was not. */
struct seen_name {
    const char *name;
    UT_hash_handle hh;
};

static void mark_missing(struct model *m, struct source *s, const struct seen_ref *refs, size_t n)
{
    struct seen_name *names = NULL, *items = xcalloc(n, sizeof(*items)), *found;
    for (size_t i = 0; i < n; i++) {
        items[i].name = refs[i].name;
        HASH_ADD_KEYPTR(hh, names, items[i].name, strlen(items[i].name), &items[i]);
    }
    struct ref *r, *next;
    HASH_ITER(hh, s->refs, r, next)
    {
        HASH_FIND_STR(names, r->name, found);
        if (!found && (!r->deleted || r->pending_commit) && source_ref_is_listed(m, r))
            ref_missed(m, r);
    }
    HASH_CLEAR(hh, names);
    free(items);
}

bool model_source_unseen(const struct model *m, const char *source)
{
    VEC_FOREACH (&m->farm->images, image) {
        if (str_eq(image->source, source) && track_image_unseen(m, image))
            return true;
    }
    return false;
}

void model_on_refs(struct model *m, const char *source, const struct seen_ref *refs, size_t n)
{
    struct source *s = source_get(m, source);
    if (n == 0 && had_listed(m, s)) {
        model_on_source_failed(m, source,
                               "the repository has no refs that match, where it had some");
        return;
    }
    s->sighting++;
    s->polled_at = m->wall;
    s->failures = 0;
    str_replace(&s->error, NULL);
    model_touch(m, s);
    bool discover = n > 0 && model_source_unseen(m, source);
    for (size_t i = 0; i < n; i++)
        if (ref_seen(m, s, &refs[i]))
            discover = true;
    mark_missing(m, s, refs, n);
    if (discover)
        track_discover(m, s, true);
    track_source_looked_at(m, s);
}

void model_on_source_failed(struct model *m, const char *source, const char *error)
{
    struct source *s = source_get(m, source);
    s->failures++;
    s->polled_at = m->wall;
    str_replace(&s->error, error);
    model_touch(m, s);
    track_source_looked_at(m, s);
}
