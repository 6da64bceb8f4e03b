#include "agent/spool.h"

#include "common/fd.h"
#include "common/log.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/file.h>
#include <sys/stat.h>

#define RESULT_MAX (16 * 1024 * 1024)
#define LEASE_MAX  (2 * 1024 * 1024)
#define NOTE_ROOM  512 /* of the limit, kept for saying that it was reached */

struct spool {
    char *jobs_dir, *trash, *trash_jobs;
    int lock;
    int64_t log_limit;
    unsigned trashed; /* makes names unique */
    VEC(struct spool_job *) jobs;
};

/* ---- files ---- */

static int make_dir(const char *path, struct err *err)
{
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return err_errno(err, -errno, "cannot make %s", path);
    return 0;
}

/* Whole or not at all: a name of its own, then renamed. */
static int write_file(const char *dir, const char *name, const char *text, struct err *err)
{
    cleanup_free char *fresh = xasprintf("%s/%s.new", dir, name);
    cleanup_free char *path = xasprintf("%s/%s", dir, name);
    cleanup_close int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, -errno, "cannot write %s", fresh);
    int r = fd_write_all(fd, text, strlen(text));
    if (r < 0)
        return err_errno(err, r, "cannot write %s", fresh);
    if (rename(fresh, path) < 0)
        return err_errno(err, -errno, "cannot write %s", path);
    return 0;
}

static int read_file(const char *dir, const char *name, size_t most, struct strbuf *ret,
                     struct err *err)
{
    cleanup_free char *path = xasprintf("%s/%s", dir, name);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_errno(err, -errno, "cannot read %s", path);
    if (!S_ISREG(st.st_mode) || (size_t)st.st_size > most)
        return err_set(err, -EINVAL, "%s is no file of at most %zu bytes", path, most);
    char buf[16 * 1024];
    ssize_t n;
    while ((n = read(fd, buf, sizeof(buf))) > 0 && ret->n <= most)
        strbuf_addn(ret, buf, (size_t)n);
    if (n < 0)
        return err_errno(err, -errno, "cannot read %s", path);
    return 0;
}

static void unlink_in(const char *dir, const char *name)
{
    cleanup_free char *path = xasprintf("%s/%s", dir, name);
    if (unlink(path) < 0 && errno != ENOENT)
        log_warning("cannot remove %s: %s", path, strerror(errno));
}

static char *trash_name(struct spool *spool, const char *dir)
{
    return xasprintf("%s/%s.%d.%u", spool->trash_jobs, strrchr(dir, '/') + 1, (int)getpid(),
                     ++spool->trashed);
}

/* Moves the helper's workspace out of the way whole: sweeping it can take long and need unmounting, which
 * is not for the loop. Whether there was one. */
static bool set_aside(struct spool *spool, const char *dir)
{
    cleanup_free char *work = xasprintf("%s/work", dir);
    if (access(work, F_OK) < 0)
        return false;
    cleanup_free char *folder = trash_name(spool, dir);
    cleanup_free char *aside = xasprintf("%s/work", folder);
    struct err err = ERR_INIT;
    if (make_dir(folder, &err) < 0)
        log_warning("%s", err.text);
    else if (rename(work, aside) < 0)
        log_warning("cannot move %s to the trash: %s", work, strerror(errno));
    return true;
}

/* Removes our own files and the folder; whether something went to the trash. */
static bool remove_dir(struct spool *spool, const char *dir)
{
    static const char *const ours[] = {"lease.json.new", "result.json.new", "log",
                                       "result.json",    "cancelled",       "lease.json"};
    bool left = set_aside(spool, dir);
    for (size_t i = 0; i < sizeof(ours) / sizeof(*ours); i++)
        unlink_in(dir, ours[i]);
    if (rmdir(dir) == 0 || errno == ENOENT)
        return left;
    cleanup_free char *aside = trash_name(spool, dir);
    if (rename(dir, aside) < 0)
        log_warning("cannot move %s to the trash: %s", dir, strerror(errno));
    return true;
}

/* ---- jobs in memory ---- */

static struct spool_job *job_new(const struct spool *spool, const struct assignment *a)
{
    struct spool_job *job = xnew(struct spool_job);
    job->lease = xstrdup(a->lease.lease);
    job->secret = xstrdup(a->lease.secret);
    job->epoch = a->lease.epoch;
    job->dir = xasprintf("%s/%s", spool->jobs_dir, job->lease);
    job->log_fd = -1;
    job->log_limit = spool->log_limit;
    return job;
}

static void job_free(struct spool_job *job)
{
    closep(&job->log_fd);
    free(job->lease);
    free(job->secret);
    free(job->dir);
    free(job->result);
    free(job);
}

static int open_log(struct spool_job *job, struct err *err)
{
    cleanup_free char *path = xasprintf("%s/log", job->dir);
    struct stat st;
    job->log_fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (job->log_fd < 0 || fstat(job->log_fd, &st) < 0)
        return err_errno(err, -errno, "cannot open %s", path);
    job->log_size = st.st_size;
    return 0;
}

size_t spool_count(const struct spool *spool)
{
    return spool->jobs.n;
}

struct spool_job *spool_at(const struct spool *spool, size_t i)
{
    return spool->jobs.items[i];
}

struct spool_job *spool_find(const struct spool *spool, const char *lease)
{
    VEC_FOREACH (&spool->jobs, job)
        if (strcmp((*job)->lease, lease) == 0)
            return *job;
    return NULL;
}

static int fill_dir(struct spool_job *job, const struct assignment *assignment, struct err *err)
{
    cleanup_free char *text = assignment_encode(assignment);
    int r = make_dir(job->dir, err);
    if (r == 0)
        r = write_file(job->dir, "lease.json", text, err);
    if (r == 0)
        r = open_log(job, err);
    return r;
}

int spool_add(struct spool *spool, const struct assignment *assignment, struct spool_job **ret,
              struct err *err)
{
    assert(!spool_find(spool, assignment->lease.lease));
    struct spool_job *job = job_new(spool, assignment);
    vec_push(&spool->jobs, job);
    *ret = job;
    return fill_dir(job, assignment, err);
}

/* ---- logs ---- */

static int append(struct spool_job *job, const char *data, size_t n)
{
    if (job->log_fd < 0)
        return -ENOENT;
    while (n > 0) {
        ssize_t w = write(job->log_fd, data, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            break;
        job->log_size += w;
        data += w;
        n -= (size_t)w;
    }
    job->log_dropped += (int64_t)n;
    return n == 0 ? 0 : -ENOSPC;
}

/* Says what was lost while the disk was full. The note itself may be refused: then the next try says it. */
static bool admit_loss(struct spool_job *job)
{
    char note[128];
    int64_t lost = job->log_dropped;
    if (lost == 0)
        return true;
    int n = snprintf(note, sizeof(note), "\n[%lld bytes of log lost: the disk was full]\n",
                     (long long)lost);
    if (append(job, note, (size_t)n) < 0) {
        job->log_dropped = lost;
        return false;
    }
    job->log_dropped = 0;
    return true;
}

void spool_log(struct spool_job *job, const void *data, size_t n)
{
    if (job->log_full)
        return;
    int64_t room = job->log_limit - NOTE_ROOM - job->log_size;
    bool over = (int64_t)n > room;
    if (over)
        n = room > 0 ? (size_t)room : 0;
    if (!admit_loss(job)) {
        job->log_dropped += (int64_t)n;
        return;
    }
    if (append(job, data, n) < 0 || !over)
        return;
    job->log_full = true;
    spool_note(job, "the log has reached %lld bytes; the rest is dropped",
               (long long)job->log_limit);
}

void spool_note(struct spool_job *job, const char *fmt, ...)
{
    char text[NOTE_ROOM - 64], line[NOTE_ROOM];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    char last = '\n';
    bool fresh = job->log_size == 0 || job->log_fd < 0 ||
                 pread(job->log_fd, &last, 1, job->log_size - 1) != 1 || last == '\n';
    int n = snprintf(line, sizeof(line), "%s[sheaf-agent: %s]\n", fresh ? "" : "\n", text);
    if (admit_loss(job))
        append(job, line, (size_t)n);
}

/* ---- results ---- */

int spool_result(const struct spool_job *job, struct wire_result *ret, struct err *err)
{
    cleanup_strbuf struct strbuf text = {0};
    int r = 0;
    if (job->result)
        strbuf_add(&text, job->result);
    else
        r = read_file(job->dir, "result.json", RESULT_MAX, &text, err);
    if (r == 0)
        r = wire_result_decode(strbuf_str(&text), text.n, ret, err);
    if (r < 0)
        return r == -ENOENT ? r : err_set(err, -EINVAL, "%s", err ? err->text : "");
    if (ret->epoch != job->epoch) {
        wire_result_done(ret);
        return err_set(err, -EINVAL, "result of another epoch");
    }
    ret->log_size = job->log_size;
    if (ret->outcome == WIRE_CANCELLED && !job->cancelled) {
        ret->outcome = WIRE_LOST;
        str_replace(&ret->reason, "the agent ended while the job ran");
    }
    return 0;
}

void spool_mark_cancelled(struct spool_job *job)
{
    cleanup_free char *path = xasprintf("%s/cancelled", job->dir);
    job->cancelled = true;
    /* no matter if it fails: only a crash within the next seconds would miss it */
    closep(&(int){open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)});
}

void spool_set_result(struct spool_job *job, const struct wire_result *result)
{
    struct err err = ERR_INIT;
    cleanup_free char *text = wire_result_encode(result);
    free(steal_ptr(job->result));
    if (write_file(job->dir, "result.json", text, &err) == 0)
        return;
    log_warning("lease %s: %s; its result is kept in memory", job->lease, err.text);
    job->result = steal_ptr(text);
}

bool spool_remove(struct spool *spool, struct spool_job *job)
{
    bool left = remove_dir(spool, job->dir);
    for (size_t i = 0; i < spool->jobs.n; i++)
        if (spool->jobs.items[i] == job) {
            vec_remove(&spool->jobs, i);
            break;
        }
    job_free(job);
    return left;
}

/* ---- what an earlier run left ---- */

static int read_assignment(const char *dir, const char *lease, struct assignment *ret,
                           struct err *err)
{
    cleanup_strbuf struct strbuf text = {0};
    int r = read_file(dir, "lease.json", LEASE_MAX, &text, err);
    if (r == 0)
        r = assignment_decode(strbuf_str(&text), text.n, ret, err);
    if (r == 0 && strcmp(ret->lease.lease, lease) != 0) {
        assignment_done(ret);
        r = err_set(err, -EINVAL, "%s holds the lease of another", dir);
    }
    return r;
}

static void finish_restored(struct spool_job *job)
{
    struct wire_result result;
    if (spool_result(job, &result, NULL) == 0) {
        wire_result_done(&result);
        return;
    }
    spool_note(job, "the agent was restarted; this job is lost");
    struct wire_result lost = {.epoch = job->epoch,
                               .outcome = WIRE_LOST,
                               .reason = (char *)"the agent was restarted while the job ran"};
    spool_set_result(job, &lost);
}

static void restore(struct spool *spool, const char *lease)
{
    cleanup_free char *dir = xasprintf("%s/%s", spool->jobs_dir, lease);
    struct assignment assignment;
    struct err err = ERR_INIT;
    if (read_assignment(dir, lease, &assignment, &err) < 0) {
        log_info("%s never became a job: %s", dir, err.text);
        remove_dir(spool, dir);
        return;
    }
    struct spool_job *job = job_new(spool, &assignment);
    assignment_done(&assignment);
    cleanup_free char *cancelled = xasprintf("%s/cancelled", dir);
    job->cancelled = access(cancelled, F_OK) == 0;
    set_aside(spool, dir);
    if (open_log(job, &err) < 0)
        log_warning("lease %s: %s", lease, err.text);
    vec_push(&spool->jobs, job);
    finish_restored(job);
}

/* Every entry but the dots; the caller ends the list. */
static int list_dir(const char *path, strvec *ret, struct err *err)
{
    DIR *dir = opendir(path);
    if (!dir)
        return err_errno(err, -errno, "cannot read %s", path);
    for (struct dirent *e; (e = readdir(dir));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            strvec_add(ret, e->d_name);
    closedir(dir);
    return 0;
}

static int restore_all(struct spool *spool, struct err *err)
{
    cleanup_strvec strvec names = {0};
    int r = list_dir(spool->jobs_dir, &names, err);
    if (r < 0)
        return r;
    VEC_FOREACH (&names, name) {
        /* more than a session may list wait for the next start */
        if (wire_lease_id_valid(*name) && spool->jobs.n < WIRE_MAX_HELD / 2)
            restore(spool, *name);
    }
    return 0;
}

/* ---- the whole ---- */

static int take_lock(const char *state, int *ret_fd, struct err *err)
{
    cleanup_free char *path = xasprintf("%s/lock", state);
    cleanup_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, -errno, "cannot open %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return err_set(err, -EBUSY, "%s is in use by another sheaf-agent", state);
    *ret_fd = steal_fd(&fd);
    return 0;
}

int spool_open(const char *state, int64_t log_limit, struct spool **ret, struct err *err)
{
    struct spool *spool = xnew(struct spool);
    spool->log_limit = log_limit;
    spool->lock = -1;
    spool->jobs_dir = xasprintf("%s/jobs", state);
    spool->trash = xasprintf("%s/trash", state);
    spool->trash_jobs = xasprintf("%s/trash/jobs", state);
    int r = make_dir(state, err);
    if (r == 0)
        r = take_lock(state, &spool->lock, err);
    if (r == 0)
        r = make_dir(spool->jobs_dir, err);
    if (r == 0)
        r = make_dir(spool->trash, err);
    if (r == 0)
        r = make_dir(spool->trash_jobs, err);
    if (r == 0)
        r = restore_all(spool, err);
    if (r < 0) {
        spool_close(spool);
        return r;
    }
    *ret = spool;
    return 0;
}

void spool_close(struct spool *spool)
{
    if (!spool)
        return;
    VEC_FOREACH (&spool->jobs, job)
        job_free(*job);
    vec_free(&spool->jobs);
    closep(&spool->lock);
    free(spool->jobs_dir);
    free(spool->trash);
    free(spool->trash_jobs);
    free(spool);
}

bool spool_has_trash(const struct spool *spool)
{
    cleanup_strvec strvec names = {0};
    return list_dir(spool->trash_jobs, &names, NULL) == 0 && names.n > 0;
}

const char *spool_trash(const struct spool *spool)
{
    return spool->trash;
}

void spool_trash_swept(struct spool *spool)
{
    cleanup_strvec strvec names = {0};
    if (list_dir(spool->trash_jobs, &names, NULL) < 0)
        return;
    VEC_FOREACH (&names, name) {
        cleanup_free char *path = xasprintf("%s/%s", spool->trash_jobs, *name);
        if (rmdir(path) < 0 && errno != ENOENT)
            log_warning("%s is still there after a sweep: %s", path, strerror(errno));
    }
}
