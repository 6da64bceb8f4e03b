#include "agent/blob_stream.h"

#include "common/digest.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define READ_BLOCK (256u << 10)
#define TRAILING_MAX                                                                               \
    (64u << 20) /* after a tar's end: padding, which some writers are generous with */

/* Two readers in a row: `raw` takes the file apart, `tar` what comes out of it. */
struct blob_stream {
    int fd;
    struct archive *raw, *tar;
    bool begun, ended; /* raw's */
    struct digest digest, diff;
    uint64_t size, unpacked;
    char buf[READ_BLOCK];
};

static la_ssize_t read_file(struct archive *a, void *ctx, const void **ret)
{
    struct blob_stream *s = ctx;
    ssize_t n;
    do
        n = read(s->fd, s->buf, sizeof(s->buf));
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        archive_set_error(a, errno, "cannot read the layer: %s", strerror(errno));
        return -1;
    }
    digest_update(&s->digest, s->buf, (size_t)n);
    s->size += (uint64_t)n;
    *ret = s->buf;
    return n;
}

static la_ssize_t pass_error(struct blob_stream *s, struct archive *to)
{
    const char *text = archive_error_string(s->raw);
    archive_set_error(to, archive_errno(s->raw), "%s", text ? text : "unknown error");
    return -1;
}

/* The next piece of the unpacked bytes, for `tar`; 0 at their end. */
static la_ssize_t read_unpacked(struct archive *a, void *ctx, const void **ret)
{
    struct blob_stream *s = ctx;
    struct archive_entry *ae;
    if (!s->begun) {
        s->begun = true;
        int r = archive_read_next_header(s->raw, &ae);
        if (r == ARCHIVE_EOF)
            s->ended = true;
        else if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
            return pass_error(s, a);
    }
    while (!s->ended) {
        size_t n;
        la_int64_t offset;
        int r = archive_read_data_block(s->raw, ret, &n, &offset);
        if (r == ARCHIVE_EOF)
            break;
        if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
            return pass_error(s, a);
        if (n == 0)
            continue;
        digest_update(&s->diff, *ret, n);
        s->unpacked += n;
        return (la_ssize_t)n;
    }
    s->ended = true;
    return 0;
}

int blob_stream_open(int fd, struct blob_stream **ret, struct err *err)
{
    struct blob_stream *s = xnew(struct blob_stream);
    s->fd = fd;
    digest_init(&s->digest);
    digest_init(&s->diff);
    s->raw = tar_reader(true);
    s->tar = tar_reader(false);
    archive_read_support_format_raw(s->raw);
    archive_read_support_format_empty(s->raw);
    archive_read_support_format_tar(s->tar);
    int r = 0;
    if (archive_read_open(s->raw, s, NULL, read_file, NULL) != ARCHIVE_OK)
        r = tar_error(s->raw, "cannot read the layer", err);
    else if (archive_read_open(s->tar, s, NULL, read_unpacked, NULL) != ARCHIVE_OK)
        r = tar_error(s->tar, "not a tar", err);
    if (r < 0)
        blob_stream_free(s);
    else
        *ret = s;
    return r;
}

struct archive *blob_stream_tar(struct blob_stream *s)
{
    return s->tar;
}

int blob_stream_finish(struct blob_stream *s, struct layer_result *ret, struct err *err)
{
    const void *p;
    la_ssize_t n;
    uint64_t trailing = 0;
    while ((n = read_unpacked(s->tar, s, &p)) > 0) {
        trailing += (uint64_t)n;
        if (trailing > TRAILING_MAX)
            return err_set(err, -EFBIG, "too much after the end of the layer's tar");
    }
    if (n < 0)
        return tar_error(s->tar, "cannot read the layer", err);
    while ((n = read_file(s->raw, s, &p)) > 0)
        ;
    if (n < 0)
        return tar_error(s->raw, "cannot read the layer", err);
    ret->size = s->size;
    ret->unpacked = s->unpacked;
    digest_final(&s->digest, ret->digest);
    digest_final(&s->diff, ret->diff_id);
    return 0;
}

void blob_stream_free(struct blob_stream *s)
{
    if (!s)
        return;
    archive_read_free(s->tar);
    archive_read_free(s->raw);
    digest_done(&s->digest);
    digest_done(&s->diff);
    free(s);
}
