/* Interpreters for foreign programs (qemu-user through binfmt_misc), for a board that was told to emulate. */
#pragma once

#include "common/err.h"
#include "common/platform.h"

#include <stdbool.h>

/* Makes the kernel hand this platform's programs to /usr/bin/qemu-*-static: mounts binfmt_misc and registers
 * "sheaf-qemu-NAME" (with F: the interpreter need not be in the recipe's root) where no handler is there
 * yet. -ENOENT when qemu-user-static is not installed, -EPERM when not root. */
int binfmt_ensure(enum platform platform, struct err *err);
/* Takes away what binfmt_ensure registered. A mount of binfmt_misc stays: others may use it by now. */
void binfmt_release(void);
