/* OCI and Docker documents: media types, descriptors, image manifests, indexes, configs; and image
 * references. Pure: text in, structs out, and back.
 *
 * Documents come from outside: they are bounded (OCI_MANIFEST_MAX), types and digests are checked,
 * members that we do not know are ignored. What we write is canonical JSON, so the same struct gives
 * the same bytes. */
#pragma once

#include "common/digest.h"
#include "common/err.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/platform.h"

#define OCI_MANIFEST_MAX (4 * 1024 * 1024)
#define OCI_ENTRIES_MAX  4096 /* layers of a manifest, children of an index */

/* ---- media types ---- */

#define OCI_TYPE_INDEX    "application/vnd.oci.image.index.v1+json"
#define OCI_TYPE_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define OCI_TYPE_CONFIG   "application/vnd.oci.image.config.v1+json"
#define OCI_TYPE_LAYER_GZ "application/vnd.oci.image.layer.v1.tar+gzip"
#define OCI_TYPE_LAYER_ZS "application/vnd.oci.image.layer.v1.tar+zstd"

#define DOCKER_TYPE_LIST     "application/vnd.docker.distribution.manifest.list.v2+json"
#define DOCKER_TYPE_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define DOCKER_TYPE_CONFIG   "application/vnd.docker.container.image.v1+json"
#define DOCKER_TYPE_LAYER_GZ "application/vnd.docker.image.rootfs.diff.tar.gzip"

/* Value of an Accept header that takes every kind of manifest we know ("star/star" is not honoured
 * everywhere). */
#define OCI_ACCEPT                                                                                 \
    OCI_TYPE_INDEX ", " DOCKER_TYPE_LIST ", " OCI_TYPE_MANIFEST ", " DOCKER_TYPE_MANIFEST

enum oci_kind { OCI_KIND_OTHER, OCI_KIND_MANIFEST, OCI_KIND_INDEX };

/* What a media type (parameters after ';' ignored; may be NULL) says of a document. */
enum oci_kind oci_kind_of(const char *media_type);
/* Whether a media type is one of Docker's. */
bool oci_type_is_docker(const char *media_type);
/* The media type of a manifest or index: what `content_type` says if that is one we know, else the
 * text's own "mediaType", else what its members make of it. The caller owns *ret_type. -EINVAL when
 * it is none of the four. */
int oci_document_type(const char *text, size_t n, const char *content_type, char **ret_type,
                      struct err *err);

/* ---- descriptors ---- */

struct oci_descriptor {
    char *media_type;
    char digest[DIGEST_SIZE];
    int64_t size;
    char *os, *architecture, *variant; /* NULL where there is no platform or variant */
    json_t *annotations;               /* an object, or NULL; owned */
};
typedef VEC(struct oci_descriptor) oci_descriptors;

/* Frees what it owns; leaves it empty. */
void oci_descriptor_done(struct oci_descriptor *descriptor);
/* Writes platform `p` into it, explicitly (linux/arm64/v8, linux/arm/v7). */
void oci_descriptor_set_platform(struct oci_descriptor *descriptor, enum platform p);

/* ---- image manifests ---- */

struct oci_manifest {
    char *media_type;
    struct oci_descriptor config;
    oci_descriptors layers; /* bottom first */
    json_t *annotations;    /* or NULL; owned */
};

/* Parses one. `content_type` is what the registry said, or NULL. -EINVAL for anything else than an
 * image manifest of OCI or Docker's schema 2. */
int oci_manifest_parse(const char *text, size_t n, const char *content_type,
                       struct oci_manifest *ret, struct err *err);
/* Its text; the caller owns it. */
char *oci_manifest_dump(const struct oci_manifest *manifest);
/* Frees what it owns; leaves it empty. */
void oci_manifest_done(struct oci_manifest *manifest);

/* ---- indexes (Docker: manifest lists) ---- */

struct oci_index {
    char *media_type;
    oci_descriptors manifests;
    json_t *
        annotations; /* or NULL; owned. Docker's lists carry none: they are left out of the text. */
};

/* Parses one; as oci_manifest_parse. */
int oci_index_parse(const char *text, size_t n, const char *content_type, struct oci_index *ret,
                    struct err *err);
/* Its text; the caller owns it. The order of the children is kept. */
char *oci_index_dump(const struct oci_index *index);
/* Frees what it owns; leaves it empty. */
void oci_index_done(struct oci_index *index);
/* The first child for `p` that is an image (attestations, unknown platforms and
 * inner indexes are passed over), or
 * NULL. Borrowed. */
const struct oci_descriptor *oci_index_find(const struct oci_index *index, enum platform p);
/* Whether a child is BuildKit's attestation rather than an image. */
bool oci_descriptor_is_attestation(const struct oci_descriptor *descriptor);

/* ---- image configs ---- */

struct oci_config {
    char *os, *architecture, *variant; /* as written; variant may be NULL */
    strvec diff_ids;                   /* bottom first */
    json_t *json;                      /* the whole document; owned */
};

/* Parses one. -EINVAL when it is not an image's config. */
int oci_config_parse(const char *text, size_t n, struct oci_config *ret, struct err *err);
/* Frees what it owns; leaves it empty. */
void oci_config_done(struct oci_config *config);
/* Whether it is for `p`, compared normalised; else -EINVAL and a text that names both. */
int oci_config_check_platform(const struct oci_config *config, enum platform p, struct err *err);

#define cleanup_oci_manifest cleanup_(oci_manifest_done)
#define cleanup_oci_index    cleanup_(oci_index_done)
#define cleanup_oci_config   cleanup_(oci_config_done)

/* ---- references ---- */

/* host/path[:tag][@digest], normalised: "debian" is docker.io/library/debian:latest. */
struct oci_reference {
    char *host;   /* "docker.io", "127.0.0.1:5000" */
    char *path;   /* "library/debian" */
    char *tag;    /* or NULL, then there is a digest */
    char *digest; /* or NULL */
};

/* Parses a reference as people write it. -EINVAL says what is wrong with it. */
int oci_reference_parse(const char *text, struct oci_reference *ret, struct err *err);
/* The same for a repository: no tag, no digest (both stay NULL). */
int oci_repository_parse(const char *text, struct oci_reference *ret, struct err *err);
/* "host/path"; the caller owns it. */
char *oci_reference_repository(const struct oci_reference *reference);
/* "host/path:tag@digest" with what there is; the caller owns it. */
char *oci_reference_format(const struct oci_reference *reference);
/* Frees what it owns; leaves it empty. */
void oci_reference_done(struct oci_reference *reference);
#define cleanup_oci_reference cleanup_(oci_reference_done)
/* Whether `s` may be a tag: [A-Za-z0-9_] and at most 127 more of [A-Za-z0-9_.-]. */
bool oci_tag_valid(const char *s);
/* Whether `s` may be the path of a repository: lower-case parts joined by '/', at most 255 bytes. */
bool oci_path_valid(const char *s);
