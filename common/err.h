/* Errors: made once, with context added on the way up, logged once where they stop.
 *
 * A fallible function returns 0 or a negative errno and takes a `struct err *` last. On failure
 * the struct holds the same code, a text for people and whether trying again later can help.
 * Policy reads `code` and `retryable`, never `text`. */
#pragma once

#include <stdbool.h>

#define ERR_TEXT_MAX 1024

struct err {
    int code;       /* negative errno, 0 while there is no error */
    bool retryable; /* the same call may succeed later without anybody changing anything */
    char text[ERR_TEXT_MAX];
};

#define ERR_INIT ((struct err){0})

/* Sets `err` (which may be NULL) to `code`, a negative errno, and a printf-formatted text. Whether a
 * retry can help is derived from the code (time-outs, refused connections, no room: yes). Returns
 * `code`. */
int err_set(struct err *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4), warn_unused_result, cold));

/* As err_set, with `retryable` given instead of derived. */
int err_set_retryable(struct err *err, int code, bool retryable, const char *fmt, ...)
    __attribute__((format(printf, 4, 5), warn_unused_result, cold));

/* As err_set for `code`, with ": " and the errno's own description appended to the text. */
int err_errno(struct err *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4), warn_unused_result, cold));

/* Prefixes the text with a printf-formatted context and ": ". Returns err's code; `err` must hold an
 * error (or be NULL, then -EIO is returned). */
int err_wrap(struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3), warn_unused_result, cold));

/* Whether an errno (either sign) is one that time alone may cure. */
bool err_code_retryable(int code);
