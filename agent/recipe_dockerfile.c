#include "agent/recipe.h"

#include "agent/base_history.h"
#include "agent/buildah.h"
#include "agent/inside.h"
#include "agent/job_image.h"
#include "agent/job_run.h"
#include "agent/tools_root.h"
#include "agent/tree_remove.h"
#include "common/clock.h"
#include "common/dockerfile.h"
#include "common/log.h"
#include "common/oci.h"

#include <errno.h>
#include <sys/stat.h>

#define BASE_NAME  "localhost/sheaf-base:" /* and the digest's hex */
#define IMAGE_NAME "localhost/sheaf-image"

/* Everything that the three runs of buildah (load the bases, build, export) share. */
struct dockerfile_run {
    struct job *job;
    struct buildah_storage storage;
    char *config;     /* folder, becomes /etc/containers: no registry is ever looked for */
    char *tmp;        /* folder, becomes /tmp and /var/tmp */
    char *dockerfile; /* the rewritten one */
    char *out;        /* folder for the export */
    char local[128];  /* the answer of local_name */
};

static void run_done(struct dockerfile_run *d)
{
    free(d->config);
    free(d->tmp);
    free(d->dockerfile);
    free(d->out);
}

static int write_file(const char *dir, const char *name, const char *text, struct err *err)
{
    cleanup_free char *path = xasprintf("%s/%s", dir, name);
    cleanup_fclose FILE *f = fopen(path, "we");
    if (!f || fputs(text, f) < 0 || fflush(f) != 0)
        return err_errno(err, -errno, "writing %s", path);
    return 0;
}

static int prepare(struct dockerfile_run *d, struct err *err)
{
    struct workspace *ws = &d->job->ws;
    int r = workspace_folder(ws, "containers", 0755, &d->config, err);
    if (r == 0)
        r = workspace_folder(ws, "tmp", 01777, &d->tmp, err);
    if (r == 0)
        r = workspace_folder(ws, "out", 0755, &d->out, err);
    if (r == 0)
        r = write_file(d->config, "policy.json",
                       "{\"default\":[{\"type\":\"insecureAcceptAnything\"}]}\n", err);
    if (r == 0)
        r = write_file(d->config, "registries.conf", "unqualified-search-registries = []\n", err);
    if (r == 0)
        r = buildah_storage_open(d->job, &d->storage, err);
    return r;
}

static const char *local_name(const struct dockerfile_reference *reference, void *arg)
{
    struct dockerfile_run *d = arg;
    VEC_FOREACH (&d->job->lease.job.bases, it)
        if (str_eq(it->reference, reference->name)) {
            snprintf(d->local, sizeof(d->local), BASE_NAME "%s", it->digest + strlen("sha256:"));
            return d->local;
        }
    return NULL;
}

/* Parses the context's Dockerfile, and writes it anew with every image a local one. */
static int rewrite(struct dockerfile_run *d, const char *text, size_t n, struct err *err)
{
    const struct wire_job *j = &d->job->lease.job;
    cleanup_dockerfile struct dockerfile *parsed = NULL;
    cleanup_dockerfile_plan struct dockerfile_plan plan = {0};
    VEC(struct dockerfile_arg) args = {0};
    VEC_FOREACH (&j->args, it)
        vec_push(&args, (struct dockerfile_arg){it->key, it->value});
    struct dockerfile_options options = {
        .platform = d->job->platform, .target = j->target, .args = args.items, .n_args = args.n};
    cleanup_free char *version = buildah_version(d->job->options.builder), *written = NULL;
    int r = dockerfile_parse(text, n, &parsed, err);
    if (r == 0)
        r = dockerfile_resolve(parsed, &options, &plan, err);
    if (r == 0)
        r = dockerfile_check_buildah(parsed, &plan, version ? version : "0", err);
    if (r == 0)
        r = dockerfile_rewrite(parsed, &plan, local_name, d, &written, err);
    vec_free(&args);
    if (r < 0)
        return r;
    d->dockerfile = workspace_path(&d->job->ws, "Dockerfile");
    return write_file(d->job->ws.work, "Dockerfile", written, err);
}

static int rewrite_dockerfile(struct dockerfile_run *d)
{
    const char *name = d->job->lease.job.dockerfile;
    struct err err = ERR_INIT;
    cleanup_free char *text = NULL;
    size_t n = 0;
    int r = inside_read(d->job->context, name, DOCKERFILE_TEXT_MAX, &text, &n, &err);
    if (r < 0)
        return job_error(d->job, WIRE_FAILURE_RECIPE, &err, "the Dockerfile");
    r = rewrite(d, text, n, &err);
    return r < 0 ? job_error(d->job, WIRE_FAILURE_RECIPE, &err, "%s", name) : 0;
}

static void add_strings(strvec *argv, const char *const *strings)
{
    for (; *strings; strings++)
        strvec_add(argv, *strings);
}

static const char *const *terminated(strvec *v)
{
    vec_push(v, NULL);
    v->n--;
    return (const char *const *)v->items;
}

static void add_buildah(const struct dockerfile_run *d, strvec *argv)
{
    const char *const words[] = {
        d->job->options.builder, "--root",           "/sheaf/storage",  "--runroot",
        "/run/containers",       "--storage-driver", d->storage.driver, NULL};
    add_strings(argv, words);
}

/* One run of the board's programs in a sandbox with the storage; `mount` is what else it sees. */
static int run_tools(struct dockerfile_run *d, strvec *argv, const struct sandbox_mount *mount,
                     size_t n_mount, int64_t timeout_ms, struct sandbox_outcome *ret,
                     struct err *err)
{
    cleanup_strvec strvec env = {0};
    job_env_base(&env);
    sandbox_mounts mounts = {0};
    tools_root_mounts(&mounts);
    const struct sandbox_mount own[] = {{d->storage.folder, "/sheaf/storage", false},
                                        {d->config, "/etc/containers", true},
                                        {d->tmp, "/tmp", false},
                                        {d->tmp, "/var/tmp", false}};
    for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
        vec_push(&mounts, own[i]);
    for (size_t i = 0; i < n_mount; i++)
        vec_push(&mounts, mount[i]);
    struct sandbox_spec spec = {.mode = SANDBOX_ROOT_EMPTY,
                                .mounts = mounts.items,
                                .n_mounts = mounts.n,
                                .argv = terminated(argv),
                                .env = terminated(&env),
                                .linux32 = job_wants_linux32(d->job),
                                .timeout_ms = timeout_ms};
    int r = job_run(d->job, &spec, ret, err);
    vec_free(&mounts);
    return r;
}

/* Loads the pulled bases into the storage; one that a former job loaded is there already. */
static int load_bases(struct dockerfile_run *d)
{
    static const char script[] =
        "set -e; for hex in $BASES; do name=" BASE_NAME "$hex\n"
        "\"$@\" inspect --type image $name >/dev/null 2>&1 && continue\n"
        "id=$(\"$@\" pull -q oci:/sheaf/bases:$hex); \"$@\" tag $id $name; done";
    struct job *job = d->job;
    if (job->lease.job.bases.n == 0)
        return 0;
    struct err err = ERR_INIT;
    struct sandbox_outcome outcome;
    cleanup_strvec strvec argv = {0};
    cleanup_strbuf struct strbuf list = {0};
    strbuf_add(&list, "BASES='");
    VEC_FOREACH (&job->lease.job.bases, it) {
        const char *hex = it->digest + strlen("sha256:");
        if (base_history_complete(job->bases, hex, &err) < 0)
            return job_error(job, WIRE_FAILURE_INFRA, &err, "the base %s", it->reference);
        strbuf_addf(&list, " %s", hex);
    }
    strbuf_addf(&list, "'; %s", script);
    add_strings(&argv, (const char *const[]){"/bin/sh", "-c", strbuf_str(&list), "sh", NULL});
    add_buildah(d, &argv);
    const struct sandbox_mount bases = {job->bases, "/sheaf/bases", true};
    if (run_tools(d, &argv, &bases, 1, 0, &outcome, &err) < 0)
        return job_error(job, WIRE_FAILURE_INFRA, &err, "loading the bases");
    return job_judge(job, &outcome, WIRE_FAILURE_INFRA, "loading the bases (buildah pull)");
}

static void add_option(strvec *argv, const char *option, const char *value)
{
    strvec_add(argv, option);
    strvec_add(argv, value);
}

static void bud_argv(const struct dockerfile_run *d, strvec *argv)
{
    const struct wire_job *j = &d->job->lease.job;
    cleanup_free char *epoch = xasprintf("%lld", (long long)j->epoch);
    add_buildah(d, argv);
    add_strings(argv, (const char *const[]){"bud", "--pull=never", "--isolation=chroot",
                                            "--identity-label=false", "--layers=true", "--force-rm",
                                            NULL});
    /* The context came filtered; buildah reads some patterns in another way than Docker and we do. */
    add_option(argv, "--ignorefile", "/dev/null");
    add_option(argv, "--timestamp", epoch);
    add_option(argv, "--platform", platform_info(d->job->platform)->name);
    add_option(argv, "--format", j->media_type == WIRE_MEDIA_DOCKER ? "docker" : "oci");
    if (j->no_cache)
        strvec_add(argv, "--no-cache");
    if (j->target && *j->target)
        add_option(argv, "--target", j->target);
    VEC_FOREACH (&j->args, it) {
        cleanup_free char *pair = xasprintf("%s=%s", it->key, it->value);
        add_option(argv, "--build-arg", pair);
    }
    add_option(argv, "-t", IMAGE_NAME);
    add_option(argv, "-f", "/sheaf/Dockerfile");
    strvec_add(argv, "/sheaf/context");
}

static int build(struct dockerfile_run *d)
{
    struct job *job = d->job;
    struct err err = ERR_INIT;
    struct sandbox_outcome outcome;
    cleanup_strvec strvec argv = {0};
    bud_argv(d, &argv);
    const struct sandbox_mount mounts[] = {{job->context, "/sheaf/context", false},
                                           {d->dockerfile, "/sheaf/Dockerfile", true}};
    job_say("building %s with buildah (%s)", job->lease.job.dockerfile, d->storage.driver);
    if (run_tools(d, &argv, mounts, 2, job->lease.job.timeout_ms, &outcome, &err) < 0)
        return job_error(job, WIRE_FAILURE_INFRA, &err, "running buildah");
    job->result.timings.recipe = outcome.duration_ms;
    return job_judge(job, &outcome, WIRE_FAILURE_RECIPE, "the build");
}

/* Writes the built image to the folder out/image, its layers not compressed: ours are made from them. */
static int export_image(struct dockerfile_run *d)
{
    struct err err = ERR_INIT;
    struct sandbox_outcome outcome;
    cleanup_strvec strvec argv = {0};
    add_buildah(d, &argv);
    add_strings(&argv, (const char *const[]){"push", "-q", "--disable-compression", IMAGE_NAME,
                                             "dir:/sheaf/out/image", NULL});
    const struct sandbox_mount out = {d->out, "/sheaf/out", false};
    if (run_tools(d, &argv, &out, 1, 0, &outcome, &err) < 0)
        return job_error(d->job, WIRE_FAILURE_INFRA, &err, "exporting the image");
    return job_judge(d->job, &outcome, WIRE_FAILURE_INFRA, "exporting the image (buildah push)");
}

static int adopt(const char *folder, const char *layout, const struct oci_descriptor *blob,
                 struct err *err)
{
    cleanup_free char *path = xasprintf("%s/%s", folder, blob->digest + strlen("sha256:"));
    struct stat st;
    if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode))
        return err_set(err, -EBADMSG, "buildah's export lacks %.19s", blob->digest);
    return oci_layout_adopt_blob(layout, path, blob->digest, err);
}

/* The exported folder ("dir:") as a layout, which is what image_rewrite reads. */
static int as_layout(const char *folder, const char *layout, struct err *err)
{
    cleanup_free char *text = NULL;
    cleanup_oci_manifest struct oci_manifest m = {0};
    size_t n = 0;
    int r = inside_read(folder, "manifest.json", OCI_MANIFEST_MAX, &text, &n, err);
    if (r == 0)
        r = oci_manifest_parse(text, n, NULL, &m, err);
    if (r == 0)
        r = oci_layout_create(layout, err);
    if (r == 0)
        r = adopt(folder, layout, &m.config, err);
    VEC_FOREACH (&m.layers, it)
        if (r == 0)
            r = adopt(folder, layout, it, err);
    if (r == 0)
        r = oci_layout_put_manifest(layout, RECIPE_TAG, text, n, m.media_type, NULL, err);
    return r;
}

typedef VEC(struct oci_image *) image_list;

static int read_bases(const struct job *job, image_list *ret, struct err *err)
{
    VEC_FOREACH (&job->lease.job.bases, it) {
        struct oci_image *base = NULL;
        int r = oci_image_read(job->bases, it->digest + strlen("sha256:"), &base, err);
        if (r < 0)
            return r;
        vec_push(ret, base);
    }
    return 0;
}

static int hand_over(struct dockerfile_run *d, struct job_image *image, struct image_result *ret,
                     struct err *err)
{
    cleanup_free char *folder = xasprintf("%s/image", d->out);
    cleanup_free char *layout = workspace_path(&d->job->ws, "built");
    struct oci_image *built = NULL;
    image_list bases = {0};
    image->options.whiteouts = true;
    image->options.devices = true;
    int r = as_layout(folder, layout, err);
    if (r == 0)
        r = oci_image_read(layout, RECIPE_TAG, &built, err);
    if (r == 0)
        r = read_bases(d->job, &bases, err);
    if (r == 0)
        r = image_rewrite(built, (const struct oci_image *const *)bases.items, bases.n,
                          d->job->image, RECIPE_TAG, &image->options, &image->settings, ret, err);
    VEC_FOREACH (&bases, it)
        oci_image_free(*it);
    vec_free(&bases);
    oci_image_free(built);
    struct err removal = ERR_INIT;
    if (tree_remove(layout, &removal) < 0)
        log_warning("%s", removal.text);
    return r;
}

static int make_image(struct dockerfile_run *d, struct image_result *ret)
{
    struct err err = ERR_INIT;
    struct job_image image;
    int64_t start = clock_mono_ms();
    job_image_init(&image, d->job);
    int r = hand_over(d, &image, ret, &err);
    if (r < 0)
        r = job_error(d->job, job_kind_of(r), &err, "the image");
    else
        r = job_image_verdict(&image, d->job);
    job_image_done(&image);
    d->job->result.timings.layer = clock_mono_ms() - start;
    return r;
}

int recipe_dockerfile(struct job *job, struct image_result *ret)
{
    struct dockerfile_run d = {.job = job, .storage.lock_fd = -1};
    struct err err = ERR_INIT;
    int r =
        prepare(&d, &err) < 0 ? job_error(job, WIRE_FAILURE_INFRA, &err, "preparing the build") : 0;
    if (r == 0)
        r = rewrite_dockerfile(&d);
    if (r == 0)
        r = load_bases(&d);
    if (r == 0)
        r = build(&d);
    /* A build that failed for the recipe's own reasons leaves a storage that is as good as any. */
    bool good = r == 0 || job->result.kind == WIRE_FAILURE_RECIPE;
    if (r == 0)
        r = export_image(&d);
    buildah_storage_close(job, &d.storage, good, job->options.cache_limit / 2);
    if (r == 0)
        r = make_image(&d, ret);
    run_done(&d);
    return r;
}
