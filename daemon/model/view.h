/* Shared by the views. */
#pragma once

#include "daemon/model/schedule.h"

#include <jansson.h>

/* A wall-clock time, or null for 0. */
json_t *view_time(int64_t at);
/* A text, or null for none. */
json_t *view_text(const char *s);
/* {code, text}, or null for REASON_NONE. */
json_t *view_reason(enum reason_code code, const char *text);
/* What holds the track (without one: all of them), or null. */
json_t *view_hold(struct model *m, const struct track *t);
/* Why a job waits, runs or failed. */
json_t *view_job_reason(struct model *m, const struct job *j);
/* Whether the board that has or had the job emulates its platform. */
bool view_emulated(const struct model *m, const struct job *j);
/* What was seen of the ref, which may be NULL, and does not count yet; or null. */
json_t *view_sighting(const struct model *m, const struct ref *r);
