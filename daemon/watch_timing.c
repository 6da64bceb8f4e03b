#include "daemon/watch_timing.h"

#define RETRY_FROM_MS   15000
#define FIRST_SPREAD_MS 5000

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* `ms` times a factor between 0.9 and 1.1. */
static int64_t spread(int64_t ms, uint32_t random)
{
    int64_t permille = 900 + (int64_t)(random % 201);
    int64_t result = ms / 1000 * permille + ms % 1000 * permille / 1000;
    return result > 0 ? result : 1;
}

static int64_t backed_off(int64_t from, unsigned failures, int64_t cap)
{
    int64_t delay = from;
    for (unsigned i = 1; i < failures && delay < cap; i++)
        delay *= 2;
    return least(delay, cap);
}

int64_t watch_next_delay(const struct watch_timing *timing, const struct watch_outcome *outcome,
                         uint32_t random)
{
    int64_t interval = timing->interval_ms;
    if (outcome->failures == 0)
        return spread(interval, random);
    int64_t cap = timing->cap_ms > interval ? timing->cap_ms : interval;
    int64_t from = outcome->retryable ? least(interval, RETRY_FROM_MS) : interval;
    return spread(backed_off(from > 0 ? from : 1, outcome->failures, cap), random);
}

int64_t watch_first_delay(const struct watch_timing *timing, uint32_t random)
{
    int64_t within = least(timing->interval_ms / 10, FIRST_SPREAD_MS);
    return within > 0 ? (int64_t)(random % (uint64_t)within) : 0;
}
