/* The agent protocol, version 1: what goes over the wire between sheafd and sheaf-agent, as structs.
 *
 * WIRE_API gives each struct T its functions (see wire_table.h):
 *     int   T_decode(text, n, ret, err)     int     T_from_json(json, ret, err)
 *     char *T_encode(value)                 json_t *T_to_json(value)
 *     void  T_copy(ret, value)              void    T_done(value)
 * Strings are owned; a NULL string, pointer or NAN is JSON's null, allowed only where it says so.
 * Times and durations are milliseconds, sizes bytes. */
#pragma once

#include "common/wire_table.h"

/* Bounds that both sides share. */
enum {
    WIRE_MAX_SLOTS = 256,
    WIRE_MAX_HELD = 1024,
    WIRE_MAX_PACKAGES = 50000,
};

/* Whether `s` may be a lease's id: 1 to 64 of [A-Za-z0-9_-]. It becomes a path and a user name. */
bool wire_lease_id_valid(const char *s);

/* ---- session and poll ---- */

enum wire_held_state { WIRE_HELD_RUNNING, WIRE_HELD_FINISHED };

/* A lease that the agent still holds: at work, or finished with its result not yet acknowledged. */
struct wire_held {
    char *lease;
    int64_t epoch;
    enum wire_held_state state;
};
WIRE_API(wire_held)
typedef VEC(struct wire_held) wire_held_list;

/* What a board is and can do; found once, at the agent's start. */
struct wire_facts {
    strvec platforms; /* native, as common/platform names them */
    strvec emulated;  /* by an interpreter, only where the agent was told --emulated */
    int64_t slots;
    int64_t cpus;
    int64_t memory;
    char *machine; /* uname -m */
    char *kernel;  /* uname -r */
    int64_t page_size;
    strvec kinds;      /* "rootfs", "dockerfile" */
    wire_map builders; /* name -> version */
    strvec sandbox;    /* what isolates a recipe here: "userns", "mount", … */
    strvec labels;
};
WIRE_API(wire_facts)

struct wire_session_request {
    char *agent; /* the agent's version */
    char *boot;  /* random, new at each start of the agent */
    struct wire_facts facts;
    wire_held_list held;
};
WIRE_API(wire_session_request)

struct wire_session_response {
    char *session;
    char *board;     /* the coordinator's name for this board */
    strvec cancel;   /* leases to end */
    int64_t term_ms; /* a lease that no poll lists for so long is given to another */
    int64_t poll_ms; /* how long a poll is held open */
};
WIRE_API(wire_session_response)

struct wire_poll_request {
    char *session;
    int64_t seq;
    wire_held_list held;
    int64_t free;       /* slots */
    double load;        /* one minute's average */
    double temperature; /* degrees Celsius of the hottest zone; NAN where there is none */
    int64_t disk_free;
    int64_t memory_free;
    bool draining;
};
WIRE_API(wire_poll_request)

/* ---- jobs and leases ---- */

enum wire_job_kind { WIRE_JOB_ROOTFS, WIRE_JOB_DOCKERFILE };
enum wire_media_type { WIRE_MEDIA_OCI, WIRE_MEDIA_DOCKER };
enum wire_compression { WIRE_GZIP, WIRE_ZSTD };

/* A base image, pinned. */
struct wire_base {
    char *reference;  /* as in the Dockerfile after expansion, normalised */
    char *repository; /* full: "docker.io/library/debian" */
    char *digest;     /* of the child manifest for the job's platform */
};
WIRE_API(wire_base)

struct wire_context {
    char *id; /* "sha256:…" of what is in the context */
};
WIRE_API(wire_context)

/* The last good output of the same track and platform. */
struct wire_previous {
    char *manifest;
    char *content;
};
WIRE_API(wire_previous)

/* Everything that a board needs to know to do a job; the store keeps it in its canonical text. */
struct wire_job {
    char *key;
    char *image;
    char *track;
    char *repository; /* full: "<registry host[:port]>/<path>" */
    char *platform;
    bool emulated; /* a board that emulates may serve */
    enum wire_job_kind kind;
    struct wire_context *context; /* may be NULL for rootfs */
    int64_t epoch;                /* SOURCE_DATE_EPOCH, seconds */
    char *script;                 /* rootfs: a shell command; else NULL */
    char *variant;                /* NULL */
    char *builder;                /* rootfs: a reference in bases, or NULL */
    char *dockerfile;             /* dockerfile: its path in the context; else NULL */
    char *target;                 /* a stage's name, or NULL */
    wire_map args;
    VEC(struct wire_base) bases;
    strvec *cmd;        /* NULL: the base's */
    strvec *entrypoint; /* NULL: the base's */
    wire_map env;
    wire_map labels;
    char *workdir; /* NULL */
    char *user;    /* NULL */
    char *test;    /* a shell command run in the finished image, or NULL */
    enum wire_media_type media_type;
    enum wire_compression compression;
    int64_t timeout_ms;
    bool no_cache;
    struct wire_previous *previous; /* NULL */
};
WIRE_API(wire_job)

struct wire_lease {
    char *lease;
    int64_t epoch; /* rises each time the job is granted */
    char *secret;
    struct wire_job job;
    const char *job_text; /* borrowed; encoded in place of `job`, unless it is NULL */
};
WIRE_API(wire_lease)

struct wire_poll_response {
    int64_t seq;
    VEC(struct wire_lease) leases;
    strvec cancel;
};
WIRE_API(wire_poll_response)

/* ---- results ---- */

enum wire_outcome { WIRE_SUCCEEDED, WIRE_FAILED, WIRE_CANCELLED, WIRE_LOST };
enum wire_failure {
    WIRE_FAILURE_NONE, /* null */
    WIRE_FAILURE_INFRA,
    WIRE_FAILURE_RECIPE,
    WIRE_FAILURE_TIMEOUT,
    WIRE_FAILURE_MEMORY,
    WIRE_FAILURE_REJECTED,
};

struct wire_descriptor {
    char *digest;
    int64_t size;
    char *media_type;
};
WIRE_API(wire_descriptor)

/* Milliseconds each phase took; 0 for one that was not reached. */
struct wire_timings {
    int64_t context, pull, recipe, layer, test, push;
};
WIRE_API(wire_timings)

struct wire_package {
    char *manager; /* "dpkg" or "apk" */
    char *name;
    char *version;
    char *architecture;
};
WIRE_API(wire_package)
typedef VEC(struct wire_package) wire_package_list;

/* What became of a lease. The helper's result.json is one of these without log_size. */
struct wire_result {
    int64_t epoch;
    enum wire_outcome outcome;
    enum wire_failure kind;           /* of WIRE_FAILED, else WIRE_FAILURE_NONE */
    char *reason;                     /* for a person; NULL */
    struct wire_descriptor *manifest; /* these three: of WIRE_SUCCEEDED, else NULL */
    char *config_digest;
    char *content_digest;
    VEC(struct wire_descriptor) layers;
    struct wire_timings timings;
    wire_package_list packages;
    wire_package_list *build_root; /* NULL: none was made */
    int64_t log_size;              /* may be missing in text: 0 */
    bool reused_previous;
};
WIRE_API(wire_result)

/* An outcome's name as it stands in the JSON. */
const char *wire_outcome_name(enum wire_outcome outcome);
/* A failure's kind as it stands in the JSON; "" for none. */
const char *wire_failure_name(enum wire_failure kind);

/* ---- logs and errors ---- */

/* Answer to a PATCH of the log: with 200 both, with 409 `received` alone matters. */
struct wire_log_answer {
    int64_t received; /* the offset to go on from */
    int64_t durable;  /* may be missing in text: 0 */
};
WIRE_API(wire_log_answer)

/* The body of every answer that is not 2xx. */
struct wire_error {
    char *error;
};
WIRE_API(wire_error)
