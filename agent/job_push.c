#include "agent/gateway.h"
#include "agent/job_steps.h"
#include "agent/recipe.h"
#include "common/clock.h"

#include <errno.h>
#include <fcntl.h>

static struct wire_descriptor describe(const char *digest, int64_t size, const char *media_type)
{
    return (struct wire_descriptor){xstrdup(digest), size, xstrdup(media_type)};
}

static void set_manifest(struct wire_result *result, struct wire_descriptor d)
{
    result->manifest = xnew(struct wire_descriptor);
    *result->manifest = d;
}

/* The result's description of an image that the registry has already. */
static int take_previous(struct job *job, const struct registry_result *manifest, struct err *err)
{
    struct wire_result *result = &job->result;
    cleanup_oci_manifest struct oci_manifest m = {0};
    int r = oci_manifest_parse(manifest->body.s, manifest->body.n, manifest->media_type, &m, err);
    if (r < 0)
        return r;
    set_manifest(result, describe(job->lease.job.previous->manifest, (int64_t)manifest->body.n,
                                  m.media_type));
    str_replace(&result->config_digest, m.config.digest);
    VEC_FOREACH (&m.layers, it)
        vec_push(&result->layers, describe(it->digest, it->size, it->media_type));
    result->reused_previous = true;
    return 0;
}

/* Whether the registry's own previous image has the same content and can stand for what was built. */
static bool reuse_previous(struct job *job, struct registry *gateway,
                           const struct image_result *built)
{
    const struct wire_previous *previous = job->lease.job.previous;
    if (!previous || !str_eq(previous->content, built->content))
        return false;
    struct err err = ERR_INIT;
    cleanup_registry_result struct registry_result manifest = {0};
    int r = registry_wait(
        registry_manifest_get(gateway, job->lease.job.repository, previous->manifest, NULL, NULL),
        &manifest, &err);
    if (r == 0)
        r = take_previous(job, &manifest, &err);
    if (r < 0)
        job_say("the content is that of %.19s, but that cannot be had: %s", previous->manifest,
                err.text);
    else
        job_say("the content is that of %.19s, which stays", previous->manifest);
    return r == 0;
}

/* The repository of a base from which the registry may take a layer; only within one registry. */
static const char *mountable(const struct job *job, const char *digest)
{
    const struct wire_job *j = &job->lease.job;
    size_t host = strcspn(j->repository, "/") + 1;
    VEC_FOREACH (&j->bases, it) {
        cleanup_free char *path = NULL;
        if (strncmp(it->repository, j->repository, host) == 0 && job->bases &&
            oci_layout_blob_path(job->bases, digest, &path, NULL) == 0 && access(path, F_OK) == 0)
            return it->repository;
    }
    return NULL;
}

static int push_blob(struct job *job, struct registry *gateway, const struct oci_descriptor *blob,
                     struct err *err)
{
    cleanup_free char *path = NULL;
    int r = oci_layout_blob_path(job->image, blob->digest, &path, err);
    if (r < 0)
        return r;
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, -errno, "%s", path);
    struct registry_upload upload = {.repository = job->lease.job.repository,
                                     .digest = blob->digest,
                                     .body = http_body_fd(fd, 0, (int64_t)blob->size),
                                     .mount_from = mountable(job, blob->digest)};
    cleanup_registry_result struct registry_result result = {0};
    r = registry_wait(registry_blob_put(gateway, &upload, NULL, NULL), &result, err);
    if (r < 0)
        return err_wrap(err, "blob %.19s", blob->digest);
    job_say("pushed %.19s (%llu bytes%s)", blob->digest, (unsigned long long)blob->size,
            result.existed   ? ", was there already"
            : result.mounted ? ", taken from the base"
                             : "");
    return 0;
}

static int push_all(struct job *job, struct registry *gateway, const struct image_result *built,
                    struct err *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < built->n_layers; i++)
        r = push_blob(job, gateway, &built->layers[i].blob, err);
    if (r == 0)
        r = push_blob(job, gateway, &built->config, err);
    if (r < 0)
        return r;
    struct registry_put put = {.repository = job->lease.job.repository,
                               .reference = built->manifest.digest,
                               .media_type = built->manifest.media_type,
                               .body = built->manifest_bytes,
                               .size = built->manifest.size};
    return registry_wait(registry_manifest_put(gateway, &put, NULL, NULL), NULL, err);
}

static void take_built(struct wire_result *result, const struct image_result *built)
{
    set_manifest(result, describe(built->manifest.digest, (int64_t)built->manifest.size,
                                  built->manifest.media_type));
    str_replace(&result->config_digest, built->config.digest);
    for (size_t i = 0; i < built->n_layers; i++)
        vec_push(&result->layers,
                 describe(built->layers[i].blob.digest, (int64_t)built->layers[i].blob.size,
                          built->layers[i].blob.media_type));
}

int job_push(struct job *job, const struct image_result *built)
{
    struct err err = ERR_INIT;
    int64_t start = clock_mono_ms();
    cleanup_registry struct registry *gateway = gateway_open(job);
    if (!reuse_previous(job, gateway, built)) {
        if (push_all(job, gateway, built, &err) < 0)
            return job_error(job, WIRE_FAILURE_INFRA, &err, "pushing");
        take_built(&job->result, built);
    }
    str_replace(&job->result.content_digest, built->content);
    job->result.timings.push = clock_mono_ms() - start;
    return 0;
}
