/* The board's own programs (mmdebstrap, buildah) for use in a sandbox: its /usr and the few files of /etc
 * that they need, read-only, and nothing else of it. */
#pragma once

#include "agent/sandbox.h"
#include "common/mem.h"

typedef VEC(struct sandbox_mount) sandbox_mounts;

/* Appends the mounts for a sandbox of SANDBOX_ROOT_EMPTY. All strings are static. */
void tools_root_mounts(sandbox_mounts *mounts);
