/* The files of a context folder: which they are, and what they are called by (the context id). */
#include "common/digest.h"
#include "daemon/dockerignore.h"
#include "daemon/git_protocol.h"
#include "daemon/git_worker_int.h"

#include <errno.h>

#define IGNORE_MAX  (1 << 20) /* bytes of a .dockerignore */
#define LINK_MAX    4096      /* bytes of a symbolic link's target */
#define VISITS_MAX  500000    /* entries looked at: a tree may name itself's like many times over */
#define DEPTH_MAX   100
#define IGNORE_NAME ".dockerignore"

struct walk {
    const struct git_worker *worker;
    git_repository *repo;
    struct dockerignore *ignore;
    strvec kept; /* paths that stay even where they are ignored */
    struct git_context *context;
    size_t visits;
};

/* ---- one entry ---- */

static int check_link(struct walk *walk, const struct git_context_entry *entry, struct err *err)
{
    git_odb_object *object = NULL;
    int r = git_tree_read_object(walk->repo, &entry->id, GIT_OBJECT_BLOB, LINK_MAX, entry->path,
                                 &object, err);
    if (r < 0)
        return r;
    r = git_tree_check_link(entry->path, git_odb_object_data(object), git_odb_object_size(object),
                            err);
    git_odb_object_free(object);
    return r;
}

static int check_size(struct walk *walk, const struct git_context_entry *entry, struct err *err)
{
    cleanup_free char *text = git_worker_name_text(entry->path);
    if (entry->size > walk->worker->blob_limit)
        return err_set(err, -EFBIG, "%s has %lld bytes; at most %lld are taken", text,
                       (long long)entry->size, (long long)walk->worker->blob_limit);
    walk->context->size += entry->size;
    if (walk->context->size > walk->worker->context_limit)
        return err_set(err, -EFBIG, "the context is larger than %lld bytes (at %s)",
                       (long long)walk->worker->context_limit, text);
    return 0;
}

static int add_blob(struct walk *walk, const char *path, git_filemode_t mode, const git_oid *id,
                    struct err *err)
{
    struct git_context_entry entry = {.id = *id};
    entry.mode = mode == GIT_FILEMODE_LINK              ? 0120000
                 : mode == GIT_FILEMODE_BLOB_EXECUTABLE ? 0100755
                                                        : 0100644;
    cleanup_free char *text = git_worker_name_text(path);
    int r = git_tree_blob_size(walk->repo, id, text, &entry.size, err);
    if (r < 0)
        return r;
    entry.path = xstrdup(path);
    vec_push(&walk->context->entries, entry);
    if ((r = check_size(walk, &entry, err)) < 0)
        return r;
    return entry.mode == 0120000 ? check_link(walk, &entry, err) : 0;
}

/* A submodule is a folder that is there and empty: its commit is in another repository, and says nothing
 * about what the build sees. So its id is left out. */
static void add_submodule(struct walk *walk, const char *path)
{
    struct git_context_entry entry = {.path = xstrdup(path), .mode = 0160000};
    vec_push(&walk->context->entries, entry);
    if (walk->context->submodules++ == 0)
        walk->context->first_submodule = git_worker_name_text(path);
}

static bool is_wanted(const struct walk *walk, const char *path)
{
    return strvec_has(&walk->kept, path) || !dockerignore_excludes(walk->ignore, path);
}

/* ---- the folders ---- */

static int walk_tree(struct walk *walk, const git_oid *id, const char *folder, unsigned depth,
                     struct err *err);

static int walk_entry(struct walk *walk, const git_tree_entry *entry, const char *folder,
                      unsigned depth, struct err *err)
{
    const char *name = git_tree_entry_name(entry);
    cleanup_free char *path = xasprintf("%s%s%s", folder, folder[0] ? "/" : "", name);
    int r = git_tree_check_name(name, path, err);
    if (r < 0)
        return r;
    if (++walk->visits > VISITS_MAX)
        return err_set(err, -EFBIG, "the context has more than %d entries", VISITS_MAX);
    git_filemode_t mode = git_tree_entry_filemode(entry);
    if (mode == GIT_FILEMODE_TREE)
        return walk_tree(walk, git_tree_entry_id(entry), path, depth + 1, err);
    if (!is_wanted(walk, path))
        return 0;
    if (mode != GIT_FILEMODE_COMMIT)
        return add_blob(walk, path, mode, git_tree_entry_id(entry), err);
    add_submodule(walk, path);
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A folder in which one name stands twice is a way to write through a symbolic link. */
static int check_duplicates(const git_tree *tree, const char *folder, struct err *err)
{
    size_t n = git_tree_entrycount(tree);
    cleanup_free const char **names = xcalloc(n + 1, sizeof(char *));
    for (size_t i = 0; i < n; i++)
        names[i] = git_tree_entry_name(git_tree_entry_byindex(tree, i));
    qsort(names, n, sizeof(char *), compare_names);
    for (size_t i = 1; i < n; i++) {
        if (!str_eq(names[i - 1], names[i]))
            continue;
        cleanup_free char *path = xasprintf("%s%s%s", folder, folder[0] ? "/" : "", names[i]);
        cleanup_free char *text = git_worker_name_text(path);
        return err_set(err, -EINVAL, "upstream's tree has the entry '%s' twice", text);
    }
    return 0;
}

static int walk_tree(struct walk *walk, const git_oid *id, const char *folder, unsigned depth,
                     struct err *err)
{
    git_tree *tree = NULL;
    cleanup_free char *text = git_worker_name_text(folder);
    if (depth > DEPTH_MAX)
        return err_set(err, -EFBIG, "the context is more than %d folders deep (%s)", DEPTH_MAX,
                       text);
    int r = git_tree_read(walk->repo, id, text, &tree, err);
    if (r < 0)
        return r;
    r = check_duplicates(tree, folder, err);
    size_t n = git_tree_entrycount(tree);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = walk_entry(walk, git_tree_entry_byindex(tree, i), folder, depth, err);
    git_tree_free(tree);
    return r;
}

/* ---- .dockerignore and Dockerfile ---- */

/* Reads the .dockerignore at `path`; -ENOENT if there is none. */
static int read_ignore(struct walk *walk, const git_tree *root, const char *path, struct err *err)
{
    git_oid id;
    cleanup_strvec strvec used = {0};
    struct err none = ERR_INIT;
    int r = git_tree_resolve(walk->repo, root, path, &id, &used, &none);
    if (r == -ENOENT)
        return r;
    git_odb_object *object = NULL;
    r = r < 0 ? err_set(err, r, "%s", none.text)
              : git_tree_read_object(walk->repo, &id, GIT_OBJECT_BLOB, IGNORE_MAX, path, &object,
                                     err);
    if (r < 0)
        return r;
    r = dockerignore_parse(git_odb_object_data(object), git_odb_object_size(object), &walk->ignore,
                           err);
    git_odb_object_free(object);
    return r;
}

/* As BuildKit: one that is named for the Dockerfile goes before the general one. */
static int find_ignore(struct walk *walk, const git_tree *root, const char *dockerfile,
                       struct err *err)
{
    cleanup_free char *own = xasprintf("%s" IGNORE_NAME, dockerfile ? dockerfile : "");
    int r = read_ignore(walk, root, own, err);
    if (r == -ENOENT && dockerfile)
        r = read_ignore(walk, root, IGNORE_NAME, err);
    return r == -ENOENT ? 0 : r;
}

static int take_dockerfile(struct walk *walk, const char *path, struct err *err)
{
    git_odb_object *object = NULL;
    int r = git_tree_read_object(walk->repo, &walk->context->dockerfile_id, GIT_OBJECT_BLOB,
                                 GIT_DOCKERFILE_MAX, path, &object, err);
    if (r < 0)
        return r;
    size_t n = git_odb_object_size(object);
    if (memchr(git_odb_object_data(object), 0, n))
        r = err_set(err, -EINVAL, "%s has a NUL byte", path);
    else
        walk->context->dockerfile = xstrndup(git_odb_object_data(object), n);
    git_odb_object_free(object);
    return r;
}

/* What a builder needs beside the files: the Dockerfile, and what tells it to copy that nowhere. */
static void keep(struct walk *walk, const char *dockerfile, const strvec *used)
{
    VEC_FOREACH (used, path) {
        strvec_add(&walk->kept, *path);
    }
    cleanup_free char *own = xasprintf("%s" IGNORE_NAME, dockerfile);
    strvec_add(&walk->kept, own);
    strvec_add(&walk->kept, IGNORE_NAME);
}

static int find_dockerfile(struct walk *walk, const git_tree *root,
                           const struct git_context_args *args, struct err *err)
{
    cleanup_strvec strvec used = {0};
    struct err why = ERR_INIT;
    int r = git_tree_resolve(walk->repo, root, args->dockerfile, &walk->context->dockerfile_id,
                             &used, &why);
    if (r == -ENOENT)
        return 0; /* the answer says so by having none */
    if (r < 0)
        return err_set(err, r, "%s", why.text);
    if (args->keep_dockerfile)
        keep(walk, args->dockerfile, &used);
    return take_dockerfile(walk, args->dockerfile, err);
}

/* ---- what a change touches ---- */

/* `path` as it is called below `folder`, "" for the folder itself and what it is in; NULL: it is not in there. */
static const char *below(const char *path, const char *folder)
{
    size_t n = strlen(folder), m = strlen(path);
    if (m <= n && strncmp(path, folder, m) == 0 && (!m || !folder[m] || folder[m] == '/'))
        return "";
    if (!n)
        return path;
    return strncmp(path, folder, n) == 0 && path[n] == '/' ? path + n + 1 : NULL;
}

/* Whether it is a folder now: then what is in it says whether it matters. */
static bool is_folder(const git_tree *root, const char *path)
{
    git_tree_entry *entry = NULL;
    if (git_tree_entry_bypath(&entry, root, path) < 0)
        return false;
    bool folder = git_tree_entry_filemode(entry) == GIT_FILEMODE_TREE;
    git_tree_entry_free(entry);
    return folder;
}

/* A file that is not there yet counts by its name. */
static bool touches(const struct walk *walk, const git_tree *root, const char *path,
                    const char *dockerfile)
{
    cleanup_free char *own = xasprintf("%s" IGNORE_NAME, dockerfile ? dockerfile : "");
    size_t n = strlen(path);
    if (!n || str_eq(path, dockerfile) || str_eq(path, own) || str_eq(path, IGNORE_NAME))
        return true;
    VEC_FOREACH (&walk->context->entries, e)
        if (strncmp(e->path, path, n) == 0 && (!e->path[n] || e->path[n] == '/'))
            return true;
    return !is_folder(root, path) && is_wanted(walk, path);
}

static void find_touched(struct walk *walk, const git_tree *root,
                         const struct git_context_args *args)
{
    for (size_t i = 0; args->paths && i < args->paths->n; i++) {
        const char *path = below(args->paths->items[i], args->context);
        if (path && touches(walk, root, path, args->dockerfile))
            walk->context->touched = true;
    }
}

/* ---- the whole ---- */

static int compare_entries(const void *a, const void *b)
{
    const struct git_context_entry *x = a, *y = b;
    return strcmp(x->path, y->path);
}

static int read_folder(struct walk *walk, const git_oid *id, const struct git_context_args *args,
                       struct err *err)
{
    git_tree *root = NULL;
    int r = git_tree_read(walk->repo, id, args->context[0] ? args->context : "/", &root, err);
    if (r == 0)
        r = find_ignore(walk, root, args->dockerfile, err);
    if (r == 0 && args->dockerfile)
        r = find_dockerfile(walk, root, args, err);
    if (r == 0)
        r = walk_tree(walk, id, "", 0, err);
    if (r == 0)
        find_touched(walk, root, args);
    git_tree_free(root);
    if (r == 0 && walk->context->entries.n > 1)
        qsort(walk->context->entries.items, walk->context->entries.n,
              sizeof(struct git_context_entry), compare_entries);
    return r;
}

static int read_commit(git_repository *repo, const char *hex, git_oid *ret_tree, int64_t *ret_time,
                       struct err *err)
{
    git_oid id;
    git_commit *commit = NULL;
    if (strlen(hex) != GIT_OID_SIZE - 1 || git_oid_fromstr(&id, hex) < 0)
        return err_set(err, -EINVAL, "bad request: %s is no commit id", hex);
    int r = git_commit_lookup(&commit, repo, &id);
    if (r < 0)
        return git_worker_error(err, r, false, "commit %s", hex);
    *ret_tree = *git_commit_tree_id(commit);
    *ret_time = git_commit_time(commit);
    git_commit_free(commit);
    return 0;
}

/* The tree of the context folder; 1 when the commit has none of that name. */
static int find_folder(git_repository *repo, const char *path, git_oid *id, struct err *err)
{
    if (path[0] == 0)
        return 0;
    git_tree *root = NULL;
    git_tree_entry *entry = NULL;
    int r = git_tree_read(repo, id, "/", &root, err);
    if (r < 0)
        return r;
    r = git_tree_entry_bypath(&entry, root, path);
    git_tree_free(root);
    if (r == GIT_ENOTFOUND)
        return 1;
    if (r < 0)
        return git_worker_error(err, r, false, "%s", path);
    *id = *git_tree_entry_id(entry);
    git_filemode_t mode = git_tree_entry_filemode(entry);
    git_tree_entry_free(entry);
    if (mode == GIT_FILEMODE_TREE)
        return 0;
    return err_set(err, -EINVAL, "the context %s is not a folder but a %s", path,
                   mode == GIT_FILEMODE_LINK     ? "symbolic link"
                   : mode == GIT_FILEMODE_COMMIT ? "submodule"
                                                 : "file");
}

int git_context_read(const struct git_worker *worker, git_repository *repo,
                     const struct git_context_args *args, bool *ret_exists, struct git_context *ret,
                     struct err *err)
{
    git_oid id;
    int r = read_commit(repo, args->commit, &id, &ret->time, err);
    if (r < 0)
        return r;
    r = find_folder(repo, args->context, &id, err);
    *ret_exists = r == 0;
    if (r != 0)
        return r < 0 ? r : 0;
    struct walk walk = {.worker = worker, .repo = repo, .context = ret};
    r = read_folder(&walk, &id, args, err);
    strvec_done(&walk.kept);
    dockerignore_free(walk.ignore);
    return r;
}

void git_context_id(const struct git_context *context, char ret[72])
{
    static const char version[] = "sheaf context 1\n";
    struct digest digest;
    digest_init(&digest);
    digest_update(&digest, version, strlen(version));
    VEC_FOREACH (&context->entries, entry) {
        char line[64], hex[GIT_OID_SIZE];
        git_oid_tostr(hex, sizeof(hex), &entry->id);
        int n = snprintf(line, sizeof(line), "%06o %s ", entry->mode, hex);
        digest_update(&digest, line, (size_t)n);
        digest_update(&digest, entry->path, strlen(entry->path) + 1);
    }
    digest_final(&digest, ret);
}

void git_context_done(struct git_context *context)
{
    VEC_FOREACH (&context->entries, entry) {
        free(entry->path);
    }
    vec_free(&context->entries);
    free(context->first_submodule);
    free(context->dockerfile);
    *context = (struct git_context){0};
}
