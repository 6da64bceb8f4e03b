#include "agent/image_build.h"
#include "common/json.h"
#include "common/mem.h"
#include "tests/lib/tar_maker.h"
#include "tests/lib/test.h"

#include <sys/stat.h>

static char *dir, *in, *layer_file, *layout, *built, *again;

static int set_up(void **state)
{
    dir = test_dir();
    in = xasprintf("%s/in", dir);
    layer_file = xasprintf("%s/layer", dir);
    layout = xasprintf("%s/layout", dir);
    built = xasprintf("%s/built", dir);
    again = xasprintf("%s/again", dir);
    return 0;
}

static int tear_down(void **state)
{
    test_dir_remove(dir);
    free(in);
    free(layer_file);
    free(layout);
    free(built);
    free(again);
    return 0;
}

static const struct layer_options gzip = {.compression = LAYER_GZIP, .threads = 2, .epoch = 1000};

static struct image_settings settings(void)
{
    return (struct image_settings){
        .platform = PLATFORM_ARM_V7, .epoch = 1700000000, .created_by = "./mkimage"};
}

static struct image_result rootfs(const char *to, const struct image_settings *s, int64_t mtime)
{
    struct layer_result layer;
    struct image_result image = {0};
    struct err err = ERR_INIT;
    TAR_MAKE(in, "pax", "none", {.path = "etc/passwd", .data = "root", .mtime = mtime},
             {.path = "bin/sh", .data = "sh", .id = 3});
    if (layer_from_tar(in, layer_file, &gzip, &layer, &err) < 0 ||
        image_from_rootfs(to, "base", layer_file, &layer, LAYER_GZIP, s, &image, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_not_equal(access(layer_file, F_OK), 0);
    return image;
}

static struct oci_image *read_image(const char *from, const char *tag)
{
    struct oci_image *image = NULL;
    struct err err = ERR_INIT;
    if (oci_image_read(from, tag, &image, &err) < 0)
        fail_msg("%s", err.text);
    return image;
}

static void test_rootfs_image(void **state)
{
    cleanup_json json_t *cmd = json_pack("[s]", "/bin/bash");
    cleanup_json json_t *env = json_pack("{s:s, s:s}", "Z", "1", "A", "2");
    struct image_settings s = settings();
    s.cmd = cmd;
    s.env = env;
    s.user = "nobody";
    struct image_result image = rootfs(layout, &s, 5);
    struct oci_image *read = read_image(layout, "base");
    cleanup_free char *config = json_canonical(read->config.json);
    cleanup_free char *wanted = xasprintf(
        "{\"architecture\":\"arm\",\"config\":{\"Cmd\":[\"/bin/bash\"],\"Env\":[\"A=2\",\"Z=1\"],"
        "\"User\":\"nobody\"},\"created\":\"2023-11-14T22:13:20Z\",\"history\":[{\"created\":"
        "\"2023-11-14T22:13:20Z\",\"created_by\":\"./mkimage\"}],\"os\":\"linux\",\"rootfs\":"
        "{\"diff_ids\":[\"%s\"],\"type\":\"layers\"},\"variant\":\"v7\"}",
        image.layers[0].diff_id);
    assert_string_equal(config, wanted);
    assert_string_equal(read->descriptor.digest, image.manifest.digest);
    assert_string_equal(read->manifest.layers.items[0].media_type, OCI_TYPE_LAYER_GZ);
    char content[DIGEST_SIZE];
    assert_int_equal(oci_image_content_digest(read, NULL, NULL, 0, content, NULL), 0);
    assert_string_equal(content, image.content);
    oci_image_free(read);
    image_result_done(&image);
}

static void test_content_of_an_image(void **state)
{
    struct image_settings s = settings();
    struct image_result first = rootfs(layout, &s, 5), other;
    s.epoch = 1800000000;
    s.docker = true;
    s.created_by = "something else";
    other = rootfs(again, &s, 6);
    assert_string_not_equal(first.manifest.digest, other.manifest.digest);
    assert_string_equal(other.manifest.media_type, DOCKER_TYPE_MANIFEST);
    assert_string_equal(first.content, other.content);
    image_result_done(&other);
    s.user = "nobody";
    other = rootfs(again, &s, 6);
    assert_string_not_equal(first.content, other.content);
    image_result_done(&other);
    image_result_done(&first);
}

/* An image as a builder leaves it: the base's layer, packed in its own way, and one of its own. */
static void builder_image(int64_t mtime, const char *created)
{
    struct layer_options plain = {.compression = LAYER_PLAIN, .epoch = 1000};
    struct layer_result low, high;
    struct err err = ERR_INIT;
    assert_int_equal(oci_layout_create(built, NULL), 0);
    TAR_MAKE(in, "pax", "none", {.path = "etc/passwd", .data = "root", .mtime = 5},
             {.path = "bin/sh", .data = "sh", .id = 3});
    assert_int_equal(layer_from_tar(in, layer_file, &plain, &low, NULL), 0);
    assert_int_equal(oci_layout_adopt_blob(built, layer_file, low.digest, NULL), 0);
    TAR_MAKE(in, "gnutar", "gzip", {.path = "z", .data = "1", .mtime = mtime},
             {.path = "etc/.wh.passwd", .mtime = mtime});
    assert_int_equal(layer_scan(in, NULL, NULL, 0, &high, &err), 0);
    assert_int_equal(oci_layout_adopt_blob(built, in, high.digest, NULL), 0);
    cleanup_json json_t *config = json_pack(
        "{s:s, s:s, s:s, s:{s:[s], s:s, s:{s:s}}, s:{s:s, s:[s,s]}, s:[{s:s,s:s,s:s},{s:s,s:b}]}",
        "architecture", "arm", "os", "linux", "created", created, "config", "Cmd", "x", "Hostname",
        "builder", "Labels", "io.buildah.version", "1.28", "rootfs", "type", "layers", "diff_ids",
        low.diff_id, high.diff_id, "history", "created", created, "created_by", "RUN x", "comment",
        "FROM localhost/x", "created", created, "empty_layer", 1);
    cleanup_free char *text = json_canonical(config);
    char digest[DIGEST_SIZE];
    assert_int_equal(oci_layout_put_blob(built, text, strlen(text), digest, NULL), 0);
    struct oci_descriptor layers[2] = {
        {.media_type = "application/vnd.oci.image.layer.v1.tar", .size = (int64_t)low.size},
        {.media_type = OCI_TYPE_LAYER_GZ, .size = (int64_t)high.size}};
    memcpy(layers[0].digest, low.digest, DIGEST_SIZE);
    memcpy(layers[1].digest, high.digest, DIGEST_SIZE);
    struct oci_manifest m = {
        .media_type = OCI_TYPE_MANIFEST,
        .config = {.media_type = OCI_TYPE_CONFIG, .size = (int64_t)strlen(text)},
        .layers = {layers, 2, 2}};
    memcpy(m.config.digest, digest, DIGEST_SIZE);
    cleanup_free char *manifest = oci_manifest_dump(&m);
    assert_int_equal(oci_layout_put_manifest(built, "latest", manifest, strlen(manifest),
                                             OCI_TYPE_MANIFEST, NULL, NULL),
                     0);
}

static struct image_result rewrite(const struct oci_image *base)
{
    struct image_settings s = settings();
    struct image_result r;
    struct err err = ERR_INIT;
    struct oci_image *from = read_image(built, NULL);
    if (image_rewrite(from, &base, base ? 1 : 0, again, "out", &gzip, &s, &r, &err) < 0)
        fail_msg("%s", err.text);
    oci_image_free(from);
    return r;
}

static void test_rewrite(void **state)
{
    struct image_settings s = settings();
    struct image_result base_result = rootfs(layout, &s, 5);
    struct oci_image *base = read_image(layout, NULL);
    builder_image(900, "2030-01-01T00:00:00Z");
    struct image_result first = rewrite(base);
    assert_int_equal(first.n_layers, 2);
    assert_true(first.layers[0].from_base && !first.layers[1].from_base);
    assert_string_equal(first.layers[0].blob.digest, base_result.layers[0].blob.digest);
    struct oci_image *read = read_image(again, "out");
    cleanup_free char *config = json_canonical(read->config.json);
    assert_null(strstr(config, "buildah"));
    assert_null(strstr(config, "Hostname"));
    assert_null(strstr(config, "2030"));
    assert_null(strstr(config, "localhost"));
    assert_non_null(strstr(config, "\"variant\":\"v7\""));
    assert_non_null(strstr(config, "\"created_by\":\"RUN x\""));
    assert_non_null(strstr(config, "\"empty_layer\":true"));
    oci_image_free(read);
    /* Later times, all after the epoch: the same image. */
    builder_image(1800000000, "2031-01-01T00:00:00Z");
    struct image_result second = rewrite(base);
    builder_image(1900000000, "2032-01-01T00:00:00Z");
    struct image_result third = rewrite(base);
    assert_string_equal(second.content, first.content);
    assert_string_equal(second.manifest.digest, third.manifest.digest);
    char content[DIGEST_SIZE];
    memcpy(content, third.content, DIGEST_SIZE);
    image_result_done(&first);
    image_result_done(&second);
    image_result_done(&third);
    /* Without the base the layer is made anew, with the same content. */
    first = rewrite(NULL);
    assert_false(first.layers[0].from_base);
    assert_string_equal(first.content, content);
    oci_image_free(base);
    image_result_done(&first);
    image_result_done(&base_result);
}

static void test_unpack(void **state)
{
    cleanup_free char *root = xasprintf("%s/root", dir), *gone = xasprintf("%s/etc/passwd", root);
    cleanup_free char *z = xasprintf("%s/z", root);
    builder_image(1, "2030-01-01T00:00:00Z");
    struct oci_image *image = read_image(built, "latest");
    struct extract_options o = {.flags = EXTRACT_SETID};
    assert_int_equal(mkdir(root, 0755), 0);
    assert_int_equal(oci_image_unpack(image, root, &o, NULL), 0);
    assert_int_equal(access(z, F_OK), 0);
    assert_int_not_equal(access(gone, F_OK), 0);
    oci_image_free(image);
}

static void test_damaged_layouts(void **state)
{
    struct err err = ERR_INIT;
    struct oci_image *image = NULL;
    assert_int_equal(oci_image_read(layout, NULL, &image, &err), -ENOENT);
    struct image_settings s = settings();
    struct image_result r = rootfs(layout, &s, 5);
    assert_int_equal(oci_image_read(layout, "other", &image, &err), -ENOENT);
    cleanup_free char *layer = NULL, *config = NULL;
    assert_int_equal(oci_layout_blob_path(layout, "sha256:../../etc/passwd", &layer, &err),
                     -EINVAL);
    assert_int_equal(oci_layout_blob_path(layout, r.layers[0].blob.digest, &layer, &err), 0);
    assert_int_equal(oci_layout_blob_path(layout, r.config.digest, &config, &err), 0);
    TAR_MAKE(layer, "pax", "gzip", {.path = "evil"});
    image = read_image(layout, NULL);
    char content[DIGEST_SIZE];
    assert_int_equal(oci_image_content_digest(image, NULL, NULL, 0, content, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "damaged"));
    oci_image_free(image);
    test_write(config, "{}", 2);
    assert_int_equal(oci_image_read(layout, NULL, &image, &err), -EBADMSG);
    image_result_done(&r);
}

static void test_two_tags(void **state)
{
    char first[DIGEST_SIZE], second[DIGEST_SIZE];
    struct image_settings s = settings();
    struct image_result r = rootfs(layout, &s, 5);
    assert_int_equal(oci_layout_put_manifest(layout, "two", r.manifest_bytes,
                                             strlen(r.manifest_bytes), OCI_TYPE_MANIFEST, first,
                                             NULL),
                     0);
    assert_int_equal(oci_layout_put_manifest(layout, "two", r.manifest_bytes,
                                             strlen(r.manifest_bytes), OCI_TYPE_MANIFEST, second,
                                             NULL),
                     0);
    assert_string_equal(first, r.manifest.digest);
    struct oci_image *image = NULL;
    assert_int_equal(oci_image_read(layout, NULL, &image, NULL), -ENOENT); /* two: say which */
    oci_image_free(read_image(layout, "two"));
    oci_image_free(read_image(layout, "base"));
    image_result_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rootfs_image, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_content_of_an_image, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rewrite, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unpack, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damaged_layouts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_two_tags, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
