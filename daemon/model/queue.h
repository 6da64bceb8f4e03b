/* Wanted jobs that wait for a board, in a queue for each thing that can be asked of one. Pure. */
#pragma once

#include "daemon/model/state.h"

/* What a job asks of a board: whoever asks the same may run on the same boards. Compared as bytes. */
struct demand {
    const struct board *avoid, *timed_out; /* weak; NULL: none */
    int64_t memory_above;
    int64_t buildah;
    int64_t platform;
    bool dockerfile, emulated;
};

/* What the farm's boards say to that: the same for all jobs of a queue, and told of each. */
struct boards_say {
    int64_t stamp; /* of the model's boards_stamp; another one: to be asked again */
    char *text;    /* of those that could run them; NULL: none does */
    bool can_run;  /* one that is there could */
    bool emulated_only, tools_only, too_old; /* what is in the way of some */
};

struct queue {
    struct demand demand;
    struct boards_say say;
    jobvec heap; /* the first is the next */
    /* of a round of placing: see schedule.c */
    VEC(struct board *) fit; /* boards that take work and could take these */
    size_t cursor;           /* none before it is free */
    size_t looked_past;
    UT_hash_handle hh;
};

/* Whether a goes first. */
bool queue_before(const struct job *a, const struct job *b);
/* Puts the job, by its `order`, into the queue of what it asks; one that is in a queue is moved. */
void queue_put(struct model *m, struct job *j);
/* Takes it out of its queue, if it is in one. */
void queue_drop(struct job *j);
/* The first of a queue that is not empty, out of it. */
struct job *queue_pop(struct queue *q);
/* The orders of its jobs have changed. */
void queue_sort(struct queue *q);
/* How many jobs are in all queues. */
size_t queue_length(const struct model *m);
/* Frees the queues that are empty. */
void queue_sweep(struct model *m);
/* Frees all queues. */
void queue_done(struct model *m);
