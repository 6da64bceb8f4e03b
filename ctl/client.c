/* Talking to the coordinator, and what comes of it as an exit status. */
#include "common/json.h"
#include "ctl/ctl.h"

#include <errno.h>
#include <stdarg.h>

#define ANSWER_MAX (64 * 1024 * 1024)

int ctl_say(int status, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("sheafctl: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    return status;
}

int ctl_print_json(json_t *json)
{
    json_dumpf(json, stdout, JSON_INDENT(2));
    fputc('\n', stdout);
    return CTL_OK;
}

char *ctl_escape(const char *s)
{
    struct strbuf b = {0};
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     strchr("-._~:@", c);
        if (plain)
            strbuf_addc(&b, (char)c);
        else
            strbuf_addf(&b, "%%%02X", c);
    }
    return strbuf_steal(&b);
}

static struct http_options options_for(struct ctl *ctl, const char *method, const char *url)
{
    return (struct http_options){.method = method,
                                 .url = url,
                                 .authorization = ctl->authorization,
                                 .unix_socket = ctl->url ? NULL : ctl->socket,
                                 .sink = http_sink_memory(ANSWER_MAX)};
}

static char *url_of(const struct ctl *ctl, const char *path)
{
    const char *base = ctl->url ? ctl->url : "http://sheaf";
    size_t n = strlen(base);
    while (n && base[n - 1] == '/')
        n--;
    return xasprintf("%.*s%s", (int)n, base, path);
}

static int say_away(const struct ctl *ctl, const struct err *err)
{
    if (ctl->quiet_away)
        return CTL_AWAY;
    return ctl_say(CTL_AWAY, "no coordinator answers at %s: %s", ctl->url ? ctl->url : ctl->socket,
                   err->text);
}

/* Says what an answer that is not 2xx means. The API's texts name the field where that is of use. */
static int refused(int http_status, const struct strbuf *body)
{
    int status = http_status == 404 ? CTL_NOT_FOUND : CTL_FAILED;
    json_t *json = json_loadb(strbuf_str(body), body->n, 0, NULL);
    const char *error = j_str(json, "error");
    if (*error)
        ctl_say(status, "%s", error);
    else
        ctl_say(status, "the coordinator answers %d", http_status);
    json_decref(json);
    return status;
}

static int request(struct ctl *ctl, const struct http_options *options, json_t **ret)
{
    cleanup_http_response struct http_response response = {0};
    struct err err = ERR_INIT;
    if (http_sync_request(ctl->sync, options, &response, &err) < 0)
        return say_away(ctl, &err);
    if (!http_response_ok(&response))
        return refused(response.status, &response.body);
    if (json_parse(strbuf_str(&response.body), response.body.n, ANSWER_MAX, ret, &err) < 0)
        return ctl_say(CTL_FAILED, "the answer is no JSON: %s", err.text);
    return CTL_OK;
}

int ctl_get(struct ctl *ctl, json_t **ret, const char *fmt, ...)
{
    cleanup_free char *path = NULL;
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&path, fmt, ap) < 0)
        abort();
    va_end(ap);
    cleanup_free char *url = url_of(ctl, path);
    struct http_options options = options_for(ctl, "GET", url);
    return request(ctl, &options, ret);
}

int ctl_post(struct ctl *ctl, json_t *body, json_t **ret, const char *fmt, ...)
{
    cleanup_free char *path = NULL;
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&path, fmt, ap) < 0)
        abort();
    va_end(ap);
    cleanup_free char *url = url_of(ctl, path), *text = json_canonical(body);
    json_decref(body);
    struct http_options options = options_for(ctl, "POST", url);
    options.headers = (const char *const[]){"Content-Type: application/json", NULL};
    options.body = http_body_memory(text, strlen(text));
    if (str_eq(path, "/v1/what-if"))
        options.stall_ms = HTTP_FOREVER; /* much may follow */
    return request(ctl, &options, ret);
}

struct stream {
    struct strbuf *text; /* NULL: standard output */
    int64_t written, attempt;
};

static int write_piece(void *arg, const char *data, size_t n)
{
    struct stream *s = arg;
    if (s->text && s->text->n + n > ANSWER_MAX)
        return -EMSGSIZE;
    if (s->text)
        strbuf_addn(s->text, data, n);
    else if (fwrite(data, 1, n, stdout) != n || fflush(stdout) != 0)
        return -EPIPE;
    s->written += (int64_t)n;
    return 0;
}

static void note_attempt(void *arg, const struct http_response *response)
{
    struct stream *s = arg;
    const char *attempt = http_response_header(response, "Sheaf-Attempt");
    s->attempt = attempt ? strtoll(attempt, NULL, 10) : 0;
}

int ctl_stream(struct ctl *ctl, const char *path, struct strbuf *text, int64_t *ret_written,
               int64_t *ret_attempt)
{
    cleanup_free char *url = url_of(ctl, path);
    cleanup_http_response struct http_response response = {0};
    struct err err = ERR_INIT;
    struct stream s = {.text = text};
    struct http_options options = options_for(ctl, "GET", url);
    options.sink = http_sink_push(write_piece);
    options.on_response = note_attempt;
    options.arg = &s;
    options.stall_ms = HTTP_FOREVER; /* a recipe may be silent for long */
    int r = http_sync_request(ctl->sync, &options, &response, &err);
    *ret_written = s.written;
    *ret_attempt = s.attempt;
    if (r == 0 && !http_response_ok(&response))
        r = refused(response.status, &response.body);
    else if (r == -EPIPE)
        r = CTL_FAILED;
    else if (r == -EMSGSIZE)
        r = ctl_say(CTL_FAILED, "the log is too long for --json; ask for it without");
    else if (r < 0)
        r = say_away(ctl, &err);
    return r;
}

const char *j_str(const json_t *o, const char *name)
{
    const char *s = json_string_value(json_object_get(o, name));
    return s ? s : "";
}

int64_t j_int(const json_t *o, const char *name, int64_t otherwise)
{
    const json_t *v = json_object_get(o, name);
    return json_is_number(v) ? (int64_t)json_number_value(v) : otherwise;
}

bool j_true(const json_t *o, const char *name)
{
    return json_is_true(json_object_get(o, name));
}

json_t *j_of(const json_t *o, const char *name)
{
    json_t *v = json_object_get(o, name);
    return json_is_object(v) || json_is_array(v) ? v : NULL;
}

const char *j_reason(const json_t *o, const char *name)
{
    const json_t *reason = j_of(o, name);
    const char *text = j_str(reason, "text");
    return *text ? text : j_str(reason, "code");
}
