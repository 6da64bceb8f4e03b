#include "agent/sandbox_cgroup.h"

#include "common/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#define PREFIX "sheaf-job-" /* and the pid of the process that made it */

static int write_file(const char *dir, const char *name, const char *text)
{
    cleanup_free char *path = xasprintf("%s/%s", dir, name);
    cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

static char *read_small(const char *dir, const char *name)
{
    cleanup_free char *path = xasprintf("%s/%s", dir, name);
    cleanup_fclose FILE *f = fopen(path, "re");
    if (!f)
        return NULL;
    char buf[4096];
    size_t n = fread(buf, 1, sizeof(buf) - 1, f);
    return xstrndup(buf, n);
}

/* Where the v2 hierarchy is: at the top, or beside v1's. */
static const char *mount_point(void)
{
    static const char *const places[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
        cleanup_free char *probe = xasprintf("%s/cgroup.procs", places[i]);
        if (access(probe, F_OK) == 0)
            return places[i];
    }
    return NULL;
}

/* The cgroup under which ours are made; NULL if unknown. */
static char *base_path(void)
{
    const char *top = mount_point();
    cleanup_fclose FILE *f = fopen("/proc/self/cgroup", "re");
    if (!top || !f)
        return NULL;
    char line[4096];
    while (fgets(line, sizeof(line), f)) {
        if (!str_starts(line, "0::/"))
            continue;
        line[strcspn(line, "\n")] = '\0';
        if (str_ends(line, "/daemon"))
            *strrchr(line, '/') = '\0';
        return xasprintf("%s%s", top, line + 3);
    }
    return NULL;
}

void sandbox_cgroup_open(struct sandbox_cgroup *ret)
{
    *ret = (struct sandbox_cgroup){0};
    cleanup_free char *base = base_path();
    if (!base)
        return;
    /* Refused while the base has members of its own (EBUSY), or where nothing is delegated. */
    bool memory = write_file(base, "cgroup.subtree_control", "+memory") == 0;
    bool pids = write_file(base, "cgroup.subtree_control", "+pids") == 0;
    char *path = xasprintf("%s/" PREFIX "%d", base, (int)getpid());
    if (mkdir(path, 0755) != 0 && errno != EEXIST) {
        free(path);
        return;
    }
    *ret = (struct sandbox_cgroup){.path = path, .memory = memory, .pids = pids};
}

void sandbox_cgroup_limit(const struct sandbox_cgroup *c, int64_t memory, int64_t processes)
{
    char text[32];
    if (c->path && c->memory && memory > 0) {
        snprintf(text, sizeof(text), "%lld", (long long)memory);
        if (write_file(c->path, "memory.max", text) == 0)
            (void)write_file(c->path, "memory.oom.group", "1");
    }
    if (c->path && c->pids && processes > 0) {
        snprintf(text, sizeof(text), "%lld", (long long)processes);
        (void)write_file(c->path, "pids.max", text);
    }
}

int sandbox_cgroup_add(const struct sandbox_cgroup *c, pid_t pid, struct err *err)
{
    if (!c->path)
        return 0;
    char text[16];
    snprintf(text, sizeof(text), "%d", (int)pid);
    int r = write_file(c->path, "cgroup.procs", text);
    return r < 0 ? err_errno(err, r, "moving the sandbox into %s", c->path) : 0;
}

void sandbox_cgroup_kill(const struct sandbox_cgroup *c)
{
    if (c->path)
        (void)write_file(c->path, "cgroup.kill", "1");
}

bool sandbox_cgroup_oom(const struct sandbox_cgroup *c)
{
    cleanup_free char *events = c->path ? read_small(c->path, "memory.events") : NULL;
    const char *line = events ? strstr(events, "oom_kill ") : NULL;
    return line && atoll(line + strlen("oom_kill ")) > 0;
}

void sandbox_cgroup_done(struct sandbox_cgroup *c)
{
    if (!c->path)
        return;
    sandbox_cgroup_kill(c);
    /* Members take a moment to be gone. */
    for (int i = 0; i < 200 && rmdir(c->path) != 0 && errno == EBUSY; i++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    free(c->path);
    *c = (struct sandbox_cgroup){0};
}

/* Whether the process runs; a zombie, which has no executable any more, does not. */
static bool is_alive(const char *pid)
{
    cleanup_free char *exe = xasprintf("/proc/%s/exe", pid);
    char target[8];
    return readlink(exe, target, sizeof(target)) >= 0 || errno != ENOENT;
}

void sandbox_cgroup_sweep(void)
{
    cleanup_free char *base = base_path();
    DIR *d = base ? opendir(base) : NULL;
    struct dirent *e;
    while (d && (e = readdir(d))) {
        if (!str_starts(e->d_name, PREFIX))
            continue;
        if (is_alive(e->d_name + strlen(PREFIX)))
            continue;
        struct sandbox_cgroup stale = {.path = xasprintf("%s/%s", base, e->d_name)};
        sandbox_cgroup_done(&stale);
    }
    if (d)
        closedir(d);
}
