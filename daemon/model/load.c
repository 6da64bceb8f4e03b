/* From rows to objects, and what a start, a reload and time make of them. */
#include "daemon/model/audit.h"
#include "daemon/model/estimate.h"
#include "daemon/model/hold.h"
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"
#include "daemon/model/schedule.h"

#include <errno.h>

/* ---- rows ---- */

static void add_source(struct model *m, struct source *s)
{
    HASH_ADD_KEYPTR(hh, m->sources, s->url, strlen(s->url), s);
}

static void add_setting(struct model *m, struct setting *s)
{
    HASH_ADD_KEYPTR(hh, m->settings, s->key, strlen(s->key), s);
}

static void add_ref(struct model *m, struct ref *r)
{
    struct source *s = source_get(m, r->source);
    HASH_ADD_KEYPTR(hh, s->refs, r->name, strlen(r->name), r);
}

static int add_slot(struct model *m, struct slot *s)
{
    s->t = track_find(m, s->track);
    if (!s->t || platform_parse(s->platform_name, &s->platform, NULL) < 0)
        return -EINVAL;
    s->t->slots[s->platform] = s;
    return 0;
}

static int add_job(struct model *m, struct job *j)
{
    job_add(m, j);
    if (j->state == JOB_WANTED || j->retry_clock)
        vec_push(&m->loaded_waiting, j);
    return platform_parse(j->platform_name, &j->platform, NULL);
}

static void add_build(struct model *m, struct build *b)
{
    HASH_ADD(hh, m->builds, id, sizeof(b->id), b);
}

static int add_build_job(struct model *m, struct build_job *bj)
{
    struct build *b = NULL;
    HASH_FIND(hh, m->builds, &bj->build, sizeof(bj->build), b);
    if (!b || platform_parse(bj->platform_name, &bj->platform, NULL) < 0)
        return -EINVAL;
    vec_push(&b->jobs, bj);
    return 0;
}

static int add_publication(struct model *m, struct publication *p)
{
    publication_add(m, p);
    if (publication_decode(p) < 0)
        return -EINVAL;
    publication_known(m, p, true);
    return 0;
}

static int add_publication_tag(struct model *m, struct publication_tag *pt)
{
    struct publication *p = publication_find(m, pt->publication);
    if (!p)
        return -EINVAL;
    vec_push(&p->tags, pt);
    return 0;
}

int model_add(struct model *m, enum table_id table, void *object)
{
    switch (table) {
    case TABLE_SETTING:
        add_setting(m, object);
        return 0;
    case TABLE_SOURCE:
        add_source(m, object);
        return 0;
    case TABLE_REF:
        add_ref(m, object);
        return 0;
    case TABLE_CONTEXT:
        context_add(m, object);
        return 0;
    case TABLE_EPOCH:
        epoch_add(m, object);
        return 0;
    case TABLE_BASE:
        base_add(m, object);
        base_decode(object);
        return 0;
    case TABLE_TRACK:
        track_add(m, object);
        return 0;
    case TABLE_SLOT:
        return add_slot(m, object);
    case TABLE_JOB:
        return add_job(m, object);
    case TABLE_ATTEMPT:
        attempt_add(m, object);
        return 0;
    case TABLE_BUILD:
        add_build(m, object);
        return 0;
    case TABLE_BUILD_JOB:
        return add_build_job(m, object);
    case TABLE_PUBLICATION:
        return add_publication(m, object);
    case TABLE_PUBLICATION_TAG:
        return add_publication_tag(m, object);
    case TABLE_TAG:
        tag_add(m, object);
        return 0;
    case TABLE_BOARD:
        board_add(m, object);
        board_decode(m, object);
        return 0;
    case TABLE_RETENTION:
        return retain_load(m, object);
    default:
        return -EINVAL;
    }
}

int model_load(struct model *m, enum table_id table, const struct cell *cells, struct err *err)
{
    if (table == TABLE_JOB && past_load(m, cells))
        return 0;
    struct row *row = xcalloc(1, table_of(table)->size);
    row->table = table;
    if (row_decode(table, cells, row) < 0 || model_add(m, table, row) < 0)
        return err_set(err, -EINVAL, "the store's table %s has a row that makes no sense",
                       table_of(table)->name);
    return 0;
}

int model_load_row(void *model, enum table_id table, const struct cell *cells, struct err *err)
{
    return model_load(model, table, cells, err);
}

/* ---- links ---- */

/* For each image of the farm whether `old` says the same of it, so that its tracks are linked as they should be. The
 * caller owns the answer. */
static bool *images_unchanged(const struct farm *farm, const struct farm *old)
{
    bool *same = xcalloc(farm->images.n + 1, sizeof(*same));
    if (!old || old == farm || !str_eq(old->registry, farm->registry))
        return same;
    for (size_t i = 0; i < farm->images.n; i++) {
        const struct farm_image *was = farm_image(old, farm->images.items[i].name);
        same[i] = was && farm_image_equal(was, &farm->images.items[i]);
    }
    return same;
}

/* `old` is the farm before; NULL: nothing is linked yet. One that was changed in place is compared with nothing. */
static void link_tracks(struct model *m, const struct farm *old)
{
    cleanup_free bool *same = images_unchanged(m->farm, old);
    m->edges++;
    struct repository *r, *next;
    HASH_ITER(hh, m->repositories, r, next)
    r->tracks.n = 0;
    for (struct track *t = m->tracks; t; t = t->hh.next) {
        const struct farm_image *image = farm_image(m->farm, t->image_name);
        if (t->image && image && same[image - m->farm->images.items])
            t->image = image;
        else
            track_link(m, t);
        if (t->image)
            vec_push(&model_repository(m, t->image->repository)->tracks, t);
    }
}

static int by_platform(const void *a, const void *b)
{
    return (int)(*(struct build_job *const *)a)->platform -
           (int)(*(struct build_job *const *)b)->platform;
}

static void link_builds(struct model *m)
{
    for (struct build *b = m->builds; b; b = b->hh.next) {
        b->track = track_find(m, b->track_id);
        if (b->track && b->track->build == b->id)
            b->track->current = b;
        if (b->jobs.n) /* the store's order is that of the names */
            qsort(b->jobs.items, b->jobs.n, sizeof(*b->jobs.items), by_platform);
        bool released = b->state == BUILD_SUPERSEDED || b->state == BUILD_CANCELLED;
        VEC_FOREACH (&b->jobs, bj) {
            (*bj)->job = job_find(m, (*bj)->job_key);
            job_hold((*bj)->job);
            if ((*bj)->job && !released)
                vec_push(&(*bj)->job->builds, b);
        }
    }
}

/* Every live lease has a full term again: nobody could renew it while we were away. */
static void link_attempts(struct model *m)
{
    for (struct attempt *a = m->attempts; a; a = a->hh.next) {
        a->job = job_find(m, a->job_key);
        job_hold(a->job);
        a->board = board_find(m, a->board_name);
        a->due = m->mono + m->farm->lease_term_ms;
        a->granted_mono =
            a->granted_clock ? m->mono - (model_clock(m) - a->granted_clock) : m->mono;
        a->sent = true;
        model_timer(m, a->due);
        if (a->job->attempt == a->id)
            a->job->live = a;
        if (a->board)
            vec_push(&a->board->leases, a);
    }
}

static void link_publications(struct model *m)
{
    for (struct tag *tag = m->tags; tag; tag = tag->hh.next)
        tag->shown = publication_find(m, tag->publication);
    for (struct track *t = m->tracks; t; t = t->hh.next)
        t->last = publication_find(m, t->publication);
    for (struct publication *p = m->publications; p; p = p->hh.next)
        if (p->state < PUBLICATION_VERIFIED)
            model_repository(m, p->repository)->running = p;
}

/* Which references are to images of ours is part of what slots keep. */
static void owners_changed(struct model *m)
{
    for (struct track *t = m->tracks; t; t = t->hh.next)
        for (int p = 0; p < PLATFORM_COUNT; p++)
            if (t->slots[p])
                slot_forget(m, t->slots[p]);
}

static void link_repositories(struct model *m)
{
    bool changed = false;
    for (struct repository *r = m->repositories; r; r = r->hh.next)
        r->listed = false;
    VEC_FOREACH (&m->farm->images, image) {
        struct repository *r = model_repository(m, image->repository);
        cleanup_free char *key = xconcat("stopped ", image->repository, NULL);
        str_replace(&r->stopped, model_setting(m, key));
        cleanup_free char *restoring = xconcat("restoring ", image->repository, NULL);
        cleanup_free char *adopting = xconcat("adopting ", image->repository, NULL);
        r->restoring = model_setting(m, restoring);
        r->adopting = model_setting(m, adopting);
        cleanup_free char *asked = xconcat("audit of ", image->repository, NULL);
        r->asked = model_setting(m, asked);
        r->listed = true;
    }
    for (struct repository *r = m->repositories; r; r = r->hh.next) {
        changed = changed || r->owned != r->listed;
        r->owned = r->listed;
    }
    if (changed)
        owners_changed(m);
}

/* farm.yaml says which tags are put back. */
static void judge_audits(struct model *m)
{
    for (struct repository *r = m->repositories; r; r = r->hh.next)
        audit_judge(m, r);
}

/* Before planning: a failed job whose delay is not over is not tried again. */
static void resume_waits(struct model *m)
{
    VEC_FOREACH (&m->loaded_waiting, j)
        if ((*j)->retry_clock && ((*j)->state == JOB_WANTED || (*j)->state == JOB_FAILED))
            job_resume_wait(m, *j);
    for (struct track *t = m->tracks; t; t = t->hh.next) {
        t->wait_due = t->wait_clock >= 0 ? model_clock_due(m, t->wait_clock) : 0;
        for (int p = 0; p < PLATFORM_COUNT; p++)
            if (t->slots[p])
                slot_resume_wait(m, t->slots[p]);
    }
}

static void queue_jobs(struct model *m)
{
    VEC_FOREACH (&m->loaded_waiting, j)
        if ((*j)->state == JOB_WANTED && !(*j)->retry_clock)
            schedule_add(m, *j);
    vec_free(&m->loaded_waiting);
}

static void recall_last(struct model *m)
{
    for (struct track *t = m->tracks; t; t = t->hh.next)
        track_recall(m, t);
}

void model_start(struct model *m)
{
    model_clock_start(m);
    link_tracks(m, NULL);
    estimate_start(m);
    link_builds(m);
    link_attempts(m);
    link_repositories(m);
    link_publications(m);
    recall_last(m);
    hold_apply(m);
    publish_apply_farm(m);
    prune_all(m);
    resume_waits(m);
    judge_audits(m);
    audit_start(m);
    boards_start(m);
    track_sources(m);
    for (struct source *s = m->sources; s; s = s->hh.next)
        track_discover(m, s, false); /* farm.yaml may have changed meanwhile */
    track_maintain(m);
    plan_all(m);
    plan_run(m);
    retain_start(m);
    queue_jobs(m);
}

void model_on_config(struct model *m, const struct farm *farm)
{
    const struct farm *old = m->farm;
    m->farm = farm;
    link_tracks(m, old);
    link_repositories(m);
    recall_last(m);
    hold_apply(m);
    publish_apply_farm(m);
    prune_all(m);
    retain_apply_farm(m);
    judge_audits(m);
    audit_start(m);
    track_sources(m);
    for (struct source *s = m->sources; s; s = s->hh.next)
        track_discover(m, s, false);
    track_maintain(m);
    plan_all(m);
}

bool waits_due(struct model *m)
{
    bool any = false;
    for (struct track *t = m->tracks; t; t = t->hh.next) {
        if (!t->wait_due || t->state != TRACK_WAITING)
            continue;
        any = true;
        if (t->wait_due <= m->mono)
            model_plan_later(m, t);
        else
            model_timer(m, t->wait_due);
    }
    return any;
}

void model_on_timer(struct model *m)
{
    m->next_due = INT64_MAX;
    context_timer(m);
    base_timer(m);
    job_timer(m);
    slot_timer(m);
    board_timer(m);
    publication_timer(m);
    retain_timer(m);
    audit_timer(m);
    model_clock_timer(m, waits_due(m));
}
