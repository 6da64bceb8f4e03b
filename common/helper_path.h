/* Where our own helper executables (sheaf-job, sheaf-git-worker) are. */
#pragma once

#include "common/err.h"

/* The path of helper `name`: beside the running program (a build tree) if it is there, else in the
 * installed libexec folder. The caller owns *ret_path. -ENOENT when it is in neither. */
int helper_path(const char *name, char **ret_path, struct err *err);
