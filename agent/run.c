#include "agent/run.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

enum { OUTPUT_MAX = 4 << 20 };

static int spawn(const char *const *argv, int out, pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out, 1);
    int r = posix_spawnp(ret_pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return -r;
}

static void read_all(int fd, struct strbuf *out)
{
    char buf[8192];
    ssize_t n;
    while ((n = read(fd, buf, sizeof(buf))) > 0 || (n < 0 && errno == EINTR))
        if (n > 0 && out->n < OUTPUT_MAX)
            strbuf_addn(out, buf, (size_t)n);
}

int run_capture(const char *const *argv, struct strbuf *out, struct err *err)
{
    int pair[2];
    pid_t pid;
    if (pipe2(pair, O_CLOEXEC) != 0)
        return err_errno(err, -errno, "pipe");
    int r = spawn(argv, pair[1], &pid);
    close(pair[1]);
    if (r == 0)
        read_all(pair[0], out);
    close(pair[0]);
    if (r < 0)
        return err_errno(err, r, "%s", argv[0]);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (status != 0)
        return err_set(err, -EIO, "%s failed with status %d", argv[0],
                       WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    return 0;
}
