/* From a recipe's output to the finished image: settings, observers and verdicts of both kinds of recipe. */
#pragma once

#include "agent/elf_check.h"
#include "agent/image_build.h"
#include "agent/job.h"
#include "agent/packages.h"

/* What watches the layers while they are written. */
struct job_image {
    struct image_settings settings;
    json_t *cmd, *entrypoint, *env, *labels; /* owned; settings borrows them */
    struct elf_report elf;
    struct packages *packages;
    struct layer_observer observers[2];
    struct layer_options options;
};

/* Prepares everything from the job. The struct must not move afterwards. */
void job_image_init(struct job_image *image, const struct job *job);
/* After the layers are written: the ELF check, and the packages into the result. */
int job_image_verdict(struct job_image *image, struct job *job);
/* Frees what it owns. */
void job_image_done(struct job_image *image);
