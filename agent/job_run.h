/* Running a step's program in the sandbox: what all such runs of a job have in common. */
#pragma once

#include "agent/job.h"
#include "agent/sandbox.h"

/* Appends the environment that every program gets: PATH, HOME, LANG and the like; no value comes from ours.
 */
void job_env_base(strvec *env);
/* Appends NAME=value, replacing what is there; a NULL value appends nothing. */
void job_env_set(strvec *env, const char *name, const char *value);

/* Fills in scratch folder, limits and the tail of what is written, runs `spec`, and removes the scratch
 * folder. As sandbox_run. */
int job_run(struct job *job, struct sandbox_spec *spec, struct sandbox_outcome *ret,
            struct err *err);

/* Notes a program's bad end as the job's failure (`exit_kind` where it was an exit status), with its last line
 * as the reason; 0 when it ended well. `what` is "the recipe". */
int job_judge(struct job *job, const struct sandbox_outcome *outcome, enum wire_failure exit_kind,
              const char *what);

/* Whether the platform's programs need a 32-bit personality here. */
bool job_wants_linux32(const struct job *job);
