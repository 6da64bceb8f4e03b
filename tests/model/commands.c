/* What people ask for: one line a command. */
#include "daemon/model/objects.h"
#include "tests/model/check.h"
#include "tests/model/short.h"

/* The thing that a number picks out of a hash table of the model; NULL when it is empty. */
#define pick(head, n)                                                                              \
    ({                                                                                             \
        __auto_type _at = (head);                                                                  \
        for (unsigned _i = HASH_COUNT(head) ? (n) % HASH_COUNT(head) : 0; _at && _i > 0; _i--)     \
            _at = _at->hh.next;                                                                    \
        _at;                                                                                       \
    })

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The job that a number picks out of all that are stored: the model keeps those of the past elsewhere. */
static const struct job *pick_job(struct sim *s, unsigned n)
{
    VEC(const char *) keys = {0};
    for (const struct store_row *row = s->store.table[TABLE_JOB]; row; row = row->hh.next)
        if (row->latest)
            vec_push(&keys, row_text(&row->latest->change, "key"));
    if (keys.n)
        qsort(keys.items, keys.n, sizeof(*keys.items), by_text);
    const struct job *j = keys.n ? job_find(s->m, keys.items[n % keys.n]) : NULL;
    vec_free(&keys);
    return j;
}

static int rebuild(struct sim *s, unsigned b, unsigned c, struct err *err)
{
    const struct track *t = pick(s->m->tracks, b);
    if (!t)
        return err_set(err, -1, "no track");
    const char *platform = c % 3 ? NULL : platform_info((enum platform)(c / 3 % N_PLATFORMS))->name;
    sim_say(s, "a person asks to rebuild %s%s%s", t->id, platform ? " for " : "",
            platform ? platform : "");
    check_asked(s, t->id, NULL);
    return model_on_rebuild(sim_turn(s), t->id, platform, c & 1, err);
}

static int cancel_build(struct sim *s, unsigned b, unsigned c, struct err *err)
{
    const struct build *build = pick(s->m->builds, b);
    if (!build)
        return err_set(err, -1, "no build");
    sim_say(s, "a person cancels build %lld of %s", (long long)build->id, build->track_id);
    check_asked(s, build->track_id, NULL);
    return model_on_cancel_build(sim_turn(s), build->id, err);
}

static int cancel_job(struct sim *s, unsigned b, unsigned c, struct err *err)
{
    const struct job *job = pick_job(s, b);
    if (!job)
        return err_set(err, -1, "no job");
    sim_say(s, "a person cancels the job %.14s of %s", job->key, job->track);
    check_asked(s, NULL, job->key);
    return model_on_cancel_job(sim_turn(s), job->key, err);
}

static int adopt(struct sim *s, unsigned b, unsigned c, struct err *err)
{
    const struct repository *r = pick(s->m->repositories, b);
    for (const struct repository *o = s->m->repositories; o; o = o->hh.next)
        r = o->stopped ? o : r;
    if (!r)
        return err_set(err, -1, "no repository");
    sim_say(s, "a person adopts what %s has", r->name);
    if (r->stopped)
        covered(COVERED_ADOPTED);
    return model_on_adopt(sim_turn(s), r->name, err);
}

static int restore(struct sim *s, unsigned b, unsigned c, struct err *err)
{
    const struct repository *r = pick(s->m->repositories, b);
    for (const struct repository *o = s->m->repositories; o; o = o->hh.next)
        r = o->stopped ? o : r;
    if (!r)
        return err_set(err, -1, "no repository");
    sim_say(s, "a person restores %s", r->name);
    if (r->stopped)
        covered(COVERED_RESTORED);
    return model_on_restore(sim_turn(s), r->name, err);
}

static int audit(struct sim *s, unsigned b, unsigned c, struct err *err)
{
    sim_say(s, "a person asks for an audit");
    return model_on_audit(sim_turn(s), NULL, err);
}

/* ---- commands by name (model_on_command) ---- */

static int give(struct sim *s, const struct command *c, struct err *err)
{
    struct command_answer answer = {0};
    sim_say(s, "a person: %s %s%s%s%s%s", command_name(c->verb),
            c->track ? c->track
            : c->job ? c->job
                     : "",
            c->platform ? " " : "", c->platform ? c->platform : "", c->publication ? " " : "",
            c->publication ? c->publication : "");
    check_asked(s, c->track, c->job);
    struct model *m = sim_turn(s);
    int r = model_on_command(m, c, &answer, err);
    if (r == 0 && answer.changed)
        check_idempotent(s, c);
    if (r == 0)
        sim_say(s, "  %s", answer.text);
    VEC_FOREACH (&answer.tracks, track)
        check_asked(s, *track, NULL);
    if (r == 0 && !answer.changed)
        r = err_set(err, -1, "nothing is changed");
    command_answer_done(&answer);
    return r;
}

static const char *some_platform(unsigned n)
{
    return n % 3 ? NULL : platform_info((enum platform)(n / 3 % N_PLATFORMS))->name;
}

static bool has_retired(const struct track *t)
{
    for (int p = 0; p < PLATFORM_COUNT; p++)
        if (t->slots[p] && t->slots[p]->retired)
            return true;
    return t->retired;
}

static const char *retired_platform(const struct track *t)
{
    for (int p = 0; p < PLATFORM_COUNT; p++)
        if (t->slots[p] && t->slots[p]->retired)
            return t->slots[p]->platform_name;
    return NULL;
}

/* Whether a person would think of it. */
static bool sensible(const struct track *t, enum command_verb verb)
{
    switch (verb) {
    case COMMAND_RELEASE:
        return t->held;
    case COMMAND_PROMOTE:
        return t->current && t->current->state == BUILD_HELD;
    case COMMAND_PIN:
    case COMMAND_ROLLBACK:
        return t->published.n > 1;
    case COMMAND_RETRY:
        return t->state == TRACK_FAILED || t->state == TRACK_CANCELLED ||
               t->state == TRACK_BLOCKED || t->reason.code == REASON_BACKING_OFF;
    case COMMAND_WAKE:
        return t->dormant || has_retired(t);
    default:
        return t->last || t->current;
    }
}

/* A track of which it makes sense, mostly. */
static const struct track *track_for(struct sim *s, enum command_verb verb, unsigned b)
{
    const struct track *any = pick(s->m->tracks, b);
    if (!any || b % 5 == 0)
        return any;
    for (const struct track *t = any; t; t = t->hh.next)
        if (sensible(t, verb))
            return t;
    for (const struct track *t = s->m->tracks; t != any; t = t->hh.next)
        if (sensible(t, verb))
            return t;
    return any;
}

static int of_track(struct sim *s, enum command_verb verb, unsigned b, unsigned c, struct err *err)
{
    const struct track *t = track_for(s, verb, b);
    struct command command = {.verb = verb, .who = "a test", .reason = c & 1 ? "why not" : NULL};
    if (!t)
        return err_set(err, -1, "no track");
    command.track = t->id;
    command.platform = some_platform(c);
    if (verb == COMMAND_WAKE && has_retired(t) && !t->retired)
        command.platform = retired_platform(t);
    command.with_dependents = c & 8;
    command.no_cache = c & 16;
    cleanup_free char *publication = NULL;
    if (verb == COMMAND_PIN || (verb == COMMAND_ROLLBACK && c % 3 == 0)) {
        const struct publication *p = pick(s->m->publications, c);
        for (unsigned n = 0; p && n < 8 && !str_eq(p->track_id, t->id); n++)
            p = pick(s->m->publications, c + n);
        publication = xasprintf("%lld", p ? (long long)p->id : 1LL);
        command.publication = publication;
    }
    return give(s, &command, err);
}

static int of_farm(struct sim *s, enum command_verb verb, unsigned b, unsigned c, struct err *err)
{
    return give(s, &(struct command){.verb = verb, .who = "a test"}, err);
}

static int of_job(struct sim *s, enum command_verb verb, unsigned b, unsigned c, struct err *err)
{
    const struct job *j = pick_job(s, b);
    return j ? give(s, &(struct command){.verb = verb, .job = j->key}, err)
             : err_set(err, -1, "no job");
}

static int by_name(struct sim *s, enum command_verb verb, unsigned b, unsigned c, struct err *err)
{
    switch (verb) {
    case COMMAND_FREEZE:
    case COMMAND_THAW:
        return of_farm(s, verb, b, c, err);
    case COMMAND_RETRY:
        return (c & 4 ? of_job : of_track)(s, verb, b, c, err);
    default:
        return of_track(s, verb, b, c, err);
    }
}

/* The chance of each; those without a function are commands by name. `name`: what people write
 * for the others; NULL for what is not done on a real farm. */
static const struct {
    unsigned weight;
    int (*run)(struct sim *s, unsigned b, unsigned c, struct err *err);
    enum command_verb verb;
    const char *name;
} commands[] = {
    {.weight = 4, .run = rebuild, .name = "rebuild"},
    {.weight = 4, .run = cancel_build, .name = "cancel"},
    {.weight = 2, .run = cancel_job},
    {.weight = 5, .run = adopt},
    {.weight = 1, .run = restore},
    {.weight = 2, .run = audit, .name = "audit"},
    {.weight = 6, .verb = COMMAND_HOLD},
    {.weight = 6, .verb = COMMAND_RELEASE},
    {.weight = 2, .verb = COMMAND_FREEZE},
    {.weight = 3, .verb = COMMAND_THAW},
    {.weight = 4, .verb = COMMAND_PIN},
    {.weight = 4, .verb = COMMAND_ROLLBACK},
    {.weight = 4, .verb = COMMAND_PROMOTE},
    {.weight = 5, .verb = COMMAND_RETRY},
    {.weight = 4, .verb = COMMAND_RETIRE},
    {.weight = 4, .verb = COMMAND_WAKE},
    {.weight = 4, .verb = COMMAND_REBUILD},
};

/* The row that a number picks. */
static unsigned picked(unsigned a)
{
    unsigned total = 0, i = 0;
    for (unsigned k = 0; k < sizeof(commands) / sizeof(*commands); k++)
        total += commands[k].weight;
    for (a %= total; a >= commands[i].weight; i++)
        a -= commands[i].weight;
    return i;
}

bool command_short(unsigned a, unsigned b, unsigned c)
{
    unsigned i = picked(a);
    const char *name = commands[i].run ? commands[i].name : command_name(commands[i].verb);
    if (!name)
        return false;
    printf("{\"do\": \"%s\", \"track\": %u, \"number\": %u", name, b, c);
    printf(", \"dependents\": %s, \"cache\": %s", c & 8 ? "true" : "false",
           c & 16 ? "false" : "true");
    return true;
}

void command_do(struct sim *s, unsigned a, unsigned b, unsigned c)
{
    unsigned i = picked(a);
    struct err err = ERR_INIT;
    int r =
        commands[i].run ? commands[i].run(s, b, c, &err) : by_name(s, commands[i].verb, b, c, &err);
    covered(r < 0 ? COVERED_REFUSED : COVERED_COMMANDS);
    if (r < 0)
        sim_say(s, "  refused: %s", err.text);
}
