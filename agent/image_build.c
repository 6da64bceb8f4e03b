#include "agent/image_build.h"

#include "agent/image_config.h"

#include <errno.h>
#include <string.h>

static int no_zstd(struct err *err)
{
    return err_set(err, -EINVAL, "Docker's media types have no zstd: choose oci, or gzip");
}

static void set_layer(struct image_layer *l, const struct layer_result *from, const char *type)
{
    l->blob.media_type = xstrdup(type);
    l->blob.size = (int64_t)from->size;
    memcpy(l->blob.digest, from->digest, DIGEST_SIZE);
    memcpy(l->diff_id, from->diff_id, DIGEST_SIZE);
    memcpy(l->content, from->content, DIGEST_SIZE);
}

static void set_content(struct image_result *r, const json_t *config)
{
    cleanup_free char(*contents)[DIGEST_SIZE] = xcalloc(r->n_layers, DIGEST_SIZE);
    for (size_t i = 0; i < r->n_layers; i++)
        memcpy(contents[i], r->layers[i].content, DIGEST_SIZE);
    oci_content_digest(config, contents, r->n_layers, r->content);
}

/* The manifest of the result, as bytes. */
static char *manifest_of(const struct image_result *r, const struct image_settings *s)
{
    /* Borrowed, all of it: nothing here is released. */
    struct oci_manifest m = {.media_type =
                                 (char *)(s->docker ? DOCKER_TYPE_MANIFEST : OCI_TYPE_MANIFEST),
                             .config = r->config};
    for (size_t i = 0; i < r->n_layers; i++)
        vec_push(&m.layers, r->layers[i].blob);
    char *text = oci_manifest_dump(&m);
    vec_free(&m.layers);
    return text;
}

/* Config, manifest and index, once the layers are there. */
static int finish(const char *dir, const char *tag, const json_t *config,
                  const struct image_settings *s, struct image_result *r, struct err *err)
{
    cleanup_free char *text = json_canonical(config);
    int code = oci_layout_put_blob(dir, text, strlen(text), r->config.digest, err);
    if (code < 0)
        return code;
    r->config.size = (int64_t)strlen(text);
    r->config.media_type = xstrdup(s->docker ? DOCKER_TYPE_CONFIG : OCI_TYPE_CONFIG);
    set_content(r, config);
    r->manifest_bytes = manifest_of(r, s);
    r->manifest.size = (int64_t)strlen(r->manifest_bytes);
    r->manifest.media_type = xstrdup(s->docker ? DOCKER_TYPE_MANIFEST : OCI_TYPE_MANIFEST);
    return oci_layout_put_manifest(dir, tag, r->manifest_bytes, strlen(r->manifest_bytes),
                                   r->manifest.media_type, r->manifest.digest, err);
}

int image_from_rootfs(const char *dir, const char *tag, const char *layer_file,
                      const struct layer_result *layer, enum layer_compression compression,
                      const struct image_settings *settings, struct image_result *ret,
                      struct err *err)
{
    const char *type = oci_layer_type(compression, settings->docker);
    if (!type)
        return no_zstd(err);
    int r = oci_layout_create(dir, err);
    if (r == 0)
        r = oci_layout_adopt_blob(dir, layer_file, layer->digest, err);
    if (r < 0)
        return r;
    struct image_result result = {.layers = xnew(struct image_layer), .n_layers = 1};
    set_layer(result.layers, layer, type);
    cleanup_json json_t *config = image_config_new(NULL, settings);
    image_config_set_layers(config, result.layers, 1);
    image_config_add_history(config, settings->created_by ? settings->created_by : "sheaf rootfs",
                             settings);
    r = finish(dir, tag, config, settings, &result, err);
    if (r == 0)
        *ret = result;
    else
        image_result_done(&result);
    return r;
}

/* ---------------------------------------------------------------------------------------- rewriting */

struct rewrite {
    const struct oci_image *built;
    const struct oci_image *const *bases;
    size_t n_bases;
    const char *dir;
    struct layer_options options;
    const struct image_settings *settings;
};

/* The base that has the diff_id in a packing that the result may have; sets *ret_layer and its media type. */
static const struct oci_image *find_base(const struct rewrite *w, const char *diff_id,
                                         size_t *ret_layer, const char **ret_type)
{
    for (size_t b = 0; b < w->n_bases; b++) {
        const struct oci_image *base = w->bases[b];
        for (size_t i = 0; i < base->manifest.layers.n; i++) {
            enum layer_compression c;
            if (strcmp(base->config.diff_ids.items[i], diff_id) != 0 ||
                oci_layer_compression(base->manifest.layers.items[i].media_type, &c) < 0)
                continue;
            *ret_type = oci_layer_type(c, w->settings->docker);
            *ret_layer = i;
            if (*ret_type)
                return base;
        }
    }
    return NULL;
}

static int keep_layer(const struct rewrite *w, const struct oci_image *base, size_t i,
                      const char *type, struct image_layer *ret, struct err *err)
{
    struct layer_result layer;
    int r = oci_image_scan_layer(base, i, &w->options.limits, w->options.observers,
                                 w->options.n_observers, &layer, err);
    if (r == 0)
        r = oci_layout_share_blob(w->dir, base->layout, layer.digest, err);
    if (r < 0)
        return err_wrap(err, "base");
    set_layer(ret, &layer, type);
    ret->from_base = true;
    return 0;
}

static int make_layer(const struct rewrite *w, size_t i, const char *type, struct image_layer *ret,
                      struct err *err)
{
    cleanup_free char *from = NULL, *to = xasprintf("%s/layer-%zu.new", w->dir, i);
    struct layer_result layer;
    int r = oci_layout_blob_path(w->built->layout, w->built->manifest.layers.items[i].digest, &from,
                                 err);
    if (r == 0)
        r = layer_from_tar(from, to, &w->options, &layer, err);
    if (r == 0)
        r = oci_layout_adopt_blob(w->dir, to, layer.digest, err);
    if (r < 0)
        return err_wrap(err, "layer %zu", i + 1);
    set_layer(ret, &layer, type);
    return 0;
}

static int rewrite_layer(const struct rewrite *w, size_t i, struct image_layer *ret,
                         struct err *err)
{
    const char *type = oci_layer_type(w->options.compression, w->settings->docker);
    const char *base_type;
    size_t layer;
    const struct oci_image *base =
        find_base(w, w->built->config.diff_ids.items[i], &layer, &base_type);
    if (base)
        return keep_layer(w, base, layer, base_type, ret, err);
    return type ? make_layer(w, i, type, ret, err) : no_zstd(err);
}

static int rewrite_all(const struct rewrite *w, const char *tag, struct image_result *result,
                       struct err *err)
{
    int r = oci_layout_create(w->dir, err);
    size_t n = w->built->manifest.layers.n;
    result->layers = xcalloc(n, sizeof(*result->layers));
    for (size_t i = 0; i < n && r == 0; i++, result->n_layers++)
        r = rewrite_layer(w, i, &result->layers[i], err);
    if (r < 0)
        return r;
    cleanup_json json_t *config = image_config_new(w->built->config.json, w->settings);
    image_config_set_layers(config, result->layers, n);
    return finish(w->dir, tag, config, w->settings, result, err);
}

int image_rewrite(const struct oci_image *built, const struct oci_image *const *bases,
                  size_t n_bases, const char *dir, const char *tag,
                  const struct layer_options *options, const struct image_settings *settings,
                  struct image_result *ret, struct err *err)
{
    struct rewrite w = {.built = built,
                        .bases = bases,
                        .n_bases = n_bases,
                        .dir = dir,
                        .options = *options,
                        .settings = settings};
    w.options.whiteouts = w.options.devices = true;
    struct image_result result = {0};
    int r = rewrite_all(&w, tag, &result, err);
    if (r == 0)
        *ret = result;
    else
        image_result_done(&result);
    return r;
}

void image_result_done(struct image_result *r)
{
    for (size_t i = 0; i < r->n_layers; i++)
        oci_descriptor_done(&r->layers[i].blob);
    free(r->layers);
    free(r->manifest_bytes);
    oci_descriptor_done(&r->manifest);
    oci_descriptor_done(&r->config);
    *r = (struct image_result){0};
}
