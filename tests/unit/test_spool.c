/* The spool: what it keeps, its bounds, and a crash or a full disk at every system call it makes. The
 * linker hands the calls to the functions named __wrap_ below (see meson.build). */
#include "agent/spool.h"
#include "common/log.h"
#include "tests/lib/test.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define D1 "sha256:1111111111111111111111111111111111111111111111111111111111111111"

/* ---- faults ---- */

enum fault { NO_FAULT, CRASH, FAIL_ONCE, FAIL_ON };

static struct {
    enum fault kind;
    int countdown;
    int calls;
} fault;

/* Whether this call shall fail; does not return if it shall crash. */
static bool strikes(void)
{
    fault.calls++;
    if (fault.kind == NO_FAULT || (fault.countdown > 0 && --fault.countdown > 0))
        return false;
    if (fault.kind == CRASH)
        _exit(42);
    if (fault.kind == FAIL_ONCE)
        fault.kind = NO_FAULT;
    errno = ENOSPC;
    return true;
}

#define REAL(type, name, ...)                                                                      \
    type __real_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__)

REAL(int, open64, const char *path, int flags, unsigned mode);
REAL(ssize_t, write, int fd, const void *data, size_t n);
REAL(int, rename, const char *from, const char *to);
REAL(int, mkdir, const char *path, mode_t mode);
REAL(int, unlink, const char *path);
REAL(int, rmdir, const char *path);

int __wrap_open64(const char *path, int flags, unsigned mode)
{
    return strikes() ? -1 : __real_open64(path, flags, mode);
}

ssize_t __wrap_write(int fd, const void *data, size_t n)
{
    bool last = fault.kind != NO_FAULT && fault.countdown == 1 && n > 1;
    if (last && __real_write(fd, data, n / 2) < 0) /* a torn write */
        abort();
    if (strikes())
        return last ? (ssize_t)(n / 2) : -1;
    return __real_write(fd, data, n);
}

int __wrap_rename(const char *from, const char *to)
{
    return strikes() ? -1 : __real_rename(from, to);
}

int __wrap_mkdir(const char *path, mode_t mode)
{
    return strikes() ? -1 : __real_mkdir(path, mode);
}

int __wrap_unlink(const char *path)
{
    return strikes() ? -1 : __real_unlink(path);
}

int __wrap_rmdir(const char *path)
{
    return strikes() ? -1 : __real_rmdir(path);
}

/* ---- a folder for each test ---- */

static char state_dir[64];

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    return remove(path);
}

static void clear_state(void)
{
    fault.kind = NO_FAULT;
    nftw(state_dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int setup(void **state)
{
    log_set_level(LOG_LEVEL_ERROR);
    snprintf(state_dir, sizeof(state_dir), "/tmp/test-spool-XXXXXX");
    return mkdtemp(state_dir) ? 0 : -1;
}

static int teardown(void **state)
{
    clear_state();
    return 0;
}

static char *in_state(const char *name)
{
    static char path[512];
    snprintf(path, sizeof(path), "%s/%s", state_dir, name);
    return path;
}

static int entries(const char *name)
{
    int n = 0;
    DIR *dir = opendir(in_state(name));
    if (!dir)
        return -1;
    while (readdir(dir))
        n++;
    closedir(dir);
    return n - 2;
}

/* ---- a lease ---- */

static void fill(struct assignment *a, const char *lease)
{
    memset(a, 0, sizeof(*a));
    a->coordinator = xstrdup("http://127.0.0.1:1");
    a->options.cache = xstrdup("/c");
    a->options.buildroots = xstrdup("/b");
    a->options.builder = xstrdup("buildah");
    a->lease.lease = xstrdup(lease);
    a->lease.epoch = 3;
    a->lease.secret = xstrdup("secret");
    a->lease.job.key = xstrdup(D1);
    a->lease.job.image = xstrdup("i");
    a->lease.job.track = xstrdup("t");
    a->lease.job.repository = xstrdup("r/i");
    a->lease.job.platform = xstrdup("linux/amd64");
    a->lease.job.script = xstrdup("true");
    a->lease.job.timeout_ms = 1;
}

static int add(struct spool *spool, const char *lease, struct spool_job **ret)
{
    struct assignment a;
    struct err err = ERR_INIT;
    fill(&a, lease);
    int r = spool_add(spool, &a, ret, &err);
    assignment_done(&a);
    return r;
}

static struct wire_result good_result(void)
{
    static struct wire_descriptor manifest = {(char *)D1, 5, (char *)"m"};
    return (struct wire_result){.epoch = 3,
                                .outcome = WIRE_SUCCEEDED,
                                .manifest = &manifest,
                                .config_digest = (char *)D1,
                                .content_digest = (char *)D1};
}

static struct spool *open_spool(int64_t limit)
{
    struct spool *spool = NULL;
    struct err err = ERR_INIT;
    if (spool_open(state_dir, limit, &spool, &err) < 0)
        fail_msg("%s", err.text);
    return spool;
}

static char *log_text(const struct spool_job *job)
{
    char *text = xcalloc(1, (size_t)job->log_size + 1);
    assert_int_equal(pread(job->log_fd, text, (size_t)job->log_size, 0), job->log_size);
    return text;
}

/* ---- tests ---- */

static void test_kept_until_removed(void **state)
{
    struct spool *spool = open_spool(1 << 20);
    struct spool_job *job;
    assert_int_equal(add(spool, "L1", &job), 0);
    spool_log(job, "one\n", 4);
    spool_log(job, "two", 3);
    struct wire_result r = good_result(), read;
    assert_int_equal(spool_result(job, &read, NULL), -ENOENT);
    spool_set_result(job, &r);
    spool_close(spool);

    spool = open_spool(1 << 20);
    assert_int_equal(spool_count(spool), 1);
    job = spool_find(spool, "L1");
    assert_string_equal(job->secret, "secret");
    assert_int_equal(job->epoch, 3);
    assert_int_equal(spool_result(job, &read, NULL), 0);
    assert_int_equal(read.outcome, WIRE_SUCCEEDED);
    assert_int_equal(read.log_size, 7);
    wire_result_done(&read);
    cleanup_free char *text = log_text(job);
    assert_string_equal(text, "one\ntwo");
    assert_false(spool_remove(spool, job));
    assert_int_equal(entries("jobs"), 0);
    spool_close(spool);
}

static void test_one_agent_a_folder(void **state)
{
    struct spool *spool = open_spool(1 << 20), *second = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(spool_open(state_dir, 1 << 20, &second, &err), -EBUSY);
    assert_null(second);
    spool_close(spool);
    spool_close(open_spool(1 << 20));
}

static void test_log_is_bounded(void **state)
{
    struct spool *spool = open_spool(64 * 1024);
    struct spool_job *job;
    char block[1000];
    memset(block, 'x', sizeof(block));
    assert_int_equal(add(spool, "L1", &job), 0);
    for (int i = 0; i < 1000; i++)
        spool_log(job, block, sizeof(block));
    assert_in_range(job->log_size, 63 * 1024, 64 * 1024);
    cleanup_free char *text = log_text(job);
    assert_non_null(strstr(text, "x\n[sheaf-agent: the log has reached 65536 bytes; the rest is "
                                 "dropped]\n"));
    spool_close(spool);
}

static void test_a_full_disk_is_admitted(void **state)
{
    struct spool *spool = open_spool(1 << 20);
    struct spool_job *job;
    assert_int_equal(add(spool, "L1", &job), 0);
    spool_log(job, "before\n", 7);
    fault.kind = FAIL_ON;
    fault.countdown = 0;
    spool_log(job, "lost", 4);
    spool_log(job, "lost too", 8);
    fault.kind = NO_FAULT;
    spool_log(job, "after\n", 6);
    cleanup_free char *text = log_text(job);
    assert_string_equal(text, "before\n\n[12 bytes of log lost: the disk was full]\nafter\n");
    spool_close(spool);
}

static void test_workspaces_go_to_the_trash(void **state)
{
    struct spool *spool = open_spool(1 << 20);
    struct spool_job *job;
    assert_int_equal(add(spool, "L1", &job), 0);
    assert_int_equal(mkdir(in_state("jobs/L1/work"), 0700), 0);
    assert_int_equal(mkdir(in_state("jobs/L1/work/deep"), 0700), 0);
    assert_false(spool_has_trash(spool));
    spool_close(spool); /* as in a crash: found at the next start */
    spool = open_spool(1 << 20);
    assert_true(spool_has_trash(spool));
    assert_int_equal(entries("jobs/L1"), 3);
    assert_int_equal(entries("trash/jobs"), 1);
    assert_int_equal(mkdir(in_state("jobs/L1/work"), 0700), 0);
    assert_true(spool_remove(spool, spool_find(spool, "L1")));
    assert_int_equal(entries("jobs"), 0);
    assert_int_equal(entries("trash/jobs"), 2);
    spool_close(spool);
}

static void test_a_damaged_or_foreign_result_is_none(void **state)
{
    struct spool *spool = open_spool(1 << 20);
    struct spool_job *job;
    struct wire_result r = good_result(), read;
    assert_int_equal(add(spool, "L1", &job), 0);
    r.epoch = 2;
    spool_set_result(job, &r);
    assert_int_equal(spool_result(job, &read, NULL), -EINVAL);
    assert_int_equal(truncate(in_state("jobs/L1/result.json"), 40), 0);
    assert_int_equal(spool_result(job, &read, NULL), -EINVAL);
    spool_close(spool);
    spool = open_spool(1 << 20);
    assert_int_equal(spool_result(spool_at(spool, 0), &read, NULL), 0);
    assert_int_equal(read.outcome, WIRE_LOST);
    wire_result_done(&read);
    spool_close(spool);
}

static void test_cancelled_only_if_asked_for(void **state)
{
    struct spool *spool = open_spool(1 << 20);
    struct spool_job *job;
    struct wire_result r = {.epoch = 3, .outcome = WIRE_CANCELLED}, read;
    assert_int_equal(add(spool, "L1", &job), 0);
    spool_set_result(job, &r);
    assert_int_equal(spool_result(job, &read, NULL), 0);
    assert_int_equal(read.outcome, WIRE_LOST);
    wire_result_done(&read);
    spool_mark_cancelled(job);
    spool_close(spool);
    spool = open_spool(1 << 20);
    job = spool_at(spool, 0);
    assert_int_equal(spool_result(job, &read, NULL), 0);
    assert_int_equal(read.outcome, WIRE_CANCELLED);
    wire_result_done(&read);
    spool_remove(spool, job);
    assert_int_equal(entries("jobs"), 0);
    spool_close(spool);
}

/* ---- a crash, and an error, at every call ---- */

enum stage { BEGUN, OPENED, ADDED, LOGGED, RESULT_KEPT, REMOVED };

/* One lease's whole life; `stage` is how far it came. */
static void life(volatile enum stage *stage)
{
    struct spool *spool;
    struct spool_job *job;
    struct wire_result r = good_result();
    *stage = BEGUN;
    if (spool_open(state_dir, 1 << 20, &spool, NULL) < 0)
        return;
    *stage = OPENED;
    int added = add(spool, "L1", &job);
    *stage = ADDED;
    if (added == 0) {
        spool_log(job, "first line\n", 11);
        spool_log(job, "second line\n", 12);
        *stage = LOGGED;
    }
    spool_set_result(job, &r);
    *stage = RESULT_KEPT;
    if (fault.kind != CRASH)
        fault.kind = NO_FAULT; /* a full disk can be read and emptied */
    struct wire_result read;
    assert_int_equal(spool_result(job, &read, NULL), 0); /* it can be told in any case */
    wire_result_done(&read);
    spool_remove(spool, job);
    *stage = REMOVED;
    spool_close(spool);
}

static void check_log(const struct spool_job *job, enum stage stage)
{
    static const char whole[] = "first line\nsecond line\n";
    cleanup_free char *text = log_text(job);
    char *note = strstr(text, "[sheaf-agent: the agent was restarted");
    size_t n = note ? (size_t)(note - text) : strlen(text);
    if (note && n > 0 && strncmp(text, whole, n) != 0)
        n--; /* the line break before a note that follows a torn line */
    assert_int_equal(strncmp(text, whole, n), 0);
    if (stage >= LOGGED)
        assert_int_equal(n, strlen(whole));
}

static void check_after(enum stage stage)
{
    struct spool *spool = open_spool(1 << 20);
    assert_true(spool_count(spool) <= 1);
    if (stage == ADDED || stage == LOGGED)
        assert_int_equal(spool_count(spool), 1);
    if (stage == REMOVED)
        assert_int_equal(spool_count(spool), 0);
    if (spool_count(spool) == 1) {
        struct spool_job *job = spool_at(spool, 0);
        struct wire_result r;
        assert_int_equal(spool_result(job, &r, NULL), 0);
        assert_true(r.outcome == WIRE_LOST || stage >= LOGGED);
        wire_result_done(&r);
        if (stage < RESULT_KEPT) /* while removing, the log goes first */
            check_log(job, stage);
        spool_remove(spool, job);
    }
    assert_int_equal(entries("jobs"), 0);
    assert_int_equal(entries("trash/jobs"), 0);
    spool_close(spool);
}

static void test_crash_at_every_call(void **state)
{
    enum stage *stage =
        mmap(NULL, sizeof(*stage), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int k = 1, status = 42;
    for (; status == 42; k++) {
        pid_t child = fork();
        if (child == 0) {
            fault.kind = CRASH;
            fault.countdown = k;
            life(stage);
            _exit(0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        status = WEXITSTATUS(status);
        fault.kind = NO_FAULT;
        check_after(*stage);
    }
    assert_int_equal(status, 0);
    assert_in_range(k, 20, 100);
    munmap(stage, sizeof(*stage));
}

static void test_no_room_at_every_call(void **state)
{
    enum stage stage;
    for (int all = 0; all < 2; all++)
        for (int k = 1; k < 40; k++) {
            fault.kind = all ? FAIL_ON : FAIL_ONCE;
            fault.countdown = k;
            life(&stage);
            fault.kind = NO_FAULT;
            clear_state();
            assert_int_equal(mkdir(state_dir, 0700), 0);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_kept_until_removed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_agent_a_folder, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_full_disk_is_admitted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_workspaces_go_to_the_trash, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_damaged_or_foreign_result_is_none, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancelled_only_if_asked_for, setup, teardown),
        cmocka_unit_test_setup_teardown(test_crash_at_every_call, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_room_at_every_call, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
