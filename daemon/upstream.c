/* Upstreams: which sources are watched, and what is kept of each.
 *
 * watch.h polls and fetches, one thing at a time for a source; upstream_sighting.c makes sightings of polls,
 * upstream_inspect.c and upstream_context.c read commits from the mirrors. A source that goes from farm.yaml while
 * something is under way for it stays until that has ended. */
#include "daemon/upstream_internal.h"

#include "common/clock.h"

#include <errno.h>
#include <sys/stat.h>

#define EMPTY_EVERY_MS (60 * 60 * 1000)

/* ---- mirrors ---- */

static struct mirror *find_mirror(const struct upstream *u, const char *url)
{
    struct mirror *mr = NULL;
    HASH_FIND_STR(u->mirrors, url, mr);
    return mr;
}

static struct mirror *get_mirror(struct upstream *u, const char *url)
{
    struct mirror *mr = find_mirror(u, url);
    if (mr)
        return mr;
    mr = xnew(struct mirror);
    mr->u = u;
    mr->url = xstrdup(url);
    mr->path = watch_mirror_path(u->watch, url);
    HASH_ADD_KEYPTR(hh, u->mirrors, mr->url, strlen(mr->url), mr);
    return mr;
}

static void free_unless_needed(struct mirror *mr)
{
    if (mr->watched || mr->holds)
        return;
    HASH_DEL(mr->u->mirrors, mr);
    vec_free(&mr->queue);
    free(mr->url);
    free(mr->path);
    free(mr);
}

struct mirror *mirror_hold(struct upstream *u, const char *url)
{
    struct mirror *mr = get_mirror(u, url);
    mr->holds++;
    return mr;
}

void mirror_release(struct mirror *mr)
{
    mr->holds--;
    free_unless_needed(mr);
}

bool mirror_may_empty(struct mirror *mr)
{
    uint64_t now = uv_now(coordinator_loop(mr->u->c));
    if (mr->emptied && now - mr->emptied < EMPTY_EVERY_MS)
        return false;
    mr->emptied = now ? now : 1;
    return true;
}

/* ---- watching ---- */

static void on_seen(const struct watch_seen *seen, void *userdata)
{
    struct upstream *u = userdata;
    struct mirror *mr = find_mirror(u, seen->url);
    if (mr && !u->closing)
        upstream_seen(mr, seen);
}

/* Describes a source to the watch; `patterns` is filled and must outlive the answer. */
static struct watch_source describe(struct upstream *u, const struct farm_source *from,
                                    strvec *patterns)
{
    const struct model *m = coordinator_model(u->c);
    struct watch_source source = {
        .url = from->url,
        .login = {from->ssh_key, from->username, from->password_file},
        .patterns = patterns,
        .interval_ms = from->poll_ms,
        .fetch_timeout_ms = coordinator_farm(u->c)->git_timeout_ms,
    };
    model_source_patterns(m, from->url, patterns);
    model_source_seen(m, from->url, &source.sighting, &source.had_refs);
    return source;
}

static void watch_all(struct upstream *u, const struct farm *farm)
{
    size_t n = farm->sources.n;
    cleanup_free struct watch_source *sources = xcalloc(n + 1, sizeof(*sources));
    cleanup_free strvec *patterns = xcalloc(n + 1, sizeof(*patterns));
    for (size_t i = 0; i < n; i++)
        sources[i] = describe(u, &farm->sources.items[i], &patterns[i]);
    watch_configure(u->watch, sources, n);
    for (size_t i = 0; i < n; i++)
        strvec_done(&patterns[i]);
}

void upstream_configure(struct upstream *u)
{
    const struct farm *farm = coordinator_farm(u->c);
    struct mirror *mr, *next;
    strvec again = {0};
    HASH_ITER(hh, u->mirrors, mr, next)
    {
        bool outdated = upstream_sighting_outdated(mr), before = mr->watched;
        mr->watched = farm_source(farm, mr->url);
        /* an image may have come whose pattern is another's: the watch finds nothing new in that */
        if (before && mr->watched &&
            (outdated || model_source_unseen(coordinator_model(u->c), mr->url)))
            strvec_add(&again, mr->url);
        free_unless_needed(mr);
    }
    VEC_FOREACH (&farm->sources, s)
        get_mirror(u, s->url)->watched = true;
    watch_all(u, farm);
    VEC_FOREACH (&again, url)
        (void)watch_poll_now(u->watch, *url);
    strvec_done(&again);
}

void upstream_pause(struct upstream *u, bool paused)
{
    watch_pause(u->watch, paused);
}

const char *upstream_poll_now(struct upstream *u, const char *source)
{
    const struct farm *farm = coordinator_farm(u->c);
    const struct farm_image *image = farm_image(farm, source);
    const struct farm_source *s = farm_source(farm, image ? image->source : source);
    return s && watch_poll_now(u->watch, s->url) == 0 ? s->url : NULL;
}

struct upstream_when upstream_when(const struct upstream *u, const char *url)
{
    struct watch_when when;
    const struct mirror *mr = find_mirror(u, url);
    if (!mr || watch_when(u->watch, url, &when) < 0)
        return (struct upstream_when){0};
    return (struct upstream_when){
        .polling = when.polling || mr->sighting,
        .next_at = when.polling ? 0 : clock_wall_ms() + when.next_ms,
    };
}

/* ---- life ---- */

static int make_folder(const char *path, struct err *err)
{
    if (mkdir(path, 0750) == 0 || errno == EEXIST)
        return 0;
    return err_errno(err, -errno, "folder %s", path);
}

static int make_pool(struct upstream *u, const char *state, struct err *err)
{
    const struct farm *farm = coordinator_farm(u->c);
    const char *home = getenv("HOME");
    cleanup_free char *ssh = home && home[0] == '/' ? xasprintf("%s/.ssh", home) : NULL;
    struct git_pool_options options = {.state_dir = state,
                                       .ssh_dir = ssh,
                                       .mirror_limit = farm->mirror_limit,
                                       .context_limit = farm->context_limit};
    return git_pool_new(coordinator_loop(u->c), &options, &u->pool, err);
}

int upstream_new(struct coordinator *c, struct upstream **ret, struct err *err)
{
    const char *state = coordinator_state(c);
    cleanup_free char *mirrors = xasprintf("%s/mirrors", state);
    cleanup_free char *contexts = xasprintf("%s/contexts", state);
    int r = make_folder(mirrors, err);
    if (r == 0)
        r = make_folder(contexts, err);
    if (r < 0)
        return r;
    struct upstream *u = xnew(struct upstream);
    u->c = c;
    if ((r = make_pool(u, state, err)) < 0) {
        free(u);
        return r;
    }
    u->folder = steal_ptr(contexts);
    struct watch_options watching = {.state_dir = state};
    u->watch = watch_new(coordinator_loop(c), u->pool, &watching, on_seen, u);
    upstream_sweep(u);
    *ret = u;
    return 0;
}

static void on_pool_closed(void *userdata)
{
    struct upstream *u = userdata;
    free(u->folder);
    free(u);
}

/* The watch has answered every fetch; what else was asked of the pool is answered while it closes. */
static void on_watch_closed(void *userdata)
{
    struct upstream *u = userdata;
    git_pool_close(u->pool, on_pool_closed, u);
}

void upstream_free(struct upstream *u)
{
    if (!u)
        return;
    u->closing = true;
    struct mirror *mr, *next;
    HASH_ITER(hh, u->mirrors, mr, next)
    {
        mr->watched = false;
        free_unless_needed(mr);
    }
    upstream_contexts_close(u);
    watch_close(u->watch, on_watch_closed, u);
}
