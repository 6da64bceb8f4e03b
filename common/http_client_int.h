/* What the files of the HTTP client share; they are the only users of curl. Not for others. */
#pragma once

#include "common/http_client.h"

#include <curl/curl.h>

struct http_client {
    uv_loop_t *loop;
    CURLM *multi;
    uv_timer_t timer;
    uv_idle_t idle;
    struct http_request *requests; /* every one whose `done` has not been called */
    struct http_request *pending;  /* those with a step due */
    struct watch *watches;
    size_t handles; /* uv handles that are not closed yet */
    bool shut, freed;
};

struct http_request {
    struct http_client *client;
    struct http_request *prev, *next;
    struct http_request *pending_prev, *pending_next;
    CURL *easy;
    struct curl_slist *headers;
    char detail[CURL_ERROR_SIZE];
    uv_timer_t stall;
    int64_t moved_ms, stall_ms;

    struct http_body body; /* .data is owned */
    struct http_sink sink;
    http_response_fn on_response;
    http_done_fn done;
    void *arg;
    int redirects;
    bool once;

    struct http_response response;
    struct err err;
    int64_t sent;
    size_t header_bytes;
    size_t dropped;    /* bytes of an error's text beyond what is kept */
    bool pending_step; /* on client->pending */
    bool attached;     /* curl's multi has it */
    bool answered;     /* on_response was called */
    bool finished;     /* the outcome is decided */
    bool delivered;    /* `done` was called */
    bool paused_recv, paused_send, resume;
};

/* Decides that a request ends with `code`, unless its end is decided already. Safe inside curl's
 * callbacks. */
void http_request_fail(struct http_request *r, int code, const char *what);
/* Decides that a request ends with the answer that it has. Safe inside curl's callbacks. */
void http_request_finish(struct http_request *r);

/* http_client_setup.c: makes the easy handle from the options; what is wrong with them fails the
 * request. */
void http_request_prepare(struct http_request *r, const struct http_options *options);

/* http_client_stream.c: sets curl's callbacks for header, body and socket. */
void http_request_set_callbacks(struct http_request *r);
/* http_client_stream.c: tells the caller that the final answer's header is complete; once. */
void http_request_answer(struct http_request *r);
