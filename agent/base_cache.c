#include "agent/base_cache.h"

#include "agent/oci_layout.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

struct cached {
    char *name;
    int64_t size, used;
};

int base_cache_take(const char *cache, const char *dir, const char *digest, struct err *err)
{
    cleanup_free char *path = NULL;
    int r = oci_layout_blob_path(cache, digest, &path, err);
    if (r < 0)
        return r;
    /* Marks it as used just now; its absence shows here. */
    if (utimensat(AT_FDCWD, path, NULL, 0) != 0)
        return err_errno(err, -errno, "%s", path);
    return oci_layout_share_blob(dir, cache, digest, err);
}

void base_cache_give(const char *cache, const char *dir, const char *digest)
{
    struct err err = ERR_INIT;
    cleanup_free char *parent = xstrndup(cache, (size_t)(strrchr(cache, '/') - cache));
    int r = mkdir(parent, 0755) == 0 || errno == EEXIST ? oci_layout_create(cache, &err)
                                                        : err_errno(&err, -errno, "%s", parent);
    if (r == 0)
        r = oci_layout_share_blob(cache, dir, digest, &err);
    if (r < 0)
        log_warning("keeping a base's blob: %s", err.text);
}

int base_cache_manifest(const char *cache, const char *digest, struct strbuf *ret,
                        char **ret_media_type, struct err *err)
{
    cleanup_free char *path = NULL;
    cleanup_json json_t *json = NULL;
    char found[DIGEST_SIZE];
    int r = oci_layout_blob_path(cache, digest, &path, err);
    if (r < 0)
        return r;
    cleanup_fclose FILE *f = fopen(path, "re");
    if (!f)
        return err_errno(err, -errno, "%s", path);
    char buf[16384];
    for (size_t n; ret->n <= OCI_MANIFEST_MAX && (n = fread(buf, 1, sizeof(buf), f)) > 0;)
        strbuf_addn(ret, buf, n);
    digest_of(strbuf_str(ret), ret->n, found);
    if (!str_eq(found, digest))
        return err_set(err, -EBADMSG, "%s is damaged", path);
    if ((r = json_parse(strbuf_str(ret), ret->n, OCI_MANIFEST_MAX, &json, err)) < 0)
        return r;
    const char *type = json_string_value(json_object_get(json, "mediaType"));
    *ret_media_type = xstrdup(type ? type : OCI_TYPE_MANIFEST);
    (void)utimensat(AT_FDCWD, path, NULL, 0);
    return 0;
}

static int oldest_first(const void *a, const void *b)
{
    int64_t x = ((const struct cached *)a)->used, y = ((const struct cached *)b)->used;
    return (x > y) - (x < y);
}

void base_cache_trim(const char *cache, int64_t limit)
{
    cleanup_free char *folder = xasprintf("%s/blobs/sha256", cache);
    DIR *d = opendir(folder);
    if (!d)
        return;
    VEC(struct cached) all = {0};
    int64_t total = 0;
    struct dirent *e;
    while ((e = readdir(d))) {
        struct stat st;
        if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
            continue;
        vec_push(&all, (struct cached){xstrdup(e->d_name), st.st_size, st.st_mtime});
        total += st.st_size;
    }
    if (all.n)
        qsort(all.items, all.n, sizeof(*all.items), oldest_first);
    VEC_FOREACH (&all, it) {
        if (total > limit && unlinkat(dirfd(d), it->name, 0) == 0)
            total -= it->size;
        free(it->name);
    }
    vec_free(&all);
    closedir(d);
}
