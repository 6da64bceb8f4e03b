#include "agent/log_sender.h"

#include "common/log.h"

#include <errno.h>
#include <fcntl.h>

#define BATCH_MS    200
#define BATCH_BYTES (64 * 1024)
#define PIECE_MAX   (1024 * 1024)
#define RETRY_MIN   200
#define RETRY_MAX   10000

struct log_sender {
    struct log_sender_options options;
    char *url, *authorization, *lease;
    uv_timer_t timer;
    struct http_request *request; /* one at a time */
    int fd;                       /* our own, so that a request that is ending cannot miss it */
    int64_t sent;                 /* the coordinator has so many bytes */
    int64_t piece;                /* the length under way */
    int64_t most;                 /* longest piece to send next */
    unsigned failures;
    bool online, finished, told, unwanted, closing, closed;
};

static int64_t unsent(const struct log_sender *s)
{
    return s->unwanted || s->fd < 0 ? 0 : s->options.job->log_size - s->sent;
}

static void destroy(struct log_sender *s)
{
    if (s->request || !s->closed)
        return;
    closep(&s->fd);
    free(s->url);
    free(s->authorization);
    free(s->lease);
    free(s);
}

static void on_closed(uv_handle_t *handle)
{
    struct log_sender *s = handle->data;
    s->closed = true;
    destroy(s);
}

static void send_piece(struct log_sender *s);

static void on_timer(uv_timer_t *timer)
{
    struct log_sender *s = timer->data;
    if (s->finished && unsent(s) == 0 && !s->told) {
        s->told = true;
        s->options.on_sent(s->options.arg, s->lease);
        return;
    }
    if (s->online && !s->request && unsent(s) > 0)
        send_piece(s);
}

static void wait_for(struct log_sender *s, int64_t ms)
{
    uv_timer_start(&s->timer, on_timer, (uint64_t)ms, 0);
}

/* Decides when to look again; called whenever something has changed. */
static void schedule(struct log_sender *s)
{
    if (s->closing || s->request || s->told)
        return;
    int64_t n = unsent(s);
    if (s->finished && n == 0)
        wait_for(s, 0); /* tells, from the loop */
    else if (!s->online || n == 0)
        uv_timer_stop(&s->timer);
    else if (s->failures > 0) {
        int64_t ms = (int64_t)RETRY_MIN << (s->failures < 7 ? s->failures - 1 : 6);
        wait_for(s, ms < RETRY_MAX ? ms : RETRY_MAX);
    } else if (s->finished || n >= BATCH_BYTES)
        wait_for(s, 0);
    else if (!uv_is_active((uv_handle_t *)&s->timer))
        wait_for(s, BATCH_MS);
}

/* ---- the coordinator's answers ---- */

static void failed(struct log_sender *s, const char *why)
{
    s->failures++;
    s->most = BATCH_BYTES;
    log_debug("lease %s: log not sent: %s", s->lease, why);
}

/* `answered` is the status of an answer that says how much the coordinator has. */
static void continue_at(struct log_sender *s, const struct wire_log_answer *answer)
{
    if (answer->received > s->options.job->log_size) {
        log_warning("lease %s: the coordinator has more of the log than there is", s->lease);
        s->unwanted = true;
        return;
    }
    if (answer->received == s->sent)
        return failed(s, "nothing was taken");
    s->failures = 0;
    s->sent = answer->received;
    s->most = s->most * 2 < PIECE_MAX ? s->most * 2 : PIECE_MAX;
}

static void take_answer(struct log_sender *s, const struct http_response *response)
{
    struct wire_log_answer answer;
    struct err err = ERR_INIT;
    int status = response->status;
    bool says = http_response_ok(response) || status == 409;
    if (says &&
        wire_log_answer_decode(strbuf_str(&response->body), response->body.n, &answer, &err) == 0) {
        continue_at(s, &answer);
        return;
    }
    if (status >= 400 && status < 500 && status != 408 && status != 409 && status != 429) {
        log_info("lease %s: the coordinator does not want the log (status %d)", s->lease, status);
        s->unwanted = true;
        return;
    }
    char why[64];
    snprintf(why, sizeof(why), "status %d", status);
    failed(s, why);
}

static void on_done(void *arg, struct http_response *response, const struct err *err)
{
    struct log_sender *s = arg;
    s->request = NULL;
    if (s->closing) {
        destroy(s);
        return;
    }
    if (err)
        failed(s, err->text);
    else
        take_answer(s, response);
    schedule(s);
}

static void send_piece(struct log_sender *s)
{
    int64_t n = unsent(s);
    s->piece = n < s->most ? n : s->most;
    cleanup_free char *url = xasprintf("%s%lld", s->url, (long long)s->sent);
    static const char *const headers[] = {"Content-Type: application/octet-stream", NULL};
    struct http_options o = {
        .method = "PATCH",
        .url = url,
        .headers = headers,
        .authorization = s->authorization,
        .body = http_body_fd(s->fd, s->sent, s->piece),
        .sink = http_sink_memory(4096),
        .done = on_done,
        .arg = s,
    };
    s->request = http_request_start(s->options.client, &o);
}

/* ---- the outside ---- */

struct log_sender *log_sender_new(const struct log_sender_options *options)
{
    struct log_sender *s = xnew(struct log_sender);
    const struct spool_job *job = options->job;
    s->options = *options;
    s->online = options->online;
    s->most = BATCH_BYTES;
    s->lease = xstrdup(job->lease);
    s->url = xasprintf("%s/v1/agent/leases/%s/log?offset=", options->coordinator, job->lease);
    s->authorization = xasprintf("Bearer %s", job->secret);
    s->fd = job->log_fd >= 0 ? fcntl(job->log_fd, F_DUPFD_CLOEXEC, 3) : -1;
    uv_timer_init(http_client_loop(options->client), &s->timer);
    s->timer.data = s;
    schedule(s);
    return s;
}

void log_sender_free(struct log_sender *s)
{
    if (!s)
        return;
    s->closing = true;
    uv_close((uv_handle_t *)&s->timer, on_closed);
    if (s->request)
        http_request_cancel(s->request);
}

void log_sender_wake(struct log_sender *s)
{
    schedule(s);
}

void log_sender_finish(struct log_sender *s)
{
    s->finished = true;
    schedule(s);
}

void log_sender_set_online(struct log_sender *s, bool online)
{
    s->online = online;
    if (online)
        s->failures = 0;
    if (!s->told)
        uv_timer_stop(&s->timer); /* it may have been waiting out a failure */
    schedule(s);
}
