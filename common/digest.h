/* SHA-256 digests, written as OCI writes them: "sha256:" and 64 lower-case hexadecimal digits. */
#pragma once

#include "common/err.h"
#include "common/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIGEST_SIZE 72 /* with the terminating NUL */

/* A digest in the making. */
struct digest {
    void *state;
};

/* Begins one; it is released by digest_final or digest_done. */
void digest_init(struct digest *digest);
/* Adds `n` bytes. */
void digest_update(struct digest *digest, const void *data, size_t n);
/* Writes the digest of all that was added to `ret`, and releases the state. */
void digest_final(struct digest *digest, char ret[DIGEST_SIZE]);
/* Releases one that is not wanted any more; harmless after digest_final and on all zeroes. */
void digest_done(struct digest *digest);
#define cleanup_digest cleanup_(digest_done)

/* The digest of `n` bytes. */
void digest_of(const void *data, size_t n, char ret[DIGEST_SIZE]);
/* The digest of a file from its beginning to its end, read with pread (the position stays);
 * *ret_size (may be NULL) is its length in bytes. Errors: those of reading. */
int digest_of_fd(int fd, char ret[DIGEST_SIZE], int64_t *ret_size, struct err *err);
/* Whether `s` is a whole, well-formed sha256 digest. NULL is not. */
bool digest_valid(const char *s);
