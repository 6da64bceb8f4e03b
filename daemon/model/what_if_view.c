/* What if: the answer; docs/api.md says what each member means. */
#include "daemon/model/objects.h"
#include "daemon/model/schedule.h"
#include "daemon/model/view.h"
#include "daemon/model/what_if_int.h"

/* What is done so much later is not counted as later. */
#define LATER_MS 1000

static json_t *strings(const strvec *list)
{
    json_t *array = json_array();
    VEC_FOREACH (list, s)
        json_array_append_new(array, json_string(*s));
    return array;
}

static json_t *since(const struct what_if *w, int64_t at)
{
    return at ? json_integer(at - w->began) : json_null();
}

/* ---- the question ---- */

static json_t *event(const struct what_if *w)
{
    static const char *const names[] = {[WHAT_IF_PUSH] = "push",
                                        [WHAT_IF_BASE] = "base",
                                        [WHAT_IF_CONFIG] = "config",
                                        [WHAT_IF_BOARD] = "board"};
    return json_pack("{s:s,s:o,s:o,s:o,s:o,s:o,s:o}", "event", names[w->q.kind], "source",
                     view_text(w->q.source), "refs", strings(&w->refs), "commit",
                     view_text(w->q.commit), "paths", strings(&w->q.paths), "reference",
                     view_text(w->q.reference), "board", view_text(w->q.board));
}

/* ---- builds ---- */

static json_t *job_why_not(struct sim *s, const struct job *j)
{
    if (!j || j->state == JOB_SUCCEEDED)
        return json_null();
    struct reason why = {0};
    if (j->state == JOB_WANTED)
        schedule_why(s->m, j, &why);
    else if (j->state == JOB_FAILED)
        reason_set(&why, REASON_JOB_FAILED, "%s", j->reason ? j->reason : "");
    else if (j->state == JOB_CANCELLED)
        reason_set(&why, REASON_SUPERSEDED, "nobody wants it any more");
    json_t *view = view_reason(why.code, why.text);
    reason_done(&why);
    return view;
}

static const struct slot *slot_of(const struct track *t, const char *platform)
{
    enum platform p;
    return t && platform_parse(platform, &p, NULL) == 0 ? t->slots[p] : NULL;
}

/* `stale_ms`: of an optional one that is not built, when its last good child would count as stale. */
static json_t *need(struct sim *s, const struct track *t, const struct what_need *n)
{
    const struct what_if *w = s->w;
    struct what_job *ran = NULL;
    const struct slot *slot = slot_of(t, n->platform);
    HASH_FIND_STR(w->jobs, n->key, ran);
    return json_pack("{s:s,s:b,s:s,s:b,s:o,s:o,s:o,s:o,s:o}", "platform", n->platform, "required",
                     n->required, "job", n->key, "done_before", n->before, "board",
                     view_text(ran ? ran->board : NULL), "begins_ms",
                     since(w, ran ? ran->begins : 0), "ends_ms", since(w, ran ? ran->ends : 0),
                     "stale_ms", since(w, slot ? slot->stale_due : 0), "reason",
                     n->before ? json_null() : job_why_not(s, job_find(s->m, n->key)));
}

static json_t *build(struct sim *s, const struct what_build *b)
{
    json_t *jobs = json_array();
    const struct track *t = track_find(s->m, b->b.track_id);
    VEC_FOREACH (&b->needs, n)
        json_array_append_new(jobs, need(s, t, n));
    return json_pack("{s:s,s:o,s:i,s:s,s:o,s:s,s:o,s:o}", "track", b->b.track_id, "image",
                     view_text(t ? t->image_name : NULL), "wave", b->wave, "class",
                     build_class_names[b->b.class], "why", view_reason(b->b.why_code, b->b.why),
                     "state", build_state_names[b->b.state], "made_ms",
                     json_integer(b->made - s->w->began), "jobs", jobs);
}

static int build_cmp(const void *a, const void *b)
{
    const struct what_build *x = a, *y = b;
    if (x->wave != y->wave)
        return x->wave < y->wave ? -1 : 1;
    int order = strcmp(x->b.track_id, y->b.track_id);
    return order ? order : x->b.id < y->b.id ? -1 : 1;
}

/* A lost board makes none: those that follow are of what was under way. */
static json_t *builds(struct sim *s)
{
    json_t *list = json_array();
    if (s->w->builds.n)
        qsort(s->w->builds.items, s->w->builds.n, sizeof(*s->w->builds.items), build_cmp);
    if (s->w->q.kind != WHAT_IF_BOARD)
        VEC_FOREACH (&s->w->builds, b)
            json_array_append_new(list, build(s, b));
    return list;
}

/* ---- tags ---- */

/* Whether the tag names an index; tags of single platforms go with it. */
static bool names_index(const struct tag *tag)
{
    return !tag->shown || str_eq(tag->digest, tag->shown->digest);
}

static json_t *tags(struct sim *s)
{
    json_t *list = json_array();
    struct what_tag *t, *next;
    HASH_ITER(hh, s->w->tags, t, next)
    {
        struct tag *now = NULL;
        HASH_FIND_STR(s->m->tags, t->name, now);
        if (!t->moved || !now || !names_index(now) || s->w->q.kind == WHAT_IF_BOARD)
            continue;
        if (str_eq(now->digest, t->digest) && str_eq(now->track_id, t->track))
            continue;
        json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:o,s:b}", "repository",
                                              now->repository, "tag", now->name, "track",
                                              now->track_id, "was", view_text(t->track), "moves",
                                              !str_eq(now->digest, t->digest)));
    }
    return list;
}

/* ---- tracks ---- */

static json_t *track_as(enum track_state state, const struct reason *r)
{
    return json_pack("{s:s,s:o}", "state", track_state_names[state], "reason",
                     view_reason(r->code, r->text));
}

/* What is published stays the same however its reason is told. */
static bool same(const struct what_track *before, const struct track *t)
{
    return before->state == t->state && before->known == (t->image != NULL) &&
           (before->reason.code == t->reason.code || t->state == TRACK_PUBLISHED) &&
           str_eq(before->conflict, t->conflict);
}

static json_t *tracks(struct sim *s)
{
    json_t *list = json_array();
    for (const struct track *t = s->m->tracks; t; t = t->hh.next) {
        struct what_track *before = NULL;
        HASH_FIND_STR(s->w->tracks, t->id, before);
        bool had = before && before->known;
        if ((!had && !t->image) || (before && same(before, t)))
            continue;
        json_array_append_new(
            list, json_pack("{s:s,s:o,s:o,s:o}", "track", t->id, "before",
                            had ? track_as(before->state, &before->reason) : json_null(), "after",
                            t->image ? track_as(t->state, &t->reason) : json_null(), "conflict",
                            view_text(t->conflict)));
    }
    return list;
}

/* Platforms that some board could build before, and none can any more. */
static json_t *unserved(struct sim *s)
{
    json_t *list = json_array();
    for (int p = 0; p < PLATFORM_COUNT; p++) {
        json_t *ids = json_array();
        for (const struct track *t = s->m->tracks; t; t = t->hh.next) {
            struct what_track *before = NULL;
            HASH_FIND_STR(s->w->tracks, t->id, before);
            unsigned lost = before && t->image ? before->served & ~what_if_served(s->m, t) : 0;
            if ((lost >> p & 1) && t->slots[p] && t->slots[p]->wanted)
                json_array_append_new(ids, json_string(t->id));
        }
        if (json_array_size(ids))
            json_array_append_new(list,
                                  json_pack("{s:s,s:O}", "platform",
                                            platform_info((enum platform)p)->name, "tracks", ids));
        json_decref(ids);
    }
    return list;
}

/* ---- a lost board ---- */

/* A job that it has, or that would have been done with it: who does it then, and when. */
static json_t *moved_job(struct sim *s, const char *key)
{
    const struct job *j = job_find(s->m, key);
    struct what_job *ran = NULL, *without = NULL;
    HASH_FIND_STR(s->w->jobs, key, ran);
    HASH_FIND_STR(s->w->without, key, without);
    bool done = ran && j && j->state == JOB_SUCCEEDED;
    json_t *why = j ? job_why_not(s, j)
                    : view_reason(REASON_BASE_BUILDING, "what it follows from is not done either");
    return json_pack("{s:s,s:s,s:s,s:o,s:o,s:o,s:o}", "job", key, "track",
                     without ? without->track
                     : j     ? j->track
                             : "",
                     "platform",
                     without ? without->platform
                     : j     ? j->platform_name
                             : "",
                     "board", view_text(done ? ran->board : NULL), "ends_ms",
                     since(s->w, done ? ran->ends : 0), "without_ms",
                     since(s->w, without ? without->ends : 0), "reason", why);
}

/* Jobs that it had. */
static json_t *interrupted(struct sim *s)
{
    json_t *list = json_array();
    VEC_FOREACH (&s->w->interrupted, key)
        json_array_append_new(list, moved_job(s, *key));
    return list;
}

/* Jobs that are done later than they would be with it, or not at all. */
static json_t *delayed(struct sim *s)
{
    json_t *list = json_array();
    for (const struct what_job *j = s->w->without; j; j = j->hh.next) {
        struct what_job *ran = NULL;
        HASH_FIND_STR(s->w->jobs, j->key, ran);
        bool later = !ran || ran->ends > j->ends + LATER_MS;
        if (later && !strvec_has(&s->w->interrupted, j->key))
            json_array_append_new(list, moved_job(s, j->key));
    }
    return list;
}

static bool is_wanted(const struct model *m, int platform)
{
    for (const struct track *t = m->tracks; t; t = t->hh.next)
        if (t->image && t->slots[platform] && t->slots[platform]->wanted)
            return true;
    return false;
}

/* The platforms of the farm that it could build, with the boards that are left for them. */
static json_t *remaining(struct sim *s)
{
    const struct board *lost =
        s->w->q.kind == WHAT_IF_BOARD ? board_find(s->m, s->w->q.board) : NULL;
    json_t *list = json_array();
    for (int p = 0; lost && p < PLATFORM_COUNT; p++) {
        if ((!lost->native[p] && !lost->emulated[p]) || !is_wanted(s->m, p))
            continue;
        json_t *names = json_array();
        for (const struct board *b = s->m->boards; b; b = b->hh.next)
            if (b->state == BOARD_ONLINE && (b->native[p] || b->emulated[p]))
                json_array_append_new(names, json_string(b->name));
        json_array_append_new(list,
                              json_pack("{s:s,s:o}", "platform",
                                        platform_info((enum platform)p)->name, "boards", names));
    }
    return list;
}

/* ---- what comes with time alone ---- */

/* What has failed is tried again, with the event or without. */
static void note_failed(struct what_if *w, const struct track *t)
{
    if (t && t->state == TRACK_FAILED)
        what_if_note(w, "%s has failed, and is taken to fail still when it is tried again", t->id);
}

static void note_time(struct sim *s)
{
    VEC_FOREACH (&s->w->builds, b) {
        const struct track *t = track_find(s->m, b->b.track_id);
        note_failed(s->w, t);
        for (size_t i = 0; t && i < t->bases.n; i++)
            VEC_FOREACH (&t->bases.items[i]->claimants, c)
                note_failed(s->w, *c);
    }
}

/* ---- images ---- */

static json_t *images(const struct what_if *w)
{
    json_t *added = json_array(), *removed = json_array(), *changed = json_array();
    const struct farm *now = w->q.farm, *was = w->farm;
    if (now) {
        VEC_FOREACH (&now->images, i) {
            const struct farm_image *old = farm_image(was, i->name);
            if (!old)
                json_array_append_new(added, json_string(i->name));
            else if (!farm_image_equal(old, i))
                json_array_append_new(changed, json_string(i->name));
        }
        VEC_FOREACH (&was->images, i)
            if (!farm_image(now, i->name))
                json_array_append_new(removed, json_string(i->name));
    }
    return json_pack("{s:o,s:o,s:o}", "added", added, "removed", removed, "changed", changed);
}

/* ---- the whole ---- */

json_t *what_if_view(struct sim *s)
{
    const struct what_if *w = s->w;
    note_time(s);
    json_t *list = builds(s);
    int64_t work = 0;
    json_int_t jobs = 0;
    for (const struct what_job *j = w->jobs; j; j = j->hh.next) {
        work += j->ends - j->begins;
        jobs++;
    }
    if (w->q.kind == WHAT_IF_BOARD) /* what runs, runs anyway */
        jobs = work = 0;
    return json_pack("{s:o,s:I,s:I,s:I,s:I,s:I,s:b,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}",
                     "question", event(w), "under_way", (json_int_t)w->under_way, "rest_ms",
                     (json_int_t)w->rest, "jobs", jobs, "work_ms", (json_int_t)work, "duration_ms",
                     (json_int_t)(w->ended - w->began), "too_much", w->too_much, "builds", list,
                     "tags", tags(s), "tracks", tracks(s), "unserved", unserved(s), "interrupted",
                     interrupted(s), "delayed", delayed(s), "remaining", remaining(s), "images",
                     images(w), "notes", strings(&w->notes));
}
