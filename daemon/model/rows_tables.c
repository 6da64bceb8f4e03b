/* Which members of the model's objects are stored, and under which names. schema/ has the same tables in
 * SQL; a test compares the two. */
#include "daemon/model/state.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))
#define TEXT(t, m)                                                                                 \
    {                                                                                              \
#m, COLUMN_TEXT, offsetof(struct t, m), NULL                                               \
    }
#define TEXT_AS(t, m, name)                                                                        \
    {                                                                                              \
        name, COLUMN_TEXT, offsetof(struct t, m), NULL                                             \
    }
#define INT(t, m)                                                                                  \
    {                                                                                              \
#m, COLUMN_INT, offsetof(struct t, m), NULL                                                \
    }
#define BOOL(t, m)                                                                                 \
    {                                                                                              \
#m, COLUMN_BOOL, offsetof(struct t, m), NULL                                               \
    }
#define ENUM(t, m, names)                                                                          \
    {                                                                                              \
#m, COLUMN_ENUM, offsetof(struct t, m), names                                              \
    }
#define TABLE(t, key, where)                                                                       \
    {                                                                                              \
#t, t##_columns, COUNT(t##_columns), key, sizeof(struct t), where                          \
    }

const char *const job_state_names[] = {"wanted", "leased",    "running", "succeeded",
                                       "failed", "cancelled", NULL};
const char *const attempt_state_names[] = {"granted", "running",   "succeeded", "failed",
                                           "lost",    "cancelled", NULL};
const char *const build_state_names[] = {"waiting",   "running",   "held",   "publishing",
                                         "published", "unchanged", "failed", "superseded",
                                         "cancelled", NULL};
const char *const publication_state_names[] = {"prepared", "children",  "index", "tags",
                                               "verified", "abandoned", NULL};
const char *const board_state_names[] = {"joining", "online",      "draining",
                                         "offline", "quarantined", NULL};
const char *const track_state_names[] = {
    "unknown",   "dormant", "deleted",  "waiting", "blocked",   "building", "publishing",
    "published", "held",    "conflict", "failed",  "cancelled", "retired",  NULL};
const char *const failure_kind_names[] = {"none",   "infra",    "recipe", "timeout",
                                          "memory", "rejected", "poison", NULL};
const char *const awake_names[] = {"always", "needed", "once", "asked", NULL};
const char *const build_class_names[] = {"person", "source", "ripple", NULL};

static const struct column setting_columns[] = {TEXT(setting, key), TEXT(setting, value)};
static const struct column source_columns[] = {
    TEXT(source, url),   INT(source, sighting), INT(source, polled_at),
    TEXT(source, error), INT(source, failures),
};
static const struct column ref_columns[] = {
    TEXT(ref, source),         TEXT(ref, name),   TEXT(ref, commit),
    TEXT(ref, pending_commit), INT(ref, missing), BOOL(ref, deleted),
};
static const struct column context_columns[] = {
    TEXT(context, source),     TEXT(context, commit), TEXT(context, path),
    TEXT(context, dockerfile), TEXT(context, id),     TEXT(context, dockerfile_text),
    TEXT(context, error),      BOOL(context, known),  BOOL(context, exists),
    INT(context, time),        INT(context, size),
};
static const struct column epoch_columns[] = {TEXT(epoch, source), TEXT(epoch, context_id),
                                              INT(epoch, time)};
static const struct column base_columns[] = {
    TEXT(base, reference), TEXT(base, digest),  TEXT(base, children), TEXT(base, error),
    INT(base, checked_at), INT(base, failures), BOOL(base, gone),
};
static const struct column track_columns[] = {
    TEXT(track, id),
    TEXT_AS(track, image_name, "image"),
    TEXT_AS(track, ref_name, "ref"),
    TEXT(track, variant),
    BOOL(track, dormant),
    BOOL(track, deleted),
    BOOL(track, held),
    TEXT(track, hold_reason),
    TEXT(track, held_by),
    INT(track, held_at),
    INT(track, pinned),
    INT(track, promoted),
    BOOL(track, retired),
    INT(track, superseded),
    INT(track, publication),
    INT(track, build),
    INT(track, wait_clock),
    ENUM(track, asked, reason_names),
    ENUM(track, awake, awake_names),
};
static const struct column slot_columns[] = {
    TEXT(slot, track),    TEXT_AS(slot, platform_name, "platform"),
    INT(slot, rebuild),   BOOL(slot, no_cache),
    BOOL(slot, seen),     BOOL(slot, retired),
    TEXT(slot, last_key), INT(slot, stale_clock),
    INT(slot, work_ms),
};
static const struct column job_columns[] = {
    TEXT(job, key),
    TEXT_AS(job, platform_name, "platform"),
    TEXT(job, repository),
    TEXT(job, image),
    TEXT(job, track),
    TEXT(job, inputs),
    TEXT(job, spec),
    TEXT(job, source),
    TEXT(job, commit),
    TEXT(job, path),
    TEXT(job, dockerfile),
    ENUM(job, state, job_state_names),
    ENUM(job, kind, failure_kind_names),
    TEXT(job, reason),
    BOOL(job, settled),
    BOOL(job, emulated),
    BOOL(job, no_cache),
    INT(job, epoch),
    INT(job, recipe_failures),
    INT(job, timeouts),
    INT(job, infra_failures),
    INT(job, losses),
    TEXT(job, avoid),
    INT(job, memory_above),
    INT(job, retry_clock),
    TEXT(job, manifest_digest),
    TEXT(job, manifest_media_type),
    TEXT(job, config_digest),
    TEXT(job, content_digest),
    INT(job, manifest_size),
    TEXT(job, board),
    INT(job, wanted_at),
    INT(job, started_at),
    INT(job, finished_at),
    INT(job, duration_ms),
    INT(job, attempt),
    ENUM(job, class, build_class_names),
    INT(job, failures),
    TEXT(job, suspect),
    INT(job, buildah),
    TEXT(job, buildah_for),
    INT(job, queued_clock),
};
static const struct column attempt_columns[] = {
    INT(attempt, id),
    TEXT(attempt, lease),
    TEXT(attempt, job_key),
    INT(attempt, epoch),
    TEXT_AS(attempt, board_name, "board"),
    TEXT(attempt, secret),
    ENUM(attempt, state, attempt_state_names),
    ENUM(attempt, kind, failure_kind_names),
    TEXT(attempt, reason),
    INT(attempt, granted_at),
    INT(attempt, started_at),
    INT(attempt, finished_at),
    INT(attempt, log_size),
    INT(attempt, granted_clock),
    BOOL(attempt, cancel),
};
static const struct column result_columns[] = {
    INT(result, attempt), TEXT(result, job_key),  TEXT(result, timings),
    TEXT(result, layers), TEXT(result, packages), TEXT(result, build_root),
};
static const struct column build_columns[] = {
    INT(build, id),
    TEXT_AS(build, track_id, "track"),
    ENUM(build, state, build_state_names),
    ENUM(build, class, build_class_names),
    ENUM(build, why_code, reason_names),
    TEXT(build, why),
    ENUM(build, end_code, reason_names),
    TEXT(build, end),
    TEXT(build, commit),
    INT(build, publication),
    INT(build, created_at),
    INT(build, finished_at),
};
static const struct column build_job_columns[] = {
    INT(build_job, build),
    TEXT_AS(build_job, platform_name, "platform"),
    TEXT(build_job, job_key),
    BOOL(build_job, required),
};
static const struct column publication_columns[] = {
    INT(publication, id),
    TEXT(publication, repository),
    TEXT_AS(publication, track_id, "track"),
    INT(publication, build),
    INT(publication, generation),
    ENUM(publication, state, publication_state_names),
    TEXT(publication, digest),
    TEXT(publication, media_type),
    TEXT(publication, bytes),
    TEXT(publication, children),
    TEXT(publication, error),
    INT(publication, created_at),
    INT(publication, finished_at),
};
static const struct column publication_tag_columns[] = {
    INT(publication_tag, publication), INT(publication_tag, ordinal), TEXT(publication_tag, tag),
    TEXT(publication_tag, digest),     BOOL(publication_tag, index),  BOOL(publication_tag, done),
};
static const struct column tag_columns[] = {
    TEXT(tag, repository), TEXT(tag, name),      TEXT_AS(tag, track_id, "track"),
    INT(tag, publication), INT(tag, generation), TEXT(tag, digest),
    TEXT(tag, found),      TEXT(tag, adopted),
};
static const struct column board_columns[] = {
    TEXT(board, name),      TEXT(board, secret_hash),
    TEXT(board, facts),     ENUM(board, state, board_state_names),
    INT(board, blames),     INT(board, joined_at),
    INT(board, seen_at),    INT(board, good),
    TEXT(board, boot),      INT(board, speed),
    INT(board, away_clock),
};
static const struct column action_columns[] = {
    INT(action, id),     INT(action, at),   TEXT(action, who),    TEXT(action, verb),
    TEXT(action, track), TEXT(action, job), TEXT(action, reason), TEXT(action, text),
};

static const struct column retention_columns[] = {
    TEXT(retention, repository), TEXT(retention, name),   TEXT(retention, track),
    TEXT(retention, kind),       TEXT(retention, digest), TEXT(retention, wanted),
    TEXT(retention, error),
};
static const struct column past_publication_columns[] = {
    INT(publication, id),
    TEXT(publication, repository),
    TEXT_AS(publication, track_id, "track"),
    INT(publication, build),
    INT(publication, generation),
    TEXT(publication, digest),
    INT(publication, created_at),
    INT(publication, finished_at),
};

/* Of what only grows, a start loads what is alive: the builds that run and the last of each track, and the
 * attempts that have not ended. */
#define LIVE_BUILDS "finished_at = 0 OR id IN (SELECT build FROM track)"
static const struct table tables[TABLE_COUNT] = {
    [TABLE_SETTING] = TABLE(setting, 1, NULL),
    [TABLE_SOURCE] = TABLE(source, 1, NULL),
    [TABLE_REF] = TABLE(ref, 2, NULL),
    [TABLE_CONTEXT] = TABLE(context, 4, NULL),
    [TABLE_EPOCH] = TABLE(epoch, 2, NULL),
    [TABLE_BASE] = TABLE(base, 1, NULL),
    [TABLE_TRACK] = TABLE(track, 1, NULL),
    [TABLE_SLOT] = TABLE(slot, 2, NULL),
    [TABLE_JOB] = TABLE(job, 1, NULL),
    [TABLE_ATTEMPT] = TABLE(attempt, 1, "secret IS NOT NULL"),
    [TABLE_RESULT] = TABLE(result, 1, "0"),
    [TABLE_BUILD] = TABLE(build, 1, LIVE_BUILDS),
    [TABLE_BUILD_JOB] =
        TABLE(build_job, 2, "build IN (SELECT id FROM build WHERE " LIVE_BUILDS ")"),
    [TABLE_PUBLICATION] = TABLE(publication, 1, NULL),
    [TABLE_PUBLICATION_TAG] = TABLE(publication_tag, 2, NULL),
    [TABLE_TAG] = TABLE(tag, 2, NULL),
    [TABLE_BOARD] = TABLE(board, 1, NULL),
    [TABLE_ACTION] = TABLE(action, 1, "0"),
    [TABLE_RETENTION] = TABLE(retention, 2, NULL),
    [TABLE_PAST_PUBLICATION] = {"past_publication", past_publication_columns,
                                COUNT(past_publication_columns), 1, sizeof(struct publication),
                                "0"},
};

const struct table *table_of(enum table_id id)
{
    return &tables[id];
}
