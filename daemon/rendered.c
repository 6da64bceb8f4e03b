#include "daemon/rendered.h"

#include "common/clock.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>

/* Larger texts are sent by sendfile: copying them is most of what an answer costs. */
#define BY_FILE_MIN 16384

static const char now_member[] = "\"now_at\":";

static bool is_fresh(const struct rendered *r, const struct coordinator *c)
{
    return r->text && r->moment == coordinator_moment(c);
}

static void render_again(struct rendered *r, struct coordinator *c, rendered_fn render)
{
    rendered_done(r);
    json_t *json = render(c);
    r->text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    if (!r->text)
        return;
    r->n = strlen(r->text);
    const char *now = strstr(r->text, now_member);
    r->now = now ? (size_t)(now - r->text) + strlen(now_member) : 0;
    r->moment = coordinator_moment(c);
}

static char *copy(const struct rendered *r)
{
    char *text = xmemdup(r->text, r->n + 1), digits[24];
    int n = snprintf(digits, sizeof(digits), "%" PRId64, clock_wall_ms());
    if (r->now && strspn(text + r->now, "0123456789") == (size_t)n)
        memcpy(text + r->now, digits, (size_t)n);
    return text;
}

/* A descriptor of the text for one answer, or -1. */
static int as_file(struct rendered *r)
{
    if (r->n < BY_FILE_MIN || r->now)
        return -1;
    if (r->fd <= 0) {
        r->fd = memfd_create("rendered", MFD_CLOEXEC);
        if (r->fd > 0 && write(r->fd, r->text, r->n) != (ssize_t)r->n)
            closep(&r->fd);
    }
    return r->fd > 0 ? fcntl(r->fd, F_DUPFD_CLOEXEC, 3) : -1;
}

static void answer_now(struct rendered *r, struct http_call *call)
{
    int fd = as_file(r);
    if (fd >= 0)
        http_respond_json_fd(call, 200, fd, r->n);
    else
        http_respond_json_text(call, 200, copy(r), r->n);
}

void rendered_answer(struct rendered *r, struct coordinator *c, struct http_call *call,
                     rendered_fn render)
{
    if (coordinator_wait(c, call))
        return;
    if (!is_fresh(r, c))
        render_again(r, c, render);
    if (!r->text)
        http_respond_error(call, 500, NULL, "text that is not UTF-8");
    else if (coordinator_settled(c))
        answer_now(r, call);
    else
        coordinator_tell_text(c, call, copy(r), r->n);
}

void rendered_done(struct rendered *r)
{
    free(r->text);
    if (r->fd > 0)
        close(r->fd);
    *r = (struct rendered){0};
}
