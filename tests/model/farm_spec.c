#include "tests/model/farm_spec.h"

/* ---- names ---- */

const char *image_name(unsigned i)
{
    static const char *const names[MAX_IMAGES] = {"alpha", "beta", "gamma",
                                                  "delta", "zeta", "omega"};
    return names[i];
}

const char *image_registry(const struct farm_spec *spec, unsigned i)
{
    return spec->moved || spec->image[i].elsewhere ? OTHER : REGISTRY;
}

const char *source_url(unsigned i)
{
    static const char *const urls[MAX_SOURCES] = {
        "https://git.test/one.git", "https://git.test/two.git", "https://git.test/three.git"};
    return urls[i];
}

const char *ref_name(unsigned i)
{
    static const char *const names[] = {"refs/heads/master",      "refs/heads/v3.19",
                                        "refs/heads/v3.20",       "refs/tags/v1.0.0",
                                        "refs/tags/v1.0.1",       "refs/tags/v1.1.0",
                                        "refs/tags/v2.0.0-rc.1",  "refs/heads/v3.20-arm64",
                                        "refs/tags/v1.0.1-amd64", NULL};
    return names[i];
}

#define HEX32 "0123456789abcdef0123456789abcdef"

const char *outside_name(unsigned i)
{
    static const char *const names[N_OUTSIDE] = {"docker.io/library/debian:12",
                                                 "docker.io/library/alpine:3.20", "quay.test/x/y:1",
                                                 "docker.io/library/busybox@sha256:" HEX32 HEX32};
    return names[i];
}

const char *board_name(unsigned i)
{
    static const char *const names[MAX_BOARDS] = {"one", "two", "three"};
    return names[i];
}

/* ---- making one ---- */

static const unsigned all_platforms = (1u << N_PLATFORMS) - 1;

static void make_platforms(struct image_spec *i, struct rng *r)
{
    i->required = 1u + rng_below(r, all_platforms);
    if (rng_one_in(r, 3))
        i->optional = (1u + rng_below(r, all_platforms)) & ~i->required;
}

static struct image_spec make_image(struct rng *r, unsigned n, unsigned n_sources)
{
    struct image_spec i = {.present = !rng_one_in(r, 8), .repository = n};
    i.source = rng_below(r, n_sources);
    i.rootfs = n == 0 ? !rng_one_in(r, 4) : rng_one_in(r, 5);
    i.refs = (enum ref_kind)rng_below(r, REF_KINDS);
    i.variants = i.refs == REF_MASTER && rng_one_in(r, 3) ? 1 + rng_below(r, 2) : 0;
    i.per_arch = rng_one_in(r, 4);
    i.emulated = rng_one_in(r, 5);
    i.hold = rng_one_in(r, 12);
    i.docker = rng_one_in(r, 8);
    i.zstd = !i.docker && rng_one_in(r, 8);
    i.builder = i.rootfs && rng_one_in(r, 4);
    i.tags = rng_below(r, 4);
    if (mix2(r->at, 97) % 12 == 0)
        i.tags = TAGS_OF_PLATFORMS;
    i.bounds = rng_one_in(r, 4) ? 1 + rng_below(r, 2) : 0;
    i.maintain = rng_one_in(r, 4) ? 1 + rng_below(r, 2) : 0;
    i.history = rng_one_in(r, 3) ? FARM_HISTORY_ALL : (int)rng_below(r, 3);
    if (n > 0 && rng_one_in(r, 8))
        i.repository = rng_below(r, n);
    i.elsewhere = mix2(r->at, 94) % 24 == 0;
    i.says = mix2(r->at, 95) % 3 == 0;
    make_platforms(&i, r);
    return i;
}

struct farm_spec farm_spec_make(uint64_t seed, const struct farm_cut *cut)
{
    struct rng r = {mix2(seed, 1)};
    struct farm_spec s = {.seed = seed, .cut = cut->images};
    s.n_images = 1 + rng_below(&r, rng_one_in(&r, 3) ? MAX_IMAGES : 3);
    s.n_boards = 1 + rng_below(&r, MAX_BOARDS);
    s.n_sources = 1 + rng_below(&r, s.n_images < MAX_SOURCES ? s.n_images : MAX_SOURCES);
    s.cycles = rng_one_in(&r, 6);
    s.freeze = rng_one_in(&r, 40);
    s.named = mix2(seed, 96) % 3 == 0;
    s.enforce = seed % 3 == 0;
    s.keep = 1 + (int)(seed % 3);
    s.lease_term_ms = rng_one_in(&r, 3) ? 90000 : 600000;
    /* Platforms are mostly the farm's: what images are built on is there for them. */
    unsigned required = 1u + rng_below(&r, all_platforms);
    for (unsigned i = 0; i < MAX_IMAGES; i++) {
        s.image[i] = make_image(&r, i, s.n_sources);
        if (!rng_one_in(&r, 3)) {
            s.image[i].required = required;
            s.image[i].optional &= ~required;
        }
        if (i >= s.n_images || (cut->images >> i & 1))
            s.image[i].present = false;
        if (cut->one_platform) {
            s.image[i].required = 1;
            s.image[i].optional = 0;
        }
    }
    return s;
}

/* ---- farm.yaml ---- */

static void add_tags(struct farm_image *f, const struct image_spec *i)
{
    static const char *const lists[TAG_LISTS][4] = {
        {"$version", "latest"},
        {"$version", "$major.$minor", "latest"},
        {"$version", "$major"},
        {"$branch"},
        {"$version", "$major.$minor-arm64", "latest-arm", "3.20-amd64"}};
    static const char *const fixed[TAG_LISTS][4] = {
        {"latest"}, {"latest", "1"}, {"1"}, {"stable", "latest"}, {"latest-arm64", "1"}};
    unsigned list = i->tags == 3 && i->refs == REF_TAGS ? 0 : i->tags;
    const char *const *tags = i->refs == REF_MASTER ? fixed[list] : lists[list];
    for (unsigned k = 0; k < 4 && tags[k]; k++)
        if (i->variants) {
            cleanup_free char *tag = xasprintf("%s-$variant", tags[k]);
            strvec_add(&f->tags, tag);
        } else {
            strvec_add(&f->tags, tags[k]);
        }
}

static void add_platforms(platformvec *to, unsigned bits)
{
    for (unsigned p = 0; p < N_PLATFORMS; p++)
        if (bits >> p & 1)
            vec_push(to, (enum platform)p);
}

static struct farm_image build_image(const struct farm_spec *spec, unsigned n)
{
    static const char *const refs[] = {"refs/heads/master", "refs/heads/v*", "refs/tags/v*"};
    static const char *const bounds[] = {NULL, ">=1.0.1", ">=3.20, <4"};
    const struct image_spec *i = &spec->image[n];
    struct farm_image f = {
        .name = xstrdup(image_name(n)),
        .repository = xasprintf("%s/%s", image_registry(spec, n), image_name(i->repository)),
        .where = xstrdup("farm.yaml:1"),
        .source = xstrdup(source_url(i->source)),
        .ref = xstrdup(refs[i->refs]),
        .maintain = (enum farm_maintain)i->maintain,
        .history = i->history,
        .kind = i->rootfs ? FARM_KIND_ROOTFS : FARM_KIND_DOCKERFILE,
        .deadline_ms = mix3(spec->seed, n, 93) % 3 ? 24 * 3600000LL : 1800000,
        .media_type = i->docker ? FARM_MEDIA_DOCKER : FARM_MEDIA_OCI,
        .compression = i->zstd ? FARM_COMPRESSION_ZSTD : FARM_COMPRESSION_GZIP,
        .timeout_ms = 3600000,
        .emulated = i->emulated,
        .hold = i->hold,
        .enforce = spec->enforce};
    f.context = xasprintf("%s%s", image_name(n), i->per_arch ? "/$alpine_arch" : "");
    f.dockerfile = i->rootfs ? NULL : xstrdup("Dockerfile");
    f.script = i->rootfs ? xasprintf("./mk %u", i->script) : NULL;
    f.builder = i->builder ? xstrdup(outside_name(0)) : NULL;
    if (!i->rootfs && i->script)
        vec_push(&f.args, (struct farm_pair){xstrdup("N"), xasprintf("%u", i->script)});
    if (i->says)
        vec_push(&f.args, (struct farm_pair){xstrdup("REGISTRY"), xstrdup("$registry")});
    if (i->refs != REF_MASTER && i->bounds)
        f.versions = xstrdup(bounds[i->bounds]);
    if (i->variants)
        strvec_add(&f.variants, "slim");
    if (i->variants > 1)
        strvec_add(&f.variants, "full");
    add_tags(&f, i);
    add_platforms(&f.platforms, i->required);
    add_platforms(&f.optional, i->optional & ~i->required);
    return f;
}

static void add_registry(struct farm *f, const char *prefix)
{
    cleanup_free char *host = xstrndup(prefix, strcspn(prefix, "/"));
    vec_push(&f->registries, (struct farm_registry){.host = steal_ptr(host)});
}

/* The farm's own is there in any case, as config_load has it. */
static void add_registries(struct farm *f, const struct farm_spec *spec)
{
    add_registry(f, "docker.io");
    if (spec->named || !spec->moved)
        add_registry(f, REGISTRY);
    if (spec->named || spec->moved)
        add_registry(f, OTHER);
}

struct farm *farm_spec_build(const struct farm_spec *spec)
{
    struct farm *f = xnew(struct farm);
    f->registry = xstrdup(spec->moved ? OTHER : REGISTRY);
    f->registry_host = xstrndup(f->registry, strcspn(f->registry, "/"));
    add_registries(f, spec);
    add_platforms(&f->platforms, all_platforms);
    f->freeze = spec->freeze;
    f->keep = spec->keep;
    f->poll_ms = 300000;
    f->base_poll_ms = 900000;
    f->audit_ms = spec->seed % 2 ? 3600000 : 0;
    f->enforce = spec->enforce;
    f->min_disk = (int64_t)1 << 30;
    vec_push(&f->boards, (struct farm_board_rule){.pattern = xstrdup("t*"),
                                                  .slots = 1,
                                                  .max_temperature = 75,
                                                  .min_disk = (int64_t)2 << 30});
    f->lease_term_ms = spec->lease_term_ms;
    f->registry_timeout_ms = 60000;
    f->timeout_ms = 3600000;
    for (unsigned i = 0; i < MAX_IMAGES; i++)
        if (spec->image[i].present)
            vec_push(&f->images, build_image(spec, i));
    for (unsigned i = 0; i < spec->n_sources; i++)
        vec_push(&f->sources,
                 (struct farm_source){.url = xstrdup(source_url(i)), .poll_ms = 300000});
    farm_sort(f);
    return f;
}

/* What is kept, and kept in date. */
static const char *edit_history(struct farm_spec *spec, struct image_spec *i, unsigned how)
{
    switch (how % 5) {
    case 0:
        i->bounds = (i->bounds + 1) % 3;
        return "an image's versions change";
    case 1:
        i->maintain = (i->maintain + 1) % 3;
        return "an image's maintain changes";
    case 2:
        i->history = i->history == FARM_HISTORY_ALL ? 1 : FARM_HISTORY_ALL;
        return "an image's history changes";
    case 3:
        spec->keep = spec->keep % 3 + 1;
        return "keep changes";
    default:
        spec->enforce = !spec->enforce;
        return "enforce changes";
    }
}

/* Where an image comes from, and where it goes. */
static const char *edit_where(struct farm_spec *spec, struct image_spec *i, unsigned how)
{
    switch (how % 8) {
    case 0:
        spec->moved = !spec->moved;
        return "the farm's registry changes";
    case 1:
    case 2:
        i->elsewhere = !i->elsewhere;
        return "an image's registry changes";
    case 3:
        spec->named = !spec->named;
        return "what `registries` names changes";
    default:
        i->source = (i->source + 1) % spec->n_sources;
        return "an image's source changes";
    }
}

void farm_spec_leave(struct farm_spec *spec, const char *repository)
{
    spec->named = false;
    spec->moved = str_starts(repository, REGISTRY "/");
    for (unsigned i = 0; i < MAX_IMAGES; i++)
        spec->image[i].elsewhere = false;
}

const char *farm_spec_edit(struct farm_spec *spec, unsigned a, unsigned b)
{
    struct image_spec *i = &spec->image[a % spec->n_images];
    unsigned bit = 1u << (b / 16 % N_PLATFORMS);
    switch (b % 16) {
    case 0:
    case 1:
        i->present = !i->present && !(spec->cut >> (a % spec->n_images) & 1);
        return i->present ? "an image is added" : "an image is removed";
    case 2:
        i->required |= bit;
        i->optional &= ~bit;
        return "a platform becomes required";
    case 3:
        if (i->required != bit)
            i->required &= ~bit;
        i->optional |= bit & ~i->required;
        return "a platform becomes optional";
    case 4:
        if (i->required != bit)
            i->required &= ~bit;
        i->optional &= ~bit;
        return "a platform is dropped";
    case 5:
        i->hold = !i->hold;
        return "an image's hold changes";
    case 6:
        spec->freeze = !spec->freeze;
        return spec->freeze ? "the farm is frozen" : "the farm is not frozen";
    case 7:
        i->tags = (i->tags + 1) % TAG_LISTS;
        return "an image's tags change";
    case 8:
        i->per_arch = !i->per_arch;
        return "an image's context changes";
    case 9:
        i->refs = (enum ref_kind)((i->refs + 1) % REF_KINDS);
        i->variants = 0;
        return "an image's ref changes";
    case 10:
        i->emulated = !i->emulated;
        return "an image's emulated changes";
    case 11:
        i->zstd = !i->docker && !i->zstd;
        return "an image's compression changes";
    case 12:
        return edit_history(spec, i, b / 16);
    case 13:
        return edit_where(spec, i, b / 16);
    default:
        i->script++;
        return "an image's recipe changes";
    }
}

/* ---- Dockerfiles ---- */

/* A tag that the image may have; now and then one that it has not. */
static char *some_tag(const struct image_spec *i, uint64_t h)
{
    static const char *const fixed[TAG_LISTS][2] = {{"latest", "latest"},
                                                    {"latest", "1"},
                                                    {"1", "1"},
                                                    {"stable", "latest"},
                                                    {"latest-arm64", "1"}};
    static const char *const heads[TAG_LISTS][3] = {{"3.20", "3.19", "latest"},
                                                    {"3.20", "latest", "3.19"},
                                                    {"3.20", "3", "3.19"},
                                                    {"v3.20", "v3.19", "v3.20"},
                                                    {"3.20", "3.19-arm64", "latest-arm"}};
    static const char *const tags[TAG_LISTS][3] = {{"1.0.1", "1.1.0", "latest"},
                                                   {"1.0.1", "1.0", "latest"},
                                                   {"1.0.0", "1", "1.1.0"},
                                                   {"1.0.1", "1.1.0", "latest"},
                                                   {"1.0.1", "1.0-arm64", "latest-arm"}};
    const char *tag = i->refs == REF_MASTER     ? fixed[i->tags][h % 2]
                      : i->refs == REF_BRANCHES ? heads[i->tags][h % 3]
                                                : tags[i->tags][h % 3];
    if (h % 16 == 9)
        tag = "nowhere";
    if (h % 16 == 10 && !i->variants) /* as it is put for one platform */
        return xasprintf("%s-%s", tag,
                         platform_info((enum platform)(h / 16 % N_PLATFORMS))->suffix);
    if (i->variants)
        return xasprintf("%s-%s", tag, i->variants > 1 && h % 3 == 0 ? "full" : "slim");
    return xstrdup(tag);
}

static char *some_base(const struct farm_spec *spec, unsigned image, uint64_t h)
{
    unsigned below = spec->cycles ? spec->n_images : image;
    if (below == 0 || h % 5 == 0)
        return xstrdup(outside_name((unsigned)(h / 5 % N_OUTSIDE)));
    unsigned base = (unsigned)(h / 7 % below);
    cleanup_free char *tag = some_tag(&spec->image[base], h / 11);
    bool says = spec->image[image].says && !spec->image[base].elsewhere;
    return xasprintf("%s/%s:%s", says ? "${REGISTRY}" : image_registry(spec, base),
                     image_name(spec->image[base].repository), tag);
}

static char *recipe(const struct farm_spec *spec, unsigned image, uint64_t version)
{
    uint64_t h = mix3(spec->seed, image, 77), now = mix3(spec->seed, image, version);
    /* The bases are the image's, mostly: a version changes them once in eight times. */
    uint64_t from = now % 8 == 0 ? now : h;
    cleanup_free char *first = some_base(spec, image, mix(from));
    cleanup_free char *second = some_base(spec, image, mix(from + 1));
    switch (from / 8 % 8) {
    case 0:
        return xasprintf("ARG BASE=%s\nFROM ${BASE}\nRUN make\n", first);
    case 1:
    case 2:
        return xasprintf("FROM %s AS tools\nRUN make\nFROM %s\nCOPY --from=tools /x /x\n", second,
                         first);
    case 3:
        return xasprintf("FROM %s\nCOPY --from=%s /x /x\n", first, second);
    case 4:
        return now % 4 ? xstrdup("FROM scratch\nCOPY x /x\n")
                       : xasprintf("FROM %s\nRUN <<END\nmake\nEND\n", first);
    case 5:
        return now % 16 == 0 ? xstrdup("FORM nothing\n") : xasprintf("FROM %s\n", first);
    default:
        return xasprintf("FROM %s\nRUN make %u\n", first, (unsigned)(now % 3));
    }
}

char *farm_spec_dockerfile(const struct farm_spec *spec, unsigned image, uint64_t version)
{
    cleanup_free char *text = recipe(spec, image, version);
    return xconcat(spec->image[image].says ? "ARG REGISTRY\n" : "", text, NULL);
}

unsigned image_of_path(const char *path)
{
    for (unsigned i = 0; i < MAX_IMAGES; i++)
        if (str_starts(path, image_name(i)))
            return i;
    return 0;
}
