/* What the watchers remember. */
#pragma once

#include "daemon/model/objects.h"
#include "daemon/model/plan.h"
#include "daemon/model/schedule.h"
#include "tests/model/check.h"

/* A publication, as it was decided. */
struct decided {
    int64_t id;
    unsigned required, allowed; /* bits by platform */
    UT_hash_handle hh;
};

struct lease_seen {
    int64_t id, epoch;
    char board[16];
    int64_t listed; /* the model's clock at the last poll that listed it */
    UT_hash_handle hh;
};

struct tag_seen {
    char *name; /* repository:tag */
    int64_t generation;
    char *bytes;
    char *digest;               /* of the last PUT */
    unsigned required, allowed; /* of its publication, where it names the index; else 0 */
    UT_hash_handle hh;
};

struct failed_at {
    char *key;
    int64_t at;
    UT_hash_handle hh;
};

struct checker {
    struct decided *decided;
    struct lease_seen *leases;
    struct tag_seen *tags;
    struct failed_at *failed;
    /* of this pass: what may be a cause, and what has to be looked at once it has ended */
    strvec asked_tracks, asked_jobs, missing_jobs, moved_refs;
    strvec ever_asked; /* tracks and keys: what was asked for may come late */
    strvec new_jobs, again_jobs,
        woken;     /* planned for the first time, or anew; again in spite of how it ended */
    strvec slept;  /* fallen asleep in this pass */
    strvec needed; /* repository and digest: what the registry may not collect */
    uint64_t rows;
    uint64_t registry_changes; /* as of the last look at it */
};

/* invariants.c */

/* The last PUT under a tag, if that is what it names; NULL: a hand, or an old release, was there. */
const struct tag_seen *put_last(struct sim *s, const struct registry_repository *r,
                                const struct registry_tag *t);

/* What is looked at after every step: what the registry's tags name. */
void check_every_step(struct sim *s);

/* invariants_plan.c */

/* 8: of the jobs that this pass has planned. */
void check_new_jobs(struct sim *s);
/* 10: of the tracks that this pass has woken, or put to sleep. */
void check_woken(struct sim *s);
/* 10: of a build that is made. */
void inv10_dormant_build_nothing(struct sim *s, const struct change *build);
/* 10: of a publication that is decided. */
void inv10_held_tags_stay(struct sim *s, const struct track *t, const struct publication *p);
/* Design rule 3: of a publication that is decided. */
void rule03_parts_are_the_incumbents(struct sim *s, const struct track *t,
                                     const struct publication *p);
/* Whether a publication brings back what the track has published before. */
bool is_return(const struct model *m, const struct track *t, const struct publication *p);
/* 10: of a tag's row. */
void inv10_held_owners_stay(struct sim *s, const struct change *old, const struct change *now);

/* invariants_store.c */

/* 4: loading the store gives this very model, and derives the same pending effects. */
void inv04_store_equals_model(struct sim *s);
/* In what a row differs from the one that is stored. The caller owns it. */
char *row_differences(struct sim *s, const struct change *c);

/* invariants_dear.c */

/* Counts what a row tells of. */
void coverage_row(const struct change *old, const struct change *now);
/* Tells of a change of state, where that is wanted. */
void say_row(struct sim *s, const struct change *old, const struct change *now);
/* 12: planning everything decides nothing that planning what was touched did not. */
void inv12_full_plan_agrees(struct sim *s);
/* 11: every track says where it stands. */
void inv11_every_track_says(struct sim *s);
