/* The hand-over: a finished image in a layout, made of one rootfs layer or of what a Dockerfile builder
 * left, with deterministic layers, config and manifest. */
#pragma once

#include "agent/oci_layout.h"

struct image_settings {
    enum platform platform;
    bool docker;   /* Docker's media types instead of OCI's */
    int64_t epoch; /* "created", everywhere */
    /* Each may be NULL: left as it is. Borrowed. */
    json_t *cmd, *entrypoint; /* arrays of strings */
    json_t *env, *labels;     /* objects of strings, merged over what is there */
    const char *workdir, *user;
    const char *created_by; /* history of the layer made here; rootfs only */
};

struct image_layer {
    struct oci_blob blob;
    char diff_id[LAYER_DIGEST_MAX];
    char content[LAYER_DIGEST_MAX];
};

struct image_result {
    struct oci_blob manifest, config;
    struct image_layer *layers; /* bottom first */
    size_t n_layers;
    char content[LAYER_DIGEST_MAX];
    char *manifest_bytes; /* exactly what `manifest` describes, NUL-terminated */
};

/* Puts config and manifest for an image of one layer, whose file is `layer_file` with `layer` and `compression` as
 * layer_from_tar gave them, into the layout `dir` under `tag`. The file is moved into the layout. */
int image_from_rootfs(const char *dir, const char *tag, const char *layer_file,
                      const struct layer_result *layer, enum layer_compression compression,
                      const struct image_settings *settings, struct image_result *ret,
                      struct err *err);

/* Writes `built` again into the layout `dir` under `tag`: a layer whose diff_id one of the `bases` has is that
 * base's blob, byte for byte (so that a registry can mount it); every other is made anew with `options`
 * (whiteouts and devices are allowed; options->epoch should be settings->epoch), the observers watching all
 * layers, bottom first. The config keeps what runs the image; its times become the epoch, its platform is
 * explicit, host names, containers and the builder's remarks are gone. */
int image_rewrite(const struct oci_image *built, const struct oci_image *const *bases,
                  size_t n_bases, const char *dir, const char *tag,
                  const struct layer_options *options, const struct image_settings *settings,
                  struct image_result *ret, struct err *err);

/* Frees what a result owns. */
void image_result_done(struct image_result *r);
