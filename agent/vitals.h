/* How this board is doing at the moment. */
#pragma once

#include <stdint.h>

struct vitals {
    double load;         /* one minute's average */
    double temperature;  /* degrees Celsius of the hottest zone; NAN where none is known */
    int64_t disk_free;   /* bytes that we may use where `state` is */
    int64_t memory_free; /* bytes that can be had without swapping */
};

/* Reads them; what cannot be read is 0 or NAN. `thermal` is normally "/sys/class/thermal". */
void vitals_read(const char *state, const char *thermal, struct vitals *ret);
