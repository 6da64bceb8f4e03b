/* What if: the question, the copy, the run. */
#include "common/oci.h"
#include "daemon/model/objects.h"
#include "daemon/model/what_if_int.h"

#include <errno.h>

/* ---- the question ---- */

struct source *what_if_source(struct model *m, const char *name,
                              const struct farm_image **ret_image)
{
    struct source *s = NULL;
    const struct farm_image *image = farm_image(m->farm, name);
    *ret_image = image;
    HASH_FIND_STR(m->sources, image ? image->source : name, s);
    return s;
}

struct tag_node *what_if_ours(struct model *m, const char *reference)
{
    cleanup_oci_reference struct oci_reference parsed = {0};
    if (oci_reference_parse(reference, &parsed, NULL) < 0 || parsed.digest)
        return NULL;
    cleanup_free char *repository = oci_reference_repository(&parsed);
    cleanup_free char *name = xasprintf("%s:%s", repository, parsed.tag ? parsed.tag : "latest");
    struct tag_node *n = NULL;
    if (model_owns(m, repository))
        HASH_FIND_STR(m->nodes, name, n);
    return n;
}

/* A ref of the source by its full or its short name. */
static struct ref *find_ref(const struct model *m, const struct source *s, const char *name)
{
    cleanup_free char *head = xasprintf("refs/heads/%s", name);
    cleanup_free char *tag = xasprintf("refs/tags/%s", name);
    struct ref *r = source_ref(m, s->url, name);
    r = r ? r : source_ref(m, s->url, head);
    return r ? r : source_ref(m, s->url, tag);
}

static bool is_commit(const char *text)
{
    return strlen(text) == 40 && strspn(text, "0123456789abcdef") == 40;
}

/* Replaces a ref by the commit that it is. */
static int check_commit(const struct model *m, const struct source *s, struct what_if_question *q,
                        struct err *err)
{
    if (!q->commit)
        return 0;
    if (!q->ref)
        return err_set(err, -EINVAL, "which ref moves to %s?", q->commit);
    if (q->paths.n)
        return err_set(err, -EINVAL, "what %s changes is in its files: no paths are needed",
                       q->commit);
    if (is_commit(q->commit))
        return 0;
    const struct ref *r = find_ref(m, s, q->commit);
    if (!r || r->deleted)
        return err_set(err, -ENOENT,
                       "'%s' is neither a ref of %s that an image follows nor a commit's whole id",
                       q->commit, s->url);
    char *commit = xstrdup(r->commit);
    free((char *)(uintptr_t)q->commit);
    q->commit = commit;
    return 0;
}

static int check_push(struct model *m, struct what_if_question *q, struct err *err)
{
    const struct farm_image *image;
    const struct source *s = what_if_source(m, q->source, &image);
    if (!s && !image && !farm_source(m->farm, q->source))
        return err_set(err, -ENOENT, "no source or image '%s': sheafctl sources lists them",
                       q->source);
    if (!s || !s->refs)
        return err_set(err, -ENOENT, "%s has not been read yet", image ? image->source : q->source);
    if (q->ref && !str_starts(q->ref, "refs/") && !find_ref(m, s, q->ref))
        return err_set(err, -ENOENT,
                       "%s has no ref '%s' that an image follows; write refs/heads/%s or "
                       "refs/tags/%s for a new one",
                       s->url, q->ref, q->ref, q->ref);
    return check_commit(m, s, q, err);
}

/* Replaces the reference by its normalised form. */
static int check_base(struct model *m, struct what_if_question *q, struct err *err)
{
    cleanup_oci_reference struct oci_reference parsed = {0};
    int r = oci_reference_parse(q->reference, &parsed, err);
    if (r < 0)
        return err_set(err, -EINVAL, "'%s' names no image: %s", q->reference, err->text);
    if (parsed.digest)
        return err_set(err, -EINVAL, "%s is pinned by its digest, and does not move", q->reference);
    char *normal = oci_reference_format(&parsed);
    free((char *)(uintptr_t)q->reference);
    q->reference = normal;
    const struct tag_node *ours = what_if_ours(m, normal);
    const struct base *b = base_find(m, normal);
    if (ours && ours->current)
        return 0;
    if (ours)
        return err_set(err, -ENOENT, "%s is not published", normal);
    if (!b || !b->dependents.n)
        return err_set(err, -ENOENT, "nothing is built on %s", normal);
    return 0;
}

static int check(struct model *m, struct what_if_question *q, struct err *err)
{
    switch (q->kind) {
    case WHAT_IF_PUSH:
        return check_push(m, q, err);
    case WHAT_IF_BASE:
        return check_base(m, q, err);
    case WHAT_IF_BOARD:
        if (!board_find(m, q->board))
            return err_set(err, -ENOENT, "no board '%s'", q->board);
        return 0;
    case WHAT_IF_CONFIG:
        return 0;
    }
    return -EINVAL;
}

/* A path as git has it: without "./" and slashes around it. The caller owns it. */
static char *plain_path(const char *path)
{
    while (str_starts(path, "./") || *path == '/')
        path += *path == '/' ? 1 : 2;
    size_t n = strlen(path);
    while (n && path[n - 1] == '/')
        n--;
    return str_eq(path, ".") ? xstrdup("") : xstrndup(path, n);
}

struct what_if *what_if_prepare(size_t bytes)
{
    struct what_if *w = xnew(struct what_if);
    model_copy_reserve(&w->copy, bytes);
    return w;
}

size_t what_if_size(const struct model *m)
{
    return model_copy_size(m);
}

static void forget_question(struct what_if_question *q)
{
    free((char *)(uintptr_t)q->source);
    free((char *)(uintptr_t)q->ref);
    free((char *)(uintptr_t)q->commit);
    free((char *)(uintptr_t)q->reference);
    free((char *)(uintptr_t)q->board);
    strvec_done(&q->paths);
}

int what_if_new(struct model *m, const struct what_if_question *q, struct what_if *room,
                struct what_if **ret, struct err *err)
{
    struct what_if_question own = {.kind = q->kind,
                                   .source = xstrdup(q->source),
                                   .ref = xstrdup(q->ref),
                                   .commit = xstrdup(q->commit),
                                   .reference = xstrdup(q->reference),
                                   .board = xstrdup(q->board)};
    VEC_FOREACH (&q->paths, path)
        vec_push(&own.paths, plain_path(*path));
    int r = check(m, &own, err);
    if (r < 0) {
        forget_question(&own);
        return r;
    }
    struct what_if *w = room ? room : xnew(struct what_if);
    w->q = own;
    w->q.farm = q->farm;
    w->farm = m->farm;
    model_copy_take(m, &w->copy);
    *ret = w;
    return 0;
}

/* ---- a run ---- */

void what_if_run(struct what_if *w)
{
    struct sim s;
    bool lost = w->q.kind == WHAT_IF_BOARD;
    what_if_forget(w);
    sim_start(&s, w, lost ? &w->without : NULL);
    w->under_way = s.running.n;
    int64_t asked = s.mono;
    sim_rest(&s);
    w->rest = s.mono - asked;
    what_if_note_before(w, s.m);
    if (lost) { /* it is lost now, not once everything has ended well */
        sim_done(&s);
        sim_start(&s, w, &w->jobs);
    }
    s.grants = &w->jobs;
    w->began = w->ended = s.mono;
    s.recording = true;
    const char *last = model_setting(s.m, "next build");
    s.first_build = (last ? strtoll(last, NULL, 10) : 0) + 1;
    what_if_event(&s);
    sim_rest(&s);
    w->answer = what_if_view(&s);
    sim_done(&s);
}

void what_if_cancel(struct what_if *w)
{
    w->cancelled = true;
}

json_t *what_if_answer(struct what_if *w)
{
    return steal_ptr(w->answer);
}

/* ---- the end ---- */

void what_if_free(struct what_if *w)
{
    if (!w)
        return;
    what_if_forget(w);
    model_copy_done(&w->copy);
    forget_question(&w->q);
    farm_free(w->q.farm);
    what_if_lacks_done(w);
    free(w);
}
