/* Which wanted job goes to which board. Pure; see schedule.c for the order. */
#pragma once

#include "daemon/model/state.h"

/* Queues a wanted job for a board. */
void schedule_add(struct model *m, struct job *j);
/* A build wants it too: it has the earlier of its place and of the one that it would have for that build. */
void schedule_join(struct model *m, struct job *j, const struct build *b);
/* Somebody asks for it whose requests are of that class: the same, for a job that is about to be queued. Returns whether
 * it was of a lower one. */
bool schedule_raise(struct model *m, struct job *j, enum build_class class);
/* What it asks of a board has changed: where it is queued it stands in another queue. */
void schedule_demand_changed(struct model *m, struct job *j);
/* Places queued jobs on boards that ask for work, until none fits, and answers their polls. */
void schedule_run(struct model *m);
/* Whether some board that is there could run the job, were it free. */
bool schedule_can_run(const struct model *m, const struct job *j);
/* Whether some board that is there, or may come back (see board_gone_clock), could run the job, which may have timed out on
 * one. */
bool schedule_has_board(const struct model *m, const struct job *j);
/* The same of boards other than `than` and with more than `memory_above` bytes, wherever it timed out. */
bool schedule_elsewhere(const struct model *m, const struct job *j, const char *than,
                        int64_t memory_above);
/* Why a wanted job waits. */
void schedule_why(struct model *m, const struct job *j, struct reason *ret);
/* A board came, went, or offers something else than before. */
void schedule_boards_changed(struct model *m);
