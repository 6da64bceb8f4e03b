/* sheaf-git-worker: does for sheafd what needs libgit2, one request after the other, and is killed when it
 * takes too long. */
#include "daemon/git_worker_int.h"

#include "common/json.h"
#include "common/log.h"
#include "daemon/git_protocol.h"
#include "sheaf-config.h"

#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <malloc.h>

#define GIB ((int64_t)1 << 30)

typedef int (*op_fn)(const struct git_worker *worker, json_t *request, json_t *answer,
                     struct err *err);

static const struct {
    const char *name;
    op_fn run;
} operations[] = {
    {"list", git_op_list},         {"fetch", git_op_fetch},     {"inspect", git_op_inspect},
    {"ancestor", git_op_ancestor}, {"archive", git_op_archive},
};

static op_fn find_operation(const char *name)
{
    for (size_t i = 0; i < sizeof(operations) / sizeof(*operations); i++) {
        if (str_eq(operations[i].name, name))
            return operations[i].run;
    }
    return NULL;
}

/* Members that are null are as if they were not there. */
static void drop_nulls(json_t *object)
{
    void *next;
    const char *name;
    json_t *value;
    json_object_foreach_safe(object, next, name, value)
    {
        if (json_is_null(value))
            json_object_del(object, name);
        else if (json_is_object(value))
            drop_nulls(value);
    }
}

/* Runs one request; the id is 0 for a line that has none. */
static int run_request(const struct git_worker *worker, const char *line, size_t n, int64_t *ret_id,
                       json_t *answer, struct err *err)
{
    cleanup_json json_t *request = NULL;
    const char *name;
    int r = json_parse(line, n, GIT_REQUEST_MAX, &request, err);
    if (r == 0)
        r = json_get_int(request, "id", 0, INT64_MAX, ret_id, err);
    if (r == 0)
        r = json_get_string(request, "op", &name, err);
    if (r < 0) {
        const struct err why = *err;
        return err_set(err, -EINVAL, "bad request: %s", why.text);
    }
    op_fn run = find_operation(name);
    if (!run)
        return err_set(err, -EINVAL, "bad request: there is no operation '%s'", name);
    json_object_del(request, "op");
    json_object_del(request, "id");
    drop_nulls(request);
    return run(worker, request, answer, err);
}

static json_t *failure(const struct err *err)
{
    cleanup_free char *text = git_worker_name_text(err->text);
    return json_pack("{s:b, s:s, s:b, s:s}", "ok", 0, "error", text, "retryable", err->retryable,
                     "code", git_code_name(err->code));
}

static int answer_line(const struct git_worker *worker, const char *line, size_t n)
{
    cleanup_json json_t *answer = json_object();
    struct err err = ERR_INIT;
    int64_t id = 0;
    if (run_request(worker, line, n, &id, answer, &err) < 0) {
        json_decref(answer);
        answer = failure(&err);
    } else {
        json_object_set_new(answer, "ok", json_true());
    }
    json_object_set_new(answer, "id", json_integer(id));
    if (json_dumpf(answer, stdout, JSON_COMPACT) < 0 || fputc('\n', stdout) == EOF ||
        fflush(stdout) == EOF)
        return -EPIPE;
    return 0;
}

/* Until sheafd closes our standard input. */
static int serve(const struct git_worker *worker)
{
    cleanup_free char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    while ((n = getline(&line, &cap, stdin)) > 0) {
        if (answer_line(worker, line, (size_t)n) < 0)
            return 1;
        malloc_trim(1 << 20); /* what a fetch took is given back; a list leaves nothing to give */
    }
    return 0;
}

/* ---- arguments ---- */

static const struct option options[] = {
    {"state", required_argument, NULL, 's'},
    {"ssh", required_argument, NULL, 'k'},
    {"ca", required_argument, NULL, 'c'},
    {"mirror-limit", required_argument, NULL, 'm'},
    {"fetch-limit", required_argument, NULL, 'f'},
    {"blob-limit", required_argument, NULL, 'b'},
    {"context-limit", required_argument, NULL, 'x'},
    {0},
};

static int usage(void)
{
    fputs("usage: sheaf-git-worker --state DIR [--ssh DIR] [--ca FILE] [--mirror-limit BYTES]\n"
          "           [--fetch-limit BYTES] [--blob-limit BYTES] [--context-limit BYTES]\n"
          "It is started by sheafd, and speaks JSON lines.\n",
          stderr);
    return 2;
}

static bool parse_size(const char *text, int64_t *ret)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || *end || end == text || value <= 0)
        return false;
    *ret = value;
    return true;
}

static bool take_option(struct git_worker *worker, int option, char *value)
{
    switch (option) {
    case 's':
        worker->state_dir = value;
        return value[0] == '/' && !str_ends(value, "/");
    case 'k':
        worker->ssh_dir = value;
        return value[0] == '/';
    case 'c':
        worker->ca_file = value;
        return true;
    case 'm':
        return parse_size(value, &worker->mirror_limit);
    case 'f':
        return parse_size(value, &worker->fetch_limit);
    case 'b':
        return parse_size(value, &worker->blob_limit);
    case 'x':
        return parse_size(value, &worker->context_limit);
    default:
        return false;
    }
}

int main(int argc, char **argv)
{
    struct git_worker worker = {.mirror_limit = 4 * GIB,
                                .fetch_limit = 4 * GIB,
                                .blob_limit = GIB / 2,
                                .context_limit = GIB};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (!take_option(&worker, option, optarg))
            return usage();
    }
    if (!worker.state_dir || optind != argc)
        return usage();
    struct err err = ERR_INIT;
    setlocale(LC_CTYPE, "C.UTF-8"); /* libarchive writes names by it */
    git_worker_confine(worker.state_dir, worker.blob_limit);
    if (git_worker_setup(&worker, &err) < 0) {
        log_error("git worker: %s", err.text);
        return 1;
    }
    return serve(&worker);
}
