/* File capabilities across a user namespace's boundary. In the namespace they are root's plainly (revision 2, what
 * layers hold); on the board's disk they name the id that is that root (revision 3). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CAPABILITY_V3_SIZE 24

/* Writes the value as it must be on disk for a root that is `shift`. False when it stays as it is: no
 * shift, or not of revision 2. */
bool capability_shift(const unsigned char *value, size_t size, uint32_t shift,
                      unsigned char ret[CAPABILITY_V3_SIZE]);
/* Turns the value back, in place, if it is of the root that is `shift`. Returns its size. */
size_t capability_unshift(unsigned char *value, size_t size, uint32_t shift);
