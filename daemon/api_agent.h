/* The agents' listener: sessions, polls, contexts, logs, results. */
#pragma once

#include "daemon/http_server.h"

/* Its routes (wire.h says what they carry); their handlers' data is the coordinator. *ret_n: how many. Static. */
const struct http_route *api_agent_routes(size_t *ret_n);
