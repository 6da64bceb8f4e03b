#include "agent/packages.h"

#include "agent/safe_dir.h"
#include "common/json.h"
#include "common/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define DATABASE_MAX  (64u << 20) /* Debian's status file with everything installed is 50 MB */
#define DATABASES_MAX 4096        /* status.d has a file a package */
#define VALUE_MAX     512

#define DPKG_STATUS   "var/lib/dpkg/status"
#define DPKG_STATUS_D "var/lib/dpkg/status.d"
#define APK_INSTALLED "lib/apk/db/installed"
/* apk-tools 3 moves it, with a link at the old place. */
#define APK_INSTALLED_USR "usr/lib/apk/db/installed"

struct database {
    char *path;
    struct strbuf text;
};

struct packages {
    VEC(struct database) databases;
    struct database *open; /* that an observed layer's data goes to */
};

struct packages *packages_new(void)
{
    return xnew(struct packages);
}

static void database_done(struct database *d)
{
    free(d->path);
    strbuf_done(&d->text);
}

void packages_free(struct packages *p)
{
    if (!p)
        return;
    VEC_FOREACH (&p->databases, d) {
        database_done(d);
    }
    vec_free(&p->databases);
    free(p);
}

/* ---------------------------------------------------------------------------------- what is where */

static bool in_status_d(const char *path)
{
    return str_starts(path, DPKG_STATUS_D "/") && !strchr(path + sizeof(DPKG_STATUS_D), '/') &&
           !str_ends(path, ".md5sums");
}

static bool is_apk(const char *path)
{
    return strcmp(path, APK_INSTALLED) == 0 || strcmp(path, APK_INSTALLED_USR) == 0;
}

static bool is_database(const char *path)
{
    return strcmp(path, DPKG_STATUS) == 0 || is_apk(path) || in_status_d(path);
}

/* An empty database for the path, in place of one that was there; NULL when there are too many. */
static struct database *database_set(struct packages *p, const char *path)
{
    VEC_FOREACH (&p->databases, d) {
        if (strcmp(d->path, path) == 0) {
            strbuf_done(&d->text);
            return d;
        }
    }
    if (p->databases.n >= DATABASES_MAX)
        return NULL;
    vec_push(&p->databases, (struct database){.path = xstrdup(path)});
    return &p->databases.items[p->databases.n - 1];
}

/* Removes the databases that are `path` or below it. */
static void database_unset(struct packages *p, const char *path, bool below_only)
{
    size_t len = strlen(path);
    for (size_t i = p->databases.n; i-- > 0;) {
        const char *q = p->databases.items[i].path;
        bool hit = len == 0 || (strncmp(q, path, len) == 0 &&
                                (q[len] == '/' || (q[len] == '\0' && !below_only)));
        if (hit) {
            database_done(&p->databases.items[i]);
            vec_remove(&p->databases, i);
        }
    }
}

/* --------------------------------------------------------------------------------------- observer */

static void whiteout(struct packages *p, const char *path, const char *base)
{
    cleanup_free char *target = xstrndup(path, (size_t)(base - path));
    size_t len = strlen(target);
    if (strcmp(base, ".wh..wh..opq") == 0) {
        if (len)
            target[len - 1] = '\0';
        database_unset(p, target, true);
        return;
    }
    cleanup_free char *whole = xasprintf("%s%s", target, base + 4);
    database_unset(p, whole, false);
}

static bool observe_entry(void *ctx, const struct layer_entry *e)
{
    struct packages *p = ctx;
    const char *slash = strrchr(e->path, '/'), *base = slash ? slash + 1 : e->path;
    p->open = NULL;
    if (str_starts(base, ".wh.")) {
        whiteout(p, e->path, base);
        return false;
    }
    if (!is_database(e->path))
        return false;
    if (e->hard || !S_ISREG(e->mode)) {
        database_unset(p, e->path, false);
        return false;
    }
    p->open = database_set(p, e->path);
    return p->open != NULL;
}

static void observe_data(void *ctx, const void *data, size_t size)
{
    struct packages *p = ctx;
    if (p->open && p->open->text.n + size <= DATABASE_MAX)
        strbuf_addn(&p->open->text, data, size);
}

struct layer_observer packages_observer(struct packages *p)
{
    return (struct layer_observer){.ctx = p, .entry = observe_entry, .data = observe_data};
}

/* ----------------------------------------------------------------------------------------- folder */

static int read_database(struct packages *p, int dir, const char *name, const char *path,
                         struct err *err)
{
    cleanup_close int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return errno == ENOENT || errno == ELOOP ? 0 : err_errno(err, -errno, "%s", path);
    if (!S_ISREG(st.st_mode))
        return 0;
    struct database *d = database_set(p, path);
    char buf[16 << 10];
    for (ssize_t n; d && d->text.n < DATABASE_MAX && (n = read(fd, buf, sizeof(buf))) != 0;) {
        if (n < 0 && errno != EINTR)
            return err_errno(err, -errno, "%s", path);
        if (n > 0)
            strbuf_addn(&d->text, buf, (size_t)n);
    }
    return 0;
}

static int read_at(struct packages *p, int root, const char *path, struct err *err)
{
    struct safe_dir dir = SAFE_DIR_INIT(root);
    dir.in_root = true; /* Debian's and Alpine's /lib may be a link to usr/lib */
    struct err ignored;
    int fd;
    const char *name;
    int r = safe_dir_parent(&dir, path, &fd, &name, &ignored);
    if (r == 0)
        r = read_database(p, fd, name, path, err);
    else
        r = 0; /* nothing of that manager here */
    safe_dir_done(&dir);
    return r;
}

static void closedirp(DIR **d)
{
    if (*d)
        closedir(*d);
}

static int read_status_d(struct packages *p, int root, struct err *err)
{
    struct err ignored;
    int path_fd;
    if (safe_dir_open(root, DPKG_STATUS_D, &path_fd, &ignored) < 0)
        return 0;
    int fd = openat(path_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    close(path_fd);
    cleanup_(closedirp) DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d)
        return err_errno(err, -errno, DPKG_STATUS_D);
    for (struct dirent *de; (de = readdir(d));) {
        cleanup_free char *path = xasprintf(DPKG_STATUS_D "/%s", de->d_name);
        if (de->d_name[0] == '.' || !in_status_d(path))
            continue;
        int r = read_database(p, dirfd(d), de->d_name, path, err);
        if (r < 0)
            return r;
    }
    return 0;
}

int packages_read_folder(struct packages *p, const char *root, struct err *err)
{
    cleanup_close int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, -errno, "cannot open %s", root);
    int r = read_at(p, fd, DPKG_STATUS, err);
    if (r == 0)
        r = read_status_d(p, fd, err);
    if (r == 0)
        r = read_at(p, fd, APK_INSTALLED, err);
    return r == 0 ? read_at(p, fd, APK_INSTALLED_USR, err) : r;
}

/* ---------------------------------------------------------------------------------------- parsing */

struct stanza {
    char name[VALUE_MAX], version[VALUE_MAX], architecture[VALUE_MAX], status[VALUE_MAX];
};

static void value(char *to, const char *from, size_t n)
{
    while (n && (*from == ' ' || *from == '\t'))
        from++, n--;
    while (n && (from[n - 1] == ' ' || from[n - 1] == '\r'))
        n--;
    if (n >= VALUE_MAX)
        return;
    memcpy(to, from, n);
    to[n] = '\0';
}

static void dpkg_line(struct stanza *s, const char *line, size_t n)
{
    static const struct {
        const char *key;
        size_t offset;
    } keys[] = {{"Package:", offsetof(struct stanza, name)},
                {"Version:", offsetof(struct stanza, version)},
                {"Architecture:", offsetof(struct stanza, architecture)},
                {"Status:", offsetof(struct stanza, status)}};
    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
        size_t len = strlen(keys[i].key);
        if (n > len && strncasecmp(line, keys[i].key, len) == 0)
            value((char *)s + keys[i].offset, line + len, n - len);
    }
}

static void apk_line(struct stanza *s, const char *line, size_t n)
{
    if (n < 2 || line[1] != ':')
        return;
    if (line[0] == 'P')
        value(s->name, line + 2, n - 2);
    else if (line[0] == 'V')
        value(s->version, line + 2, n - 2);
    else if (line[0] == 'A')
        value(s->architecture, line + 2, n - 2);
}

/* Adds the stanza if it is of an installed package, and empties it. */
static void stanza_end(struct stanza *s, bool apk, json_t *list)
{
    /* Half-configured and unpacked ones are there too; what is removed, or only has its configuration
     * left, is not. status.d has no Status. */
    bool gone = str_ends(s->status, " not-installed") || str_ends(s->status, " config-files");
    if (*s->name && *s->version && !gone) {
        json_t *item = json_pack("{s:s, s:s, s:s, s:s}", "manager", apk ? "apk" : "dpkg", "name",
                                 s->name, "version", s->version, "architecture", s->architecture);
        if (item) /* NULL: not UTF-8 */
            json_array_append_new(list, item);
    }
    *s = (struct stanza){0};
}

static void parse(const struct database *d, json_t *list)
{
    bool apk = is_apk(d->path);
    struct stanza s = {0};
    const char *p = strbuf_str(&d->text), *end = p + d->text.n;
    while (p < end) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        size_t n = (size_t)((nl ? nl : end) - p);
        if (n == 0)
            stanza_end(&s, apk, list);
        else if (apk)
            apk_line(&s, p, n);
        else if (*p != ' ' && *p != '\t')
            dpkg_line(&s, p, n);
        p += n + 1;
    }
    stanza_end(&s, apk, list);
}

static int item_cmp(const void *a, const void *b)
{
    static const char *const keys[] = {"manager", "name", "architecture", "version"};
    const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
        int r = strcmp(json_string_value(json_object_get(x, keys[i])),
                       json_string_value(json_object_get(y, keys[i])));
        if (r)
            return r;
    }
    return 0;
}

json_t *packages_json(const struct packages *p)
{
    json_t *list = json_array(), *sorted = json_array();
    VEC_FOREACH (&p->databases, d) {
        parse(d, list);
    }
    size_t n = json_array_size(list);
    cleanup_free json_t **items = xcalloc(n, sizeof(*items));
    for (size_t i = 0; i < n; i++)
        items[i] = json_array_get(list, i);
    qsort(items, n, sizeof(*items), item_cmp);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || !json_equal(items[i], items[i - 1]))
            json_array_append(sorted, items[i]);
    }
    json_decref(list);
    return sorted;
}
