/* Reading trees that somebody else made: bounded, and with an eye on names. */
#include "daemon/git_worker_int.h"

#include <errno.h>

#define TREE_MAX (64 << 20) /* bytes of one tree object */
#define LINK_MAX 4096       /* bytes of a symbolic link's target */
#define HOPS_MAX 16         /* symbolic links on the way to one file */

static int read_header(git_repository *repo, const git_oid *id, git_object_t type, const char *what,
                       int64_t *ret_size, struct err *err)
{
    git_odb *odb = NULL;
    size_t size = 0;
    git_object_t found = GIT_OBJECT_INVALID;
    int r = git_repository_odb(&odb, repo);
    if (r == 0)
        r = git_odb_read_header(&size, &found, odb, id);
    git_odb_free(odb);
    if (r < 0)
        return git_worker_error(err, r, false, "%s", what);
    if (found != type)
        return err_set(err, -EINVAL, "%s: upstream's tree says %s and means a %s", what,
                       git_object_type2string(type), git_object_type2string(found));
    *ret_size = (int64_t)size;
    return 0;
}

int git_tree_blob_size(git_repository *repo, const git_oid *id, const char *what, int64_t *ret,
                       struct err *err)
{
    return read_header(repo, id, GIT_OBJECT_BLOB, what, ret, err);
}

int git_tree_read_object(git_repository *repo, const git_oid *id, git_object_t type, int64_t max,
                         const char *what, git_odb_object **ret, struct err *err)
{
    int64_t size = 0;
    int r = read_header(repo, id, type, what, &size, err);
    if (r < 0)
        return r;
    if (size > max)
        return err_set(err, -EFBIG, "%s has %lld bytes; at most %lld are taken", what,
                       (long long)size, (long long)max);
    git_odb *odb = NULL;
    r = git_repository_odb(&odb, repo);
    if (r == 0)
        r = git_odb_read(ret, odb, id);
    git_odb_free(odb);
    return r < 0 ? git_worker_error(err, r, false, "%s", what) : 0;
}

int git_tree_read(git_repository *repo, const git_oid *id, const char *what, git_tree **ret,
                  struct err *err)
{
    int64_t size = 0;
    int r = read_header(repo, id, GIT_OBJECT_TREE, what, &size, err);
    if (r < 0)
        return r;
    if (size > TREE_MAX)
        return err_set(err, -EFBIG, "the folder %s is a tree of %lld bytes", what, (long long)size);
    r = git_tree_lookup(ret, repo, id);
    return r < 0 ? git_worker_error(err, r, false, "%s", what) : 0;
}

int git_tree_check_name(const char *name, const char *path, struct err *err)
{
    const char *why = NULL;
    if (name[0] == 0)
        why = "a name must not be empty";
    else if (str_eq(name, ".") || str_eq(name, ".."))
        why = "a name must not be '.' or '..'";
    else if (strchr(name, '/'))
        why = "a name must not have a '/'";
    else if (strcasecmp(name, ".git") == 0)
        why = "a name must not be '.git'";
    else if (strlen(name) > 255 || strlen(path) > 4095)
        why = "the path is too long";
    if (!why)
        return 0;
    cleanup_free char *text = git_worker_name_text(path);
    return err_set(err, -EINVAL, "upstream's tree has the entry '%s': %s", text, why);
}

/* How many folders deep `path` is: its slashes. */
static long depth_of(const char *path)
{
    long depth = 0;
    for (const char *s = path; *s; s++)
        depth += *s == '/';
    return depth;
}

/* Whether following `target` from `depth` folders below the context leads above it. */
static bool climbs_out(const char *target, long depth)
{
    for (const char *s = target; *s;) {
        size_t n = strcspn(s, "/");
        if (n == 2 && s[0] == '.' && s[1] == '.')
            depth--;
        else if (n > 0 && !(n == 1 && s[0] == '.'))
            depth++;
        if (depth < 0)
            return true;
        s += n + (s[n] == '/');
    }
    return false;
}

int git_tree_check_link(const char *path, const char *target, size_t n, struct err *err)
{
    const char *why = NULL;
    if (n == 0 || n >= LINK_MAX || memchr(target, 0, n))
        why = "has no valid target";
    else if (target[0] != '/') {
        cleanup_free char *copy = xstrndup(target, n);
        if (climbs_out(copy, depth_of(path)))
            why = "leads out of the context";
    }
    if (!why)
        return 0;
    cleanup_free char *text = git_worker_name_text(path);
    return err_set(err, -EINVAL, "upstream's tree has the symbolic link '%s', which %s", text, why);
}

/* ---- following a path ---- */

struct resolver {
    git_repository *repo;
    const git_tree *tree;
    const char *asked; /* for messages */
    strvec *used;
    strvec at;  /* components walked so far; none of them a link */
    char *rest; /* what is still to be walked */
    unsigned hops;
};

static char *joined(const strvec *parts)
{
    struct strbuf out = {0};
    VEC_FOREACH (parts, part) {
        strbuf_add(&out, out.n ? "/" : "");
        strbuf_add(&out, *part);
    }
    return strbuf_steal(&out);
}

static void pop(strvec *parts)
{
    free(parts->items[--parts->n]);
}

/* Takes the next component off `rest`; NULL when there is none. The caller owns it. */
static char *next_part(struct resolver *resolver)
{
    const char *s = resolver->rest + strspn(resolver->rest, "/");
    size_t n = strcspn(s, "/");
    if (n == 0)
        return NULL;
    char *part = xstrndup(s, n);
    str_replace(&resolver->rest, s + n);
    return part;
}

static int follow_link(struct resolver *resolver, const char *path, const git_oid *id,
                       struct err *err)
{
    git_odb_object *object = NULL;
    int r = git_tree_read_object(resolver->repo, id, GIT_OBJECT_BLOB, LINK_MAX, path, &object, err);
    if (r < 0)
        return r;
    cleanup_free char *target = xstrndup(git_odb_object_data(object), git_odb_object_size(object));
    git_odb_object_free(object);
    if (target[0] == '/')
        return err_set(err, -EINVAL, "%s: the symbolic link %s leads out of the context",
                       resolver->asked, path);
    if (++resolver->hops > HOPS_MAX)
        return err_set(err, -EINVAL, "%s: too many symbolic links", resolver->asked);
    strvec_add(resolver->used, path);
    cleanup_free char *rest = xasprintf("%s/%s", target, resolver->rest);
    str_replace(&resolver->rest, rest);
    pop(&resolver->at);
    return 0;
}

/* Walks one component. Returns 1 when it is the file. */
static int walk_part(struct resolver *resolver, const char *part, git_oid *ret_id, struct err *err)
{
    if (str_eq(part, "."))
        return 0;
    if (str_eq(part, "..") && resolver->at.n == 0)
        return err_set(err, -EINVAL, "%s leads out of the context", resolver->asked);
    if (str_eq(part, "..")) {
        pop(&resolver->at);
        return 0;
    }
    strvec_add(&resolver->at, part);
    cleanup_free char *path = joined(&resolver->at);
    git_tree_entry *entry = NULL;
    int r = git_tree_entry_bypath(&entry, resolver->tree, path);
    if (r < 0)
        return r == GIT_ENOTFOUND ? -ENOENT : git_worker_error(err, r, false, "%s", path);
    git_filemode_t mode = git_tree_entry_filemode(entry);
    git_oid id = *git_tree_entry_id(entry);
    git_tree_entry_free(entry);
    if (mode == GIT_FILEMODE_LINK)
        return follow_link(resolver, path, &id, err);
    if (mode == GIT_FILEMODE_TREE)
        return 0;
    if (mode == GIT_FILEMODE_COMMIT || resolver->rest[strspn(resolver->rest, "/")])
        return -ENOENT;
    strvec_add(resolver->used, path);
    *ret_id = id;
    return 1;
}

int git_tree_resolve(git_repository *repo, const git_tree *tree, const char *path, git_oid *ret_id,
                     strvec *used, struct err *err)
{
    struct resolver resolver = {
        .repo = repo, .tree = tree, .asked = path, .used = used, .rest = xstrdup(path)};
    int r = 0;
    while (r == 0) {
        cleanup_free char *part = next_part(&resolver);
        r = part ? walk_part(&resolver, part, ret_id, err) : -ENOENT;
    }
    strvec_done(&resolver.at);
    free(resolver.rest);
    return r == -ENOENT ? err_set(err, r, "%s is not in the context", path) : r < 0 ? r : 0;
}
