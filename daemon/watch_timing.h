/* When to look at an upstream again. Pure: the outcome and a random number go in, a delay comes out. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct watch_timing {
    int64_t interval_ms; /* between polls that succeed */
    int64_t cap_ms;      /* the longest delay after failures; never below interval_ms */
};

/* How the last poll went. */
struct watch_outcome {
    unsigned failures; /* in a row, this one included; 0 after a success */
    bool retryable;    /* the last failure may go away by itself */
};

/* Milliseconds until the next poll, at least 1. After a success the interval; after failures that may
 * go away a doubling delay from 15 s (or the interval, if shorter); after one that wants a person a
 * doubling one from the interval; both at most the cap. `random` (uniform) spreads the result by a tenth
 * either way, so that sources which began together do not stay together. */
int64_t watch_next_delay(const struct watch_timing *timing, const struct watch_outcome *outcome,
                         uint32_t random);
/* Milliseconds until a source's first poll: spread over a tenth of the interval, at most 5 s. */
int64_t watch_first_delay(const struct watch_timing *timing, uint32_t random);
