/* The pure parts of the HTTP server: patterns, percent escapes, queries, ranges, host names. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define HTTP_PARAMS_MAX 6

/* A decoded path parameter; `name` points into the pattern, `value` is owned. */
struct http_param {
    const char *name;
    size_t name_n;
    char *value;
};
struct http_params {
    struct http_param items[HTTP_PARAMS_MAX];
    size_t n;
};

/* Whether `path` (raw) matches `pattern`; on a match the decoded parameters are in *params (to be
 * freed with http_params_done), else it is empty. A segment whose escapes are invalid or stand for
 * NUL matches nothing. */
bool http_route_match(const char *pattern, const char *path, struct http_params *params);
/* The value of parameter `name`, NULL if there is none. */
const char *http_params_get(const struct http_params *params, const char *name);
/* Frees the values; leaves it empty. */
void http_params_done(struct http_params *params);

/* Decodes n bytes of percent escapes; with `plus`, "+" is a blank. The caller owns the result; NULL
 * for an invalid escape or one that stands for NUL. */
char *http_decode(const char *s, size_t n, bool plus);
/* The decoded value of `name` in the query string ("a=1&b"); owned, NULL if absent or invalid. */
char *http_query_get(const char *query, const char *name);
/* The decoded name of the first parameter of the query string that is none of `known`, names separated by blanks (NULL: there
 * are none); owned, NULL if all are. */
char *http_query_unknown(const char *query, const char *known);

enum http_range { HTTP_RANGE_NONE, HTTP_RANGE_PART, HTTP_RANGE_UNSATISFIABLE };
/* Reads a Range header (which may be NULL) against a body of `size` bytes. NONE for what we do not
 * honour (several ranges, other units, nonsense): the whole is sent. PART sets *from and *n. */
enum http_range http_range_parse(const char *header, uint64_t size, uint64_t *from, uint64_t *n);

/* Whether a Host header (with or without port) names loopback, or one of the NULL-terminated `names`
 * (which may be NULL), in any case. */
bool http_host_allowed(const char *host, const char *const *names);
/* Compares two secrets in time that depends only on the length of `given`. */
bool http_secret_equal(const char *given, const char *expected);
