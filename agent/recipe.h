/* The two kinds of recipe. Each leaves the finished image in the layout job->image, tagged "image", and its
 * description in *ret; its ELF files are checked and its packages noted in the result. */
#pragma once

#include "agent/image_build.h"
#include "agent/job.h"

#define RECIPE_TAG "image"

/* An upstream's script that leaves a root file system as a tar or a folder. */
int recipe_rootfs(struct job *job, struct image_result *ret);
/* A Dockerfile, by buildah. */
int recipe_dockerfile(struct job *job, struct image_result *ret);
