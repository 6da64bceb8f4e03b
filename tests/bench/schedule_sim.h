/* Workloads for judging the scheduler, the peers that it is compared with, and the bounds that nobody can beat.
 *
 * Everybody plays by the same rules: an image's jobs, one a platform, may start once all jobs of the images that it is
 * built on are done; a job of `work` seconds takes work/speed on a board, natively, without interruption. */
#pragma once

#include "common/mem.h"
#include "common/platform.h"

#define SIM_PLATFORMS 4

struct sim_image {
    char *name;
    VEC(int) bases;
    VEC(int) dependents;
    double work[SIM_PLATFORMS]; /* seconds on a board of speed 1 */
};

struct sim_board {
    const char *name;
    unsigned platforms; /* bit i: the i-th of sim_platforms */
    double speed;
    int slots;
    int memory; /* GiB */
};

struct sim {
    const char *name;
    VEC(struct sim_image) images; /* bases before dependents */
    const struct sim_board *boards;
    size_t n_boards;
};

/* Which platforms the four are. */
extern const enum platform sim_platforms[SIM_PLATFORMS];

/* The workloads; the caller frees each with sim_done. `folder` has kolla.txt. */
enum sim_kind { SIM_KOLLA, SIM_DEEP, SIM_WIDE, SIM_RANDOM, SIM_DIAMONDS, SIM_KINDS };
void sim_make(struct sim *s, enum sim_kind kind, unsigned seed, const char *folder);
void sim_done(struct sim *s);
/* Every job takes up to a third more or less. */
void sim_vary(struct sim *s, unsigned seed);

/* A number below 1, from a generator that gives the same on every machine. */
double sim_random(unsigned *seed);

/* What nobody can beat, in seconds: the larger of the longest chain, each job on its fastest board, and the work over
 * the capacity, of every set of platforms. */
double sim_bound(const struct sim *s);
/* The same, tighter: work that cannot start before a moment comes after it. */
double sim_tight_bound(const struct sim *s);

/* Peers: whenever a slot is free, fastest board first, the first job by the policy that the board can run. They know
 * the true durations. Makespan in seconds. */
enum sim_policy { SIM_FIFO, SIM_MOST_DEPENDENTS, SIM_LONGEST_CHAIN, SIM_POLICIES };
extern const char *const sim_policy_names[SIM_POLICIES];
double sim_run(const struct sim *s, enum sim_policy policy);
