#include "agent/job_image.h"

#include "agent/sandbox.h"

static json_t *strings(const strvec *v)
{
    if (!v)
        return NULL;
    json_t *list = json_array();
    VEC_FOREACH (v, it)
        json_array_append_new(list, json_string(*it));
    return list;
}

static json_t *object(const wire_map *map)
{
    if (map->n == 0)
        return NULL;
    json_t *o = json_object();
    VEC_FOREACH (map, it)
        json_object_set_new(o, it->key, json_string(it->value));
    return o;
}

void job_image_init(struct job_image *image, const struct job *job)
{
    const struct wire_job *j = &job->lease.job;
    *image = (struct job_image){.cmd = strings(j->cmd),
                                .entrypoint = strings(j->entrypoint),
                                .env = object(&j->env),
                                .labels = object(&j->labels)};
    image->settings = (struct image_settings){.platform = job->platform,
                                              .docker = j->media_type == WIRE_MEDIA_DOCKER,
                                              .epoch = j->epoch,
                                              .cmd = image->cmd,
                                              .entrypoint = image->entrypoint,
                                              .env = image->env,
                                              .labels = image->labels,
                                              .workdir = j->workdir,
                                              .user = j->user,
                                              .created_by = "sheaf: rootfs"};
    elf_report_init(&image->elf, job->platform);
    image->packages = packages_new();
    image->observers[0] = elf_observer(&image->elf);
    image->observers[1] = packages_observer(image->packages);
    image->options = (struct layer_options){
        /* Docker has no media type for zstd. */
        .compression = j->compression == WIRE_ZSTD && j->media_type == WIRE_MEDIA_OCI ? LAYER_ZSTD
                                                                                      : LAYER_GZIP,
        .epoch = j->epoch,
        .id_shift = sandbox_id_shift(),
        .id_range = SANDBOX_ID_RANGE,
        .observers = image->observers,
        .n_observers = 2,
    };
}

int job_image_verdict(struct job_image *image, struct job *job)
{
    struct err err = ERR_INIT;
    if (elf_report_verdict(&image->elf, &err) < 0)
        return job_fail(job, WIRE_FAILURE_REJECTED, "%s", err.text);
    json_t *list = packages_json(image->packages);
    size_t i;
    json_t *item;
    json_array_foreach (list, i, item) {
        struct wire_package p = {0};
        if (job->result.packages.n < WIRE_MAX_PACKAGES &&
            wire_package_from_json(item, &p, NULL) == 0)
            vec_push(&job->result.packages, p);
    }
    json_decref(list);
    return 0;
}

void job_image_done(struct job_image *image)
{
    json_decref(image->cmd);
    json_decref(image->entrypoint);
    json_decref(image->env);
    json_decref(image->labels);
    packages_free(image->packages);
    *image = (struct job_image){0};
}
