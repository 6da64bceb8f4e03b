#include "common/oci.h"

#include <errno.h>
#include <strings.h>

#define SIZE_LIMIT (INT64_C(1) << 50)

/* ---- media types ---- */

static bool type_is(const char *media_type, const char *wanted)
{
    size_t n = strlen(wanted);
    return strncasecmp(media_type, wanted, n) == 0 &&
           (media_type[n] == 0 || media_type[n] == ';' || media_type[n] == ' ');
}

static const char *known_type(const char *media_type)
{
    static const char *const known[] = {OCI_TYPE_INDEX, DOCKER_TYPE_LIST, OCI_TYPE_MANIFEST,
                                        DOCKER_TYPE_MANIFEST};
    for (size_t i = 0; media_type && i < 4; i++) {
        if (type_is(media_type, known[i]))
            return known[i];
    }
    return NULL;
}

enum oci_kind oci_kind_of(const char *media_type)
{
    const char *known = known_type(media_type);
    if (!known)
        return OCI_KIND_OTHER;
    return strcmp(known, OCI_TYPE_INDEX) == 0 || strcmp(known, DOCKER_TYPE_LIST) == 0
               ? OCI_KIND_INDEX
               : OCI_KIND_MANIFEST;
}

bool oci_type_is_docker(const char *media_type)
{
    return media_type && str_starts(media_type, "application/vnd.docker.");
}

/* Adds context; a member that is missing makes the document bad, not absent. */
static int refuse(struct err *err, const char *what)
{
    if (err)
        err->code = -EINVAL;
    return err_wrap(err, "%s", what);
}

/* "mediaType" is optional in OCI's documents; Docker's always have it. */
static const char *type_of(const json_t *json, const char *content_type)
{
    const char *own = json_string_value(json_object_get(json, "mediaType"));
    const char *type = known_type(content_type);
    if (!type)
        type = known_type(own);
    if (type || own)
        return type;
    if (json_is_array(json_object_get(json, "manifests")))
        return OCI_TYPE_INDEX;
    return json_is_array(json_object_get(json, "layers")) ? OCI_TYPE_MANIFEST : NULL;
}

static int parse_document(const char *text, size_t n, const char *content_type, json_t **ret_json,
                          const char **ret_type, struct err *err)
{
    cleanup_json json_t *json = NULL;
    int64_t schema = 0;
    int r = json_parse(text, n, OCI_MANIFEST_MAX, &json, err);
    if (r == 0)
        r = json_get_int(json, "schemaVersion", 1, 2, &schema, err);
    if (r < 0)
        return refuse(err, "manifest");
    *ret_type = type_of(json, content_type);
    const char *own = json_string_value(json_object_get(json, "mediaType"));
    if (schema == 1 || !*ret_type)
        return err_set(err, -EINVAL, "manifest of an unknown kind: schema %d, %s", (int)schema,
                       own ? own : "no media type");
    if (own && !type_is(own, *ret_type))
        return err_set(err, -EINVAL, "manifest says that it is %s, its registry %s", own,
                       *ret_type);
    *ret_json = steal_ptr(json);
    return 0;
}

int oci_document_type(const char *text, size_t n, const char *content_type, char **ret_type,
                      struct err *err)
{
    cleanup_json json_t *json = NULL;
    const char *type = NULL;
    int r = parse_document(text, n, content_type, &json, &type, err);
    if (r == 0)
        *ret_type = xstrdup(type);
    return r;
}

/* ---- descriptors ---- */

void oci_descriptor_done(struct oci_descriptor *d)
{
    free(d->media_type);
    free(d->os);
    free(d->architecture);
    free(d->variant);
    json_decref(d->annotations);
    *d = (struct oci_descriptor){0};
}

void oci_descriptor_set_platform(struct oci_descriptor *d, enum platform p)
{
    const struct platform_info *info = platform_info(p);
    str_replace(&d->os, "linux");
    str_replace(&d->architecture, info->architecture);
    str_replace(&d->variant, info->variant);
}

bool oci_descriptor_is_attestation(const struct oci_descriptor *d)
{
    const char *type =
        json_string_value(json_object_get(d->annotations, "vnd.docker.reference.type"));
    return str_eq(type, "attestation-manifest");
}

static int parse_platform(const json_t *json, struct oci_descriptor *d, struct err *err)
{
    const char *os = NULL, *architecture = NULL, *variant = NULL;
    json_t *platform = NULL;
    int r = json_opt_object(json, "platform", &platform, err);
    if (r < 0 || !platform)
        return r;
    if ((r = json_get_string(platform, "os", &os, err)) < 0 ||
        (r = json_get_string(platform, "architecture", &architecture, err)) < 0 ||
        (r = json_opt_string(platform, "variant", &variant, err)) < 0)
        return r;
    d->os = xstrdup(os);
    d->architecture = xstrdup(architecture);
    d->variant = xstrdup(variant);
    return 0;
}

static int parse_descriptor(const json_t *json, struct oci_descriptor *d, struct err *err)
{
    const char *media_type = NULL, *digest = NULL;
    json_t *annotations = NULL;
    int r;
    if ((r = json_get_string(json, "mediaType", &media_type, err)) < 0 ||
        (r = json_get_string(json, "digest", &digest, err)) < 0 ||
        (r = json_get_int(json, "size", 0, SIZE_LIMIT, &d->size, err)) < 0 ||
        (r = json_opt_object(json, "annotations", &annotations, err)) < 0 ||
        (r = parse_platform(json, d, err)) < 0)
        return r;
    if (!digest_valid(digest))
        return err_set(err, -EINVAL, "\"%.100s\" is not a sha256 digest", digest);
    strcpy(d->digest, digest);
    d->media_type = xstrdup(media_type);
    d->annotations = json_incref(annotations);
    return 0;
}

static int parse_descriptors(const json_t *json, const char *name, oci_descriptors *ret,
                             struct err *err)
{
    json_t *list = NULL, *item;
    size_t i;
    int r = json_get_array(json, name, &list, err);
    if (r < 0)
        return r;
    if (json_array_size(list) > OCI_ENTRIES_MAX)
        return err_set(err, -EINVAL, "\"%s\" has %zu entries", name, json_array_size(list));
    json_array_foreach (list, i, item) {
        struct oci_descriptor d = {0};
        r = parse_descriptor(item, &d, err);
        vec_push(ret, d);
        if (r < 0)
            return err_wrap(err, "%s[%zu]", name, i);
    }
    return 0;
}

static void set_string(json_t *object, const char *name, const char *value)
{
    if (value)
        json_object_set_new(object, name, json_string(value));
}

static json_t *descriptor_json(const struct oci_descriptor *d)
{
    json_t *json = json_pack("{s:s,s:s,s:I}", "mediaType", d->media_type, "digest", d->digest,
                             "size", (json_int_t)d->size);
    if (d->architecture) {
        json_t *platform = json_pack("{s:s,s:s}", "os", d->os, "architecture", d->architecture);
        set_string(platform, "variant", d->variant);
        json_object_set_new(json, "platform", platform);
    }
    if (d->annotations)
        json_object_set(json, "annotations", d->annotations);
    return json;
}

static json_t *descriptors_json(const oci_descriptors *list)
{
    json_t *json = json_array();
    VEC_FOREACH (list, d)
        json_array_append_new(json, descriptor_json(d));
    return json;
}

static void descriptors_done(oci_descriptors *list)
{
    VEC_FOREACH (list, d)
        oci_descriptor_done(d);
    vec_free(list);
}

static char *dump_document(json_t *json)
{
    char *text = json_canonical(json);
    json_decref(json);
    return text;
}

/* ---- image manifests ---- */

static int parse_manifest(const json_t *json, struct oci_manifest *m, struct err *err)
{
    json_t *config = NULL, *annotations = NULL;
    int r = json_get_object(json, "config", &config, err);
    if (r < 0)
        return r;
    if (parse_descriptor(config, &m->config, err) < 0)
        return err_wrap(err, "config");
    if ((r = parse_descriptors(json, "layers", &m->layers, err)) < 0 ||
        (r = json_opt_object(json, "annotations", &annotations, err)) < 0)
        return r;
    m->annotations = json_incref(annotations);
    return 0;
}

int oci_manifest_parse(const char *text, size_t n, const char *content_type,
                       struct oci_manifest *ret, struct err *err)
{
    cleanup_oci_manifest struct oci_manifest m = {0};
    cleanup_json json_t *json = NULL;
    const char *type = NULL;
    int r = parse_document(text, n, content_type, &json, &type, err);
    if (r < 0)
        return r;
    if (oci_kind_of(type) != OCI_KIND_MANIFEST)
        return err_set(err, -EINVAL, "%s is not an image manifest", type);
    m.media_type = xstrdup(type);
    if (parse_manifest(json, &m, err) < 0)
        return refuse(err, "manifest");
    *ret = m;
    m = (struct oci_manifest){0};
    return 0;
}

char *oci_manifest_dump(const struct oci_manifest *m)
{
    json_t *json =
        json_pack("{s:i,s:s,s:o,s:o}", "schemaVersion", 2, "mediaType", m->media_type, "config",
                  descriptor_json(&m->config), "layers", descriptors_json(&m->layers));
    if (m->annotations && !oci_type_is_docker(m->media_type))
        json_object_set(json, "annotations", m->annotations);
    return dump_document(json);
}

void oci_manifest_done(struct oci_manifest *m)
{
    free(m->media_type);
    oci_descriptor_done(&m->config);
    descriptors_done(&m->layers);
    json_decref(m->annotations);
    *m = (struct oci_manifest){0};
}

/* ---- indexes ---- */

int oci_index_parse(const char *text, size_t n, const char *content_type, struct oci_index *ret,
                    struct err *err)
{
    cleanup_oci_index struct oci_index index = {0};
    cleanup_json json_t *json = NULL;
    json_t *annotations = NULL;
    const char *type = NULL;
    int r = parse_document(text, n, content_type, &json, &type, err);
    if (r < 0)
        return r;
    if (oci_kind_of(type) != OCI_KIND_INDEX)
        return err_set(err, -EINVAL, "%s is not an index", type);
    index.media_type = xstrdup(type);
    if (parse_descriptors(json, "manifests", &index.manifests, err) < 0 ||
        json_opt_object(json, "annotations", &annotations, err) < 0)
        return refuse(err, "index");
    index.annotations = json_incref(annotations);
    *ret = index;
    index = (struct oci_index){0};
    return 0;
}

char *oci_index_dump(const struct oci_index *index)
{
    json_t *json = json_pack("{s:i,s:s,s:o}", "schemaVersion", 2, "mediaType", index->media_type,
                             "manifests", descriptors_json(&index->manifests));
    if (index->annotations && !oci_type_is_docker(index->media_type))
        json_object_set(json, "annotations", index->annotations);
    return dump_document(json);
}

void oci_index_done(struct oci_index *index)
{
    free(index->media_type);
    descriptors_done(&index->manifests);
    json_decref(index->annotations);
    *index = (struct oci_index){0};
}

const struct oci_descriptor *oci_index_find(const struct oci_index *index, enum platform p)
{
    VEC_FOREACH (&index->manifests, d) {
        enum platform is;
        if (d->architecture && !oci_descriptor_is_attestation(d) &&
            oci_kind_of(d->media_type) != OCI_KIND_INDEX &&
            platform_from_oci(d->os, d->architecture, d->variant, &is) == 0 && is == p)
            return d;
    }
    return NULL;
}

/* ---- configs ---- */

static int parse_diff_ids(const json_t *json, strvec *ret, struct err *err)
{
    json_t *rootfs = NULL, *list = NULL, *item;
    size_t i;
    int r;
    if ((r = json_get_object(json, "rootfs", &rootfs, err)) < 0 ||
        (r = json_get_array(rootfs, "diff_ids", &list, err)) < 0)
        return r;
    json_array_foreach (list, i, item) {
        const char *digest = json_string_value(item);
        if (i >= OCI_ENTRIES_MAX || !digest_valid(digest))
            return err_set(err, -EINVAL, "bad diff_ids[%zu]", i);
        strvec_add(ret, digest);
    }
    return 0;
}

int oci_config_parse(const char *text, size_t n, struct oci_config *ret, struct err *err)
{
    cleanup_oci_config struct oci_config c = {0};
    const char *os = NULL, *architecture = NULL, *variant = NULL;
    if (json_parse(text, n, OCI_MANIFEST_MAX, &c.json, err) < 0 ||
        json_get_string(c.json, "os", &os, err) < 0 ||
        json_get_string(c.json, "architecture", &architecture, err) < 0 ||
        json_opt_string(c.json, "variant", &variant, err) < 0 ||
        parse_diff_ids(c.json, &c.diff_ids, err) < 0)
        return refuse(err, "image config");
    c.os = xstrdup(os);
    c.architecture = xstrdup(architecture);
    c.variant = xstrdup(variant);
    *ret = c;
    c = (struct oci_config){0};
    return 0;
}

void oci_config_done(struct oci_config *c)
{
    free(c->os);
    free(c->architecture);
    free(c->variant);
    strvec_done(&c->diff_ids);
    json_decref(c->json);
    *c = (struct oci_config){0};
}

int oci_config_check_platform(const struct oci_config *c, enum platform p, struct err *err)
{
    enum platform is;
    if (platform_from_oci(c->os, c->architecture, c->variant, &is) == 0 && is == p)
        return 0;
    return err_set(err, -EINVAL, "the config is for %s/%s%s%s, wanted is %s", c->os,
                   c->architecture, c->variant ? "/" : "", c->variant ? c->variant : "",
                   platform_info(p)->name);
}
