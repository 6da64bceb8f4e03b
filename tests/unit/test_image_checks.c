/* What is looked at in a finished image: ELF files and package databases. */
#include "agent/elf_check.h"
#include "agent/layer.h"
#include "agent/packages.h"
#include "common/json.h"
#include "common/mem.h"
#include "tests/lib/tar_maker.h"
#include "tests/lib/test.h"

#include <elf.h>
#include <sys/stat.h>

/* The first bytes of an ELF file; little-endian. */
static const void *elf(int class, int type, int machine, uint32_t flags)
{
    static unsigned char head[64];
    memset(head, 0, sizeof(head));
    memcpy(head, ELFMAG, SELFMAG);
    head[EI_CLASS] = (unsigned char)class;
    head[EI_DATA] = ELFDATA2LSB;
    head[16] = (unsigned char)type;
    head[18] = (unsigned char)machine;
    head[19] = (unsigned char)(machine >> 8);
    int at = class == ELFCLASS64 ? 48 : 36;
    for (int i = 0; i < 4; i++)
        head[at + i] = (unsigned char)(flags >> (8 * i));
    return head;
}

static struct elf_report check(enum platform p, const char *path, const void *head)
{
    struct elf_report r;
    elf_report_init(&r, p);
    elf_report_add(&r, path, head, 64);
    assert_int_equal(r.files, 1);
    return r;
}

#define HARD (EF_ARM_EABI_VER5 | EF_ARM_ABI_FLOAT_HARD)

static void test_own_and_foreign(void **state)
{
    static const struct {
        enum platform platform;
        int class, machine;
        uint32_t flags;
        uint64_t offenders, compat;
    } cases[] = {
        {PLATFORM_AMD64, ELFCLASS64, EM_X86_64, 0, 0, 0},
        {PLATFORM_AMD64, ELFCLASS32, EM_386, 0, 0, 1},
        {PLATFORM_AMD64, ELFCLASS32, EM_X86_64, 0, 0, 1},
        {PLATFORM_AMD64, ELFCLASS64, EM_AARCH64, 0, 1, 0},
        {PLATFORM_ARM64, ELFCLASS64, EM_AARCH64, 0, 0, 0},
        {PLATFORM_ARM64, ELFCLASS32, EM_ARM, HARD, 0, 1},
        {PLATFORM_ARM64, ELFCLASS64, EM_X86_64, 0, 1, 0},
        {PLATFORM_ARM_V7, ELFCLASS32, EM_ARM, HARD, 0, 0},
        {PLATFORM_ARM_V7, ELFCLASS32, EM_ARM, EF_ARM_EABI_VER5, 0, 0},
        {PLATFORM_ARM_V7, ELFCLASS32, EM_ARM, EF_ARM_EABI_VER5 | EF_ARM_ABI_FLOAT_SOFT, 1, 0},
        {PLATFORM_ARM_V7, ELFCLASS32, EM_ARM, 0, 1, 0},
        {PLATFORM_ARM_V7, ELFCLASS64, EM_AARCH64, 0, 1, 0},
        {PLATFORM_ARM_V7, ELFCLASS32, EM_386, 0, 1, 0},
        {PLATFORM_ARM_V6, ELFCLASS32, EM_ARM, EF_ARM_EABI_VER5 | EF_ARM_ABI_FLOAT_SOFT, 0, 0},
        {PLATFORM_386, ELFCLASS64, EM_X86_64, 0, 1, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct elf_report r = check(cases[i].platform, "usr/bin/x",
                                    elf(cases[i].class, ET_DYN, cases[i].machine, cases[i].flags));
        assert_int_equal(r.elf, 1);
        assert_int_equal(r.offenders, cases[i].offenders);
        assert_int_equal(r.compat, cases[i].compat);
    }
}

static void test_what_is_ignored(void **state)
{
    enum platform p = PLATFORM_AMD64;
    assert_int_equal(check(p, "x.o", elf(ELFCLASS64, ET_REL, EM_BPF, 0)).ignored, 1);
    assert_int_equal(check(p, "x.ko", elf(ELFCLASS64, ET_REL, EM_AARCH64, 0)).ignored, 1);
    assert_int_equal(check(p, "x", elf(ELFCLASS64, ET_DYN, EM_NONE, 0)).ignored, 1);
    const void *arm = elf(ELFCLASS32, ET_EXEC, EM_ARM, HARD);
    assert_int_equal(check(PLATFORM_386, "lib/firmware/dsp", arm).ignored, 1);
    assert_int_equal(check(p, "usr/share/qemu/hppa.img", elf(1, ET_EXEC, 15, 0)).ignored, 1);
    const void *aarch64 = elf(ELFCLASS64, ET_DYN, EM_AARCH64, 0);
    assert_int_equal(check(p, "usr/aarch64-linux-gnu/lib/libc.so.6", aarch64).ignored, 1);
    assert_int_equal(check(p, "usr/lib/aarch64-linux-gnu/libc.so.6", aarch64).ignored, 1);
    assert_int_equal(check(p, "usr/lib/x86_64-linux-gnu/libc.so.6", aarch64).offenders, 1);
    assert_int_equal(check(p, "usr/bin/aarch64-linux-gnu-gcc", aarch64).offenders, 1);
    assert_int_equal(check(p, "script",
                           "#!/bin/sh\n# padded to sixty-four bytes, more or less, "
                           "with nothing at all")
                         .elf,
                     0);
}

static void test_verdict_names_the_first(void **state)
{
    struct err err = ERR_INIT;
    struct elf_report r;
    elf_report_init(&r, PLATFORM_ARM_V7);
    assert_int_equal(elf_report_verdict(&r, &err), 0);
    elf_report_add(&r, "usr/bin/good", elf(ELFCLASS32, ET_DYN, EM_ARM, HARD), 64);
    elf_report_add(&r, "usr/bin/bad", elf(ELFCLASS64, ET_DYN, EM_AARCH64, 0), 64);
    elf_report_add(&r, "usr/bin/worse", elf(ELFCLASS64, ET_DYN, EM_X86_64, 0), 64);
    elf_report_add(&r, "usr/bin/cut", ELFMAG, 4);
    assert_int_equal(elf_report_verdict(&r, &err), -ENOEXEC);
    assert_string_equal(err.text, "2 of 3 ELF files are not for linux/arm/v7; the first is "
                                  "usr/bin/bad (64-bit aarch64)");
}

static void test_elf_in_layers_and_folders(void **state)
{
    char *dir = test_dir();
    cleanup_free char *in = xasprintf("%s/in", dir), *bin = xasprintf("%s/root/bin", dir);
    cleanup_free char *root = xasprintf("%s/root", dir), *file = xasprintf("%s/x", bin);
    cleanup_free char *link = xasprintf("%s/l", bin);
    char head[64];
    memcpy(head, elf(ELFCLASS64, ET_DYN, EM_AARCH64, 0), 64);
    TAR_MAKE(in, "pax", "none", {.path = "bin/text", .data = "text"},
             {.path = "bin/x", .data = head, .size = 64}, {.path = "bin/y", .hard = "bin/x"},
             {.path = "last"});
    struct elf_report r;
    struct layer_result layer;
    elf_report_init(&r, PLATFORM_AMD64);
    struct layer_observer o = elf_observer(&r);
    assert_int_equal(layer_scan(in, NULL, &o, 1, &layer, NULL), 0);
    assert_int_equal(r.files, 3);
    assert_int_equal(r.offenders, 1);
    assert_string_equal(r.first, "bin/x");

    assert_int_equal(mkdir(root, 0755) | mkdir(bin, 0755), 0);
    test_write(file, head, 64);
    assert_int_equal(symlink("x", link), 0);
    elf_report_init(&r, PLATFORM_AMD64);
    assert_int_equal(elf_check_folder(&r, root, NULL), 0);
    assert_int_equal(r.files, 1);
    assert_int_equal(r.offenders, 1);
    assert_string_equal(r.first, "bin/x");
    test_dir_remove(dir);
}

/* --------------------------------------------------------------------------------------- packages */

static const char dpkg_status[] =
    "Package: bash\nStatus: install ok installed\nArchitecture: amd64\n"
    "Version: 5.2-1\nDescription: shell\n Version: 9 is no field\n\n"
    "Package: gone\nStatus: deinstall ok config-files\n"
    "Architecture: amd64\nVersion: 1\n\n"
    "Package: adduser\nStatus: install ok installed\n"
    "Version: 3.1\nArchitecture: all\n";
static const char apk_installed[] = "C:Q1abc=\nP:musl\nV:1.2.4-r2\nA:aarch64\nF:lib\nR:x\n\n"
                                    "P:busybox\nV:1.36-r0\nA:aarch64\n\n";

static void observe(struct packages *p, const char *tar)
{
    struct layer_observer o = packages_observer(p);
    struct layer_result r;
    assert_int_equal(layer_scan(tar, NULL, &o, 1, &r, NULL), 0);
}

static void assert_packages(const struct packages *p, const char *wanted)
{
    cleanup_json json_t *list = packages_json(p);
    cleanup_strbuf struct strbuf b = {0};
    size_t i;
    json_t *item;
    json_array_foreach (list, i, item)
        strbuf_addf(&b, "%s:%s=%s/%s ", json_string_value(json_object_get(item, "manager")),
                    json_string_value(json_object_get(item, "name")),
                    json_string_value(json_object_get(item, "version")),
                    json_string_value(json_object_get(item, "architecture")));
    assert_string_equal(strbuf_str(&b), wanted);
}

static void test_packages_in_layers(void **state)
{
    char *dir = test_dir();
    cleanup_free char *in = xasprintf("%s/in", dir);
    struct packages *p = packages_new();
    TAR_MAKE(
        in, "pax", "none", {.path = "./var/lib/dpkg/status", .data = dpkg_status},
        {.path = "./lib/apk/db/installed", .data = apk_installed},
        {.path = "./var/lib/dpkg/status.d/tzdata",
         .data = "Package: tzdata\nVersion: 2024a\n"
                 "Architecture: all\n"},
        {.path = "./var/lib/dpkg/status.d/tzdata.md5sums", .data = "Package: no\nVersion: 1\n"});
    observe(p, in);
    assert_packages(p, "apk:busybox=1.36-r0/aarch64 apk:musl=1.2.4-r2/aarch64 dpkg:adduser=3.1/all "
                       "dpkg:bash=5.2-1/amd64 dpkg:tzdata=2024a/all ");
    TAR_MAKE(in, "pax", "none", {.path = "lib/apk/db/.wh.installed"},
             {.path = "var/lib/dpkg/status.d/.wh..wh..opq"},
             {.path = "var/lib/dpkg/status", .data = "Package: bash\nVersion: 5.3\n"});
    observe(p, in);
    assert_packages(p, "dpkg:bash=5.3/ ");
    TAR_MAKE(in, "pax", "none", {.path = "var/.wh.lib"});
    observe(p, in);
    assert_packages(p, "");
    packages_free(p);
    test_dir_remove(dir);
}

static void test_packages_in_a_folder(void **state)
{
    char *dir = test_dir();
    static const char *const folders[] = {
        "usr", "usr/lib", "usr/lib/apk",  "usr/lib/apk/db",
        "var", "var/lib", "var/lib/dpkg", "var/lib/dpkg/status.d"};
    for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++) {
        cleanup_free char *path = xasprintf("%s/%s", dir, folders[i]);
        assert_int_equal(mkdir(path, 0755), 0);
    }
    cleanup_free char *lib = xasprintf("%s/lib", dir);
    cleanup_free char *apk = xasprintf("%s/usr/lib/apk/db/installed", dir);
    cleanup_free char *status = xasprintf("%s/var/lib/dpkg/status", dir);
    cleanup_free char *one = xasprintf("%s/var/lib/dpkg/status.d/base", dir);
    assert_int_equal(symlink("/usr/lib", lib), 0);
    test_write(apk, apk_installed, sizeof(apk_installed) - 1);
    assert_int_equal(symlink("/etc/passwd", status), 0); /* not followed */
    test_write(one, "Package: base\nVersion: 1\nArchitecture: arm64\n", 46);
    struct packages *p = packages_new();
    assert_int_equal(packages_read_folder(p, dir, NULL), 0);
    assert_packages(p, "apk:busybox=1.36-r0/aarch64 apk:musl=1.2.4-r2/aarch64 dpkg:base=1/arm64 ");
    packages_free(p);
    test_dir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_and_foreign),
        cmocka_unit_test(test_what_is_ignored),
        cmocka_unit_test(test_verdict_names_the_first),
        cmocka_unit_test(test_elf_in_layers_and_folders),
        cmocka_unit_test(test_packages_in_layers),
        cmocka_unit_test(test_packages_in_a_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
