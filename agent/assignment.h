/* What the daemon gives its helper: <state>/jobs/<lease>/lease.json. */
#pragma once

#include "common/wire.h"

struct assignment_options {
    bool emulated;       /* this board was told to emulate */
    char *cache;         /* folder of the layer cache */
    int64_t cache_limit; /* bytes */
    char *buildroots;    /* folder of the build roots that are kept */
    char *builder;       /* "buildah" */
};
WIRE_API(assignment_options)

struct assignment {
    char *coordinator; /* base URL, without a slash at its end */
    struct wire_lease lease;
    struct assignment_options options;
};
WIRE_API(assignment)
