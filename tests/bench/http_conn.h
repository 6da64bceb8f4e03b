/* Many kept HTTP connections to a server of this machine, on one epoll: what load is made with. No chunked answers,
 * one request at a time on each. Whatever goes wrong ends the program. */
#pragma once

#include "common/mem.h"

struct load {
    int epoll;
    bool stopped;
};

struct conn {
    struct load *load;
    int fd;
    struct strbuf in, out;
    size_t sent;
    /* Called with each answer; may send the next request. */
    void (*on_answer)(struct conn *conn, int status, const char *body, size_t n);
    void *data;
};

/* Makes the loop. */
void load_init(struct load *load);
/* Runs until load->stopped or `ms` (0: for ever) have passed. */
void load_run(struct load *load, int64_t ms);
/* Nanoseconds of the monotonic clock. */
int64_t load_now(void);

/* Opens a connection to 127.0.0.1:port, or to a Unix socket where `path` is given. `conn` must stay where it is. */
void conn_open(struct conn *conn, struct load *load, int port, const char *path);
/* Sends a request; `secret` (a bearer's) and `body` may be NULL. */
void conn_send(struct conn *conn, const char *method, const char *path, const char *secret,
               const char *body);
