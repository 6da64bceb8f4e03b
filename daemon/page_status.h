/* The status page: one HTML file, built into the program. */
#pragma once

#include "daemon/http_server.h"

/* Handler for GET /: answers with the page, which reads everything else by the API. */
void page_status(struct http_call *call, void *data);
