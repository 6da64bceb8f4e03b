/* What if: time runs forward. Effects are carried out at once, boards poll and are given jobs, and each job succeeds after
 * the time that it is estimated to take.
 *
 * Of the model's timers only those of tracks that wait for an ancestor fire: that hour is a part of what an event causes.
 * What comes with time alone comes without the event, too: what has failed is tried again, sources and bases are looked
 * at, an optional platform's last child becomes stale. It is left out, and said where the answer hangs on it. */
#include "common/digest.h"
#include "daemon/model/estimate.h"
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"
#include "daemon/model/what_if_int.h"

#include <inttypes.h>
#include <stdarg.h>

#define NOTES_MAX 20

static void count_up(void *data, void *bytes, size_t n)
{
    struct sim *s = data;
    s->random++;
    memset(bytes, 0, n);
    memcpy(bytes, &s->random, n < sizeof(s->random) ? n : sizeof(s->random));
}

void what_if_note(struct what_if *w, const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        abort();
    va_end(ap);
    if (w->notes.n < NOTES_MAX && !strvec_has(&w->notes, text))
        strvec_add(&w->notes, text);
    free(text);
}

/* ---- turns ---- */

struct model *sim_begin(struct sim *s)
{
    model_turn_begin(s->m, &s->turn, s->mono, s->wall);
    return s->m;
}

static void forget_effects(struct sim *s)
{
    VEC_FOREACH (&s->todo, e)
        effect_done(e);
    s->todo.n = 0;
}

void sim_end(struct sim *s)
{
    model_turn_end(s->m);
    what_if_record(s);
    VEC_FOREACH (&s->turn.effects, e) {
        if (e->kind == EFFECT_REPLY || e->kind == EFFECT_LEASE)
            effect_done(e);
        else
            vec_push(&s->todo, *e);
    }
    s->turn.effects.n = 0;
    turn_done(&s->turn);
}

/* ---- effects ---- */

/* Tags are where they were put. */
static void audit(struct sim *s, const struct effect *e)
{
    VEC(struct audited) seen = {0};
    VEC_FOREACH (&e->tags, t)
        vec_push(&seen, (struct audited){t->tag, t->digest, t->digest});
    model_on_audited(s->m, e->repository, seen.items, seen.n);
    vec_free(&seen);
}

static void carry_out(struct sim *s, const struct effect *e)
{
    if (e->kind == EFFECT_INSPECT)
        sim_inspect(s, e);
    else if (e->kind == EFFECT_RESOLVE_BASE)
        sim_resolve(s, e);
    else if (e->kind == EFFECT_PUBLISH)
        model_on_publication_step(s->m, e->publication, e->step);
    else if (e->kind == EFFECT_AUDIT)
        audit(s, e);
    else if (e->kind == EFFECT_RETAIN)
        model_on_retained(s->m, e->repository, e->tags.items[0].tag, e->digest);
}

/* All that are there, in one turn. */
static bool effects(struct sim *s)
{
    if (!s->todo.n)
        return false;
    VEC(struct effect) now = {0};
    VEC_FOREACH (&s->todo, e)
        vec_push(&now, *e);
    s->todo.n = 0;
    sim_begin(s);
    VEC_FOREACH (&now, e) {
        carry_out(s, e);
        effect_done(e);
    }
    sim_end(s);
    vec_free(&now);
    return true;
}

/* ---- boards ---- */

static bool holds(const struct attempt *a)
{
    return (a->state == ATTEMPT_GRANTED || a->state == ATTEMPT_RUNNING) && !a->cancel &&
           a->job->live == a;
}

static void held_of(const struct board *b, wire_held_list *ret)
{
    VEC_FOREACH (&b->leases, a)
        if (holds(*a))
            vec_push(ret, (struct wire_held){(*a)->lease, (*a)->epoch});
}

static void session(struct sim *s, const struct copy_board *now)
{
    struct board *b = board_find(s->m, now->name);
    struct wire_session_request req = {.agent = (char *)(uintptr_t) "what-if",
                                       .boot = xstrdup(b->boot)};
    if (b->facts && wire_facts_decode(b->facts, strlen(b->facts), &req.facts, NULL) == 0) {
        held_of(b, &req.held);
        model_on_session(s->m, b->name, &req, ++s->token);
    }
    vec_free(&req.held);
    wire_facts_done(&req.facts);
    free(req.boot);
}

static int64_t free_slots(const struct sim *s, const struct board *b)
{
    int64_t held = 0;
    VEC_FOREACH (&b->leases, a)
        held += holds(*a);
    return board_slots(s->m, b) - held;
}

static void poll(struct sim *s, const struct copy_board *now, struct board *b)
{
    struct wire_poll_request req = {.session = xstrdup(b->session),
                                    .seq = b->seq + 1,
                                    .load = now->load,
                                    .temperature = now->temperature,
                                    .disk_free = now->disk_free,
                                    .memory_free = now->memory_free,
                                    .draining = now->draining};
    held_of(b, &req.held);
    req.free = free_slots(s, b);
    model_on_poll(s->m, b->name, &req, ++s->token);
    vec_free(&req.held);
    free(req.session);
}

static bool known(const struct sim *s, const struct attempt *a)
{
    VEC_FOREACH (&s->running, l)
        if (str_eq(l->lease, a->lease))
            return true;
    return false;
}

/* Notes what was granted; forgets what has been cancelled. Returns whether anything was granted. */
static bool note_leases(struct sim *s)
{
    bool any = false;
    size_t kept = 0;
    for (size_t i = 0; i < s->running.n; i++) {
        struct what_lease l = s->running.items[i];
        const struct attempt *a = attempt_find(s->m, l.lease);
        if (a && holds(a)) {
            s->running.items[kept++] = l;
            continue;
        }
        free(l.lease);
        free(l.key);
    }
    s->running.n = kept;
    for (struct board *b = s->m->boards; b; b = b->hh.next)
        VEC_FOREACH (&b->leases, it) {
            struct attempt *a = *it;
            if (!b->session || !holds(a) || known(s, a))
                continue;
            int64_t left = estimate_left(s->m, a);
            vec_push(&s->running,
                     (struct what_lease){xstrdup(a->lease), xstrdup(a->job_key), s->mono + left});
            what_if_record_grant(s, a, s->mono + left);
            any = true;
        }
    return any;
}

/* Whoever has no open poll, or has more or less to offer than that says, polls. Returns whether there is news. */
static bool polls(struct sim *s)
{
    bool any = false;
    sim_begin(s);
    VEC_FOREACH (&s->w->copy.boards, now) {
        struct board *b = board_find(s->m, now->name);
        bool there = b->session && (b->state == BOARD_ONLINE || b->state == BOARD_DRAINING);
        if (!there || (b->poll && b->agent_free == free_slots(s, b)))
            continue;
        poll(s, now, b);
        any = true;
    }
    sim_end(s);
    return note_leases(s) || any;
}

/* ---- results ---- */

static void succeed(struct sim *s, const struct what_lease *l)
{
    const struct attempt *a = attempt_find(s->m, l->lease);
    if (!a)
        return;
    char digest[DIGEST_SIZE];
    cleanup_free char *content = xasprintf("what if %s", l->key);
    digest_of(content, strlen(content), digest);
    struct wire_descriptor manifest = {
        .digest = digest,
        .size = 1,
        .media_type = (char *)(uintptr_t) "application/vnd.oci.image.manifest.v1+json"};
    struct wire_result r = {.epoch = a->epoch,
                            .outcome = WIRE_SUCCEEDED,
                            .manifest = &manifest,
                            .config_digest = digest,
                            .content_digest = digest};
    model_on_result(s->m, l->lease, &r, ++s->token);
}

/* When a job ends, or a track has waited for its ancestors for long enough. */
static int64_t next_time(const struct sim *s)
{
    int64_t next = INT64_MAX;
    VEC_FOREACH (&s->running, l)
        next = l->ends < next ? l->ends : next;
    for (const struct track *t = s->m->tracks; t; t = t->hh.next)
        if (t->wait_due > s->mono && t->state == TRACK_WAITING && t->wait_due < next)
            next = t->wait_due;
    return next;
}

/* Time goes on to that. False: there is nothing to wait for. */
static bool next_end(struct sim *s)
{
    int64_t next = next_time(s);
    if (next == INT64_MAX)
        return false;
    s->wall += next - s->mono;
    s->mono = next;
    if (s->running.n)
        s->w->ended = s->mono;
    sim_begin(s);
    waits_due(s->m);
    for (size_t i = 0; i < s->running.n; i++)
        if (s->running.items[i].ends <= s->mono)
            succeed(s, &s->running.items[i]);
    sim_end(s);
    note_leases(s);
    return true;
}

void sim_rest(struct sim *s)
{
    for (;;) {
        if (s->w->too_much || s->w->cancelled)
            return;
        if (effects(s) || polls(s))
            continue;
        if (!next_end(s))
            return;
    }
}

/* ---- life ---- */

/* What was away is there again. */
static void retry_all(struct model *m)
{
    for (struct job *j = m->jobs; j; j = j->hh.next)
        job_retry_now(m, j);
}

void sim_start(struct sim *s, struct what_if *w, struct what_job **grants)
{
    *s = (struct sim){.w = w, .mono = w->copy.mono, .wall = w->copy.wall, .grants = grants};
    struct model_hooks hooks = {count_up, s};
    s->m = model_new(w->farm, &hooks);
    model_copy_load(&w->copy, s->m);
    model_start(sim_begin(s));
    retry_all(s->m);
    sim_end(s);
    sim_begin(s);
    VEC_FOREACH (&w->copy.boards, now)
        if (now->there)
            session(s, now);
    sim_end(s);
    note_leases(s);
}

void sim_done(struct sim *s)
{
    forget_effects(s);
    vec_free(&s->todo);
    VEC_FOREACH (&s->running, l) {
        free(l->lease);
        free(l->key);
    }
    vec_free(&s->running);
    turn_done(&s->turn);
    model_free(s->m);
}
