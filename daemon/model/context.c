/* Build contexts: what the files of a commit are. The git worker reads them once; the answer never changes.
 *
 *     happy path     asked -> known
 *     failure modes  the worker failed: asked again after a back-off; the tree is refused: known, with an error */
#include "common/digest.h"
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"

/* design.md, "The key": an epoch is at least 2000-01-01. */
#define EPOCH_MIN 946684800

static char *context_hash_key(const char *source, const char *commit, const char *path,
                              const char *dockerfile)
{
    return xconcat(source, "\n", commit, "\n", path, "\n", dockerfile, NULL);
}

struct context *context_find(const struct model *m, const char *source, const char *commit,
                             const char *path, const char *dockerfile)
{
    cleanup_free char *key = context_hash_key(source, commit, path, dockerfile);
    struct context *c = NULL;
    HASH_FIND_STR(m->contexts, key, c);
    return c;
}

static void ask(struct model *m, struct context *c, const char *ref)
{
    if (ref)
        str_replace(&c->ref, ref);
    c->asked = true;
    c->retry_due = 0;
    struct effect *e = model_effect(m, EFFECT_INSPECT);
    e->source = xstrdup(c->source);
    e->ref = xstrdup(c->ref);
    e->commit = xstrdup(c->commit);
    e->path = xstrdup(c->path);
    e->dockerfile = *c->dockerfile ? xstrdup(c->dockerfile) : NULL;
}

void context_add(struct model *m, struct context *c)
{
    c->hash_key = context_hash_key(c->source, c->commit, c->path, c->dockerfile);
    HASH_ADD_KEYPTR(hh, m->contexts, c->hash_key, strlen(c->hash_key), c);
}

struct context *context_get(struct model *m, const char *source, const char *ref,
                            const char *commit, const char *path, const char *dockerfile)
{
    struct context *c = context_find(m, source, commit, path, dockerfile);
    if (c && !c->known && !c->asked && !c->retry_due)
        ask(m, c, ref); /* nobody wanted it when it was due */
    if (c)
        return c;
    c = xnew(struct context);
    c->row.table = TABLE_CONTEXT;
    c->source = xstrdup(source);
    c->commit = xstrdup(commit);
    c->path = xstrdup(path);
    c->dockerfile = xstrdup(dockerfile);
    context_add(m, c);
    ask(m, c, ref);
    return c;
}

struct epoch *epoch_find(const struct model *m, const char *source, const char *context_id)
{
    cleanup_free char *key = xconcat(source, "\n", context_id, NULL);
    struct epoch *e = NULL;
    HASH_FIND_STR(m->epochs, key, e);
    return e;
}

/* An epoch is never another one's. */
struct epoch *context_epoch(const struct model *m, struct context *c)
{
    if (!c->epoch && c->id)
        c->epoch = epoch_find(m, c->source, c->id);
    return c->epoch;
}

const char *context_dockerfile_digest(struct context *c)
{
    char digest[DIGEST_SIZE];
    if (!c->dockerfile_digest) {
        digest_of(c->dockerfile_text, strlen(c->dockerfile_text), digest);
        c->dockerfile_digest = xstrdup(digest);
    }
    return c->dockerfile_digest;
}

void epoch_add(struct model *m, struct epoch *e)
{
    e->hash_key = xconcat(e->source, "\n", e->context_id, NULL);
    HASH_ADD_KEYPTR(hh, m->epochs, e->hash_key, strlen(e->hash_key), e);
}

static void epoch_first_seen(struct model *m, const struct context *c)
{
    if (!c->id || epoch_find(m, c->source, c->id))
        return;
    struct epoch *e = xnew(struct epoch);
    e->row.table = TABLE_EPOCH;
    e->source = xstrdup(c->source);
    e->context_id = xstrdup(c->id);
    e->time = c->time > EPOCH_MIN ? c->time : EPOCH_MIN;
    epoch_add(m, e);
    model_touch(m, e);
}

static void plan_dependents(struct model *m, const struct context *c)
{
    for (const struct slot *s = c->readers; s; s = s->reader_after)
        model_plan_later(m, s->t);
}

void model_on_context(struct model *m, const char *source, const char *commit, const char *path,
                      const char *dockerfile, const struct context_facts *facts)
{
    struct context *c = context_find(m, source, commit, path, dockerfile ? dockerfile : "");
    if (!c || c->known)
        return;
    c->asked = false;
    c->known = true;
    c->exists = facts->exists;
    str_replace(&c->id, facts->id);
    str_replace(&c->dockerfile_text, facts->dockerfile_text);
    str_replace(&c->error, facts->error);
    c->time = facts->time;
    c->size = facts->size;
    model_touch(m, c);
    epoch_first_seen(m, c);
    plan_dependents(m, c);
}

void model_on_context_failed(struct model *m, const char *source, const char *commit,
                             const char *path, const char *dockerfile, const char *error)
{
    struct context *c = context_find(m, source, commit, path, dockerfile ? dockerfile : "");
    if (!c || c->known)
        return;
    c->asked = false;
    c->failures++;
    if (!str_eq(c->error, error)) { /* a start knows that nothing is to be waited for here */
        str_replace(&c->error, error);
        model_touch(m, c);
    }
    if (!c->retry_due)
        vec_push(&m->unread, c);
    c->retry_due = m->mono + model_backoff(c->failures);
    model_timer(m, c->retry_due);
    plan_dependents(m, c);
}

bool context_retry_now(struct model *m, const struct context *c)
{
    if (!c->retry_due)
        return false;
    ask(m, context_find(m, c->source, c->commit, c->path, c->dockerfile), NULL);
    return true;
}

static bool same_files(const struct context *a, const struct context *b)
{
    return a->known && str_eq(a->id, b->id) && str_eq(a->source, b->source) &&
           str_eq(a->path, b->path) && str_eq(a->dockerfile, b->dockerfile) &&
           str_eq(a->dockerfile_text, b->dockerfile_text);
}

const char *model_context_commit(const struct model *m, const char *source, const char *commit,
                                 const char *path, const char *dockerfile)
{
    const struct context *wanted = context_find(m, source, commit, path, dockerfile);
    if (!wanted || !wanted->id)
        return NULL;
    for (const struct context *c = m->contexts; c; c = c->hh.next)
        if (same_files(c, wanted) && model_commit_is_current(m, source, c->commit))
            return c->commit;
    return NULL;
}

void context_timer(struct model *m)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->unread.n; i++) {
        struct context *c = m->unread.items[i];
        if (c->known || !c->retry_due)
            continue;
        if (c->retry_due > m->mono) {
            m->unread.items[kept++] = c;
            model_timer(m, c->retry_due);
            continue;
        }
        c->retry_due = 0;
        /* one that was left behind is asked for again and again for nobody */
        if (c->readers)
            ask(m, c, c->readers->t->ref_name);
    }
    m->unread.n = kept;
}
