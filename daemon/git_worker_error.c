#include "daemon/git_protocol.h"
#include "daemon/git_worker_int.h"

#include <stdarg.h>

char *git_worker_url_text(const char *url)
{
    const char *start = strstr(url, "://");
    start = start ? start + 3 : url;
    size_t authority = strcspn(start, "/");
    const char *at = memrchr(start, '@', authority);
    const char *colon = at ? memchr(start, ':', (size_t)(at - start)) : NULL;
    if (!colon)
        return git_worker_name_text(url);
    cleanup_free char *text = xasprintf("%.*s:***%s", (int)(colon - url), url, at);
    return git_worker_name_text(text);
}

/* How many bytes of valid, printable UTF-8 begin at `s`; 0 if none do. */
static size_t printable(const unsigned char *s)
{
    if (s[0] < 0x80)
        return s[0] >= ' ' && s[0] != 0x7f;
    size_t len = s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    }
    bool too_long = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    bool no_char = (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf4 && s[1] > 0x8f);
    bool control = s[0] == 0xc2 && s[1] < 0xa0;
    return too_long || no_char || control ? 0 : len;
}

char *git_worker_name_text(const char *name)
{
    struct strbuf out = {0};
    for (const char *s = name; *s;) {
        size_t n = printable((const unsigned char *)s);
        if (n > 0)
            strbuf_addn(&out, s, n);
        else
            strbuf_addf(&out, "\\x%02x", (unsigned char)*s);
        s += n > 0 ? n : 1;
    }
    return strbuf_steal(&out);
}

/* libgit2 gives an HTTP status as text only. */
static int http_status(const char *message)
{
    const char *status = strcasestr(message, "http status code: ");
    return status ? atoi(status + strlen("http status code: ")) : 0;
}

static int http_code(int status)
{
    if (status == 401 || status == 403 || status == 407)
        return -EACCES;
    return status == 404 || status == 410 ? -ENOENT : -ENETUNREACH;
}

static bool says(const char *message, const char *const *words)
{
    for (; *words; words++) {
        if (strcasestr(message, *words))
            return true;
    }
    return false;
}

/* A server's refusal is a line of text. */
static int remote_text_code(const char *message)
{
    static const char *const missing[] = {"not found",
                                          "no such",
                                          "not exported",
                                          "does not exist",
                                          "could not find",
                                          "not appear to be",
                                          "access denied or repository",
                                          NULL};
    static const char *const refused[] = {"authenticat",   "permission denied", "access denied",
                                          "not permitted", "publickey",         NULL};
    if (says(message, missing))
        return -ENOENT;
    return says(message, refused) ? -EACCES : -ENETUNREACH;
}

static int remote_code(int rc, int klass, const char *message)
{
    if (rc == GIT_EAUTH || rc == GIT_ECERTIFICATE)
        return -EACCES;
    int status = http_status(message);
    if (status)
        return http_code(status);
    if (klass == GIT_ERROR_INDEXER || klass == GIT_ERROR_ODB || klass == GIT_ERROR_ZLIB)
        return -EIO;
    return remote_text_code(message);
}

static int local_code(int rc)
{
    if (rc == GIT_ENOTFOUND)
        return -ENOENT;
    return rc == GIT_ELOCKED ? -EBUSY : -EIO;
}

/* A repository that is away may come back; a key or a tree is mended by somebody's hand only. */
static bool waits(int code)
{
    return code != -EACCES && code != -EINVAL && code != -EFBIG;
}

int git_worker_error(struct err *err, int rc, bool remote, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    cleanup_free char *what = NULL;
    if (vasprintf(&what, fmt, ap) < 0)
        abort();
    va_end(ap);
    const git_error *last = git_error_last();
    cleanup_free char *message =
        git_worker_name_text(last && last->message ? last->message : "failed");
    int code = remote ? remote_code(rc, last ? last->klass : 0, message) : local_code(rc);
    if (last && last->klass == GIT_ERROR_NOMEMORY)
        code = -EFBIG; /* the worker's own bound: git_worker_confine */
    if (strcasestr(message, "no space left") || strcasestr(message, "quota exceeded"))
        code = -ENOSPC;
    git_error_clear();
    return err_set_retryable(err, code, waits(code), "%s: %s", what, message);
}
