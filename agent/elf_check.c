#include "agent/elf_check.h"

#include "agent/layer_index.h"
#include "common/mem.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What an ELF header says, read without regard to the host's own class and byte order. */
struct elf_id {
    int class, data, type, machine;
    uint32_t flags;
};

static uint16_t get16(const unsigned char *p, bool little)
{
    return little ? (uint16_t)(p[0] | p[1] << 8) : (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const unsigned char *p, bool little)
{
    uint32_t a = get16(p, little), b = get16(p + 2, little);
    return little ? a | b << 16 : a << 16 | b;
}

/* Whether the bytes begin an ELF file; sets *ret. */
static bool parse(const unsigned char *p, size_t n, struct elf_id *ret)
{
    if (n < 20 || memcmp(p, ELFMAG, SELFMAG) != 0)
        return false;
    bool little = p[EI_DATA] == ELFDATA2LSB;
    size_t flags_at = p[EI_CLASS] == ELFCLASS64 ? 48 : 36;
    *ret = (struct elf_id){.class = p[EI_CLASS],
                           .data = p[EI_DATA],
                           .type = get16(p + 16, little),
                           .machine = get16(p + 18, little),
                           .flags = n >= flags_at + 4 ? get32(p + flags_at, little) : 0};
    return true;
}

static const char *machine_name(int machine)
{
    switch (machine) {
    case EM_386:
        return "i386";
    case EM_X86_64:
        return "x86-64";
    case EM_ARM:
        return "arm";
    case EM_AARCH64:
        return "aarch64";
    case EM_RISCV:
        return "riscv";
    case EM_PPC64:
        return "ppc64";
    case EM_S390:
        return "s390";
    case EM_MIPS:
        return "mips";
    default:
        return NULL;
    }
}

static void describe(const struct elf_id *id, char *buf, size_t n)
{
    const char *name = machine_name(id->machine);
    char number[24];
    snprintf(number, sizeof(number), "machine %d", id->machine);
    const char *order = id->data == ELFDATA2MSB ? "big-endian " : "";
    const char *abi = "";
    if (id->machine == EM_ARM && (id->flags & EF_ARM_ABI_FLOAT_SOFT))
        abi = " soft-float";
    else if (id->machine == EM_ARM && (id->flags & EF_ARM_EABIMASK) != EF_ARM_EABI_VER5)
        abi = " old ABI";
    snprintf(buf, n, "%s-bit %s%s%s", id->class == ELFCLASS64 ? "64" : "32", order,
             name ? name : number, abi);
}

static const char *triplet_prefix(int machine)
{
    switch (machine) {
    case EM_386:
        return "i386-linux-";
    case EM_X86_64:
        return "x86_64-linux-";
    case EM_ARM:
        return "arm-linux-";
    case EM_AARCH64:
        return "aarch64-linux-";
    case EM_RISCV:
        return "riscv64-linux-";
    case EM_PPC64:
        return "powerpc64le-linux-";
    case EM_S390:
        return "s390x-linux-";
    default:
        return NULL;
    }
}

/* Whether a folder of the path is named for the file's own machine: usr/aarch64-linux-gnu of a cross
 * compiler, usr/lib/arm-linux-gnueabihf of Debian's multiarch. It says itself that it is foreign. (An image of
 * the wrong architecture is still found out by its programs.) */
static bool in_own_triplet(const struct elf_id *id, const char *path)
{
    const char *prefix = triplet_prefix(id->machine);
    for (const char *p = path; prefix && p; p = strchr(p, '/')) {
        p += *p == '/';
        if (str_starts(p, prefix) && strchr(p, '/'))
            return true;
    }
    return false;
}

/* Machine code that is not for the CPU that runs the image, or is not run at all. */
static bool foreign_by_nature(const struct elf_id *id, const char *path)
{
    static const char *const folders[] = {"lib/firmware/", "usr/lib/firmware/", "usr/lib/debug/",
                                          "usr/share/", "boot/"};
    if (id->type != ET_EXEC && id->type != ET_DYN) /* objects, kernel modules, cores */
        return true;
    if (id->machine == EM_NONE || id->machine == EM_BPF)
        return true;
    for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++) {
        if (str_starts(path, folders[i]))
            return true;
    }
    return in_own_triplet(id, path);
}

static bool big_endian(enum platform p)
{
    return p == PLATFORM_S390X;
}

static bool of_platform(const struct elf_id *id, enum platform p)
{
    const struct platform_info *info = platform_info(p);
    if (id->machine != info->elf_machine || id->class != info->elf_class)
        return false;
    if ((id->data == ELFDATA2MSB) != big_endian(p))
        return false;
    if (p != PLATFORM_ARM_V7)
        return true;
    /* Debian's and Alpine's v7 are hard-float EABI5. A file without either float flag (a static
     * program that computes none, Go's) runs too. */
    return (id->flags & EF_ARM_EABIMASK) == EF_ARM_EABI_VER5 &&
           !(id->flags & EF_ARM_ABI_FLOAT_SOFT);
}

/* 32-bit code that the same CPU runs beside its 64-bit code. */
static bool of_sibling(const struct elf_id *id, enum platform p)
{
    if (id->class != ELFCLASS32 || id->data != ELFDATA2LSB)
        return false;
    if (p == PLATFORM_AMD64)
        return id->machine == EM_386 || id->machine == EM_X86_64; /* the latter is x32 */
    return p == PLATFORM_ARM64 && id->machine == EM_ARM;
}

void elf_report_init(struct elf_report *r, enum platform platform)
{
    *r = (struct elf_report){.platform = platform};
}

void elf_report_add(struct elf_report *r, const char *path, const void *head, uint64_t n)
{
    struct elf_id id;
    r->files++;
    if (!parse(head, (size_t)n, &id))
        return;
    r->elf++;
    if (of_platform(&id, r->platform))
        return;
    if (foreign_by_nature(&id, path)) {
        r->ignored++;
    } else if (of_sibling(&id, r->platform)) {
        r->compat++;
    } else if (r->offenders++ == 0) {
        cleanup_free char *shown = layer_path_show(path);
        snprintf(r->first, sizeof(r->first), "%s", shown);
        describe(&id, r->found, sizeof(r->found));
    }
}

int elf_report_verdict(const struct elf_report *r, struct err *err)
{
    if (!r->offenders)
        return 0;
    return err_set(err, -ENOEXEC,
                   "%" PRIu64 " of %" PRIu64 " ELF files are not for %s; the first is %s (%s)",
                   r->offenders, r->elf, platform_info(r->platform)->name, r->first, r->found);
}

/* --------------------------------------------------------------------------------------- observer */

static void flush(struct elf_report *r)
{
    if (r->open)
        elf_report_add(r, r->path, r->head, r->n);
    r->open = false;
}

static bool observe_entry(void *ctx, const struct layer_entry *e)
{
    struct elf_report *r = ctx;
    flush(r);
    if (e->hard || !S_ISREG(e->mode))
        return false;
    r->open = true;
    r->n = 0;
    snprintf(r->path, sizeof(r->path), "%s", e->path);
    return true;
}

static void observe_data(void *ctx, const void *data, size_t size)
{
    struct elf_report *r = ctx;
    size_t room = sizeof(r->head) - r->n, n = size < room ? size : room;
    memcpy(r->head + r->n, data, n);
    r->n += n;
}

static void observe_end(void *ctx)
{
    flush(ctx);
}

struct layer_observer elf_observer(struct elf_report *r)
{
    return (struct layer_observer){
        .ctx = r, .entry = observe_entry, .data = observe_data, .end = observe_end};
}

/* ----------------------------------------------------------------------------------------- folder */

static void fts_closep(FTS **f)
{
    if (*f)
        fts_close(*f);
}

static void add_file(struct elf_report *r, const FTSENT *e, size_t skip)
{
    unsigned char head[64];
    cleanup_close int fd = open(e->fts_accpath, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return;
    ssize_t n = read(fd, head, sizeof(head));
    const char *path = e->fts_path + skip;
    if (n >= 0)
        elf_report_add(r, path + (*path == '/'), head, (uint64_t)n);
}

int elf_check_folder(struct elf_report *r, const char *folder, struct err *err)
{
    char *const roots[] = {(char *)folder, NULL};
    cleanup_(fts_closep) FTS *f = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_NOSTAT, NULL);
    if (!f)
        return err_errno(err, -errno, "cannot walk %s", folder);
    for (FTSENT *e; (errno = 0, e = fts_read(f));) {
        if (e->fts_info == FTS_DNR || e->fts_info == FTS_ERR)
            return err_errno(err, -e->fts_errno, "%s", e->fts_path);
        struct stat st;
        if (e->fts_info == FTS_F ||
            (e->fts_info == FTS_NSOK && lstat(e->fts_accpath, &st) == 0 && S_ISREG(st.st_mode)))
            add_file(r, e, strlen(folder));
    }
    return errno ? err_errno(err, -errno, "cannot walk %s", folder) : 0;
}
