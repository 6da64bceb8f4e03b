/* Does what was built run on the platform that it was built for? Every ELF file is looked at.
 *
 * An offender is an executable or shared object (ET_EXEC, ET_DYN) of another class, machine or byte
 * order, or for arm/v7 one whose flags say soft float or an ABI before EABI5. Not offenders, and counted apart:
 * object files and kernel modules (ET_REL: also eBPF, code for coprocessors), cores, EM_NONE and EM_BPF; code for
 * other processors by place: lib/firmware, usr/lib/debug, usr/share (by the FHS for no architecture), boot,
 * and folders named for the file's own machine (cross compilers, multiarch); and 32-bit code that the
 * platform's 64-bit CPU runs too (amd64: i386 and x32; arm64: arm). Scripts are no ELF. */
#pragma once

#include "agent/layer_entry.h"
#include "common/err.h"
#include "common/platform.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct elf_report {
    enum platform platform;
    uint64_t files;     /* regular files seen */
    uint64_t elf;       /* of them ELF */
    uint64_t ignored;   /* ELF, of no platform: see above */
    uint64_t compat;    /* ELF of the platform's 32-bit sibling */
    uint64_t offenders; /* ELF for another platform */
    char first[512];    /* path of the first offender */
    char found[64];     /* what it is: "64-bit aarch64" */
    /* of the file that is being observed */
    char path[512];
    unsigned char head[64];
    size_t n;
    bool open;
};

/* Starts a report for a platform. */
void elf_report_init(struct elf_report *r, enum platform platform);
/* An observer that fills the report while a layer is written or read; r must outlive it. */
struct layer_observer elf_observer(struct elf_report *r);
/* Adds one file: its path and its first n bytes (64 are enough). */
void elf_report_add(struct elf_report *r, const char *path, const void *head, uint64_t n);
/* Adds every regular file of a folder; links are not followed. */
int elf_check_folder(struct elf_report *r, const char *folder, struct err *err);
/* 0, or -ENOEXEC with a text such as "3 of 210 ELF files are not for linux/arm/v7; the first is usr/bin/x
 * (64-bit aarch64)". */
int elf_report_verdict(const struct elf_report *r, struct err *err);
