/* usage: git-poll STATE ROUNDS < urls
 * Polls every upstream ROUNDS times through the watch and its workers; prints the number of sightings, how
 * many of them were new, the CPU seconds of this process and its workers, and the seconds that passed. */
#include "common/err.h"
#include "daemon/watch.h"

#include <sys/resource.h>

static struct watch *watch;
static struct git_pool *pool;
static struct watch_source sources[1000];
static size_t n_sources, n_seen, n_changed, n_failed, rounds;

static void no_pool(void *userdata)
{
}

static void no_watch(void *userdata)
{
    git_pool_close(pool, no_pool, NULL);
}

static void saw(const struct watch_seen *seen, void *userdata)
{
    n_seen++;
    n_changed += seen->changed;
    if (!seen->list && n_failed++ == 0)
        fprintf(stderr, "%s\n", seen->err->text);
    if (n_seen == n_sources * rounds)
        watch_close(watch, no_watch, NULL);
    else if (n_seen % n_sources == 0)
        for (size_t i = 0; i < n_sources; i++)
            watch_poll_now(watch, sources[i].url);
}

static double cpu(int who)
{
    struct rusage usage;
    getrusage(who, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv)
{
    static char *all[] = {"refs/*"};
    strvec patterns = {.items = all, .n = 1};
    char line[4096];
    struct err err = ERR_INIT;
    if (argc != 3)
        return 2;
    rounds = (size_t)atoi(argv[2]);
    while (n_sources < 1000 && fgets(line, sizeof(line), stdin)) {
        line[strcspn(line, "\n")] = 0;
        sources[n_sources++] = (struct watch_source){
            .url = xstrdup(line), .patterns = &patterns, .interval_ms = 3600 * 1000};
    }
    uv_loop_t *loop = uv_default_loop();
    struct git_pool_options options = {.worker = GIT_WORKER, .state_dir = argv[1], .workers = 2};
    struct watch_options watching = {.state_dir = argv[1]};
    if (git_pool_new(loop, &options, &pool, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    watch = watch_new(loop, pool, &watching, saw, NULL);
    uint64_t begun = uv_hrtime();
    watch_configure(watch, sources, n_sources);
    for (size_t i = 0; i < n_sources; i++)
        watch_poll_now(watch, sources[i].url);
    uv_run(loop, UV_RUN_DEFAULT);
    printf("%zu %zu %.4f %.4f\n", n_seen, n_changed, cpu(RUSAGE_SELF) + cpu(RUSAGE_CHILDREN),
           (double)(uv_hrtime() - begun) / 1e9);
    return n_failed > 0;
}
