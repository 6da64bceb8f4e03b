/* How long things take: learnt from what boards did, and guessed where nothing is known yet. Pure; for scheduling
 * alone: no decision about what is built or published may depend on it. */
#pragma once

#include "daemon/model/state.h"

/* What a board is taken for before it has built anything; slot.work_ms is milliseconds on such a board. */
#define ESTIMATE_SPEED 1000

/* Milliseconds that building the track for the platform takes on a board of ESTIMATE_SPEED; at least 1. */
int64_t estimate_work(struct model *m, const struct track *t, enum platform p);
/* Milliseconds that the job takes on the board, from its grant to its result; at least 1. */
int64_t estimate_duration(struct model *m, const struct job *j, const struct board *b);
/* Milliseconds until an attempt will have ended: more than was thought for one that is overdue, so that nobody waits
 * for a board that hangs. At least 1. */
int64_t estimate_left(struct model *m, const struct attempt *a);
/* Milliseconds of the longest chain that begins with the job, as `t` (NULL: unknown) wants it, on the fastest boards that
 * the farm has. */
int64_t estimate_chain(struct model *m, const struct job *j, struct track *t);
/* Rises whenever a chain may have another length than before. */
int64_t estimate_stamp(const struct model *m);
/* A job has succeeded `took` milliseconds after it was granted to the board. */
void estimate_learn(struct model *m, const struct job *j, struct board *b, int64_t took);
/* After loading: sums up what the slots know. */
void estimate_start(struct model *m);
/* Chains are to be walked anew: boards came or went. */
void estimate_boards_changed(struct model *m);
