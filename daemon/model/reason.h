/* Why: every decision keeps its reason as data, one code and one sentence, for the status endpoint, the
 * command line and the tests alike. */
#pragma once

#include "common/mem.h"

enum reason_code {
    REASON_NONE,
    /* why built */
    REASON_FIRST_BUILD,   /* nothing was ever built for this */
    REASON_INPUT_CHANGED, /* an input differs; the text says which, from what to what */
    REASON_REBUILD_ASKED, /* a person asked */
    REASON_TRIED_AGAIN,   /* it failed, and its delay is over */
    REASON_RETRY_ASKED,   /* a person asked for what had failed */
    REASON_CHILD_MISSING, /* the registry lost what had been pushed */
    /* why waiting */
    REASON_INSPECTING,     /* the commit's files are being read */
    REASON_RESOLVING_BASE, /* a base from outside is being looked up */
    REASON_BASE_BUILDING,  /* a base of ours is under way */
    REASON_NO_BOARD,       /* no board offers the platform */
    REASON_BOARDS_BUSY,    /* those that do are busy, draining, hot, offline or low on disk */
    REASON_BACKING_OFF,    /* tried and failed for want of something; tried again later */
    REASON_RUNNING,        /* being built */
    REASON_PUBLISHING,     /* being published */
    REASON_RETAINING,      /* the registry is told to keep what was built, before it is published */
    REASON_REPOSITORY_BUSY, /* another publication of the repository runs */
    /* why not */
    REASON_HELD,    /* a hold of the track or its image */
    REASON_PINNED,  /* a hold at one publication, by pin or rollback */
    REASON_FROZEN,  /* a hold on all */
    REASON_RETIRED, /* a person retired the track, or the platform */
    REASON_DORMANT,
    REASON_OUT_OF_BOUNDS, /* its version is outside `versions` */
    REASON_NOT_CONFIGURED,
    REASON_REF_DELETED,
    REASON_REF_IGNORED, /* another ref of the same short name has the track */
    REASON_NOT_OFFERED, /* upstream has no folder for the platform, or farm.yaml names it no more */
    REASON_STALE,       /* an optional platform is behind for longer than its deadline */
    REASON_CONTEXT_GONE,    /* upstream dropped the folder of a published platform */
    REASON_CONTEXT_REFUSED, /* upstream's tree cannot be a context */
    REASON_DOCKERFILE,      /* the Dockerfile cannot be used */
    REASON_BASE_MISSING,    /* a base of ours lacks the tag or the platform, or one outside does */
    REASON_BASE_CYCLE,
    REASON_SOURCE_AWAY,
    REASON_REGISTRY_AWAY,
    REASON_TAG_CONFLICT,
    REASON_TAG_MOVED,          /* somebody moved a tag of ours by hand */
    REASON_TAG_DELETED,        /* somebody deleted one */
    REASON_RESTORING,          /* a person asked that a repository's tags are put back */
    REASON_REPOSITORY_STOPPED, /* a tag of ours names an index that the store does not know */
    REASON_JOB_FAILED,
    REASON_SUPERSEDED,
    REASON_CANCELLED,
    /* how it ended */
    REASON_PUBLISHED,
    REASON_UNCHANGED,
    REASON_COUNT
};

/* The codes' names as everything outside the program sees them, NULL-terminated. */
extern const char *const reason_names[];

struct reason {
    enum reason_code code;
    char *text; /* owned; NULL when there is nothing to add */
};

/* Sets both members; the text is printf-formatted. Returns whether anything changed. */
bool reason_set(struct reason *r, enum reason_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same with a text that it takes over. */
bool reason_take(struct reason *r, enum reason_code code, char *text);
/* Copies `from`. Returns whether anything changed. */
bool reason_copy(struct reason *r, const struct reason *from);
/* Frees the text; leaves REASON_NONE. */
void reason_done(struct reason *r);
