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

/* Takes the farm's registries: reads their password files (small; for start-up and reload) and replaces what was
 * there. Operations under way go on with the old credentials. -EINVAL or the errno of reading names the file. */
int registries_configure(struct registries *r, const struct farm *farm, struct err *err);

/* The client of a host, made on first mention with the defaults. Borrowed; lives until the next
 * registries_configure has no operation of it any more. */
struct registry *registries_get(struct registries *r, const char *host);
/* Splits "host/path" and returns the client of the host; *ret_path is within `repository`. NULL where there is no
 * path. */
struct registry *registries_of(struct registries *r, const char *repository, const char **ret_path);
