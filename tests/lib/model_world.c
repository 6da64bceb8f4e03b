#include "tests/lib/model_world.h"

#include "common/digest.h"

static void fake_random(void *data, void *bytes, size_t n)
{
    struct world *w = data;
    memset(bytes, 0, n);
    w->random++;
    memcpy(bytes, &w->random, sizeof(w->random) < n ? sizeof(w->random) : n);
}

void world_init(struct world *w)
{
    *w = (struct world){.mono = 1000,
                        .wall = 1700000000000,
                        .slots = 2,
                        .free = 2,
                        .temperature = 40,
                        .disk_free = (int64_t)10 << 30};
    struct farm *f = w->farm = xnew(struct farm);
    f->registry = xstrdup("r.test/osf");
    f->registry_host = xstrdup("r.test");
    vec_push(&f->platforms, PLATFORM_AMD64);
    f->keep = 3;
    f->poll_ms = 300000;
    f->base_poll_ms = 900000;
    f->lease_term_ms = 90000;
    f->timeout_ms = 3600000;
}

struct farm_image *world_image(struct world *w, const char *name, const char *source,
                               const char *ref, const char *script)
{
    struct farm_image image = {.name = xstrdup(name),
                               .repository = xasprintf("r.test/osf/%s", name),
                               .where = xstrdup("test"),
                               .source = xstrdup(source),
                               .ref = xstrdup(ref),
                               .history = 1,
                               .kind = script ? FARM_KIND_ROOTFS : FARM_KIND_DOCKERFILE,
                               .context = xstrdup(""),
                               .dockerfile = script ? NULL : xstrdup("Dockerfile"),
                               .script = xstrdup(script),
                               .timeout_ms = 3600000};
    vec_push(&image.platforms, PLATFORM_AMD64);
    strvec_add(&image.tags, "latest");
    vec_push(&w->farm->images, image);
    return &w->farm->images.items[w->farm->images.n - 1];
}

static void keep_row(struct world *w, const struct change *change)
{
    const struct table *t = table_of(change->table);
    for (size_t i = 0; i < w->rows.n; i++) {
        struct change *old = &w->rows.items[i];
        bool same = old->table == change->table;
        for (size_t k = 0; same && k < t->n_key; k++)
            same = old->cells[k].i == change->cells[k].i &&
                   str_eq(old->cells[k].s, change->cells[k].s);
        if (!same)
            continue;
        struct delta d = {0};
        vec_push(&d.changes, *old);
        delta_done(&d);
        vec_remove(&w->rows, i);
        break;
    }
    if (!change->deleted)
        vec_push(&w->rows, *change);
}

void world_begin(struct world *w, int64_t ms)
{
    w->mono += ms;
    w->wall += ms;
    model_turn_begin(w->m, &w->turn, w->mono, w->wall);
}

void world_end(struct world *w)
{
    model_turn_end(w->m);
    VEC_FOREACH (&w->turn.delta.changes, change) {
        keep_row(w, change);
        if (change->deleted) {
            for (size_t i = 0; i < change->n_cells; i++)
                free(change->cells[i].s);
            free(change->cells);
        }
    }
    vec_free(&w->turn.delta.changes);
    VEC_FOREACH (&w->turn.effects, e) {
        if (e->kind != EFFECT_REPLY) {
            vec_push(&w->todo, *e);
            continue;
        }
        str_replace(&w->last_reply, e->body);
        w->last_status = e->status;
        effect_done(e);
    }
    vec_free(&w->turn.effects);
}

void world_start(struct world *w)
{
    farm_sort(w->farm);
    struct model_hooks hooks = {fake_random, w};
    w->m = model_new(w->farm, &hooks);
    world_begin(w, 1);
    model_start(w->m);
    world_end(w);
}

static int column(enum table_id table, const char *name)
{
    for (size_t i = 0; i < table_of(table)->n_columns; i++)
        if (str_eq(table_of(table)->columns[i].name, name))
            return (int)i;
    fail_msg("no column %s", name);
    return -1;
}

static bool build_loaded(struct world *w, int64_t id)
{
    VEC_FOREACH (&w->rows, row) {
        if (row->table == TABLE_TRACK && row->cells[column(TABLE_TRACK, "build")].i == id)
            return true;
        if (row->table == TABLE_BUILD && row->cells[0].i == id &&
            !row->cells[column(TABLE_BUILD, "finished_at")].i)
            return true;
    }
    return false;
}

/* What the tables' load_where says. */
static bool loaded_at_start(struct world *w, const struct change *row)
{
    if (row->table == TABLE_ATTEMPT)
        return !row->cells[column(TABLE_ATTEMPT, "secret")].is_null;
    if (row->table == TABLE_BUILD || row->table == TABLE_BUILD_JOB)
        return build_loaded(w, row->cells[0].i);
    return !str_eq(table_of(row->table)->load_where, "0");
}

void world_restart(struct world *w)
{
    VEC_FOREACH (&w->todo, e)
        effect_done(e);
    w->todo.n = 0;
    model_free(w->m);
    struct model_hooks hooks = {fake_random, w};
    w->m = model_new(w->farm, &hooks);
    for (int t = 0; t < TABLE_COUNT; t++)
        VEC_FOREACH (&w->rows, row) {
            struct err err = ERR_INIT;
            if ((int)row->table == t && loaded_at_start(w, row))
                assert_int_equal(model_load(w->m, row->table, row->cells, &err), 0);
        }
    world_begin(w, 1);
    model_start(w->m);
    world_end(w);
}

void world_see(struct world *w, const char *source, const char *ref, const char *commit)
{
    struct seen_ref seen = {.name = ref, .commit = commit, .descends = true};
    world_begin(w, 1);
    model_on_refs(w->m, source, &seen, 1);
    world_end(w);
}

void world_see_all(struct world *w, const char *source, const char *commit, const char *const *refs)
{
    VEC(struct seen_ref) seen = {0};
    for (; *refs; refs++)
        vec_push(&seen, (struct seen_ref){.name = *refs, .commit = commit, .descends = true});
    world_begin(w, 1);
    model_on_refs(w->m, source, seen.items, seen.n);
    world_end(w);
    vec_free(&seen);
}

bool world_attention(struct world *w, const char *code)
{
    json_t *view = view_status(w->m), *a;
    size_t i;
    bool found = false;
    json_array_foreach (json_object_get(view, "attention"), i, a)
        found =
            found ||
            str_eq(json_string_value(json_object_get(json_object_get(a, "reason"), "code")), code);
    json_decref(view);
    return found;
}

static bool take_effect(struct world *w, enum effect_kind kind, struct effect *ret)
{
    for (size_t i = 0; i < w->todo.n; i++) {
        if (w->todo.items[i].kind != kind)
            continue;
        *ret = w->todo.items[i];
        vec_remove(&w->todo, i);
        return true;
    }
    return false;
}

int world_inspect(struct world *w, const char *dockerfile)
{
    struct effect e;
    int n = 0;
    for (; take_effect(w, EFFECT_INSPECT, &e); n++) {
        char id[DIGEST_SIZE];
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
    return n;
}

int world_retain(struct world *w)
{
    struct effect e;
    int n = 0;
    for (; take_effect(w, EFFECT_RETAIN, &e); n++) {
        world_begin(w, 1);
        model_on_retained(w->m, e.repository, e.tags.items[0].tag, e.digest);
        world_end(w);
        effect_done(&e);
    }
    return n;
}

int world_publish(struct world *w)
{
    struct effect e;
    int n = world_retain(w);
    for (; take_effect(w, EFFECT_PUBLISH, &e); n++) {
        world_begin(w, 1);
        model_on_publication_step(w->m, e.publication, e.step);
        world_end(w);
        effect_done(&e);
    }
    return n;
}

void world_session(struct world *w, const char *name, const char *boot, int64_t memory,
                   const struct wire_lease *held)
{
    struct wire_session_request req = {.agent = "test", .boot = (char *)(uintptr_t)boot};
    struct wire_facts *f = &req.facts;
    f->slots = f->cpus = w->slots;
    if (w->buildah)
        wire_map_set(&f->builders, "buildah", w->buildah);
    f->memory = memory;
    if (held)
        vec_push(&req.held, (struct wire_held){held->lease, held->epoch});
    f->machine = f->kernel = (char *)(uintptr_t) "x";
    f->page_size = 4096;
    if (!w->no_buildah)
        strvec_add(&f->kinds, "dockerfile");
    strvec_add(&f->kinds, "rootfs");
    for (const char *const *p = w->platforms; p && *p; p++)
        strvec_add(&f->platforms, *p);
    if (!w->platforms)
        strvec_add(&f->platforms, "linux/amd64");
    for (const char *const *p = w->emulated; p && *p; p++)
        strvec_add(&f->emulated, *p);
    world_begin(w, 1);
    model_on_session(w->m, name, &req, ++w->token);
    world_end(w);
    strvec_done(&f->kinds);
    strvec_done(&f->platforms);
    strvec_done(&f->emulated);
    VEC_FOREACH (&f->builders, builder) {
        free(builder->key);
        free(builder->value);
    }
    vec_free(&f->builders);
    vec_free(&req.held);
}

static void session(struct world *w, const char *name)
{
    world_session(w, name, name, (int64_t)1 << 30, NULL);
}

void world_wait(struct world *w, int64_t ms)
{
    world_begin(w, ms);
    model_on_timer(w->m);
    world_end(w);
}

const char *world_text(struct world *w, const char *id, const char *member, const char *inner)
{
    static char text[256];
    json_t *t = view_track(w->m, id), *v = t ? json_object_get(t, member) : NULL;
    const char *s = json_string_value(inner ? json_object_get(v, inner) : v);
    snprintf(text, sizeof(text), "%s", s ? s : "");
    json_decref(t);
    return text;
}

void world_board(struct world *w, const char *name)
{
    char hash[DIGEST_SIZE];
    digest_of(name, strlen(name), hash);
    world_begin(w, 1);
    model_on_board_added(w->m, name, hash);
    world_end(w);
    session(w, name);
    assert_int_equal(w->last_status, 200);
}

struct wire_poll_response world_poll(struct world *w, const char *name)
{
    session(w, name);
    struct wire_session_response answer;
    struct err err = ERR_INIT;
    assert_int_equal(
        wire_session_response_decode(w->last_reply, strlen(w->last_reply), &answer, &err), 0);
    struct wire_poll_request req = {.session = answer.session,
                                    .seq = 1,
                                    .free = w->free,
                                    .temperature = w->temperature,
                                    .disk_free = w->disk_free,
                                    .draining = w->draining};
    str_replace(&w->last_reply, NULL);
    world_begin(w, 1);
    model_on_poll(w->m, name, &req, ++w->token);
    world_end(w);
    wire_session_response_done(&answer);
    struct wire_poll_response got = {0};
    if (w->last_reply)
        assert_int_equal(
            wire_poll_response_decode(w->last_reply, strlen(w->last_reply), &got, &err), 0);
    return got;
}

void world_succeed_as(struct world *w, const struct wire_lease *lease, const char *manifest,
                      const char *content)
{
    struct wire_descriptor descriptor = {
        .digest = (char *)(uintptr_t)manifest,
        .size = 100,
        .media_type = (char *)(uintptr_t) "application/vnd.oci.image.manifest.v1+json"};
    struct wire_result r = {.epoch = lease->epoch,
                            .outcome = WIRE_SUCCEEDED,
                            .manifest = &descriptor,
                            .config_digest = (char *)(uintptr_t)manifest,
                            .content_digest = (char *)(uintptr_t)content};
    world_begin(w, 1000);
    model_on_result(w->m, lease->lease, &r, ++w->token);
    world_end(w);
}

void world_succeed(struct world *w, const struct wire_lease *lease, const char *content)
{
    char digest[DIGEST_SIZE];
    digest_of(content, strlen(content), digest);
    world_succeed_as(w, lease, digest, digest);
}

void world_fail(struct world *w, const struct wire_lease *lease, enum wire_failure kind)
{
    struct wire_result r = {.epoch = lease->epoch,
                            .outcome = WIRE_FAILED,
                            .kind = kind,
                            .reason = (char *)(uintptr_t) "it broke"};
    world_begin(w, 1000);
    model_on_result(w->m, lease->lease, &r, ++w->token);
    world_end(w);
}

int world_settle(struct world *w, const char *dockerfile)
{
    int jobs = 0;
    for (int rounds = 0; rounds < 200; rounds++) {
        int n = world_inspect(w, dockerfile) + world_publish(w);
        struct wire_poll_response got = world_poll(w, "one");
        VEC_FOREACH (&got.leases, lease) {
            world_succeed(w, lease, lease->job.key);
            jobs++;
            n++;
        }
        wire_poll_response_done(&got);
        if (!n)
            return jobs;
    }
    fail_msg("the farm does not settle");
    return -1;
}

const char *world_track_state(struct world *w, const char *id)
{
    static char state[64];
    json_t *t = view_track(w->m, id);
    snprintf(state, sizeof(state), "%s",
             t ? json_string_value(json_object_get(t, "state")) : "no such track");
    json_decref(t);
    return state;
}

void world_done(struct world *w)
{
    model_free(w->m);
    farm_free(w->farm);
    VEC_FOREACH (&w->todo, e)
        effect_done(e);
    vec_free(&w->todo);
    struct delta d = {0};
    VEC_FOREACH (&w->rows, row)
        vec_push(&d.changes, *row);
    delta_done(&d);
    vec_free(&w->rows);
    free(w->last_reply);
}
