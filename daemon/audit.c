/* One audit: a HEAD of each tag, one after the other, with a pause between them, so that it takes little of what the
 * registry allows.
 *
 * Failure modes: a tag is not there: said so; anything else ends the audit, which the model repeats. */
#include "daemon/audit.h"

#include "common/log.h"

#include <errno.h>

#define PAUSE_MS 20

struct look {
    struct auditor *a;
    struct effect effect;
    struct registry *registry;
    const char *path; /* of the repository, within the effect's */
    struct registry_op *op;
    uv_timer_t timer;
    VEC(struct audited) tags;
    struct look *prev, *next;
};

struct auditor {
    uv_loop_t *loop;
    struct registries *registries;
    audit_done_fn done;
    void *data;
    struct look *looks;
    bool closing; /* freed with its last look */
};

struct auditor *auditor_new(uv_loop_t *loop, struct registries *registries, audit_done_fn done,
                            void *data)
{
    struct auditor *a = xnew(struct auditor);
    *a = (struct auditor){.loop = loop, .registries = registries, .done = done, .data = data};
    return a;
}

static void free_look(uv_handle_t *handle)
{
    struct look *l = handle->data;
    VEC_FOREACH (&l->tags, t)
        free((char *)(uintptr_t)t->found);
    vec_free(&l->tags);
    effect_done(&l->effect);
    free(l);
}

static void drop(struct look *l)
{
    if (l->prev)
        l->prev->next = l->next;
    else
        l->a->looks = l->next;
    if (l->next)
        l->next->prev = l->prev;
    if (l->a->closing && !l->a->looks)
        free(l->a);
    uv_close((uv_handle_t *)&l->timer, free_look);
}

static void finish(struct look *l, const char *error, int64_t wait_ms)
{
    struct auditor *a = l->a;
    struct audit_outcome outcome = {.repository = l->effect.repository,
                                    .tags = l->tags.items,
                                    .n = l->tags.n,
                                    .error = error,
                                    .wait_ms = wait_ms};
    if (error && !a->closing)
        log_warning("audit of %s: %s", l->effect.repository, error);
    if (!a->closing)
        a->done(a->data, &outcome);
    drop(l);
}

static void on_timer(uv_timer_t *timer);

static void on_head(void *arg, struct registry_result *result, const struct err *err)
{
    struct look *l = arg;
    l->op = NULL;
    if (err && err->code != -ENOENT) {
        finish(l, err->text, result->retry_after_ms);
        return;
    }
    const struct effect_tag *tag = &l->effect.tags.items[l->tags.n];
    vec_push(&l->tags,
             (struct audited){tag->tag, tag->digest, err ? NULL : xstrdup(result->digest)});
    uint64_t pause = l->tags.n < l->effect.tags.n ? PAUSE_MS : 0;
    uv_timer_start(&l->timer, on_timer, pause, 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct look *l = timer->data;
    if (l->tags.n == l->effect.tags.n)
        finish(l, NULL, 0);
    else
        l->op = registry_manifest_head(l->registry, l->path, l->effect.tags.items[l->tags.n].tag,
                                       on_head, l);
}

void audit_begin(struct auditor *a, struct effect *effect)
{
    struct look *l = xnew(struct look);
    l->a = a;
    l->effect = *effect;
    *effect = (struct effect){0};
    uv_timer_init(a->loop, &l->timer);
    l->timer.data = l;
    l->next = a->looks;
    if (l->next)
        l->next->prev = l;
    a->looks = l;
    l->registry = registries_of(a->registries, l->effect.repository, &l->path);
    uv_timer_start(&l->timer, on_timer, 0, 0);
}

void auditor_free(struct auditor *a)
{
    if (!a)
        return;
    a->closing = true;
    if (!a->looks) {
        free(a);
        return;
    }
    for (struct look *l = a->looks, *next; l; l = next) {
        next = l->next;
        if (l->op)
            registry_op_cancel(l->op);
        else
            drop(l); /* may free a, with the last one */
    }
}
