/* Tars through libarchive: opened, stepped through, entries converted. */
#pragma once

#include "agent/layer_index.h"
#include "common/err.h"
#include "common/mem.h"

#include <archive.h>
#include <archive_entry.h>
#include <locale.h>

/* Takes file data in order. Returns 0 or a negative errno with `err` set. */
typedef int (*data_sink)(void *ctx, const void *data, size_t n, struct err *err);

/* libarchive converts names by the thread's locale: with UTF-8 it leaves them as they are. Sets that for
 * this thread and returns what was before, for locale_restore (a cleanup function). */
locale_t locale_utf8(void);
/* Sets back what locale_utf8 returned. */
void locale_restore(locale_t *old);

static inline void archive_freep(struct archive **a)
{
    if (*a)
        archive_free(*a);
}

/* A new reader, with the filters for `compressed` input if wanted, that knows no format yet. */
struct archive *tar_reader(bool compressed);
/* Opens a reader of tar formats on `fd`, from its current offset; with `compressed`, gzip, zstd, xz, bzip2,
 * lz4, lzip, lzma and compress are read too. The fd stays the caller's. */
int tar_open(int fd, bool compressed, struct archive **ret, struct err *err);
/* Opens a reader of the uncompressed bytes of whatever is on `fd`; one entry. */
int tar_open_raw(int fd, struct archive **ret, struct err *err);
/* Steps to the next entry: 1 and *ret (borrowed), 0 at the end, or -EBADMSG for a damaged tar. */
int tar_next(struct archive *a, struct archive_entry **ret, struct err *err);
/* Converts and checks names and numbers; strings are the index's. */
int tar_entry(struct layer_index *ix, struct archive_entry *ae, struct layer_entry *ret,
              struct err *err);
/* Passes on the entry's data, exactly `size` bytes, holes as zeros. */
int tar_data(struct archive *a, uint64_t size, data_sink sink, void *ctx, struct err *err);
/* The error of libarchive's last call, as -EBADMSG or the system's code. */
int tar_error(struct archive *a, const char *what, struct err *err);
/* Sorts and de-doubles n attributes in place (the last of a name stays); returns how many are left. */
size_t xattrs_sort(struct layer_xattr *x, size_t n);
