/* What a board is told of a job, from what a slot was evaluated to. */
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"
#include "daemon/model/slot_text.h"

static void fill_map(struct model *m, const struct slot *s, const farm_pairs *pairs, wire_map *map)
{
    VEC_FOREACH (pairs, pair) {
        cleanup_free char *value = slot_expand(m, s, pair->value);
        wire_map_set(map, pair->name, value);
    }
}

static strvec *copy_list(const strvec *from)
{
    strvec *to = xnew(strvec);
    VEC_FOREACH (from, s)
        strvec_add(to, *s);
    return to;
}

static void fill_config(struct model *m, const struct slot *s, struct wire_job *w)
{
    const struct farm_image *image = s->t->image;
    fill_map(m, s, &image->args, &w->args);
    fill_map(m, s, &image->env, &w->env);
    fill_map(m, s, &image->labels, &w->labels);
    if (image->has_cmd)
        w->cmd = copy_list(&image->cmd);
    if (image->has_entrypoint)
        w->entrypoint = copy_list(&image->entrypoint);
    w->workdir = xstrdup(image->workdir);
    w->user = xstrdup(image->user);
    w->test = xstrdup(image->test);
}

static void fill_recipe(struct model *m, const struct slot *s, struct wire_job *w)
{
    const struct farm_image *image = s->t->image;
    w->variant = xstrdup(s->t->variant);
    if (image->kind == FARM_KIND_ROOTFS) {
        w->kind = WIRE_JOB_ROOTFS;
        w->script = xstrdup(image->script);
        w->builder = s->pins.n ? xstrdup(s->pins.items[0].reference) : NULL;
        return;
    }
    w->kind = WIRE_JOB_DOCKERFILE;
    w->dockerfile = xstrdup(s->context->dockerfile);
    w->target = slot_expand(m, s, image->target);
}

/* The last good output, so that an equal one need not be pushed: only of the same packing. */
static void fill_previous(const struct slot *s, struct wire_job *w)
{
    const struct publication *p = track_published(s->t) ? s->t->last : NULL;
    const struct child *c = p ? publication_child(p, s->platform) : NULL;
    if (!c || c->lost || !str_eq(c->packing, key_packing(s->t->image)))
        return;
    w->previous = xnew(struct wire_previous);
    w->previous->manifest = xstrdup(c->digest);
    w->previous->content = xstrdup(c->content);
}

void job_spec_fill(struct model *m, const struct slot *s, struct wire_job *w)
{
    const struct farm_image *image = s->t->image;
    w->key = xstrdup(s->key);
    w->image = xstrdup(image->name);
    w->track = xstrdup(s->t->id);
    w->repository = xstrdup(image->repository);
    w->platform = xstrdup(s->platform_name);
    w->emulated = image->emulated;
    w->context = xnew(struct wire_context);
    w->context->id = xstrdup(s->context->id);
    w->epoch = key_epoch(m, s);
    VEC_FOREACH (&s->pins, pin)
        vec_push(&w->bases, (struct wire_base){xstrdup(pin->reference), xstrdup(pin->repository),
                                               xstrdup(pin->digest)});
    fill_recipe(m, s, w);
    fill_config(m, s, w);
    w->media_type = image->media_type == FARM_MEDIA_DOCKER ? WIRE_MEDIA_DOCKER : WIRE_MEDIA_OCI;
    w->compression = image->compression == FARM_COMPRESSION_ZSTD ? WIRE_ZSTD : WIRE_GZIP;
    w->timeout_ms = image->timeout_ms;
    w->no_cache = s->no_cache;
    fill_previous(s, w);
}
