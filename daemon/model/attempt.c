/* An attempt: one lease of a job to one board.
 *
 *     happy path     granted -> running -> succeeded
 *     failure modes  failed; cancelled (the job is not wanted, or the answer that granted it was lost);
 *                    lost (no poll listed it for a term) -> running again when the board comes back before the job
 *                    is granted to another */
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"

#include <assert.h>
#include <inttypes.h>

#define BIT(s) (1u << (s))
#define ENDS   (BIT(ATTEMPT_SUCCEEDED) | BIT(ATTEMPT_FAILED) | BIT(ATTEMPT_CANCELLED))

static const unsigned allowed[] = {
    [ATTEMPT_GRANTED] = BIT(ATTEMPT_RUNNING) | BIT(ATTEMPT_LOST) | ENDS,
    [ATTEMPT_RUNNING] = BIT(ATTEMPT_LOST) | ENDS,
    [ATTEMPT_SUCCEEDED] = 0,
    [ATTEMPT_FAILED] = 0,
    [ATTEMPT_LOST] = BIT(ATTEMPT_RUNNING) | ENDS,
    [ATTEMPT_CANCELLED] = 0,
};

bool attempt_may(enum attempt_state from, enum attempt_state to)
{
    return allowed[from] & BIT(to);
}

struct attempt *attempt_find(const struct model *m, const char *lease)
{
    struct attempt *a = NULL;
    HASH_FIND_STR(m->attempts, lease, a);
    return a;
}

void attempt_add(struct model *m, struct attempt *a)
{
    HASH_ADD_KEYPTR(hh, m->attempts, a->lease, strlen(a->lease), a);
}

void attempt_move(struct model *m, struct attempt *a, enum attempt_state state)
{
    assert(attempt_may(a->state, state));
    a->state = state;
    m->boards_stamp++;
    model_touch(m, a);
}

static char *random_secret(struct model *m)
{
    unsigned char bytes[24];
    m->hooks.fill_random(m->hooks.data, bytes, sizeof(bytes));
    struct strbuf text = {0};
    for (size_t i = 0; i < sizeof(bytes); i++)
        strbuf_addf(&text, "%02x", bytes[i]);
    return strbuf_steal(&text);
}

static void end_previous(struct model *m, struct job *j)
{
    struct attempt *a = j->live;
    if (!a)
        return;
    if (a->state != ATTEMPT_LOST)
        attempt_move(m, a, ATTEMPT_LOST);
    attempt_end(m, a);
}

struct attempt *attempt_grant(struct model *m, struct job *j, struct board *b)
{
    end_previous(m, j);
    struct attempt *a = xnew(struct attempt);
    a->row.table = TABLE_ATTEMPT;
    a->id = model_next(m, "next attempt");
    a->lease = xasprintf("L%" PRId64, a->id);
    a->job_key = xstrdup(j->key);
    a->epoch = ++j->epoch;
    a->board_name = xstrdup(b->name);
    a->secret = random_secret(m);
    a->granted_at = m->wall;
    a->job = j;
    job_hold(j);
    a->board = b;
    a->granted_clock = model_clock(m);
    a->granted_mono = m->mono;
    a->granted_seq = b->seq;
    a->due = m->mono + m->farm->lease_term_ms;
    model_timer(m, a->due);
    model_clock_keep(m);
    attempt_add(m, a);
    model_touch(m, a);
    vec_push(&b->leases, a);
    j->live = a;
    j->attempt = a->id;
    j->started_at = m->wall;
    str_replace(&j->board, b->name);
    job_move(m, j, JOB_LEASED);
    model_effect(m, EFFECT_LEASE)->lease = xstrdup(a->lease);
    return a;
}

void attempt_reattach(struct model *m, struct attempt *a, struct board *b)
{
    a->due = m->mono + m->farm->lease_term_ms;
    model_timer(m, a->due);
    if (a->state == ATTEMPT_RUNNING)
        return;
    attempt_move(m, a, ATTEMPT_RUNNING);
    if (!a->started_at)
        a->started_at = m->wall;
    else if (a->job->live == a && a->job->losses > 0) {
        a->job->losses--; /* it was counted as lost, and was not */
        model_touch(m, a->job);
    }
    struct job *j = a->job;
    if (j->live != a || !job_under_way(j) || j->state == JOB_RUNNING)
        return;
    j->retry_due = j->retry_clock = 0;
    str_replace(&j->board, b->name);
    job_move(m, j, JOB_RUNNING);
}

void attempt_end(struct model *m, struct attempt *a)
{
    if (!a->secret)
        return;
    free(a->secret);
    a->secret = NULL;
    a->finished_at = m->wall;
    model_touch(m, a);
    HASH_DEL(m->attempts, a);
    if (a->job->live == a)
        a->job->live = NULL;
    if (a->board)
        for (size_t i = 0; i < a->board->leases.n; i++)
            if (a->board->leases.items[i] == a) {
                vec_remove(&a->board->leases, i);
                break;
            }
    vec_push(&m->ended_attempts, a);
    struct effect *e = model_effect(m, EFFECT_LEASE);
    e->lease = xstrdup(a->lease);
    e->ended = true;
    m->dispatch = true;
}

void attempt_free(struct attempt *a)
{
    row_done(TABLE_ATTEMPT, a);
    free(a);
}
