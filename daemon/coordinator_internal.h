/* Shared by coordinator.c (the turn) and coordinator_start.c (wiring). */
#pragma once

#include "common/wire.h"
#include "daemon/audit.h"
#include "daemon/committed.h"
#include "daemon/coordinator.h"
#include "daemon/gateway.h"
#include "daemon/logs.h"
#include "daemon/upstream.h"

#include <uthash.h>

/* An answer that waits for the commit of what it tells. */
struct reply {
    struct http_call *call; /* NULL: the client has gone */
    unsigned status;
    json_t *json;
    char *text; /* instead of json */
    size_t n;
    coordinator_planned_fn planned; /* NULL: the answer is whole */
    bool reader;                    /* it may as well be answered with what is committed already */
};
typedef VEC(struct reply *) reply_list;

/* What one or more turns decided. */
struct batch {
    struct turn turn;
    reply_list replies;
    struct farm *farm; /* held: what it was decided for, where that is new; else NULL */
};

struct waiting_call;
struct parked_call;

struct coordinator {
    uv_loop_t *loop;
    char *config, *state;
    struct coordinator_options options; /* copied texts */
    struct farm *farm;
    struct model *model;
    struct store *store;
    struct http_server *server;
    struct http_client *client;
    struct registries *registries;
    struct publisher *publisher;
    struct resolver *resolver;
    struct auditor *auditor;
    struct upstream *upstream;
    struct logs *logs;
    struct gateway *gateway;
    struct wire_job rights_job; /* what the gateway's last look-up was answered with */
    VEC(struct gateway_base) rights_bases;
    struct api_status *status;
    struct http_route *agent_routes; /* the agents' and the gateway's, in one table */
    struct http_listener *agents_listener, *status_listener;

    uv_check_t check; /* ends the pass's turn */
    uv_idle_t idle;   /* keeps the loop from sleeping before that */
    uv_timer_t timer; /* model_next_due */
    bool in_turn, stopping;
    bool acted;      /* the turn has had an event, not only readers */
    uint64_t moment; /* changes with each event, and with the end of its turn */
    int exit_status;
    struct batch gathering, committing;
    bool changed[TABLE_COUNT], committing_tables[TABLE_COUNT];
    uint64_t turn_number;
    bool stalled;  /* the store has no room: told by it */
    uint64_t view; /* counts the beginnings and ends of stalls */
    bool reload;   /* wanted as soon as there is room */
    int64_t stall_began, stalled_ms;
    struct committed *committed; /* for readers in a stall; NULL until one comes */
    struct farm *committed_farm; /* held: what is committed was decided for it */
    struct parked_call *parked;  /* readers that wait for `committed` */
    int64_t started_at;
    uint64_t last_token;
    struct waiting_call *calls;
    coordinator_changed_fn on_change;
    void *on_change_data;
};

/* Frees a reply that will not be sent. */
void reply_free(struct reply *r);
/* Begins the pass's turn, if it is not begun. */
void coordinator_begin(struct coordinator *c);
/* The clock that deadlines use: monotonic, and standing still while the store has no room. */
int64_t coordinator_now(const struct coordinator *c);
/* The store has no room, or has some again. */
void coordinator_on_stall(void *data, bool stalled);
/* The loop's timer fires when the model is due next. */
void coordinator_arm_timer(struct coordinator *c);
/* Answers the readers that wait for what is committed: nobody will. */
void coordinator_end_readers(struct coordinator *c);
/* Ends the pass's turn. */
void coordinator_on_check(uv_check_t *check);
/* Stops itself. */
void coordinator_on_idle(uv_idle_t *idle);
/* A publisher's step has ended. */
void coordinator_on_published(void *data, const struct publish_outcome *outcome);
/* An audit has ended. */
void coordinator_on_audited(void *data, const struct audit_outcome *outcome);
/* A look at an outside base has ended. */
void coordinator_on_resolved(void *data, const struct resolve_outcome *outcome);
/* Answers the boards' open polls: they are not to hold up a stop. */
void coordinator_end_polls(struct coordinator *c);
