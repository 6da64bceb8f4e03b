/* boards, boards add, sources. */
#include "common/clock.h"
#include "common/mem.h"
#include "ctl/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

/* "amd64 arm64*": native ones, and emulated ones marked. */
static char *platforms_of(const json_t *board)
{
    struct strbuf b = {0};
    size_t i;
    json_t *p;
    json_array_foreach (j_of(board, "platforms"), i, p)
        strbuf_addf(&b, "%s%s", b.n ? " " : "", short_platform(json_string_value(p)));
    json_array_foreach (j_of(board, "emulated"), i, p)
        strbuf_addf(&b, "%s%s (emulated)", b.n ? ", " : "", short_platform(json_string_value(p)));
    return strbuf_steal(&b);
}

static void add_board(struct table *t, const json_t *board, int64_t now)
{
    char ago[FORMAT_MAX], disk[FORMAT_MAX];
    const char *state = j_str(board, "state");
    cleanup_free char *platforms = platforms_of(board);
    json_t *heat = json_object_get(board, "temperature");
    table_cell(t, INK_BOLD, "%s", j_str(board, "name"));
    table_cell(t, state_ink(state), "%s", state);
    table_cell(t, INK_PLAIN, "%s", platforms);
    table_cell(t, INK_PLAIN, "%zu of %" PRId64, json_array_size(j_of(board, "running")),
               j_int(board, "slots", 0));
    if (json_is_number(heat))
        table_cell(t, INK_PLAIN, "%.0f °C", json_number_value(heat));
    else
        table_cell(t, INK_DIM, "-");
    table_cell(t, INK_PLAIN, "%s", format_size(j_int(board, "disk_free", -1), disk));
    table_cell(t, INK_PLAIN, "%s", format_ago(j_int(board, "seen_at", 0), now, ago));
    table_cell(t, INK_DIM, "%s", j_reason(board, "reason"));
}

static int list_boards(struct ctl *ctl)
{
    cleanup_(json_decrefp) json_t *answer = NULL;
    int r = ctl_get(ctl, &answer, "/v1/boards");
    if (r != CTL_OK)
        return r;
    if (ctl->json)
        return ctl_print_json(answer);
    struct table *t =
        table_new("BOARD|STATE|PLATFORMS|BUSY|>HEAT|>DISK FREE|SEEN|REASON", ctl->colors);
    size_t i;
    json_t *board;
    json_array_foreach (j_of(answer, "boards"), i, board)
        add_board(t, board, clock_wall_ms());
    table_print(t, stdout);
    table_free(t);
    return CTL_OK;
}

/* Writes the secret where only its owner reads it, whole or not at all. */
static int write_secret(const char *path, const char *secret)
{
    cleanup_free char *fresh = xasprintf("%s.%d", path, (int)getpid());
    cleanup_close int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return ctl_say(CTL_FAILED, "%s: %s", fresh, strerror(errno));
    cleanup_free char *text = xasprintf("%s\n", secret);
    size_t n = strlen(text);
    if (write(fd, text, n) == (ssize_t)n && fsync(fd) == 0 && rename(fresh, path) == 0)
        return CTL_OK;
    int r = ctl_say(CTL_FAILED, "%s: %s", path, strerror(errno));
    unlink(fresh);
    return r;
}

static int print_file(const char *name, const char *path)
{
    cleanup_(json_decrefp) json_t *json = json_pack("{s:s,s:s}", "name", name, "file", path);
    return ctl_print_json(json);
}

static int add_one(struct ctl *ctl, const char *name)
{
    cleanup_(json_decrefp) json_t *answer = NULL;
    int r = ctl_post(ctl, json_pack("{s:s}", "name", name), &answer, "/v1/boards");
    if (r != CTL_OK)
        return r;
    const char *secret = j_str(answer, "secret");
    if (ctl->file) {
        r = write_secret(ctl->file, secret);
        if (r != CTL_OK)
            return r;
        if (ctl->json) /* the secret is in the file, and nowhere else */
            return print_file(name, ctl->file);
        printf("%s: its secret is in %s\n", name, ctl->file);
        return CTL_OK;
    }
    if (ctl->json)
        return ctl_print_json(answer);
    fprintf(stderr, "sheafctl: %s's secret; it is shown this once:\n", name);
    printf("%s\n", secret);
    return CTL_OK;
}

int cmd_boards(struct ctl *ctl)
{
    if (!ctl->n_args && !ctl->file)
        return list_boards(ctl);
    if (ctl->n_args == 2 && str_eq(ctl->args[0], "add"))
        return add_one(ctl, ctl->args[1]);
    return ctl_say(CTL_USAGE, "boards [add NAME [--file PATH]]");
}

/* What was seen of the sources and does not count yet, or was not seen yet; a line each. */
static void print_awaits(struct ctl *ctl, const json_t *sources)
{
    size_t i, k;
    json_t *source, *it;
    json_array_foreach (sources, i, source)
        json_array_foreach (j_of(source, "awaits"), k, it) {
            print_ink(stdout, ctl->colors, INK_BOLD, "%s", j_str(source, "url"));
            printf(" %s\n", j_str(it, "text"));
        }
}

int cmd_sources(struct ctl *ctl)
{
    cleanup_(json_decrefp) json_t *answer = NULL;
    int r = ctl_get(ctl, &answer, "/v1/sources");
    if (r != CTL_OK)
        return r;
    if (ctl->json)
        return ctl_print_json(answer);
    struct table *t = table_new("SOURCE|STATE|>REFS|POLLED|EVERY|ERROR", ctl->colors);
    size_t i;
    json_t *source;
    json_array_foreach (j_of(answer, "sources"), i, source) {
        char ago[FORMAT_MAX], every[FORMAT_MAX];
        const char *state = j_str(source, "state");
        table_cell(t, INK_BOLD, "%s", j_str(source, "url"));
        table_cell(t, state_ink(state), "%s", state);
        table_cell(t, INK_PLAIN, "%" PRId64, j_int(source, "refs", 0));
        table_cell(t, INK_PLAIN, "%s",
                   format_ago(j_int(source, "polled_at", 0), clock_wall_ms(), ago));
        table_cell(t, INK_PLAIN, "%s", format_duration(j_int(source, "poll_ms", -1), every));
        table_cell(t, INK_DIM, "%s", j_str(source, "error"));
    }
    table_print(t, stdout);
    table_free(t);
    print_awaits(ctl, j_of(answer, "sources"));
    return CTL_OK;
}
