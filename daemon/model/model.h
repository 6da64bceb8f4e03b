/* The model: all live state of the farm, in memory, and every decision.
 *
 * It does no I/O and reads no clock. A turn is
 *
 *     model_turn_begin(m, &turn, mono, wall);
 *     ... events: any of the model_on_… functions ...
 *     model_turn_end(m);
 *
 * after which `turn` holds the rows to commit (one transaction) and the effects to start once that
 * commit is done. Effects are level-triggered: model_start derives them again from what was loaded, so
 * that losing one costs a restart's time and nothing else. Every effect but a reply is answered by an
 * event, and is idempotent. */
#pragma once

#include "common/wire.h"
#include "daemon/model/farm.h"
#include "daemon/model/rows.h"

struct model;

/* ---- states; the tables of allowed transitions are in job.c, attempt.c, build.c, … ---- */

enum job_state { JOB_WANTED, JOB_LEASED, JOB_RUNNING, JOB_SUCCEEDED, JOB_FAILED, JOB_CANCELLED };
enum attempt_state {
    ATTEMPT_GRANTED,
    ATTEMPT_RUNNING,
    ATTEMPT_SUCCEEDED,
    ATTEMPT_FAILED,
    ATTEMPT_LOST,
    ATTEMPT_CANCELLED
};
enum build_state {
    BUILD_WAITING,
    BUILD_RUNNING,
    BUILD_HELD,
    BUILD_PUBLISHING,
    BUILD_PUBLISHED,
    BUILD_UNCHANGED,
    BUILD_FAILED,
    BUILD_SUPERSEDED,
    BUILD_CANCELLED
};
enum publication_state {
    PUBLICATION_PREPARED,
    PUBLICATION_CHILDREN,
    PUBLICATION_INDEX,
    PUBLICATION_TAGS,
    PUBLICATION_VERIFIED,
    PUBLICATION_ABANDONED /* superseded before its first tag, or its repository stopped */
};
enum board_state { BOARD_JOINING, BOARD_ONLINE, BOARD_DRAINING, BOARD_OFFLINE, BOARD_QUARANTINED };
enum track_state {
    TRACK_UNKNOWN,
    TRACK_DORMANT,
    TRACK_DELETED,
    TRACK_WAITING, /* for an inspection, an outside base, an ancestor */
    TRACK_BLOCKED,
    TRACK_BUILDING,
    TRACK_PUBLISHING,
    TRACK_PUBLISHED,
    TRACK_HELD,
    TRACK_CONFLICT,
    TRACK_FAILED,
    TRACK_CANCELLED,
    TRACK_RETIRED,
    TRACK_STATE_COUNT
};
enum failure_kind {
    FAILURE_NONE,
    FAILURE_INFRA,
    FAILURE_RECIPE,
    FAILURE_TIMEOUT,
    FAILURE_MEMORY,
    FAILURE_REJECTED,
    FAILURE_POISON
};
enum build_class { CLASS_PERSON, CLASS_SOURCE, CLASS_RIPPLE };

/* ---- effects ---- */

enum effect_kind {
    EFFECT_REPLY,        /* answer the request `token` */
    EFFECT_INSPECT,      /* read the context of a commit: model_on_context */
    EFFECT_RESOLVE_BASE, /* look an outside base up: model_on_base */
    EFFECT_PUBLISH,      /* the next steps of a publication: model_on_publication_step */
    EFFECT_RETAIN,       /* point a retention tag to a manifest: model_on_retained */
    EFFECT_AUDIT,        /* what tags of a repository name now: model_on_audited */
    EFFECT_LEASE,        /* a lease was granted or has ended: for logs and the gateway */
};

/* What an effect is asked for goes to one of these, with what comes before it: to the children alone, to the index, or from the
 * tags to the end. An answer says how far it came. */
enum publish_step {
    PUBLISH_CHILDREN, /* GET every child and check it against its slot */
    PUBLISH_INDEX,    /* PUT the index under its retention tag */
    PUBLISH_TAGS,     /* PUT the tags, one rank after the other */
    PUBLISH_VERIFY    /* read every tag back */
};

struct effect_child {
    enum platform platform;
    char *digest, *media_type;
};

struct effect_tag {
    char *tag;
    char *digest;
    bool index; /* names the index; else one platform's child */
    int rank;   /* PUBLISH_TAGS: no tag is PUT before all those of lower ranks, which come first */
};

struct effect {
    enum effect_kind kind;
    uint64_t token;                                  /* REPLY */
    int status;                                      /* REPLY: HTTP status */
    char *body;                                      /* REPLY: JSON text */
    char *source, *ref, *commit, *path, *dockerfile; /* INSPECT; dockerfile NULL for none */
    char *reference;                                 /* RESOLVE_BASE */
    int64_t publication;                             /* PUBLISH */
    enum publish_step step;
    char *repository;
    char *digest, *media_type, *bytes; /* the index */
    VEC(struct effect_child) children;
    /* To PUBLISH_INDEX: the retention tag to PUT it under, if it has one; to PUBLISH_VERIFY: all, those that are right already
     * too; RETAIN: one; AUDIT: what is expected */
    VEC(struct effect_tag) tags;
    struct known *known; /* PUBLISH_TAGS: digests that the tags may name now: see effect_knows */
    strvec adopted;      /* PUBLISH_TAGS: more of them */
    bool adopt;          /* PUBLISH_TAGS: any other one too, a person said so */
    char *lease;         /* LEASE */
    bool ended;          /* LEASE */
};

/* Whether one of the effect's tags may name that, without a stranger having been there. */
bool effect_knows(const struct effect *e, const char *digest);

/* What one turn decided. Zeroed is empty. */
struct turn {
    struct delta delta;
    VEC(struct effect) effects;
};

/* Frees it; leaves it empty. */
void turn_done(struct turn *t);
/* Frees what an effect owns. */
void effect_done(struct effect *e);

/* ---- life ---- */

struct model_hooks {
    /* Fills `n` bytes with unguessable ones; a test's may be a counter. */
    void (*fill_random)(void *data, void *bytes, size_t n);
    void *data;
};

/* An empty model of that farm, which must outlive it or be replaced by model_on_config. The caller owns it. */
struct model *model_new(const struct farm *farm, const struct model_hooks *hooks);
/* Frees everything; NULL is fine. */
void model_free(struct model *m);
/* Takes one loaded row, before model_start. -EINVAL names what is wrong with it. */
int model_load(struct model *m, enum table_id table, const struct cell *cells, struct err *err);
/* The same for who hands out rows (store_load): `model` is the struct model. */
int model_load_row(void *model, enum table_id table, const struct cell *cells, struct err *err);

/* Begins a turn at monotonic and wall-clock milliseconds; `turn` receives what it decides. */
void model_turn_begin(struct model *m, struct turn *turn, int64_t mono, int64_t wall);
/* Plans what the events touched, places jobs on boards, and fills in the turn's rows. */
void model_turn_end(struct model *m);
/* When model_on_timer is wanted next (monotonic milliseconds; INT64_MAX: never). */
int64_t model_next_due(const struct model *m);

/* ---- events; each inside a turn ---- */

/* After loading: links everything, gives every lease a full term, derives the effects again, plans all. */
void model_start(struct model *m);
/* A new farm.yaml; the old farm is not used any more afterwards. */
void model_on_config(struct model *m, const struct farm *farm);
/* Something may be due. */
void model_on_timer(struct model *m);

/* One ref of a sighting. */
struct seen_ref {
    const char *name;
    const char *commit; /* peeled */
    bool descends; /* `commit` descends from what the model counts the ref as, or that is unknown */
    bool
        follows; /* it does not, but from model_ref_pending; and is not below what the ref counts as: a mirror that
                      lags and catches up is no force-push */
};
/* A poll of a source listed `n` refs, all that its patterns match. */
void model_on_refs(struct model *m, const char *source, const struct seen_ref *refs, size_t n);
/* A poll of a source failed. */
void model_on_source_failed(struct model *m, const char *source, const char *error);
/* The commit that the model counts a ref as, or NULL; for telling whether a moved ref descends. */
const char *model_ref_commit(const struct model *m, const char *source, const char *ref);
/* The commit elsewhere at which the last sighting saw the ref, or NULL: it does not count yet. */
const char *model_ref_pending(const struct model *m, const char *source, const char *ref);
/* Refs by which a commit of a source can be had, as far as the model knows: appends those that are it, or else
 * all that there are, since it may be below one of them. */
void model_commit_refs(const struct model *m, const char *source, const char *commit, strvec *refs);
/* A commit that a ref of the source counts as now, whose build context has the very files of that of `commit` (which
 * may be it), or NULL: for when a commit that was planned with is not to be had any more. */
const char *model_context_commit(const struct model *m, const char *source, const char *commit,
                                 const char *path, const char *dockerfile);
/* What was seen of a source so far: the number of its last sighting (0: none yet), and whether it had refs. */
void model_source_seen(const struct model *m, const char *source, uint64_t *ret_sighting,
                       bool *ret_had_refs);
/* Whether an image of the source waits for the first sighting of its pattern. */
bool model_source_unseen(const struct model *m, const char *source);
/* The patterns that are wanted of a source: appends full ref names with at most one '*'. */
void model_source_patterns(const struct model *m, const char *source, strvec *patterns);

/* The facts of one build context. */
struct context_facts {
    bool exists;
    const char *id;              /* NULL unless it exists */
    const char *dockerfile_text; /* NULL: there is none, or none was asked for */
    int64_t time, size;          /* committer time in seconds; bytes */
    const char *error;           /* the tree cannot be a context; NULL: it can */
};
/* EFFECT_INSPECT is done. */
void model_on_context(struct model *m, const char *source, const char *commit, const char *path,
                      const char *dockerfile, const struct context_facts *facts);
/* EFFECT_INSPECT failed for want of something; it is tried again later. */
void model_on_context_failed(struct model *m, const char *source, const char *commit,
                             const char *path, const char *dockerfile, const char *error);

struct base_child {
    enum platform platform;
    const char *digest;
};
/* EFFECT_RESOLVE_BASE is done: what the reference names now. With `unchanged`, a HEAD said that the digest
 * is still the one known, and `children` is not looked at. */
void model_on_base(struct model *m, const char *reference, const char *digest,
                   const struct base_child *children, size_t n, bool unchanged);
/* EFFECT_RESOLVE_BASE failed; `gone`: the registry says that there is no such thing. Like below, for `wait_ms` the registry
 * asks not to be asked; 0: it does not say. */
void model_on_base_failed(struct model *m, const char *reference, bool gone, const char *error,
                          int64_t wait_ms);
/* The digest that a base last resolved to, or NULL. */
const char *model_base_digest(const struct model *m, const char *reference);

/* A tag names what it should, whatever becomes of the effect; those of lower ranks are told of before. */
void model_on_publication_tag(struct model *m, int64_t publication, const char *tag);
/* All that the effect was asked for is done, to that step; with the last one, all tags are where they should be. */
void model_on_publication_step(struct model *m, int64_t publication, enum publish_step step);
enum publish_failure {
    PUBLISH_AWAY,    /* the registry is away or refuses: tried again later */
    PUBLISH_MISSING, /* a child is not there: `platform` loses its success */
    PUBLISH_FOREIGN  /* a tag of ours names what the store does not know */
};
/* That step failed; those before it, that the effect was asked for, are done. */
void model_on_publication_failed(struct model *m, int64_t publication, enum publish_step step,
                                 enum publish_failure failure, enum platform platform,
                                 const char *error, int64_t wait_ms);

/* EFFECT_RETAIN is done: the tag `name` of the repository names `digest`. */
void model_on_retained(struct model *m, const char *repository, const char *name,
                       const char *digest);
/* EFFECT_RETAIN failed: PUBLISH_MISSING where the registry does not have the manifest. */
void model_on_retain_failed(struct model *m, const char *repository, const char *name,
                            const char *digest, enum publish_failure failure, const char *error,
                            int64_t wait_ms);

/* What an audit saw of one tag. */
struct audited {
    const char *tag;
    const char *expected; /* as the effect said */
    const char *found;    /* the digest that it names; NULL: there is no such tag */
};
/* EFFECT_AUDIT is done. */
void model_on_audited(struct model *m, const char *repository, const struct audited *tags,
                      size_t n);
/* EFFECT_AUDIT failed; it is repeated later, and no sooner than after `wait_ms`, for which its registry asks not to be
 * asked; 0: it does not say. */
void model_on_audit_failed(struct model *m, const char *repository, int64_t wait_ms);

/* ---- boards and leases (lease.c); `token` names the request that an EFFECT_REPLY answers ---- */

/* Makes a board known, or gives it a new secret, of which `secret_hash` is the digest. */
void model_on_board_added(struct model *m, const char *name, const char *secret_hash);
/* The board whose secret has this digest, or NULL. */
const char *model_board_by_secret(const struct model *m, const char *secret_hash);
/* A board begins a session: says what it is, and what it holds. */
void model_on_session(struct model *m, const char *board, const struct wire_session_request *req,
                      uint64_t token);
/* A board asks for work; answered when there is some, or after half a minute. */
void model_on_poll(struct model *m, const char *board, const struct wire_poll_request *req,
                   uint64_t token);
/* The client of an open poll went away. */
void model_on_poll_closed(struct model *m, uint64_t token);
/* A lease has ended. A result that is not current is answered with 409 and changes nothing. */
void model_on_result(struct model *m, const char *lease, const struct wire_result *result,
                     uint64_t token);

/* What the bearer of a lease's secret may do. */
struct lease_rights {
    const char *board;
    const char *repository;             /* full name to push to */
    const char *source, *commit, *path; /* whose files its context is */
    const char *dockerfile;             /* "": none */
    const char *spec;                   /* the job, JSON: its bases are what may be pulled */
    bool current;                       /* the job is not granted to another meanwhile */
};
/* -ENOENT unless `lease` is live and `secret` is its. What `ret` points to is borrowed until the next
 * turn. */
int model_lease_rights(const struct model *m, const char *lease, const char *secret,
                       struct lease_rights *ret);

/* The number of a job's last attempt (its lease is "L" and that), 0: none; -1: there is no such job. */
int64_t model_last_attempt(const struct model *m, const char *key);
/* The number of a job's attempt that has not ended, 0: none. */
int64_t model_live_attempt(const struct model *m, const char *key);

/* ---- what people ask for; 0, or a negative errno with a text for them ---- */

/* Commands (command.c): each is idempotent, says what it changed, and is recorded if it changed something. */
enum command_verb {
    COMMAND_HOLD,     /* the track builds, and publishes nothing */
    COMMAND_RELEASE,  /* ends hold, pin and rollback: the newest is published */
    COMMAND_FREEZE,   /* a hold on all */
    COMMAND_THAW,     /* ends it */
    COMMAND_PIN,      /* the track's tags go to a publication, and stay there */
    COMMAND_ROLLBACK, /* the same; to the one before the newest where none is named */
    COMMAND_PROMOTE,  /* its latest build is what its tags name, hold or not */
    COMMAND_RETRY,    /* what has failed, or backs off, is tried now */
    COMMAND_RETIRE,   /* the track is built no more and owns no tags; or it drops a platform */
    COMMAND_WAKE,     /* a dormant or retired track, or a retired platform, is built */
    COMMAND_REBUILD,  /* built again though nothing changed */
    COMMAND_COUNT
};

struct command {
    enum command_verb verb;
    const char *track; /* id; NULL: freeze, thaw, and the retry of a job */
    const char *job;   /* retry: a key, instead of a track */
    const char
        *publication; /* pin, rollback: its number, or its index's digest or the beginning of it */
    const char *platform;           /* retire, wake, rebuild; NULL: all, or the track itself */
    bool no_cache, with_dependents; /* rebuild */
    const char *who, *reason;       /* NULL: unknown, none given */
};

struct command_answer {
    bool changed;
    char *text;     /* what was changed, or why nothing was */
    strvec tracks;  /* rebuild: those that are built again */
    int64_t action; /* number of its record; 0: nothing was changed */
};

/* Does what a person asks. The caller ends *ret. -ENOENT: no such thing; -EBUSY: not as things are; -EINVAL: it makes
 * no sense; the text says what to do. */
int model_on_command(struct model *m, const struct command *c, struct command_answer *ret,
                     struct err *err);
/* Frees it; leaves it empty. */
void command_answer_done(struct command_answer *a);
/* A verb's name ("hold"). Static. */
const char *command_name(enum command_verb verb);
/* The verb of that name; -ENOENT: there is none. */
int command_verb_of(const char *name);

/* Builds a track again though nothing changed. `platform` NULL: all of them. */
int model_on_rebuild(struct model *m, const char *track, const char *platform, bool no_cache,
                     struct err *err);
/* Cancels a build with the jobs that only it wants. */
int model_on_cancel_build(struct model *m, int64_t build, struct err *err);
/* Cancels one job. */
int model_on_cancel_job(struct model *m, const char *key, struct err *err);
/* Lets a stopped repository go on: what its tags name now is taken for granted. A publication that is left where the farm
 * publishes no more is given up; -EBUSY: while it asks its registry. */
int model_on_adopt(struct model *m, const char *repository, struct err *err);
/* Lets a stopped repository go on: what its tags should name is put back. */
int model_on_restore(struct model *m, const char *repository, struct err *err);
/* Audits a repository now; NULL: all of them. */
int model_on_audit(struct model *m, const char *repository, struct err *err);

/* ---- views: JSON for the status endpoint; the caller owns the answer ---- */

/* The farm, but for what the coordinator itself adds (started_at, now_at, stalled). */
json_t *view_status(struct model *m);
/* All images with their tracks. */
json_t *view_images(struct model *m);
/* All tracks, by id. */
json_t *view_tracks(struct model *m);
/* One track, but for its past builds; NULL: no such track. */
json_t *view_track(struct model *m, const char *id);
/* Why a job waits, runs or ended (it may be null), if it is in this state now; else NULL. */
json_t *view_job_why(struct model *m, const char *key, const char *state);
/* Adds to an answer that names a "track" the "build" that a rebuild made, or null and what it "waits" for, as there is none
 * yet. After the turn in which the rebuild was asked for. */
void view_rebuild(struct model *m, json_t *answer);
/* All boards. */
json_t *view_boards(struct model *m);
/* All sources. */
json_t *view_sources(struct model *m);
/* One job, but for its attempts; NULL: no such job. */
json_t *view_job(struct model *m, const char *key);
