/* A copy of a model, for asking what would be. Taking it costs what its rows cost and is done where the model lives;
 * the copy shares nothing with it but the farm, and may be loaded and played with on another thread. */
#pragma once

#include "daemon/model/state.h"

/* What a board said last, which no row has. */
struct copy_board {
    char *name;
    bool there; /* it has a session, and its state is online or draining */
    bool draining;
    double load, temperature;
    int64_t disk_free, memory_free;
};

/* Zeroed is empty. */
struct model_copy {
    struct strbuf rows; /* packed, each after its table's number */
    struct strbuf more; /* what was added later, and counts instead */
    VEC(struct copy_board) boards;
    strvec gone; /* bases that their registries do not have, which no row says */
    int64_t mono, wall, clock;
    VEC(const struct row *) batch; /* while it is taken */
    uint64_t no_bytes, no_spec;    /* columns that are left out */
};

/* Takes only what boards said last, into an empty one. */
void model_copy_boards(const struct model *m, struct model_copy *ret);
/* Says in a model that has started what the copy's boards said last. */
void model_copy_load_boards(const struct model_copy *copy, struct model *to);
/* About how many bytes a copy has. */
size_t model_copy_size(const struct model *m);
/* Makes room for so many, and touches it: a third of the time that a copy takes is the kernel's, for its pages, and may
 * be spent on another thread before. */
void model_copy_reserve(struct model_copy *copy, size_t bytes);
/* Takes a copy into an empty one, at any time, within a turn too. Of settled jobs it has those that something refers to,
 * without their inputs, and of contexts those of the commits planned with: model_copy_job and model_copy_context add
 * others, and inputs. */
void model_copy_take(struct model *m, struct model_copy *ret);
/* Adds a job whole. Returns whether `m` knows it. */
bool model_copy_job(struct model *m, struct model_copy *copy, const char *key);
/* Adds a context with its epoch. Returns whether `m` knows it. */
bool model_copy_context(struct model *m, struct model_copy *copy, const char *source,
                        const char *commit, const char *path, const char *dockerfile);
/* Adds the epoch of a context that has this id, if `m` knows one. */
void model_copy_epoch(struct model *m, struct model_copy *copy, const char *source, const char *id);
/* Loads the copy into a model that was just made; model_start is the caller's to call, at the copy's time. */
void model_copy_load(const struct model_copy *copy, struct model *to);
/* Frees it; leaves it empty. */
void model_copy_done(struct model_copy *copy);
