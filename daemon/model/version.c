#include "daemon/model/version.h"

#include <ctype.h>
#include <errno.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* What may follow the numbers without a '-': people write 2.0rc1, and Alpine writes 2.0_rc1. A letter
 * on its own (OpenSSL's 1.1.1w) is a later release there, which we cannot order: no version. */
static bool is_attached_prerelease(const char *s)
{
    static const char *const words[] = {"alpha", "beta", "rc", "pre", "dev"};
    if (*s == '_' || *s == '.')
        s++;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        size_t n = strlen(words[i]);
        if (strncmp(s, words[i], n) == 0 && !isalpha((unsigned char)s[n]))
            return true;
    }
    return (*s == 'a' || *s == 'b') && is_digit(s[1]);
}

/* Reads the dotted numbers at *s and moves *s past them. */
static int parse_parts(const char **s, struct version *v)
{
    const char *p = *s;
    for (;;) {
        uint64_t number = 0;
        const char *start = p;
        while (is_digit(*p) && p - start < 18)
            number = number * 10 + (uint64_t)(*p++ - '0');
        if (p == start || is_digit(*p) || v->parts == VERSION_PARTS_MAX)
            return -EINVAL;
        v->part[v->parts++] = number;
        if (*p != '.' || !is_digit(p[1]))
            break;
        p++;
    }
    *s = p;
    return 0;
}

int version_parse(const char *text, struct version *ret_version)
{
    struct version v = {0};
    if (strlen(text) > VERSION_TEXT_MAX)
        return -EINVAL;
    const char *p = text;
    if (parse_parts(&p, &v) < 0)
        return -EINVAL;
    if (*p == '-' || is_attached_prerelease(p)) {
        p += *p == '-' || *p == '_' || *p == '.';
        size_t n = strcspn(p, "+");
        if (n == 0)
            return -EINVAL;
        memcpy(v.prerelease, p, n);
        p += n;
    }
    if (*p == '+')
        p = "";
    if (*p)
        return -EINVAL;
    for (const char *c = text; *c; c++) {
        if (!isalnum((unsigned char)*c) && !strchr(".-_+", *c))
            return -EINVAL;
    }
    *ret_version = v;
    return 0;
}

static int sign(int64_t n)
{
    return (n > 0) - (n < 0);
}

/* The next identifier of a prerelease: digits or letters, since rc1 is written for rc.1. */
static size_t identifier(const char *s)
{
    size_t n = 0;
    bool digits = is_digit(*s);
    while (s[n] && isalnum((unsigned char)s[n]) && is_digit(s[n]) == digits)
        n++;
    return n ? n : 1;
}

static int compare_numbers(const char *a, size_t na, const char *b, size_t nb)
{
    for (; na > 1 && *a == '0'; na--)
        a++;
    for (; nb > 1 && *b == '0'; nb--)
        b++;
    return na != nb ? (na > nb ? 1 : -1) : sign(strncmp(a, b, na));
}

static int compare_identifiers(const char *a, size_t na, const char *b, size_t nb)
{
    bool digits = is_digit(*a);
    if (digits != is_digit(*b))
        return digits ? -1 : 1; /* semver: numbers are below words */
    if (digits)
        return compare_numbers(a, na, b, nb);
    int c = strncmp(a, b, na < nb ? na : nb);
    return c ? sign(c) : sign((int64_t)na - (int64_t)nb);
}

static int compare_prereleases(const char *a, const char *b)
{
    if (!*a || !*b)
        return !*a - !*b; /* a release is above its prereleases */
    for (;;) {
        a += strspn(a, ".-_");
        b += strspn(b, ".-_");
        if (!*a || !*b)
            return !*b - !*a; /* rc.1.1 is above rc.1 */
        size_t na = identifier(a), nb = identifier(b);
        int c = compare_identifiers(a, na, b, nb);
        if (c)
            return c;
        a += na;
        b += nb;
    }
}

/* Compares the numbers alone. */
static int compare_parts(const struct version *a, const struct version *b)
{
    for (int i = 0; i < VERSION_PARTS_MAX; i++) {
        if (a->part[i] != b->part[i])
            return a->part[i] > b->part[i] ? 1 : -1;
    }
    return 0;
}

/* Compares without looking at how the versions are written. */
static int compare_values(const struct version *a, const struct version *b)
{
    int c = compare_parts(a, b);
    return c ? c : compare_prereleases(a->prerelease, b->prerelease);
}

int version_cmp(const struct version *a, const struct version *b)
{
    int c = compare_values(a, b);
    return c ? c : sign(a->parts - b->parts);
}

bool version_is_prerelease(const struct version *v)
{
    return v->prerelease[0] != '\0';
}

int version_newer(const struct version *a, const struct version *b)
{
    bool pa = version_is_prerelease(a), pb = version_is_prerelease(b);
    if (pa != pb)
        return pa ? -1 : 1;
    return version_cmp(a, b);
}

enum bound_op { BOUND_GE, BOUND_GT, BOUND_LE, BOUND_LT, BOUND_EQ, BOUND_NE };

struct bound {
    enum bound_op op;
    struct version version;
};

/* Reads one comparison at *s and moves *s past it. Returns 1, 0 at the end, or -EINVAL. */
static int next_bound(const char **s, struct bound *ret)
{
    static const struct {
        const char *text;
        enum bound_op op;
    } ops[] = {{">=", BOUND_GE}, {"<=", BOUND_LE}, {"!=", BOUND_NE}, {"==", BOUND_EQ},
               {">", BOUND_GT},  {"<", BOUND_LT},  {"=", BOUND_EQ}};
    const char *p = *s + strspn(*s, ", \t");
    if (!*p)
        return 0;
    size_t i = 0, count = sizeof(ops) / sizeof(ops[0]);
    while (i < count && !str_starts(p, ops[i].text))
        i++;
    if (i == count)
        return -EINVAL;
    p += strlen(ops[i].text);
    p += strspn(p, " \t");
    p += *p == 'v';
    size_t n = strcspn(p, ", \t");
    char text[VERSION_TEXT_MAX + 1];
    if (n == 0 || n > VERSION_TEXT_MAX)
        return -EINVAL;
    memcpy(text, p, n);
    text[n] = '\0';
    *s = p + n;
    ret->op = ops[i].op;
    return version_parse(text, &ret->version) < 0 ? -EINVAL : 1;
}

int version_bounds_check(const char *bounds, struct err *err)
{
    struct bound bound;
    const char *p = bounds;
    int count = 0, r;
    while ((r = next_bound(&p, &bound)) > 0)
        count++;
    if (r < 0 || count == 0)
        return err_set(err, -EINVAL,
                       "'%s' is no bound on versions; write comparisons such as \">=3.19\" or "
                       "\">=1.4, <2\"",
                       bounds);
    return 0;
}

static bool bound_holds(const struct bound *bound, const struct version *v)
{
    int c = compare_values(v, &bound->version);
    switch (bound->op) {
    case BOUND_GE:
        return c >= 0;
    case BOUND_GT:
        return c > 0;
    case BOUND_LE:
        return c <= 0;
    case BOUND_LT: /* whoever stays below 2 does not want 2.0-rc.1 either */
        return version_is_prerelease(&bound->version) ? c < 0
                                                      : compare_parts(v, &bound->version) < 0;
    case BOUND_EQ:
        return c == 0;
    case BOUND_NE:
        return c != 0;
    }
    return false;
}

bool version_within(const char *bounds, const struct version *v)
{
    struct bound bound;
    const char *p = bounds ? bounds : "";
    while (next_bound(&p, &bound) > 0) {
        if (!bound_holds(&bound, v))
            return false;
    }
    return true;
}

bool version_same_series(const struct version *a, const struct version *b,
                         enum farm_maintain maintain)
{
    if (maintain == FARM_MAINTAIN_PATCH || a->part[0] != b->part[0])
        return false;
    return maintain == FARM_MAINTAIN_MAJOR || a->part[1] == b->part[1];
}
