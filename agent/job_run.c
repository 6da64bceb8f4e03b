#include "agent/job_run.h"

#include "agent/tree_remove.h"
#include "common/log.h"

#include <errno.h>
#include <signal.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

/* Less than this left on the workspace's disk ends a recipe: the board needs some to report it. */
enum { DISK_RESERVE = 128 << 20 };

void job_env_base(strvec *env)
{
    static const char *const base[] = {
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME=/root",
        "LANG=C.UTF-8",
        "TERM=dumb",
        "DEBIAN_FRONTEND=noninteractive",
        "container=lxc", /* debootstrap then makes no device nodes */
    };
    for (size_t i = 0; i < sizeof(base) / sizeof(*base); i++)
        strvec_add(env, base[i]);
}

void job_env_set(strvec *env, const char *name, const char *value)
{
    if (!value)
        return;
    cleanup_free char *entry = xasprintf("%s=%s", name, value);
    size_t n = strlen(name) + 1;
    VEC_FOREACH (env, it)
        if (strncmp(*it, entry, n) == 0) {
            str_replace(it, entry);
            return;
        }
    strvec_add(env, entry);
}

bool job_wants_linux32(const struct job *job)
{
    struct utsname u;
    enum platform own;
    if (!job->native || platform_info(job->platform)->elf_class != 1 || uname(&u) != 0)
        return false;
    return platform_from_uname(u.machine, &own) == 0 && platform_info(own)->elf_class == 2;
}

/* All but a sixteenth of the board's memory, so that a recipe that wants more is killed and not the agent.
 * Holds where the board's cgroups can bound memory. */
static int64_t memory_limit(void)
{
    struct sysinfo si;
    if (sysinfo(&si) != 0)
        return 0;
    int64_t total = (int64_t)si.totalram * si.mem_unit;
    return total - total / 16;
}

int job_run(struct job *job, struct sandbox_spec *spec, struct sandbox_outcome *ret,
            struct err *err)
{
    cleanup_free char *scratch = workspace_scratch(&job->ws);
    spec->scratch = scratch;
    spec->log_fd = -1;
    spec->disk_reserve = DISK_RESERVE;
    spec->memory = memory_limit();
    strvec_done(&job->tail);
    spec->capture = &job->tail;
    int r = sandbox_run(spec, ret, err);
    struct err removal = ERR_INIT;
    if (tree_remove(scratch, &removal) < 0)
        log_warning("%s", removal.text);
    return r;
}

enum { WORDS_HEAD = 120, WORDS_TAIL = 200 };

/* What was written last, as a reason's second half; "" when there is nothing: the first of apt's errors, which
 * the others follow from, or the last line. Of a long line its ends: buildah quotes whole instructions before
 * it says what went wrong. */
static char *last_words(const struct job *job)
{
    if (job->tail.n == 0)
        return xstrdup("");
    const char *line = job->tail.items[job->tail.n - 1];
    for (size_t i = job->tail.n; i-- > 0;)
        if (str_starts(job->tail.items[i], "E: "))
            line = job->tail.items[i];
    size_t n = strlen(line);
    if (n <= WORDS_HEAD + WORDS_TAIL)
        return xasprintf(": %s", line);
    return xasprintf(": %.*s … %s", WORDS_HEAD, line, line + n - WORDS_TAIL);
}

int job_judge(struct job *job, const struct sandbox_outcome *o, enum wire_failure exit_kind,
              const char *what)
{
    if (sandbox_succeeded(o))
        return 0;
    cleanup_free char *words = last_words(job);
    switch (o->end) {
    case SANDBOX_TIMEOUT:
        return job_fail(job, WIRE_FAILURE_TIMEOUT, "%s was still running after %lld s%s", what,
                        (long long)(o->duration_ms / 1000), words);
    case SANDBOX_MEMORY:
        return job_fail(job, WIRE_FAILURE_MEMORY, "%s ran out of memory%s", what, words);
    case SANDBOX_DISK:
        return job_fail(job, WIRE_FAILURE_INFRA, "%s filled the board's disk%s", what, words);
    case SANDBOX_SIGNALED:
        return job_fail(job, exit_kind, "%s was killed by signal %d (%s)%s", what, o->status,
                        strsignal(o->status), words);
    case SANDBOX_EXITED:
        break;
    }
    return job_fail(job, exit_kind, "%s failed with exit status %d%s", what, o->status, words);
}
