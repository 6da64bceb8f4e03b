#include "agent/oci_layout.h"
#include "common/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define REF_NAME   "org.opencontainers.image.ref.name"
#define COPY_CHUNK (256u << 10)
#define INDEX_FILE "index.json"
#define HEX_AT     7 /* after "sha256:" */

/* ------------------------------------------------------------------------------------------ files */

static int write_all(int fd, const char *p, size_t n, const char *path, struct err *err)
{
    int r = fd_write_all(fd, p, n);
    return r < 0 ? err_errno(err, r, "cannot write %s", path) : 0;
}

/* Writes the file whole, under a temporary name first: a reader never sees a part. */
static int put_file(const char *path, const void *data, size_t n, struct err *err)
{
    cleanup_free char *temporary = xasprintf("%s.new", path);
    cleanup_close int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return err_errno(err, -errno, "cannot make %s", temporary);
    int r = write_all(fd, data, n, temporary, err);
    if (r == 0 && rename(temporary, path) < 0)
        r = err_errno(err, -errno, "cannot make %s", path);
    if (r < 0)
        unlink(temporary);
    return r;
}

static int get_file(const char *path, size_t max, struct strbuf *ret, struct err *err)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, -errno, "cannot open %s", path);
    char buf[16 << 10];
    for (ssize_t n; (n = read(fd, buf, sizeof(buf))) != 0;) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(err, -errno, "cannot read %s", path);
        strbuf_addn(ret, buf, (size_t)n);
        if (ret->n > max)
            return err_set(err, -EMSGSIZE, "%s has more than %zu bytes", path, max);
    }
    return 0;
}

static int copy_file(const char *from, const char *to, struct err *err)
{
    cleanup_close int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0)
        return err_errno(err, -errno, "cannot open %s", from);
    cleanup_free char *temporary = xasprintf("%s.new", to);
    cleanup_close int out = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (out < 0)
        return err_errno(err, -errno, "cannot make %s", temporary);
    cleanup_free char *buf = xrealloc(NULL, 1, COPY_CHUNK);
    int r = 0;
    for (ssize_t n; r == 0 && (n = read(in, buf, COPY_CHUNK)) != 0;) {
        if (n < 0 && errno == EINTR)
            continue;
        r = n < 0 ? err_errno(err, -errno, "cannot read %s", from)
                  : write_all(out, buf, (size_t)n, temporary, err);
    }
    if (r == 0 && rename(temporary, to) < 0)
        r = err_errno(err, -errno, "cannot make %s", to);
    if (r < 0)
        unlink(temporary);
    return r;
}

/* ----------------------------------------------------------------------------------------- layout */

static int make_dir(const char *path, struct err *err)
{
    if (mkdir(path, 0755) < 0 && errno != EEXIST)
        return err_errno(err, -errno, "cannot make %s", path);
    return 0;
}

int oci_layout_create(const char *dir, struct err *err)
{
    static const char layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
    cleanup_free char *blobs = xasprintf("%s/blobs", dir);
    cleanup_free char *sha256 = xasprintf("%s/blobs/sha256", dir);
    cleanup_free char *file = xasprintf("%s/oci-layout", dir);
    int r = make_dir(dir, err);
    if (r == 0)
        r = make_dir(blobs, err);
    if (r == 0)
        r = make_dir(sha256, err);
    return r == 0 ? put_file(file, layout, sizeof(layout) - 1, err) : r;
}

int oci_layout_blob_path(const char *dir, const char *digest, char **ret_path, struct err *err)
{
    if (!digest_valid(digest))
        return err_set(err, -EINVAL, "\"%.100s\" is not a sha256 digest", digest ? digest : "");
    *ret_path = xasprintf("%s/blobs/sha256/%s", dir, digest + HEX_AT);
    return 0;
}

int oci_layout_put_blob(const char *dir, const void *data, size_t size,
                        char ret_digest[DIGEST_SIZE], struct err *err)
{
    char digest[DIGEST_SIZE];
    digest_of(data, size, digest);
    cleanup_free char *path = NULL;
    int r = oci_layout_blob_path(dir, digest, &path, err);
    if (r == 0)
        r = put_file(path, data, size, err);
    if (r == 0)
        memcpy(ret_digest, digest, DIGEST_SIZE);
    return r;
}

int oci_layout_adopt_blob(const char *dir, const char *path, const char *digest, struct err *err)
{
    cleanup_free char *to = NULL;
    int r = oci_layout_blob_path(dir, digest, &to, err);
    if (r < 0)
        return r;
    if (rename(path, to) == 0)
        return 0;
    if (errno != EXDEV)
        return err_errno(err, -errno, "cannot rename %s to %s", path, to);
    r = copy_file(path, to, err);
    if (r == 0)
        unlink(path);
    return r;
}

int oci_layout_share_blob(const char *dir, const char *from, const char *digest, struct err *err)
{
    cleanup_free char *source = NULL, *to = NULL;
    int r = oci_layout_blob_path(from, digest, &source, err);
    if (r == 0)
        r = oci_layout_blob_path(dir, digest, &to, err);
    if (r < 0)
        return r;
    if (link(source, to) == 0 || errno == EEXIST)
        return 0;
    if (errno == ENOENT)
        return err_errno(err, -ENOENT, "%s", source);
    return copy_file(source, to, err);
}

static int index_read(const char *dir, struct oci_index *ret, struct err *err)
{
    cleanup_free char *path = xasprintf("%s/" INDEX_FILE, dir);
    cleanup_strbuf struct strbuf text = {0};
    int r = get_file(path, OCI_MANIFEST_MAX, &text, err);
    if (r == 0)
        r = oci_index_parse(strbuf_str(&text), text.n, OCI_TYPE_INDEX, ret, err);
    return r;
}

static const char *ref_name(const struct oci_descriptor *d)
{
    return json_string_value(json_object_get(d->annotations, REF_NAME));
}

static void index_remove(struct oci_index *index, const char *tag)
{
    for (size_t i = index->manifests.n; i-- > 0;) {
        if (!str_eq(ref_name(&index->manifests.items[i]), tag))
            continue;
        oci_descriptor_done(&index->manifests.items[i]);
        vec_remove(&index->manifests, i);
    }
}

const char *oci_layer_type(enum layer_compression c, bool docker)
{
    switch (c) {
    case LAYER_GZIP:
        return docker ? DOCKER_TYPE_LAYER_GZ : OCI_TYPE_LAYER_GZ;
    case LAYER_ZSTD:
        return docker ? NULL : OCI_TYPE_LAYER_ZS;
    default:
        return docker ? "application/vnd.docker.image.rootfs.diff.tar"
                      : "application/vnd.oci.image.layer.v1.tar";
    }
}

int oci_layer_compression(const char *media_type, enum layer_compression *ret)
{
    if (str_ends(media_type, "gzip"))
        *ret = LAYER_GZIP;
    else if (str_ends(media_type, "zstd"))
        *ret = LAYER_ZSTD;
    else if (str_ends(media_type, ".tar"))
        *ret = LAYER_PLAIN;
    else
        return -ENOENT;
    return 0;
}

/* The text of a Docker manifest with OCI's media types. */
static int translate(const void *text, size_t n, const char *media_type, char **ret,
                     struct err *err)
{
    cleanup_oci_manifest struct oci_manifest m = {0};
    int r = oci_manifest_parse(text, n, media_type, &m, err);
    if (r < 0)
        return r;
    str_replace(&m.media_type, OCI_TYPE_MANIFEST);
    str_replace(&m.config.media_type, OCI_TYPE_CONFIG);
    VEC_FOREACH (&m.layers, l) {
        enum layer_compression c;
        if (oci_layer_compression(l->media_type, &c) < 0)
            return err_set(err, -EINVAL, "a layer of type %s", l->media_type);
        str_replace(&l->media_type, oci_layer_type(c, false));
    }
    *ret = oci_manifest_dump(&m);
    return 0;
}

/* Makes index.json name the manifest. Takes over what `d` owns. */
static int index_put(const char *dir, const char *tag, struct oci_descriptor *d, struct err *err)
{
    cleanup_oci_index struct oci_index index = {0};
    struct err missing = ERR_INIT;
    int r = index_read(dir, &index, &missing);
    index_remove(&index, tag);
    d->annotations = json_pack("{s:s}", REF_NAME, tag);
    vec_push(&index.manifests, *d);
    if (r < 0 && r != -ENOENT)
        return err_set(err, r, "%s", missing.text);
    str_replace(&index.media_type, OCI_TYPE_INDEX);
    cleanup_free char *text = oci_index_dump(&index);
    cleanup_free char *path = xasprintf("%s/" INDEX_FILE, dir);
    return put_file(path, text, strlen(text), err);
}

int oci_layout_put_manifest(const char *dir, const char *tag, const void *manifest, size_t size,
                            const char *media_type, char ret_digest[DIGEST_SIZE], struct err *err)
{
    cleanup_free char *translated = NULL;
    struct oci_descriptor d = {.size = (int64_t)size};
    char digest[DIGEST_SIZE];
    int r = oci_layout_put_blob(dir, manifest, size, digest, err);
    if (r < 0)
        return r;
    memcpy(d.digest, digest, DIGEST_SIZE);
    if (oci_type_is_docker(media_type)) {
        r = translate(manifest, size, media_type, &translated, err);
        if (r < 0)
            return r;
        media_type = OCI_TYPE_MANIFEST;
        d.size = (int64_t)strlen(translated);
        r = oci_layout_put_blob(dir, translated, strlen(translated), d.digest, err);
        if (r < 0)
            return r;
    }
    d.media_type = xstrdup(media_type);
    r = index_put(dir, tag, &d, err);
    if (r == 0 && ret_digest)
        memcpy(ret_digest, digest, DIGEST_SIZE);
    return r;
}

/* ------------------------------------------------------------------------------------------ image */

/* A blob that is JSON, with its digest checked. */
static int get_document(const char *dir, const struct oci_descriptor *d, struct strbuf *ret,
                        struct err *err)
{
    cleanup_free char *path = NULL;
    char digest[DIGEST_SIZE];
    int r = oci_layout_blob_path(dir, d->digest, &path, err);
    if (r == 0)
        r = get_file(path, OCI_MANIFEST_MAX, ret, err);
    if (r < 0)
        return r;
    digest_of(strbuf_str(ret), ret->n, digest);
    if (strcmp(digest, d->digest) != 0)
        return err_set(err, -EBADMSG, "%s is damaged: its content is %s", path, digest);
    return 0;
}

static const struct oci_descriptor *find_tag(const struct oci_index *index, const char *tag)
{
    if (!tag)
        return index->manifests.n == 1 ? index->manifests.items : NULL;
    VEC_FOREACH (&index->manifests, d) {
        if (str_eq(ref_name(d), tag))
            return d;
    }
    return NULL;
}

/* Parses manifest and config of an image whose descriptor is set. */
static int load(struct oci_image *image, struct err *err)
{
    cleanup_strbuf struct strbuf manifest = {0}, config = {0};
    const struct oci_descriptor *d = &image->descriptor;
    int r = get_document(image->layout, d, &manifest, err);
    if (r == 0)
        r = oci_manifest_parse(strbuf_str(&manifest), manifest.n, d->media_type, &image->manifest,
                               err);
    if (r == 0)
        r = get_document(image->layout, &image->manifest.config, &config, err);
    if (r == 0)
        r = oci_config_parse(strbuf_str(&config), config.n, &image->config, err);
    if (r < 0)
        return r;
    if (image->config.diff_ids.n != image->manifest.layers.n)
        return err_set(err, -EBADMSG, "the config has %zu diff_ids for %zu layers",
                       image->config.diff_ids.n, image->manifest.layers.n);
    return 0;
}

int oci_image_read(const char *dir, const char *tag, struct oci_image **ret, struct err *err)
{
    cleanup_oci_index struct oci_index index = {0};
    int r = index_read(dir, &index, err);
    if (r < 0)
        return r;
    const struct oci_descriptor *found = find_tag(&index, tag);
    if (!found)
        return err_set(err, -ENOENT, "no image %s in %s", tag ? tag : "(the only one)", dir);
    cleanup_(oci_image_freep) struct oci_image *image = xnew(struct oci_image);
    image->layout = xstrdup(dir);
    image->descriptor =
        (struct oci_descriptor){.media_type = xstrdup(found->media_type), .size = found->size};
    memcpy(image->descriptor.digest, found->digest, DIGEST_SIZE);
    r = load(image, err);
    if (r < 0)
        return err_wrap(err, "image in %s", dir);
    *ret = steal_ptr(image);
    return 0;
}

void oci_image_free(struct oci_image *image)
{
    if (!image)
        return;
    free(image->layout);
    oci_descriptor_done(&image->descriptor);
    oci_manifest_done(&image->manifest);
    oci_config_done(&image->config);
    free(image);
}

int oci_image_unpack(const struct oci_image *image, const char *root,
                     const struct extract_options *options, struct err *err)
{
    struct extract_options each = *options;
    each.flags |= EXTRACT_LAYER;
    for (size_t i = 0; i < image->manifest.layers.n; i++) {
        cleanup_free char *path = NULL;
        struct extract_stats stats;
        int r =
            oci_layout_blob_path(image->layout, image->manifest.layers.items[i].digest, &path, err);
        if (r == 0)
            r = extract_tar_file(path, root, &each, &stats, err);
        if (r < 0)
            return err_wrap(err, "layer %zu", i + 1);
    }
    return 0;
}

/* -------------------------------------------------------------------------------- content digests */

int oci_image_scan_layer(const struct oci_image *image, size_t i, const struct layer_limits *limits,
                         const struct layer_observer *observers, size_t n_observers,
                         struct layer_result *ret, struct err *err)
{
    const char *digest = image->manifest.layers.items[i].digest;
    const char *diff_id = image->config.diff_ids.items[i];
    cleanup_free char *path = NULL;
    struct layer_result result;
    int r = oci_layout_blob_path(image->layout, digest, &path, err);
    if (r == 0)
        r = layer_scan(path, limits, observers, n_observers, &result, err);
    if (r < 0)
        return err_wrap(err, "layer %zu", i + 1);
    if (strcmp(result.digest, digest) != 0)
        return err_set(err, -EBADMSG, "layer %zu is damaged: %s is %s", i + 1, digest,
                       result.digest);
    if (strcmp(result.diff_id, diff_id) != 0)
        return err_set(err, -EBADMSG, "layer %zu unpacks to %s, and the config says %s", i + 1,
                       result.diff_id, diff_id);
    *ret = result;
    return 0;
}

int oci_image_content_digest(const struct oci_image *image, const struct layer_limits *limits,
                             const struct layer_observer *observers, size_t n_observers,
                             char ret[DIGEST_SIZE], struct err *err)
{
    size_t n = image->manifest.layers.n;
    cleanup_free char(*contents)[DIGEST_SIZE] = xcalloc(n, DIGEST_SIZE);
    for (size_t i = 0; i < n; i++) {
        struct layer_result layer;
        int r = oci_image_scan_layer(image, i, limits, observers, n_observers, &layer, err);
        if (r < 0)
            return r;
        memcpy(contents[i], layer.content, DIGEST_SIZE);
    }
    oci_content_digest(image->config.json, contents, n, ret);
    return 0;
}

static const char *string_of(const json_t *object, const char *name)
{
    const char *s = json_string_value(json_object_get(object, name));
    return s ? s : "";
}

void oci_content_digest(const json_t *config, const char (*layers)[DIGEST_SIZE], size_t n,
                        char ret[DIGEST_SIZE])
{
    enum platform p;
    const char *os = string_of(config, "os"), *architecture = string_of(config, "architecture");
    const char *variant = string_of(config, "variant");
    cleanup_free char *platform =
        platform_from_oci(os, architecture, variant, &p) == 0
            ? xstrdup(platform_info(p)->name) /* arm64 and arm64/v8 are one thing */
            : xasprintf("%s/%s/%s", os, architecture, variant);
    const json_t *run = json_object_get(config, "config");
    cleanup_free char *text = json_is_object(run) ? json_canonical(run) : xstrdup("{}");
    cleanup_strbuf struct strbuf all = {0};
    strbuf_addf(&all, "sheaf image content 1\n%s\n%s\n", platform, text);
    for (size_t i = 0; i < n; i++)
        strbuf_addf(&all, "%s\n", layers[i]);
    digest_of(strbuf_str(&all), all.n, ret);
}
