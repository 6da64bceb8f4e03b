/* What this board tells the coordinator of itself: what the helper found, with the settings' word on slots,
 * labels and emulation. */
#pragma once

#include "agent/settings.h"
#include "common/wire.h"

/* Takes the output of `sheaf-job --facts`. The caller ends *ret with wire_facts_done. */
int board_facts_take(const char *output, size_t n, const struct settings *settings,
                     struct wire_facts *ret, struct err *err);
/* Where the helper cannot say: a board that names its machine and can do nothing. */
void board_facts_none(const struct settings *settings, struct wire_facts *ret);
