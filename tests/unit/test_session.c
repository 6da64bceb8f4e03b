/* The agent's session: first its ways told one by one, then thousands of random histories in which
 * after every step a shadow of what must be true is compared with what is. */
#include "agent/session.h"
#include "tests/lib/test.h"

static const struct session_settings two_slots = {.slots = 2, .seed = 7};

static struct session_action expect(struct session *s, enum session_action_kind kind)
{
    struct session_action a;
    assert_true(session_next(s, &a));
    assert_int_equal(a.kind, kind);
    return a;
}

static void expect_nothing(struct session *s)
{
    struct session_action a;
    assert_false(session_next(s, &a));
}

static void expect_run(struct session *s, const char *lease)
{
    struct session_action a = expect(s, SESSION_RUN);
    assert_string_equal(a.lease, lease);
    assert_string_equal(a.grant->lease, lease);
    wire_lease_done(a.grant);
    free(a.grant);
}

static void joined(struct session *s, int64_t now)
{
    struct wire_session_response r = {
        .session = (char *)"S1", .board = (char *)"pi", .term_ms = 90000, .poll_ms = 30000};
    session_joined(s, now, &r);
}

static void polled(struct session *s, int64_t now, int64_t seq, const char *lease)
{
    struct wire_poll_response r = {.seq = seq};
    if (lease)
        vec_push(&r.leases, (struct wire_lease){.lease = xstrdup(lease), .epoch = 1});
    session_polled(s, now, seq, &r);
    wire_done(wire_poll_response_type(), &r);
}

static struct session *online(void)
{
    struct session *s = session_new(&two_slots);
    session_set_ready(s, 0, true);
    session_start(s, 0);
    expect(s, SESSION_JOIN);
    joined(s, 10);
    assert_int_equal(expect(s, SESSION_POLL).seq, 1);
    expect_nothing(s);
    return s;
}

static void test_one_job(void **state)
{
    struct session *s = online();
    polled(s, 1000, 1, "L1");
    expect_run(s, "L1");
    assert_int_equal(expect(s, SESSION_POLL).seq, 2);
    assert_int_equal(session_free_slots(s), 1);
    session_job_ended(s, 2000, "L1");
    expect(s, SESSION_FLUSH);
    assert_int_equal(expect(s, SESSION_POLL).seq, 3); /* a slot is free: said at once */
    assert_int_equal(session_free_slots(s), 2);
    session_log_sent(s, 2100, "L1");
    expect(s, SESSION_SEND_RESULT);
    session_result_sent(s, 2200, "L1");
    expect(s, SESSION_FORGET);
    expect_nothing(s);
    polled(s, 2300, 2, NULL); /* the overtaken poll's answer asks for nothing */
    expect_nothing(s);
    assert_int_equal(session_deadline(s), SESSION_NEVER);
    session_free(s);
}

static void test_an_overtaken_answer_starts_nothing(void **state)
{
    struct session *s = online();
    polled(s, 1000, 1, "L1");
    expect_run(s, "L1");
    expect(s, SESSION_POLL);
    session_job_ended(s, 2000, "L1");
    expect(s, SESSION_FLUSH);
    assert_int_equal(expect(s, SESSION_POLL).seq, 3);
    polled(s, 2001, 2, "L2"); /* poll 3 did not list L2: the coordinator has it back by now */
    expect_nothing(s);
    polled(s, 2002, 3, "L3");
    expect_run(s, "L3");
    session_free(s);
}

static void test_a_third_poll_drops_the_first(void **state)
{
    struct session *s = online();
    session_set_draining(s, 1, true);
    assert_int_equal(expect(s, SESSION_POLL).seq, 2);
    session_set_draining(s, 2, false);
    assert_int_equal(expect(s, SESSION_DROP_POLL).seq, 1);
    assert_int_equal(expect(s, SESSION_POLL).seq, 3);
    session_free(s);
}

static void test_doubled_answers(void **state)
{
    struct session *s = online();
    polled(s, 1000, 1, "L1");
    expect_run(s, "L1");
    expect(s, SESSION_POLL);
    polled(s, 1100, 1, "L1");
    expect_nothing(s);
    polled(s, 1200, 2, "L1"); /* held */
    assert_int_equal(expect(s, SESSION_POLL).seq, 3);
    session_job_ended(s, 2000, "L1");
    session_log_sent(s, 2000, "L1");
    session_result_sent(s, 2000, "L1");
    struct session_action a;
    while (session_next(s, &a))
        continue;
    polled(s, 3000, 4, "L1"); /* done with */
    assert_int_equal(expect(s, SESSION_POLL).seq, 5);
    expect_nothing(s);
    session_free(s);
}

static void test_coordinator_away_and_back(void **state)
{
    struct session *s = online();
    polled(s, 1000, 1, "L1");
    expect_run(s, "L1");
    expect(s, SESSION_POLL);
    int64_t now = 2000, longest = 0;
    session_poll_failed(s, now, 2, false);
    for (int64_t seq = 3; seq < 20; seq++) {
        int64_t wait = session_deadline(s) - now;
        longest = wait > longest ? wait : longest;
        assert_in_range(wait, 100, 10000);
        expect_nothing(s);
        now += wait;
        session_tick(s, now);
        assert_int_equal(expect(s, SESSION_POLL).seq, seq);
        if (seq < 19)
            session_poll_failed(s, now, seq, false);
    }
    assert_in_range(longest, 5000, 10000);
    session_job_ended(s, now, "L1"); /* no news while the coordinator is away */
    expect(s, SESSION_FLUSH);
    expect_nothing(s);
    polled(s, now, 19, NULL);
    expect(s, SESSION_POLL);
    session_free(s);
}

static void test_session_lost(void **state)
{
    struct session *s = online();
    polled(s, 1000, 1, "L1");
    expect_run(s, "L1");
    expect(s, SESSION_POLL);
    session_poll_failed(s, 2000, 2, true);
    expect(s, SESSION_JOIN); /* at once */
    wire_held_list held;
    session_held(s, &held);
    assert_int_equal(held.n, 1);
    assert_string_equal(held.items[0].lease, "L1");
    wire_held_list_done(&held);
    joined(s, 2010);
    expect(s, SESSION_POLL);
    session_poll_failed(s, 2020, 3, true); /* again: now it waits */
    expect_nothing(s);
    assert_true(session_deadline(s) > 2020);
    session_tick(s, session_deadline(s));
    expect(s, SESSION_JOIN);
    session_free(s);
}

static void test_restart(void **state)
{
    struct session *s = session_new(&two_slots);
    session_restore(s, "L1", 4);
    expect(s, SESSION_FLUSH);
    session_start(s, 0);
    expect(s, SESSION_JOIN);
    wire_held_list held;
    session_held(s, &held);
    assert_int_equal(held.n, 1);
    assert_int_equal(held.items[0].epoch, 4);
    assert_int_equal(held.items[0].state, WIRE_HELD_FINISHED);
    wire_held_list_done(&held);
    session_log_sent(s, 5, "L1");
    expect_nothing(s); /* not before there is a session */
    joined(s, 10);
    expect(s, SESSION_SEND_RESULT);
    expect(s, SESSION_POLL);
    assert_int_equal(session_free_slots(s), 0); /* not swept yet */
    session_set_ready(s, 20, true);
    expect(s, SESSION_POLL);
    assert_int_equal(session_free_slots(s), 2);
    session_free(s);
}

static void test_stop(void **state)
{
    struct session *s = online();
    polled(s, 1000, 1, "L1");
    expect_run(s, "L1");
    expect(s, SESSION_POLL);
    session_stop(s, 2000);
    assert_int_equal(expect(s, SESSION_DROP_POLL).seq, 2);
    expect(s, SESSION_CANCEL);
    expect_nothing(s);
    session_job_ended(s, 2100, "L1");
    expect(s, SESSION_FLUSH);
    session_log_sent(s, 2100, "L1");
    expect(s, SESSION_SEND_RESULT);
    expect_nothing(s);
    session_result_sent(s, 2200, "L1");
    expect(s, SESSION_FORGET);
    expect(s, SESSION_QUIT);
    session_free(s);
}

static void test_stop_while_the_coordinator_is_away(void **state)
{
    struct session *s = online();
    session_poll_failed(s, 100, 1, true);
    expect(s, SESSION_JOIN);
    session_stop(s, 200);
    expect(s, SESSION_QUIT);
    session_join_failed(s, 300);
    expect_nothing(s);
    session_free(s);
}

static void test_a_busy_coordinator_is_not_hammered(void **state)
{
    struct session *s = online();
    int64_t now = 100, polls = 1;
    for (; now < 10000; now++) {
        session_tick(s, now);
        struct session_action a;
        while (session_next(s, &a))
            polls += a.kind == SESSION_POLL;
        polled(s, now, polls, NULL);
    }
    assert_in_range(polls, 10, 60);
    session_free(s);
}

/* ---- random histories ---- */

enum { MAX_LEASES = 4096, STEPS = 250 };

enum shadow_phase { UNSEEN, RUNNING, FLUSHING, REPORTING, GONE };

struct shadow {
    enum shadow_phase phase;
    bool cancelled, sending;
    int64_t epoch;
};

struct world {
    struct session *s;
    uint64_t random;
    int64_t now, slots;
    struct shadow leases[MAX_LEASES];
    int n; /* leases made up so far */
    int64_t polls[2];
    int64_t last_seq;
    bool joining, draining, ready, stopping, quit, calm;
};

static uint64_t rnd(struct world *w, uint64_t below)
{
    w->random = w->random * 6364136223846793005ULL + 1442695040888963407ULL;
    return (w->random >> 33) % below;
}

static int lease_number(const char *lease)
{
    return atoi(lease + 1);
}

static int count(const struct world *w, enum shadow_phase phase)
{
    int n = 0;
    for (int i = 0; i < w->n; i++)
        n += w->leases[i].phase == phase;
    return n;
}

static int pick(struct world *w, enum shadow_phase phase, bool sending)
{
    int start = w->n ? (int)rnd(w, (uint64_t)w->n) : 0;
    for (int i = 0; i < w->n; i++) {
        int at = (start + i) % w->n;
        if (w->leases[at].phase == phase && w->leases[at].sending == sending)
            return at;
    }
    return -1;
}

static const char *lease_name(int i)
{
    static char name[16];
    snprintf(name, sizeof(name), "L%d", i);
    return name;
}

static void take_run(struct world *w, struct session_action *a)
{
    struct shadow *l = &w->leases[lease_number(a->lease)];
    assert_int_equal(l->phase, UNSEEN); /* never two jobs for one lease */
    assert_true(count(w, RUNNING) < w->slots);
    assert_false(w->draining || w->stopping || !w->ready);
    assert_string_equal(a->grant->lease, a->lease);
    l->phase = RUNNING;
    l->epoch = a->grant->epoch;
    wire_lease_done(a->grant);
    free(a->grant);
}

static void take_poll(struct world *w, int64_t seq)
{
    assert_int_equal(session_state(w->s), SESSION_ONLINE);
    assert_int_equal(seq, w->last_seq + 1);
    assert_false(w->stopping);
    w->last_seq = seq;
    int free_place = w->polls[0] == 0 ? 0 : 1;
    assert_int_equal(w->polls[free_place], 0); /* at most two open */
    w->polls[free_place] = seq;
}

static void take_action(struct world *w, struct session_action *a)
{
    struct shadow *l = a->lease[0] ? &w->leases[lease_number(a->lease)] : NULL;
    switch (a->kind) {
    case SESSION_JOIN:
        assert_false(w->joining);
        w->joining = true;
        break;
    case SESSION_POLL:
        take_poll(w, a->seq);
        break;
    case SESSION_DROP_POLL:
        assert_true(w->polls[0] == a->seq || w->polls[1] == a->seq);
        w->polls[w->polls[1] == a->seq] = 0;
        break;
    case SESSION_RUN:
        take_run(w, a);
        break;
    case SESSION_CANCEL:
        assert_int_equal(l->phase, RUNNING);
        assert_false(l->cancelled);
        l->cancelled = true;
        break;
    case SESSION_FLUSH:
        assert_int_equal(l->phase, FLUSHING);
        break;
    case SESSION_SEND_RESULT:
        assert_int_equal(l->phase, REPORTING);
        assert_false(l->sending);
        l->sending = true;
        break;
    case SESSION_FORGET:
        assert_int_equal(l->phase, GONE);
        break;
    case SESSION_QUIT:
        assert_true(w->stopping && !w->quit);
        w->quit = true;
        break;
    }
}

/* A lease is listed from its RUN until its result is acknowledged, with its epoch and state. */
static void check_held(struct world *w)
{
    wire_held_list held;
    session_held(w->s, &held);
    int listed = 0;
    VEC_FOREACH (&held, h) {
        struct shadow *l = &w->leases[lease_number(h->lease)];
        assert_true(l->phase == RUNNING || l->phase == FLUSHING || l->phase == REPORTING);
        assert_int_equal(h->state == WIRE_HELD_RUNNING, l->phase == RUNNING);
        assert_int_equal(h->epoch, l->epoch);
        listed++;
    }
    assert_int_equal(listed, count(w, RUNNING) + count(w, FLUSHING) + count(w, REPORTING));
    wire_held_list_done(&held);
}

static void pump(struct world *w)
{
    struct session_action a;
    while (session_next(w->s, &a))
        take_action(w, &a);
    check_held(w);
    bool closed = w->draining || w->stopping || !w->ready;
    assert_int_equal(session_free_slots(w->s), closed ? 0 : w->slots - count(w, RUNNING));
    /* something is under way, or a time is set */
    if (!w->quit)
        assert_true(w->joining || w->polls[0] || w->polls[1] ||
                    session_deadline(w->s) != SESSION_NEVER);
}

static void do_join(struct world *w)
{
    if (!w->joining)
        return;
    w->joining = false;
    if (!w->calm && rnd(w, 2))
        session_join_failed(w->s, w->now);
    else
        joined(w->s, w->now);
}

static void add_lease(struct world *w, struct wire_poll_response *r)
{
    /* mostly a new one; now and then one of old, or an earlier answer's */
    bool old = w->n > 0 && rnd(w, 5) == 0;
    int from = w->n > 100 ? w->n - 100 : 0;
    int i = old ? from + (int)rnd(w, (uint64_t)(w->n - from)) : w->n;
    if (i == MAX_LEASES)
        return;
    /* one that was ignored may be given again under the same name, a finished one may not */
    if (i == w->n)
        w->n++;
    vec_push(&r->leases, (struct wire_lease){.lease = xstrdup(lease_name(i)), .epoch = 1 + i % 3});
}

static void do_poll(struct world *w)
{
    int place = w->polls[0] == 0 || (w->polls[1] != 0 && rnd(w, 2));
    int64_t seq = w->polls[place];
    if (seq == 0)
        return;
    w->polls[place] = 0;
    uint64_t what = w->calm ? 9 : rnd(w, 10);
    if (what < 2) {
        session_poll_failed(w->s, w->now, seq, what == 0);
        return;
    }
    struct wire_poll_response r = {.seq = seq};
    for (uint64_t i = rnd(w, 4); i > 0 && !w->calm; i--)
        add_lease(w, &r);
    if (rnd(w, 4) == 0 && w->n > 0)
        strvec_add(&r.cancel, lease_name((int)rnd(w, (uint64_t)w->n)));
    session_polled(w->s, w->now, seq, &r);
    wire_done(wire_poll_response_type(), &r);
    if (!w->calm && rnd(w, 5) == 0)
        polled(w->s, w->now, seq, lease_name(w->n - 1 > 0 ? w->n - 1 : 0)); /* doubled */
}

static void do_job(struct world *w)
{
    int i = pick(w, RUNNING, false);
    if (i < 0)
        return;
    w->leases[i].phase = FLUSHING;
    session_job_ended(w->s, w->now, lease_name(i));
}

static void do_flush(struct world *w)
{
    int i = pick(w, FLUSHING, false);
    if (i < 0)
        return;
    w->leases[i].phase = REPORTING;
    session_log_sent(w->s, w->now, lease_name(i));
}

static void do_result(struct world *w)
{
    int i = pick(w, REPORTING, true);
    if (i < 0)
        return;
    w->leases[i].sending = false;
    if (!w->calm && rnd(w, 3) == 0) {
        session_result_failed(w->s, w->now, lease_name(i));
        return;
    }
    w->leases[i].phase = GONE;
    session_result_sent(w->s, w->now, lease_name(i));
}

static void do_control(struct world *w)
{
    uint64_t what = rnd(w, 20);
    if (what < 6) {
        w->draining = !w->draining;
        session_set_draining(w->s, w->now, w->draining);
    } else if (what < 10) {
        w->ready = !w->ready;
        session_set_ready(w->s, w->now, w->ready);
    } else if (what == 10 && rnd(w, 10) == 0) {
        w->stopping = true;
        session_stop(w->s, w->now);
    }
}

static void step(struct world *w)
{
    static void (*const moves[])(struct world *) = {do_join, do_poll,  do_poll,   do_job,
                                                    do_job,  do_flush, do_result, do_control};
    w->now += (int64_t)rnd(w, 200);
    moves[rnd(w, (w->calm ? 7 : 8))](w);
    pump(w);
    if (session_deadline(w->s) <= w->now || rnd(w, 10) == 0)
        session_tick(w->s, w->now);
    pump(w);
}

/* With faults off, everything held is told and forgotten, and a poll stays open (or it quits). */
static void settle(struct world *w)
{
    w->calm = true;
    if (w->draining)
        session_set_draining(w->s, w->now, w->draining = false);
    if (!w->ready)
        session_set_ready(w->s, w->now, w->ready = true);
    pump(w);
    for (int i = 0; i < 2000 && !w->quit; i++)
        step(w);
    if (w->quit)
        return;
    assert_false(w->stopping);
    assert_int_equal(session_running(w->s) + session_unacknowledged(w->s), 0);
    assert_int_equal(session_state(w->s), SESSION_ONLINE);
    assert_true(session_is_connected(w->s));
}

static void begin(struct world *w, uint64_t seed)
{
    memset(w, 0, sizeof(*w));
    w->random = seed;
    w->slots = 1 + (int64_t)rnd(w, 4);
    struct session_settings settings = {.slots = w->slots, .seed = seed};
    w->s = session_new(&settings);
    for (w->n = 0; w->n < (int)(seed % 4); w->n++) {
        w->leases[w->n] = (struct shadow){.phase = FLUSHING, .epoch = 9};
        session_restore(w->s, lease_name(w->n), 9);
    }
    session_start(w->s, w->now);
    pump(w);
}

static uint64_t failing_seed;

static int say_seed(void **state)
{
    if (failing_seed != 0)
        fprintf(stderr, "history that failed: SEED=%llu\n", (unsigned long long)failing_seed);
    return 0;
}

static void test_random_histories(void **state)
{
    static struct world w;
    const char *only = getenv("SEED");
    uint64_t from = only ? strtoull(only, NULL, 10) : 1;
    uint64_t to = only ? from + 1 : 3000;
    for (uint64_t seed = from; seed < to; seed++) {
        failing_seed = seed;
        begin(&w, seed);
        for (int i = 0; i < STEPS && !w.quit; i++)
            step(&w);
        settle(&w);
        session_free(w.s);
    }
    failing_seed = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_job),
        cmocka_unit_test(test_an_overtaken_answer_starts_nothing),
        cmocka_unit_test(test_a_third_poll_drops_the_first),
        cmocka_unit_test(test_doubled_answers),
        cmocka_unit_test(test_coordinator_away_and_back),
        cmocka_unit_test(test_session_lost),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_stop_while_the_coordinator_is_away),
        cmocka_unit_test(test_a_busy_coordinator_is_not_hammered),
        cmocka_unit_test_teardown(test_random_histories, say_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
