/* What git_pool.c and its neighbours share. */
#pragma once

#include "daemon/git_pool.h"

#include <jansson.h>

enum git_op { GIT_OP_LIST, GIT_OP_FETCH, GIT_OP_INSPECT, GIT_OP_ANCESTOR, GIT_OP_ARCHIVE };

/* queued -> running -> finished; queued -> finished when cancelled. Then its callback fires. */
enum git_request_state { GIT_QUEUED, GIT_RUNNING, GIT_FINISHED };

struct git_process;
struct seat;

struct git_request {
    struct git_pool *pool;    /* weak */
    struct git_request *next; /* in one of the pool's lists, by state */
    uint64_t number;          /* rises with each request */
    enum git_op op;
    enum git_request_state state;
    json_t *body; /* without the id; NULL when an argument was not UTF-8 */
    int64_t timeout_ms;
    struct seat *seat; /* weak; while running */
    json_t *answer;    /* of success */
    struct err err;    /* of failure: code is 0 while there is none */
    union {
        git_list_cb list;
        git_fetch_cb fetch;
        git_inspect_cb inspect;
        git_ancestor_cb ancestor;
        git_archive_cb archive;
    } cb;
    void *userdata;
};

/* Whether the operation speaks to an upstream. */
static inline bool git_op_is_remote(enum git_op op)
{
    return op == GIT_OP_LIST || op == GIT_OP_FETCH;
}

/* ---- git_pool_answer.c ---- */

/* Reads a worker's line to request `id`: into *ret_answer the object (owned by the caller), without "id" and
 * "ok". The worker's own failures come as `err`; -EPROTO is a line that no worker of ours writes. */
int git_answer_parse(const char *line, size_t n, int64_t id, json_t **ret_answer, struct err *err);
/* Calls the request's callback with its answer or its error. */
void git_answer_deliver(struct git_request *request);

/* ---- git_process.c: one worker process ---- */

/* What the pool wants to know of its processes; both may be called from the loop only. */
struct git_process_events {
    /* A whole line, without its end; NULL when the process will not answer any more. */
    void (*line)(struct git_process *process, const char *line, size_t n);
    /* It has ended and nothing of it is left; it is freed afterwards. */
    void (*gone)(struct git_process *process);
};

/* Starts a process; the strings of `argv` are needed during the call only. -errno when it cannot be; `gone`
 * is called all the same, later. */
int git_process_start(uv_loop_t *loop, char **argv, const struct git_process_events *events,
                      void *userdata, struct git_process **ret, struct err *err);
/* Writes a line (taken over) and expects one back within `timeout_ms`; at the deadline `line` is called
 * with NULL and git_process_timed_out is true. */
void git_process_ask(struct git_process *process, char *line, size_t n, int64_t timeout_ms);
/* Ends it at once; `line` is not called any more, `gone` is. */
void git_process_kill(struct git_process *process);
/* Whether it was the deadline that ended it. */
bool git_process_timed_out(const struct git_process *process);
/* What was given at the start. */
void *git_process_userdata(const struct git_process *process);
