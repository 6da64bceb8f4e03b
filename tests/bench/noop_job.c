/* Stands in for sheaf-job where only the path to and from it is measured: a real process that does nothing and
 * leaves a durable result.
 *
 * usage: noop-job DIR       environment: NOOP_STARTS, a file that gets a line "TRACK NANOSECONDS" (monotonic);
 *                           NOOP_LOG, so many bytes are written as its log, in pieces of 4 KiB
 *        noop-job --…       what sheaf-job does */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DIGEST "sha256:1111111111111111111111111111111111111111111111111111111111111111"

static const char result[] =
    "{\"version\":1,\"epoch\":%lld,\"outcome\":\"succeeded\",\"kind\":null,\"reason\":null,"
    "\"manifest\":{\"digest\":\"" DIGEST "\",\"size\":1,\"media_type\":"
    "\"application/vnd.oci.image.manifest.v1+json\"},\"config_digest\":\"" DIGEST
    "\",\"content_digest\":\"" DIGEST "\",\"layers\":[],\"timings\":{\"context\":0,\"pull\":0,"
    "\"recipe\":0,\"layer\":0,\"test\":0,\"push\":0},\"packages\":[],\"build_root\":null,"
    "\"reused_previous\":false}";

/* What stands after `name` within the lease's text; the program ends where there is no such thing. */
static const char *after(const char *text, const char *name)
{
    const char *found = strstr(text, name);
    if (!found)
        exit(3);
    return found + strlen(name);
}

static void note_start(const char *lease)
{
    const char *path = getenv("NOOP_STARTS");
    struct timespec now;
    char line[512];
    if (!path)
        return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const char *track = after(lease, "\"track\":\"");
    int n = snprintf(line, sizeof(line), "%.*s %lld\n", (int)strcspn(track, "\""), track,
                     (long long)now.tv_sec * 1000000000 + now.tv_nsec);
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, line, (size_t)n) != n)
        exit(4);
    close(fd);
}

static void write_log(void)
{
    static char piece[4096];
    const char *size = getenv("NOOP_LOG");
    memset(piece, '.', sizeof(piece) - 1);
    piece[sizeof(piece) - 1] = '\n';
    for (long long left = size ? atoll(size) : 0; left > 0; left -= (long long)sizeof(piece))
        if (write(STDOUT_FILENO, piece, sizeof(piece)) != sizeof(piece))
            exit(9);
}

int main(int argc, char **argv)
{
    static char text[1 << 20];
    if (argc < 2)
        return 2;
    if (argv[1][0] == '-') {
        argv[0] = (char *)SHEAF_JOB;
        execv(SHEAF_JOB, argv);
        return 127;
    }
    if (chdir(argv[1]) < 0)
        return 5;
    int fd = open("lease.json", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
        return 6;
    note_start(text);
    write_log();
    const char *lease = after(text, "\"lease\":{");
    int n = snprintf(text + sizeof(text) / 2, sizeof(text) / 2, result,
                     atoll(after(lease, "\"epoch\":")));
    int out = open(".result.json", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (out < 0 || write(out, text + sizeof(text) / 2, (size_t)n) != n || fsync(out) < 0)
        return 7;
    return rename(".result.json", "result.json") < 0 ? 8 : 0;
}
