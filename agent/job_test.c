#include "agent/image_user.h"
#include "agent/job_run.h"
#include "agent/job_steps.h"
#include "agent/recipe.h"
#include "agent/tree_remove.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"

#include <errno.h>

/* What the image itself says about how its programs run. */
struct image_run {
    uint32_t uid, gid;
    const char *workdir; /* borrowed from the config */
};

static void add_image_env(const json_t *config, strvec *env)
{
    const json_t *list = json_object_get(config, "Env");
    size_t i;
    json_t *item;
    json_array_foreach (list, i, item) {
        const char *entry = json_string_value(item);
        const char *equals = entry ? strchr(entry, '=') : NULL;
        if (!equals)
            continue;
        cleanup_free char *name = xstrndup(entry, (size_t)(equals - entry));
        job_env_set(env, name, equals + 1);
    }
}

static int unpack(struct job *job, const char *root, struct oci_image **ret, struct err *err)
{
    struct extract_options options = {.flags = EXTRACT_OWNERS | EXTRACT_SKIP_DEVICES,
                                      .id_shift = sandbox_id_shift()};
    int r = oci_image_read(job->image, RECIPE_TAG, ret, err);
    return r < 0 ? r : oci_image_unpack(*ret, root, &options, err);
}

static int read_run(const char *root, const json_t *config, struct image_run *ret, struct err *err)
{
    const char *user = json_string_value(json_object_get(config, "User"));
    ret->workdir = json_string_value(json_object_get(config, "WorkingDir"));
    if (ret->workdir && !*ret->workdir)
        ret->workdir = NULL;
    return image_user(root, user, &ret->uid, &ret->gid, err);
}

static int run_test(struct job *job, const char *root, const struct oci_image *image)
{
    const struct wire_job *j = &job->lease.job;
    const json_t *config = json_object_get(image->config.json, "config");
    struct err err = ERR_INIT;
    struct image_run run = {0};
    if (read_run(root, config, &run, &err) < 0)
        return job_error(job, WIRE_FAILURE_RECIPE, &err, "the test");
    cleanup_strvec strvec env = {0};
    job_env_base(&env);
    add_image_env(config, &env);
    vec_push(&env, NULL);
    env.n--;
    const char *argv[] = {"/bin/sh", "-c", j->test, NULL};
    struct sandbox_spec spec = {.root = root,
                                .mode = SANDBOX_ROOT_DIRECT,
                                .argv = argv,
                                .env = (const char *const *)env.items,
                                .cwd = run.workdir,
                                .uid = run.uid,
                                .gid = run.gid,
                                .linux32 = job_wants_linux32(job),
                                .timeout_ms = j->timeout_ms};
    struct sandbox_outcome outcome;
    int r = job_run(job, &spec, &outcome, &err);
    if (r < 0)
        return job_error(job,
                         r == -ENOENT || r == -ENOEXEC || r == -EACCES ? WIRE_FAILURE_RECIPE
                                                                       : WIRE_FAILURE_INFRA,
                         &err, "running the test in the finished image");
    return job_judge(job, &outcome, WIRE_FAILURE_RECIPE, "the test in the finished image");
}

int job_test(struct job *job, const struct image_result *built)
{
    if (!job->lease.job.test)
        return 0;
    int64_t start = clock_mono_ms();
    struct err err = ERR_INIT;
    struct oci_image *image = NULL;
    cleanup_free char *root = NULL;
    job_say("testing %.19s: %s", built->manifest.digest, job->lease.job.test);
    int r = workspace_folder(&job->ws, "test", 0755, &root, &err);
    if (r == 0)
        r = unpack(job, root, &image, &err);
    if (r < 0)
        r = job_error(job, WIRE_FAILURE_INFRA, &err, "unpacking the finished image for its test");
    else
        r = run_test(job, root, image);
    oci_image_free(image);
    if (root && tree_remove(root, &err) < 0)
        log_warning("%s", err.text);
    job->result.timings.test = clock_mono_ms() - start;
    return r;
}
