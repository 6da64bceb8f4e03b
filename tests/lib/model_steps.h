/* Single steps of what happens to a farm, and how its tracks are then, on tests/lib/model_world. */
#pragma once

#include "tests/lib/model_world.h"

/* The branch of which world_push pushes. */
#define WORLD_MASTER "refs/heads/master"

/* That effect, which has to be asked for, out of what is to do; the caller ends it. */
struct effect world_take(struct world *w, enum effect_kind kind);
/* Whether that effect is asked for. */
bool world_asked(const struct world *w, enum effect_kind kind);
/* Carries out the inspections of that source alone; `dockerfile` is the text of all of them, or NULL. */
void world_inspect_source(struct world *w, const char *source, const char *dockerfile);
/* A poll of `source` sees WORLD_MASTER alone at `commit`, whose files are read. */
void world_push(struct world *w, const char *source, const char *commit, const char *dockerfile);
/* The next step of the publication that runs is done. */
void world_step(struct world *w);
/* It fails. */
void world_step_fails(struct world *w, enum publish_failure failure, enum platform platform,
                      const char *error);
/* It does not find that child, nor when it looks again after a back-off. */
void world_child_missing(struct world *w, enum platform platform, const char *error);
/* farm.yaml, changed in place, is loaded again. */
void world_reload(struct world *w);
/* The image of that name, to be changed before world_reload. */
struct farm_image *world_find_image(struct world *w, const char *name);
/* Polls with that board, and asserts that it gets exactly one lease, of `image` unless that is NULL. The caller ends
 * *ret. Returns the lease, borrowed of *ret. */
struct wire_lease *world_lease(struct world *w, const char *board, const char *image,
                               struct wire_poll_response *ret);
/* The board gets exactly one lease, of `image` unless that is NULL, which succeeds with `content`. */
void world_build(struct world *w, const char *board, const char *image, const char *content);
/* The same; it fails. */
void world_break(struct world *w, const char *board, const char *image, enum wire_failure kind);
/* In each of so many rounds what the board "one" gets for `platform` fails, the rest succeeds, and what can be is published. */
void world_break_platform(struct world *w, const char *platform, int rounds);
/* An agent in its session. */
struct world_agent {
    const char *name;
    char session[64];
    int64_t seq;
};
/* It begins one, holding `held` (NULL: nothing); whether it is told to cancel that. */
bool world_agent_session(struct world *w, struct world_agent *a, const struct wire_lease *held);
/* It polls in its session, holding those leases; the caller ends the answer, which is empty while the poll is open. */
struct wire_poll_response world_agent_poll(struct world *w, struct world_agent *a,
                                           const struct wire_lease *held, size_t n);
/* Asserts a track's state, and its reason's code. */
void world_is(struct world *w, const char *track, const char *state, const char *code);
/* Asserts that its reason's text contains `text`. */
void world_says(struct world *w, const char *track, const char *text);
/* A person asks for an audit of the repository, which finds `found` (NULL: nothing) under its `latest`. */
void world_audited(struct world *w, const char *repository, const char *found);
