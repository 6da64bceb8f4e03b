/* Words, variables and their expansion. */
#include "common/dockerfile_internal.h"

#include <ctype.h>
#include <errno.h>
#include <strings.h>

#define DEPTH_MAX 16 /* of ${A:-${B:-…}} */

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

bool df_span_is(const char *text, struct df_span span, const char *word)
{
    size_t n = strlen(word);
    return span.end - span.start == n && strncasecmp(text + span.start, word, n) == 0;
}

bool df_next_word(const char *text, size_t n, char escape, size_t *pos, struct df_span *ret_word)
{
    size_t i = *pos;
    while (i < n && is_blank(text[i]))
        i++;
    size_t start = i;
    char quote = 0;
    for (; i < n && (quote || !is_blank(text[i])); i++) {
        if (text[i] == escape && quote != '\'' && i + 1 < n)
            i++;
        else if (quote && text[i] == quote)
            quote = 0;
        else if (!quote && (text[i] == '"' || text[i] == '\''))
            quote = text[i];
    }
    *pos = i;
    *ret_word = (struct df_span){start, i};
    return i > start;
}

bool df_next_flag(const struct df_instruction *instruction, char escape, size_t *pos,
                  struct df_span *ret_word, struct df_span *ret_name, struct df_span *ret_value)
{
    size_t next = *pos;
    const char *text = instruction->text;
    struct df_span word;
    if (!df_next_word(text, instruction->n, escape, &next, &word))
        return false;
    if (word.end - word.start < 3 || strncmp(text + word.start, "--", 2) != 0)
        return false;
    const char *equals = memchr(text + word.start, '=', word.end - word.start);
    size_t name_end = equals ? (size_t)(equals - text) : word.end;
    *ret_word = word;
    *ret_name = (struct df_span){word.start + 2, name_end};
    *ret_value = (struct df_span){equals ? name_end + 1 : word.end, word.end};
    *pos = next;
    return true;
}

static void unquote(const char *text, struct df_span *span)
{
    bool quoted = span->end - span->start >= 2 && text[span->start] == text[span->end - 1] &&
                  (text[span->start] == '"' || text[span->start] == '\'');
    span->start += quoted;
    span->end -= quoted;
}

bool df_next_option(const char *text, struct df_span *rest, struct df_span *ret_key,
                    struct df_span *ret_value)
{
    unquote(text, rest);
    if (rest->start >= rest->end)
        return false;
    const char *s = text + rest->start;
    size_t n = rest->end - rest->start;
    const char *comma = memchr(s, ',', n);
    size_t end = comma ? (size_t)(comma - text) : rest->end;
    const char *equals = memchr(s, '=', end - rest->start);
    size_t key_end = equals ? (size_t)(equals - text) : end;
    *ret_key = (struct df_span){rest->start, key_end};
    *ret_value = (struct df_span){equals ? key_end + 1 : end, end};
    rest->start = comma ? end + 1 : end;
    return true;
}

void df_scope_set(struct df_scope *scope, const char *name, size_t n, const char *value, bool env)
{
    const struct df_var *below = df_scope_get(scope, name, n);
    if (below && below->env && !env)
        return;
    struct df_var *var = NULL;
    HASH_FIND(hh, scope->vars, name, n, var);
    if (!var) {
        var = xnew(struct df_var);
        var->name = xstrndup(name, n);
        HASH_ADD_KEYPTR(hh, scope->vars, var->name, n, var);
    }
    str_replace(&var->value, value);
    var->env = env;
}

const struct df_var *df_scope_get(const struct df_scope *scope, const char *name, size_t n)
{
    struct df_var *var = NULL;
    for (; scope && !var; scope = scope->parent) {
        HASH_FIND(hh, scope->vars, name, n, var);
        if (var && scope->ret_read)
            *scope->ret_read = true;
    }
    return var;
}

void df_scope_done(struct df_scope *scope)
{
    struct df_var *var, *next;
    HASH_ITER(hh, scope->vars, var, next)
    {
        HASH_DEL(scope->vars, var);
        free(var->name);
        free(var->value);
        free(var);
    }
}

/* A walk over one word. */
struct expander {
    const char *s, *end;
    char escape;
    const struct df_scope *scope;
    int depth;
};

static int expand_until(struct expander *x, char stop, struct strbuf *out, struct err *err);

static size_t name_length(const char *s, const char *end)
{
    size_t n = 0, limit = (size_t)(end - s);
    if (limit > 0 && isdigit((unsigned char)*s))
        return 1;
    while (n < limit && (isalnum((unsigned char)s[n]) || s[n] == '_'))
        n++;
    return n;
}

/* The variable's value, NULL when it is not set. */
static int value_of(const struct expander *x, const char *name, size_t n, const char **ret_value,
                    struct err *err)
{
    const struct df_var *var = df_scope_get(x->scope, name, n);
    *ret_value = var ? var->value : NULL;
    if (var && !var->value)
        return err_set(err, -EINVAL, "the value of %.*s cannot be worked out", (int)n, name);
    return 0;
}

/* Chooses between the value and the word of ${name:-word} and its sisters. */
static int substitute(char op, bool colon, const char *value, const char *word, const char *name,
                      size_t n, struct strbuf *out, struct err *err)
{
    bool set = value && (!colon || *value);
    if (op == '+')
        strbuf_add(out, set ? word : "");
    else if (set)
        strbuf_add(out, value);
    else if (op == '-')
        strbuf_add(out, word);
    else
        return err_set(err, -EINVAL, "%.*s is not set: %s", (int)n, name, word);
    return 0;
}

/* What follows the name in ${name…}; the closing brace included. */
static int expand_operator(struct expander *x, const char *name, size_t n, const char *value,
                           struct strbuf *out, struct err *err)
{
    bool colon = *x->s == ':';
    x->s += colon;
    char op = x->s < x->end ? *x->s : 0;
    if (!op || !strchr("-+?", op))
        return err_set(err, -EINVAL,
                       "${%.*s…} is not understood; write ${%.*s}, ${%.*s:-default} or "
                       "${%.*s:+word}",
                       (int)n, name, (int)n, name, (int)n, name, (int)n, name);
    x->s++;
    if (++x->depth > DEPTH_MAX)
        return err_set(err, -EINVAL, "${…} nested more than %d deep", DEPTH_MAX);
    cleanup_strbuf struct strbuf word = {0};
    int r = expand_until(x, '}', &word, err);
    x->depth--;
    return r < 0 ? r : substitute(op, colon, value, strbuf_str(&word), name, n, out, err);
}

/* At a '$'. */
static int expand_dollar(struct expander *x, struct strbuf *out, struct err *err)
{
    x->s++;
    bool braced = x->s < x->end && *x->s == '{';
    const char *name = x->s + braced;
    size_t n = name_length(name, x->end);
    if (n == 0 && !braced) {
        strbuf_addc(out, '$');
        return 0;
    }
    const char *value;
    int r =
        n ? value_of(x, name, n, &value, err) : err_set(err, -EINVAL, "${ without a name after it");
    if (r < 0)
        return r;
    x->s = name + n;
    if (braced && x->s == x->end)
        return err_set(err, -EINVAL, "${%.*s is not closed", (int)n, name);
    if (braced && *x->s != '}')
        return expand_operator(x, name, n, value, out, err);
    x->s += braced;
    strbuf_add(out, value ? value : "");
    return 0;
}

static int expand_single_quotes(struct expander *x, struct strbuf *out, struct err *err)
{
    const char *close = memchr(x->s + 1, '\'', (size_t)(x->end - x->s) - 1);
    if (!close)
        return err_set(err, -EINVAL, "a ' is not closed");
    strbuf_addn(out, x->s + 1, (size_t)(close - x->s) - 1);
    x->s = close + 1;
    return 0;
}

static int expand_double_quotes(struct expander *x, struct strbuf *out, struct err *err)
{
    x->s++;
    while (x->s < x->end && *x->s != '"' && out->n <= DF_VALUE_MAX) {
        int r = 0;
        if (*x->s == '$') {
            r = expand_dollar(x, out, err);
        } else {
            bool escaped = *x->s == x->escape && x->s + 1 < x->end &&
                           (x->s[1] == '"' || x->s[1] == '$' || x->s[1] == x->escape);
            x->s += escaped;
            strbuf_addc(out, *x->s++);
        }
        if (r < 0)
            return r;
    }
    if (x->s == x->end)
        return err_set(err, -EINVAL, "a \" is not closed");
    x->s++;
    return 0;
}

static int expand_one(struct expander *x, struct strbuf *out, struct err *err)
{
    if (*x->s == '\'')
        return expand_single_quotes(x, out, err);
    if (*x->s == '"')
        return expand_double_quotes(x, out, err);
    if (*x->s == '$')
        return expand_dollar(x, out, err);
    if (*x->s == x->escape && ++x->s == x->end)
        return 0;
    strbuf_addc(out, *x->s++);
    return 0;
}

/* Expands up to and including `stop`, or to the end where stop is 0. */
static int expand_until(struct expander *x, char stop, struct strbuf *out, struct err *err)
{
    while (x->s < x->end && !(stop && *x->s == stop)) {
        int r = expand_one(x, out, err);
        if (r < 0)
            return r;
        if (out->n > DF_VALUE_MAX)
            return err_set(err, -EINVAL, "a value of more than %d bytes", DF_VALUE_MAX);
    }
    if (stop && x->s == x->end)
        return err_set(err, -EINVAL, "a ${ is not closed");
    x->s += stop != 0;
    return 0;
}

int df_expand(const char *s, size_t n, char escape, const struct df_scope *scope, char **ret_text,
              struct err *err)
{
    struct expander x = {.s = s, .end = s + n, .escape = escape, .scope = scope};
    cleanup_strbuf struct strbuf out = {0};
    int r = expand_until(&x, 0, &out, err);
    if (r == 0)
        *ret_text = strbuf_steal(&out);
    return r;
}
