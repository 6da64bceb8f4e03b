/* Bases that buildah would stumble over: it wants one history entry for every layer, and there are images
 * (made by other tools than it or Docker) that have fewer, or none. */
#pragma once

#include "common/err.h"

/* Where the image `tag` of the layout `dir` lacks history, makes `tag` name a copy of it whose config has an entry
 * for each layer; the layers are the same. Else nothing changes. */
int base_history_complete(const char *dir, const char *tag, struct err *err);
