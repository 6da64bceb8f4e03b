/* The packages in an image, from the databases that dpkg (status, status.d of distroless) and apk leave. */
#pragma once

#include "agent/layer_entry.h"
#include "common/err.h"

#include <jansson.h>

struct packages;

/* An empty collection. Release it with packages_free. */
struct packages *packages_new(void);
/* Frees it; takes NULL. */
void packages_free(struct packages *p);
/* An observer that gathers the databases from layers, bottom one first; whiteouts and replaced files are
 * obeyed. `p` must outlive it. */
struct layer_observer packages_observer(struct packages *p);
/* Gathers from a root file system; databases that are links are not followed. */
int packages_read_folder(struct packages *p, const char *root, struct err *err);
/* The installed packages as a sorted JSON array of {"manager","name","version","architecture"}; the
 * caller owns it. Never NULL. Broken stanzas are left out. */
json_t *packages_json(const struct packages *p);
