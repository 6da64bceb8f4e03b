/* status, tracks: the farm as a table of tracks by platforms. */
#include "common/clock.h"
#include "common/mem.h"
#include "ctl/ctl.h"

#include <inttypes.h>

/* Every platform that some cell has, in the order of their first appearance. */
static void collect_platforms(const json_t *tracks, strvec *platforms)
{
    size_t i, j;
    json_t *track, *cell;
    json_array_foreach (tracks, i, track)
        json_array_foreach (j_of(track, "cells"), j, cell)
            if (!strvec_has(platforms, j_str(cell, "platform")))
                strvec_add(platforms, j_str(cell, "platform"));
}

static json_t *cell_of(const json_t *track, const char *platform)
{
    size_t i;
    json_t *cell;
    json_array_foreach (j_of(track, "cells"), i, cell)
        if (str_eq(j_str(cell, "platform"), platform))
            return cell;
    return NULL;
}

static const char *cell_word(const char *state)
{
    if (str_eq(state, "succeeded"))
        return "ok";
    return str_eq(state, "not-offered") ? "-" : state;
}

static void add_cell(struct table *t, const json_t *cell, int64_t now)
{
    if (!cell) {
        table_cell(t, INK_DIM, " ");
        return;
    }
    const char *state = j_str(cell, "state");
    char buf[FORMAT_MAX];
    bool running = str_eq(state, "running") && j_int(cell, "since_at", 0) > 0;
    table_cell(t, state_ink(state), "%s%s%s%s%s", cell_word(state), running ? " " : "",
               running ? format_duration(now - j_int(cell, "since_at", 0), buf) : "",
               j_true(cell, "emulated") ? " (emulated)" : "",
               j_true(cell, "required") ? "" : " (optional)");
}

static bool has(const json_t *list, const char *text)
{
    size_t i;
    json_t *item;
    json_array_foreach (list, i, item)
        if (str_eq(json_string_value(item), text))
            return true;
    return false;
}

/* Those that the track does not have, or not yet, in parentheses. */
static char *tags_of(const json_t *track)
{
    struct strbuf b = {0};
    size_t i;
    json_t *item;
    json_array_foreach (j_of(track, "tags"), i, item) {
        const char *tag = json_string_value(item);
        bool owned = has(j_of(track, "owned"), tag);
        strbuf_addf(&b, owned ? "%s%s" : "%s(%s)", b.n ? " " : "", tag);
    }
    return strbuf_steal(&b);
}

static void add_track(struct table *t, const json_t *track, const strvec *platforms, int64_t now)
{
    char buf[FORMAT_MAX];
    cleanup_free char *tags = tags_of(track);
    const char *state = j_str(track, "state");
    table_cell(t, INK_BOLD, "%s", j_str(track, "id"));
    table_cell(t, state_ink(state), "%s", state);
    VEC_FOREACH (platforms, platform)
        add_cell(t, cell_of(track, *platform), now);
    table_cell(t, INK_PLAIN, "%s", tags);
    table_cell(t, INK_DIM, "%s",
               format_ago(j_int(j_of(track, "publication"), "published_at", 0), now, buf));
}

static void print_tracks(struct ctl *ctl, const json_t *tracks)
{
    cleanup_strvec strvec platforms = {0};
    collect_platforms(tracks, &platforms);
    struct strbuf head = {0};
    strbuf_add(&head, "TRACK|STATE");
    VEC_FOREACH (&platforms, platform)
        strbuf_addf(&head, "|%s", short_platform(*platform));
    strbuf_add(&head, "|TAGS|PUBLISHED");
    struct table *t = table_new(head.s, ctl->colors);
    size_t i;
    json_t *track;
    json_array_foreach (tracks, i, track)
        add_track(t, track, &platforms, clock_wall_ms());
    table_print(t, stdout);
    table_free(t);
    strbuf_done(&head);
}

/* Why tracks are not what they should be, a line each. */
static void print_reasons(struct ctl *ctl, const json_t *tracks)
{
    size_t i;
    json_t *track;
    json_array_foreach (tracks, i, track) {
        const char *sighting = j_str(j_of(track, "sighting"), "text");
        const char *state = j_str(track, "state"), *reason = j_reason(track, "reason");
        const char *hold = j_str(j_of(track, "hold"), "text");
        bool frozen = str_eq(j_str(j_of(track, "hold"), "code"), "frozen"); /* told once, for all */
        bool quiet =
            str_eq(state, "published") || str_eq(state, "dormant") || str_eq(state, "retired");
        if (*hold && !frozen && !str_eq(hold, reason)) {
            print_ink(stdout, ctl->colors, INK_BOLD, "%s", j_str(track, "id"));
            printf(" %s\n", hold);
        }
        if (*sighting) {
            print_ink(stdout, ctl->colors, INK_BOLD, "%s", j_str(track, "id"));
            printf(" %s\n", sighting);
        }
        if (!*reason || quiet)
            continue;
        print_ink(stdout, ctl->colors, INK_BOLD, "%s", j_str(track, "id"));
        fputs(" ", stdout);
        print_ink(stdout, ctl->colors, state_ink(state), "%s", state);
        printf(": %s\n", reason);
    }
}

static void print_counts(struct ctl *ctl, const json_t *status)
{
    const json_t *boards = j_of(status, "boards"), *sources = j_of(status, "sources"),
                 *jobs = j_of(status, "jobs");
    char buf[FORMAT_MAX];
    printf("boards %" PRId64 " of %" PRId64 " online, jobs %" PRId64 " running %" PRId64
           " waiting, sources %" PRId64,
           j_int(boards, "online", 0), j_int(boards, "total", 0), j_int(jobs, "running", 0),
           j_int(jobs, "wanted", 0) + j_int(jobs, "leased", 0), j_int(sources, "total", 0));
    if (j_int(sources, "failing", 0))
        print_ink(stdout, ctl->colors, INK_RED, " (%" PRId64 " failing)",
                  j_int(sources, "failing", 0));
    printf(", up %s\n",
           format_duration(j_int(status, "now_at", 0) - j_int(status, "started_at", 0), buf));
    if (j_true(status, "frozen"))
        print_ink(stdout, ctl->colors, INK_YELLOW, "Nothing is published: %s.\n",
                  *j_str(j_of(status, "freeze"), "text") ? j_str(j_of(status, "freeze"), "text")
                                                         : "the farm is frozen");
    if (*j_str(status, "stalled"))
        print_ink(stdout, ctl->colors, INK_RED, "The store takes nothing: %s\n",
                  j_str(status, "stalled"));
}

static void print_running(struct ctl *ctl, const json_t *status)
{
    struct table *t = table_new("RUNNING|PLATFORM|BOARD|FOR", ctl->colors);
    int64_t now = clock_wall_ms();
    size_t i;
    json_t *job;
    json_array_foreach (j_of(status, "running"), i, job) {
        char buf[FORMAT_MAX];
        int64_t since = j_int(job, "started_at", 0);
        table_cell(t, INK_BOLD, "%s", j_str(job, "track"));
        table_cell(t, INK_PLAIN, "%s", short_platform(j_str(job, "platform")));
        table_cell(t, INK_PLAIN, "%s%s", j_str(job, "board"),
                   j_true(job, "emulated") ? " (emulated)" : "");
        table_cell(t, INK_PLAIN, "%s", since ? format_duration(now - since, buf) : "-");
    }
    if (json_array_size(j_of(status, "running")))
        putchar('\n');
    table_print(t, stdout);
    table_free(t);
}

/* What a person may want to look at; tracks have been told already. */
static void print_attention(struct ctl *ctl, const json_t *status)
{
    size_t i;
    json_t *it;
    json_array_foreach (j_of(status, "attention"), i, it) {
        if (str_eq(j_str(it, "kind"), "track"))
            continue;
        print_ink(stdout, ctl->colors, INK_RED, "%s %s", j_str(it, "kind"), j_str(it, "id"));
        printf(": %s\n", j_reason(it, "reason"));
    }
}

int cmd_status(struct ctl *ctl)
{
    cleanup_(json_decrefp) json_t *status = NULL, *tracks = NULL;
    int r = ctl_get(ctl, &status, "/v1/status");
    if (r != CTL_OK)
        return r;
    if (ctl->json)
        return ctl_print_json(status);
    r = ctl_get(ctl, &tracks, "/v1/tracks");
    if (r != CTL_OK)
        return r;
    const json_t *list = j_of(tracks, "tracks");
    print_counts(ctl, status);
    if (json_array_size(list))
        putchar('\n');
    print_tracks(ctl, list);
    print_running(ctl, status);
    putchar('\n');
    print_reasons(ctl, list);
    print_attention(ctl, status);
    return CTL_OK;
}

/* Drops the tracks of other images. */
static void keep_image(json_t *tracks, const char *image)
{
    for (size_t i = json_array_size(tracks); i-- > 0;)
        if (!str_eq(j_str(json_array_get(tracks, i), "image"), image))
            json_array_remove(tracks, i);
}

int cmd_tracks(struct ctl *ctl)
{
    cleanup_(json_decrefp) json_t *answer = NULL;
    int r = ctl_get(ctl, &answer, "/v1/tracks");
    if (r != CTL_OK)
        return r;
    json_t *tracks = j_of(answer, "tracks");
    if (ctl->n_args) {
        keep_image(tracks, ctl->args[0]);
        if (!json_array_size(tracks))
            return ctl_say(CTL_NOT_FOUND, "no tracks of an image %s", ctl->args[0]);
    }
    if (ctl->json)
        return ctl_print_json(answer);
    print_tracks(ctl, tracks);
    return CTL_OK;
}
