/* What the parts of sheaf-git-worker share. It is a program of its own, the only one with libgit2 in it:
 * libgit2 has no time-outs, so sheafd kills a worker that outstays its deadline. Straight blocking code;
 * whatever it leaves half-done in a mirror when it is killed, the next fetch sweeps.
 *
 * Errors carry an errno of git_protocol.h's table. */
#pragma once

#include "common/err.h"
#include "common/mem.h"

#include <git2.h>
#include <jansson.h>
#include <stdint.h>

struct git_worker {
    const char *state_dir; /* mirrors and archives are below it; nothing is written elsewhere */
    const char *ssh_dir;   /* known_hosts, and keys (id_*) for sources without one; NULL: none */
    const char *ca_file;   /* certificates that HTTPS servers are judged by; NULL: the system's */
    int64_t mirror_limit;  /* bytes of a mirror beyond which it is made anew */
    int64_t fetch_limit;   /* bytes that one fetch may bring */
    int64_t blob_limit;    /* bytes of one file in a context */
    int64_t context_limit; /* bytes of all files of a context */
};

/* ---- git_worker_sandbox.c ---- */

/* Gives up what the process may do beyond reading files, connecting out and writing below state_dir:
 * capabilities, new privileges, executing programs, core dumps, memory beyond a few files of `blob_limit`
 * bytes; and dies with its parent. What the kernel does not offer is left out. */
void git_worker_confine(const char *state_dir, int64_t blob_limit);

/* ---- git_worker_error.c ---- */

/* Turns libgit2's last error, which came with the return value `rc`, into `err`, behind a printf-formatted
 * text. `remote` tells whether another machine was spoken to. Returns the code, never 0. */
int git_worker_error(struct err *err, int rc, bool remote, const char *fmt, ...)
    __attribute__((format(printf, 4, 5), warn_unused_result, cold));
/* A URL for people: without the password that may be in it. The caller owns the text. */
char *git_worker_url_text(const char *url);
/* Bytes of a name for people and JSON: what is not printable UTF-8 becomes \xNN. The caller owns the
 * text. */
char *git_worker_name_text(const char *name);

/* ---- git_worker_credentials.c ---- */

/* What a source's requests may bring with them; the pointers are the request's. */
struct git_auth {
    const char *ssh_key;       /* path of a private key, or NULL: those of ssh_dir */
    const char *username;      /* for http(s), or NULL */
    const char *password_file; /* its first line is the password, or NULL */
};

/* Which credentials one connection has tried so far. Zeroed but for the first two at the beginning. */
struct git_credentials {
    const struct git_worker *worker;
    struct git_auth auth;
    strvec keys; /* paths of private keys; filled at the first need */
    bool listed;
    size_t tried;
    bool password_tried;
};

/* Sets libgit2's process-wide options from `worker`: CA, no configuration of the machine's or the user's,
 * known_hosts from the ssh folder. */
int git_worker_setup(const struct git_worker *worker, struct err *err);
/* libgit2's callback; the payload is a struct git_credentials. */
int git_credentials_acquire(git_credential **out, const char *url, const char *user,
                            unsigned int allowed, void *payload);
/* Frees what it owns. */
void git_credentials_done(struct git_credentials *credentials);

/* ---- git_worker_copy.c ---- */

/* Copies from `from` into `to` all that the `n` objects `ids` (commits, or tags of commits) reach and the
 * commits under refs/sheaf/ in `to` do not: one new pack. -EFBIG when it would be larger than `limit` bytes;
 * `what` names the repository in errors. */
int git_copy_objects(git_repository *from, git_repository *to, const git_oid *ids, size_t n,
                     int64_t limit, const char *what, struct err *err);

/* ---- git_worker_mirror.c ---- */

/* A mirror that is open; while it is, nobody replaces it. */
struct git_mirror {
    char *path;
    git_repository *repo;
    int use_lock; /* shared while the mirror is open, exclusive while it is replaced */
    int fetch_lock;
};
#define GIT_MIRROR_INIT ((struct git_mirror){.use_lock = -1, .fetch_lock = -1})

/* Whether `path` is absolute, below state_dir and has no ".." in it; -EINVAL otherwise. */
int git_worker_check_path(const struct git_worker *worker, const char *path, struct err *err);
/* Opens the mirror at `path` to read it; -ENOENT where there is none. */
int git_mirror_open(const struct git_worker *worker, const char *path, struct git_mirror *ret,
                    struct err *err);
/* Opens the mirror to fetch into it: made if it is not there (or emptied with `anew`), swept of what a killed
 * fetch left, and made anew from its own refs when it has outgrown the limit. One fetch at a time holds it. */
int git_mirror_open_fetch(const struct git_worker *worker, const char *path, bool anew,
                          struct git_mirror *ret, struct err *err);
/* Closes and unlocks; one that was never opened too. */
void git_mirror_close(struct git_mirror *mirror);
/* Where upstream's ref `name` is kept: "refs/sheaf/<sha256 of the name>", so that no two upstream names
 * can be in each other's way. */
void git_mirror_ref(const char *name, char ret[80]);

/* ---- git_worker_context.c ---- */

struct git_context_entry {
    char *path;    /* below the context; bytes as in the tree */
    unsigned mode; /* 0100644, 0100755, 0120000, or 0160000 for a submodule */
    git_oid id;    /* of the blob; zero for a submodule */
    int64_t size;  /* of the blob in bytes */
};

/* The files of one context folder, .dockerignore applied, sorted by path. */
struct git_context {
    VEC(struct git_context_entry) entries;
    int64_t size; /* of all blobs in bytes */
    size_t submodules;
    char *first_submodule; /* its path, for people */
    char *dockerfile;      /* text, when one was asked for and is there; no NUL in it */
    git_oid dockerfile_id;
    int64_t time; /* committer time of the commit, seconds */
    bool touched; /* a change of one of the paths would change it */
};

struct git_context_args {
    const char *commit;     /* 40 hex digits */
    const char *context;    /* folder in the tree, "" for its root */
    const char *dockerfile; /* path below the context, or NULL */
    bool keep_dockerfile;   /* it and .dockerignore stay even where .dockerignore leaves them out */
    const strvec *paths;    /* in the tree; NULL: whether the context is touched is not asked */
};

/* Reads the context and checks every entry. *ret_exists: whether the tree has such a folder. -ENOENT: the
 * mirror has no such commit. -EINVAL, naming the entry, for what must not be unpacked anywhere. `ret` is
 * to be released in any case. */
int git_context_read(const struct git_worker *worker, git_repository *repo,
                     const struct git_context_args *args, bool *ret_exists, struct git_context *ret,
                     struct err *err);
/* "sha256:<hex>" over the sorted modes, blob ids and paths. */
void git_context_id(const struct git_context *context, char ret[72]);
/* Frees what it owns. */
void git_context_done(struct git_context *context);

/* ---- git_worker_tree.c ---- */

/* Reads an object of `type` of at most `max` bytes; `what` names it in errors. The caller frees it. */
int git_tree_read_object(git_repository *repo, const git_oid *id, git_object_t type, int64_t max,
                         const char *what, git_odb_object **ret, struct err *err);
/* The size of blob `id`, which must be one; `what` names it in errors. */
int git_tree_blob_size(git_repository *repo, const git_oid *id, const char *what, int64_t *ret,
                       struct err *err);
/* Looks a tree up, unless it is larger than any sane one. The caller frees it. */
int git_tree_read(git_repository *repo, const git_oid *id, const char *what, git_tree **ret,
                  struct err *err);
/* -EINVAL when no file system should see `name` as one component of a path: "..", ".git", one with a
 * slash, ... `path` is the whole path for the message. */
int git_tree_check_name(const char *name, const char *path, struct err *err);
/* -EINVAL unless the symbolic link at `path` with `target` of n bytes stays below the context; absolute
 * targets mean the image's root, and stay. */
int git_tree_check_link(const char *path, const char *target, size_t n, struct err *err);
/* The file that `path` names below `tree`, symbolic links followed inside it: its blob id, and in `used`
 * the paths of every link and file that led there. -ENOENT where it is not; -EINVAL when it leads out. */
int git_tree_resolve(git_repository *repo, const git_tree *tree, const char *path, git_oid *ret_id,
                     strvec *used, struct err *err);

/* ---- git_worker_archive.c ---- */

/* Writes the context as an uncompressed tar (ustar, pax where that does not suffice) to `output`, by way
 * of a temporary name beside it: sorted, owner 0:0, every time `epoch` seconds. *ret_size is the tar's
 * size in bytes. */
int git_archive_write(git_repository *repo, const struct git_context *context, int64_t epoch,
                      const char *output, int64_t *ret_size, struct err *err);

/* ---- the operations: each fills `answer` from `request` ---- */

/* git_worker_remote.c: the refs of a source, from one connection. */
int git_op_list(const struct git_worker *worker, json_t *request, json_t *answer, struct err *err);
/* git_worker_remote.c: brings refs into a mirror. */
int git_op_fetch(const struct git_worker *worker, json_t *request, json_t *answer, struct err *err);
/* git_worker_local.c: the context's id and the Dockerfile's text. */
int git_op_inspect(const struct git_worker *worker, json_t *request, json_t *answer,
                   struct err *err);
/* git_worker_local.c: whether one commit is another's ancestor (or the same). */
int git_op_ancestor(const struct git_worker *worker, json_t *request, json_t *answer,
                    struct err *err);
/* git_worker_local.c: the context as a tar. */
int git_op_archive(const struct git_worker *worker, json_t *request, json_t *answer,
                   struct err *err);
