/* From a worker's line to the structs of git_pool.h, strictly: the worker is ours, but it reads what is not. */
#include "common/json.h"
#include "daemon/git_pool_int.h"

/* Whatever is wrong with an answer, the two programs do not understand each other. */
static int not_understood(struct err *err)
{
    const struct err why = *err;
    return err_set_retryable(err, -EPROTO, true, "git: the worker's answer: %s", why.text);
}

/* ---- the line ---- */

static int worker_failure(json_t *answer, struct err *err)
{
    const char *text, *code;
    int retryable;
    if (json_unpack_strict(answer, err, "{s:s, s:b, s:s}", "error", &text, "retryable", &retryable,
                           "code", &code) < 0)
        return -EPROTO;
    return err_set_retryable(err, git_code_errno(code), retryable, "%s", text);
}

static int parse(const char *line, size_t n, int64_t id, json_t **ret_answer, struct err *err)
{
    cleanup_json json_t *answer = NULL;
    int64_t theirs;
    bool ok;
    if (json_parse(line, n, GIT_ANSWER_MAX, &answer, err) < 0 ||
        json_get_int(answer, "id", 0, INT64_MAX, &theirs, err) < 0 ||
        json_get_bool(answer, "ok", &ok, err) < 0)
        return -EPROTO;
    if (theirs != id)
        return err_set(err, -EPROTO, "it answers another question");
    json_object_del(answer, "id");
    json_object_del(answer, "ok");
    if (!ok)
        return worker_failure(answer, err);
    *ret_answer = steal_ptr(answer);
    return 0;
}

int git_answer_parse(const char *line, size_t n, int64_t id, json_t **ret_answer, struct err *err)
{
    int r = parse(line, n, id, ret_answer, err);
    return r == -EPROTO ? not_understood(err) : r;
}

/* ---- fields ---- */

static int take_oid(const char *text, char ret[GIT_OID_SIZE], struct err *err)
{
    if (strlen(text) != GIT_OID_SIZE - 1 || text[strspn(text, "0123456789abcdef")])
        return err_set(err, -EPROTO, "'%s' is no object id", text);
    memcpy(ret, text, GIT_OID_SIZE);
    return 0;
}

/* ---- list ---- */

static int take_ref(json_t *json, struct git_list_result *result, struct err *err)
{
    struct git_ref ref = {0};
    const char *name, *oid, *peeled;
    int r = json_unpack_strict(json, err, "{s:s, s:s, s:s}", "name", &name, "oid", &oid, "peeled",
                               &peeled);
    if (r == 0)
        r = take_oid(oid, ref.oid, err);
    if (r == 0)
        r = take_oid(peeled, ref.peeled, err);
    if (r < 0)
        return r;
    ref.name = xstrdup(name);
    vec_push(&result->refs, ref);
    return 0;
}

static int take_list(json_t *answer, struct git_list_result *result, struct err *err)
{
    json_t *refs, *ref, *head;
    json_int_t total;
    size_t i;
    int r = json_unpack_strict(answer, err, "{s:o, s:I, s:o}", "refs", &refs, "total", &total,
                               "head", &head);
    if (r < 0)
        return r;
    result->total = (size_t)total;
    result->head = xstrdup(json_string_value(head));
    json_array_foreach (refs, i, ref) {
        if ((r = take_ref(ref, result, err)) < 0)
            return r;
    }
    return 0;
}

static void list_done(struct git_list_result *result)
{
    VEC_FOREACH (&result->refs, ref) {
        free(ref->name);
    }
    vec_free(&result->refs);
    free(result->head);
}

static void deliver_list(struct git_request *request, struct err *err)
{
    struct git_list_result result = {0};
    if (!err->code && take_list(request->answer, &result, err) < 0)
        err->code = not_understood(err);
    request->cb.list(err->code ? NULL : &result, err, request->userdata);
    list_done(&result);
}

/* ---- fetch ---- */

static int take_fetched(json_t *json, struct git_fetch_result *result, struct err *err)
{
    struct git_fetched fetched = {0};
    const char *name, *oid, *commit;
    json_int_t time;
    int r = json_unpack_strict(json, err, "{s:s, s:s, s:s, s:I}", "name", &name, "oid", &oid,
                               "commit", &commit, "time", &time);
    if (r == 0)
        r = take_oid(oid, fetched.oid, err);
    if (r == 0)
        r = take_oid(commit, fetched.commit, err);
    if (r < 0)
        return r;
    fetched.name = xstrdup(name);
    fetched.time = time;
    vec_push(&result->fetched, fetched);
    return 0;
}

static int take_refused(json_t *json, struct git_fetch_result *result, struct err *err)
{
    struct git_refused refused = {0};
    const char *name, *oid, *text;
    int r = json_unpack_strict(json, err, "{s:s, s:s, s:s}", "name", &name, "oid", &oid, "error",
                               &text);
    if (r == 0)
        r = take_oid(oid, refused.oid, err);
    if (r < 0)
        return r;
    refused.name = xstrdup(name);
    refused.text = xstrdup(text);
    vec_push(&result->refused, refused);
    return 0;
}

static int take_fetch(json_t *answer, struct git_fetch_result *result, struct err *err)
{
    json_t *fetched, *missing, *refused, *item;
    size_t i;
    int r = json_unpack_strict(answer, err, "{s:o, s:o, s:o}", "fetched", &fetched, "missing",
                               &missing, "refused", &refused);
    if (r < 0)
        return r;
    json_array_foreach (fetched, i, item) {
        if ((r = take_fetched(item, result, err)) < 0)
            return r;
    }
    json_array_foreach (refused, i, item) {
        if ((r = take_refused(item, result, err)) < 0)
            return r;
    }
    json_array_foreach (missing, i, item) {
        if (json_is_string(item))
            strvec_add(&result->missing, json_string_value(item));
    }
    return 0;
}

static void fetch_done(struct git_fetch_result *result)
{
    VEC_FOREACH (&result->fetched, fetched) {
        free(fetched->name);
    }
    vec_free(&result->fetched);
    VEC_FOREACH (&result->refused, refused) {
        free(refused->name);
        free(refused->text);
    }
    vec_free(&result->refused);
    strvec_done(&result->missing);
}

static void deliver_fetch(struct git_request *request, struct err *err)
{
    struct git_fetch_result result = {0};
    if (!err->code && take_fetch(request->answer, &result, err) < 0)
        err->code = not_understood(err);
    request->cb.fetch(err->code ? NULL : &result, err, request->userdata);
    fetch_done(&result);
}

/* ---- inspect ---- */

static int take_context(json_t *answer, struct git_inspect_result *result, struct err *err)
{
    const char *id, *blob = NULL, *note = NULL;
    json_t *dockerfile;
    json_int_t size, entries, time;
    int exists, touched;
    int r = json_unpack_strict(answer, err, "{s:b, s:I, s:s, s:I, s:I, s:b, s:o, s?s, s?s}",
                               "exists", &exists, "time", &time, "context_id", &id, "size", &size,
                               "entries", &entries, "touched", &touched, "dockerfile", &dockerfile,
                               "dockerfile_blob", &blob, "note", &note);
    if (r == 0 && !digest_valid(id))
        r = err_set(err, -EPROTO, "'%s' is no digest", id);
    if (r == 0 && blob)
        r = take_oid(blob, result->dockerfile_blob, err);
    if (r < 0)
        return r;
    memcpy(result->context_id, id, DIGEST_SIZE);
    result->dockerfile = xstrdup(json_string_value(dockerfile));
    result->size = size;
    result->entries = entries;
    result->touched = touched;
    result->note = xstrdup(note);
    return 0;
}

static int take_inspect(json_t *answer, struct git_inspect_result *result, struct err *err)
{
    int r = json_get_bool(answer, "exists", &result->exists, err);
    if (r == 0)
        r = json_get_int(answer, "time", INT64_MIN, INT64_MAX, &result->time, err);
    return r == 0 && result->exists ? take_context(answer, result, err) : r;
}

static void deliver_inspect(struct git_request *request, struct err *err)
{
    struct git_inspect_result result = {0};
    if (!err->code && take_inspect(request->answer, &result, err) < 0)
        err->code = not_understood(err);
    request->cb.inspect(err->code ? NULL : &result, err, request->userdata);
    free(result.dockerfile);
    free(result.note);
}

/* ---- the others ---- */

static void deliver_ancestor(struct git_request *request, struct err *err)
{
    bool ancestor = false;
    if (!err->code && json_get_bool(request->answer, "ancestor", &ancestor, err) < 0)
        err->code = not_understood(err);
    request->cb.ancestor(err->code ? NULL : &ancestor, err, request->userdata);
}

static void deliver_archive(struct git_request *request, struct err *err)
{
    int64_t size = 0;
    if (!err->code && json_get_int(request->answer, "size", 0, INT64_MAX, &size, err) < 0)
        err->code = not_understood(err);
    request->cb.archive(err->code ? NULL : &size, err, request->userdata);
}

void git_answer_deliver(struct git_request *request)
{
    static void (*const deliver[])(struct git_request *, struct err *) = {
        [GIT_OP_LIST] = deliver_list,       [GIT_OP_FETCH] = deliver_fetch,
        [GIT_OP_INSPECT] = deliver_inspect, [GIT_OP_ANCESTOR] = deliver_ancestor,
        [GIT_OP_ARCHIVE] = deliver_archive,
    };
    deliver[request->op](request, &request->err);
}
