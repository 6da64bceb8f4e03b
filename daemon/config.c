#include "daemon/config_int.h"

#include <errno.h>

#define SECOND 1000LL
#define MINUTE (60 * SECOND)
#define MIB    (1024 * 1024LL)

static struct farm *default_farm(void)
{
    struct farm *farm = xnew(struct farm);
    farm->keep = 3;
    farm->state = xstrdup("/var/lib/sheaf");
    farm->listen_agents = (struct farm_address){xstrdup("127.0.0.1"), 7430};
    farm->listen_status = (struct farm_address){xstrdup("127.0.0.1"), 7431};
    farm->listen_socket = xstrdup("/run/sheaf/sheafd.sock");
    farm->poll_ms = 5 * MINUTE;
    farm->base_poll_ms = 15 * MINUTE;
    farm->audit_ms = 6 * 60 * MINUTE;
    farm->git_timeout_ms = 10 * MINUTE;
    farm->timeout_ms = 60 * MINUTE;
    farm->lease_term_ms = 90 * SECOND;
    farm->registry_timeout_ms = MINUTE;
    farm->log_limit = 64 * MIB;
    farm->context_limit = 1024 * MIB;
    farm->mirror_limit = 4096 * MIB;
    farm->min_disk = 1024 * MIB;
    return farm;
}

static void config_done(struct config *c)
{
    struct config_given *given, *next;
    HASH_ITER(hh, c->given, given, next)
    {
        HASH_DEL(c->given, given);
        free(given->path);
        free(given->where);
        free(given);
    }
    vec_free(&c->image_entries);
    vec_free(&c->source_entries);
    vec_free(&c->registry_entries);
    strbuf_done(&c->key);
    config_close(c);
    farm_free(c->farm);
}

/* Makes the farm of the files that were opened. */
static void read_files(struct config *c)
{
    struct config_value root;
    VEC_FOREACH (&c->files, file) {
        if (config_root(*file, &root))
            config_read_file(c, &root);
    }
    const char *main_file = c->files.n ? c->files.items[0]->path : "farm.yaml";
    if (!c->farm->registry && c->errors->n == 0)
        config_error_at(c, main_file, 0, 0, "registry",
                        "missing; write registry: HOST/PATH, such as registry.example.org/osf");
    if (c->errors->n == 0)
        config_finish(c);
    if (c->dropped)
        strvec_add(c->errors, "… and more");
}

int config_read(const char *path, struct farm **ret_farm, char **ret_copy, strvec *errors)
{
    struct config c = {.errors = errors, .farm = default_farm()};
    config_open(&c, path);
    if (errors->n == 0)
        read_files(&c);
    int r = errors->n ? -EINVAL : 0;
    if (r == 0) {
        *ret_farm = steal_ptr(c.farm);
        if (ret_copy)
            *ret_copy = config_make_copy(&c);
    }
    config_done(&c);
    return r;
}

int config_load(const char *path, struct farm **ret_farm, struct err *err)
{
    cleanup_strvec strvec errors = {0};
    if (config_read(path, ret_farm, NULL, &errors) == 0)
        return 0;
    return err_set(err, -EINVAL, "%s", errors.items[0]);
}

int config_load_copy(const char *copy, struct farm **ret_farm, struct err *err)
{
    cleanup_strvec strvec errors = {0};
    struct config c = {.errors = &errors, .farm = default_farm()};
    int r = config_open_copy(&c, copy, err);
    if (r == 0 && errors.n == 0)
        read_files(&c);
    if (r == 0 && errors.n > 0)
        r = err_set(err, -EINVAL, "%s", errors.items[0]);
    if (r == 0)
        *ret_farm = steal_ptr(c.farm);
    config_done(&c);
    return r;
}

int config_check_main(const char *path)
{
    cleanup_strvec strvec errors = {0};
    cleanup_farm struct farm *farm = NULL;
    int r = config_read(path, &farm, NULL, &errors);
    VEC_FOREACH (&errors, line)
        fprintf(stderr, "%s\n", *line);
    return r == 0 ? 0 : 1;
}
