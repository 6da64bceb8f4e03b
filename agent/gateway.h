/* The coordinator's registry gateway, as a registry: repositories are called by their full name, and the
 * lease is the credential. */
#pragma once

#include "agent/job.h"
#include "common/registry.h"

/* A client that the caller owns. */
struct registry *gateway_open(const struct job *job);
