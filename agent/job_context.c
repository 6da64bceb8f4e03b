#include "agent/extract.h"
#include "agent/job_steps.h"
#include "agent/sandbox.h"
#include "common/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>

#define PATIENCE_MS (2 * 60 * 1000)

/* Fetches the context's tar to a file without a name. */
static int fetch(struct job *job, int fd, struct err *err)
{
    cleanup_free char *url =
        xasprintf("%s/v1/agent/leases/%s/context", job->options.coordinator, job->lease.lease);
    cleanup_free char *authorization = xasprintf("Bearer %s", job->lease.secret);
    struct http_options options = {
        .url = url, .authorization = authorization, .sink = http_sink_fd(fd)};
    struct http_response response = {0};
    int r = http_sync_request(job->http, &options, &response, err);
    if (r < 0)
        return r;
    if (response.status != 200)
        r = err_set_retryable(err, -EREMOTEIO, response.status >= 500 || response.status == 429,
                              "the coordinator answered %d: %.200s", response.status,
                              strbuf_str(&response.body));
    http_response_done(&response);
    return r;
}

/* The same again and again while the coordinator is away: it may be restarting. */
static int fetch_with_patience(struct job *job, int fd, struct err *err)
{
    int64_t until = clock_mono_ms() + PATIENCE_MS, wait = 200;
    for (;;) {
        int r = fetch(job, fd, err);
        if (r == 0 || !err->retryable || clock_mono_ms() + wait > until)
            return r;
        nanosleep(&(struct timespec){wait / 1000, wait % 1000 * 1000000}, NULL);
        wait = wait < 5000 ? wait * 2 : 5000;
        *err = ERR_INIT;
        if (ftruncate(fd, 0) != 0 || lseek(fd, 0, SEEK_SET) != 0)
            return err_errno(err, -errno, "the file for the context");
    }
}

static int unpack(struct job *job, int fd)
{
    struct err err = ERR_INIT;
    struct extract_options options = {.flags = EXTRACT_OWNERS, .id_shift = sandbox_id_shift()};
    struct extract_stats stats = {0};
    if (lseek(fd, 0, SEEK_SET) != 0)
        return job_fail(job, WIRE_FAILURE_INFRA, "the context: %s", strerror(errno));
    int r = extract_tar(fd, job->context, &options, &stats, &err);
    if (r < 0)
        return job_error(job, job_kind_of(r), &err, "unpacking the context");
    job_say("context: %llu entries, %llu bytes", (unsigned long long)stats.entries,
            (unsigned long long)stats.bytes);
    return 0;
}

int job_fetch_context(struct job *job)
{
    struct err err = ERR_INIT;
    int64_t start = clock_mono_ms();
    if (workspace_folder(&job->ws, "context", 0755, &job->context, &err) < 0)
        return job_error(job, WIRE_FAILURE_INFRA, &err, "preparing the context");
    if (!job->lease.job.context)
        return 0;
    cleanup_close int fd = open(job->ws.work, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return job_fail(job, WIRE_FAILURE_INFRA, "a file for the context: %s", strerror(errno));
    if (fetch_with_patience(job, fd, &err) < 0)
        return job_error(job, WIRE_FAILURE_INFRA, &err, "fetching the context");
    int r = unpack(job, fd);
    job->result.timings.context = clock_mono_ms() - start;
    return r;
}
