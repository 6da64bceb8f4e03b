/* A farm in memory: the model with a fake clock, fake upstreams, boards and registry, for tests. */
#pragma once

#include "daemon/model/model.h"
#include "tests/lib/test.h"

struct world {
    struct farm *farm;
    struct model *m;
    struct turn turn;        /* of the last turn */
    VEC(struct effect) todo; /* effects not yet carried out */
    int64_t mono, wall;
    uint64_t token;
    unsigned random;
    VEC(struct change) rows; /* all rows ever written, latest last: what a restart loads */
    char *last_reply;
    int last_status;
    bool no_buildah;              /* of the boards that begin a session: they take no Dockerfiles */
    const char *const *platforms; /* of the boards, NULL-terminated; NULL: linux/amd64 alone */
    const char *const *emulated;  /* what they emulate, NULL-terminated; NULL: nothing */
    const char *buildah;          /* its version; NULL: not told */
    int64_t slots, free;          /* that they have, and offer in a poll */
    double temperature;           /* as they say in a poll, as the rest */
    int64_t disk_free;
    bool draining;
};

/* A farm with registry "r.test/osf" and linux/amd64 alone; add images with world_image, then world_start. */
void world_init(struct world *w);
/* Adds an image that follows `ref` of `source`; rootfs with `script`, or a Dockerfile when script is NULL. */
struct farm_image *world_image(struct world *w, const char *name, const char *source,
                               const char *ref, const char *script);
/* Makes the model and plans. */
void world_start(struct world *w);
/* Throws the model away and loads it again from the rows. */
void world_restart(struct world *w);
/* Begins a turn, `ms` after the last one. */
void world_begin(struct world *w, int64_t ms);
/* Ends it: keeps its rows, queues its effects. */
void world_end(struct world *w);
/* A poll of `source` sees one ref. */
void world_see(struct world *w, const char *source, const char *ref, const char *commit);
/* A poll of `source` sees these refs, all at `commit`; NULL ends them. */
void world_see_all(struct world *w, const char *source, const char *commit,
                   const char *const *refs);
/* Carries out every inspection that is asked for: the context of a commit is "sha256:" and the commit's name
 * repeated; `dockerfile` is the text of all of them, or NULL. Returns how many. */
int world_inspect(struct world *w, const char *dockerfile);
/* Carries out every retention that is asked for. Returns how many. */
int world_retain(struct world *w);
/* Carries out every retention and publication step that is asked for, and those that follow. Returns how many. */
int world_publish(struct world *w);
/* A board of that name comes with linux/amd64, two slots. */
void world_board(struct world *w, const char *name);
/* It begins a session as `boot`, with that much memory, holding `held` (NULL: nothing). */
void world_session(struct world *w, const char *name, const char *boot, int64_t memory,
                   const struct wire_lease *held);
/* Time passes: a turn in which only the timer fires. */
void world_wait(struct world *w, int64_t ms);
/* A text of a track's view: its `member`, or `inner` of that; "" where there is none. Static. */
const char *world_text(struct world *w, const char *id, const char *member, const char *inner);
/* It polls holding nothing; returns the leases it got (the caller ends the answer). */
struct wire_poll_response world_poll(struct world *w, const char *name);
/* A lease succeeds with that content, any text. */
void world_succeed(struct world *w, const struct wire_lease *lease, const char *content);
/* As world_succeed, with the digests of the manifest and of the content. */
void world_succeed_as(struct world *w, const struct wire_lease *lease, const char *manifest,
                      const char *content);
/* A lease fails. */
void world_fail(struct world *w, const struct wire_lease *lease, enum wire_failure kind);
/* Polls with every board and lets every lease succeed with content made from its key, inspects, publishes, until
 * nothing is left to do. Returns the number of jobs done. */
int world_settle(struct world *w, const char *dockerfile);
/* Whether something that wants attention has that reason code. */
bool world_attention(struct world *w, const char *code);
/* The state of a track, by name. */
const char *world_track_state(struct world *w, const char *id);
/* Ends everything. */
void world_done(struct world *w);
