#include "common/platform.h"

#include "common/mem.h"

#include <elf.h>
#include <errno.h>

static const struct platform_info table[PLATFORM_COUNT] = {
    [PLATFORM_AMD64] = {"linux/amd64", "amd64", NULL, "amd64", "x86_64", "amd64", "x86_64",
                        EM_X86_64, ELFCLASS64},
    [PLATFORM_ARM64] = {"linux/arm64", "arm64", "v8", "arm64", "aarch64", "arm64", "aarch64",
                        EM_AARCH64, ELFCLASS64},
    [PLATFORM_ARM_V7] = {"linux/arm/v7", "arm", "v7", "armhf", "armv7", "arm", "arm", EM_ARM,
                         ELFCLASS32},
    [PLATFORM_ARM_V6] = {"linux/arm/v6", "arm", "v6", "armel", "armhf", "armv6", "arm", EM_ARM,
                         ELFCLASS32},
    [PLATFORM_386] = {"linux/386", "386", NULL, "i386", "x86", "386", "i386", EM_386, ELFCLASS32},
    [PLATFORM_RISCV64] = {"linux/riscv64", "riscv64", NULL, "riscv64", "riscv64", "riscv64",
                          "riscv64", EM_RISCV, ELFCLASS64},
    [PLATFORM_PPC64LE] = {"linux/ppc64le", "ppc64le", NULL, "ppc64el", "ppc64le", "ppc64le",
                          "ppc64le", EM_PPC64, ELFCLASS64},
    [PLATFORM_S390X] = {"linux/s390x", "s390x", NULL, "s390x", "s390x", "s390x", "s390x", EM_S390,
                        ELFCLASS64},
};

const struct platform_info *platform_info(enum platform p)
{
    return &table[p];
}

int platform_from_oci(const char *os, const char *architecture, const char *variant,
                      enum platform *ret_platform)
{
    if (!str_eq(os, "linux") || !architecture)
        return -ENOENT;
    if (!variant)
        variant = "";
    if (str_eq(architecture, "arm") && (!*variant || str_eq(variant, "7")))
        variant = "v7";
    else if (str_eq(architecture, "arm") && str_eq(variant, "6"))
        variant = "v6";
    else if (str_eq(architecture, "arm64") && (!*variant || str_eq(variant, "8")))
        variant = "v8";
    else if (str_eq(architecture, "amd64") && str_eq(variant, "v1"))
        variant = "";
    for (int p = 0; p < PLATFORM_COUNT; p++)
        if (str_eq(table[p].architecture, architecture) &&
            str_eq(table[p].variant ? table[p].variant : "", variant)) {
            *ret_platform = (enum platform)p;
            return 0;
        }
    return -ENOENT;
}

int platform_parse(const char *name, enum platform *ret_platform, struct err *err)
{
    for (int p = 0; p < PLATFORM_COUNT; p++)
        if (str_eq(table[p].name, name)) {
            *ret_platform = (enum platform)p;
            return 0;
        }
    char os[16] = "", architecture[16] = "", variant[16] = "", rest[2] = "";
    int n = sscanf(name, "%15[^/]/%15[^/]/%15[^/]%1s", os, architecture, variant, rest);
    if ((n == 2 || n == 3) && !str_ends(name, "/") &&
        platform_from_oci(os, architecture, variant, ret_platform) == 0)
        return 0;
    cleanup_strbuf struct strbuf known = {0};
    for (int p = 0; p < PLATFORM_COUNT; p++)
        strbuf_addf(&known, "%s%s", p ? ", " : "", table[p].name);
    return err_set(err, -EINVAL, "unknown platform '%s' (known: %s)", name, strbuf_str(&known));
}

int platform_from_uname(const char *machine, enum platform *ret_platform)
{
    static const struct {
        const char *machine;
        enum platform platform;
    } machines[] = {
        {"x86_64", PLATFORM_AMD64},  {"aarch64", PLATFORM_ARM64},   {"armv7l", PLATFORM_ARM_V7},
        {"armv8l", PLATFORM_ARM_V7}, {"armv6l", PLATFORM_ARM_V6},   {"i686", PLATFORM_386},
        {"i386", PLATFORM_386},      {"riscv64", PLATFORM_RISCV64}, {"ppc64le", PLATFORM_PPC64LE},
        {"s390x", PLATFORM_S390X},
    };
    for (size_t i = 0; i < sizeof(machines) / sizeof(*machines); i++)
        if (str_eq(machines[i].machine, machine)) {
            *ret_platform = machines[i].platform;
            return 0;
        }
    return -ENOENT;
}
