/* Between images and the rest: what is missing, what is implied, what collides. */
#include "common/nearest.h"
#include "daemon/config_int.h"
#include "daemon/model/tagging.h"

#include <ctype.h>
#include <errno.h>

/* ---- registries ---- */

static bool is_loopback(const char *host)
{
    size_t n = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
    cleanup_free char *name = xstrndup(host, n);
    return str_eq(name, "localhost") || str_eq(name, "[::1]") || str_starts(name, "127.");
}

static void finish_registry(struct farm_registry *registry, bool plain_given)
{
    char *endpoint = registry->endpoint;
    if (endpoint) {
        size_t n = strlen(endpoint);
        while (n > 0 && endpoint[n - 1] == '/')
            endpoint[--n] = '\0';
        registry->plain_http = str_starts(endpoint, "http://");
        return;
    }
    if (!plain_given)
        registry->plain_http = is_loopback(registry->host);
    const char *host =
        str_eq(registry->host, "docker.io") ? "registry-1.docker.io" : registry->host;
    registry->endpoint = xasprintf("%s://%s", registry->plain_http ? "http" : "https", host);
}

static void imply_registry(struct farm *farm, const char *host)
{
    VEC_FOREACH (&farm->registries, registry) {
        if (str_eq(registry->host, host))
            return;
    }
    vec_push(&farm->registries, (struct farm_registry){.host = xstrdup(host)});
}

/* Contradictions can only be in entries that were given. */
static void finish_registries(struct config *c)
{
    size_t given = c->registry_entries.n;
    imply_registry(c->farm, c->farm->registry_host);
    imply_registry(c->farm, "docker.io");
    for (size_t i = 0; i < c->farm->registries.n; i++) {
        struct farm_registry *registry = &c->farm->registries.items[i];
        struct config_value plain;
        bool plain_given =
            i < given && config_child(&c->registry_entries.items[i], "plain-http", &plain);
        bool was_plain = registry->plain_http;
        finish_registry(registry, plain_given);
        if (!plain_given || registry->plain_http == was_plain)
            continue;
        size_t mark = config_key_push(c, "registries");
        config_key_push(c, registry->host);
        config_key_push(c, "plain-http");
        config_error(c, &plain, "contradicts endpoint: %s; leave it out", registry->endpoint);
        config_key_pop(c, mark);
    }
}

/* ---- sources ---- */

static bool is_used(const struct farm *farm, const char *url)
{
    VEC_FOREACH (&farm->images, image) {
        if (str_eq(image->source, url))
            return true;
    }
    return false;
}

static void check_source_used(struct config *c, const struct farm_source *source,
                              const struct config_value *at)
{
    if (is_used(c->farm, source->url))
        return;
    cleanup_free const char **urls = xcalloc(c->farm->images.n + 1, sizeof(*urls));
    size_t n = 0;
    VEC_FOREACH (&c->farm->images, image)
        urls[n++] = image->source ? image->source : "";
    const char *nearest = nearest_word(source->url, urls, n);
    size_t mark = config_key_push(c, "sources");
    config_key_push(c, source->url);
    config_error(c, at, "no image has this source; write %s",
                 nearest ? nearest : "the URL as an image has it, or leave it out");
    config_key_pop(c, mark);
}

static void finish_sources(struct config *c)
{
    struct farm *farm = c->farm;
    for (size_t i = 0; i < c->source_entries.n; i++)
        check_source_used(c, &farm->sources.items[i], &c->source_entries.items[i]);
    farm_sort(farm);
    size_t sorted = farm->sources.n;
    VEC_FOREACH (&farm->images, image) {
        struct farm given = {.sources = {farm->sources.items, sorted, sorted}};
        if (farm_source(&given, image->source))
            continue;
        vec_push(&farm->sources,
                 (struct farm_source){.url = xstrdup(image->source), .poll_ms = -1});
    }
}

/* One row a URL: those that several images imply are there several times until here. */
static void merge_sources(struct farm *farm)
{
    farm_sort(farm);
    for (size_t i = 1; i < farm->sources.n;) {
        if (!str_eq(farm->sources.items[i - 1].url, farm->sources.items[i].url)) {
            i++;
            continue;
        }
        free(farm->sources.items[i].url);
        vec_remove(&farm->sources, i);
    }
    VEC_FOREACH (&farm->sources, source) {
        if (source->poll_ms < 0)
            source->poll_ms = farm->poll_ms;
    }
}

/* ---- tags that collide for certain ---- */

struct certain_tag {
    char *name; /* repository:tag */
    const struct farm_image *image;
    const struct config_value *entry; /* of the image */
    UT_hash_handle hh;
};

/* Where an error about the image's tags is: its `tags`, or the image itself where it has none. Returns the mark of the key. */
static size_t at_tags(struct config *c, const struct farm_image *image,
                      const struct config_value *entry, struct config_value *ret)
{
    *ret = *entry;
    config_child(entry, "tags", ret);
    size_t mark = config_key_push(c, "images");
    config_key_push(c, image->name);
    config_key_push(c, "tags");
    return mark;
}

static void certain_tag(struct config *c, struct certain_tag **tags, struct farm_image *image,
                        const struct config_value *entry, const char *tag)
{
    char *name = xasprintf("%s:%s", image->repository, tag);
    struct certain_tag *known = NULL;
    HASH_FIND_STR(*tags, name, known);
    if (!known) {
        known = xnew(struct certain_tag);
        *known = (struct certain_tag){.name = name, .image = image, .entry = entry};
        HASH_ADD_KEYPTR(hh, *tags, known->name, strlen(known->name), known);
        return;
    }
    struct config_value v;
    size_t mark = at_tags(c, image, entry, &v);
    config_error(c, &v, "%s is claimed by %s (%s) too; leave it out of one of them", name,
                 known->image->name, known->image->where);
    config_key_pop(c, mark);
    free(name);
}

/* With a tag those of single platforms are put: whether one of them is another image's tag. */
static void check_platform_tags(struct config *c, struct certain_tag *tags,
                                const struct certain_tag *whole)
{
    for (int p = 0; p < PLATFORM_COUNT; p++) {
        const struct platform_info *info = platform_info((enum platform)p);
        cleanup_free char *name = xasprintf("%s-%s", whole->name, info->suffix);
        struct certain_tag *part = NULL;
        HASH_FIND_STR(tags, name, part);
        if (!part || !farm_image_offers(whole->image, (enum platform)p))
            continue;
        struct config_value v;
        size_t mark = at_tags(c, part->image, part->entry, &v);
        config_error(c, &v, "%s is what %s of %s (%s) is for %s alone; choose another", name,
                     strrchr(whole->name, ':') + 1, whole->image->name, whole->image->where,
                     info->name);
        config_key_pop(c, mark);
    }
}

/* The tags of one track of an image. NULL for `tags`: whether they collide among themselves is all that is asked. */
static void certain_tags_of(struct config *c, struct certain_tag **tags, struct farm_image *image,
                            const struct config_value *entry, const char *variant)
{
    /* Of a pattern one that may come. */
    struct ref_reading reading = {.version = "1.2.3", .parsed = {.part = {1, 2, 3}, .parts = 3}};
    const char *ref =
        str_starts(image->ref, "refs/tags/") ? "refs/tags/v1.2.3" : "refs/heads/v1.2.3";
    if (tags) {
        ref = image->ref;
        reading = ref_read(image, ref);
    }
    struct template_vars vars = track_vars(c->farm, image, ref, &reading, variant, NULL);
    cleanup_tag_claims tag_claims claims = {0};
    struct err why = ERR_INIT;
    int r = tags_of_track(image, &vars, &claims, &why);
    if (r == -EEXIST) {
        struct config_value v;
        size_t mark = at_tags(c, image, entry, &v);
        config_error(c, &v, "%s", why.text);
        config_key_pop(c, mark);
    }
    for (size_t i = 0; r == 0 && tags && i < claims.n; i++)
        certain_tag(c, tags, image, entry, claims.items[i].tag);
}

/* Images that follow one ref know their tags here and now. */
static void check_certain_tags(struct config *c)
{
    struct certain_tag *tags = NULL, *tag, *next;
    for (size_t i = 0; i < c->farm->images.n; i++) {
        struct farm_image *image = &c->farm->images.items[i];
        struct certain_tag **certain = strchr(image->ref, '*') ? NULL : &tags;
        size_t before = c->errors->n;
        for (size_t v = 0; v < image->variants.n && c->errors->n == before; v++)
            certain_tags_of(c, certain, image, &c->image_entries.items[i],
                            image->variants.items[v]);
        if (image->variants.n == 0)
            certain_tags_of(c, certain, image, &c->image_entries.items[i], NULL);
    }
    for (tag = tags; tag; tag = tag->hh.next)
        check_platform_tags(c, tags, tag);
    HASH_ITER(hh, tags, tag, next)
    {
        HASH_DEL(tags, tag);
        free(tag->name);
        free(tag);
    }
}

/* ---- all ---- */

static void finish_images(struct config *c)
{
    size_t mark = config_key_push(c, "images");
    for (size_t i = 0; i < c->farm->images.n; i++) {
        struct farm_image *image = &c->farm->images.items[i];
        size_t below = config_key_push(c, image->name);
        config_finish_image(c, image, &c->image_entries.items[i]);
        config_key_pop(c, below);
    }
    config_key_pop(c, mark);
}

void config_finish(struct config *c)
{
    finish_images(c);
    if (c->errors->n > 0)
        return;
    check_certain_tags(c);
    finish_registries(c);
    finish_sources(c);
    merge_sources(c->farm);
    VEC_FOREACH (&c->farm->boards, rule) {
        if (rule->min_disk < 0)
            rule->min_disk = c->farm->min_disk;
    }
}
