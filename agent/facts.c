#include "agent/facts.h"

#include "agent/binfmt.h"
#include "agent/buildah.h"
#include "agent/probe.h"
#include "agent/sandbox.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/wire.h"

#include <errno.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

static enum probe_answer ask(enum platform p)
{
    enum probe_answer answer = PROBE_NO;
    struct err err = ERR_INIT;
    if (probe_platform(p, &answer, &err) < 0)
        log_warning("probing %s: %s", platform_info(p)->name, err.text);
    return answer;
}

bool facts_native(enum platform platform)
{
    return ask(platform) == PROBE_NATIVE;
}

/* Without a probe of ours, what uname says is all there is. */
static enum probe_answer ask_uname(enum platform p)
{
    struct utsname u;
    enum platform own;
    if (uname(&u) == 0 && platform_from_uname(u.machine, &own) == 0 && own == p)
        return PROBE_NATIVE;
    return PROBE_NO;
}

static void find_platforms(struct wire_facts *f, bool emulated)
{
    for (int i = 0; i < PLATFORM_COUNT; i++) {
        enum platform p = (enum platform)i;
        enum probe_answer answer = ask(p);
        if (answer == PROBE_UNKNOWN)
            answer = ask_uname(p);
        if (answer == PROBE_NO && emulated && binfmt_ensure(p, NULL) == 0)
            answer = ask(p) == PROBE_NO ? PROBE_NO : PROBE_EMULATED;
        if (answer == PROBE_NATIVE)
            strvec_add(&f->platforms, platform_info(p)->name);
        else if (answer == PROBE_EMULATED && emulated)
            strvec_add(&f->emulated, platform_info(p)->name);
    }
}

static void find_machine(struct wire_facts *f)
{
    struct utsname u;
    struct sysinfo si;
    if (uname(&u) == 0) {
        f->machine = xstrdup(u.machine);
        f->kernel = xstrdup(u.release);
    }
    if (sysinfo(&si) == 0)
        f->memory = (int64_t)si.totalram * si.mem_unit;
    f->cpus = sysconf(_SC_NPROCESSORS_ONLN);
    f->page_size = sysconf(_SC_PAGESIZE);
    f->slots = 1;
}

int facts_find(bool emulated, json_t **ret, struct err *err)
{
    struct wire_facts f = {0};
    find_machine(&f);
    if (!f.machine || !f.kernel)
        return err_errno(err, -errno, "uname");
    find_platforms(&f, emulated);
    strvec_add(&f.kinds, "rootfs");
    cleanup_free char *version = buildah_version("buildah");
    if (version) {
        strvec_add(&f.kinds, "dockerfile");
        wire_map_set(&f.builders, "buildah", version);
    }
    sandbox_ability_names(&f.sandbox);
    *ret = wire_facts_to_json(&f);
    wire_facts_done(&f);
    return 0;
}
