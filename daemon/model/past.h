/* Jobs of the past: those that are done and that nothing refers to. There is no end of them, and all that is asked of one
 * is whether its key comes again; so they are kept packed, a third of what they take as objects. */
#pragma once

#include "common/mem.h"

struct model;
struct job;
struct cell;

/* Zeroed is empty. */
struct past {
    struct packed *jobs;      /* hash by key */
    VEC(struct word *) words; /* the texts that many of them share; kept until the model ends */
    struct word *word;        /* the same, hash by text */
    VEC(struct job *) to;     /* objects that may be of the past when the turn ends */
};

/* A pointer to the job is kept from turn to turn: it stays an object. NULL is nothing. */
void job_hold(struct job *j);
/* That pointer is not kept any more. NULL is nothing. */
void job_let_go(struct model *m, struct job *j);
/* The job may be of the past when this turn ends. NULL is nothing. */
void past_expect(struct model *m, struct job *j);
/* At the end of a turn, when its rows are written: packs what is of the past by now. */
void past_turn_end(struct model *m);
/* The job of that key, which becomes an object of the model again; NULL: there is none. */
struct job *past_recall(struct model *m, const char *key);
/* A row that a start loads: takes it if it is that of a job of the past, which at a start is one whose spec is
 * forgotten. */
bool past_load(struct model *m, const struct cell *cells);
/* Calls `fn` with each as an object, which is gone when it returns. */
void past_each(const struct model *m, void (*fn)(void *data, const struct job *j), void *data);
/* Frees it; leaves it empty. */
void past_done(struct past *past);
