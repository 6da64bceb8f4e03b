/* The hand-over: a finished image in a layout, made of one rootfs layer or of what a Dockerfile builder
 * left, with deterministic layers, config and manifest. */
#pragma once

#include "agent/oci_layout.h"

struct image_settings {
    enum platform platform;
    bool docker;   /* Docker's media types instead of OCI's; they know no zstd */
    int64_t epoch; /* "created", everywhere; seconds since 1970 */
    /* Each may be NULL: left as it is. Borrowed. */
    json_t *cmd, *entrypoint; /* lists of strings */
    json_t *env, *labels;     /* objects of strings, merged over what is there */
    const char *workdir, *user;
    const char *created_by; /* history of the layer made here; rootfs only */
};

struct image_layer {
    struct oci_descriptor blob;
    char diff_id[DIGEST_SIZE];
    char content[DIGEST_SIZE];
    bool from_base; /* the blob is one of a base's, byte for byte */
};

struct image_result {
    struct oci_descriptor manifest, config;
    struct image_layer *layers; /* bottom first */
    size_t n_layers;
    char content[DIGEST_SIZE]; /* as oci_content_digest */
    char *manifest_bytes;      /* exactly what `manifest` describes, NUL-terminated */
};

/* Puts config and manifest for an image of one layer, whose file is `layer_file` with `layer` and
 * `compression` as layer_from_tar gave them, into the layout `dir` (made if need be) under `tag`. The file
 * is moved into the layout. */
int image_from_rootfs(const char *dir, const char *tag, const char *layer_file,
                      const struct layer_result *layer, enum layer_compression compression,
                      const struct image_settings *settings, struct image_result *ret,
                      struct err *err);

/* Writes `built` again into the layout `dir` (made if need be) under `tag`. A layer whose diff_id one of the
 * `bases` has is that base's blob, byte for byte, so that a registry can mount it; every other is made anew
 * with `options` (whiteouts and devices are allowed; options->epoch should be settings->epoch). The observers
 * watch all layers, bottom first.
 *
 * The config keeps what runs the image, its author and its history; its times become the epoch, its platform
 * is explicit, host names, containers, and the builder's remarks and label are gone. */
int image_rewrite(const struct oci_image *built, const struct oci_image *const *bases,
                  size_t n_bases, const char *dir, const char *tag,
                  const struct layer_options *options, const struct image_settings *settings,
                  struct image_result *ret, struct err *err);

/* Frees what a result owns; leaves it empty. */
void image_result_done(struct image_result *r);
