#include "common/http_client.h"

#include <strings.h>

const char *http_response_header_nth(const struct http_response *response, const char *name,
                                     size_t n)
{
    VEC_FOREACH (&response->headers, h) {
        if (strcasecmp(h->name, name) == 0 && n-- == 0)
            return h->value;
    }
    return NULL;
}

const char *http_response_header(const struct http_response *response, const char *name)
{
    return http_response_header_nth(response, name, 0);
}

void http_response_done(struct http_response *response)
{
    VEC_FOREACH (&response->headers, h) {
        free(h->name);
        free(h->value);
    }
    vec_free(&response->headers);
    strbuf_done(&response->body);
    free(response->url);
    *response = (struct http_response){0};
}
