/* Device nodes in a sandbox. debootstrap and its like make /dev/null and a few more with mknod, which no
 * user namespace may. So the kernel asks us (seccomp user notification, since Linux 5.5): for the nodes that
 * every sandbox has anyway we make them, as the caller's user and in its own file system; all else the
 * kernel decides as if nobody had asked. */
#pragma once

#include "common/err.h"

#include <stdbool.h>
#include <sys/types.h>

/* Inside, before the program: from now on mknod of this process and its children asks. Returns the
 * descriptor that answers (close-on-exec), or -1 where the kernel has no such thing. Allocates nothing. */
int sandbox_devices_install(void);

/* Outside: takes descriptor `fd` of process `pid`, our child; -errno. */
int sandbox_devices_take(pid_t pid, int fd);
/* Outside: answers the one call that is waiting at `listener`. */
void sandbox_devices_answer(int listener);
/* Whether a node of this type and number is one of those that we make. */
bool sandbox_device_allowed(mode_t mode, dev_t device);
