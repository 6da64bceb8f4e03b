/* Credentials: what a 401's challenge asks for, and the tokens.
 *
 * A token is fetched once for all operations that wait for its scope, kept until shortly before it
 * expires, and thrown away when a registry does not take it any more. */
#include "common/registry_internal.h"

#include "common/clock.h"
#include "common/json.h"

#include <ctype.h>
#include <errno.h>
#include <strings.h>
#include <utlist.h>

#define TOKEN_LIFE_DEFAULT_S 60
#define TOKEN_MARGIN_MS      10000
#define TOKENS_MAX           4096

/* ---- challenges ---- */

/* The value of parameter `name` of a challenge such as `Bearer realm="…",scope="…"`. The caller owns it;
 * NULL if there is none. */
static char *parameter(const char *challenge, const char *name)
{
    const char *p = challenge + strcspn(challenge, " ");
    while (*p) {
        p += strspn(p, " ,\t");
        size_t n = strcspn(p, "= ,");
        bool found = n == strlen(name) && strncasecmp(p, name, n) == 0;
        p += n;
        if (*p != '=')
            continue;
        struct strbuf value = {0};
        if (*++p == '"') {
            for (p++; *p && *p != '"'; p++) {
                if (*p == '\\' && p[1])
                    p++;
                strbuf_addc(&value, *p);
            }
            p += *p == '"';
        } else {
            n = strcspn(p, " ,");
            strbuf_addn(&value, p, n);
            p += n;
        }
        if (found)
            return strbuf_steal(&value);
        strbuf_done(&value);
    }
    return NULL;
}

static const char *challenge_of(const struct http_response *response, const char *scheme)
{
    const char *value;
    for (size_t i = 0; (value = http_response_header_nth(response, "WWW-Authenticate", i)); i++) {
        size_t n = strlen(scheme);
        if (strncasecmp(value, scheme, n) == 0 && (value[n] == ' ' || value[n] == 0))
            return value;
    }
    return NULL;
}

/* ---- scopes ---- */

static void add_scope(struct strbuf *out, const char *repository, enum registry_actions actions)
{
    strbuf_addf(out, "%srepository:%s:", out->n ? " " : "", repository);
    const char *comma = "";
    static const char *const names[] = {"pull", "push", "delete"};
    for (int i = 0; i < 3; i++) {
        if (actions & (1 << i)) {
            strbuf_addf(out, "%s%s", comma, names[i]);
            comma = ",";
        }
    }
}

static char *scope_of(const struct registry_op *op)
{
    struct strbuf scope = {0};
    if (op->repository && op->call.actions)
        add_scope(&scope, op->repository, op->call.actions);
    if (op->from && !str_eq(op->from, op->repository))
        add_scope(&scope, op->from, ACTION_PULL);
    if (op->extra_scope)
        strbuf_addf(&scope, "%s%s", scope.n ? " " : "", op->extra_scope);
    return strbuf_steal(&scope);
}

/* ---- tokens ---- */

static void token_free(struct registry_token *t)
{
    HASH_DEL(t->registry->tokens, t);
    free(t->scope);
    free(t->text);
    free(t);
}

static void forget_expired(struct registry *r)
{
    struct registry_token *t, *next;
    int64_t now = clock_mono_ms();
    HASH_ITER(hh, r->tokens, t, next)
    {
        if (!t->http && (!t->text || t->expires_ms < now))
            token_free(t);
    }
}

static struct registry_token *token_of(struct registry *r, const char *scope)
{
    struct registry_token *t;
    HASH_FIND_STR(r->tokens, scope, t);
    if (t)
        return t;
    if (HASH_COUNT(r->tokens) >= TOKENS_MAX)
        forget_expired(r);
    t = xnew(struct registry_token);
    t->registry = r;
    t->scope = xstrdup(scope);
    HASH_ADD_KEYPTR(hh, r->tokens, t->scope, strlen(t->scope), t);
    return t;
}

static char *basic(const struct registry *r)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    cleanup_free char *pair = xasprintf("%s:%s", r->username, r->password);
    struct strbuf out = {0};
    strbuf_add(&out, "Basic ");
    for (size_t i = 0, n = strlen(pair); i < n; i += 3) {
        const unsigned char *p = (const unsigned char *)pair + i;
        unsigned v = (unsigned)p[0] << 16;
        if (i + 1 < n)
            v |= (unsigned)p[1] << 8;
        if (i + 2 < n)
            v |= p[2];
        strbuf_addc(&out, digits[v >> 18]);
        strbuf_addc(&out, digits[v >> 12 & 63]);
        strbuf_addc(&out, i + 1 < n ? digits[v >> 6 & 63] : '=');
        strbuf_addc(&out, i + 2 < n ? digits[v & 63] : '=');
    }
    return strbuf_steal(&out);
}

static int token_parse(struct registry_token *t, const struct http_response *response,
                       struct err *err)
{
    const char *token = NULL;
    int64_t life = TOKEN_LIFE_DEFAULT_S;
    cleanup_json json_t *json = NULL;
    const struct strbuf *body = &response->body;
    if (json_parse(strbuf_str(body), body->n, 1024 * 1024, &json, err) < 0 ||
        json_opt_string(json, "access_token", &token, err) < 0 ||
        json_opt_string(json, "token", &token, err) < 0 ||
        json_opt_int(json, "expires_in", 0, INT32_MAX, &life, err) < 0 ||
        (!token && json_get_string(json, "token", &token, err) < 0))
        return err_wrap(err, "token from %s", t->registry->realm);
    int64_t life_ms = life * 1000;
    int64_t margin = life_ms / 4 < TOKEN_MARGIN_MS ? life_ms / 4 : TOKEN_MARGIN_MS;
    t->expires_ms = clock_mono_ms() + life_ms - margin;
    str_replace(&t->text, token);
    return 0;
}

static void on_token(void *arg, struct http_response *response, const struct err *err)
{
    struct registry_token *t = arg;
    struct registry *r = t->registry;
    struct registry_op *waiters = steal_ptr(t->waiters), *op;
    struct err bad = ERR_INIT;
    t->http = NULL;
    if (!err && http_response_ok(response) && token_parse(t, response, &bad) < 0) {
        bad.code = -EPROTO;
        err = &bad;
    }
    while ((op = waiters)) {
        DL_DELETE2(waiters, op, waiter_prev, waiter_next);
        op->waits_for = NULL;
        op_token_ready(op, response, err);
    }
    registry_unref(r);
}

static char *token_url(const struct registry_token *t)
{
    const struct registry *r = t->registry;
    struct strbuf url = {0};
    strbuf_addf(&url, "%s%c", r->realm, strchr(r->realm, '?') ? '&' : '?');
    if (r->service) {
        strbuf_add(&url, "service=");
        registry_add_encoded(&url, r->service);
    }
    cleanup_free char *scopes = xstrdup(t->scope);
    char *rest = scopes, *scope;
    while ((scope = strsep(&rest, " "))) {
        if (!*scope)
            continue;
        strbuf_add(&url, "&scope=");
        registry_add_encoded(&url, scope);
    }
    return strbuf_steal(&url);
}

static void token_fetch(struct registry_token *t)
{
    struct registry *r = t->registry;
    cleanup_free char *url = token_url(t);
    bool own = registry_is_own(r, r->realm);
    /* A realm in the clear gets no password that a registry on TLS was to get. */
    bool safe = own || str_starts(r->realm, "https://") || !str_starts(r->endpoint, "https://");
    cleanup_free char *authorization = r->username && safe ? basic(r) : NULL;
    registry_ref(r);
    t->http = http_request_start(r->client, &(struct http_options){
                                                .url = url,
                                                .authorization = authorization,
                                                .sink = http_sink_memory(1024 * 1024),
                                                .done = on_token,
                                                .arg = t,
                                                .stall_ms = r->stall_ms,
                                                .total_ms = DOCUMENT_MS,
                                                .redirects = REDIRECTS_MAX,
                                                .pin = own ? r->pin : NULL,
                                                .ca_file = r->ca_file,
                                            });
}

static void wait_for(struct registry_op *op, struct registry_token *t)
{
    op->waits_for = t;
    DL_APPEND2(t->waiters, op, waiter_prev, waiter_next);
    if (!t->http)
        token_fetch(t);
}

/* A body that cannot be sent twice wants a token that is sure to be taken. */
static bool is_fresh(const struct registry_op *op, const struct registry_token *t)
{
    int64_t left = t->expires_ms - clock_mono_ms();
    return t->text && left > (op->call.body.kind == HTTP_BODY_PULL ? TOKEN_MARGIN_MS : 0);
}

static int bearer_header(struct registry_op *op, char **ret)
{
    cleanup_free char *scope = scope_of(op);
    struct registry_token *t = token_of(op->registry, scope);
    /* The one that was just waited for is used once, however short its life. */
    bool waited = op->waited_token;
    op->waited_token = false;
    if (!is_fresh(op, t) && !(waited && t->text)) {
        wait_for(op, t);
        return -EINPROGRESS;
    }
    str_replace(&op->sent_token, t->text);
    *ret = xasprintf("Bearer %s", t->text);
    return 0;
}

int auth_header(struct registry_op *op, char **ret)
{
    struct registry *r = op->registry;
    op->sent_basic = false;
    str_replace(&op->sent_token, NULL);
    *ret = NULL;
    if (!registry_is_own(r, op->url))
        return 0;
    if (r->scheme == SCHEME_BEARER)
        return bearer_header(op, ret);
    if (r->scheme == SCHEME_BASIC) {
        op->sent_basic = true;
        *ret = basic(r);
    }
    return 0;
}

/* ---- what a 401 teaches ---- */

static void drop_sent_token(struct registry_op *op)
{
    cleanup_free char *scope = scope_of(op);
    struct registry_token *t;
    HASH_FIND_STR(op->registry->tokens, scope, t);
    if (t && str_eq(t->text, op->sent_token))
        str_replace(&t->text, NULL);
}

static bool learn_bearer(struct registry_op *op, const char *challenge)
{
    struct registry *r = op->registry;
    cleanup_free char *realm = parameter(challenge, "realm");
    cleanup_free char *scope = parameter(challenge, "scope");
    if (!realm || !(str_starts(realm, "https://") || str_starts(realm, "http://")))
        return false;
    r->scheme = SCHEME_BEARER;
    str_replace(&r->realm, realm);
    free(r->service);
    r->service = parameter(challenge, "service");
    if (op->sent_token)
        drop_sent_token(op);
    /* What we asked for ourselves was granted once and not taken: ask for what is said to be missing. */
    cleanup_free char *ours = scope_of(op);
    if (op->renewals > 1 && scope && !strstr(ours, scope))
        str_replace(&op->extra_scope, scope);
    return true;
}

bool auth_challenged(struct registry_op *op, const struct http_response *response)
{
    struct registry *r = op->registry;
    const char *bearer = challenge_of(response, "Bearer");
    /* Whoever was redirected to must not say where our credentials go. */
    const char *answered = response->url ? response->url : op->url;
    if (++op->renewals > RENEWALS_MAX || !registry_is_own(r, op->url) ||
        !registry_is_own(r, answered))
        return false;
    if (bearer)
        return learn_bearer(op, bearer);
    if (!challenge_of(response, "Basic") || !r->username || op->sent_basic)
        return false;
    r->scheme = SCHEME_BASIC;
    return true;
}

void auth_forget(struct registry_op *op)
{
    struct registry_token *t = steal_ptr(op->waits_for);
    if (t)
        DL_DELETE2(t->waiters, op, waiter_prev, waiter_next);
}

void auth_cancel(struct registry *r)
{
    struct registry_token *t, *next;
    HASH_ITER(hh, r->tokens, t, next)
    {
        if (t->http)
            http_request_cancel(t->http);
    }
}

void auth_done(struct registry *r)
{
    struct registry_token *t, *next;
    HASH_ITER(hh, r->tokens, t, next)
    token_free(t);
}
