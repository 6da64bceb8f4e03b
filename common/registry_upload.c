/* Bringing a blob into a repository.
 *
 * The happy path: HEAD says that it is not there; a POST opens a session (or mounts, and that is all);
 * one PUT sends everything. Or, in chunks: a PATCH each, then an empty PUT.
 *
 * Failure modes. A request breaks off, or 5xx, 429: after a back-off a GET of the session says how much
 * arrived, and PATCHes go on from there. 416: the same at once. The session is gone: from the top; the
 * HEAD then also sees a PUT whose answer was lost. 413: smaller chunks. The registry refuses the digest:
 * over. Whatever ends it early, the session is deleted.
 *
 * Each answer's Location replaces the last, and is never taken apart. */
#include "common/registry_internal.h"

#include <errno.h>
#include <inttypes.h>

#define CHUNK_AFTER_413 (4 * 1024 * 1024)
#define CHUNK_LEAST     (256 * 1024)

struct upload {
    struct registry *registry;
    char *repository;
    char digest[DIGEST_SIZE];
    struct http_body body; /* .data is owned */
    char *mount_from;      /* NULL once it was tried */
    int64_t chunk;         /* 0: all in one PUT */
    int64_t least;         /* the registry's own smallest chunk */
    char *session;         /* where it goes on, NULL while there is none */
    int64_t offset;        /* bytes that the registry has */
    int64_t end;           /* of what the call under way sends */
    int failures;
};

static void start(struct registry_op *op);
static void go_on(struct registry_op *op);
static void ask_session(struct registry_op *op);

/* ---- the end ---- */

static void after_abandoned(struct registry_op *op, struct http_response *response,
                            const struct err *err)
{
    op_succeed(op);
}

static void abandon(const struct upload *u)
{
    struct registry_op *op =
        op_new(u->registry, u->repository, xstrdup("end of an upload"), NULL, NULL);
    op_call(op,
            &(struct registry_call){.method = "DELETE",
                                    .path = u->session,
                                    .actions = ACTION_PULL | ACTION_PUSH,
                                    .once = true},
            after_abandoned);
}

static void upload_free(struct registry_op *op)
{
    struct upload *u = op->state;
    if (u->session && !u->registry->closed)
        abandon(u);
    free(u->repository);
    free((void *)u->body.data);
    free(u->mount_from);
    free(u->session);
    free(u);
}

static void finish(struct registry_op *op)
{
    struct upload *u = op->state;
    str_replace(&u->session, NULL);
    op_succeed(op);
}

/* ---- trouble ---- */

static void on_restart(uv_timer_t *timer)
{
    start(timer->data);
}

static void on_ask(uv_timer_t *timer)
{
    ask_session(timer->data);
}

/* Counts a failure and goes on by `then` after a back-off, or fails with what the answer says. */
static void again(struct registry_op *op, const struct http_response *response,
                  const struct err *err, uv_timer_cb then)
{
    struct upload *u = op->state;
    int64_t ms = retry_delay(op->registry, ++u->failures, err ? NULL : response);
    if (ms >= 0)
        op_later(op, ms, then);
    else
        op_fail_answer(op, response, err);
}

static void restart(struct registry_op *op, const struct http_response *response)
{
    struct upload *u = op->state;
    str_replace(&u->session, NULL);
    u->offset = 0;
    again(op, response, NULL, on_restart);
}

/* A PATCH or PUT did not do. */
static void recover(struct registry_op *op, const struct http_response *response,
                    const struct err *err)
{
    struct upload *u = op->state;
    bool smaller = !u->chunk || u->chunk > CHUNK_LEAST;
    if (err || retry_makes_sense(response, NULL)) {
        if (!err || err->retryable)
            again(op, response, err, on_ask);
        else
            op_fail(op, err);
    } else if (response->status == 413 && smaller && u->body.length > CHUNK_LEAST) {
        u->chunk = u->chunk ? u->chunk / 4 : CHUNK_AFTER_413;
        if (u->chunk > u->body.length)
            u->chunk = u->body.length / 2;
        again(op, response, NULL, on_ask);
    } else if (response->status == 416) {
        again(op, response, NULL, on_ask);
    } else if (response->status == 404) {
        restart(op, response);
    } else {
        op_fail_answer(op, response, NULL);
    }
}

/* ---- the session ---- */

static void take_location(struct registry_op *op, const struct http_response *response)
{
    struct upload *u = op->state;
    const char *location = http_response_header(response, "Location");
    if (!location)
        return;
    char *next = registry_resolve(op->registry, response->url, location);
    free(u->session);
    u->session = next;
}

/* The bytes that the registry has according to `Range: 0-N` (N inclusive), -1 if it does not say. Of 0-0
 * nobody knows whether it means one byte or none; a blob of which one byte has arrived is rarer. */
static int64_t range_of(const struct http_response *response)
{
    const char *range = http_response_header(response, "Range");
    int64_t from = 0, to = -1;
    if (range && str_starts(range, "bytes="))
        range += strlen("bytes=");
    if (!range || sscanf(range, "%" SCNd64 "-%" SCNd64, &from, &to) != 2 || from != 0 || to < 0 ||
        to == INT64_MAX)
        return -1;
    return to == 0 ? 0 : to + 1;
}

static void after_ask(struct registry_op *op, struct http_response *response, const struct err *err)
{
    struct upload *u = op->state;
    if (err) {
        op_fail(op, err);
        return;
    }
    int64_t has = http_response_ok(response) ? range_of(response) : -1;
    if (has < 0 || has > u->body.length) {
        restart(op, response);
        return;
    }
    if (has > u->offset)
        u->failures = 0;
    u->offset = has;
    take_location(op, response);
    go_on(op);
}

static void ask_session(struct registry_op *op)
{
    struct upload *u = op->state;
    op_call(op,
            &(struct registry_call){
                .method = "GET", .path = u->session, .actions = ACTION_PULL | ACTION_PUSH},
            after_ask);
}

/* ---- sending ---- */

static struct http_body slice(const struct upload *u, int64_t from, int64_t end)
{
    if (u->body.kind == HTTP_BODY_FD)
        return http_body_fd(u->body.fd, u->body.offset + from, end - from);
    return http_body_memory((const char *)u->body.data + from, (size_t)(end - from));
}

static void after_put(struct registry_op *op, struct http_response *response, const struct err *err)
{
    struct upload *u = op->state;
    if (err || !http_response_ok(response)) {
        recover(op, response, err);
        return;
    }
    const char *said = http_response_header(response, "Docker-Content-Digest");
    if (digest_valid(said) && strcmp(said, u->digest) != 0)
        op_fail_with(op, -EBADMSG, true, "the registry took it for %s", said);
    else
        finish(op);
}

static void after_patch(struct registry_op *op, struct http_response *response,
                        const struct err *err)
{
    struct upload *u = op->state;
    if (err || !http_response_ok(response)) {
        recover(op, response, err);
        return;
    }
    int64_t has = range_of(response);
    take_location(op, response);
    if (has < 0)
        has = u->end;
    if (has <= u->offset || has > u->end) {
        restart(op, response); /* nothing arrived, or what we never sent */
        return;
    }
    u->offset = has;
    u->failures = 0;
    go_on(op);
}

static void patch(struct registry_op *op)
{
    struct upload *u = op->state;
    int64_t piece = u->chunk > u->least ? u->chunk : u->least;
    int64_t left = u->body.length - u->offset;
    u->end = u->offset + (u->chunk && piece < left ? piece : left);
    cleanup_free char *range =
        xasprintf("Content-Range: %" PRId64 "-%" PRId64, u->offset, u->end - 1);
    const char *headers[] = {"Content-Type: application/octet-stream", range, NULL};
    op_call(op,
            &(struct registry_call){
                .method = "PATCH",
                .path = u->session,
                .headers = headers,
                .body = slice(u, u->offset, u->end),
                .actions = ACTION_PULL | ACTION_PUSH,
                .once = true,
                .alone = true, /* half of it may have arrived */
            },
            after_patch);
}

/* Ends the session, with all that is still to send. */
static void put(struct registry_op *op)
{
    struct upload *u = op->state;
    cleanup_free char *url = registry_with_query(u->session, "digest", u->digest);
    static const char *const headers[] = {"Content-Type: application/octet-stream", NULL};
    u->end = u->body.length;
    op_call(op,
            &(struct registry_call){
                .method = "PUT",
                .path = url,
                .headers = headers,
                .body = slice(u, u->offset, u->end),
                .actions = ACTION_PULL | ACTION_PUSH,
                .once = true,
                .alone = true, /* half of it may have arrived */
            },
            after_put);
}

static void go_on(struct registry_op *op)
{
    struct upload *u = op->state;
    bool whole = u->offset == 0 && (u->chunk == 0 || u->chunk >= u->body.length);
    if (whole || u->offset == u->body.length)
        put(op);
    else
        patch(op);
}

/* ---- the beginning ---- */

static void open_session(struct registry_op *op);

static void after_open(struct registry_op *op, struct http_response *response,
                       const struct err *err)
{
    struct upload *u = op->state;
    bool tried_mount = u->mount_from;
    str_replace(&u->mount_from, NULL);
    if (!err && tried_mount && response->status >= 400 && !retry_makes_sense(response, NULL)) {
        open_session(op); /* a scope or a repository that it does not have: upload, then */
        return;
    }
    if (err || !http_response_ok(response)) {
        op_fail_answer(op, response, err);
        return;
    }
    if (response->status == 201 && tried_mount) {
        op->result.mounted = true;
        finish(op);
        return;
    }
    const char *least = http_response_header(response, "OCI-Chunk-Min-Length");
    u->least = least ? strtoll(least, NULL, 10) : 0;
    take_location(op, response);
    if (u->session)
        go_on(op);
    else
        op_fail_with(op, -EPROTO, false, "an upload session without a Location");
}

static void open_session(struct registry_op *op)
{
    struct upload *u = op->state;
    cleanup_strbuf struct strbuf path = {0};
    strbuf_addf(&path, "/v2/%s/blobs/uploads/", op->repository);
    if (u->mount_from) {
        strbuf_addf(&path, "?mount=%s&from=", u->digest);
        registry_add_encoded(&path, u->mount_from);
    }
    op_call(op,
            &(struct registry_call){.method = "POST",
                                    .path = path.s,
                                    .actions = ACTION_PULL | ACTION_PUSH,
                                    .from = u->mount_from},
            after_open);
}

static void after_head(struct registry_op *op, struct http_response *response,
                       const struct err *err)
{
    struct upload *u = op->state;
    if (err || retry_makes_sense(response, NULL)) {
        op_fail_answer(op, response, err);
        return;
    }
    if (!http_response_ok(response)) {
        open_session(op);
        return;
    }
    op->result.existed = u->failures == 0;
    finish(op);
}

static void start(struct registry_op *op)
{
    struct upload *u = op->state;
    cleanup_free char *path = xasprintf("/v2/%s/blobs/%s", op->repository, u->digest);
    op_call(op,
            &(struct registry_call){
                .method = "HEAD", .path = path, .actions = ACTION_PULL | ACTION_PUSH},
            after_head);
}

struct registry_op *registry_blob_put(struct registry *r, const struct registry_upload *o,
                                      registry_done_fn done, void *arg)
{
    struct registry_op *op =
        op_new(r, o->repository, xasprintf("blob %.80s", o->digest), done, arg);
    struct upload *u = xnew(struct upload);
    u->registry = r;
    u->repository = xstrdup(o->repository);
    u->body = o->body;
    u->body.data = NULL;
    u->mount_from = xstrdup(o->mount_from);
    u->chunk = o->chunk;
    op->state = u;
    op->state_free = upload_free;
    bool memory = o->body.kind == HTTP_BODY_MEMORY;
    if (!registry_name_ok(o->repository) || !digest_valid(o->digest) ||
        (!memory && o->body.kind != HTTP_BODY_FD)) {
        op_fail_with(op, -EINVAL, false, "bad repository, digest or body");
        return op;
    }
    if (memory)
        u->body.data = xmemdup(o->body.data, (size_t)o->body.length);
    strcpy(u->digest, o->digest);
    strcpy(op->result.digest, o->digest);
    op->result.size = o->body.length;
    start(op);
    return op;
}
