/* Shared by the files of "what if". */
#pragma once

#include "daemon/model/copy.h"
#include "daemon/model/what_if.h"

#include <stdatomic.h>

/* ---- what is recorded ---- */

struct what_job {
    char *key;
    char *board; /* NULL: none took it */
    char *track, *platform;
    int64_t begins, ends; /* monotonic; ends 0: it does not */
    UT_hash_handle hh;
};

struct what_need {
    char *platform, *key;
    bool required;
    bool before; /* it had been built before: nothing is to do */
};

struct what_build {
    struct build b; /* the columns of its row as they are in the end */
    int wave;
    int64_t made;
    VEC(struct what_need) needs;
};

/* What was true of a track or a tag at rest, before the event. */
struct what_track {
    char *id;
    enum track_state state;
    struct reason reason;
    char *conflict;
    bool known;                 /* its image was in farm.yaml */
    unsigned served;            /* bit p: some board could build platform p */
    int wave;                   /* of its last build that follows */
    char *last[PLATFORM_COUNT]; /* keys of its last successes */
    UT_hash_handle hh;
};

struct what_tag {
    char *name; /* repository:tag */
    char *digest, *track;
    bool moved;
    UT_hash_handle hh;
};

/* ---- the simulation ---- */

struct what_lease {
    char *lease, *key;
    int64_t ends;
};

/* The commit of a push. */
struct what_commit {
    char *ref, *commit;
    char *was; /* the one that the ref counted as; NULL: the ref is new */
    bool real; /* somebody made it */
};

/* What the copy lacks. */
struct what_lack {
    char *key;                                 /* a job; else a context, of */
    char *source, *commit, *path, *dockerfile; /* dockerfile "" for none */
    bool paths; /* not the context itself: whether the question's paths are files of it */
    /* what became of it */
    bool answered; /* by the mirror, with the facts, or `touched` */
    bool touched, exists;
    char *id, *dockerfile_text, *error;
    int64_t time, size;
    char *hash_key;
    UT_hash_handle hh;
};

struct sim {
    struct what_if *w;
    struct model *m;
    struct turn turn;
    VEC(struct effect) todo;
    VEC(struct what_lease) running;
    int64_t mono, wall;
    uint64_t token, random;
    bool recording;
    struct what_job **grants; /* where what boards begin is noted; NULL: nowhere */
    int64_t first_build;      /* number of the first that the event can cause */
};

struct what_if {
    const struct farm *farm; /* that runs */
    struct model_copy copy;
    struct what_if_question q;      /* its texts are owned */
    struct what_lack *lacks;        /* all that runs have missed so far */
    VEC(struct what_lack *) missed; /* by the last one, not yet asked for */
    VEC(struct what_lack *) open;   /* nobody but a mirror knows it */
    /* of a run */
    VEC(struct what_commit) commits;
    strvec notes;
    strvec refs; /* PUSH: that moved */
    VEC(struct what_build) builds;
    strvec interrupted; /* BOARD: keys of the jobs that it had */
    struct what_job *jobs;
    struct what_job *without; /* BOARD: as they would be with it */
    struct what_track *tracks;
    struct what_tag *tags;
    int64_t began, ended,
        rest; /* monotonic: the event, the last job's end, how long it took to come to rest before */
    size_t under_way; /* jobs, when it was asked */
    bool too_much;
    atomic_bool cancelled;
    json_t *answer;
};

/* what_if_run.c */
/* Loads the copy and starts it; boards that were there are there. What they have and begin is noted in *grants, unless
 * that is NULL. */
void sim_start(struct sim *s, struct what_if *w, struct what_job **grants);
/* Until nothing is left to do. */
void sim_rest(struct sim *s);
/* Opens a turn for a model_on_… function. */
struct model *sim_begin(struct sim *s);
/* Ends it. */
void sim_end(struct sim *s);
/* Frees it. */
void sim_done(struct sim *s);
/* Says something about the answer, once. */
void what_if_note(struct what_if *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* what_if_lack.c */
/* The copy lacks a job. */
void what_if_lack_job(struct what_if *w, const char *key);
/* It lacks a context, or (`paths`) what of the question's paths is in it. Returns what became of it. */
const struct what_lack *what_if_lack(struct what_if *w, const struct effect *e, const char *commit,
                                     bool paths);
/* Frees all. */
void what_if_lacks_done(struct what_if *w);

/* what_if_facts.c */
/* Answers an EFFECT_INSPECT as well as can be told. */
void sim_inspect(struct sim *s, const struct effect *e);
/* Answers an EFFECT_RESOLVE_BASE likewise. */
void sim_resolve(struct sim *s, const struct effect *e);

/* what_if_event.c */
/* Lets the event happen, between turns. */
void what_if_event(struct sim *s);
/* Finds the source that `name` (a URL, or an image) means; *ret_image is NULL for a URL. NULL: there is none. */
struct source *what_if_source(struct model *m, const char *name,
                              const struct farm_image **ret_image);
/* The one tag of ours that the reference names, or NULL. */
struct tag_node *what_if_ours(struct model *m, const char *reference);

/* what_if_record.c */
/* Notes how everything is, for comparing. */
void what_if_note_before(struct what_if *w, struct model *m);
/* Notes what a turn decided. */
void what_if_record(struct sim *s);
/* A board begins a job. */
void what_if_record_grant(struct sim *s, const struct attempt *a, int64_t ends);
/* The platforms of a track that some board could build now, a bit each. */
unsigned what_if_served(const struct model *m, const struct track *t);
/* Forgets a run. */
void what_if_forget(struct what_if *w);

/* what_if_view.c */
/* The answer, made from what was recorded and from how everything is in the end. */
json_t *what_if_view(struct sim *s);
