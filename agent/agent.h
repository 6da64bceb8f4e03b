/* The agent: owns the session, the calls, the spool and the jobs, and carries events from one to the other on
 * one loop. What is decided is decided in session.c. */
#pragma once

#include "agent/settings.h"

#include <uv.h>

struct agent;

/* Opens the state folder and starts what a start needs: facts and sweep, then the session. `settings`
 * outlives the agent. The caller owns *ret and runs the loop. */
int agent_start(uv_loop_t *loop, const struct settings *settings, struct agent **ret,
                struct err *err);
/* Takes no new leases, or takes them again. */
void agent_set_draining(struct agent *agent, bool draining);
/* Ends the jobs and reports them; the loop runs out when that is done. A second call does not wait. */
void agent_stop(struct agent *agent);
/* Frees it, after the loop has run out. */
void agent_free(struct agent *agent);
