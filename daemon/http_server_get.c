/* What a handler can ask of a request. */
#include "daemon/http_server_int.h"

#include <strings.h>

const char *http_request_method(const struct http_request *req)
{
    return req->method;
}

const char *http_request_path(const struct http_request *req)
{
    return req->path;
}

const char *http_request_param(const struct http_request *req, const char *name)
{
    const char *value = http_params_get(&req->params, name);
    return value ? value : "";
}

const char *http_request_query(struct http_request *req, const char *name)
{
    char *value = http_query_get(req->query, name);
    if (value)
        vec_push(&req->query_values, value);
    return value;
}

const char *http_request_query_string(struct http_request *req)
{
    return req->query;
}

const char *http_request_header(const struct http_request *req, const char *name)
{
    return req->conn ? MHD_lookup_connection_value(req->conn->mhd, MHD_HEADER_KIND, name) : NULL;
}

const char *http_request_bearer(const struct http_request *req)
{
    const char *value = http_request_header(req, "Authorization");
    if (!value || strncasecmp(value, "Bearer ", 7) != 0)
        return NULL;
    value += 7;
    return value + strspn(value, " ");
}

const char *http_request_body(const struct http_request *req, size_t *ret_n)
{
    if (ret_n)
        *ret_n = req->body.n;
    return strbuf_str(&req->body);
}

json_t *http_request_json(struct http_request *req)
{
    json_error_t error;
    json_t *json = json_loadb(strbuf_str(&req->body), req->body.n, JSON_REJECT_DUPLICATES, &error);
    if (json_is_object(json))
        return json;
    if (json)
        http_respond_error(req, 400, NULL, "the body is no JSON object");
    else
        http_respond_error(req, 400, NULL, "the body is no JSON: line %d, column %d: %s",
                           error.line, error.column, error.text);
    json_decref(json);
    return NULL;
}

int64_t http_request_length(const struct http_request *req)
{
    return req->length;
}

enum http_listener_kind http_request_listener_kind(const struct http_request *req)
{
    return req->listener->kind;
}

uid_t http_request_peer_uid(const struct http_request *req)
{
    return req->conn ? req->conn->uid : (uid_t)-1;
}

const char *http_request_peer(const struct http_request *req)
{
    return req->conn ? req->conn->peer : "";
}

bool http_request_alive(const struct http_request *req)
{
    return !req->dead && !req->answered;
}
