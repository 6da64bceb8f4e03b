#include "agent/gateway.h"

struct registry *gateway_open(const struct job *job)
{
    const char *host = strstr(job->options.coordinator, "://");
    return registry_new(http_sync_client(job->http),
                        &(struct registry_options){.host = host ? host + 3 : "gateway",
                                                   .endpoint = job->options.coordinator,
                                                   .username = job->lease.lease,
                                                   .password = job->lease.secret});
}
