/* URLs: where a Location leads, and which hosts are the registry's own. */
#include "common/registry_internal.h"

#include <ctype.h>
#include <strings.h>

/* Length of "scheme://", 0 if there is none. */
static size_t scheme_length(const char *url)
{
    const char *end = strstr(url, "://");
    return end && strcspn(url, "/?") > (size_t)(end - url) ? (size_t)(end - url) + 3 : 0;
}

/* Length of "scheme://host:port". */
static size_t origin_length(const char *url)
{
    size_t n = scheme_length(url);
    return n + strcspn(url + n, "/?#");
}

/* "host:port" in lower case, default ports left out. The caller owns it. */
static char *authority(const char *url)
{
    size_t from = scheme_length(url), n = origin_length(url) - from;
    char *s = xstrndup(url + from, n);
    for (char *p = s; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    if (str_ends(s, ":443"))
        s[n - 4] = 0;
    else if (str_ends(s, ":80"))
        s[n - 3] = 0;
    return s;
}

char *registry_origin(const struct registry *r)
{
    return xstrndup(r->endpoint, origin_length(r->endpoint));
}

bool registry_is_own(const struct registry *r, const char *url)
{
    cleanup_free char *a = authority(r->endpoint), *b = authority(url);
    /* What is reached by TLS does not get its credentials in the clear. */
    if (str_starts(r->endpoint, "https://") && !str_starts(url, "https://"))
        return false;
    return strcmp(a, b) == 0;
}

static bool same_host(const struct registry *r, const char *url)
{
    cleanup_free char *a = authority(r->endpoint), *b = authority(url);
    return strcmp(a, b) == 0;
}

char *registry_resolve(const struct registry *r, const char *base, const char *location)
{
    cleanup_free char *origin = registry_origin(r);
    if (scheme_length(location)) {
        if (same_host(r, location))
            return xasprintf("%s%s", origin, location + origin_length(location));
        return xstrdup(location);
    }
    if (str_starts(location, "//"))
        return xasprintf("%.*s%s", (int)strcspn(base, "/"), base, location);
    if (*location == '/')
        return xasprintf("%.*s%s", (int)origin_length(base), base, location);
    /* Relative to the folder of the base's path. */
    size_t path = strcspn(base, "?#");
    while (path > origin_length(base) && base[path - 1] != '/')
        path--;
    return xasprintf("%.*s%s", (int)path, base, location);
}

char *registry_with_query(const char *url, const char *name, const char *value)
{
    return xasprintf("%s%c%s=%s", url, strchr(url, '?') ? '&' : '?', name, value);
}

bool registry_name_ok(const char *repository)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "._-/:[]";
    return repository && *repository && *repository != '/' && !strstr(repository, "..") &&
           strspn(repository, allowed) == strlen(repository);
}

void registry_add_encoded(struct strbuf *out, const char *s)
{
    for (; *s; s++) {
        if (isalnum((unsigned char)*s) || strchr("-._~/:,", *s))
            strbuf_addc(out, *s);
        else
            strbuf_addf(out, "%%%02X", (unsigned char)*s);
    }
}
