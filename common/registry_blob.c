/* Blobs: asking for them, fetching and mounting them. registry_upload.c brings them in. */
#include "common/fd.h"
#include "common/registry_internal.h"

#include <errno.h>
#include <inttypes.h>

static bool names_ok(struct registry_op *op, const char *digest)
{
    if (digest_valid(digest) && registry_name_ok(op->repository))
        return true;
    op_fail_with(op, -EINVAL, false, "bad repository or digest");
    return false;
}

/* ---- HEAD ---- */

static void after_head(struct registry_op *op, struct http_response *response,
                       const struct err *err)
{
    const char *length;
    if (err || !http_response_ok(response)) {
        op_fail_answer(op, response, err);
        return;
    }
    length = http_response_header(response, "Content-Length");
    op->result.size = length ? strtoll(length, NULL, 10) : -1;
    op_succeed(op);
}

struct registry_op *registry_blob_head(struct registry *r, const char *repository,
                                       const char *digest, registry_done_fn done, void *arg)
{
    struct registry_op *op = op_new(r, repository, xasprintf("blob %.80s", digest), done, arg);
    cleanup_free char *path = xasprintf("/v2/%s/blobs/%s", repository, digest);
    if (!names_ok(op, digest))
        return op;
    strcpy(op->result.digest, digest);
    op_call(op, &(struct registry_call){.method = "HEAD", .path = path, .actions = ACTION_PULL},
            after_head);
    return op;
}

/* ---- GET ---- */

struct get {
    char digest[DIGEST_SIZE];
    int64_t size; /* -1: not known */
    struct http_sink sink;
    struct digest running;
    int64_t offset; /* bytes that the sink took */
    int64_t skip;   /* bytes of this answer that the sink has already */
    int64_t began;  /* offset at the last attempt */
    int failures;
    char wrong[128]; /* why an answer was given up */
};

static void get_free(struct registry_op *op)
{
    struct get *get = op->state;
    digest_done(&get->running);
    free(get);
}

static int to_sink(struct registry_op *op, const char *data, size_t n)
{
    struct get *get = op->state;
    struct strbuf *body = &op->result.body;
    if (get->sink.kind == HTTP_SINK_PUSH)
        return get->sink.push(op->arg, data, n);
    if (get->sink.kind == HTTP_SINK_FD)
        return fd_write_all(get->sink.fd, data, n);
    if (n > get->sink.limit - body->n)
        return -EMSGSIZE;
    strbuf_addn(body, data, n);
    return 0;
}

static int on_blob(void *arg, const char *data, size_t n)
{
    struct registry_op *op = arg;
    struct get *get = op->state;
    if (*get->wrong)
        return -EBADMSG;
    if (get->skip >= (int64_t)n) {
        get->skip -= (int64_t)n;
        return 0;
    }
    data += get->skip;
    n -= (size_t)get->skip;
    if (get->size >= 0 && (int64_t)n > get->size - get->offset) {
        snprintf(get->wrong, sizeof(get->wrong), "it is longer than %" PRId64 " bytes", get->size);
        return -EBADMSG;
    }
    int r = to_sink(op, data, n);
    if (r < 0)
        return r; /* -EAGAIN: the same bytes come again, what is skipped included */
    get->skip = 0;
    get->offset += (int64_t)n;
    digest_update(&get->running, data, n);
    return 0;
}

static void on_get_response(struct registry_op *op, const struct http_response *response)
{
    struct get *get = op->state;
    const char *range = http_response_header(response, "Content-Range");
    int64_t from = -1;
    get->skip = 0;
    if (response->status == 200)
        get->skip = get->offset; /* it does not do ranges: from the beginning */
    else if (response->status == 206 &&
             (!range || sscanf(range, "bytes %" SCNd64, &from) != 1 || from != get->offset))
        snprintf(get->wrong, sizeof(get->wrong), "not the range that was asked for");
}

static void get_send(struct registry_op *op);

static void on_get_again(uv_timer_t *timer)
{
    get_send(timer->data);
}

/* Goes on where it broke. Only failures without a byte between them count. */
static bool get_again(struct registry_op *op, const struct http_response *response)
{
    struct get *get = op->state;
    if (get->offset > get->began)
        get->failures = 0;
    int64_t ms = retry_delay(op->registry, ++get->failures, response);
    if (ms >= 0)
        op_later(op, ms, on_get_again);
    return ms >= 0;
}

static void get_finish(struct registry_op *op)
{
    struct get *get = op->state;
    digest_final(&get->running, op->result.digest);
    op->result.size = get->offset;
    if (strcmp(op->result.digest, get->digest) == 0)
        op_succeed(op);
    else
        op_fail_with(op, -EBADMSG, true, "the content's digest is %s", op->result.digest);
}

static void after_get(struct registry_op *op, struct http_response *response, const struct err *err)
{
    struct get *get = op->state;
    bool ok = !err && http_response_ok(response);
    bool cut = ok && get->size >= 0 && get->offset < get->size;
    if (*get->wrong) {
        op_fail_with(op, -EBADMSG, true, "%s", get->wrong);
        return;
    }
    if ((cut || (!ok && retry_makes_sense(response, err))) && get_again(op, response))
        return;
    if (cut)
        op_fail_with(op, -EBADMSG, true, "it ends after %" PRId64 " of %" PRId64 " bytes",
                     get->offset, get->size);
    else if (ok)
        get_finish(op);
    else
        op_fail_answer(op, response, err);
}

static void get_send(struct registry_op *op)
{
    struct get *get = op->state;
    cleanup_free char *path = xasprintf("/v2/%s/blobs/%s", op->repository, get->digest);
    cleanup_free char *range = xasprintf("Range: bytes=%" PRId64 "-", get->offset);
    const char *headers[] = {get->offset > 0 ? range : NULL, NULL};
    get->began = get->offset;
    op_call(op,
            &(struct registry_call){
                .method = "GET",
                .path = path,
                .headers = headers,
                .sink = http_sink_push(on_blob),
                .actions = ACTION_PULL,
                .once = true,
            },
            after_get);
}

struct registry_op *registry_blob_get(struct registry *r, const char *repository,
                                      const char *digest, int64_t size, struct http_sink sink,
                                      registry_done_fn done, void *arg)
{
    struct registry_op *op = op_new(r, repository, xasprintf("blob %.80s", digest), done, arg);
    struct get *get = xnew(struct get);
    get->size = size;
    get->sink = sink;
    digest_init(&get->running);
    op->state = get;
    op->state_free = get_free;
    op->on_response = on_get_response;
    if (!names_ok(op, digest))
        return op;
    strcpy(get->digest, digest);
    get_send(op);
    return op;
}

/* ---- mount ---- */

static void after_session_deleted(struct registry_op *op, struct http_response *response,
                                  const struct err *err)
{
    op_succeed(op); /* a session that stays expires by itself */
}

static void after_mount(struct registry_op *op, struct http_response *response,
                        const struct err *err)
{
    const char *location;
    if (err || (!http_response_ok(response) && retry_makes_sense(response, NULL))) {
        op_fail_answer(op, response, err);
        return;
    }
    op->result.mounted = response->status == 201;
    location = http_response_header(response, "Location");
    if (response->status != 202 || !location) {
        op_succeed(op);
        return;
    }
    cleanup_free char *session = registry_resolve(op->registry, response->url, location);
    op_call(op,
            &(struct registry_call){.method = "DELETE",
                                    .path = session,
                                    .actions = ACTION_PULL | ACTION_PUSH,
                                    .once = true},
            after_session_deleted);
}

struct registry_op *registry_blob_mount(struct registry *r, const char *repository,
                                        const char *from, const char *digest, registry_done_fn done,
                                        void *arg)
{
    struct registry_op *op =
        op_new(r, repository, xasprintf("mount of blob %.80s", digest), done, arg);
    struct strbuf path = {0};
    strbuf_addf(&path, "/v2/%s/blobs/uploads/?mount=%s&from=", repository, digest);
    registry_add_encoded(&path, from);
    if (names_ok(op, digest)) {
        strcpy(op->result.digest, digest);
        op_call(op,
                &(struct registry_call){.method = "POST",
                                        .path = path.s,
                                        .actions = ACTION_PULL | ACTION_PUSH,
                                        .from = from},
                after_mount);
    }
    strbuf_done(&path);
    return op;
}
