/* What people see of images and tracks; docs/api.md says what each member means. */
#include "daemon/model/view.h"

#include "common/json.h"
#include "daemon/model/hold.h"
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"
#include "sheaf-config.h"

json_t *view_time(int64_t at)
{
    return at ? json_integer(at) : json_null();
}

json_t *view_text(const char *s)
{
    return s && *s ? json_text(s) : json_null();
}

json_t *view_reason(enum reason_code code, const char *text)
{
    if (code == REASON_NONE)
        return json_null();
    return json_pack("{s:s,s:o}", "code", reason_names[code], "text", json_text(text ? text : ""));
}

static json_t *publication(const struct publication *p)
{
    if (!p)
        return json_null();
    return json_pack("{s:I,s:I,s:s,s:o}", "id", (json_int_t)p->id, "generation",
                     (json_int_t)p->generation, "digest", p->digest, "published_at",
                     view_time(p->state == PUBLICATION_VERIFIED ? p->finished_at : 0));
}

json_t *view_hold(struct model *m, const struct track *t)
{
    struct hold h = {0};
    if (!hold_of(m, t, &h))
        return json_null();
    json_t *view =
        json_pack("{s:s,s:s,s:o,s:o,s:o,s:o}", "code", reason_names[h.code], "text", h.text, "by",
                  view_text(h.by), "reason", view_text(h.why), "held_at", view_time(h.at),
                  "publication", t && t->pinned ? json_integer(t->pinned) : json_null());
    hold_done(&h);
    return view;
}

/* ---- cells ---- */

static const char *job_cell_state(const struct job *j)
{
    static const char *const states[] = {
        [JOB_WANTED] = "wanted",       [JOB_LEASED] = "running", [JOB_RUNNING] = "running",
        [JOB_SUCCEEDED] = "succeeded", [JOB_FAILED] = "failed",  [JOB_CANCELLED] = "cancelled",
    };
    return states[j->state];
}

static const char *cell_state(const struct slot *s)
{
    static const char *const states[] = {
        [SLOT_UNKNOWN] = "unknown", [SLOT_NOT_OFFERED] = "not-offered", [SLOT_WAITING] = "waiting",
        [SLOT_BLOCKED] = "blocked", [SLOT_READY] = "waiting",
    };
    return s->job ? job_cell_state(s->job) : states[s->state];
}

json_t *view_job_reason(struct model *m, const struct job *j)
{
    struct reason why = {0};
    if (j->state == JOB_WANTED)
        schedule_why(m, j, &why);
    else if (j->state == JOB_LEASED || j->state == JOB_RUNNING)
        reason_set(&why, REASON_RUNNING, "on %s", j->board);
    else if (j->state == JOB_FAILED) {
        cleanup_free char *text = job_failed_text(j);
        reason_set(&why, REASON_JOB_FAILED, "%s", text);
    } else if (j->state == JOB_CANCELLED)
        reason_set(&why, REASON_CANCELLED, "%s", j->settled ? "by request" : "superseded");
    json_t *view = view_reason(why.code, why.text);
    reason_done(&why);
    return view;
}

bool view_emulated(const struct model *m, const struct job *j)
{
    const struct board *b = j->board ? board_find(m, j->board) : NULL;
    return b && b->emulated[j->platform];
}

static json_t *cell(struct model *m, const struct track *t, const struct slot *s)
{
    const struct job *j = s->job;
    const struct child *c = t->last ? publication_child(t->last, s->platform) : NULL;
    const char *digest = j && j->state == JOB_SUCCEEDED ? j->manifest_digest : c ? c->digest : NULL;
    bool here =
        s->state == SLOT_WAITING || s->state == SLOT_BLOCKED || s->state == SLOT_NOT_OFFERED;
    return json_pack(
        "{s:s,s:b,s:s,s:o,s:o,s:o,s:o,s:b,s:o,s:o,s:o,s:b}", "platform", s->platform_name,
        "required", !s->optional, "state", cell_state(s), "reason",
        j      ? view_job_reason(m, j)
        : here ? view_reason(s->reason.code, s->reason.text)
               : view_reason(t->reason.code, t->reason.text),
        "job", view_text(j ? j->key : NULL), "digest", view_text(digest), "board",
        view_text(j ? j->board : NULL), "emulated", j && view_emulated(m, j), "since_at",
        view_time(!j                                    ? 0
                  : j->finished_at && !job_under_way(j) ? j->finished_at
                  : j->started_at                       ? j->started_at
                                                        : j->wanted_at),
        "duration_ms", j && j->duration_ms ? json_integer(j->duration_ms) : json_null(), "retry_at",
        view_time(j && j->retry_due ? m->wall + j->retry_due - m->mono : 0), "stale",
        slot_stale(s));
}

/* ---- tracks ---- */

/* Of the tags that a track claims, those that it has: they name a publication of it. */
static json_t *owned_tags(const struct track *t)
{
    json_t *list = json_array();
    VEC_FOREACH (&t->claims, n)
        if ((*n)->current && str_eq((*n)->current->track_id, t->id))
            json_array_append_new(list, json_string((*n)->tag));
    return list;
}

/* Why it is in date though it slept, or would sleep. */
static json_t *view_awake(const struct model *m, const struct track *t)
{
    cleanup_free char *text = track_awake_text(m, t);
    if (!text)
        return json_null();
    return json_pack("{s:s,s:o}", "code", awake_names[t->awake], "text", json_text(text));
}

static json_t *track(struct model *m, const struct track *t)
{
    json_t *cells = json_array(), *tags = json_array();
    for (int p = 0; p < PLATFORM_COUNT; p++)
        if (t->slots[p] && (t->slots[p]->wanted || slot_kept_child(t->slots[p])))
            json_array_append_new(cells, cell(m, t, t->slots[p]));
    VEC_FOREACH (&t->tags, tag)
        json_array_append_new(tags, json_string(*tag));
    const struct build *b = t->current;
    return json_pack("{s:s,s:s,s:s,s:o,s:o,s:o,s:o,s:s,s:o,s:o,s:o,s:o,s:o,s:b,s:o,s:o,s:o,s:o}",
                     "id", t->id, "image", t->image_name, "ref", t->ref_name, "variant",
                     view_text(t->variant), "version", view_text(t->version), "commit",
                     view_text(t->ref ? t->ref->commit : NULL), "sighting",
                     view_sighting(m, t->ref), "state", track_state_names[t->state], "reason",
                     view_reason(t->reason.code, t->reason.text), "awake", view_awake(m, t), "why",
                     b ? view_reason(b->why_code, b->why) : json_null(), "tags", tags, "owned",
                     owned_tags(t), "held", t->held || (t->image && t->image->hold), "hold",
                     view_hold(m, t), "build", t->build ? json_integer(t->build) : json_null(),
                     "publication", publication(t->last), "cells", cells);
}

static int track_cmp(const struct track *a, const struct track *b)
{
    return strcmp(a->id, b->id);
}

json_t *view_tracks(struct model *m)
{
    json_t *list = json_array();
    HASH_SORT(m->tracks, track_cmp);
    for (const struct track *t = m->tracks; t; t = t->hh.next)
        if (t->image)
            json_array_append_new(list, track(m, t));
    return json_pack("{s:o}", "tracks", list);
}

/* Whether a recipe of it names the tag; else it is a base because a single platform's tag of it is named. */
static bool names(const struct track *t, const struct tag_node *n)
{
    for (int p = 0; p < PLATFORM_COUNT; p++) {
        if (!t->slots[p])
            continue;
        VEC_FOREACH (&t->slots[p]->pins, pin)
            if (pin->node == n)
                return true;
    }
    return false;
}

static json_t *bases_of(struct model *m, const struct track *t)
{
    json_t *list = json_array();
    VEC_FOREACH (&t->bases, n) {
        const struct tag_node *by = tag_node_made_by(*n);
        const struct track *owner = by->claimants.n ? by->claimants.items[0] : NULL;
        if (!names(t, *n))
            continue;
        json_array_append_new(list,
                              json_pack("{s:s,s:o,s:o}", "reference", (*n)->name, "digest",
                                        view_text((*n)->current ? (*n)->current->digest : NULL),
                                        "track", view_text(owner ? owner->id : NULL)));
    }
    VEC_FOREACH (&t->outside, b)
        json_array_append_new(list,
                              json_pack("{s:s,s:o,s:n}", "reference", (*b)->reference, "digest",
                                        view_text(model_base_digest(m, (*b)->reference)), "track"));
    return list;
}

static json_t *dependents_of(const struct track *t)
{
    json_t *list = json_array();
    VEC_FOREACH (&t->claims, n)
        VEC_FOREACH (&(*n)->dependents, d)
            json_array_append_new(list, json_string((*d)->id));
    return list;
}

static json_t *platforms_of(const struct publication *p)
{
    json_t *list = json_array();
    VEC_FOREACH (&p->child, c)
        json_array_append_new(list, json_string(platform_info(c->platform)->name));
    return list;
}

/* What its tags can return to. */
static json_t *publications_of(struct model *m, const struct track *t)
{
    json_t *list = json_array();
    if (!t->image)
        return list;
    VEC_FOREACH (&model_repository(m, t->image->repository)->publications, it) {
        const struct publication *p = *it;
        if (p->state != PUBLICATION_VERIFIED || !str_eq(p->track_id, t->id))
            continue;
        json_t *view = publication(p);
        json_object_set_new(view, "build", json_integer(p->build));
        json_object_set_new(view, "platforms", platforms_of(p));
        json_array_insert_new(list, 0, view);
    }
    return list;
}

json_t *view_track(struct model *m, const char *id)
{
    const struct track *t = track_find(m, id);
    if (!t)
        return NULL;
    json_t *view = track(m, t);
    json_object_set_new(view, "bases", bases_of(m, t));
    json_object_set_new(view, "dependents", dependents_of(t));
    json_object_set_new(view, "publications", publications_of(m, t));
    return view;
}

json_t *view_job_why(struct model *m, const char *key, const char *state)
{
    const struct job *j = job_find(m, key);
    return j && str_eq(job_state_names[j->state], state) ? view_job_reason(m, j) : NULL;
}

void view_rebuild(struct model *m, json_t *answer)
{
    const char *id = json_string_value(json_object_get(answer, "track"));
    const struct track *t = track_find(m, id);
    bool made = t && !t->asked && t->build; /* the build takes the request with it */
    json_object_set_new(answer, "build", made ? json_integer(t->build) : json_null());
    json_object_set_new(answer, "waits",
                        made || !t ? json_null() : view_reason(t->reason.code, t->reason.text));
}

/* ---- images ---- */

static json_t *warnings(const struct model *m, const struct farm_image *i)
{
    cleanup_strvec strvec texts = {0};
    json_t *list = json_array();
    track_ignored_refs(m, i, &texts);
    VEC_FOREACH (&texts, text)
        json_array_append_new(list, view_reason(REASON_REF_IGNORED, *text));
    return list;
}

/* Takes `tracks` over. */
static json_t *image(const struct model *m, const struct farm_image *i, json_t *tracks)
{
    cleanup_free char *awaits = track_image_awaits(m, i);
    json_t *platforms = json_array();
    for (int p = 0; p < PLATFORM_COUNT; p++)
        if (farm_image_offers(i, (enum platform)p))
            json_array_append_new(platforms, json_string(platform_info((enum platform)p)->name));
    return json_pack("{s:s,s:s,s:s,s:s,s:o,s:o,s:o,s:o}", "name", i->name, "repository",
                     i->repository, "kind", i->kind == FARM_KIND_ROOTFS ? "rootfs" : "dockerfile",
                     "source", i->source, "platforms", platforms, "awaits", view_text(awaits),
                     "warnings", warnings(m, i), "tracks", tracks);
}

json_t *view_images(struct model *m)
{
    json_t *list = json_array();
    json_t **tracks = xcalloc(m->farm->images.n, sizeof(*tracks));
    for (size_t i = 0; i < m->farm->images.n; i++)
        tracks[i] = json_array();
    HASH_SORT(m->tracks, track_cmp);
    for (const struct track *t = m->tracks; t; t = t->hh.next)
        if (t->image)
            json_array_append_new(tracks[t->image - m->farm->images.items], track(m, t));
    for (size_t i = 0; i < m->farm->images.n; i++)
        json_array_append_new(list, image(m, &m->farm->images.items[i], tracks[i]));
    free(tracks);
    return json_pack("{s:o}", "images", list);
}
