#include "agent/sandbox_watch.h"

#include "agent/sandbox_devices.h"
#include "agent/sandbox_init.h"
#include "common/clock.h"
#include "common/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

enum {
    DISK_INTERVAL_MS = 500,
    NO_PIDFD_INTERVAL_MS = 50,
    DRAIN_MS = 2000, /* for output that is still in the pipe when all are dead */
    TAIL_LINES = 20,
    TAIL_LINE_MAX = 4000,
    LOG_MAX = 64 << 20, /* of one program's output; the rest is read and dropped */
};

struct watching {
    const struct sandbox_watch *w;
    int64_t start;
    struct sandbox_report last; /* setup, exec or ended */
    bool reported, started;
    int devices; /* where mknod asks; -1: nowhere */
    bool killed;
    enum sandbox_end why; /* when killed */
    uint64_t oom_before;
    size_t relayed;     /* bytes of output passed on */
    struct strbuf line; /* the unfinished last line, for the tail */
};

/* How often the kernel killed for want of memory, on the whole machine: where no cgroup tells, a rise
 * together with a failure is the best there is. */
static uint64_t oom_kills(void)
{
    cleanup_fclose FILE *f = fopen("/proc/vmstat", "re");
    char line[128];
    while (f && fgets(line, sizeof(line), f))
        if (str_starts(line, "oom_kill "))
            return strtoull(line + strlen("oom_kill "), NULL, 10);
    return 0;
}

static void kill_all(struct watching *s, enum sandbox_end why)
{
    if (s->killed)
        return;
    s->killed = true;
    s->why = why;
    kill(s->w->pid, SIGKILL);
    sandbox_cgroup_kill(s->w->cgroup);
}

static void keep_tail_line(struct watching *s)
{
    strvec *tail = s->w->spec->capture;
    if (s->line.n == 0)
        return;
    if (tail->n == TAIL_LINES) {
        free(tail->items[0]);
        vec_remove(tail, 0);
    }
    vec_push(tail, strbuf_steal(&s->line));
}

static void keep_tail(struct watching *s, const char *data, size_t n)
{
    if (!s->w->spec->capture)
        return;
    for (size_t i = 0; i < n; i++) {
        if (data[i] == '\n' || data[i] == '\r')
            keep_tail_line(s);
        else if (s->line.n < TAIL_LINE_MAX)
            strbuf_addc(&s->line, data[i]);
    }
}

static void pass_on(struct watching *s, const char *data, size_t n)
{
    static const char cut[] = "\nsheaf: the log is cut here: it is longer than 64 MiB\n";
    int fd = s->w->spec->log_fd < 0 ? STDOUT_FILENO : s->w->spec->log_fd;
    bool fits = s->relayed + n <= LOG_MAX;
    if (fits)
        (void)fd_write_all(fd, data, n); /* if the daemon is gone, so is who wants to read */
    else if (s->relayed <= LOG_MAX)
        (void)fd_write_all(fd, cut, sizeof(cut) - 1);
    s->relayed = fits ? s->relayed + n : LOG_MAX + 1;
}

/* One read of the log; false at its end. */
static bool relay_log(struct watching *s)
{
    char buf[65536];
    ssize_t n = read(s->w->log_fd, buf, sizeof(buf));
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return true;
    if (n <= 0)
        return false;
    pass_on(s, buf, (size_t)n);
    keep_tail(s, buf, (size_t)n);
    return true;
}

/* Whether or not it can be taken, init goes on. */
static void take_devices(struct watching *s, int fd)
{
    int taken = sandbox_devices_take(s->w->pid, fd);
    s->devices = taken < 0 ? -1 : taken;
    if (write(s->w->sync_fd, "", 1) != 1)
        kill_all(s, SANDBOX_SIGNALED);
}

/* One report; false at the end of the status pipe. */
static bool read_report(struct watching *s)
{
    struct sandbox_report r;
    ssize_t n = read(s->w->status_fd, &r, sizeof(r));
    if (n < 0 && errno == EINTR)
        return true;
    if (n != sizeof(r))
        return false;
    r.what[sizeof(r.what) - 1] = '\0';
    if (r.kind == SANDBOX_REPORT_DEVICES) {
        take_devices(s, r.code);
        return true;
    }
    if (r.kind == SANDBOX_REPORT_STARTED) {
        s->started = true;
        return true;
    }
    /* A failed exec is followed by its exit status, which says less. */
    if (!s->reported || s->last.kind == SANDBOX_REPORT_ENDED) {
        s->last = r;
        s->reported = true;
    }
    return true;
}

static void check_limits(struct watching *s)
{
    const struct sandbox_spec *spec = s->w->spec;
    if (spec->timeout_ms > 0 && clock_mono_ms() - s->start >= spec->timeout_ms)
        kill_all(s, SANDBOX_TIMEOUT);
    struct statvfs v;
    if (spec->disk_reserve > 0 && statvfs(spec->scratch, &v) == 0 &&
        (int64_t)(v.f_bavail * v.f_frsize) < spec->disk_reserve)
        kill_all(s, SANDBOX_DISK);
}

static int next_wait(const struct watching *s, int pidfd)
{
    int64_t wait = pidfd < 0 ? NO_PIDFD_INTERVAL_MS : DISK_INTERVAL_MS;
    if (s->w->spec->timeout_ms > 0 && !s->killed) {
        int64_t left = s->start + s->w->spec->timeout_ms - clock_mono_ms();
        wait = left < 0 ? 0 : left < wait ? left : wait;
    }
    return (int)wait;
}

static bool is_dead(pid_t pid)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

/* Until init is dead, which it is only when all in its namespace are. A kernel or an emulator without pidfds
 * is asked now and then instead. */
static void watch_until_dead(struct watching *s, int pidfd)
{
    struct pollfd p[4] = {{.fd = pidfd, .events = POLLIN},
                          {.fd = s->w->status_fd, .events = POLLIN},
                          {.fd = s->w->log_fd, .events = POLLIN},
                          {.events = POLLIN}};
    for (;;) {
        p[3].fd = s->devices;
        p[3].revents = 0;
        int n = poll(p, 4, next_wait(s, pidfd));
        if (n < 0 && errno != EINTR)
            return kill_all(s, SANDBOX_SIGNALED);
        if (n > 0 && (p[3].revents & POLLIN))
            sandbox_devices_answer(s->devices);
        else if (n > 0 && p[3].revents)
            close(steal_fd(&s->devices)); /* nobody is left who could ask */
        if (n > 0 && p[2].revents && !relay_log(s))
            p[2].fd = -1;
        if (n > 0 && p[1].revents && !read_report(s))
            p[1].fd = -1;
        if (pidfd < 0 ? is_dead(s->w->pid) : n > 0 && p[0].revents)
            return;
        check_limits(s);
    }
}

/* Without a PID namespace, orphans of the recipe become ours (we are a subreaper): kill until none is
 * left. */
static void kill_orphans(void)
{
    cleanup_free char *path = xasprintf("/proc/self/task/%d/children", (int)getpid());
    for (int round = 0; round < 1000; round++) {
        cleanup_fclose FILE *f = fopen(path, "re");
        int pid, n = 0;
        while (f && fscanf(f, "%d", &pid) == 1 && ++n)
            kill(pid, SIGKILL);
        if (n == 0)
            return;
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
}

static void drain(struct watching *s)
{
    while (read_report(s))
        ;
    fcntl(s->w->log_fd, F_SETFL, O_NONBLOCK);
    int64_t deadline = clock_mono_ms() + DRAIN_MS;
    struct pollfd p = {.fd = s->w->log_fd, .events = POLLIN};
    while (clock_mono_ms() < deadline && poll(&p, 1, 100) >= 0)
        if (p.revents && !relay_log(s))
            break;
    if (s->w->spec->capture)
        keep_tail_line(s);
    strbuf_done(&s->line);
}

/* What a program's own end means. */
static void judge_end(const struct watching *s, struct sandbox_outcome *ret)
{
    int status = s->reported ? s->last.code : SIGKILL;
    bool memory = sandbox_cgroup_oom(s->w->cgroup) || oom_kills() > s->oom_before;
    ret->end = WIFSIGNALED(status) ? SANDBOX_SIGNALED : SANDBOX_EXITED;
    ret->status = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
    if (status != 0 && memory)
        ret->end = SANDBOX_MEMORY;
}

static int judge(const struct watching *s, struct sandbox_outcome *ret, struct err *err)
{
    *ret = (struct sandbox_outcome){.end = s->why, .duration_ms = clock_mono_ms() - s->start};
    if (s->killed)
        return 0;
    if (s->reported && s->last.kind == SANDBOX_REPORT_SETUP)
        return err_errno(err, -s->last.code, "setting up the sandbox: %s", s->last.what);
    if (s->reported && s->last.kind == SANDBOX_REPORT_EXEC)
        return err_errno(err, -s->last.code, "starting %s in the sandbox", s->last.what);
    if (!s->started)
        return err_set_retryable(err, -EIO, true, "the sandbox died while it was being made");
    judge_end(s, ret);
    return 0;
}

int sandbox_watch(const struct sandbox_watch *w, struct sandbox_outcome *ret, struct err *err)
{
    struct watching s = {
        .w = w, .start = clock_mono_ms(), .oom_before = oom_kills(), .devices = -1};
    cleanup_close int pidfd = (int)syscall(SYS_pidfd_open, w->pid, 0);
    watch_until_dead(&s, pidfd);
    closep(&s.devices);
    while (waitpid(w->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    if (!sandbox_ability()->pid)
        kill_orphans();
    drain(&s);
    return judge(&s, ret, err);
}
