/* From options to a curl handle: every option that curl must be told, and why. */
#include "common/http_client_int.h"

#include "sheaf-config.h"

#include <errno.h>

#define STREAM_BUFFER (256 * 1024)

static void add_request_header(struct http_request *r, const char *line)
{
    for (const char *p = line; *p; p++) {
        if ((unsigned char)*p < ' ' && *p != '\t') {
            http_request_fail(r, -EINVAL, "control character in a request header");
            return;
        }
    }
    r->headers = curl_slist_append(r->headers, line);
}

static void set_headers(struct http_request *r, const struct http_options *o)
{
    add_request_header(r, "Expect:"); /* else curl waits a second for servers that ignore it */
    for (size_t i = 0; o->headers && o->headers[i]; i++)
        add_request_header(r, o->headers[i]);
    if (o->authorization) {
        cleanup_free char *line = xasprintf("Authorization: %s", o->authorization);
        add_request_header(r, line);
    }
    curl_easy_setopt(r->easy, CURLOPT_HTTPHEADER, r->headers);
}

static void set_method_and_body(struct http_request *r, const struct http_options *o)
{
    const char *method = o->method ? o->method : "GET";
    bool bare =
        strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 || strcmp(method, "DELETE") == 0;
    r->body = o->body;
    if (o->body.kind == HTTP_BODY_MEMORY)
        r->body.data = xmemdup(o->body.data, (size_t)o->body.length);
    else
        r->body.data = NULL;
    if (strcmp(method, "HEAD") == 0)
        curl_easy_setopt(r->easy, CURLOPT_NOBODY, 1L);
    else if (o->body.kind != HTTP_BODY_NONE || !bare) {
        /* A POST without a body must say so: Content-Length: 0. */
        curl_easy_setopt(r->easy, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(r->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)r->body.length);
    }
    curl_easy_setopt(r->easy, CURLOPT_CUSTOMREQUEST, strcmp(method, "HEAD") == 0 ? NULL : method);
    if (o->body.kind == HTTP_BODY_FD || o->body.kind == HTTP_BODY_PULL)
        curl_easy_setopt(r->easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)STREAM_BUFFER);
    if (o->body.kind == HTTP_BODY_PULL)
        curl_easy_setopt(r->easy, CURLOPT_FRESH_CONNECT, 1L);
    if (o->sink.kind != HTTP_SINK_MEMORY)
        curl_easy_setopt(r->easy, CURLOPT_BUFFERSIZE, (long)STREAM_BUFFER);
}

static void set_trust(struct http_request *r, const struct http_options *o)
{
    if (o->ca_file)
        curl_easy_setopt(r->easy, CURLOPT_CAINFO, o->ca_file);
    if (!o->pin)
        return;
    if (!*o->pin || !str_starts(o->url, "https://")) {
        /* curl takes an empty pin for none, and a pin without TLS checks nothing. */
        http_request_fail(r, -EINVAL,
                          *o->pin ? "a pinned key wants an https URL" : "the pinned key is empty");
        return;
    }
    cleanup_free char *pin = xasprintf("sha256//%s", o->pin);
    curl_easy_setopt(r->easy, CURLOPT_PINNEDPUBLICKEY, pin);
    curl_easy_setopt(r->easy, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(r->easy, CURLOPT_SSL_VERIFYHOST, 0L);
    /* Parsing the system's bundle would cost 7 MB for nothing. */
    curl_easy_setopt(r->easy, CURLOPT_CAINFO, NULL);
    curl_easy_setopt(r->easy, CURLOPT_CAPATH, NULL);
}

static bool is_loopback(const char *url)
{
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    return str_starts(host, "127.") || str_starts(host, "localhost") || str_starts(host, "[::1]");
}

static void set_url(struct http_request *r, const struct http_options *o)
{
    const char *url = o->url ? o->url : "", *unix_socket = o->unix_socket;
    cleanup_free char *path = NULL, *plain = NULL;
    if (str_starts(url, "http://unix:")) {
        const char *socket_path = url + strlen("http://unix:"), *colon = strchr(socket_path, ':');
        size_t n = colon ? (size_t)(colon - socket_path) : strlen(socket_path);
        unix_socket = path = xstrndup(socket_path, n);
        url = plain = xasprintf("http://localhost%s", colon && colon[1] ? colon + 1 : "/");
    }
    if (unix_socket || is_loopback(url)) /* whatever http_proxy says */
        curl_easy_setopt(r->easy, CURLOPT_PROXY, "");
    if (unix_socket)
        curl_easy_setopt(r->easy, CURLOPT_UNIX_SOCKET_PATH, unix_socket);
    if (curl_easy_setopt(r->easy, CURLOPT_URL, url) != CURLE_OK)
        http_request_fail(r, -EINVAL, "bad URL");
    bool tls = str_starts(url, "https://");
    curl_easy_setopt(r->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(r->easy, CURLOPT_REDIR_PROTOCOLS_STR, tls ? "https" : "http,https");
    curl_easy_setopt(r->easy, CURLOPT_FOLLOWLOCATION, o->redirects > 0 ? 1L : 0L);
    curl_easy_setopt(r->easy, CURLOPT_MAXREDIRS, (long)o->redirects);
}

static long or_default(int64_t ms, long by_default)
{
    return ms > 0 ? (long)ms : ms == 0 ? by_default : 0;
}

static void set_times(struct http_request *r, const struct http_options *o)
{
    /* For curl 0 means 300 s to connect; "for ever" is 20 days: it fits a 32-bit long. */
    long connect = or_default(o->connect_ms, HTTP_CONNECT_MS_DEFAULT);
    curl_easy_setopt(r->easy, CURLOPT_CONNECTTIMEOUT_MS, connect ? connect : 20L * 86400 * 1000);
    curl_easy_setopt(r->easy, CURLOPT_TIMEOUT_MS, or_default(o->total_ms, 0));
    r->stall_ms = or_default(o->stall_ms, HTTP_STALL_MS_DEFAULT);
}

void http_request_prepare(struct http_request *r, const struct http_options *o)
{
    r->easy = curl_easy_init();
    if (!r->easy)
        abort();
    http_request_set_callbacks(r);
    curl_easy_setopt(r->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(r->easy, CURLOPT_QUICK_EXIT, 1L); /* else a hung look-up blocks a cancel */
    curl_easy_setopt(r->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(r->easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(r->easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(r->easy, CURLOPT_SUPPRESS_CONNECT_HEADERS,
                     1L); /* a proxy's answer is not ours */
    curl_easy_setopt(r->easy, CURLOPT_USERAGENT, "sheaf/" SHEAF_VERSION);
    set_url(r, o);
    set_trust(r, o);
    set_times(r, o);
    set_method_and_body(r, o);
    set_headers(r, o);
}
