/* Manifests of pinned bases: they say which blobs a board may pull. A digest's bytes never change, so
 * what was fetched once is good for every board that follows. */
#include "daemon/gateway_int.h"

#include <errno.h>
#include <utlist.h>

/* Bytes of manifests that are kept beside those in use. */
#define BASES_MAX (16 * 1024 * 1024)

static void base_free(struct base *b)
{
    free(b->key);
    free(b->text);
    free(b->media_type);
    oci_manifest_done(&b->manifest);
    free(b);
}

static void base_drop(struct base *b)
{
    struct gateway *g = b->gateway;
    HASH_DEL(g->bases, b);
    g->bases_size -= b->size;
    base_free(b);
}

/* Drops the ones that were not used for longest. The hash is in order of last use. */
static void make_room(struct gateway *g, const struct base *keep)
{
    struct base *b, *next;
    HASH_ITER(hh, g->bases, b, next)
    {
        if (g->bases_size <= BASES_MAX)
            return;
        if (b->text && b != keep)
            base_drop(b);
    }
}

static void wait_for(struct base *b, struct relay *r)
{
    r->waits_for = b;
    DL_APPEND2(b->waiters, r, wait_prev, wait_next);
}

void base_forget(struct relay *r)
{
    if (!r->waits_for)
        return;
    DL_DELETE2(r->waits_for->waiters, r, wait_prev, wait_next);
    r->waits_for = NULL;
}

/* Tells everybody who waits; `err` is NULL when the manifest is there. */
static void tell_waiters(struct base *b, const struct err *err)
{
    struct relay *r;
    while ((r = b->waiters)) {
        base_forget(r);
        r->with_base(r, b, err);
    }
}

static void fetched(void *arg, struct registry_result *result, const struct err *err)
{
    struct base *b = arg;
    struct gateway *g = b->gateway;
    b->op = NULL;
    if (err || g->closed) {
        struct err why = err ? *err : (struct err){.code = -ECANCELED};
        HASH_DEL(g->bases, b); /* nobody new comes to wait while the others are told */
        g->telling++;
        tell_waiters(b, &why);
        g->telling--;
        base_free(b);
        gateway_settle(g);
        return;
    }
    b->size = result->body.n;
    b->text = strbuf_steal(&result->body);
    b->media_type = steal_ptr(result->media_type);
    g->bases_size += b->size;
    /* An index names no blobs; it stays an empty manifest. */
    if (oci_manifest_parse(b->text, b->size, b->media_type, &b->manifest, NULL) < 0)
        b->manifest = (struct oci_manifest){0};
    make_room(g, b);
    tell_waiters(b, NULL);
}

static struct base *base_new(struct relay *r, const char *path, const char *digest, char *key)
{
    struct base *b = xnew(struct base);
    b->key = key;
    b->gateway = r->gateway;
    HASH_ADD_KEYPTR(hh, r->gateway->bases, b->key, strlen(b->key), b);
    b->op = registry_manifest_get(relay_registry(r), path, digest, fetched, b);
    return b;
}

void base_get_from(struct relay *r, const char *repository, const char *path, const char *digest)
{
    struct gateway *g = r->gateway;
    struct base *b = NULL;
    char *key = xasprintf("%s@%s", repository, digest);
    HASH_FIND_STR(g->bases, key, b);
    if (!b) {
        wait_for(base_new(r, path, digest, key), r);
        return;
    }
    free(key);
    HASH_DEL(g->bases, b); /* to the end of the order of use */
    HASH_ADD_KEYPTR(hh, g->bases, b->key, strlen(b->key), b);
    if (b->text)
        r->with_base(r, b, NULL);
    else
        wait_for(b, r);
}

void base_get(struct relay *r, const char *digest)
{
    base_get_from(r, r->target.repository, r->path, digest);
}

const struct oci_descriptor *base_blob(const struct base *base, const char *digest)
{
    if (!base->manifest.media_type)
        return NULL;
    if (str_eq(base->manifest.config.digest, digest))
        return &base->manifest.config;
    VEC_FOREACH (&base->manifest.layers, layer)
        if (str_eq(layer->digest, digest))
            return layer;
    return NULL;
}

void bases_free(struct gateway *g)
{
    struct base *b, *next;
    HASH_ITER(hh, g->bases, b, next)
    {
        if (b->op)
            registry_op_cancel(b->op); /* `fetched` frees it */
        else
            base_drop(b);
    }
}
