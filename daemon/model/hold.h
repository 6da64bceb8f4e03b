/* Holds (design rule 4): whether a track may publish, and who says so. */
#pragma once

#include "daemon/model/state.h"

struct hold {
    enum reason_code code; /* REASON_HELD, REASON_PINNED, REASON_FROZEN */
    char *text;            /* who and why, for people; owned */
    const char *by, *why;  /* weak; NULL: farm.yaml says so */
    int64_t at;            /* wall clock; 0: unknown */
};

/* Whether the track is held: by a person, by its image's entry, or with all others by a freeze. */
bool held(struct model *m, const struct track *t);
/* As held; describes the hold that counts first; without a track, the freeze. The caller ends *ret (hold_done) when it
 * is true. */
bool hold_of(struct model *m, const struct track *t, struct hold *ret);
/* Frees it; leaves it empty. */
void hold_done(struct hold *h);
#define cleanup_hold cleanup_(hold_done)
/* Whether a freeze, by a person or by farm.yaml, holds everything. */
bool frozen(struct model *m);
/* The publication that the track's tags stay at; NULL: none, no longer known, or of a repository to which its image is not
 * published now, which says nothing of the tags of this one. */
struct publication *hold_pinned(const struct model *m, const struct track *t);
/* The same of the tags in that repository, whether its image is published there now or not. */
struct publication *hold_pinned_in(const struct model *m, const struct track *t,
                                   const char *repository);
/* Whether the hold lets the track's latest build through: a person promoted it. */
bool hold_lets_through(const struct track *t);
/* Gives up every publication that has not begun with its tags and that a hold forbids now. */
void hold_apply(struct model *m);
/* Puts a hold on the track for `c`, without a pin. */
void hold_put(struct model *m, struct track *t, const struct command *c);
