/* "Did you mean …": the nearest right word. */
#pragma once

#include <stddef.h>

/* How many letters must be inserted, dropped, replaced or swapped with their neighbour to turn `a`
 * into `b`; case and '-' against '_' count for nothing. Words over 63 bytes are cut. */
int edit_distance(const char *a, const char *b);

/* The word of `words` (n of them) nearest to `word`, or NULL when none is near enough to be what was
 * meant. Borrowed from `words`. */
const char *nearest_word(const char *word, const char *const *words, size_t n);
