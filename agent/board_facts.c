#include "agent/board_facts.h"

#include <sys/sysinfo.h>
#include <sys/utsname.h>

static bool emulation_allowed(const struct settings *settings, const char *platform)
{
    return strvec_has(&settings->emulated, "all") || strvec_has(&settings->emulated, platform);
}

static void apply_settings(struct wire_facts *facts, const struct settings *settings)
{
    facts->slots = settings->slots;
    strvec_done(&facts->labels);
    VEC_FOREACH (&settings->labels, label)
        strvec_add(&facts->labels, *label);
    for (size_t i = facts->emulated.n; i-- > 0;)
        if (!emulation_allowed(settings, facts->emulated.items[i])) {
            free(facts->emulated.items[i]);
            vec_remove(&facts->emulated, i);
        }
}

int board_facts_take(const char *output, size_t n, const struct settings *settings,
                     struct wire_facts *ret, struct err *err)
{
    int r = wire_facts_decode(output, n, ret, err);
    if (r == 0)
        apply_settings(ret, settings);
    return r;
}

void board_facts_none(const struct settings *settings, struct wire_facts *ret)
{
    struct utsname names;
    struct sysinfo info;
    *ret = (struct wire_facts){0};
    uname(&names);
    ret->machine = xstrdup(names.machine);
    ret->kernel = xstrdup(names.release);
    ret->cpus = sysconf(_SC_NPROCESSORS_ONLN);
    ret->page_size = sysconf(_SC_PAGESIZE);
    if (sysinfo(&info) == 0)
        ret->memory = (int64_t)info.totalram * info.mem_unit;
    apply_settings(ret, settings);
}
