/* Tars for tests, good and hostile. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct tar_spec {
    const char *path;
    mode_t mode;      /* type and permissions; 0: a regular file, 0644 */
    const char *data; /* of a file; NULL is empty */
    size_t size;      /* of data; 0: its strlen */
    const char *link; /* symlink's target */
    const char *hard; /* hard link's target */
    uint32_t id;      /* uid and gid */
    int64_t mtime;
    uint32_t major, minor;
    const char *xattr, *value;
    uint64_t hole; /* the file is a hole of so many bytes and then `data` */
};

#define TAR_MAKE(file, format, filter, ...)                                                        \
    tar_make((file), (format), (filter), (const struct tar_spec[]){__VA_ARGS__},                   \
             sizeof((const struct tar_spec[]){__VA_ARGS__}) / sizeof(struct tar_spec))

/* Writes the entries to `file` in a format ("pax", "gnutar", "ustar") through a filter ("none", "gzip",
 * "xz", …). Fails the test when it cannot. */
void tar_make(const char *file, const char *format, const char *filter,
              const struct tar_spec *specs, size_t n);

/* A new empty folder for the test, removed with all it holds by test_dir_remove. Owned by the caller. */
char *test_dir(void);
/* Removes the folder and frees its name. */
void test_dir_remove(char *dir);
/* Writes a file, or fails the test. */
void test_write(const char *path, const void *data, size_t n);
/* The bytes of a file, NUL-terminated; the caller owns them. *ret_n may be NULL. */
char *test_read(const char *path, size_t *ret_n);
