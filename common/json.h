/* JSON by jansson, strictly: bounded input, no duplicate keys, errors that name the member. For structs
 * with many members see wire_table.h. */
#pragma once

#include "common/err.h"
#include "common/mem.h"

#include <jansson.h>

#define cleanup_json cleanup_(json_decrefp)

/* Parses one JSON value of any type and nothing after it. Text over `max` bytes, or with so many brackets and commas
 * that its values would take hundreds of megabytes, is refused unread (-EMSGSIZE); else -EINVAL with line and column. The caller owns *ret_json. */
int json_parse(const char *text, size_t n, size_t max, json_t **ret_json, struct err *err);
/* As json_parse, for a file of at most `max` bytes; -ENOENT and other errors of reading as well. */
int json_parse_file(const char *path, size_t max, json_t **ret_json, struct err *err);

/* json_unpack (jansson's formats) of `json`, with every member and item accounted for: one that the
 * format does not name is an error. -EINVAL says what is wrong where. */
int json_unpack_strict(json_t *json, struct err *err, const char *format, ...)
    __attribute__((warn_unused_result));
/* The same for documents of others, which may have members that we do not know. */
int json_unpack_loose(json_t *json, struct err *err, const char *format, ...)
    __attribute__((warn_unused_result));

/* The canonical text: keys sorted, no white space, UTF-8 as it is. The caller owns it. */
char *json_canonical(const json_t *json) __attribute__((returns_nonnull, warn_unused_result));

/* A text as JSON; bytes that are not UTF-8 become '?'. */
json_t *json_text(const char *s) __attribute__((returns_nonnull, warn_unused_result));
/* Appends the same as text, in quotes, as jansson writes it. */
void json_write_text(struct strbuf *to, const char *s);
/* The value of one member of the outermost object of `text`, a well-formed text of ours, of which only that is parsed.
 * The caller owns it; NULL: there is none of that name. */
json_t *json_member(const char *text, const char *name);
/* Sets a member that is true or false of the outermost object of `text`, which is well-formed and has it. */
void json_set_bool(struct strbuf *text, const char *name, bool value);
/* The same as json_text for `n` bytes, which may hold any; a NUL becomes '?' too. */
json_t *json_text_of(const char *bytes, size_t n)
    __attribute__((returns_nonnull, warn_unused_result));

/* ---- members of an object ----
 *
 * The value is borrowed from the object. Missing or null is -ENOENT for json_get_…; json_opt_… then
 * leaves *ret as it was and returns 0. -EINVAL: the member has another type or is out of range, or
 * `object` is none. */

/* A string. */
int json_get_string(const json_t *object, const char *name, const char **ret, struct err *err);
/* A whole number from min to max. */
int json_get_int(const json_t *object, const char *name, int64_t min, int64_t max, int64_t *ret,
                 struct err *err);
/* true or false. */
int json_get_bool(const json_t *object, const char *name, bool *ret, struct err *err);
/* An object. */
int json_get_object(const json_t *object, const char *name, json_t **ret, struct err *err);
/* A list. */
int json_get_array(const json_t *object, const char *name, json_t **ret, struct err *err);

/* A string, if it is there. */
int json_opt_string(const json_t *object, const char *name, const char **ret, struct err *err);
/* A whole number from min to max, if it is there. */
int json_opt_int(const json_t *object, const char *name, int64_t min, int64_t max, int64_t *ret,
                 struct err *err);
/* true or false, if it is there. */
int json_opt_bool(const json_t *object, const char *name, bool *ret, struct err *err);
/* An object, if it is there. */
int json_opt_object(const json_t *object, const char *name, json_t **ret, struct err *err);
/* A list, if it is there. */
int json_opt_array(const json_t *object, const char *name, json_t **ret, struct err *err);
