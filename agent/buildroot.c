#include "agent/buildroot.h"

#include "agent/apt_sources.h"
#include "agent/job_run.h"
#include "agent/oci_layout.h"
#include "agent/packages.h"
#include "agent/tools_root.h"
#include "agent/tree_remove.h"
#include "common/json.h"
#include "common/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

enum {
    FRESH_S = 7 * 24 * 3600,   /* a Debian one is made anew when older, if it can be */
    UNUSED_S = 30 * 24 * 3600, /* one that nobody used for so long goes */
    MAKE_TIMEOUT_MS = 2 * 3600 * 1000,
    PACKAGES_MAX = 32 << 20,
};

/* What an upstream's mkimage may take for granted. */
static const char include[] =
    "--include=ca-certificates,curl,debian-archive-keyring,debootstrap,dpkg-dev,git,gpg,mmdebstrap,"
    "xz-utils,zstd";

/* One kept build root while it is looked for. */
struct slot {
    char *name;                    /* "bookworm-armhf", "image-0123456789abcdef" */
    char *folder;                  /* <buildroots>/<name>, with root/ and packages.json */
    char *fresh;                   /* where it is made before it is renamed */
    const struct wire_base *image; /* the builder, or NULL */
    char *suite;                   /* of a Debian one */
};

static void slot_done(struct slot *s)
{
    free(s->name);
    free(s->folder);
    free(s->fresh);
    free(s->suite);
}

char *buildroot_suite(const char *variant)
{
    if (apt_is_debian_suite(variant))
        return xstrdup(variant);
    char *host = apt_host_suite();
    return host ? host : xstrdup("stable");
}

static const struct wire_base *find_builder(const struct wire_job *job)
{
    VEC_FOREACH (&job->bases, it)
        if (str_eq(it->reference, job->builder))
            return it;
    return NULL;
}

static int slot_init(struct job *job, struct slot *s)
{
    const struct wire_job *j = &job->lease.job;
    const char *arch = platform_info(job->platform)->debian;
    if (j->builder) {
        s->image = find_builder(j);
        if (!s->image)
            return job_fail(job, WIRE_FAILURE_INFRA, "the builder image %s is not among the bases",
                            j->builder);
        s->name = xasprintf("image-%.24s", s->image->digest + strlen("sha256:"));
    } else {
        if (!arch)
            return job_fail(job, WIRE_FAILURE_RECIPE,
                            "Debian has no port for %s: the image needs a builder", j->platform);
        s->suite = buildroot_suite(j->variant);
        s->name = xasprintf("%s-%s", s->suite, arch);
    }
    s->folder = xasprintf("%s/%s", job->options.buildroots, s->name);
    s->fresh = xasprintf("%s/.new-%s-%d", job->options.buildroots, s->name, (int)getpid());
    return 0;
}

static bool is_usable(const struct slot *s)
{
    cleanup_free char *packages = xasprintf("%s/packages.json", s->folder);
    return access(packages, R_OK) == 0;
}

static bool is_stale(const struct slot *s)
{
    struct stat st;
    if (s->image || stat(s->folder, &st) != 0)
        return false;
    return time(NULL) - st.st_mtime > FRESH_S;
}

static void add_all(strvec *argv, const char *prefix, const strvec *values)
{
    VEC_FOREACH (values, it) {
        cleanup_free char *arg = xasprintf("%s%s", prefix, *it);
        strvec_add(argv, arg);
    }
}

/* The command line of mmdebstrap for /target, with the machine's proxies and these of its mirrors. */
static int mmdebstrap_argv(const struct job *job, const struct slot *s, const strvec *sources,
                           strvec *argv, struct err *err)
{
    cleanup_strvec strvec options = {0};
    int r = apt_options(&options, err);
    if (r < 0)
        return r;
    cleanup_free char *arch = xasprintf("--architectures=%s", platform_info(job->platform)->debian);
    /* Whether the architecture runs here was settled before the job came. */
    const char *const fixed[] = {"mmdebstrap", "--mode=root",       "--variant=minbase", arch,
                                 include,      "--skip=check/qemu", "--format=directory"};
    for (size_t i = 0; i < sizeof(fixed) / sizeof(*fixed); i++)
        strvec_add(argv, fixed[i]);
    add_all(argv, "--aptopt=", &options);
    strvec_add(argv, s->suite);
    strvec_add(argv, "/target");
    add_all(argv, "", sources);
    return 0;
}

static const char *const *terminated(strvec *v)
{
    vec_push(v, NULL);
    v->n--;
    return (const char *const *)v->items;
}

/* Makes `root` anew, an empty folder of the sandbox's root. */
static int make_empty(const char *root, mode_t mode, struct err *err)
{
    uint32_t owner = sandbox_id_shift();
    int r = tree_remove(root, err);
    if (r < 0)
        return r;
    if (mkdir(root, 0755) != 0 || chown(root, owner, owner) != 0 || chmod(root, mode) != 0)
        return err_errno(err, -errno, "making %s", root);
    return 0;
}

/* Runs mmdebstrap as root of a sandbox, so that the files' owners on disk are the shifted ones. */
static int run_mmdebstrap(struct job *job, const char *root, strvec *argv,
                          struct sandbox_outcome *ret, struct err *err)
{
    cleanup_strvec strvec env = {0};
    cleanup_free char *tmp = workspace_path(&job->ws, "mmdebstrap-tmp");
    int r = make_empty(root, 0755, err);
    if (r == 0)
        r = make_empty(tmp, 01777, err);
    if (r < 0)
        return r;
    job_env_base(&env);
    sandbox_mounts mounts = {0};
    tools_root_mounts(&mounts);
    vec_push(&mounts, (struct sandbox_mount){root, "/target", false});
    vec_push(&mounts, (struct sandbox_mount){tmp, "/tmp", false});
    struct sandbox_spec spec = {.mode = SANDBOX_ROOT_EMPTY,
                                .mounts = mounts.items,
                                .n_mounts = mounts.n,
                                .argv = terminated(argv),
                                .env = terminated(&env),
                                .timeout_ms = MAKE_TIMEOUT_MS};
    r = job_run(job, &spec, ret, err);
    vec_free(&mounts);
    return r;
}

/* Makes it from the first `n` of the sources; 0 also when mmdebstrap failed, then *ret says how. */
static int try_debian(struct job *job, const struct slot *s, const char *root,
                      const strvec *sources, size_t n, struct sandbox_outcome *ret)
{
    struct err err = ERR_INIT;
    cleanup_strvec strvec argv = {0};
    strvec some = {.items = sources->items, .n = n}; /* borrowed */
    int r = mmdebstrap_argv(job, s, &some, &argv, &err);
    if (r == 0)
        r = run_mmdebstrap(job, root, &argv, ret, &err);
    if (r < 0)
        return job_error(job, WIRE_FAILURE_INFRA, &err, "making the build root %s", s->name);
    return 0;
}

static int make_debian(struct job *job, const struct slot *s, const char *root)
{
    struct err err = ERR_INIT;
    cleanup_strvec strvec sources = {0};
    if (apt_sources_for(s->suite, &sources, &err) < 0)
        return job_error(job, WIRE_FAILURE_INFRA, &err, "making the build root %s", s->name);
    struct sandbox_outcome outcome;
    job_say("making the build root %s with mmdebstrap (kept for later jobs)", s->name);
    int r = try_debian(job, s, root, &sources, sources.n, &outcome);
    if (r == 0 && !sandbox_succeeded(&outcome) && sources.n > 1) {
        /* Mirrors that are whole in the release itself are not always so in updates and security. */
        job_say("that failed: once more from the release itself alone");
        r = try_debian(job, s, root, &sources, 1, &outcome);
    }
    return r < 0
               ? r
               : job_judge(job, &outcome, WIRE_FAILURE_INFRA, "making the build root (mmdebstrap)");
}

static int unpack_builder(struct job *job, const struct slot *s, const char *root)
{
    struct err err = ERR_INIT;
    struct oci_image *image = NULL;
    struct extract_options options = {.flags = EXTRACT_OWNERS | EXTRACT_SKIP_DEVICES,
                                      .id_shift = sandbox_id_shift()};
    int r = oci_image_read(job->bases, s->image->digest + strlen("sha256:"), &image, &err);
    if (r == 0)
        r = oci_image_unpack(image, root, &options, &err);
    oci_image_free(image);
    if (r < 0)
        return job_error(job, WIRE_FAILURE_INFRA, &err, "unpacking the builder image %s",
                         s->image->reference);
    return 0;
}

static int write_packages(const struct slot *s, const char *root, struct err *err)
{
    struct packages *found = packages_new();
    int r = packages_read_folder(found, root, err);
    cleanup_json json_t *list = packages_json(found);
    packages_free(found);
    cleanup_free char *path = xasprintf("%s/packages.json", s->fresh);
    if (r == 0 && json_dump_file(list, path, JSON_COMPACT) != 0)
        r = err_errno(err, errno ? -errno : -EIO, "writing %s", path);
    return r;
}

static int replace_folder(const struct slot *s, struct err *err)
{
    int r = tree_remove(s->folder, err);
    if (r == 0 && rename(s->fresh, s->folder) != 0)
        r = err_errno(err, -errno, "keeping %s", s->folder);
    return r;
}

static int make(struct job *job, const struct slot *s)
{
    struct err err = ERR_INIT;
    cleanup_free char *root = xasprintf("%s/root", s->fresh);
    if (mkdir(s->fresh, 0755) != 0 || make_empty(root, 0755, &err) < 0)
        return job_fail(job, WIRE_FAILURE_INFRA, "making %s: %s", root,
                        err.code ? err.text : strerror(errno));
    int r = s->image ? unpack_builder(job, s, root) : make_debian(job, s, root);
    if (r == 0 && (write_packages(s, root, &err) < 0 || replace_folder(s, &err) < 0))
        r = job_error(job, WIRE_FAILURE_INFRA, &err, "making the build root %s", s->name);
    if (r < 0 && tree_remove(s->fresh, &err) < 0)
        log_warning("%s", err.text);
    return r;
}

/* Makes it if it is missing, or if it is old and nobody uses it. An old one outlives a mirror that is
 * away. */
static int make_if_needed(struct job *job, const struct slot *s, int lock)
{
    bool usable = is_usable(s);
    if (usable && !is_stale(s))
        return 0;
    if (flock(lock, LOCK_EX | (usable ? LOCK_NB : 0)) != 0)
        return 0;
    if (is_usable(s) && !is_stale(s))
        return 0; /* somebody made it while we waited */
    int r = make(job, s);
    if (r == 0 || !is_usable(s))
        return r;
    job_say("the build root %s is old, but could not be made anew: going on with it", s->name);
    free(job->result.reason);
    job->result.reason = NULL;
    job->result.outcome = WIRE_SUCCEEDED;
    job->result.kind = WIRE_FAILURE_NONE;
    return 0;
}

static int read_packages(struct job *job, const struct slot *s, struct err *err)
{
    cleanup_free char *path = xasprintf("%s/packages.json", s->folder);
    cleanup_json json_t *list = NULL;
    int r = json_parse_file(path, PACKAGES_MAX, &list, err);
    if (r < 0)
        return r;
    job->result.build_root = xcalloc(1, sizeof(*job->result.build_root));
    size_t i;
    json_t *item;
    json_array_foreach (list, i, item) {
        struct wire_package p = {0};
        if (wire_package_from_json(item, &p, NULL) == 0)
            vec_push(job->result.build_root, p);
    }
    return 0;
}

/* What a job that died was making: its name ends in the process's id. */
static void sweep_half_made(const char *buildroots, const char *name)
{
    const char *pid = strrchr(name, '-');
    if (!pid || kill(atoi(pid + 1), 0) == 0 || errno != ESRCH)
        return;
    struct err err = ERR_INIT;
    cleanup_free char *folder = xasprintf("%s/%s", buildroots, name);
    if (tree_remove(folder, &err) < 0)
        log_warning("%s", err.text);
}

/* Removes what no job used for a month, and what a crash left half-made. */
static void sweep(const char *buildroots)
{
    DIR *d = opendir(buildroots);
    struct dirent *e;
    while (d && (e = readdir(d))) {
        if (str_starts(e->d_name, ".new-"))
            sweep_half_made(buildroots, e->d_name);
        struct stat st;
        if (!str_ends(e->d_name, ".lock") || fstatat(dirfd(d), e->d_name, &st, 0) != 0 ||
            time(NULL) - st.st_mtime < UNUSED_S)
            continue;
        cleanup_close int lock = openat(dirfd(d), e->d_name, O_RDWR | O_CLOEXEC);
        if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) != 0)
            continue;
        cleanup_free char *folder =
            xasprintf("%s/%.*s", buildroots, (int)(strlen(e->d_name) - strlen(".lock")), e->d_name);
        struct err err = ERR_INIT;
        if (tree_remove(folder, &err) < 0)
            log_warning("%s", err.text);
    }
    if (d)
        closedir(d);
}

static int open_slot(struct job *job, struct slot *s, struct buildroot *ret)
{
    cleanup_free char *lock_path = xasprintf("%s.lock", s->folder);
    cleanup_close int lock = open(lock_path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (lock < 0)
        return job_fail(job, WIRE_FAILURE_INFRA, "opening %s: %s", lock_path, strerror(errno));
    if (futimens(lock, NULL) != 0)
        log_warning("%s: %s", lock_path, strerror(errno));
    int r = make_if_needed(job, s, lock);
    if (r < 0)
        return r;
    struct err err = ERR_INIT;
    if (flock(lock, LOCK_SH) != 0 || read_packages(job, s, &err) < 0)
        return job_error(job, WIRE_FAILURE_INFRA, &err, "the build root %s", s->name);
    ret->root = xasprintf("%s/root", s->folder);
    ret->lock_fd = steal_fd(&lock);
    return 0;
}

int buildroot_open(struct job *job, struct buildroot *ret)
{
    struct slot s = {0};
    if (mkdir(job->options.buildroots, 0755) != 0 && errno != EEXIST)
        return job_fail(job, WIRE_FAILURE_INFRA, "making %s: %s", job->options.buildroots,
                        strerror(errno));
    sweep(job->options.buildroots);
    int r = slot_init(job, &s);
    if (r == 0)
        r = open_slot(job, &s, ret);
    slot_done(&s);
    return r;
}

void buildroot_close(struct buildroot *b)
{
    free(b->root);
    closep(&b->lock_fd);
    *b = (struct buildroot){.lock_fd = -1};
}
