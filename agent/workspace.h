/* The folder of one job: everything that the job makes is below <dir>/work, which nobody but the agent can
 * enter, and is removed whatever a recipe did to it. */
#pragma once

#include "common/err.h"

#include <stdint.h>

struct workspace {
    char *dir;  /* the job's folder, with lease.json and result.json */
    char *work; /* <dir>/work */
    unsigned scratches;
};

/* Makes <dir>/work anew; what a former run left there is removed. */
int workspace_open(struct workspace *w, const char *dir, struct err *err);
/* Removes <dir>/work and frees the struct; what cannot be removed is logged. */
void workspace_close(struct workspace *w);
/* The path of `name` in the work folder; the caller owns it. */
char *workspace_path(const struct workspace *w, const char *name);
/* A path in the work folder that does not exist yet, for one sandbox; the caller owns it. */
char *workspace_scratch(struct workspace *w);
/* Makes the folder `name` in the work folder, owned by the sandbox's root, mode as given. The caller owns
 * *ret_path. */
int workspace_folder(const struct workspace *w, const char *name, unsigned mode, char **ret_path,
                     struct err *err);
