#include "agent/recipe.h"

#include "agent/apt_sources.h"
#include "agent/buildroot.h"
#include "agent/job_image.h"
#include "agent/job_run.h"
#include "agent/run.h"
#include "common/clock.h"

#include <errno.h>
#include <sys/stat.h>

#define CONTEXT "/sheaf/context"
#define OUT     "/sheaf/out"

/* What the script may count on, beside the usual. */
static void recipe_env(const struct job *job, strvec *env)
{
    const struct wire_job *j = &job->lease.job;
    const struct platform_info *p = platform_info(job->platform);
    cleanup_free char *epoch = xasprintf("%lld", (long long)j->epoch);
    job_env_base(env);
    VEC_FOREACH (&j->args, it)
        job_env_set(env, it->key, it->value);
    job_env_set(env, "SHEAF_ROOTFS", OUT "/rootfs");
    job_env_set(env, "SHEAF_CONTEXT", CONTEXT);
    job_env_set(env, "SHEAF_IMAGE", j->image);
    job_env_set(env, "SHEAF_VARIANT", j->variant);
    job_env_set(env, "SHEAF_PLATFORM", p->name);
    job_env_set(env, "SHEAF_ARCH", p->architecture);
    job_env_set(env, "SHEAF_DEBIAN_ARCH", p->debian);
    job_env_set(env, "SHEAF_ALPINE_ARCH", p->alpine);
    job_env_set(env, "SOURCE_DATE_EPOCH", epoch);
}

/* What the recipe may change: the build root itself under an overlay or, where there is none, a copy. */
static int prepare_root(struct job *job, const struct buildroot *b, struct sandbox_spec *spec,
                        char **ret_copy, struct err *err)
{
    spec->root = b->root;
    spec->mode = SANDBOX_ROOT_OVERLAY;
    if (sandbox_overlay_works(job->ws.work))
        return 0;
    cleanup_free char *copy = workspace_path(&job->ws, "root");
    cleanup_strbuf struct strbuf output = {0};
    const char *const argv[] = {"cp", "-a", "--reflink=auto", b->root, copy, NULL};
    job_say("no overlay on this board: copying the build root");
    int r = run_capture(argv, &output, err);
    if (r < 0)
        return r;
    *ret_copy = steal_ptr(copy);
    spec->root = *ret_copy;
    spec->mode = SANDBOX_ROOT_DIRECT;
    return 0;
}

/* Runs the script in the build root. */
static int run_script(struct job *job, const struct buildroot *b, const char *out)
{
    const struct wire_job *j = &job->lease.job;
    struct err err = ERR_INIT;
    cleanup_free char *tmp = NULL;
    if (workspace_folder(&job->ws, "tmp", 01777, &tmp, &err) < 0)
        return job_error(job, WIRE_FAILURE_INFRA, &err, "preparing the recipe");
    cleanup_strvec strvec env = {0};
    recipe_env(job, &env);
    vec_push(&env, NULL);
    env.n--;
    const struct sandbox_mount mounts[] = {
        {job->context, CONTEXT, false}, {out, OUT, false}, {tmp, "/tmp", false}};
    const char *argv[] = {"/bin/sh", "-c", j->script, NULL};
    struct sandbox_spec spec = {.mounts = mounts,
                                .n_mounts = sizeof(mounts) / sizeof(*mounts),
                                .argv = argv,
                                .env = (const char *const *)env.items,
                                .cwd = CONTEXT,
                                .linux32 = job_wants_linux32(job),
                                .timeout_ms = j->timeout_ms};
    struct sandbox_outcome outcome;
    cleanup_free char *copy = NULL;
    job_say("running the recipe");
    if (prepare_root(job, b, &spec, &copy, &err) < 0 || job_run(job, &spec, &outcome, &err) < 0)
        return job_error(job, WIRE_FAILURE_INFRA, &err, "running the recipe");
    job->result.timings.recipe = outcome.duration_ms;
    return job_judge(job, &outcome, WIRE_FAILURE_RECIPE, "the recipe");
}

/* The layer of what the script left at $SHEAF_ROOTFS; 0 or the error of layer.h. */
static int make_layer(const char *rootfs, const char *file, const struct layer_options *options,
                      struct layer_result *layer, struct err *err)
{
    struct stat st;
    if (lstat(rootfs, &st) != 0)
        return err_set(err, -EBADMSG, "the recipe succeeded but left nothing at $SHEAF_ROOTFS");
    if (S_ISDIR(st.st_mode))
        return layer_from_folder(rootfs, file, options, layer, err);
    if (S_ISREG(st.st_mode))
        return layer_from_tar(rootfs, file, options, layer, err);
    return err_set(err, -EBADMSG, "$SHEAF_ROOTFS is neither a folder nor a tar");
}

static int make_image(struct job *job, const char *out, struct job_image *image,
                      struct image_result *ret)
{
    struct err err = ERR_INIT;
    struct layer_result layer;
    cleanup_free char *rootfs = xasprintf("%s/rootfs", out);
    cleanup_free char *file = workspace_path(&job->ws, "layer");
    int r = make_layer(rootfs, file, &image->options, &layer, &err);
    if (r < 0)
        return job_error(job, job_kind_of(r), &err, "the root file system");
    if (layer.entries == 0)
        return job_fail(job, WIRE_FAILURE_REJECTED, "the recipe left an empty root file system");
    job_say("one layer of %llu entries, %llu bytes (%llu unpacked)",
            (unsigned long long)layer.entries, (unsigned long long)layer.size,
            (unsigned long long)layer.unpacked);
    r = image_from_rootfs(job->image, RECIPE_TAG, file, &layer, image->options.compression,
                          &image->settings, ret, &err);
    if (r < 0)
        return job_error(job, WIRE_FAILURE_INFRA, &err, "making the image");
    return job_image_verdict(image, job);
}

int recipe_rootfs(struct job *job, struct image_result *ret)
{
    struct err err = ERR_INIT;
    struct buildroot b = {.lock_fd = -1};
    cleanup_free char *out = NULL;
    int r = buildroot_open(job, &b);
    if (r == 0 && workspace_folder(&job->ws, "out", 0755, &out, &err) < 0)
        r = job_error(job, WIRE_FAILURE_INFRA, &err, "preparing the recipe");
    if (r == 0)
        r = run_script(job, &b, out);
    buildroot_close(&b);
    if (r < 0)
        return r;
    int64_t start = clock_mono_ms();
    struct job_image image;
    job_image_init(&image, job);
    r = make_image(job, out, &image, ret);
    job_image_done(&image);
    job->result.timings.layer = clock_mono_ms() - start;
    return r;
}
