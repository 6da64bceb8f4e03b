/* Memory, ownership and the two containers that everything uses: a growing array and a string buffer.
 * Hash tables are uthash. A failed allocation of bounded size ends the program: the state is in the
 * store, and a restart is nothing special. Sizes that come from outside are bounded by the caller. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Allocates `size` zeroed bytes; never returns NULL. */
void *xcalloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull, warn_unused_result));
/* Reallocates to n*size bytes (overflow-checked); never returns NULL. */
void *xrealloc(void *p, size_t n, size_t size) __attribute__((returns_nonnull, warn_unused_result));
/* Copies a string; NULL gives NULL. The caller owns the copy. */
char *xstrdup(const char *s) __attribute__((warn_unused_result));
/* Copies at most `n` bytes of `s`, terminated. The caller owns the copy. */
char *xstrndup(const char *s, size_t n) __attribute__((returns_nonnull, warn_unused_result));
/* A printf-formatted string that the caller owns. */
char *xasprintf(const char *fmt, ...)
    __attribute__((format(printf, 1, 2), returns_nonnull, warn_unused_result));
/* The texts one after another; NULL ends them. For keys, of which there are many: xasprintf costs ten times as much.
 * The caller owns it. */
char *xconcat(const char *first, ...)
    __attribute__((sentinel, returns_nonnull, warn_unused_result));
/* Copies `n` bytes. */
void *xmemdup(const void *p, size_t n) __attribute__((warn_unused_result));

#define xnew(type) ((type *)xcalloc(1, sizeof(type)))

/* Replaces the owned string at *p by an owned copy of `s` (which may be NULL or point into *p). */
void str_replace(char **p, const char *s);
/* strcmp that takes NULL, which sorts first. */
int str_cmp(const char *a, const char *b);
/* Whether two strings are equal; two NULLs are. */
static inline bool str_eq(const char *a, const char *b)
{
    return str_cmp(a, b) == 0;
}
/* Whether `s` begins with `prefix`. */
static inline bool str_starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}
/* Whether `s` ends with `suffix`. */
bool str_ends(const char *s, const char *suffix);

/* Ownership moves by steal_ptr: yields the pointer and leaves NULL behind. */
#define steal_ptr(p)                                                                               \
    ({                                                                                             \
        __typeof__(p) *_pp = &(p);                                                                 \
        __typeof__(p) _v = *_pp;                                                                   \
        *_pp = NULL;                                                                               \
        _v;                                                                                        \
    })
/* The same for a descriptor; leaves -1 behind. */
static inline int steal_fd(int *fd)
{
    int v = *fd;
    *fd = -1;
    return v;
}

/* Cleanup attributes; the variable is initialised at its declaration. */
#define cleanup_(f) __attribute__((cleanup(f)))
/* Defines f##p, which calls `f` on the pointed-to pointer unless it is NULL. */
#define DEFINE_CLEANUP(type, f)                                                                    \
    static inline void f##p(type *p)                                                               \
    {                                                                                              \
        if (*p)                                                                                    \
            f(*p);                                                                                 \
    }
static inline void freep(void *p)
{
    free(*(void **)p);
}
static inline void closep(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
DEFINE_CLEANUP(FILE *, fclose)
#define cleanup_free   cleanup_(freep)
#define cleanup_close  cleanup_(closep)
#define cleanup_fclose cleanup_(fclosep)

/* A growing array: struct { T *items; size_t n, cap; }. Zeroed is empty. */
#define VEC(type)                                                                                  \
    struct {                                                                                       \
        type *items;                                                                               \
        size_t n, cap;                                                                             \
    }
#define vec_push(v, ...)                                                                           \
    do {                                                                                           \
        vec_reserve(v, 1);                                                                         \
        (v)->items[(v)->n++] = (__VA_ARGS__);                                                      \
    } while (0)
#define vec_reserve(v, more)                                                                       \
    do {                                                                                           \
        if ((v)->n + (more) > (v)->cap) {                                                          \
            size_t _cap = (v)->cap ? (v)->cap * 2 : 8;                                             \
            while (_cap < (v)->n + (more))                                                         \
                _cap *= 2;                                                                         \
            (v)->items = xrealloc((v)->items, _cap, sizeof(*(v)->items));                          \
            (v)->cap = _cap;                                                                       \
        }                                                                                          \
    } while (0)
/* Removes item i, keeping the order. */
#define vec_remove(v, i)                                                                           \
    do {                                                                                           \
        size_t _i = (i);                                                                           \
        memmove(&(v)->items[_i], &(v)->items[_i + 1], ((v)->n - _i - 1) * sizeof(*(v)->items));    \
        (v)->n--;                                                                                  \
    } while (0)
/* Frees the array, not what its items own. */
#define vec_free(v)                                                                                \
    do {                                                                                           \
        free((v)->items);                                                                          \
        (v)->items = NULL;                                                                         \
        (v)->n = (v)->cap = 0;                                                                     \
    } while (0)
/* (An empty array may be NULL, to which not even 0 may be added.) */
#define VEC_FOREACH(v, it)                                                                         \
    for (__auto_type it = (v)->items; (v)->n > 0 && it < (v)->items + (v)->n; it++)

typedef VEC(char *) strvec;
/* Appends an owned copy of `s`. */
void strvec_add(strvec *v, const char *s);
/* Whether `s` is in the list. */
bool strvec_has(const strvec *v, const char *s);
/* Frees the strings and the array; leaves it empty. */
void strvec_done(strvec *v);

/* A growing, always NUL-terminated string. Zeroed is empty (s may then be NULL: use strbuf_str). */
struct strbuf {
    char *s;
    size_t n, cap;
};
/* Makes room for `n` more bytes and the terminating NUL. */
void strbuf_reserve(struct strbuf *b, size_t n);
/* Appends n bytes. */
static inline void strbuf_addn(struct strbuf *b, const void *s, size_t n)
{
    if (b->n + n + 1 > b->cap)
        strbuf_reserve(b, n);
    if (n)
        memcpy(b->s + b->n, s, n);
    b->n += n;
    b->s[b->n] = '\0';
}
/* Appends a string. */
void strbuf_add(struct strbuf *b, const char *s);
/* Appends one byte. */
void strbuf_addc(struct strbuf *b, char c);
/* Appends printf-formatted text. */
void strbuf_addf(struct strbuf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The text so far, "" when empty; borrowed until the next change. */
const char *strbuf_str(const struct strbuf *b);
/* Hands the text over to the caller and leaves the buffer empty; never NULL. */
char *strbuf_steal(struct strbuf *b) __attribute__((warn_unused_result));
/* Frees it; leaves it empty. */
void strbuf_done(struct strbuf *b);
#define cleanup_strbuf cleanup_(strbuf_done)
#define cleanup_strvec cleanup_(strvec_done)
