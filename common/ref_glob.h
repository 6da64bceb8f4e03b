/* Patterns of git refs, as farm.yaml and the git worker use them. */
#pragma once

#include <stdbool.h>

/* Whether the full ref name matches: '*' is any run of characters, '/' included (as in git's own
 * refspecs), everything else is itself. Takes time linear in the product of both lengths. */
bool ref_glob(const char *pattern, const char *name);
