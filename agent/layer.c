#include "agent/layer.h"

#include "agent/blob_stream.h"
#include "agent/layer_source.h"
#include "common/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

int layer_compression_parse(const char *name, enum layer_compression *ret, struct err *err)
{
    static const struct {
        const char *name;
        enum layer_compression c;
    } names[] = {{"gzip", LAYER_GZIP}, {"zstd", LAYER_ZSTD}, {"none", LAYER_PLAIN}};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (name && strcmp(name, names[i].name) == 0) {
            *ret = names[i].c;
            return 0;
        }
    }
    return err_set(err, -EINVAL, "compression \"%s\": gzip, zstd or none", name ? name : "");
}

static int out_open(const char *out, int *ret_fd, struct err *err)
{
    int fd = open(out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return err_errno(err, -errno, "cannot make %s", out);
    *ret_fd = fd;
    return 0;
}

static int write_out(const struct layer_source *source, const char *out,
                     const struct layer_options *options, struct layer_result *ret, struct err *err)
{
    cleanup_close int fd = -1;
    int r = out_open(out, &fd, err);
    if (r < 0)
        return r;
    r = layer_write(source, fd, options, ret, err);
    if (r < 0)
        unlink(out);
    return r;
}

static void prepare(struct layer_index *ix, const struct layer_options *options)
{
    layer_index_init(ix, &options->limits, !options->whiteouts);
    ix->devices = options->devices;
    ix->whiteouts = options->whiteouts;
}

int layer_from_tar(const char *tar, const char *out, const struct layer_options *options,
                   struct layer_result *ret, struct err *err)
{
    __attribute__((cleanup(locale_restore), unused)) locale_t old = locale_utf8();
    cleanup_close int fd = open(tar, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, -errno, "cannot open %s", tar);
    struct layer_index ix;
    struct tar_source t;
    struct layer_source source;
    prepare(&ix, options);
    int r = tar_source_open(&t, fd, out, &ix, &source, err);
    if (r == 0)
        r = write_out(&source, out, options, ret, err);
    tar_source_close(&t);
    layer_index_done(&ix);
    return r;
}

int layer_from_folder(const char *folder, const char *out, const struct layer_options *options,
                      struct layer_result *ret, struct err *err)
{
    __attribute__((cleanup(locale_restore), unused)) locale_t old = locale_utf8();
    struct layer_index ix;
    struct folder_source f;
    struct layer_source source;
    prepare(&ix, options);
    int r = folder_source_open(&f, folder, options, &ix, &source, err);
    if (r == 0)
        r = write_out(&source, out, options, ret, err);
    if (r == 0)
        ret->skipped = f.skipped;
    folder_source_close(&f);
    layer_index_done(&ix);
    return r;
}

/* --------------------------------------------------------------------------------------- scanning */

struct scan {
    struct blob_stream *blob;
    struct digest data;
    struct layer_index index;
    const struct layer_observer *observers;
    size_t n_observers;
    uint64_t watched; /* bit i: observer i wants this entry's data */
};

static int scan_data(void *ctx, const void *data, size_t n, struct err *err)
{
    struct scan *s = ctx;
    digest_update(&s->data, data, n);
    for (size_t i = 0; i < s->n_observers; i++) {
        if (s->watched >> i & 1)
            s->observers[i].data(s->observers[i].ctx, data, n);
    }
    return 0;
}

static int scan_entry(struct scan *s, struct archive *a, struct archive_entry *ae, struct err *err)
{
    struct layer_entry e;
    struct layer_node *node;
    int r = tar_entry(&s->index, ae, &e, err);
    if (r == 0)
        r = layer_index_add(&s->index, &e, &node, err);
    if (r < 0)
        return r;
    bool file = !e.hard && S_ISREG(e.mode);
    s->watched = 0;
    for (size_t i = 0; i < s->n_observers; i++) {
        if (s->observers[i].entry(s->observers[i].ctx, &e) && file)
            s->watched |= (uint64_t)1 << i;
    }
    if (!file)
        return 0;
    digest_init(&s->data);
    r = tar_data(a, e.size, scan_data, s, err);
    digest_final(&s->data, node->data_digest);
    return r;
}

static int scan_entries(struct scan *s, struct layer_result *ret, struct err *err)
{
    struct archive_entry *ae;
    struct archive *a = blob_stream_tar(s->blob);
    int r;
    while ((r = tar_next(a, &ae, err)) > 0) {
        r = scan_entry(s, a, ae, err);
        if (r < 0)
            break;
    }
    if (r == 0)
        r = blob_stream_finish(s->blob, ret, err);
    for (size_t i = 0; i < s->n_observers && r == 0; i++) {
        if (s->observers[i].end)
            s->observers[i].end(s->observers[i].ctx);
    }
    return r;
}

static void content_of(const struct layer_index *ix, char ret[LAYER_DIGEST_MAX])
{
    struct digest content;
    digest_init(&content);
    layer_content_begin(&content);
    VEC_FOREACH (&ix->nodes, n) {
        layer_content_add(&content, &n->entry, n->data_digest);
    }
    digest_final(&content, ret);
}

int layer_scan(const char *path, const struct layer_limits *limits,
               const struct layer_observer *observers, size_t n_observers, struct layer_result *ret,
               struct err *err)
{
    __attribute__((cleanup(locale_restore), unused)) locale_t old = locale_utf8();
    if (n_observers > 64)
        return err_set(err, -EINVAL, "too many observers");
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, -errno, "cannot open %s", path);
    struct scan s = {.observers = observers, .n_observers = n_observers};
    struct layer_result result = {0};
    layer_index_init(&s.index, limits, false);
    s.index.devices = s.index.whiteouts = true;
    int r = blob_stream_open(fd, &s.blob, err);
    if (r == 0)
        r = scan_entries(&s, &result, err);
    if (r == 0)
        r = layer_index_finish(&s.index, err);
    if (r == 0) {
        result.entries = s.index.nodes.n;
        content_of(&s.index, result.content);
        *ret = result;
    }
    blob_stream_free(s.blob);
    layer_index_done(&s.index);
    return r;
}
