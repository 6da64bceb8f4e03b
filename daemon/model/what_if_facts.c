/* What if: what upstreams and registries would say. What the farm knows is asked for (what_if_ask); of a commit that
 * nobody made, the files are those of the commit before, but for the paths that it changes; anything else is taken to
 * be there, and the answer says so. */
#include "common/digest.h"
#include "daemon/model/objects.h"
#include "daemon/model/what_if_int.h"

#include <inttypes.h>

static void digest_text(char ret[DIGEST_SIZE], const char *a, const char *b)
{
    cleanup_free char *text = xasprintf("what if %s %s", a, b);
    digest_of(text, strlen(text), ret);
}

/* ---- contexts ---- */

static const struct what_commit *pushed(const struct what_if *w, const char *commit)
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

/* Whether all of a context is changed, or something that may be of it. */
static bool all_changes(const struct what_if *w, const char *context)
{
    VEC_FOREACH (&w->q.paths, path)
        if (within(context, *path))
            return true;
    return !w->q.paths.n;
}

static bool may_change(const struct what_if *w, const char *context)
{
    VEC_FOREACH (&w->q.paths, path)
        if (within(*path, context))
            return true;
    return false;
}

/* Whether the Dockerfile is one of the paths. */
static bool names_dockerfile(const struct what_if *w, const struct effect *e)
{
    if (!e->dockerfile)
        return false;
    cleanup_free char *path = xasprintf("%s%s%s", e->path, *e->path ? "/" : "", e->dockerfile);
    return strvec_has(&w->q.paths, path);
}

/* Whether the push changes the context: some of what it changes may be left out by .dockerignore. */
static bool changes(struct what_if *w, const struct effect *e, const char *was)
{
    const char *context = e->path + (str_starts(e->path, "./") ? 2 : 0);
    if (all_changes(w, context))
        return true;
    if (!may_change(w, context))
        return false;
    const struct what_lack *l = what_if_lack(w, e, was, true);
    if (!l->answered)
        what_if_note(
            w,
            "whether a .dockerignore in '%s' leaves out what is changed was not to be read: "
            "it is taken not to",
            e->path);
    return !l->answered || l->touched;
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

/* What the files were before the push. */
static const struct context *before_push(const struct sim *s, const struct effect *e,
                                         const struct what_commit *c)
{
    const struct context *before =
        c->was ? context_find(s->m, e->source, c->was, e->path, e->dockerfile ? e->dockerfile : "")
               : NULL;
    return before && before->known ? before : another(s->m, e);
}

static void inspect_invented(struct sim *s, const struct effect *e, const struct what_commit *c)
{
    const struct context *before = before_push(s, e, c);
    if (!before) {
        assume(s, e);
        return;
    }
    if (c->real)
        what_if_note(s->w,
                     "the files in '%s' of %s have not been fetched: all are taken to be changed, "
                     "and its Dockerfile to be built on what it is built on now",
                     e->path, c->commit);
    char id[DIGEST_SIZE];
    bool changed = changes(s->w, e, before->commit);
    const char *text = before->dockerfile_text;
    cleanup_free char *other = text && names_dockerfile(s->w, e) ? xasprintf("%s\n", text) : NULL;
    digest_text(id, e->commit, e->path);
    struct context_facts facts = {.exists = before->exists,
                                  .id = !before->exists ? NULL
                                        : changed       ? id
                                                        : before->id,
                                  .dockerfile_text = other ? other : text,
                                  .time = changed ? s->wall / 1000 : before->time,
                                  .size = before->size,
                                  .error = before->error};
    answer(s, e, &facts);
}

void sim_inspect(struct sim *s, const struct effect *e)
{
    const struct what_commit *c = pushed(s->w, e->commit);
    if (c && !c->real) {
        inspect_invented(s, e, c);
        return;
    }
    const struct what_lack *l = what_if_lack(s->w, e, e->commit, false);
    if (l->answered) {
        const struct context_facts facts = {.exists = l->exists,
                                            .id = l->id,
                                            .dockerfile_text = l->dockerfile_text,
                                            .time = l->time,
                                            .size = l->size,
                                            .error = l->error};
        answer(s, e, &facts);
    } else if (c) {
        inspect_invented(s, e, c);
    } else {
        assume(s, e);
    }
}

/* ---- bases ---- */

/* What a look takes, at most as a rule. */
#define LOOK_MS 60000

/* A base that nothing is built on is not looked at: what is known of it may be old. */
static void note_age(struct sim *s, const struct base *b)
{
    int64_t age = llabs(s->wall - b->checked_at);
    if (age <= s->m->farm->base_poll_ms + LOOK_MS || strchr(b->reference, '@'))
        return;
    what_if_note(s->w,
                 "base %s was last looked up %" PRId64 " min ago: it is taken to be as it was",
                 b->reference, age / 60000);
}

void sim_resolve(struct sim *s, const struct effect *e)
{
    struct base *b = base_find(s->m, e->reference);
    if (b->digest) {
        note_age(s, b);
        model_on_base(s->m, b->reference, b->digest, NULL, 0, true);
        return;
    }
    if (b->error && strvec_has(&s->w->copy.gone, b->reference)) {
        note_age(s, b);
        cleanup_free char *error = xstrdup(b->error);
        model_on_base_failed(s->m, b->reference, true, error, 0);
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
