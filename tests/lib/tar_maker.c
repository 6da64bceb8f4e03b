#include "tests/lib/tar_maker.h"

#include "common/mem.h"
#include "tests/lib/test.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <ftw.h>
#include <locale.h>
#include <sys/stat.h>

static void fill(struct archive_entry *e, const struct tar_spec *s, size_t size)
{
    archive_entry_copy_pathname(e, s->path);
    archive_entry_set_mode(e, s->mode ? s->mode : S_IFREG | 0644);
    archive_entry_set_uid(e, s->id);
    archive_entry_set_gid(e, s->id);
    archive_entry_set_mtime(e, (time_t)s->mtime, 0);
    archive_entry_set_size(e, S_ISREG(archive_entry_mode(e)) ? (la_int64_t)(s->hole + size) : 0);
    if (s->link)
        archive_entry_copy_symlink(e, s->link);
    if (s->hard) {
        archive_entry_copy_hardlink(e, s->hard);
        archive_entry_set_size(e, 0);
    }
    if (s->hole)
        archive_entry_sparse_add_entry(e, (la_int64_t)s->hole, (la_int64_t)size);
    if (s->xattr)
        archive_entry_xattr_add_entry(e, s->xattr, s->value, strlen(s->value));
    archive_entry_set_rdevmajor(e, s->major);
    archive_entry_set_rdevminor(e, s->minor);
}

static void write_data(struct archive *a, const struct tar_spec *s, size_t size)
{
    static const char zero[1 << 16];
    for (uint64_t left = s->hole; left > 0;) {
        size_t n = left < sizeof(zero) ? (size_t)left : sizeof(zero);
        assert_int_equal(archive_write_data(a, zero, n), (la_ssize_t)n);
        left -= n;
    }
    if (size)
        assert_int_equal(archive_write_data(a, s->data, size), (la_ssize_t)size);
}

void tar_make(const char *file, const char *format, const char *filter,
              const struct tar_spec *specs, size_t n)
{
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0), old = uselocale(utf8);
    struct archive *a = archive_write_new();
    assert_int_equal(archive_write_set_format_by_name(a, format), ARCHIVE_OK);
    if (strcmp(filter, "none") != 0)
        assert_int_equal(archive_write_add_filter_by_name(a, filter), ARCHIVE_OK);
    assert_int_equal(archive_write_open_filename(a, file), ARCHIVE_OK);
    for (size_t i = 0; i < n; i++) {
        const struct tar_spec *s = &specs[i];
        size_t size = !s->data ? 0 : s->size ? s->size : strlen(s->data);
        struct archive_entry *e = archive_entry_new();
        fill(e, s, size);
        errno = 0; /* libarchive takes an older ENOMEM for its own */
        int r = archive_write_header(a, e);
        assert_true(r == ARCHIVE_OK || r == ARCHIVE_WARN);
        if (!s->hard)
            write_data(a, s, size);
        archive_entry_free(e);
    }
    assert_int_equal(archive_write_free(a), ARCHIVE_OK);
    uselocale(old);
    freelocale(utf8);
}

char *test_dir(void)
{
    const char *tmp = getenv("TMPDIR");
    char *dir = xasprintf("%s/unit-layer-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(dir));
    return dir;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    return remove(path);
}

void test_dir_remove(char *dir)
{
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(dir);
}

void test_write(const char *path, const void *data, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, n), (ssize_t)n);
    close(fd);
}

char *test_read(const char *path, size_t *ret_n)
{
    struct strbuf b = {0};
    char buf[4096];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    for (ssize_t n; (n = read(fd, buf, sizeof(buf))) > 0;)
        strbuf_addn(&b, buf, (size_t)n);
    close(fd);
    if (ret_n)
        *ret_n = b.n;
    return strbuf_steal(&b);
}
