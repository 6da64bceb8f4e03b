/* The effects of publications: the next steps of one, up to where a commit is needed, against the registry. What to do next is
 * the model's; here is only how. Every step is idempotent. */
#pragma once

#include "daemon/model/model.h"
#include "daemon/registries.h"

struct publisher;

/* How an effect ended. */
struct publish_outcome {
    const char
        *retention; /* an EFFECT_RETAIN's tag, of these two; NULL: it was a publication's steps */
    const char *repository, *digest;
    int64_t publication;
    enum publish_step step; /* unless ok: that failed */
    const char *const
        *tags; /* those that name what they should now, even if it failed; lower ranks first */
    size_t n_tags;
    bool ok;
    enum publish_failure failure; /* unless ok */
    enum platform platform;       /* of PUBLISH_MISSING */
    const char *error;            /* unless ok */
    int64_t wait_ms; /* for so long the registry asks not to be asked; 0: it does not say */
};
typedef void (*publish_done_fn)(void *data, const struct publish_outcome *outcome);

/* A publisher on `loop`. `done` is called once for each publish_start, from the loop. The caller owns it. */
struct publisher *publisher_new(uv_loop_t *loop, struct registries *registries,
                                publish_done_fn done, void *data);
/* How long a PUT of unknown outcome may still land: the registry's time limit. */
void publisher_set_limit(struct publisher *p, int64_t ms);
/* What is begun from now on was not under way when an earlier coordinator ended. Until this is called, what moves
 * tags counts as one that was, and does not end before its PUTs can no longer land. */
void publisher_resumed(struct publisher *p);
/* Cancels what is under way (`done` is not called for it) and frees it. NULL is fine. */
void publisher_free(struct publisher *p);
/* Begins what an EFFECT_PUBLISH, or an EFFECT_RETAIN, asks for; the effect is taken over. */
void publish_start(struct publisher *p, struct effect *effect);
