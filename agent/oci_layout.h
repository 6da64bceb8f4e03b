/* OCI image layouts on disk: read, written, unpacked.
 *
 * A layout is a folder with oci-layout, index.json and blobs/sha256/HEX. Both OCI and Docker media types
 * are understood. Every blob that is read as JSON is bounded, and its digest checked. */
#pragma once

#include "agent/elf_check.h"
#include "agent/extract.h"
#include "agent/layer.h"
#include "common/err.h"

#include <jansson.h>
#include <stdint.h>

struct oci_blob {
    char digest[LAYER_DIGEST_MAX];
    char *media_type;
    uint64_t size;
};

struct oci_layer {
    struct oci_blob blob;
    char diff_id[LAYER_DIGEST_MAX];
};

/* One image in a layout. */
struct oci_image {
    char *layout; /* the folder */
    struct oci_blob manifest, config;
    struct oci_layer *layers; /* bottom first */
    size_t n_layers;
    json_t *manifest_json, *config_json;
};

/* Makes an empty layout in the folder `dir` (made if need be). Doing it again changes nothing. */
int oci_layout_create(const char *dir, struct err *err);
/* The file of a blob, whether it exists or not; the caller owns the path. -EINVAL for a digest that is
 * none. */
int oci_layout_blob_path(const char *dir, const char *digest, char **ret_path, struct err *err);
/* Writes a blob from memory and sets ret_digest; not an error when it is there. */
int oci_layout_put_blob(const char *dir, const void *data, size_t size,
                        char ret_digest[LAYER_DIGEST_MAX], struct err *err);
/* Takes the file `path`, whose digest the caller has computed, into the layout by link or rename (same file
 * system; else by copying); `path` is gone afterwards. */
int oci_layout_adopt_blob(const char *dir, const char *path, const char *digest, struct err *err);
/* Makes blob `digest` of the layout `from` also one of `dir`: hard link, else copy. */
int oci_layout_share_blob(const char *dir, const char *from, const char *digest, struct err *err);
/* Writes a manifest blob and makes index.json name it as `tag`, beside what other tags it names. The
 * blobs that it refers to are the caller's to put. So a pulled image becomes what `buildah pull
 * oci:DIR:TAG` reads. ret_digest may be NULL. */
int oci_layout_put_manifest(const char *dir, const char *tag, const void *manifest, size_t size,
                            const char *media_type, char ret_digest[LAYER_DIGEST_MAX],
                            struct err *err);

/* Reads the image that index.json names `tag` (NULL: the only one). -ENOENT if there is none, -EBADMSG if
 * it is damaged. Free with oci_image_free. */
int oci_image_read(const char *dir, const char *tag, struct oci_image **ret, struct err *err);
/* Frees it; takes NULL. */
void oci_image_free(struct oci_image *image);

/* Unpacks all layers into the existing, empty folder `root`, as EXTRACT_LAYER | EXTRACT_SETID | EXTRACT_XATTRS plus
 * `flags`. */
int oci_image_unpack(const struct oci_image *image, const char *root,
                     const struct extract_options *options, struct err *err);
/* Reads every layer once for its content digest, with the observers watching, and sets ret to the image's:
 * the hash over the layers' content digests and the config without times and history. */
int oci_image_content_digest(const struct oci_image *image, const struct layer_limits *limits,
                             const struct layer_observer *observers, size_t n_observers,
                             char ret[LAYER_DIGEST_MAX], struct err *err);
