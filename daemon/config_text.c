#include "daemon/config_text.h"

#include "common/mem.h"
#include "common/nearest.h"

#include <ctype.h>
#include <errno.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Whether the part between "://" and the next '/' holds "user:password@". */
static bool has_password(const char *text)
{
    const char *host = strstr(text, "://");
    if (!host)
        return false;
    host += 3;
    size_t n = strcspn(host, "/");
    const char *at = memchr(host, '@', n);
    return at && memchr(host, ':', (size_t)(at - host));
}

bool config_valid_source(const char *text)
{
    static const char *const schemes[] = {"file:///", "http://", "https://", "git://", "ssh://"};
    for (const char *c = text; *c; c++) {
        if (isspace((unsigned char)*c) || iscntrl((unsigned char)*c))
            return false;
    }
    if (*text == '/')
        return true;
    for (size_t i = 0; i < COUNT(schemes); i++) {
        size_t n = strlen(schemes[i]);
        if (str_starts(text, schemes[i]))
            return text[n] && (i == 0 || text[n] != '/') && !has_password(text);
    }
    size_t user = strcspn(text, "@:/"); /* git@host:path */
    size_t host = text[user] == '@' ? strcspn(text + user + 1, ":/@") : 0;
    return user > 0 && host > 0 && text[user + 1 + host] == ':' && text[user + host + 2];
}

bool config_valid_identifier(const char *text)
{
    if (!isalpha((unsigned char)*text) && *text != '_')
        return false;
    for (const char *c = text; *c; c++) {
        if (!isalnum((unsigned char)*c) && *c != '_')
            return false;
    }
    return true;
}

bool config_valid_label(const char *text)
{
    for (const char *c = text; *c; c++) {
        if (!isgraph((unsigned char)*c) || *c == '=')
            return false;
    }
    return *text != '\0';
}

/* Git's own rules for names (git-check-ref-format), with '*' allowed. */
static bool valid_ref_name(const char *ref)
{
    static const char *const never[] = {"..", "@{", "//", "/.", ".lock/"};
    for (size_t i = 0; i < COUNT(never); i++) {
        if (strstr(ref, never[i]))
            return false;
    }
    for (const char *c = ref; *c; c++) {
        if (!isgraph((unsigned char)*c) && (unsigned char)*c < 0x80)
            return false;
        if (strchr("~^:?[\\", *c))
            return false;
    }
    return !str_ends(ref, "/") && !str_ends(ref, ".") && !str_ends(ref, ".lock");
}

int config_check_ref(const char *ref, struct err *err)
{
    const char *star = strchr(ref, '*');
    if (str_eq(ref, "HEAD"))
        return 0;
    if (!str_starts(ref, "refs/")) {
        const char *rest = str_starts(ref, "heads/")  ? ref + 6
                           : str_starts(ref, "tags/") ? ref + 5
                                                      : ref;
        return err_set(err, -EINVAL,
                       "'%.200s' is no full name; write refs/heads/%.200s for a branch or "
                       "refs/tags/%.200s for a tag",
                       ref, rest, rest);
    }
    if (star && strchr(star + 1, '*'))
        return err_set(err, -EINVAL, "'%.200s' has more than one '*'; write one", ref);
    if (!valid_ref_name(ref))
        return err_set(err, -EINVAL,
                       "'%.200s' is no name of a ref; write one such as refs/heads/master or "
                       "refs/tags/v*",
                       ref);
    return 0;
}

int config_check_inside(const char *path, struct err *err)
{
    if (*path == '/')
        return err_set(err, -EINVAL, "'%.200s' is absolute; write a path inside the source", path);
    for (const char *part = path; *part;) {
        size_t n = strcspn(part, "/");
        if (n == 2 && part[0] == '.' && part[1] == '.')
            return err_set(err, -EINVAL, "'%.200s' leads out of the source; leave '..' out", path);
        if (n == 4 && strncasecmp(part, ".git", 4) == 0)
            return err_set(err, -EINVAL, "'%.200s': .git is no part of what is built", path);
        part += n;
        part += strspn(part, "/");
    }
    return 0;
}

static size_t identifier_length(const char *s)
{
    size_t n = 0;
    while (isalnum((unsigned char)s[n]) || s[n] == '_')
        n++;
    return n;
}

/* What a rootfs script finds in its environment, beside its args. */
static const char *const script_names[] = {"SHEAF_ROOTFS",      "SHEAF_CONTEXT",    "SHEAF_IMAGE",
                                           "SHEAF_VARIANT",     "SHEAF_PLATFORM",   "SHEAF_ARCH",
                                           "SHEAF_DEBIAN_ARCH", "SHEAF_ALPINE_ARCH"};

static int check_upper(const char *name, bool has_variant, struct err *err)
{
    if (str_eq(name, "SHEAF_VARIANT") && !has_variant)
        return err_set(err, -EINVAL,
                       "$SHEAF_VARIANT needs variants; give the image variants: [...]");
    for (size_t i = 0; i < COUNT(script_names); i++) {
        if (str_eq(name, script_names[i]))
            return 0;
    }
    const char *nearest = nearest_word(name, script_names, COUNT(script_names));
    return err_set(err, -EINVAL, "$%s is unknown; write $%s", name,
                   nearest ? nearest : "SHEAF_ROOTFS");
}

/* A script's own variable may have any name, but one of ours that it never sets is a mistake. */
static int check_lower(const char *script, const char *name, struct err *err)
{
    static const char *const ours[][2] = {{"variant", "SHEAF_VARIANT"},
                                          {"platform", "SHEAF_PLATFORM"},
                                          {"debian_arch", "SHEAF_DEBIAN_ARCH"},
                                          {"alpine_arch", "SHEAF_ALPINE_ARCH"},
                                          {"arch", "SHEAF_ARCH"}};
    for (size_t i = 0; i < COUNT(ours); i++) {
        if (!str_eq(name, ours[i][0]))
            continue;
        /* set by name=, read name, for name in: at least one mention without the dollar */
        for (const char *s = script; (s = strstr(s, name)); s += strlen(name)) {
            if (s == script || (s[-1] != '$' && s[-1] != '{' && s[-1] != '_'))
                return 0;
        }
        return err_set(err, -EINVAL, "scripts get environment variables; write \"$%s\" for $%s",
                       ours[i][1], name);
    }
    return 0;
}

int config_check_script(const char *script, bool has_variant, struct err *err)
{
    for (const char *s = script; (s = strchr(s, '$'));) {
        s++;
        s += *s == '{';
        size_t n = identifier_length(s);
        cleanup_free char *name = xstrndup(s, n);
        int r = str_starts(name, "SHEAF_") ? check_upper(name, has_variant, err)
                                           : check_lower(script, name, err);
        if (r < 0)
            return r;
        s += n;
    }
    return 0;
}
