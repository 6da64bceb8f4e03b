/* The steps of a job around its recipe. Each is timed in the result. */
#pragma once

#include "agent/image_build.h"
#include "agent/job.h"

/* Fetches the build context and unpacks it; sets job->context. Without one, an empty folder. */
int job_fetch_context(struct job *job);
/* Pulls every pinned base through the gateway into the layout job->bases, by way of the board's cache. */
int job_pull_bases(struct job *job);
/* Runs the job's test command, if it has one, in the finished image. */
int job_test(struct job *job, const struct image_result *built);
/* Pushes the finished image by digest through the gateway, or finds that the registry's own is equal, and
 * completes the result. */
int job_push(struct job *job, const struct image_result *built);
