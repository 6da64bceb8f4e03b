#include "agent/probe.h"

#include "common/mem.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

/* Machine code that pauses for ever; written by hand for the kernel's system call interface. */
static const uint32_t code_amd64[] = {0x000022b8, 0xeb050f00, 0x909090f7}; /* pause() */
static const uint32_t code_386[] = {0x00001db8, 0xeb80cd00, 0x909090f7};   /* pause() */
static const uint32_t code_arm64[] = {0xd2800000, 0xd2800001, 0xd2800002, 0xd2800003, 0xd2800004,
                                      0xd2800928, 0xd4000001, 0x17fffff9}; /* ppoll(0, 0, 0, 0) */
/* movw came with ARMv7 (v6T2): on a v6 it is an illegal instruction. mov is as old as ARM. */
static const uint32_t code_armv7[] = {0xe300701d, 0xef000000, 0xeafffffc};
static const uint32_t code_armv6[] = {0xe3a0701d, 0xef000000, 0xeafffffc};
static const uint32_t code_riscv64[] = {0x00000513, 0x00000593, 0x00000613, 0x00000693,
                                        0x00000713, 0x04900893, 0x00000073, 0xfe5ff06f};

struct probe {
    const uint32_t *code;
    size_t size;
    uint32_t elf_flags;
};

#define PROBE(words, flags)                                                                        \
    {                                                                                              \
        words, sizeof(words), flags                                                                \
    }
static const struct probe probes[PLATFORM_COUNT] = {
    [PLATFORM_AMD64] = PROBE(code_amd64, 0),
    [PLATFORM_386] = PROBE(code_386, 0),
    [PLATFORM_ARM64] = PROBE(code_arm64, 0),
    [PLATFORM_ARM_V7] = PROBE(code_armv7, EF_ARM_EABI_VER5 | EF_ARM_ABI_FLOAT_HARD),
    [PLATFORM_ARM_V6] = PROBE(code_armv6, EF_ARM_EABI_VER5),
    [PLATFORM_RISCV64] = PROBE(code_riscv64, 0),
};

enum { LOAD_ADDRESS = 0x100000, PAGE = 0x10000 };

static size_t build_elf64(const struct probe *p, int machine, unsigned char *out)
{
    Elf64_Ehdr e = {.e_type = ET_EXEC,
                    .e_machine = (Elf64_Half)machine,
                    .e_version = EV_CURRENT,
                    .e_phoff = sizeof(e),
                    .e_flags = p->elf_flags,
                    .e_ehsize = sizeof(e),
                    .e_phentsize = sizeof(Elf64_Phdr),
                    .e_phnum = 1};
    memcpy(e.e_ident, ELFMAG, SELFMAG);
    e.e_ident[EI_CLASS] = ELFCLASS64;
    e.e_ident[EI_DATA] = ELFDATA2LSB;
    e.e_ident[EI_VERSION] = EV_CURRENT;
    size_t head = sizeof(e) + sizeof(Elf64_Phdr);
    e.e_entry = LOAD_ADDRESS + head;
    Elf64_Phdr h = {.p_type = PT_LOAD,
                    .p_flags = PF_R | PF_X,
                    .p_vaddr = LOAD_ADDRESS,
                    .p_paddr = LOAD_ADDRESS,
                    .p_filesz = head + p->size,
                    .p_memsz = head + p->size,
                    .p_align = PAGE};
    memcpy(out, &e, sizeof(e));
    memcpy(out + sizeof(e), &h, sizeof(h));
    memcpy(out + head, p->code, p->size);
    return head + p->size;
}

static size_t build_elf32(const struct probe *p, int machine, unsigned char *out)
{
    Elf32_Ehdr e = {.e_type = ET_EXEC,
                    .e_machine = (Elf32_Half)machine,
                    .e_version = EV_CURRENT,
                    .e_phoff = sizeof(e),
                    .e_flags = p->elf_flags,
                    .e_ehsize = sizeof(e),
                    .e_phentsize = sizeof(Elf32_Phdr),
                    .e_phnum = 1};
    memcpy(e.e_ident, ELFMAG, SELFMAG);
    e.e_ident[EI_CLASS] = ELFCLASS32;
    e.e_ident[EI_DATA] = ELFDATA2LSB;
    e.e_ident[EI_VERSION] = EV_CURRENT;
    uint32_t head = sizeof(e) + sizeof(Elf32_Phdr);
    e.e_entry = LOAD_ADDRESS + head;
    Elf32_Phdr h = {.p_type = PT_LOAD,
                    .p_flags = PF_R | PF_X,
                    .p_vaddr = LOAD_ADDRESS,
                    .p_paddr = LOAD_ADDRESS,
                    .p_filesz = head + (uint32_t)p->size,
                    .p_memsz = head + (uint32_t)p->size,
                    .p_align = PAGE};
    memcpy(out, &e, sizeof(e));
    memcpy(out + sizeof(e), &h, sizeof(h));
    memcpy(out + head, p->code, p->size);
    return head + p->size;
}

/* The probe as an executable memory file. */
static int make_file(enum platform platform, struct err *err)
{
    const struct platform_info *info = platform_info(platform);
    unsigned char elf[512];
    size_t n = info->elf_class == ELFCLASS64
                   ? build_elf64(&probes[platform], info->elf_machine, elf)
                   : build_elf32(&probes[platform], info->elf_machine, elf);
    int fd = memfd_create("sheaf-probe", MFD_CLOEXEC);
    if (fd < 0)
        return err_errno(err, -errno, "memfd_create");
    if (write(fd, elf, n) != (ssize_t)n) {
        close(fd);
        return err_errno(err, -EIO, "writing a probe");
    }
    return fd;
}

_Noreturn static void run_probe(int fd, int tell)
{
    char path[32];
    char *argv[] = {(char[]){"sheaf-probe"}, NULL}, *env[] = {NULL};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* A second descriptor: read-only, as exec wants it, and open across exec, as an interpreter does. */
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int read_only = open(path, O_RDONLY | O_CLOEXEC);
    close(fd);
    if (read_only >= 0 && fcntl(read_only, F_SETFD, 0) == 0) {
        snprintf(path, sizeof(path), "/proc/self/fd/%d", read_only);
        execve(path, argv, env);
    }
    int code = errno;
    if (write(tell, &code, sizeof(code)) < 0)
        _exit(1);
    _exit(127);
}

static char read_state(pid_t pid)
{
    char path[64], state = '?';
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    cleanup_fclose FILE *f = fopen(path, "re");
    return f && fscanf(f, "%*d (%*[^)]) %c", &state) == 1 ? state : '?';
}

/* Runs until it sleeps in its pause, which takes an interpreter a moment; false when it dies instead. */
static bool settles(pid_t pid)
{
    for (int i = 0; i < 500; i++) {
        char state = read_state(pid);
        if (state == 'S')
            return true;
        if (state == 'Z' || state == 'X' || state == '?')
            return false;
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    return false;
}

static enum probe_answer look_at(pid_t pid, int told)
{
    int code;
    if (read(told, &code, sizeof(code)) > 0)
        return PROBE_NO;
    if (!settles(pid))
        return PROBE_NO;
    char link[64], exe[PATH_MAX];
    snprintf(link, sizeof(link), "/proc/%d/exe", (int)pid);
    ssize_t n = readlink(link, exe, sizeof(exe) - 1);
    if (n <= 0)
        return PROBE_NO;
    exe[n] = '\0';
    return strstr(exe, "memfd:sheaf-probe") ? PROBE_NATIVE : PROBE_EMULATED;
}

int probe_platform(enum platform platform, enum probe_answer *ret, struct err *err)
{
    if (!probes[platform].code) {
        *ret = PROBE_UNKNOWN;
        return 0;
    }
    cleanup_close int fd = make_file(platform, err);
    if (fd < 0)
        return fd;
    int pair[2];
    if (pipe2(pair, O_CLOEXEC) != 0)
        return err_errno(err, -errno, "pipe");
    cleanup_close int told = pair[0];
    pid_t pid = fork();
    if (pid == 0)
        run_probe(fd, pair[1]);
    close(pair[1]);
    if (pid < 0)
        return err_errno(err, -errno, "fork");
    *ret = look_at(pid, told);
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return 0;
}
