/* JSON objects described by tables: one description of a struct's fields serves the strict decoder,
 * the canonical encoder, the destructor and the copy, so that the two directions cannot drift apart.
 *
 * Decoding: a field that the table names must be there and have its type and bounds (unless it is
 * OPTIONAL); a field that the table does not name is ignored, for the sake of later releases. Every
 * error names the field by its path ("leases[0].job.bases[2].digest").
 * Encoding: every field is written, null where it is absent; keys are sorted, no white space. Two
 * structs that mean the same give the same bytes. */
#pragma once

#include "common/err.h"
#include "common/mem.h"

#include <jansson.h>

enum wire_kind {
    WIRE_VERSION, /* the constant 1; has no member */
    WIRE_STRING,  /* char * */
    WIRE_INT,     /* int64_t */
    WIRE_REAL,    /* double; NAN is null */
    WIRE_BOOL,    /* bool */
    WIRE_ENUM,    /* unsigned, or an enum of its size; the value is an index into names */
    WIRE_STRINGS, /* strvec */
    WIRE_MAP,     /* wire_map, sorted by key */
    WIRE_OBJECT,  /* a struct, of `type` */
    WIRE_LIST,    /* VEC(struct), of `type` */
};

enum wire_flags {
    /* null is allowed: char * NULL, real NAN, enum 0; STRINGS, OBJECT and LIST are then held as an
     * owned pointer to the strvec, struct or VEC, which is NULL for null. */
    WIRE_NULLABLE = 1,
    /* may be missing: the member stays zero */
    WIRE_OPTIONAL = 2,
};

struct wire_pair {
    char *key;
    char *value;
};
typedef VEC(struct wire_pair) wire_map;

struct wire_type;

struct wire_field {
    const char *name;
    enum wire_kind kind;
    unsigned flags;
    size_t offset;
    int64_t min, max;                      /* INT and REAL: the value's range */
    size_t limit;                          /* STRINGS, MAP, LIST: entries */
    size_t text;                           /* STRING, STRINGS, MAP: bytes of each text */
    bool (*valid)(const char *);           /* STRING, STRINGS, MAP's keys: NULL is anything */
    const char *expected;                  /* what `valid` wants, for the message */
    const char *const *names;              /* ENUM, NULL-terminated; names[0] is "" when nullable */
    const struct wire_type *(*type)(void); /* OBJECT, LIST */
    size_t
        as_text; /* where the struct has a `const char *`, borrowed: unless it is NULL it is what is encoded in the
                       member's place, JSON already. 0: nowhere. Decoding leaves it NULL */
};
#define WIRE_FIELDS_MAX 32 /* of one struct */

struct wire_type {
    const char *name; /* for messages: "poll request" */
    size_t size;
    size_t max_text; /* longest JSON text accepted, bytes */
    const struct wire_field *fields;
    size_t n;
    int (*check)(const void *value, struct err *err); /* between fields; may be NULL */
};

/* Parses `n` bytes of JSON into *ret, a zeroed or uninitialised struct of `type` that is untouched on
 * failure. The caller ends it with wire_done. -EINVAL names the field; -E2BIG when longer than the
 * type's max_text. Never retryable. */
int wire_decode(const struct wire_type *type, const char *text, size_t n, void *ret,
                struct err *err);

/* As wire_decode, from a parsed value, which stays the caller's. */
int wire_from_json(const struct wire_type *type, const json_t *json, void *ret, struct err *err);

/* The canonical text of `value`; the caller owns it. Bytes that are not UTF-8 become '?'. */
char *wire_encode(const struct wire_type *type, const void *value)
    __attribute__((returns_nonnull, warn_unused_result));

/* The same for one member of `value` alone, which the type has. */
char *wire_encode_member(const struct wire_type *type, const void *value, const char *name)
    __attribute__((returns_nonnull, warn_unused_result));

/* As wire_encode, as a new JSON value that the caller owns. */
json_t *wire_to_json(const struct wire_type *type, const void *value)
    __attribute__((returns_nonnull, warn_unused_result));

/* Makes *ret a deep copy of `value`. */
void wire_copy(const struct wire_type *type, void *ret, const void *value);

/* Frees what `value` owns, not itself, and zeroes it. */
void wire_done(const struct wire_type *type, void *value);

/* The value of `key`, or NULL; borrowed. */
const char *wire_map_get(const wire_map *map, const char *key);

/* Sets `key` (copied) to a copy of `value`, keeping the map sorted. */
void wire_map_set(wire_map *map, const char *key, const char *value);

/* Defines the typed functions over a type's table: T_decode, T_from_json, T_encode, T_to_json, T_copy
 * and T_done, as the functions above. The table itself is T_type(). */
#define WIRE_API(T)                                                                                \
    const struct wire_type *T##_type(void);                                                        \
    static inline int T##_decode(const char *text, size_t n, struct T *ret, struct err *err)       \
    {                                                                                              \
        return wire_decode(T##_type(), text, n, ret, err);                                         \
    }                                                                                              \
    static inline int T##_from_json(const json_t *json, struct T *ret, struct err *err)            \
    {                                                                                              \
        return wire_from_json(T##_type(), json, ret, err);                                         \
    }                                                                                              \
    static inline char *T##_encode(const struct T *value)                                          \
    {                                                                                              \
        return wire_encode(T##_type(), value);                                                     \
    }                                                                                              \
    static inline json_t *T##_to_json(const struct T *value)                                       \
    {                                                                                              \
        return wire_to_json(T##_type(), value);                                                    \
    }                                                                                              \
    static inline void T##_copy(struct T *ret, const struct T *value)                              \
    {                                                                                              \
        wire_copy(T##_type(), ret, value);                                                         \
    }                                                                                              \
    static inline void T##_done(struct T *value)                                                   \
    {                                                                                              \
        wire_done(T##_type(), value);                                                              \
    }
