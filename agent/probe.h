/* Does this machine's own CPU run a platform's programs? Each is asked with a tiny static executable from a
 * memfd that pauses while its /proc/PID/exe is read: there an interpreter shows that uname, hwcaps and
 * /proc/self hide. */
#pragma once

#include "common/err.h"
#include "common/platform.h"

enum probe_answer {
    PROBE_NO,       /* the kernel refuses it, or the CPU lacks its instructions */
    PROBE_NATIVE,   /* it runs as itself */
    PROBE_EMULATED, /* an interpreter runs it */
    PROBE_UNKNOWN,  /* no probe is known for this platform */
};

/* Runs the probe of one platform. Errors are the board's (no memfd, no fork). */
int probe_platform(enum platform platform, enum probe_answer *ret, struct err *err);
