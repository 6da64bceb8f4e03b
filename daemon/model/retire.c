/* Retire and wake (design rules 3, 7 and 8).
 *
 * A retired track is not built and owns no tags: a tag that others claim goes to the next of them, the others stay where
 * they are. A retired platform is left out of the track's next index. Waking undoes either, and makes a dormant track
 * one that is kept in date. */
#include "daemon/model/audit.h"
#include "daemon/model/command.h"
#include "daemon/model/owner.h"

#include <errno.h>

/* What may be published is another, and so is which tags are anybody's, to be watched. */
static void reconsider(struct model *m, struct track *t)
{
    publication_reconsider(m, t->image->repository);
    audit_judge(m, model_repository(m, t->image->repository));
}

static bool offered(const struct track *t, int p)
{
    return t->slots[p] && t->slots[p]->wanted && !t->slots[p]->retired;
}

static int retire_platform(struct model *m, struct track *t, enum platform p,
                           struct command_answer *a, struct err *err)
{
    struct slot *s = t->slots[p];
    bool others = false;
    for (int i = 0; i < PLATFORM_COUNT; i++)
        others = others || (i != (int)p && offered(t, i));
    if (s->retired) {
        answer_set(a, false, "%s of %s is retired already", s->platform_name, t->id);
        return 0;
    }
    if (!others)
        return err_set(err, -EBUSY, "%s is the only platform of %s: retire the track itself",
                       s->platform_name, t->id);
    s->retired = true;
    model_touch(m, s);
    reconsider(m, t);
    answer_set(a, true, "%s is built for %s no more, and its next index is without it", t->id,
               s->platform_name);
    return 0;
}

int command_retire(struct model *m, struct track *t, const struct command *c,
                   struct command_answer *a, struct err *err)
{
    enum platform p;
    int r = command_platform(c, t, &p, err);
    if (r < 0)
        return r;
    if (c->platform)
        return retire_platform(m, t, p, a, err);
    if (t->retired) {
        answer_set(a, false, "%s is retired already", t->id);
        return 0;
    }
    t->retired = true;
    owner_rank_anew(t);
    model_touch(m, t);
    reconsider(m, t);
    answer_set(a, true,
               "%s is built no more and owns no tags: they stay where they are until another "
               "track takes them",
               t->id);
    return 0;
}

static int wake_platform(struct model *m, struct track *t, enum platform p,
                         struct command_answer *a)
{
    struct slot *s = t->slots[p];
    if (!s->retired) {
        answer_set(a, false, "%s of %s is not retired", s->platform_name, t->id);
        return 0;
    }
    s->retired = false;
    model_touch(m, s);
    model_plan_later(m, t);
    if (s->wanted)
        answer_set(a, true, "%s is built for %s again", t->id, s->platform_name);
    else
        answer_set(
            a, true,
            "%s of %s is retired no more, but farm.yaml does not name it: it is built once it "
            "does",
            s->platform_name, t->id);
    return 0;
}

int command_wake(struct model *m, struct track *t, const struct command *c,
                 struct command_answer *a, struct err *err)
{
    enum platform p;
    int r = command_platform(c, t, &p, err);
    if (r < 0)
        return r;
    if (c->platform)
        return wake_platform(m, t, p, a);
    if (t->deleted && !t->retired)
        return err_set(err, -EBUSY, "%s: its ref %s is gone upstream; push it again", t->id,
                       t->ref_name);
    if (t->out_of_bounds)
        return command_out_of_bounds(t, err);
    bool stays = t->awake == AWAKE_ALWAYS || t->awake == AWAKE_ASKED;
    if (!t->dormant && !t->retired && stays) {
        answer_set(a, false, "%s is awake", t->id);
        return 0;
    }
    track_wake(m, t, AWAKE_ASKED);
    t->retired = false;
    owner_rank_anew(t);
    model_touch(m, t);
    reconsider(m, t);
    if (t->deleted)
        answer_set(a, true, "%s owns its tags again; its ref %s is gone upstream", t->id,
                   t->ref_name);
    else
        answer_set(a, true, "%s is kept in date", t->id);
    return 0;
}
