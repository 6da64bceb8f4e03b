/* Device nodes in a sandbox. debootstrap and its like make /dev/null and a few more with mknod, which no
 * user namespace may. So the kernel asks us (seccomp user notification, since Linux 5.5): the nodes that every
 * sandbox has anyway we make, as the caller's user and in its own file system. The console is the board's:
 * in its place comes an empty file, on which whoever runs the image mounts one. All else the kernel decides
 * as if nobody had asked. */
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
/* What is made when a node of this type and number is asked for: that type, S_IFREG in place of the console, or 0:
 * it is not for us. */
mode_t sandbox_device_kind(mode_t mode, dev_t device);
