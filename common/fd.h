/* File descriptors. */
#pragma once

#include <stddef.h>

/* Writes all `n` bytes, however often that takes. Returns 0, or a negative errno: some of them may be written then. */
int fd_write_all(int fd, const void *data, size_t n);
