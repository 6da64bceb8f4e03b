/* Our registry client: the OCI distribution API on http_client, for the coordinator (asynchronous) and
 * for the job helper (blocking).
 *
 * Every operation below starts something, returns its handle, and ends by `done`: exactly once, from the
 * loop, never before the starting call has returned, after a cancel too. With `done` NULL the operation
 * belongs to registry_wait, which is the blocking form:
 *
 *     r = registry_wait(registry_manifest_get(registry, "library/debian", "bookworm", NULL, NULL),
 *                       &result, err);
 *
 * What it takes care of: anonymous, basic and bearer registries (tokens are shared, renewed when they
 * expire half-way); 429 and 5xx and broken connections with back-off; digests of all that is received;
 * uploads that break off. `repository` is always the path within the registry, without its host.
 *
 * Errors: -ENOENT not there; -ENODATA a manifest refers to what the registry does not have; -EACCES
 * credentials refused or not enough; -EBADMSG content that is not what its digest or size says; -EAGAIN
 * too many requests; -EREMOTEIO the registry's own trouble (5xx); -EFBIG too large for it; -EPROTO an
 * answer that makes no sense or a plain refusal (the text quotes it); -EMSGSIZE a manifest over 4 MiB;
 * those of http_client; -ECANCELED. `retryable` is right for each. */
#pragma once

#include "common/digest.h"
#include "common/http_client.h"
#include "common/oci.h"

struct registry;
struct registry_op;

/* ---- a registry ---- */

struct registry_options {
    const char *host; /* as in references: "docker.io", "127.0.0.1:5000" */
    const char
        *endpoint; /* base URL without trailing '/', NULL: https://host, http:// for a loopback
                             host or plain_http, and Docker Hub's own for docker.io */
    bool plain_http;
    const char *username, *password; /* both or neither */
    const char *pin, *ca_file;       /* as in http_options */

    /* How failures that may pass are answered; 0 is the default. */
    int attempts;         /* of each request, the first included: 5 */
    int64_t retry_ms;     /* before the second one, doubling with jitter: 500 */
    int64_t retry_max_ms; /* no wait is longer; a Retry-After that is ends the operation: 30 s */
    int64_t stall_ms;     /* as in http_options: 60 s */
};

/* A client for one registry; options are copied. The caller owns it; `client` must outlive it. */
struct registry *registry_new(struct http_client *client, const struct registry_options *options);
/* Cancels its operations (each `done` is called, from the loop) and frees it once they are over. NULL is
 * fine. */
void registry_free(struct registry *registry);
DEFINE_CLEANUP(struct registry *, registry_free)
#define cleanup_registry cleanup_(registry_freep)
/* Its host, for messages. Borrowed. */
const char *registry_host(const struct registry *registry);

/* ---- operations in general ---- */

/* What an operation found out; each says which members it sets. */
struct registry_result {
    char digest[DIGEST_SIZE];
    char *media_type;
    int64_t size;
    struct strbuf body; /* a manifest's exact bytes, or a blob that was asked into memory */
    strvec tags;
    bool existed; /* it was there already, nothing was sent */
    bool mounted; /* the registry took it from the other repository */
    int64_t
        retry_after_ms; /* of what failed: for how long the registry, or who gives its tokens, asks not to be asked */
    /* Of a manifest's PUT that failed: it was sent, and may have been, or may still be, carried out, since what came was no
     * answer of the registry's that it refuses (a broken connection, a time-out, 408, any 5xx). */
    bool unknown;
};

/* Frees what a result owns; leaves it empty. */
void registry_result_done(struct registry_result *result);
#define cleanup_registry_result cleanup_(registry_result_done)

/* `err` is NULL on success. Both are borrowed; members of `result` may be taken out of it. */
typedef void (*registry_done_fn)(void *arg, struct registry_result *result, const struct err *err);

/* Ends it with -ECANCELED; `done` follows from the loop. Harmless inside `done`. */
void registry_op_cancel(struct registry_op *op);
/* For an operation whose push or pull function answered -EAGAIN: asks it again, from the loop. */
void registry_op_resume(struct registry_op *op);
/* Runs the loop until an operation that was started with `done` NULL is over. For programs that run no
 * loop of their own (http_sync's client). *ret_result (NULL: not wanted) is the caller's on success; of a failure it holds
 * what is said of failures, and owns nothing. */
int registry_wait(struct registry_op *op, struct registry_result *ret_result, struct err *err);

/* Asks whether there is a registry and whether it takes our credentials (GET /v2/). */
struct registry_op *registry_ping(struct registry *registry, registry_done_fn done, void *arg);
/* All tags of a repository, in `tags`. -ENOENT where there is no such repository. */
struct registry_op *registry_tags(struct registry *registry, const char *repository,
                                  registry_done_fn done, void *arg);

/* ---- manifests; `reference` is a tag or a digest ---- */

/* Sets digest, media_type and size without fetching it where the registry says them. */
struct registry_op *registry_manifest_head(struct registry *registry, const char *repository,
                                           const char *reference, registry_done_fn done, void *arg);
/* Sets digest, media_type, size and body. */
struct registry_op *registry_manifest_get(struct registry *registry, const char *repository,
                                          const char *reference, registry_done_fn done, void *arg);

struct registry_put {
    const char *repository, *reference;
    const char *media_type;
    const void *body;
    size_t size;
    /* One PUT, never repeated: for who must know about each that went out (`unknown` in the result). */
    bool once;
    bool looked; /* the caller knows that it is not there: no HEAD */
};
/* HEAD first, unless `looked`: when `reference` is exactly this already, `existed` is set and nothing is sent. Sets digest
 * and size too. `put` is copied. */
struct registry_op *registry_manifest_put(struct registry *registry, const struct registry_put *put,
                                          registry_done_fn done, void *arg);
/* Deletes the manifest `digest`, and every tag on it. -EPROTO where the registry does not allow it. */
struct registry_op *registry_manifest_delete(struct registry *registry, const char *repository,
                                             const char *digest, registry_done_fn done, void *arg);

/* ---- blobs ---- */

/* Sets digest and size; -ENOENT when the repository does not have it. */
struct registry_op *registry_blob_head(struct registry *registry, const char *repository,
                                       const char *digest, registry_done_fn done, void *arg);
/* Fetches a blob of `size` bytes (-1: not known) into a sink of http_client.h, whose push function gets
 * `arg`. A connection that breaks is taken up where it broke. Digest and size are verified as it
 * comes; what the sink took before -EBADMSG is for the caller to throw away. */
struct registry_op *registry_blob_get(struct registry *registry, const char *repository,
                                      const char *digest, int64_t size, struct http_sink sink,
                                      registry_done_fn done, void *arg);

struct registry_upload {
    const char *repository;
    const char *digest;     /* of the whole body */
    struct http_body body;  /* memory (copied) or file; not a pull function */
    const char *mount_from; /* a repository of the same registry that may have it, or NULL */
    int64_t chunk; /* bytes a PATCH; 0 sends all in one PUT, and chunks only when that fails */
};
/* Brings a blob into a repository: HEAD, mount, upload, whichever does it. Memory use does not depend on
 * its size. Sets digest, size, existed and mounted. */
struct registry_op *registry_blob_put(struct registry *registry,
                                      const struct registry_upload *upload, registry_done_fn done,
                                      void *arg);
/* Mounts a blob that another repository of the same registry has. `mounted` says whether the registry
 * did; the upload session that it opened when it did not is deleted. */
struct registry_op *registry_blob_mount(struct registry *registry, const char *repository,
                                        const char *from, const char *digest, registry_done_fn done,
                                        void *arg);

/* ---- anything else, streamed ---- */

struct registry_raw {
    const char *repository; /* whose scope the token has */
    const char *from;       /* one more to pull from, or NULL */
    bool push;
    /* As for http_request_start. `url` may be absolute, or begin with "/v2/". `authorization`, `pin` and
     * `ca_file` are set here. Credentials go to the registry's own host only. */
    struct http_options http;
};
/* One HTTP request with this registry's credentials; a relay's building block. It repeats nothing but
 * what a 401 turned away, and that only if the body can be sent again (a pull function cannot: its token
 * is made fresh first). The answer, whatever its status, comes by http.on_response and http.done; failing
 * to get a token is an error there. */
struct registry_op *registry_raw(struct registry *registry, const struct registry_raw *raw);
