#include "daemon/gateway_path.h"

#include "common/mem.h"

#include <strings.h>

/* The last occurrence of `what` in `s`, NULL if there is none. */
static const char *find_last(const char *s, const char *what)
{
    const char *found = NULL;
    for (const char *p = strstr(s, what); p; p = strstr(p + 1, what))
        found = p;
    return found;
}

static struct gateway_target target(enum gateway_kind kind, const char *path, const char *end,
                                    const char *reference)
{
    if (end == path)
        return (struct gateway_target){.kind = GATEWAY_OTHER};
    return (struct gateway_target){.kind = kind,
                                   .repository = xstrndup(path, (size_t)(end - path)),
                                   .reference = xstrdup(reference)};
}

/* Whether `reference` is one path segment that is there. */
static bool one_segment(const char *reference)
{
    return *reference && !strchr(reference, '/');
}

struct gateway_target gateway_target_parse(const char *path)
{
    static const char manifests[] = "/manifests/", blobs[] = "/blobs/",
                      uploads[] = "/blobs/uploads";
    if (!*path)
        return (struct gateway_target){.kind = GATEWAY_ROOT};
    const char *at = find_last(path, uploads);
    if (at) {
        const char *rest = at + strlen(uploads);
        if (!*rest || strcmp(rest, "/") == 0)
            return target(GATEWAY_UPLOADS, path, at, NULL);
        if (*rest == '/' && one_segment(rest + 1))
            return target(GATEWAY_UPLOAD, path, at, rest + 1);
    }
    at = find_last(path, manifests);
    if (at && one_segment(at + strlen(manifests)))
        return target(GATEWAY_MANIFEST, path, at, at + strlen(manifests));
    at = find_last(path, blobs);
    if (at && one_segment(at + strlen(blobs)))
        return target(GATEWAY_BLOB, path, at, at + strlen(blobs));
    return (struct gateway_target){.kind = GATEWAY_OTHER};
}

void gateway_target_done(struct gateway_target *t)
{
    free(t->repository);
    free(t->reference);
    *t = (struct gateway_target){.kind = GATEWAY_ROOT};
}

static int base64_value(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* Decodes base64; owned, NULL for what is none or holds a NUL. */
static char *base64_decode(const char *s)
{
    size_t n = strlen(s);
    char *out = xcalloc(n + 1, 1), *p = out;
    unsigned bits = 0, value = 0;
    for (; *s && *s != '='; s++) {
        int v = base64_value(*s);
        if (v < 0)
            break;
        value = value << 6 | (unsigned)v;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            *p++ = (char)(value >> bits & 0xff);
        }
    }
    if (s[strspn(s, "=")] || strlen(out) != (size_t)(p - out)) {
        free(out);
        return NULL;
    }
    return out;
}

/* Splits "lease:secret". */
static bool split(const char *pair, char **ret_lease, char **ret_secret)
{
    const char *colon = strchr(pair, ':');
    if (!colon || colon == pair || !colon[1])
        return false;
    *ret_lease = xstrndup(pair, (size_t)(colon - pair));
    *ret_secret = xstrdup(colon + 1);
    return true;
}

bool gateway_credentials(const char *authorization, char **ret_lease, char **ret_secret)
{
    if (!authorization)
        return false;
    if (strncasecmp(authorization, "Basic ", 6) == 0) {
        cleanup_free char *pair = base64_decode(authorization + 6);
        return pair && split(pair, ret_lease, ret_secret);
    }
    if (strncasecmp(authorization, "Bearer ", 7) != 0 || !authorization[7])
        return false;
    if (split(authorization + 7, ret_lease, ret_secret))
        return true;
    *ret_lease = NULL;
    *ret_secret = xstrdup(authorization + 7);
    return true;
}
