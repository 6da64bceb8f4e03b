/* Short commands of the machine's own (apt-config and such) whose output is wanted. */
#pragma once

#include "common/err.h"
#include "common/mem.h"

/* Runs argv (NULL-terminated, found in PATH) with no input, and appends its standard output, at most 4 MiB,
 * to `out`; its standard error is ours. -ENOENT when there is no such program, -EIO when it fails. */
int run_capture(const char *const *argv, struct strbuf *out, struct err *err);
