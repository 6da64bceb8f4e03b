/* What texts in farm.yaml must look like. Pure. */
#pragma once

#include "common/err.h"

#include <stdbool.h>

/* Whether it is what git can fetch from: an absolute path, file://, http(s)://, git://, ssh:// or
 * user@host:path; without a password in it. */
bool config_valid_source(const char *text);
/* Whether it may name a build argument or an environment variable. */
bool config_valid_identifier(const char *text);
/* Whether it may name a label. */
bool config_valid_label(const char *text);

/* Checks a ref or a pattern with one '*': "HEAD" or a full name by git's rules. -EINVAL says what to
 * write. */
int config_check_ref(const char *ref, struct err *err);
/* Checks that a path is relative and stays inside the source. -EINVAL says what is wrong. */
int config_check_inside(const char *path, struct err *err);
/* Checks the $SHEAF_ names of a script, and that it does not use our $names where it must use those.
 * -EINVAL says what to write. */
int config_check_script(const char *script, bool has_variant, struct err *err);
