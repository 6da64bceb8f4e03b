/* Reading. An answer is rendered in the turn and sent once what it tells is committed; what only the store remembers
 * is read from there. */
#include "daemon/api_status.h"

#include "common/clock.h"
#include "common/json.h"
#include "daemon/logs.h"
#include "daemon/page_status.h"
#include "daemon/rendered.h"
#include "daemon/stream.h"
#include "daemon/upstream.h"

#include <errno.h>
#include <inttypes.h>

#define BUILDS_DEFAULT 50
#define BUILDS_MAX     500
#define TRACK_BUILDS   10

struct api_status {
    struct coordinator *c;
    struct store_history *history;
    struct stream *stream;
    struct rendered status, images, tracks, boards;
};

struct api_status *api_status_new(struct coordinator *c)
{
    struct api_status *api = xnew(struct api_status);
    api->c = c;
    api->history = store_history_new(coordinator_store(c), coordinator_loop(c));
    api->stream = stream_new(c);
    return api;
}

void api_status_free(struct api_status *api)
{
    if (!api)
        return;
    store_history_free(api->history);
    stream_free(api->stream);
    struct rendered *all[] = {&api->status, &api->images, &api->tracks, &api->boards};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        rendered_done(all[i]);
    free(api);
}

struct store_history *api_status_history(const struct api_status *api)
{
    return api->history;
}

struct stream *api_status_stream(const struct api_status *api)
{
    return api->stream;
}

void api_not_found(struct http_call *call, const char *kind, const char *name)
{
    http_respond_error(call, 404, kind, "no %s '%.200s'; GET /v1/%s lists them", kind, name,
                       str_eq(kind, "track") ? "tracks" : "builds");
}

bool api_query_number(struct http_call *call, const char *name, int64_t min, int64_t max,
                      int64_t fallback, int64_t *ret)
{
    const char *text = http_call_query(call, name);
    *ret = fallback;
    if (!text)
        return true;
    char *end = NULL;
    errno = 0;
    *ret = strtoll(text, &end, 10);
    bool digits = *text && strspn(text, "0123456789") == strlen(text);
    if (digits && !errno && *ret >= min && *ret <= max)
        return true;
    if (max == INT64_MAX)
        http_respond_error(call, 400, name, "%s: write a whole number from %" PRId64 " on", name,
                           min);
    else
        http_respond_error(call, 400, name, "%s: write a whole number from %" PRId64 " to %" PRId64,
                           name, min, max);
    return false;
}

/* ---- straight from the model ---- */

static json_t *render_status(struct coordinator *c)
{
    json_t *view = view_status(coordinator_look(c));
    char *stalled = coordinator_stalled(c);
    json_object_set_new(view, "started_at", json_integer(coordinator_started_at(c)));
    json_object_set_new(view, "now_at", json_integer(clock_wall_ms()));
    json_object_set_new(view, "stalled", stalled ? json_text(stalled) : json_null());
    free(stalled);
    return view;
}

static json_t *render_images(struct coordinator *c)
{
    return view_images(coordinator_look(c));
}

static json_t *render_tracks(struct coordinator *c)
{
    return view_tracks(coordinator_look(c));
}

static json_t *render_boards(struct coordinator *c)
{
    return view_boards(coordinator_look(c));
}

static void get_status(struct http_call *call, void *data)
{
    rendered_answer(&coordinator_api(data)->status, data, call, render_status);
}

static void get_images(struct http_call *call, void *data)
{
    rendered_answer(&coordinator_api(data)->images, data, call, render_images);
}

static void get_tracks(struct http_call *call, void *data)
{
    rendered_answer(&coordinator_api(data)->tracks, data, call, render_tracks);
}

static void get_boards(struct http_call *call, void *data)
{
    rendered_answer(&coordinator_api(data)->boards, data, call, render_boards);
}

static void get_sources(struct http_call *call, void *data)
{
    struct coordinator *c = data;
    if (coordinator_wait(c, call))
        return;
    json_t *view = view_sources(coordinator_look(c)), *source;
    size_t i;
    json_array_foreach (json_object_get(view, "sources"), i, source) {
        const char *url = json_string_value(json_object_get(source, "url"));
        struct upstream_when when = upstream_when(coordinator_upstream(c), url);
        if (when.polling)
            json_object_set_new(source, "state", json_string("polling"));
        else if (when.next_at)
            json_object_set_new(source, "next_at", json_integer(when.next_at));
    }
    coordinator_tell(c, call, view, coordinator_view(c));
}

/* ---- what the model knows better than the store ---- */

/* The logs of attempts that have not ended grow beside the store. Returns the size of the last one's. */
static int64_t freshen_attempts(struct coordinator *c, json_t *attempts)
{
    json_t *attempt, *size = NULL;
    size_t i;
    json_array_foreach (attempts, i, attempt) {
        const char *lease = json_string_value(json_object_get(attempt, "lease"));
        if (json_is_null(json_object_get(attempt, "finished_at")))
            json_object_set_new(attempt, "log_size",
                                json_integer(logs_size(coordinator_logs(c), lease)));
        size = json_object_get(attempt, "log_size");
    }
    return json_integer_value(size);
}

/* Of the jobs of a build: why each waits now, and how much log it has. */
static void freshen_build(struct coordinator *c, json_t *build)
{
    struct model *m = coordinator_look(c);
    json_t *job;
    size_t i;
    json_array_foreach (json_object_get(build, "jobs"), i, job) {
        json_t *attempts = json_object_get(job, "attempts");
        json_t *why = view_job_why(m, json_string_value(json_object_get(job, "job")),
                                   json_string_value(json_object_get(job, "state")));
        if (why)
            json_object_set_new(job, "reason", why);
        if (attempts)
            json_object_set_new(job, "log_size", json_integer(freshen_attempts(c, attempts)));
    }
}

static void freshen_builds(struct coordinator *c, json_t *builds)
{
    json_t *build;
    size_t i;
    json_array_foreach (builds, i, build)
        freshen_build(c, build);
}

/* ---- with what the store remembers ---- */

/* A call that waits for rows; `view` is what they are added to. */
struct question {
    struct coordinator *c;
    struct http_call *call; /* NULL: the client has gone */
    json_t *view;
    int64_t number;
    uint64_t began; /* coordinator_view */
};

static void question_gone(void *ctx)
{
    struct question *q = ctx;
    q->call = NULL;
}

static struct question *ask(struct coordinator *c, struct http_call *call, json_t *view)
{
    struct question *q = xnew(struct question);
    *q = (struct question){.c = c, .call = call, .view = view, .began = coordinator_view(c)};
    http_call_on_gone(call, question_gone, q);
    return q;
}

/* Whether there is somebody to answer still, and something; answers a failure itself. Frees `rows` if not. */
static bool answerable(struct question *q, json_t *rows, const struct err *err)
{
    if (q->call)
        http_call_on_gone(q->call, NULL, NULL);
    if (q->call && !err && q->began != coordinator_view(q->c)) {
        http_call_again(q->call);
        q->call = NULL;
    }
    if (q->call && !err)
        return true;
    if (q->call)
        http_respond_error(q->call, 500, NULL, "%s", err->text);
    json_decref(rows);
    json_decref(q->view);
    free(q);
    return false;
}

static void answer(struct question *q, json_t *json)
{
    coordinator_tell(q->c, q->call, json, q->began);
    free(q);
}

static void got_track_builds(void *data, json_t *rows, const struct err *err)
{
    struct question *q = data;
    if (!answerable(q, rows, err))
        return;
    freshen_builds(q->c, rows);
    json_object_set_new(q->view, "builds", rows);
    answer(q, q->view);
}

static void get_track(struct http_call *call, void *data)
{
    struct coordinator *c = data;
    const char *id = http_call_param(call, "id");
    if (coordinator_wait(c, call))
        return;
    json_t *view = view_track(coordinator_look(c), id);
    if (!view) {
        api_not_found(call, "track", id);
        return;
    }
    store_history_builds(api_status_history(coordinator_api(c)), TRACK_BUILDS, 0, id,
                         got_track_builds, ask(c, call, view));
}

/* A page, newest first, and where the next one begins. Takes over the rows. */
static void answer_page(struct question *q, const char *what, json_t *rows)
{
    size_t n = json_array_size(rows);
    json_t *last = n ? json_object_get(json_array_get(rows, n - 1), "id") : NULL;
    bool more = (int64_t)n == q->number && last;
    answer(q, json_pack("{s:o,s:O}", what, rows, "next", more ? last : json_null()));
}

static void got_builds(void *data, json_t *rows, const struct err *err)
{
    struct question *q = data;
    if (!answerable(q, rows, err))
        return;
    freshen_builds(q->c, rows);
    answer_page(q, "builds", rows);
}

static void get_builds(struct http_call *call, void *data)
{
    struct coordinator *c = data;
    int64_t limit, before;
    if (!api_query_number(call, "limit", 1, BUILDS_MAX, BUILDS_DEFAULT, &limit) ||
        !api_query_number(call, "before", 1, INT64_MAX, 0, &before) || coordinator_wait(c, call))
        return;
    struct question *q = ask(c, call, NULL);
    q->number = limit;
    store_history_builds(api_status_history(coordinator_api(c)), limit, before,
                         http_call_query(call, "track"), got_builds, q);
}

static void got_actions(void *data, json_t *rows, const struct err *err)
{
    struct question *q = data;
    if (!answerable(q, rows, err))
        return;
    answer_page(q, "actions", rows);
}

static void get_actions(struct http_call *call, void *data)
{
    struct coordinator *c = data;
    int64_t limit, before;
    if (!api_query_number(call, "limit", 1, BUILDS_MAX, BUILDS_DEFAULT, &limit) ||
        !api_query_number(call, "before", 1, INT64_MAX, 0, &before) || coordinator_wait(c, call))
        return;
    struct question *q = ask(c, call, NULL);
    q->number = limit;
    store_history_actions(api_status_history(coordinator_api(c)), limit, before,
                          http_call_query(call, "track"), got_actions, q);
}

static void got_build(void *data, json_t *rows, const struct err *err)
{
    struct question *q = data;
    if (!answerable(q, rows, err))
        return;
    json_t *build = json_incref(json_array_get(rows, 0));
    json_decref(rows);
    if (build) {
        freshen_build(q->c, build);
        answer(q, build);
        return;
    }
    char number[32];
    snprintf(number, sizeof(number), "%" PRId64, q->number);
    api_not_found(q->call, "build", number);
    free(q);
}

static bool path_number(struct http_call *call, const char *name, int64_t *ret)
{
    char *end = NULL;
    const char *text = http_call_param(call, name);
    errno = 0;
    *ret = strtoll(text, &end, 10);
    return *text && !*end && !errno && *ret > 0;
}

static void get_build(struct http_call *call, void *data)
{
    struct coordinator *c = data;
    int64_t id;
    if (!path_number(call, "id", &id)) {
        api_not_found(call, "build", http_call_param(call, "id"));
        return;
    }
    if (coordinator_wait(c, call))
        return;
    struct question *q = ask(c, call, NULL);
    q->number = id;
    store_history_build(api_status_history(coordinator_api(c)), id, got_build, q);
}

static void got_results(void *data, json_t *rows, const struct err *err)
{
    struct question *q = data;
    if (!answerable(q, rows, err))
        return;
    json_t *result = json_array_get(rows, 0);
    static const char *const members[] = {"layers", "packages", "build_root"};
    for (size_t i = 0; i < sizeof(members) / sizeof(*members); i++) {
        json_t *value = json_object_get(result, members[i]);
        json_object_set_new(q->view, members[i], value ? json_incref(value) : json_null());
    }
    json_decref(rows);
    answer(q, q->view);
}

static void got_attempts(void *data, json_t *rows, const struct err *err)
{
    struct question *q = data;
    if (!answerable(q, rows, err))
        return;
    json_object_set_new(q->view, "log_size", json_integer(freshen_attempts(q->c, rows)));
    json_object_set_new(q->view, "attempts", rows);
    http_call_on_gone(q->call, question_gone, q);
    store_history_results(api_status_history(coordinator_api(q->c)),
                          json_string_value(json_object_get(q->view, "key")), got_results, q);
}

static void get_job(struct http_call *call, void *data)
{
    struct coordinator *c = data;
    const char *key = http_call_param(call, "key");
    if (coordinator_wait(c, call))
        return;
    json_t *view = view_job(coordinator_look(c), key);
    if (!view) {
        api_not_found(call, "job", key);
        return;
    }
    store_history_attempts(api_status_history(coordinator_api(c)), key, got_attempts,
                           ask(c, call, view));
}

/* ---- events ---- */

static void get_events(struct http_call *call, void *data)
{
    stream_events(api_status_stream(coordinator_api(data)), call);
}

static const struct http_route routes[] = {
    {"GET", "/", page_status, HTTP_TAKES_NONE, 0, 0, HTTP_ANY_QUERY},
    {"GET", "/v1/status", get_status, HTTP_TAKES_NONE, 0, 0},
    {"GET", "/v1/images", get_images, HTTP_TAKES_NONE, 0, 0},
    {"GET", "/v1/tracks", get_tracks, HTTP_TAKES_NONE, 0, 0},
    {"GET", "/v1/tracks/{id}", get_track, HTTP_TAKES_NONE, 0, 0},
    {"GET", "/v1/builds", get_builds, HTTP_TAKES_NONE, 0, 0, "limit before track"},
    {"GET", "/v1/builds/{id}", get_build, HTTP_TAKES_NONE, 0, 0},
    {"GET", "/v1/jobs/{key}", get_job, HTTP_TAKES_NONE, 0, 0},
    {"GET", "/v1/jobs/{key}/log", api_get_log, HTTP_TAKES_NONE, 0, 0, "offset follow attempt"},
    {"GET", "/v1/boards", get_boards, HTTP_TAKES_NONE, 0, 0},
    {"GET", "/v1/sources", get_sources, HTTP_TAKES_NONE, 0, 0},
    {"GET", "/v1/actions", get_actions, HTTP_TAKES_NONE, 0, 0, "limit before track"},
    {"GET", "/v1/events", get_events, HTTP_TAKES_NONE, 0, 0},
    {"POST", "/v1/tracks/{id}/rebuild", api_command, HTTP_TAKES_BUFFERED, 65536, HTTP_ROUTE_WRITE},
    {"POST", "/v1/tracks/{id}/hold", api_command, HTTP_TAKES_BUFFERED, 65536, HTTP_ROUTE_WRITE},
    {"POST", "/v1/tracks/{id}/release", api_command, HTTP_TAKES_BUFFERED, 65536, HTTP_ROUTE_WRITE},
    {"POST", "/v1/tracks/{id}/pin", api_command, HTTP_TAKES_BUFFERED, 65536, HTTP_ROUTE_WRITE},
    {"POST", "/v1/tracks/{id}/rollback", api_command, HTTP_TAKES_BUFFERED, 65536, HTTP_ROUTE_WRITE},
    {"POST", "/v1/tracks/{id}/promote", api_command, HTTP_TAKES_BUFFERED, 65536, HTTP_ROUTE_WRITE},
    {"POST", "/v1/tracks/{id}/retry", api_command, HTTP_TAKES_BUFFERED, 65536, HTTP_ROUTE_WRITE},
    {"POST", "/v1/tracks/{id}/retire", api_command, HTTP_TAKES_BUFFERED, 65536, HTTP_ROUTE_WRITE},
    {"POST", "/v1/tracks/{id}/wake", api_command, HTTP_TAKES_BUFFERED, 65536, HTTP_ROUTE_WRITE},
    {"POST", "/v1/jobs/{key}/retry", api_command, HTTP_TAKES_BUFFERED, 65536, HTTP_ROUTE_WRITE},
    {"POST", "/v1/freeze", api_command, HTTP_TAKES_BUFFERED, 65536, HTTP_ROUTE_WRITE},
    {"POST", "/v1/thaw", api_command, HTTP_TAKES_BUFFERED, 65536, HTTP_ROUTE_WRITE},
    {"POST", "/v1/builds/{id}/cancel", api_cancel_build, HTTP_TAKES_BUFFERED, 65536,
     HTTP_ROUTE_WRITE},
    {"POST", "/v1/jobs/{key}/cancel", api_cancel_job, HTTP_TAKES_BUFFERED, 65536, HTTP_ROUTE_WRITE},
    {"POST", "/v1/sources/poll", api_poll, HTTP_TAKES_BUFFERED, 65536, HTTP_ROUTE_WRITE},
    {"POST", "/v1/boards", api_add_board, HTTP_TAKES_BUFFERED, 65536, HTTP_ROUTE_WRITE},
    {"POST", "/v1/config/check", api_check, HTTP_TAKES_BUFFERED, 65536, HTTP_ROUTE_WRITE},
    {"POST", "/v1/what-if", api_what_if, HTTP_TAKES_BUFFERED, 65536, HTTP_ROUTE_WRITE},
    {"POST", "/v1/repositories/adopt", api_adopt, HTTP_TAKES_BUFFERED, 65536, HTTP_ROUTE_WRITE},
    {"POST", "/v1/repositories/restore", api_restore, HTTP_TAKES_BUFFERED, 65536, HTTP_ROUTE_WRITE},
    {"POST", "/v1/repositories/audit", api_audit, HTTP_TAKES_BUFFERED, 65536, HTTP_ROUTE_WRITE},
};

const struct http_route *api_status_routes(size_t *ret_n)
{
    *ret_n = sizeof(routes) / sizeof(*routes);
    return routes;
}
