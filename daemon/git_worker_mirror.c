/* Mirrors: bare repositories that hold upstream's refs under names of our own.
 *
 * The happy path: opened under a shared lock, fetched into under a second, exclusive one, closed.
 * What goes wrong: a fetch is killed and leaves lock files and half a pack (swept by the next fetch, which
 * alone holds the fetch lock); a mirror is killed while it is made (it is made beside its name and renamed);
 * it outgrows its limit (libgit2 has no gc: it is made anew from its own refs and exchanged for the old one
 * in one step, while nobody else has it open). */
#include "common/digest.h"
#include "common/log.h"
#include "daemon/git_worker_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#define PACKS_MAX     200             /* beyond which looking objects up gets slow */
#define RENEW_EVERY_S (24 * 60 * 60)  /* at most: one that does not help must not be the rule */
#define RENEWED       "sheaf-renewed" /* in a mirror: its size when it was made anew */

void git_mirror_ref(const char *name, char ret[80])
{
    char digest[DIGEST_SIZE];
    digest_of(name, strlen(name), digest);
    snprintf(ret, 80, "refs/sheaf/%s", digest + strlen("sha256:"));
}

int git_worker_check_path(const struct git_worker *worker, const char *path, struct err *err)
{
    size_t n = strlen(worker->state_dir);
    cleanup_free char *slashed = xasprintf("%s/", path);
    if (strncmp(path, worker->state_dir, n) != 0 || path[n] != '/' || strstr(slashed, "/../"))
        return err_set(err, -EINVAL, "bad request: %s is not below %s", path, worker->state_dir);
    return 0;
}

/* ---- files ---- */

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

/* Removes a folder with all in it; what is not there is fine. */
static void remove_tree(const char *path)
{
    if (nftw(path, remove_entry, 32, FTW_DEPTH | FTW_PHYS) < 0 && errno != ENOENT)
        log_warning("git worker: cannot remove %s: %s", path, strerror(errno));
}

/* Sums up what is in one folder, not below it. */
static int64_t folder_size(const char *path, size_t *files)
{
    DIR *d = opendir(path);
    int64_t size = 0;
    for (struct dirent *entry; d && (entry = readdir(d));) {
        struct stat st;
        if (fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(st.st_mode)) {
            size += st.st_size;
            (*files)++;
        }
    }
    if (d)
        closedir(d);
    return size;
}

/* Removes the files of a folder whose names begin and end so. */
static void sweep_folder(const char *mirror, const char *folder, const char *prefix,
                         const char *suffix)
{
    cleanup_free char *path = xasprintf("%s/%s", mirror, folder);
    DIR *d = opendir(path);
    for (struct dirent *entry; d && (entry = readdir(d));) {
        if (str_starts(entry->d_name, prefix) && str_ends(entry->d_name, suffix))
            (void)unlinkat(dirfd(d), entry->d_name, 0);
    }
    if (d)
        closedir(d);
}

/* What a killed fetch leaves: locks that would be honoured for ever, packs that nobody finishes, and half of
 * a mirror's successor. */
static void sweep(const char *mirror)
{
    cleanup_free char *fresh = xasprintf("%s.new", mirror);
    remove_tree(fresh);
    sweep_folder(mirror, ".", "", ".lock");
    sweep_folder(mirror, "refs/sheaf", "", ".lock");
    sweep_folder(mirror, "objects/pack", "pack_git2_", "");
}

/* ---- locks ---- */

static int lock_file(const char *mirror, const char *suffix, int how, int *ret_fd, struct err *err)
{
    cleanup_free char *path = xasprintf("%s.%s", mirror, suffix);
    cleanup_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, errno == ENOSPC ? -ENOSPC : -EIO, "%s", path);
    while (flock(fd, how) < 0) {
        if (errno != EINTR)
            return err_errno(err, -EBUSY, "%s", path);
    }
    *ret_fd = steal_fd(&fd);
    return 0;
}

/* ---- opening ---- */

static int make_bare(const char *path, git_repository **ret, struct err *err)
{
    git_repository_init_options options = GIT_REPOSITORY_INIT_OPTIONS_INIT;
    options.flags = GIT_REPOSITORY_INIT_BARE | GIT_REPOSITORY_INIT_MKPATH;
    options.mode = 0700;
    int r = git_repository_init_ext(ret, path, &options);
    return r < 0 ? git_worker_error(err, r, false, "cannot make %s", path) : 0;
}

/* Makes an empty mirror beside its name and renames it, so that half of one never has the name. */
static int create(const char *path, struct err *err)
{
    cleanup_free char *fresh = xasprintf("%s.new", path);
    git_repository *repo = NULL;
    remove_tree(fresh);
    int r = make_bare(fresh, &repo, err);
    git_repository_free(repo);
    if (r < 0)
        return r;
    return rename(fresh, path) < 0 ? err_errno(err, -EIO, "cannot rename %s", fresh) : 0;
}

static int open_repository(struct git_mirror *mirror, struct err *err)
{
    int r = git_repository_open_ext(&mirror->repo, mirror->path,
                                    GIT_REPOSITORY_OPEN_BARE | GIT_REPOSITORY_OPEN_NO_SEARCH, NULL);
    return r < 0 ? git_worker_error(err, r, false, "cannot open the mirror %s", mirror->path) : 0;
}

/* Whether the mirror at `path` can be opened; one that cannot is of no use to anybody. */
static bool is_sound(const char *path)
{
    git_repository *repo = NULL;
    int r = git_repository_open_ext(&repo, path,
                                    GIT_REPOSITORY_OPEN_BARE | GIT_REPOSITORY_OPEN_NO_SEARCH, NULL);
    git_repository_free(repo);
    return r == 0;
}

static bool is_there(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

int git_mirror_open(const struct git_worker *worker, const char *path, struct git_mirror *ret,
                    struct err *err)
{
    int r = git_worker_check_path(worker, path, err);
    if (r < 0)
        return r;
    if (!is_there(path))
        return err_set(err, -ENOENT, "there is no mirror %s yet", path);
    ret->path = xstrdup(path);
    if ((r = lock_file(path, "lock", LOCK_SH, &ret->use_lock, err)) < 0)
        return r;
    return open_repository(ret, err);
}

/* ---- making it anew ---- */

static int64_t mirror_size(const char *mirror, size_t *ret_packs)
{
    cleanup_free char *packs = xasprintf("%s/objects/pack", mirror);
    size_t files = 0;
    int64_t size = folder_size(packs, &files);
    *ret_packs = files / 2; /* each has its index */
    return size;
}

/* The size that the mirror had when it was last made anew; 0 if it never was. *ret_age is the seconds
 * since the last try. */
static int64_t renewed_size(const char *mirror, int64_t *ret_age)
{
    cleanup_free char *path = xasprintf("%s/" RENEWED, mirror);
    cleanup_fclose FILE *f = fopen(path, "re");
    struct stat st;
    long long size = 0;
    *ret_age = INT64_MAX;
    if (!f || fstat(fileno(f), &st) < 0)
        return 0;
    *ret_age = (int64_t)(time(NULL) - st.st_mtime);
    return fscanf(f, "%lld", &size) == 1 && size > 0 ? size : 0;
}

static void note_renewal(const char *mirror, int64_t size)
{
    cleanup_free char *path = xasprintf("%s/" RENEWED, mirror);
    cleanup_fclose FILE *f = fopen(path, "we");
    if (f)
        fprintf(f, "%lld\n", (long long)size);
}

static bool outgrown(const struct git_worker *worker, const char *mirror)
{
    size_t packs;
    int64_t size = mirror_size(mirror, &packs), age;
    int64_t before = renewed_size(mirror, &age);
    if (age < RENEW_EVERY_S && age >= 0)
        return false;
    /* where the last time did not help, only real growth makes another worth its while */
    return packs > PACKS_MAX ||
           size > (2 * before > worker->mirror_limit ? 2 * before : worker->mirror_limit);
}

typedef VEC(git_oid) oidvec;

static int list_refs(git_repository *repo, git_strarray *names, oidvec *ids)
{
    int r = git_reference_list(names, repo);
    for (size_t i = 0; r == 0 && i < names->count; i++) {
        git_oid id;
        r = git_reference_name_to_id(&id, repo, names->strings[i]);
        if (r == 0)
            vec_push(ids, id);
    }
    return r;
}

/* Copies all that the refs of `from` reach into `to`, and the refs. */
static int copy_mirror(git_repository *from, git_repository *to, const char *path, struct err *err)
{
    git_strarray names = {0};
    oidvec ids = {0};
    int r = list_refs(from, &names, &ids);
    if (r < 0)
        r = git_worker_error(err, r, false, "cannot copy the mirror %s", path);
    else
        r = git_copy_objects(from, to, ids.items, ids.n, INT64_MAX, path, err);
    for (size_t i = 0; r == 0 && i < names.count; i++) {
        git_reference *ref = NULL;
        r = git_reference_create(&ref, to, names.strings[i], &ids.items[i], 1, NULL);
        git_reference_free(ref);
        if (r < 0)
            r = git_worker_error(err, r, false, "cannot copy the mirror %s", path);
    }
    git_strarray_dispose(&names);
    vec_free(&ids);
    return r;
}

static int build_successor(const char *path, const char *fresh, struct err *err)
{
    git_repository *from = NULL, *to = NULL;
    remove_tree(fresh);
    int r = make_bare(fresh, &to, err);
    if (r == 0 && (r = git_repository_open(&from, path)) < 0)
        r = git_worker_error(err, r, false, "%s", path);
    if (r == 0)
        r = copy_mirror(from, to, path, err);
    git_repository_free(from);
    git_repository_free(to);
    return r;
}

/* Replaces the mirror by one with only what its refs reach. Others must not have it open: if they do, or
 * if anything fails, the old one serves on. */
static int renew(const char *path, struct err *err)
{
    cleanup_free char *fresh = xasprintf("%s.new", path);
    size_t packs;
    note_renewal(path, mirror_size(path, &packs) / 2); /* if we are killed, not again today */
    int r = build_successor(path, fresh, err);
    if (r == 0) {
        note_renewal(fresh, mirror_size(fresh, &packs));
        cleanup_close int lock = -1;
        r = lock_file(path, "lock", LOCK_EX | LOCK_NB, &lock, err);
        if (r == 0 && renameat2(AT_FDCWD, fresh, AT_FDCWD, path, RENAME_EXCHANGE) < 0)
            r = err_errno(err, -EIO, "cannot exchange %s", path);
    }
    remove_tree(fresh);
    return r;
}

static int make_parent(const char *path, struct err *err)
{
    cleanup_free char *parent = xstrndup(path, (size_t)(strrchr(path, '/') - path));
    if (mkdir(parent, 0700) < 0 && errno != EEXIST)
        return err_errno(err, errno == ENOSPC ? -ENOSPC : -EIO, "cannot make %s", parent);
    return 0;
}

/* Replaces what is there, whatever it is, by an empty mirror, while nobody reads it. */
static int replace(const char *path, struct err *err)
{
    cleanup_close int lock = -1;
    int r = lock_file(path, "lock", LOCK_EX, &lock, err);
    if (r < 0)
        return r;
    remove_tree(path);
    return create(path, err);
}

int git_mirror_open_fetch(const struct git_worker *worker, const char *path, bool anew,
                          struct git_mirror *ret, struct err *err)
{
    int r = git_worker_check_path(worker, path, err);
    if (r < 0)
        return r;
    ret->path = xstrdup(path);
    if ((r = make_parent(path, err)) < 0)
        return r;
    if ((r = lock_file(path, "fetch", LOCK_EX, &ret->fetch_lock, err)) < 0)
        return r;
    sweep(path);
    if ((anew || !is_sound(path)) && (r = replace(path, err)) < 0)
        return r;
    if (outgrown(worker, path)) {
        struct err why = ERR_INIT;
        log_info("git worker: making the mirror %s anew", path);
        if (renew(path, &why) < 0)
            log_warning("git worker: %s", why.text);
    }
    if ((r = lock_file(path, "lock", LOCK_SH, &ret->use_lock, err)) < 0)
        return r;
    return open_repository(ret, err);
}

void git_mirror_close(struct git_mirror *mirror)
{
    git_repository_free(mirror->repo);
    closep(&mirror->use_lock);
    closep(&mirror->fetch_lock);
    free(mirror->path);
    *mirror = GIT_MIRROR_INIT;
}
