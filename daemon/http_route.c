#include "daemon/http_route.h"

#include "common/mem.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>
#include <strings.h>

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

char *http_decode(const char *s, size_t n, bool plus)
{
    char *out = xcalloc(n + 1, 1), *p = out;
    for (size_t i = 0; i < n; i++) {
        if (s[i] != '%') {
            *p++ = plus && s[i] == '+' ? ' ' : s[i];
            continue;
        }
        int hi = i + 2 < n ? hex_value(s[i + 1]) : -1;
        int lo = hi >= 0 ? hex_value(s[i + 2]) : -1;
        if (lo < 0 || (hi == 0 && lo == 0)) {
            free(out);
            return NULL;
        }
        *p++ = (char)(hi << 4 | lo);
        i += 2;
    }
    return out;
}

/* Takes "{name}" or "{name...}" at pattern; returns false when the value cannot be decoded. */
static bool take_param(const char *pattern, size_t pattern_n, const char *value, size_t value_n,
                       struct http_params *params)
{
    size_t name_n = pattern_n - 2;
    if (name_n > 3 && memcmp(pattern + 1 + name_n - 3, "...", 3) == 0)
        name_n -= 3;
    char *decoded =
        value_n && params->n < HTTP_PARAMS_MAX ? http_decode(value, value_n, false) : NULL;
    if (!decoded)
        return false;
    params->items[params->n++] =
        (struct http_param){.name = pattern + 1, .name_n = name_n, .value = decoded};
    return true;
}

static bool match_segments(const char *pattern, const char *path, struct http_params *params)
{
    for (;;) {
        if (*pattern != '/' || *path != '/')
            return *pattern == *path; /* both at their ends */
        pattern++;
        path++;
        size_t n = strcspn(pattern, "/"), m = strcspn(path, "/");
        bool param = n > 2 && *pattern == '{' && pattern[n - 1] == '}';
        if (param && n > 5 && memcmp(pattern + n - 4, "...", 3) == 0)
            return take_param(pattern, n, path, strlen(path), params);
        if (param ? !take_param(pattern, n, path, m, params)
                  : n != m || memcmp(pattern, path, n) != 0)
            return false;
        pattern += n;
        path += m;
    }
}

bool http_route_match(const char *pattern, const char *path, struct http_params *params)
{
    *params = (struct http_params){.n = 0};
    if (match_segments(pattern, path, params))
        return true;
    http_params_done(params);
    return false;
}

const char *http_params_get(const struct http_params *params, const char *name)
{
    for (size_t i = 0; i < params->n; i++)
        if (params->items[i].name_n == strlen(name) &&
            memcmp(params->items[i].name, name, params->items[i].name_n) == 0)
            return params->items[i].value;
    return NULL;
}

void http_params_done(struct http_params *params)
{
    for (size_t i = 0; i < params->n; i++)
        free(params->items[i].value);
    params->n = 0;
}

char *http_query_get(const char *query, const char *name)
{
    for (const char *p = query; *p;) {
        size_t n = strcspn(p, "&"), key_n = strcspn(p, "=&");
        cleanup_free char *key = http_decode(p, key_n, true);
        if (key && strcmp(key, name) == 0)
            return key_n < n ? http_decode(p + key_n + 1, n - key_n - 1, true) : xstrdup("");
        p += n;
        p += *p == '&';
    }
    return NULL;
}

static bool is_word_of(const char *words, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = words ? words : ""; *p; p += strspn(p, " ")) {
        size_t m = strcspn(p, " ");
        if (m == n && memcmp(p, word, n) == 0)
            return true;
        p += m;
    }
    return false;
}

char *http_query_unknown(const char *query, const char *known)
{
    for (const char *p = query; *p; p += *p == '&') {
        size_t n = strcspn(p, "&"), key_n = strcspn(p, "=&");
        cleanup_free char *key = n ? http_decode(p, key_n, true) : NULL;
        if (n && !key)
            return xstrndup(p, key_n);
        if (key && !is_word_of(known, key))
            return steal_ptr(key);
        p += n;
    }
    return NULL;
}

/* Reads decimal digits; false if there are none or too many. */
static bool take_number(const char **p, uint64_t *ret)
{
    if (!isdigit((unsigned char)**p))
        return false;
    uint64_t v = 0;
    for (; isdigit((unsigned char)**p); (*p)++)
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(**p - '0'), &v))
            return false;
    *ret = v;
    return true;
}

enum http_range http_range_parse(const char *header, uint64_t size, uint64_t *from, uint64_t *n)
{
    if (!header || strncasecmp(header, "bytes=", 6) != 0)
        return HTTP_RANGE_NONE;
    const char *p = header + 6;
    uint64_t first = 0, last = 0;
    bool has_first = take_number(&p, &first);
    if (*p++ != '-')
        return HTTP_RANGE_NONE;
    bool has_last = take_number(&p, &last);
    if (*p || (!has_first && !has_last) || (has_first && has_last && last < first))
        return HTTP_RANGE_NONE;
    if (!has_first) { /* the last `last` bytes */
        first = last < size ? size - last : 0;
        has_last = false;
    }
    if (first >= size || (!has_first && last == 0))
        return HTTP_RANGE_UNSATISFIABLE;
    *from = first;
    *n = (has_last && last < size ? last + 1 : size) - first;
    return HTTP_RANGE_PART;
}

static bool host_is_loopback(const char *name)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (strcasecmp(name, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, name, &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) == 127;
    return inet_pton(AF_INET6, name, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

bool http_host_allowed(const char *host, const char *const *names)
{
    if (!host || !*host)
        return false;
    bool bracket = *host == '[';
    const char *start = host + bracket;
    size_t n = strcspn(start, bracket ? "]" : ":");
    const char *rest = start + n + (bracket && start[n] == ']');
    if ((bracket && start[n] != ']') ||
        (*rest && (*rest != ':' || strspn(rest + 1, "0123456789") != strlen(rest + 1))))
        return false;
    cleanup_free char *name = xstrndup(start, n);
    if (n > 1 && name[n - 1] == '.')
        name[n - 1] = '\0';
    if (host_is_loopback(name))
        return true;
    for (; names && *names; names++)
        if (strcasecmp(*names, name) == 0)
            return true;
    return false;
}

bool http_secret_equal(const char *given, const char *expected)
{
    size_t n = strlen(given), m = strlen(expected);
    unsigned diff = n != m;
    for (size_t i = 0; i < n; i++)
        diff |= (unsigned char)given[i] ^ (unsigned char)expected[m ? i % m : 0];
    return diff == 0;
}
