/* logs: a job's log, followed to its end where that is asked for. */
#include "common/json.h"
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

/* What of a job's log has been shown. */
struct shown {
    int64_t attempt; /* 0: none yet */
    int64_t bytes;   /* of that attempt */
};

/* Where the log goes: to the terminal, or into a text for --json. */
static int fetch(struct ctl *ctl, const char *id, struct strbuf *text, struct shown *shown)
{
    cleanup_free char *path =
        xasprintf("/v1/jobs/%s/log?offset=%" PRId64 "%s%s%s", id, shown->bytes,
                  ctl->follow ? "&follow=1" : "", ctl->attempt ? "&attempt=" : "",
                  ctl->attempt ? ctl->attempt : "");
    int64_t written = 0, attempt = 0;
    int r = ctl_stream(ctl, path, text, &written, &attempt);
    if (attempt)
        shown->attempt = attempt;
    shown->bytes += written;
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

/* The next attempt's log is shown from its beginning; that of one that was cut off goes on where it was. */
static int show_newest(struct ctl *ctl, const char *id, int64_t newest, struct strbuf *text,
                       struct shown *shown)
{
    char number[32];
    snprintf(number, sizeof(number), "%" PRId64, newest);
    if (newest != shown->attempt) {
        if (shown->attempt)
            fprintf(stderr, "sheafctl: attempt %s:\n", number);
        shown->bytes = 0;
    }
    ctl->attempt = number; /* not one that begins meanwhile */
    int r = fetch(ctl, id, text, shown);
    ctl->attempt = NULL;
    return r;
}

#define PATIENCE 60 /* seconds that a coordinator may be away: its restart is a non-event */

/* An attempt may be lost and the job given to another board: goes on until the job itself has ended, which *ret
 * then is. */
static int follow(struct ctl *ctl, const char *id, struct strbuf *text, json_t **ret)
{
    struct shown shown = {0};
    int64_t over = 0; /* the attempt whose log has been shown to its end */
    for (int waited = 0, away = 0;; usleep(300000)) {
        int r = get_job(ctl, id, ret);
        int64_t newest = r == CTL_OK ? newest_attempt(*ret) : 0;
        if (r == CTL_OK && newest > over) {
            r = show_newest(ctl, id, newest, text, &shown);
            over = r == CTL_OK ? newest : over;
            waited = 0;
        } else if (r == CTL_OK && ended(*ret)) {
            return CTL_OK;
        } else if (r == CTL_OK && !waited++) {
            fprintf(stderr, "sheafctl: waiting%s%s\n", *j_reason(*ret, "reason") ? ": " : "",
                    j_reason(*ret, "reason"));
        }
        away = r == CTL_AWAY ? away + 1 : 0;
        ctl->quiet_away = away > 0;
        if (r == CTL_FAILED || (r == CTL_NOT_FOUND && !newest) || away * 3 > PATIENCE * 10)
            return r;
    }
}

/* --json: the job as the API tells of it, with its log as a text. */
static int print_with_log(struct ctl *ctl, const char *id, const struct strbuf *text,
                          const struct shown *shown, json_t *job)
{
    cleanup_(json_decrefp) json_t *own = NULL;
    if (!job) {
        int r = get_job(ctl, id, &own);
        if (r != CTL_OK)
            return r;
        job = own;
    }
    json_object_set_new(job, "log_attempt",
                        shown->attempt ? json_integer(shown->attempt) : json_null());
    json_object_set_new(job, "log", json_text_of(strbuf_str(text), text->n));
    return ctl_print_json(job);
}

static int follow_and_report(struct ctl *ctl, const char *id)
{
    cleanup_strbuf struct strbuf text = {0};
    cleanup_(json_decrefp) json_t *job = NULL;
    int r = follow(ctl, id, ctl->json ? &text : NULL, &job);
    if (r != CTL_OK)
        return r;
    struct shown shown = {.attempt = newest_attempt(job)};
    if (ctl->json)
        (void)!print_with_log(ctl, id, &text, &shown, job);
    return report_end(job);
}

int cmd_logs(struct ctl *ctl)
{
    cleanup_free char *key = NULL;
    if (ctl->attempt && !ctl_is_number(ctl->attempt))
        return ctl_say(CTL_USAGE, "--attempt takes a number; sheafctl show JOB lists them");
    int r = ctl_resolve_job(ctl, &key);
    if (r != CTL_OK)
        return r;
    cleanup_free char *id = ctl_escape(key);
    if (ctl->follow && !ctl->attempt)
        return follow_and_report(ctl, id);
    cleanup_strbuf struct strbuf text = {0};
    struct shown shown = {0};
    r = fetch(ctl, id, ctl->json ? &text : NULL, &shown);
    if (r == CTL_OK && ctl->json)
        return print_with_log(ctl, id, &text, &shown, NULL);
    return r;
}
