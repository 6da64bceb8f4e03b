/* A small application on the HTTP server, in a thread of its own, for the tests to talk to. */
#pragma once

#include "daemon/http_server.h"

struct http_app;

/* What the application has seen; read by the tests while it runs. */
struct http_app_counters {
    volatile unsigned gone;         /* requests whose client went away */
    volatile unsigned waiting;      /* long polls held */
    volatile unsigned streams_done; /* streams that ended, */
    volatile unsigned streams_cut;  /* those of them that were not complete */
    volatile unsigned long sunk;    /* bytes of streamed bodies */
};

/* Starts it with a TCP listener on 127.0.0.1 (all of `options` but address, routes and data is kept)
 * and, when unix_path is given, one there too. */
struct http_app *http_app_start(const struct http_listener_options *options, const char *unix_path);
/* The TCP port. */
unsigned http_app_port(const struct http_app *app);
/* Its counters. */
struct http_app_counters *http_app_counters(struct http_app *app);
/* Answers every long poll that is held, all in one turn. */
void http_app_wake(struct http_app *app);
/* Stops with this grace, joins the thread and frees it. */
void http_app_stop(struct http_app *app, unsigned grace_ms);
