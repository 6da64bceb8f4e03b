/* what-if, and check --against-running: what an event would cause, in words. */
#include "common/mem.h"
#include "ctl/ctl.h"

#include <errno.h>
#include <inttypes.h>

#define NAMES_TOLD 3

/* ---- words ---- */

static const char *plural(int64_t n)
{
    return n == 1 ? "" : "s";
}

/* "a, b, c and 9 more" of a list of texts. The caller owns it. */
static char *some(const json_t *list)
{
    struct strbuf b = {0};
    size_t n = json_array_size(list), take = n > NAMES_TOLD + 1 ? NAMES_TOLD : n;
    for (size_t i = 0; i < take; i++)
        strbuf_addf(&b, "%s%s",
                    !i           ? ""
                    : i + 1 == n ? " and "
                                 : ", ",
                    json_string_value(json_array_get(list, i)));
    if (take < n)
        strbuf_addf(&b, " and %zu more", n - take);
    return strbuf_steal(&b);
}

/* The question as the beginning of a sentence. The caller owns it. */
static char *subject(const json_t *question)
{
    const char *event = j_str(question, "event");
    if (str_eq(event, "base"))
        return xasprintf("New content of %s", j_str(question, "reference"));
    if (str_eq(event, "config"))
        return xstrdup("This file");
    if (str_eq(event, "board"))
        return xasprintf("The loss of %s", j_str(question, "board"));
    struct strbuf b = {0};
    size_t i;
    json_t *ref;
    if (*j_str(question, "commit"))
        strbuf_addf(&b, "A push of %.12s to %s", j_str(question, "commit"),
                    j_str(question, "source"));
    else
        strbuf_addf(&b, "A push to %s", j_str(question, "source"));
    json_array_foreach (j_of(question, "refs"), i, ref) {
        if (i == NAMES_TOLD) {
            strbuf_add(&b, ", …");
            break;
        }
        strbuf_addf(&b, "%s%s", i ? ", " : " (", short_ref(json_string_value(ref)));
    }
    strbuf_add(&b, i ? ")" : "");
    cleanup_free char *paths = some(j_of(question, "paths"));
    if (*paths)
        strbuf_addf(&b, " that changes %s", paths);
    return strbuf_steal(&b);
}

static int64_t waves(const json_t *builds)
{
    size_t n = json_array_size(builds); /* they are sorted by it */
    return n ? j_int(json_array_get(builds, n - 1), "wave", 0) : 0;
}

/* Of a lost board: what becomes of the jobs. */
static void print_lost(struct ctl *ctl, const json_t *answer, const char *what)
{
    int64_t had = (int64_t)json_array_size(j_of(answer, "interrupted")),
            later = (int64_t)json_array_size(j_of(answer, "delayed"));
    if (!had && !later)
        print_ink(stdout, ctl->colors, INK_BOLD, "%s would stop and delay no job.\n", what);
    else
        print_ink(stdout, ctl->colors, INK_BOLD,
                  "%s would stop %" PRId64 " job%s, and %" PRId64 " other%s would be done later.\n",
                  what, had, plural(had), later, plural(later));
}

static void print_head(struct ctl *ctl, const json_t *answer)
{
    const json_t *builds = j_of(answer, "builds");
    cleanup_free char *what = subject(j_of(answer, "question"));
    int64_t n = (int64_t)json_array_size(builds), jobs = j_int(answer, "jobs", 0),
            under_way = j_int(answer, "under_way", 0);
    char buf[FORMAT_MAX];
    if (*j_str(j_of(answer, "question"), "board"))
        print_lost(ctl, answer, what);
    else if (!n)
        print_ink(stdout, ctl->colors, INK_BOLD, "%s would cause no build.\n", what);
    else if (!jobs)
        print_ink(stdout, ctl->colors, INK_BOLD,
                  "%s would cause %" PRId64 " build%s in %" PRId64
                  " wave%s, and no job: all was built before.\n",
                  what, n, plural(n), waves(builds), plural(waves(builds)));
    else
        print_ink(stdout, ctl->colors, INK_BOLD,
                  "%s would cause %" PRId64 " build%s (%" PRId64 " job%s) in %" PRId64
                  " wave%s, in about %s.\n",
                  what, n, plural(n), jobs, plural(jobs), waves(builds), plural(waves(builds)),
                  format_duration(j_int(answer, "duration_ms", 0), buf));
    if (under_way)
        printf("%" PRId64 " job%s under way now, which would end in about %s without it.\n",
               under_way, under_way == 1 ? " is" : "s are",
               format_duration(j_int(answer, "rest_ms", 0), buf));
    if (j_true(answer, "too_much"))
        printf("More follows than is told here.\n");
}

/* ---- builds ---- */

/* Why it is not built, and what that means for an optional one whose last good child is published. */
static void print_not_built(struct ctl *ctl, const json_t *job)
{
    int64_t stale = j_int(job, "stale_ms", -1);
    char buf[FORMAT_MAX];
    print_ink(stdout, ctl->colors, INK_YELLOW, "%s%s%s\n", j_reason(job, "reason"),
              stale >= 0 ? "; its last good child counts as stale in " : "",
              stale >= 0 ? format_duration(stale, buf) : "");
}

static void print_jobs(struct ctl *ctl, const json_t *jobs)
{
    size_t i;
    json_t *j;
    json_array_foreach (jobs, i, j) {
        char buf[FORMAT_MAX];
        int64_t begins = j_int(j, "begins_ms", 0), ends = j_int(j, "ends_ms", -1);
        printf("      %-10s ", short_platform(j_str(j, "platform")));
        if (j_true(j, "done_before"))
            print_ink(stdout, ctl->colors, INK_DIM, "was built before\n");
        else if (*j_reason(j, "reason"))
            print_not_built(ctl, j);
        else if (ends >= 0)
            printf("%s on %s\n", format_duration(ends - begins, buf), j_str(j, "board"));
        else
            printf("with another track\n");
    }
}

static void print_builds(struct ctl *ctl, const json_t *builds)
{
    size_t i;
    json_t *b;
    int64_t wave = 0;
    json_array_foreach (builds, i, b) {
        if (j_int(b, "wave", 0) != wave) {
            wave = j_int(b, "wave", 0);
            printf("\nWave %" PRId64 "\n", wave);
        }
        printf("  %s: %s", j_str(b, "track"), j_reason(b, "why"));
        if (!str_eq(j_str(b, "state"), "published"))
            print_ink(stdout, ctl->colors, state_ink(j_str(b, "state")), " (%s)",
                      j_str(b, "state"));
        printf("\n");
        print_jobs(ctl, j_of(b, "jobs"));
    }
}

/* ---- what else becomes of it ---- */

static void print_tags(const json_t *tags)
{
    size_t i;
    json_t *t;
    if (json_array_size(tags))
        printf("\nTags\n");
    json_array_foreach (tags, i, t) {
        const char *was = j_str(t, "was");
        printf("  %s:%s", j_str(t, "repository"), j_str(t, "tag"));
        if (!*was)
            printf(" is new, of %s\n", j_str(t, "track"));
        else if (!str_eq(was, j_str(t, "track")))
            printf(" goes from %s to %s\n", was, j_str(t, "track"));
        else
            printf(" moves\n");
    }
}

static void print_tracks(struct ctl *ctl, const json_t *tracks)
{
    size_t i;
    json_t *t;
    if (json_array_size(tracks))
        printf("\nTracks\n");
    json_array_foreach (tracks, i, t) {
        json_t *before = j_of(t, "before"), *after = j_of(t, "after");
        const char *state = after ? j_str(after, "state") : "no longer in farm.yaml";
        printf("  %s: %s → ", j_str(t, "track"), before ? j_str(before, "state") : "new");
        print_ink(stdout, ctl->colors, state_ink(state), "%s", state);
        if (after && *j_reason(after, "reason") && !str_eq(state, "published"))
            printf(": %s", j_reason(after, "reason"));
        else if (*j_str(t, "conflict"))
            printf(": %s", j_str(t, "conflict"));
        printf("\n");
    }
}

/* A job of one that is lost, after its track and platform. */
static void print_moved(struct ctl *ctl, const json_t *u, const char *again)
{
    char ends[FORMAT_MAX], without[FORMAT_MAX];
    int64_t before = j_int(u, "without_ms", -1);
    printf("  %s %s: ", j_str(u, "track"), short_platform(j_str(u, "platform")));
    if (!*j_str(u, "board"))
        print_ink(stdout, ctl->colors, INK_RED, "not done: %s", j_reason(u, "reason"));
    else
        printf("%s %s, done in %s", again, j_str(u, "board"),
               format_duration(j_int(u, "ends_ms", -1), ends));
    if (before >= 0)
        printf(" (with it in %s)", format_duration(before, without));
    printf("\n");
}

static void print_moved_jobs(struct ctl *ctl, const json_t *jobs, const char *title,
                             const char *again)
{
    size_t i;
    json_t *u;
    if (json_array_size(jobs))
        printf("\n%s\n", title);
    json_array_foreach (jobs, i, u)
        print_moved(ctl, u, again);
}

static void print_boards(struct ctl *ctl, const json_t *answer)
{
    size_t i;
    json_t *u;
    print_moved_jobs(ctl, j_of(answer, "interrupted"), "It has", "begun again on");
    print_moved_jobs(ctl, j_of(answer, "delayed"), "Later", "on");
    if (json_array_size(j_of(answer, "remaining")))
        printf("\nPlatforms\n");
    json_array_foreach (j_of(answer, "remaining"), i, u) {
        cleanup_free char *names = some(j_of(u, "boards"));
        if (*names)
            printf("  %s: left to %s\n", j_str(u, "platform"), names);
        else
            print_ink(stdout, ctl->colors, INK_RED, "  %s: no board is left\n",
                      j_str(u, "platform"));
    }
    json_array_foreach (j_of(answer, "unserved"), i, u) {
        cleanup_free char *names = some(j_of(u, "tracks"));
        size_t n = json_array_size(j_of(u, "tracks"));
        print_ink(stdout, ctl->colors, INK_RED, "No board for %s: ", j_str(u, "platform"));
        printf("%zu track%s could be built for it no more (%s)\n", n, plural((int64_t)n), names);
    }
}

static void print_images(const json_t *images, bool config)
{
    bool any = false;
    static const char *const parts[][2] = {
        {"added", "New"}, {"removed", "Gone"}, {"changed", "Changed"}};
    for (size_t i = 0; i < 3; i++) {
        cleanup_free char *names = some(j_of(images, parts[i][0]));
        any = any || *names;
        if (*names)
            printf("%s: %s\n", parts[i][1], names);
    }
    if (!any && config)
        printf("It says of every image what the one that runs says.\n");
}

static void print_answer(struct ctl *ctl, const json_t *answer)
{
    size_t i;
    json_t *note;
    print_head(ctl, answer);
    print_images(j_of(answer, "images"),
                 str_eq(j_str(j_of(answer, "question"), "event"), "config"));
    print_builds(ctl, j_of(answer, "builds"));
    print_tags(j_of(answer, "tags"));
    print_tracks(ctl, j_of(answer, "tracks"));
    print_boards(ctl, answer);
    json_array_foreach (j_of(answer, "notes"), i, note)
        print_ink(stdout, ctl->colors, INK_DIM, "%sNote: %s\n", i ? "" : "\n",
                  json_string_value(note));
}

/* ---- the commands ---- */

/* Whether something would be worse than it is: a track that cannot be brought up to date, a platform without a board. */
static bool worse(const json_t *answer)
{
    static const char *const bad[] = {"blocked", "conflict", "failed", "building", "waiting"};
    size_t i;
    json_t *t;
    json_array_foreach (j_of(answer, "tracks"), i, t)
        for (size_t k = 0; k < sizeof(bad) / sizeof(*bad); k++)
            if (*j_str(t, "conflict") || str_eq(j_str(j_of(t, "after"), "state"), bad[k]))
                return true;
    return json_array_size(j_of(answer, "unserved")) > 0;
}

static int ask(struct ctl *ctl, json_t *question, json_t **ret)
{
    int r = ctl_post(ctl, question, ret, "/v1/what-if");
    if (r != CTL_OK)
        return r;
    if (ctl->json)
        return ctl_print_json(*ret);
    print_answer(ctl, *ret);
    return CTL_OK;
}

int ctl_against_running(struct ctl *ctl, const char *path)
{
    cleanup_(json_decrefp) json_t *answer = NULL;
    int r = ask(ctl, json_pack("{s:s,s:s}", "event", "config", "path", path), &answer);
    return r == CTL_OK && worse(answer) ? CTL_WORSE : r;
}

static int what_if_push(struct ctl *ctl)
{
    json_t *question =
        json_pack("{s:s,s:s,s:O}", "event", "push", "source", ctl->args[1], "paths", ctl->paths);
    if (ctl->ref)
        json_object_set_new(question, "ref", json_string(ctl->ref));
    if (ctl->to)
        json_object_set_new(question, "commit", json_string(ctl->to));
    cleanup_(json_decrefp) json_t *answer = NULL;
    return ask(ctl, question, &answer);
}

static int what_if_config(struct ctl *ctl)
{
    cleanup_free char *path = realpath(ctl->args[1], NULL);
    if (!path)
        return ctl_say(errno == ENOENT ? CTL_NOT_FOUND : CTL_FAILED, "%s: %s", ctl->args[1],
                       strerror(errno));
    cleanup_(json_decrefp) json_t *answer = NULL;
    return ask(ctl, json_pack("{s:s,s:s}", "event", "config", "path", path), &answer);
}

int cmd_what_if(struct ctl *ctl)
{
    const char *event = ctl->args[0];
    bool push = str_eq(event, "push"), board = str_eq(event, "board");
    cleanup_(json_decrefp) json_t *answer = NULL;
    if (!push && (ctl->ref || ctl->to || json_array_size(ctl->paths)))
        return ctl_say(CTL_USAGE, "--ref, --to and --path are what-if push's");
    if (ctl->to && !ctl->ref)
        return ctl_say(CTL_USAGE, "--to says where --ref would be: which ref?");
    if (ctl->to && json_array_size(ctl->paths))
        return ctl_say(CTL_USAGE,
                       "a commit says itself what it changes: --path does not go with --to");
    if (board != ctl->lost)
        return ctl_say(CTL_USAGE, "usage: sheafctl what-if board NAME --lost");
    if (push)
        return what_if_push(ctl);
    if (board)
        return ask(ctl, json_pack("{s:s,s:s}", "event", event, "board", ctl->args[1]), &answer);
    if (str_eq(event, "base"))
        return ask(ctl, json_pack("{s:s,s:s}", "event", event, "reference", ctl->args[1]), &answer);
    if (str_eq(event, "config"))
        return what_if_config(ctl);
    return ctl_say(CTL_USAGE, "what-if takes push, base, config or board");
}
