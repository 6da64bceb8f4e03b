/* Failures (design rule 5): what becomes of a job whose attempt failed or was lost, when a job that settled as
 * failed is tried again, and which board is to blame.
 *
 *     infra       never settles: again after 5 s, doubling to 5 min, on another board while there is one
 *     given up    by an agent that stops or is started anew: at once; from the second time on as infra
 *     not there   what it put is not in the registry: the same
 *     recipe      once more, on another board if there is one; then failed
 *     rejected    as recipe
 *     timeout     once, on another board; failed if there is none, or if it had failed by itself before
 *     memory      only on a board with more; failed if there is none, until one comes
 *     poison      the second board lost in the middle of it: failed
 *
 * Another board is one that takes work, or has taken none for less than a day: see board_gone_clock.
 *
 * What settled as failed is tried again after 1 h, doubling to 24 h: each time a round of tries as above. */
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"
#include "daemon/model/queue.h"
#include "daemon/model/schedule.h"

#include <inttypes.h>

#define HOUR_MS             ((int64_t)60 * 60 * 1000)
#define FAILED_AT_LEAST_MS  HOUR_MS
#define FAILED_AT_MOST_MS   (24 * HOUR_MS)
#define BLAMES_AT_MOST      3
#define SUCCESSES_TO_FORGET 10

static int64_t failed_delay(int64_t failures)
{
    int64_t delay = FAILED_AT_LEAST_MS;
    for (int64_t i = 1; i < failures && delay < FAILED_AT_MOST_MS; i++)
        delay *= 2;
    return delay < FAILED_AT_MOST_MS ? delay : FAILED_AT_MOST_MS;
}

/* ---- waiting ---- */

static void wait_for_retry(struct model *m, struct job *j, int64_t delay)
{
    j->retry_clock = delay ? model_clock(m) + delay : 0;
    j->retry_due = 0;
    model_touch(m, j);
    if (delay)
        job_resume_wait(m, j);
}

void job_resume_wait(struct model *m, struct job *j)
{
    j->retry_due = model_clock_due(m, j->retry_clock);
    queue_drop(j);
    vec_push(&m->backing_off, j);
    job_hold(j);
    model_timer(m, j->retry_due);
    model_clock_keep(m);
}

static void back_in_the_queue(struct model *m, struct job *j)
{
    j->retry_due = j->retry_clock = 0;
    model_touch(m, j);
    if (j->state == JOB_WANTED)
        schedule_add(m, j);
    job_changed(m, j);
}

void job_timer(struct model *m)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->backing_off.n; i++) {
        struct job *j = m->backing_off.items[i];
        bool waits = (j->state == JOB_WANTED || j->state == JOB_FAILED) && j->retry_due;
        if (waits && j->retry_due > m->mono) {
            m->backing_off.items[kept++] = j;
            model_timer(m, j->retry_due);
            continue;
        }
        job_let_go(m, j);
        if (waits)
            back_in_the_queue(m, j);
    }
    m->backing_off.n = kept;
}

bool job_retry_now(struct model *m, struct job *j)
{
    if (j->state != JOB_WANTED || !j->retry_due)
        return false;
    back_in_the_queue(m, j);
    return true;
}

bool job_retry_due(const struct model *m, const struct job *j)
{
    if (j->state != JOB_FAILED || j->retry_due)
        return false;
    return !j->memory_above || schedule_elsewhere(m, j, NULL, j->memory_above);
}

char *job_failed_text(const struct job *j)
{
    const char *kind = failure_kind_names[j->kind], *reason = j->reason ? j->reason : "";
    if (j->kind == FAILURE_MEMORY && !j->retry_due)
        return xasprintf("%s: %s; tried again on a board with more than %" PRId64 " MiB", kind,
                         reason, j->memory_above >> 20);
    return xasprintf("%s: %s; tried again after %" PRId64 " h", kind, reason,
                     failed_delay(j->failures) / HOUR_MS);
}

/* ---- failing ---- */

static void fail(struct model *m, struct job *j, enum failure_kind kind)
{
    j->kind = kind;
    j->failures++;
    j->finished_at = m->wall;
    job_move(m, j, JOB_FAILED);
    bool needs_more = kind == FAILURE_MEMORY && !schedule_elsewhere(m, j, NULL, j->memory_above);
    wait_for_retry(m, j, needs_more ? 0 : failed_delay(j->failures));
}

static void try_again(struct model *m, struct job *j, int64_t delay)
{
    if (j->state != JOB_WANTED)
        job_move(m, j, JOB_WANTED);
    else
        job_changed(m, j); /* it was wanted again before its attempt had ended */
    wait_for_retry(m, j, delay);
    if (!delay)
        schedule_add(m, j);
}

static void note_failure(struct job *j, const struct attempt *a)
{
    j->kind = a->kind;
    str_replace(&j->reason, a->reason);
    str_replace(&j->avoid, a->board_name);
    if (a->kind == FAILURE_RECIPE || a->kind == FAILURE_REJECTED || a->kind == FAILURE_TIMEOUT)
        str_replace(&j->suspect, a->board_name);
}

/* A round has two tries that fail by themselves, whatever they fail of. */
static bool was_the_second(const struct job *j)
{
    return j->timeouts + j->recipe_failures > 1;
}

void job_attempt_failed(struct model *m, struct job *j, struct attempt *a)
{
    note_failure(j, a);
    switch (a->kind) {
    case FAILURE_INFRA:
        j->infra_failures++;
        try_again(m, j, model_backoff(j->infra_failures));
        return;
    case FAILURE_TIMEOUT:
        j->timeouts++;
        if (was_the_second(j) || !schedule_elsewhere(m, j, a->board_name, 0))
            fail(m, j, FAILURE_TIMEOUT);
        else
            try_again(m, j, 0);
        return;
    case FAILURE_MEMORY:
        j->memory_above =
            a->board && a->board->memory > j->memory_above ? a->board->memory : j->memory_above;
        if (!schedule_has_board(m, j))
            fail(m, j, FAILURE_MEMORY);
        else
            try_again(m, j, 0);
        return;
    default:
        j->recipe_failures++;
        if (was_the_second(j))
            fail(m, j, a->kind);
        else
            try_again(m, j, 0);
    }
}

void job_nowhere(struct model *m, struct job *j)
{
    if (j->timeouts > 0) {
        cleanup_free char *reason = xasprintf(
            "it timed out on board %s, and no other board takes it", j->suspect ? j->suspect : "");
        str_replace(&j->reason, reason);
    }
    fail(m, j, j->timeouts > 0 ? FAILURE_TIMEOUT : FAILURE_MEMORY);
}

void job_attempt_lost(struct model *m, struct job *j, struct attempt *a, bool blame)
{
    if (blame) {
        j->losses++;
        str_replace(&j->avoid, a->board_name);
        cleanup_free char *reason =
            xasprintf("board %s was lost while it built this", a->board_name);
        str_replace(&j->reason, reason);
    }
    if (j->losses > 1)
        fail(m, j, FAILURE_POISON);
    else
        try_again(m, j, 0);
}

/* As with a board that fails: `reason` is told, and the board avoided. Returns the delay. */
static int64_t note_infra(struct job *j, const char *board, const char *reason)
{
    str_replace(&j->reason, reason);
    str_replace(&j->avoid, board);
    j->kind = FAILURE_INFRA;
    return model_backoff(j->infra_failures);
}

void job_given_up(struct model *m, struct job *j, struct attempt *a)
{
    if (j->infra_failures++ == 0) {
        job_attempt_lost(m, j, a, false);
        return;
    }
    cleanup_free char *reason = xasprintf("the agent of board %s gave it up%s%s", a->board_name,
                                          a->reason ? ": " : "", a->reason ? a->reason : "");
    try_again(m, j, note_infra(j, a->board_name, reason));
}

void job_output_lost(struct model *m, struct job *j)
{
    int64_t before = j->infra_failures; /* since an output of it was kept */
    job_want(m, j, CLASS_SOURCE);
    j->infra_failures = before + 1;
    if (before == 0)
        return;
    cleanup_free char *reason =
        xasprintf("the registry does not have what board %s put there", j->board ? j->board : "");
    wait_for_retry(m, j, note_infra(j, j->board, reason));
}

void job_output_kept(struct model *m, struct job *j)
{
    if (!j->infra_failures)
        return;
    j->infra_failures = 0;
    model_touch(m, j);
}

/* ---- blame ---- */

void job_blame(struct model *m, const struct job *j, struct board *winner)
{
    if (winner && winner->blames) {
        if (++winner->good >= SUCCESSES_TO_FORGET)
            winner->good = winner->blames = 0;
        model_touch(m, winner);
    }
    struct board *b = j->suspect ? board_find(m, j->suspect) : NULL;
    if (!b || b == winner)
        return;
    b->blames++;
    b->good = 0;
    model_touch(m, b);
    if (b->blames >= BLAMES_AT_MOST && b->state != BOARD_JOINING)
        board_move(m, b, BOARD_QUARANTINED);
}
