/* Where a rootfs recipe runs: a Debian system of the job's platform with the usual tools to make another one,
 * made once with mmdebstrap from the machine's own mirrors and kept; or the image that the job names. */
#pragma once

#include "agent/job.h"

struct buildroot {
    char *root;  /* folder; owners shifted; not to be changed */
    int lock_fd; /* while this is open nobody replaces it; -1: it is the job's own */
};

/* Finds or makes the job's build root, and notes its packages in the result. */
int buildroot_open(struct job *job, struct buildroot *ret);
/* Lets go of it. */
void buildroot_close(struct buildroot *b);

/* The Debian suite to use for a job's variant (may be NULL): itself if it is one, else the host's; the
 * caller owns it. */
char *buildroot_suite(const char *variant);
