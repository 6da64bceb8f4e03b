/* Who may do what: every request is judged here before anything else happens. */
#include "daemon/gateway_int.h"

#include "common/log.h"

#include <errno.h>
#include <utlist.h>

struct gateway *gateway_new(const struct gateway_hooks *hooks)
{
    struct gateway *g = xnew(struct gateway);
    g->hooks = *hooks;
    return g;
}

void gateway_settle(struct gateway *g)
{
    if (g->closed && !g->relays && !g->bases && !g->telling)
        free(g);
}

void gateway_free(struct gateway *g)
{
    if (!g)
        return;
    g->closed = true;
    sessions_free(g, NULL);
    struct relay *r;
    DL_FOREACH(g->relays, r)
    if (r->op)
        registry_op_cancel(r->op);
    bases_free(g);
    gateway_settle(g);
}

void gateway_lease_ended(struct gateway *g, const char *lease)
{
    sessions_free(g, lease);
}

/* ---- manifests ---- */

static void manifest_with_base(struct relay *r, const struct base *base, const struct err *err)
{
    if (err || !r->call) {
        relay_refuse(r, NULL, err);
        return;
    }
    struct http_field headers[] = {{"Content-Type", base->media_type},
                                   {"Docker-Content-Digest", r->target.reference},
                                   {"Docker-Distribution-Api-Version", "registry/2.0"},
                                   {NULL, NULL}};
    http_respond(steal_ptr(r->call), 200, headers, base->text, base->size);
    relay_settle(r);
}

static void manifest_put(struct relay *r, const struct http_response *response)
{
    if (!http_response_ok(response)) {
        relay_refuse(r, response, NULL);
        return;
    }
    cleanup_free char *location =
        xasprintf("/v2/%s/manifests/%s", r->target.repository, r->target.reference);
    struct http_field headers[] = {{"Location", location},
                                   {"Docker-Content-Digest", r->target.reference},
                                   {"Docker-Distribution-Api-Version", "registry/2.0"},
                                   {NULL, NULL}};
    relay_answer(r, 201, headers);
}

static size_t manifest_data(struct http_call *call, const char *data, size_t n, void *ctx)
{
    struct relay *r = ctx;
    if (r->body.n + n > OCI_MANIFEST_MAX)
        relay_deny(r, 413, "MANIFEST_INVALID", "a manifest has at most %d bytes", OCI_MANIFEST_MAX);
    else
        strbuf_addn(&r->body, data, n);
    return n;
}

/* The manifest is here: it must be what its name says, and an image's. The query is not passed on: some
 * registries take tags there. */
static void manifest_end(struct http_call *call, void *ctx)
{
    struct relay *r = ctx;
    char digest[DIGEST_SIZE];
    struct err err = ERR_INIT;
    const char *type = http_call_header(call, "Content-Type");
    struct oci_manifest manifest = {0};
    digest_of(strbuf_str(&r->body), r->body.n, digest);
    if (!str_eq(digest, r->target.reference)) {
        relay_deny(r, 400, "DIGEST_INVALID", "the manifest's digest is %s", digest);
        return;
    }
    if (oci_manifest_parse(strbuf_str(&r->body), r->body.n, type, &manifest, &err) < 0) {
        relay_deny(r, 400, "MANIFEST_INVALID", "%s", err.text);
        return;
    }
    cleanup_free char *url = xasprintf("/v2/%s/manifests/%s", r->path, digest);
    cleanup_free char *type_line = xasprintf("Content-Type: %s", manifest.media_type);
    oci_manifest_done(&manifest);
    const char *headers[] = {type_line, NULL};
    relay_send(r, "PUT", url, NULL, headers, http_body_memory(r->body.s, r->body.n), manifest_put);
}

static void put_manifest(struct relay *r)
{
    static const struct http_call_body_ops ops = {manifest_data, manifest_end};
    if (!digest_valid(r->target.reference))
        relay_deny(r, 403, "DENIED", "manifests are pushed by digest: tags are the coordinator's");
    else if (http_call_length(r->call) > OCI_MANIFEST_MAX)
        relay_deny(r, 413, "MANIFEST_INVALID", "a manifest has at most %d bytes", OCI_MANIFEST_MAX);
    else
        http_call_body_start(r->call, &ops, r);
}

static void manifest(struct relay *r, bool own)
{
    const char *method = http_call_method(r->call), *reference = r->target.reference;
    bool head = str_eq(method, "HEAD"), get = str_eq(method, "GET");
    /* Its own repository's manifests too: an earlier output whose content is the same is described anew. */
    if ((head && strvec_has(&r->pins, reference)) ||
        (get && (strvec_has(&r->pins, reference) || (own && digest_valid(reference))))) {
        r->with_base = manifest_with_base;
        base_get(r, reference);
    } else if (own && head && digest_valid(reference)) {
        cleanup_free char *url = xasprintf("/v2/%s/manifests/%s", r->path, reference);
        relay_head(r, url, OCI_ACCEPT);
    } else if (own && str_eq(method, "PUT"))
        put_manifest(r);
    else
        relay_deny(r, 403, "DENIED", "%s of %s is not part of this job", method, reference);
}

/* ---- blobs ---- */

static void look_into_pins(struct relay *r);

/* A pinned manifest is here: sends the blob if it names it, else looks at the next. */
static void blob_with_base(struct relay *r, const struct base *base, const struct err *err)
{
    const struct oci_descriptor *blob =
        err || !r->call ? NULL : base_blob(base, r->target.reference);
    if (err || !r->call)
        relay_refuse(r, NULL, err);
    else if (!blob && r->pins.n)
        look_into_pins(r);
    else if (!blob)
        relay_deny(r, 403, "DENIED", "no pinned base of this job names the blob %s",
                   r->target.reference);
    else if (str_eq(http_call_method(r->call), "HEAD")) {
        struct http_field headers[] = {{"Content-Type", "application/octet-stream"},
                                       {"Docker-Content-Digest", r->target.reference},
                                       {NULL, NULL}};
        relay_answer_head(r, headers, blob->size);
    } else {
        cleanup_free char *url = xasprintf("/v2/%s/blobs/%s", r->path, r->target.reference);
        relay_download(r, url);
    }
}

static void look_into_pins(struct relay *r)
{
    cleanup_free char *digest = r->pins.items[--r->pins.n];
    r->with_base = blob_with_base;
    base_get(r, digest);
}

static void blob(struct relay *r, bool own)
{
    const char *method = http_call_method(r->call), *digest = r->target.reference;
    bool head = str_eq(method, "HEAD"), get = str_eq(method, "GET");
    if (!digest_valid(digest))
        relay_deny(r, 400, "DIGEST_INVALID", "%s is no sha256 digest", digest);
    else if (own && head) {
        cleanup_free char *url = xasprintf("/v2/%s/blobs/%s", r->path, digest);
        relay_head(r, url, NULL);
    } else if ((get || head) && r->pins.n)
        look_into_pins(r);
    else
        relay_deny(r, 403, "DENIED", "%s of blobs is not part of this job", method);
}

/* ---- judging ---- */

static void judge(struct relay *r, const struct gateway_rights *rights)
{
    const char *method = http_call_method(r->call);
    bool own = str_eq(r->target.repository, rights->repository);
    for (size_t i = 0; i < rights->n_bases; i++)
        if (str_eq(rights->bases[i].repository, r->target.repository))
            strvec_add(&r->pins, rights->bases[i].digest);
    if (r->target.kind == GATEWAY_OTHER || (!own && !r->pins.n)) {
        relay_deny(r, 403, "DENIED", "%s is not part of this job",
                   r->target.repository ? r->target.repository : "that");
        return;
    }
    cleanup_oci_reference struct oci_reference name = {0};
    struct err err = ERR_INIT;
    if (oci_repository_parse(r->target.repository, &name, &err) < 0) {
        relay_deny(r, 400, "NAME_INVALID", "%s", err.text);
        return;
    }
    r->path = xstrdup(name.path);
    r->host = xstrdup(name.host);
    if (!relay_registry(r))
        relay_deny(r, 502, "UNAVAILABLE", "no registry %s is known", name.host);
    else if (r->target.kind == GATEWAY_MANIFEST)
        manifest(r, own);
    else if (r->target.kind == GATEWAY_BLOB)
        blob(r, own);
    else if (!own)
        relay_deny(r, 403, "DENIED", "a base is not pushed to");
    else if (r->target.kind == GATEWAY_UPLOAD && !str_eq(method, "POST") && !str_eq(method, "HEAD"))
        upload_go_on(r);
    else if (r->target.kind == GATEWAY_UPLOADS && str_eq(method, "POST"))
        upload_begin(r, rights);
    else
        relay_deny(r, 405, "UNSUPPORTED", "%s is not for upload sessions", method);
}

static void answer_root(struct relay *r)
{
    static const struct http_field headers[] = {{"Content-Type", "application/json"},
                                                {"Docker-Distribution-Api-Version", "registry/2.0"},
                                                {NULL, NULL}};
    http_respond_static(steal_ptr(r->call), 200, headers, "{}", 2);
    relay_settle(r);
}

void gateway_handle(struct gateway *g, struct http_call *call)
{
    struct gateway_target target = gateway_target_parse(http_call_param(call, "path"));
    struct gateway_rights rights = {0};
    cleanup_free char *lease = NULL, *secret = NULL;
    bool known = gateway_credentials(http_call_header(call, "Authorization"), &lease, &secret) &&
                 g->hooks.lookup(g->hooks.data, lease, secret, &rights) == 0;
    struct relay *r = relay_new(g, call, &target);
    r->lease = xstrdup(known && rights.lease ? rights.lease : lease ? lease : "");
    if (!known)
        relay_deny(r, 401, "UNAUTHORIZED", "a lease and its secret are asked for");
    else if (g->closed)
        relay_deny(r, 503, "UNAVAILABLE", "the coordinator is stopping");
    else if (r->target.kind == GATEWAY_ROOT)
        answer_root(r);
    else
        judge(r, &rights);
}
