/* Image layers: made from a tar or a folder, written again from an existing layer, or only read.
 *
 * What comes out depends on the entries and the options alone: sorted, numeric owners, times clamped
 * to the epoch, no access or change times, extended attributes sorted (security.capability and user.*
 * are kept, labels and ACLs of the building host are not), the first name of a hard-linked set being the
 * file. It is compressed in blocks of fixed size on all cores; the bytes do not depend on how many there
 * are. Everything is read from hostile hands: paths, sizes and counts are checked, and a refusal
 * (-EBADMSG, or -EFBIG for a limit) names the entry. Memory grows with the number of entries, never with
 * their contents. */
#pragma once

#include "agent/layer_entry.h"
#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LAYER_DIGEST_MAX 72 /* "sha256:", 64 hex digits, NUL */

enum layer_compression { LAYER_PLAIN, LAYER_GZIP, LAYER_ZSTD };

/* Bounds on what a source may hold; 0 takes the default. */
struct layer_limits {
    uint64_t max_bytes;   /* unpacked, holes of sparse files counted in full; 8 GiB */
    uint64_t max_entries; /* 1,000,000 */
};

struct layer_options {
    enum layer_compression compression;
    int threads;       /* that compress; 0: as many as there are CPUs for this process */
    int64_t epoch;     /* seconds since 1970; a later time becomes this one */
    uint32_t id_shift; /* folder only: owner id_shift+n on disk is n in the layer */
    uint32_t
        id_range; /* folder only: owners outside [id_shift, id_shift+id_range) are refused; 0: 65536 */
    bool devices; /* device nodes are kept; otherwise they are refused */
    bool
        whiteouts; /* the source is a layer: names that begin with .wh. are kept, otherwise refused */
    struct layer_limits limits;
    /* Called for every entry of the result while it is written; may be NULL (n is 0 then). */
    const struct layer_observer *observers;
    size_t n_observers;
};

struct layer_result {
    char digest[LAYER_DIGEST_MAX];  /* of the file */
    char diff_id[LAYER_DIGEST_MAX]; /* of the uncompressed tar */
    char content[LAYER_DIGEST_MAX]; /* of the entries with all times left out: see layer_scan */
    uint64_t size;                  /* of the file, bytes */
    uint64_t unpacked;              /* of the tar, bytes */
    uint64_t entries;
    uint64_t skipped; /* sockets: no tar can hold them */
};

/* Makes a layer of the tar at `tar` (any tar format, compressed or not) and writes it to the new file
 * `out`. A compressed source is unpacked once to a nameless temporary file beside `out`: give a plain one
 * where an SD card matters. On failure `out` does not exist. */
int layer_from_tar(const char *tar, const char *out, const struct layer_options *options,
                   struct layer_result *ret, struct err *err);

/* Makes a layer of what is in `folder`; the folder itself gets no entry. Sockets are left out. Nothing
 * else may change the folder meanwhile: -EIO if a file does. On failure `out` does not exist. */
int layer_from_folder(const char *folder, const char *out, const struct layer_options *options,
                      struct layer_result *ret, struct err *err);

/* Reads the layer blob at `path` (plain, gzip, zstd, ...) once, as a stream, calls the observers for each
 * entry in the order of the blob, and sets all of *ret.
 *
 * The content digest is a hash over the sorted final entries (a doubled name counts as its last), with type,
 * mode, owners, links, device numbers, kept attributes and the hash of the data: equal for two layers that
 * differ only in times, order, packing or compression. Absolute paths are taken as below the root, as
 * everybody does; ".." is refused. */
int layer_scan(const char *path, const struct layer_limits *limits,
               const struct layer_observer *observers, size_t n_observers, struct layer_result *ret,
               struct err *err);

/* The compression that "gzip", "zstd" or "none" names; -EINVAL otherwise. */
int layer_compression_parse(const char *name, enum layer_compression *ret, struct err *err);
