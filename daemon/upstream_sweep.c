/* What earlier runs left on disk: half of a context that a killed worker was writing, and mirrors of sources that
 * are not in farm.yaml any more. On a thread of libuv's, since a mirror may have gigabytes. */
#include "common/log.h"
#include "daemon/upstream_internal.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>

struct sweep {
    uv_work_t work;
    char *mirrors;
    strvec keep; /* names in the folder of mirrors */
};

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static void remove_tree(const char *path)
{
    if (nftw(path, remove_entry, 32, FTW_DEPTH | FTW_PHYS) < 0 && errno != ENOENT)
        log_warning("cannot remove %s: %s", path, strerror(errno));
}

/* A mirror has files beside it that are called by its name and a suffix. */
static bool is_kept(const struct sweep *s, const char *name)
{
    VEC_FOREACH (&s->keep, keep) {
        size_t n = strlen(*keep);
        if (strncmp(name, *keep, n) == 0 && (name[n] == 0 || name[n] == '.'))
            return true;
    }
    return false;
}

static void sweep_mirrors(const struct sweep *s)
{
    DIR *d = opendir(s->mirrors);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] == '.' || is_kept(s, e->d_name))
            continue;
        cleanup_free char *path = xasprintf("%s/%s", s->mirrors, e->d_name);
        log_info("removing %s: its source is not in farm.yaml any more", path);
        remove_tree(path);
    }
    if (d)
        closedir(d);
}

static void work(uv_work_t *work)
{
    sweep_mirrors(work->data);
}

static void done(uv_work_t *work, int status)
{
    struct sweep *s = work->data;
    strvec_done(&s->keep);
    free(s->mirrors);
    free(s);
}

/* At once: soon a worker may be writing one of that name. */
static void sweep_contexts(const char *folder)
{
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));)
        if (str_ends(e->d_name, ".tmp"))
            (void)unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        closedir(d);
}

void upstream_sweep(struct upstream *u)
{
    const struct farm *farm = coordinator_farm(u->c);
    sweep_contexts(u->folder);
    struct sweep *s = xnew(struct sweep);
    s->mirrors = xasprintf("%s/mirrors", coordinator_state(u->c));
    VEC_FOREACH (&farm->sources, source) {
        cleanup_free char *path = watch_mirror_path(u->watch, source->url);
        strvec_add(&s->keep, strrchr(path, '/') + 1);
    }
    s->work.data = s;
    uv_queue_work(coordinator_loop(u->c), &s->work, work, done);
}
