/* sheaf-job: does one job from beginning to end.
 *
 * A supervisor forks a worker, which is a straight blocking program, and stays behind to cancel: killing the
 * worker kills its sandbox, the workspace is removed here whatever state it is in, and there always is a
 * result. */
#include "agent/binfmt.h"
#include "agent/facts.h"
#include "agent/job.h"
#include "agent/job_steps.h"
#include "agent/recipe.h"
#include "agent/sandbox_cgroup.h"
#include "agent/tree_remove.h"
#include "common/log.h"
#include "sheaf-config.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

static int build(struct job *job, struct image_result *built)
{
    int r = job_fetch_context(job);
    if (r == 0)
        r = job_pull_bases(job);
    if (r < 0)
        return r;
    job->image = workspace_path(&job->ws, "image");
    r = job->lease.job.kind == WIRE_JOB_DOCKERFILE ? recipe_dockerfile(job, built)
                                                   : recipe_rootfs(job, built);
    if (r == 0)
        r = job_test(job, built);
    return r == 0 ? job_push(job, built) : r;
}

static int check_platform(struct job *job)
{
    if (job->native || job->options.emulated)
        return 0;
    return job_fail(job, WIRE_FAILURE_INFRA,
                    "this board's CPU does not run %s, and it was not told to emulate",
                    job->lease.job.platform);
}

/* The whole job; the exit status of the worker: 0 when there is a result. */
static int run_job(const char *dir)
{
    struct job job;
    struct err err = ERR_INIT;
    struct image_result built = {0};
    if (job_open(&job, dir, &err) < 0)
        (void)job_error(&job, WIRE_FAILURE_INFRA, &err, "starting");
    else if (check_platform(&job) == 0 && build(&job, &built) == 0)
        job_say("succeeded: %s", job.result.manifest->digest);
    image_result_done(&built);
    int r = job_write_result(dir, &job.result, &err);
    if (r < 0)
        log_error("%s", err.text);
    job_close(&job);
    return r < 0 ? 1 : 0;
}

/* A result for a worker that left none. */
static int write_substitute(const char *dir, bool cancelled, int status)
{
    struct wire_result result = {.outcome = cancelled ? WIRE_CANCELLED : WIRE_FAILED};
    struct job job = {0};
    struct err err = ERR_INIT;
    if (job_read_lease(&job, dir, &err) == 0)
        result.epoch = job.lease.epoch;
    job_close(&job);
    if (!cancelled) {
        result.kind = WIRE_FAILURE_INFRA;
        result.reason = WIFSIGNALED(status)
                            ? xasprintf("the job helper was killed by signal %d (%s)",
                                        WTERMSIG(status), strsignal(WTERMSIG(status)))
                            : xasprintf("the job helper ended with status %d and no result",
                                        WEXITSTATUS(status));
    }
    int r = job_write_result(dir, &result, &err);
    if (r < 0)
        log_error("%s", err.text);
    wire_result_done(&result);
    return r < 0 ? 1 : 0;
}

/* Waits for the worker; a signal to end kills it. */
static int wait_for_worker(pid_t worker, const sigset_t *signals, bool *ret_cancelled)
{
    for (;;) {
        int status;
        int signal_number = sigwaitinfo(signals, NULL);
        if (signal_number == SIGTERM || signal_number == SIGINT) {
            *ret_cancelled = true;
            kill(worker, SIGKILL);
        }
        if (waitpid(worker, &status, WNOHANG) == worker)
            return status;
    }
}

/* The worker's own children (a sandbox's init, which dies with it) have become ours. */
static void reap_orphans(void)
{
    for (int i = 0; i < 3000; i++) {
        pid_t pid = waitpid(-1, NULL, WNOHANG);
        if (pid < 0 && errno == ECHILD)
            return;
        if (pid == 0)
            nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    log_error("processes of the job are still there");
}

static void clean_up(const char *dir)
{
    struct err err = ERR_INIT;
    cleanup_free char *work = xasprintf("%s/work", dir);
    sandbox_cgroup_sweep();
    tree_unmount(work);
    if (tree_remove(work, &err) < 0)
        log_error("%s", err.text);
}

static int supervise(const char *dir)
{
    sigset_t signals, before;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &signals, &before);
    pid_t starter = getppid();
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    cleanup_free char *result = xasprintf("%s/result.json", dir);
    unlink(result);
    pid_t self = getpid(), worker = fork();
    if (worker == 0) {
        sigprocmask(SIG_SETMASK, &before, NULL);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        exit(getppid() == self ? run_job(dir) : 1);
    }
    if (worker < 0) {
        log_error("fork: %s", strerror(errno));
        return 1;
    }
    if (getppid() != starter)
        raise(SIGTERM); /* whoever started us is gone already */
    bool cancelled = false;
    int status = wait_for_worker(worker, &signals, &cancelled);
    reap_orphans();
    clean_up(dir);
    return access(result, F_OK) == 0 ? 0 : write_substitute(dir, cancelled, status);
}

static int print_facts(bool emulated)
{
    struct err err = ERR_INIT;
    json_t *facts = NULL;
    if (facts_find(emulated, &facts, &err) < 0) {
        log_error("%s", err.text);
        return 1;
    }
    json_dumpf(facts, stdout, JSON_COMPACT | JSON_SORT_KEYS);
    putchar('\n');
    json_decref(facts);
    return fflush(stdout) == 0 ? 0 : 1;
}

/* Removes what is in <dir>/jobs: folders that nobody works on any more, whatever a recipe left in them. */
static int sweep(const char *dir)
{
    cleanup_free char *jobs = xasprintf("%s/jobs", dir);
    DIR *d = opendir(jobs);
    struct dirent *e;
    int status = 0;
    sandbox_cgroup_sweep();
    tree_unmount(jobs);
    while (d && (e = readdir(d))) {
        if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
            continue;
        struct err err = ERR_INIT;
        cleanup_free char *path = xasprintf("%s/%s", jobs, e->d_name);
        if (tree_remove(path, &err) < 0) {
            log_error("%s", err.text);
            status = 1;
        }
    }
    if (d)
        closedir(d);
    return status;
}

static int usage(int status)
{
    fputs("usage: sheaf-job DIR                 do the job of DIR/lease.json\n"
          "       sheaf-job --facts [--emulated] print what this board can do, as JSON\n"
          "       sheaf-job --sweep DIR          unmount and remove all that is in DIR/jobs\n"
          "       sheaf-job --binfmt-release     unregister the interpreters of --emulated\n",
          status ? stderr : stdout);
    return status;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"facts", no_argument, NULL, 'f'},
                                            {"emulated", no_argument, NULL, 'e'},
                                            {"sweep", required_argument, NULL, 's'},
                                            {"binfmt-release", no_argument, NULL, 'b'},
                                            {"version", no_argument, NULL, 'v'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    int mode = 0, c;
    bool emulated = false;
    const char *swept = NULL;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'e')
            emulated = true;
        else if (c == '?')
            return usage(2);
        else
            mode = c;
        if (c == 's')
            swept = optarg;
    }
    signal(SIGPIPE, SIG_IGN);
    setlocale(LC_CTYPE, "C.UTF-8");
    umask(022);
    switch (mode) {
    case 'f':
        return print_facts(emulated);
    case 's':
        return sweep(swept);
    case 'b':
        binfmt_release();
        return 0;
    case 'v':
        puts(SHEAF_VERSION);
        return 0;
    case 'h':
        return usage(0);
    default:
        return argc - optind == 1 ? supervise(argv[optind]) : usage(2);
    }
}
