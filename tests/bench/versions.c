/* What it costs to publish many versions of one image, which share `latest` and `$major.$minor` in one repository: the
 * milliseconds of the whole, from the first sight of all of them, and of one version that comes when all are there. A
 * version of many costs no more than one of few: prints the ratio, and fails where it is far off. */
#include "tests/lib/bench_world.h"

#define FEW     500
#define MANY    4000
#define AIM     1.3
#define FAR_OFF 2.5 /* noise is no failure */

static const enum platform platforms[] = {PLATFORM_AMD64, PLATFORM_ARM64};

static const char *dockerfile(const char *commit, void *arg)
{
    (void)commit;
    (void)arg;
    return "FROM scratch\nCOPY . /\n";
}

static void see(struct bench_world *w, int n)
{
    VEC(struct seen_ref) refs = {0};
    for (int i = 0; i < n; i++)
        vec_push(&refs, (struct seen_ref){.name = xasprintf("refs/tags/v1.%d.%d", i / 50, i % 50),
                                          .commit = xasprintf("c%d", i),
                                          .descends = true});
    bench_begin(w);
    model_on_refs(w->m, "https://git.test/a.git", refs.items, refs.n);
    bench_end(w);
    VEC_FOREACH (&refs, r) {
        free((char *)(uintptr_t)r->name);
        free((char *)(uintptr_t)r->commit);
    }
    vec_free(&refs);
}

struct costs {
    double each, one; /* milliseconds of each of them all, and of one more */
};

static struct costs publish(int n)
{
    struct bench_world w;
    struct costs costs;
    bench_init(&w);
    w.dockerfile = dockerfile;
    struct farm_image *image = bench_image(&w, "tool", "https://git.test/a.git", "refs/tags/v*",
                                           platforms, sizeof(platforms) / sizeof(*platforms));
    strvec_add(&image->tags, "$major.$minor");
    strvec_add(&image->tags, "latest");
    bench_start(&w);
    bench_board(&w, "board", platforms, sizeof(platforms) / sizeof(*platforms), 50,
                (int64_t)8 << 30);
    double begin = bench_now();
    see(&w, n);
    bench_settle(&w);
    costs.each = (bench_now() - begin) / n;
    begin = bench_now();
    see(&w, n + 1);
    bench_settle(&w);
    costs.one = bench_now() - begin;
    printf("%5d versions: %9.3f ms each, %9.1f ms in all; one more %9.3f ms\n", n, costs.each,
           costs.each * n, costs.one);
    bench_done(&w);
    return costs;
}

int main(void)
{
    struct costs few = publish(FEW), many;
    publish(2000);
    many = publish(MANY);
    double ratio = many.each / few.each;
    printf("a version of %d costs %.2f times one of %d   aim %g\n", MANY, ratio, FEW, AIM);
    return ratio > FAR_OFF;
}
