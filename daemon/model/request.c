/* What people ask for. */
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"

#include <errno.h>
#include <inttypes.h>

static void rebuild_slot(struct model *m, struct slot *s, bool no_cache)
{
    s->rebuild++;
    s->no_cache = no_cache;
    model_touch(m, s);
}

int model_on_rebuild(struct model *m, const char *track, const char *platform, bool no_cache,
                     struct err *err)
{
    struct track *t = track_find(m, track);
    if (!t || !t->image)
        return err_set(err, -ENOENT, "no track '%s'", track);
    if (t->deleted)
        return err_set(err, -EBUSY, "%s: its ref %s is gone upstream", track, t->ref_name);
    enum platform p = PLATFORM_COUNT;
    if (platform && platform_parse(platform, &p, err) < 0)
        return err->code;
    if (platform && (!t->slots[p] || !t->slots[p]->wanted))
        return err_set(err, -EINVAL, "%s is not built for %s", track, platform);
    for (int i = 0; i < PLATFORM_COUNT; i++)
        if (t->slots[i] && t->slots[i]->wanted && (!platform || i == (int)p))
            rebuild_slot(m, t->slots[i], no_cache);
    t->asked = true;
    track_wake(m, t);
    model_plan_later(m, t);
    return 0;
}

int model_on_cancel_build(struct model *m, int64_t build, struct err *err)
{
    struct build *b = NULL;
    HASH_FIND(hh, m->builds, &build, sizeof(build), b);
    if (!b || !build_active(b))
        return err_set(err, b ? -EBUSY : -ENOENT, "no build %" PRId64 " is under way", build);
    build_end(m, b, BUILD_CANCELLED, REASON_CANCELLED, "by request");
    model_plan_later(m, b->track);
    return 0;
}

int model_on_cancel_job(struct model *m, const char *key, struct err *err)
{
    struct job *j = job_find(m, key);
    if (!j)
        return err_set(err, -ENOENT, "no job '%s'", key);
    if (!job_under_way(j))
        return err_set(err, -EBUSY, "the job is %s already", job_state_names[j->state]);
    job_cancel(m, j, true);
    return 0;
}
