#include "daemon/dockerignore_pattern.h"

#include <errno.h>

/* The next code point of s[0..n). A byte that is not UTF-8 stands for itself, above all code points. */
static size_t next_char(const char *s, size_t n, uint32_t *ret_c)
{
    const unsigned char *u = (const unsigned char *)s;
    size_t len = u[0] < 0x80   ? 1
                 : u[0] < 0xc2 ? 0
                 : u[0] < 0xe0 ? 2
                 : u[0] < 0xf0 ? 3
                 : u[0] < 0xf5 ? 4
                               : 0;
    uint32_t c = len <= 1 ? u[0] : u[0] & (0x7fu >> len);
    bool good = len > 0 && len <= n;
    for (size_t i = 1; good && i < len; i++) {
        good = (u[i] & 0xc0) == 0x80;
        c = c << 6 | (u[i] & 0x3f);
    }
    *ret_c = good ? c : 0x110000u + u[0];
    return good ? len : 1;
}

struct scan {
    const char *s;
    size_t n, at;
};

static bool scan_end(const struct scan *in)
{
    return in->at >= in->n;
}

static bool scan_eat(struct scan *in, char c)
{
    if (scan_end(in) || in->s[in->at] != c)
        return false;
    in->at++;
    return true;
}

static uint32_t scan_char(struct scan *in)
{
    uint32_t c;
    in->at += next_char(in->s + in->at, in->n - in->at, &c);
    return c;
}

static void add_token(struct ignore_pattern *p, enum ignore_token_kind kind, uint32_t c)
{
    vec_push(&p->tokens, (struct ignore_token){.kind = kind, .c = c});
}

/* One end of a range in a class. */
static int class_char(struct scan *in, uint32_t *ret_c, struct err *err)
{
    if (scan_end(in) || in->s[in->at] == '-' || in->s[in->at] == ']')
        return err_set(err, -EINVAL, "bad character class");
    scan_eat(in, '\\');
    if (scan_end(in))
        return err_set(err, -EINVAL, "the pattern ends within a character class");
    *ret_c = scan_char(in);
    return 0;
}

static int class_range(struct scan *in, struct ignore_range *ret, struct err *err)
{
    struct ignore_range range = {0};
    int r = class_char(in, &range.low, err);
    if (r < 0)
        return r;
    range.high = range.low;
    if (scan_eat(in, '-') && (r = class_char(in, &range.high, err)) < 0)
        return r;
    if (range.high < range.low)
        return err_set(err, -EINVAL, "a range in a character class runs backwards");
    *ret = range;
    return 0;
}

/* After the '['. */
static int compile_class(struct ignore_pattern *p, struct scan *in, struct err *err)
{
    add_token(p, IGNORE_CLASS, 0);
    struct ignore_token *token = &p->tokens.items[p->tokens.n - 1];
    token->negated = scan_eat(in, '^');
    do {
        struct ignore_range range = {0};
        int r = class_range(in, &range, err);
        if (r < 0)
            return r;
        vec_push(&token->ranges, range);
    } while (!scan_eat(in, ']'));
    p->match = IGNORE_TOKENS;
    return 0;
}

/* After a '*', which was the pattern's first character or not. */
static void compile_star(struct ignore_pattern *p, struct scan *in, bool first)
{
    if (!scan_eat(in, '*')) {
        add_token(p, IGNORE_STAR, 0);
        p->match = IGNORE_TOKENS;
        return;
    }
    scan_eat(in, '/');
    if (scan_end(in)) {
        p->match = p->match == IGNORE_EXACT ? IGNORE_PREFIX : IGNORE_TOKENS;
        add_token(p, IGNORE_REST, 0);
    } else {
        p->match = IGNORE_TOKENS;
        add_token(p, IGNORE_OPEN, 0);
        add_token(p, IGNORE_DEEP, 0);
    }
    if (first)
        p->match = IGNORE_SUFFIX;
}

static int compile_next(struct ignore_pattern *p, struct scan *in, struct err *err)
{
    bool first = in->at == 0;
    if (scan_eat(in, '*')) {
        compile_star(p, in, first);
        return 0;
    }
    if (scan_eat(in, '['))
        return compile_class(p, in, err);
    if (scan_eat(in, '?')) {
        add_token(p, IGNORE_ANY, 0);
        p->match = IGNORE_TOKENS;
        return 0;
    }
    if (scan_eat(in, '\\')) {
        if (scan_end(in))
            return err_set(err, -EINVAL, "the pattern ends in a backslash");
        p->match = IGNORE_TOKENS;
    }
    add_token(p, IGNORE_CHAR, scan_char(in));
    return 0;
}

int ignore_pattern_compile(const char *text, struct ignore_pattern *ret, struct err *err)
{
    *ret = (struct ignore_pattern){.text = xstrdup(text)};
    struct scan in = {.s = text, .n = strlen(text)};
    while (!scan_end(&in)) {
        int r = compile_next(ret, &in, err);
        if (r < 0)
            return r;
    }
    return 0;
}

void ignore_pattern_done(struct ignore_pattern *pattern)
{
    VEC_FOREACH (&pattern->tokens, token) {
        vec_free(&token->ranges);
    }
    vec_free(&pattern->tokens);
    free(pattern->text);
    *pattern = (struct ignore_pattern){0};
}

/* ---- matching ---- */

static bool class_has(const struct ignore_token *token, uint32_t c)
{
    bool in = false;
    VEC_FOREACH (&token->ranges, range) {
        in = in || (c >= range->low && c <= range->high);
    }
    return in != token->negated;
}

/* Adds what can be reached from the states in `on` without consuming anything. */
static void close_states(const struct ignore_pattern *p, bool *on)
{
    for (size_t i = 0; i < p->tokens.n; i++) {
        if (!on[i])
            continue;
        enum ignore_token_kind kind = p->tokens.items[i].kind;
        if (kind == IGNORE_STAR || kind == IGNORE_REST || kind == IGNORE_OPEN)
            on[i + 1] = true;
        if (kind == IGNORE_OPEN)
            on[i + 2] = true;
    }
}

/* Consumes `c` at token i, marking where that leads. */
static void step(const struct ignore_token *token, size_t i, uint32_t c, bool *next)
{
    switch (token->kind) {
    case IGNORE_CHAR:
        next[i + 1] |= c == token->c;
        break;
    case IGNORE_ANY:
        next[i + 1] |= c != '/';
        break;
    case IGNORE_CLASS:
        next[i + 1] |= class_has(token, c);
        break;
    case IGNORE_STAR:
        next[i] |= c != '/';
        break;
    case IGNORE_REST:
        next[i] = true;
        break;
    case IGNORE_DEEP:
        next[i] = true;
        next[i + 1] |= c == '/';
        break;
    case IGNORE_OPEN:
        break;
    }
}

/* All states at once, so that no pattern takes more than its length times the path's. */
static bool match_tokens(const struct ignore_pattern *p, const char *path, size_t n)
{
    size_t states = p->tokens.n + 1;
    cleanup_free bool *on = xcalloc(states, sizeof(bool));
    cleanup_free bool *next = xcalloc(states, sizeof(bool));
    on[0] = true;
    close_states(p, on);
    for (size_t at = 0; at < n;) {
        uint32_t c;
        at += next_char(path + at, n - at, &c);
        memset(next, 0, states * sizeof(bool));
        for (size_t i = 0; i < p->tokens.n; i++) {
            if (on[i])
                step(&p->tokens.items[i], i, c, next);
        }
        close_states(p, next);
        bool *swap = on;
        on = next;
        next = swap;
    }
    return on[p->tokens.n];
}

static bool match_suffix(const char *suffix, const char *path, size_t n)
{
    size_t len = strlen(suffix);
    if (len <= n && memcmp(path + n - len, suffix, len) == 0)
        return true;
    return suffix[0] == '/' && len - 1 == n && memcmp(path, suffix + 1, n) == 0;
}

bool ignore_pattern_matches(const struct ignore_pattern *pattern, const char *path, size_t n)
{
    size_t len = strlen(pattern->text);
    switch (pattern->match) {
    case IGNORE_EXACT:
        return len == n && memcmp(pattern->text, path, n) == 0;
    case IGNORE_PREFIX: /* without the "**" at its end */
        return n >= len - 2 && memcmp(pattern->text, path, len - 2) == 0;
    case IGNORE_SUFFIX: /* without the "**" at its beginning */
        return match_suffix(pattern->text + 2, path, n);
    case IGNORE_TOKENS:
        break;
    }
    return match_tokens(pattern, path, n);
}
