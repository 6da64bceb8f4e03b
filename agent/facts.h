/* What this board is and can do, found by trying. */
#pragma once

#include "common/err.h"
#include "common/platform.h"

#include <jansson.h>
#include <stdbool.h>

/* The facts as the protocol's JSON object (see wire_facts; slots and labels are the daemon's to fill in: 1 and
 * none here). With `emulated`, foreign platforms that an interpreter runs are offered as such, and the
 * interpreters of qemu-user-static are registered where this process may. The caller owns *ret. */
int facts_find(bool emulated, json_t **ret, struct err *err);

/* Whether this machine's own CPU runs the platform, or an interpreter does. */
bool facts_native(enum platform platform);
