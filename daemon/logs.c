/* Logs. Each open one has a queue of operations and at most one of them on a worker thread, so that bytes are written
 * in order and the loop never waits for a disk. */
#include "daemon/logs.h"

#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <uthash.h>

/* Open logs nobody writes to any more are closed when there are so many. */
#define OPEN_MAX_IDLE 64

struct operation {
    struct log_file *f;
    int64_t offset;
    char *bytes; /* NULL: only a sync */
    size_t n;
    int64_t end; /* of the bytes as they came; what is beyond the limit is not written */
    bool sync;
    logs_done_fn done;
    void *data;
    uv_work_t work;
    int result; /* 0 or a negative errno */
};

struct log_file {
    struct logs *logs;
    char *lease;
    int fd;
    int64_t received, durable;
    VEC(struct operation *) queue; /* the first is under way when `busy` */
    bool busy, ended;
    UT_hash_handle hh;
};

struct logs {
    uv_loop_t *loop;
    char *folder;
    int64_t limit;
    struct log_file *files;
    logs_watch_fn watch;
    void *watch_data;
    unsigned under_way;
    bool closing;
};

int logs_new(uv_loop_t *loop, const char *folder, int64_t limit, struct logs **ret, struct err *err)
{
    if (mkdir(folder, 0750) < 0 && errno != EEXIST)
        return err_errno(err, -errno, "folder of logs %s", folder);
    struct logs *l = xnew(struct logs);
    *l = (struct logs){.loop = loop, .folder = xstrdup(folder), .limit = limit};
    *ret = l;
    return 0;
}

static void free_operation(struct operation *o)
{
    free(o->bytes);
    free(o);
}

static void close_file(struct log_file *f)
{
    HASH_DEL(f->logs->files, f);
    VEC_FOREACH (&f->queue, o)
        free_operation(*o);
    vec_free(&f->queue);
    if (f->fd >= 0)
        close(f->fd);
    free(f->lease);
    free(f);
}

static void free_logs(struct logs *l)
{
    struct log_file *f, *next;
    HASH_ITER(hh, l->files, f, next)
    close_file(f);
    free(l->folder);
    free(l);
}

void logs_free(struct logs *logs)
{
    if (!logs)
        return;
    logs->closing = true;
    if (!logs->under_way)
        free_logs(logs);
}

/* ---- one operation at a time ---- */

static void work(uv_work_t *w)
{
    struct operation *o = w->data;
    struct log_file *f = o->f;
    for (size_t done = 0; done < o->n;) {
        ssize_t n = pwrite(f->fd, o->bytes + done, o->n - done, o->offset + (int64_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            o->result = -errno;
            return;
        }
        done += (size_t)n;
    }
    if (o->sync && fdatasync(f->fd) < 0)
        o->result = -errno;
}

static void start_next(struct log_file *f);

static void tell(struct operation *o)
{
    struct log_file *f = o->f;
    struct err err = ERR_INIT;
    if (o->result == -EILSEQ)
        (void)!err_set(&err, -EILSEQ, "the log has %lld bytes", (long long)f->received);
    else if (o->result < 0)
        (void)!err_errno(&err, o->result, "writing the log of %s", f->lease);
    bool dropped = o->result == 0 && o->bytes && o->end > f->received;
    o->done(o->data, dropped ? o->end : f->received, f->durable, o->result < 0 ? &err : NULL);
}

static void finish(struct operation *o)
{
    struct log_file *f = o->f;
    struct logs *l = f->logs;
    vec_remove(&f->queue, 0);
    f->busy = false;
    if (!l->closing)
        tell(o);
    bool grew = o->n > 0 && o->result == 0;
    free_operation(o);
    if (grew && !l->closing && l->watch)
        l->watch(l->watch_data, f->lease);
    if (!l->closing)
        start_next(f);
}

static void after(uv_work_t *w, int status)
{
    struct operation *o = w->data;
    struct logs *l = o->f->logs;
    (void)status;
    l->under_way--;
    if (o->result == 0) {
        o->f->received += (int64_t)o->n;
        if (o->sync)
            o->f->durable = o->f->received;
    }
    finish(o);
    if (l->closing && !l->under_way)
        free_logs(l);
}

/* Whether bytes are not the next ones. Those beyond the limit, once that is reached, come from anywhere. */
static bool is_gap(const struct log_file *f, const struct operation *o)
{
    int64_t limit = f->logs->limit;
    return o->bytes && o->offset != f->received && (o->offset < limit || f->received < limit);
}

/* What is beyond the limit is said to be received, and is not written. */
static void clip(struct operation *o)
{
    int64_t room = o->f->logs->limit - o->offset;
    if (room < 0)
        room = 0;
    if ((int64_t)o->n > room)
        o->n = (size_t)room;
}

static void start_next(struct log_file *f)
{
    while (!f->busy && f->queue.n) {
        struct operation *o = f->queue.items[0];
        f->busy = true;
        if (is_gap(f, o)) {
            o->result = -EILSEQ;
            finish(o);
            return;
        }
        clip(o);
        f->logs->under_way++;
        o->work.data = o;
        uv_queue_work(f->logs->loop, &o->work, work, after);
    }
}

/* ---- files ---- */

static char *path_of(const struct logs *l, const char *lease)
{
    return xasprintf("%s/%s.log", l->folder, lease);
}

static struct log_file *find(const struct logs *l, const char *lease)
{
    struct log_file *f = NULL;
    HASH_FIND_STR(l->files, lease, f);
    return f;
}

static void close_idle(struct logs *l)
{
    if (HASH_COUNT(l->files) < OPEN_MAX_IDLE)
        return;
    struct log_file *f, *next;
    HASH_ITER(hh, l->files, f, next)
    if (f->ended && !f->busy && !f->queue.n)
        close_file(f);
}

static struct log_file *get(struct logs *l, const char *lease, struct err *err)
{
    struct log_file *f = find(l, lease);
    if (f)
        return f;
    close_idle(l);
    cleanup_free char *path = path_of(l, lease);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0) {
        if (err_errno(err, -errno, "log %s", path) && fd >= 0)
            close(fd);
        return NULL;
    }
    f = xnew(struct log_file);
    *f = (struct log_file){.logs = l, .lease = xstrdup(lease), .fd = fd, .received = st.st_size};
    HASH_ADD_KEYPTR(hh, l->files, f->lease, strlen(f->lease), f);
    return f;
}

/* An operation that needs no worker, or cannot even be queued, still ends from the loop. */
struct reply {
    uv_timer_t timer;
    int64_t received, durable;
    struct err err;
    logs_done_fn done;
    void *data;
};

static void free_reply(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_reply(uv_timer_t *timer)
{
    struct reply *r = timer->data;
    r->done(r->data, r->received, r->durable, r->err.code ? &r->err : NULL);
    uv_close((uv_handle_t *)timer, free_reply);
}

static void reply_soon(struct logs *l, const struct reply *what)
{
    struct reply *r = xnew(struct reply);
    *r = *what;
    uv_timer_init(l->loop, &r->timer);
    r->timer.data = r;
    uv_timer_start(&r->timer, on_reply, 0, 0);
}

static void refuse(struct logs *l, int64_t received, const struct err *err, logs_done_fn done,
                   void *data)
{
    reply_soon(l, &(struct reply){.received = received, .err = *err, .done = done, .data = data});
}

static void enqueue(struct logs *l, const char *lease, const struct operation *what)
{
    struct err err = ERR_INIT;
    struct log_file *f = get(l, lease, &err);
    if (!f) {
        log_warning("%s", err.text);
        refuse(l, 0, &err, what->done, what->data);
        return;
    }
    struct operation *o = xnew(struct operation);
    *o = *what;
    o->f = f;
    vec_push(&f->queue, o);
    if (f->busy)
        return;
    if (is_gap(f, o)) {
        (void)!err_set(&err, -EILSEQ, "the log has %lld bytes", (long long)f->received);
        f->queue.n--;
        free_operation(o);
        refuse(l, f->received, &err, what->done, what->data);
        return;
    }
    start_next(f);
}

void logs_append(struct logs *logs, const char *lease, int64_t offset, const void *bytes, size_t n,
                 logs_done_fn done, void *data)
{
    struct operation o = {.offset = offset,
                          .bytes = xmemdup(bytes, n),
                          .n = n,
                          .done = done,
                          .data = data,
                          .end = offset + (int64_t)n};
    enqueue(logs, lease, &o);
}

/* Whether all of the log is on disk already; one that never had a byte has no file, and needs none. */
static bool is_durable(const struct logs *l, const char *lease, int64_t *ret_size)
{
    const struct log_file *f = find(l, lease);
    struct stat st;
    *ret_size = f ? f->received : 0;
    if (f)
        return !f->busy && !f->queue.n && f->received == f->durable;
    cleanup_free char *path = path_of(l, lease);
    return stat(path, &st) < 0 ? errno == ENOENT : st.st_size == 0;
}

void logs_sync(struct logs *logs, const char *lease, logs_done_fn done, void *data)
{
    int64_t size;
    if (is_durable(logs, lease, &size)) {
        reply_soon(logs,
                   &(struct reply){.received = size, .durable = size, .done = done, .data = data});
        return;
    }
    struct operation o = {.sync = true, .done = done, .data = data};
    enqueue(logs, lease, &o);
}

int logs_open(struct logs *logs, const char *lease, bool make, int *ret_fd, int64_t *ret_size,
              struct err *err)
{
    cleanup_free char *path = path_of(logs, lease);
    int fd = open(path, O_RDONLY | O_CLOEXEC | (make ? O_CREAT : 0), 0640);
    struct stat st;
    if (fd < 0)
        return err_errno(err, -errno, "log %s", path);
    if (fstat(fd, &st) < 0) {
        int r = err_errno(err, -errno, "log %s", path);
        close(fd);
        return r;
    }
    *ret_fd = fd;
    *ret_size = st.st_size;
    return 0;
}

int64_t logs_size(const struct logs *logs, const char *lease)
{
    const struct log_file *f = find(logs, lease);
    if (f)
        return f->received < logs->limit ? f->received : logs->limit;
    cleanup_free char *path = path_of(logs, lease);
    struct stat st;
    return stat(path, &st) == 0 ? st.st_size : 0;
}

void logs_on_growth(struct logs *logs, logs_watch_fn watch, void *data)
{
    logs->watch = watch;
    logs->watch_data = data;
}

void logs_touch(struct logs *logs, const char *lease)
{
    struct log_file *f = find(logs, lease);
    if (f)
        f->ended = true;
    if (logs->watch)
        logs->watch(logs->watch_data, lease);
}
