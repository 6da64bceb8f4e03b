#include "tests/model/coverage.h"

static uint64_t own[COVERED_COUNT];
uint64_t *coverage_counters = own;

void covered(enum coverage what)
{
    coverage_counters[what]++;
}

void covered_more(enum coverage what, uint64_t n)
{
    coverage_counters[what] += n;
}

const char *coverage_text(enum coverage what)
{
    static const char *const texts[] = {
#define X(id, text) [COVERED_##id] = text,
        COVERAGE(X)
#undef X
    };
    return texts[what];
}
