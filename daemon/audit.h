/* The effects of audits: what the registry's tags name now. Which ones, and what follows, is the model's. */
#pragma once

#include "daemon/model/model.h"
#include "daemon/registries.h"

struct auditor;

/* How an audit ended. `error` NULL: well. All is borrowed. */
struct audit_outcome {
    const char *repository;
    const struct audited *tags;
    size_t n;
    const char *error;
    int64_t
        wait_ms; /* with an error: for how long the registry asks not to be asked; 0: it does not say */
};
typedef void (*audit_done_fn)(void *data, const struct audit_outcome *outcome);

/* An auditor on `loop`. `done` is called once for each audit_begin, from the loop. The caller owns it. */
struct auditor *auditor_new(uv_loop_t *loop, struct registries *registries, audit_done_fn done,
                            void *data);
/* Cancels what is under way (`done` is not called for it) and frees it. NULL is fine. */
void auditor_free(struct auditor *a);
/* Begins what an EFFECT_AUDIT asks for; the effect is taken over. One HEAD at a time, at most some fifty a second. */
void audit_begin(struct auditor *a, struct effect *effect);
