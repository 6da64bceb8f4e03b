/* logs: a job's log, followed to its end where that is asked for. */
#include "common/mem.h"
#include "ctl/ctl.h"

#include <inttypes.h>

static int get_job(struct ctl *ctl, const char *id, json_t **ret)
{
    json_decref(*ret);
    *ret = NULL;
    return ctl_get(ctl, ret, "/v1/jobs/%s", id);
}

static bool ended(const json_t *job)
{
    const char *state = j_str(job, "state");
    return str_eq(state, "succeeded") || str_eq(state, "failed") || str_eq(state, "cancelled");
}

/* Says on standard error how it ended, and gives the status that tells the same. */
static int report_end(const json_t *job)
{
    const char *state = j_str(job, "state"), *reason = j_reason(job, "reason");
    if (str_eq(state, "succeeded"))
        return CTL_OK;
    return ctl_say(CTL_FAILED, "%s%s%s", state, *reason ? ": " : "", reason);
}

/* One attempt's log, from its beginning; *attempt is the one shown last, 0 for none yet. */
static int show_attempt(struct ctl *ctl, const char *id, int64_t *attempt)
{
    cleanup_free char *path =
        xasprintf("/v1/jobs/%s/log?offset=0%s%s%s", id, ctl->follow ? "&follow=1" : "",
                  ctl->attempt ? "&attempt=" : "", ctl->attempt ? ctl->attempt : "");
    int64_t written, shown = 0;
    int r = ctl_stream(ctl, path, &written, &shown);
    if (r == CTL_OK)
        *attempt = shown;
    return r;
}

/* The id of the job's newest attempt, 0 if it has none. */
static int64_t newest_attempt(const json_t *job)
{
    int64_t newest = 0;
    size_t i;
    json_t *a;
    json_array_foreach (j_of(job, "attempts"), i, a)
        newest = j_int(a, "id", 0) > newest ? j_int(a, "id", 0) : newest;
    return newest;
}

/* An attempt may be lost and the job given to another board: goes on until the job itself has ended. */
static int follow(struct ctl *ctl, const char *id)
{
    cleanup_(json_decrefp) json_t *job = NULL;
    int64_t shown = 0;
    for (bool waiting = false;; waiting = true) {
        int r = get_job(ctl, id, &job);
        if (r != CTL_OK)
            return r;
        int64_t newest = newest_attempt(job);
        if (newest > shown) {
            if (shown)
                fprintf(stderr, "sheafctl: attempt %" PRId64 ":\n", newest);
            r = show_attempt(ctl, id, &shown);
            if (r != CTL_OK && r != CTL_NOT_FOUND)
                return r;
            waiting = false;
            if (r == CTL_OK)
                continue;
        }
        if (ended(job))
            return report_end(job);
        if (!waiting)
            fprintf(stderr, "sheafctl: waiting%s%s\n", *j_reason(job, "reason") ? ": " : "",
                    j_reason(job, "reason"));
        usleep(300000);
    }
}

int cmd_logs(struct ctl *ctl)
{
    cleanup_free char *key = NULL;
    int r = ctl_resolve_job(ctl, &key);
    if (r != CTL_OK)
        return r;
    cleanup_free char *id = ctl_escape(key);
    if (ctl->follow && !ctl->attempt)
        return follow(ctl, id);
    int64_t attempt = 0;
    r = show_attempt(ctl, id, &attempt);
    return r == CTL_NOT_FOUND ? ctl_say(r, "%s has no log yet, or is unknown", key) : r;
}
