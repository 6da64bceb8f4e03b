/* What boards say, and what they are answered (design.md, section 6).
 *
 * Only leases that a poll lists are renewed. One that was granted and is not in the next poll was lost with the
 * answer: requeued, nobody blamed. One that is listed but not current is cancelled. */
#include "common/json.h"
#include "daemon/model/estimate.h"
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"
#include "daemon/model/schedule.h"

#include <errno.h>
#include <inttypes.h>

#define POLL_MS 30000

static void reply(struct model *m, uint64_t token, int status, char *body)
{
    struct effect *e = model_effect(m, EFFECT_REPLY);
    e->token = token;
    e->status = status;
    e->body = body;
}

static void refuse(struct model *m, uint64_t token, int status, const char *text)
{
    struct wire_error error = {.error = (char *)(uintptr_t)text};
    reply(m, token, status, wire_error_encode(&error));
}

/* ---- session ---- */

static bool holds(const wire_held_list *held, const struct attempt *a)
{
    VEC_FOREACH (held, h)
        if (str_eq(h->lease, a->lease) && h->epoch == a->epoch)
            return true;
    return false;
}

/* Whether the board may go on with what it says it holds. */
static struct attempt *current(const struct model *m, const struct board *b,
                               const struct wire_held *h)
{
    struct attempt *a = attempt_find(m, h->lease);
    bool ours = a && a->board == b && a->epoch == h->epoch && a->job->live == a && !a->cancel;
    return ours ? a : NULL;
}

/* The agent was started anew, or forgot: what it does not hold any more is not running. */
static void drop_unheld(struct model *m, struct board *b, const wire_held_list *held)
{
    for (size_t i = b->leases.n; i-- > 0;) {
        struct attempt *a = b->leases.items[i];
        if (holds(held, a))
            continue;
        struct job *j = a->job;
        bool was_live = j->live == a && (j->state == JOB_LEASED || j->state == JOB_RUNNING);
        if (a->state != ATTEMPT_LOST)
            attempt_move(m, a, ATTEMPT_LOST);
        if (was_live)
            job_attempt_lost(m, j, a, false);
        attempt_end(m, a);
    }
}

static void reattach(struct model *m, struct board *b, const wire_held_list *held, strvec *cancel)
{
    VEC_FOREACH (held, h) {
        struct attempt *a = current(m, b, h);
        if (a)
            attempt_reattach(m, a, b);
        else
            strvec_add(cancel, h->lease);
    }
}

static char *random_session(struct model *m)
{
    uint64_t n[2];
    m->hooks.fill_random(m->hooks.data, n, sizeof(n));
    return xasprintf("S%016" PRIx64 "%016" PRIx64, n[0], n[1]);
}

static void come_online(struct model *m, struct board *b)
{
    b->due = m->mono + m->farm->lease_term_ms;
    model_timer(m, b->due);
    b->seen_at = m->wall;
    if (b->state != BOARD_QUARANTINED)
        board_move(m, b, b->draining ? BOARD_DRAINING : BOARD_ONLINE);
}

void model_on_session(struct model *m, const char *board, const struct wire_session_request *req,
                      uint64_t token)
{
    struct board *b = board_find(m, board);
    if (!b) {
        refuse(m, token, 401, "no such board");
        return;
    }
    if (b->state == BOARD_QUARANTINED && b->boot && !str_eq(b->boot, req->boot)) {
        b->blames = b->good = 0;
        board_move(m, b, BOARD_OFFLINE);
    }
    board_reply_poll(m, b, true);
    free(b->session);
    b->session = random_session(m);
    str_replace(&b->boot, req->boot);
    cleanup_free char *old = b->facts;
    b->facts = wire_facts_encode(&req->facts);
    board_take_facts(m, b, &req->facts);
    if (!str_eq(old, b->facts)) {
        schedule_boards_changed(m);
        board_plan_waiting(m);
    }
    model_touch(m, b);
    b->draining = false;
    drop_unheld(m, b, &req->held);
    struct wire_session_response answer = {.session = b->session,
                                           .board = b->name,
                                           .term_ms = m->farm->lease_term_ms,
                                           .poll_ms = POLL_MS};
    reattach(m, b, &req->held, &answer.cancel);
    come_online(m, b);
    reply(m, token, 200, wire_session_response_encode(&answer));
    strvec_done(&answer.cancel);
}

/* ---- poll ---- */

/* The job as its row has it, and what depends on the board and the attempt. The caller owns it. */
static char *job_text(const struct attempt *a)
{
    struct strbuf text = {0};
    strbuf_add(&text, a->job->spec);
    json_set_bool(&text, "emulated", a->board->emulated[a->job->platform]);
    json_set_bool(&text, "no_cache", a->job->no_cache);
    return strbuf_steal(&text);
}

void board_reply_poll(struct model *m, struct board *b, bool even_empty)
{
    m->boards_stamp++;
    if (!b->poll)
        return;
    struct wire_poll_response answer = {.seq = b->seq};
    cleanup_strvec strvec jobs = {0};
    VEC_FOREACH (&b->leases, it) {
        struct attempt *a = *it;
        if (a->cancel && !a->told) {
            strvec_add(&answer.cancel, a->lease);
            a->told = true;
        } else if (a->state == ATTEMPT_GRANTED && !a->cancel && a->granted_seq == b->seq &&
                   !a->sent) {
            vec_push(&jobs, job_text(a));
            vec_push(&answer.leases, (struct wire_lease){.lease = xstrdup(a->lease),
                                                         .epoch = a->epoch,
                                                         .secret = xstrdup(a->secret),
                                                         .job_text = jobs.items[jobs.n - 1]});
            a->sent = true;
        }
    }
    VEC_FOREACH (&b->unknown, lease)
        strvec_add(&answer.cancel, *lease);
    if (answer.cancel.n || answer.leases.n || even_empty) {
        strvec_done(&b->unknown);
        reply(m, b->poll, 200, wire_poll_response_encode(&answer));
        b->poll = 0;
        b->answered_at = m->mono;
        b->granted_now = 0;
    }
    wire_poll_response_done(&answer);
}

void board_answer_poll(struct model *m, struct board *b)
{
    board_reply_poll(m, b, false);
}

/* Granted in answer to an earlier poll, and not in this one: the answer was lost. */
static void requeue_lost_grants(struct model *m, struct board *b, const wire_held_list *held)
{
    for (size_t i = b->leases.n; i-- > 0;) {
        struct attempt *a = b->leases.items[i];
        if (a->state != ATTEMPT_GRANTED || a->granted_seq >= b->seq || holds(held, a))
            continue;
        struct job *j = a->job;
        bool live = j->live == a && j->state == JOB_LEASED;
        attempt_move(m, a, ATTEMPT_CANCELLED);
        attempt_end(m, a);
        if (live)
            job_attempt_lost(m, j, a, false);
    }
}

/* Told to be cancelled, and not listed any more: it is gone. */
static void end_cancelled(struct model *m, struct board *b, const wire_held_list *held)
{
    for (size_t i = b->leases.n; i-- > 0;) {
        struct attempt *a = b->leases.items[i];
        if (!a->cancel || holds(held, a))
            continue;
        attempt_move(m, a, ATTEMPT_CANCELLED);
        attempt_end(m, a);
    }
}

static void renew(struct model *m, struct board *b, const wire_held_list *held)
{
    VEC_FOREACH (held, h) {
        struct attempt *a = attempt_find(m, h->lease);
        if (a && a->board == b && a->epoch == h->epoch && a->cancel) {
            a->told = false; /* it was told, and says that it still holds it */
            a->due = m->mono + m->farm->lease_term_ms;
        } else if (current(m, b, h)) {
            attempt_reattach(m, a, b);
        } else {
            strvec_add(&b->unknown, h->lease);
        }
    }
}

void model_on_poll(struct model *m, const char *board, const struct wire_poll_request *req,
                   uint64_t token)
{
    struct board *b = board_find(m, board);
    if (!b || !b->session || !str_eq(b->session, req->session)) {
        refuse(m, token, 410, "this session is over: begin a new one");
        return;
    }
    board_reply_poll(m, b, true);
    b->seq = req->seq;
    b->agent_free = req->free;
    b->load = req->load;
    b->temperature = req->temperature;
    b->disk_free = req->disk_free;
    b->memory_free = req->memory_free;
    b->draining = req->draining;
    come_online(m, b);
    cleanup_free char *why_not = board_why_not(m, b);
    board_takes(m, b, !why_not);
    strvec_done(&b->unknown);
    requeue_lost_grants(m, b, &req->held);
    end_cancelled(m, b, &req->held);
    renew(m, b, &req->held);
    b->poll = token;
    b->poll_due = m->mono + POLL_MS;
    model_timer(m, b->poll_due);
    m->dispatch = true;
    board_reply_poll(m, b, false);
}

void model_on_poll_closed(struct model *m, uint64_t token)
{
    for (struct board *b = m->boards; b; b = b->hh.next)
        if (b->poll == token)
            b->poll = 0;
}

/* ---- results ---- */

static void keep_result(struct model *m, const struct attempt *a, const struct wire_result *result)
{
    const struct wire_type *type = wire_result_type();
    struct result *r = xnew(struct result);
    r->row.table = TABLE_RESULT;
    r->attempt = a->id;
    r->job_key = xstrdup(a->job_key);
    r->timings = wire_encode_member(type, result, "timings");
    r->layers = wire_encode_member(type, result, "layers");
    r->packages = wire_encode_member(type, result, "packages");
    r->build_root = result->build_root ? wire_encode_member(type, result, "build_root") : NULL;
    delta_upsert(&m->turn->delta, TABLE_RESULT, r);
    row_done(TABLE_RESULT, r);
    free(r);
}

static void succeed(struct model *m, struct job *j, struct attempt *a, const struct wire_result *r)
{
    attempt_move(m, a, ATTEMPT_SUCCEEDED);
    job_blame(m, j, a->board);
    str_replace(&j->manifest_digest, r->manifest->digest);
    str_replace(&j->manifest_media_type, r->manifest->media_type);
    j->manifest_size = r->manifest->size;
    str_replace(&j->config_digest, r->config_digest);
    str_replace(&j->content_digest, r->content_digest);
    str_replace(&j->board, a->board_name);
    j->duration_ms = m->mono - a->granted_mono; /* the wall clock may have jumped */
    if (a->board)
        estimate_learn(m, j, a->board, j->duration_ms);
    j->finished_at = m->wall;
    j->kind = FAILURE_NONE;
    str_replace(&j->reason, NULL);
    str_replace(&j->avoid, NULL);
    str_replace(&j->suspect, NULL);
    j->failures = j->retry_due = j->retry_clock = 0;
    job_move(m, j, JOB_SUCCEEDED);
}

static enum failure_kind kind_of(enum wire_failure kind)
{
    static const enum failure_kind kinds[] = {
        [WIRE_FAILURE_NONE] = FAILURE_INFRA,    [WIRE_FAILURE_INFRA] = FAILURE_INFRA,
        [WIRE_FAILURE_RECIPE] = FAILURE_RECIPE, [WIRE_FAILURE_TIMEOUT] = FAILURE_TIMEOUT,
        [WIRE_FAILURE_MEMORY] = FAILURE_MEMORY, [WIRE_FAILURE_REJECTED] = FAILURE_REJECTED,
    };
    return kinds[kind];
}

/* The outcome of an attempt that is still its job's. */
static void conclude(struct model *m, struct job *j, struct attempt *a, const struct wire_result *r)
{
    bool wanted = job_under_way(j);
    if (r->outcome == WIRE_SUCCEEDED && !(j->state == JOB_CANCELLED && j->settled)) {
        succeed(m, j, a, r);
        return;
    }
    if (r->outcome == WIRE_FAILED) {
        a->kind = kind_of(r->kind);
        attempt_move(m, a, ATTEMPT_FAILED);
        if (wanted)
            job_attempt_failed(m, j, a);
        return;
    }
    if (r->outcome == WIRE_LOST && a->state != ATTEMPT_LOST)
        attempt_move(m, a, ATTEMPT_LOST);
    else if (r->outcome != WIRE_LOST)
        attempt_move(m, a, ATTEMPT_CANCELLED);
    if (wanted && a->cancel) /* it was asked to, and the job is wanted again */
        job_attempt_lost(m, j, a, false);
    else if (wanted)
        job_given_up(m, j, a);
}

void model_on_result(struct model *m, const char *lease, const struct wire_result *result,
                     uint64_t token)
{
    struct attempt *a = attempt_find(m, lease);
    if (!a || a->epoch != result->epoch || a->job->live != a) {
        refuse(m, token, 409, "the lease is not current");
        return;
    }
    str_replace(&a->reason, result->reason);
    a->log_size = result->log_size;
    a->finished_at = m->wall;
    model_touch(m, a);
    if (result->outcome != WIRE_LOST) /* what failed has taken its time too */
        keep_result(m, a, result);
    conclude(m, a->job, a, result);
    attempt_end(m, a);
    reply(m, token, 200, xstrdup("{}"));
}

/* Compares in a time that tells nothing of where they differ. */
static bool secret_equal(const char *a, const char *b)
{
    size_t n = strlen(a);
    if (!b || strlen(b) != n)
        return false;
    unsigned char difference = 0;
    for (size_t i = 0; i < n; i++)
        difference |= (unsigned char)(a[i] ^ b[i]);
    return !difference;
}

int model_lease_rights(const struct model *m, const char *lease, const char *secret,
                       struct lease_rights *ret)
{
    const struct attempt *a = attempt_find(m, lease);
    if (!a || !a->secret || !secret_equal(a->secret, secret))
        return -ENOENT;
    const struct job *j = a->job;
    *ret = (struct lease_rights){.board = a->board_name,
                                 .repository = j->repository,
                                 .source = j->source,
                                 .commit = j->commit,
                                 .path = j->path,
                                 .dockerfile = j->dockerfile,
                                 .spec = j->spec,
                                 .current = j->live == a};
    return 0;
}

int64_t model_last_attempt(const struct model *m, const char *key)
{
    const struct job *j = job_find(m, key);
    return j ? j->attempt : -1;
}

int64_t model_live_attempt(const struct model *m, const char *key)
{
    const struct job *j = job_find(m, key);
    return j && j->live ? j->live->id : 0;
}
