/* Digests of one repository, counted: what a tag of it may name without a stranger having been there. Effects share the set, and
 * see it as it is when they look: what comes to it meanwhile is ours as well, and nothing is taken away but when a publication
 * has ended, the only one of its repository. Of one thread. */
#pragma once

#include "common/mem.h"

#include <stdbool.h>

struct known;

/* Adds the digest once more; *k is NULL for the empty set. */
void known_add(struct known **k, const char *digest);
/* Takes it away once; NULL is fine. */
void known_remove(struct known *k, const char *digest);
/* Whether it is there. */
bool known_has(const struct known *k, const char *digest);
/* The set, for one more known_free. */
struct known *known_hold(struct known *k);
/* Gives it back; the last one frees it. NULL is fine. */
void known_free(struct known *k);
