/* What people ask for of builds and jobs: rebuild, cancel. */
#include "daemon/model/command.h"

#include <errno.h>
#include <inttypes.h>

/* ---- rebuild ---- */

/* Whether such a rebuild of the slot is asked for already, and not done yet. */
static bool on_its_way(const struct slot *s, bool no_cache)
{
    const struct build *b = s->t->current;
    if (s->no_cache != no_cache || !s->rebuild)
        return false;
    if (s->t->asked == REASON_REBUILD_ASKED)
        return true;
    return b && b->state != BUILD_CANCELLED && b->why_code == REASON_REBUILD_ASKED && s->job &&
           job_under_way(s->job); /* the build may have ended without an optional one */
}

static int rebuild_track(struct model *m, struct track *t, enum platform only, bool no_cache)
{
    int n = 0;
    for (int p = 0; p < PLATFORM_COUNT; p++) {
        struct slot *s = t->slots[p];
        if (!s || !s->wanted || s->retired || (only != PLATFORM_COUNT && p != (int)only) ||
            on_its_way(s, no_cache))
            continue;
        s->rebuild++;
        s->no_cache = no_cache;
        model_touch(m, s);
        n++;
    }
    if (n)
        track_ask(m, t, REASON_REBUILD_ASKED);
    if (t->dormant)
        track_wake(m, t, AWAKE_ONCE);
    model_plan_later(m, t);
    return n;
}

typedef VEC(struct track *) trackvec;

/* Everything that is built on the tracks in the list, however indirectly, is added to it. What is stopped is left
 * out, with what is built on it alone. */
static void add_dependents(struct model *m, trackvec *list)
{
    m->visit++;
    for (size_t i = 0; i < list->n; i++) {
        list->items[i]->mark = m->visit;
        VEC_FOREACH (&list->items[i]->claims, n)
            VEC_FOREACH (&(*n)->dependents, it) {
                struct track *d = *it;
                if (d->mark == m->visit || !d->image || d->deleted || d->dormant || d->retired)
                    continue;
                d->mark = m->visit;
                vec_push(list, d);
            }
    }
}

int command_rebuild(struct model *m, struct track *t, const struct command *c,
                    struct command_answer *a, struct err *err)
{
    enum platform p;
    int r = command_platform(c, t, &p, err);
    if (r < 0)
        return r;
    if (t->retired || (c->platform && t->slots[p]->retired))
        return err_set(err, -EBUSY, "%s%s%s is retired: wake it first", t->id,
                       c->platform ? ", " : "", c->platform ? c->platform : "");
    if (t->deleted)
        return err_set(err, -EBUSY, "%s: its ref %s is gone upstream; push it again to build it",
                       t->id, t->ref_name);
    if (t->out_of_bounds)
        return command_out_of_bounds(t, err);
    if (c->platform && !t->slots[p]->wanted)
        return command_not_built(t, c->platform, err);
    trackvec list = {0};
    vec_push(&list, t);
    if (c->with_dependents)
        add_dependents(m, &list);
    VEC_FOREACH (&list, it)
        if (rebuild_track(m, *it, p, c->no_cache))
            strvec_add(&a->tracks, (*it)->id);
    vec_free(&list);
    if (!a->tracks.n)
        answer_set(a, false, "%s is being rebuilt already", t->id);
    else if (a->tracks.n == 1)
        answer_set(a, true, "%s is built again", a->tracks.items[0]);
    else
        answer_set(a, true, "%zu tracks are built again", a->tracks.n);
    return 0;
}

int model_on_rebuild(struct model *m, const char *track, const char *platform, bool no_cache,
                     struct err *err)
{
    struct command c = {
        .verb = COMMAND_REBUILD, .track = track, .platform = platform, .no_cache = no_cache};
    struct command_answer a = {0};
    int r = model_on_command(m, &c, &a, err);
    command_answer_done(&a);
    return r;
}

/* ---- cancel ---- */

int model_on_cancel_build(struct model *m, int64_t build, struct err *err)
{
    struct build *b = NULL;
    HASH_FIND(hh, m->builds, &build, sizeof(build), b);
    const char *last = model_setting(m, "next build");
    if (!b && (build < 1 || build > (last ? strtoll(last, NULL, 10) : 0)))
        return err_set(err, -ENOENT, "no build '%" PRId64 "'; GET /v1/builds lists them", build);
    if (b && b->state == BUILD_CANCELLED)
        return 0;
    if (!b || !build_active(b)) /* the model keeps the last of each track, the store the others */
        return err_set(err, -EBUSY,
                       "build %" PRId64 " has ended: only what is under way can be cancelled",
                       build);
    struct publication *p = b->publication ? publication_find(m, b->publication) : NULL;
    if (p && p->state == PUBLICATION_TAGS)
        return err_set(err, -EBUSY, "its tags are being moved: build %" PRId64 " runs to its end",
                       build);
    if (p && p->state < PUBLICATION_TAGS)
        publication_abandon(m, p, "its build was cancelled");
    build_end(m, b, BUILD_CANCELLED, REASON_CANCELLED, "by request");
    model_plan_later(m, b->track);
    return 0;
}

int model_on_cancel_job(struct model *m, const char *key, struct err *err)
{
    struct job *j = job_find(m, key);
    if (!j)
        return err_set(err, -ENOENT, "no job '%.200s'; GET /v1/builds lists them", key);
    if (j->state == JOB_CANCELLED && j->settled)
        return 0;
    if (!job_under_way(j))
        return err_set(err, -EBUSY,
                       "the job is %s already: only what is under way can be cancelled",
                       job_state_names[j->state]);
    job_cancel(m, j, true);
    return 0;
}
