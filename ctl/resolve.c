/* From what people write to what the API calls things. */
#include "common/mem.h"
#include "ctl/ctl.h"

bool ctl_is_number(const char *s)
{
    return *s && strspn(s, "0123456789") == strlen(s);
}

static int say_which(const char *what, const strvec *names)
{
    struct strbuf b = {0};
    VEC_FOREACH (names, it)
        strbuf_addf(&b, "\n  %s", *it);
    ctl_say(CTL_USAGE, "%s: which one?%s", what, b.s);
    strbuf_done(&b);
    return CTL_USAGE;
}

int ctl_resolve_track(struct ctl *ctl, const char *name, char **ret)
{
    cleanup_(json_decrefp) json_t *answer = NULL;
    cleanup_strvec strvec found = {0};
    int r = ctl_get(ctl, &answer, "/v1/tracks");
    if (r != CTL_OK)
        return r;
    size_t i;
    json_t *track;
    json_array_foreach (j_of(answer, "tracks"), i, track) {
        if (str_eq(j_str(track, "id"), name)) {
            *ret = xstrdup(name);
            return CTL_OK;
        }
        if (str_eq(j_str(track, "image"), name))
            strvec_add(&found, j_str(track, "id"));
    }
    if (!found.n)
        return ctl_say(CTL_NOT_FOUND, "no track or image %s (sheafctl tracks lists them)", name);
    if (found.n > 1)
        return say_which(name, &found);
    *ret = xstrdup(found.items[0]);
    return CTL_OK;
}

static bool platform_is(const char *platform, const char *asked)
{
    return str_eq(platform, asked) || str_eq(short_platform(platform), asked);
}

/* The one entry of `list` (a build's jobs, a track's cells) that has a job and is of the platform. */
static int choose(const char *what, const json_t *list, const char *platform, char **ret)
{
    cleanup_strvec strvec found = {0};
    const char *key = NULL;
    size_t i;
    json_t *it;
    json_array_foreach (list, i, it) {
        const char *name = j_str(it, "platform");
        if (!*j_str(it, "job") || (platform && !platform_is(name, platform)))
            continue;
        key = j_str(it, "job");
        strvec_add(&found, name);
    }
    if (!found.n)
        return ctl_say(CTL_NOT_FOUND, "%s: no job%s%s", what, platform ? " of " : "",
                       platform ? platform : "");
    if (found.n > 1)
        return say_which(what, &found);
    *ret = xstrdup(key);
    return CTL_OK;
}

int ctl_resolve_job(struct ctl *ctl, char **ret)
{
    const char *what = ctl->args[0], *platform = ctl->n_args > 1 ? ctl->args[1] : ctl->platform;
    if (str_starts(what, "sha256:")) {
        *ret = xstrdup(what);
        return CTL_OK;
    }
    cleanup_(json_decrefp) json_t *answer = NULL;
    if (ctl_is_number(what)) {
        int r = ctl_get(ctl, &answer, "/v1/builds/%s", what);
        return r == CTL_OK ? choose(what, j_of(answer, "jobs"), platform, ret) : r;
    }
    cleanup_free char *track = NULL;
    int r = ctl_resolve_track(ctl, what, &track);
    if (r != CTL_OK)
        return r;
    cleanup_free char *id = ctl_escape(track);
    r = ctl_get(ctl, &answer, "/v1/tracks/%s", id);
    return r == CTL_OK ? choose(track, j_of(answer, "cells"), platform, ret) : r;
}
