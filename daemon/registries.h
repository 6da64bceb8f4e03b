/* The registries that the coordinator talks to: the farm's own and those of outside bases, each one client with
 * its credentials. */
#pragma once

#include "common/registry.h"
#include "daemon/model/farm.h"

struct registries;

/* None yet; `client` must outlive it. The caller owns it. */
struct registries *registries_new(struct http_client *client);
/* Cancels what is under way and frees it. NULL is fine. */
void registries_free(struct registries *r);

/* Takes the farm's registries: reads their password files (small; for start-up and reload). A client whose settings
 * are as before stays, with all that is under way; the others' operations are cancelled, and end as retryable or
 * cancelled. On an error (-EINVAL, or the errno of reading; it names the file) nothing has changed. */
int registries_configure(struct registries *r, const struct farm *farm, struct err *err);

/* The client of a host, made on first mention with the defaults. Borrowed; registries_configure frees it when its
 * settings have changed, once its operations are over. */
struct registry *registries_get(struct registries *r, const char *host);
/* Splits "host/path" and returns the client of the host; *ret_path is within `repository`. NULL where there is no
 * path. */
struct registry *registries_of(struct registries *r, const char *repository, const char **ret_path);
