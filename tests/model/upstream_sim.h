/* Upstreams in memory: commits with parents, refs that come, move, are moved back, forced, deleted and orphaned, and
 * the build contexts of each commit, whose ids change with some commits and not with others. */
#pragma once

#include "daemon/model/model.h"
#include "tests/model/farm_spec.h"

#define MAX_REFS 9

struct commit {
    char id[41];
    int parent;       /* index, -1: a root */
    uint64_t content; /* what decides which contexts it changes, and how */
    int64_t time;     /* committer time, seconds */
};

struct ref_list {
    int at[MAX_REFS]; /* commit of each ref, -1: not there */
};

struct upstream_sim {
    uint64_t seed;
    VEC(struct commit) commits;
    struct ref_list refs;
    unsigned n_refs;           /* the last two, called as tags of one platform are, not all have */
    VEC(struct ref_list) past; /* of the refs, oldest first: what a lagging mirror lists */
    bool away;
};

/* A repository with one commit on some of its refs. */
void upstream_init(struct upstream_sim *u, uint64_t seed);
/* Frees what it holds. */
void upstream_done(struct upstream_sim *u);

/* Moves a ref (or makes it): to a new commit on top of it. Of the commits, some change every context, some none. */
void upstream_push(struct upstream_sim *u, unsigned ref, uint64_t random);
/* Moves it to a new commit that is no descendant: of a parent of its own, or of none. */
void upstream_force(struct upstream_sim *u, unsigned ref, uint64_t random);
/* A new commit whose contexts are those of an older one. */
void upstream_revert(struct upstream_sim *u, unsigned ref, uint64_t random);
/* Moves it back to an older commit itself. */
void upstream_rewind(struct upstream_sim *u, unsigned ref, uint64_t random);
/* Deletes it. */
void upstream_delete(struct upstream_sim *u, unsigned ref);

/* The commit of that id, or -1. */
int upstream_find(const struct upstream_sim *u, const char *id);
/* Whether `commit` has `ancestor` behind it, or is it. */
bool upstream_descends(const struct upstream_sim *u, int commit, int ancestor);
/* Whether some ref has the commit behind it. */
bool upstream_reachable(const struct upstream_sim *u, int commit);
/* The commit whose version of the folder `path` this commit has. */
int upstream_version(const struct upstream_sim *u, int commit, const char *path);
/* Whether that version is there: folders of one architecture come and go. */
bool upstream_folder_exists(const struct upstream_sim *u, int version, const char *path);
/* What the version is, as a number: equal for equal files. */
uint64_t upstream_content(const struct upstream_sim *u, int version, const char *path);
