/* The operations on a mirror that speak to nobody. */
#include "common/json.h"
#include "daemon/git_protocol.h"
#include "daemon/git_worker_int.h"

#include <errno.h>

/* The context folder as the tree names it: no slash at either end, no "." or "..". */
static int clean_context(const char *context, char **ret, struct err *err)
{
    struct strbuf out = {0};
    for (const char *s = context; *s;) {
        size_t n = strcspn(s, "/");
        if (n == 2 && str_starts(s, "..")) {
            strbuf_done(&out);
            return err_set(err, -EINVAL, "the context '%s' leads out of the source", context);
        }
        if (n > 0 && !(n == 1 && *s == '.')) {
            strbuf_add(&out, out.n ? "/" : "");
            strbuf_addn(&out, s, n);
        }
        s += n + (s[n] == '/');
    }
    *ret = strbuf_steal(&out);
    return 0;
}

/* Opens the mirror and reads the context of one request. */
static int open_context(const struct git_worker *worker, const char *mirror,
                        struct git_context_args *args, struct git_mirror *opened, bool *ret_exists,
                        struct git_context *ret, struct err *err)
{
    cleanup_free char *folder = NULL;
    int r = clean_context(args->context, &folder, err);
    if (r == 0)
        r = git_mirror_open(worker, mirror, opened, err);
    if (r < 0)
        return r;
    args->context = folder;
    r = git_context_read(worker, opened->repo, args, ret_exists, ret, err);
    args->context = NULL;
    return r;
}

static int answer_dockerfile(const struct git_context *context, json_t *answer, struct err *err)
{
    if (!context->dockerfile) {
        json_object_set_new(answer, "dockerfile", json_null());
        return 0;
    }
    char blob[GIT_OID_SIZE];
    json_t *text = json_string(context->dockerfile);
    if (!text)
        return err_set(err, -EINVAL, "the Dockerfile is not UTF-8");
    json_object_set_new(answer, "dockerfile", text);
    git_oid_tostr(blob, sizeof(blob), &context->dockerfile_id);
    json_object_set_new(answer, "dockerfile_blob", json_string(blob));
    return 0;
}

static int answer_context(const struct git_context *context, json_t *answer, struct err *err)
{
    char id[72];
    git_context_id(context, id);
    json_object_set_new(answer, "context_id", json_string(id));
    json_object_set_new(answer, "size", json_integer(context->size));
    json_object_set_new(answer, "entries", json_integer((json_int_t)context->entries.n));
    json_object_set_new(answer, "touched", json_boolean(context->touched));
    if (context->submodules > 0) {
        cleanup_free char *note =
            xasprintf("%zu submodule%s (%s%s): submodules are not fetched, their folders are empty",
                      context->submodules, context->submodules > 1 ? "s" : "",
                      context->first_submodule, context->submodules > 1 ? ", ..." : "");
        json_object_set_new(answer, "note", json_string(note));
    }
    return answer_dockerfile(context, answer, err);
}

static int take_paths(const json_t *list, strvec *ret, struct err *err)
{
    size_t i;
    const json_t *path;
    if (!json_is_array(list))
        return err_set(err, -EINVAL, "bad request: paths");
    json_array_foreach (list, i, path) {
        if (!json_is_string(path))
            return err_set(err, -EINVAL, "bad request: paths");
        strvec_add(ret, json_string_value(path));
    }
    return 0;
}

int git_op_inspect(const struct git_worker *worker, json_t *request, json_t *answer,
                   struct err *err)
{
    struct git_context_args args = {0};
    const char *mirror;
    json_t *list = NULL;
    cleanup_strvec strvec paths = {0};
    int r = json_unpack_strict(request, err, "{s:s, s:s, s:s, s?s, s?o}", "mirror", &mirror,
                               "commit", &args.commit, "context", &args.context, "dockerfile",
                               &args.dockerfile, "paths", &list);
    if (r == 0 && list)
        r = take_paths(list, &paths, err);
    if (r < 0)
        return r;
    args.paths = &paths;
    struct git_mirror opened = GIT_MIRROR_INIT;
    struct git_context context = {0};
    bool exists = false;
    r = open_context(worker, mirror, &args, &opened, &exists, &context, err);
    json_object_set_new(answer, "exists", json_boolean(exists));
    json_object_set_new(answer, "time", json_integer(context.time));
    if (r == 0 && exists)
        r = answer_context(&context, answer, err);
    git_context_done(&context);
    git_mirror_close(&opened);
    return r;
}

int git_op_archive(const struct git_worker *worker, json_t *request, json_t *answer,
                   struct err *err)
{
    struct git_context_args args = {.keep_dockerfile = true};
    const char *mirror, *output;
    json_int_t epoch = 0;
    int r = json_unpack_strict(request, err, "{s:s, s:s, s:s, s:s, s?s, s?I}", "mirror", &mirror,
                               "commit", &args.commit, "context", &args.context, "output", &output,
                               "dockerfile", &args.dockerfile, "epoch", &epoch);
    if (r == 0)
        r = git_worker_check_path(worker, output, err);
    if (r < 0)
        return r;
    struct git_mirror opened = GIT_MIRROR_INIT;
    struct git_context context = {0};
    bool exists = false;
    int64_t size = 0;
    r = open_context(worker, mirror, &args, &opened, &exists, &context, err);
    if (r == 0 && !exists)
        r = err_set(err, -ENOENT, "the commit has no such context folder");
    if (r == 0)
        r = git_archive_write(opened.repo, &context, epoch, output, &size, err);
    json_object_set_new(answer, "size", json_integer(size));
    git_context_done(&context);
    git_mirror_close(&opened);
    return r;
}

static int parse_id(const char *hex, git_oid *ret, struct err *err)
{
    if (strlen(hex) != GIT_OID_SIZE - 1 || git_oid_fromstr(ret, hex) < 0)
        return err_set(err, -EINVAL, "bad request: %s is no commit id", hex);
    return 0;
}

/* 1 when `old` is an ancestor of `new`, or the same. */
static int is_ancestor(git_repository *repo, const char *old, const char *new, struct err *err)
{
    git_oid old_id, new_id;
    int r = parse_id(old, &old_id, err);
    if (r == 0)
        r = parse_id(new, &new_id, err);
    if (r < 0)
        return r;
    if (git_oid_equal(&old_id, &new_id))
        return 1;
    r = git_graph_descendant_of(repo, &new_id, &old_id);
    return r < 0 ? git_worker_error(err, r, false, "cannot compare %s and %s", old, new) : r;
}

int git_op_ancestor(const struct git_worker *worker, json_t *request, json_t *answer,
                    struct err *err)
{
    const char *mirror, *old, *new;
    int r = json_unpack_strict(request, err, "{s:s, s:s, s:s}", "mirror", &mirror, "old", &old,
                               "new", &new);
    if (r < 0)
        return r;
    struct git_mirror opened = GIT_MIRROR_INIT;
    r = git_mirror_open(worker, mirror, &opened, err);
    if (r == 0)
        r = is_ancestor(opened.repo, old, new, err);
    git_mirror_close(&opened);
    if (r < 0)
        return r;
    json_object_set_new(answer, "ancestor", json_boolean(r == 1));
    return 0;
}
