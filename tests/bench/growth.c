/* What grows with the number of things that wait for one: each is measured with N and with 4 N of them, and what one of
 * them costs may not grow. Prints microseconds for each; one whose cost grows with their number fails. */
#include "daemon/model/model.h"
#include "tests/lib/bench_world.h"

#define N    500
#define MANY (4 * N)
/* Twice as dear is the caches' and the hash tables' doing; what is quadratic is four times as dear. */
#define GROWTH_MAX 3.0
#define SLOTS      50 /* of a board */
#define SOURCE     "https://git.test/a.git"
#define BASE       "https://git.test/base.git"

static const enum platform amd64[] = {PLATFORM_AMD64};

static const char *dockerfile(const char *commit, void *arg)
{
    (void)commit;
    return arg ? arg : "FROM scratch\nCOPY . /\n";
}

static void see(struct bench_world *w, const char *source, const char *ref, const char *commit)
{
    struct seen_ref seen = {.name = ref, .commit = commit, .descends = true};
    bench_begin(w);
    model_on_refs(w->m, source, &seen, 1);
    bench_end(w);
}

/* A sighting of `n` branches, each at a commit of its own. */
static void see_branches(struct bench_world *w, int n)
{
    VEC(struct seen_ref) seen = {0};
    strvec texts = {0};
    for (int i = 0; i < n; i++) {
        cleanup_free char *name = xasprintf("refs/heads/v%05d", i), *commit = xasprintf("c%05d", i);
        strvec_add(&texts, name);
        strvec_add(&texts, commit);
    }
    for (int i = 0; i < n; i++)
        vec_push(&seen, (struct seen_ref){.name = texts.items[2 * i],
                                          .commit = texts.items[2 * i + 1],
                                          .descends = true});
    bench_begin(w);
    model_on_refs(w->m, SOURCE, seen.items, seen.n);
    bench_end(w);
    vec_free(&seen);
    strvec_done(&texts);
}

static void begin(struct bench_world *w)
{
    bench_init(w);
    w->dockerfile = dockerfile;
}

/* Boards for `n` jobs at once. */
static void add_boards(struct bench_world *w, int n)
{
    for (int i = 0; i < n; i += SLOTS) {
        cleanup_free char *name = xasprintf("board%d", i);
        bench_board(w, name, amd64, 1, SLOTS, (int64_t)8 << 30);
    }
}

/* ---- files that cannot be read ---- */

static void fail_reading(struct bench_world *w, const struct effect *e)
{
    bench_begin(w);
    model_on_context_failed(w->m, e->source, e->commit, e->path, e->dockerfile, "away");
    bench_end(w);
}

/* Every look fails, its time comes, and every look fails again. */
static double unread(struct bench_world *w)
{
    double from = bench_now();
    for (int round = 0; round < 2; round++) {
        size_t n = w->todo.n;
        for (; w->done < n; w->done++) {
            struct effect e = w->todo.items[w->done];
            fail_reading(w, &e);
            effect_done(&e);
        }
        w->mono += 600000;
        bench_begin(w);
        model_on_timer(w->m);
        bench_end(w);
    }
    return bench_now() - from;
}

/* A source with many branches, which is away once they have been listed. */
static double many_branches(int n)
{
    struct bench_world w;
    begin(&w);
    bench_image(&w, "a", SOURCE, "refs/heads/*", amd64, 1);
    bench_start(&w);
    see_branches(&w, n);
    double took = unread(&w);
    bench_done(&w);
    return took;
}

/* A source with many images, each in a folder of its own. */
static double many_folders(int n)
{
    struct bench_world w;
    begin(&w);
    for (int i = 0; i < n; i++) {
        cleanup_free char *name = xasprintf("a%05d", i);
        str_replace(&bench_image(&w, name, SOURCE, "refs/heads/main", amd64, 1)->context, name);
    }
    bench_start(&w);
    see(&w, SOURCE, "refs/heads/main", "c1");
    double took = unread(&w);
    bench_done(&w);
    return took;
}

/* ---- children that the registry does not take ---- */

static void fail_keeping(struct bench_world *w)
{
    size_t n = w->todo.n;
    for (; w->done < n; w->done++) {
        struct effect e = w->todo.items[w->done];
        if (e.kind == EFFECT_RETAIN) {
            bench_begin(w);
            model_on_retain_failed(w->m, e.repository, e.tags.items[0].tag, e.digest, PUBLISH_AWAY,
                                   "away", 0);
            bench_end(w);
        }
        effect_done(&e);
    }
}

/* The registry is away while many images are built: none is kept, all are asked for again and again. */
static double unkept(int n)
{
    struct bench_world w;
    begin(&w);
    bench_image(&w, "a", SOURCE, "refs/heads/*", amd64, 1);
    bench_start(&w);
    see_branches(&w, n);
    bench_effects(&w);
    add_boards(&w, n);
    VEC_FOREACH (&w.boards, b)
        bench_poll(&w, b);
    double from = bench_now();
    VEC_FOREACH (&w.boards, b)
        while (b->leases.n)
            bench_succeed(&w, b, b->leases.n - 1);
    for (int i = 0; i < n / 4; i++) {
        fail_keeping(&w);
        w.mono += 1000;
        bench_begin(&w);
        model_on_timer(w.m);
        bench_end(&w);
    }
    double took = bench_now() - from;
    bench_done(&w);
    return took;
}

/* ---- dependents that wait ---- */

/* One base is pushed that many images are built on, and they are pushed too while it is built. */
static double dependents(int n)
{
    static char on_base[] = "FROM r.test/osf/base:latest\n";
    struct bench_world w;
    begin(&w);
    bench_image(&w, "base", BASE, "refs/heads/main", amd64, 1);
    for (int i = 0; i < n; i++) {
        cleanup_free char *name = xasprintf("a%05d", i);
        bench_image(&w, name, SOURCE, "refs/heads/main", amd64, 1);
    }
    bench_start(&w);
    add_boards(&w, n);
    see(&w, BASE, "refs/heads/main", "c1");
    bench_settle(&w);
    w.arg = on_base;
    see(&w, SOURCE, "refs/heads/main", "c1");
    bench_settle(&w);
    w.arg = NULL;
    see(&w, BASE, "refs/heads/main", "c2");
    bench_effects(&w);
    w.arg = on_base;
    double from = bench_now();
    see(&w, SOURCE, "refs/heads/main", "c2");
    bench_effects(&w);
    double took = bench_now() - from;
    bench_done(&w);
    return took;
}

int main(void)
{
    static const struct {
        const char *what;
        double (*measure)(int n);
    } all[] = {{"one commit of many that cannot be read", many_branches},
               {"one folder of many that cannot be read", many_folders},
               {"one child of many that the registry does not take", unkept},
               {"one of many that wait for the same base", dependents}};
    bool failed = false;
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
        double few = 1000 * all[i].measure(N) / N, many = 1000 * all[i].measure(MANY) / MANY;
        printf("%-55s %8.1f us of %d, %8.1f us of %d: %.1f\n", all[i].what, few, N, many, MANY,
               many / few);
        failed = failed || many > GROWTH_MAX * few;
    }
    return failed;
}
