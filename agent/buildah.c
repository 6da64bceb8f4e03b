#include "agent/buildah.h"

#include "agent/run.h"
#include "agent/sandbox.h"
#include "agent/tree_remove.h"
#include "common/digest.h"
#include "common/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <sys/file.h>
#include <sys/stat.h>

char *buildah_version(const char *program)
{
    const char *const argv[] = {program, "--version", NULL};
    cleanup_strbuf struct strbuf out = {0};
    char version[64];
    if (run_capture(argv, &out, NULL) < 0 ||
        sscanf(strbuf_str(&out), "buildah version %63s", version) != 1)
        return NULL;
    return xstrdup(version);
}

static int make_owned(const char *path, struct err *err)
{
    uint32_t owner = sandbox_id_shift();
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return err_errno(err, -errno, "making %s", path);
    if (chown(path, owner, owner) != 0)
        return err_errno(err, -errno, "owning %s", path);
    return 0;
}

static void remove_logged(const char *path)
{
    struct err err = ERR_INIT;
    if (tree_remove(path, &err) < 0)
        log_warning("%s", err.text);
}

/* "<cache>/buildah/<hash of repository, platform and driver>". */
static char *kept_path(const struct job *job, const char *driver)
{
    char digest[DIGEST_SIZE];
    cleanup_free char *text =
        xasprintf("%s %s %s", job->lease.job.repository, job->lease.job.platform, driver);
    digest_of(text, strlen(text), digest);
    return xasprintf("%s/buildah/%.24s", job->options.cache, digest + strlen("sha256:"));
}

static int open_kept(const struct job *job, struct buildah_storage *s)
{
    cleanup_free char *parent = xasprintf("%s/buildah", job->options.cache);
    if (mkdir(parent, 0755) != 0 && errno != EEXIST)
        return -errno;
    cleanup_free char *folder = kept_path(job, s->driver);
    cleanup_free char *lock_path = xasprintf("%s.lock", folder);
    cleanup_close int lock = open(lock_path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) != 0)
        return -errno;
    s->dirty = xasprintf("%s.dirty", folder);
    if (access(s->dirty, F_OK) == 0)
        remove_logged(folder);
    cleanup_close int mark = open(s->dirty, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    s->folder = steal_ptr(folder);
    s->lock_fd = steal_fd(&lock);
    return mark < 0 ? -errno : 0;
}

int buildah_storage_open(struct job *job, struct buildah_storage *ret, struct err *err)
{
    struct buildah_storage s = {.lock_fd = -1, .driver = "vfs"};
    if (sandbox_overlay_works(job->ws.work))
        s.driver = "overlay"; /* vfs copies everything, and works anywhere */
    if (job->lease.job.no_cache || open_kept(job, &s) < 0) {
        free(s.folder);
        free(s.dirty);
        closep(&s.lock_fd);
        s = (struct buildah_storage){.lock_fd = -1, .driver = s.driver};
        s.folder = workspace_path(&job->ws, "storage");
    }
    s.fresh = access(s.folder, F_OK) != 0;
    int r = make_owned(s.folder, err);
    *ret = s;
    return r;
}

static int64_t folder_size(const char *path)
{
    char *paths[] = {(char *)(uintptr_t)path, NULL};
    FTS *fts = fts_open(paths, FTS_PHYSICAL | FTS_XDEV | FTS_NOCHDIR, NULL);
    FTSENT *e;
    int64_t total = 0;
    while (fts && (e = fts_read(fts)))
        if (e->fts_info != FTS_DP && e->fts_statp)
            total += (int64_t)e->fts_statp->st_blocks * 512;
    if (fts)
        fts_close(fts);
    return total;
}

struct kept {
    char *folder;
    int64_t used, size;
};

static int oldest_first(const void *a, const void *b)
{
    int64_t x = ((const struct kept *)a)->used, y = ((const struct kept *)b)->used;
    return (x > y) - (x < y);
}

/* Removes a storage that nobody uses. */
static bool evict(const struct kept *k)
{
    cleanup_free char *lock_path = xasprintf("%s.lock", k->folder);
    cleanup_close int lock = open(lock_path, O_RDWR | O_CLOEXEC);
    if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) != 0)
        return false;
    remove_logged(k->folder);
    return true;
}

static void trim(const char *cache, int64_t limit)
{
    cleanup_free char *parent = xasprintf("%s/buildah", cache);
    DIR *d = opendir(parent);
    VEC(struct kept) all = {0};
    int64_t total = 0;
    struct dirent *e;
    while (d && (e = readdir(d))) {
        struct stat st;
        if (e->d_name[0] == '.' || strchr(e->d_name, '.') ||
            fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(st.st_mode))
            continue;
        char *folder = xasprintf("%s/%s", parent, e->d_name);
        vec_push(&all, (struct kept){folder, st.st_mtime, folder_size(folder)});
        total += all.items[all.n - 1].size;
    }
    if (d)
        closedir(d);
    if (all.n)
        qsort(all.items, all.n, sizeof(*all.items), oldest_first);
    VEC_FOREACH (&all, it) {
        if (total > limit && evict(it))
            total -= it->size;
        free(it->folder);
    }
    vec_free(&all);
}

void buildah_storage_close(const struct job *job, struct buildah_storage *s, bool good,
                           int64_t limit)
{
    if (s->lock_fd >= 0) {
        if (!good)
            remove_logged(s->folder);
        else if (utimensat(AT_FDCWD, s->folder, NULL, 0) != 0)
            log_warning("%s: %s", s->folder, strerror(errno));
        unlink(s->dirty);
    }
    closep(&s->lock_fd);
    free(s->folder);
    free(s->dirty);
    *s = (struct buildah_storage){.lock_fd = -1};
    if (good)
        trim(job->options.cache, limit);
}
