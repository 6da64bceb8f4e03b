/* Build contexts as tar files, for boards to fetch: made once, by the worker, kept while there is room.
 *
 *     happy path     the tar is there, or the mirror has the commit and the worker writes it
 *     failure modes  the mirror has lost the commit: it is read again from a ref that is it, or that is another commit
 *                    of the same files (force-pushed meanwhile), or from all refs; else the board is told to come again */
#include "common/log.h"
#include "daemon/upstream_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

/* Finished contexts kept at most: those that were not asked for longest go. */
#define CONTEXTS_MAX       200
#define CONTEXTS_BYTES_MAX ((int64_t)8 << 30)

struct waiter {
    upstream_context_fn done;
    void *data;
};

/* One context that is being made, or was there. */
struct context_file {
    struct reading reading; /* its mirror is NULL where nothing had to be made */
    struct upstream *u;
    char *path;
    VEC(struct waiter) waiters;
    uv_timer_t timer; /* answers those for whom it was there already, from the loop */
    char *commit, *folder, *dockerfile;
    strvec refs;
    bool looked; /* the model was asked where else it is to be had */
    UT_hash_handle hh;
};

static void free_context(uv_handle_t *handle)
{
    struct context_file *f = handle->data;
    vec_free(&f->waiters);
    strvec_done(&f->refs);
    free(f->commit);
    free(f->folder);
    free(f->dockerfile);
    free(f->path);
    free(f);
}

static void answer(struct context_file *f, const struct err *err)
{
    HASH_DEL(f->u->contexts, f);
    VEC_FOREACH (&f->waiters, w)
        w->done(w->data, f->path, err);
    if (f->reading.mr)
        mirror_release(f->reading.mr);
    uv_close((uv_handle_t *)&f->timer, free_context);
}

/* ---- keeping few ---- */

struct cleaning {
    char *folder;
    uv_work_t work;
};

struct finished {
    char *path;
    int64_t modified, size;
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
            vec_push(&files, (struct finished){path, (int64_t)st.st_mtime, (int64_t)st.st_size});
        else
            free(path);
    }
    if (d)
        closedir(d);
    if (files.n)
        qsort(files.items, files.n, sizeof(*files.items), newest_first);
    int64_t sum = 0;
    for (size_t i = 0; i < files.n; i++) {
        sum += files.items[i].size;
        if (i > 0 && (i >= CONTEXTS_MAX || sum > CONTEXTS_BYTES_MAX))
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

static void on_failed(struct reading *reading, const struct err *err)
{
    struct context_file *f = (struct context_file *)reading;
    if (!f->u->closing)
        log_warning("making a build context of %s: %s", reading->mr->url, err->text);
    answer(f, err);
}

/* Where the files are to be had, now that the mirror does not have them. */
static void look_elsewhere(struct context_file *f)
{
    const struct model *m = coordinator_model(f->u->c);
    const char *url = f->reading.mr->url;
    const char *other = model_context_commit(m, url, f->commit, f->folder, f->dockerfile);
    str_replace(&f->commit, other ? other : f->commit);
    f->reading.commit = f->commit;
    model_commit_refs(m, url, f->commit, &f->refs);
}

static void on_archived(const int64_t *size, const struct err *err, void *userdata)
{
    err = git_failure(err);
    struct context_file *f = userdata;
    (void)size;
    if (err && !f->u->closing && !f->looked) {
        f->looked = true;
        look_elsewhere(f);
    }
    if (err && upstream_reading_goes_on(&f->reading, err))
        return;
    if (err) {
        on_failed(&f->reading, err);
        return;
    }
    if (!f->u->closing)
        start_cleaning(f->u);
    answer(f, NULL);
}

static void ask(struct reading *reading)
{
    struct context_file *f = (struct context_file *)reading;
    struct git_archive_args args = {.mirror = reading->mr->path,
                                    .commit = f->commit,
                                    .context = f->folder,
                                    .dockerfile = *f->dockerfile ? f->dockerfile : NULL,
                                    .output = f->path};
    git_pool_archive(f->u->pool, &args, on_archived, f);
}

static void make(struct context_file *f, const struct upstream_context_args *args)
{
    f->commit = xstrdup(args->commit);
    f->folder = xstrdup(args->path);
    f->dockerfile = xstrdup(args->dockerfile);
    f->reading = (struct reading){.mr = mirror_hold(f->u, args->source),
                                  .commit = f->commit,
                                  .refs = &f->refs,
                                  .ask = ask,
                                  .failed = on_failed};
    ask(&f->reading);
}

static void on_there(uv_timer_t *timer)
{
    answer(timer->data, NULL);
}

/* The tar of one folder of one commit never changes. (Its context id would not do for a name: that leaves out a
 * Dockerfile that .dockerignore leaves out, which is in the tar all the same.) */
static char *file_of(const struct upstream *u, const struct upstream_context_args *args)
{
    cleanup_free char *seed =
        xasprintf("%s\n%s\n%s\n%s", args->source, args->commit, args->path, args->dockerfile);
    char name[DIGEST_SIZE];
    digest_of(seed, strlen(seed), name);
    return xasprintf("%s/%s.tar", u->folder, name + strlen("sha256:"));
}

void upstream_context(struct upstream *u, const struct upstream_context_args *args,
                      upstream_context_fn done, void *data)
{
    cleanup_free char *file = file_of(u, args);
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
    /* its time is when it was last wanted */
    if (utimensat(AT_FDCWD, f->path, NULL, 0) == 0)
        uv_timer_start(&f->timer, on_there, 0, 0);
    else
        make(f, args);
}

void upstream_contexts_close(struct upstream *u)
{
    struct context_file *f, *next;
    HASH_ITER(hh, u->contexts, f, next)
    {
        if (!f->reading.mr)
            answer(f, NULL);
    }
}
