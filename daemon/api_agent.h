/* The agents' listener: sessions, polls, contexts, logs, results. */
#pragma once

#include "daemon/http_server.h"

/* Its routes (wire.h says what they carry); their handlers' data is the coordinator. *ret_n: how many. Static. */
const struct http_route *api_agent_routes(size_t *ret_n);
/* The listener's `admit`: lets in whoever's secret is known, before a body is read. */
void api_agent_admit(struct http_call *call, void *data);
