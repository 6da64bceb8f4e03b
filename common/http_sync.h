/* Blocking HTTP, for programs that do one thing after the other: a private loop with a client, so that
 * connections are used again from one request to the next. */
#pragma once

#include "common/http_client.h"

struct http_sync;

/* A loop and a client of its own. Belongs to one thread. The caller owns it. */
struct http_sync *http_sync_new(void);
/* Frees it. NULL is fine. Not from inside a callback. */
void http_sync_free(struct http_sync *sync);
DEFINE_CLEANUP(struct http_sync *, http_sync_free)
#define cleanup_http_sync cleanup_(http_sync_freep)

/* Its client, for what builds on one (registry_new). Borrowed. */
struct http_client *http_sync_client(struct http_sync *sync);

/* Does one request; returns when it is over. options->done and ->arg of it are not used unless a push,
 * pull or response function is given, which get `arg`. 0 when an answer came, whatever its status, and
 * then *ret_response is the caller's to http_response_done; else an error, -ECANCELED after an
 * interrupt. */
int http_sync_request(struct http_sync *sync, const struct http_options *options,
                      struct http_response *ret_response, struct err *err);

/* Ends what is under way, and everything later, with -ECANCELED. For signal handlers and other
 * threads. */
void http_sync_interrupt(struct http_sync *sync);

/* Runs the loop until *done is true or `sync` was interrupted and has nothing left to do. */
void http_sync_run(struct http_sync *sync, const bool *done);
