/* Looking one base up.
 *
 *     happy path     HEAD -> the digest that was known: unchanged
 *                    HEAD -> another -> GET -> an index: its children; a manifest: -> GET its config: one child
 *     failure modes  not there: gone; anything else: an error, looked at again later */
#include "daemon/resolve.h"

#include <errno.h>

struct look {
    struct resolver *r;
    char *reference, *known, *tag, *digest;
    char *repository; /* full; `path` points into it */
    const char *path;
    struct registry *registry;
    struct registry_op *op;
    struct look *prev, *next;
};

struct resolver {
    struct registries *registries;
    resolve_done_fn done;
    void *data;
    struct look *looks;
    bool closing; /* freed with its last look */
};

struct resolver *resolver_new(struct registries *registries, resolve_done_fn done, void *data)
{
    struct resolver *r = xnew(struct resolver);
    *r = (struct resolver){.registries = registries, .done = done, .data = data};
    return r;
}

static void drop(struct look *l)
{
    struct resolver *r = l->r;
    if (l->prev)
        l->prev->next = l->next;
    else
        r->looks = l->next;
    if (l->next)
        l->next->prev = l->prev;
    free(l->reference);
    free(l->known);
    free(l->tag);
    free(l->digest);
    free(l->repository);
    free(l);
    if (r->closing && !r->looks)
        free(r);
}

static void finish(struct look *l, struct resolve_outcome *outcome)
{
    outcome->reference = l->reference;
    if (!l->r->closing)
        l->r->done(l->r->data, outcome);
    drop(l);
}

static void fail(struct look *l, const struct err *err)
{
    finish(l, &(struct resolve_outcome){.error = err->text});
}

/* As the registry answered. */
static void fail_asked(struct look *l, const struct registry_result *result, const struct err *err)
{
    finish(l, &(struct resolve_outcome){.gone = err->code == -ENOENT,
                                        .error = err->text,
                                        .wait_ms = result->retry_after_ms});
}

static void take_index(struct look *l, const struct oci_index *index)
{
    VEC(struct base_child) children = {0};
    for (int p = 0; p < PLATFORM_COUNT; p++) {
        const struct oci_descriptor *d = oci_index_find(index, (enum platform)p);
        if (d)
            vec_push(&children, (struct base_child){(enum platform)p, d->digest});
    }
    finish(l, &(struct resolve_outcome){
                  .digest = l->digest, .children = children.items, .n = children.n});
    vec_free(&children);
}

static void on_config(void *arg, struct registry_result *result, const struct err *err)
{
    struct look *l = arg;
    if (err) {
        fail_asked(l, result, err);
        return;
    }
    cleanup_oci_config struct oci_config config = {0};
    struct err bad = ERR_INIT;
    struct base_child child = {.digest = l->digest};
    if (oci_config_parse(strbuf_str(&result->body), result->body.n, &config, &bad) < 0) {
        fail(l, &bad);
        return;
    }
    bool known =
        platform_from_oci(config.os, config.architecture, config.variant, &child.platform) == 0;
    finish(l, &(struct resolve_outcome){.digest = l->digest, .children = &child, .n = known});
}

static void on_document(void *arg, struct registry_result *result, const struct err *err)
{
    struct look *l = arg;
    if (err) {
        fail_asked(l, result, err);
        return;
    }
    struct err bad = ERR_INIT;
    const char *text = strbuf_str(&result->body);
    str_replace(&l->digest, result->digest);
    if (oci_kind_of(result->media_type) == OCI_KIND_INDEX) {
        cleanup_oci_index struct oci_index index = {0};
        if (oci_index_parse(text, result->body.n, result->media_type, &index, &bad) < 0)
            fail(l, &bad);
        else
            take_index(l, &index);
        return;
    }
    cleanup_oci_manifest struct oci_manifest manifest = {0};
    if (oci_manifest_parse(text, result->body.n, result->media_type, &manifest, &bad) < 0) {
        fail(l, &bad);
        return;
    }
    l->op = registry_blob_get(l->registry, l->path, manifest.config.digest, manifest.config.size,
                              http_sink_memory(OCI_MANIFEST_MAX), on_config, l);
}

static void on_head(void *arg, struct registry_result *result, const struct err *err)
{
    struct look *l = arg;
    if (err)
        fail_asked(l, result, err);
    else if (str_eq(result->digest, l->known))
        finish(l, &(struct resolve_outcome){.digest = l->known, .unchanged = true});
    else
        l->op = registry_manifest_get(l->registry, l->path, l->tag, on_document, l);
}

void resolve_start(struct resolver *r, const char *reference, const char *known)
{
    struct look *l = xnew(struct look);
    l->r = r;
    l->reference = xstrdup(reference);
    l->known = xstrdup(known);
    l->next = r->looks;
    if (l->next)
        l->next->prev = l;
    r->looks = l;
    cleanup_oci_reference struct oci_reference parsed = {0};
    struct err err = ERR_INIT;
    if (oci_reference_parse(reference, &parsed, &err) < 0)
        abort(); /* the model has parsed it */
    l->repository = oci_reference_repository(&parsed);
    l->tag = xstrdup(parsed.digest ? parsed.digest : parsed.tag);
    l->registry = registries_of(r->registries, l->repository, &l->path);
    l->op = registry_manifest_head(l->registry, l->path, l->tag, on_head, l);
}

void resolver_free(struct resolver *r)
{
    if (!r)
        return;
    r->closing = true;
    if (!r->looks)
        free(r);
    else
        for (struct look *l = r->looks; l; l = l->next)
            registry_op_cancel(l->op);
}
