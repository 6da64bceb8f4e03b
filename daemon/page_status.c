#include "daemon/page_status.h"

#include "daemon/page_status_html.h"

void page_status(struct http_call *call, void *data)
{
    /* Nothing from elsewhere is loaded, and nobody frames it. */
    static const struct http_field headers[] = {
        {"Content-Type", "text/html; charset=utf-8"},
        {"Content-Security-Policy",
         "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
         "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
         "frame-ancestors 'none'"},
        {"X-Content-Type-Options", "nosniff"},
        {"Referrer-Policy", "no-referrer"},
        {"Cache-Control", "no-cache"},
        {NULL, NULL}};
    http_respond_static(call, 200, headers, page_status_html, sizeof(page_status_html) - 1);
}
