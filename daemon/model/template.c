#include "daemon/model/template.h"

#include "common/nearest.h"

#include <errno.h>

enum var {
    VAR_VERSION,
    VAR_MAJOR,
    VAR_MINOR,
    VAR_PATCH,
    VAR_VARIANT,
    VAR_REF,
    VAR_BRANCH,
    VAR_TAG,
    VAR_COMMIT,
    VAR_SHORT_COMMIT,
    VAR_IMAGE,
    VAR_REGISTRY,
    VAR_REPOSITORY,
    VAR_PLATFORM,
    VAR_ARCH,
    VAR_DEBIAN_ARCH,
    VAR_ALPINE_ARCH,
    VAR_COUNT
};

static const char *const var_names[VAR_COUNT] = {
    [VAR_VERSION] = "version",
    [VAR_MAJOR] = "major",
    [VAR_MINOR] = "minor",
    [VAR_PATCH] = "patch",
    [VAR_VARIANT] = "variant",
    [VAR_REF] = "ref",
    [VAR_BRANCH] = "branch",
    [VAR_TAG] = "tag",
    [VAR_COMMIT] = "commit",
    [VAR_SHORT_COMMIT] = "short_commit",
    [VAR_IMAGE] = "image",
    [VAR_REGISTRY] = "registry",
    [VAR_REPOSITORY] = "repository",
    [VAR_PLATFORM] = "platform",
    [VAR_ARCH] = "arch",
    [VAR_DEBIAN_ARCH] = "debian_arch",
    [VAR_ALPINE_ARCH] = "alpine_arch",
};

static bool needs_version(enum var var)
{
    return var <= VAR_PATCH;
}

static bool needs_platform(enum var var)
{
    return var >= VAR_PLATFORM && var < VAR_COUNT;
}

enum token_kind { TOKEN_END, TOKEN_LITERAL, TOKEN_NAME, TOKEN_OPEN /* a ${ without its } */ };

struct token {
    enum token_kind kind;
    const char *start; /* the literal, or the name without dollar and braces */
    size_t n;
    const char *dollar; /* where a name's dollar stands */
};

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static size_t name_length(const char *s)
{
    size_t n = 0;
    while (is_lower(s[n]) || s[n] == '_' || (s[n] >= '0' && s[n] <= '9'))
        n++;
    return n;
}

/* The token at *s; moves *s past it. */
static struct token next_token(const char **s)
{
    const char *p = *s;
    struct token token = {.kind = TOKEN_LITERAL, .start = p, .dollar = p};
    if (!*p) {
        token.kind = TOKEN_END;
        return token;
    }
    if (p[0] == '$' && p[1] == '$') {
        token.n = 1;
        *s = p + 2;
        return token;
    }
    bool braced = p[0] == '$' && p[1] == '{' && is_lower(p[2]);
    if (braced || (p[0] == '$' && is_lower(p[1]))) {
        token.start = p + 1 + braced;
        token.n = name_length(token.start);
        bool closed = !braced || token.start[token.n] == '}';
        token.kind = closed ? TOKEN_NAME : TOKEN_OPEN;
        *s = token.start + token.n + (braced && closed);
        return token;
    }
    token.n = 1 + strcspn(p + 1, "$");
    *s = p + token.n;
    return token;
}

static enum var find_var(const struct token *token)
{
    enum var var = 0;
    while (var < VAR_COUNT && !(strlen(var_names[var]) == token->n &&
                                strncmp(var_names[var], token->start, token->n) == 0))
        var++;
    return var;
}

static int unknown_name(const struct token *token, struct err *err)
{
    cleanup_free char *name = xstrndup(token->start, token->n);
    const char *nearest = nearest_word(name, var_names, VAR_COUNT);
    if (nearest)
        return err_set(err, -EINVAL, "$%s is unknown; write $%s", name, nearest);
    return err_set(err, -EINVAL,
                   "$%s is unknown; write one of $version, $variant, $branch, $tag, $commit, "
                   "$debian_arch, $alpine_arch, or $$ for a dollar",
                   name);
}

static int check_var(enum var var, const struct template_rules *rules, struct err *err)
{
    const char *name = var_names[var];
    if (needs_version(var) && rules->ref && !strchr(rules->ref, '*'))
        return err_set(err, -EINVAL,
                       "$%s is what the '*' of ref matches, and ref has none; write a ref such as "
                       "refs/tags/v*",
                       name);
    if (var == VAR_TAG && rules->ref && str_starts(rules->ref, "refs/heads/"))
        return err_set(err, -EINVAL, "$tag needs a ref of refs/tags/; write $branch");
    if (var == VAR_BRANCH && rules->ref && str_starts(rules->ref, "refs/tags/"))
        return err_set(err, -EINVAL, "$branch needs a ref of refs/heads/; write $tag");
    if (var == VAR_VARIANT && !rules->has_variant)
        return err_set(err, -EINVAL, "$%s needs variants; give the image variants: [...]", name);
    if (needs_platform(var) && !rules->has_platform)
        return err_set(err, -EINVAL,
                       "$%s differs between the platforms that share this; leave it out", name);
    return 0;
}

static int check_token(const struct token *token, const struct template_rules *rules,
                       struct err *err)
{
    if (token->kind == TOKEN_LITERAL)
        return 0;
    if (token->kind == TOKEN_OPEN)
        return err_set(err, -EINVAL, "${%.*s is not closed; write ${%.*s}", (int)token->n,
                       token->start, (int)token->n, token->start);
    enum var var = find_var(token);
    return var == VAR_COUNT ? unknown_name(token, err) : check_var(var, rules, err);
}

int template_check(const char *text, const struct template_rules *rules, size_t *ret_offset,
                   struct err *err)
{
    const char *p = text;
    for (struct token token = next_token(&p); token.kind != TOKEN_END; token = next_token(&p)) {
        int r = check_token(&token, rules, err);
        if (r < 0 && ret_offset)
            *ret_offset = (size_t)(token.dollar - text);
        if (r < 0)
            return r;
    }
    return 0;
}

static const char *after_prefix(const char *ref, const char *prefix)
{
    return ref && str_starts(ref, prefix) ? ref + strlen(prefix) : NULL;
}

/* The values that are strings already; NULL where there is none. */
static const char *text_value(enum var var, const struct template_vars *vars)
{
    bool platform = vars->platform != PLATFORM_COUNT;
    const struct platform_info *info = platform_info(platform ? vars->platform : 0);
    const char *const values[VAR_COUNT] = {
        [VAR_VERSION] = vars->version,
        [VAR_VARIANT] = vars->variant,
        [VAR_REF] = vars->ref,
        [VAR_BRANCH] = after_prefix(vars->ref, "refs/heads/"),
        [VAR_TAG] = after_prefix(vars->ref, "refs/tags/"),
        [VAR_COMMIT] = vars->commit,
        [VAR_IMAGE] = vars->image,
        [VAR_REGISTRY] = vars->registry,
        [VAR_REPOSITORY] = vars->repository,
        [VAR_PLATFORM] = info->name,
        [VAR_ARCH] = info->architecture,
        [VAR_DEBIAN_ARCH] = info->debian,
        [VAR_ALPINE_ARCH] = info->alpine,
    };
    return needs_platform(var) && !platform ? NULL : values[var];
}

/* Appends the value; false where there is none. */
static bool add_value(enum var var, const struct template_vars *vars, struct strbuf *out)
{
    if (var == VAR_MAJOR || var == VAR_MINOR || var == VAR_PATCH) {
        int part = (int)(var - VAR_MAJOR);
        if (part >= vars->parsed.parts)
            return false;
        strbuf_addf(out, "%llu", (unsigned long long)vars->parsed.part[part]);
        return true;
    }
    if (var == VAR_SHORT_COMMIT && vars->commit) {
        strbuf_addn(out, vars->commit, strnlen(vars->commit, 12));
        return true;
    }
    const char *value = text_value(var, vars);
    if (value)
        strbuf_add(out, value);
    return value != NULL;
}

int template_expand(const char *text, const struct template_vars *vars, char **ret_text,
                    struct err *err)
{
    static const struct template_rules anything = {NULL, true, true};
    cleanup_strbuf struct strbuf out = {0};
    const char *p = text;
    for (struct token token = next_token(&p); token.kind != TOKEN_END; token = next_token(&p)) {
        if (token.kind == TOKEN_LITERAL) {
            strbuf_addn(&out, token.start, token.n);
            continue;
        }
        int r = check_token(&token, &anything, err);
        if (r < 0)
            return r;
        if (!add_value(find_var(&token), vars, &out))
            return err_set(err, -ENOENT, "$%.*s has no value here", (int)token.n, token.start);
    }
    *ret_text = strbuf_steal(&out);
    return 0;
}

bool template_uses(const char *text, const char *name)
{
    const char *p = text;
    for (struct token token = next_token(&p); token.kind != TOKEN_END; token = next_token(&p)) {
        if (token.kind == TOKEN_NAME && strlen(name) == token.n &&
            strncmp(name, token.start, token.n) == 0)
            return true;
    }
    return false;
}

bool template_uses_platform(const char *text)
{
    const char *p = text;
    for (struct token token = next_token(&p); token.kind != TOKEN_END; token = next_token(&p))
        if (token.kind == TOKEN_NAME && needs_platform(find_var(&token)))
            return true;
    return false;
}
