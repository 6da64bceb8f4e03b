#include "agent/base_cache.h"
#include "agent/gateway.h"
#include "agent/job_steps.h"
#include "agent/oci_layout.h"
#include "common/clock.h"

#include <errno.h>
#include <fcntl.h>

enum { CONFIG_MAX = 8 << 20 };

struct pulling {
    struct job *job;
    struct registry *gateway;
    const struct wire_base *base;
    char *cache; /* layout */
};

static int fetch_blob(const struct pulling *p, const struct oci_descriptor *d, struct err *err)
{
    cleanup_free char *path = workspace_path(&p->job->ws, "blob");
    cleanup_close int fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0644);
    if (fd < 0)
        return err_errno(err, -errno, "making %s", path);
    struct registry_op *op = registry_blob_get(p->gateway, p->base->repository, d->digest, d->size,
                                               http_sink_fd(fd), NULL, NULL);
    int r = registry_wait(op, NULL, err);
    return r < 0 ? r : oci_layout_adopt_blob(p->job->bases, path, d->digest, err);
}

/* From the cache, else from the gateway. */
static int get_blob(const struct pulling *p, const struct oci_descriptor *d, struct err *err)
{
    if (base_cache_take(p->cache, p->job->bases, d->digest, NULL) == 0)
        return 0;
    int r = fetch_blob(p, d, err);
    if (r < 0)
        return err_wrap(err, "blob %.19s", d->digest);
    base_cache_give(p->cache, p->job->bases, d->digest);
    return 0;
}

static int get_parts(const struct pulling *p, const struct registry_result *manifest,
                     struct err *err)
{
    cleanup_oci_manifest struct oci_manifest m = {0};
    int r = oci_manifest_parse(manifest->body.s, manifest->body.n, manifest->media_type, &m, err);
    if (r == 0 && m.config.size > CONFIG_MAX)
        r = err_set(err, -EFBIG, "its config is %lld bytes", (long long)m.config.size);
    if (r == 0)
        r = get_blob(p, &m.config, err);
    VEC_FOREACH (&m.layers, it)
        if (r == 0)
            r = get_blob(p, it, err);
    if (r < 0)
        return r;
    char digest[LAYER_DIGEST_MAX];
    r = oci_layout_put_manifest(p->job->bases, p->base->digest + strlen("sha256:"),
                                manifest->body.s, manifest->body.n, m.media_type, digest, err);
    if (r == 0 && !str_eq(digest, p->base->digest))
        r = err_set(err, -EBADMSG, "the manifest is not %s but %s", p->base->digest, digest);
    return r;
}

static int pull(const struct pulling *p, struct err *err)
{
    cleanup_registry_result struct registry_result manifest = {0};
    job_say("base %s (%.19s)", p->base->reference, p->base->digest);
    if (base_cache_manifest(p->cache, p->base->digest, &manifest.body, &manifest.media_type,
                            NULL) == 0)
        return get_parts(p, &manifest, err);
    strbuf_done(&manifest.body);
    int r = registry_wait(
        registry_manifest_get(p->gateway, p->base->repository, p->base->digest, NULL, NULL),
        &manifest, err);
    if (r == 0 && (r = get_parts(p, &manifest, err)) == 0)
        base_cache_give(p->cache, p->job->bases, p->base->digest);
    return r;
}

int job_pull_bases(struct job *job)
{
    struct err err = ERR_INIT;
    int64_t start = clock_mono_ms();
    job->bases = workspace_path(&job->ws, "bases");
    if (oci_layout_create(job->bases, &err) < 0)
        return job_error(job, WIRE_FAILURE_INFRA, &err, "preparing the bases");
    cleanup_registry struct registry *gateway = gateway_open(job);
    cleanup_free char *cache = xasprintf("%s/bases", job->options.cache);
    int r = 0;
    VEC_FOREACH (&job->lease.job.bases, it) {
        struct pulling p = {job, gateway, it, cache};
        if (r == 0 && pull(&p, &err) < 0)
            r = job_error(job, WIRE_FAILURE_INFRA, &err, "pulling the base %s", it->reference);
    }
    base_cache_trim(cache, job->options.cache_limit / 2);
    job->result.timings.pull = clock_mono_ms() - start;
    return r;
}
