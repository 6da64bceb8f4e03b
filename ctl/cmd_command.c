/* hold, release, freeze, thaw, pin, rollback, promote, retry, retire, wake; and the record of them. */
#include "common/clock.h"
#include "common/mem.h"
#include "ctl/ctl.h"

#include <inttypes.h>
#include <pwd.h>

/* Who says to be asking: a name for people; the coordinator adds what it knows of the connection itself. */
static const char *own_name(void)
{
    const char *sudo = getuid() == 0 ? getenv("SUDO_USER") : NULL;
    const struct passwd *pw = sudo && *sudo ? NULL : getpwuid(getuid());
    return sudo && *sudo ? sudo : pw ? pw->pw_name : NULL;
}

json_t *ctl_command_body(struct ctl *ctl)
{
    json_t *body = json_object();
    const char *by = own_name();
    if (by)
        json_object_set_new(body, "by", json_string(by));
    if (ctl->reason)
        json_object_set_new(body, "reason", json_string(ctl->reason));
    if (ctl->platform)
        json_object_set_new(body, "platform", json_string(ctl->platform));
    return body;
}

/* Posts it; `path` is taken over. What was changed, or why nothing was, is the answer's text. */
static int post(struct ctl *ctl, char *path, json_t *body)
{
    cleanup_free char *owned = path;
    cleanup_(json_decrefp) json_t *answer = NULL;
    int r = ctl_post(ctl, body, &answer, "%s", owned);
    if (r != CTL_OK)
        return r;
    if (ctl->json)
        return ctl_print_json(answer);
    printf("%s\n", j_str(answer, "text"));
    return CTL_OK;
}

static int on_track(struct ctl *ctl, json_t *body)
{
    cleanup_free char *track = NULL;
    int r = ctl_resolve_track(ctl, ctl->args[0], &track);
    if (r != CTL_OK) {
        json_decref(body);
        return r;
    }
    cleanup_free char *id = ctl_escape(track);
    return post(ctl, xasprintf("/v1/tracks/%s/%s", id, ctl->command), body);
}

int cmd_track_command(struct ctl *ctl)
{
    return on_track(ctl, ctl_command_body(ctl));
}

int cmd_farm_command(struct ctl *ctl)
{
    return post(ctl, xasprintf("/v1/%s", ctl->command), ctl_command_body(ctl));
}

int cmd_return(struct ctl *ctl)
{
    json_t *body = ctl_command_body(ctl);
    if (ctl->n_args > 1)
        json_object_set_new(body, "publication", json_string(ctl->args[1]));
    return on_track(ctl, body);
}

int cmd_retry(struct ctl *ctl)
{
    bool job = str_starts(ctl->args[0], "sha256:") || ctl->n_args > 1 || ctl->platform;
    if (!job)
        return on_track(ctl, ctl_command_body(ctl));
    cleanup_free char *key = NULL;
    int r = ctl_resolve_job(ctl, &key);
    if (r != CTL_OK)
        return r;
    ctl->platform = NULL; /* it has said which job */
    cleanup_free char *id = ctl_escape(key);
    return post(ctl, xasprintf("/v1/jobs/%s/retry", id), ctl_command_body(ctl));
}

/* ---- the record ---- */

static void print_actions(struct ctl *ctl, const json_t *actions)
{
    struct table *t = table_new("WHEN|WHO|COMMAND|WHAT|REASON", ctl->colors);
    size_t i;
    json_t *a;
    json_array_foreach (actions, i, a) {
        char ago[FORMAT_MAX];
        table_cell(t, INK_PLAIN, "%s", format_ago(j_int(a, "done_at", 0), clock_wall_ms(), ago));
        table_cell(t, INK_BOLD, "%s", j_str(a, "by"));
        table_cell(t, INK_PLAIN, "%s", j_str(a, "command"));
        table_cell(t, INK_PLAIN, "%s", j_str(a, "text"));
        table_cell(t, INK_DIM, "%s", j_str(a, "reason"));
    }
    table_print(t, stdout);
    table_free(t);
}

int cmd_actions(struct ctl *ctl)
{
    cleanup_(json_decrefp) json_t *answer = NULL;
    cleanup_strbuf struct strbuf path = {0};
    strbuf_addf(&path, "/v1/actions?limit=%ld", ctl->limit ? ctl->limit : 20);
    if (ctl->before)
        strbuf_addf(&path, "&before=%ld", ctl->before);
    if (ctl->track) {
        cleanup_free char *track = NULL;
        int r = ctl_resolve_track(ctl, ctl->track, &track);
        if (r != CTL_OK)
            return r;
        cleanup_free char *id = ctl_escape(track);
        strbuf_addf(&path, "&track=%s", id);
    }
    int r = ctl_get(ctl, &answer, "%s", path.s);
    if (r != CTL_OK)
        return r;
    if (ctl->json)
        return ctl_print_json(answer);
    print_actions(ctl, j_of(answer, "actions"));
    if (j_int(answer, "next", 0))
        print_ink(stdout, ctl->colors, INK_DIM, "older ones: --before %" PRId64 "\n",
                  j_int(answer, "next", 0));
    return CTL_OK;
}
