/* The two clocks. Deadlines and leases use the monotonic one; the wall clock is only ever shown. */
#pragma once

#include <stdint.h>

/* Milliseconds of CLOCK_MONOTONIC. */
int64_t clock_mono_ms(void);
/* Milliseconds since 1970, CLOCK_REALTIME. */
int64_t clock_wall_ms(void);
/* Writes `wall_ms` as RFC 3339 in UTC with whole seconds ("2026-11-24T03:31:00Z") into buf of at
 * least 32 bytes, and returns buf. */
char *clock_format(int64_t wall_ms, char buf[32]);
