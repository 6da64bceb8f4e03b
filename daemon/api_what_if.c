/* What if (docs/api.md): the copy is taken on the loop, what follows is worked out on a worker's thread. One question at
 * a time: each has a thread and the memory of another model. It reads, and changes nothing; it is asked by the socket or
 * with the token, since it is costly and may name a file. */
#include "daemon/api_status.h"
#include "daemon/config.h"
#include "daemon/model/what_if.h"
#include "daemon/upstream.h"

#include <errno.h>

/* Rounds in which a run asks for what its copy lacks; a chain of settled keys takes one for each link. */
#define ROUNDS_MAX 64
/* Contexts read from mirrors for one answer. */
#define LOOKS_MAX 2000
#define PATHS_MAX 1000

static bool busy;

struct asking {
    struct coordinator *c;
    struct http_call *call; /* NULL: the client has gone */
    json_t *body;           /* its texts are the question's */
    struct what_if_question question;
    const char *path;     /* CONFIG: of the file */
    strvec errors;        /* CONFIG: what is wrong with the file */
    struct farm *running; /* held: the copy is of a model of this one */
    size_t size;          /* of the room to be made */
    struct what_if *room; /* NULL again once the copy is taken */
    struct what_if *what; /* NULL until then */
    uint64_t view;        /* coordinator_view when it was */
    int rounds, looks;
    bool again; /* something is known that the last run missed */
    uv_work_t work;
};

static void asking_free(struct asking *a)
{
    what_if_free(a->room);
    what_if_free(a->what);
    farm_free(a->question.farm);
    farm_free(a->running);
    strvec_done(&a->question.paths);
    strvec_done(&a->errors);
    json_decref(a->body);
    free(a);
    busy = false;
}

static void on_gone(void *ctx)
{
    struct asking *a = ctx;
    a->call = NULL;
    if (a->what)
        what_if_cancel(a->what);
}

/* ---- the question ---- */

/* Which members an event takes; the first is the one that it needs. */
static const struct {
    const char *event;
    enum what_if_kind kind;
    const char *needs, *more[3];
} events[] = {
    {"push", WHAT_IF_PUSH, "source", {"ref", "paths", "commit"}},
    {"base", WHAT_IF_BASE, "reference", {NULL}},
    {"config", WHAT_IF_CONFIG, "path", {NULL}},
    {"board", WHAT_IF_BOARD, "board", {NULL}},
};
#define N_EVENTS (sizeof(events) / sizeof(*events))

static int refuse(struct http_call *call, const char *field, const char *text)
{
    http_respond_error(call, 400, field, "%s: %s", field, text);
    return -EINVAL;
}

static const char *text_of(const json_t *body, const char *name)
{
    const char *text = json_string_value(json_object_get(body, name));
    return text && *text ? text : NULL;
}

static int take_paths(struct http_call *call, const json_t *list, strvec *paths)
{
    size_t i;
    const json_t *path;
    if (json_array_size(list) > PATHS_MAX)
        return refuse(call, "paths", "too many");
    json_array_foreach (list, i, path) {
        if (!json_is_string(path))
            return refuse(call, "paths", "a list of texts is needed");
        strvec_add(paths, json_string_value(path));
    }
    return 0;
}

static int check_members(struct http_call *call, json_t *body, size_t event)
{
    const char *name;
    json_t *value;
    json_object_foreach (body, name, value) {
        bool list = str_eq(name, "paths");
        bool known = str_eq(name, "event") || str_eq(name, events[event].needs);
        for (size_t i = 0; i < 3; i++)
            known = known || (events[event].more[i] && str_eq(name, events[event].more[i]));
        if (!known)
            return refuse(call, name, "no such member");
        if (!json_is_null(value) && !(list ? json_is_array(value) : json_is_string(value)))
            return refuse(call, name, list ? "a list is needed" : "a text is needed");
    }
    if (!text_of(body, events[event].needs))
        return refuse(call, events[event].needs, "a text is needed");
    return 0;
}

/* Fills in the question; answers what is wrong. */
static int take_question(struct http_call *call, struct asking *a)
{
    size_t event = 0;
    while (event < N_EVENTS && !str_eq(text_of(a->body, "event"), events[event].event))
        event++;
    if (event == N_EVENTS)
        return refuse(call, "event", "push, base, config or board");
    int r = check_members(call, a->body, event);
    if (r < 0)
        return r;
    a->path = text_of(a->body, "path");
    if (a->path && *a->path != '/')
        return refuse(call, "path", "it must be absolute");
    a->question = (struct what_if_question){.kind = events[event].kind,
                                            .source = text_of(a->body, "source"),
                                            .ref = text_of(a->body, "ref"),
                                            .commit = text_of(a->body, "commit"),
                                            .reference = text_of(a->body, "reference"),
                                            .board = text_of(a->body, "board")};
    return take_paths(call, json_object_get(a->body, "paths"), &a->question.paths);
}

/* ---- the work ---- */

static void next(struct asking *a);

static void work(uv_work_t *w)
{
    struct asking *a = w->data;
    if (a->what) {
        what_if_run(a->what);
        return;
    }
    a->room = what_if_prepare(a->size);
    if (a->path)
        config_read(a->path, &a->question.farm, NULL, &a->errors);
}

static void after_work(uv_work_t *w, int status)
{
    struct asking *a = w->data;
    (void)status;
    next(a);
}

static void start_work(struct asking *a)
{
    a->work.data = a;
    uv_queue_work(coordinator_loop(a->c), &a->work, work, after_work);
}

/* The model that the copy was taken of, or is to be, is not the one that readers are shown any more: it is asked anew. */
static void ask_anew(struct asking *a)
{
    struct http_call *call = a->call;
    asking_free(a);
    http_call_again(call);
}

static void take_copy(struct asking *a)
{
    struct err err = ERR_INIT;
    struct model *m = coordinator_look(a->c);
    if (!m) { /* the store has no room by now, and what is committed is to be loaded */
        ask_anew(a);
        return;
    }
    a->running = coordinator_hold_shown_farm(a->c);
    a->view = coordinator_view(a->c);
    if (what_if_new(m, &a->question, a->room, &a->what, &err) == 0) {
        a->room = NULL;
        a->question.farm = NULL;
        start_work(a);
        return;
    }
    http_call_on_gone(a->call, NULL, NULL);
    http_respond_error(a->call, err.code == -ENOENT ? 404 : 400, NULL, "%s", err.text);
    asking_free(a);
}

static void prepared(struct asking *a)
{
    if (!a->path || a->question.farm) {
        take_copy(a);
        return;
    }
    cleanup_strbuf struct strbuf text = {0};
    VEC_FOREACH (&a->errors, line)
        strbuf_addf(&text, "%s%s", text.n ? "\n" : "", *line);
    http_call_on_gone(a->call, NULL, NULL);
    http_respond_error(a->call, 400, "path", "%s", strbuf_str(&text));
    asking_free(a);
}

static void reply(struct asking *a)
{
    struct http_call *call = a->call;
    struct coordinator *c = a->c;
    uint64_t view = a->view;
    json_t *answer = what_if_answer(a->what);
    http_call_on_gone(call, NULL, NULL);
    asking_free(a);
    coordinator_tell(c, call, answer, view);
}

static void on_looked(void *data, const struct context_facts *facts, bool touched)
{
    struct asking *a = data;
    if (a->view == coordinator_view(a->c))
        what_if_looked(a->what, coordinator_look(a->c), facts, touched);
    a->again = a->again || facts;
    next(a);
}

/* Whether a mirror is asked for something that the last run missed. */
static bool look(struct asking *a)
{
    struct what_if_look what;
    if (a->looks >= LOOKS_MAX || !what_if_look(a->what, &what))
        return false;
    struct upstream_context_args args = {.source = what.source,
                                         .commit = what.commit,
                                         .path = what.path,
                                         .dockerfile = what.dockerfile ? what.dockerfile : ""};
    a->looks++;
    upstream_look(coordinator_upstream(a->c), &args, what.paths, on_looked, a);
    return true;
}

/* A run has ended, or a look. */
static void run_again(struct asking *a)
{
    if (a->rounds >= ROUNDS_MAX) {
        reply(a);
        return;
    }
    a->again = what_if_ask(a->what, coordinator_look(a->c)) || a->again;
    if (look(a))
        return;
    if (!a->again) {
        reply(a);
        return;
    }
    a->again = false;
    a->rounds++;
    start_work(a);
}

static void next(struct asking *a)
{
    if (!a->call)
        asking_free(a);
    else if (!a->what)
        prepared(a);
    else if (a->view != coordinator_view(a->c))
        ask_anew(a);
    else
        run_again(a);
}

void api_what_if(struct http_call *call, void *data)
{
    if (busy) {
        http_respond_error(call, 429, NULL, "another such question is being worked out: ask again");
        return;
    }
    if (coordinator_wait(data, call))
        return;
    json_t *body = http_call_json(call);
    if (!body)
        return;
    struct asking *a = xnew(struct asking);
    *a = (struct asking){.c = data, .call = call, .body = body};
    busy = true;
    if (take_question(call, a) < 0) {
        asking_free(a);
        return;
    }
    http_call_on_gone(call, on_gone, a);
    a->size = what_if_size(coordinator_look(a->c));
    start_work(a);
}
