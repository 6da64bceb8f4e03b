/* Commands (docs/api.md, "Commands"): the request is read here, decided in model/command.c, and answered once it is
 * committed. */
#include "daemon/api_status.h"

#include <errno.h>

#define BY_MAX     64
#define REASON_MAX 500

/* Which members a verb's body may have besides `by` and `reason`. */
enum { TAKES_PUBLICATION = 1, TAKES_PLATFORM = 2, TAKES_REBUILD = 4 };

static unsigned takes(enum command_verb verb)
{
    switch (verb) {
    case COMMAND_PIN:
    case COMMAND_ROLLBACK:
        return TAKES_PUBLICATION;
    case COMMAND_RETIRE:
    case COMMAND_WAKE:
        return TAKES_PLATFORM;
    case COMMAND_REBUILD:
        return TAKES_PLATFORM | TAKES_REBUILD;
    default:
        return 0;
    }
}

struct member {
    const char *name;
    unsigned takes; /* 0: every verb's */
    bool flag;      /* true or false; else a text */
};

static const struct member members[] = {
    {"by", 0, false},
    {"reason", 0, false},
    {"publication", TAKES_PUBLICATION, false},
    {"platform", TAKES_PLATFORM, false},
    {"no_cache", TAKES_REBUILD, true},
    {"with_dependents", TAKES_REBUILD, true},
};

static const struct member *find_member(enum command_verb verb, const char *name)
{
    for (size_t i = 0; i < sizeof(members) / sizeof(*members); i++)
        if (str_eq(members[i].name, name) &&
            (!members[i].takes || (members[i].takes & takes(verb))))
            return &members[i];
    return NULL;
}

/* Texts of people are shown in terminals and pages: one line, of a bounded length. */
static bool shown_well(const char *text, size_t max)
{
    size_t n = strlen(text);
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return false;
    return n <= max;
}

/* Whether the body is one that the verb takes; else the call has been answered with 400. */
static bool check_body(struct http_call *call, enum command_verb verb, json_t *body)
{
    const char *name;
    json_t *value;
    json_object_foreach (body, name, value) {
        const struct member *m = find_member(verb, name);
        bool number = json_is_integer(value) && str_eq(name, "publication");
        bool fits = m && (json_is_null(value) || number ||
                          (m->flag ? json_is_boolean(value) : json_is_string(value)));
        const char *text = json_string_value(value);
        size_t max = str_eq(name, "by") ? BY_MAX : REASON_MAX;
        if (!m)
            http_respond_error(call, 400, name, "%s: %s takes no such member", name,
                               command_name(verb));
        else if (!fits)
            http_respond_error(call, 400, name, "%s: %s", name,
                               m->flag ? "write true or false" : "a text is needed");
        else if (text && !shown_well(text, max))
            http_respond_error(call, 400, name, "%s: one line of at most %zu bytes", name, max);
        else
            continue;
        return false;
    }
    return true;
}

static const char *text_of(const json_t *body, const char *name)
{
    const char *text = json_string_value(json_object_get(body, name));
    return text && *text ? text : NULL;
}

/* What a client says of itself, beside what is known of it. The caller owns it. */
static char *who_asks(struct http_call *call, const char *by)
{
    cleanup_free char *known = http_call_listener_kind(call) == HTTP_LISTENER_UNIX
                                   ? xasprintf("uid %u", (unsigned)http_call_peer_uid(call))
                                   : xasprintf("token, from %s", http_call_peer(call));
    return by ? xasprintf("%s (%s)", by, known) : xstrdup(known);
}

static json_t *answer_json(const struct command *c, const struct command_answer *a)
{
    json_t *tracks = json_array();
    VEC_FOREACH (&a->tracks, t)
        json_array_append_new(tracks, json_string(*t));
    return json_pack("{s:s,s:s?,s:s?,s:b,s:s,s:o,s:o}", "command", command_name(c->verb), "track",
                     c->track, "job", c->job, "changed", a->changed, "text", a->text, "tracks",
                     tracks, "action", a->action ? json_integer(a->action) : json_null());
}

/* What in the request names the thing that the error is about. */
static const char *field_of(struct coordinator *c, const struct command *command,
                            const struct err *err)
{
    bool returns = takes(command->verb) & TAKES_PUBLICATION;
    if (err->code == -EINVAL)
        return returns ? "publication" : "platform";
    if (!command->track)
        return command->job ? "job" : NULL;
    json_t *track =
        returns && err->code == -ENOENT ? view_track(coordinator_model(c), command->track) : NULL;
    const char *field = track ? "publication" : "track";
    json_decref(track);
    return field;
}

/* A rebuild's answer names the build that this turn makes of it. */
static void answer(struct coordinator *c, struct http_call *call, const struct command *command,
                   const struct command_answer *a)
{
    if (command->verb == COMMAND_REBUILD)
        coordinator_reply_planned(c, call, 202, answer_json(command, a), view_rebuild);
    else
        coordinator_reply(c, call, 200, answer_json(command, a));
}

static void run(struct coordinator *c, struct http_call *call, const struct command *command)
{
    struct command_answer a = {0};
    struct err err = ERR_INIT;
    if (model_on_command(coordinator_turn(c), command, &a, &err) < 0)
        http_respond_error(call,
                           err.code == -ENOENT  ? 404
                           : err.code == -EBUSY ? 409
                                                : 400,
                           field_of(c, command, &err), "%s", err.text);
    else
        answer(c, call, command, &a);
    command_answer_done(&a);
}

/* The verb is the last segment of the path, which the route's table has checked. */
static enum command_verb verb_of(const struct http_call *call)
{
    int verb = command_verb_of(strrchr(http_call_path(call), '/') + 1);
    return verb < 0 ? COMMAND_COUNT : (enum command_verb)verb;
}

static void run_body(struct coordinator *c, struct http_call *call, enum command_verb verb,
                     json_t *body)
{
    const char *id = http_call_param(call, "id"), *key = http_call_param(call, "key");
    const json_t *publication = json_object_get(body, "publication");
    cleanup_free char *who = who_asks(call, text_of(body, "by"));
    cleanup_free char *number =
        json_is_integer(publication)
            ? xasprintf("%" JSON_INTEGER_FORMAT, json_integer_value(publication))
            : NULL;
    struct command command = {
        .verb = verb,
        .track = *id ? id : NULL,
        .job = *key ? key : NULL,
        .publication = number ? number : text_of(body, "publication"),
        .platform = text_of(body, "platform"),
        .no_cache = json_is_true(json_object_get(body, "no_cache")),
        .with_dependents = json_is_true(json_object_get(body, "with_dependents")),
        .who = who,
        .reason = text_of(body, "reason"),
    };
    run(c, call, &command);
}

void api_command(struct http_call *call, void *data)
{
    struct coordinator *c = data;
    enum command_verb verb = verb_of(call);
    cleanup_free char *stalled = coordinator_stalled(c);
    size_t n;
    http_call_body(call, &n);
    if (stalled || verb == COMMAND_COUNT) {
        http_respond_error(call, stalled ? 503 : 404, NULL, "%s",
                           stalled ? stalled : "no such command");
        return;
    }
    json_t *body = n ? http_call_json(call) : json_object();
    if (body && check_body(call, verb, body))
        run_body(c, call, verb, body);
    json_decref(body);
}
