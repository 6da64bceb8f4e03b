#include "agent/sandbox.h"

#include "agent/sandbox_cgroup.h"
#include "agent/sandbox_init.h"
#include "agent/sandbox_watch.h"
#include "agent/tree_remove.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define WHOLE                                                                                      \
    (CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP)

/* A process in new namespaces, as fork() returns; -errno. */
static pid_t clone_into(unsigned flags)
{
    struct clone_args args = {.flags = flags, .exit_signal = SIGCHLD};
    long pid = syscall(SYS_clone3, &args, sizeof(args));
    if (pid < 0 && errno == ENOSYS)
        pid = syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, NULL);
    return pid < 0 ? -errno : (pid_t)pid;
}

static int write_map(pid_t pid, const char *name)
{
    char path[64], text[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    int n = snprintf(text, sizeof(text), "0 %u %u\n", SANDBOX_ID_SHIFT, SANDBOX_ID_RANGE);
    cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, (size_t)n) != n)
        return -errno;
    return 0;
}

static int map_ids(pid_t pid)
{
    int r = write_map(pid, "gid_map");
    return r < 0 ? r : write_map(pid, "uid_map");
}

static bool exits_well(pid_t pid)
{
    int status = 1;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status == 0;
}

/* Runs `attempt` as root of new namespaces; whether it returned true. Where no user namespace can be had, in
 * a new mount namespace only. */
static bool try_inside(unsigned flags, bool (*attempt)(const char *), const char *arg)
{
    int pair[2];
    if (pipe2(pair, O_CLOEXEC) != 0)
        return false;
    cleanup_close int wait_for = pair[0], go = pair[1];
    pid_t pid = clone_into(flags);
    if (pid < 0)
        return false;
    if (pid == 0) {
        char byte;
        bool ok = read(wait_for, &byte, 1) == 1 && setgid(0) == 0 && setuid(0) == 0 &&
                  ((flags & CLONE_NEWNS) || unshare(CLONE_NEWNS) == 0) &&
                  mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 && attempt(arg);
        _exit(ok ? 0 : 1);
    }
    if (((flags & CLONE_NEWUSER) && map_ids(pid) != 0) || write(go, "", 1) != 1)
        kill(pid, SIGKILL);
    return exits_well(pid);
}

static bool mount_proc(const char *unused)
{
    return mount("proc", "/proc", "proc", 0, NULL) == 0;
}

/* In the current folder, which was entered before the ids changed. */
static bool mount_overlay(const char *options)
{
    return mount("overlay", "root", "overlay", 0, options) == 0;
}

/* What is left without a user namespace: each is tried in a child. */
static bool try_unshare(int flag)
{
    pid_t pid = fork();
    if (pid < 0)
        return false;
    if (pid == 0)
        _exit(unshare(flag) == 0 ? 0 : 1);
    return exits_well(pid);
}

static void try_cgroup(struct sandbox_ability *a)
{
    struct sandbox_cgroup c;
    sandbox_cgroup_open(&c);
    if (c.path) {
        cleanup_free char *kill_file = xasprintf("%s/cgroup.kill", c.path);
        a->cgroup_kill = access(kill_file, W_OK) == 0;
        a->cgroup_memory = c.memory;
        a->cgroup_pids = c.pids;
    }
    sandbox_cgroup_done(&c);
}

const struct sandbox_ability *sandbox_ability(void)
{
    static struct sandbox_ability a;
    static bool known;
    if (known)
        return &a;
    known = true;
    a.user = try_inside(WHOLE, mount_proc, NULL);
    a.mount = a.user || try_unshare(CLONE_NEWNS);
    a.pid = a.user || try_unshare(CLONE_NEWPID);
    a.ipc = a.user || try_unshare(CLONE_NEWIPC);
    a.uts = a.user || try_unshare(CLONE_NEWUTS);
    try_cgroup(&a);
    return &a;
}

void sandbox_ability_names(strvec *names)
{
    const struct sandbox_ability *a = sandbox_ability();
    const struct {
        bool has;
        const char *name;
    } all[] = {
        {a->user, "userns"},
        {a->mount, "mount"},
        {a->pid, "pid"},
        {a->ipc, "ipc"},
        {a->uts, "uts"},
        {a->cgroup_kill, "cgroup-kill"},
        {a->cgroup_memory, "cgroup-memory"},
        {a->cgroup_pids, "cgroup-pids"},
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        if (all[i].has)
            strvec_add(names, all[i].name);
}

uint32_t sandbox_id_shift(void)
{
    return sandbox_ability()->user ? SANDBOX_ID_SHIFT : 0;
}

static int make_folder(const char *scratch, const char *name, struct err *err)
{
    cleanup_free char *path = *name ? xasprintf("%s/%s", scratch, name) : xstrdup(scratch);
    uint32_t shift = sandbox_id_shift();
    if (mkdir(path, 0755) != 0 || chmod(path, 0755) != 0 || chown(path, shift, shift) != 0)
        return err_errno(err, -errno, "making %s", path);
    return 0;
}

static int make_stage(const char *scratch, size_t i, const char *source, struct err *err)
{
    struct stat st;
    if (stat(source, &st) != 0)
        return 0; /* init leaves out what was not staged */
    cleanup_free char *name = xasprintf("m/%zu", i);
    if (S_ISDIR(st.st_mode))
        return make_folder(scratch, name, err);
    cleanup_free char *path = xasprintf("%s/%s", scratch, name);
    cleanup_close int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    return fd < 0 ? err_errno(err, -errno, "making %s", path) : 0;
}

/* The scratch folder's frame, on which init mounts. */
static int make_scratch(const struct sandbox_spec *spec, struct err *err)
{
    static const char *const names[] = {"", "lower", "root", "upper", "ovl", "m"};
    int r = 0;
    for (size_t i = 0; r == 0 && i < sizeof(names) / sizeof(*names); i++)
        r = make_folder(spec->scratch, names[i], err);
    for (size_t i = 0; r == 0 && i < spec->n_mounts; i++)
        r = make_stage(spec->scratch, i, spec->mounts[i].source, err);
    return r;
}

static const char *overlay_options(void)
{
    return sandbox_ability()->user ? "lowerdir=lower,upperdir=upper,workdir=ovl,userxattr"
                                   : "lowerdir=lower,upperdir=upper,workdir=ovl";
}

bool sandbox_overlay_works(const char *folder)
{
    struct err err = ERR_INIT;
    cleanup_free char *scratch = xasprintf("%s/overlay-%d", folder, (int)getpid());
    struct sandbox_spec spec = {.scratch = scratch};
    cleanup_close int before = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (before < 0 || make_scratch(&spec, &err) < 0 || chdir(scratch) != 0)
        return false;
    bool works = try_inside(sandbox_ability()->user ? WHOLE : 0, mount_overlay, overlay_options());
    if (fchdir(before) != 0)
        works = false;
    if (tree_remove(scratch, &err) < 0)
        log_warning("%s", err.text);
    return works;
}

static char *read_whole(const char *path)
{
    cleanup_fclose FILE *f = fopen(path, "re");
    if (!f)
        return NULL;
    char buf[16384];
    return xstrndup(buf, fread(buf, 1, sizeof(buf) - 1, f));
}

static void prepare_plan(struct sandbox_plan *plan, const struct sandbox_spec *spec)
{
    plan->spec = spec;
    plan->degraded = !sandbox_ability()->user;
    plan->flags = plan->degraded ? 0 : WHOLE;
    plan->resolv_conf = read_whole("/etc/resolv.conf");
    plan->hosts = xstrdup("127.0.0.1 localhost sheaf\n::1 localhost\n");
    plan->overlay_options = overlay_options();
}

struct pipes {
    int sync[2], status[2], log[2];
};

static void close_pair(int pair[2])
{
    for (int i = 0; i < 2; i++) {
        closep(&pair[i]);
        pair[i] = -1;
    }
}

static void pipes_done(struct pipes *p)
{
    close_pair(p->sync);
    close_pair(p->status);
    close_pair(p->log);
}

static int pipes_open(struct pipes *p, struct err *err)
{
    if (pipe2(p->sync, O_CLOEXEC) != 0 || pipe2(p->status, O_CLOEXEC) != 0 ||
        pipe2(p->log, O_CLOEXEC) != 0)
        return err_errno(err, -errno, "pipe");
    /* A recipe that opens /dev/stdout anew does so as the inner root. */
    if (fchown(p->log[1], sandbox_id_shift(), sandbox_id_shift()) != 0)
        return err_errno(err, -errno, "fchown");
    return 0;
}

/* The same, born in a cgroup: moving it there later makes the kernel wait for all its processors. */
static pid_t clone_into_cgroup(unsigned flags, const char *cgroup)
{
    cleanup_close int fd = cgroup ? open(cgroup, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd < 0)
        return -ENOENT;
    struct clone_args args = {
        .flags = flags | CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (uint64_t)fd};
    long pid = syscall(SYS_clone3, &args, sizeof(args));
    return pid < 0 ? -errno : (pid_t)pid;
}

/* *ret_inside: it is in the cgroup already, which since Linux 5.7 it can be. */
static pid_t start_init(struct sandbox_plan *plan, const struct sandbox_cgroup *cgroup,
                        struct pipes *p, bool *ret_inside)
{
    plan->sync_fd = p->sync[0];
    plan->status_fd = p->status[1];
    plan->log_fd = p->log[1];
    fflush(NULL);
    pid_t pid = clone_into_cgroup(plan->flags, cgroup->path);
    *ret_inside = pid > 0;
    if (pid < 0)
        pid = clone_into(plan->flags);
    if (pid == 0)
        sandbox_init(plan); /* closes all but its own ends */
    return pid;
}

/* The kernel's choice under memory pressure should fall on a recipe. */
static void prefer_to_kill(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)pid);
    cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, "500", 3) < 0)
        errno = 0; /* only a preference */
}

/* `cgroup`: it is still to be moved there; or NULL. */
static int release_init(const struct sandbox_plan *plan, const struct sandbox_cgroup *cgroup,
                        pid_t pid, struct pipes *p, struct err *err)
{
    int r = plan->degraded ? 0 : map_ids(pid);
    if (r < 0)
        return err_errno(err, r, "mapping the user namespace's ids");
    r = cgroup ? sandbox_cgroup_add(cgroup, pid, err) : 0;
    if (r < 0)
        return r;
    prefer_to_kill(pid);
    return write(p->sync[1], "", 1) == 1 ? 0 : err_errno(err, -errno, "starting the sandbox");
}

static int run_with_pipes(struct sandbox_plan *plan, struct sandbox_cgroup *cgroup, struct pipes *p,
                          struct sandbox_outcome *ret, struct err *err)
{
    bool inside;
    pid_t pid = start_init(plan, cgroup, p, &inside);
    if (pid < 0)
        return err_errno(err, pid, "making the sandbox's namespaces");
    close(steal_fd(&p->sync[0]));
    close(steal_fd(&p->status[1]));
    close(steal_fd(&p->log[1]));
    int r = release_init(plan, inside ? NULL : cgroup, pid, p, err);
    if (r < 0)
        kill(pid, SIGKILL);
    struct sandbox_watch w = {
        .spec = plan->spec,
        .cgroup = cgroup,
        .pid = pid,
        .status_fd = p->status[0],
        .log_fd = p->log[0],
        .sync_fd = p->sync[1],
    };
    int watched = sandbox_watch(&w, ret, r < 0 ? NULL : err);
    return r < 0 ? r : watched;
}

int sandbox_run(const struct sandbox_spec *spec, struct sandbox_outcome *ret, struct err *err)
{
    if (!sandbox_ability()->mount)
        return err_set(err, -EPERM, "this board can make no mount namespace: nothing is run");
    int r = make_scratch(spec, err);
    if (r < 0)
        return r;
    struct sandbox_plan plan = {0};
    struct pipes p = {{-1, -1}, {-1, -1}, {-1, -1}};
    struct sandbox_cgroup cgroup;
    prepare_plan(&plan, spec);
    sandbox_cgroup_open(&cgroup);
    sandbox_cgroup_limit(&cgroup, spec->memory, spec->processes ? spec->processes : 4096);
    r = pipes_open(&p, err);
    if (r == 0)
        r = run_with_pipes(&plan, &cgroup, &p, ret, err);
    pipes_done(&p);
    sandbox_cgroup_done(&cgroup);
    free(plan.resolv_conf);
    free(plan.hosts);
    return r;
}
