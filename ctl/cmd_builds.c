/* builds, show: what was built, and one thing in full. */
#include "common/clock.h"
#include "common/mem.h"
#include "ctl/ctl.h"

#include <inttypes.h>

static void add_build(struct table *t, const json_t *build, int64_t now)
{
    char ago[FORMAT_MAX], took[FORMAT_MAX];
    const char *state = j_str(build, "state"), *end = j_reason(build, "end");
    int64_t created = j_int(build, "created_at", 0), finished = j_int(build, "finished_at", 0);
    table_cell(t, INK_PLAIN, "%" PRId64, j_int(build, "id", 0));
    table_cell(t, INK_BOLD, "%s", j_str(build, "track"));
    table_cell(t, state_ink(state), "%s", state);
    table_cell(t, INK_PLAIN, "%s", format_ago(created, now, ago));
    table_cell(t, INK_PLAIN, "%s", format_duration((finished ? finished : now) - created, took));
    table_cell(t, INK_DIM, "%s%s%s", j_reason(build, "why"), *end ? " -> " : "", end);
}

static void print_builds(struct ctl *ctl, const json_t *builds)
{
    struct table *t = table_new(">BUILD|TRACK|STATE|BEGAN|>TOOK|WHY", ctl->colors);
    size_t i;
    json_t *build;
    json_array_foreach (builds, i, build)
        add_build(t, build, clock_wall_ms());
    table_print(t, stdout);
    table_free(t);
}

static int get_builds(struct ctl *ctl, const char *track, json_t **ret)
{
    cleanup_strbuf struct strbuf path = {0};
    strbuf_addf(&path, "/v1/builds?limit=%ld", ctl->limit ? ctl->limit : 20);
    if (ctl->before)
        strbuf_addf(&path, "&before=%ld", ctl->before);
    if (track) {
        cleanup_free char *escaped = ctl_escape(track);
        strbuf_addf(&path, "&track=%s", escaped);
    }
    return ctl_get(ctl, ret, "%s", path.s);
}

/* Builds of a track that is no more are still told of; one that never was is an error. */
static int get_builds_of(struct ctl *ctl, const char *name, json_t **ret)
{
    int r = get_builds(ctl, name, ret);
    if (r != CTL_OK || json_array_size(j_of(*ret, "builds")))
        return r;
    cleanup_free char *track = NULL;
    r = ctl_resolve_track(ctl, name, &track);
    if (r != CTL_OK || str_eq(track, name))
        return r;
    json_decref(*ret);
    *ret = NULL;
    return get_builds(ctl, track, ret);
}

int cmd_builds(struct ctl *ctl)
{
    cleanup_(json_decrefp) json_t *answer = NULL;
    int r = ctl->track ? get_builds_of(ctl, ctl->track, &answer) : get_builds(ctl, NULL, &answer);
    if (r != CTL_OK)
        return r;
    if (ctl->json)
        return ctl_print_json(answer);
    print_builds(ctl, j_of(answer, "builds"));
    if (j_int(answer, "next", 0))
        print_ink(stdout, ctl->colors, INK_DIM, "older ones: --before %" PRId64 "\n",
                  j_int(answer, "next", 0));
    return CTL_OK;
}

/* One "name: value" line of `show`; nothing for an empty value. */
static void line(struct ctl *ctl, const char *name, enum ink ink, const char *value)
{
    if (!*value)
        return;
    print_ink(stdout, ctl->colors, INK_DIM, "%-12s ", name);
    print_ink(stdout, ctl->colors, ink, "%s", value);
    putchar('\n');
}

static void line_state(struct ctl *ctl, const json_t *o)
{
    const char *state = j_str(o, "state"), *reason = j_reason(o, "reason");
    cleanup_free char *text = xasprintf("%s%s%s", state, *reason ? ": " : "", reason);
    line(ctl, "state", state_ink(state), text);
}

static void line_time(struct ctl *ctl, const char *name, int64_t at)
{
    char when[32], ago[FORMAT_MAX];
    if (at <= 0)
        return;
    cleanup_free char *text =
        xasprintf("%s (%s)", clock_format(at, when), format_ago(at, clock_wall_ms(), ago));
    line(ctl, name, INK_PLAIN, text);
}

static void line_list(struct ctl *ctl, const char *name, const json_t *list)
{
    struct strbuf b = {0};
    size_t i;
    json_t *item;
    json_array_foreach (list, i, item)
        strbuf_addf(&b, "%s%s", b.n ? ", " : "", json_string_value(item));
    line(ctl, name, INK_PLAIN, strbuf_str(&b));
    strbuf_done(&b);
}

static void print_build_jobs(struct ctl *ctl, const json_t *jobs)
{
    struct table *t = table_new("PLATFORM|STATE|BOARD|>TOOK|JOB|REASON", ctl->colors);
    size_t i;
    json_t *job;
    json_array_foreach (jobs, i, job) {
        char took[FORMAT_MAX], key[FORMAT_MAX];
        const char *state = j_str(job, "state");
        table_cell(t, INK_BOLD, "%s%s", j_str(job, "platform"),
                   j_true(job, "required") ? "" : " (optional)");
        table_cell(t, state_ink(state), "%s", state);
        table_cell(t, INK_PLAIN, "%s%s", j_str(job, "board"),
                   j_true(job, "emulated") ? " (emulated)" : "");
        table_cell(t, INK_PLAIN, "%s", format_duration(j_int(job, "duration_ms", -1), took));
        table_cell(t, INK_DIM, "%s", format_digest(j_str(job, "job"), key));
        table_cell(t, INK_PLAIN, "%s", j_reason(job, "reason"));
    }
    putchar('\n');
    table_print(t, stdout);
    table_free(t);
}

static void show_build(struct ctl *ctl, const json_t *build)
{
    cleanup_free char *id = xasprintf("%" PRId64, j_int(build, "id", 0));
    line(ctl, "build", INK_BOLD, id);
    line(ctl, "track", INK_PLAIN, j_str(build, "track"));
    line_state(ctl, build);
    line(ctl, "why", INK_PLAIN, j_reason(build, "why"));
    line(ctl, "ended", INK_PLAIN, j_reason(build, "end"));
    line(ctl, "commit", INK_PLAIN, j_str(build, "commit"));
    line_time(ctl, "began", j_int(build, "created_at", 0));
    line_time(ctl, "finished", j_int(build, "finished_at", 0));
    line(ctl, "index", INK_PLAIN, j_str(j_of(build, "publication"), "digest"));
    print_build_jobs(ctl, j_of(build, "jobs"));
}

static void print_attempts(struct ctl *ctl, const json_t *attempts)
{
    struct table *t = table_new(">ATTEMPT|BOARD|STATE|BEGAN|>TOOK|REASON", ctl->colors);
    size_t i;
    json_t *a;
    json_array_foreach (attempts, i, a) {
        char ago[FORMAT_MAX], took[FORMAT_MAX];
        int64_t start = j_int(a, "granted_at", 0), end = j_int(a, "finished_at", 0);
        const char *state = j_str(a, "state"), *kind = j_str(a, "kind");
        table_cell(t, INK_PLAIN, "%" PRId64, j_int(a, "id", 0));
        table_cell(t, INK_BOLD, "%s%s", j_str(a, "board"),
                   j_true(a, "emulated") ? " (emulated)" : "");
        table_cell(t, state_ink(state), "%s", state);
        table_cell(t, INK_PLAIN, "%s", format_ago(start, clock_wall_ms(), ago));
        table_cell(t, INK_PLAIN, "%s", end ? format_duration(end - start, took) : "-");
        table_cell(t, INK_PLAIN, "%s%s%s", kind, *kind ? ": " : "", j_str(a, "reason"));
    }
    putchar('\n');
    table_print(t, stdout);
    table_free(t);
}

static void print_inputs(struct ctl *ctl, const json_t *inputs)
{
    struct table *t = table_new("INPUT|VALUE", ctl->colors);
    size_t i;
    json_t *input;
    json_array_foreach (inputs, i, input) {
        json_t *value = json_object_get(input, "value");
        cleanup_free char *text = json_is_string(value)
                                      ? xstrdup(json_string_value(value))
                                      : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        table_cell(t, INK_PLAIN, "%s", j_str(input, "name"));
        table_cell(t, INK_DIM, "%.200s", text ? text : "");
    }
    putchar('\n');
    table_print(t, stdout);
    table_free(t);
}

static void show_job(struct ctl *ctl, const json_t *job)
{
    char size[FORMAT_MAX];
    const json_t *manifest = j_of(job, "manifest");
    line(ctl, "job", INK_BOLD, j_str(job, "key"));
    line(ctl, "track", INK_PLAIN, j_str(job, "track"));
    line(ctl, "platform", INK_PLAIN, j_str(job, "platform"));
    line_state(ctl, job);
    line(ctl, "failure", INK_RED, j_str(job, "kind"));
    cleanup_free char *board =
        xasprintf("%s%s", j_str(job, "board"), j_true(job, "emulated") ? " (emulated)" : "");
    line(ctl, "board", INK_PLAIN, board);
    line(ctl, "commit", INK_PLAIN, j_str(job, "commit"));
    line_time(ctl, "wanted", j_int(job, "wanted_at", 0));
    line_time(ctl, "started", j_int(job, "started_at", 0));
    line_time(ctl, "finished", j_int(job, "finished_at", 0));
    line(ctl, "manifest", INK_PLAIN, j_str(manifest, "digest"));
    line(ctl, "content", INK_PLAIN, j_str(job, "content_digest"));
    line(ctl, "log", INK_PLAIN, format_size(j_int(job, "log_size", -1), size));
    print_attempts(ctl, j_of(job, "attempts"));
    print_inputs(ctl, j_of(job, "inputs"));
}

static void print_cells(struct ctl *ctl, const json_t *cells)
{
    struct table *t = table_new("PLATFORM|STATE|BOARD|MANIFEST|REASON", ctl->colors);
    size_t i;
    json_t *cell;
    json_array_foreach (cells, i, cell) {
        char digest[FORMAT_MAX];
        const char *state = j_str(cell, "state");
        table_cell(t, INK_BOLD, "%s%s", j_str(cell, "platform"),
                   j_true(cell, "required") ? "" : " (optional)");
        table_cell(t, state_ink(state), "%s", state);
        table_cell(t, INK_PLAIN, "%s%s", j_str(cell, "board"),
                   j_true(cell, "emulated") ? " (emulated)" : "");
        table_cell(t, INK_DIM, "%s", format_digest(j_str(cell, "digest"), digest));
        table_cell(t, INK_PLAIN, "%s", j_reason(cell, "reason"));
    }
    putchar('\n');
    table_print(t, stdout);
    table_free(t);
}

static void line_hold(struct ctl *ctl, const json_t *hold)
{
    line(ctl, "hold", INK_YELLOW, j_str(hold, "text"));
    line_time(ctl, "", j_int(hold, "held_at", 0));
}

static void print_publications(struct ctl *ctl, const json_t *list)
{
    struct table *t = table_new(">PUBLICATION|>GENERATION|PUBLISHED|INDEX|PLATFORMS", ctl->colors);
    size_t i, k;
    json_t *p, *platform;
    json_array_foreach (list, i, p) {
        char ago[FORMAT_MAX], digest[FORMAT_MAX];
        cleanup_strbuf struct strbuf platforms = {0};
        json_array_foreach (j_of(p, "platforms"), k, platform)
            strbuf_addf(&platforms, "%s%s", k ? " " : "",
                        short_platform(json_string_value(platform)));
        table_cell(t, INK_BOLD, "%" PRId64, j_int(p, "id", 0));
        table_cell(t, INK_PLAIN, "%" PRId64, j_int(p, "generation", 0));
        table_cell(t, INK_PLAIN, "%s",
                   format_ago(j_int(p, "published_at", 0), clock_wall_ms(), ago));
        table_cell(t, INK_DIM, "%s", format_digest(j_str(p, "digest"), digest));
        table_cell(t, INK_PLAIN, "%s", strbuf_str(&platforms));
    }
    if (json_array_size(list))
        putchar('\n');
    table_print(t, stdout);
    table_free(t);
}

static void show_track(struct ctl *ctl, const json_t *track)
{
    const json_t *publication = j_of(track, "publication");
    line(ctl, "track", INK_BOLD, j_str(track, "id"));
    line_state(ctl, track);
    line_hold(ctl, j_of(track, "hold"));
    line(ctl, "awake", INK_PLAIN, j_reason(track, "awake"));
    line(ctl, "why built", INK_PLAIN, j_reason(track, "why"));
    line(ctl, "ref", INK_PLAIN, j_str(track, "ref"));
    line(ctl, "commit", INK_PLAIN, j_str(track, "commit"));
    line(ctl, "sighting", INK_YELLOW, j_str(j_of(track, "sighting"), "text"));
    line_list(ctl, "tags", j_of(track, "tags"));
    line(ctl, "index", INK_PLAIN, j_str(publication, "digest"));
    line_time(ctl, "published", j_int(publication, "published_at", 0));
    size_t i;
    json_t *base;
    json_array_foreach (j_of(track, "bases"), i, base)
        line(ctl, i ? "" : "bases", INK_PLAIN, j_str(base, "reference"));
    line_list(ctl, "dependents", j_of(track, "dependents"));
    print_cells(ctl, j_of(track, "cells"));
    print_publications(ctl, j_of(track, "publications"));
    if (json_array_size(j_of(track, "builds")))
        putchar('\n');
    print_builds(ctl, j_of(track, "builds"));
}

static int show(struct ctl *ctl, const char *kind, const char *id,
                void (*print)(struct ctl *, const json_t *))
{
    cleanup_(json_decrefp) json_t *json = NULL;
    cleanup_free char *escaped = ctl_escape(id);
    int r = ctl_get(ctl, &json, "/v1/%s/%s", kind, escaped);
    if (r != CTL_OK)
        return r;
    if (ctl->json)
        return ctl_print_json(json);
    print(ctl, json);
    return CTL_OK;
}

int cmd_show(struct ctl *ctl)
{
    cleanup_free char *id = NULL;
    const char *what = ctl->args[0];
    if (ctl->n_args > 1 || ctl->platform || str_starts(what, "sha256:")) {
        int r = ctl_resolve_job(ctl, &id);
        return r == CTL_OK ? show(ctl, "jobs", id, show_job) : r;
    }
    if (ctl_is_number(what))
        return show(ctl, "builds", what, show_build);
    int r = ctl_resolve_track(ctl, what, &id);
    return r == CTL_OK ? show(ctl, "tracks", id, show_track) : r;
}
