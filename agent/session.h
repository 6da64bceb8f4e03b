/* The agent's side of the protocol as a pure state machine: no I/O, time is a parameter.
 *
 * Happy path: start -> JOIN -> joined -> POLL -> polled with a lease -> RUN, POLL again -> job_ended ->
 * FLUSH (the rest of its log goes out) and POLL again (a slot is free) -> log_sent -> SEND_RESULT ->
 * result_sent -> FORGET.
 *
 * Failure modes:
 *   - the coordinator is away: join and poll are repeated with growing, jittered delays; jobs go on, and
 *     results wait for the next session or poll that works;
 *   - the coordinator restarted (410): a new session, which lists all that is held;
 *   - an answer was lost: its leases are not listed in the next poll, so the coordinator takes them
 *     back; the same if an answer comes after a newer poll was sent, which is why such an answer's
 *     leases are left alone;
 *   - an answer was doubled: a lease that is held, or was lately, is not started again;
 *   - a result was not acknowledged: it is sent again, which is harmless;
 *   - this agent restarted: what it left on disk comes back by session_restore as finished (lost).
 *
 * A poll is sent as soon as there is something new to say; one that was overtaken stays open until the
 * coordinator answers it (at once, being overtaken), and only a third makes us drop the oldest. */
#pragma once

#include "common/wire.h"

#define SESSION_NEVER INT64_MAX

enum session_state {
    SESSION_IDLE,    /* not started */
    SESSION_JOINING, /* wants a session */
    SESSION_ONLINE,  /* has one */
    SESSION_ENDED    /* stopped, everything told */
};

enum session_action_kind {
    SESSION_JOIN,        /* send a session request */
    SESSION_POLL,        /* send a poll number `seq` */
    SESSION_DROP_POLL,   /* cancel poll `seq`; its end need not be reported */
    SESSION_RUN,         /* begin `grant`, which the receiver of the action owns */
    SESSION_CANCEL,      /* tell the job of `lease` to end */
    SESSION_FLUSH,       /* send what is left of the log of `lease` */
    SESSION_SEND_RESULT, /* send the result of `lease` */
    SESSION_FORGET,      /* `lease` is done with: remove its files */
    SESSION_QUIT         /* stopped: the program may end */
};

struct session_action {
    enum session_action_kind kind;
    int64_t seq;
    char lease[65];
    struct wire_lease *grant;
};

struct session_settings {
    int64_t slots;
    int64_t retry_min_ms, retry_max_ms; /* delays after failures; 0 is the default */
    int64_t stop_ms;                    /* how long a stop waits for jobs and results; 0: default */
    uint64_t seed;                      /* of the jitter */
};

struct session;

/* A session in state IDLE; the caller owns it. */
struct session *session_new(const struct session_settings *settings);
/* Frees it, with actions nobody took. NULL is fine. */
void session_free(struct session *s);

/* ---- events; `now` is monotonic, ms ---- */

/* A lease of an earlier start whose result is on disk. Only while IDLE. */
void session_restore(struct session *s, const char *lease, int64_t epoch);
/* Begins joining. */
void session_start(struct session *s, int64_t now);
/* Whether jobs may begin (the sweep is done); at first they may not. */
void session_set_ready(struct session *s, int64_t now, bool ready);
/* While draining no new lease is taken; it can be taken back. */
void session_set_draining(struct session *s, int64_t now, bool draining);
/* Ends the jobs, reports what can be reported in time, then QUIT. */
void session_stop(struct session *s, int64_t now);
/* The answer to JOIN. */
void session_joined(struct session *s, int64_t now, const struct wire_session_response *answer);
/* JOIN came to nothing. */
void session_join_failed(struct session *s, int64_t now);
/* The answer to POLL `seq`. Leases that are begun are moved out of `answer`. */
void session_polled(struct session *s, int64_t now, int64_t seq, struct wire_poll_response *answer);
/* POLL `seq` came to nothing; `gone` is a 410. */
void session_poll_failed(struct session *s, int64_t now, int64_t seq, bool gone);
/* The job of `lease` is over and its result kept. */
void session_job_ended(struct session *s, int64_t now, const char *lease);
/* All of its log has arrived, or never will. */
void session_log_sent(struct session *s, int64_t now, const char *lease);
/* The result was taken, or is not wanted (409). */
void session_result_sent(struct session *s, int64_t now, const char *lease);
/* Sending the result came to nothing. */
void session_result_failed(struct session *s, int64_t now, const char *lease);
/* The time that session_deadline gave has come. Harmless earlier. */
void session_tick(struct session *s, int64_t now);

/* ---- what to do ---- */

/* Takes the next action; false when there is none. */
bool session_next(struct session *s, struct session_action *ret);
/* When session_tick wants to be called, or SESSION_NEVER. */
int64_t session_deadline(const struct session *s);

/* ---- what it is ---- */

/* Where in its life it is. */
enum session_state session_state(const struct session *s);
/* The coordinator answered last time, and there is a session. */
bool session_is_connected(const struct session *s);
/* The session's id; "" before the first answer. Borrowed. */
const char *session_id(const struct session *s);
/* The coordinator's name for this board; "" before the first answer. Borrowed. */
const char *session_board(const struct session *s);
/* How long the coordinator holds a poll, ms. */
int64_t session_poll_ms(const struct session *s);
/* Slots for which leases would be taken now. */
int64_t session_free_slots(const struct session *s);
/* Whether new leases are refused. */
bool session_is_draining(const struct session *s);
/* Whether a stop is under way. */
bool session_is_stopping(const struct session *s);
/* The held leases, as the calls list them; the caller ends it with wire_held_list_done. */
void session_held(const struct session *s, wire_held_list *ret);
/* Frees what session_held made. */
void wire_held_list_done(wire_held_list *held);
/* How many jobs run. */
size_t session_running(const struct session *s);
/* How many results are not yet acknowledged. */
size_t session_unacknowledged(const struct session *s);
