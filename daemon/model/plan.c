/* The plan of one track: what is wanted now, compared with what is.
 *
 *     happy path     slots ready -> a build with one job a platform -> all succeeded -> tags where they should be
 *     failure modes  see track_state: every one ends in a state with a reason, and none is left for good: each has
 *                    the event that brings the track back here (a context, a base, a job, a tag, a board, time)
 *
 * Level-triggered: nothing here remembers what happened, so planning twice decides nothing the second time. */
#include "daemon/model/plan.h"

#include "daemon/model/hold.h"
#include "daemon/model/objects.h"
#include "daemon/model/schedule.h"

static void plan_track(struct model *m, struct track *t);

void plan_all(struct model *m)
{
    for (struct track *t = m->tracks; t; t = t->hh.next)
        model_plan_later(m, t);
}

/* What is awake for others comes last: by then it is known who needs it, as far as it can be. */
void plan_run(struct model *m)
{
    m->boards_stamp++; /* jobs may have been given to boards, or ended on them */
    VEC(struct track *) later = {0};
    m->plans++;
    do {
        VEC_FOREACH (&later, t)
            if ((*t)->queued)
                plan_track(m, *t);
        later.n = 0;
        do {
            while (m->plan.n) {
                struct track *t = m->plan.items[--m->plan.n];
                if (t->queued && t->awake == AWAKE_NEEDED)
                    vec_push(&later, t);
                else if (t->queued)
                    plan_track(m, t);
            }
        } while (track_doze(m));
    } while (later.n);
    vec_free(&later);
}

/* ---- slots and ancestors ---- */

static void evaluate_slots(struct model *m, struct track *t)
{
    slots_evaluate(m, t);
    track_set_bases(m, t);
}

/* Plans the queued ancestors first. Returns whether there were any. */
static bool plan_ancestors(struct model *m, struct track *t)
{
    bool any = false;
    t->visiting = true;
    for (size_t i = 0; i < t->bases.n; i++) {
        struct tag_node *n = t->bases.items[i];
        for (size_t k = 0; k < n->claimants.n; k++) {
            struct track *c = n->claimants.items[k];
            if (!c->queued || c->visiting)
                continue;
            plan_track(m, c);
            any = true;
        }
    }
    t->visiting = false;
    return any;
}

/* Whether `from` is built, however indirectly, on `to`; `path` receives the way back. */
static bool reaches(struct model *m, struct track *from, struct track *to, struct strbuf *path)
{
    from->mark = m->visit;
    VEC_FOREACH (&from->bases, n)
        VEC_FOREACH (&(*n)->claimants, it) {
            struct track *c = *it;
            if (c != to && (c->mark == m->visit || !reaches(m, c, to, path)))
                continue;
            strbuf_addf(path, "%s%s", path->n ? " <- " : "", c->id);
            return true;
        }
    return false;
}

static bool in_cycle(struct model *m, struct track *t)
{
    cleanup_strbuf struct strbuf path = {0};
    m->visit++;
    if (!t->bases.n || !reaches(m, t, t, &path))
        return false;
    track_state_set(m, t, TRACK_BLOCKED, REASON_BASE_CYCLE, "built on itself: %s <- %s",
                    strbuf_str(&path), t->id);
    return true;
}

/* A track is in a cycle no more, or in another one: perhaps others are in none. */
static void plan_cycles(struct model *m)
{
    for (struct track *t = m->tracks; t; t = t->hh.next)
        if (t->reason.code == REASON_BASE_CYCLE)
            model_plan_later(m, t);
}

/* A track is in a cycle: whoever else is now in one is built on it, however indirectly. */
static bool plan_built_on(struct model *m, struct track *t)
{
    if (t->reason.code != REASON_BASE_CYCLE)
        model_plan_later(m, t);
    return true;
}

bool track_under_way(struct model *m, const struct track *t)
{
    const struct publication *running = publish_running(m, t);
    if (running && !running->error)
        return true;
    if (t->state != TRACK_PUBLISHING && held(m, t) && !hold_lets_through(t))
        return false; /* whatever it builds is not published */
    if (t->image && model_repository(m, t->image->repository)->stopped)
        return false; /* nor this */
    switch (t->state) {
    case TRACK_WAITING:
        return t->reason.code == REASON_INSPECTING || t->reason.code == REASON_RESOLVING_BASE ||
               t->reason.code == REASON_BASE_BUILDING;
    case TRACK_PUBLISHING:
        return t->reason.code != REASON_REGISTRY_AWAY && !publish_stuck_behind(m, t);
    case TRACK_BUILDING:
        return build_goes_on(m, t->current);
    default:
        return false;
    }
}

/* ---- the slots together ---- */

static void slot_blocks(struct model *m, struct track *t, enum track_state state,
                        const struct slot *s)
{
    track_state_set(m, t, state, s->reason.code, "%s: %s", s->platform_name, s->reason.text);
}

/* Whether every slot that gates is ready; sets state and reason otherwise. Another slot whose files are still
 * being read is waited for too: its answer comes at once. */
static bool slots_ready(struct model *m, struct track *t)
{
    const struct slot *blocked = NULL, *waiting = NULL;
    bool any = false;
    for (int p = 0; p < PLATFORM_COUNT; p++) {
        const struct slot *s = t->slots[p];
        if (!s || s->state == SLOT_NOT_OFFERED)
            continue;
        any = any || s->state == SLOT_READY;
        if (s->state == SLOT_BLOCKED && slot_gates(s) && !blocked)
            blocked = s;
        if (s->state == SLOT_WAITING && !waiting &&
            (slot_gates(s) || s->reason.code == REASON_INSPECTING))
            waiting = s;
    }
    if (waiting)
        slot_blocks(m, t, TRACK_WAITING, waiting);
    else if (blocked)
        slot_blocks(m, t, TRACK_BLOCKED, blocked);
    else if (!any)
        track_state_set(m, t, TRACK_BLOCKED, REASON_NOT_OFFERED,
                        "upstream has none of the image's platforms, or all are retired");
    return any && !blocked && !waiting;
}

bool slot_needs_work(const struct slot *s)
{
    return s->state == SLOT_READY &&
           (!s->job || (s->job->state == JOB_CANCELLED && !s->job->settled));
}

static bool needs_work(const struct track *t)
{
    for (int p = 0; p < PLATFORM_COUNT; p++)
        if (t->slots[p] && slot_needs_work(t->slots[p]))
            return true;
    return false;
}

/* ---- the build ---- */

/* Where no platform gates, the first success publishes: until then each of them counts. */
static bool all_count(const struct build *b)
{
    VEC_FOREACH (&b->jobs, bj)
        if ((*bj)->required || (*bj)->job->state == JOB_SUCCEEDED ||
            slot_kept_child(b->track->slots[(*bj)->platform]))
            return false;
    return true;
}

static const struct build_job *required_job_in(const struct build *b, enum job_state state)
{
    bool all = all_count(b);
    VEC_FOREACH (&b->jobs, bj)
        if (((*bj)->required || all) && (*bj)->job->state == state)
            return *bj;
    return NULL;
}

/* What has succeeded once: "why built" compares with it, and it gates from then on. */
static void settle_slots(struct model *m, struct track *t)
{
    VEC_FOREACH (&t->current->jobs, bj) {
        struct slot *s = t->slots[(*bj)->platform];
        if (!s || (*bj)->job->state != JOB_SUCCEEDED || str_eq(s->last_key, (*bj)->job_key))
            continue;
        if (s->last_key) /* of the past now, unless its key comes again */
            past_expect(m, job_find(m, s->last_key));
        str_replace(&s->last_key, (*bj)->job_key);
        model_touch(m, s);
    }
    build_update_required(m, t->current);
}

static void judge_failed(struct model *m, struct track *t, const struct build_job *bj)
{
    const struct job *j = bj->job;
    cleanup_free char *text = job_failed_text(j);
    if (build_active(t->current))
        build_end(m, t->current, BUILD_FAILED, REASON_JOB_FAILED, "%s: %s: %s", bj->platform_name,
                  failure_kind_names[j->kind], j->reason ? j->reason : "");
    track_state_set(m, t, TRACK_FAILED, REASON_JOB_FAILED, "%s: %s", bj->platform_name, text);
    if (!t->superseded)
        return;
    t->superseded = 0;
    model_touch(m, t);
}

static void judge_cancelled(struct model *m, struct track *t, const struct build_job *bj)
{
    if (build_active(t->current))
        build_end(m, t->current, BUILD_CANCELLED, REASON_CANCELLED, "%s was cancelled",
                  bj->platform_name);
    track_state_set(m, t, TRACK_CANCELLED, REASON_CANCELLED, "%s was cancelled", bj->platform_name);
}

static void judge_running(struct model *m, struct track *t)
{
    const struct build_job *running = required_job_in(t->current, JOB_RUNNING);
    if (!running)
        running = required_job_in(t->current, JOB_LEASED);
    enum build_state state = t->current->state;
    /* One that was past its jobs has lost the output of one. */
    if ((running && state == BUILD_WAITING) || state == BUILD_HELD || state == BUILD_PUBLISHING)
        build_move(m, t->current, BUILD_RUNNING);
    if (running) {
        track_state_set(m, t, TRACK_BUILDING, REASON_RUNNING, "%s on %s", running->platform_name,
                        running->job->board);
        return;
    }
    const struct build_job *wanted = required_job_in(t->current, JOB_WANTED);
    struct reason why = {0};
    schedule_why(m, wanted->job, &why);
    track_state_set(m, t, TRACK_BUILDING, why.code, "%s: %s", wanted->platform_name, why.text);
    reason_done(&why);
}

/* Judges the track by the jobs of its latest build. */
static void judge_build(struct model *m, struct track *t)
{
    const struct build_job *bj;
    if (t->current && t->current->state != BUILD_CANCELLED) {
        settle_slots(m, t);
        publish_keep(m, t);
    }
    if (!t->current)
        track_state_set(m, t, TRACK_UNKNOWN, REASON_NONE, "%s", "");
    else if (t->current->state ==
             BUILD_CANCELLED) /* whatever becomes of jobs that others want too */
        track_state_set(m, t, TRACK_CANCELLED, REASON_CANCELLED, "%s", t->current->end);
    else if ((bj = required_job_in(t->current, JOB_FAILED)))
        judge_failed(m, t, bj);
    else if ((bj = required_job_in(t->current, JOB_CANCELLED)))
        judge_cancelled(m, t, bj);
    else if (required_job_in(t->current, JOB_WANTED) || required_job_in(t->current, JOB_LEASED) ||
             required_job_in(t->current, JOB_RUNNING))
        judge_running(m, t);
    else
        plan_publish(m, t);
}

/* ---- the track ---- */

/* Of a track that is not built: what its tags name may be lost, which a person has to decide about. */
static void say_lost(struct model *m, struct track *t)
{
    if (t->retired || t->state == TRACK_WAITING || !track_published(t) || !t->last->error)
        return;
    cleanup_free char *was = xstrdup(t->reason.text);
    cleanup_free char *remedy = t->deleted || !t->ref ? xstrdup("push the ref again, or retire it")
                                : t->out_of_bounds    ? xstrdup("widen `versions`, or retire it")
                                : t->dormant
                                    ? xasprintf("sheafctl wake %s builds it again", t->id)
                                    : xstrdup("it is built again when its tags can be told");
    track_state_set(m, t, t->state, REASON_CHILD_MISSING,
                    "%s; the registry lost something of it (%s): %s", was, t->last->error, remedy);
}

/* The image's source is another one, which was not looked at yet: whether it has the ref nobody knows. */
static void await_sighting(struct model *m, struct track *t)
{
    struct source *s = NULL;
    HASH_FIND_STR(m->sources, t->image->source, s);
    bool away = s && s->error;
    track_state_set(m, t, TRACK_WAITING, away ? REASON_SOURCE_AWAY : REASON_INSPECTING,
                    "looking for %s in %s%s%s", t->ref_name, t->image->source, away ? ": " : "",
                    away ? s->error : "");
}

static bool stopped(struct model *m, struct track *t)
{
    bool awaits = t->image && track_awaits_sighting(m, t);
    if (!t->image)
        track_state_set(m, t, TRACK_UNKNOWN, REASON_NOT_CONFIGURED, "no longer in farm.yaml");
    else if (t->retired)
        track_state_set(m, t, TRACK_RETIRED, REASON_RETIRED,
                        "retired: it is not built, and owns no tags");
    else if (awaits && !t->dormant && !t->out_of_bounds)
        await_sighting(m, t);
    else if (t->deleted || (!t->ref && !awaits))
        track_state_set(m, t, TRACK_DELETED, REASON_REF_DELETED,
                        "%s is gone upstream; its tags stay", t->ref_name);
    else if (t->out_of_bounds)
        track_state_set(m, t, TRACK_DORMANT, REASON_OUT_OF_BOUNDS,
                        "version %s is outside versions: %s; its tags stay", t->version,
                        t->image->versions);
    else if (t->dormant)
        track_state_set(m, t, TRACK_DORMANT, REASON_DORMANT,
                        "older than what is kept in date; wakes when it moves or is asked for");
    else if (t->tag_error)
        track_state_set(m, t, TRACK_BLOCKED, REASON_TAG_CONFLICT, "%s", t->tag_error);
    else
        return false;
    if (t->current)
        build_stop(m, t->current, t->reason.code, t->reason.text);
    say_lost(m, t);
    return true;
}

/* Before it is decided to build: what is queued further up is planned, for it may turn out to be under way. Returns
 * whether there was any. */
static bool plan_far_ancestors(struct model *m, struct track *t)
{
    bool any = false;
    struct track *c;
    t->visiting = true;
    while ((c = wait_queued_ancestor(m, t))) {
        plan_track(m, c);
        any = true;
    }
    t->visiting = false;
    return any;
}

/* What has stopped is built on nothing: it closes no cycle, and wakes nothing. */
static void forget_bases(struct model *m, struct track *t)
{
    for (int p = 0; p < PLATFORM_COUNT; p++)
        if (t->slots[p])
            slot_forget(m, t->slots[p]);
    track_set_bases(m, t);
}

/* Whether the track can be built at all; says why not. */
static bool ready(struct model *m, struct track *t)
{
    evaluate_slots(m, t);
    if (plan_ancestors(m, t))
        evaluate_slots(m, t);
    if (in_cycle(m, t) || !slots_ready(m, t))
        return false;
    if (!needs_work(t) || !plan_far_ancestors(m, t))
        return true;
    evaluate_slots(m, t);
    return slots_ready(m, t);
}

static void decide(struct model *m, struct track *t)
{
    t->stopped = stopped(m, t);
    if (t->stopped) {
        str_replace(&t->conflict, NULL);
        wait_forget(m, t);
        forget_bases(m, t);
        return;
    }
    bool can = ready(m, t);
    if (!can && t->state == TRACK_WAITING)
        return; /* what it is built on is being found out: a wait goes on */
    bool needs = can && needs_work(t) && !build_may_finish(m, t) && !build_stays_cancelled(t);
    if (wait_for_ancestor(m, t, needs) || !can)
        return;
    build_sync(m, t);
    judge_build(m, t);
}

/* Counts the tracks of which it is not known what they are built on. */
static void note_unread(struct model *m, struct track *t)
{
    bool unread = false;
    for (int p = 0; p < PLATFORM_COUNT && !unread; p++)
        unread = t->slots[p] && t->slots[p]->context && !t->slots[p]->context->known;
    m->unread_tracks += unread - t->unread;
    t->unread = unread;
}

/* What it is waiting for, or blocked by, is newer than what its tags name by now: that build has ended. */
static void end_published(struct model *m, struct track *t)
{
    struct build *b = t->current;
    const struct publication *p =
        b && b->state == BUILD_PUBLISHING ? publication_find(m, b->publication) : NULL;
    if (!p || p->state != PUBLICATION_VERIFIED ||
        (t->state != TRACK_WAITING && t->state != TRACK_BLOCKED))
        return;
    build_end(m, b, BUILD_PUBLISHED, REASON_PUBLISHED, "%s", "");
    t->superseded = 0;
    model_touch(m, t);
}

static void plan_track(struct model *m, struct track *t)
{
    t->queued = t->lost_tag = false;
    bool was = t->under_way, was_stopped = t->stopped, passed = wait_passes(t);
    bool cyclic = t->reason.code == REASON_BASE_CYCLE;
    int64_t edges = m->edges;
    decide(m, t);
    end_published(m, t);
    bool cycle = t->reason.code == REASON_BASE_CYCLE;
    if (cyclic && (!cycle || m->edges != edges))
        plan_cycles(m);
    if (cycle && (!cyclic || m->edges != edges))
        track_walk_below(m, t, plan_built_on);
    if (!plan_return(m, t))
        plan_show_running(m, t);
    publish_waits_no_more(m, t);
    t->under_way = track_under_way(m, t);
    note_unread(m, t);
    if (t->awake == AWAKE_ONCE && t->state == TRACK_PUBLISHED)
        track_published_again(m, t);
    if (was && !t->under_way)
        wait_over(m, t);
    if (passed && !wait_passes(t))
        wait_cut(m, t);
    if (was != t->under_way || was_stopped != t->stopped) /* worth waiting for, or no more */
        track_tell_dependents(m, t);
}
