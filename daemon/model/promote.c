/* Promote: a person says that what the track built last is what its tags name, now.
 *
 * It goes through a hold or a freeze, which stays and holds the next build again; it ends a pin, but not its hold; and it
 * settles a tag conflict, or a tag that stays with a held track, in this track's favour. It does not make an older
 * version own what a higher one owns: that one is held, rolled back or retired. */
#include "daemon/model/command.h"
#include "daemon/model/hold.h"
#include "daemon/model/owner.h"

#include <errno.h>
#include <inttypes.h>

/* Whether the plan of the track got as far as its tags. */
static bool finished(const struct track *t)
{
    return t->current && (t->state == TRACK_HELD || t->state == TRACK_CONFLICT ||
                          t->state == TRACK_PUBLISHED || t->state == TRACK_PUBLISHING);
}

static void take(struct model *m, const struct track *t, struct tag *tag)
{
    str_replace(&tag->track_id, t->id);
    model_touch(m, tag);
}

/* The tags that another track has and that this one may claim as well as that: they are its own from now on. */
static int take_tags(struct model *m, struct track *t)
{
    int n = 0;
    VEC_FOREACH (&t->claims, it) {
        struct tag *tag = (*it)->current;
        const struct track *owner = tag ? track_find(m, tag->track_id) : NULL;
        if (owner && owner != t && owner_contends(m, owner, t, *it)) {
            take(m, t, tag);
            n++;
        }
        VEC_FOREACH (&(*it)->parts, part)
            if (tag && str_eq(tag->track_id, t->id) && (*part)->current &&
                !str_eq((*part)->current->track_id, t->id) &&
                owner_part_taken(m, t, (*part)->tag)) {
                take(m, t, (*part)->current);
                n++;
            }
    }
    return n;
}

int command_promote(struct model *m, struct track *t, const struct command *c,
                    struct command_answer *a, struct err *err)
{
    (void)c;
    if (!finished(t))
        return err_set(err, -EBUSY, "%s has no finished build to promote: it is %s%s%s", t->id,
                       track_state_names[t->state], t->reason.text && *t->reason.text ? ": " : "",
                       t->reason.text ? t->reason.text : "");
    int r = command_repository_stopped(m, t, err);
    if (r < 0)
        return r;
    int taken = take_tags(m, t);
    bool waits = held(m, t) && (t->pinned || publish_pending(m, t));
    if (!taken && waits && hold_lets_through(t)) {
        answer_set(a, false, "build %" PRId64 " of %s is let through its hold already",
                   t->current->id, t->id);
        return 0;
    }
    if (!taken && !waits) {
        answer_set(a, false, "the tags of %s are where build %" PRId64 " puts them", t->id,
                   t->current->id);
        return 0;
    }
    if (waits) {
        t->promoted = t->current->id;
        t->pinned = 0;
        prune_later(m, t);
        model_touch(m, t);
    }
    publication_reconsider(m, t->image->repository);
    answer_set(a, true, "build %" PRId64 " of %s is published%s", t->current->id, t->id,
               held(m, t) ? "; the hold stays, for the next one" : "");
    return 0;
}
