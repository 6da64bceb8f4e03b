/* How well boards are used: makespans of the model's scheduler, over recorded and generated workloads, beside FIFO,
 * most dependents first and longest chain first, all over the bound that nobody can beat.
 *
 * The model is driven as a coordinator drives it: boards poll, get leases and send results; only the clock is a fake
 * one, and git, registry and resolver answer at once. Everything is built at first, with no history at all; then a base
 * from outside moves, and everything is built again, with that history; then once more, with every job taking up to a
 * third more or less than before. */
#include "common/digest.h"
#include "tests/bench/schedule_sim.h"
#include "tests/lib/bench_world.h"

#include <math.h>

#define SEEDS   5
#define RUNS    3 /* at first, again, varied */
#define COLUMNS (SIM_POLICIES + RUNS + 2)
#define AIM     1.05
#define FAR_OFF 1.2 /* of the mean, with history: fails */

static const char *dockerfile(const char *commit, void *arg)
{
    static char text[4096];
    const struct sim *s = arg;
    const struct sim_image *image = &s->images.items[atoi(commit + 1)];
    size_t n = (size_t)snprintf(text, sizeof(text), "FROM %s\n",
                                image->bases.n ? "scratch" : "docker.io/library/debian:12");
    VEC_FOREACH (&image->bases, b)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "COPY --from=r.test/osf/%s / /\n",
                              s->images.items[*b].name);
    return text;
}

static void make_world(struct bench_world *w, struct sim *s)
{
    bench_init(w);
    w->dockerfile = dockerfile;
    w->arg = s;
    VEC_FOREACH (&s->images, image) {
        cleanup_free char *source = xasprintf("https://git.test/%s.git", image->name);
        bench_image(w, image->name, source, "refs/heads/main", sim_platforms, SIM_PLATFORMS);
    }
    bench_start(w);
    for (size_t b = 0; b < s->n_boards; b++) {
        enum platform platforms[SIM_PLATFORMS];
        size_t n = 0;
        for (int p = 0; p < SIM_PLATFORMS; p++)
            if (s->boards[b].platforms & (1u << p))
                platforms[n++] = sim_platforms[p];
        bench_board(w, s->boards[b].name, platforms, n, s->boards[b].slots,
                    (int64_t)s->boards[b].memory << 30)
            ->speed = s->boards[b].speed;
    }
    for (size_t i = 0; i < s->images.n; i++) {
        cleanup_free char *source = xasprintf("https://git.test/%s.git", s->images.items[i].name);
        char commit[16];
        snprintf(commit, sizeof(commit), "c%zu", i);
        struct seen_ref seen = {"refs/heads/main", commit, true};
        bench_begin(w);
        model_on_refs(w->m, source, &seen, 1);
        bench_end(w);
    }
}

static void base_moves(struct bench_world *w, int generation)
{
    struct base_child children[PLATFORM_COUNT];
    char digest[DIGEST_SIZE];
    digest_of(&generation, sizeof(generation), digest);
    for (int p = 0; p < PLATFORM_COUNT; p++)
        children[p] = (struct base_child){(enum platform)p, digest};
    bench_begin(w);
    model_on_base(w->m, "docker.io/library/debian:12", digest, children, PLATFORM_COUNT, false);
    bench_end(w);
}

static double work_of(const struct sim *s, const struct bench_lease *l)
{
    size_t n = strcspn(l->track, "@");
    for (size_t i = 0; i < s->images.n; i++)
        if (strlen(s->images.items[i].name) == n &&
            strncmp(s->images.items[i].name, l->track, n) == 0)
            for (int p = 0; p < SIM_PLATFORMS; p++)
                if (l->platform == sim_platforms[p])
                    return s->images.items[i].work[p];
    return 0;
}

/* New leases begin; returns the board and lease that end first, or NULL. */
static struct bench_board *first_to_end(struct bench_world *w, const struct sim *s, size_t *ret)
{
    struct bench_board *first = NULL;
    int64_t ends = INT64_MAX;
    VEC_FOREACH (&w->boards, b)
        for (size_t i = 0; i < b->leases.n; i++) {
            struct bench_lease *l = &b->leases.items[i];
            if (l->ends < 0)
                l->ends = w->mono + (int64_t)(work_of(s, l) / b->speed * 1000);
            if (l->ends >= ends)
                continue;
            ends = l->ends;
            first = b;
            *ret = i;
        }
    return first;
}

/* Runs until nothing is left; the makespan in seconds. */
static double run(struct bench_world *w, const struct sim *s, size_t *ret_jobs)
{
    int64_t began = w->mono;
    size_t i;
    for (*ret_jobs = 0;; ++*ret_jobs) {
        do {
            VEC_FOREACH (&w->boards, b)
                bench_poll(w, b);
        } while (bench_effects(w));
        struct bench_board *b = first_to_end(w, s, &i);
        if (!b)
            return (double)(w->mono - began) / 1000;
        w->mono = b->leases.items[i].ends;
        bench_succeed(w, b, i);
    }
}

struct row {
    double tight, peers[SIM_POLICIES], ours[RUNS], ours_tight;
};

/* Everything over the bound. */
static void measure(enum sim_kind kind, unsigned seed, struct row *row)
{
    struct sim s;
    struct bench_world w;
    size_t jobs;
    sim_make(&s, kind, seed, WORKLOADS);
    row->tight = sim_tight_bound(&s) / sim_bound(&s);
    for (int p = 0; p < SIM_POLICIES; p++)
        row->peers[p] = sim_run(&s, (enum sim_policy)p) / sim_bound(&s);
    make_world(&w, &s);
    for (int i = 0; i < RUNS; i++) {
        if (i)
            base_moves(&w, i);
        if (i == 2)
            sim_vary(&s, seed);
        double took = run(&w, &s, &jobs);
        row->ours[i] = took / sim_bound(&s);
        if (i == 1)
            row->ours_tight = took / sim_tight_bound(&s);
        if (jobs != s.images.n * SIM_PLATFORMS)
            printf("%s: %zu jobs for %zu\n", s.name, jobs, s.images.n * SIM_PLATFORMS);
    }
    bench_done(&w);
    sim_done(&s);
}

static void print_line(const char *name, const double logs[COLUMNS], double n)
{
    printf("%-34s", name);
    for (int i = 0; i < COLUMNS; i++)
        printf(" %8.3f", exp(logs[i] / n));
    putchar('\n');
}

/* Geometric means over the seeds; added up in `totals`. */
static void print_kind(enum sim_kind kind, double totals[COLUMNS])
{
    double logs[COLUMNS] = {0};
    struct sim s;
    sim_make(&s, kind, 1, WORKLOADS);
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        struct row row = {0};
        measure(kind, seed, &row);
        for (int p = 0; p < SIM_POLICIES; p++)
            logs[p] += log(row.peers[p]);
        for (int i = 0; i < RUNS; i++)
            logs[SIM_POLICIES + i] += log(row.ours[i]);
        logs[COLUMNS - 2] += log(row.tight);
        logs[COLUMNS - 1] += log(row.ours_tight);
    }
    print_line(s.name, logs, SEEDS);
    for (int i = 0; i < COLUMNS; i++)
        totals[i] += logs[i] / SEEDS;
    sim_done(&s);
}

static void print_head(void)
{
    static const char *const above[COLUMNS] = {"",     "most", "longest", "ours",
                                               "ours", "ours", "tighter", "again"};
    static const char *const below[COLUMNS] = {"FIFO",  "depend.", "chain", "at first",
                                               "again", "varied",  "bound", "/tighter"};
    printf("makespan over the bound: the larger of longest chain and work over capacity; means of "
           "%d seeds\n",
           SEEDS);
    printf("%-34s", "");
    for (int i = 0; i < COLUMNS; i++)
        printf(" %8s", above[i]);
    printf("\n%-34s", "");
    for (int i = 0; i < COLUMNS; i++)
        printf(" %8s", below[i]);
    putchar('\n');
}

int main(void)
{
    double totals[COLUMNS] = {0};
    print_head();
    for (int kind = 0; kind < SIM_KINDS; kind++)
        print_kind((enum sim_kind)kind, totals);
    print_line("all", totals, SIM_KINDS);
    printf("aim %.2f; the peers know every duration and every speed, ours learns them\n", AIM);
    return exp(totals[SIM_POLICIES + 1] / SIM_KINDS) > FAR_OFF;
}
