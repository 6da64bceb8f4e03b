#include "tests/bench/schedule_sim.h"

#include <math.h>

const enum platform sim_platforms[SIM_PLATFORMS] = {PLATFORM_AMD64, PLATFORM_ARM64, PLATFORM_ARM_V7,
                                                    PLATFORM_RISCV64};
const char *const sim_policy_names[SIM_POLICIES] = {"FIFO", "most dependents", "longest chain"};

#define AMD64   1u
#define ARM64   2u
#define ARM_V7  4u
#define RISCV64 8u

/* What stands on a shelf: boards of one platform up to fourteen times as fast as others, and some that serve two. */
static const struct sim_board shelf[] = {
    {"server", AMD64, 2.0, 4, 64},         {"mini", AMD64, 0.8, 2, 16},
    {"altra", ARM64 | ARM_V7, 1.4, 4, 64}, {"rpi5-a", ARM64, 0.8, 1, 8},
    {"rpi5-b", ARM64, 0.8, 1, 8},          {"rpi4-a", ARM64 | ARM_V7, 0.35, 1, 4},
    {"rpi4-b", ARM_V7, 0.35, 1, 4},        {"rpi3", ARM_V7, 0.1, 1, 1},
    {"visionfive", RISCV64, 0.3, 2, 8},    {"pioneer", RISCV64, 0.9, 4, 64},
    {"unmatched", RISCV64, 0.25, 1, 16},
};

/* ---- workloads ---- */

double sim_random(unsigned *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (*seed >> 8) / (double)(1 << 24);
}

/* Most builds are short and a few are very long. */
static double lognormal(unsigned *seed, double median, double sigma)
{
    double u = sim_random(seed), v = sim_random(seed);
    double normal = sqrt(-2 * log(u + 1e-9)) * cos(2 * M_PI * v);
    return median * exp(sigma * normal);
}

static int add_image(struct sim *s, const char *name)
{
    vec_push(&s->images, (struct sim_image){.name = xstrdup(name)});
    return (int)s->images.n - 1;
}

static void add_edge(struct sim *s, int base, int image)
{
    vec_push(&s->images.items[image].bases, base);
    vec_push(&s->images.items[base].dependents, image);
}

/* The platforms of an image take about the same work. */
static void set_work(struct sim *s, int image, double work, unsigned *seed)
{
    for (int p = 0; p < SIM_PLATFORMS; p++)
        s->images.items[image].work[p] = work * (0.8 + 0.4 * sim_random(seed));
}

static int find_image(const struct sim *s, const char *name)
{
    for (size_t i = 0; i < s->images.n; i++)
        if (str_eq(s->images.items[i].name, name))
            return (int)i;
    return -1;
}

/* One reading of the file: adds the images whose base is there already. Returns how many. */
static int read_kolla(struct sim *s, unsigned *seed, FILE *f)
{
    char line[256], name[96], base[96];
    int steps, packages, added = 0;
    rewind(f);
    while (fgets(line, sizeof(line), f)) {
        if (*line == '#' || sscanf(line, "%95s %95s %d %d", name, base, &steps, &packages) != 4)
            continue;
        int b = find_image(s, base);
        if (find_image(s, name) >= 0 || (b < 0 && !str_eq(base, "-")))
            continue;
        int i = add_image(s, name);
        if (b >= 0)
            add_edge(s, b, i);
        set_work(s, i, 15 + 6 * steps + 1.2 * packages, seed);
        added++;
    }
    return added;
}

/* The graph is recorded; durations are made of how many steps and packages there are. */
static void make_kolla(struct sim *s, unsigned *seed, const char *folder)
{
    cleanup_free char *path = xasprintf("%s/kolla.txt", folder);
    cleanup_fclose FILE *f = fopen(path, "re");
    if (!f) {
        perror(path);
        exit(1);
    }
    while (read_kolla(s, seed, f))
        ;
}

static void make_layered(struct sim *s, unsigned *seed, int images, int layers, int bases_at_most)
{
    int width = images / layers;
    for (int i = 0; i < images; i++) {
        char name[16];
        snprintf(name, sizeof(name), "i%d", i);
        add_image(s, name);
        set_work(s, i, lognormal(seed, 30, 0.9), seed);
        int layer = i / width;
        if (!layer)
            continue;
        int n = 1 + (int)(sim_random(seed) * bases_at_most);
        for (int k = 0; k < n; k++) {
            int base = (layer - 1) * width + (int)(sim_random(seed) * width);
            bool there = false;
            VEC_FOREACH (&s->images.items[i].bases, b)
                there = there || *b == base;
            if (!there)
                add_edge(s, base, i);
        }
    }
}

static void make_deep(struct sim *s, unsigned *seed)
{
    for (int i = 0; i < 250; i++) {
        char name[16];
        snprintf(name, sizeof(name), "i%d", i);
        add_image(s, name);
        set_work(s, i, lognormal(seed, 30, 0.9), seed);
        if (i >= 12)
            add_edge(s, i - 12, i);
    }
}

static void make_wide(struct sim *s, unsigned *seed)
{
    for (int i = 0; i < 250; i++) {
        char name[16];
        snprintf(name, sizeof(name), "i%d", i);
        add_image(s, name);
        set_work(s, i, lognormal(seed, 30, 0.9), seed);
        if (i >= 5)
            add_edge(s, i % 5, i);
    }
}

void sim_make(struct sim *s, enum sim_kind kind, unsigned seed, const char *folder)
{
    static const char *const names[] = {"kolla, 187 images", "deep: 12 chains of 21",
                                        "wide: 5 and 245 on them", "random: 8 layers of trees",
                                        "diamonds: 8 layers, up to 3 bases"};
    *s = (struct sim){
        .name = names[kind], .boards = shelf, .n_boards = sizeof(shelf) / sizeof(*shelf)};
    if (kind == SIM_KOLLA)
        make_kolla(s, &seed, folder);
    else if (kind == SIM_DEEP)
        make_deep(s, &seed);
    else if (kind == SIM_WIDE)
        make_wide(s, &seed);
    else
        make_layered(s, &seed, 250, 8, kind == SIM_RANDOM ? 1 : 3);
    /* A storm of half an hour: dependents wait for their bases for at most an hour. */
    double scale = 1800 / sim_bound(s);
    VEC_FOREACH (&s->images, image)
        for (int p = 0; p < SIM_PLATFORMS; p++)
            image->work[p] *= scale;
}

void sim_vary(struct sim *s, unsigned seed)
{
    seed += 1000;
    VEC_FOREACH (&s->images, image)
        for (int p = 0; p < SIM_PLATFORMS; p++)
            image->work[p] *= 2.0 / 3 + sim_random(&seed) * 2 / 3;
}

void sim_done(struct sim *s)
{
    VEC_FOREACH (&s->images, image) {
        free(image->name);
        vec_free(&image->bases);
        vec_free(&image->dependents);
    }
    vec_free(&s->images);
}

/* ---- bounds ---- */

static double fastest(const struct sim *s, int p)
{
    double speed = 0;
    for (size_t b = 0; b < s->n_boards; b++)
        if (s->boards[b].platforms & (1u << p) && s->boards[b].speed > speed)
            speed = s->boards[b].speed;
    return speed;
}

static double best_time(const struct sim *s, int image)
{
    double longest = 0;
    for (int p = 0; p < SIM_PLATFORMS; p++)
        longest = fmax(longest, s->images.items[image].work[p] / fastest(s, p));
    return longest;
}

/* The earliest moment at which each image can start. */
static double *heads(const struct sim *s)
{
    double *head = xcalloc(s->images.n, sizeof(*head));
    for (size_t i = 0; i < s->images.n; i++)
        VEC_FOREACH (&s->images.items[i].bases, b)
            head[i] = fmax(head[i], head[*b] + best_time(s, *b));
    return head;
}

/* The longest chain that begins with each image, itself included. */
static double *tails(const struct sim *s)
{
    double *tail = xcalloc(s->images.n, sizeof(*tail));
    for (size_t i = s->images.n; i-- > 0;) {
        VEC_FOREACH (&s->images.items[i].dependents, d)
            tail[i] = fmax(tail[i], tail[*d]);
        tail[i] += best_time(s, (int)i);
    }
    return tail;
}

/* The work of the platforms in `set` of images that start at `from` or later and whose own tails are at least `left`,
 * over what serves them. */
static double work_bound(const struct sim *s, unsigned set, const double *head, double from,
                         const double *after, double left)
{
    double work = 0, capacity = 0;
    for (size_t i = 0; i < s->images.n; i++)
        for (int p = 0; p < SIM_PLATFORMS; p++)
            if (set & (1u << p) && head[i] >= from && after[i] >= left)
                work += s->images.items[i].work[p];
    for (size_t b = 0; b < s->n_boards; b++)
        if (s->boards[b].platforms & set)
            capacity += s->boards[b].speed * s->boards[b].slots;
    return work > 0 ? from + work / capacity + left : 0;
}

double sim_bound(const struct sim *s)
{
    cleanup_free double *tail = tails(s);
    cleanup_free double *none = xcalloc(s->images.n, sizeof(*none));
    double bound = 0;
    for (size_t i = 0; i < s->images.n; i++)
        bound = fmax(bound, tail[i]);
    for (unsigned set = 1; set < 1u << SIM_PLATFORMS; set++)
        bound = fmax(bound, work_bound(s, set, none, 0, none, 0));
    return bound;
}

double sim_tight_bound(const struct sim *s)
{
    cleanup_free double *head = heads(s);
    cleanup_free double *after = tails(s);
    double bound = sim_bound(s);
    for (size_t i = 0; i < s->images.n; i++)
        after[i] -= best_time(s, (int)i);
    for (unsigned set = 1; set < 1u << SIM_PLATFORMS; set++)
        for (size_t i = 0; i < s->images.n; i++) {
            bound = fmax(bound, work_bound(s, set, head, head[i], after, 0));
            bound = fmax(bound, work_bound(s, set, head, 0, after, after[i]));
        }
    return bound;
}

/* ---- peers ---- */

struct ready {
    int image, platform;
    double rank; /* the lowest goes first */
};

struct busy {
    int board, image;
    double ends;
};

struct run {
    const struct sim *s;
    double now;
    double *rank; /* of each image; NULL: by arrival */
    int *missing; /* bases that are not done */
    int *left;    /* platforms that are not done */
    int *free;    /* slots of each board */
    int arrived;
    VEC(struct ready) ready;
    VEC(struct busy) busy;
};

static void arrive(struct run *r, int image)
{
    for (int p = 0; p < SIM_PLATFORMS; p++)
        vec_push(&r->ready,
                 (struct ready){image, p, r->rank ? r->rank[image] : (double)r->arrived++});
}

static bool place_one(struct run *r)
{
    int board = -1, job = -1;
    for (int b = 0; b < (int)r->s->n_boards; b++) {
        if (!r->free[b] || (board >= 0 && r->s->boards[b].speed <= r->s->boards[board].speed))
            continue;
        int best = -1;
        for (int i = 0; i < (int)r->ready.n; i++)
            if (r->s->boards[b].platforms & (1u << r->ready.items[i].platform) &&
                (best < 0 || r->ready.items[i].rank < r->ready.items[best].rank))
                best = i;
        if (best < 0)
            continue;
        board = b;
        job = best;
    }
    if (board < 0)
        return false;
    struct ready j = r->ready.items[job];
    vec_remove(&r->ready, (size_t)job);
    r->free[board]--;
    vec_push(&r->busy, (struct busy){board, j.image,
                                     r->now + r->s->images.items[j.image].work[j.platform] /
                                                  r->s->boards[board].speed});
    return true;
}

static void finish_one(struct run *r)
{
    size_t first = 0;
    for (size_t i = 1; i < r->busy.n; i++)
        if (r->busy.items[i].ends < r->busy.items[first].ends)
            first = i;
    struct busy b = r->busy.items[first];
    vec_remove(&r->busy, first);
    r->now = b.ends;
    r->free[b.board]++;
    if (--r->left[b.image])
        return;
    VEC_FOREACH (&r->s->images.items[b.image].dependents, d)
        if (--r->missing[*d] == 0)
            arrive(r, *d);
}

static int count_below(const struct sim *s, int image, bool *seen)
{
    int n = 0;
    VEC_FOREACH (&s->images.items[image].dependents, d) {
        if (seen[*d])
            continue;
        seen[*d] = true;
        n += 1 + count_below(s, *d, seen);
    }
    return n;
}

static double *ranks(const struct sim *s, enum sim_policy policy)
{
    if (policy == SIM_FIFO)
        return NULL;
    double *rank = tails(s);
    for (size_t i = 0; i < s->images.n; i++) {
        cleanup_free bool *seen = xcalloc(s->images.n, sizeof(*seen));
        rank[i] = policy == SIM_LONGEST_CHAIN ? -rank[i] : -count_below(s, (int)i, seen);
    }
    return rank;
}

double sim_run(const struct sim *s, enum sim_policy policy)
{
    size_t n = s->images.n;
    struct run r = {.s = s, .rank = ranks(s, policy)};
    r.missing = xcalloc(n, sizeof(*r.missing));
    r.left = xcalloc(n, sizeof(*r.left));
    r.free = xcalloc(s->n_boards, sizeof(*r.free));
    for (size_t b = 0; b < s->n_boards; b++)
        r.free[b] = s->boards[b].slots;
    for (size_t i = 0; i < n; i++) {
        r.missing[i] = (int)s->images.items[i].bases.n;
        r.left[i] = SIM_PLATFORMS;
        if (!r.missing[i])
            arrive(&r, (int)i);
    }
    do {
        while (place_one(&r))
            ;
        if (r.busy.n)
            finish_one(&r);
    } while (r.busy.n || r.ready.n);
    free(r.rank);
    free(r.missing);
    free(r.left);
    free(r.free);
    vec_free(&r.ready);
    vec_free(&r.busy);
    return r.now;
}
