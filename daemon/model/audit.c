/* The audit of owned tags: whether the registry's tags name what the store says, since somebody may move one by hand.
 *
 *     happy path     its time has come -> EFFECT_AUDIT (a HEAD of each tag) -> all as they should be -> again later
 *     failure modes  a tag names another publication of ours, or nothing: said so; put back where farm.yaml says
 *                    `enforce`, by a publication of what it should name (publish_plan.c);
 *                    a tag names what the store does not know: its repository stops, until a person says
 *                    `adopt` (what is there is taken for granted) or `restore` (ours is put back);
 *                    a retention tag was moved: it is wanted again;
 *                    the registry is away, or a publication ran or a person asked meanwhile: looked at again
 *
 * One repository at a time, some seconds after a start, at intervals, and on request. The store says what is true: an
 * audit changes nothing but what is said of a tag. */
#include "daemon/model/audit.h"

#include "daemon/model/known.h"
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"
#include "daemon/model/tagging.h"

#include <errno.h>

#define AFTER_START_MS 10000
#define AGAIN_MS       5000

static void set_flag(struct model *m, const char *what, const char *repository, const char *value)
{
    cleanup_free char *key = xasprintf("%s %s", what, repository);
    model_set_setting(m, key, value);
}

/* ---- when ---- */

static void set_due(struct model *m, struct repository *r, int64_t due)
{
    r->audit_due = due;
    if (!due || due >= m->audit_next)
        return;
    m->audit_next = due;
    model_timer(m, due);
}

void audit_start(struct model *m)
{
    m->audit_next = INT64_MAX;
    for (struct repository *r = m->repositories; r; r = r->hh.next)
        if (r->owned && (m->farm->audit_ms || r->restoring || r->adopting || r->asked))
            set_due(m, r, m->mono + AFTER_START_MS);
}

static struct repository *first_due(struct model *m)
{
    struct repository *first = NULL;
    for (struct repository *r = m->repositories; r; r = r->hh.next)
        if (r->audit_due && r->owned && (!first || r->audit_due < first->audit_due))
            first = r;
    return first;
}

/* ---- which tags ---- */

static const struct track *owner_of(const struct model *m, const struct tag *tag)
{
    const struct track *t = track_find(m, tag->track_id);
    if (!t || t->retired)
        return NULL;
    VEC_FOREACH (&t->claims, n)
        if ((*n)->current == tag)
            return t;
    return NULL;
}

/* The owned tag with whose publication this one is moved: itself, or the one that it is an architecture of. NULL: nobody's
 * any more, since its template, its platform or its track has gone; it stays where it is. */
static struct tag *base_of(const struct model *m, struct tag *tag)
{
    if (owner_of(m, tag))
        return tag;
    enum platform p;
    size_t n;
    if (!tag_of_platform(tag->name, &p, &n))
        return NULL;
    cleanup_free char *name = xstrndup(tag->name, n);
    struct tag *base = tag_find(m, tag->repository, name);
    const struct track *owner = base && base->shown ? owner_of(m, base) : NULL;
    return owner && publication_child(base->shown, p) ? base : NULL;
}

static void add_places(struct effect *e, const struct repository *r)
{
    VEC_FOREACH (&r->tracks, t)
        VEC_FOREACH (&(*t)->places, place)
            if (str_eq((*place)->repository, r->name) && (*place)->wanted &&
                str_eq((*place)->wanted, (*place)->digest))
                vec_push(&e->tags, (struct effect_tag){xstrdup((*place)->name),
                                                       xstrdup((*place)->digest), false});
}

static void ask(struct model *m, struct repository *r)
{
    struct effect *e = model_effect(m, EFFECT_AUDIT);
    e->repository = xstrdup(r->name);
    VEC_FOREACH (&r->tags, tag)
        if (base_of(m, *tag))
            vec_push(&e->tags,
                     (struct effect_tag){xstrdup((*tag)->name), xstrdup((*tag)->digest), false});
    add_places(e, r);
    m->auditing = true;
    r->audit_mark = r->changes;
}

void audit_timer(struct model *m)
{
    struct repository *r;
    if (m->auditing)
        return;
    if (m->audit_next > m->mono) {
        model_timer(m, m->audit_next);
        return;
    }
    while ((r = first_due(m)) && r->audit_due <= m->mono) {
        if (!r->running) {
            r->audit_due = 0;
            ask(m, r);
            return;
        }
        r->audit_due = m->mono + AGAIN_MS;
    }
    m->audit_next = r ? r->audit_due : INT64_MAX;
    model_timer(m, m->audit_next);
}

/* ---- what a tag that names something else is told, and whether it is put back ---- */

static bool unknown(const struct repository *r, const struct tag *tag)
{
    return tag->found && *tag->found && !known_has(r->known, tag->found);
}

static bool wanted_back(const struct model *m, const struct repository *r, struct tag *tag)
{
    const struct tag *base = tag->found ? base_of(m, tag) : NULL;
    const struct track *t = base ? owner_of(m, base) : NULL;
    return t && (r->restoring || (t->image->enforce && !unknown(r, tag)));
}

void tag_note(struct model *m, struct tag *tag, const char *found)
{
    if (str_eq(tag->found, found))
        return;
    model_repository(m, tag->repository)->odd += !!found - !!tag->found;
    str_replace(&tag->found, found);
    model_touch(m, tag);
}

/* What a person asked to be put back is there: what is found from now on is judged as ever. */
static void end_restoring(struct model *m, struct repository *r)
{
    if (r->odd)
        return;
    r->restoring = r->restore_seen = false;
    set_flag(m, "restoring", r->name, NULL);
}

void audit_judge(struct model *m, struct repository *r)
{
    if (r->restoring && r->restore_seen)
        end_restoring(m, r);
    else if (r->restoring && !r->running && !m->auditing)
        set_due(m, r, m->mono); /* a publication held it up */
    if (!r->odd && !r->putting_back)
        return;
    r->putting_back = false;
    VEC_FOREACH (&r->tags, tag) {
        (*tag)->put_back = false;
        if (!base_of(m, *tag))
            tag_note(m, *tag, NULL);
    }
    VEC_FOREACH (&r->tags, tag)
        if (wanted_back(m, r, *tag))
            r->putting_back = base_of(m, *tag)->put_back = true;
}

#define WHO_DECIDES "adopt or restore decides"

char *repository_stopped_text(const struct repository *r)
{
    return xasprintf("%s; " WHO_DECIDES, r->stopped);
}

char *audit_text(struct model *m, struct tag *tag)
{
    const struct repository *r = model_repository(m, tag->repository);
    const char *what = wanted_back(m, r, tag) ? "it is put back"
                       : unknown(r, tag)      ? WHO_DECIDES
                                         : "it is left there, since farm.yaml does not enforce";
    if (!*tag->found)
        return xasprintf("somebody deleted it, it should name %.19s; %s", tag->digest, what);
    return xasprintf("somebody moved it to %.19s, it should name %.19s; %s", tag->found,
                     tag->digest, what);
}

/* ---- results ---- */

static void stop(struct model *m, struct repository *r, const struct tag *tag)
{
    cleanup_free char *text =
        xasprintf("tag %s names %.19s, which this farm did not publish", tag->name, tag->found);
    if (r->stopped)
        return;
    set_flag(m, "stopped", r->name, text);
    str_replace(&r->stopped, text);
}

static void look_at_tag(struct model *m, struct repository *r, struct tag *tag, const char *found)
{
    if (str_eq(found, tag->digest) || (found && str_eq(found, tag->adopted))) {
        tag_note(m, tag, NULL);
        return;
    }
    tag_note(m, tag, found ? found : "");
    if (!unknown(r, tag) || r->restoring)
        return;
    if (!r->adopting) {
        stop(m, r, tag);
        return;
    }
    str_replace(&tag->adopted, found);
    tag_note(m, tag, NULL);
}

static void look_at(struct model *m, struct repository *r, const struct audited *a)
{
    struct tag *tag = tag_find(m, r->name, a->tag);
    if (!tag) {
        retain_audited(m, r->name, a->tag, a->expected, a->found);
        return;
    }
    if (str_eq(tag->digest, a->expected))
        look_at_tag(m, r, tag, a->found);
}

/* What a person asked for has been looked at. */
static void end_asked(struct model *m, struct repository *r)
{
    r->restore_seen = r->restoring;
    if (r->adopting) {
        r->adopting = false;
        set_flag(m, "adopting", r->name, NULL);
    }
    if (r->asked) {
        r->asked = false;
        set_flag(m, "audit of", r->name, NULL);
    }
}

void model_on_audited(struct model *m, const char *repository, const struct audited *tags, size_t n)
{
    struct repository *r = model_repository(m, repository);
    bool again = r->audit_due; /* asked for after this one began, of what is there by now */
    m->auditing = false;
    m->audit_next = m->mono;
    if (r->running || r->changes != r->audit_mark) {
        set_due(m, r, m->mono + AGAIN_MS);
        audit_timer(m);
        return;
    }
    for (size_t i = 0; i < n; i++)
        look_at(m, r, &tags[i]);
    if (!again)
        end_asked(m, r);
    audit_judge(m, r);
    VEC_FOREACH (&r->tracks, t)
        model_plan_later(m, *t);
    r->audit_failures = 0;
    set_due(m, r,
            again               ? m->mono
            : r->restoring      ? m->mono + 60000
            : m->farm->audit_ms ? m->mono + m->farm->audit_ms
                                : 0);
    audit_timer(m);
}

static bool same_registry(const struct repository *a, const struct repository *b)
{
    size_t n = strcspn(a->name, "/");
    return strncmp(a->name, b->name, n) == 0 && b->name[n] == '/';
}

/* The error is in the log; a registry that is away is told of where something is published. One that asks not to be asked
 * is not asked about its other repositories either. */
void model_on_audit_failed(struct model *m, const char *repository, int64_t wait_ms)
{
    struct repository *r = model_repository(m, repository);
    m->auditing = false;
    m->audit_next = m->mono;
    set_due(m, r, m->mono + 60000 + model_backoff_asked(++r->audit_failures, wait_ms));
    for (struct repository *o = m->repositories; o && wait_ms; o = o->hh.next)
        if (o->audit_due && o->audit_due < r->audit_due && same_registry(r, o))
            o->audit_due = r->audit_due;
    audit_timer(m);
}

/* ---- what people ask for ---- */

static int find(struct model *m, const char *repository, struct repository **ret, struct err *err)
{
    struct repository *r = NULL;
    HASH_FIND_STR(m->repositories, repository, r);
    if (!r || !r->owned)
        return err_set(err, -ENOENT,
                       "the farm publishes to no repository '%.200s'; GET /v1/images names them",
                       repository);
    *ret = r;
    return 0;
}

static void audit_now(struct model *m, struct repository *r)
{
    set_due(m, r, m->mono);
    audit_timer(m);
}

int model_on_audit(struct model *m, const char *repository, struct err *err)
{
    struct repository *one = NULL;
    if (repository && find(m, repository, &one, err) < 0)
        return err->code;
    for (struct repository *r = m->repositories; r; r = r->hh.next)
        if (r->owned && (!one || r == one)) {
            r->asked = true;
            set_flag(m, "audit of", r->name, "asked for");
            set_due(m, r, m->mono);
        }
    audit_timer(m);
    return 0;
}

static void go_on(struct model *m, struct repository *r)
{
    set_flag(m, "stopped", r->name, NULL);
    str_replace(&r->stopped, NULL);
    audit_judge(m, r);
    VEC_FOREACH (&r->tracks, t)
        model_plan_later(m, *t);
    audit_now(m, r);
}

/* A publication that nobody but itself has any business with there: given up, unless a request of its may move a tag yet. */
static int give_up(struct model *m, struct publication *p, struct err *err)
{
    if (p->asked)
        return err_set(err, -EBUSY,
                       "publication %lld of %s is asking its registry just now: try again in a "
                       "minute",
                       (long long)p->id, p->repository);
    set_flag(m, "adopted", p->repository, p->error);
    publication_abandon(m, p, "a person gave it up");
    return 0;
}

/* Also where the farm publishes no more, while a publication is left there, and when that was given up. */
static int find_adopted(struct model *m, const char *repository, struct repository **ret,
                        struct err *err)
{
    struct repository *r = NULL;
    HASH_FIND_STR(m->repositories, repository, r);
    cleanup_free char *given_up = xconcat("adopted ", repository, NULL);
    bool left = r && !r->owned && (r->running || model_setting(m, given_up));
    if (!left)
        return find(m, repository, ret, err);
    *ret = r;
    return 0;
}

int model_on_adopt(struct model *m, const char *repository, struct err *err)
{
    struct repository *r = NULL;
    if (find_adopted(m, repository, &r, err) < 0)
        return err->code;
    if (r->running && publication_forsaken(m, r->running) && give_up(m, r->running, err) < 0)
        return err->code;
    if (r->stopped)
        set_flag(m, "adopted", r->name, r->stopped);
    VEC_FOREACH (&r->tags, tag) {
        if (!unknown(r, *tag))
            continue;
        str_replace(&(*tag)->adopted, (*tag)->found);
        tag_note(m, *tag, NULL);
    }
    r->adopting = true;
    r->restoring = false;
    set_flag(m, "adopting", r->name, "asked for");
    set_flag(m, "restoring", r->name, NULL);
    go_on(m, r);
    return 0;
}

int model_on_restore(struct model *m, const char *repository, struct err *err)
{
    struct repository *r = NULL;
    if (find(m, repository, &r, err) < 0)
        return err->code;
    VEC_FOREACH (&r->tags, tag)
        if ((*tag)->adopted) {
            str_replace(&(*tag)->adopted, NULL);
            model_touch(m, *tag);
        }
    r->restoring = true;
    r->restore_seen = false;
    r->adopting = false;
    set_flag(m, "restoring", r->name, "asked for");
    set_flag(m, "adopting", r->name, NULL);
    go_on(m, r);
    return 0;
}
