/* What a handler can ask of a request. */
#include "daemon/http_server_int.h"

#include <strings.h>

const char *http_call_method(const struct http_call *call)
{
    return call->method;
}

const char *http_call_path(const struct http_call *call)
{
    return call->path;
}

const char *http_call_param(const struct http_call *call, const char *name)
{
    const char *value = http_params_get(&call->params, name);
    return value ? value : "";
}

const char *http_call_query(struct http_call *call, const char *name)
{
    char *value = http_query_get(call->query, name);
    if (value)
        vec_push(&call->query_values, value);
    return value;
}

const char *http_call_query_string(struct http_call *call)
{
    return call->query;
}

const char *http_call_header(const struct http_call *call, const char *name)
{
    return call->conn ? MHD_lookup_connection_value(call->conn->mhd, MHD_HEADER_KIND, name) : NULL;
}

const char *http_call_bearer(const struct http_call *call)
{
    const char *value = http_call_header(call, "Authorization");
    if (!value || strncasecmp(value, "Bearer ", 7) != 0)
        return NULL;
    value += 7;
    return value + strspn(value, " ");
}

const char *http_call_body(const struct http_call *call, size_t *ret_n)
{
    if (ret_n)
        *ret_n = call->body.n;
    return strbuf_str(&call->body);
}

json_t *http_call_json(struct http_call *call)
{
    json_error_t error;
    json_t *json =
        json_loadb(strbuf_str(&call->body), call->body.n, JSON_REJECT_DUPLICATES, &error);
    if (json_is_object(json))
        return json;
    if (json)
        http_respond_error(call, 400, "body", "the body is no JSON object; send one, such as {}");
    else
        http_respond_error(call, 400, "body", "the body is no JSON: line %d, column %d: %s",
                           error.line, error.column, error.text);
    json_decref(json);
    return NULL;
}

int64_t http_call_length(const struct http_call *call)
{
    return call->length;
}

enum http_listener_kind http_call_listener_kind(const struct http_call *call)
{
    return call->listener->kind;
}

uid_t http_call_peer_uid(const struct http_call *call)
{
    return call->conn ? call->conn->uid : (uid_t)-1;
}

const char *http_call_peer(const struct http_call *call)
{
    return call->conn ? call->conn->peer : "";
}

bool http_call_alive(const struct http_call *call)
{
    return !call->dead && !call->answered;
}
