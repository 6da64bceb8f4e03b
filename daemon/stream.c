#include "daemon/stream.h"

#include "daemon/logs.h"

#include <inttypes.h>

#define EVENTS_EVERY_MS 250
#define KEEP_ALIVE_MS   15000

/* One reader of the event stream. */
struct events {
    struct stream *s;
    struct http_call *call;
    struct strbuf out;
    struct events *prev, *next;
};

/* One reader of a log that grows. */
struct follower {
    struct stream *s;
    struct http_call *call;
    char *key, *lease;
    int64_t attempt;
    int fd;
    int64_t offset;
    struct follower *prev, *next;
};

struct stream {
    struct coordinator *c;
    uv_timer_t timer, keep_alive;
    struct events *events;
    struct follower *followers;
    bool pending[TABLE_COUNT];
    bool have_pending, ending;
    uint64_t turn;
};

#define list_add(head, item)                                                                       \
    do {                                                                                           \
        (item)->next = (head);                                                                     \
        if (head)                                                                                  \
            (head)->prev = (item);                                                                 \
        (head) = (item);                                                                           \
    } while (0)
#define list_remove(head, item)                                                                    \
    do {                                                                                           \
        if ((item)->prev)                                                                          \
            (item)->prev->next = (item)->next;                                                     \
        else                                                                                       \
            (head) = (item)->next;                                                                 \
        if ((item)->next)                                                                          \
            (item)->next->prev = (item)->prev;                                                     \
    } while (0)

/* ---- what changed, in the words of the API ---- */

static bool any(const bool tables[TABLE_COUNT], const enum table_id *of, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (tables[of[i]])
            return true;
    return false;
}

static json_t *what_changed(const bool tables[TABLE_COUNT])
{
    static const struct {
        const char *what;
        enum table_id tables[7];
        size_t n;
    } groups[] = {
        {"boards", {TABLE_BOARD, TABLE_ATTEMPT}, 2},
        {"builds", {TABLE_BUILD, TABLE_BUILD_JOB, TABLE_PUBLICATION}, 3},
        {"images",
         {TABLE_TRACK, TABLE_SLOT, TABLE_JOB, TABLE_TAG, TABLE_PUBLICATION, TABLE_BUILD,
          TABLE_ACTION},
         7},
        {"jobs", {TABLE_JOB, TABLE_ATTEMPT}, 2},
        {"sources", {TABLE_SOURCE, TABLE_REF, TABLE_CONTEXT}, 3},
    };
    json_t *list = json_array();
    for (size_t i = 0; i < sizeof(groups) / sizeof(*groups); i++)
        if (any(tables, groups[i].tables, groups[i].n))
            json_array_append_new(list, json_string(groups[i].what));
    return list;
}

static char *event_text(uint64_t turn, const bool tables[TABLE_COUNT])
{
    json_t *json = json_pack("{s:I,s:o}", "turn", (json_int_t)turn, "what", what_changed(tables));
    cleanup_free char *data = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    return xasprintf("event: change\ndata: %s\n\n", data);
}

/* ---- events ---- */

static ssize_t events_pull(struct http_call *call, char *buf, size_t n, void *ctx)
{
    struct events *e = ctx;
    (void)call;
    size_t take = e->out.n < n ? e->out.n : n;
    if (!take)
        return e->s->ending ? HTTP_STREAM_END : 0;
    memcpy(buf, e->out.s, take);
    memmove(e->out.s, e->out.s + take, e->out.n - take);
    e->out.n -= take;
    return (ssize_t)take;
}

static void events_done(bool complete, void *ctx)
{
    struct events *e = ctx;
    (void)complete;
    list_remove(e->s->events, e);
    strbuf_done(&e->out);
    free(e);
}

static void send_all(struct stream *s, const char *text)
{
    for (struct events *e = s->events; e; e = e->next) {
        /* A reader that takes nothing gets no more: it will look again when it reads. */
        if (e->out.n > 65536)
            continue;
        strbuf_add(&e->out, text);
        http_stream_resume(e->call);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct stream *s = timer->data;
    if (!s->have_pending)
        return;
    cleanup_free char *text = event_text(s->turn, s->pending);
    memset(s->pending, 0, sizeof(s->pending));
    s->have_pending = false;
    send_all(s, text);
    uv_timer_start(&s->timer, on_timer, EVENTS_EVERY_MS, 0);
}

static void on_change(void *data, uint64_t turn, const bool tables[TABLE_COUNT])
{
    struct stream *s = data;
    for (int i = 0; i < TABLE_COUNT; i++)
        s->pending[i] |= tables[i];
    s->have_pending = true;
    s->turn = turn;
    if (!uv_is_active((uv_handle_t *)&s->timer))
        on_timer(&s->timer);
}

static void on_keep_alive(uv_timer_t *timer)
{
    send_all(timer->data, ": still here\n\n");
}

void stream_events(struct stream *s, struct http_call *call)
{
    static const struct http_stream_ops ops = {events_pull, events_done};
    static const struct http_field fields[] = {
        {"Content-Type", "text/event-stream"}, {"Cache-Control", "no-store"}, {0}};
    struct events *e = xnew(struct events);
    bool all[TABLE_COUNT];
    memset(all, true, sizeof(all));
    cleanup_free char *first = event_text(s->turn, all);
    e->s = s;
    e->call = call;
    strbuf_add(&e->out, first);
    list_add(s->events, e);
    http_respond_stream(call, 200, fields, -1, &ops, e);
}

/* ---- logs ---- */

static bool attempt_over(struct stream *s, const struct follower *f)
{
    return model_live_attempt(coordinator_model(s->c), f->key) != f->attempt;
}

static ssize_t log_pull(struct http_call *call, char *buf, size_t n, void *ctx)
{
    struct follower *f = ctx;
    (void)call;
    bool over = attempt_over(f->s, f); /* asked before reading, so that nothing is missed */
    ssize_t got = pread(f->fd, buf, n, f->offset);
    if (got < 0 || f->s->ending)
        return HTTP_STREAM_ABORT;
    f->offset += got;
    if (got == 0)
        return over ? HTTP_STREAM_END : 0;
    return got;
}

static void log_done(bool complete, void *ctx)
{
    struct follower *f = ctx;
    (void)complete;
    list_remove(f->s->followers, f);
    close(f->fd);
    free(f->key);
    free(f->lease);
    free(f);
}

static void on_growth(void *data, const char *lease)
{
    struct stream *s = data;
    for (struct follower *f = s->followers; f; f = f->next)
        if (str_eq(f->lease, lease))
            http_stream_resume(f->call);
}

void stream_log(struct stream *s, struct http_call *call, const char *key, int64_t attempt, int fd,
                int64_t offset)
{
    static const struct http_stream_ops ops = {log_pull, log_done};
    char id[32];
    snprintf(id, sizeof(id), "%" PRId64, attempt);
    const struct http_field fields[] = {
        {"Content-Type", "text/plain; charset=utf-8"}, {"Sheaf-Attempt", id}, {0}};
    struct follower *f = xnew(struct follower);
    *f = (struct follower){.s = s,
                           .call = call,
                           .key = xstrdup(key),
                           .lease = xasprintf("L%" PRId64, attempt),
                           .attempt = attempt,
                           .fd = fd,
                           .offset = offset};
    list_add(s->followers, f);
    http_respond_stream(call, 200, fields, -1, &ops, f);
}

/* ---- life ---- */

struct stream *stream_new(struct coordinator *c)
{
    struct stream *s = xnew(struct stream);
    s->c = c;
    uv_timer_init(coordinator_loop(c), &s->timer);
    uv_timer_init(coordinator_loop(c), &s->keep_alive);
    s->timer.data = s->keep_alive.data = s;
    uv_timer_start(&s->keep_alive, on_keep_alive, KEEP_ALIVE_MS, KEEP_ALIVE_MS);
    coordinator_on_change(c, on_change, s);
    logs_on_growth(coordinator_logs(c), on_growth, s);
    return s;
}

void stream_end(struct stream *s)
{
    s->ending = true;
    for (struct events *e = s->events; e; e = e->next)
        http_stream_resume(e->call);
    for (struct follower *f = s->followers; f; f = f->next)
        http_stream_resume(f->call);
}

static void free_stream(uv_handle_t *handle)
{
    free(handle->data);
}

void stream_free(struct stream *s)
{
    if (!s)
        return;
    coordinator_on_change(s->c, NULL, NULL);
    logs_on_growth(coordinator_logs(s->c), NULL, NULL);
    uv_close((uv_handle_t *)&s->timer, NULL);
    uv_close((uv_handle_t *)&s->keep_alive, free_stream);
}
