/* Watching upstreams.
 *
 * The happy path of a source: waiting, due, polling, reported, waiting. A fetch takes the source in between.
 * What goes wrong: a poll fails (reported, the delay grows), sees no refs at all where there were some (taken
 * for a failure: repositories are emptied by accidents, and tracks are not to be stopped by one), is made
 * pointless by a new configuration (made again), or its source is forgotten (cancelled; what is left of the
 * source goes when its last request has come back). */
#include "daemon/watch.h"

#include "common/digest.h"
#include "daemon/watch_timing.h"

#include <errno.h>
#include <uthash.h>

#define CAP_MS (60 * 60 * 1000)

enum source_busy { SOURCE_IDLE, SOURCE_POLLING, SOURCE_FETCHING };

struct waiting_fetch {
    strvec refs;
    bool anew;
    git_fetch_cb cb;
    void *userdata;
};

struct source {
    struct watch *watch; /* weak */
    char *url, *mirror;
    char *ssh_key, *username, *password_file;
    strvec patterns;
    struct watch_timing timing;
    int64_t fetch_timeout_ms;
    uv_timer_t timer;
    enum source_busy busy;
    struct git_request *request;       /* weak; while busy */
    VEC(struct waiting_fetch) fetches; /* the first is the one that runs while fetching */
    bool poll_wanted;
    bool poll_again; /* the poll under way was made pointless */
    bool forgotten;
    unsigned failures;
    uint64_t sighting;
    bool had_refs;
    char last[DIGEST_SIZE]; /* of the last sighting; "" before the first */
    uint64_t generation;    /* of the configuration that named it last */
    UT_hash_handle hh;
};

struct watch {
    uv_loop_t *loop;
    struct git_pool *pool; /* weak */
    struct watch_options options;
    char *state_dir;
    watch_cb cb;
    void *userdata;
    struct source *sources; /* by URL */
    size_t n_left;          /* sources whose memory is not freed, forgotten ones included */
    uint64_t random;
    uint64_t generation; /* of the configuration */
    bool paused, closing;
    uv_timer_t closer;
    void (*closed)(void *userdata);
    void *closed_userdata;
};

/* ---- small things ---- */

/* Good enough to keep sources from polling in step (xorshift). */
static uint32_t next_random(struct watch *watch)
{
    watch->random ^= watch->random << 13;
    watch->random ^= watch->random >> 7;
    watch->random ^= watch->random << 17;
    return (uint32_t)(watch->random >> 32);
}

static struct git_login login_of(const struct source *source)
{
    return (struct git_login){source->ssh_key, source->username, source->password_file};
}

char *watch_mirror_path(const struct watch *watch, const char *url)
{
    char digest[DIGEST_SIZE];
    digest_of(url, strlen(url), digest);
    return xasprintf("%s/mirrors/%.40s", watch->state_dir, digest + strlen("sha256:"));
}

/* ---- the end of a source ---- */

static void closer_closed(uv_handle_t *handle)
{
    struct watch *watch = handle->data;
    void (*closed)(void *) = watch->closed;
    void *userdata = watch->closed_userdata;
    free(watch->state_dir);
    free(watch);
    if (closed)
        closed(userdata);
}

static void check_closed(struct watch *watch)
{
    if (watch->closing && watch->n_left == 0 && !uv_is_closing((uv_handle_t *)&watch->closer))
        uv_close((uv_handle_t *)&watch->closer, closer_closed);
}

static void source_closed(uv_handle_t *handle)
{
    struct source *source = handle->data;
    struct watch *watch = source->watch;
    strvec_done(&source->patterns);
    vec_free(&source->fetches);
    free(source->url);
    free(source->mirror);
    free(source->ssh_key);
    free(source->username);
    free(source->password_file);
    free(source);
    watch->n_left--;
    check_closed(watch);
}

static void answer_fetch(struct source *source, const struct git_fetch_result *result,
                         const struct err *err)
{
    struct waiting_fetch fetch = source->fetches.items[0];
    vec_remove(&source->fetches, 0);
    fetch.cb(result, err, fetch.userdata);
    strvec_done(&fetch.refs);
}

/* What is left to do for a source that was forgotten, once nothing runs for it. */
static void wind_up(struct source *source)
{
    struct err err = ERR_INIT;
    err.code = err_set_retryable(&err, -ECANCELED, false, "%s: not watched any more", source->url);
    while (source->fetches.n > 0)
        answer_fetch(source, NULL, &err);
    if (!uv_is_closing((uv_handle_t *)&source->timer))
        uv_close((uv_handle_t *)&source->timer, source_closed);
}

static void due(uv_timer_t *timer);

static void forget(struct source *source)
{
    HASH_DEL(source->watch->sources, source);
    source->forgotten = true;
    if (source->request)
        git_request_cancel(source->request);
    uv_timer_start(&source->timer, due, 0, 0);
}

/* ---- polling ---- */

static void advance(struct source *source);

/* A digest of all that a sighting says. */
static void digest_list(const struct git_list_result *list, char ret[DIGEST_SIZE])
{
    struct digest digest;
    digest_init(&digest);
    if (list->head)
        digest_update(&digest, list->head, strlen(list->head) + 1);
    VEC_FOREACH (&list->refs, ref) {
        digest_update(&digest, ref->name, strlen(ref->name) + 1);
        digest_update(&digest, ref->oid, sizeof(ref->oid));
        digest_update(&digest, ref->peeled, sizeof(ref->peeled));
    }
    digest_final(&digest, ret);
}

/* Counts a sighting that is whole; returns whether it says anything new. */
static bool take_sighting(struct source *source, const struct git_list_result *list)
{
    char digest[DIGEST_SIZE];
    digest_list(list, digest);
    bool changed = !str_eq(digest, source->last);
    memcpy(source->last, digest, DIGEST_SIZE);
    source->had_refs = list->total > 0;
    source->sighting++;
    source->failures = 0;
    return changed;
}

/* Makes the next poll due; returns the delay. */
static int64_t schedule(struct source *source, bool retryable)
{
    struct watch_outcome outcome = {.failures = source->failures, .retryable = retryable};
    int64_t delay = watch_next_delay(&source->timing, &outcome, next_random(source->watch));
    uv_timer_start(&source->timer, due, (uint64_t)delay, 0);
    return delay;
}

static void report(struct source *source, const struct git_list_result *list, const struct err *err)
{
    struct watch *watch = source->watch;
    struct watch_seen seen = {.url = source->url, .list = list, .err = err};
    if (list)
        seen.changed = take_sighting(source, list);
    else
        source->failures++;
    seen.sighting = source->sighting;
    seen.failures = source->failures;
    seen.next_ms = schedule(source, err->retryable);
    watch->cb(&seen, watch->userdata);
}

static void polled(const struct git_list_result *list, const struct err *err, void *userdata)
{
    struct source *source = userdata;
    struct err why = *err;
    source->busy = SOURCE_IDLE;
    source->request = NULL;
    if (source->forgotten) {
        wind_up(source);
        return;
    }
    if (list && list->total == 0 && source->had_refs) {
        why.code = err_set_retryable(&why, -ENODATA, true,
                                     "%s: no refs at all, where there were some", source->url);
        list = NULL;
    }
    if (!source->poll_again)
        report(source, list, &why);
    else
        source->poll_wanted = true;
    source->poll_again = false;
    advance(source);
}

static void start_poll(struct source *source)
{
    struct git_list_args args = {.url = source->url,
                                 .login = login_of(source),
                                 .patterns = &source->patterns,
                                 .timeout_ms = source->watch->options.timeout_ms};
    source->poll_wanted = false;
    source->busy = SOURCE_POLLING;
    uv_timer_stop(&source->timer);
    source->request = git_pool_list(source->watch->pool, &args, polled, source);
}

/* ---- fetching ---- */

static void fetched(const struct git_fetch_result *result, const struct err *err, void *userdata)
{
    struct source *source = userdata;
    source->busy = SOURCE_IDLE;
    source->request = NULL;
    answer_fetch(source, result, err);
    if (source->forgotten)
        wind_up(source);
    else
        advance(source);
}

static void start_fetch(struct source *source)
{
    struct git_fetch_args args = {.url = source->url,
                                  .login = login_of(source),
                                  .mirror = source->mirror,
                                  .refs = &source->fetches.items[0].refs,
                                  .anew = source->fetches.items[0].anew,
                                  .timeout_ms = source->fetch_timeout_ms};
    source->busy = SOURCE_FETCHING;
    source->request = git_pool_fetch(source->watch->pool, &args, fetched, source);
}

/* ---- what is next for a source ---- */

static void advance(struct source *source)
{
    if (source->busy != SOURCE_IDLE || source->forgotten)
        return;
    if (source->fetches.n > 0)
        start_fetch(source);
    else if (source->poll_wanted && !source->watch->paused)
        start_poll(source);
}

static void due(uv_timer_t *timer)
{
    struct source *source = timer->data;
    if (source->forgotten) {
        if (source->busy == SOURCE_IDLE)
            wind_up(source);
        return;
    }
    source->poll_wanted = true;
    advance(source);
}

void watch_pause(struct watch *watch, bool paused)
{
    watch->paused = paused;
    for (struct source *s = watch->sources; s && !paused; s = s->hh.next)
        advance(s);
}

/* ---- configuration ---- */

/* Takes over how the source is spoken to and what is asked; returns whether that is new. */
static bool take_question(struct source *source, const struct watch_source *from)
{
    bool same = str_eq(source->ssh_key, from->login.ssh_key) &&
                str_eq(source->username, from->login.username) &&
                str_eq(source->password_file, from->login.password_file) &&
                source->patterns.n == from->patterns->n;
    for (size_t i = 0; same && i < source->patterns.n; i++)
        same = str_eq(source->patterns.items[i], from->patterns->items[i]);
    if (same)
        return false;
    str_replace(&source->ssh_key, from->login.ssh_key);
    str_replace(&source->username, from->login.username);
    str_replace(&source->password_file, from->login.password_file);
    strvec_done(&source->patterns);
    VEC_FOREACH (from->patterns, pattern) {
        strvec_add(&source->patterns, *pattern);
    }
    return true;
}

static void set_timing(struct source *source, const struct watch_source *from)
{
    int64_t cap = source->watch->options.cap_ms;
    source->timing.interval_ms = from->interval_ms;
    source->timing.cap_ms = cap > 0 ? cap : CAP_MS;
    source->fetch_timeout_ms = from->fetch_timeout_ms;
}

static struct source *add_source(struct watch *watch, const struct watch_source *from)
{
    struct source *source = xnew(struct source);
    source->watch = watch;
    source->url = xstrdup(from->url);
    source->mirror = watch_mirror_path(watch, from->url);
    source->sighting = from->sighting;
    source->had_refs = from->had_refs;
    take_question(source, from);
    set_timing(source, from);
    uv_timer_init(watch->loop, &source->timer);
    source->timer.data = source;
    HASH_ADD_KEYPTR(hh, watch->sources, source->url, strlen(source->url), source);
    watch->n_left++;
    int64_t delay = watch_first_delay(&source->timing, next_random(watch));
    uv_timer_start(&source->timer, due, (uint64_t)delay, 0);
    return source;
}

static void change_source(struct source *source, const struct watch_source *from)
{
    int64_t before = source->timing.interval_ms;
    set_timing(source, from);
    if (take_question(source, from)) {
        source->last[0] = 0; /* another question: what was seen is no measure */
        source->poll_again = source->busy == SOURCE_POLLING;
        source->poll_wanted = true;
        advance(source);
    } else if (source->timing.interval_ms != before && source->busy != SOURCE_POLLING) {
        schedule(source, true);
    }
}

static struct source *find(const struct watch *watch, const char *url)
{
    struct source *source;
    HASH_FIND_STR(watch->sources, url, source);
    return source;
}

void watch_configure(struct watch *watch, const struct watch_source *sources, size_t n)
{
    struct source *source, *next;
    watch->generation++;
    for (size_t i = 0; i < n; i++) {
        source = find(watch, sources[i].url);
        if (source)
            change_source(source, &sources[i]);
        else
            source = add_source(watch, &sources[i]);
        source->generation = watch->generation;
    }
    HASH_ITER(hh, watch->sources, source, next)
    {
        if (source->generation != watch->generation)
            forget(source);
    }
}

/* ---- the rest of the public side ---- */

struct watch *watch_new(uv_loop_t *loop, struct git_pool *pool, const struct watch_options *options,
                        watch_cb cb, void *userdata)
{
    struct watch *watch = xnew(struct watch);
    watch->loop = loop;
    watch->pool = pool;
    watch->options = *options;
    watch->state_dir = xstrdup(options->state_dir);
    watch->cb = cb;
    watch->userdata = userdata;
    watch->random = uv_hrtime() ^ ((uint64_t)getpid() << 40);
    watch->random |= 1; /* xorshift never leaves 0 */
    uv_timer_init(loop, &watch->closer);
    watch->closer.data = watch;
    return watch;
}

int watch_poll_now(struct watch *watch, const char *url)
{
    struct source *source = find(watch, url);
    if (!source)
        return -ENOENT;
    source->poll_wanted = true;
    advance(source);
    return 0;
}

int watch_fetch(struct watch *watch, const char *url, const strvec *refs, bool anew,
                git_fetch_cb cb, void *userdata)
{
    struct source *source = find(watch, url);
    if (!source)
        return -ENOENT;
    struct waiting_fetch fetch = {.anew = anew, .cb = cb, .userdata = userdata};
    VEC_FOREACH (refs, ref) {
        strvec_add(&fetch.refs, *ref);
    }
    vec_push(&source->fetches, fetch);
    advance(source);
    return 0;
}

int watch_when(const struct watch *watch, const char *url, struct watch_when *ret)
{
    const struct source *source = find(watch, url);
    if (!source)
        return -ENOENT;
    bool armed = uv_is_active((const uv_handle_t *)&source->timer);
    *ret = (struct watch_when){
        .polling = source->busy == SOURCE_POLLING || (source->poll_wanted && !watch->paused),
        .next_ms = armed ? (int64_t)uv_timer_get_due_in(&source->timer) : 0,
    };
    return 0;
}

void watch_close(struct watch *watch, void (*done)(void *userdata), void *userdata)
{
    watch->closing = true;
    watch->closed = done;
    watch->closed_userdata = userdata;
    watch_configure(watch, NULL, 0);
    check_closed(watch);
}
