#include "agent/job.h"

#include "agent/facts.h"
#include "common/json.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>

enum { LEASE_MAX = 16 << 20 };

static int copy_string(const json_t *object, const char *name, char **ret, struct err *err)
{
    const char *s = NULL;
    int r = json_get_string(object, name, &s, err);
    if (r == 0)
        *ret = xstrdup(s);
    return r;
}

static int read_options(const json_t *root, struct job_options *o, struct err *err)
{
    json_t *options = NULL;
    int r = json_get_object(root, "options", &options, err);
    if (r == 0)
        r = copy_string(root, "coordinator", &o->coordinator, err);
    if (r == 0)
        r = copy_string(options, "cache", &o->cache, err);
    if (r == 0)
        r = copy_string(options, "buildroots", &o->buildroots, err);
    if (r == 0)
        r = json_opt_bool(options, "emulated", &o->emulated, err);
    o->cache_limit = 4LL << 30;
    if (r == 0)
        r = json_opt_int(options, "cache_limit", 0, INT64_MAX, &o->cache_limit, err);
    const char *builder = "buildah";
    if (r == 0)
        r = json_opt_string(options, "builder", &builder, err);
    o->builder = xstrdup(builder);
    size_t n = o->coordinator ? strlen(o->coordinator) : 0;
    if (n > 0 && o->coordinator[n - 1] == '/')
        o->coordinator[n - 1] = '\0';
    return r;
}

int job_read_lease(struct job *job, const char *dir, struct err *err)
{
    *job = (struct job){0};
    cleanup_free char *path = xasprintf("%s/lease.json", dir);
    cleanup_json json_t *root = NULL;
    json_t *lease = NULL;
    int r = json_parse_file(path, LEASE_MAX, &root, err);
    if (r == 0)
        r = json_get_object(root, "lease", &lease, err);
    if (r == 0)
        r = wire_lease_from_json(lease, &job->lease, err);
    if (r == 0)
        r = read_options(root, &job->options, err);
    return r;
}

int job_open(struct job *job, const char *dir, struct err *err)
{
    int r = job_read_lease(job, dir, err);
    if (r < 0)
        return err_wrap(err, "%s/lease.json", dir);
    job->result.epoch = job->lease.epoch;
    r = platform_parse(job->lease.job.platform, &job->platform, err);
    if (r < 0)
        return r;
    job->native = facts_native(job->platform);
    job->http = http_sync_new();
    return workspace_open(&job->ws, dir, err);
}

void job_close(struct job *job)
{
    workspace_close(&job->ws);
    http_sync_free(job->http);
    wire_lease_done(&job->lease);
    wire_result_done(&job->result);
    struct job_options *o = &job->options;
    char *owned[] = {o->coordinator, o->cache,   o->buildroots, o->builder,
                     job->context,   job->bases, job->image};
    for (size_t i = 0; i < sizeof(owned) / sizeof(*owned); i++)
        free(owned[i]);
    strvec_done(&job->tail);
    *job = (struct job){0};
}

static int fail_with(struct job *job, enum wire_failure kind, char *reason)
{
    if (job->result.outcome == WIRE_FAILED) {
        free(reason);
        return -ECANCELED;
    }
    job->result.outcome = WIRE_FAILED;
    job->result.kind = kind;
    job->result.reason = reason;
    job_say("failed (%s): %s", wire_failure_name(kind), reason);
    return -ECANCELED;
}

int job_fail(struct job *job, enum wire_failure kind, const char *fmt, ...)
{
    char *reason = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&reason, fmt, ap);
    va_end(ap);
    return fail_with(job, kind, n < 0 ? xstrdup("out of memory") : reason);
}

int job_error(struct job *job, enum wire_failure kind, const struct err *err, const char *fmt, ...)
{
    cleanup_free char *doing = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&doing, fmt, ap);
    va_end(ap);
    return fail_with(job, kind, xasprintf("%s: %s", n < 0 ? "" : doing, err->text));
}

enum wire_failure job_kind_of(int code)
{
    switch (-code) {
    case EDQUOT:
    case EIO:
    case EMFILE:
    case ENOMEM:
    case ENOSPC:
    case EROFS:
        return WIRE_FAILURE_INFRA;
    default:
        return WIRE_FAILURE_REJECTED;
    }
}

void job_say(const char *fmt, ...)
{
    char text[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    printf("sheaf: %s\n", text);
    fflush(stdout);
}

int job_write_result(const char *dir, const struct wire_result *result, struct err *err)
{
    cleanup_free char *path = xasprintf("%s/result.json", dir);
    cleanup_free char *temporary = xasprintf("%s/.result.json", dir);
    cleanup_free char *text = wire_result_encode(result);
    size_t n = strlen(text);
    cleanup_close int fd = open(temporary, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text, n) != (ssize_t)n || fsync(fd) != 0)
        return err_errno(err, fd < 0 || errno ? -errno : -EIO, "writing %s", temporary);
    if (rename(temporary, path) != 0)
        return err_errno(err, -errno, "writing %s", path);
    return 0;
}
