/* What people see of jobs, boards and the farm as a whole; docs/api.md says what each member means. */
#include "common/json.h"
#include "daemon/model/audit.h"
#include "daemon/model/hold.h"
#include "daemon/model/objects.h"
#include "daemon/model/view.h"
#include "sheaf-config.h"

#include <math.h>

/* ---- jobs ---- */

static json_t *job_brief(const struct model *m, const struct job *j)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:o,s:b,s:o}", "key", j->key, "track", j->track, "platform",
                     j->platform_name, "state", job_state_names[j->state], "board",
                     view_text(j->board), "emulated", view_emulated(m, j), "started_at",
                     view_time(j->started_at));
}

static json_t *inputs(const struct job *j)
{
    json_t *pairs = json_loads(j->inputs, 0, NULL), *list = json_array(), *pair;
    size_t i;
    json_array_foreach (pairs, i, pair)
        json_array_append_new(list, json_pack("{s:O,s:O}", "name", json_array_get(pair, 0), "value",
                                              json_array_get(pair, 1)));
    json_decref(pairs);
    return list;
}

static json_t *manifest(const struct job *j)
{
    if (!j->manifest_digest)
        return json_null();
    return json_pack("{s:s,s:s,s:I}", "digest", j->manifest_digest, "media_type",
                     j->manifest_media_type, "size", (json_int_t)j->manifest_size);
}

json_t *view_job(struct model *m, const char *key)
{
    const struct job *j = job_find(m, key);
    if (!j)
        return NULL;
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:o,s:o,s:b,s:o,s:o,s:I,s:o,s:o,s:o,s:o,s:o,s:o,s:o,"
                     "s:o,s:[],s:i}",
                     "key", j->key, "platform", j->platform_name, "image", j->image, "track",
                     j->track, "repository", j->repository, "state", job_state_names[j->state],
                     "kind", j->kind ? json_string(failure_kind_names[j->kind]) : json_null(),
                     "reason", view_job_reason(m, j), "emulated", view_emulated(m, j), "board",
                     view_text(j->board), "commit", view_text(j->commit), "epoch",
                     (json_int_t)j->epoch, "wanted_at", view_time(j->wanted_at), "started_at",
                     view_time(j->started_at), "finished_at", view_time(j->finished_at),
                     "duration_ms", j->duration_ms ? json_integer(j->duration_ms) : json_null(),
                     "manifest", manifest(j), "config_digest", view_text(j->config_digest),
                     "content_digest", view_text(j->content_digest), "inputs", inputs(j),
                     "attempts", "log_size", 0);
}

/* ---- boards ---- */

static json_t *platforms(const bool offered[PLATFORM_COUNT])
{
    json_t *list = json_array();
    for (int p = 0; p < PLATFORM_COUNT; p++)
        if (offered[p])
            json_array_append_new(list, json_string(platform_info((enum platform)p)->name));
    return list;
}

static json_t *board_reason(const struct model *m, const struct board *b)
{
    cleanup_free char *why = board_why_not(m, b);
    return why ? json_pack("{s:s,s:o}", "code", board_state_names[b->state], "text", json_text(why))
               : json_null();
}

/* Appends those that are not in `but`, which may be NULL. */
static void add_labels(json_t *list, const strvec *labels, const strvec *but)
{
    VEC_FOREACH (labels, label)
        if (!but || !strvec_has(but, *label))
            json_array_append_new(list, json_string(*label));
}

static json_t *board(const struct model *m, const struct board *b)
{
    json_t *running = json_array(), *labels = json_array();
    VEC_FOREACH (&b->leases, a)
        if ((*a)->state != ATTEMPT_LOST && job_under_way((*a)->job))
            json_array_append_new(running, job_brief(m, (*a)->job));
    add_labels(labels, &b->labels, NULL);
    const struct farm_board_rule *rule = farm_board_rule(m->farm, b->name);
    if (rule)
        add_labels(labels, &rule->labels, &b->labels);
    json_t *facts = b->facts ? json_loads(b->facts, 0, NULL) : NULL;
    bool seen = b->session != NULL;
    return json_pack(
        "{s:s,s:s,s:o,s:o,s:o,s:o,s:I,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:I}", "name", b->name,
        "state", board_state_names[b->state], "reason", board_reason(m, b), "platforms",
        platforms(b->native), "emulated", platforms(b->emulated), "labels", labels, "slots",
        (json_int_t)board_slots(m, b), "running", running, "facts", facts ? facts : json_null(),
        "load", seen ? json_real(b->load) : json_null(), "temperature",
        seen && !isnan(b->temperature) ? json_real(b->temperature) : json_null(), "disk_free",
        seen ? json_integer(b->disk_free) : json_null(), "memory_free",
        seen ? json_integer(b->memory_free) : json_null(), "joined_at", view_time(b->joined_at),
        "seen_at", view_time(b->seen_at), "blames", (json_int_t)b->blames);
}

json_t *view_boards(struct model *m)
{
    json_t *list = json_array();
    for (const struct board *b = m->boards; b; b = b->hh.next)
        json_array_append_new(list, board(m, b));
    return json_pack("{s:o}", "boards", list);
}

/* ---- the farm ---- */

/* What is known of a source of farm.yaml, or NULL; the store remembers also those that were in it once. */
static const struct source *source_of(const struct model *m, const struct farm_source *fs)
{
    const struct source *s = NULL;
    HASH_FIND_STR(m->sources, fs->url, s);
    return s;
}

static void attend(json_t *list, const char *kind, const char *id, const char *code,
                   const char *text)
{
    size_t n = strlen(id);
    if (text && str_starts(text, id) && str_starts(text + n, ": ")) /* the id is told already */
        text += n + 2;
    json_array_append_new(list, json_pack("{s:s,s:s,s:{s:s,s:o}}", "kind", kind, "id", id, "reason",
                                          "code", code, "text", json_text(text ? text : "")));
}

static void attend_board(const struct model *m, json_t *list, const struct board *b)
{
    cleanup_free char *why = board_why_not(m, b);
    attend(list, "board", b->name, board_state_names[b->state], why);
}

static void attend_stale(json_t *list, const struct track *t)
{
    for (int p = 0; p < PLATFORM_COUNT; p++) {
        if (!t->slots[p] || !slot_stale(t->slots[p]))
            continue;
        cleanup_free char *text = xasprintf(
            "%s: its last good child is shown, older than the others by more than the deadline",
            t->slots[p]->platform_name);
        attend(list, "track", t->id, reason_names[REASON_STALE], text);
    }
}

static void attend_tags(struct model *m, json_t *list)
{
    for (struct tag *tag = m->tags; tag; tag = tag->hh.next) {
        if (!tag->found)
            continue;
        cleanup_free char *text = audit_text(m, tag);
        attend(list, "tag", tag->hash_key,
               reason_names[*tag->found ? REASON_TAG_MOVED : REASON_TAG_DELETED], text);
    }
}

static void attend_images(const struct model *m, json_t *list)
{
    VEC_FOREACH (&m->farm->images, image) {
        cleanup_strvec strvec texts = {0};
        track_ignored_refs(m, image, &texts);
        VEC_FOREACH (&texts, text)
            attend(list, "image", image->name, reason_names[REASON_REF_IGNORED], *text);
    }
}

static json_t *attention(struct model *m)
{
    json_t *list = json_array();
    for (const struct track *t = m->tracks; t; t = t->hh.next)
        if (t->state == TRACK_FAILED || t->state == TRACK_BLOCKED || t->state == TRACK_CONFLICT ||
            t->reason.code == REASON_CHILD_MISSING)
            attend(list, "track", t->id, reason_names[t->reason.code], t->reason.text);
    for (const struct track *t = m->tracks; t; t = t->hh.next) {
        attend_stale(list, t);
        if (t->conflict && t->state != TRACK_CONFLICT)
            attend(list, "track", t->id, reason_names[REASON_TAG_CONFLICT], t->conflict);
    }
    for (const struct board *b = m->boards; b; b = b->hh.next)
        if (b->state == BOARD_OFFLINE || b->state == BOARD_QUARANTINED)
            attend_board(m, list, b);
    VEC_FOREACH (&m->farm->sources, fs) {
        const struct source *s = source_of(m, fs);
        if (s && s->error)
            attend(list, "source", s->url, reason_names[REASON_SOURCE_AWAY], s->error);
    }
    for (const struct repository *r = m->repositories; r; r = r->hh.next)
        if (r->stopped) {
            cleanup_free char *text = repository_stopped_text(r);
            attend(list, "repository", r->name, reason_names[REASON_REPOSITORY_STOPPED], text);
        }
    for (const struct repository *r = m->repositories; r; r = r->hh.next)
        if (r->restoring)
            attend(list, "repository", r->name, reason_names[REASON_RESTORING],
                   "its tags are put back, whatever they name");
    for (const struct repository *r = m->repositories; r; r = r->hh.next)
        if (r->running && publication_forsaken(m, r->running))
            attend(list, "repository", r->name, reason_names[REASON_REGISTRY_AWAY],
                   r->running->error);
    attend_tags(m, list);
    attend_images(m, list);
    return list;
}

static json_t *track_counts(const struct model *m)
{
    json_int_t counts[TRACK_STATE_COUNT] = {0};
    for (const struct track *t = m->tracks; t; t = t->hh.next)
        if (t->image)
            counts[t->state]++;
    json_t *view = json_object();
    for (int i = 0; i < TRACK_STATE_COUNT; i++)
        if (counts[i])
            json_object_set_new(view, track_state_names[i], json_integer(counts[i]));
    return view;
}

/* The jobs under way are those that the latest builds want. */
static json_t *job_counts(const struct model *m, json_t *running)
{
    json_int_t counts[JOB_CANCELLED + 1] = {0};
    for (const struct job *j = m->jobs; j; j = j->hh.next) {
        counts[j->state]++;
        if (j->state == JOB_LEASED || j->state == JOB_RUNNING)
            json_array_append_new(running, job_brief(m, j));
    }
    return json_pack("{s:I,s:I,s:I}", "wanted", counts[JOB_WANTED], "leased", counts[JOB_LEASED],
                     "running", counts[JOB_RUNNING]);
}

json_t *view_status(struct model *m)
{
    json_int_t online = 0, failing = 0;
    for (const struct board *b = m->boards; b; b = b->hh.next)
        online += b->state == BOARD_ONLINE;
    VEC_FOREACH (&m->farm->sources, fs) {
        const struct source *s = source_of(m, fs);
        failing += s && s->error;
    }
    json_t *running = json_array(), *jobs = job_counts(m, running);
    return json_pack("{s:s,s:b,s:o,s:n,s:o,s:o,s:{s:I,s:I},s:{s:I,s:I},s:o,s:o}", "version",
                     SHEAF_VERSION, "frozen", frozen(m), "freeze", view_hold(m, NULL), "stalled",
                     "tracks", track_counts(m), "jobs", jobs, "boards", "total",
                     (json_int_t)HASH_COUNT(m->boards), "online", online, "sources", "total",
                     (json_int_t)m->farm->sources.n, "failing", failing, "running", running,
                     "attention", attention(m));
}
