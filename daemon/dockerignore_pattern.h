/* One pattern of a .dockerignore, compiled. Pure; used by dockerignore.c alone. */
#pragma once

#include "common/err.h"
#include "common/mem.h"

#include <stdbool.h>
#include <stdint.h>

struct ignore_range {
    uint32_t low, high;
};

enum ignore_token_kind {
    IGNORE_CHAR,  /* exactly this one */
    IGNORE_ANY,   /* "?": any one but '/' */
    IGNORE_STAR,  /* "*": any run without '/' */
    IGNORE_DEEP,  /* inside of a "**": any run; left after a '/' only. Its entry is IGNORE_OPEN */
    IGNORE_OPEN,  /* "**" in the middle: nothing at all, or IGNORE_DEEP, which follows it */
    IGNORE_REST,  /* "**" at the end: anything */
    IGNORE_CLASS, /* "[a-z]"; unlike in a shell it may match '/', as in Docker */
};

struct ignore_token {
    enum ignore_token_kind kind;
    uint32_t c;
    bool negated;
    VEC(struct ignore_range) ranges;
};

/* Docker sorts patterns into these, and a leading "**" is a plain suffix unless something later in the
 * pattern needs the general matcher: "**foo" takes "barfoo", while "**fo?" does not. */
enum ignore_match { IGNORE_EXACT, IGNORE_PREFIX, IGNORE_SUFFIX, IGNORE_TOKENS };

struct ignore_pattern {
    bool negated; /* the line began with '!' */
    enum ignore_match match;
    char *text; /* cleaned, without the '!' */
    VEC(struct ignore_token) tokens;
};

/* Compiles `text` (cleaned, without '!'), of which a copy is kept. -EINVAL for bad syntax; *ret is to be
 * released by ignore_pattern_done in both cases. */
int ignore_pattern_compile(const char *text, struct ignore_pattern *ret, struct err *err);
/* Whether the whole of path[0..n) matches. */
bool ignore_pattern_matches(const struct ignore_pattern *pattern, const char *path, size_t n);
/* Frees what it owns. */
void ignore_pattern_done(struct ignore_pattern *pattern);
