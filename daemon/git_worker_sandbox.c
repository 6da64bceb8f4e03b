/* What the worker gives up before it speaks to anybody. Upstream's servers and objects are not ours, and
 * libgit2 parses both. */
#include "common/log.h"
#include "daemon/git_worker_int.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

/* Rights of Landlock's versions, by number: the headers at hand may be older than the kernel. */
#define ACCESS_FIRST    ((1ULL << 13) - 1)
#define ACCESS_REFER    (1ULL << 13) /* version 2 */
#define ACCESS_TRUNCATE (1ULL << 14) /* version 3 */
#define MEMORY_MIN      ((int64_t)256 << 20)
#define ACCESS_READ     (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)

static int allow(int rules, const char *path, uint64_t access)
{
    cleanup_close int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    struct landlock_path_beneath_attr beneath = {.allowed_access = access, .parent_fd = fd};
    long r = syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0);
    return r < 0 ? -errno : 0;
}

/* Reads anywhere, writes below state_dir, executes nothing. */
static int confine_files(const char *state_dir)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version < 1)
        return version < 0 ? -errno : -ENOSYS;
    uint64_t all =
        ACCESS_FIRST | (version >= 2 ? ACCESS_REFER : 0) | (version >= 3 ? ACCESS_TRUNCATE : 0);
    struct landlock_ruleset_attr attr = {.handled_access_fs = all};
    cleanup_close int rules = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
    if (rules < 0)
        return -errno;
    int r = allow(rules, "/", ACCESS_READ);
    if (r == 0)
        r = allow(rules, state_dir, all & ~LANDLOCK_ACCESS_FS_EXECUTE);
    if (r < 0)
        return r;
    return syscall(SYS_landlock_restrict_self, rules, 0) < 0 ? -errno : 0;
}

static int drop_capabilities(void)
{
    for (int cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
        (void)prctl(PR_CAPBSET_DROP, cap); /* fails where there are none to drop */
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}, {0}};
    return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED true /* its shadow memory is counted too */
#elif defined(__has_feature)
#define SANITIZED __has_feature(address_sanitizer)
#else
#define SANITIZED false
#endif

/* What libgit2 takes for refs, packs and deltas is as much as a server likes; mapped packs are not counted. A delta
 * wants its base and its result at once, and a copy is handed out. */
static void bound_memory(int64_t blob_limit)
{
    int64_t most = MEMORY_MIN + 3 * blob_limit;
    int64_t machine = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) / 4 * 3;
    struct rlimit limit;
    limit.rlim_cur = limit.rlim_max = (rlim_t)(machine > 0 && machine < most ? machine : most);
    if (!SANITIZED && setrlimit(RLIMIT_DATA, &limit) < 0)
        log_warning("git worker: memory is not bounded: %s", strerror(errno));
}

void git_worker_confine(const char *state_dir, int64_t blob_limit)
{
    struct rlimit no_core = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &no_core);
    bound_memory(blob_limit);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        log_warning("git worker: no_new_privs: %s", strerror(errno));
    int r = confine_files(state_dir);
    if (r < 0)
        log_debug("git worker: files are not confined: %s", strerror(-r));
    if ((r = drop_capabilities()) < 0)
        log_warning("git worker: capabilities are kept: %s", strerror(-r));
    /* last: the kernel forgets it when credentials change */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        log_warning("git worker: parent's death signal: %s", strerror(errno));
}
