/* Build contexts as tar files, for boards to fetch: made once, by the worker, kept while there is room. */
#include "common/log.h"
#include "daemon/upstream_internal.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

/* Finished contexts kept at most; the oldest go. */
#define CONTEXTS_MAX 200

struct waiter {
    upstream_context_fn done;
    void *data;
};

/* One context that is being made. */
struct context_file {
    struct upstream *u;
    char *path;
    VEC(struct waiter) waiters;
    uv_timer_t timer; /* answers those for whom it was there already, from the loop */
    UT_hash_handle hh;
};

static void free_context(uv_handle_t *handle)
{
    struct context_file *f = handle->data;
    vec_free(&f->waiters);
    free(f->path);
    free(f);
}

static void answer(struct context_file *f, const struct err *err)
{
    HASH_DEL(f->u->contexts, f);
    VEC_FOREACH (&f->waiters, w)
        w->done(w->data, f->path, err);
    uv_close((uv_handle_t *)&f->timer, free_context);
}

/* ---- keeping few ---- */

struct cleaning {
    char *folder;
    uv_work_t work;
};

struct finished {
    char *path;
    int64_t modified;
};

static int newest_first(const void *a, const void *b)
{
    const struct finished *x = a, *y = b;
    return (x->modified < y->modified) - (x->modified > y->modified);
}

static void clean(uv_work_t *work)
{
    struct cleaning *k = work->data;
    VEC(struct finished) files = {0};
    DIR *d = opendir(k->folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        char *path = xasprintf("%s/%s", k->folder, e->d_name);
        struct stat st;
        if (str_ends(path, ".tar") && stat(path, &st) == 0)
            vec_push(&files, (struct finished){path, (int64_t)st.st_mtime});
        else
            free(path);
    }
    if (d)
        closedir(d);
    if (files.n)
        qsort(files.items, files.n, sizeof(*files.items), newest_first);
    for (size_t i = 0; i < files.n; i++) {
        if (i >= CONTEXTS_MAX)
            unlink(files.items[i].path);
        free(files.items[i].path);
    }
    vec_free(&files);
}

static void cleaned(uv_work_t *work, int status)
{
    struct cleaning *k = work->data;
    (void)status;
    free(k->folder);
    free(k);
}

static void start_cleaning(struct upstream *u)
{
    struct cleaning *k = xnew(struct cleaning);
    k->folder = xstrdup(u->folder);
    k->work.data = k;
    uv_queue_work(coordinator_loop(u->c), &k->work, clean, cleaned);
}

/* ---- making one ---- */

static void on_archived(const int64_t *size, const struct err *err, void *userdata)
{
    err = git_failure(err);
    struct context_file *f = userdata;
    (void)size;
    if (err)
        log_warning("making a build context: %s", err->text);
    if (!f->u->closing && !err)
        start_cleaning(f->u);
    answer(f, err);
}

static void on_there(uv_timer_t *timer)
{
    answer(timer->data, NULL);
}

static void make(struct context_file *f, const char *source, const char *commit, const char *path,
                 const char *dockerfile)
{
    struct mirror *mr = upstream_mirror(f->u, source);
    struct git_archive_args args = {.mirror = mr->folder,
                                    .commit = commit,
                                    .context = path,
                                    .dockerfile = *dockerfile ? dockerfile : NULL,
                                    .output = f->path};
    git_pool_archive(f->u->pool, &args, on_archived, f);
}

void upstream_context(struct upstream *u, const char *source, const char *commit, const char *path,
                      const char *dockerfile, const char *context_id, upstream_context_fn done,
                      void *data)
{
    /* The Dockerfile stays in the tar even where .dockerignore leaves it out: it is part of the name. */
    cleanup_free char *seed = xasprintf("%s\n%s", context_id, dockerfile);
    char name[DIGEST_SIZE];
    digest_of(seed, strlen(seed), name);
    cleanup_free char *file = xasprintf("%s/%s.tar", u->folder, name + strlen("sha256:"));
    struct context_file *f = NULL;
    HASH_FIND_STR(u->contexts, file, f);
    if (f) {
        vec_push(&f->waiters, (struct waiter){done, data});
        return;
    }
    f = xnew(struct context_file);
    f->u = u;
    f->path = steal_ptr(file);
    vec_push(&f->waiters, (struct waiter){done, data});
    uv_timer_init(coordinator_loop(u->c), &f->timer);
    f->timer.data = f;
    HASH_ADD_KEYPTR(hh, u->contexts, f->path, strlen(f->path), f);
    if (access(f->path, R_OK) == 0)
        uv_timer_start(&f->timer, on_there, 0, 0);
    else
        make(f, source, commit, path, dockerfile);
}
