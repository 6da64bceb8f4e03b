/* Manifests, tags and the ping. */
#include "common/registry_internal.h"

#include "common/json.h"

#include <errno.h>

#define TAGS_MAX      100000
#define TAGS_PAGE_MAX (4 * 1024 * 1024)

static const char *const accept_manifests[] = {"Accept: " OCI_ACCEPT, NULL};

static void call_manifest(struct registry_op *op, const char *method, const char *reference,
                          registry_next_fn after)
{
    cleanup_free char *path = xasprintf("/v2/%s/manifests/%s", op->repository, reference);
    op_call(op,
            &(struct registry_call){
                .method = method,
                .path = path,
                .headers = accept_manifests,
                .sink = http_sink_memory(OCI_MANIFEST_MAX),
                .actions = ACTION_PULL,
            },
            after);
}

static bool names_ok(struct registry_op *op, const char *reference)
{
    if (registry_name_ok(op->repository) && (digest_valid(reference) || oci_tag_valid(reference)))
        return true;
    op_fail_with(op, -EINVAL, false, "bad repository or reference");
    return false;
}

/* The digest that the registry names, if it is one that we can compare. */
static const char *digest_said(const struct http_response *response)
{
    const char *digest = http_response_header(response, "Docker-Content-Digest");
    return digest_valid(digest) ? digest : NULL;
}

/* ---- ping ---- */

static void after_ping(struct registry_op *op, struct http_response *response,
                       const struct err *err)
{
    if (err || !http_response_ok(response))
        op_fail_answer(op, response, err);
    else
        op_succeed(op);
}

struct registry_op *registry_ping(struct registry *r, registry_done_fn done, void *arg)
{
    struct registry_op *op = op_new(r, NULL, xstrdup("ping"), done, arg);
    op_call(op, &(struct registry_call){.method = "GET", .path = "/v2/"}, after_ping);
    return op;
}

/* ---- GET ---- */

static void after_get(struct registry_op *op, struct http_response *response, const struct err *err)
{
    struct registry_result *result = &op->result;
    const char *reference = op->state, *said;
    struct err bad = ERR_INIT;
    if (err || !http_response_ok(response)) {
        op_fail_answer(op, response, err);
        return;
    }
    struct strbuf *body = &response->body;
    digest_of(strbuf_str(body), body->n, result->digest);
    said = digest_said(response);
    if (digest_valid(reference))
        said = reference;
    if (said && strcmp(said, result->digest) != 0) {
        op_fail_with(op, -EBADMSG, true, "the content's digest is %s, not %s", result->digest,
                     said);
        return;
    }
    if (oci_document_type(strbuf_str(body), body->n, http_response_header(response, "Content-Type"),
                          &result->media_type, &bad) < 0) {
        op_fail_with(op, -EPROTO, false, "%s", bad.text);
        return;
    }
    result->size = (int64_t)body->n;
    result->body = *body;
    *body = (struct strbuf){0};
    op_succeed(op);
}

static void free_state(struct registry_op *op)
{
    free(op->state);
}

static struct registry_op *manifest_op(struct registry *r, const char *repository,
                                       const char *reference, registry_done_fn done, void *arg)
{
    struct registry_op *op =
        op_new(r, repository, xasprintf("manifest %.128s", reference), done, arg);
    op->state = xstrdup(reference);
    op->state_free = free_state;
    return op;
}

struct registry_op *registry_manifest_get(struct registry *r, const char *repository,
                                          const char *reference, registry_done_fn done, void *arg)
{
    struct registry_op *op = manifest_op(r, repository, reference, done, arg);
    if (names_ok(op, reference))
        call_manifest(op, "GET", reference, after_get);
    return op;
}

/* ---- HEAD ---- */

static void after_get_for_head(struct registry_op *op, struct http_response *response,
                               const struct err *err)
{
    after_get(op, response, err);
    strbuf_done(&op->result.body);
}

static void after_head(struct registry_op *op, struct http_response *response,
                       const struct err *err)
{
    if (err || !http_response_ok(response)) {
        op_fail_answer(op, response, err);
        return;
    }
    const char *reference = op->state;
    const char *digest = digest_valid(reference) ? reference : digest_said(response);
    const char *type = http_response_header(response, "Content-Type");
    const char *length = http_response_header(response, "Content-Length");
    if (!digest || !length || oci_kind_of(type) == OCI_KIND_OTHER) {
        call_manifest(op, "GET", reference, after_get_for_head);
        return;
    }
    memcpy(op->result.digest, digest, DIGEST_SIZE);
    op->result.media_type = xstrndup(type, strcspn(type, "; "));
    op->result.size = strtoll(length, NULL, 10);
    op_succeed(op);
}

struct registry_op *registry_manifest_head(struct registry *r, const char *repository,
                                           const char *reference, registry_done_fn done, void *arg)
{
    struct registry_op *op = manifest_op(r, repository, reference, done, arg);
    if (names_ok(op, reference))
        call_manifest(op, "HEAD", reference, after_head);
    return op;
}

/* ---- PUT ---- */

struct put {
    char *reference, *media_type, *body;
    size_t size;
    bool once;
};

static void put_free(struct registry_op *op)
{
    struct put *put = op->state;
    free(put->reference);
    free(put->media_type);
    free(put->body);
    free(put);
}

/* Whether a PUT that failed has never begun, or was refused by who would carry it out. Behind a proxy a registry may go
 * on with what was answered in its place; and one in trouble may have stored it before it said so. */
static bool put_is_refused(const struct http_response *response, const struct err *err)
{
    if (err)
        return err->code == -ECONNREFUSED || err->code == -EHOSTUNREACH ||
               err->code == -EKEYREJECTED || err->code == -EINVAL;
    return response->status < 500 && response->status != 408;
}

static void after_put(struct registry_op *op, struct http_response *response, const struct err *err)
{
    const char *said;
    if (err || !http_response_ok(response)) {
        op->result.unknown = !put_is_refused(response, err);
        op_fail_answer(op, response, err);
        return;
    }
    said = digest_said(response);
    if (said && strcmp(said, op->result.digest) != 0)
        op_fail_with(op, -EBADMSG, true, "the registry took %s for %s", op->result.digest, said);
    else
        op_succeed(op);
}

static void send_put(struct registry_op *op)
{
    const struct put *put = op->state;
    cleanup_free char *type = xasprintf("Content-Type: %s", put->media_type);
    cleanup_free char *path = xasprintf("/v2/%s/manifests/%s", op->repository, put->reference);
    const char *headers[] = {type, NULL};
    op_call(op,
            &(struct registry_call){
                .method = "PUT",
                .path = path,
                .headers = headers,
                .body = http_body_memory(put->body, put->size),
                .actions = ACTION_PULL | ACTION_PUSH,
                .once = put->once,
                .alone = put->once,
            },
            after_put);
}

/* Whether to send it is the only question here: a refusal to say what is there is no answer to it. */
static void after_head_for_put(struct registry_op *op, struct http_response *response,
                               const struct err *err)
{
    const struct put *put = op->state;
    if (err || (!http_response_ok(response) && retry_makes_sense(response, NULL))) {
        op_fail_answer(op, response, err);
        return;
    }
    const char *there = http_response_ok(response) ? digest_said(response) : NULL;
    const char *type = http_response_header(response, "Content-Type");
    size_t n = strlen(put->media_type);
    if (there && strcmp(there, op->result.digest) == 0 && type &&
        strncmp(type, put->media_type, n) == 0 && (type[n] == 0 || type[n] == ';')) {
        op->result.existed = true;
        op_succeed(op);
        return;
    }
    send_put(op);
}

struct registry_op *registry_manifest_put(struct registry *r, const struct registry_put *o,
                                          registry_done_fn done, void *arg)
{
    struct registry_op *op =
        op_new(r, o->repository, xasprintf("manifest %.128s", o->reference), done, arg);
    struct put *put = xnew(struct put);
    put->reference = xstrdup(o->reference);
    put->media_type = xstrdup(o->media_type);
    put->body = xmemdup(o->body, o->size);
    put->size = o->size;
    put->once = o->once;
    op->state = put;
    op->state_free = put_free;
    op->result.size = (int64_t)o->size;
    digest_of(o->body, o->size, op->result.digest);
    if (!names_ok(op, o->reference))
        return op;
    if (digest_valid(o->reference) && strcmp(o->reference, op->result.digest) != 0)
        op_fail_with(op, -EINVAL, false, "the content's digest is %s", op->result.digest);
    else if (o->looked)
        send_put(op);
    else
        call_manifest(op, "HEAD", o->reference, after_head_for_put);
    return op;
}

/* ---- DELETE ---- */

struct registry_op *registry_manifest_delete(struct registry *r, const char *repository,
                                             const char *digest, registry_done_fn done, void *arg)
{
    struct registry_op *op = manifest_op(r, repository, digest, done, arg);
    cleanup_free char *path = xasprintf("/v2/%s/manifests/%s", repository, digest);
    if (!digest_valid(digest))
        op_fail_with(op, -EINVAL, false, "bad digest");
    else if (names_ok(op, digest))
        op_call(op,
                &(struct registry_call){
                    .method = "DELETE",
                    .path = path,
                    .actions = ACTION_PULL | ACTION_PUSH | ACTION_DELETE,
                },
                after_ping);
    return op;
}

/* ---- tags ---- */

static void after_tags(struct registry_op *op, struct http_response *response,
                       const struct err *err);

static void call_tags(struct registry_op *op, const char *path)
{
    op_call(op,
            &(struct registry_call){
                .method = "GET",
                .path = path,
                .sink = http_sink_memory(TAGS_PAGE_MAX),
                .actions = ACTION_PULL,
            },
            after_tags);
}

static int take_tags(struct registry_op *op, const struct strbuf *body, struct err *err)
{
    cleanup_json json_t *json = NULL;
    json_t *list = NULL, *item;
    size_t i;
    int r = json_parse(strbuf_str(body), body->n, TAGS_PAGE_MAX, &json, err);
    if (r == 0)
        r = json_opt_array(json, "tags", &list, err); /* null where there are none */
    if (r < 0)
        return r;
    json_array_foreach (list, i, item) {
        if (!oci_tag_valid(json_string_value(item)))
            return err_set(err, -EPROTO, "tags[%zu] is no tag", i);
        strvec_add(&op->result.tags, json_string_value(item));
    }
    return 0;
}

/* The next page's URL, from `Link: </v2/…>; rel="next"`. The caller owns it; NULL on the last page. */
static char *next_page(const struct registry *r, const struct http_response *response)
{
    const char *link = http_response_header(response, "Link");
    const char *end = link ? strchr(link, '>') : NULL;
    if (!end || *link != '<' || !strstr(end, "next"))
        return NULL;
    cleanup_free char *target = xstrndup(link + 1, (size_t)(end - link - 1));
    return registry_resolve(r, response->url, target);
}

static void after_tags(struct registry_op *op, struct http_response *response,
                       const struct err *err)
{
    struct err bad = ERR_INIT;
    if (err || !http_response_ok(response)) {
        op_fail_answer(op, response, err);
        return;
    }
    size_t before = op->result.tags.n;
    if (take_tags(op, &response->body, &bad) < 0) {
        op_fail_with(op, -EPROTO, false, "%s", bad.text);
        return;
    }
    cleanup_free char *next = next_page(op->registry, response);
    if (op->result.tags.n > TAGS_MAX)
        op_fail_with(op, -EMSGSIZE, false, "over %d tags", TAGS_MAX);
    else if (next && op->result.tags.n > before)
        call_tags(op, next);
    else
        op_succeed(op);
}

struct registry_op *registry_tags(struct registry *r, const char *repository, registry_done_fn done,
                                  void *arg)
{
    struct registry_op *op = op_new(r, repository, xstrdup("tags"), done, arg);
    cleanup_free char *path = xasprintf("/v2/%s/tags/list?n=1000", repository);
    if (names_ok(op, "latest"))
        call_tags(op, path);
    return op;
}
