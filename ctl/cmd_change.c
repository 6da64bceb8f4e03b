/* rebuild, cancel, poll, check: what changes something, or asks to. */
#include "common/mem.h"
#include "ctl/ctl.h"

#include <errno.h>
#include <inttypes.h>

int cmd_rebuild(struct ctl *ctl)
{
    cleanup_free char *track = NULL;
    int r = ctl_resolve_track(ctl, ctl->args[0], &track);
    if (r != CTL_OK)
        return r;
    cleanup_free char *id = ctl_escape(track);
    cleanup_(json_decrefp) json_t *answer = NULL;
    json_t *body = ctl_command_body(ctl);
    json_object_set_new(body, "no_cache", json_boolean(ctl->no_cache));
    json_object_set_new(body, "with_dependents", json_boolean(ctl->with_dependents));
    r = ctl_post(ctl, body, &answer, "/v1/tracks/%s/rebuild", id);
    if (r != CTL_OK)
        return r;
    if (ctl->json)
        return ctl_print_json(answer);
    const char *waits = j_reason(answer, "waits");
    if (j_int(answer, "build", 0))
        printf("%s: build %" PRId64 "\n", track, j_int(answer, "build", 0));
    else
        printf("%s%s%s\n", j_str(answer, "text"), *waits ? ", but not begun: " : "", waits);
    size_t i;
    json_t *other;
    if (json_array_size(j_of(answer, "tracks")) > 1)
        json_array_foreach (j_of(answer, "tracks"), i, other)
            printf("  %s\n", json_string_value(other));
    return CTL_OK;
}

/* Cancels a whole build by its number, or one job. */
int cmd_cancel(struct ctl *ctl)
{
    bool build = ctl->n_args == 1 && !ctl->platform && ctl_is_number(ctl->args[0]);
    cleanup_free char *what = NULL;
    if (build)
        what = xstrdup(ctl->args[0]);
    else {
        int r = ctl_resolve_job(ctl, &what);
        if (r != CTL_OK)
            return r;
    }
    cleanup_free char *id = ctl_escape(what);
    cleanup_(json_decrefp) json_t *answer = NULL;
    int r =
        ctl_post(ctl, json_object(), &answer, "/v1/%s/%s/cancel", build ? "builds" : "jobs", id);
    if (r != CTL_OK)
        return r;
    if (ctl->json)
        return ctl_print_json(answer);
    printf("%s %s: cancelled\n", build ? "build" : "job", what);
    return CTL_OK;
}

int cmd_poll(struct ctl *ctl)
{
    cleanup_(json_decrefp) json_t *answer = NULL;
    int r = ctl_post(ctl, json_pack("{s:s}", "source", ctl->args[0]), &answer, "/v1/sources/poll");
    if (r != CTL_OK)
        return r;
    if (ctl->json)
        return ctl_print_json(answer);
    printf("%s: being looked at\n", j_str(answer, "source"));
    return CTL_OK;
}

/* audit, adopt, restore: the command's name is the call's. */
int cmd_repository(struct ctl *ctl)
{
    static const struct {
        const char *name, *path, *done;
    } calls[] = {{"audit", "/v1/repositories/audit", "being looked at"},
                 {"adopt", "/v1/repositories/adopt", "what its tags name is taken for granted"},
                 {"restore", "/v1/repositories/restore", "its tags are put back"}};
    size_t i = 0;
    while (!str_eq(calls[i].name, ctl->command))
        i++;
    cleanup_(json_decrefp) json_t *answer = NULL;
    const char *repository = ctl->n_args ? ctl->args[0] : NULL;
    int r =
        ctl_post(ctl, json_pack("{s:s?}", "repository", repository), &answer, "%s", calls[i].path);
    if (r != CTL_OK)
        return r;
    if (ctl->json)
        return ctl_print_json(answer);
    printf("%s: %s\n", repository ? repository : "all repositories", calls[i].done);
    return CTL_OK;
}

int cmd_check(struct ctl *ctl)
{
    cleanup_free char *path = realpath(ctl->args[0], NULL);
    if (!path)
        return ctl_say(errno == ENOENT ? CTL_NOT_FOUND : CTL_FAILED, "%s: %s", ctl->args[0],
                       strerror(errno));
    cleanup_(json_decrefp) json_t *answer = NULL;
    int r = ctl_post(ctl, json_pack("{s:s}", "path", path), &answer, "/v1/config/check");
    if (r != CTL_OK)
        return r;
    bool ok = j_true(answer, "ok");
    if (ok && ctl->against_running)
        return ctl_against_running(ctl, path);
    if (ctl->json) {
        ctl_print_json(answer);
        return ok ? CTL_OK : CTL_FAILED;
    }
    size_t i;
    json_t *error;
    json_array_foreach (j_of(answer, "errors"), i, error)
        fprintf(stderr, "%s\n", json_string_value(error));
    if (ok)
        printf("%s: good\n", ctl->args[0]);
    return ok ? CTL_OK : CTL_FAILED;
}
