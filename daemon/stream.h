/* Answers that stay open: the event stream, and logs that are followed. */
#pragma once

#include "daemon/coordinator.h"

struct stream;

/* Listens to the coordinator's changes and its logs' growth. The caller owns it. */
struct stream *stream_new(struct coordinator *c);
/* Forgets it; what is open is ended by the server's stop, before this. NULL is fine. */
void stream_free(struct stream *s);

/* Ends what is open: the coordinator stops. Logs that are followed break off, so that nobody takes them for whole. */
void stream_end(struct stream *s);

/* Answers with the event stream. */
void stream_events(struct stream *s, struct http_call *call);
/* Answers with the log of an attempt from `offset` on, and with what is added to it until the attempt ends; takes the
 * descriptor over. */
void stream_log(struct stream *s, struct http_call *call, const char *key, int64_t attempt, int fd,
                int64_t offset);
