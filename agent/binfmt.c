#include "agent/binfmt.h"

#include "common/mem.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>

#define BINFMT "/proc/sys/fs/binfmt_misc"
#define PREFIX "sheaf-qemu-"

/* The first 20 bytes of an ELF file and which of them count: class, byte order, version, ABI (System V or
 * GNU), executable or shared object, machine. As the kernel parses it: \xHH for every byte. */
static char *describe(const struct platform_info *info)
{
    unsigned char magic[20] = {0x7f,        'E',       'L', 'F', (unsigned char)info->elf_class,
                               ELFDATA2LSB, EV_CURRENT};
    unsigned char mask[20] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfc, 0x00, 0xff,
                              0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xff};
    magic[16] = ET_EXEC;
    magic[18] = (unsigned char)(info->elf_machine & 0xff);
    magic[19] = (unsigned char)(info->elf_machine >> 8);
    if (info->elf_machine == EM_S390)
        magic[5] = ELFDATA2MSB;
    struct strbuf b = {0};
    strbuf_addf(&b, ":" PREFIX "%s:M:0:", info->qemu);
    for (int i = 0; i < 20; i++)
        strbuf_addf(&b, "\\x%02x", magic[i]);
    strbuf_addc(&b, ':');
    for (int i = 0; i < 20; i++)
        strbuf_addf(&b, "\\x%02x", mask[i]);
    strbuf_addf(&b, ":/usr/bin/qemu-%s-static:F", info->qemu);
    return strbuf_steal(&b);
}

static int write_text(const char *path, const char *text)
{
    cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        return -errno;
    return 0;
}

int binfmt_ensure(enum platform platform, struct err *err)
{
    const struct platform_info *info = platform_info(platform);
    cleanup_free char *qemu = xasprintf("/usr/bin/qemu-%s-static", info->qemu);
    if (access(qemu, X_OK) != 0)
        return err_set(err, -ENOENT, "%s is not installed (package qemu-user-static)", qemu);
    if (access(BINFMT "/register", F_OK) != 0 &&
        mount("binfmt_misc", BINFMT, "binfmt_misc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0)
        return err_errno(err, -errno, "mounting %s", BINFMT);
    cleanup_free char *name = xasprintf(BINFMT "/" PREFIX "%s", info->qemu);
    if (access(name, F_OK) == 0)
        return 0;
    cleanup_free char *line = describe(info);
    int r = write_text(BINFMT "/register", line);
    return r < 0 ? err_errno(err, r, "registering %s", qemu) : 0;
}

void binfmt_release(void)
{
    DIR *d = opendir(BINFMT);
    if (!d)
        return;
    struct dirent *e;
    while ((e = readdir(d))) {
        if (!str_starts(e->d_name, PREFIX))
            continue;
        cleanup_free char *path = xasprintf(BINFMT "/%s", e->d_name);
        if (write_text(path, "-1") < 0)
            continue;
    }
    closedir(d);
}
