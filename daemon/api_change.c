/* Changing: by the Unix socket, or with the write token. Each answer is sent once the change is committed. */
#include "common/digest.h"
#include "common/json.h"
#include "daemon/api_status.h"
#include "daemon/config.h"
#include "daemon/upstream.h"

#include <ctype.h>
#include <errno.h>
#include <sys/random.h>

/* Answers 400 to a member that means nothing here. */
static void refuse_member(struct http_call *call, const char *member, const char *name)
{
    if (!member)
        http_respond_error(call, 400, name, "%s: unknown member; this call takes none", name);
    else
        http_respond_error(call, 400, name, "%s: unknown member; this call takes %s", name, member);
}

/* A body that has nothing but this member (NULL: none at all), or NULL: then the call has been answered. */
static json_t *body_of(struct coordinator *c, struct http_call *call, const char *member)
{
    cleanup_free char *stalled = coordinator_stalled(c);
    if (stalled) {
        http_respond_error(call, 503, NULL, "%s", stalled);
        return NULL;
    }
    size_t n;
    http_call_body(call, &n);
    json_t *body = n ? http_call_json(call) : json_object(), *value;
    const char *name;
    json_object_foreach (body, name, value) {
        if (member && str_eq(name, member))
            continue;
        refuse_member(call, member, name);
        json_decref(body);
        return NULL;
    }
    return body;
}

/* A text member; false: the call has been answered with 400. */
static bool need_text(struct http_call *call, const json_t *body, const char *name,
                      const char **ret)
{
    *ret = json_string_value(json_object_get(body, name));
    if (*ret && **ret)
        return true;
    http_respond_error(call, 400, name, "%s: a text is needed, as in {\"%s\": \"...\"}", name,
                       name);
    return false;
}

/* `field`: what in the request names the thing that was asked for. */
static void refuse(struct http_call *call, const char *field, const struct err *err)
{
    unsigned status = err->code == -ENOENT ? 404 : err->code == -EBUSY ? 409 : 400;
    http_respond_error(call, status, field, "%s", err->text);
}

void api_cancel_build(struct http_call *call, void *data)
{
    struct coordinator *c = data;
    const char *id = http_call_param(call, "id");
    cleanup_json json_t *body = body_of(c, call, NULL);
    if (!body)
        return;
    bool number = strspn(id, "0123456789") == strlen(id) && strlen(id) < 19;
    int64_t build = number ? strtoll(id, NULL, 10) : 0;
    struct err err = ERR_INIT;
    if (!number)
        api_not_found(call, "build", id);
    else if (model_on_cancel_build(coordinator_turn(c), build, &err) < 0)
        refuse(call, "build", &err);
    else
        coordinator_reply(c, call, 200, json_pack("{s:I}", "build", (json_int_t)build));
}

void api_cancel_job(struct http_call *call, void *data)
{
    struct coordinator *c = data;
    cleanup_json json_t *body = body_of(c, call, NULL);
    if (!body)
        return;
    struct err err = ERR_INIT;
    if (model_on_cancel_job(coordinator_turn(c), http_call_param(call, "key"), &err) < 0)
        refuse(call, "job", &err);
    else
        coordinator_reply(c, call, 200, json_pack("{s:s}", "job", http_call_param(call, "key")));
}

void api_poll(struct http_call *call, void *data)
{
    struct coordinator *c = data;
    const char *source = NULL;
    cleanup_json json_t *body = body_of(c, call, "source");
    if (!body || !need_text(call, body, "source", &source))
        return;
    const char *url = upstream_poll_now(coordinator_upstream(c), source);
    if (url)
        coordinator_reply(c, call, 202, json_pack("{s:s}", "source", url));
    else
        http_respond_error(call, 404, "source",
                           "no source or image '%.200s'; GET /v1/sources lists them", source);
}

/* What a stopped, or audited, repository is asked for by name. */
static void change_repository(struct coordinator *c, struct http_call *call, bool all,
                              int (*change)(struct model *, const char *, struct err *))
{
    const char *repository = NULL;
    cleanup_json json_t *body = body_of(c, call, "repository");
    const json_t *name = json_object_get(body, "repository");
    bool everything = all && (!name || json_is_null(name));
    if (!body || (!everything && !need_text(call, body, "repository", &repository)))
        return;
    struct err err = ERR_INIT;
    if (change(coordinator_turn(c), repository, &err) < 0)
        refuse(call, "repository", &err);
    else
        coordinator_reply(c, call, all ? 202 : 200, json_pack("{s:s?}", "repository", repository));
}

void api_adopt(struct http_call *call, void *data)
{
    change_repository(data, call, false, model_on_adopt);
}

void api_restore(struct http_call *call, void *data)
{
    change_repository(data, call, false, model_on_restore);
}

void api_audit(struct http_call *call, void *data)
{
    change_repository(data, call, true, model_on_audit);
}

/* ---- boards ---- */

static bool board_name_valid(const char *name)
{
    size_t n = strlen(name);
    if (n < 1 || n > 64 || !isalnum((unsigned char)name[0]))
        return false;
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("._-", *p))
            return false;
    return true;
}

static char *make_secret(void)
{
    unsigned char bytes[32];
    if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
        abort();
    struct strbuf text = {0};
    for (size_t i = 0; i < sizeof(bytes); i++)
        strbuf_addf(&text, "%02x", bytes[i]);
    return strbuf_steal(&text);
}

void api_add_board(struct http_call *call, void *data)
{
    struct coordinator *c = data;
    const char *name = NULL;
    cleanup_json json_t *body = body_of(c, call, "name");
    if (!body || !need_text(call, body, "name", &name))
        return;
    if (!board_name_valid(name)) {
        http_respond_error(
            call, 400, "name",
            "name: 1 to 64 letters, digits, '.', '_' and '-', beginning with a letter or digit");
        return;
    }
    char hash[DIGEST_SIZE];
    cleanup_free char *secret = make_secret();
    digest_of(secret, strlen(secret), hash);
    model_on_board_added(coordinator_turn(c), name, hash);
    coordinator_reply(c, call, 201, json_pack("{s:s,s:s}", "name", name, "secret", secret));
}

/* ---- checking a farm.yaml; reading files is no work for the loop ---- */

struct check {
    struct coordinator *c;
    struct http_call *call; /* NULL: the client has gone */
    char *path;
    bool ok;
    strvec errors;
    uv_work_t work;
};

static void check_work(uv_work_t *w)
{
    struct check *k = w->data;
    struct farm *farm = NULL;
    k->ok = config_read(k->path, &farm, NULL, &k->errors) == 0;
    farm_free(farm);
}

static void check_after(uv_work_t *w, int status)
{
    struct check *k = w->data;
    (void)status;
    if (k->call) {
        json_t *errors = json_array();
        VEC_FOREACH (&k->errors, line)
            json_array_append_new(errors, json_text(*line));
        http_call_on_gone(k->call, NULL, NULL);
        coordinator_reply(k->c, k->call, 200,
                          json_pack("{s:b,s:o}", "ok", k->ok, "errors", errors));
    }
    strvec_done(&k->errors);
    free(k->path);
    free(k);
}

static void check_gone(void *ctx)
{
    struct check *k = ctx;
    k->call = NULL;
}

void api_check(struct http_call *call, void *data)
{
    struct coordinator *c = data;
    const char *path = NULL;
    cleanup_json json_t *body = body_of(c, call, "path");
    if (!body || !need_text(call, body, "path", &path))
        return;
    if (*path != '/') {
        http_respond_error(call, 400, "path",
                           "path: write an absolute one, such as /etc/sheaf/farm.yaml");
        return;
    }
    struct check *k = xnew(struct check);
    *k = (struct check){.c = c, .call = call, .path = xstrdup(path)};
    k->work.data = k;
    http_call_on_gone(call, check_gone, k);
    uv_queue_work(coordinator_loop(c), &k->work, check_work, check_after);
}
