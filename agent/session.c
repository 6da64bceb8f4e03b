#include "agent/session.h"

#include <assert.h>

#define RETRY_MIN_MS   200
#define RETRY_MAX_MS   10000
#define STOP_MS        25000
#define POLL_MS        30000
#define QUICK_MS       50 /* an empty answer within this is suspicious */
#define QUICK_FREE     8  /* that many in a row pass without a delay */
#define QUICK_DELAY_MS 500
#define RECENT         128

/* What a held lease goes through:
 *
 *     from \ to   RUNNING    FLUSHING     REPORTING    gone
 *     (new)       polled     restore
 *     RUNNING                job_ended
 *     FLUSHING                            log_sent
 *     REPORTING                                        result_sent
 */
enum phase { RUNNING, FLUSHING, REPORTING };

struct held {
    char lease[65];
    int64_t epoch;
    enum phase phase;
    bool cancelled; /* has been told to end */
    bool sending;   /* its result is under way */
    unsigned failures;
    int64_t retry_at;
};

struct session {
    struct session_settings settings;
    enum session_state state;
    uint64_t random;
    bool ready, draining, stopping;
    char *id, *board;
    int64_t poll_ms;

    VEC(struct held) held;
    VEC(struct session_action) actions;
    size_t taken; /* of the actions */

    bool joining;      /* a JOIN is under way */
    unsigned failures; /* of join and poll in a row */
    unsigned lost;     /* sessions lost since a poll was last answered */
    int64_t retry_at;  /* of join or poll; SESSION_NEVER: not waiting */
    int64_t stop_at;

    int64_t seq;       /* of the newest poll */
    int64_t sent_at;   /* when that was */
    int64_t newest;    /* == seq while that is open, else 0 */
    int64_t overtaken; /* an older one that is open, else 0 */
    unsigned quick;    /* empty answers in a row that came at once */

    char recent[RECENT][65]; /* leases done with, a ring */
    unsigned recent_next;
};

/* ---- small things ---- */

static int64_t or_default(int64_t value, int64_t otherwise)
{
    return value > 0 ? value : otherwise;
}

struct session *session_new(const struct session_settings *settings)
{
    struct session *s = xnew(struct session);
    s->settings = *settings;
    s->settings.retry_min_ms = or_default(settings->retry_min_ms, RETRY_MIN_MS);
    s->settings.retry_max_ms = or_default(settings->retry_max_ms, RETRY_MAX_MS);
    s->settings.stop_ms = or_default(settings->stop_ms, STOP_MS);
    s->random = settings->seed | 1;
    s->poll_ms = POLL_MS;
    s->retry_at = s->stop_at = SESSION_NEVER;
    s->id = xstrdup("");
    s->board = xstrdup("");
    return s;
}

void session_free(struct session *s)
{
    if (!s)
        return;
    struct session_action action;
    while (session_next(s, &action))
        if (action.grant) {
            wire_lease_done(action.grant);
            free(action.grant);
        }
    vec_free(&s->held);
    vec_free(&s->actions);
    free(s->id);
    free(s->board);
    free(s);
}

/* xorshift64: boards must not come back all at once, no more is asked of it. */
static int64_t jittered(struct session *s, int64_t delay)
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return delay / 2 + (int64_t)(s->random % (uint64_t)(delay / 2 + 1));
}

static int64_t back_off(struct session *s, unsigned failures)
{
    int64_t delay = s->settings.retry_min_ms;
    for (unsigned i = 1; i < failures && delay < s->settings.retry_max_ms; i++)
        delay *= 2;
    if (delay > s->settings.retry_max_ms)
        delay = s->settings.retry_max_ms;
    return jittered(s, delay);
}

static struct session_action *act(struct session *s, enum session_action_kind kind)
{
    vec_push(&s->actions, (struct session_action){.kind = kind});
    return &s->actions.items[s->actions.n - 1];
}

static struct session_action *act_on(struct session *s, enum session_action_kind kind,
                                     const struct held *h)
{
    struct session_action *a = act(s, kind);
    memcpy(a->lease, h->lease, sizeof(a->lease));
    return a;
}

static struct held *find(struct session *s, const char *lease)
{
    VEC_FOREACH (&s->held, h)
        if (strcmp(h->lease, lease) == 0)
            return h;
    return NULL;
}

static struct held *add(struct session *s, const char *lease, int64_t epoch, enum phase phase)
{
    struct held h = {.epoch = epoch, .phase = phase};
    snprintf(h.lease, sizeof(h.lease), "%s", lease);
    vec_push(&s->held, h);
    return &s->held.items[s->held.n - 1];
}

static bool was_recent(const struct session *s, const char *lease)
{
    for (unsigned i = 0; i < RECENT; i++)
        if (strcmp(s->recent[i], lease) == 0)
            return true;
    return false;
}

static void remember(struct session *s, const struct held *h)
{
    memcpy(s->recent[s->recent_next], h->lease, sizeof(h->lease));
    s->recent_next = (s->recent_next + 1) % RECENT;
}

/* ---- polls ---- */

static void drop_poll(struct session *s, int64_t *seq)
{
    if (*seq != 0)
        act(s, SESSION_DROP_POLL)->seq = *seq;
    *seq = 0;
}

static void poll(struct session *s, int64_t now)
{
    if (s->newest != 0) {
        drop_poll(s, &s->overtaken);
        s->overtaken = s->newest;
    }
    s->newest = ++s->seq;
    s->sent_at = now;
    s->retry_at = SESSION_NEVER;
    act(s, SESSION_POLL)->seq = s->seq;
}

/* Says at once what has changed, unless we wait for a coordinator that is away. */
static void poll_with_news(struct session *s, int64_t now)
{
    if (s->state == SESSION_ONLINE && !s->stopping && s->failures == 0)
        poll(s, now);
}

/* Notes that poll `seq` is over; whether it was open at all, and whether it was the newest. */
static bool poll_over(struct session *s, int64_t seq, bool *ret_newest)
{
    int64_t *slot = seq == s->newest ? &s->newest : &s->overtaken;
    if (seq == 0 || *slot != seq)
        return false;
    *ret_newest = slot == &s->newest;
    *slot = 0;
    return s->state == SESSION_ONLINE;
}

static void join(struct session *s)
{
    s->joining = true;
    s->retry_at = SESSION_NEVER;
    act(s, SESSION_JOIN);
}

/* ---- results ---- */

static void send_results(struct session *s, int64_t now)
{
    if (s->state != SESSION_ONLINE)
        return;
    VEC_FOREACH (&s->held, h) {
        if (h->phase != REPORTING || h->sending || h->retry_at > now)
            continue;
        h->sending = true;
        act_on(s, SESSION_SEND_RESULT, h);
    }
}

/* The coordinator is there again: what failed meanwhile need not wait out its delay. */
static void contact_made(struct session *s, int64_t now)
{
    if (s->failures > 0)
        VEC_FOREACH (&s->held, h) {
            h->retry_at = now;
            h->failures = 0;
        }
    s->failures = 0;
    send_results(s, now);
}

/* After a stop: done when no job runs, and results are told or cannot be told now. */
static void settle_stop(struct session *s, int64_t now)
{
    if (!s->stopping || s->state == SESSION_ENDED)
        return;
    bool reachable = session_is_connected(s);
    bool waiting = false;
    VEC_FOREACH (&s->held, h)
        waiting |= h->phase == RUNNING || (reachable && h->failures == 0);
    if (waiting && now < s->stop_at)
        return;
    s->state = SESSION_ENDED;
    s->retry_at = SESSION_NEVER;
    act(s, SESSION_QUIT);
}

static void contact_failed(struct session *s, int64_t now, unsigned failures)
{
    s->failures++;
    s->retry_at = now + back_off(s, failures);
    settle_stop(s, now);
}

static void cancel(struct session *s, struct held *h)
{
    if (!h || h->phase != RUNNING || h->cancelled)
        return;
    h->cancelled = true;
    act_on(s, SESSION_CANCEL, h);
}

static void cancel_listed(struct session *s, const strvec *leases)
{
    VEC_FOREACH (leases, lease)
        cancel(s, find(s, *lease));
}

/* ---- events ---- */

void session_restore(struct session *s, const char *lease, int64_t epoch)
{
    assert(s->state == SESSION_IDLE && !find(s, lease));
    act_on(s, SESSION_FLUSH, add(s, lease, epoch, FLUSHING));
}

void session_start(struct session *s, int64_t now)
{
    assert(s->state == SESSION_IDLE);
    s->state = SESSION_JOINING;
    join(s);
    settle_stop(s, now);
}

void session_set_ready(struct session *s, int64_t now, bool ready)
{
    if (s->ready == ready)
        return;
    s->ready = ready;
    poll_with_news(s, now);
}

void session_set_draining(struct session *s, int64_t now, bool draining)
{
    if (s->draining == draining)
        return;
    s->draining = draining;
    poll_with_news(s, now);
}

void session_stop(struct session *s, int64_t now)
{
    if (s->stopping)
        return;
    s->stopping = true;
    s->stop_at = now + s->settings.stop_ms;
    drop_poll(s, &s->overtaken);
    drop_poll(s, &s->newest);
    VEC_FOREACH (&s->held, h)
        cancel(s, h);
    settle_stop(s, now);
}

void session_joined(struct session *s, int64_t now, const struct wire_session_response *answer)
{
    s->joining = false;
    if (s->state != SESSION_JOINING)
        return;
    s->state = SESSION_ONLINE;
    s->poll_ms = answer->poll_ms;
    str_replace(&s->id, answer->session);
    str_replace(&s->board, answer->board);
    cancel_listed(s, &answer->cancel);
    contact_made(s, now);
    settle_stop(s, now);
    if (!s->stopping)
        poll(s, now);
}

void session_join_failed(struct session *s, int64_t now)
{
    s->joining = false;
    if (s->state == SESSION_JOINING)
        contact_failed(s, now, s->failures + 1);
}

/* Takes a lease over from the answer, unless something speaks against it; then the next poll does not
 * list it, and the coordinator takes it back. */
static void consider(struct session *s, struct wire_lease *lease)
{
    if (find(s, lease->lease) || was_recent(s, lease->lease))
        return;
    if (session_free_slots(s) <= 0 || s->held.n >= WIRE_MAX_HELD)
        return;
    struct held *h = add(s, lease->lease, lease->epoch, RUNNING);
    act_on(s, SESSION_RUN, h)->grant = xmemdup(lease, sizeof(*lease));
    memset(lease, 0, sizeof(*lease));
}

/* A coordinator that answers at once with nothing, again and again, is not asked at full speed. */
static int64_t pause_before_poll(struct session *s, int64_t now, bool empty)
{
    s->quick = empty && now - s->sent_at < QUICK_MS ? s->quick + 1 : 0;
    return s->quick > QUICK_FREE ? jittered(s, QUICK_DELAY_MS) : 0;
}

void session_polled(struct session *s, int64_t now, int64_t seq, struct wire_poll_response *answer)
{
    bool newest;
    if (!poll_over(s, seq, &newest))
        return;
    s->lost = 0;
    cancel_listed(s, &answer->cancel);
    if (!newest)
        return; /* a newer poll did not list its leases, so they are not ours */
    bool empty = answer->leases.n == 0;
    VEC_FOREACH (&answer->leases, lease)
        consider(s, lease);
    contact_made(s, now);
    int64_t pause = pause_before_poll(s, now, empty);
    if (pause > 0)
        s->retry_at = now + pause;
    else
        poll(s, now);
}

/* The coordinator restarted. The first time a new session is asked for at once; if that is lost too,
 * with growing delays. */
static void session_lost(struct session *s, int64_t now)
{
    drop_poll(s, &s->overtaken);
    drop_poll(s, &s->newest);
    s->state = SESSION_JOINING;
    s->failures++;
    if (s->lost++ == 0)
        join(s);
    else
        s->retry_at = now + back_off(s, s->lost);
}

void session_poll_failed(struct session *s, int64_t now, int64_t seq, bool gone)
{
    bool newest;
    if (!poll_over(s, seq, &newest))
        return;
    if (gone)
        session_lost(s, now);
    else if (newest)
        contact_failed(s, now, s->failures + 1);
}

void session_job_ended(struct session *s, int64_t now, const char *lease)
{
    struct held *h = find(s, lease);
    assert(h && h->phase == RUNNING);
    h->phase = FLUSHING;
    act_on(s, SESSION_FLUSH, h);
    poll_with_news(s, now);
    settle_stop(s, now);
}

void session_log_sent(struct session *s, int64_t now, const char *lease)
{
    struct held *h = find(s, lease);
    assert(h && h->phase == FLUSHING);
    h->phase = REPORTING;
    h->retry_at = now;
    send_results(s, now);
}

void session_result_sent(struct session *s, int64_t now, const char *lease)
{
    struct held *h = find(s, lease);
    assert(h && h->phase == REPORTING && h->sending);
    remember(s, h);
    act_on(s, SESSION_FORGET, h);
    vec_remove(&s->held, (size_t)(h - s->held.items));
    settle_stop(s, now);
}

void session_result_failed(struct session *s, int64_t now, const char *lease)
{
    struct held *h = find(s, lease);
    assert(h && h->phase == REPORTING && h->sending);
    h->sending = false;
    h->failures++;
    h->retry_at = now + back_off(s, h->failures);
    settle_stop(s, now);
}

void session_tick(struct session *s, int64_t now)
{
    if (s->state == SESSION_IDLE || s->state == SESSION_ENDED)
        return;
    send_results(s, now);
    if (s->retry_at <= now) {
        s->retry_at = SESSION_NEVER;
        if (s->state == SESSION_JOINING && !s->joining)
            join(s);
        else if (s->state == SESSION_ONLINE && !s->stopping)
            poll(s, now);
    }
    settle_stop(s, now);
}

/* ---- what to do ---- */

bool session_next(struct session *s, struct session_action *ret)
{
    if (s->taken == s->actions.n) {
        s->taken = s->actions.n = 0;
        return false;
    }
    *ret = s->actions.items[s->taken++];
    return true;
}

int64_t session_deadline(const struct session *s)
{
    if (s->state == SESSION_IDLE || s->state == SESSION_ENDED)
        return SESSION_NEVER;
    int64_t at = s->retry_at < s->stop_at ? s->retry_at : s->stop_at;
    if (s->state == SESSION_ONLINE)
        VEC_FOREACH (&s->held, h)
            if (h->phase == REPORTING && !h->sending && h->retry_at < at)
                at = h->retry_at;
    return at;
}

/* ---- what it is ---- */

enum session_state session_state(const struct session *s)
{
    return s->state;
}

bool session_is_connected(const struct session *s)
{
    return s->state == SESSION_ONLINE && s->failures == 0;
}

const char *session_id(const struct session *s)
{
    return s->id;
}

const char *session_board(const struct session *s)
{
    return s->board;
}

int64_t session_poll_ms(const struct session *s)
{
    return s->poll_ms;
}

size_t session_running(const struct session *s)
{
    size_t n = 0;
    VEC_FOREACH (&s->held, h)
        n += h->phase == RUNNING;
    return n;
}

size_t session_unacknowledged(const struct session *s)
{
    return s->held.n - session_running(s);
}

bool session_is_draining(const struct session *s)
{
    return s->draining || s->stopping;
}

bool session_is_stopping(const struct session *s)
{
    return s->stopping;
}

int64_t session_free_slots(const struct session *s)
{
    if (session_is_draining(s) || !s->ready)
        return 0;
    int64_t busy = (int64_t)session_running(s);
    return busy < s->settings.slots ? s->settings.slots - busy : 0;
}

void session_held(const struct session *s, wire_held_list *ret)
{
    *ret = (wire_held_list){0};
    VEC_FOREACH (&s->held, h) {
        struct wire_held one = {.lease = xstrdup(h->lease), .epoch = h->epoch};
        one.state = h->phase == RUNNING ? WIRE_HELD_RUNNING : WIRE_HELD_FINISHED;
        vec_push(ret, one);
    }
}

void wire_held_list_done(wire_held_list *held)
{
    VEC_FOREACH (held, h)
        wire_held_done(h);
    vec_free(held);
}
