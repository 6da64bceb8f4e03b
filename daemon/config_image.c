/* One entry of `images:`: its keys, and what must hold between them. */
#include "common/oci.h"
#include "daemon/config_int.h"
#include "daemon/config_text.h"
#include "daemon/model/tagging.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define SECOND 1000LL
#define DAY    (24 * 3600 * SECOND)

static const struct config_text_check source = {
    config_valid_source, "a git URL or an absolute path, such as https://example.org/x.git, "
                         "ssh://git@host/x.git or /srv/x.git"};
static const struct config_text_check variant = {tag_valid,
                                                 "letters, digits, '.', '_' and '-' as in a tag"};
static const struct config_text_check identifier = {config_valid_identifier,
                                                    "letters, digits and '_'"};
static const struct config_text_check label = {config_valid_label, "a name without '=' and blanks"};
static const struct config_text_check workdir = {config_valid_absolute,
                                                 "an absolute path, such as /srv"};
static const struct config_range timeout_range = {SECOND, 30 * DAY,
                                                  "a time such as 90s, 5m or 12h"};
static const struct config_range priority_range = {-100, 100, "a number from -100 to 100"};

static const struct config_choice maintain_choices[] = {{"patch", FARM_MAINTAIN_PATCH},
                                                        {"minor", FARM_MAINTAIN_MINOR},
                                                        {"major", FARM_MAINTAIN_MAJOR},
                                                        {NULL, 0}};
static const struct config_choice media_choices[] = {
    {"oci", FARM_MEDIA_OCI}, {"docker", FARM_MEDIA_DOCKER}, {NULL, 0}};
static const struct config_choice compression_choices[] = {
    {"gzip", FARM_COMPRESSION_GZIP}, {"zstd", FARM_COMPRESSION_ZSTD}, {NULL, 0}};

#define IMAGE_KEY(name, read, member, arg) CONFIG_KEY(name, read, struct farm_image, member, arg)

static const struct config_key image_keys[] = {
    IMAGE_KEY("repository", config_string, repository, NULL),
    IMAGE_KEY("source", config_string, source, &source),
    IMAGE_KEY("ref", config_string, ref, NULL),
    IMAGE_KEY("variants", config_strings, variants, &variant),
    IMAGE_KEY("versions", config_string, versions, NULL),
    IMAGE_KEY("maintain", config_enum, maintain, maintain_choices),
    IMAGE_KEY("history", config_history, history, NULL),
    IMAGE_KEY("context", config_string, context, NULL),
    IMAGE_KEY("dockerfile", config_string, dockerfile, NULL),
    IMAGE_KEY("rootfs", config_string, script, NULL),
    IMAGE_KEY("builder", config_string, builder, NULL),
    IMAGE_KEY("target", config_string, target, NULL),
    IMAGE_KEY("args", config_pairs, args, &identifier),
    IMAGE_KEY("test", config_string, test, NULL),
    IMAGE_KEY("cmd", config_argv, cmd, NULL),
    IMAGE_KEY("entrypoint", config_argv, entrypoint, NULL),
    IMAGE_KEY("env", config_pairs, env, &identifier),
    IMAGE_KEY("labels", config_pairs, labels, &label),
    IMAGE_KEY("workdir", config_string, workdir, &workdir),
    IMAGE_KEY("user", config_string, user, NULL),
    IMAGE_KEY("tags", config_strings, tags, NULL),
    IMAGE_KEY("platforms", config_platforms, platforms, NULL),
    IMAGE_KEY("optional", config_platforms, optional, NULL),
    IMAGE_KEY("deadline", config_duration, deadline_ms, &timeout_range),
    IMAGE_KEY("media-type", config_enum, media_type, media_choices),
    IMAGE_KEY("compression", config_enum, compression, compression_choices),
    IMAGE_KEY("timeout", config_duration, timeout_ms, &timeout_range),
    IMAGE_KEY("emulated", config_bool, emulated, NULL),
    IMAGE_KEY("hold", config_bool, hold, NULL),
    IMAGE_KEY("enforce", config_bool, enforce, NULL),
    IMAGE_KEY("priority", config_int, priority, &priority_range),
};

void config_read_image(struct config *c, const char *name, const struct config_value *key,
                       const struct config_value *value, void *arg)
{
    if (!oci_path_valid(name)) {
        config_error(c, key,
                     "'%.100s' is no name for an image; write lower-case letters and digits, "
                     "joined by '-', '_', '.' or '/'",
                     name);
        return;
    }
    struct farm_image image = {
        .name = xstrdup(name),
        .history = 1,
        .deadline_ms = DAY,
        .timeout_ms = -1,
        .where = xasprintf("%s:%zu", key->file->path, key->node->start_mark.line + 1)};
    config_read_mapping(c, value, image_keys, COUNT(image_keys), &image);
    vec_push(&c->farm->images, image);
    vec_push(&c->image_entries, *value);
}

/* The value of a key of the entry, or the entry itself where it was not given: where errors about it
 * are told. Goes down to the key. */
static struct config_value place(struct config *c, const struct config_value *entry,
                                 const char *key, size_t *ret_mark)
{
    struct config_value v = *entry;
    config_child(entry, key, &v);
    *ret_mark = config_key_push(c, key);
    return v;
}

/* An error under a key of the entry. */
#define image_error(c, entry, key, ...)                                                            \
    do {                                                                                           \
        size_t _mark;                                                                              \
        struct config_value _v = place(c, entry, key, &_mark);                                     \
        config_error(c, &_v, __VA_ARGS__);                                                         \
        config_key_pop(c, _mark);                                                                  \
    } while (0)

static bool is_pattern(const struct farm_image *image)
{
    return strchr(image->ref, '*') != NULL;
}

static void finish_watched(struct config *c, struct farm_image *image,
                           const struct config_value *entry)
{
    static const char *const of_patterns[] = {"versions", "maintain", "history"};
    struct config_value v;
    struct err why = ERR_INIT;
    if (!image->source)
        image_error(c, entry, "source", "missing; write the URL of a git repository");
    if (!image->ref)
        image->ref = xstrdup("HEAD");
    if (config_check_ref(image->ref, &why) < 0)
        image_error(c, entry, "ref", "%s", why.text);
    if (image->versions && version_bounds_check(image->versions, &why) < 0)
        image_error(c, entry, "versions", "%s", why.text);
    for (size_t i = 0; i < COUNT(of_patterns) && !is_pattern(image); i++) {
        if (config_child(entry, of_patterns[i], &v))
            image_error(c, entry, of_patterns[i],
                        "needs a ref with a '*'; write a ref such as refs/tags/v*, or leave it "
                        "out");
    }
}

static void finish_rootfs(struct config *c, struct farm_image *image,
                          const struct config_value *entry)
{
    struct err why = ERR_INIT;
    image->kind = FARM_KIND_ROOTFS;
    if (image->dockerfile)
        image_error(c, entry, "dockerfile", "together with rootfs; leave one of them out");
    if (image->target)
        image_error(c, entry, "target", "is for Dockerfiles; leave it out beside rootfs");
    if (config_check_script(image->script, image->variants.n > 0, &why) < 0)
        image_error(c, entry, "rootfs", "%s", why.text);
}

static void finish_dockerfile(struct config *c, struct farm_image *image,
                              const struct config_value *entry)
{
    image->kind = FARM_KIND_DOCKERFILE;
    if (image->builder && !str_eq(image->builder, "buildah"))
        image_error(c, entry, "builder", "'%.100s' builds no Dockerfile here; write buildah",
                    image->builder);
    if (!image->dockerfile)
        image->dockerfile = xstrdup("Dockerfile");
}

static void check_folder(struct config *c, const struct config_value *entry, const char *key,
                         const char *path)
{
    struct err why = ERR_INIT;
    if (config_check_inside(path, &why) < 0)
        image_error(c, entry, key, "%s", why.text);
}

static void finish_recipe(struct config *c, struct farm_image *image,
                          const struct config_value *entry)
{
    if (!image->context || str_eq(image->context, ".") || str_eq(image->context, "./"))
        str_replace(&image->context, "");
    size_t n = strlen(image->context);
    while (n > 1 && image->context[n - 1] == '/')
        image->context[--n] = '\0';
    if (image->script)
        finish_rootfs(c, image, entry);
    else
        finish_dockerfile(c, image, entry);
    check_folder(c, entry, "context", image->context);
    if (image->dockerfile)
        check_folder(c, entry, "dockerfile", image->dockerfile);
    struct config_value v;
    image->has_cmd = config_child(entry, "cmd", &v);
    image->has_entrypoint = config_child(entry, "entrypoint", &v);
}

static void finish_platforms(struct config *c, struct farm_image *image,
                             const struct config_value *entry)
{
    bool own = image->platforms.n > 0;
    VEC_FOREACH (&c->farm->platforms, p) {
        if (!own && !platformvec_has(&image->optional, *p))
            vec_push(&image->platforms, *p);
    }
    VEC_FOREACH (&image->optional, p) {
        if (platformvec_has(&image->platforms, *p))
            image_error(c, entry, "optional", "%s is in platforms too; leave it out of one of them",
                        platform_info(*p)->name);
    }
    if (image->platforms.n == 0)
        image_error(c, entry, "platforms",
                    "no platform is required; write some, such as [linux/amd64]");
}

static void finish_packing(struct config *c, struct farm_image *image,
                           const struct config_value *entry)
{
    struct config_value v;
    if (image->media_type == FARM_MEDIA_DOCKER && image->compression == FARM_COMPRESSION_ZSTD)
        image_error(c, entry, "compression",
                    "zstd is not for Docker's media types; write gzip, or media-type: oci");
    if (image->timeout_ms < 0)
        image->timeout_ms = c->farm->timeout_ms;
    if (!config_child(entry, "enforce", &v))
        image->enforce = c->farm->enforce;
}

/* ---- templates ---- */

/* Checks the names in one text that stands at `v`. */
static bool check_template(struct config *c, const struct farm_image *image,
                           const struct config_value *v, const char *text, bool has_platform)
{
    struct template_rules rules = {
        .ref = image->ref, .has_variant = image->variants.n > 0, .has_platform = has_platform};
    struct err why = ERR_INIT;
    size_t offset = 0;
    if (template_check(text, &rules, &offset, &why) == 0)
        return true;
    config_error_in(c, v, offset, "%s", why.text);
    return false;
}

/* The templates of a scalar, or of a mapping's values. */
static void check_templates_of(struct config *c, const struct farm_image *image,
                               const struct config_value *entry, const char *key)
{
    size_t mark;
    struct config_value v = place(c, entry, key, &mark);
    yaml_document_t *document = &v.file->document;
    if (v.node == entry->node) {
        /* not given */
    } else if (v.node->type == YAML_SCALAR_NODE) {
        check_template(c, image, &v, (const char *)v.node->data.scalar.value, true);
    } else if (v.node->type == YAML_MAPPING_NODE) {
        for (const yaml_node_pair_t *pair = v.node->data.mapping.pairs.start;
             pair < v.node->data.mapping.pairs.top; pair++) {
            struct config_value value = {v.file, yaml_document_get_node(document, pair->value)};
            check_template(c, image, &value, (const char *)value.node->data.scalar.value, true);
        }
    }
    config_key_pop(c, mark);
}

/* Whether the template can give a tag: tried with names that are as short as they get. */
static bool gives_tag(struct farm_image *image, const char *text, struct err *why)
{
    struct template_vars vars = {.registry = "r",
                                 .image = "i",
                                 .repository = "r/i",
                                 .variant = "v",
                                 .ref = "refs/heads/b",
                                 .version = "1.2.3",
                                 .commit = "0123456789012345678901234567890123456789",
                                 .parsed = {.part = {1, 2, 3}, .parts = 3},
                                 .platform = PLATFORM_COUNT};
    if (str_starts(image->ref, "refs/tags/"))
        vars.ref = "refs/tags/t";
    struct farm_image one = *image;
    char *item = (char *)text;
    one.tags.items = &item;
    one.tags.n = 1;
    cleanup_tag_claims tag_claims claims = {0};
    return tags_of_track(&one, &vars, &claims, why) == 0;
}

static void check_tag(struct config *c, struct farm_image *image, const struct config_value *v,
                      const char *text)
{
    struct err why = ERR_INIT;
    if (!check_template(c, image, v, text, false))
        return;
    if (image->variants.n > 1 && !template_uses(text, "variant"))
        config_error(c, v,
                     "every variant would claim '%.100s'; write it with $variant, or give one "
                     "variant an image of its own with the same repository",
                     text);
    else if (!gives_tag(image, text, &why) && strstr(why.text, TAG_RESERVED))
        config_error(c, v,
                     "'%.100s' begins with " TAG_RESERVED
                     ", as the tags do that Sheaf keeps for itself; choose another",
                     text);
    else if (why.code)
        config_error(c, v, "'%.100s' gives no tag; write letters, digits, '.', '_', '-' and $names",
                     text);
}

static void finish_tags(struct config *c, struct farm_image *image,
                        const struct config_value *entry)
{
    size_t mark, n = 0;
    struct config_value v = place(c, entry, "tags", &mark);
    bool variants = image->variants.n > 0;
    if (v.node == entry->node) {
        strvec_add(&image->tags, is_pattern(image) ? variants ? "$version-$variant" : "$version"
                                 : variants        ? "$variant"
                                                   : "latest");
    } else {
        const yaml_node_item_t *items = config_items(c, &v, &n);
        for (size_t i = 0; i < n; i++) {
            struct config_value item = config_item(&v, items[i]);
            check_tag(c, image, &item, (const char *)item.node->data.scalar.value);
        }
    }
    config_key_pop(c, mark);
}

/* ---- repository and builder ---- */

static void finish_repository(struct config *c, struct farm_image *image,
                              const struct config_value *entry)
{
    struct template_vars vars = {
        .registry = c->farm->registry, .image = image->name, .platform = PLATFORM_COUNT};
    cleanup_oci_reference struct oci_reference ref = {0};
    cleanup_free char *name = NULL;
    struct err why = ERR_INIT;
    if (!image->repository)
        image->repository = xstrdup("$registry/$image");
    if (template_expand(image->repository, &vars, &name, &why) < 0 ||
        oci_repository_parse(name, &ref, &why) < 0) {
        image_error(c, entry, "repository", "%s", why.text);
        return;
    }
    if (!strchr(name, '/') || strncmp(name, ref.host, strlen(ref.host)) != 0)
        image_error(c, entry, "repository",
                    "'%.200s' names no registry; write it in full, such as %s/%.200s", name,
                    c->farm->registry_host, name);
    free(image->repository);
    image->repository = oci_reference_repository(&ref);
}

static void check_builder(struct config *c, struct farm_image *image,
                          const struct config_value *entry)
{
    cleanup_oci_reference struct oci_reference ref = {0};
    struct err why = ERR_INIT;
    if (image->kind != FARM_KIND_ROOTFS || !image->builder || strchr(image->builder, '$'))
        return;
    if (oci_reference_parse(image->builder, &ref, &why) < 0)
        image_error(c, entry, "builder",
                    "%s; write the image whose userland runs the script, such as debian:bookworm",
                    why.text);
}

void config_finish_image(struct config *c, struct farm_image *image,
                         const struct config_value *entry)
{
    static const char *const templates[] = {"context", "dockerfile", "builder", "target",
                                            "args",    "env",        "labels"};
    finish_watched(c, image, entry);
    finish_recipe(c, image, entry);
    finish_platforms(c, image, entry);
    finish_packing(c, image, entry);
    for (size_t i = 0; i < COUNT(templates); i++)
        check_templates_of(c, image, entry, templates[i]);
    finish_tags(c, image, entry);
    finish_repository(c, image, entry);
    check_builder(c, image, entry);
}
