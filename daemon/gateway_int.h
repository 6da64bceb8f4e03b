/* What the files of the gateway share. Only gateway*.c include it. */
#pragma once

#include "daemon/gateway.h"
#include "daemon/gateway_path.h"

#include <uthash.h>

/* A ring of bytes between two sides of unequal speed. */
struct pipe {
    char *data;
    size_t cap, start, n;
};

/* A pinned base's manifest: fetched once, kept for the boards that follow. */
struct base {
    char *key; /* full repository@digest */
    struct gateway *gateway;
    struct registry_op *op;  /* while it is being fetched */
    struct relay *waiters;   /* by wait_prev, wait_next */
    char *text, *media_type; /* NULL while it is being fetched */
    size_t size;
    struct oci_manifest manifest; /* no layers where it is an index */
    UT_hash_handle hh;            /* in order of last use */
};

/* An upload session: ours for the board, the registry's own behind it. */
struct session {
    char id[33];
    char *lease, *repository;
    char *url;    /* where the registry wants the next request; absolute */
    int64_t used; /* clock_mono_ms */
    UT_hash_handle hh;
};

struct gateway {
    struct gateway_hooks hooks;
    struct relay *relays;
    struct base *bases;
    size_t bases_size; /* bytes of their texts */
    struct session *sessions;
    unsigned telling; /* on the stack: not to be freed */
    bool closed;
};

struct relay;
/* Goes on with the registry's answer, of any status. Must answer the board or start something. */
typedef void (*relay_after)(struct relay *r, const struct http_response *response);

/* One request of a board on its way. It ends when it has been answered (or its client is gone) and
 * nothing of it is under way at the registry. */
struct relay {
    struct gateway *gateway;
    struct relay *prev, *next;
    struct http_call *call; /* NULL once answered or gone */
    struct registry_op *op; /* NULL when nothing is under way */
    char *host; /* of the registry, which is looked up for each request: a reload may replace it */
    char *lease;
    struct gateway_target target;
    char *path;  /* of the repository within its registry */
    strvec pins; /* digests pinned in that repository, those still to be looked at */
    struct base *waits_for;
    struct relay *wait_prev, *wait_next;
    void (*with_base)(struct relay *r, const struct base *base, const struct err *err);
    relay_after after;
    char *session;      /* id */
    struct strbuf body; /* a manifest's */
    struct pipe pipe;
    bool body_ended; /* the board has sent all */
    bool streaming;  /* the answer is being pulled out of the pipe */
    bool upstream_ended, upstream_failed;
};

/* gateway.c */

/* Frees a gateway that is closed once nothing of it is left. */
void gateway_settle(struct gateway *g);

/* gateway_relay.c */

/* A relay for a call, in the gateway's list; it takes over `target`. */
struct relay *relay_new(struct gateway *g, struct http_call *call, struct gateway_target *target);
/* Answers with headers (may be NULL) and no body; the relay may be gone afterwards. */
void relay_answer(struct relay *r, unsigned status, const struct http_field *headers);
/* Answers an error in the registries' form; the relay may be gone afterwards. */
void relay_deny(struct relay *r, unsigned status, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Answers what an answer of the registry that is not 2xx, or no answer at all (`err`), means to the
 * board; the relay may be gone afterwards. */
void relay_refuse(struct relay *r, const struct http_response *response, const struct err *err);
/* The registry's client as it is now; borrowed for this pass of the loop. */
struct registry *relay_registry(const struct relay *r);
/* Frees it if nothing more can come. */
void relay_settle(struct relay *r);
/* Answers HEAD with a length and these headers. */
void relay_answer_head(struct relay *r, const struct http_field *headers, int64_t length);

/* gateway_transfer.c */

/* Streams GET `url` (from "/v2/" on) to the board. */
void relay_download(struct relay *r, const char *url);
/* Asks HEAD of the registry and passes the answer on. */
void relay_head(struct relay *r, const char *url, const char *accept);
/* Sends the call's body, as it comes, to the registry; then `after` gets the answer, unless there is
 * none or nobody to tell. `from`: a repository that is mounted from, or NULL. */
void relay_upload(struct relay *r, const char *method, const char *url, const char *from,
                  relay_after after);
/* As relay_upload with headers (may be NULL) and a body of its own. */
void relay_send(struct relay *r, const char *method, const char *url, const char *from,
                const char *const *headers, struct http_body body, relay_after after);

/* gateway_base.c */

/* Gets the manifest `digest` of the relay's target repository, kept or fetched; then with_base is
 * called, maybe before this returns. */
void base_get(struct relay *r, const char *digest);
/* The same of another repository of the relay's registry: its full name, and its path there. */
void base_get_from(struct relay *r, const char *repository, const char *path, const char *digest);
/* Takes a relay off the list of those that wait; harmless when it does not. */
void base_forget(struct relay *r);
/* The descriptor of blob `digest` in a base's manifest, NULL if it names no such blob. */
const struct oci_descriptor *base_blob(const struct base *base, const char *digest);
/* Cancels and frees all. */
void bases_free(struct gateway *g);

/* gateway_upload.c */

/* POST …/blobs/uploads/. */
void upload_begin(struct relay *r, const struct gateway_rights *rights);
/* GET, PATCH, PUT, DELETE of a session. */
void upload_go_on(struct relay *r);
/* Frees the sessions of a lease; of all when it is NULL. */
void sessions_free(struct gateway *g, const char *lease);
