/* The model's objects. Private to daemon/model/: everybody else uses model.h and the views.
 *
 * A struct whose first member is a `struct row` outlives a restart: the members named in rows_tables.c
 * are its columns. Whoever changes one of those calls model_touch. Pointers to other objects are weak;
 * the model's hash tables own them all. Times called `_at` are wall-clock milliseconds and only ever
 * shown; times called `_due` are monotonic and live in memory alone. */
#pragma once

#include "daemon/model/farm.h"
#include "daemon/model/model.h"
#include "daemon/model/past.h"
#include "daemon/model/reason.h"
#include "daemon/model/rows.h"
#include "daemon/model/version.h"

/* The model is bounded by its farm: a hash table that cannot grow ends the program like any failed
 * allocation. */
#include <uthash.h>

extern const char *const job_state_names[], *const attempt_state_names[],
                                                *const build_state_names[],
                                                    *const publication_state_names[],
                                                        *const board_state_names[],
                                                            *const track_state_names[],
                                                                *const failure_kind_names[],
                                                                    *const awake_names[],
                                                                        *const build_class_names[];

struct row {
    enum table_id table;
    bool dirty; /* in the model's list of what this turn changed */
    bool dead;  /* deleted in this turn; freed at its end */
};

struct setting {
    struct row row;
    char *key;
    char *value;
    UT_hash_handle hh;
};

/* ---- upstream ---- */

struct source {
    struct row row;
    char *url;
    int64_t sighting; /* number of the last poll that succeeded; 0: none yet */
    int64_t polled_at;
    char *error;      /* of the last poll; NULL after one that succeeded */
    int64_t failures; /* in a row */
    struct ref *refs; /* hash by name */
    UT_hash_handle hh;
};

struct ref {
    struct row row;
    char *source;
    char *name;
    char *commit;         /* what the ref counts as, peeled */
    char *pending_commit; /* sighted once where it is no descendant of `commit`; NULL: none */
    int64_t missing;      /* sightings in a row without it */
    bool deleted;
    VEC(struct track *) tracks; /* that follow it */
    bool known, kept;           /* has tracks, one that does not sleep: see discover.c */
    UT_hash_handle hh;
};

/* The files of one commit that are one build context: facts that never change. */
struct context {
    struct row row;
    char *source, *commit, *path, *dockerfile; /* dockerfile "" for none */
    char *ref;                                 /* where the worker finds the commit; not stored */
    char *id;              /* the context id; NULL: unknown, or no such folder */
    char *dockerfile_text; /* NULL: none */
    char *error; /* the tree cannot be a context; of the last look, while it is not known */
    bool known;  /* the worker has answered for good */
    bool exists;
    int64_t time;      /* committer time of the commit, seconds */
    int64_t size;      /* bytes of all files */
    int64_t retry_due; /* after a failed look; 0: none pending */
    int64_t failures;
    bool asked;              /* an EFFECT_INSPECT is on its way */
    int mark;                /* of the last copy that took it */
    char *dockerfile_digest; /* of dockerfile_text; NULL: not asked for yet */
    struct epoch *epoch;     /* weak; NULL: not asked for yet */
    struct slot *readers;    /* the first of the slots that want it now */
    char *hash_key;
    UT_hash_handle hh;
};

struct epoch {
    struct row row;
    char *source, *context_id;
    int64_t time; /* SOURCE_DATE_EPOCH, seconds */
    int mark;     /* of the last copy that took it */
    char *hash_key;
    UT_hash_handle hh;
};

/* A base from outside the farm. */
struct base {
    struct row row;
    char *reference; /* normalised: host/repository:tag or @digest */
    char *digest;    /* of what the tag names (index or manifest); NULL: never resolved */
    char *children;  /* JSON [{"platform","digest"}] */
    char *error;     /* of the last look */
    int64_t checked_at;
    int64_t check_due;
    int64_t failures;
    bool gone; /* the error says that there is no such thing */
    bool asked;
    VEC(struct track *) dependents;
    char *child[PLATFORM_COUNT]; /* decoded from children */
    UT_hash_handle hh;
};

/* ---- what is in or out of date ---- */

/* A tag of one of our repositories: who claims it, who builds from it, where it points. */
struct tag_node {
    char *name; /* repository:tag */
    char *repository, *tag;
    VEC(struct track *) claimants;
    VEC(struct track *) dependents;
    struct tag *current; /* NULL: points nowhere yet */
    bool ranked;         /* the three below hold: see owner_rank in owner.c */
    bool versions;       /* all claims are shared ones of versions: the highest owns it */
    struct track *top;   /* of those in the race the highest, NULL: none is */
    size_t tied;         /* how many are as high as that */
    struct tag_node *
        whole; /* of which it is called as a single platform's ("1.4" of "1.4-arm64"); NULL: of none */
    enum platform platform;       /* where `whole` is set */
    VEC(struct tag_node *) parts; /* those whose `whole` it is */
    UT_hash_handle hh;
};

enum slot_state {
    SLOT_UNKNOWN,
    SLOT_NOT_OFFERED,
    SLOT_WAITING, /* for an inspection, a base from outside */
    SLOT_BLOCKED,
    SLOT_READY /* the key is known */
};

/* What one reference of a slot's recipe means now. */
struct pin {
    char *reference;       /* as the recipe has it, normalised */
    char *repository;      /* full name to pull from */
    char *digest;          /* child manifest to pull */
    char *content;         /* what the key names */
    struct tag_node *node; /* weak; NULL for a base from outside */
    struct base *base;     /* weak; NULL for one of ours */
};

/* A key whose job tracks would share if another made it: their slots, which wait for ancestors. See wait.c. */
struct awaited {
    char *key;
    struct slot *slots;
    UT_hash_handle hh;
};

/* One platform of one track. */
struct slot {
    struct row row;
    struct track *t;
    char *track;
    char *platform_name;
    enum platform platform;
    int64_t rebuild; /* a counter in the key: "build anyway" */
    bool no_cache;   /* of the last rebuild asked for */
    bool seen;       /* its context folder existed once */
    bool retired;
    char *last_key; /* of the last success: what "why built" compares with */
    int64_t
        stale_clock; /* when its last good child, which an index kept, counts as stale, by the farm's
                          clock; 0: it does; -1: nothing older than wanted is kept */
    int64_t stale_due; /* live; 0: not waiting */
    int64_t work_ms;   /* milliseconds on a board of ESTIMATE_SPEED; 0: not known */
    /* evaluated by the plan */
    bool wanted; /* the image offers the platform */
    bool optional;
    enum slot_state state;
    struct reason reason;
    struct context *context; /* kept while the ref names its commit; set by set_context */
    struct slot *reader_before, *reader_after; /* in the context's list */
    VEC(struct pin) pins;   /* of the references; what each means is looked up in each plan */
    struct context *parsed; /* whose Dockerfile the references are of */
    char *last_from;        /* the last stage's FROM, normalised */
    char *parse_error;
    int buildah;           /* the oldest that builds it: 1041 is 1.41; 0: every one does */
    char *buildah_for;     /* the line that wants it, and what is there; NULL: none does */
    char *key;             /* kept while nothing that it is made of changes */
    char *inputs;          /* whose hash it is; NULL: the job has them (slot_inputs) */
    int64_t keyed_rebuild; /* `rebuild` as it is in the key */
    struct job *job;
    struct awaited *awaited;  /* its key, while its track waits and nobody builds it; else NULL */
    struct slot *prev, *next; /* in that one's list */
};

/* Why a track that is not dormant is kept in date, each outweighed by those below it. */
enum awake {
    AWAKE_ALWAYS, /* it did not sleep, or was published since it woke */
    AWAKE_NEEDED, /* something in date is built on it: as long as there is any */
    AWAKE_ONCE,   /* its ref moved, or a rebuild was asked for: until it is published */
    AWAKE_ASKED,  /* a person woke it: it does not sleep by itself */
};

struct track {
    struct row row;
    char *id; /* image@ref[:variant] */
    char *image_name, *ref_name, *variant;
    bool dormant;
    enum awake awake; /* AWAKE_ALWAYS of one that is dormant */
    bool deleted;     /* its ref is gone upstream */
    bool held;
    char *hold_reason, *held_by;
    int64_t held_at;
    int64_t pinned;     /* id of the publication that its tags stay at; 0: none. Only with `held` */
    int64_t promoted;   /* id of the build that its hold lets through; 0: none */
    bool retired;       /* by a person: neither built nor an owner of tags */
    int64_t superseded; /* builds superseded in a row */
    int64_t publication; /* id of its last verified publication; 0: none */
    int64_t build;       /* id of its latest build; 0: none */
    int64_t wait_clock; /* when its wait for ancestors ends, by the farm's clock; -1: not waiting */
    enum reason_code asked; /* what a person asked the next build for; REASON_NONE: nothing */
    /* derived */
    const struct farm_image *image; /* NULL: gone from farm.yaml */
    struct ref *ref;
    char *version; /* "" where there is none */
    struct version parsed_version;
    char *tag_error; /* its tags cannot be told; NULL: they can */
    char *conflict; /* a tag of its is another track's, which claims exactly the same; NULL: none */
    enum track_state state;
    struct reason reason;
    struct reason why; /* the build that is or was last wanted */
    struct slot *slots[PLATFORM_COUNT];
    strvec tags;
    VEC(struct tag_node *) claims;
    VEC(bool) shared; /* of each claim */
    VEC(struct tag_node *) bases;
    VEC(struct base *) outside;
    struct build *current;    /* the latest build, while loaded */
    struct publication *last; /* the last verified publication, while loaded */
    VEC(struct publication *)
    published; /* all that are loaded, abandoned ones too, in their order */
    VEC(struct retention *) places;
    int64_t wait_due;           /* the same, monotonic; 0: not waiting */
    bool out_of_bounds;         /* its version is outside `versions` */
    bool queued;                /* in the model's list of tracks to plan */
    struct repository *turn_in; /* in whose queue it waits for its turn to publish; NULL: in none */
    bool to_prune;              /* in the list of its repository */
    bool lost_tag;              /* to a publication that has not ended, or has just */
    bool visiting;              /* on the stack of plan_ancestors */
    bool rebase;                /* its slots' pins were made anew: see track_set_bases */
    int64_t chain_ms;           /* of the longest chain that begins with it: see estimate.c */
    int64_t chain_stamp;        /* as of when */
    int mark;                   /* of the last depth-first walk that met it */
    struct track *waiters;      /* the first of those that wait for it: see wait.c */
    struct track *waits_for;    /* in whose list it is; NULL: in none */
    struct track *waiter_before, *waiter_after;
    bool under_way; /* see track_under_way; as of its last plan */
    bool stopped;   /* deleted, dormant, retired, …; as of its last plan */
    int64_t dozed;  /* the plan_run in which it last fell asleep for want of dependents */
    bool in_woken;  /* in the model's list of those that are AWAKE_NEEDED */
    bool unread;    /* files of it are being read; as of its last plan */
    UT_hash_handle hh;
};

/* ---- building ---- */

struct job {
    struct row row;
    char *key;
    char *platform_name;
    char *repository, *image, *track;
    char *inputs; /* canonical JSON list of named inputs */
    char *spec;   /* wire job without what a lease adds, JSON; "": forgotten */
    char *source, *commit, *path, *dockerfile; /* whose files the context is */
    enum job_state state;
    enum failure_kind kind; /* of the last failure */
    char *reason;           /* of the last failure */
    bool settled;           /* cancelled: by a person; a superseded one settles nothing */
    bool emulated;          /* boards that emulate may serve */
    bool no_cache;
    int64_t epoch;                             /* rises with each grant */
    int64_t recipe_failures, timeouts, losses; /* of this round of tries */
    int64_t infra_failures; /* of this round, and since an output of it was kept */
    int64_t failures;       /* how often in a row it has settled as failed */
    char *avoid;            /* board of the last failure, avoided while there is another */
    char *suspect;          /* to blame if another board succeeds in this round; NULL: none */
    int64_t memory_above;   /* only boards with more than this many bytes; 0: any */
    int64_t retry_clock;    /* when it may be tried again, by the farm's clock; 0: no delay */
    char *manifest_digest, *manifest_media_type, *config_digest, *content_digest;
    int64_t manifest_size;
    char *board; /* that built it, or builds it */
    int64_t wanted_at, started_at, finished_at, duration_ms;
    int64_t attempt; /* id of the last attempt; 0: none */
    enum build_class class;
    int64_t buildah;      /* the oldest that builds it, as its slots have had it: see struct slot */
    char *buildah_for;    /* NULL: every one does */
    int64_t queued_clock; /* when it was queued, by the farm's clock; 0: it is to be queued anew */
    /* live */
    enum platform platform;
    int64_t retry_due;
    int64_t order;        /* its place in the queue: the lowest goes first */
    struct queue *queue;  /* where it waits for a board; NULL: it does not */
    size_t at;            /* its place in the heap of that */
    strvec pins;          /* digests that it needs of registries, where `pins_known` */
    bool pins_known;      /* as of its spec; else that is read again when it is to be pinned */
    bool pinning;         /* they are kept for it: it is under way */
    int holders;          /* slots, build_jobs, attempts and lists that have a pointer to it */
    bool past_expected;   /* it may be of the past: see past.c */
    int mark;             /* of the last copy that took it */
    struct attempt *live; /* granted, running or lost but still reattachable */
    VEC(struct build *) builds;
    UT_hash_handle hh;
};

typedef VEC(struct job *) jobvec;

struct attempt {
    struct row row;
    int64_t id;
    char *lease; /* "L<id>" */
    char *job_key;
    int64_t epoch;
    char *board_name;
    char *secret; /* NULL once it has ended */
    enum attempt_state state;
    enum failure_kind kind;
    char *reason;
    int64_t granted_at, started_at, finished_at;
    int64_t log_size;
    int64_t granted_clock; /* by the farm's clock */
    bool cancel;           /* the board is to be told to stop it */
    /* live */
    struct job *job;
    struct board *board;
    int64_t due; /* end of its term */
    int64_t
        granted_mono; /* the same, monotonic: the time in between without a coordinator left out */
    int64_t granted_seq; /* of the poll that it answered */
    bool told;           /* it was */
    bool sent;           /* the answer that grants it has been written */
    UT_hash_handle hh;
};

/* What a finished attempt brought, kept for people; never loaded. */
struct result {
    struct row row;
    int64_t attempt;
    char *job_key;
    char *timings, *layers, *packages, *build_root; /* JSON */
};

struct build_job {
    struct row row;
    int64_t build;
    char *platform_name;
    char *job_key;
    bool required;
    enum platform platform;
    struct job *job;
};

struct build {
    struct row row;
    int64_t id;
    char *track_id;
    enum build_state state;
    enum build_class class;
    enum reason_code why_code;
    char *why;
    enum reason_code end_code;
    char *end;
    char *commit;
    int64_t publication;
    int64_t created_at, finished_at;
    struct track *track;
    VEC(struct build_job *) jobs;
    UT_hash_handle hh;
};

/* ---- publishing ---- */

struct child {
    enum platform platform;
    char *digest, *media_type, *content, *key;
    char *packing; /* media type and compression asked for: "oci+gzip" */
    int64_t size;
    bool lost;   /* the registry does not have it any more */
    bool missed; /* live: the last look did not find it; asked for again before it counts as lost */
};
typedef VEC(struct child) childvec;

struct publication_tag {
    struct row row;
    int64_t publication;
    int64_t ordinal;
    char *tag;
    char *digest;
    bool index; /* names the index; else one platform's child */
    bool done;
};

struct publication {
    struct row row;
    int64_t id;
    char *repository, *track_id;
    int64_t build;
    int64_t generation;
    enum publication_state state;
    char *digest, *media_type;
    char *bytes;    /* of the index, serialised once */
    char *children; /* JSON */
    char *error;
    int64_t created_at, finished_at;
    childvec child;
    VEC(struct publication_tag *) tags;
    int64_t retry_due;
    int64_t failures;
    bool asked;   /* its next step is on its way */
    bool recheck; /* a PUT was refused: its children are looked at before it is tried again */
    UT_hash_handle hh;
};

struct tag {
    struct row row;
    char *repository, *name;
    char *track_id;
    int64_t publication;
    int64_t generation;
    char *digest;
    char *found;   /* what an audit found instead; "": nothing; NULL: as it should be */
    char *adopted; /* what a person took for granted in its place; NULL: nothing */
    bool put_back; /* live: it, or a tag of one of its architectures, is to be put back */
    char *hash_key;
    struct publication *shown; /* weak: that of `publication` */
    UT_hash_handle hh;
};

/* One place of a track's ring of retention tags: see retain.c. */
struct retention {
    struct row row;
    char *repository, *name;
    char *track;
    char *kind;   /* a platform, or "index" */
    char *digest; /* what it names; NULL: nothing yet, or it is not known */
    char *wanted; /* what it is to name; NULL: nothing in particular */
    char *error;  /* of the last PUT */
    /* live */
    enum platform platform; /* PLATFORM_COUNT for indexes */
    bool asked;             /* its PUT is on its way */
    bool queued;            /* in the model's list of places to bring about */
    int64_t publication;    /* whose step its PUT is; 0: none's */
    int64_t retry_due, failures;
    bool
        missed; /* it was not there when it was to be kept; asked for again before it counts as lost */
    int64_t
        free_at; /* until then a PUT of something older may still land here: it is given to nothing else */
    char *hash_key;
    UT_hash_handle hh;
};

struct repository {
    char *name;
    bool owned;        /* an image publishes here */
    bool listed;       /* the same, while a new farm.yaml is being linked */
    char *stopped;     /* why nothing is published here until a person decides; NULL: it is */
    bool restoring;    /* a person asked that its tags are put back */
    bool restore_seen; /* and an audit has said which; live */
    bool asked;        /* a person asked for an audit, which has not been made yet */
    bool
        adopting; /* a person asked that what its tags name is taken for granted, at the next audit */
    int64_t audit_due, audit_failures; /* audit_due 0: none pending */
    int64_t changes,
        audit_mark; /* of its tags, ever; when the audit that is under way was asked for */
    VEC(struct tag *) tags;
    struct publication *running; /* one at a time */
    VEC(struct publication *) publications;
    VEC(struct track *) tracks;
    struct known *known;          /* what its publications name */
    int64_t odd;                  /* tags that an audit found to name something else */
    bool putting_back;            /* some tag of it is to be put back */
    VEC(struct track *) to_prune; /* of which some publication may be kept no more */
    VEC(struct track *) queue;    /* those that wait for their turn to publish, the next first */
    UT_hash_handle hh;
};

/* ---- boards ---- */

struct board {
    struct row row;
    char *name;
    char *secret_hash; /* sha256 digest of its secret */
    char *facts;       /* JSON, as the session said */
    enum board_state state;
    int64_t blames;
    int64_t good; /* successes since it was last blamed */
    char *boot;   /* of its last session; another one ends a quarantine */
    int64_t joined_at, seen_at;
    int64_t speed; /* against ESTIMATE_SPEED; 0: nothing known */
    int64_t
        away_clock; /* since when it takes nothing, by the farm's clock; 0: it does, or has never been there */
    /* live */
    char *session;
    bool native[PLATFORM_COUNT], emulated[PLATFORM_COUNT];
    bool kind_rootfs, kind_dockerfile;
    int buildah;           /* 1028 is 1.28; INT_MAX: not told */
    char *buildah_version; /* NULL: not told */
    strvec labels;
    int64_t slots, memory;
    int64_t seq, agent_free, disk_free, memory_free;
    int64_t granted_now;      /* leases that its open poll is about to be answered with */
    int64_t answered_at;      /* its last poll */
    VEC(int64_t) idle_in;     /* milliseconds until each slot is free, ascending; see schedule.c */
    double load, temperature; /* NAN: none known */
    bool draining;
    bool
        gone; /* it has taken nothing for so long that nothing waits for it: see board_gone_clock */
    strvec unknown; /* leases that it holds and should not: told with the next answer */
    uint64_t poll;  /* request token of its open long poll; 0: none */
    int64_t poll_due, due;
    VEC(struct attempt *) leases; /* granted, running, lost but held */
    UT_hash_handle hh;
};

/* What a person did, kept for people; never loaded. */
struct action {
    struct row row;
    int64_t id;
    int64_t at;
    char *who, *verb;
    char *track, *job; /* at most one of them; neither: the farm */
    char *reason;      /* as the person gave it */
    char *text;        /* what was changed */
};

struct model {
    const struct farm *farm;
    struct model_hooks hooks;
    int64_t mono, wall;  /* of the event being applied */
    int64_t clock_ahead; /* the farm's clock less `mono`: see model_clock */
    int64_t
        clock_stored; /* the farm's clock as the store has it; in a copy that is to start: as the model had it */
    int64_t next_due; /* when EV_TIMER is wanted next; INT64_MAX: never */

    struct setting *settings;
    struct source *sources;
    struct context *contexts;
    struct epoch *epochs;
    struct base *bases;
    struct tag_node *nodes;
    struct track *tracks;
    struct job *jobs; /* but for those of the past: job_find has them all */
    struct past past;
    struct attempt *attempts; /* by lease */
    struct build *builds;
    struct publication *publications;
    struct tag *tags;
    struct repository *repositories;
    struct retention *places;
    struct pinned *pinned;   /* what jobs under way need, counted: see retain.c */
    struct awaited *awaited; /* keys that waiting tracks would share: see wait.c */
    struct board *boards;

    VEC(struct row *) dirty;
    VEC(struct build *) retired_builds;   /* freed once this turn's rows are written */
    VEC(struct attempt *) ended_attempts; /* likewise */
    VEC(struct track *) plan;             /* tracks to plan in this turn */
    struct queue *queues;                 /* wanted jobs that wait for a board: see queue.c */
    jobvec looked_past;                   /* those of a round of placing */
    struct strbuf key_list;               /* room of key_compute */
    jobvec
        loaded_waiting; /* until the start is done: jobs that were loaded wanted or with a delay */
    jobvec backing_off; /* wanted and failed jobs that wait for their time */
    VEC(struct slot *) behind;            /* slots that wait for their deadline */
    VEC(struct retention *) unkept;       /* places that do not name yet what they should */
    size_t unkept_next;                   /* the first of them */
    VEC(struct retention *) unkept_later; /* more of them: whose time has not come */
    bool auditing;                        /* an EFFECT_AUDIT is under way */
    int64_t audit_next;                   /* no audit is due before */
    int retaining;                        /* EFFECT_RETAINs under way */
    int64_t plans;                        /* how often plan_run ran */
    VEC(struct track *) woken;            /* those that are AWAKE_NEEDED are all in it */
    int unread_tracks;                    /* tracks whose files are being read */
    bool
        sight_awaited; /* an image awaits the first look at its source with its present pattern and bounds: one that finds
                         * nothing, or fails, will do */
    VEC(struct context *) unread;     /* contexts to ask for again when their time comes */
    int64_t boards_stamp;             /* rises when what boards say of a job may have changed */
    bool dispatch;                    /* a board or a job changed: try to place jobs */
    int64_t ranked, ranked_at;        /* estimate_stamp and time of the last ranking of `queues` */
    int64_t work_sum[PLATFORM_COUNT]; /* of the slots whose work is known, and how many they are */
    int64_t work_slots[PLATFORM_COUNT];
    int64_t usual_speed[PLATFORM_COUNT]; /* mean of the boards whose speed is known; 0: none is */
    int64_t fastest[PLATFORM_COUNT];     /* speed of the fastest board; 0: there is none */
    int64_t chains;                      /* rises whenever a length in a chain changes */
    int visit;
    int64_t edges;     /* rises whenever a track is built on other tags than before */
    char *buildah;     /* the newest that a board has; NULL: none known */
    struct turn *turn; /* of the event being applied */
};

/* Marks the object, whose first member is a row, as changed in this turn. */
void model_touch(struct model *m, void *object);
/* Queues the track for planning in this turn. */
void model_plan_later(struct model *m, struct track *t);
/* Asks for an EV_TIMER no later than `due`. */
void model_timer(struct model *m, int64_t due);
/* The farm's clock: milliseconds that a coordinator has run, ever. Delays and places in the queue are stored as moments
 * of it, and it goes on after a start from where it was stored last: no number of restarts postpones anything for ever. */
int64_t model_clock(const struct model *m);
/* Something waits, or a job runs: until none does the clock is stored every half minute, though nothing else changes. */
void model_clock_keep(struct model *m);
/* When `clock`, a moment of the farm's clock, is or was: monotonic, at least 1. */
int64_t model_clock_due(const struct model *m, int64_t clock);
/* After the settings are loaded: the clock goes on. */
void model_clock_start(struct model *m);
/* The timer fired: stores the clock if `waits`, or anything else waits still. */
void model_clock_timer(struct model *m, bool waits);
/* Appends an effect and returns it, to be filled in. */
struct effect *model_effect(struct model *m, enum effect_kind kind);
/* The next number of the counter `name`, from 1, stored. */
int64_t model_next(struct model *m, const char *name);
/* A setting's value, or NULL. */
const char *model_setting(const struct model *m, const char *key);
/* Sets a setting; NULL removes it. */
void model_set_setting(struct model *m, const char *key, const char *value);
/* The repository's live object, made when it is new. */
struct repository *model_repository(struct model *m, const char *name);
/* Whether an image of the farm publishes to this repository: its tags are never fetched from outside. */
bool model_owns(const struct model *m, const char *repository);
/* Whether farm.yaml names the registry of this repository, be it by an image. */
bool model_knows_registry(const struct model *m, const char *repository);
/* The node whose claimants put the tag: of a single platform's tag, that nobody claims by its name, the whole's. */
struct tag_node *tag_node_made_by(struct tag_node *n);
/* The node of a tag, made when it is new. */
struct tag_node *model_node(struct model *m, const char *repository, const char *tag);
/* Milliseconds that a retry waits after `failures` failures in a row: doubling from 5 s to 5 min. */
int64_t model_backoff(int64_t failures);
/* The same of a registry that asks not to be asked for `wait_ms` (0: it does not): no earlier than that, in an hour at the
 * latest. */
int64_t model_backoff_asked(int64_t failures, int64_t wait_ms);
