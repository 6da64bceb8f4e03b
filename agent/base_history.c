#include "agent/base_history.h"

#include "agent/oci_layout.h"
#include "common/json.h"

static size_t layers_in_history(const json_t *history)
{
    size_t n = 0, i;
    json_t *entry;
    json_array_foreach (history, i, entry)
        n += !json_is_true(json_object_get(entry, "empty_layer"));
    return n;
}

static json_t *plain_history(size_t n)
{
    json_t *history = json_array();
    while (n-- > 0)
        json_array_append_new(history, json_pack("{s:s}", "created_by", "base"));
    return history;
}

static int write_copy(const char *dir, const char *tag, struct oci_image *image, struct err *err)
{
    cleanup_json json_t *config = json_deep_copy(image->config.json);
    json_object_set_new(config, "history", plain_history(image->manifest.layers.n));
    cleanup_free char *text = json_canonical(config);
    struct oci_descriptor *d = &image->manifest.config;
    int r = oci_layout_put_blob(dir, text, strlen(text), d->digest, err);
    if (r < 0)
        return r;
    d->size = (int64_t)strlen(text);
    cleanup_free char *manifest = oci_manifest_dump(&image->manifest);
    return oci_layout_put_manifest(dir, tag, manifest, strlen(manifest), image->manifest.media_type,
                                   NULL, err);
}

int base_history_complete(const char *dir, const char *tag, struct err *err)
{
    struct oci_image *image = NULL;
    int r = oci_image_read(dir, tag, &image, err);
    if (r == 0 && layers_in_history(json_object_get(image->config.json, "history")) !=
                      image->manifest.layers.n)
        r = write_copy(dir, tag, image, err);
    oci_image_free(image);
    return r;
}
