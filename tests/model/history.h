/* A history: steps made from a seed. A step is a kind and a few numbers, which it makes sense of in whatever state
 * the world is: dropping a step keeps the others meaningful, so that a failing history shrinks. */
#pragma once

#include "common/mem.h"
#include "tests/model/farm_spec.h"

struct step {
    unsigned kind; /* index into the table of steps.c */
    unsigned a, b, c;
    unsigned number; /* of the step in the whole history, from 1 */
    bool joined;     /* in one turn with what follows */
};

struct history {
    uint64_t seed;
    struct farm_cut cut;
    VEC(struct step) steps;
};

/* All steps of a seed. */
void history_make(struct history *h, uint64_t seed);
/* Frees the steps. */
void history_done(struct history *h);

/* How it went. */
struct outcome {
    bool failed;
    char invariant[64]; /* the name of the one that does not hold */
    char text[400];     /* in what way */
    unsigned step;      /* number of the step at which; 0: while it came to rest */
};

enum history_flags {
    HISTORY_VERBOSE = 1,    /* says every step and what followed */
    HISTORY_ALL = 2,        /* the dear checks at every step too */
    HISTORY_STILL_WALL = 4, /* the wall clock does not jump (for comparing) */
    HISTORY_WHAT_IF = 8,    /* "what if" is asked now and then, and what it foretells is compared */
};

/* Runs it. With `ret_trace`, what was decided is summed up there, times of day left out. */
void history_run(const struct history *h, unsigned flags, struct outcome *ret, uint64_t *ret_trace);
