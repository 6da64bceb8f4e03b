/* Retention (design section 8.4): registries collect untagged manifests, and some cannot delete a tag. So each track has
 * rings of retention tags, one for each platform's children and one for its indexes, whose places are moved, never
 * deleted.
 *
 *     happy path     a child's job succeeds -> a place is wanted for it -> EFFECT_RETAIN -> the registry keeps it, and
 *                    only then is it published; an index is PUT under its place before any other tag names it
 *     failure modes  the registry is away: again after a back-off, for ever;
 *                    the manifest is not there, a second time either: it is lost, and its job is wanted again;
 *                    a PUT whose outcome is not known, of this coordinator or of one that was killed: its place names
 *                    nothing else before it can land no more (`registry-timeout`)
 *
 * What is needed keeps its place: what a publication that the store has not pruned names, what the latest build has
 * made, and what a job that waits or runs is built on. A ring of the publications kept and one more is
 * enough, unless a pin, a tag that stayed behind or a job that waits needs an older one: then it grows by a place.
 *
 * A place is called _sheaf.<hash of the track>.<platform or index>.<number>; no tag of a user begins with _sheaf. */
#include "common/digest.h"
#include "common/json.h"
#include "daemon/model/objects.h"
#include "daemon/model/tagging.h"

#include <errno.h>
#include <inttypes.h>

#define AT_A_TIME  16 /* effects under way, of all repositories */
#define INDEX      PLATFORM_COUNT
#define INDEX_KIND "index"

/* ---- what jobs are built on ---- */

struct pinned {
    char *digest;
    int64_t jobs;
    UT_hash_handle hh;
};

static void pinned_count(struct model *m, const char *digest, int by)
{
    struct pinned *p = NULL;
    HASH_FIND_STR(m->pinned, digest, p);
    if (!p) {
        p = xnew(struct pinned);
        p->digest = xstrdup(digest);
        HASH_ADD_KEYPTR(hh, m->pinned, p->digest, strlen(p->digest), p);
    }
    p->jobs += by;
    if (p->jobs)
        return;
    HASH_DEL(m->pinned, p);
    free(p->digest);
    free(p);
}

static void count_pins(struct model *m, const struct job *j, int by)
{
    VEC_FOREACH (&j->pins, digest)
        pinned_count(m, *digest, by);
}

/* What the job needs of our registry: its bases, and the output that it may repeat. */
void retain_described(struct model *m, struct job *j, const struct wire_job *spec)
{
    if (j->pinning)
        count_pins(m, j, -1);
    strvec_done(&j->pins);
    VEC_FOREACH (&spec->bases, base)
        strvec_add(&j->pins, base->digest);
    if (spec->previous)
        strvec_add(&j->pins, spec->previous->manifest);
    j->pins_known = true;
    if (j->pinning)
        count_pins(m, j, 1);
}

/* The same from the spec's text: of all that it says only this is wanted, and a start reads many. */
static void read_pins(struct job *j)
{
    cleanup_json json_t *bases = json_member(j->spec, "bases");
    cleanup_json json_t *previous = json_member(j->spec, "previous");
    size_t i;
    json_t *base;
    json_array_foreach (bases, i, base)
        strvec_add(&j->pins, json_string_value(json_object_get(base, "digest")));
    const char *manifest = json_string_value(json_object_get(previous, "manifest"));
    if (manifest)
        strvec_add(&j->pins, manifest);
}

void retain_job(struct model *m, struct job *j, bool needed)
{
    if (needed == j->pinning)
        return;
    j->pinning = needed;
    if (needed && !j->pins_known)
        read_pins(j);
    count_pins(m, j, needed ? 1 : -1);
    j->pins_known = needed;
    if (!needed)
        strvec_done(&j->pins);
}

void retain_done(struct model *m)
{
    struct pinned *p, *next;
    HASH_ITER(hh, m->pinned, p, next)
    {
        HASH_DEL(m->pinned, p);
        free(p->digest);
        free(p);
    }
    vec_free(&m->unkept);
    vec_free(&m->unkept_later);
}

/* ---- places ---- */

static void add(struct model *m, struct retention *r)
{
    r->hash_key = xconcat(r->repository, ":", r->name, NULL);
    HASH_ADD_KEYPTR(hh, m->places, r->hash_key, strlen(r->hash_key), r);
}

int retain_load(struct model *m, struct retention *r)
{
    struct track *t = track_find(m, r->track);
    r->platform = INDEX;
    if (!t || (!str_eq(r->kind, INDEX_KIND) && platform_parse(r->kind, &r->platform, NULL) < 0))
        return -EINVAL;
    add(m, r);
    vec_push(&t->places, r);
    return 0;
}

static struct retention *find_place(const struct model *m, const char *repository, const char *name)
{
    cleanup_free char *key = xconcat(repository, ":", name, NULL);
    struct retention *r = NULL;
    HASH_FIND_STR(m->places, key, r);
    return r;
}

static bool is_index(const struct retention *r)
{
    return r->platform == INDEX;
}

static bool publication_names(const struct publication *p, const struct retention *r,
                              const char *digest)
{
    if (is_index(r))
        return str_eq(p->digest, digest);
    VEC_FOREACH (&p->child, c)
        if (str_eq(c->digest, digest))
            return true;
    return false;
}

bool publication_shown(const struct model *m, const struct publication *p)
{
    VEC_FOREACH (&p->tags, pt) {
        const struct tag *tag = tag_find(m, p->repository, (*pt)->tag);
        if (tag && tag->publication == p->id)
            return true;
    }
    return false;
}

static bool needs(const struct model *m, const struct track *t, const struct retention *r,
                  const char *digest)
{
    if (!digest)
        return false;
    struct pinned *pinned = NULL;
    HASH_FIND_STR(m->pinned, digest, pinned);
    if (pinned)
        return true;
    VEC_FOREACH (&t->published, p)
        if (((*p)->state != PUBLICATION_ABANDONED || publication_shown(m, *p)) &&
            publication_names(*p, r, digest))
            return true;
    if (t->current)
        VEC_FOREACH (&t->current->jobs, bj)
            if ((*bj)->job->state == JOB_SUCCEEDED && str_eq((*bj)->job->manifest_digest, digest))
                return true;
    return false;
}

static struct retention *make_place(struct model *m, struct track *t, enum platform p, int number)
{
    char hash[DIGEST_SIZE];
    const struct platform_info *info = p == INDEX ? NULL : platform_info(p);
    digest_of(t->id, strlen(t->id), hash);
    struct retention *r = xnew(struct retention);
    r->row.table = TABLE_RETENTION;
    r->repository = xstrdup(t->image->repository);
    r->name = xasprintf(TAG_RESERVED ".%.16s.%s.%d", hash + strlen("sha256:"),
                        info ? info->suffix : INDEX_KIND, number);
    r->track = xstrdup(t->id);
    r->kind = xstrdup(info ? info->name : INDEX_KIND);
    r->platform = p;
    add(m, r);
    vec_push(&t->places, r);
    return r;
}

/* A PUT may be on its way that nobody waits for. */
static void not_free_yet(const struct model *m, struct retention *r)
{
    r->free_at = m->mono + m->farm->registry_timeout_ms;
}

static bool is_free(const struct model *m, const struct track *t, const struct retention *r)
{
    return !r->asked && r->free_at <= m->mono && !needs(m, t, r, r->wanted) &&
           !needs(m, t, r, r->digest);
}

/* The place that names or is to name the digest; else one that nothing needs, else a new one. */
static struct retention *place_for(struct model *m, struct track *t, enum platform p,
                                   const char *digest)
{
    struct retention *unneeded = NULL;
    int n = 0;
    VEC_FOREACH (&t->places, it) {
        struct retention *r = *it;
        if (r->platform != p || !str_eq(r->repository, t->image->repository))
            continue;
        n++;
        if (str_eq(r->wanted, digest))
            return r;
        if (!unneeded && is_free(m, t, r))
            unneeded = r;
    }
    return unneeded ? unneeded : make_place(m, t, p, n);
}

/* ---- effects ---- */

static const struct publication *index_of(const struct model *m, const struct retention *r)
{
    const struct track *t = track_find(m, r->track);
    VEC_FOREACH (&t->published, p)
        if (str_eq((*p)->digest, r->wanted))
            return *p;
    return NULL;
}

/* A publication that runs PUTs its index itself. */
static bool publication_does(const struct model *m, const struct retention *r)
{
    const struct publication *p = is_index(r) ? index_of(m, r) : NULL;
    return p && p->state < PUBLICATION_INDEX;
}

static void ask(struct model *m, struct retention *r)
{
    const struct publication *p = is_index(r) ? index_of(m, r) : NULL;
    r->asked = true;
    m->retaining++;
    struct effect *e = model_effect(m, EFFECT_RETAIN);
    e->repository = xstrdup(r->repository);
    e->digest = xstrdup(r->wanted);
    vec_push(&e->tags, (struct effect_tag){xstrdup(r->name), xstrdup(r->wanted), p != NULL});
    if (!p)
        return;
    e->media_type = xstrdup(p->media_type);
    e->bytes = xstrdup(p->bytes);
}

static bool pending(const struct retention *r)
{
    return r->wanted && !str_eq(r->wanted, r->digest);
}

/* ---- the queue: what can be asked for now, the first first, and beside it what waits for its time or its registry ---- */

static void enqueue(struct model *m, struct retention *r)
{
    if (r->queued || !pending(r))
        return;
    r->queued = true;
    vec_push(&m->unkept, r);
}

static struct retention *dequeue(struct model *m)
{
    if (m->unkept_next == m->unkept.n) {
        m->unkept.n = m->unkept_next = 0;
        return NULL;
    }
    struct retention *r = m->unkept.items[m->unkept_next++];
    if (m->unkept_next > m->unkept.n / 2) { /* each is moved once, on the whole */
        m->unkept.n -= m->unkept_next;
        memmove(m->unkept.items, m->unkept.items + m->unkept_next,
                m->unkept.n * sizeof(*m->unkept.items));
        m->unkept_next = 0;
    }
    return r;
}

static bool may_ask(const struct model *m, const struct retention *r)
{
    return r->retry_due <= m->mono && model_knows_registry(m, r->repository);
}

/* Those whose time has come, and whose registry is known. */
static void take_due(struct model *m)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->unkept_later.n; i++) {
        struct retention *r = m->unkept_later.items[i];
        if (may_ask(m, r)) {
            vec_push(&m->unkept, r);
            continue;
        }
        m->unkept_later.items[kept++] = r;
        if (r->retry_due > m->mono)
            model_timer(m, r->retry_due);
    }
    m->unkept_later.n = kept;
}

/* One that is asked for is queued again when that is answered. */
static void ask_some(struct model *m)
{
    struct retention *r;
    while (m->retaining < AT_A_TIME && (r = dequeue(m))) {
        r->queued = false;
        if (!pending(r) || r->asked || publication_does(m, r))
            continue;
        if (may_ask(m, r)) {
            ask(m, r);
            continue;
        }
        r->queued = true;
        vec_push(&m->unkept_later, r);
        if (r->retry_due > m->mono)
            model_timer(m, r->retry_due);
    }
}

static void want(struct model *m, struct retention *r, const char *digest)
{
    bool other = !str_eq(r->wanted, digest);
    if (other) {
        str_replace(&r->wanted, digest);
        r->failures = r->retry_due = 0;
        r->missed = false;
        str_replace(&r->error, NULL);
        model_touch(m, r);
    }
    if (other && r->queued)
        take_due(m); /* what it waited for is over */
    enqueue(m, r);
    ask_some(m);
}

bool retain_child(struct model *m, struct track *t, enum platform p, const char *digest,
                  const char **ret_error)
{
    struct retention *r = place_for(m, t, p, digest);
    want(m, r, digest);
    *ret_error = r->error;
    return !pending(r);
}

void retain_index(struct model *m, struct track *t, const char *digest)
{
    want(m, place_for(m, t, INDEX, digest), digest);
}

/* The place of the publication's index; NULL: it was made by a release without places. */
static struct retention *index_place(const struct model *m, const struct publication *p)
{
    const struct track *t = track_find(m, p->track_id);
    VEC_FOREACH (&t->places, r)
        if (is_index(*r) && str_eq((*r)->wanted, p->digest) &&
            str_eq((*r)->repository, p->repository))
            return *r;
    return NULL;
}

const char *retain_index_begin(struct model *m, const struct publication *p)
{
    struct retention *r = index_place(m, p);
    if (!r)
        return NULL;
    r->asked = true;
    r->publication = p->id;
    return r->name;
}

/* The registry names what is wanted there: whatever failed before is forgotten. */
static void is_kept(struct model *m, struct retention *r)
{
    r->failures = 0;
    r->missed = false;
    if (!pending(r) && !r->error)
        return;
    str_replace(&r->digest, r->wanted);
    str_replace(&r->error, NULL);
    model_touch(m, r);
}

void retain_index_end(struct model *m, const struct publication *p, bool done, bool sent)
{
    const struct track *t = track_find(m, p->track_id);
    VEC_FOREACH (&t->places, it) {
        struct retention *r = *it;
        if (r->publication != p->id)
            continue;
        r->asked = false;
        r->publication = 0;
        if (!done && sent)
            not_free_yet(m, r);
        if (done && str_eq(r->wanted, p->digest))
            is_kept(m, r);
    }
}

void retain_index_drop(struct model *m, const struct publication *p)
{
    struct retention *r = index_place(m, p);
    const struct track *t = track_find(m, p->track_id);
    if (!r || !pending(r) || needs(m, t, r, r->wanted))
        return;
    if (r->asked)
        str_replace(&r->digest, NULL); /* its PUT may still land */
    str_replace(&r->wanted, NULL);
    model_touch(m, r);
}

void retain_lost(struct model *m, struct track *t, const char *digest)
{
    VEC_FOREACH (&t->places, it) {
        struct retention *r = *it;
        if (r->asked || !str_eq(r->digest, digest) || !t->image ||
            !str_eq(r->repository, t->image->repository))
            continue;
        str_replace(&r->digest, NULL);
        str_replace(&r->wanted, NULL);
        model_touch(m, r);
    }
}

void retain_audited(struct model *m, const char *repository, const char *name, const char *expected,
                    const char *found)
{
    struct retention *r = find_place(m, repository, name);
    if (!r || !str_eq(r->digest, expected) || str_eq(found, expected) || r->asked)
        return;
    str_replace(&r->digest, NULL);
    model_touch(m, r);
    if (r->wanted)
        want(m, r, r->wanted);
}

void retain_start(struct model *m)
{
    for (struct retention *r = m->places; r; r = r->hh.next) {
        if (!r->wanted || pending(r))
            not_free_yet(m, r);
        enqueue(m, r);
    }
    ask_some(m);
}

void retain_apply_farm(struct model *m)
{
    take_due(m);
    ask_some(m);
}

int retain_retry_now(struct model *m, const struct track *t)
{
    int n = 0;
    VEC_FOREACH (&t->places, it) {
        struct retention *r = *it;
        if (!pending(r) || r->asked || r->retry_due <= m->mono ||
            !str_eq(r->repository, t->image->repository))
            continue;
        r->retry_due = 0;
        n++;
    }
    take_due(m);
    ask_some(m);
    return n;
}

void retain_timer(struct model *m)
{
    take_due(m);
    ask_some(m);
}

/* ---- events ---- */

/* The effect is over. Returns the place if it still wants that digest. */
static struct retention *answered(struct model *m, const char *repository, const char *name,
                                  const char *digest)
{
    struct retention *r = find_place(m, repository, name);
    if (!r || !r->asked)
        return NULL;
    r->asked = false;
    m->retaining--;
    enqueue(m, r); /* unless this answer is what it wants */
    return str_eq(r->wanted, digest) ? r : NULL;
}

void model_on_retained(struct model *m, const char *repository, const char *name,
                       const char *digest)
{
    struct retention *r = answered(m, repository, name, digest);
    if (r) {
        is_kept(m, r);
        struct track *t = track_find(m, r->track);
        child_found(m, t, digest);
        model_plan_later(m, t);
    }
    ask_some(m);
}

void model_on_retain_failed(struct model *m, const char *repository, const char *name,
                            const char *digest, enum publish_failure failure, const char *error,
                            int64_t wait_ms)
{
    struct retention *r = answered(m, repository, name, digest);
    if (!r || !pending(r)) { /* a publication has put the index meanwhile */
        ask_some(m);
        return;
    }
    struct track *t = track_find(m, r->track);
    bool again = failure == PUBLISH_MISSING && !r->missed; /* it may not show it for a moment */
    r->missed = r->missed || again;
    if (failure == PUBLISH_MISSING && !again) {
        str_replace(&r->wanted, NULL);
        model_touch(m, r);
        child_lost(m, t, digest, error);
    } else {
        if (again)
            error = NULL;
        if (!str_eq(r->error, error)) {
            str_replace(&r->error, error);
            model_touch(m, r);
        }
        r->retry_due = m->mono + model_backoff_asked(++r->failures, wait_ms);
    }
    model_plan_later(m, t);
    ask_some(m);
}
