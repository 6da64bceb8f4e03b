#include "agent/sandbox_devices.h"

#include "common/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- inside ---- */

/* One architecture's two calls; falls through to the next block with the architecture still loaded. */
#define BLOCK(arch, mknod_nr, mknodat_nr)                                                          \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (arch), 0, 5),                                             \
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),                     \
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (mknod_nr), 2, 0),                                     \
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (mknodat_nr), 1, 0),                                   \
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),                                              \
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF)

/* A 64-bit kernel runs 32-bit programs with numbers of their own. */
enum {
    NR_X86_64_MKNOD = 133,
    NR_X86_64_MKNODAT = 259,
    NR_32_MKNOD = 14, /* i386 and arm */
    NR_I386_MKNODAT = 297,
    NR_ARM_MKNODAT = 324,
    NR_ARM64_MKNODAT = 33, /* it has no mknod */
};

int sandbox_devices_install(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BLOCK(AUDIT_ARCH_X86_64, NR_X86_64_MKNOD, NR_X86_64_MKNODAT),
        BLOCK(AUDIT_ARCH_I386, NR_32_MKNOD, NR_I386_MKNODAT),
        BLOCK(AUDIT_ARCH_AARCH64, NR_ARM64_MKNODAT, NR_ARM64_MKNODAT),
        BLOCK(AUDIT_ARCH_ARM, NR_32_MKNOD, NR_ARM_MKNODAT),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof(code) / sizeof(*code), .filter = code};
    long fd =
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    return fd < 0 ? -1 : (int)fd;
}

/* ---- outside ---- */

int sandbox_devices_take(pid_t pid, int fd)
{
    cleanup_close int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0)
        return -errno;
    long taken = syscall(SYS_pidfd_getfd, pidfd, fd, 0);
    return taken < 0 ? -errno : (int)taken;
}

mode_t sandbox_device_kind(mode_t mode, dev_t device)
{
    static const struct {
        unsigned major, minor;
        mode_t kind;
    } known[] = {
        {1, 3, S_IFCHR}, {1, 5, S_IFCHR}, {1, 7, S_IFCHR}, /* null, zero, full */
        {1, 8, S_IFCHR}, {1, 9, S_IFCHR},                  /* random, urandom */
        {5, 0, S_IFCHR}, {5, 2, S_IFCHR},                  /* tty, ptmx */
        {5, 1, S_IFREG},                                   /* console */
    };
    for (size_t i = 0; S_ISCHR(mode) && i < sizeof(known) / sizeof(*known); i++)
        if (major(device) == known[i].major && minor(device) == known[i].minor)
            return known[i].kind;
    return 0;
}

/* A call, as the kernel tells it. */
struct asked {
    pid_t pid;
    int dirfd;
    uint64_t path; /* in the caller's memory */
    mode_t mode;
    dev_t device;
};

static struct asked read_call(const struct seccomp_notif *n)
{
    const __u64 *a = n->data.args;
    bool at = !((n->data.arch == AUDIT_ARCH_X86_64 && n->data.nr == NR_X86_64_MKNOD) ||
                (n->data.arch != AUDIT_ARCH_X86_64 && n->data.nr == NR_32_MKNOD));
    return (struct asked){.pid = (pid_t)n->pid,
                          .dirfd = at ? (int)a[0] : AT_FDCWD,
                          .path = a[at],
                          .mode = (mode_t)a[at + 1],
                          .device = (dev_t)(unsigned)a[at + 2]};
}

/* Who calls: host ids, and its umask. */
struct caller {
    unsigned uid, gid, mask;
};

static bool read_caller(pid_t pid, struct caller *ret)
{
    char path[64], line[256];
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    cleanup_fclose FILE *f = fopen(path, "re");
    int found = 0;
    while (f && fgets(line, sizeof(line), f))
        found += sscanf(line, "Umask: %o", &ret->mask) == 1 ||
                 sscanf(line, "Uid: %*u %*u %*u %u", &ret->uid) == 1 ||
                 sscanf(line, "Gid: %*u %*u %*u %u", &ret->gid) == 1;
    return found == 3;
}

static bool read_path(const struct asked *a, char path[PATH_MAX])
{
    /* In pages, since the string may end before one that is not there. */
    for (size_t n = 0; n < PATH_MAX;) {
        size_t step = 4096 - (a->path + n) % 4096;
        if (step > PATH_MAX - n)
            step = PATH_MAX - n;
        struct iovec to = {path + n, step}, from = {(void *)(uintptr_t)(a->path + n), step};
        ssize_t got = process_vm_readv(a->pid, &to, 1, &from, 1, 0);
        if (got <= 0)
            return false;
        if (memchr(path + n, '\0', (size_t)got))
            return true;
        n += (size_t)got;
    }
    return false;
}

static int open_of(pid_t pid, const char *what, int flags)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, what);
    return open(path, flags | O_CLOEXEC);
}

/* From here on files are touched as the caller would, and CAP_MKNOD is all that is left. */
static bool become(const struct caller *c)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct caps[2] = {
        {.effective = 1U << CAP_MKNOD, .permitted = 1U << CAP_MKNOD}};
    umask((mode_t)c->mask);
    if (setgroups(0, NULL) != 0)
        return false;
    setfsgid(c->gid);
    setfsuid(c->uid);
    return syscall(SYS_capset, &header, caps) == 0;
}

/* In a child of ours: makes the node in the caller's own mounts, seen from its own root. An errno, 0: made. */
static int make_node(const struct asked *a, int listener, uint64_t id)
{
    char path[PATH_MAX], from[32];
    struct caller caller;
    if (!read_path(a, path) || !read_caller(a->pid, &caller))
        return EFAULT;
    snprintf(from, sizeof(from), a->dirfd == AT_FDCWD ? "cwd" : "fd/%d", a->dirfd);
    int root = open_of(a->pid, "root", O_PATH | O_DIRECTORY);
    int start = open_of(a->pid, path[0] == '/' ? "root" : from, O_PATH | O_DIRECTORY);
    int mounts = open_of(a->pid, "ns/mnt", O_RDONLY);
    if (root < 0 || start < 0 || mounts < 0)
        return EBADF;
    /* The process may have died and its number be another's by now: only then is the id gone. */
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) != 0)
        return EPERM;
    if (setns(mounts, CLONE_NEWNS) != 0 || fchdir(root) != 0 || chroot(".") != 0 ||
        fchdir(start) != 0)
        return EPERM;
    if (!become(&caller))
        return EPERM;
    mode_t kind = sandbox_device_kind(a->mode, a->device);
    return mknodat(AT_FDCWD, path, kind | (a->mode & 07777), a->device) == 0 ? 0 : errno;
}

static int make_in_child(const struct asked *a, int listener, uint64_t id)
{
    pid_t pid = (pid_t)syscall(SYS_clone, (unsigned long)SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid == 0) {
        alarm(5);
        _exit(make_node(a, listener, id));
    }
    int status = 0;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : EPERM;
}

void sandbox_devices_answer(int listener)
{
    struct seccomp_notif asking = {0};
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asking) != 0)
        return; /* who asked has died */
    struct asked a = read_call(&asking);
    struct seccomp_notif_resp answer = {.id = asking.id};
    if (sandbox_device_kind(a.mode, a.device))
        answer.error = -make_in_child(&a, listener, asking.id);
    else
        answer.flags =
            SECCOMP_USER_NOTIF_FLAG_CONTINUE; /* and the kernel says no, or makes a FIFO */
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) != 0)
        return; /* likewise */
}
