/* Making a history from a seed, and running it. */
#include "tests/model/check.h"

#include <assert.h>
#include <stdarg.h>

/* ---- making ---- */

void history_make(struct history *h, uint64_t seed)
{
    struct rng r = {mix2(seed, 2)};
    unsigned n = 15 + rng_below(&r, 45);
    if (mix2(seed, 3) % 12 == 0)
        n += 100; /* now and then one that gets far */
    unsigned total = 0;
    /* Each history leaves some kinds of step out, so that what is left gets far. */
    uint64_t out = rng_one_in(&r, 4) ? 0 : rng_next(&r) & rng_next(&r) & rng_next(&r);
    *h = (struct history){.seed = seed};
    for (unsigned i = 0; i < n_step_kinds(); i++)
        total += step_weight(i);
    for (unsigned i = 0; i < n; i++) {
        struct step s = {.number = i + 1, .joined = rng_one_in(&r, 12)};
        unsigned at = rng_below(&r, total);
        while (at >= step_weight(s.kind))
            at -= step_weight(s.kind++);
        s.a = (unsigned)rng_next(&r);
        s.b = (unsigned)rng_next(&r);
        s.c = (unsigned)rng_next(&r);
        if (s.kind > 0 && out >> s.kind & 1)
            s.kind = 0;
        vec_push(&h->steps, s);
    }
}

void history_done(struct history *h)
{
    vec_free(&h->steps);
}

/* ---- failing and saying ---- */

/* The world that runs, for the model's own assertions. */
static struct sim *running;

static void say_tracks(struct sim *s)
{
    for (const struct track *t = s->m ? s->m->tracks : NULL; t; t = t->hh.next)
        sim_say(s, "  %s is %s (%s): %s", t->id, track_state_names[t->state],
                reason_names[t->reason.code], t->reason.text ? t->reason.text : "");
}

void sim_fail(struct sim *s, const char *invariant, const char *fmt, ...)
{
    struct outcome *o = s->outcome;
    va_list ap;
    o->failed = true;
    o->step = s->step ? s->step->number : 0;
    snprintf(o->invariant, sizeof(o->invariant), "%s", invariant);
    va_start(ap, fmt);
    vsnprintf(o->text, sizeof(o->text), fmt, ap);
    va_end(ap);
    say_tracks(s);
    longjmp(s->escape, 1);
}

/* In the C library's place: an assertion of the model's is one more thing that must hold. */
void __assert_fail(const char *text, const char *file, unsigned line, const char *function)
{
    if (running)
        sim_fail(running, "inv00_model_asserts", "%s:%u: %s: %s", file, line, function, text);
    abort();
}

void sim_say(struct sim *s, const char *fmt, ...)
{
    if (!(s->flags & HISTORY_VERBOSE))
        return;
    va_list ap;
    va_start(ap, fmt);
    printf("%4u %6lld.%03d s  ", s->step ? s->step->number : 0, (long long)s->now / 1000,
           (int)(s->now % 1000));
    vprintf(fmt, ap);
    putchar('\n');
    va_end(ap);
}

bool sim_dear(struct sim *s)
{
    if ((s->flags & HISTORY_ALL) || s->look)
        return true;
    return s->step && mix2(s->history->seed, s->step->number) % 24 == 0;
}

/* ---- running ---- */

static void sim_init(struct sim *s, const struct history *h, unsigned flags)
{
    s->history = h;
    s->flags = flags;
    s->spec = farm_spec_make(h->seed, &h->cut);
    s->farm = farm_spec_build(&s->spec);
    s->now = 1000;
    s->wall = 1700000000000;
    for (unsigned i = 0; i < MAX_SOURCES; i++)
        upstream_init(&s->source[i].up, mix3(h->seed, i, 11));
    boards_init(s);
    s->check = checker_new(s);
}

static void begin(struct sim *s)
{
    s->m = sim_load(s, false);
    model_start(sim_turn(s));
    sim_pass(s);
    for (unsigned i = 0; i < s->spec.n_boards; i++)
        board_added(s, i);
    sim_pass(s);
    for (unsigned i = 0; i < s->spec.n_boards; i++)
        if (i == 0 || mix2(s->spec.seed, i) % 3)
            board_up(s, i);
    sim_pass(s);
    boards_pump(s);
}

static void sim_done(struct sim *s)
{
    boards_done(s);
    model_free(s->m);
    farm_free(s->farm);
    VEC_FOREACH (&s->ops, op)
        effect_done(&op->effect);
    vec_free(&s->ops);
    struct batch *batches[] = {&s->gathering, &s->committing};
    for (int i = 0; i < 2; i++) {
        turn_done(&batches[i]->turn);
        VEC_FOREACH (&batches[i]->rows, v)
            row_version_drop(*v);
        vec_free(&batches[i]->rows);
    }
    store_sim_done(&s->store);
    registry_done(&s->registry);
    for (unsigned i = 0; i < MAX_SOURCES; i++)
        upstream_done(&s->source[i].up);
    checker_free(s->check);
}

static void run(struct sim *s)
{
    begin(s);
    VEC_FOREACH (&s->history->steps, step) {
        s->step = step;
        covered(COVERED_STEPS);
        s->look = false;
        step_do(s, step);
        check_step(s);
        if (s->flags & HISTORY_WHAT_IF)
            what_if_at_random(s);
    }
    s->step = NULL;
    sim_pass(s);
    come_to_rest(s);
    s->rested = s->trace;
    if (s->flags & HISTORY_WHAT_IF)
        what_if_foretells(s);
}

void history_run(const struct history *h, unsigned flags, struct outcome *ret, uint64_t *ret_trace)
{
    struct sim *s = xnew(struct sim);
    *ret = (struct outcome){0};
    s->outcome = ret;
    covered(COVERED_HISTORIES);
    sim_init(s, h, flags);
    running = s;
    if (setjmp(s->escape) == 0)
        run(s);
    running = NULL;
    if (ret_trace)
        *ret_trace = s->rested;
    if (!ret->failed)
        sim_done(s); /* after a failure nothing is sound enough to be taken apart */
    free(s);
}
