/* A scripted HTTP server in a thread, for what real servers do too rarely: the handler writes the raw
 * bytes of each answer itself. */
#pragma once

#include <stddef.h>

struct tiny_http;

/* One request: its header as text ("GET /path HTTP/1.1\r\n…") and its body (by Content-Length or chunks,
 * decoded, at most 4 MiB kept). `socket` takes the answer (tiny_answer or plain writes). The return
 * value says whether the connection stays open. Called in the connection's own thread. */
typedef int (*tiny_handler)(void *arg, int socket, const char *header, const char *body, size_t n);

/* Listens on a free loopback port, or on the Unix socket `path` when that is not NULL. */
struct tiny_http *tiny_http_new(const char *path, tiny_handler handler, void *arg);
/* Ends it and all its connections. */
void tiny_http_free(struct tiny_http *server);
/* "http://127.0.0.1:PORT"; borrowed. */
const char *tiny_http_url(const struct tiny_http *server);
/* Connections accepted so far. */
int tiny_http_connections(const struct tiny_http *server);
/* Writes a printf-formatted text whole; errors are ignored (the client may have gone). */
void tiny_answer(int socket, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
