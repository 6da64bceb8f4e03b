/* The world of a history: the model, the coordinator's discipline around it, and all that is outside. */
#pragma once

#include "agent/session.h"
#include "daemon/model/state.h"
#include "tests/model/coverage.h"
#include "tests/model/history.h"
#include "tests/model/registry_sim.h"
#include "tests/model/store_sim.h"
#include "tests/model/upstream_sim.h"

#include <setjmp.h>

/* ---- the coordinator ---- */

struct batch {
    struct turn turn;
    row_versions rows;
    unsigned reloads; /* so many of them before it */
};

/* An effect on its way: a look, a step of a publication. */
struct op {
    struct effect effect;
    char known[72]; /* RESOLVE_BASE: the digest known when it began; "": none */
};

/* ---- boards ---- */

enum rpc_kind { RPC_JOIN, RPC_POLL, RPC_RESULT };

/* A call of a board's. */
struct rpc {
    enum rpc_kind kind;
    unsigned board;
    uint64_t token; /* 0: has not reached the coordinator */
    int64_t seq;
    char lease[65];
    wire_held_list held; /* JOIN, POLL: as of when it was sent */
    int64_t free;
    bool draining;
};

/* A job on a board. */
struct running {
    char lease[65];
    int64_t epoch;
    char *secret, *key, *image, *repository;
    enum platform platform;
    struct wire_previous previous; /* empty: none */
    bool docker;
    strvec base_repositories, base_digests;
    bool ended, cancelled;
    struct wire_result result;
    bool taken; /* its result was answered with 200 */
};

enum net { NET_OK, NET_SLOW, NET_CUT };

struct board_sim {
    const char *name;
    unsigned native, emulated; /* bits */
    int64_t slots, memory;
    unsigned buildah; /* which version of it */
    bool up, added, hot, full;
    bool bad;  /* recipes fail here */
    bool mute; /* its polls list nothing of what it holds */
    enum net net;
    unsigned boot;
    struct session *session;
    VEC(struct running) running;
    unsigned lose_replies; /* so many answers are lost on the way */
};

/* ---- the world ---- */

struct source_sim {
    struct upstream_sim up;
    bool listing; /* a poll is under way, with */
    struct ref_list listed;
    char known[MAX_REFS][41];   /* what the model counted each ref as then */
    char pending[MAX_REFS][41]; /* where it had seen it elsewhere; "": nowhere */
};

struct checker;

struct sim {
    const struct history *history;
    unsigned flags;
    struct farm_spec spec;
    struct farm *farm;
    struct model *m;
    const struct step *step; /* NULL: coming to rest */

    int64_t now, wall;  /* of the machine; the model's stands still in a stall */
    int64_t wall_skew;  /* that jumps have added */
    bool in_turn, busy; /* the store commits */
    struct batch gathering, committing;
    bool stalled;         /* the store has no room */
    unsigned commit_slow; /* so many passes end before a commit does */
    int64_t stall_began, stalled_ms;
    uint64_t last_token;
    unsigned reloads;
    unsigned random;
    struct store_sim store;

    struct source_sim source[MAX_SOURCES];
    struct outside_sim outside[N_OUTSIDE];
    struct registry_sim registry;
    struct board_sim board[MAX_BOARDS];
    VEC(struct op) ops;
    VEC(struct rpc) rpcs;
    bool calm;       /* coming to rest: every job succeeds */
    int64_t calm_at; /* since when */
    bool look;       /* the dear checks are made after this step: it came far */
    bool strangers;  /* somebody has moved a tag by hand */

    struct checker *check;
    uint64_t trace;  /* of what was decided */
    uint64_t rested; /* as it was when the farm came to rest */
    struct outcome *outcome;
    jmp_buf escape;
};

/* sim.c: the coordinator's turn */

/* Begins the pass's turn, if it is not begun, and returns the model. */
struct model *sim_turn(struct sim *s);
/* Ends the pass: the turn, and what can be committed. */
void sim_pass(struct sim *s);
/* The commit that is under way is done, if the store has room. */
void sim_commit_done(struct sim *s);
/* The process dies and is started again; `committed` says whether the batch being committed was. */
void sim_crash(struct sim *s, bool committed, unsigned landed);
/* The store has no room from now on, or has it again. */
void sim_stall(struct sim *s, bool stalled);
/* Time passes; what is due happens. */
void sim_advance(struct sim *s, int64_t ms);
/* The model's clock. */
int64_t sim_mono(struct sim *s);
/* A reload. */
void sim_reload(struct sim *s);
/* Whether farm.yaml names the registry of a repository: of one that it does not nothing is asked. */
bool sim_names_registry(const struct sim *s, const char *repository);
/* Makes a model of what the store holds, not started. */
struct model *sim_load(struct sim *s, bool latest);

/* effects.c: what effects do outside */

/* An effect starts: after its commit, never before. */
void effect_start(struct sim *s, struct effect *e);
/* How one that is on its way goes. */
enum op_way { OP_DONE, OP_DONE_LATER, OP_ANSWER_LOST, OP_FAILED };
/* Carries out what is on its way at `at`, in that way; its answer is an event. */
void op_run(struct sim *s, size_t at, enum op_way way);
/* The process died with it: `landed` says whether it was done all the same. */
void op_orphaned(struct sim *s, struct op *op, bool landed);
/* A context of a commit. Borrowed. */
struct context_wanted {
    const char *source, *commit, *path, *dockerfile; /* dockerfile NULL: none */
};
/* What is in it. The caller owns `dockerfile`, which the facts point to. */
struct context_read {
    struct context_facts facts;
    char id[72];
    char *dockerfile;
};
/* Reads it; the commit is one that upstream made. */
void context_read(struct sim *s, const struct context_wanted *of, struct context_read *ret);
/* A source is listed: the refs as they were `lag` changes ago. */
void source_list(struct sim *s, unsigned source, unsigned lag);
/* The listing arrives, or is lost. */
void source_listed(struct sim *s, unsigned source, bool lost);

/* boards.c */

/* Makes the boards of the farm. */
void boards_init(struct sim *s);
/* Frees what they hold. */
void boards_done(struct sim *s);
/* A person adds board `i`, once: it may connect from now on. */
void board_added(struct sim *s, unsigned i);
/* Board `i`'s agent starts; it knows nothing of what an earlier one did but what it kept. */
void board_up(struct sim *s, unsigned i);
/* It stops at once: the jobs die with it. */
void board_down(struct sim *s, unsigned i);
/* Everything that boards want to send is sent, and what is not held up arrives. */
void boards_pump(struct sim *s);
/* The call at `at` arrives, or is lost. */
void rpc_deliver(struct sim *s, size_t at, bool lost);
/* An answer to a call. */
void rpc_reply(struct sim *s, uint64_t token, int status, const char *body);
/* All open calls end without an answer: the coordinator is gone. */
void rpcs_fail(struct sim *s);
/* How a job ends. */
enum ending {
    END_SUCCESS,
    END_SAME,
    END_INFRA,
    END_RECIPE,
    END_TIMEOUT,
    END_MEMORY,
    END_REJECTED,
    END_LOST
};
/* A job of a board ends. */
void job_ends(struct sim *s, unsigned board, size_t at, enum ending ending);
/* What a job's output is. */
void content_of(const char *key, bool same, char ret[72]);

/* steps.c */

/* Number of kinds of step. */
unsigned n_step_kinds(void);
/* Chances of each kind, of all kinds together: for making histories. */
unsigned step_weight(unsigned kind);
/* Does a step. */
void step_do(struct sim *s, const struct step *step);
/* The world goes on as it should, once: everything that is under way is done. Returns whether anything was. */
bool go_on(struct sim *s);

/* commands.c */

/* A person asks for something. */
void command_do(struct sim *s, unsigned a, unsigned b, unsigned c);

/* rest.c */

/* Faults end, inputs stand still: the farm comes to rest, and stays so. */
void come_to_rest(struct sim *s);
/* Lists every source, until all that it has counts. */
void look_everywhere(struct sim *s);
/* Time goes on until nothing is under way. Whether that came within bounds. */
bool settle(struct sim *s);

/* what_if.c */

/* Asks what an event of some kind would cause; after a step. */
void what_if_at_random(struct sim *s);
/* Asks, at rest, what is then done, and compares. */
void what_if_foretells(struct sim *s);

/* history.c */

/* The invariant does not hold: ends the history. */
void sim_fail(struct sim *s, const char *invariant, const char *fmt, ...)
    __attribute__((noreturn, format(printf, 3, 4)));
/* Says something, when asked to. */
void sim_say(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Whether the dear checks are to be made now. */
bool sim_dear(struct sim *s);
