/* farm.yaml: read, checked, and made into a struct farm.
 *
 * Values stay text until the key says what they are. Everything that is wrong is told at once, a line
 * each: "file:line:column: key: what is wrong; what to write instead". */
#pragma once

#include "common/err.h"
#include "daemon/model/farm.h"

/* Reads the file and what it includes. The caller owns *ret_farm; untouched on failure. -EINVAL: the
 * file is wrong, and err's text is the first line of what config_read tells. */
int config_load(const char *path, struct farm **ret_farm, struct err *err);

/* As config_load, with every error as a line in `errors` (which the caller ends), and on success, when
 * ret_copy is not NULL, the files' own text in one piece, which the caller owns: config_load_copy reads
 * it again without the files. */
int config_read(const char *path, struct farm **ret_farm, char **ret_copy, strvec *errors);

/* Reads what config_read left in *ret_copy. */
int config_load_copy(const char *copy, struct farm **ret_farm, struct err *err);

/* `sheafd --check-config PATH`: writes each error to standard error; returns the exit status, 0 or 1. */
int config_check_main(const char *path);
