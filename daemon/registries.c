#include "daemon/registries.h"

#include <errno.h>
#include <uthash.h>

struct entry {
    char *host;
    struct registry *registry;
    UT_hash_handle hh;
};

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

static void clear(struct registries *r)
{
    struct entry *e, *next;
    HASH_ITER(hh, r->entries, e, next)
    {
        HASH_DEL(r->entries, e);
        registry_free(e->registry);
        free(e->host);
        free(e);
    }
}

void registries_free(struct registries *r)
{
    if (!r)
        return;
    clear(r);
    free(r);
}

static struct registry *add(struct registries *r, const struct registry_options *options)
{
    struct entry *e = xnew(struct entry);
    e->host = xstrdup(options->host);
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

int registries_configure(struct registries *r, const struct farm *farm, struct err *err)
{
    cleanup_strvec strvec passwords = {0};
    VEC_FOREACH (&farm->registries, fr) {
        char *password = NULL;
        if (fr->password_file && read_password(fr->password_file, &password, err) < 0)
            return err_wrap(err, "registry %s", fr->host);
        vec_push(&passwords, password);
    }
    clear(r);
    for (size_t i = 0; i < farm->registries.n; i++) {
        const struct farm_registry *fr = &farm->registries.items[i];
        struct registry_options options = {.host = fr->host,
                                           .endpoint = fr->endpoint,
                                           .plain_http = fr->plain_http,
                                           .username = passwords.items[i] ? fr->username : NULL,
                                           .password = passwords.items[i],
                                           .stall_ms = farm->registry_timeout_ms};
        add(r, &options);
    }
    return 0;
}
