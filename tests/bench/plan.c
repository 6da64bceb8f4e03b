/* What the plan costs on a large farm: 500 images, 2,000 tracks, 6 platforms, 100,000 settled keys. Prints milliseconds,
 * each beside its aim; one that is far off fails. */
#include "common/digest.h"
#include "daemon/model/copy.h"
#include "daemon/model/schedule.h"
#include "daemon/model/what_if.h"
#include "tests/lib/bench_world.h"

#include <malloc.h>

#define IMAGES    500
#define VERSIONS  4
#define SOURCES   100
#define OUTSIDE   20  /* bases from outside */
#define ROOTS     100 /* images built on those */
#define KEYS      100000
#define JOBS_MANY 100000
/* Noise is no failure: shared machines are slow at times. */
#define FAR_OFF 3.0

static const enum platform platforms[] = {PLATFORM_AMD64,  PLATFORM_ARM64, PLATFORM_ARM_V7,
                                          PLATFORM_ARM_V6, PLATFORM_386,   PLATFORM_RISCV64};
#define PLATFORMS (sizeof(platforms) / sizeof(*platforms))

static bool failed;

static void figure(const char *what, double ms, double aim)
{
    printf("%-62s %9.3f ms", what, ms);
    if (aim > 0)
        printf("   aim %g ms", aim);
    putchar('\n');
    failed = failed || (aim > 0 && ms > FAR_OFF * aim);
}

/* ---- the farm ---- */

/* Each image has its own file: the commit is the same for all images of a source, the path is not. */
static const char *dockerfile(const char *commit, void *arg)
{
    (void)commit;
    (void)arg;
    return "ARG BASE\nARG VERSION=1\n# what most have\nFROM ${BASE}\n"
           "LABEL org.example.version=$VERSION\n"
           "RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates \\\n"
           "    && rm -rf /var/lib/apt/lists/*\nCOPY . /app\nENV PATH=/app/bin:$PATH\n"
           "WORKDIR /app\nRUN ./configure --prefix=/usr && make && make install\n"
           "EXPOSE 8080\nUSER nobody\nENTRYPOINT [\"/app/bin/run\"]\n";
}

static void add_image(struct bench_world *w, int i)
{
    char name[32], source[64];
    snprintf(name, sizeof(name), "image%03d", i);
    snprintf(source, sizeof(source), "https://git.test/%d.git", i % SOURCES);
    struct farm_image *image = bench_image(w, name, source, "refs/tags/v*", platforms, PLATFORMS);
    str_replace(&image->context, name);
    char *base = i < ROOTS ? xasprintf("docker.io/library/base%d:1", i % OUTSIDE)
                           : xasprintf("r.test/osf/image%03d:$version", (i - ROOTS) / 4);
    vec_push(&image->args, (struct farm_pair){xstrdup("BASE"), base});
    vec_push(&image->args, (struct farm_pair){xstrdup("VERSION"), xstrdup("$version")});
    vec_push(&image->labels, (struct farm_pair){xstrdup("maintainer"), xstrdup("somebody")});
}

static void see(struct bench_world *w, int source, const char *moved)
{
    char url[64];
    struct seen_ref refs[VERSIONS] = {0};
    static const char *const names[VERSIONS] = {"refs/tags/v1.0.0", "refs/tags/v1.1.0",
                                                "refs/tags/v1.2.0", "refs/tags/v2.0.0"};
    static const char *const commits[VERSIONS] = {"c0", "c1", "c2", "c3"};
    snprintf(url, sizeof(url), "https://git.test/%d.git", source);
    for (int v = 0; v < VERSIONS; v++)
        refs[v] = (struct seen_ref){names[v], v == 0 && moved ? moved : commits[v], true};
    model_on_refs(w->m, url, refs, VERSIONS);
}

/* A second farm.yaml that says the same: what a reload brings. */
static struct farm *same_farm(struct bench_world *w)
{
    struct bench_world other;
    bench_init(&other);
    for (int i = 0; i < IMAGES; i++)
        add_image(&other, i);
    farm_sort(other.farm);
    (void)w;
    return other.farm;
}

static void make_farm(struct bench_world *w)
{
    bench_init(w);
    w->dockerfile = dockerfile;
    for (int i = 0; i < IMAGES; i++)
        add_image(w, i);
    w->keep_rows = true;
    bench_start(w);
    for (int s = 0; s < SOURCES; s++) {
        bench_begin(w);
        see(w, s, NULL);
        bench_end(w);
    }
    for (size_t p = 0; p < PLATFORMS; p++) {
        char name[32];
        snprintf(name, sizeof(name), "board%zu", p);
        bench_board(w, name, &platforms[p], 1, 50, (int64_t)8 << 30);
    }
    size_t jobs = bench_settle(w);
    printf("%d images, %d tracks, %zu platforms: %zu jobs built\n", IMAGES, IMAGES * VERSIONS,
           PLATFORMS, jobs);
}

static void set_cell(struct change *c, const char *name, const char *text)
{
    for (size_t i = 0; i < c->n_cells; i++)
        if (str_eq(table_of(c->table)->columns[i].name, name))
            str_replace(&c->cells[i].s, text);
}

static const char *get_cell(const struct change *c, const char *name)
{
    for (size_t i = 0; i < c->n_cells; i++)
        if (str_eq(table_of(c->table)->columns[i].name, name))
            return c->cells[i].s;
    abort();
}

/* A job of the past has output of its own, and is of a commit of its own, whose files all platforms are built from. */
static void make_past(struct change *c, size_t number)
{
    static const char context[] = "[\"context\",\"";
    char digest[DIGEST_SIZE];
    number *= 8;
    digest_of(&number, sizeof(number), digest);
    set_cell(c, "manifest_digest", digest);
    number++;
    digest_of(&number, sizeof(number), digest);
    set_cell(c, "content_digest", digest);
    number++;
    digest_of(&number, sizeof(number), digest);
    set_cell(c, "config_digest", digest);
    number = number / 8 / PLATFORMS;
    digest_of(&number, sizeof(number), digest);
    cleanup_free char *inputs = xstrdup(get_cell(c, "inputs"));
    memcpy(strstr(inputs, context) + strlen(context), digest, strlen(digest));
    set_cell(c, "inputs", inputs);
    digest[strlen("sha256:") + 40] = '\0';
    set_cell(c, "commit", digest + strlen("sha256:"));
    set_cell(c, "spec", "");
}

/* `n` more rows of jobs, as those are that there are, under other keys: in state `state`, or of the past if that is
 * NULL. */
static void add_jobs(struct bench_world *w, size_t n, const char *state)
{
    VEC(struct bench_row *) old = {0};
    for (struct bench_row *row = w->rows; row; row = row->hh.next)
        if (row->change.table == TABLE_JOB)
            vec_push(&old, row);
    for (size_t made = 0; made < n; made++) {
        const struct change *from = &old.items[made % old.n]->change;
        struct bench_row *row = xnew(struct bench_row);
        char digest[DIGEST_SIZE];
        digest_of(&made, sizeof(made), digest);
        row->key = xasprintf("%d\n%s0", (int)TABLE_JOB, digest);
        row->change = *from;
        row->change.cells = xcalloc(from->n_cells, sizeof(*from->cells));
        for (size_t i = 0; i < from->n_cells; i++) {
            row->change.cells[i] = from->cells[i];
            row->change.cells[i].s = xstrdup(from->cells[i].s);
        }
        set_cell(&row->change, "key", digest);
        if (state)
            set_cell(&row->change, "state", state);
        else
            make_past(&row->change, made);
        HASH_ADD_KEYPTR(hh, w->rows, row->key, strlen(row->key), row);
    }
    vec_free(&old);
}

/* ---- what is measured ---- */

static void restart(struct bench_world *w)
{
    double load, start, loaded = 1e9, best = 1e9, before = 0;
    for (int i = 0; i < 5; i++) {
        model_free(w->m);
        w->m = NULL;
        malloc_trim(0);
        before = bench_memory();
        bench_restart(w, &load, &start);
        loaded = load < loaded ? load : loaded;
        best = start < best ? start : best;
    }
    figure("load of all rows, best of 5", loaded, 0);
    figure("start: link everything and plan it, nothing kept, best of 5", best, 50);
    printf("%-62s %9.1f MiB\n", "memory of the model, 100,000 settled keys",
           bench_memory() - before);
}

static void full_plan(struct bench_world *w)
{
    double best = 1e9;
    struct farm *farm = w->farm;
    bench_effects(w); /* a start looks the bases up */
    for (int i = 0; i < 5; i++) {
        struct farm *next = same_farm(w);
        double begin = bench_now();
        bench_begin(w);
        model_on_config(w->m, next);
        double took = bench_now() - begin;
        took += bench_end(w);
        best = took < best ? took : best;
        farm_free(farm);
        farm = w->farm = next;
    }
    figure("full plan: farm.yaml loaded again, best of 5", best, 50);
    if (bench_effects(w))
        printf("the reload decided something\n");
}

/* ---- one event ---- */

typedef void (*event_fn)(struct bench_world *w, void *arg);

/* The milliseconds of an event with the end of its turn; `jobs` receives how many jobs it wants. */
static double turn(struct bench_world *w, event_fn event, void *arg, size_t *jobs)
{
    double begin = bench_now();
    bench_begin(w);
    event(w, arg);
    double took = bench_now() - begin;
    took += bench_end(w);
    *jobs = w->jobs_wanted;
    return took;
}

static void event_refs(struct bench_world *w, void *arg)
{
    see(w, 50, arg);
}

static void event_context(struct bench_world *w, void *arg)
{
    const struct effect *e = arg;
    char id[DIGEST_SIZE];
    digest_of(e->path, strlen(e->path), id);
    struct context_facts facts = {.exists = true,
                                  .id = id,
                                  .dockerfile_text = dockerfile(e->commit, NULL),
                                  .time = 1600000000,
                                  .size = 10};
    model_on_context(w->m, e->source, e->commit, e->path, e->dockerfile, &facts);
}

static void event_base(struct bench_world *w, void *arg)
{
    struct base_child children[PLATFORM_COUNT];
    for (int p = 0; p < PLATFORM_COUNT; p++)
        children[p] = (struct base_child){(enum platform)p, arg};
    model_on_base(w->m, "docker.io/library/base7:1", arg, children, PLATFORM_COUNT, false);
}

static void event_timer(struct bench_world *w, void *arg)
{
    model_on_timer(w->m);
}

static void event_nothing(struct bench_world *w, void *arg)
{
    see(w, 51, arg);
}

/* A moved ref, from the sighting to the published tag. */
static void ref_moved(struct bench_world *w)
{
    size_t jobs, contexts = 0;
    figure("a poll of one source that sees nothing new", turn(w, event_nothing, NULL, &jobs), 1);
    double refs = turn(w, event_refs, "moved", &jobs), context = 0;
    figure("one ref moved that 5 images follow", refs, 1);
    for (; w->done < w->todo.n; w->done++) {
        struct effect *e = &w->todo.items[w->done];
        double took = e->kind == EFFECT_INSPECT ? turn(w, event_context, e, &jobs) : 0;
        context = took > context ? took : context;
        contexts += e->kind == EFFECT_INSPECT;
        effect_done(&w->todo.items[w->done]);
    }
    w->todo.n = w->done = 0;
    printf("%zu contexts, the costliest:\n", contexts);
    figure("one context read, 6 jobs made", context, 1);
}

/* Polls and results of the boards while a base's dependents are built. */
static void base_moved(struct bench_world *w)
{
    size_t jobs, n = 0;
    double took =
        turn(w, event_base,
             "sha256:0707070707070707070707070707070707070707070707070707070707070707", &jobs);
    printf("%zu jobs follow at once:\n", jobs);
    figure("one base moved", took, 0);
    figure("its share of one job", took / (double)(jobs ? jobs : 1), 1);
    double poll = 0, result = 0, polls = 0, publish = 0;
    for (;;) {
        VEC_FOREACH (&w->boards, b) {
            double begin = bench_now();
            bench_poll(w, b);
            double one = bench_now() - begin;
            poll = one > poll ? one : poll;
            polls++;
            if (b->leases.n == 0)
                continue;
            begin = bench_now();
            bench_succeed(w, b, 0);
            one = bench_now() - begin;
            result = one > result ? one : result;
            n++;
        }
        double begin = bench_now();
        size_t effects = bench_effects(w);
        double one = effects ? (bench_now() - begin) / (double)effects : 0;
        publish = one > publish ? one : publish;
        w->mono += 1000;
        bool idle = !effects;
        VEC_FOREACH (&w->boards, b)
            idle = idle && !b->leases.n;
        if (idle)
            break;
    }
    printf("%zu jobs of all that is built on it, the costliest of each:\n", n);
    figure("one poll (up to 50 leases in its answer)", poll, 1);
    figure("one result, with what it publishes and grants", result, 1);
    figure("one step of a publication", publish, 1);
    figure("one timer", turn(w, event_timer, NULL, &jobs), 1);
}

/* What the loop pays for an answer to "what if"; the rest of it is a worker's. */
static void copy(struct bench_world *w)
{
    double took = 1e9;
    size_t bytes = 0;
    for (int i = 0; i < 5; i++) {
        struct model_copy c = {0};
        model_copy_reserve(&c, model_copy_size(w->m));
        double begin = bench_now();
        model_copy_take(w->m, &c);
        double one = bench_now() - begin;
        took = one < took ? one : took;
        bytes = c.rows.n;
        model_copy_done(&c);
    }
    printf("a copy of the model has %zu MiB, %zu were thought of:\n", bytes >> 20,
           model_copy_size(w->m) >> 20);
    figure("copy of the model, best of 5", took, 20);
}

/* The whole of a question. */
static void what_if(struct bench_world *w, const struct what_if_question *q, const char *what)
{
    struct what_if *asked = NULL;
    struct err err = ERR_INIT;
    int rounds = 0;
    double begin = bench_now();
    if (what_if_new(w->m, q, NULL, &asked, &err) < 0)
        abort();
    do {
        what_if_run(asked);
        rounds++;
    } while (what_if_ask(asked, w->m));
    json_t *answer = what_if_answer(asked);
    printf("%d rounds, %zu builds:\n", rounds, json_array_size(json_object_get(answer, "builds")));
    json_decref(answer);
    what_if_free(asked);
    figure(what, bench_now() - begin, 0);
}

static void what_ifs(struct bench_world *w)
{
    struct what_if_question push = {.kind = WHAT_IF_PUSH, .source = "https://git.test/50.git"};
    struct what_if_question base = {.kind = WHAT_IF_BASE, .reference = "docker.io/library/base7:1"};
    what_if(w, &push, "what if: a push to a source, on a worker");
    what_if(w, &base, "what if: new content of a base, on a worker");
}

static void views(struct bench_world *w)
{
    double begin = bench_now();
    json_decref(view_images(w->m));
    figure("view of all images with their tracks", bench_now() - begin, 0);
    begin = bench_now();
    json_decref(view_status(w->m));
    figure("view of the farm", bench_now() - begin, 0);
    begin = bench_now();
    json_decref(view_track(w->m, "image499@v2.0.0"));
    figure("view of one track", bench_now() - begin, 1);
}

static void one_image(struct bench_world *w)
{
    bench_init(w);
    w->dockerfile = dockerfile;
    w->keep_rows = true;
    add_image(w, 0);
    bench_start(w);
    bench_begin(w);
    see(w, 0, NULL);
    bench_end(w);
}

/* The milliseconds that it takes to give one job to one board while `n` are wanted. */
static double dispatch(size_t n)
{
    struct bench_world w;
    double load, start, took = 0;
    size_t polls = 0;
    one_image(&w);
    bench_board(&w, "board", platforms, PLATFORMS, 10, (int64_t)8 << 30);
    bench_settle(&w);
    add_jobs(&w, n, "wanted");
    bench_restart(&w, &load, &start);
    w.keep_rows = false;
    struct bench_board *b = &w.boards.items[0];
    bench_session(&w, b);
    for (; b->leases.n < 10; polls++) {
        b->slots = (int64_t)b->leases.n + 1; /* one at a time */
        double begin = bench_now();
        bench_poll(&w, b);
        took += bench_now() - begin;
    }
    bench_done(&w);
    return took / (double)polls;
}

/* `n` jobs wait for a board that comes and goes, while another one, which may build none of them, asks for work: the
 * milliseconds of one poll of each. */
static double toggle(size_t n)
{
    static const enum platform other[] = {PLATFORM_S390X};
    enum { TIMES = 200 };
    struct bench_world w;
    double load, start;
    one_image(&w);
    vec_reserve(&w.boards, 2);
    struct bench_board *b = bench_board(&w, "board", platforms, PLATFORMS, 10, (int64_t)8 << 30);
    struct bench_board *o = bench_board(&w, "emulator", other, 1, 10, (int64_t)8 << 30);
    for (size_t p = 0; p < PLATFORMS; p++)
        vec_push(&o->emulated, platforms[p]);
    bench_settle(&w);
    add_jobs(&w, n, "wanted");
    bench_restart(&w, &load, &start);
    w.keep_rows = false;
    b->draining = true; /* it says so, and in the next poll that it is not, but has no slot */
    bench_session(&w, b);
    bench_session(&w, o);
    double begin = bench_now();
    for (int i = 0; i < TIMES; i++, b->draining = !b->draining) {
        w.mono += 30000;
        b->slots = 0;
        bench_poll_again(&w, b);
        bench_poll_again(&w, o);
    }
    double took = (bench_now() - begin) / TIMES / 2;
    bench_done(&w);
    return took;
}

static const char *source_of(size_t image)
{
    static char url[64];
    snprintf(url, sizeof(url), "https://git.test/%zu.git", image);
    return url;
}

static void push_all(struct bench_world *w, size_t n, const char *commit)
{
    struct seen_ref ref = {"refs/heads/main", commit, true};
    bench_begin(w);
    for (size_t i = 0; i < n; i++)
        model_on_refs(w->m, source_of(i), &ref, 1);
    bench_end(w);
    bench_effects(w);
}

/* `n` images wait for one of `n_boards`, or for the first of them that does (`on_one`): the milliseconds of a poll with which
 * a board comes or goes. */
static double waiting(size_t n, size_t n_boards, bool on_one)
{
    enum { TIMES = 6 };
    struct bench_world w;
    bench_init(&w);
    w.dockerfile = dockerfile;
    vec_reserve(&w.boards, n_boards);
    for (size_t i = 0; i < n; i++) {
        char name[32];
        snprintf(name, sizeof(name), "image%05zu", i);
        struct farm_image *image =
            bench_image(&w, name, source_of(i), "refs/heads/main", platforms, 1);
        const char *base = on_one && i ? "r.test/osf/image00000:latest" : "scratch";
        vec_push(&image->args, (struct farm_pair){xstrdup("BASE"), xstrdup(base)});
    }
    bench_start(&w);
    for (size_t i = 0; i < n_boards; i++) {
        char name[32];
        snprintf(name, sizeof(name), "board%05zu", i);
        bench_board(&w, name, platforms, 1, 1, (int64_t)8 << 30);
    }
    push_all(&w, n, "c0");
    if (on_one) { /* built once, and wanted again by a push */
        bench_settle(&w);
        push_all(&w, n, "c1");
    }
    double took = 0;
    for (int i = 0; i < TIMES; i++) {
        struct bench_board *b = &w.boards.items[0];
        b->draining = i % 2 == 0;
        b->slots = 0;
        double begin = bench_now();
        bench_poll_again(&w, b);
        took += bench_now() - begin;
    }
    bench_done(&w);
    return took / TIMES;
}

int main(void)
{
    struct bench_world w;
    make_farm(&w);
    add_jobs(&w, KEYS - IMAGES * VERSIONS * PLATFORMS, NULL);
    restart(&w);
    full_plan(&w);
    w.keep_rows = false;
    VEC_FOREACH (&w.boards, b)
        bench_session(&w, b);
    ref_moved(&w);
    bench_settle(&w);
    base_moved(&w);
    copy(&w);
    what_ifs(&w);
    views(&w);
    bench_done(&w);
    figure("dispatch of one job of 10", dispatch(10), 1);
    figure("dispatch of one job of 100,000", dispatch(JOBS_MANY), 1);
    figure("a poll while a board comes and goes that 100,000 jobs need", toggle(JOBS_MANY), 1);
    figure("a board comes or goes that 2,000 jobs wait for, 10 boards", waiting(2000, 10, false),
           0);
    figure("the same, 1,000 boards", waiting(2000, 1000, false), 0);
    figure("the same, 10 boards, the jobs wait for a base", waiting(2000, 10, true), 0);
    return failed;
}
