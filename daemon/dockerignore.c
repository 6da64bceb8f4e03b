#include "daemon/dockerignore.h"

#include "daemon/dockerignore_pattern.h"

#include <errno.h>

struct dockerignore {
    VEC(struct ignore_pattern) patterns;
};

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Narrows [*s, *s + *n) to what is left without white space at both ends. */
static void trim(const char **s, size_t *n)
{
    while (*n > 0 && is_space(**s)) {
        (*s)++;
        (*n)--;
    }
    while (*n > 0 && is_space((*s)[*n - 1]))
        (*n)--;
}

/* Takes the last component off, if it is one that ".." may take off. */
static bool drop_last(struct strbuf *out, size_t root)
{
    if (out->n == root)
        return root > 0; /* ".." of "/" is "/" */
    size_t at = out->n;
    while (at > root && out->s[at - 1] != '/')
        at--;
    if (str_eq(out->s + at, ".."))
        return false;
    out->n = at > root ? at - 1 : root;
    out->s[out->n] = 0;
    return true;
}

/* Lexical cleaning as Go's filepath.Clean does it: no empty, "." or inner ".." components. */
static char *clean(const char *s, size_t n)
{
    struct strbuf out = {0};
    size_t root = n > 0 && s[0] == '/';
    strbuf_addn(&out, "/", root);
    for (size_t at = 0; at < n;) {
        const char *slash = memchr(s + at, '/', n - at);
        size_t len = slash ? (size_t)(slash - s) - at : n - at;
        const char *part = s + at;
        at += len + 1;
        if (len == 0 || (len == 1 && part[0] == '.'))
            continue;
        if (len == 2 && memcmp(part, "..", 2) == 0 && (root || out.n > 0) && drop_last(&out, root))
            continue;
        if (out.n > root)
            strbuf_addc(&out, '/');
        strbuf_addn(&out, part, len);
    }
    if (out.n == 0)
        strbuf_addc(&out, '.');
    return strbuf_steal(&out);
}

static int add_line(struct dockerignore *ignore, const char *s, size_t n, struct err *err)
{
    trim(&s, &n);
    if (n == 0)
        return 0;
    bool negated = s[0] == '!';
    if (negated) {
        s++, n--;
        trim(&s, &n);
    }
    cleanup_free char *text = clean(s, n);
    if (negated && (n == 0 || str_eq(text, "/")))
        return err_set(err, -EINVAL, "'!' without a pattern");
    struct ignore_pattern pattern;
    int r = ignore_pattern_compile(text[0] == '/' && text[1] ? text + 1 : text, &pattern, err);
    pattern.negated = negated;
    vec_push(&ignore->patterns, pattern);
    return r;
}

int dockerignore_parse(const char *text, size_t n, struct dockerignore **ret_ignore,
                       struct err *err)
{
    struct dockerignore *ignore = xnew(struct dockerignore);
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3;
        n -= 3;
    }
    for (unsigned line = 1; n > 0; line++) {
        const char *end = memchr(text, '\n', n);
        size_t len = end ? (size_t)(end - text) : n;
        int r = 0;
        if (memchr(text, 0, len))
            r = err_set(err, -EINVAL, "a NUL byte");
        else if (len > 0 && text[0] != '#')
            r = add_line(ignore, text, len, err);
        if (r < 0) {
            dockerignore_free(ignore);
            return err_wrap(err, ".dockerignore:%u", line);
        }
        size_t used = end ? len + 1 : len;
        n -= used;
        text += used;
    }
    *ret_ignore = ignore;
    return 0;
}

/* Whether `path` or one of its folders matches. */
static bool matches_or_parent(const struct ignore_pattern *pattern, const char *path, size_t n)
{
    if (ignore_pattern_matches(pattern, path, n))
        return true;
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        if (ignore_pattern_matches(pattern, path, (size_t)(slash - path)))
            return true;
    }
    return false;
}

bool dockerignore_excludes(const struct dockerignore *ignore, const char *path)
{
    if (!ignore)
        return false;
    bool excluded = false;
    size_t n = strlen(path);
    VEC_FOREACH (&ignore->patterns, pattern) {
        /* only a pattern that would change the verdict is worth matching */
        if (pattern->negated == excluded && matches_or_parent(pattern, path, n))
            excluded = !pattern->negated;
    }
    return excluded;
}

void dockerignore_free(struct dockerignore *ignore)
{
    if (!ignore)
        return;
    VEC_FOREACH (&ignore->patterns, pattern) {
        ignore_pattern_done(pattern);
    }
    vec_free(&ignore->patterns);
    free(ignore);
}
