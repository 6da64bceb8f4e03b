/* Bases from outside the farm: what a reference names now. */
#pragma once

#include "daemon/model/model.h"
#include "daemon/registries.h"

struct resolver;

/* How a look ended. `error` NULL: well. */
struct resolve_outcome {
    const char *reference;
    const char *digest;
    bool unchanged; /* the digest is the one that was known: children were not looked at */
    const struct base_child *children;
    size_t n;
    bool gone; /* the registry says that there is no such thing */
    const char *error;
    int64_t
        wait_ms; /* of an error: for so long the registry asks not to be asked; 0: it does not say */
};
typedef void (*resolve_done_fn)(void *data, const struct resolve_outcome *outcome);

/* The caller owns it. `done` is called once for each resolve_start, from the loop. */
struct resolver *resolver_new(struct registries *registries, resolve_done_fn done, void *data);
/* Cancels what is under way (`done` is not called for it) and frees it. NULL is fine. */
void resolver_free(struct resolver *r);
/* Looks a normalised reference up: a HEAD, and only if the digest is not `known` (NULL: none) a GET, since that is
 * what registries count. */
void resolve_start(struct resolver *r, const char *reference, const char *known);
