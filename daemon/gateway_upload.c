/* Upload sessions: a board sees ids of ours, behind each of which is wherever the registry wants the next
 * request. A session belongs to the lease that began it. */
#include "common/clock.h"
#include "daemon/gateway_int.h"

#include <sys/random.h>

/* Sessions that nobody used for so long are forgotten; the registry cleans up its own side. */
#define SESSION_MS    (60 * 60 * 1000)
#define SESSIONS_MAX  4096
#define SESSIONS_EACH 64 /* of one lease */

static void session_free(struct gateway *g, struct session *s)
{
    HASH_DEL(g->sessions, s);
    free(s->lease);
    free(s->repository);
    free(s->url);
    free(s);
}

void sessions_free(struct gateway *g, const char *lease)
{
    struct session *s, *next;
    HASH_ITER(hh, g->sessions, s, next)
    if (!lease || str_eq(s->lease, lease))
        session_free(g, s);
}

static struct session *session_of(const struct relay *r)
{
    struct session *s = NULL;
    const char *id = r->session ? r->session : r->target.reference;
    HASH_FIND_STR(r->gateway->sessions, id, s);
    if (!s || !str_eq(s->lease, r->lease) || !str_eq(s->repository, r->target.repository))
        return NULL;
    return s;
}

/* Forgets what is old; whether there is room for one more of this lease. */
static bool sessions_have_room(struct gateway *g, const char *lease)
{
    unsigned own = 0;
    struct session *s, *next;
    int64_t now = clock_mono_ms();
    HASH_ITER(hh, g->sessions, s, next)
    {
        if (now - s->used > SESSION_MS)
            session_free(g, s);
        else
            own += str_eq(s->lease, lease);
    }
    return own < SESSIONS_EACH && HASH_COUNT(g->sessions) < SESSIONS_MAX;
}

static struct session *session_new(struct relay *r)
{
    unsigned char random[16];
    struct session *s = xnew(struct session);
    if (getrandom(random, sizeof(random), 0) != sizeof(random))
        abort();
    for (size_t i = 0; i < sizeof(random); i++)
        sprintf(s->id + 2 * i, "%02x", random[i]);
    s->lease = xstrdup(r->lease);
    s->repository = xstrdup(r->target.repository);
    HASH_ADD_STR(r->gateway->sessions, id, s);
    str_replace(&r->session, s->id);
    return s;
}

/* Length of "scheme://host:port" in a URL, 0 if it begins with none; *ret_host is where the host is. */
static size_t origin_length(const char *url, const char **ret_host)
{
    const char *colon = strstr(url, "://");
    if (!colon || strcspn(url, "/?#") < (size_t)(colon - url))
        return 0;
    *ret_host = colon + 3;
    return (size_t)(colon + 3 - url) + strcspn(colon + 3, "/?#");
}

/* Where `location` leads in an answer that came from `base`; owned. On the same host only the path
 * counts: a registry behind a proxy that ends TLS believes in http. */
static char *resolve(const char *base, const char *location)
{
    const char *base_host = base, *host = location;
    size_t base_n = origin_length(base, &base_host), n = origin_length(location, &host);
    bool same = n && base_n - (size_t)(base_host - base) == n - (size_t)(host - location) &&
                memcmp(base_host, host, n - (size_t)(host - location)) == 0;
    if (n && !same)
        return xstrdup(location);
    if (same || *location == '/')
        return xasprintf("%.*s%s", (int)base_n, base, location + n);
    size_t folder = strcspn(base, "?#");
    while (folder > base_n && base[folder - 1] != '/')
        folder--;
    return xasprintf("%.*s%s", (int)folder, base, location);
}

/* Takes the next address of a session from an answer. */
static void session_moved(struct session *s, const struct http_response *response)
{
    const char *location = http_response_header(response, "Location");
    s->used = clock_mono_ms();
    if (!location)
        return;
    char *url = resolve(response->url ? response->url : "", location);
    free(s->url);
    s->url = url;
}

/* Answers that the session goes on. */
static void answer_session(struct relay *r, const struct session *s, unsigned status,
                           const struct http_response *response)
{
    cleanup_free char *location = xasprintf("/v2/%s/blobs/uploads/%s", s->repository, s->id);
    struct http_field headers[] = {
        {"Location", location},
        {"Range", http_response_header(response, "Range")},
        {"Docker-Upload-UUID", s->id},
        {"OCI-Chunk-Min-Length", http_response_header(response, "OCI-Chunk-Min-Length")},
        {"Docker-Distribution-Api-Version", "registry/2.0"},
        {NULL, NULL}};
    relay_answer(r, status, headers);
}

/* Answers that the blob is there. */
static void answer_blob(struct relay *r, const char *digest)
{
    cleanup_free char *location = xasprintf("/v2/%s/blobs/%s", r->target.repository, digest);
    struct http_field headers[] = {{"Location", location},
                                   {"Docker-Content-Digest", digest},
                                   {"Docker-Distribution-Api-Version", "registry/2.0"},
                                   {NULL, NULL}};
    relay_answer(r, 201, headers);
}

static const char *asked_digest(struct relay *r)
{
    const char *digest = http_call_query(r->call, "digest");
    return digest ? digest : http_call_query(r->call, "mount");
}

static void begun(struct relay *r, const struct http_response *response)
{
    const char *digest = asked_digest(r);
    if (response->status == 201 && digest)
        answer_blob(r, digest);
    else if (response->status == 202) {
        struct session *s = session_new(r);
        session_moved(s, response);
        answer_session(r, s, 202, response);
    } else
        relay_refuse(r, response, NULL);
}

static void begin_at(struct relay *r, const char *query, const char *from)
{
    cleanup_free char *url = xasprintf("/v2/%s/blobs/uploads/%s", r->path, query);
    relay_upload(r, "POST", url, from, begun);
}

/* The manifest of a pinned base is here: mounts from it if it names the blob. */
static void mount_with_base(struct relay *r, const struct base *base, const struct err *err)
{
    const char *digest = http_call_query(r->call, "mount");
    if (err) {
        relay_refuse(r, NULL, err);
        return;
    }
    if (!base_blob(base, digest)) {
        relay_deny(r, 403, "DENIED", "the pinned base does not name the blob %s", digest);
        return;
    }
    cleanup_oci_reference struct oci_reference source = {0};
    size_t n = strcspn(base->key, "@");
    cleanup_free char *repository = xstrndup(base->key, n);
    if (oci_repository_parse(repository, &source, NULL) < 0) {
        relay_deny(r, 400, "NAME_INVALID", "%s is no repository", repository);
        return;
    }
    cleanup_free char *query = xasprintf("?mount=%s&from=%s", digest, source.path);
    begin_at(r, query, source.path);
}

/* Mounts from a repository that is the board's own or pinned; else the board has no business there. */
static void mount(struct relay *r, const struct gateway_rights *rights, const char *from)
{
    const char *digest = http_call_query(r->call, "mount");
    if (str_eq(from, rights->repository)) {
        cleanup_free char *query = xasprintf("?mount=%s&from=%s", digest, r->path);
        begin_at(r, query, r->path);
        return;
    }
    for (size_t i = 0; i < rights->n_bases; i++) {
        const struct gateway_base *base = &rights->bases[i];
        cleanup_oci_reference struct oci_reference name = {0};
        if (!str_eq(base->repository, from) || oci_repository_parse(from, &name, NULL) < 0)
            continue;
        if (!str_eq(name.host, r->host)) {
            begin_at(r, "", NULL); /* another registry: nothing to mount, a plain upload then */
            return;
        }
        r->with_base = mount_with_base;
        base_get_from(r, from, name.path, base->digest);
        return;
    }
    relay_deny(r, 403, "DENIED", "%s is not a repository of this job", from);
}

void upload_begin(struct relay *r, const struct gateway_rights *rights)
{
    const char *mount_digest = http_call_query(r->call, "mount"),
               *from = http_call_query(r->call, "from"),
               *digest = http_call_query(r->call, "digest");
    if ((digest && !digest_valid(digest)) || (mount_digest && !digest_valid(mount_digest)))
        relay_deny(r, 400, "DIGEST_INVALID", "that is no sha256 digest");
    else if (!sessions_have_room(r->gateway, r->lease))
        relay_deny(r, 429, "TOOMANYREQUESTS", "too many upload sessions are open");
    else if (mount_digest && from && http_call_length(r->call) == 0)
        mount(r, rights, from);
    else {
        cleanup_free char *query =
            xasprintf("%s%s", digest ? "?digest=" : "", digest ? digest : "");
        begin_at(r, query, NULL);
    }
}

static void went_on(struct relay *r, const struct http_response *response)
{
    struct session *s = session_of(r);
    const char *digest = asked_digest(r);
    if (!http_response_ok(response)) {
        if (s && response->status == 404)
            session_free(r->gateway, s);
        relay_refuse(r, response, NULL);
        return;
    }
    if (!s) {
        relay_deny(r, 404, "BLOB_UPLOAD_UNKNOWN", "that upload session has ended");
        return;
    }
    bool put = str_eq(http_call_method(r->call), "PUT");
    if (put && response->status == 201 && digest) {
        session_free(r->gateway, s);
        answer_blob(r, digest);
    } else if (str_eq(http_call_method(r->call), "DELETE")) {
        session_free(r->gateway, s);
        relay_answer(r, 204, NULL);
    } else {
        session_moved(s, response);
        answer_session(r, s, (unsigned)response->status, response);
    }
}

void upload_go_on(struct relay *r)
{
    struct session *s = session_of(r);
    const char *method = http_call_method(r->call), *digest = http_call_query(r->call, "digest");
    bool put = str_eq(method, "PUT");
    if (!s) {
        relay_deny(r, 404, "BLOB_UPLOAD_UNKNOWN", "there is no such upload session of this lease");
        return;
    }
    if (put ? !digest_valid(digest) : digest != NULL) {
        relay_deny(r, 400, "DIGEST_INVALID", "a digest goes with the PUT that ends an upload");
        return;
    }
    s->used = clock_mono_ms();
    str_replace(&r->session, s->id);
    cleanup_free char *url =
        put ? xasprintf("%s%cdigest=%s", s->url, strchr(s->url, '?') ? '&' : '?', digest)
            : xstrdup(s->url);
    relay_upload(r, method, url, NULL, went_on);
}
