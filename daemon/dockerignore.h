/* .dockerignore: which files of a context folder a build does not see. Pure.
 *
 * The rules are Docker's own (moby/patternmatcher), its oddities included, so that a context is here
 * what it is in `docker build`: comments only at a line's first byte, a pattern that matches a folder
 * takes all below it, the last pattern that matches decides, "**" crosses folders. */
#pragma once

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>

struct dockerignore;

/* Parses a .dockerignore of `n` bytes (the caller bounds them). The caller owns *ret_ignore.
 * -EINVAL, naming the line, for a pattern that Docker refuses as well. */
int dockerignore_parse(const char *text, size_t n, struct dockerignore **ret_ignore,
                       struct err *err);
/* Whether the file at `path` (relative to the context, "a/b", no leading slash) is left out; patterns
 * that match one of its folders count. NULL excludes nothing. */
bool dockerignore_excludes(const struct dockerignore *ignore, const char *path);
/* Frees it; NULL is fine. */
void dockerignore_free(struct dockerignore *ignore);
