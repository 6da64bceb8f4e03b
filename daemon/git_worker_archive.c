/* A context as a tar: the same bytes for the same files, whoever asks and whenever. */
#include "daemon/git_worker_int.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

struct tar {
    git_repository *repo;
    struct archive *out;
    int64_t epoch;
    char *folder; /* the last one written, "" at first */
};

static int write_error(struct tar *tar, const char *path, struct err *err)
{
    cleanup_free char *text = git_worker_name_text(path);
    int code = archive_errno(tar->out);
    return err_set_retryable(err, code == ENOSPC || code == EDQUOT ? -ENOSPC : -EIO, true,
                             "cannot write the archive at '%s': %s", text,
                             archive_error_string(tar->out));
}

static int put_header(struct tar *tar, const char *path, unsigned type, unsigned permissions,
                      int64_t size, const char *link, struct err *err)
{
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, path);
    archive_entry_set_filetype(entry, type);
    archive_entry_set_perm(entry, permissions);
    archive_entry_set_uid(entry, 0);
    archive_entry_set_gid(entry, 0);
    archive_entry_set_mtime(entry, tar->epoch, 0);
    archive_entry_set_size(entry, size);
    if (link)
        archive_entry_set_symlink(entry, link);
    /* a warning is a name that is not UTF-8: it is written as the bytes that it has */
    errno = 0; /* libarchive takes an older ENOMEM for its own */
    int r = archive_write_header(tar->out, entry);
    archive_entry_free(entry);
    return r == ARCHIVE_OK || r == ARCHIVE_WARN ? 0 : write_error(tar, path, err);
}

/* Writes the folders that `path` is in and the one before it was not. Without them their modes would be
 * whatever the unpacker's umask makes them. */
static int put_folders(struct tar *tar, const char *path, struct err *err)
{
    size_t known = strlen(tar->folder);
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        size_t n = (size_t)(slash - path);
        bool same = n <= known && memcmp(tar->folder, path, n) == 0 &&
                    (tar->folder[n] == 0 || tar->folder[n] == '/');
        if (same)
            continue;
        cleanup_free char *folder = xstrndup(path, n);
        int r = put_header(tar, folder, AE_IFDIR, 0755, 0, NULL, err);
        if (r < 0)
            return r;
    }
    const char *last = strrchr(path, '/');
    free(tar->folder);
    tar->folder = last ? xstrndup(path, (size_t)(last - path)) : xstrdup("");
    return 0;
}

static int put_file(struct tar *tar, const struct git_context_entry *entry, git_odb_object *object,
                    struct err *err)
{
    unsigned permissions = entry->mode & 0777;
    int r = put_header(tar, entry->path, AE_IFREG, permissions, entry->size, NULL, err);
    if (r < 0)
        return r;
    const char *data = git_odb_object_data(object);
    for (size_t left = git_odb_object_size(object); left > 0;) {
        la_ssize_t n = archive_write_data(tar->out, data, left);
        if (n <= 0)
            return write_error(tar, entry->path, err);
        data += n;
        left -= (size_t)n;
    }
    return 0;
}

static int put_blob(struct tar *tar, const struct git_context_entry *entry, struct err *err)
{
    git_odb_object *object = NULL;
    cleanup_free char *text = git_worker_name_text(entry->path);
    int r = git_tree_read_object(tar->repo, &entry->id, GIT_OBJECT_BLOB, entry->size, text, &object,
                                 err);
    if (r < 0)
        return r;
    if (entry->mode == 0120000) {
        cleanup_free char *target =
            xstrndup(git_odb_object_data(object), git_odb_object_size(object));
        r = put_header(tar, entry->path, AE_IFLNK, 0777, 0, target, err);
    } else {
        r = put_file(tar, entry, object, err);
    }
    git_odb_object_free(object);
    return r;
}

static int put_all(struct tar *tar, const struct git_context *context, struct err *err)
{
    VEC_FOREACH (&context->entries, entry) {
        int r = put_folders(tar, entry->path, err);
        if (r == 0)
            r = entry->mode == 0160000 ? put_header(tar, entry->path, AE_IFDIR, 0755, 0, NULL, err)
                                       : put_blob(tar, entry, err);
        if (r < 0)
            return r;
    }
    return archive_write_close(tar->out) == ARCHIVE_OK ? 0 : write_error(tar, "its end", err);
}

static int write_tar(git_repository *repo, const struct git_context *context, int64_t epoch, int fd,
                     struct err *err)
{
    struct tar tar = {.repo = repo, .epoch = epoch, .folder = xstrdup("")};
    tar.out = archive_write_new();
    archive_write_set_format_pax_restricted(tar.out);
    archive_write_set_bytes_per_block(tar.out, 64 << 10);
    archive_write_set_bytes_in_last_block(tar.out, 512);
    int r = archive_write_open_fd(tar.out, fd) == ARCHIVE_OK ? put_all(&tar, context, err)
                                                             : write_error(&tar, "its start", err);
    archive_write_free(tar.out);
    free(tar.folder);
    return r;
}

static int finish(int fd, const char *fresh, const char *output, int64_t *ret_size, struct err *err)
{
    struct stat st;
    if (fsync(fd) < 0 || fstat(fd, &st) < 0 || rename(fresh, output) < 0)
        return err_errno(err, errno == ENOSPC || errno == EDQUOT ? -ENOSPC : -EIO, "%s", output);
    *ret_size = st.st_size;
    return 0;
}

int git_archive_write(git_repository *repo, const struct git_context *context, int64_t epoch,
                      const char *output, int64_t *ret_size, struct err *err)
{
    cleanup_free char *fresh = xasprintf("%s.tmp", output);
    cleanup_close int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_errno(err, errno == ENOSPC ? -ENOSPC : -EIO, "cannot make %s", fresh);
    int r = write_tar(repo, context, epoch, fd, err);
    if (r == 0)
        r = finish(fd, fresh, output, ret_size, err);
    if (r < 0)
        (void)unlink(fresh);
    return r;
}
