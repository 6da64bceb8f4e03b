/* The layer code on a command line, for tests that have judges written by others. Prints one JSON object;
 * exit status 1 with {"error","code"} when the call fails.
 *
 *   layer-tool tar IN OUT | folder DIR OUT | scan FILE | extract TAR DIR | unpack LAYOUT DIR
 *              | rewrite LAYOUT OUT [BASE-LAYOUT...] | rootfs TAR OUT        [options, see `options` below] */
#include "agent/elf_check.h"
#include "agent/extract.h"
#include "agent/image_build.h"
#include "agent/layer.h"
#include "agent/oci_layout.h"
#include "agent/packages.h"
#include "common/json.h"
#include "common/mem.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>

enum {
    OPT_ZSTD = 256,
    OPT_PLAIN,
    OPT_THREADS,
    OPT_EPOCH,
    OPT_DEVICES,
    OPT_WHITEOUTS,
    OPT_MAX_BYTES,
    OPT_MAX_ENTRIES,
    OPT_SHIFT,
    OPT_FLAGS,
    OPT_PLATFORM,
    OPT_DOCKER
};

static const struct option options[] = {
    {"zstd", no_argument, NULL, OPT_ZSTD},
    {"plain", no_argument, NULL, OPT_PLAIN},
    {"threads", required_argument, NULL, OPT_THREADS},
    {"epoch", required_argument, NULL, OPT_EPOCH},
    {"devices", no_argument, NULL, OPT_DEVICES},
    {"whiteouts", no_argument, NULL, OPT_WHITEOUTS},
    {"max-bytes", required_argument, NULL, OPT_MAX_BYTES},
    {"max-entries", required_argument, NULL, OPT_MAX_ENTRIES},
    {"shift", required_argument, NULL, OPT_SHIFT},
    {"flags", required_argument, NULL, OPT_FLAGS}, /* of enum extract_flags */
    {"platform", required_argument, NULL, OPT_PLATFORM},
    {"docker", no_argument, NULL, OPT_DOCKER},
    {0},
};

struct tool {
    struct layer_options layer;
    struct extract_options extract;
    struct image_settings image;
    char **args;
    int n_args;
    struct elf_report elf;
    struct packages *packages;
    struct layer_observer observers[2];
};

static json_t *layer_json(const struct layer_result *r)
{
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I}", "digest", r->digest, "diff_id",
                     r->diff_id, "content", r->content, "size", (json_int_t)r->size, "unpacked",
                     (json_int_t)r->unpacked, "entries", (json_int_t)r->entries, "skipped",
                     (json_int_t)r->skipped);
}

static json_t *image_json(const struct image_result *r)
{
    json_t *layers = json_array();
    for (size_t i = 0; i < r->n_layers; i++)
        json_array_append_new(
            layers, json_pack("{s:s, s:s, s:s}", "digest", r->layers[i].blob.digest, "diff_id",
                              r->layers[i].diff_id, "content", r->layers[i].content));
    return json_pack("{s:s, s:s, s:s, s:o}", "manifest", r->manifest.digest, "config",
                     r->config.digest, "content", r->content, "layers", layers);
}

static int run_layer(struct tool *t, const char *command, json_t **ret, struct err *err)
{
    struct layer_result r = {0};
    int code;
    if (str_eq(command, "tar"))
        code = layer_from_tar(t->args[0], t->args[1], &t->layer, &r, err);
    else if (str_eq(command, "folder"))
        code = layer_from_folder(t->args[0], t->args[1], &t->layer, &r, err);
    else
        code = layer_scan(t->args[0], &t->layer.limits, t->observers, 2, &r, err);
    if (code == 0)
        *ret = layer_json(&r);
    return code;
}

static int run_extract(struct tool *t, json_t **ret, struct err *err)
{
    struct extract_stats s;
    int code = extract_tar_file(t->args[0], t->args[1], &t->extract, &s, err);
    if (code == 0)
        *ret = json_pack("{s:I, s:I, s:I}", "entries", (json_int_t)s.entries, "bytes",
                         (json_int_t)s.bytes, "skipped", (json_int_t)s.skipped);
    return code;
}

static int run_image(struct tool *t, const char *command, json_t **ret, struct err *err)
{
    cleanup_(oci_image_freep) struct oci_image *image = NULL;
    struct oci_image *bases[8] = {NULL};
    int code = oci_image_read(t->args[0], NULL, &image, err);
    if (code < 0)
        return code;
    if (str_eq(command, "unpack")) {
        *ret = json_object();
        return oci_image_unpack(image, t->args[1], &t->extract, err);
    }
    size_t n = 0;
    for (int i = 2; i < t->n_args && n < 8 && code == 0; i++)
        code = oci_image_read(t->args[i], NULL, &bases[n++], err);
    struct image_result r = {0};
    if (code == 0)
        code = image_rewrite(image, (const struct oci_image *const *)bases, n, t->args[1], "out",
                             &t->layer, &t->image, &r, err);
    if (code == 0)
        *ret = image_json(&r);
    image_result_done(&r);
    for (size_t i = 0; i < n; i++)
        oci_image_free(bases[i]);
    return code;
}

static int run_rootfs(struct tool *t, json_t **ret, struct err *err)
{
    cleanup_free char *file = xasprintf("%s.layer", t->args[1]);
    struct layer_result layer;
    struct image_result r = {0};
    int code = layer_from_tar(t->args[0], file, &t->layer, &layer, err);
    if (code == 0)
        code = image_from_rootfs(t->args[1], "out", file, &layer, t->layer.compression, &t->image,
                                 &r, err);
    if (code == 0)
        *ret = image_json(&r);
    image_result_done(&r);
    return code;
}

static int run(struct tool *t, const char *command, json_t **ret, struct err *err)
{
    if (str_eq(command, "scan") && t->n_args == 1)
        return run_layer(t, command, ret, err);
    if (t->n_args < 2)
        return err_set(err, -EINVAL, "two arguments");
    if (str_eq(command, "tar") || str_eq(command, "folder"))
        return run_layer(t, command, ret, err);
    if (str_eq(command, "extract"))
        return run_extract(t, ret, err);
    if (str_eq(command, "unpack") || str_eq(command, "rewrite"))
        return run_image(t, command, ret, err);
    if (str_eq(command, "rootfs"))
        return run_rootfs(t, ret, err);
    return err_set(err, -EINVAL, "no such command");
}

static void option(struct tool *t, int opt)
{
    uint64_t n = optarg ? strtoull(optarg, NULL, 0) : 0;
    switch (opt) {
    case OPT_ZSTD:
        t->layer.compression = LAYER_ZSTD;
        break;
    case OPT_PLAIN:
        t->layer.compression = LAYER_PLAIN;
        break;
    case OPT_THREADS:
        t->layer.threads = (int)n;
        break;
    case OPT_EPOCH:
        t->layer.epoch = t->image.epoch = (int64_t)n;
        break;
    case OPT_DEVICES:
        t->layer.devices = true;
        break;
    case OPT_WHITEOUTS:
        t->layer.whiteouts = true;
        break;
    case OPT_MAX_BYTES:
        t->layer.limits.max_bytes = t->extract.limits.max_bytes = n;
        break;
    case OPT_MAX_ENTRIES:
        t->layer.limits.max_entries = t->extract.limits.max_entries = n;
        break;
    case OPT_SHIFT:
        t->layer.id_shift = t->extract.id_shift = (uint32_t)n;
        break;
    case OPT_FLAGS:
        t->extract.flags = (unsigned)n;
        break;
    case OPT_PLATFORM:
        if (platform_parse(optarg, &t->image.platform, NULL) < 0)
            exit(2);
        break;
    case OPT_DOCKER:
        t->image.docker = true;
        break;
    default:
        exit(2);
    }
}

int main(int argc, char **argv)
{
    struct tool t = {.layer = {.compression = LAYER_GZIP, .epoch = 1700000000},
                     .image = {.epoch = 1700000000}};
    for (int opt; (opt = getopt_long(argc, argv, "", options, NULL)) != -1;)
        option(&t, opt);
    if (optind >= argc)
        return 2;
    t.args = argv + optind + 1;
    t.n_args = argc - optind - 1;
    t.packages = packages_new();
    elf_report_init(&t.elf, t.image.platform);
    t.observers[0] = elf_observer(&t.elf);
    t.observers[1] = packages_observer(t.packages);
    t.layer.observers = t.observers;
    t.layer.n_observers = 2;

    struct err err = ERR_INIT, verdict = ERR_INIT;
    json_t *result = NULL;
    int r = run(&t, argv[optind], &result, &err);
    if (r < 0)
        result = json_pack("{s:s, s:i}", "error", err.text, "code", -r);
    else
        json_object_set_new(result, "packages", packages_json(t.packages));
    if (r == 0 && elf_report_verdict(&t.elf, &verdict) < 0)
        json_object_set_new(result, "elf_error", json_string(verdict.text));
    if (r == 0)
        json_object_set_new(result, "elf", json_integer((json_int_t)t.elf.elf));
    cleanup_free char *text = json_dumps(result, JSON_INDENT(1));
    puts(text ? text : "{}");
    json_decref(result);
    packages_free(t.packages);
    return r < 0;
}
