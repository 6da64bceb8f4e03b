/* The boards' registry: what a board pulls and pushes goes through here, and nothing else does.
 *
 * With its lease's secret a board may
 *   - pull the pinned bases of its job: the manifest by its digest, and the blobs that this manifest
 *     names (which is learnt by fetching it; manifests are kept, bounded);
 *   - push blobs and manifests by digest to its job's repository, ask whether they are there, read the
 *     manifests there by digest (an earlier output may stand for a new one), and mount from its own or
 *     a pinned repository;
 * and it may not name a tag, touch another repository, list anything or delete anything but an upload
 * session of its own. Bodies are relayed both ways in bounded memory; the real registry's credentials
 * are added here and never leave the coordinator. Upload sessions get ids of ours, so that a board cannot
 * make one up; after a restart of the coordinator they are gone and the board begins that blob again.
 *
 * The path of a repository is its full name, host included: /v2/127.0.0.1:5000/osf/minideb/blobs/…
 * Errors are in the registries' own form. */
#pragma once

#include "common/registry.h"
#include "daemon/http_server.h"

struct gateway;

struct gateway_base {
    const char *repository; /* full: "docker.io/library/debian" */
    const char *digest;     /* of the child manifest */
};

struct gateway_rights {
    const char *lease;      /* whose they are; NULL: the one that was given */
    const char *repository; /* full name to push to */
    const struct gateway_base *bases;
    size_t n_bases;
};

struct gateway_hooks {
    /* Sets *ret to what the bearer of this lease's secret may do, borrowed for the rest of this pass of
     * the loop. `lease` is NULL when only a secret was sent. -ENOENT: no such lease, or not its secret. */
    int (*lookup)(void *data, const char *lease, const char *secret, struct gateway_rights *ret);
    /* The client for the registry `host` ("docker.io", "127.0.0.1:5000"), borrowed for this pass of the loop;
     * NULL: none, which must not become of one that there was. */
    struct registry *(*registry)(void *data, const char *host);
    void *data;
};

/* Makes a gateway; the hooks are copied. The caller owns it. */
struct gateway *gateway_new(const struct gateway_hooks *hooks);
/* Cancels what is under way; the memory goes when the loop has ended all of that. The registries must
 * live until then. NULL is allowed. */
void gateway_free(struct gateway *g);
/* Handles one request below /v2/; the routes are GATEWAY_ROUTES. */
void gateway_handle(struct gateway *g, struct http_call *call);
/* Forgets the upload sessions of a lease that has ended. */
void gateway_lease_ended(struct gateway *g, const char *lease);

/* The entries of a route table whose `handler` finds the gateway and calls gateway_handle. */
#define GATEWAY_ROUTES(handler)                                                                    \
    {"GET", "/v2", handler, HTTP_TAKES_NONE, 0, 0},                                                \
        {"GET", "/v2/", handler, HTTP_TAKES_NONE, 0, 0},                                           \
        {"GET", "/v2/{path...}", handler, HTTP_TAKES_NONE, 0, 0},                                  \
        {"HEAD", "/v2/{path...}", handler, HTTP_TAKES_NONE, 0, 0},                                 \
        {"POST", "/v2/{path...}", handler, HTTP_TAKES_STREAMED, 0, 0},                             \
        {"PATCH", "/v2/{path...}", handler, HTTP_TAKES_STREAMED, 0, 0},                            \
        {"PUT", "/v2/{path...}", handler, HTTP_TAKES_STREAMED, 0, 0},                              \
    {                                                                                              \
        "DELETE", "/v2/{path...}", handler, HTTP_TAKES_NONE, 0, 0                                  \
    }
