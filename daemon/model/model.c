/* Life of the model and of a turn; what every other file of this folder builds on. */
#include "daemon/model/state.h"

#include "daemon/model/known.h"
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"
#include "daemon/model/queue.h"
#include "daemon/model/schedule.h"
#include "daemon/model/tagging.h"

#include <errno.h>
#include <inttypes.h>

#define CLOCK "clock" /* the setting */
/* A turn that writes something stores the clock too, if it has gone on by so much. */
#define CLOCK_STEP_MS 1000
/* While something waits it is stored so often. */
#define CLOCK_NOTE_MS 30000

struct model *model_new(const struct farm *farm, const struct model_hooks *hooks)
{
    struct model *m = xnew(struct model);
    m->farm = farm;
    m->hooks = *hooks;
    m->next_due = INT64_MAX;
    return m;
}

void model_touch(struct model *m, void *object)
{
    struct row *row = object;
    if (row->dirty)
        return;
    row->dirty = true;
    vec_push(&m->dirty, row);
}

void model_plan_later(struct model *m, struct track *t)
{
    if (t->queued)
        return;
    t->queued = true;
    vec_push(&m->plan, t);
}

void model_timer(struct model *m, int64_t due)
{
    if (due < m->next_due)
        m->next_due = due;
}

int64_t model_next_due(const struct model *m)
{
    return m->next_due;
}

int64_t model_backoff(int64_t failures)
{
    int64_t delay = 5000;
    for (int64_t i = 1; i < failures && delay < 300000; i++)
        delay *= 2;
    return delay < 300000 ? delay : 300000;
}

int64_t model_backoff_asked(int64_t failures, int64_t wait_ms)
{
    int64_t delay = model_backoff(failures), longest = (int64_t)60 * 60 * 1000;
    int64_t wait = wait_ms < longest ? wait_ms : longest;
    return wait > delay ? wait : delay;
}

struct effect *model_effect(struct model *m, enum effect_kind kind)
{
    vec_push(&m->turn->effects, (struct effect){.kind = kind});
    return &m->turn->effects.items[m->turn->effects.n - 1];
}

void model_turn_begin(struct model *m, struct turn *turn, int64_t mono, int64_t wall)
{
    m->turn = turn;
    m->mono = mono;
    m->wall = wall;
    m->boards_stamp++;
}

static void encode_dirty(struct model *m)
{
    VEC_FOREACH (&m->dirty, it) {
        struct row *row = *it;
        row->dirty = false;
        if (!row->dead) {
            delta_upsert(&m->turn->delta, row->table, row);
            continue;
        }
        delta_delete(&m->turn->delta, row->table, row);
        row_done(row->table, row);
        free(row);
    }
    m->dirty.n = 0;
}

/* Their rows are written; the store keeps them for people. */
static void free_ended(struct model *m)
{
    VEC_FOREACH (&m->retired_builds, b)
        build_free(m, *b);
    m->retired_builds.n = 0;
    VEC_FOREACH (&m->ended_attempts, a) {
        job_let_go(m, (*a)->job);
        attempt_free(*a);
    }
    m->ended_attempts.n = 0;
}

static void clock_store(struct model *m, int64_t step);

void model_turn_end(struct model *m)
{
    plan_run(m);
    if (m->dispatch) {
        m->dispatch = false;
        schedule_run(m);
        plan_run(m);
    }
    if (m->dirty.n)
        clock_store(m, CLOCK_STEP_MS);
    encode_dirty(m);
    free_ended(m);
    past_turn_end(m);
    m->turn = NULL;
}

/* ---- settings ---- */

static struct setting *find_setting(const struct model *m, const char *key)
{
    struct setting *s = NULL;
    HASH_FIND_STR(m->settings, key, s);
    return s;
}

const char *model_setting(const struct model *m, const char *key)
{
    struct setting *s = find_setting(m, key);
    return s ? s->value : NULL;
}

void model_set_setting(struct model *m, const char *key, const char *value)
{
    struct setting *s = find_setting(m, key);
    if (!value) {
        if (!s)
            return;
        HASH_DEL(m->settings, s);
        s->row.dead = true;
        model_touch(m, s);
        return;
    }
    if (!s) {
        s = xnew(struct setting);
        s->row.table = TABLE_SETTING;
        s->key = xstrdup(key);
        HASH_ADD_KEYPTR(hh, m->settings, s->key, strlen(s->key), s);
    }
    if (str_eq(s->value, value))
        return;
    str_replace(&s->value, value);
    model_touch(m, s);
}

int64_t model_next(struct model *m, const char *name)
{
    const char *value = model_setting(m, name);
    int64_t next = (value ? strtoll(value, NULL, 10) : 0) + 1;
    cleanup_free char *text = xasprintf("%" PRId64, next);
    model_set_setting(m, name, text);
    return next;
}

/* ---- the farm's clock ---- */

int64_t model_clock(const struct model *m)
{
    return m->mono + m->clock_ahead;
}

int64_t model_clock_due(const struct model *m, int64_t clock)
{
    int64_t due = clock - m->clock_ahead;
    return due > 0 ? due : 1;
}

void model_clock_start(struct model *m)
{
    const char *stored = model_setting(m, CLOCK);
    if (!m->clock_stored)
        m->clock_stored = stored ? strtoll(stored, NULL, 10) : 1; /* 0 is no moment of it */
    m->clock_ahead = m->clock_stored - m->mono;
    model_clock_keep(m);
}

/* Stores it if it has gone on by `step` since. */
static void clock_store(struct model *m, int64_t step)
{
    int64_t now = model_clock(m);
    if (now - m->clock_stored < step)
        return;
    cleanup_free char *text = xasprintf("%" PRId64, now);
    model_set_setting(m, CLOCK, text);
    m->clock_stored = now;
}

void model_clock_keep(struct model *m)
{
    model_timer(m, m->mono + CLOCK_NOTE_MS);
}

void model_clock_timer(struct model *m, bool waits)
{
    if (!waits && !m->backing_off.n && !m->behind.n && !m->attempts && !queue_length(m))
        return;
    clock_store(m, CLOCK_NOTE_MS);
    model_clock_keep(m);
}

/* ---- objects that are made on first mention ---- */

struct repository *model_repository(struct model *m, const char *name)
{
    struct repository *r = NULL;
    HASH_FIND_STR(m->repositories, name, r);
    if (r)
        return r;
    r = xnew(struct repository);
    r->name = xstrdup(name);
    HASH_ADD_KEYPTR(hh, m->repositories, r->name, strlen(r->name), r);
    return r;
}

bool model_owns(const struct model *m, const char *repository)
{
    struct repository *r = NULL;
    HASH_FIND_STR(m->repositories, repository, r);
    return r && r->owned;
}

bool model_knows_registry(const struct model *m, const char *repository)
{
    size_t n = strcspn(repository, "/");
    cleanup_free char *host = xstrndup(repository, n);
    if (str_eq(host, m->farm->registry_host) || farm_registry(m->farm, host))
        return true;
    VEC_FOREACH (&m->farm->images, image)
        if (strcspn(image->repository, "/") == n && strncmp(image->repository, host, n) == 0)
            return true;
    return false;
}

struct tag_node *model_node(struct model *m, const char *repository, const char *tag)
{
    struct tag_node *n = NULL;
    cleanup_free char *name = xconcat(repository, ":", tag, NULL);
    HASH_FIND_STR(m->nodes, name, n);
    if (n)
        return n;
    n = xnew(struct tag_node);
    n->name = steal_ptr(name);
    n->repository = xstrdup(repository);
    n->tag = xstrdup(tag);
    HASH_ADD_KEYPTR(hh, m->nodes, n->name, strlen(n->name), n);
    size_t length;
    if (!tag_of_platform(tag, &n->platform, &length))
        return n;
    cleanup_free char *whole = xstrndup(tag, length);
    n->whole = model_node(m, repository, whole);
    vec_push(&n->whole->parts, n);
    return n;
}

struct tag_node *tag_node_made_by(struct tag_node *n)
{
    return n->whole && !n->claimants.n ? n->whole : n;
}

/* ---- turns ---- */

void effect_done(struct effect *e)
{
    free(e->body);
    free(e->source);
    free(e->ref);
    free(e->commit);
    free(e->path);
    free(e->dockerfile);
    free(e->reference);
    free(e->repository);
    free(e->digest);
    free(e->media_type);
    free(e->bytes);
    free(e->lease);
    VEC_FOREACH (&e->children, c) {
        free(c->digest);
        free(c->media_type);
    }
    vec_free(&e->children);
    VEC_FOREACH (&e->tags, t) {
        free(t->tag);
        free(t->digest);
    }
    vec_free(&e->tags);
    known_free(e->known);
    strvec_done(&e->adopted);
}

bool effect_knows(const struct effect *e, const char *digest)
{
    return known_has(e->known, digest) || strvec_has(&e->adopted, digest);
}

void turn_done(struct turn *t)
{
    delta_done(&t->delta);
    VEC_FOREACH (&t->effects, e)
        effect_done(e);
    vec_free(&t->effects);
}
