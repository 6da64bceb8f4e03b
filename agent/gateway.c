#include "agent/gateway.h"

/* Some two minutes in all. */
#define GATEWAY_ATTEMPTS     16
#define GATEWAY_RETRY_MAX_MS 10000

struct registry *gateway_open(const struct job *job)
{
    const char *host = strstr(job->options.coordinator, "://");
    return registry_new(http_sync_client(job->http),
                        &(struct registry_options){.host = host ? host + 3 : "gateway",
                                                   .endpoint = job->options.coordinator,
                                                   /* A coordinator that restarts is waited for. */
                                                   .attempts = GATEWAY_ATTEMPTS,
                                                   .retry_max_ms = GATEWAY_RETRY_MAX_MS,
                                                   .username = job->lease.lease,
                                                   .password = job->lease.secret});
}
