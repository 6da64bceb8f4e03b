#include "common/json.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>

/* A value takes up to a hundred times the memory of its text: "[],[],[]…". */
#define VALUES_MAX 1000000

static bool has_too_many_values(const char *text, size_t n)
{
    size_t values = 0;
    if (n <= VALUES_MAX)
        return false;
    for (size_t i = 0; i < n && values <= VALUES_MAX; i++)
        values += text[i] == ',' || text[i] == '[' || text[i] == '{';
    return values > VALUES_MAX;
}

int json_parse(const char *text, size_t n, size_t max, json_t **ret_json, struct err *err)
{
    json_error_t e;
    if (n > max)
        return err_set(err, -EMSGSIZE, "JSON of %zu bytes: at most %zu are read", n, max);
    if (has_too_many_values(text, n))
        return err_set(err, -EMSGSIZE, "JSON of more than %d values is not read", VALUES_MAX);
    json_t *json = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    if (!json)
        return err_set(err, -EINVAL, "bad JSON: line %d, column %d: %s", e.line, e.column, e.text);
    *ret_json = json;
    return 0;
}

static int read_bounded(int fd, size_t max, struct strbuf *text)
{
    char block[16384];
    while (text->n <= max) {
        ssize_t n = read(fd, block, sizeof(block));
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0)
            break;
        if (n > 0)
            strbuf_addn(text, block, (size_t)n);
    }
    return 0;
}

int json_parse_file(const char *path, size_t max, json_t **ret_json, struct err *err)
{
    cleanup_strbuf struct strbuf text = {0};
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    int r = fd < 0 ? -errno : read_bounded(fd, max, &text);
    if (r < 0)
        return err_errno(err, r, "%s", path);
    if (json_parse(strbuf_str(&text), text.n, max, ret_json, err) < 0)
        return err_wrap(err, "%s", path);
    return 0;
}

/* How many bytes the UTF-8 character at `s` has, of `n` that there are; 0: none begins there. */
static size_t utf8_length(const unsigned char *s, size_t n)
{
    static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t want = *s < 0x80 ? 1 : *s < 0xc2 ? 0 : *s < 0xe0 ? 2 : *s < 0xf0 ? 3 : *s < 0xf5 ? 4 : 0;
    if (want < 2 || want > n)
        return want > n ? 0 : want;
    unsigned c = *s & (0xffu >> (want + 1));
    for (size_t i = 1; i < want; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3f);
    }
    return c < least[want] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : want;
}

json_t *json_text_of(const char *bytes, size_t n)
{
    cleanup_free char *clean = xmemdup(bytes, n);
    for (size_t i = 0; i < n;) {
        size_t length = utf8_length((const unsigned char *)clean + i, n - i);
        if (!length || !clean[i])
            clean[i] = '?';
        i += length ? length : 1;
    }
    json_t *json = json_stringn(clean, n);
    if (!json)
        abort(); /* no memory: as the allocators of common/mem.h */
    return json;
}

json_t *json_text(const char *s)
{
    json_t *json = json_string(s);
    return json ? json : json_text_of(s, strlen(s));
}

/* How many bytes from `s` on go into a text as they are: printable ASCII without quote and backslash. */
static size_t plain_length(const char *s)
{
    size_t n = 0;
    while ((unsigned char)s[n] >= ' ' && (unsigned char)s[n] < 0x80 && s[n] != '"' && s[n] != '\\')
        n++;
    return n;
}

static void write_escaped(struct strbuf *to, char c)
{
    static const char special[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    const char *known = strchr(special, c);
    if (known)
        strbuf_addf(to, "\\%c", letters[known - special]);
    else
        strbuf_addf(to, "\\u%04X", (unsigned)(unsigned char)c);
}

void json_write_text(struct strbuf *to, const char *s)
{
    strbuf_addc(to, '"');
    for (;;) {
        size_t n = plain_length(s);
        strbuf_addn(to, s, n);
        s += n;
        if (!*s)
            break;
        if ((unsigned char)*s < 0x80) {
            write_escaped(to, *s++);
            continue;
        }
        size_t length = utf8_length((const unsigned char *)s, strnlen(s, 4));
        strbuf_addn(to, length ? s : "?", length ? length : 1);
        s += length ? length : 1;
    }
    strbuf_addc(to, '"');
}

/* Past the string that begins at `s`. */
static const char *string_end(const char *s)
{
    for (s++; *s && *s != '"'; s++)
        if (*s == '\\' && s[1])
            s++;
    return *s ? s + 1 : s;
}

/* Where the value of a member of the outermost object begins; NULL: it has none of that name. */
static const char *member_value(const char *s, const char *name)
{
    size_t n = strlen(name);
    int depth = 0;
    while (*s) {
        if (*s != '"') {
            depth += (*s == '{' || *s == '[') - (*s == '}' || *s == ']');
            s++;
            continue;
        }
        const char *end = string_end(s);
        if (depth == 1 && *end == ':' && (size_t)(end - s) == n + 2 && !memcmp(s + 1, name, n))
            return end + 1;
        s = end;
    }
    return NULL;
}

json_t *json_member(const char *text, const char *name)
{
    const char *value = member_value(text, name);
    return value ? json_loads(value, JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK, NULL) : NULL;
}

void json_set_bool(struct strbuf *text, const char *name, bool value)
{
    const char *at = member_value(text->s, name);
    assert(at && (*at == 't' || *at == 'f'));
    if ((*at == 't') == value)
        return;
    size_t offset = (size_t)(at - text->s);
    cleanup_free char *rest = xstrdup(at + (value ? strlen("false") : strlen("true")));
    text->n = offset;
    strbuf_add(text, value ? "true" : "false");
    strbuf_add(text, rest);
}

static int unpack(json_t *json, size_t flags, struct err *err, const char *format, va_list ap)
{
    json_error_t e;
    if (json_vunpack_ex(json, &e, flags, format, ap) < 0)
        return err_set(err, -EINVAL, "unexpected JSON: %s", e.text);
    return 0;
}

int json_unpack_strict(json_t *json, struct err *err, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int r = unpack(json, JSON_STRICT, err, format, ap);
    va_end(ap);
    return r;
}

int json_unpack_loose(json_t *json, struct err *err, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int r = unpack(json, 0, err, format, ap);
    va_end(ap);
    return r;
}

char *json_canonical(const json_t *json)
{
    char *text = json_dumps(json, JSON_SORT_KEYS | JSON_COMPACT | JSON_ENCODE_ANY);
    if (!text)
        abort(); /* no memory, or not a value at all */
    return text;
}

/* ---- members ---- */

/* *ret is the member, NULL when it is missing or null. */
static int member(const json_t *object, const char *name, json_t **ret, struct err *err)
{
    if (!json_is_object(object))
        return err_set(err, -EINVAL, "\"%s\" is looked for in what is not an object", name);
    json_t *value = json_object_get(object, name);
    *ret = json_is_null(value) ? NULL : value;
    return 0;
}

static int missing(const char *name, struct err *err)
{
    return err_set(err, -ENOENT, "\"%s\" is missing", name);
}

static int wrong(const char *name, const char *wanted, struct err *err)
{
    return err_set(err, -EINVAL, "\"%s\" is not %s", name, wanted);
}

int json_opt_string(const json_t *object, const char *name, const char **ret, struct err *err)
{
    json_t *v = NULL;
    int r = member(object, name, &v, err);
    if (r < 0 || !v)
        return r;
    if (!json_is_string(v))
        return wrong(name, "a string", err);
    *ret = json_string_value(v);
    return 0;
}

int json_opt_int(const json_t *object, const char *name, int64_t min, int64_t max, int64_t *ret,
                 struct err *err)
{
    json_t *v = NULL;
    int r = member(object, name, &v, err);
    if (r < 0 || !v)
        return r;
    if (!json_is_integer(v))
        return wrong(name, "a whole number", err);
    if (json_integer_value(v) < min || json_integer_value(v) > max)
        return err_set(err, -EINVAL, "\"%s\" is not from %" PRId64 " to %" PRId64, name, min, max);
    *ret = json_integer_value(v);
    return 0;
}

int json_opt_bool(const json_t *object, const char *name, bool *ret, struct err *err)
{
    json_t *v = NULL;
    int r = member(object, name, &v, err);
    if (r < 0 || !v)
        return r;
    if (!json_is_boolean(v))
        return wrong(name, "true or false", err);
    *ret = json_is_true(v);
    return 0;
}

static int opt_typed(const json_t *object, const char *name, json_type type, json_t **ret,
                     struct err *err)
{
    json_t *v = NULL;
    int r = member(object, name, &v, err);
    if (r < 0 || !v)
        return r;
    if (json_typeof(v) != type)
        return wrong(name, type == JSON_OBJECT ? "an object" : "a list", err);
    *ret = v;
    return 0;
}

int json_opt_object(const json_t *object, const char *name, json_t **ret, struct err *err)
{
    return opt_typed(object, name, JSON_OBJECT, ret, err);
}

int json_opt_array(const json_t *object, const char *name, json_t **ret, struct err *err)
{
    return opt_typed(object, name, JSON_ARRAY, ret, err);
}

static int required(const json_t *object, const char *name, struct err *err)
{
    json_t *v = NULL;
    int r = member(object, name, &v, err);
    return r == 0 && !v ? missing(name, err) : r;
}

int json_get_string(const json_t *object, const char *name, const char **ret, struct err *err)
{
    int r = required(object, name, err);
    return r ? r : json_opt_string(object, name, ret, err);
}

int json_get_int(const json_t *object, const char *name, int64_t min, int64_t max, int64_t *ret,
                 struct err *err)
{
    int r = required(object, name, err);
    return r ? r : json_opt_int(object, name, min, max, ret, err);
}

int json_get_bool(const json_t *object, const char *name, bool *ret, struct err *err)
{
    int r = required(object, name, err);
    return r ? r : json_opt_bool(object, name, ret, err);
}

int json_get_object(const json_t *object, const char *name, json_t **ret, struct err *err)
{
    int r = required(object, name, err);
    return r ? r : json_opt_object(object, name, ret, err);
}

int json_get_array(const json_t *object, const char *name, json_t **ret, struct err *err)
{
    int r = required(object, name, err);
    return r ? r : json_opt_array(object, name, ret, err);
}
