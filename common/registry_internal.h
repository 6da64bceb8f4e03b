/* What the files of the registry client share. Not for others. */
#pragma once

#include "common/http_client.h"
#include "common/registry.h"

#include <uthash.h>
#include <uv.h>

#define REDIRECTS_MAX 5
/* A document (a manifest, tags, a token) is here after so long, or it is not coming. */
#define DOCUMENT_MS  (10 * 60 * 1000)
#define RENEWALS_MAX 3 /* to learn the scheme, to replace a token, to ask for a wider scope */

enum registry_scheme { SCHEME_UNKNOWN, SCHEME_NONE, SCHEME_BASIC, SCHEME_BEARER };

/* One bearer token, by scope; kept, and shared by all operations that want this scope. */
struct registry_token {
    struct registry *registry;
    char *scope;
    char *text; /* NULL while there is none */
    int64_t expires_ms;
    struct http_request *http; /* under way */
    struct registry_op *waiters;
    UT_hash_handle hh;
};

struct registry {
    struct http_client *client;
    char *host, *endpoint, *username, *password, *pin, *ca_file;
    int attempts;
    int64_t retry_ms, retry_max_ms, stall_ms;

    enum registry_scheme scheme; /* learned from the first 401 */
    char *realm, *service;
    struct registry_token *tokens;
    struct registry_op *ops;
    bool closed; /* the owner is done with it, and maybe with the client too */
    size_t refs; /* operations, tokens under way, and one for the owner */
};

enum registry_actions { ACTION_PULL = 1, ACTION_PUSH = 2, ACTION_DELETE = 4 };

/* One HTTP request of an operation, described so that it can be sent again. Strings are owned by the
 * operation (op_call copies). */
struct registry_call {
    const char *method;
    const char *path; /* absolute, or from "/v2/" on */
    const char *const *headers;
    struct http_body body; /* memory is borrowed until the operation is over */
    struct http_sink sink;
    enum registry_actions actions;
    const char *from;
    bool once;  /* no second attempt, 401 excepted */
    bool alone; /* as http_options.once */
};

/* Goes on after a call: `err` is set when there is no answer at all, attempts included. `response` is
 * borrowed. Must start the next call or end the operation. */
typedef void (*registry_next_fn)(struct registry_op *op, struct http_response *response,
                                 const struct err *err);

/* Who waits in registry_wait. */
struct registry_waiter {
    struct registry_result result;
    struct err err;
    bool done;
};

struct registry_op {
    struct registry *registry;
    struct registry_op *prev, *next;
    struct registry_op *waiter_prev, *waiter_next; /* in token->waiters */
    uv_timer_t timer;                              /* a back-off, then the end */
    registry_done_fn done;
    void *arg;
    struct registry_waiter *waiter;
    struct registry_result result;
    struct err err;
    char *what; /* for messages: "blob sha256:…" */
    char *repository;
    bool cancelled; /* or past being cancelled */

    /* The call under way. */
    struct registry_call call;
    char *method, *url, *from;
    strvec headers; /* and a NULL */
    registry_next_fn after;
    void (*on_response)(struct registry_op *op, const struct http_response *response); /* or NULL */
    struct http_request *http;
    struct registry_token *waits_for;
    char *sent_token; /* the token of the last request, or NULL */
    bool sent_basic;
    bool waited_token; /* the token is there, and taken whatever its life */
    int attempt, renewals;
    char *extra_scope; /* what a 401 asked for beyond our own scope */

    /* The kind's own. */
    void *state;
    void (*state_free)(struct registry_op *op);
    struct http_options raw; /* of registry_raw; .done is NULL otherwise, or when it was called */
    bool raw_answered;
};

/* ---- registry.c: operations begin and end ---- */

/* A new operation on `repository` (may be NULL). `what` names it in messages; taken. */
struct registry_op *op_new(struct registry *registry, const char *repository, char *what,
                           registry_done_fn done, void *arg);
/* Ends it well; `done` follows from the loop. */
void op_succeed(struct registry_op *op);
/* Ends it with a copy of `err`, its text prefixed with what the operation is. */
void op_fail(struct registry_op *op, const struct err *err);
/* The same with a new error. */
void op_fail_with(struct registry_op *op, int code, bool retryable, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Calls `then` after `ms` milliseconds (timer->data is the operation), unless it is cancelled first. */
void op_later(struct registry_op *op, int64_t ms, uv_timer_cb then);
/* Takes a share of the registry. */
void registry_ref(struct registry *registry);
/* Gives a share back; the last one frees the registry. */
void registry_unref(struct registry *registry);

/* ---- registry_url.c ---- */

/* The endpoint's scheme, host and port, without a path. The caller owns it. */
char *registry_origin(const struct registry *registry);
/* The URL that a Location means which came in the answer of `base`. One on the registry's own host is put
 * on our endpoint, whatever scheme a proxy made it believe in. The caller owns it. */
char *registry_resolve(const struct registry *registry, const char *base, const char *location);
/* Whether a URL is on the registry's own host, so that credentials may go there. */
bool registry_is_own(const struct registry *registry, const char *url);
/* `url` with "name=value" added to its query; value is taken as it is. The caller owns it. */
char *registry_with_query(const char *url, const char *name, const char *value);
/* Whether a repository's name can stand in a path. It may begin with a host and port (a gateway's do). */
bool registry_name_ok(const char *repository);
/* Adds `s` percent-encoded. */
void registry_add_encoded(struct strbuf *out, const char *s);

/* ---- registry_auth.c ---- */

/* What an operation should send as Authorization. 0: *ret (owned by the caller, or NULL for nothing) is
 * it; -EINPROGRESS: a token is being fetched, and op_token_ready follows. */
int auth_header(struct registry_op *op, char **ret);
/* Learns from a 401. Whether it makes sense to send the call again. */
bool auth_challenged(struct registry_op *op, const struct http_response *response);
/* Takes an operation off the list of its token's waiters. */
void auth_forget(struct registry_op *op);
/* Cancels the tokens under way. */
void auth_cancel(struct registry *registry);
/* Frees all tokens. */
void auth_done(struct registry *registry);

/* ---- registry_request.c ---- */

/* Starts a call; `after` goes on. Everything in `call` but a body is copied. */
void op_call(struct registry_op *op, const struct registry_call *call, registry_next_fn after);
/* A token came, or `err` or `response` says why none did: sends the call, or fails. */
void op_token_ready(struct registry_op *op, const struct http_response *response,
                    const struct err *err);
/* Ends the operation with what `err`, or else a response that is not 2xx, says. */
void op_fail_answer(struct registry_op *op, const struct http_response *response,
                    const struct err *err);
/* Milliseconds to wait after `failures` (from 1) before trying again, -1 to give up. `response` (or NULL)
 * may ask for more. */
int64_t retry_delay(const struct registry *registry, int failures,
                    const struct http_response *response);
/* Whether an outcome may be better another time. */
bool retry_makes_sense(const struct http_response *response, const struct err *err);
