/* Inspections: one at a time for each source.
 *
 *     happy path     the mirror has the commit (or has it once the ref is fetched) -> model_on_context
 *     failure modes  the ref has moved on and the commit is nowhere: failed (the next sighting supersedes it);
 *                    the tree or the ref is refused: known, with an error; upstream is away: failed, asked again
 *                    later, by the model */
#include "daemon/upstream_internal.h"

#include <errno.h>

/* The inspection that is under way, with what its reading needs. */
struct inspecting {
    struct reading reading;
    struct inspection what;
    strvec refs;
};

static void inspect_next(struct mirror *mr);

static void inspection_done(struct inspection *i)
{
    free(i->ref);
    free(i->commit);
    free(i->path);
    free(i->dockerfile);
}

/* Goes on with the next one. */
static void end(struct inspecting *i)
{
    struct mirror *mr = i->reading.mr;
    inspection_done(&i->what);
    strvec_done(&i->refs);
    free(i);
    mr->inspecting = false;
    inspect_next(mr);
    mirror_release(mr);
}

static void answer(struct inspecting *i, const struct context_facts *facts)
{
    const struct mirror *mr = i->reading.mr;
    if (!mr->u->closing)
        model_on_context(coordinator_turn(mr->u->c), mr->url, i->what.commit, i->what.path,
                         i->what.dockerfile, facts);
    end(i);
}

/* What upstream has cannot be a context, now or later. */
static void refuse(struct inspecting *i, const struct err *err)
{
    const struct context_facts refused = {.exists = true, .error = err->text};
    answer(i, &refused);
}

static void on_failed(struct reading *reading, const struct err *err)
{
    struct inspecting *i = (struct inspecting *)reading;
    const struct mirror *mr = reading->mr;
    if (reading->refused) {
        refuse(i, err);
        return;
    }
    if (!mr->u->closing)
        model_on_context_failed(coordinator_turn(mr->u->c), mr->url, i->what.commit, i->what.path,
                                i->what.dockerfile, err->text);
    end(i);
}

static bool is_refusal(const struct err *err)
{
    return err->code == -EINVAL || err->code == -EFBIG;
}

/* Their texts are the result's. */
static struct context_facts facts_of(const struct git_inspect_result *result)
{
    return (struct context_facts){.exists = result->exists,
                                  .id = result->exists ? result->context_id : NULL,
                                  .dockerfile_text = result->dockerfile,
                                  .time = result->time,
                                  .size = result->size};
}

static void on_inspected(const struct git_inspect_result *result, const struct err *err,
                         void *userdata)
{
    err = git_failure(err);
    struct inspecting *i = userdata;
    if (err) {
        if (is_refusal(err))
            refuse(i, err);
        else if (!upstream_reading_goes_on(&i->reading, err))
            on_failed(&i->reading, err);
        return;
    }
    const struct context_facts facts = facts_of(result);
    answer(i, &facts);
}

static void ask(struct reading *reading)
{
    const struct inspecting *i = (struct inspecting *)reading;
    struct git_inspect_args args = {.mirror = reading->mr->path,
                                    .commit = i->what.commit,
                                    .context = i->what.path,
                                    .dockerfile = i->what.dockerfile};
    git_pool_inspect(reading->mr->u->pool, &args, on_inspected, reading);
}

/* The mirror is held for each that waits. */
static void forget_all(struct mirror *mr)
{
    while (mr->queue.n) {
        inspection_done(&mr->queue.items[--mr->queue.n]);
        mr->holds--;
    }
}

static void inspect_next(struct mirror *mr)
{
    if (mr->u->closing)
        forget_all(mr);
    if (mr->inspecting || !mr->queue.n)
        return;
    mr->inspecting = true;
    struct inspecting *i = xnew(struct inspecting);
    i->what = mr->queue.items[0];
    vec_remove(&mr->queue, 0);
    strvec_add(&i->refs, i->what.ref);
    i->reading = (struct reading){
        .mr = mr, .commit = i->what.commit, .refs = &i->refs, .ask = ask, .failed = on_failed};
    ask(&i->reading);
}

void upstream_inspect(struct upstream *u, struct effect *effect)
{
    struct mirror *mr = mirror_hold(u, effect->source);
    vec_push(&mr->queue, (struct inspection){.ref = steal_ptr(effect->ref),
                                             .commit = steal_ptr(effect->commit),
                                             .path = steal_ptr(effect->path),
                                             .dockerfile = steal_ptr(effect->dockerfile)});
    inspect_next(mr);
}

/* ---- a look that brings nothing ---- */

struct looking {
    struct mirror *mr;
    upstream_look_fn done;
    void *data;
};

static void on_looked(const struct git_inspect_result *result, const struct err *err,
                      void *userdata)
{
    struct looking *k = userdata;
    err = git_failure(err);
    if (!err) {
        const struct context_facts facts = facts_of(result);
        k->done(k->data, &facts, result->touched);
    } else if (is_refusal(err)) {
        const struct context_facts refused = {.exists = true, .error = err->text};
        k->done(k->data, &refused, true);
    } else {
        k->done(k->data, NULL, false);
    }
    mirror_release(k->mr);
    free(k);
}

void upstream_look(struct upstream *u, const struct upstream_context_args *args,
                   const strvec *paths, upstream_look_fn done, void *data)
{
    struct looking *k = xnew(struct looking);
    *k = (struct looking){mirror_hold(u, args->source), done, data};
    struct git_inspect_args what = {.mirror = k->mr->path,
                                    .commit = args->commit,
                                    .context = args->path,
                                    .dockerfile = *args->dockerfile ? args->dockerfile : NULL,
                                    .paths = paths};
    git_pool_inspect(u->pool, &what, on_looked, k);
}
