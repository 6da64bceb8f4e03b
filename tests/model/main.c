/* model-histories: drives the model through random histories, and checks the invariants.
 *
 *     model-histories --histories N [--from SEED] [--jobs N]    so many
 *     model-histories --seconds N                               as many as fit
 *     model-histories --seed N [--verbose] [--keep 1,4-7] [--cut …]   one, step by step
 *     model-histories --seed N --short STEPS                    its short form, for a real farm; not run */
#include "tests/model/short.h"
#include "tests/model/sim.h"

#include <getopt.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#define MAX_JOBS      16
#define WHAT_IF_EVERY 150

/* Shared by the processes. */
struct shared {
    uint64_t counters[MAX_JOBS][COVERED_COUNT];
    uint64_t at[MAX_JOBS]; /* the seed that each runs */
    bool stop;
    bool failed;
    uint64_t failed_seed;
    struct outcome outcome;
    unsigned shrink_flags;
};

struct options {
    uint64_t from, histories, seed;
    int seconds, jobs;
    uint64_t what_if;     /* asked in one of so many histories */
    unsigned short_steps; /* over 0: print so many */
    bool one, verbose, coverage, brief;
    bool some; /* the dear checks at some steps, as in bulk */
    const char *keep;
    struct farm_cut cut;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct shared *share(void)
{
    void *p = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                   -1, 0);
    if (p == MAP_FAILED)
        abort();
    return p;
}

/* ---- one ---- */

/* In the place of HISTORY_… flags: compared with a run in which the wall clock stands still. */
#define COMPARE_WALLS 0x100

static void compare_walls(const struct history *h, unsigned flags, uint64_t trace,
                          struct outcome *o)
{
    uint64_t still;
    struct outcome other;
    history_run(h, flags | HISTORY_STILL_WALL, &other, &still);
    covered(COVERED_WALL_COMPARED);
    if (other.failed || still == trace)
        return;
    *o = (struct outcome){.failed = true, .invariant = "inv10_wall_clock_decides_nothing"};
    snprintf(o->text, sizeof(o->text), "without the jumps of the wall clock other things happen");
}

/* Asking changes nothing of what follows. */
#define COMPARE_ASKING 0x200

static void compare_asking(const struct history *h, unsigned flags, uint64_t trace,
                           struct outcome *o)
{
    uint64_t unasked;
    struct outcome other;
    history_run(h, flags & ~HISTORY_WHAT_IF, &other, &unasked);
    covered(COVERED_WHAT_IF_COMPARED);
    if (other.failed || unasked == trace)
        return;
    *o = (struct outcome){.failed = true, .invariant = "inv13_what_if_changes_nothing"};
    snprintf(o->text, sizeof(o->text), "where nobody asks what would be, other things happen");
}

static void run_checked(const struct history *h, unsigned flags, struct outcome *o)
{
    uint64_t trace;
    unsigned plain = flags & ~(COMPARE_WALLS | COMPARE_ASKING);
    history_run(h, plain, o, &trace);
    if (!o->failed && (flags & COMPARE_WALLS))
        compare_walls(h, plain & ~HISTORY_VERBOSE, trace, o);
    if (!o->failed && (flags & COMPARE_ASKING))
        compare_asking(h, plain & ~HISTORY_VERBOSE, trace, o);
}

/* In a process of its own: whatever it does to itself. */

static void run_apart(const struct history *h, unsigned flags, struct shared *sh)
{
    sh->outcome = (struct outcome){.failed = true, .invariant = "inv00_no_crash"};
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(20);
        setvbuf(stdout, NULL, _IOLBF, 0);
        if (!(flags & HISTORY_VERBOSE) && !freopen("/dev/null", "w", stderr))
            _exit(2);
        run_checked(h, flags, &sh->outcome);
        fflush(stdout);
        _exit(0);
    }
    int status;
    if (waitpid(pid, &status, 0) == pid && !WIFEXITED(status))
        snprintf(sh->outcome.text, sizeof(sh->outcome.text), "signal %d", WTERMSIG(status));
}

/* ---- shrinking ---- */

static bool still_fails(const struct history *h, const char *invariant, struct shared *sh)
{
    run_apart(h, sh->shrink_flags, sh);
    return sh->outcome.failed && str_eq(sh->outcome.invariant, invariant);
}

static bool shrink_steps(struct history *h, const char *invariant, struct shared *sh)
{
    bool any = false;
    for (size_t piece = h->steps.n / 2; piece > 0; piece /= 2)
        for (size_t at = 0; at < h->steps.n;) {
            struct history without = {.seed = h->seed, .cut = h->cut};
            for (size_t i = 0; i < h->steps.n; i++)
                if (i < at || i >= at + piece)
                    vec_push(&without.steps, h->steps.items[i]);
            if (still_fails(&without, invariant, sh)) {
                history_done(h);
                *h = without;
                any = true;
            } else {
                history_done(&without);
                at += piece;
            }
        }
    return any;
}

static bool shrink_farm(struct history *h, const char *invariant, struct shared *sh)
{
    bool any = false;
    for (unsigned i = 0; i < MAX_IMAGES + 1; i++) {
        struct farm_cut old = h->cut;
        if (i == MAX_IMAGES)
            h->cut.one_platform = true;
        else
            h->cut.images |= 1u << i;
        if (memcmp(&old, &h->cut, sizeof(old)) == 0)
            continue;
        if (still_fails(h, invariant, sh))
            any = true;
        else
            h->cut = old;
    }
    return any;
}

static void print_command(const struct history *h, bool some)
{
    printf("\nreplay it with\n    model-histories --seed %llu --verbose %s--cut %u,%d --keep ",
           (unsigned long long)h->seed, some ? "--some " : "", h->cut.images, h->cut.one_platform);
    VEC_FOREACH (&h->steps, s)
        printf("%s%u", s == h->steps.items ? "" : ",", s->number);
    printf("%s\n", h->steps.n ? "" : "0");
}

static void report(uint64_t seed, struct shared *sh)
{
    struct history h;
    struct outcome first = sh->outcome;
    printf("FAILED %s\n  seed %llu, step %u: %s\n", first.invariant, (unsigned long long)seed,
           first.step, first.text);
    history_make(&h, seed);
    /* The dear checks at every step may heal what they look for: then as it was found. */
    unsigned compare = str_starts(first.invariant, "inv10_wall") ? COMPARE_WALLS
                       : str_starts(first.invariant, "inv13")    ? COMPARE_ASKING | HISTORY_WHAT_IF
                                                                 : 0;
    sh->shrink_flags = HISTORY_ALL | compare;
    if (!still_fails(&h, first.invariant, sh))
        sh->shrink_flags = compare;
    if (still_fails(&h, first.invariant, sh))
        for (bool smaller = true; smaller;) {
            smaller = shrink_steps(&h, first.invariant, sh);
            smaller = shrink_farm(&h, first.invariant, sh) || smaller;
        }
    printf("\nshrunk to %zu steps:\n\n", h.steps.n);
    run_apart(&h, sh->shrink_flags | HISTORY_VERBOSE, sh);
    printf("\n%s: %s\n", sh->outcome.invariant, sh->outcome.text);
    print_command(&h, !(sh->shrink_flags & HISTORY_ALL));
    history_done(&h);
}

/* ---- many ---- */

/* What is dear is done with some histories only. */
static unsigned comparisons(uint64_t seed, uint64_t what_if)
{
    unsigned flags = seed % 16 == 0 ? COMPARE_WALLS : 0;
    return flags | (what_if && seed % what_if == 0 ? COMPARE_ASKING | HISTORY_WHAT_IF : 0);
}

static void run_one(uint64_t seed, uint64_t what_if, struct outcome *o)
{
    struct history h;
    history_make(&h, seed);
    run_checked(&h, comparisons(seed, what_if), o);
    history_done(&h);
}

static void work(struct shared *sh, const struct options *o, int job, double until)
{
    coverage_counters = sh->counters[job];
    for (uint64_t seed = o->from + (uint64_t)job; !sh->stop; seed += (uint64_t)o->jobs) {
        if (o->histories && seed >= o->from + o->histories)
            return;
        if (o->seconds && now() > until)
            return;
        struct outcome outcome;
        sh->at[job] = seed;
        alarm(20);
        run_one(seed, o->what_if, &outcome);
        if (!outcome.failed)
            continue;
        sh->stop = true;
        sh->outcome = outcome;
        sh->failed = true;
        sh->failed_seed = seed;
        return;
    }
}

static void note_crash(struct shared *sh, int job, int status)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return;
    sh->stop = true;
    if (sh->failed)
        return;
    sh->failed = true;
    sh->failed_seed = sh->at[job];
    sh->outcome = (struct outcome){.failed = true, .invariant = "inv00_no_crash"};
    snprintf(sh->outcome.text, sizeof(sh->outcome.text), "the process ends with %x", status);
}

static int print_coverage(const struct shared *sh, const struct options *o)
{
    int missing = 0;
    for (int c = 0; c < COVERED_COUNT; c++) {
        uint64_t n = 0;
        for (int j = 0; j < o->jobs; j++)
            n += sh->counters[j][c];
        printf("%12llu  %s\n", (unsigned long long)n, coverage_text((enum coverage)c));
        missing += n == 0;
    }
    return missing;
}

static int many(const struct options *o)
{
    struct shared *sh = share();
    pid_t pids[MAX_JOBS];
    double begun = now();
    for (int j = 0; j < o->jobs; j++) {
        pids[j] = fork();
        if (pids[j] == 0) {
            work(sh, o, j, begun + o->seconds);
            _exit(0);
        }
    }
    for (int j = 0; j < o->jobs; j++) {
        int status;
        if (waitpid(pids[j], &status, 0) == pids[j])
            note_crash(sh, j, status);
    }
    double took = now() - begun;
    uint64_t n = 0;
    for (int j = 0; j < o->jobs; j++)
        n += sh->counters[j][COVERED_HISTORIES];
    if (sh->failed) {
        if (o->brief)
            printf("FAILED %s\n  seed %llu: %s\n", sh->outcome.invariant,
                   (unsigned long long)sh->failed_seed, sh->outcome.text);
        else
            report(sh->failed_seed, sh);
        return 1;
    }
    int missing = print_coverage(sh, o);
    printf("%llu histories in %.1f s: %.0f a second and process\n", (unsigned long long)n, took,
           (double)n / took / o->jobs);
    if (o->coverage && missing) {
        printf("%d things were never reached\n", missing);
        return 1;
    }
    return 0;
}

/* ---- one ---- */

static bool kept(const char *keep, unsigned number)
{
    for (const char *p = keep; *p;) {
        char *end;
        unsigned long from = strtoul(p, &end, 10), to = from;
        if (*end == '-')
            to = strtoul(end + 1, &end, 10);
        if (number >= from && number <= to)
            return true;
        p = *end ? end + 1 : end;
    }
    return false;
}

static int one(const struct options *o)
{
    struct history h;
    struct outcome outcome;
    history_make(&h, o->seed);
    if (o->short_steps) {
        print_short(&h, o->short_steps);
        history_done(&h);
        return 0;
    }
    h.cut = o->cut;
    for (size_t i = h.steps.n; o->keep && i-- > 0;)
        if (!kept(o->keep, h.steps.items[i].number))
            vec_remove(&h.steps, i);
    run_checked(&h,
                COMPARE_WALLS | COMPARE_ASKING | HISTORY_WHAT_IF | (o->some ? 0 : HISTORY_ALL) |
                    (o->verbose ? HISTORY_VERBOSE : 0),
                &outcome);
    history_done(&h);
    if (!outcome.failed) {
        printf("every invariant holds\n");
        return 0;
    }
    printf("FAILED %s\n  step %u: %s\n", outcome.invariant, outcome.step, outcome.text);
    return 1;
}

/* ---- arguments ---- */

static int usage(void)
{
    fprintf(
        stderr,
        "usage: model-histories --histories N | --seconds N [--from SEED] [--jobs N] "
        "[--coverage] [--brief] [--what-if EVERY]\n"
        "       model-histories --seed N [--verbose] [--some] [--cut IMAGES,ONE] [--keep STEPS]\n"
        "       model-histories --seed N --short STEPS\n");
    return 2;
}

static int parse(int argc, char **argv, struct options *o)
{
    static const struct option longs[] = {
        {"histories", required_argument, NULL, 'n'}, {"seconds", required_argument, NULL, 't'},
        {"from", required_argument, NULL, 'f'},      {"jobs", required_argument, NULL, 'j'},
        {"coverage", no_argument, NULL, 'c'},        {"seed", required_argument, NULL, 's'},
        {"verbose", no_argument, NULL, 'v'},         {"keep", required_argument, NULL, 'k'},
        {"cut", required_argument, NULL, 'x'},       {"some", no_argument, NULL, 'm'},
        {"brief", no_argument, NULL, 'b'},           {"what-if", required_argument, NULL, 'w'},
        {"short", required_argument, NULL, 'h'},     {0}};
    for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        unsigned long long n = optarg ? strtoull(optarg, NULL, 10) : 0;
        char *comma = optarg ? strchr(optarg, ',') : NULL;
        if (c == 'n')
            o->histories = n;
        else if (c == 't')
            o->seconds = (int)n;
        else if (c == 'f')
            o->from = n;
        else if (c == 'j')
            o->jobs = n > MAX_JOBS ? MAX_JOBS : (int)n;
        else if (c == 'c')
            o->coverage = true;
        else if (c == 's')
            o->seed = n, o->one = true;
        else if (c == 'w')
            o->what_if = n;
        else if (c == 'b')
            o->brief = true;
        else if (c == 'h')
            o->short_steps = (unsigned)n;
        else if (c == 'm')
            o->some = true;
        else if (c == 'v')
            o->verbose = true;
        else if (c == 'k')
            o->keep = optarg;
        else if (c == 'x')
            o->cut =
                (struct farm_cut){.images = (unsigned)n, .one_platform = comma && comma[1] == '1'};
        else
            return -1;
    }
    return o->one || o->histories || o->seconds ? 0 : -1;
}

int main(int argc, char **argv)
{
    struct options o = {
        .from = 1, .what_if = WHAT_IF_EVERY, .jobs = (int)sysconf(_SC_NPROCESSORS_ONLN)};
    if (o.jobs < 1 || o.jobs > MAX_JOBS)
        o.jobs = 1;
    if (parse(argc, argv, &o) < 0)
        return usage();
    return o.one ? one(&o) : many(&o);
}
