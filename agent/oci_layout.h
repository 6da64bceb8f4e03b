/* OCI image layouts on disk: read, written, unpacked.
 *
 * A layout is a folder with oci-layout, index.json and blobs/sha256/HEX. Both OCI and Docker media types
 * are understood. Every blob that is read as JSON is bounded, and its digest checked. */
#pragma once

#include "agent/extract.h"
#include "agent/layer.h"
#include "common/err.h"
#include "common/mem.h"
#include "common/oci.h"

#include <stddef.h>
#include <stdint.h>

/* One image in a layout. The config's diff_ids are as many as the manifest's layers. */
struct oci_image {
    char *layout;                     /* the folder */
    struct oci_descriptor descriptor; /* of the manifest */
    struct oci_manifest manifest;
    struct oci_config config;
};

/* Makes an empty layout in the folder `dir` (made if need be). Doing it again changes nothing. */
int oci_layout_create(const char *dir, struct err *err);
/* The file of a blob, whether it exists or not; the caller owns the path. -EINVAL for a digest that is
 * none. */
int oci_layout_blob_path(const char *dir, const char *digest, char **ret_path, struct err *err);
/* Writes a blob from memory and sets ret_digest; not an error when it is there. */
int oci_layout_put_blob(const char *dir, const void *data, size_t size,
                        char ret_digest[DIGEST_SIZE], struct err *err);
/* Takes the file `path`, whose digest the caller has computed, into the layout by renaming it (same file
 * system), else by copying; `path` is gone afterwards. */
int oci_layout_adopt_blob(const char *dir, const char *path, const char *digest, struct err *err);
/* Makes blob `digest` of the layout `from` also one of `dir`: hard link, else copy. */
int oci_layout_share_blob(const char *dir, const char *from, const char *digest, struct err *err);
/* The media type of a layer, OCI's or Docker's; NULL for zstd of Docker's, which does not exist. */
const char *oci_layer_type(enum layer_compression compression, bool docker);
/* The compression that a layer's media type names. -ENOENT for one that is no layer of ours to read. */
int oci_layer_compression(const char *media_type, enum layer_compression *ret);

/* Writes a manifest blob and makes index.json name it as `tag`, in place of what had that tag and beside all
 * others. The blobs that it refers to are the caller's to put. So a pulled image becomes what `buildah
 * pull oci:DIR:TAG` reads: of a Docker manifest index.json names a translation to OCI's media types, since
 * readers of layouts know no others. ret_digest (may be NULL) is the digest of what was given. */
int oci_layout_put_manifest(const char *dir, const char *tag, const void *manifest, size_t size,
                            const char *media_type, char ret_digest[DIGEST_SIZE], struct err *err);

/* Reads the image that index.json names `tag` (NULL: the only one). -ENOENT if there is none, -EBADMSG if
 * it is damaged. Free with oci_image_free. */
int oci_image_read(const char *dir, const char *tag, struct oci_image **ret, struct err *err);
/* Frees it; takes NULL. */
void oci_image_free(struct oci_image *image);
DEFINE_CLEANUP(struct oci_image *, oci_image_free)

/* Unpacks all layers into the existing, empty folder `root`: as extract_tar with EXTRACT_LAYER and
 * options->flags. The limits hold for each layer. */
int oci_image_unpack(const struct oci_image *image, const char *root,
                     const struct extract_options *options, struct err *err);
/* Reads every layer once, bottom first, with the observers watching (may be NULL), checks digests and diff_ids,
 * and sets ret to the image's content digest: see oci_content_digest. */
int oci_image_content_digest(const struct oci_image *image, const struct layer_limits *limits,
                             const struct layer_observer *observers, size_t n_observers,
                             char ret[DIGEST_SIZE], struct err *err);
/* Reads layer `i` alone, with digest and diff_id checked (-EBADMSG). */
int oci_image_scan_layer(const struct oci_image *image, size_t i, const struct layer_limits *limits,
                         const struct layer_observer *observers, size_t n_observers,
                         struct layer_result *ret, struct err *err);
/* The content digest of an image whose layers have the n content digests: a hash over these and what the config
 * says about running it (its platform and "config"). Times, history and the layers' packing are
 * not in it. */
void oci_content_digest(const json_t *config, const char (*layers)[DIGEST_SIZE], size_t n,
                        char ret[DIGEST_SIZE]);
