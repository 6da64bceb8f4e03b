/* The texts of farm.yaml, filled in for one slot. */
#pragma once

#include "daemon/model/state.h"

/* `text` with its `$names` filled in for the slot's track and platform; where a name has no value the text
 * stays as it is (farm.yaml was checked for that when it was read). The caller owns the answer; NULL for
 * NULL. */
char *slot_expand(struct model *m, const struct slot *s, const char *text);
