/* Safe extraction of tars into a folder that may already hold hostile things.
 *
 * Every path is walked component by component from the folder's descriptor, no symbolic link is ever
 * followed on the way (except inside the root, as a container would, where EXTRACT_LAYER asks for it), and
 * nothing outside the folder can be named: absolute paths and ".." are refused, with the entry's name. */
#pragma once

#include "agent/layer.h"
#include "common/err.h"

#include <stdbool.h>
#include <stdint.h>

enum extract_flags {
    EXTRACT_OWNERS =
        1 << 0, /* chown to the entry's numeric ids plus id_shift; else files belong to us */
    EXTRACT_SETID = 1 << 1, /* keep set-user-ID, set-group-ID; else these bits are cleared */
    EXTRACT_XATTRS =
        1 << 2, /* set the attributes that a layer keeps (security.capability, user.*) */
    EXTRACT_DEVICES = 1 << 3, /* make device nodes; else they are refused */
    EXTRACT_LAYER =
        1 << 4, /* whiteouts and opaque folders are obeyed, links in a path stay in the root */
    EXTRACT_SKIP_DEVICES = 1 << 5, /* leave device nodes out instead of refusing them */
};

struct extract_options {
    unsigned flags;
    uint32_t id_shift;
    struct layer_limits limits;
};

struct extract_stats {
    uint64_t entries, bytes;
    uint64_t skipped; /* device nodes and sockets left out */
};

/* Unpacks the tar read from `fd` (a file, a pipe or a socket; compressed or not) into the existing
 * `folder`. Later entries replace earlier ones. Without EXTRACT_LAYER a path through a symbolic link is refused.
 * -EBADMSG and -EFBIG name the entry; what was unpacked until then stays. `ret` may be NULL. */
int extract_tar(int fd, const char *folder, const struct extract_options *options,
                struct extract_stats *ret, struct err *err);

/* As extract_tar for a file by its path. */
int extract_tar_file(const char *tar, const char *folder, const struct extract_options *options,
                     struct extract_stats *ret, struct err *err);
