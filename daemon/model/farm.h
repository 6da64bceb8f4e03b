/* What farm.yaml says, as plain data: made whole by config_load, never changed afterwards, and freed
 * whole. The model and everything around it read from here; nobody else knows YAML.
 *
 * Every string is owned by the farm. A string described as optional is NULL when it was not given;
 * every other one is set. A text described as a template may hold `$names` that tagging.h fills in for
 * one track and platform. Durations are milliseconds, sizes are bytes. */
#pragma once

#include "common/err.h"
#include "common/mem.h"
#include "common/platform.h"

#include <stdbool.h>
#include <stdint.h>

typedef VEC(enum platform) platformvec;

/* Whether `p` is in the list. */
bool platformvec_has(const platformvec *v, enum platform p);

/* A name with its value: build arguments, environment, labels. In the order of the file. */
struct farm_pair {
    char *name;
    char *value; /* template */
};
typedef VEC(struct farm_pair) farm_pairs;

/* The value of `name`, or NULL. */
const char *farm_pairs_get(const farm_pairs *pairs, const char *name);

enum farm_kind {
    FARM_KIND_DOCKERFILE, /* a Dockerfile in the context */
    FARM_KIND_ROOTFS      /* a script that leaves a root filesystem */
};

/* Of the versions that a pattern brings, which ones are kept in date. */
enum farm_maintain {
    FARM_MAINTAIN_PATCH, /* every one (the default) */
    FARM_MAINTAIN_MINOR, /* the highest of each $major.$minor */
    FARM_MAINTAIN_MAJOR  /* the highest of each $major */
};

enum farm_media_type { FARM_MEDIA_OCI, FARM_MEDIA_DOCKER };
enum farm_compression { FARM_COMPRESSION_GZIP, FARM_COMPRESSION_ZSTD };

#define FARM_HISTORY_ALL (-1)

/* One entry of `images:`. */
struct farm_image {
    char *name;       /* its key under images: ("minideb") */
    char *repository; /* full: host[:port]/path; default: the registry's prefix, '/', name */
    char *where;      /* "file:line" of the entry, for messages */

    /* What is watched. */
    char *source;    /* URL or absolute path of the git repository */
    char *ref;       /* full ref name, with at most one '*' ("refs/tags/v*"); default "HEAD" */
    strvec variants; /* one track each; empty: the track has no variant */
    char *versions;  /* optional bounds on $version: ">=3.19, <4" */
    enum farm_maintain maintain;
    int history; /* how many of the versions found at first sight are active: N >= 0, or
                    FARM_HISTORY_ALL; default 1 ("newest"). Branches are all active. */

    /* How it is built. */
    enum farm_kind kind;
    char *context;    /* template; folder in the source, "" is its root (the default) */
    char *dockerfile; /* template; path in the context, default "Dockerfile"; NULL for rootfs */
    char *script;     /* the shell script of `rootfs:`; NULL for dockerfile */
    char *builder;    /* optional. rootfs: template, reference of the image whose userland runs the
                         script (none: a Debian that the board makes). dockerfile: "buildah" */
    char *target;     /* optional template; the Dockerfile's stage to build, default the last */
    farm_pairs args;  /* build arguments; a rootfs script finds them in its environment */
    char *test;       /* optional shell command, run in the finished image before it is pushed */

    /* What the config of the finished image says; lists and strings not given are left alone. */
    bool has_cmd, has_entrypoint; /* given, possibly as an empty list */
    strvec cmd, entrypoint;
    farm_pairs env, labels;
    char *workdir; /* optional */
    char *user;    /* optional */

    /* What is published. */
    strvec tags;           /* templates; default: [$version] with a '*' in ref ([$version-$variant]
                              with variants), else [$variant] with variants, else [latest] */
    platformvec platforms; /* required: nothing is published without them; default the farm's */
    platformvec optional;  /* published when they succeed; never also in platforms */
    int64_t deadline_ms;   /* after so long without an optional platform its last child counts as
                              stale; default 24 h */
    enum farm_media_type media_type;   /* default OCI */
    enum farm_compression compression; /* default gzip; zstd only with OCI */

    /* How it is scheduled. */
    int64_t timeout_ms; /* of one attempt, default the farm's */
    bool emulated;      /* boards that emulate may serve; default false */
    bool hold;          /* plans and builds, publishes nothing; default false */
    bool enforce;       /* an owned tag moved by hand is put back; default the farm's */
    int priority;       /* -100..100, higher goes first among equals; default 0 */
};

/* One entry of `boards:`: what the coordinator adds to what a board says of itself. */
struct farm_board_rule {
    char *pattern;       /* the board's name, or a glob ("rpi3-*") */
    int slots;           /* jobs at a time at most; 0: what the board says (the default) */
    int max_temperature; /* degrees Celsius above which it gets nothing; 0: no bound (the default) */
    int64_t min_disk;    /* bytes free below which it gets nothing; default the farm's */
    strvec labels;       /* added to the board's own */
};

/* How one registry is reached; the farm's own and those of outside bases. */
struct farm_registry {
    char *host;          /* as in references: "docker.io", "127.0.0.1:5000" */
    char *endpoint;      /* base URL without a trailing '/'; default https://host (http:// with
                            plain-http or on loopback; docker.io is https://registry-1.docker.io) */
    bool plain_http;     /* the endpoint is http:// */
    char *username;      /* optional; given together with password_file */
    char *password_file; /* optional absolute path; its first line is the password or token */
};

/* One upstream repository; the images that name the same URL share it. */
struct farm_source {
    char *url;
    int64_t poll_ms;     /* default the farm's */
    char *ssh_key;       /* optional absolute path of a private key (ed25519 or ecdsa) */
    char *username;      /* optional, for http(s); given together with password_file */
    char *password_file; /* optional absolute path; its first line is the password or token */
};

struct farm_address {
    char *host;    /* an address or name: "127.0.0.1", "::1" */
    uint16_t port; /* 0: any that is free */
};

/* The whole file with everything that it includes. */
struct farm {
    unsigned holders;      /* besides its owner: see farm_hold */
    char *registry;        /* prefix of repositories: host[:port][/path], no trailing '/' */
    char *registry_host;   /* its first part */
    platformvec platforms; /* default of the images; in the order of the file */

    VEC(struct farm_image) images;      /* sorted by name */
    VEC(struct farm_board_rule) boards; /* in the order of the files */
    VEC(struct farm_registry)
    registries;                      /* sorted by host; the farm's own and docker.io are there */
    VEC(struct farm_source) sources; /* sorted by url; every image's is there */

    bool freeze;  /* a hold on every track; default false */
    bool enforce; /* default of the images, false */
    int keep;     /* publications of each track kept for rollback, 1..100, default 3 */

    char *state;                       /* absolute path, default "/var/lib/sheaf" */
    struct farm_address listen_agents; /* default 127.0.0.1:7430 */
    struct farm_address listen_status; /* default 127.0.0.1:7431 */
    strvec listen_hosts;     /* further names by which browsers may call the status endpoint */
    char *listen_token_file; /* optional: holds the token for changes by the status endpoint */
    char *listen_socket;     /* Unix socket, default "/run/sheaf/sheafd.sock" */

    int64_t poll_ms;             /* default of the sources, 5 min */
    int64_t base_poll_ms;        /* between looks at a base from outside, default 15 min */
    int64_t audit_ms;            /* between looks at the tags that we own; 0: only on request;
                                    default 6 h */
    int64_t git_timeout_ms;      /* of one git operation, default 10 min */
    int64_t timeout_ms;          /* default of the images, 1 h */
    int64_t lease_term_ms;       /* without a poll, after which a lease is lost; default 90 s */
    int64_t registry_timeout_ms; /* of one registry request without progress, default 1 min */
    int64_t log_limit;           /* bytes of one job's log, default 64 MiB */
    int64_t context_limit;       /* bytes of one build context, default 1 GiB */
    int64_t mirror_limit;        /* bytes of one mirror before it is cloned anew, default 4 GiB */
    int64_t min_disk;            /* default of the boards, 1 GiB */
};

/* Frees the farm with everything in it, unless somebody holds it: then that one's farm_free does. NULL is fine. */
void farm_free(struct farm *farm);
/* Keeps the farm for one more farm_free; of one thread. Returns it. */
struct farm *farm_hold(struct farm *farm);
DEFINE_CLEANUP(struct farm *, farm_free)
#define cleanup_farm cleanup_(farm_freep)

/* The image of that name, or NULL. Borrowed. */
const struct farm_image *farm_image(const struct farm *farm, const char *name);
/* The registry of that host, or NULL (then the defaults hold). Borrowed. */
const struct farm_registry *farm_registry(const struct farm *farm, const char *host);
/* The source of that URL, or NULL. Borrowed. */
const struct farm_source *farm_source(const struct farm *farm, const char *url);
/* The rule for a board: the one of exactly its name, else the matching glob with the most literal
 * characters, else NULL. Borrowed. */
const struct farm_board_rule *farm_board_rule(const struct farm *farm, const char *board);
/* Whether a platform is among the image's required or optional ones. */
bool farm_image_offers(const struct farm_image *image, enum platform p);
/* Whether two entries say the same in every member but `where`. */
bool farm_image_equal(const struct farm_image *a, const struct farm_image *b);
/* Sorts images, registries and sources as the lookups need them; called once, by whoever fills a farm
 * in (config_load, tests). */
void farm_sort(struct farm *farm);
