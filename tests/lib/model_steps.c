#include "tests/lib/model_steps.h"

#include "common/digest.h"
#include "tests/lib/model_commands.h"

struct effect world_take(struct world *w, enum effect_kind kind)
{
    for (size_t i = 0; i < w->todo.n; i++)
        if (w->todo.items[i].kind == kind) {
            struct effect e = w->todo.items[i];
            vec_remove(&w->todo, i);
            return e;
        }
    fail_msg("no such effect is asked for");
    return (struct effect){0};
}

bool world_asked(const struct world *w, enum effect_kind kind)
{
    VEC_FOREACH (&w->todo, e)
        if (e->kind == kind)
            return true;
    return false;
}

void world_inspect_source(struct world *w, const char *source, const char *dockerfile)
{
    for (size_t i = 0; i < w->todo.n; i++) {
        struct effect e = w->todo.items[i];
        char id[DIGEST_SIZE];
        if (e.kind != EFFECT_INSPECT || !str_eq(e.source, source))
            continue;
        vec_remove(&w->todo, i--);
        digest_of(e.commit, strlen(e.commit), id);
        struct context_facts facts = {.exists = true,
                                      .id = id,
                                      .dockerfile_text = e.dockerfile ? dockerfile : NULL,
                                      .time = 1600000000,
                                      .size = 10};
        world_begin(w, 1);
        model_on_context(w->m, e.source, e.commit, e.path, e.dockerfile, &facts);
        world_end(w);
        effect_done(&e);
    }
}

void world_push(struct world *w, const char *source, const char *commit, const char *dockerfile)
{
    world_see(w, source, WORLD_MASTER, commit);
    world_inspect_source(w, source, dockerfile);
}

void world_step(struct world *w)
{
    struct effect e = world_take(w, EFFECT_PUBLISH);
    world_begin(w, 1);
    model_on_publication_step(w->m, e.publication, e.step);
    world_end(w);
    effect_done(&e);
}

void world_step_fails(struct world *w, enum publish_failure failure, enum platform platform,
                      const char *error)
{
    struct effect e = world_take(w, EFFECT_PUBLISH);
    world_begin(w, 1);
    model_on_publication_failed(w->m, e.publication, e.step, failure, platform, error, 0);
    world_end(w);
    effect_done(&e);
}

void world_child_missing(struct world *w, enum platform platform, const char *error)
{
    world_step_fails(w, PUBLISH_MISSING, platform, error);
    world_wait(w, 5000);
    world_step_fails(w, PUBLISH_MISSING, platform, error);
}

void world_reload(struct world *w)
{
    farm_sort(w->farm);
    world_begin(w, 1);
    model_on_config(w->m, w->farm);
    world_end(w);
}

struct farm_image *world_find_image(struct world *w, const char *name)
{
    VEC_FOREACH (&w->farm->images, image)
        if (str_eq(image->name, name))
            return image;
    fail_msg("no image %s", name);
    return NULL;
}

struct wire_lease *world_lease(struct world *w, const char *board, const char *image,
                               struct wire_poll_response *ret)
{
    *ret = world_poll(w, board);
    assert_int_equal(ret->leases.n, 1);
    if (image)
        assert_string_equal(ret->leases.items[0].job.image, image);
    return &ret->leases.items[0];
}

void world_build(struct world *w, const char *board, const char *image, const char *content)
{
    struct wire_poll_response got;
    world_succeed(w, world_lease(w, board, image, &got), content);
    wire_poll_response_done(&got);
}

void world_break(struct world *w, const char *board, const char *image, enum wire_failure kind)
{
    struct wire_poll_response got;
    world_fail(w, world_lease(w, board, image, &got), kind);
    wire_poll_response_done(&got);
}

void world_break_platform(struct world *w, const char *platform, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        struct wire_poll_response got = world_poll(w, "one");
        VEC_FOREACH (&got.leases, lease)
            if (str_eq(lease->job.platform, platform))
                world_fail(w, lease, WIRE_FAILURE_RECIPE);
            else
                world_succeed(w, lease, lease->job.key);
        wire_poll_response_done(&got);
        world_publish(w);
    }
}

bool world_agent_session(struct world *w, struct world_agent *a, const struct wire_lease *held)
{
    struct wire_session_response answer;
    struct err err = ERR_INIT;
    world_session(w, a->name, a->name, (int64_t)1 << 30, held);
    assert_int_equal(
        wire_session_response_decode(w->last_reply, strlen(w->last_reply), &answer, &err), 0);
    snprintf(a->session, sizeof(a->session), "%s", answer.session);
    a->seq = 0;
    bool cancel = answer.cancel.n;
    wire_session_response_done(&answer);
    return cancel;
}

struct wire_poll_response world_agent_poll(struct world *w, struct world_agent *a,
                                           const struct wire_lease *held, size_t n)
{
    struct wire_poll_request req = {.session = a->session,
                                    .seq = ++a->seq,
                                    .free = w->free,
                                    .temperature = w->temperature,
                                    .disk_free = w->disk_free,
                                    .draining = w->draining};
    struct wire_poll_response got = {0};
    struct err err = ERR_INIT;
    for (size_t i = 0; i < n; i++)
        vec_push(&req.held, (struct wire_held){held[i].lease, held[i].epoch});
    uint64_t token = ++w->token;
    world_begin(w, 1);
    model_on_poll_closed(w->m,
                         token - 1); /* no answer of the poll before is taken for this one's */
    world_end(w);
    str_replace(&w->last_reply, NULL);
    world_begin(w, 0);
    model_on_poll(w->m, a->name, &req, token);
    world_end(w);
    vec_free(&req.held);
    if (w->last_reply)
        assert_int_equal(
            wire_poll_response_decode(w->last_reply, strlen(w->last_reply), &got, &err), 0);
    return got;
}

void world_is(struct world *w, const char *track, const char *state, const char *code)
{
    cleanup_free char *was = xstrdup(world_track_state(w, track));
    cleanup_free char *why = xstrdup(world_text(w, track, "reason", "code"));
    if (!str_eq(was, state) || !str_eq(why, code))
        fail_msg("%s is %s (%s: %s), not %s (%s)", track, was, why,
                 world_text(w, track, "reason", "text"), state, code);
}

void world_says(struct world *w, const char *track, const char *text)
{
    const char *said = world_text(w, track, "reason", "text");
    if (!strstr(said, text))
        fail_msg("'%s' does not say '%s'", said, text);
}

void world_audited(struct world *w, const char *repository, const char *found)
{
    struct err err = ERR_INIT;
    world_begin(w, 1);
    assert_int_equal(model_on_audit(w->m, repository, &err), 0);
    world_end(w);
    struct effect e = world_take(w, EFFECT_AUDIT);
    const struct audited seen = {"latest", world_tag_digest(w, repository, "latest"), found};
    world_begin(w, 1);
    model_on_audited(w->m, e.repository, &seen, 1);
    world_end(w);
    effect_done(&e);
}
