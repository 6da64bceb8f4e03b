/* The turn.
 *
 *     happy path     an event opens the pass's turn -> the pass ends: the turn ends, its rows join the batch that
 *                    gathers -> the store is free: the batch is committed -> its effects start
 *     failure modes  no room: the batch in the store is tried again, mutating calls get 503, the model's clock
 *                    stands still; any other error of the store: exit, and reload what is there
 *
 * There are at most two batches: the one being committed and the one that gathers. A batch without rows needs no
 * commit, but its effects still wait for the commit before it, since they may tell of it. */
#include "daemon/coordinator_internal.h"

#include "common/clock.h"
#include "common/log.h"
#include "daemon/api_status.h"

/* ---- batches ---- */

static void start_effects(struct coordinator *c, struct batch *b);

static void batch_done(struct batch *b)
{
    turn_done(&b->turn);
    vec_free(&b->replies);
    farm_free(b->farm);
}

/* It is committed, or has nothing to commit. */
static void batch_settled(struct coordinator *c, struct batch *b)
{
    if (b->farm) {
        farm_free(c->committed_farm);
        c->committed_farm = steal_ptr(b->farm);
    }
    start_effects(c, b);
    batch_done(b);
}

static void note_tables(struct coordinator *c, const struct delta *delta)
{
    VEC_FOREACH (&delta->changes, change)
        c->changed[change->table] = true;
}

static void tell_change(struct coordinator *c)
{
    if (c->on_change)
        c->on_change(c->on_change_data, ++c->turn_number, c->committing_tables);
}

static void commit_next(struct coordinator *c);

static void on_committed(void *data, const struct err *err)
{
    struct coordinator *c = data;
    if (err->code) {
        log_error("%s: stopping, to load again what was committed", err->text);
        _exit(70);
    }
    struct batch done = c->committing;
    c->committing = (struct batch){0};
    batch_settled(c, &done);
    tell_change(c);
    commit_next(c);
}

/* Starts the commit of what gathered, if the store is free. */
static void commit_next(struct coordinator *c)
{
    if (store_busy(c->store) || c->in_turn)
        return;
    struct batch *g = &c->gathering;
    if (g->turn.delta.changes.n) {
        c->committing = *g;
        *g = (struct batch){0};
        memcpy(c->committing_tables, c->changed, sizeof(c->changed));
        memset(c->changed, 0, sizeof(c->changed));
        store_commit(c->store, &c->committing.turn.delta, on_committed, c);
        return;
    }
    if (!g->turn.effects.n && !g->replies.n && !g->farm)
        return;
    struct batch now = *g;
    *g = (struct batch){0};
    batch_settled(c, &now);
}

/* ---- turns ---- */

void coordinator_begin(struct coordinator *c)
{
    if (c->in_turn)
        return;
    c->in_turn = true;
    model_turn_begin(c->model, &c->gathering.turn, coordinator_now(c), clock_wall_ms());
    /* The pass must not sleep before the turn has ended. */
    uv_idle_start(&c->idle, coordinator_on_idle);
}

struct model *coordinator_turn(struct coordinator *c)
{
    c->acted = true;
    c->moment++;
    coordinator_begin(c);
    return c->model;
}

static void on_timer(uv_timer_t *timer)
{
    struct coordinator *c = timer->data;
    model_on_timer(coordinator_turn(c));
}

void coordinator_arm_timer(struct coordinator *c)
{
    int64_t due = model_next_due(c->model);
    if (due == INT64_MAX || c->stalled) {
        uv_timer_stop(&c->timer);
        return;
    }
    int64_t delay = due - coordinator_now(c);
    uv_update_time(c->loop);
    uv_timer_start(&c->timer, on_timer, delay > 0 ? (uint64_t)delay : 0, 0);
}

static void complete_replies(struct coordinator *c)
{
    VEC_FOREACH (&c->gathering.replies, it) {
        coordinator_planned_fn planned = (*it)->planned;
        (*it)->planned = NULL;
        if (planned)
            planned(c->model, (*it)->json);
    }
}

static void end_turn(struct coordinator *c)
{
    model_turn_end(c->model);
    complete_replies(c);
    c->in_turn = false;
    c->moment += c->acted; /* what the events led to is decided only now */
    c->acted = false;
    note_tables(c, &c->gathering.turn.delta);
    coordinator_arm_timer(c);
}

void coordinator_on_idle(uv_idle_t *idle)
{
    uv_idle_stop(idle);
}

void coordinator_on_check(uv_check_t *check)
{
    struct coordinator *c = check->data;
    if (c->in_turn)
        end_turn(c);
    commit_next(c);
}

/* ---- requests that an effect answers ---- */

struct waiting_call {
    struct coordinator *c;
    uint64_t token;
    struct http_call *call;
    void (*closed)(struct coordinator *c, uint64_t token);
    UT_hash_handle hh;
};

static void on_gone(void *ctx)
{
    struct waiting_call *w = ctx;
    struct coordinator *c = w->c;
    HASH_DEL(c->calls, w);
    if (w->closed && !c->stopping)
        w->closed(c, w->token);
    free(w);
}

uint64_t coordinator_token(struct coordinator *c, struct http_call *call,
                           void (*closed)(struct coordinator *c, uint64_t token))
{
    struct waiting_call *w = xnew(struct waiting_call);
    *w = (struct waiting_call){.c = c, .token = ++c->last_token, .call = call, .closed = closed};
    HASH_ADD(hh, c->calls, token, sizeof(w->token), w);
    http_call_on_gone(call, on_gone, w);
    return w->token;
}

void coordinator_end_polls(struct coordinator *c)
{
    struct waiting_call *w, *next;
    HASH_ITER(hh, c->calls, w, next)
    {
        if (!w->closed)
            continue;
        HASH_DEL(c->calls, w);
        http_call_on_gone(w->call, NULL, NULL);
        http_respond_error(w->call, 503, NULL, "the coordinator is stopping");
        free(w);
    }
}

static void answer(struct coordinator *c, struct effect *e)
{
    static const struct http_field json[] = {{"Content-Type", "application/json"}, {0}};
    struct waiting_call *w = NULL;
    HASH_FIND(hh, c->calls, &e->token, sizeof(e->token), w);
    if (!w)
        return;
    HASH_DEL(c->calls, w);
    http_call_on_gone(w->call, NULL, NULL);
    char *body = steal_ptr(e->body);
    http_respond_take(w->call, (unsigned)e->status, json, body, strlen(body));
    free(w);
}

/* A reader that goes away before its answer: the answer has nobody to go to. */
static void on_reader_gone(void *ctx)
{
    struct reply *r = ctx;
    r->call = NULL;
}

void coordinator_reply_planned(struct coordinator *c, struct http_call *call, unsigned status,
                               json_t *json, coordinator_planned_fn planned)
{
    struct reply *r = xnew(struct reply);
    *r = (struct reply){.call = call, .status = status, .json = json, .planned = planned};
    http_call_on_gone(call, on_reader_gone, r);
    vec_push(&c->gathering.replies, r);
    uv_idle_start(&c->idle, coordinator_on_idle);
}

void coordinator_reply(struct coordinator *c, struct http_call *call, unsigned status, json_t *json)
{
    coordinator_reply_planned(c, call, status, json, NULL);
}

void reply_free(struct reply *r)
{
    json_decref(r->json);
    free(r->text);
    free(r);
}

static void send_reply(struct reply *r)
{
    if (r->call) {
        http_call_on_gone(r->call, NULL, NULL);
        if (r->text)
            http_respond_json_text(r->call, r->status, steal_ptr(r->text), r->n);
        else
            http_respond_json(r->call, r->status, steal_ptr(r->json));
    }
    reply_free(r);
}

/* ---- effects ---- */

static void start_effect(struct coordinator *c, struct effect *e)
{
    switch (e->kind) {
    case EFFECT_REPLY:
        answer(c, e);
        return;
    case EFFECT_INSPECT:
        upstream_inspect(c->upstream, e);
        return;
    case EFFECT_RESOLVE_BASE:
        resolve_start(c->resolver, e->reference, model_base_digest(c->model, e->reference));
        return;
    case EFFECT_PUBLISH:
    case EFFECT_RETAIN:
        publish_start(c->publisher, e);
        return;
    case EFFECT_AUDIT:
        audit_begin(c->auditor, e);
        return;
    case EFFECT_LEASE:
        logs_touch(c->logs, e->lease);
        if (e->ended)
            gateway_lease_ended(c->gateway, e->lease);
        return;
    }
}

static void start_effects(struct coordinator *c, struct batch *b)
{
    VEC_FOREACH (&b->turn.effects, e)
        if (!c->stopping || e->kind == EFFECT_REPLY)
            start_effect(c, e);
    publisher_resumed(c->publisher); /* what the start derived has begun */
    VEC_FOREACH (&b->replies, it)
        send_reply(*it);
}

/* ---- what effects answer ---- */

static void retained(struct model *m, const struct publish_outcome *o)
{
    if (o->ok)
        model_on_retained(m, o->repository, o->retention, o->digest);
    else
        model_on_retain_failed(m, o->repository, o->retention, o->digest, o->failure, o->error,
                               o->wait_ms);
}

void coordinator_on_published(void *data, const struct publish_outcome *o)
{
    struct model *m = coordinator_turn(data);
    if (o->retention) {
        retained(m, o);
        return;
    }
    for (size_t i = 0; i < o->n_tags; i++)
        model_on_publication_tag(m, o->publication, o->tags[i]);
    if (o->ok)
        model_on_publication_step(m, o->publication, o->step);
    else
        model_on_publication_failed(m, o->publication, o->step, o->failure, o->platform, o->error,
                                    o->wait_ms);
}

void coordinator_on_audited(void *data, const struct audit_outcome *o)
{
    struct model *m = coordinator_turn(data);
    if (o->error)
        model_on_audit_failed(m, o->repository, o->wait_ms);
    else
        model_on_audited(m, o->repository, o->tags, o->n);
}

void coordinator_on_resolved(void *data, const struct resolve_outcome *o)
{
    struct model *m = coordinator_turn(data);
    if (o->error)
        model_on_base_failed(m, o->reference, o->gone, o->error, o->wait_ms);
    else
        model_on_base(m, o->reference, o->digest, o->children, o->n, o->unchanged);
}

/* ---- getters ---- */

struct model *coordinator_model(struct coordinator *c)
{
    return c->model;
}

const struct farm *coordinator_farm(const struct coordinator *c)
{
    return c->farm;
}

struct farm *coordinator_hold_shown_farm(const struct coordinator *c)
{
    return farm_hold(c->stalled ? c->committed_farm : c->farm);
}

uv_loop_t *coordinator_loop(const struct coordinator *c)
{
    return c->loop;
}

struct logs *coordinator_logs(const struct coordinator *c)
{
    return c->logs;
}

struct upstream *coordinator_upstream(const struct coordinator *c)
{
    return c->upstream;
}

struct http_server *coordinator_server(const struct coordinator *c)
{
    return c->server;
}

struct gateway *coordinator_gateway(const struct coordinator *c)
{
    return c->gateway;
}

struct registries *coordinator_registries(const struct coordinator *c)
{
    return c->registries;
}

struct store *coordinator_store(const struct coordinator *c)
{
    return c->store;
}

struct api_status *coordinator_api(const struct coordinator *c)
{
    return c->status;
}

const char *coordinator_state(const struct coordinator *c)
{
    return c->state;
}

int64_t coordinator_started_at(const struct coordinator *c)
{
    return c->started_at;
}

void coordinator_on_change(struct coordinator *c, coordinator_changed_fn changed, void *data)
{
    c->on_change = changed;
    c->on_change_data = data;
}
