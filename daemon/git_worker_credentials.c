/* What the worker shows to servers, and by what it judges them. */
#include "daemon/git_worker_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define PASSWORD_MAX 4096

/* Without the first, packing for a fetch by path (ours from another mirror included) compares tarballs
 * with each other for most of a minute, and finds nothing. */
static const char gitconfig[] = "[core]\n\tbigFileThreshold = 262144\n";

/* A link is made under another name and renamed: other workers do the same at the same time. */
static int link_ssh_dir(const struct git_worker *worker, const char *home, struct err *err)
{
    cleanup_free char *link = xasprintf("%s/.ssh", home);
    cleanup_free char *fresh = xasprintf("%s/.ssh.%d", home, (int)getpid());
    (void)unlink(fresh);
    if (symlink(worker->ssh_dir, fresh) < 0 || rename(fresh, link) < 0)
        return err_errno(err, -EIO, "%s", link);
    return 0;
}

static int write_gitconfig(const char *home, struct err *err)
{
    cleanup_free char *path = xasprintf("%s/gitconfig", home);
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    size_t n = strlen(gitconfig);
    if (fd < 0 || pwrite(fd, gitconfig, n, 0) != (ssize_t)n || ftruncate(fd, (off_t)n) < 0)
        return err_errno(err, -EIO, "%s", path);
    return 0;
}

/* libgit2 looks for known_hosts in $HOME/.ssh only: gives it a home that has nothing else. */
static int make_home(const struct git_worker *worker, const char *home, struct err *err)
{
    if (mkdir(home, 0700) < 0 && errno != EEXIST)
        return err_errno(err, -EIO, "%s", home);
    int r = write_gitconfig(home, err);
    if (r == 0 && worker->ssh_dir)
        r = link_ssh_dir(worker, home, err);
    if (r == 0 && setenv("HOME", home, 1) < 0)
        r = err_errno(err, -EIO, "HOME");
    return r;
}

int git_worker_setup(const struct git_worker *worker, struct err *err)
{
    cleanup_free char *home = xasprintf("%s/.home", worker->state_dir);
    int r = make_home(worker, home, err);
    if (r < 0)
        return r;
    if ((r = git_libgit2_init()) < 0)
        return git_worker_error(err, r, false, "libgit2");
    /* no configuration but ours and a mirror's own: somebody's insteadOf is not our upstream */
    const int levels[] = {GIT_CONFIG_LEVEL_XDG, GIT_CONFIG_LEVEL_GLOBAL,
                          GIT_CONFIG_LEVEL_PROGRAMDATA};
    (void)git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, GIT_CONFIG_LEVEL_SYSTEM, home);
    for (size_t i = 0; i < sizeof(levels) / sizeof(*levels); i++)
        (void)git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, levels[i], "");
    /* upstreams by path may be anybody's: libgit2 runs nothing that a repository names */
    (void)git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0);
    (void)git_libgit2_opts(GIT_OPT_ENABLE_FSYNC_GITDIR, 1);
    if (!worker->ca_file)
        return 0;
    r = git_libgit2_opts(GIT_OPT_SET_SSL_CERT_LOCATIONS, worker->ca_file, NULL);
    return r < 0 ? git_worker_error(err, r, false, "%s", worker->ca_file) : 0;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The private keys that may be offered, in the order of their names. */
static void list_keys(struct git_credentials *credentials)
{
    credentials->listed = true;
    if (credentials->auth.ssh_key) {
        strvec_add(&credentials->keys, credentials->auth.ssh_key);
        return;
    }
    const char *dir = credentials->worker->ssh_dir;
    DIR *d = dir ? opendir(dir) : NULL;
    for (struct dirent *entry; d && (entry = readdir(d));) {
        if (!str_starts(entry->d_name, "id_") || str_ends(entry->d_name, ".pub"))
            continue;
        cleanup_free char *path = xasprintf("%s/%s", dir, entry->d_name);
        strvec_add(&credentials->keys, path);
    }
    if (d)
        closedir(d);
    if (credentials->keys.n > 1)
        qsort(credentials->keys.items, credentials->keys.n, sizeof(char *), compare_paths);
}

static int next_key(struct git_credentials *credentials, git_credential **out, const char *user)
{
    if (!credentials->listed)
        list_keys(credentials);
    if (credentials->tried < credentials->keys.n)
        return git_credential_ssh_key_new(out, user, NULL,
                                          credentials->keys.items[credentials->tried++], NULL);
    if (credentials->keys.n == 0)
        git_error_set_str(GIT_ERROR_SSH, "authentication failed: there is no key to offer");
    else
        git_error_set_str(GIT_ERROR_SSH, "authentication failed: no key of ours was accepted "
                                         "(RSA keys are not supported: use ed25519 or ecdsa)");
    return GIT_EAUTH;
}

static int read_password(const char *path, char ret[PASSWORD_MAX])
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, ret, PASSWORD_MAX - 1);
    if (n < 0)
        return -errno;
    ret[n] = 0;
    ret[strcspn(ret, "\r\n")] = 0;
    return 0;
}

static int password(struct git_credentials *credentials, git_credential **out)
{
    const struct git_auth *auth = &credentials->auth;
    if (!auth->username || !auth->password_file) {
        git_error_set_str(GIT_ERROR_HTTP,
                          "authentication required, and the source has no password");
        return GIT_EAUTH;
    }
    if (credentials->password_tried) {
        git_error_set_str(GIT_ERROR_HTTP, "authentication failed: the password was not accepted");
        return GIT_EAUTH;
    }
    credentials->password_tried = true;
    char text[PASSWORD_MAX];
    if (read_password(auth->password_file, text) < 0) {
        git_error_set_str(GIT_ERROR_OS, "authentication failed: the password file is not readable");
        return GIT_EAUTH;
    }
    int r = git_credential_userpass_plaintext_new(out, auth->username, text);
    explicit_bzero(text, sizeof(text));
    return r;
}

int git_credentials_acquire(git_credential **out, const char *url, const char *user,
                            unsigned int allowed, void *payload)
{
    struct git_credentials *credentials = payload;
    const char *name = user ? user : "git";
    if (allowed & GIT_CREDENTIAL_SSH_KEY)
        return next_key(credentials, out, name);
    if (allowed & GIT_CREDENTIAL_USERNAME)
        return git_credential_username_new(out, name);
    if (allowed & GIT_CREDENTIAL_USERPASS_PLAINTEXT)
        return password(credentials, out);
    git_error_set_str(GIT_ERROR_NET, "authentication failed: the server wants a kind that we lack");
    return GIT_EAUTH;
}

void git_credentials_done(struct git_credentials *credentials)
{
    strvec_done(&credentials->keys);
}
