/* OCI platforms and every other naming of them, in one table.
 *
 * Normalisation follows containerd: arm without a variant is v7, arm64 with v8 or none is one thing,
 * amd64/v1 is no variant. What is written out is explicit (arm64/v8, arm/v7): see platform_variant. */
#pragma once

#include "common/err.h"

#include <stddef.h>

enum platform {
    PLATFORM_AMD64,
    PLATFORM_ARM64,
    PLATFORM_ARM_V7,
    PLATFORM_ARM_V6,
    PLATFORM_386,
    PLATFORM_RISCV64,
    PLATFORM_PPC64LE,
    PLATFORM_S390X,
    PLATFORM_COUNT
};

struct platform_info {
    const char *name;         /* Sheaf's and OCI's: "linux/arm/v7" */
    const char *architecture; /* OCI config's "architecture" */
    const char *variant;      /* written explicitly: "v8", "v7", "v6" or NULL */
    const char *debian;       /* "armhf"; NULL where Debian has no port of exactly this */
    const char *alpine;       /* "armv7"; NULL where there is none */
    const char *suffix;       /* Docker tag suffix: "arm" */
    const char *qemu;         /* qemu-user's name: "arm" */
    int elf_machine;          /* EM_* of its executables */
    int elf_class;            /* 1 is ELFCLASS32, 2 is ELFCLASS64 */
};

/* The table's row; never NULL. */
const struct platform_info *platform_info(enum platform p);
/* Parses "linux/arm/v7" and its un-normalised spellings ("linux/arm64/v8", "linux/arm"). -EINVAL with
 * the known names otherwise. */
int platform_parse(const char *name, enum platform *ret_platform, struct err *err);
/* The platform of an OCI os, architecture and variant (variant may be NULL or ""); -ENOENT if unknown. */
int platform_from_oci(const char *os, const char *architecture, const char *variant,
                      enum platform *ret_platform);
/* The platform that the kernel's `uname -m` names ("x86_64", "aarch64", "armv7l", "armv6l", …);
 * -ENOENT if unknown. armv8l is arm/v7: a 32-bit userland on a 64-bit kernel. */
int platform_from_uname(const char *machine, enum platform *ret_platform);
