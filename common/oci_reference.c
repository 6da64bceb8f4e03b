#include "common/oci.h"

#include <ctype.h>
#include <errno.h>

#define DOCKER_HOST "docker.io"

static bool is_lower_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_tag_char(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

bool oci_tag_valid(const char *s)
{
    if (!s || !is_tag_char(*s))
        return false;
    size_t n = 1;
    while (is_tag_char(s[n]) || s[n] == '.' || s[n] == '-')
        n++;
    return s[n] == 0 && n <= 128;
}

/* Length of a separator inside a path's part: '.', '_', '__' or any number of '-'. */
static size_t separator(const char *s)
{
    if (*s == '.')
        return 1;
    if (*s == '_')
        return s[1] == '_' ? 2 : 1;
    return strspn(s, "-");
}

bool oci_path_valid(const char *s)
{
    if (!s || strlen(s) > 255)
        return false;
    for (;;) {
        if (!is_lower_or_digit(*s))
            return false;
        while (is_lower_or_digit(*s))
            s++;
        if (!*s)
            return true;
        size_t n = *s == '/' ? 1 : separator(s);
        if (n == 0)
            return false;
        s += n;
    }
}

static bool port_valid(const char *s)
{
    size_t n = strspn(s, "0123456789");
    return n > 0 && n <= 5 && s[n] == 0;
}

static bool host_valid(const char *s)
{
    size_t n;
    if (*s == '[') {
        n = 1 + strspn(s + 1, "0123456789abcdefABCDEF:.");
        if (s[n++] != ']')
            return false;
    } else {
        n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-");
    }
    return n > 0 && n < 256 && (s[n] == 0 || (s[n] == ':' && port_valid(s + n + 1)));
}

/* A first part with a dot, a colon or a capital, or "localhost", is a host; any other is Docker's. */
static bool looks_like_host(const char *part)
{
    if (strcmp(part, "localhost") == 0 || strpbrk(part, ".:"))
        return true;
    for (; *part; part++) {
        if (isupper((unsigned char)*part))
            return true;
    }
    return false;
}

/* Splits "host/path" off `name`, which is changed. */
static void split_host(char *name, struct oci_reference *ref)
{
    char *slash = strchr(name, '/');
    const char *path = name;
    if (slash) {
        *slash = 0;
        if (looks_like_host(name)) {
            ref->host = xstrdup(name);
            path = slash + 1;
        } else {
            *slash = '/';
        }
    }
    if (!ref->host || strcmp(ref->host, "index.docker.io") == 0 ||
        strcmp(ref->host, "registry-1.docker.io") == 0)
        str_replace(&ref->host, DOCKER_HOST);
    if (strcmp(ref->host, DOCKER_HOST) == 0 && !strchr(path, '/'))
        ref->path = xconcat("library/", path, NULL);
    else
        ref->path = xstrdup(path);
}

/* Cuts what follows the last '@', and the ':' after the last '/', off `name`. */
static void split_ends(char *name, struct oci_reference *ref)
{
    char *at = strchr(name, '@');
    if (at) {
        *at = 0;
        ref->digest = xstrdup(at + 1);
    }
    char *slash = strrchr(name, '/'), *colon = strrchr(slash ? slash : name, ':');
    if (colon) {
        *colon = 0;
        ref->tag = xstrdup(colon + 1);
    }
}

static int check(const char *text, const struct oci_reference *ref, struct err *err)
{
    if (!host_valid(ref->host))
        return err_set(err, -EINVAL, "image reference \"%.300s\": bad registry host", text);
    if (!oci_path_valid(ref->path))
        return err_set(err, -EINVAL, "image reference \"%.300s\": bad repository name", text);
    if (ref->tag && !oci_tag_valid(ref->tag))
        return err_set(err, -EINVAL, "image reference \"%.300s\": bad tag", text);
    if (ref->digest && !digest_valid(ref->digest))
        return err_set(err, -EINVAL, "image reference \"%.300s\": bad digest", text);
    return 0;
}

static int parse(const char *text, bool ends, struct oci_reference *ret, struct err *err)
{
    cleanup_oci_reference struct oci_reference ref = {0};
    cleanup_free char *name = xstrndup(text, 1024);
    if (strlen(text) > 1000 || !*text)
        return err_set(err, -EINVAL, "image reference %s", *text ? "too long" : "is empty");
    if (ends)
        split_ends(name, &ref);
    split_host(name, &ref);
    if (ends && !ref.tag && !ref.digest)
        ref.tag = xstrdup("latest");
    int r = check(text, &ref, err);
    if (r < 0)
        return r;
    *ret = ref;
    ref = (struct oci_reference){0};
    return 0;
}

int oci_reference_parse(const char *text, struct oci_reference *ret, struct err *err)
{
    return parse(text, true, ret, err);
}

int oci_repository_parse(const char *text, struct oci_reference *ret, struct err *err)
{
    return parse(text, false, ret, err);
}

char *oci_reference_repository(const struct oci_reference *ref)
{
    return xconcat(ref->host, "/", ref->path, NULL);
}

char *oci_reference_format(const struct oci_reference *ref)
{
    return xconcat(ref->host, "/", ref->path, ref->tag ? ":" : "", ref->tag ? ref->tag : "",
                   ref->digest ? "@" : "", ref->digest ? ref->digest : "", NULL);
}

void oci_reference_done(struct oci_reference *ref)
{
    free(ref->host);
    free(ref->path);
    free(ref->tag);
    free(ref->digest);
    *ref = (struct oci_reference){0};
}
