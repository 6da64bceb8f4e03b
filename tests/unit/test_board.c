/* What the job helper finds out about a board, and how it removes what hostile code leaves. */
#include "agent/apt_sources.h"
#include "agent/image_user.h"
#include "agent/probe.h"
#include "agent/tree_remove.h"
#include "tests/lib/test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/utsname.h>

static char folder[] = "/tmp/sheaf-board-XXXXXX";

static int setup(void **state)
{
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
    return tree_remove(folder, NULL);
}

static void write_text(const char *name, const char *text)
{
    cleanup_free char *path = xasprintf("%s/%s", folder, name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void test_own_cpu_runs_its_own_programs(void **state)
{
    struct utsname u;
    enum platform own;
    enum probe_answer answer = PROBE_NO;
    assert_int_equal(uname(&u), 0);
    if (platform_from_uname(u.machine, &own) < 0)
        skip();
    assert_int_equal(probe_platform(own, &answer, NULL), 0);
    assert_true(answer == PROBE_NATIVE || answer == PROBE_EMULATED);
}

static void test_foreign_programs_are_not_native(void **state)
{
    struct utsname u;
    assert_int_equal(uname(&u), 0);
    if (strcmp(u.machine, "x86_64") != 0)
        skip();
    enum probe_answer answer = PROBE_NATIVE;
    assert_int_equal(probe_platform(PLATFORM_ARM64, &answer, NULL), 0);
    assert_int_not_equal(answer, PROBE_NATIVE);
    assert_int_equal(probe_platform(PLATFORM_ARM_V7, &answer, NULL), 0);
    assert_int_not_equal(answer, PROBE_NATIVE);
}

static void test_mirrors_are_the_machines_own(void **state)
{
    static const char text[] = "http://m.invalid/debian/|bookworm|main|Debian\n"
                               "http://m.invalid/debian/|bookworm|contrib|Debian\n"
                               "http://m.invalid/debian/|bookworm-updates|main|Debian\n"
                               "http://m.invalid/debian/|bookworm-backports|main|Debian\n"
                               "http://s.invalid/|bookworm-security|main|$(ORIGIN)\n"
                               "http://o.invalid/|bookworm|main|Raspberry Pi Foundation\n"
                               "nonsense\n";
    cleanup_strvec strvec own = {0}, other = {0};
    apt_sources_parse(text, "bookworm", "bookworm", &own);
    assert_int_equal(own.n, 3);
    assert_non_null(strstr(own.items[0], " http://m.invalid/debian/ bookworm main"));
    assert_non_null(strstr(own.items[2], " http://s.invalid/ bookworm-security main"));
    apt_sources_parse(text, "bookworm", "trixie", &other);
    assert_int_equal(other.n, 1);
    assert_non_null(strstr(other.items[0], " http://m.invalid/debian/ trixie main"));
    assert_true(apt_is_debian_suite("trixie"));
    assert_false(apt_is_debian_suite("3.20"));
    assert_false(apt_is_debian_suite(NULL));
}

static void check_user(const char *user, uint32_t uid, uint32_t gid)
{
    uint32_t u = 7, g = 7;
    assert_int_equal(image_user(folder, user, &u, &g, NULL), 0);
    assert_int_equal(u, uid);
    assert_int_equal(g, gid);
}

static void test_users_are_the_images(void **state)
{
    cleanup_free char *etc = xasprintf("%s/etc", folder);
    assert_int_equal(mkdir(etc, 0755), 0);
    write_text("etc/passwd", "root:x:0:0::/:/bin/sh\nwww:x:33:34:web:/var:/bin/false\n");
    write_text("etc/group", "root:x:0:\nadm:x:4:www\n");
    check_user(NULL, 0, 0);
    check_user("", 0, 0);
    check_user("www", 33, 34);
    check_user("33", 33, 34);
    check_user("1000", 1000, 0);
    check_user("www:adm", 33, 4);
    check_user("5:6", 5, 6);
    uint32_t u, g;
    struct err err = ERR_INIT;
    assert_int_equal(image_user(folder, "nobody", &u, &g, &err), -ENOENT);
    assert_int_equal(image_user(folder, "www:nogroup", &u, &g, &err), -ENOENT);
    assert_int_equal(image_user(folder, "99999999", &u, &g, &err), -ENOENT);
}

static void make_deep(int depth)
{
    int fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < depth; i++) {
        assert_int_equal(mkdirat(fd, "a-rather-long-name-for-a-folder", 0755), 0);
        int next = openat(fd, "a-rather-long-name-for-a-folder", O_PATH | O_DIRECTORY | O_CLOEXEC);
        assert_true(next >= 0);
        close(fd);
        fd = next;
    }
    close(fd);
}

static void test_removes_what_is_odd(void **state)
{
    cleanup_free char *keep = xasprintf("%s/keep", folder);
    cleanup_free char *odd = xasprintf("%s/odd", folder);
    cleanup_free char *locked = xasprintf("%s/odd/locked", folder);
    cleanup_free char *inner = xasprintf("%s/odd/locked/inner", folder);
    cleanup_free char *out = xasprintf("%s/odd/out", folder);
    cleanup_free char *fifo = xasprintf("%s/odd/fifo", folder);
    assert_int_equal(mkdir(keep, 0755), 0);
    write_text("keep/file", "x");
    assert_int_equal(mkdir(odd, 0755), 0);
    assert_int_equal(mkdir(locked, 0755), 0);
    assert_int_equal(mkdir(inner, 0755), 0);
    assert_int_equal(symlink(keep, out), 0);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    write_text("odd/new\nline", "x");
    write_text("odd/-rf", "x");
    assert_int_equal(chmod(locked, 0), 0);
    struct err err = ERR_INIT;
    int r = tree_remove(odd, &err);
    if (r < 0)
        print_message("%s\n", err.text);
    assert_int_equal(r, 0);
    assert_int_equal(access(odd, F_OK), -1);
    cleanup_free char *file = xasprintf("%s/keep/file", folder);
    assert_int_equal(access(file, F_OK), 0);
    assert_int_equal(tree_remove(odd, &err), 0); /* not there: fine */
}

static void test_removes_what_is_deep(void **state)
{
    make_deep(3000); /* far beyond PATH_MAX and the limit of open files */
    cleanup_free char *deep = xasprintf("%s/a-rather-long-name-for-a-folder", folder);
    assert_int_equal(tree_remove(deep, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_cpu_runs_its_own_programs),
        cmocka_unit_test(test_foreign_programs_are_not_native),
        cmocka_unit_test(test_mirrors_are_the_machines_own),
        cmocka_unit_test(test_users_are_the_images),
        cmocka_unit_test(test_removes_what_is_odd),
        cmocka_unit_test(test_removes_what_is_deep),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
