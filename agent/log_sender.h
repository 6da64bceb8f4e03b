/* Sends one lease's log from the spool to the coordinator: PATCH at an offset, from where the coordinator
 * says. Pieces wait until there are 64 KiB or 200 ms have passed; after a failure, with growing delays. The
 * bytes go from the file to the socket: memory stays flat, however long the log. */
#pragma once

#include "agent/spool.h"
#include "common/http_client.h"

struct log_sender;

struct log_sender_options {
    struct http_client *client;
    const char *coordinator; /* base URL; outlives the sender */
    struct spool_job *job;   /* borrowed */
    bool online;             /* whether there is a coordinator to send to, to begin with */
    /* Called once, from the loop, after log_sender_finish: all has arrived, or is not wanted. */
    void (*on_sent)(void *arg, const char *lease);
    void *arg;
};

/* A sender that begins at offset 0. The caller owns it. */
struct log_sender *log_sender_new(const struct log_sender_options *options);
/* Stops; `on_sent` does not come any more. The job may go at once; the rest goes when the loop lets it.
 * NULL is fine. */
void log_sender_free(struct log_sender *sender);
/* The log has grown. */
void log_sender_wake(struct log_sender *sender);
/* The log will not grow any more: send what is left without waiting. */
void log_sender_finish(struct log_sender *sender);
/* The coordinator can be reached again, or not any more. */
void log_sender_set_online(struct log_sender *sender, bool online);
