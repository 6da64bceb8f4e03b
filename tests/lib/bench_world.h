/* A large farm in memory for benchmarks, and for tests of which board gets what: the model with a fake clock, instant
 * git, registry and resolver, and boards that the caller speaks for. Rows are kept by key, so that a restart can be timed. */
#pragma once

#include "daemon/model/model.h"

#include <uthash.h>

struct bench_row {
    char *key; /* table and primary key */
    struct change change;
    UT_hash_handle hh;
};

/* What a board holds. */
struct bench_lease {
    char *lease;
    char *job; /* key */
    char *track;
    enum platform platform;
    int64_t epoch;
    int64_t ends; /* monotonic milliseconds; for the benchmark's use */
};

struct bench_board {
    char *name, *session;
    uint64_t token; /* of its open poll; 0: none */
    int64_t seq, slots, memory;
    double speed; /* for the benchmark's use */
    platformvec platforms, emulated;
    double temperature;
    int64_t disk_free;
    bool draining;
    VEC(struct bench_lease) leases;
};

struct bench_world {
    struct farm *farm;
    struct model *m;
    struct turn turn;
    VEC(struct effect) todo; /* effects not carried out yet, but replies and leases */
    size_t done;             /* of them, carried out */
    VEC(struct bench_board) boards;
    int64_t mono, wall;
    uint64_t token;
    uint64_t random;
    struct bench_row *rows; /* hash */
    bool keep_rows;
    size_t jobs_wanted; /* rows of wanted and leased jobs in the last turn */
    /* The Dockerfile of a commit; borrowed until the next call. */
    const char *(*dockerfile)(const char *commit, void *arg);
    void *arg;
};

/* Milliseconds of CPU time: the model only computes, and other work on the machine does not count. */
double bench_now(void);
/* Resident memory of this process in MiB. */
double bench_memory(void);

/* An empty farm with registry "r.test/osf". */
void bench_init(struct bench_world *w);
/* Adds an image built of a Dockerfile for `n` platforms; more of it is the caller's to set. Borrowed until the next. */
struct farm_image *bench_image(struct bench_world *w, const char *name, const char *source,
                               const char *ref, const enum platform *platforms, size_t n);
/* Makes the model and starts it. */
void bench_start(struct bench_world *w);
/* Throws the model away and loads it from the rows; the times of loading and starting in milliseconds. */
void bench_restart(struct bench_world *w, double *ret_load, double *ret_start);
/* Begins a turn at the world's time; the caller calls a model_on_… function. */
void bench_begin(struct bench_world *w);
/* Ends it; returns how many milliseconds the model took over its end. */
double bench_end(struct bench_world *w);
/* Carries out all inspections, look-ups and publications until none is left; returns how many. */
size_t bench_effects(struct bench_world *w);
/* A board joins, native for the platforms. Borrowed until the next. */
struct bench_board *bench_board(struct bench_world *w, const char *name,
                                const enum platform *platforms, size_t n, int64_t slots,
                                int64_t memory);
/* It begins a session: after a restart, and before its first poll. */
void bench_session(struct bench_world *w, struct bench_board *b);
/* It polls, if it has no open poll and a free slot; what it gets appears in its leases. */
void bench_poll(struct bench_world *w, struct bench_board *b);
/* It polls whatever its slots and its open poll. */
void bench_poll_again(struct bench_world *w, struct bench_board *b);
/* Its lease i succeeds; it holds it no more. */
void bench_succeed(struct bench_world *w, struct bench_board *b, size_t i);
/* Lets everything succeed until nothing is wanted; returns how many jobs were done. */
size_t bench_settle(struct bench_world *w);
/* Frees everything. */
void bench_done(struct bench_world *w);
