/* The coordinator: owns the loop and runs the turn.
 *
 *     events -> model -> store (one transaction) -> effects
 *
 * Whoever has an event calls coordinator_turn and then any model_on_… functions. The turn ends with the loop's pass;
 * what it decided joins the batch that gathers, and its effects start when that batch is committed. */
#pragma once

#include "common/err.h"
#include "daemon/http_server.h"
#include "daemon/model/model.h"
#include "daemon/publish.h"
#include "daemon/registries.h"
#include "daemon/resolve.h"
#include "daemon/store.h"

#include <uv.h>

struct coordinator;
struct gateway;
struct logs;
struct upstream;

/* Arguments of sheafd; NULL: what farm.yaml says. */
struct coordinator_options {
    const char *config;        /* path of farm.yaml */
    const char *state;         /* folder */
    const char *listen_agents; /* HOST:PORT */
    const char *listen_status;
    const char *socket;
};

/* Opens the store, loads it, opens the listeners and begins to watch. Blocks while it loads; the loop is the caller's
 * to run. The caller owns *ret. */
int coordinator_start(uv_loop_t *loop, const struct coordinator_options *options,
                      struct coordinator **ret, struct err *err);
/* Reads farm.yaml again; a bad file changes nothing and is logged. */
void coordinator_reload(struct coordinator *c);
/* Stops: answers what waits, commits what was decided, closes everything; the loop then runs out of handles. `status`
 * is the program's exit status. */
void coordinator_stop(struct coordinator *c, int status);
/* After the loop has run out: frees it and returns the exit status. */
int coordinator_free(struct coordinator *c);

/* ---- for the parts that bring events ---- */

/* Begins the pass's turn, if it is not begun, and returns the model for model_on_… calls. */
struct model *coordinator_turn(struct coordinator *c);
/* The model for who only reads: a turn decides nothing by it. While the store has no room it is one of what is committed
 * (committed.h), and to be had if coordinator_wait has just said so. */
struct model *coordinator_look(struct coordinator *c);
/* Whether a reader has to wait before coordinator_look: then its handler is called once more. */
bool coordinator_wait(struct coordinator *c, struct http_call *call);
/* A number that changes when the store has no room, and when it has some again: what was read before that is not to be
 * told together with what is read after it. */
uint64_t coordinator_view(const struct coordinator *c);
/* A number that changes whenever what a reader sees may have changed: no text counts seconds. */
uint64_t coordinator_moment(const struct coordinator *c);
/* Whether what coordinator_look shows may be told at once, since all of it is committed. */
bool coordinator_settled(const struct coordinator *c);
/* The model, for reading. */
struct model *coordinator_model(struct coordinator *c);
/* The farm that runs. Borrowed until the next reload. */
const struct farm *coordinator_farm(const struct coordinator *c);
/* That of the model that coordinator_look gives, held until the caller's farm_free. */
struct farm *coordinator_hold_shown_farm(const struct coordinator *c);
/* Its loop. */
uv_loop_t *coordinator_loop(const struct coordinator *c);
/* The jobs' logs. */
struct logs *coordinator_logs(const struct coordinator *c);
/* Its upstreams. */
struct upstream *coordinator_upstream(const struct coordinator *c);
/* Its server. */
struct http_server *coordinator_server(const struct coordinator *c);
/* The boards' registry. */
struct gateway *coordinator_gateway(const struct coordinator *c);
/* Its registries. */
struct registries *coordinator_registries(const struct coordinator *c);
/* Its store. */
struct store *coordinator_store(const struct coordinator *c);
/* The folder of its state. */
const char *coordinator_state(const struct coordinator *c);
/* Wall-clock milliseconds of its start. */
int64_t coordinator_started_at(const struct coordinator *c);

/* Why nothing can be changed at present (the store has no room), or NULL. The caller owns the answer. */
char *coordinator_stalled(struct coordinator *c);
/* A token for model_on_… calls whose EFFECT_REPLY answers `call`; `closed` (may be NULL) is called when the client
 * goes away first. */
uint64_t coordinator_token(struct coordinator *c, struct http_call *call,
                           void (*closed)(struct coordinator *c, uint64_t token));
/* Answers `call` with JSON (taken over) once what it was made from is committed. */
void coordinator_reply(struct coordinator *c, struct http_call *call, unsigned status,
                       json_t *json);
/* Answers a reader with 200 and JSON (taken over) once all of it is committed. If there turns out to be no room for that,
 * its handler is called once more, to read what is committed. `view` is coordinator_view when it began to read. */
void coordinator_tell(struct coordinator *c, struct http_call *call, json_t *json, uint64_t view);
/* As coordinator_tell with n bytes of JSON text (taken over) that were read just now. */
void coordinator_tell_text(struct coordinator *c, struct http_call *call, char *text, size_t n);

/* Adds to an answer what its turn has planned. */
typedef void (*coordinator_planned_fn)(struct model *m, json_t *json);
/* As coordinator_reply, inside a turn; at the turn's end, `planned` adds what came of it. */
void coordinator_reply_planned(struct coordinator *c, struct http_call *call, unsigned status,
                               json_t *json, coordinator_planned_fn planned);

/* Called after every commit that changed something, with a number that rises: for event streams. */
typedef void (*coordinator_changed_fn)(void *data, uint64_t turn, const bool tables[TABLE_COUNT]);
/* Sets who is told of changes; NULL ends it. */
void coordinator_on_change(struct coordinator *c, coordinator_changed_fn changed, void *data);
