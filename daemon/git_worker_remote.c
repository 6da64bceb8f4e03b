/* The operations that speak to an upstream: one connection each. */
#include "common/json.h"
#include "common/ref_glob.h"
#include "daemon/git_protocol.h"
#include "daemon/git_worker_int.h"

#include <errno.h>

#define NAME_MAX_BYTES 1024
#define PEELED         "^{}" /* how a server marks what an annotated tag points to */

/* One connection to an upstream. */
struct upstream {
    const char *url;
    char *text; /* the URL for messages */
    char *path; /* on this machine, else NULL */
    git_remote *remote;
    git_repository *mirror; /* NULL when only listing */
    struct git_credentials credentials;
    const git_remote_head **heads; /* libgit2's, until disconnected */
    size_t n;
    int64_t limit; /* bytes of a fetch */
    bool over;     /* the fetch was broken off because of it */
};

/* ---- connecting ---- */

static int check_url(const char *url, struct err *err)
{
    static const char *const schemes[] = {"file:///", "http://", "https://", "git://", "ssh://"};
    for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++) {
        if (str_starts(url, schemes[i]))
            return 0;
    }
    const char *colon = strchr(url, ':');
    bool scp =
        colon && colon > url && !strstr(url, "::") && !memchr(url, '/', (size_t)(colon - url));
    if (url[0] == '/' || (scp && !strstr(url, "://")))
        return 0;
    cleanup_free char *text = git_worker_url_text(url);
    return err_set(err, -EINVAL,
                   "%s is no source: an absolute path, or file, http, https, git or ssh", text);
}

static int progress(const git_indexer_progress *stats, void *payload)
{
    struct upstream *upstream = payload;
    upstream->over = (int64_t)stats->received_bytes > upstream->limit;
    return upstream->over ? GIT_EUSER : 0;
}

static int acquire(git_credential **out, const char *url, const char *user, unsigned int allowed,
                   void *payload)
{
    struct upstream *upstream = payload;
    return git_credentials_acquire(out, url, user, allowed, &upstream->credentials);
}

/* Whatever libgit2 found stands: an unknown host key or a wrong certificate ends the connection. */
static int certificate(git_cert *cert, int valid, const char *host, void *payload)
{
    return GIT_PASSTHROUGH;
}

static git_remote_callbacks callbacks(struct upstream *upstream)
{
    git_remote_callbacks set = GIT_REMOTE_CALLBACKS_INIT;
    set.credentials = acquire;
    set.certificate_check = certificate;
    set.transfer_progress = progress;
    set.payload = upstream;
    return set;
}

static int fail(struct upstream *upstream, int rc, struct err *err)
{
    if (upstream->over)
        return err_set(err, -EFBIG, "%s: the fetch would bring more than %lld bytes",
                       upstream->text, (long long)upstream->limit);
    return git_worker_error(err, rc, true, "%s", upstream->text);
}

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c | 0x20) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* The path that a URL names on this machine, or NULL for another machine's. The caller owns it. */
static char *local_path(const char *url)
{
    if (url[0] == '/')
        return xstrdup(url);
    if (!str_starts(url, "file:///"))
        return NULL;
    struct strbuf out = {0};
    for (const char *s = url + strlen("file://"); *s; s++) {
        int high = *s == '%' ? hex_digit(s[1]) : -1;
        int low = high >= 0 ? hex_digit(s[2]) : -1;
        strbuf_addc(&out, low >= 0 ? (char)(high << 4 | low) : *s);
        s += low >= 0 ? 2 : 0;
    }
    return strbuf_steal(&out);
}

/* libgit2 takes a path that is not there for a URL that it does not know. */
static int check_path(const struct upstream *upstream, struct err *err)
{
    if (!upstream->path || access(upstream->path, F_OK) == 0)
        return 0;
    return err_set_retryable(err, errno == EACCES ? -EACCES : -ENOENT, true, "%s: %s",
                             upstream->text, strerror(errno));
}

static int connect_upstream(struct upstream *upstream, struct err *err)
{
    int r = check_url(upstream->url, err);
    if (r < 0)
        return r;
    upstream->text = git_worker_url_text(upstream->url);
    upstream->path = local_path(upstream->url);
    if ((r = check_path(upstream, err)) < 0)
        return r;
    git_remote_create_options options = GIT_REMOTE_CREATE_OPTIONS_INIT;
    options.repository = upstream->mirror;
    options.flags = GIT_REMOTE_CREATE_SKIP_INSTEADOF | GIT_REMOTE_CREATE_SKIP_DEFAULT_FETCHSPEC;
    git_proxy_options proxy = GIT_PROXY_OPTIONS_INIT;
    proxy.type = GIT_PROXY_AUTO;
    git_remote_callbacks set = callbacks(upstream);
    r = git_remote_create_with_opts(&upstream->remote, upstream->url, &options);
    if (r == 0)
        r = git_remote_connect(upstream->remote, GIT_DIRECTION_FETCH, &set, &proxy, NULL);
    if (r == 0)
        r = git_remote_ls(&upstream->heads, &upstream->n, upstream->remote);
    if (r < 0)
        return fail(upstream, r, err);
    if (upstream->n > GIT_REFS_MAX)
        return err_set(err, -EFBIG, "%s has %zu refs; at most %d are taken", upstream->text,
                       upstream->n, GIT_REFS_MAX);
    return 0;
}

static void upstream_done(struct upstream *upstream)
{
    git_remote_free(upstream->remote); /* disconnects */
    git_credentials_done(&upstream->credentials);
    free(upstream->text);
    free(upstream->path);
}

/* ---- list ---- */

static int compare_heads(const void *a, const void *b)
{
    const git_remote_head *x = *(const git_remote_head *const *)a;
    const git_remote_head *y = *(const git_remote_head *const *)b;
    return strcmp(x->name, y->name);
}

static bool matches(json_t *patterns, const char *name)
{
    size_t i;
    json_t *pattern;
    json_array_foreach (patterns, i, pattern) {
        if (json_is_string(pattern) && ref_glob(json_string_value(pattern), name))
            return true;
    }
    return !patterns;
}

/* Whether a ref may be called so. A server may say anything; names that git itself refuses (control characters,
 * "..") end up on terminals and in paths. */
static bool is_sane(const char *name)
{
    int valid = 0;
    return strlen(name) <= NAME_MAX_BYTES &&
           (str_eq(name, "HEAD") ||
            (str_starts(name, "refs/") && git_reference_name_is_valid(&valid, name) == 0 && valid));
}

/* Whether heads[i] is the peeled form of the ref called `name`. */
static bool is_peeled(const git_remote_head *head, const char *name)
{
    size_t n = strlen(name);
    return strncmp(head->name, name, n) == 0 && str_eq(head->name + n, PEELED);
}

static json_t *answer_ref(const git_remote_head *head, const git_remote_head *peeled)
{
    char oid[GIT_OID_SIZE], commit[GIT_OID_SIZE];
    git_oid_tostr(oid, sizeof(oid), &head->oid);
    git_oid_tostr(commit, sizeof(commit), peeled ? &peeled->oid : &head->oid);
    /* NULL for a name that is not UTF-8: no pattern in farm.yaml can mean it */
    return json_pack("{s:s, s:s, s:s}", "name", head->name, "oid", oid, "peeled", commit);
}

/* Adds the refs that are asked for, sorted by name, or rather more of them than may be; returns how many upstream
 * has in all. */
static size_t answer_refs(const struct upstream *upstream, json_t *patterns, json_t *refs)
{
    size_t n = upstream->n, total = 0;
    cleanup_free const git_remote_head **heads = xcalloc(n + 1, sizeof(*heads));
    for (size_t i = 0; i < n; i++)
        heads[i] = upstream->heads[i];
    if (n > 1)
        qsort(heads, n, sizeof(*heads), compare_heads);
    for (size_t i = 0; i < n; i++) {
        const char *name = heads[i]->name;
        if (str_ends(name, PEELED) || (i > 0 && str_eq(heads[i - 1]->name, name)))
            continue;
        total++;
        /* '^' is in no ref's name; what sorts between a ref and its peeled form begins with both */
        const git_remote_head *peeled = NULL;
        for (size_t j = i + 1; j < n && !peeled && str_starts(heads[j]->name, name); j++)
            peeled = is_peeled(heads[j], name) ? heads[j] : NULL;
        if (matches(patterns, name) && is_sane(name) && json_array_size(refs) <= GIT_MATCHES_MAX)
            json_array_append_new(refs, answer_ref(heads[i], peeled));
    }
    return total;
}

/* The branch that HEAD is, where the server says so. (libgit2's own function for it guesses where it does not,
 * and crashes where there is a HEAD and no branch.) */
static json_t *head_branch(const struct upstream *upstream)
{
    for (size_t i = 0; i < upstream->n; i++) {
        const char *target = upstream->heads[i]->symref_target;
        if (str_eq(upstream->heads[i]->name, "HEAD") && target && is_sane(target))
            return json_string(target);
    }
    return json_null();
}

static int unpack_auth(json_t *auth, struct git_auth *ret, struct err *err)
{
    if (!auth)
        return 0;
    return json_unpack_strict(auth, err, "{s?s, s?s, s?s}", "ssh_key", &ret->ssh_key, "username",
                              &ret->username, "password_file", &ret->password_file);
}

int git_op_list(const struct git_worker *worker, json_t *request, json_t *answer, struct err *err)
{
    struct upstream upstream = {.credentials.worker = worker, .limit = worker->fetch_limit};
    json_t *patterns = NULL, *auth = NULL;
    int r = json_unpack_strict(request, err, "{s:s, s?o, s?o}", "url", &upstream.url, "patterns",
                               &patterns, "auth", &auth);
    if (r == 0)
        r = unpack_auth(auth, &upstream.credentials.auth, err);
    if (r == 0)
        r = connect_upstream(&upstream, err);
    if (r == 0) {
        json_t *refs = json_array();
        json_object_set_new(answer, "refs", refs);
        size_t total = answer_refs(&upstream, patterns, refs);
        json_object_set_new(answer, "total", json_integer((json_int_t)total));
        json_object_set_new(answer, "head", head_branch(&upstream));
        if (json_array_size(refs) > GIT_MATCHES_MAX)
            r = err_set(err, -EFBIG, "%s: more than %d refs match; a narrower pattern is wanted",
                        upstream.text, GIT_MATCHES_MAX);
    }
    upstream_done(&upstream);
    return r;
}

/* ---- fetch ---- */

/* What one fetch wants: names that upstream has, with the refspec that brings each. */
struct wanted {
    VEC(const git_remote_head *) heads;
    strvec specs;
};

static const git_remote_head *find_head(const struct upstream *upstream, const char *name)
{
    for (size_t i = 0; i < upstream->n; i++) {
        if (str_eq(upstream->heads[i]->name, name))
            return upstream->heads[i];
    }
    return NULL;
}

static int want(const struct upstream *upstream, json_t *refs, json_t *missing,
                struct wanted *wanted, struct err *err)
{
    size_t i;
    json_t *ref;
    json_array_foreach (refs, i, ref) {
        const char *name = json_string_value(ref);
        if (!name || strchr(name, ':') || strchr(name, '*'))
            return err_set(err, -EINVAL, "bad request: refs");
        const git_remote_head *head = find_head(upstream, name);
        if (!head) {
            json_array_append(missing, ref);
            continue;
        }
        char local[80];
        git_mirror_ref(name, local);
        cleanup_free char *spec = xasprintf("+%s:%s", name, local);
        vec_push(&wanted->heads, head);
        strvec_add(&wanted->specs, spec);
    }
    return 0;
}

static int download_local(struct upstream *upstream, struct wanted *wanted, struct err *err)
{
    git_repository *from = NULL;
    int r = git_repository_open(&from, upstream->path);
    if (r < 0)
        return fail(upstream, r, err);
    size_t n = wanted->heads.n;
    cleanup_free git_oid *ids = xcalloc(n, sizeof(*ids));
    for (size_t i = 0; i < n; i++)
        ids[i] = wanted->heads.items[i]->oid;
    r = git_copy_objects(from, upstream->mirror, ids, n, upstream->limit, upstream->text, err);
    git_repository_free(from);
    return r;
}

static int download(struct upstream *upstream, struct wanted *wanted, struct err *err)
{
    if (wanted->specs.n == 0)
        return 0;
    if (upstream->path)
        return download_local(upstream, wanted, err);
    git_fetch_options options = GIT_FETCH_OPTIONS_INIT;
    options.callbacks = callbacks(upstream);
    options.download_tags = GIT_REMOTE_DOWNLOAD_TAGS_NONE;
    options.update_fetchhead = 0;
    options.proxy_opts.type = GIT_PROXY_AUTO;
    git_strarray specs = {.strings = wanted->specs.items, .count = wanted->specs.n};
    int r = git_remote_download(upstream->remote, &specs, &options);
    return r < 0 ? fail(upstream, r, err) : 0;
}

/* Points our ref `local` to `id`, wherever it pointed before; one that is there already costs no write. */
static int set_ref(git_repository *mirror, const char *local, const git_oid *id)
{
    git_oid old;
    if (git_reference_name_to_id(&old, mirror, local) == 0 && git_oid_equal(&old, id))
        return 0;
    git_reference *ref = NULL;
    int r = git_reference_create(&ref, mirror, local, id, 1, NULL);
    git_reference_free(ref);
    return r;
}

/* Says that a ref cannot be used. The others can: one tag of a file (the kernel has one of a tree) is not to
 * stop a source. */
static void refuse(const struct upstream *upstream, const char *name, const git_oid *id,
                   json_t *refused)
{
    char oid[GIT_OID_SIZE];
    git_oid_tostr(oid, sizeof(oid), id);
    cleanup_free char *text = xasprintf("%s: %s is not a commit", upstream->text, name);
    json_array_append_new(refused,
                          json_pack("{s:s, s:s, s:s}", "name", name, "oid", oid, "error", text));
}

static void describe(const git_remote_head *head, const git_commit *commit, json_t *fetched)
{
    char oid[GIT_OID_SIZE], id[GIT_OID_SIZE];
    git_oid_tostr(oid, sizeof(oid), &head->oid);
    git_oid_tostr(id, sizeof(id), git_commit_id(commit));
    json_array_append_new(fetched,
                          json_pack("{s:s, s:s, s:s, s:I}", "name", head->name, "oid", oid,
                                    "commit", id, "time", (json_int_t)git_commit_time(commit)));
}

/* Moves our ref to what upstream's `head` is now, wherever it was before, and describes its commit. */
static int keep(const struct upstream *upstream, const git_remote_head *head, json_t *fetched,
                json_t *refused, struct err *err)
{
    char local[80];
    git_object *object = NULL, *peeled = NULL;
    git_mirror_ref(head->name, local);
    int r = set_ref(upstream->mirror, local, &head->oid);
    if (r == 0)
        r = git_object_lookup(&object, upstream->mirror, &head->oid, GIT_OBJECT_ANY);
    if (r == 0 && git_object_type(object) == GIT_OBJECT_TAG)
        r = git_object_peel(&peeled, object, GIT_OBJECT_ANY); /* through all tags */
    else if (r == 0)
        peeled = steal_ptr(object);
    git_object_free(object);
    if (r < 0)
        return git_worker_error(err, r, false, "%s: %s", upstream->text, head->name);
    if (git_object_type(peeled) == GIT_OBJECT_COMMIT)
        describe(head, (git_commit *)peeled, fetched);
    else
        refuse(upstream, head->name, git_object_id(peeled), refused);
    git_object_free(peeled);
    return 0;
}

static int fetch(struct upstream *upstream, json_t *refs, json_t *answer, struct err *err)
{
    struct wanted wanted = {0};
    json_t *fetched = json_array(), *missing = json_array(), *refused = json_array();
    json_object_set_new(answer, "fetched", fetched);
    json_object_set_new(answer, "refused", refused);
    json_object_set_new(answer, "missing", missing);
    int r = want(upstream, refs, missing, &wanted, err);
    if (r == 0)
        r = download(upstream, &wanted, err);
    for (size_t i = 0; r == 0 && i < wanted.heads.n; i++)
        r = keep(upstream, wanted.heads.items[i], fetched, refused, err);
    vec_free(&wanted.heads);
    strvec_done(&wanted.specs);
    return r;
}

int git_op_fetch(const struct git_worker *worker, json_t *request, json_t *answer, struct err *err)
{
    struct upstream upstream = {.credentials.worker = worker, .limit = worker->fetch_limit};
    struct git_mirror mirror = GIT_MIRROR_INIT;
    const char *path;
    int anew = 0;
    json_t *refs, *auth = NULL;
    int r = json_unpack_strict(request, err, "{s:s, s:s, s:o, s?o, s?b}", "url", &upstream.url,
                               "mirror", &path, "refs", &refs, "auth", &auth, "anew", &anew);
    if (r == 0)
        r = unpack_auth(auth, &upstream.credentials.auth, err);
    if (r == 0)
        r = git_mirror_open_fetch(worker, path, anew, &mirror, err);
    upstream.mirror = mirror.repo;
    if (r == 0)
        r = connect_upstream(&upstream, err);
    if (r == 0)
        r = fetch(&upstream, refs, answer, err);
    upstream_done(&upstream);
    git_mirror_close(&mirror);
    return r;
}
