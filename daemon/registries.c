#include "daemon/registries.h"

#include <errno.h>
#include <uthash.h>

struct entry {
    char *host;
    char *endpoint, *username, *password; /* as they were configured */
    bool plain_http;
    int64_t stall_ms;
    struct registry *registry;
    UT_hash_handle hh;
};

typedef VEC(struct registry_options) optionvec;

struct registries {
    struct http_client *client;
    struct entry *entries;
};

struct registries *registries_new(struct http_client *client)
{
    struct registries *r = xnew(struct registries);
    r->client = client;
    return r;
}

static void drop(struct registries *r, struct entry *e)
{
    HASH_DEL(r->entries, e);
    registry_free(e->registry);
    free(e->host);
    free(e->endpoint);
    free(e->username);
    free(e->password);
    free(e);
}

void registries_free(struct registries *r)
{
    struct entry *e, *next;
    if (!r)
        return;
    HASH_ITER(hh, r->entries, e, next)
    drop(r, e);
    free(r);
}

static bool is_same(const struct entry *e, const struct registry_options *o)
{
    return str_eq(e->endpoint, o->endpoint) && str_eq(e->username, o->username) &&
           str_eq(e->password, o->password) && e->plain_http == o->plain_http &&
           e->stall_ms == o->stall_ms;
}

static struct registry *add(struct registries *r, const struct registry_options *options)
{
    struct entry *e = xnew(struct entry);
    e->host = xstrdup(options->host);
    e->endpoint = xstrdup(options->endpoint);
    e->username = xstrdup(options->username);
    e->password = xstrdup(options->password);
    e->plain_http = options->plain_http;
    e->stall_ms = options->stall_ms;
    e->registry = registry_new(r->client, options);
    HASH_ADD_KEYPTR(hh, r->entries, e->host, strlen(e->host), e);
    return e->registry;
}

struct registry *registries_get(struct registries *r, const char *host)
{
    struct entry *e = NULL;
    HASH_FIND_STR(r->entries, host, e);
    return e ? e->registry : add(r, &(struct registry_options){.host = host});
}

struct registry *registries_of(struct registries *r, const char *repository, const char **ret_path)
{
    const char *slash = strchr(repository, '/');
    if (!slash || !slash[1])
        return NULL;
    cleanup_free char *host = xstrndup(repository, (size_t)(slash - repository));
    *ret_path = slash + 1;
    return registries_get(r, host);
}

/* The first line of a small file; the caller owns it. */
static int read_password(const char *path, char **ret, struct err *err)
{
    cleanup_fclose FILE *f = fopen(path, "re");
    if (!f)
        return err_errno(err, -errno, "password file %s", path);
    char line[4096];
    if (!fgets(line, sizeof(line), f))
        return err_set(err, -EINVAL,
                       "password file %s: its first line is the password, and there is none", path);
    line[strcspn(line, "\r\n")] = '\0';
    *ret = xstrdup(line);
    return 0;
}

static struct registry_options options_of(const struct farm *farm, const struct farm_registry *fr,
                                          const char *password)
{
    return (struct registry_options){.host = fr->host,
                                     .endpoint = fr->endpoint,
                                     .plain_http = fr->plain_http,
                                     .username = password ? fr->username : NULL,
                                     .password = password,
                                     .stall_ms = farm->registry_timeout_ms};
}

/* The options of all; the passwords are kept in `passwords`. */
static int read_options(const struct farm *farm, strvec *passwords, optionvec *ret, struct err *err)
{
    VEC_FOREACH (&farm->registries, fr) {
        char *password = NULL;
        if (fr->password_file && read_password(fr->password_file, &password, err) < 0)
            return err_wrap(err, "registry %s", fr->host);
        vec_push(passwords, password);
        vec_push(ret, options_of(farm, fr, password));
    }
    return 0;
}

static const struct registry_options *find_options(const optionvec *all, const char *host)
{
    VEC_FOREACH (all, o)
        if (str_eq(o->host, host))
            return o;
    return NULL;
}

int registries_configure(struct registries *r, const struct farm *farm, struct err *err)
{
    cleanup_strvec strvec passwords = {0};
    optionvec options = {0};
    struct entry *e, *next;
    int code = read_options(farm, &passwords, &options, err);
    HASH_ITER(hh, r->entries, e, next)
    {
        const struct registry_options none = {.host = e->host},
                                      *o = find_options(&options, e->host);
        if (code == 0 && !is_same(e, o ? o : &none))
            drop(r, e);
    }
    VEC_FOREACH (&options, o) {
        HASH_FIND_STR(r->entries, o->host, e);
        if (code == 0 && !e)
            add(r, o);
    }
    vec_free(&options);
    return code;
}
