/* Readers. What they are told is committed: mostly that is what the model shows, once its batch is. While the store has
 * no room the model has decided more than that for a long time, and they are shown what the store has (committed.h).
 *
 *     happy path     look -> (the commit) -> told
 *     failure modes  no room: those that wait for the commit, and those that come, wait until what is committed has been
 *                    loaded, and look again; that cannot be read: 503; room again: they look again at the model */
#include "daemon/coordinator_internal.h"

#include "common/clock.h"

/* A reader whose handler will be called once more. */
struct parked_call {
    struct coordinator *c;
    struct http_call *call;
    struct parked_call *next;
};

int64_t coordinator_now(const struct coordinator *c)
{
    return (c->stalled ? c->stall_began : clock_mono_ms()) - c->stalled_ms;
}

char *coordinator_stalled(struct coordinator *c)
{
    return store_stalled(c->store);
}

/* ---- readers that wait ---- */

static void on_parked_gone(void *ctx)
{
    struct parked_call *p = ctx;
    struct parked_call **at = &p->c->parked;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    free(p);
}

static void park(struct coordinator *c, struct http_call *call)
{
    struct parked_call *p = xnew(struct parked_call);
    *p = (struct parked_call){c, call, c->parked};
    c->parked = p;
    http_call_on_gone(call, on_parked_gone, p);
}

/* Once what they wait for is there, or will not be: no handler waits again. Those that have not had their turn stay in the
 * list, since their clients may still go away. */
static void unpark(struct coordinator *c, const char *error)
{
    while (c->parked) {
        struct parked_call *p = c->parked;
        struct http_call *call = p->call;
        c->parked = p->next;
        free(p);
        http_call_on_gone(call, NULL, NULL);
        if (error)
            http_respond_error(call, 503, NULL, "%s", error);
        else
            http_call_again(call);
    }
}

void coordinator_end_readers(struct coordinator *c)
{
    unpark(c, "the coordinator is stopping");
}

/* ---- what is committed ---- */

static void on_loaded(void *data, const struct err *err)
{
    struct coordinator *c = data;
    if (!err->code) {
        c->moment++;
        unpark(c, NULL);
        return;
    }
    committed_free(steal_ptr(c->committed)); /* the next reader tries again */
    unpark(c, err->text);
}

static void load_committed(struct coordinator *c)
{
    if (!c->committed)
        c->committed = committed_load(c->loop, store_path(c->store), c->committed_farm, c->model,
                                      coordinator_now(c), on_loaded, c);
}

bool coordinator_wait(struct coordinator *c, struct http_call *call)
{
    if (!c->stalled || committed_model(c->committed))
        return false;
    park(c, call);
    load_committed(c);
    return true;
}

/* Takes out of a batch the readers that wait for it. */
static void withdraw_readers(struct coordinator *c, reply_list *replies)
{
    size_t n = 0;
    VEC_FOREACH (replies, it) {
        struct reply *r = *it;
        if (!r->reader) {
            replies->items[n++] = r;
            continue;
        }
        if (r->call) {
            park(c, r->call);
            load_committed(c);
        }
        reply_free(r);
    }
    replies->n = n;
}

void coordinator_on_stall(void *data, bool stalled)
{
    struct coordinator *c = data;
    int64_t now = clock_mono_ms();
    c->moment++;
    c->view++;
    c->stalled = stalled;
    if (c->upstream)
        upstream_pause(c->upstream, stalled);
    if (stalled) {
        c->stall_began = now;
        withdraw_readers(c, &c->committing.replies);
        withdraw_readers(c, &c->gathering.replies);
    } else {
        c->stalled_ms += now - c->stall_began;
        committed_free(steal_ptr(c->committed));
        unpark(c, NULL);
    }
    coordinator_arm_timer(c);
    if (!stalled && c->reload)
        coordinator_reload(c);
}

/* ---- looking and telling ---- */

struct model *coordinator_look(struct coordinator *c)
{
    if (c->stalled)
        return committed_model(c->committed);
    coordinator_begin(c);
    return c->model;
}

uint64_t coordinator_moment(const struct coordinator *c)
{
    return c->moment;
}

uint64_t coordinator_view(const struct coordinator *c)
{
    return c->view;
}

bool coordinator_settled(const struct coordinator *c)
{
    return c->stalled ||
           (!c->in_turn && !store_busy(c->store) && !c->gathering.turn.delta.changes.n);
}

static struct reply *reader_reply(struct coordinator *c, struct http_call *call, json_t *json)
{
    coordinator_reply(c, call, 200, json);
    struct reply *r = c->gathering.replies.items[c->gathering.replies.n - 1];
    r->reader = true;
    return r;
}

void coordinator_tell(struct coordinator *c, struct http_call *call, json_t *json, uint64_t view)
{
    if (view != c->view) {
        json_decref(json);
        http_call_again(call);
    } else if (c->stalled) {
        http_respond_json(call, 200, json);
    } else {
        reader_reply(c, call, json);
    }
}

void coordinator_tell_text(struct coordinator *c, struct http_call *call, char *text, size_t n)
{
    struct reply *r = reader_reply(c, call, NULL);
    r->text = text;
    r->n = n;
}
