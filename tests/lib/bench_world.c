#include "tests/lib/bench_world.h"

#include "common/digest.h"

#include <inttypes.h>
#include <time.h>

double bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1000 + (double)t.tv_nsec / 1e6;
}

double bench_memory(void)
{
    cleanup_fclose FILE *f = fopen("/proc/self/statm", "re");
    long size = 0, resident = 0;
    if (!f || fscanf(f, "%ld %ld", &size, &resident) != 2)
        return 0;
    return (double)resident * (double)sysconf(_SC_PAGESIZE) / (1 << 20);
}

static void die(const char *what)
{
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static void fake_random(void *data, void *bytes, size_t n)
{
    struct bench_world *w = data;
    memset(bytes, 0, n);
    w->random++;
    memcpy(bytes, &w->random, sizeof(w->random) < n ? sizeof(w->random) : n);
}

/* ---- the farm ---- */

void bench_init(struct bench_world *w)
{
    *w = (struct bench_world){.mono = 1000, .wall = 1700000000000};
    struct farm *f = w->farm = xnew(struct farm);
    f->registry = xstrdup("r.test/osf");
    f->registry_host = xstrdup("r.test");
    f->keep = 3;
    f->poll_ms = 300000;
    f->base_poll_ms = (int64_t)900 * 24 * 3600 * 1000; /* looked at when the benchmark says so */
    f->lease_term_ms = 24 * 3600 * 1000;
    f->timeout_ms = 3600000;
}

struct farm_image *bench_image(struct bench_world *w, const char *name, const char *source,
                               const char *ref, const enum platform *platforms, size_t n)
{
    struct farm_image image = {.name = xstrdup(name),
                               .repository = xasprintf("r.test/osf/%s", name),
                               .where = xstrdup("bench"),
                               .source = xstrdup(source),
                               .ref = xstrdup(ref),
                               .history = FARM_HISTORY_ALL,
                               .kind = FARM_KIND_DOCKERFILE,
                               .context = xstrdup(""),
                               .dockerfile = xstrdup("Dockerfile"),
                               .timeout_ms = 3600000};
    for (size_t i = 0; i < n; i++)
        vec_push(&image.platforms, platforms[i]);
    strvec_add(&image.tags, strchr(ref, '*') ? "$version" : "latest");
    vec_push(&w->farm->images, image);
    return &w->farm->images.items[w->farm->images.n - 1];
}

/* ---- rows ---- */

static char *row_key(const struct change *c)
{
    struct strbuf key = {0};
    strbuf_addf(&key, "%d", (int)c->table);
    for (size_t i = 0; i < table_of(c->table)->n_key; i++)
        strbuf_addf(&key, "\n%s%" PRId64, c->cells[i].s ? c->cells[i].s : "", c->cells[i].i);
    return strbuf_steal(&key);
}

static void change_done(struct change *c)
{
    for (size_t i = 0; i < c->n_cells; i++)
        free(c->cells[i].s);
    free(c->cells);
}

/* Takes the change over. */
static void keep_row(struct bench_world *w, struct change *c)
{
    struct bench_row *row = NULL;
    cleanup_free char *key = row_key(c);
    HASH_FIND_STR(w->rows, key, row);
    if (!row && !c->deleted) {
        row = xnew(struct bench_row);
        row->key = steal_ptr(key);
        row->change = *c;
        HASH_ADD_KEYPTR(hh, w->rows, row->key, strlen(row->key), row);
        return;
    }
    if (row) {
        change_done(&row->change);
        row->change = *c;
    }
    if (!c->deleted)
        return;
    change_done(c);
    if (row) {
        HASH_DEL(w->rows, row);
        free(row->key);
        free(row);
    }
}

static const struct cell *cell_of(const struct change *c, const char *name)
{
    const struct table *t = table_of(c->table);
    for (size_t i = 0; i < t->n_columns; i++)
        if (str_eq(t->columns[i].name, name))
            return &c->cells[i];
    die("no such column");
    return NULL;
}

/* What the tables' load_where say; all builds are loaded that tracks show, and none is under way. */
static bool loaded_at_start(const struct bench_world *w, const struct change *c)
{
    if (c->table == TABLE_ATTEMPT)
        return !cell_of(c, "secret")->is_null;
    if (str_eq(table_of(c->table)->load_where, "0"))
        return false;
    if (c->table != TABLE_BUILD && c->table != TABLE_BUILD_JOB)
        return true;
    int64_t id = c->cells[0].i;
    cleanup_free char *key = xasprintf("%d\n%" PRId64, (int)TABLE_BUILD, id);
    struct bench_row *build = NULL, *track = NULL;
    HASH_FIND_STR(w->rows, key, build);
    if (!build)
        return false;
    cleanup_free char *track_key =
        xasprintf("%d\n%s0", (int)TABLE_TRACK, cell_of(&build->change, "track")->s);
    HASH_FIND_STR(w->rows, track_key, track);
    return track && cell_of(&track->change, "build")->i == id;
}

/* ---- turns ---- */

void bench_begin(struct bench_world *w)
{
    model_turn_begin(w->m, &w->turn, w->mono, w->wall + w->mono);
}

static struct bench_board *board_of_token(struct bench_world *w, uint64_t token)
{
    VEC_FOREACH (&w->boards, b)
        if (b->token == token)
            return b;
    return NULL;
}

static void take_reply(struct bench_world *w, const struct effect *e)
{
    struct bench_board *b = board_of_token(w, e->token);
    struct wire_poll_response got = {0};
    struct err err = ERR_INIT;
    if (!b)
        return;
    b->token = 0;
    if (e->status != 200 || wire_poll_response_decode(e->body, strlen(e->body), &got, &err) < 0)
        die("a poll was refused");
    VEC_FOREACH (&got.leases, l) {
        struct bench_lease lease = {.lease = xstrdup(l->lease),
                                    .job = xstrdup(l->job.key),
                                    .track = xstrdup(l->job.track),
                                    .epoch = l->epoch,
                                    .ends = -1};
        if (platform_parse(l->job.platform, &lease.platform, &err) < 0)
            die(err.text);
        vec_push(&b->leases, lease);
    }
    wire_poll_response_done(&got);
}

double bench_end(struct bench_world *w)
{
    double begin = bench_now();
    model_turn_end(w->m);
    double took = bench_now() - begin;
    w->jobs_wanted = 0;
    VEC_FOREACH (&w->turn.delta.changes, change) {
        const char *state =
            change->table == TABLE_JOB && !change->deleted ? cell_of(change, "state")->s : NULL;
        w->jobs_wanted += str_eq(state, "wanted") || str_eq(state, "leased");
        if (w->keep_rows)
            keep_row(w, change);
        else
            change_done(change);
    }
    vec_free(&w->turn.delta.changes);
    VEC_FOREACH (&w->turn.effects, e) {
        if (e->kind == EFFECT_REPLY)
            take_reply(w, e);
        if (e->kind == EFFECT_REPLY || e->kind == EFFECT_LEASE)
            effect_done(e);
        else
            vec_push(&w->todo, *e);
    }
    vec_free(&w->turn.effects);
    return took;
}

void bench_start(struct bench_world *w)
{
    struct model_hooks hooks = {fake_random, w};
    farm_sort(w->farm);
    w->m = model_new(w->farm, &hooks);
    bench_begin(w);
    model_start(w->m);
    bench_end(w);
}

void bench_restart(struct bench_world *w, double *ret_load, double *ret_start)
{
    struct model_hooks hooks = {fake_random, w};
    VEC(const struct change *) rows[TABLE_COUNT] = {0};
    for (struct bench_row *row = w->rows; row; row = row->hh.next)
        if (loaded_at_start(w, &row->change))
            vec_push(&rows[row->change.table], &row->change);
    model_free(w->m);
    w->m = model_new(w->farm, &hooks);
    double begin = bench_now();
    for (int t = 0; t < TABLE_COUNT; t++) {
        VEC_FOREACH (&rows[t], row) {
            struct err err = ERR_INIT;
            if (model_load(w->m, (*row)->table, (*row)->cells, &err) < 0)
                die(err.text);
        }
        vec_free(&rows[t]);
    }
    double loaded = bench_now();
    bench_begin(w);
    model_start(w->m);
    *ret_load = loaded - begin;
    *ret_start = bench_now() - loaded;
    *ret_start += bench_end(w);
    VEC_FOREACH (&w->boards, b)
        b->token = 0;
}

/* ---- the outside world ---- */

static void inspect(struct bench_world *w, const struct effect *e)
{
    char id[DIGEST_SIZE];
    cleanup_free char *what = xasprintf("%s %s", e->commit, e->path);
    digest_of(what, strlen(what), id);
    struct context_facts facts = {.exists = true,
                                  .id = id,
                                  .dockerfile_text = w->dockerfile(e->commit, w->arg),
                                  .time = 1600000000,
                                  .size = 10};
    model_on_context(w->m, e->source, e->commit, e->path, e->dockerfile, &facts);
}

static void resolve(struct bench_world *w, const struct effect *e)
{
    struct base_child children[PLATFORM_COUNT];
    char digest[DIGEST_SIZE];
    digest_of(e->reference, strlen(e->reference), digest);
    for (int p = 0; p < PLATFORM_COUNT; p++)
        children[p] = (struct base_child){(enum platform)p, digest};
    model_on_base(w->m, e->reference, digest, children, PLATFORM_COUNT, false);
}

size_t bench_effects(struct bench_world *w)
{
    size_t n = 0;
    for (; w->done < w->todo.n; w->done++, n++) {
        struct effect e = w->todo.items[w->done];
        bench_begin(w);
        if (e.kind == EFFECT_INSPECT)
            inspect(w, &e);
        else if (e.kind == EFFECT_RESOLVE_BASE)
            resolve(w, &e);
        else if (e.kind == EFFECT_RETAIN)
            model_on_retained(w->m, e.repository, e.tags.items[0].tag, e.digest);
        else if (e.kind == EFFECT_PUBLISH)
            model_on_publication_step(w->m, e.publication, e.step);
        bench_end(w);
        effect_done(&e);
    }
    w->todo.n = w->done = 0;
    return n;
}

/* ---- boards ---- */

void bench_session(struct bench_world *w, struct bench_board *b)
{
    struct wire_session_request req = {.agent = "bench", .boot = b->name};
    req.facts.slots = req.facts.cpus = b->slots;
    req.facts.memory = b->memory;
    req.facts.machine = req.facts.kernel = (char *)(uintptr_t) "x";
    req.facts.page_size = 4096;
    strvec_add(&req.facts.kinds, "dockerfile");
    strvec_add(&req.facts.kinds, "rootfs");
    VEC_FOREACH (&b->platforms, p)
        strvec_add(&req.facts.platforms, platform_info(*p)->name);
    VEC_FOREACH (&b->emulated, p)
        strvec_add(&req.facts.emulated, platform_info(*p)->name);
    bench_begin(w);
    model_on_session(w->m, b->name, &req, ++w->token);
    struct wire_session_response answer = {0};
    struct err err = ERR_INIT;
    VEC_FOREACH (&w->turn.effects, e)
        if (e->kind == EFFECT_REPLY && e->token == w->token &&
            wire_session_response_decode(e->body, strlen(e->body), &answer, &err) < 0)
            die(err.text);
    str_replace(&b->session, answer.session);
    wire_session_response_done(&answer);
    bench_end(w);
    strvec_done(&req.facts.kinds);
    strvec_done(&req.facts.platforms);
    strvec_done(&req.facts.emulated);
}

struct bench_board *bench_board(struct bench_world *w, const char *name,
                                const enum platform *platforms, size_t n, int64_t slots,
                                int64_t memory)
{
    char hash[DIGEST_SIZE];
    digest_of(name, strlen(name), hash);
    bench_begin(w);
    model_on_board_added(w->m, name, hash);
    bench_end(w);
    vec_push(&w->boards, (struct bench_board){.name = xstrdup(name),
                                              .slots = slots,
                                              .memory = memory,
                                              .speed = 1,
                                              .temperature = 40,
                                              .disk_free = (int64_t)10 << 30});
    struct bench_board *b = &w->boards.items[w->boards.n - 1];
    for (size_t i = 0; i < n; i++)
        vec_push(&b->platforms, platforms[i]);
    bench_session(w, b);
    return b;
}

void bench_poll_again(struct bench_world *w, struct bench_board *b)
{
    struct wire_poll_request req = {.session = b->session,
                                    .seq = ++b->seq,
                                    .free = b->slots - (int64_t)b->leases.n,
                                    .temperature = b->temperature,
                                    .disk_free = b->disk_free,
                                    .draining = b->draining};
    VEC_FOREACH (&b->leases, l)
        vec_push(&req.held, (struct wire_held){l->lease, l->epoch, WIRE_HELD_RUNNING});
    b->token = ++w->token;
    bench_begin(w);
    model_on_poll(w->m, b->name, &req, b->token);
    bench_end(w);
    vec_free(&req.held);
}

void bench_poll(struct bench_world *w, struct bench_board *b)
{
    if (!b->token && (int64_t)b->leases.n < b->slots)
        bench_poll_again(w, b);
}

static void lease_done(struct bench_lease *l)
{
    free(l->lease);
    free(l->job);
    free(l->track);
}

void bench_succeed(struct bench_world *w, struct bench_board *b, size_t i)
{
    struct bench_lease l = b->leases.items[i];
    vec_remove(&b->leases, i);
    struct wire_descriptor manifest = {
        .digest = l.job,
        .size = 100,
        .media_type = (char *)(uintptr_t) "application/vnd.oci.image.manifest.v1+json"};
    struct wire_result r = {.epoch = l.epoch,
                            .outcome = WIRE_SUCCEEDED,
                            .manifest = &manifest,
                            .config_digest = l.job,
                            .content_digest = l.job};
    bench_begin(w);
    model_on_result(w->m, l.lease, &r, ++w->token);
    bench_end(w);
    lease_done(&l);
}

size_t bench_settle(struct bench_world *w)
{
    size_t jobs = 0;
    for (;;) {
        size_t before = jobs, effects = bench_effects(w);
        VEC_FOREACH (&w->boards, b)
            bench_poll(w, b);
        w->mono += 1000;
        VEC_FOREACH (&w->boards, b)
            for (; b->leases.n; jobs++)
                bench_succeed(w, b, b->leases.n - 1);
        if (jobs == before && !effects)
            return jobs;
    }
}

void bench_done(struct bench_world *w)
{
    model_free(w->m);
    farm_free(w->farm);
    for (size_t i = w->done; i < w->todo.n; i++)
        effect_done(&w->todo.items[i]);
    vec_free(&w->todo);
    VEC_FOREACH (&w->boards, b) {
        VEC_FOREACH (&b->leases, l)
            lease_done(l);
        vec_free(&b->leases);
        vec_free(&b->platforms);
        vec_free(&b->emulated);
        free(b->name);
        free(b->session);
    }
    vec_free(&w->boards);
    struct bench_row *row, *next;
    HASH_ITER(hh, w->rows, row, next)
    {
        HASH_DEL(w->rows, row);
        change_done(&row->change);
        free(row->key);
        free(row);
    }
}
