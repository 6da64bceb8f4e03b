/* What if: what upstreams and registries would say. What the farm knows is asked for (what_if_ask); of a commit that
 * nobody made, the files are those of the commit before, but for the paths that it changes; anything else is taken to
 * be there, and the answer says so. */
#include "common/digest.h"
#include "daemon/model/objects.h"
#include "daemon/model/what_if_int.h"

static void digest_text(char ret[DIGEST_SIZE], const char *a, const char *b)
{
    cleanup_free char *text = xasprintf("what if %s %s", a, b);
    digest_of(text, strlen(text), ret);
}

/* ---- contexts ---- */

static const struct what_commit *invented(const struct what_if *w, const char *commit)
{
    VEC_FOREACH (&w->commits, c)
        if (str_eq(c->commit, commit))
            return c;
    return NULL;
}

/* Whether `inner` is `outer` or in that folder; "" is the root. */
static bool within(const char *inner, const char *outer)
{
    size_t n = strlen(outer);
    return !n || (strncmp(inner, outer, n) == 0 && (!inner[n] || inner[n] == '/'));
}

static bool changes(const struct what_if *w, const char *context)
{
    VEC_FOREACH (&w->q.paths, path)
        if (within(*path, context) || within(context, *path))
            return true;
    return !w->q.paths.n;
}

/* The same folder in another commit. */
static const struct context *another(const struct model *m, const struct effect *e)
{
    for (const struct context *c = m->contexts; c; c = c->hh.next)
        if (c->known && c->exists && str_eq(c->source, e->source) && str_eq(c->path, e->path) &&
            str_eq(c->dockerfile, e->dockerfile ? e->dockerfile : ""))
            return c;
    return NULL;
}

static void answer(struct sim *s, const struct effect *e, const struct context_facts *facts)
{
    model_on_context(s->m, e->source, e->commit, e->path, e->dockerfile, facts);
}

/* Nothing is known of it. */
static void assume(struct sim *s, const struct effect *e)
{
    char id[DIGEST_SIZE];
    digest_text(id, e->commit, e->path);
    struct context_facts facts = {.exists = true,
                                  .id = id,
                                  .dockerfile_text = e->dockerfile ? "FROM scratch\n" : NULL,
                                  .time = s->wall / 1000,
                                  .size = 1};
    what_if_note(s->w, "the files in '%s' of %s have not been read: they are taken to be there%s",
                 e->path, e->source,
                 e->dockerfile ? ", with a Dockerfile that is built on nothing" : "");
    answer(s, e, &facts);
}

static void inspect_invented(struct sim *s, const struct effect *e, const struct what_commit *c)
{
    const struct context *before =
        c->was ? context_find(s->m, e->source, c->was, e->path, e->dockerfile ? e->dockerfile : "")
               : NULL;
    if (!before || !before->known)
        before = another(s->m, e);
    if (!before) {
        assume(s, e);
        return;
    }
    char id[DIGEST_SIZE];
    bool changed = changes(s->w, e->path);
    digest_text(id, e->commit, e->path);
    struct context_facts facts = {.exists = before->exists,
                                  .id = !before->exists ? NULL
                                        : changed       ? id
                                                        : before->id,
                                  .dockerfile_text = before->dockerfile_text,
                                  .time = changed ? s->wall / 1000 : before->time,
                                  .size = before->size,
                                  .error = before->error};
    answer(s, e, &facts);
}

void sim_inspect(struct sim *s, const struct effect *e)
{
    const struct what_commit *c = invented(s->w, e->commit);
    if (c) {
        inspect_invented(s, e, c);
        return;
    }
    struct what_lack lack = {.source = xstrdup(e->source),
                             .commit = xstrdup(e->commit),
                             .path = xstrdup(e->path),
                             .dockerfile = xstrdup(e->dockerfile ? e->dockerfile : "")};
    vec_push(&s->w->lacks, lack);
    assume(s, e);
}

/* ---- bases ---- */

void sim_resolve(struct sim *s, const struct effect *e)
{
    struct base *b = base_find(s->m, e->reference);
    if (b->digest) {
        model_on_base(s->m, b->reference, b->digest, NULL, 0, true);
        return;
    }
    if (b->error) {
        cleanup_free char *error = xstrdup(b->error);
        model_on_base_failed(s->m, b->reference, true, error);
        return;
    }
    char digest[PLATFORM_COUNT][DIGEST_SIZE], whole[DIGEST_SIZE];
    struct base_child children[PLATFORM_COUNT];
    digest_text(whole, b->reference, "");
    for (int p = 0; p < PLATFORM_COUNT; p++) {
        digest_text(digest[p], b->reference, platform_info((enum platform)p)->name);
        children[p] = (struct base_child){(enum platform)p, digest[p]};
    }
    what_if_note(s->w,
                 "base %s has not been looked up: it is taken to be there, for every platform",
                 b->reference);
    model_on_base(s->m, b->reference, whole, children, PLATFORM_COUNT, false);
}
