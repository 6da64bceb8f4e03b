/* Commands: what people decide about tracks and the farm. One entry, one table; each that changed something is
 * recorded with who, when and why. */
#include "daemon/model/command.h"

#include <errno.h>
#include <stdarg.h>

enum scope { SCOPE_TRACK, SCOPE_FARM, SCOPE_TRACK_OR_JOB };

struct verb {
    const char *name;
    enum scope scope;
    int (*run)(struct model *m, struct track *t, const struct command *c, struct command_answer *a,
               struct err *err);
};

static const struct verb verbs[COMMAND_COUNT] = {
    [COMMAND_HOLD] = {"hold", SCOPE_TRACK, command_hold},
    [COMMAND_RELEASE] = {"release", SCOPE_TRACK, command_release},
    [COMMAND_FREEZE] = {"freeze", SCOPE_FARM, command_freeze},
    [COMMAND_THAW] = {"thaw", SCOPE_FARM, command_thaw},
    [COMMAND_PIN] = {"pin", SCOPE_TRACK, command_pin},
    [COMMAND_ROLLBACK] = {"rollback", SCOPE_TRACK, command_rollback},
    [COMMAND_PROMOTE] = {"promote", SCOPE_TRACK, command_promote},
    [COMMAND_RETRY] = {"retry", SCOPE_TRACK_OR_JOB, command_retry},
    [COMMAND_RETIRE] = {"retire", SCOPE_TRACK, command_retire},
    [COMMAND_WAKE] = {"wake", SCOPE_TRACK, command_wake},
    [COMMAND_REBUILD] = {"rebuild", SCOPE_TRACK, command_rebuild},
};

int command_verb_of(const char *name)
{
    for (int v = 0; v < COMMAND_COUNT; v++)
        if (str_eq(verbs[v].name, name))
            return v;
    return -ENOENT;
}

const char *command_name(enum command_verb verb)
{
    return verbs[verb].name;
}

const char *command_who(const struct command *c)
{
    return c->who && *c->who ? c->who : "a person";
}

int command_not_built(const struct track *t, const char *platform, struct err *err)
{
    cleanup_strbuf struct strbuf built = {0};
    for (int p = 0; p < PLATFORM_COUNT; p++)
        if (t->slots[p] && t->slots[p]->wanted)
            strbuf_addf(&built, "%s%s", built.n ? ", " : "", t->slots[p]->platform_name);
    return err_set(err, -EINVAL, "platform: %s is not built for %s; write one of %s", t->id,
                   platform, strbuf_str(&built));
}

int command_repository_stopped(struct model *m, const struct track *t, struct err *err)
{
    const struct repository *r = model_repository(m, t->image->repository);
    if (!r->stopped)
        return 0;
    return err_set(err, -EBUSY, "%s has stopped: %s (adopt or restore decides)", r->name,
                   r->stopped);
}

int command_out_of_bounds(const struct track *t, struct err *err)
{
    return err_set(err, -EBUSY, "%s: its version is outside versions: %s; change that in farm.yaml",
                   t->id, t->image->versions);
}

int command_platform(const struct command *c, const struct track *t, enum platform *ret,
                     struct err *err)
{
    *ret = PLATFORM_COUNT;
    if (!c->platform)
        return 0;
    if (platform_parse(c->platform, ret, err) < 0)
        return err_wrap(err, "platform");
    if (!t->slots[*ret])
        return command_not_built(t, c->platform, err);
    return 0;
}

void answer_set(struct command_answer *a, bool changed, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    free(a->text);
    if (vasprintf(&a->text, fmt, ap) < 0)
        abort();
    va_end(ap);
    a->changed = changed;
}

void command_answer_done(struct command_answer *a)
{
    free(a->text);
    strvec_done(&a->tracks);
    *a = (struct command_answer){0};
}

/* The record of what was done; it only grows, and nothing is decided by it. */
static int64_t record(struct model *m, const struct command *c, const struct command_answer *a)
{
    struct action action = {
        .id = model_next(m, "next action"),
        .at = m->wall,
        .who = (char *)(uintptr_t)command_who(c),
        .verb = (char *)(uintptr_t)verbs[c->verb].name,
        .track = (char *)(uintptr_t)c->track,
        .job = (char *)(uintptr_t)c->job,
        .reason = (char *)(uintptr_t)c->reason,
        .text = a->text,
    };
    delta_upsert(&m->turn->delta, TABLE_ACTION, &action);
    return action.id;
}

static int find_track(struct model *m, const struct command *c, struct track **ret, struct err *err)
{
    enum scope scope = verbs[c->verb].scope;
    if (scope == SCOPE_FARM || (scope == SCOPE_TRACK_OR_JOB && c->job))
        return 0;
    *ret = c->track ? track_find(m, c->track) : NULL;
    if (!*ret || !(*ret)->image)
        return err_set(err, -ENOENT, "no track '%.200s' (sheafctl tracks lists them)",
                       c->track ? c->track : "");
    return 0;
}

int model_on_command(struct model *m, const struct command *c, struct command_answer *ret,
                     struct err *err)
{
    struct track *t = NULL;
    struct command_answer a = {0};
    int r = find_track(m, c, &t, err);
    if (r == 0)
        r = verbs[c->verb].run(m, t, c, &a, err);
    if (r < 0) {
        command_answer_done(&a);
        return r;
    }
    if (a.changed)
        a.action = record(m, c, &a);
    *ret = a;
    return 0;
}
