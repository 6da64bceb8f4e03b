/* What a board keeps on disk of its leases until the coordinator has acknowledged them:
 *
 *     <state>/lock                     one agent a state folder
 *     <state>/jobs/<lease>/lease.json  what was asked for (written whole, by rename)
 *     <state>/jobs/<lease>/log         append-only
 *     <state>/jobs/<lease>/result.json what became of it (written whole, by rename)
 *     <state>/jobs/<lease>/cancelled   there if the coordinator asked for the job's end
 *     <state>/jobs/<lease>/work/       the helper's
 *     <state>/trash/jobs/…             workspaces to be swept by `sheaf-job --sweep <state>/trash`
 *
 * A crash between any two steps leaves a lease that is either unknown (it never began) or finished: with
 * the helper's result if that was whole, else as lost. Nothing is forced to the disk: after a power cut
 * the worst is a job reported as lost, and SD cards have few writes to give. */
#pragma once

#include "agent/assignment.h"

struct spool;

/* One lease. Read only, but by spool.c. */
struct spool_job {
    char *lease;
    char *secret;
    char *dir;
    int64_t epoch;
    int log_fd; /* for reading with pread; -1: there is no log */
    int64_t log_size;
    bool cancelled; /* the coordinator asked for its end */
    /* the rest is spool.c's own */
    int64_t log_limit, log_dropped;
    bool log_full;
    char *result; /* text that could not be written */
};

/* Opens <state>, making what is not there, and takes its lock (-EBUSY: another agent has it). Every lease
 * found gets a result if it has none. The caller owns *ret. `log_limit`: bytes of log kept a job. */
int spool_open(const char *state, int64_t log_limit, struct spool **ret, struct err *err);
/* Closes it; files stay. NULL is fine. */
void spool_close(struct spool *spool);

/* How many leases there are, and the i-th, borrowed until its spool_remove. */
size_t spool_count(const struct spool *spool);
/* See spool_count. */
struct spool_job *spool_at(const struct spool *spool, size_t i);
/* The job of a lease, or NULL; borrowed. */
struct spool_job *spool_find(const struct spool *spool, const char *lease);

/* Makes the folder of a lease and writes its lease.json. When the disk refuses, the job exists in memory
 * all the same, so that its failure can be reported: *ret is set in any case. */
int spool_add(struct spool *spool, const struct assignment *assignment, struct spool_job **ret,
              struct err *err);
/* Appends to the log. Beyond the limit, or when the disk is full, bytes are dropped, and the log says
 * how many. */
void spool_log(struct spool_job *job, const void *data, size_t n);
/* Appends one line of our own to the log. */
void spool_note(struct spool_job *job, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Notes that the coordinator asked for the job's end. */
void spool_mark_cancelled(struct spool_job *job);
/* The job's result with log_size filled in. One that says cancelled without the coordinator having asked
 * (the agent's end took the job with it) is given as lost. -ENOENT when there is none, -EINVAL when it is damaged or of
 * another epoch. The caller ends *ret with wire_result_done. */
int spool_result(const struct spool_job *job, struct wire_result *ret, struct err *err);
/* Keeps `result` in place of what is there; in memory when the disk refuses. */
void spool_set_result(struct spool_job *job, const struct wire_result *result);
/* Removes a lease's files and frees the job. A workspace that is left goes to the trash; then true. */
bool spool_remove(struct spool *spool, struct spool_job *job);

/* Whether the trash holds something. */
bool spool_has_trash(const struct spool *spool);
/* The folder to hand to `sheaf-job --sweep`; borrowed. */
const char *spool_trash(const struct spool *spool);
/* After a sweep: removes the empty folders. */
void spool_trash_swept(struct spool *spool);
