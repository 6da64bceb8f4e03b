/* The status API (docs/api.md): reading in api_status.c, changing in api_change.c, streams in stream.c. */
#pragma once

#include "daemon/coordinator.h"
#include "daemon/store_history.h"

struct api_status;
struct stream;

/* Its routes; their handlers' data is the coordinator. *ret_n: how many. Static. */
const struct http_route *api_status_routes(size_t *ret_n);
/* What the handlers keep: the history's connection and the event streams. The caller owns it. */
struct api_status *api_status_new(struct coordinator *c);
/* NULL is fine. */
void api_status_free(struct api_status *api);

/* coordinator.c: the one of this coordinator. Borrowed. */
struct api_status *coordinator_api(const struct coordinator *c);
/* Its history. Borrowed. */
struct store_history *api_status_history(const struct api_status *api);
/* Its event streams. Borrowed. */
struct stream *api_status_stream(const struct api_status *api);

/* A whole number of the query from `min` to `max`; `fallback` when it is absent. False: answered with 400. */
bool api_query_number(struct http_call *call, const char *name, int64_t min, int64_t max,
                      int64_t fallback, int64_t *ret);
/* Answers 404: there is no such `kind` ("track", "build", "job") as `name`. */
void api_not_found(struct http_call *call, const char *kind, const char *name);

/* api_log.c: GET /v1/jobs/{key}/log */
void api_get_log(struct http_call *call, void *data);

/* ---- api_change.c: handlers of everything that changes something ---- */
/* POST /v1/builds/{id}/cancel */
void api_cancel_build(struct http_call *call, void *data);
/* POST /v1/jobs/{key}/cancel */
void api_cancel_job(struct http_call *call, void *data);
/* POST /v1/sources/poll */
void api_poll(struct http_call *call, void *data);
/* POST /v1/boards */
void api_add_board(struct http_call *call, void *data);
/* POST /v1/config/check */
void api_check(struct http_call *call, void *data);
/* POST /v1/repositories/adopt */
void api_adopt(struct http_call *call, void *data);
/* POST /v1/repositories/restore */
void api_restore(struct http_call *call, void *data);
/* POST /v1/repositories/audit */
void api_audit(struct http_call *call, void *data);

/* ---- api_command.c ---- */
/* POST /v1/tracks/{id}/VERB, /v1/jobs/{key}/retry, /v1/freeze, /v1/thaw */
void api_command(struct http_call *call, void *data);

/* ---- api_what_if.c ---- */
/* POST /v1/what-if */
void api_what_if(struct http_call *call, void *data);
