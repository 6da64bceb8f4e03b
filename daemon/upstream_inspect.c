/* Inspections: one at a time for each source.
 *
 *     happy path     fetch the ref, unless the mirror holds the commit -> inspect -> model_on_context
 *     failure modes  the ref has moved on and the commit is nowhere: failed (the next sighting supersedes it);
 *                    the tree is refused: known, with an error; upstream is away: failed, asked again later */
#include "daemon/upstream_internal.h"

#include <errno.h>

static void inspection_done(struct inspection *i)
{
    free(i->ref);
    free(i->commit);
    free(i->path);
    free(i->dockerfile);
}

/* Takes the answered inspection off the queue and goes on with the next. */
static void next(struct mirror *mr)
{
    inspection_done(&mr->queue.items[0]);
    vec_remove(&mr->queue, 0);
    mr->inspecting = false;
    if (!mr->u->closing)
        upstream_inspect_next(mr);
}

static void fail(struct mirror *mr, const char *text)
{
    const struct inspection *i = &mr->queue.items[0];
    if (!mr->u->closing)
        model_on_context_failed(coordinator_turn(mr->u->c), mr->url, i->commit, i->path,
                                i->dockerfile, text);
    next(mr);
}

/* What upstream has cannot be a context, now or later. */
static void refuse(struct mirror *mr, const char *text)
{
    const struct inspection *i = &mr->queue.items[0];
    const struct context_facts facts = {.exists = true, .error = text};
    model_on_context(coordinator_turn(mr->u->c), mr->url, i->commit, i->path, i->dockerfile,
                     &facts);
    next(mr);
}

static void on_inspected(const struct git_inspect_result *result, const struct err *err,
                         void *userdata)
{
    err = git_failure(err);
    struct mirror *mr = userdata;
    const struct inspection *i = &mr->queue.items[0];
    if (err && !mr->u->closing && (err->code == -EINVAL || err->code == -EFBIG)) {
        refuse(mr, err->text);
        return;
    }
    if (err) {
        fail(mr, err->text);
        return;
    }
    const struct context_facts facts = {.exists = result->exists,
                                        .id = result->exists ? result->context_id : NULL,
                                        .dockerfile_text = result->dockerfile,
                                        .time = result->time,
                                        .size = result->size};
    model_on_context(coordinator_turn(mr->u->c), mr->url, i->commit, i->path, i->dockerfile,
                     &facts);
    next(mr);
}

static void inspect(struct mirror *mr)
{
    const struct inspection *i = &mr->queue.items[0];
    struct git_inspect_args args = {
        .mirror = mr->folder, .commit = i->commit, .context = i->path, .dockerfile = i->dockerfile};
    git_pool_inspect(mr->u->pool, &args, on_inspected, mr);
}

static void on_fetched(const struct git_fetch_result *result, const struct err *err, void *userdata)
{
    err = git_failure(err);
    struct mirror *mr = userdata;
    if (err) {
        fail(mr, err->text);
        return;
    }
    VEC_FOREACH (&result->fetched, f)
        if (!strvec_has(&mr->have, f->commit))
            strvec_add(&mr->have, f->commit);
    inspect(mr);
}

void upstream_inspect_next(struct mirror *mr)
{
    if (mr->inspecting || !mr->queue.n)
        return;
    mr->inspecting = true;
    const struct inspection *i = &mr->queue.items[0];
    if (strvec_has(&mr->have, i->commit)) {
        inspect(mr);
        return;
    }
    cleanup_strvec strvec refs = {0};
    strvec_add(&refs, i->ref);
    struct git_fetch_args args = {.url = mr->url,
                                  .login = upstream_login(mr->u, mr->url),
                                  .mirror = mr->folder,
                                  .refs = &refs,
                                  .timeout_ms = coordinator_farm(mr->u->c)->git_timeout_ms};
    git_pool_fetch(mr->u->pool, &args, on_fetched, mr);
}

void upstream_inspect(struct upstream *u, struct effect *effect)
{
    struct mirror *mr = upstream_mirror(u, effect->source);
    vec_push(&mr->queue, (struct inspection){.ref = steal_ptr(effect->ref),
                                             .commit = steal_ptr(effect->commit),
                                             .path = steal_ptr(effect->path),
                                             .dockerfile = steal_ptr(effect->dockerfile)});
    upstream_inspect_next(mr);
}
