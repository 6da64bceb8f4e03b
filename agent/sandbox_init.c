#include "agent/sandbox_init.h"

#include "agent/sandbox_devices.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/keyctl.h>
#include <linux/mount.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>

/* Where init keeps its two descriptors once everything inherited is closed. */
enum { STATUS_FD = 3, LOG_FD = 4, SYNC_FD = 5, FIRST_OTHER_FD = 6, ASIDE_FD = 200 };

static void report(int32_t kind, int32_t code, const char *what)
{
    struct sandbox_report r = {.kind = kind, .code = code};
    strncpy(r.what, what, sizeof(r.what) - 1);
    if (write(STATUS_FD, &r, sizeof(r)) < 0)
        _exit(1);
}

_Noreturn static void fail(const char *what)
{
    report(SANDBOX_REPORT_SETUP, errno, what);
    _exit(1);
}

/* Leaves exactly the three descriptors that init uses: a recipe must inherit nothing of the agent's. */
static void keep_only_own_fds(const struct sandbox_plan *plan)
{
    int s = fcntl(plan->status_fd, F_DUPFD_CLOEXEC, ASIDE_FD);
    int l = fcntl(plan->log_fd, F_DUPFD_CLOEXEC, ASIDE_FD);
    int y = fcntl(plan->sync_fd, F_DUPFD_CLOEXEC, ASIDE_FD);
    if (s < 0 || l < 0 || y < 0)
        _exit(1);
    dup3(s, STATUS_FD, O_CLOEXEC);
    dup3(l, LOG_FD, O_CLOEXEC);
    dup3(y, SYNC_FD, O_CLOEXEC);
    if (syscall(SYS_close_range, FIRST_OTHER_FD, ~0U, 0) == 0)
        return;
    for (int fd = FIRST_OTHER_FD; fd < 1024; fd++)
        close(fd);
}

/* fork() would run what libraries registered with pthread_atfork: libuv's closes two descriptors by number,
 * which are ours by now. */
static pid_t fork_bare(void)
{
    return (pid_t)syscall(SYS_clone, (unsigned long)SIGCHLD, NULL, NULL, NULL, NULL);
}

static void wait_for_parent(void)
{
    char byte;
    ssize_t n;
    while ((n = read(SYNC_FD, &byte, 1)) < 0 && errno == EINTR)
        ;
    if (n != 1)
        _exit(1);
}

/* The parent's death must be ours. Asked for anew after the ids changed, which clears it; a parent that
 * died before that shows as a hang-up. */
static void die_with_parent(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct pollfd p = {.fd = SYNC_FD};
    if (poll(&p, 1, 0) == 1 && (p.revents & POLLHUP))
        _exit(1);
}

/* Without a user namespace: each other namespace that can be had. The PID namespace begins with a child, so
 * this process stays behind to wait for it. */
static void unshare_what_can_be(struct sandbox_plan *plan)
{
    static const unsigned flags[] = {CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWPID};
    for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++)
        if (unshare((int)flags[i]) == 0)
            plan->flags |= flags[i];
    if (!(plan->flags & CLONE_NEWNS)) {
        errno = EPERM;
        fail("no mount namespace can be made");
    }
    if (!(plan->flags & CLONE_NEWPID))
        return;
    pid_t inner = fork_bare();
    if (inner < 0)
        fail("fork");
    if (inner == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        return;
    }
    int status;
    while (waitpid(inner, &status, 0) < 0 && errno == EINTR)
        ;
    _exit(0);
}

/* Makes `path` (relative, below "root") a folder or a file to mount on. What an image has there that is
 * no folder is replaced: following a link of its would leave the root. */
static void make_target(char *path, bool folder)
{
    for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        char *end = strchr(slash + 1, '/');
        bool last = !end;
        if (end)
            *end = '\0';
        bool want_folder = folder || !last;
        struct stat st;
        bool exists = lstat(path, &st) == 0;
        if (exists && (want_folder ? !S_ISDIR(st.st_mode) : !S_ISREG(st.st_mode))) {
            if (S_ISDIR(st.st_mode) ? rmdir(path) : unlink(path))
                fail(path);
            exists = false;
        }
        if (!exists && want_folder && mkdir(path, 0755) != 0)
            fail(path);
        if (!exists && !want_folder) {
            int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0644);
            if (fd < 0)
                fail(path);
            close(fd);
        }
        if (end)
            *end = '/';
    }
}

static void format_index(char *buf, size_t size, size_t i)
{
    char digits[8];
    int n = 0;
    do
        digits[n++] = (char)('0' + i % 10);
    while ((i /= 10) && n < (int)sizeof(digits));
    size_t used = strlen(buf);
    while (n > 0 && used + 1 < size)
        buf[used++] = digits[--n];
    buf[used] = '\0';
}

/* The flags of the mount at `path` that a remount in a user namespace has to keep. */
static unsigned long kept_flags(const char *path)
{
    struct statfs s;
    if (statfs(path, &s) != 0)
        return 0;
    return (unsigned long)s.f_flags & (MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME |
                                       MS_NODIRATIME | MS_RELATIME | MS_RDONLY);
}

static void bind(const char *source, const char *target, bool read_only, const char *what)
{
    if (mount(source, target, NULL, MS_BIND, NULL) != 0)
        fail(what);
    if (read_only &&
        mount(NULL, target, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | kept_flags(target), NULL) != 0)
        fail(what);
}

/* Everything on the board is opened here, while this process still is the board's own user (owner of the
 * state folder) and root only of its namespaces: nothing needs to be open to the world for it. */
static void stage_sources(const struct sandbox_spec *spec)
{
    if (chdir(spec->scratch) != 0)
        fail("entering the scratch folder");
    if (spec->mode == SANDBOX_ROOT_OVERLAY)
        bind(spec->root, "lower", true, "the root file system");
    else if (spec->mode == SANDBOX_ROOT_DIRECT)
        bind(spec->root, "root", false, "the root file system");
    else
        bind("root", "root", false, "the root file system");
    for (size_t i = 0; i < spec->n_mounts; i++) {
        char staged[32] = "m/";
        format_index(staged, sizeof(staged), i);
        if (access(staged, F_OK) == 0)
            bind(spec->mounts[i].source, staged, false, spec->mounts[i].source);
    }
}

static void become_inner_root(const struct sandbox_plan *plan)
{
    if (plan->flags & CLONE_NEWUSER) {
        if (setgroups(0, NULL) != 0 || setresgid(0, 0, 0) != 0 || setresuid(0, 0, 0) != 0)
            fail("becoming root of the user namespace");
    }
    /* Its memory is a copy of the helper's: nobody inside may look. */
    prctl(PR_SET_DUMPABLE, 0);
    die_with_parent();
    umask(022);
}

static void mount_dev(void)
{
    static const char *const nodes[] = {"null", "zero", "full", "random", "urandom", "tty"};
    char path[64] = "root/dev";
    make_target(path, true);
    if (mount("tmpfs", "root/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=1m") != 0)
        fail("/dev");
    for (size_t i = 0; i < sizeof(nodes) / sizeof(*nodes); i++) {
        char source[32] = "/dev/", target[64] = "root/dev/";
        strcat(source, nodes[i]);
        strcat(target, nodes[i]);
        if (access(source, F_OK) != 0)
            continue;
        make_target(target, false);
        bind(source, target, false, source);
    }
    if (mkdir("root/dev/pts", 0755) != 0 || mkdir("root/dev/shm", 01777) != 0)
        fail("/dev");
    if (mount("devpts", "root/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
              "newinstance,ptmxmode=0666,mode=620") == 0 &&
        symlink("pts/ptmx", "root/dev/ptmx") != 0)
        fail("/dev/ptmx");
    if (mount("tmpfs", "root/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=64m") != 0)
        fail("/dev/shm");
    static const char *const links[][2] = {{"/proc/self/fd", "root/dev/fd"},
                                           {"/proc/self/fd/0", "root/dev/stdin"},
                                           {"/proc/self/fd/1", "root/dev/stdout"},
                                           {"/proc/self/fd/2", "root/dev/stderr"}};
    for (size_t i = 0; i < sizeof(links) / sizeof(*links); i++)
        if (symlink(links[i][0], links[i][1]) != 0)
            fail("/dev");
}

/* The board's /sys, read-only: package scripts look there, and a fresh one cannot be had without a network
 * namespace. Doing without it harms nothing. */
static void mount_sys(void)
{
    char path[64] = "root/sys";
    make_target(path, true);
    if (mount("/sys", "root/sys", NULL, MS_BIND | MS_REC, NULL) != 0)
        return;
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
    if (syscall(SYS_mount_setattr, AT_FDCWD, "root/sys", 0x8000 /* AT_RECURSIVE */, &attr,
                sizeof(attr)) != 0)
        umount2("root/sys", MNT_DETACH);
}

static void mount_given(const struct sandbox_spec *spec)
{
    for (size_t i = 0; i < spec->n_mounts; i++) {
        char staged[32] = "m/", target[256] = "root";
        format_index(staged, sizeof(staged), i);
        struct stat st;
        if (stat(staged, &st) != 0 || strlen(spec->mounts[i].target) > 200)
            continue;
        strcat(target, spec->mounts[i].target);
        make_target(target, S_ISDIR(st.st_mode));
        bind(staged, target, spec->mounts[i].read_only, spec->mounts[i].target);
    }
}

static void build_root(const struct sandbox_plan *plan)
{
    if (plan->spec->mode == SANDBOX_ROOT_OVERLAY &&
        mount("overlay", "root", "overlay", 0, plan->overlay_options) != 0)
        fail("overlay");
    char proc[64] = "root/proc";
    make_target(proc, true);
    if (mount("proc", "root/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0)
        fail("/proc");
    mount_dev();
    mount_sys();
    mount_given(plan->spec);
}

static void enter_root(const struct sandbox_plan *plan)
{
    if (chdir("root") != 0)
        fail("entering the root file system");
    if (syscall(SYS_pivot_root, ".", ".") == 0) {
        if (umount2(".", MNT_DETACH) != 0)
            fail("leaving the board's file system");
    } else if (!plan->degraded || chroot(".") != 0) {
        fail("pivot_root");
    }
    if (chdir("/") != 0)
        fail("/");
}

/* Done from inside, so that whatever links the image has lead nowhere else. */
static void write_inside(const char *path, const char *content)
{
    if (!content)
        return;
    mkdir("/etc", 0755);
    unlink(path);
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        return;
    if (write(fd, content, strlen(content)) < 0)
        unlink(path);
    close(fd);
}

/* Enough for any build and little enough that a small board survives a fork bomb. */
static rlim_t default_processes(void)
{
    struct sysinfo si;
    if (sysinfo(&si) != 0)
        return 1024;
    rlim_t megabytes = (rlim_t)si.totalram * si.mem_unit >> 20;
    return megabytes < 512 ? 512 : megabytes > 4096 ? 4096 : megabytes;
}

static void limit(int resource, rlim_t value)
{
    struct rlimit now;
    if (getrlimit((__rlimit_resource_t)resource, &now) == 0 && now.rlim_max < value)
        value = now.rlim_max;
    setrlimit((__rlimit_resource_t)resource, &(struct rlimit){value, value});
}

static void apply_limits(const struct sandbox_spec *spec)
{
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_NPROC, spec->processes ? (rlim_t)spec->processes : default_processes());
    limit(RLIMIT_NOFILE, 65536);
}

_Noreturn static void run_program(const struct sandbox_spec *spec)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int s = 1; s < NSIG; s++)
        signal(s, SIG_DFL);
    setsid();
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null < 0)
        fail("/dev/null");
    dup2(null, 0);
    dup2(LOG_FD, 1);
    dup2(LOG_FD, 2);
    apply_limits(spec);
    if (spec->linux32)
        personality(PER_LINUX32);
    if ((spec->uid || spec->gid) &&
        (setgroups(0, NULL) != 0 || setresgid(spec->gid, spec->gid, spec->gid) != 0 ||
         setresuid(spec->uid, spec->uid, spec->uid) != 0))
        fail("changing to the image's user");
    if (spec->cwd && chdir(spec->cwd) != 0)
        fail("entering the working directory");
    environ = (char **)(uintptr_t)spec->env;
    execvp(spec->argv[0], (char *const *)(uintptr_t)spec->argv);
    report(SANDBOX_REPORT_EXEC, errno, spec->argv[0]);
    _exit(127);
}

/* Our own descriptor is closed once the parent has its copy: when the parent gives up, nobody waits for it. */
static void offer_devices(const struct sandbox_plan *plan)
{
    int fd = plan->degraded ? -1 : sandbox_devices_install();
    if (fd < 0)
        return;
    report(SANDBOX_REPORT_DEVICES, fd, "");
    wait_for_parent();
    close(fd);
}

_Noreturn static void reap_until(pid_t program)
{
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, 0);
        if (pid < 0 && errno == EINTR)
            continue;
        if (pid == program || pid < 0) {
            report(SANDBOX_REPORT_ENDED, pid < 0 ? 0x7f00 : status, "");
            _exit(0);
        }
    }
}

_Noreturn void sandbox_init(struct sandbox_plan *plan)
{
    const struct sandbox_spec *spec = plan->spec;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    keep_only_own_fds(plan);
    wait_for_parent();
    if (plan->degraded)
        unshare_what_can_be(plan);
    syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        fail("making mounts private");
    stage_sources(spec);
    become_inner_root(plan);
    if ((plan->flags & CLONE_NEWUTS) && sethostname("sheaf", 5) != 0)
        fail("naming the host");
    build_root(plan);
    enter_root(plan);
    write_inside("/etc/resolv.conf", plan->resolv_conf);
    write_inside("/etc/hosts", plan->hosts);
    write_inside("/etc/hostname", "sheaf\n");
    offer_devices(plan);
    report(SANDBOX_REPORT_STARTED, (int32_t)plan->flags, "");
    pid_t program = fork_bare();
    if (program < 0)
        fail("fork");
    if (program == 0)
        run_program(spec);
    reap_until(program);
}
