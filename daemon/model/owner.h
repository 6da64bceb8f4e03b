/* Who owns a tag (design rules 3 and 4), and which tags have to move. */
#pragma once

#include "daemon/model/state.h"

/* Why a track that claims a tag does not own it. */
struct rivalry {
    const struct tag_node *conflict, *stays; /* NULL: no such tag */
    const struct track *rival;               /* claims exactly the same */
    const struct track *holder;              /* is held, and has it */
};

/* Rules 3 and 4: the owner of a tag that several tracks can claim. Whether it is `t`, whose publication completes now; if not,
 * `why` is filled in where that is to be told. Nothing depends on the order of the claimants, the reason neither. */
bool owner_is(struct model *m, const struct track *t, struct tag_node *n, struct rivalry *why);
/* Whether `had`, which has the tag, claims it still and ranks no lower than `t`. */
bool owner_keeps(const struct track *had, const struct track *t, const struct tag_node *n);
/* Whether the track has the tag. */
bool owner_has(const struct track *t, const struct tag_node *n);
/* The tags that have to move so that each that `t` owns names `children`, appended to `move`; returns how many are owned at
 * all. A track without a publication of its own makes one even of what its tags name already, since it could own none of them
 * without (rule 3). */
size_t owner_to_move(struct model *m, const struct track *t, const childvec *children, strvec *move,
                     struct rivalry *why);
/* Whether the tag names something else than an index of these children. */
bool tag_differs(const struct tag_node *n, const childvec *children);
/* Plans, once the publication `p` of `t` (NULL: of a track that is no more) has ended, who claims tags that it claims and for
 * whom that changes something: those that have one, had one, contest one, or are kept from one by a hold; and who claims tags of
 * `p` that it claims no more. */
void owner_plan_rivals(struct model *m, const struct track *t, const struct publication *p);
/* A track that claims tags has come into the race for them: its first publication in the repository is verified. */
void owner_rank(struct track *t);
/* It may be in it or not: it was retired, woken, or linked anew. */
void owner_rank_anew(struct track *t);
/* Whether the tag of a single platform, that would be put with one of the track's, is another's, or its own, by a claim of that
 * very name. */
bool owner_part_taken(struct model *m, const struct track *t, const char *tag);
/* Whether `owner` keeps `t` from the tag though `t` ranks no lower: a tag conflict, or a held track's tag. */
bool owner_contends(struct model *m, const struct track *owner, const struct track *t,
                    const struct tag_node *n);
