/* Watching: one poll of a source at a time.
 *
 *     happy path     timer -> list -> (refs that moved: fetch, then ask whether each descends) -> model_on_refs
 *     failure modes  any step fails: model_on_source_failed, and the timer runs again after a back-off */
#include "common/log.h"
#include "daemon/upstream_internal.h"
#include "daemon/watch_timing.h"

#include <errno.h>
#include <sys/random.h>
#include <sys/stat.h>

#define POLL_CAP_MS (60 * 60 * 1000)

/* One ref of a listing. */
struct listed {
    char *name, *commit;
    bool moved, descends;
};

/* The watch over one source, and the sighting that it is making. */
struct sighting {
    struct mirror *mr;
    uv_timer_t timer;
    bool polling, again, gone; /* again: asked for while it polled; gone: no longer in farm.yaml */
    unsigned failures;
    VEC(struct listed) refs;
    size_t i; /* the ref whose descent is being asked for */
};

static void free_mirror(struct mirror *mr);

/* ---- timing ---- */

static uint32_t random_number(void)
{
    uint32_t n = 0;
    if (getrandom(&n, sizeof(n), 0) != sizeof(n))
        abort();
    return n;
}

static struct watch_timing timing_of(const struct mirror *mr)
{
    const struct farm *farm = coordinator_farm(mr->u->c);
    const struct farm_source *s = farm_source(farm, mr->url);
    int64_t interval = s ? s->poll_ms : farm->poll_ms;
    return (struct watch_timing){interval, interval > POLL_CAP_MS ? interval : POLL_CAP_MS};
}

static void poll_source(struct sighting *s);

static void on_timer(uv_timer_t *timer)
{
    poll_source(timer->data);
}

static void free_refs(struct sighting *s)
{
    VEC_FOREACH (&s->refs, r) {
        free(r->name);
        free(r->commit);
    }
    s->refs.n = 0;
}

/* The poll is over: when to look again. */
static void finish(struct sighting *s, const struct err *err)
{
    struct upstream *u = s->mr->u;
    s->polling = false;
    free_refs(s);
    if (u->closing)
        return;
    if (s->gone) {
        free_mirror(s->mr);
        return;
    }
    s->failures = err ? s->failures + 1 : 0;
    struct watch_timing timing = timing_of(s->mr);
    struct watch_outcome outcome = {s->failures, err && err->retryable};
    int64_t delay = s->again ? 0 : watch_next_delay(&timing, &outcome, random_number());
    s->again = false;
    uv_timer_start(&s->timer, on_timer, (uint64_t)delay, 0);
}

static void fail(struct sighting *s, const struct err *err)
{
    struct upstream *u = s->mr->u;
    if (!u->closing && !s->gone) {
        log_warning("source %s: %s", s->mr->url, err->text);
        model_on_source_failed(coordinator_turn(u->c), s->mr->url, err->text);
    }
    finish(s, err);
}

/* ---- one poll ---- */

static void report(struct sighting *s)
{
    VEC(struct seen_ref) seen = {0};
    VEC_FOREACH (&s->refs, r)
        vec_push(&seen, (struct seen_ref){r->name, r->commit, r->descends});
    if (!s->mr->u->closing && !s->gone)
        model_on_refs(coordinator_turn(s->mr->u->c), s->mr->url, seen.items, seen.n);
    vec_free(&seen);
    finish(s, NULL);
}

static void ask_descent(struct sighting *s);

static void on_descent(const bool *ancestor, const struct err *err, void *userdata)
{
    err = git_failure(err);
    struct sighting *s = userdata;
    if (err && err->code != -ENOENT) {
        fail(s, err);
        return;
    }
    /* A commit that the mirror does not hold any more is no ancestor of anything. */
    s->refs.items[s->i].descends = !err && *ancestor;
    s->i++;
    ask_descent(s);
}

static void ask_descent(struct sighting *s)
{
    while (s->i < s->refs.n && !s->refs.items[s->i].moved)
        s->i++;
    if (s->i == s->refs.n) {
        report(s);
        return;
    }
    struct mirror *mr = s->mr;
    const struct listed *r = &s->refs.items[s->i];
    const char *old = model_ref_commit(coordinator_model(mr->u->c), mr->url, r->name);
    struct git_ancestor_args args = {.mirror = mr->folder, .old = old, .new = r->commit};
    git_pool_ancestor(mr->u->pool, &args, on_descent, s);
}

static void on_fetched(const struct git_fetch_result *result, const struct err *err, void *userdata)
{
    err = git_failure(err);
    struct sighting *s = userdata;
    if (err) {
        fail(s, err);
        return;
    }
    VEC_FOREACH (&result->fetched, f)
        if (!strvec_has(&s->mr->have, f->commit))
            strvec_add(&s->mr->have, f->commit);
    s->i = 0;
    ask_descent(s);
}

/* The refs that the model knows elsewhere are fetched, so that their descent can be told. */
static void fetch_moved(struct sighting *s)
{
    struct mirror *mr = s->mr;
    cleanup_strvec strvec moved = {0};
    VEC_FOREACH (&s->refs, r)
        if (r->moved)
            strvec_add(&moved, r->name);
    if (!moved.n) {
        report(s);
        return;
    }
    struct git_fetch_args args = {.url = mr->url,
                                  .login = upstream_login(mr->u, mr->url),
                                  .mirror = mr->folder,
                                  .refs = &moved,
                                  .timeout_ms = coordinator_farm(mr->u->c)->git_timeout_ms};
    git_pool_fetch(mr->u->pool, &args, on_fetched, s);
}

static void on_listed(const struct git_list_result *result, const struct err *err, void *userdata)
{
    err = git_failure(err);
    struct sighting *s = userdata;
    struct mirror *mr = s->mr;
    if (err) {
        fail(s, err);
        return;
    }
    VEC_FOREACH (&result->refs, r) {
        const char *known = model_ref_commit(coordinator_model(mr->u->c), mr->url, r->name);
        vec_push(&s->refs, (struct listed){.name = xstrdup(r->name),
                                           .commit = xstrdup(r->peeled),
                                           .moved = known && !str_eq(known, r->peeled),
                                           .descends = true});
    }
    fetch_moved(s);
}

static void poll_source(struct sighting *s)
{
    if (s->polling) {
        s->again = true;
        return;
    }
    struct mirror *mr = s->mr;
    cleanup_strvec strvec patterns = {0};
    uv_timer_stop(&s->timer);
    s->polling = true;
    model_source_patterns(coordinator_model(mr->u->c), mr->url, &patterns);
    struct git_list_args args = {
        .url = mr->url, .login = upstream_login(mr->u, mr->url), .patterns = &patterns};
    git_pool_list(mr->u->pool, &args, on_listed, s);
}

const char *upstream_poll_now(struct upstream *u, const char *source)
{
    const struct farm_image *image = farm_image(coordinator_farm(u->c), source);
    const struct farm_source *s =
        farm_source(coordinator_farm(u->c), image ? image->source : source);
    if (!s)
        return NULL;
    poll_source(upstream_mirror(u, s->url)->sighting);
    return s->url;
}

/* ---- mirrors ---- */

struct git_login upstream_login(const struct upstream *u, const char *url)
{
    const struct farm_source *s = farm_source(coordinator_farm(u->c), url);
    if (!s)
        return (struct git_login){0};
    return (struct git_login){
        .ssh_key = s->ssh_key, .username = s->username, .password_file = s->password_file};
}

struct mirror *upstream_mirror(struct upstream *u, const char *url)
{
    struct mirror *mr = NULL;
    HASH_FIND_STR(u->mirrors, url, mr);
    if (mr)
        return mr;
    char name[DIGEST_SIZE];
    digest_of(url, strlen(url), name);
    mr = xnew(struct mirror);
    mr->u = u;
    mr->url = xstrdup(url);
    mr->folder =
        xasprintf("%s/mirrors/%.32s.git", coordinator_state(u->c), name + strlen("sha256:"));
    HASH_ADD_KEYPTR(hh, u->mirrors, mr->url, strlen(mr->url), mr);
    struct sighting *s = mr->sighting = xnew(struct sighting);
    s->mr = mr;
    uv_timer_init(coordinator_loop(u->c), &s->timer);
    s->timer.data = s;
    return mr;
}

static void free_sighting(uv_handle_t *handle)
{
    struct sighting *s = handle->data;
    struct mirror *mr = s->mr;
    free_refs(s);
    vec_free(&s->refs);
    free(s);
    VEC_FOREACH (&mr->queue, i) {
        free(i->ref);
        free(i->commit);
        free(i->path);
        free(i->dockerfile);
    }
    vec_free(&mr->queue);
    strvec_done(&mr->have);
    free(mr->url);
    free(mr->folder);
    free(mr);
}

static void free_mirror(struct mirror *mr)
{
    HASH_DEL(mr->u->mirrors, mr);
    uv_close((uv_handle_t *)&mr->sighting->timer, free_sighting);
}

/* ---- configuring ---- */

static void begin(struct upstream *u, const struct farm_source *fs)
{
    struct mirror *mr = NULL;
    HASH_FIND_STR(u->mirrors, fs->url, mr);
    bool watched = mr && !mr->sighting->gone &&
                   (mr->sighting->polling || uv_is_active((uv_handle_t *)&mr->sighting->timer));
    mr = upstream_mirror(u, fs->url);
    mr->sighting->gone = false;
    struct watch_timing timing = timing_of(mr);
    /* A reload may have brought new patterns: every source is looked at again. */
    int64_t delay = watched ? 0 : watch_first_delay(&timing, random_number());
    if (mr->sighting->polling)
        mr->sighting->again = true;
    else
        uv_timer_start(&mr->sighting->timer, on_timer, (uint64_t)delay, 0);
}

void upstream_configure(struct upstream *u)
{
    struct mirror *mr, *next;
    HASH_ITER(hh, u->mirrors, mr, next)
    {
        if (farm_source(coordinator_farm(u->c), mr->url))
            continue;
        mr->sighting->gone = true;
        uv_timer_stop(&mr->sighting->timer);
        if (!mr->sighting->polling && !mr->inspecting)
            free_mirror(mr);
    }
    const struct farm *farm = coordinator_farm(u->c);
    VEC_FOREACH (&farm->sources, s)
        begin(u, s);
}

static int make_folder(const char *path, struct err *err)
{
    if (mkdir(path, 0750) == 0 || errno == EEXIST)
        return 0;
    return err_errno(err, -errno, "folder %s", path);
}

int upstream_new(struct coordinator *c, struct upstream **ret, struct err *err)
{
    const struct farm *farm = coordinator_farm(c);
    cleanup_free char *mirrors = xasprintf("%s/mirrors", coordinator_state(c));
    cleanup_free char *contexts = xasprintf("%s/contexts", coordinator_state(c));
    cleanup_free char *state = realpath(coordinator_state(c), NULL);
    int r = make_folder(mirrors, err);
    if (r == 0)
        r = make_folder(contexts, err);
    if (r < 0)
        return r;
    struct upstream *u = xnew(struct upstream);
    u->c = c;
    u->folder = xasprintf("%s/contexts", state);
    struct git_pool_options options = {.state_dir = state,
                                       .mirror_limit = farm->mirror_limit,
                                       .context_limit = farm->context_limit};
    if ((r = git_pool_new(coordinator_loop(c), &options, &u->pool, err)) < 0) {
        free(u->folder);
        free(u);
        return r;
    }
    *ret = u;
    return 0;
}

static void on_pool_closed(void *userdata)
{
    struct upstream *u = userdata;
    struct mirror *mr, *next;
    HASH_ITER(hh, u->mirrors, mr, next)
    free_mirror(mr);
    free(u->folder);
    free(u);
}

void upstream_free(struct upstream *u)
{
    if (!u)
        return;
    u->closing = true;
    struct mirror *mr, *next;
    HASH_ITER(hh, u->mirrors, mr, next)
    uv_timer_stop(&mr->sighting->timer);
    git_pool_close(u->pool, on_pool_closed, u);
}
