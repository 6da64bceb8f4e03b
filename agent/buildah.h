/* The board's buildah: which it is, and where its storage is kept between jobs. */
#pragma once

#include "agent/job.h"

/* The version of `program` ("1.28.2"), or NULL when it is not there; the caller owns it. */
char *buildah_version(const char *program);

/* A folder of images and layers for one job's use. Jobs of one repository and platform share one, so that
 * what an upstream does to it stays with that upstream's images. */
struct buildah_storage {
    char *folder;
    const char *driver; /* "overlay" or "vfs"; static */
    bool fresh;         /* nothing in it yet */
    int lock_fd;        /* -1: the job's own, not kept */
    char *dirty;        /* marks it as in use: found by the next job, it means a crash */
};

/* Takes the kept storage of the job's repository and platform, or, where that is in use or the job wants no
 * cache, one of its own in the workspace. */
int buildah_storage_open(struct job *job, struct buildah_storage *ret, struct err *err);
/* Lets go of it; kept only when `good`. Then throws out storages, longest unused first, until those of the
 * board take at most `limit` bytes. */
void buildah_storage_close(const struct job *job, struct buildah_storage *s, bool good,
                           int64_t limit);
