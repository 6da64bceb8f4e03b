/* Dockerfiles, as far as Sheaf must understand them: which images a build needs, where they stand in
 * the text, and what only a newer builder can read.
 *
 * Parsing follows BuildKit's and buildah's parsers: any case, continuation lines with comments and
 * empty lines within, the escape directive, heredocs, a byte order mark, CR LF. Only the stages that
 * the target needs count, as in BuildKit and in buildah since 1.28 (--skip-unused-stages, its
 * default); dockerfile_rewrite spells the stages' names out so that the builder sees the same ones.
 * What ONBUILD holds happens in other builds: it refers to nothing here and is left alone.
 *
 * Errors say "line N: …"; the caller adds the file's name. */
#pragma once

#include "common/err.h"
#include "common/mem.h"
#include "common/platform.h"

#include <stdbool.h>
#include <stddef.h>

#define DOCKERFILE_TEXT_MAX         (1024 * 1024) /* bytes */
#define DOCKERFILE_LINE_MAX         65535 /* bytes; buildah's own parser reads no longer ones */
#define DOCKERFILE_INSTRUCTIONS_MAX 4000
#define DOCKERFILE_STAGES_MAX       250

struct dockerfile;

/* Parses `n` bytes of text, of which it keeps a copy. The caller owns *ret_dockerfile. -EINVAL for
 * what no builder would take and -E2BIG for what is beyond the bounds above, with the line. */
int dockerfile_parse(const char *text, size_t n, struct dockerfile **ret_dockerfile,
                     struct err *err);
/* Frees it; NULL is fine. */
void dockerfile_free(struct dockerfile *dockerfile);
DEFINE_CLEANUP(struct dockerfile *, dockerfile_free)
#define cleanup_dockerfile cleanup_(dockerfile_freep)

/* A build argument. */
struct dockerfile_arg {
    const char *name, *value;
};

/* One build of a Dockerfile; everything is borrowed. */
struct dockerfile_options {
    enum platform platform; /* that it is for; boards are native, so it is built on the same */
    const char *target;     /* the stage to build, by name or number; NULL or "": the last one */
    const struct dockerfile_arg *args;
    size_t n_args;
};

enum dockerfile_reference_kind {
    DOCKERFILE_FROM,
    DOCKERFILE_COPY_FROM, /* ADD --from too */
    DOCKERFILE_MOUNT_FROM /* RUN --mount=…,from= */
};

/* An image that the build needs. The same image may stand in several places. */
struct dockerfile_reference {
    enum dockerfile_reference_kind kind;
    char *text;             /* with variables expanded: "debian:bookworm" */
    char *name;             /* normalised: "docker.io/library/debian:bookworm" */
    enum platform platform; /* of which its child is needed: the build's, or FROM --platform's */
    int line;               /* of the instruction, from 1 */
    int stage;              /* in which it stands, from 0 */
};

/* A change to the text: the bytes from `start` up to `end` make place for `text`, or for the local
 * name of a reference. */
struct dockerfile_edit {
    size_t start, end;
    int reference; /* index, or -1: then text holds */
    char *text;    /* "" deletes */
};

/* What one build needs of a Dockerfile. */
struct dockerfile_plan {
    VEC(struct dockerfile_reference) references; /* in the order of the text */
    int base;       /* index of the reference that the target stage's FROM leads to, through other
                   stages if need be (base.name); -1: scratch */
    int target;     /* index of the stage that is built */
    VEC(bool) used; /* a flag a stage: whether the target needs it */
    bool
        of_platform; /* nothing else is known of the build for another platform: a variable that tells the platform
                         was looked at, or a FROM names one; else that needs the same */
    VEC(struct dockerfile_edit) edits; /* in the order of the text, not overlapping */
};

/* Finds out what a build needs. -EINVAL with the line: a variable that is not set where an image must
 * be named, a stage that is not there or comes later, what is no image reference, a FROM --platform
 * that Sheaf does not know. *ret_plan is the caller's to end with dockerfile_plan_done; untouched on
 * failure. */
int dockerfile_resolve(const struct dockerfile *dockerfile,
                       const struct dockerfile_options *options, struct dockerfile_plan *ret_plan,
                       struct err *err);
/* Frees what the plan owns; a zeroed one is fine. */
void dockerfile_plan_done(struct dockerfile_plan *plan);
#define cleanup_dockerfile_plan cleanup_(dockerfile_plan_done)

/* The local name of a reference (borrowed until the next call), or NULL when there is none. */
typedef const char *(*dockerfile_local_fn)(const struct dockerfile_reference *reference, void *arg);

/* The text with every reference replaced by its local name, the names of stages spelled out as they
 * were declared, `--platform` of those FROMs left out (a local image is of one platform), and the FROM
 * of stages that are not needed made scratch. The caller owns *ret_text. -ENOENT names the reference
 * that `local` does not know. */
int dockerfile_rewrite(const struct dockerfile *dockerfile, const struct dockerfile_plan *plan,
                       dockerfile_local_fn local, void *arg, char **ret_text, struct err *err);

/* Something that a builder may not know. */
struct dockerfile_feature {
    const char *what; /* static: "COPY --link" */
    const char *hint; /* static: what to write instead, or NULL */
    int line;
    int stage;   /* in which it stands; -1: it matters wherever it stands */
    int buildah; /* the first buildah that can: 1041 is 1.41; INT_MAX: none */
};

/* The features that matter to some builder, in the order of the text; borrowed. */
const struct dockerfile_feature *dockerfile_features(const struct dockerfile *dockerfile,
                                                     size_t *ret_n);

/* The feature, in stages that are needed, that wants the newest buildah; NULL: every buildah builds the plan. Borrowed. */
const struct dockerfile_feature *dockerfile_newest_feature(const struct dockerfile *dockerfile,
                                                           const struct dockerfile_plan *plan);
/* A version as features have it: 1028 for "1.28.2"; INT_MAX where it is none, so that nothing is refused. */
int dockerfile_buildah_number(const char *version);
/* Whether buildah of this version ("1.28.2") can build the plan; else -EOPNOTSUPP, which names line,
 * feature and what to do. Features in stages that are not needed do not matter. */
int dockerfile_check_buildah(const struct dockerfile *dockerfile,
                             const struct dockerfile_plan *plan, const char *version,
                             struct err *err);
