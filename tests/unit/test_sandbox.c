/* The sandbox on the running board. Needs root; skipped without. */
#include "agent/sandbox.h"
#include "common/clock.h"
#include "tests/lib/test.h"

#include <ftw.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#define NEEDS_ROOT()                                                                               \
    do {                                                                                           \
        if (geteuid() != 0)                                                                        \
            skip();                                                                                \
    } while (0)

static char folder[] = "/tmp/sheaf-sandbox-XXXXXX";
static int counter;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static int setup(void **state)
{
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
    return nftw(folder, remove_one, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static const struct sandbox_mount tools[] = {
    {"/usr", "/usr", true}, {"/bin", "/bin", true},     {"/sbin", "/sbin", true},
    {"/lib", "/lib", true}, {"/lib64", "/lib64", true},
};
static const char *const env[] = {"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "container=lxc", NULL};

struct run {
    struct sandbox_outcome outcome;
    struct err err;
    int status;
    strvec tail;
};

static void run_done(struct run *r)
{
    strvec_done(&r->tail);
}

/* Runs a shell script among the host's own programs. */
static struct run run_spec(struct sandbox_spec spec, const char *script)
{
    struct run r = {0};
    char scratch[64];
    snprintf(scratch, sizeof(scratch), "%s/%d", folder, counter++);
    const char *argv[] = {"sh", "-c", script, NULL};
    FILE *null = fopen("/dev/null", "we");
    spec.scratch = scratch;
    spec.mode = SANDBOX_ROOT_EMPTY;
    spec.mounts = tools;
    spec.n_mounts = sizeof(tools) / sizeof(*tools);
    spec.argv = argv;
    spec.env = env;
    spec.log_fd = fileno(null);
    spec.capture = &r.tail;
    r.status = sandbox_run(&spec, &r.outcome, &r.err);
    fclose(null);
    if (r.status < 0)
        print_message("%s\n", r.err.text);
    return r;
}

static struct run run(const char *script)
{
    return run_spec((struct sandbox_spec){.timeout_ms = 20000}, script);
}

static void test_runs_and_tells_the_status(void **state)
{
    NEEDS_ROOT();
    cleanup_(run_done) struct run r = run("id -u; hostname; echo $$; exit 3");
    assert_int_equal(r.status, 0);
    assert_int_equal(r.outcome.end, SANDBOX_EXITED);
    assert_int_equal(r.outcome.status, 3);
    assert_int_equal(r.tail.n, 3);
    assert_string_equal(r.tail.items[0], "0");
    if (sandbox_ability()->uts)
        assert_string_equal(r.tail.items[1], "sheaf");
    if (sandbox_ability()->pid)
        assert_string_equal(r.tail.items[2], "2");
}

static void test_inherits_nothing(void **state)
{
    NEEDS_ROOT();
    setenv("SHEAF_SECRET", "hunter2", 1);
    FILE *leak = fopen("/etc/hostname", "r"); /* deliberately not close-on-exec */
    cleanup_(run_done) struct run r = run("env; ls /proc/self/fd | wc -l; cat /proc/1/environ "
                                          "/proc/1/fd/* /proc/1/maps; ls /root /home");
    if (leak)
        fclose(leak);
    assert_int_equal(r.status, 0);
    for (size_t i = 0; i < r.tail.n; i++)
        assert_null(strstr(r.tail.items[i], "hunter2"));
    assert_true(strvec_has(&r.tail, "4")); /* 0, 1, 2 and ls's own */
}

static void test_fails_to_reach_the_board(void **state)
{
    NEEDS_ROOT();
    if (!sandbox_ability()->user)
        skip();
    cleanup_(run_done) struct run r =
        run("mount -o remount,rw /usr && echo bad; umount /usr && echo bad; mknod /x b 8 0 && echo "
            "bad; "
            "echo x > /usr/bad && echo bad; echo 1 > /proc/sys/kernel/panic && echo bad; "
            "mount -t sysfs sysfs /sys && echo bad; chroot /proc/1/root true && echo bad; "
            "ls /sys/firmware >/dev/null; ls /old /lower && echo bad; echo done");
    assert_int_equal(r.status, 0);
    assert_false(strvec_has(&r.tail, "bad"));
    assert_true(strvec_has(&r.tail, "done"));
}

/* debootstrap makes these; a user namespace alone forbids it. */
static void test_makes_harmless_devices(void **state)
{
    NEEDS_ROOT();
    if (!sandbox_ability()->user)
        skip();
    cleanup_(run_done) struct run r = run(
        "mkdir /d /d/e && cd /d && mknod null c 1 3 && chmod 666 null && echo lost >null && "
        "stat -c '%F %t:%T %u %a' null; mknod -m 600 e/../../rnd c 1 8 && head -c 3 /rnd | wc -c; "
        "ln -s / /d/root; mknod /d/root/zero c 1 5 && echo linked; mknod pipe p && echo pipe; "
        "mknod null c 1 3 2>&1 | grep -o 'File exists'; "
        "mknod sda b 8 0 && echo bad; mknod mem c 1 1 && echo bad; mknod console c 5 1 && stat -c "
        "%F console; mknod ptmx c 5 2 || echo bad; "
        "mknod /usr/null c 1 3 && echo bad; "
        "for i in 1 2 3 4 5 6 7 8; do mknod /d/n$i c 1 3 & done; wait; ls /d | grep -c 'n[1-8]'");
    assert_int_equal(r.status, 0);
    assert_true(strvec_has(&r.tail, "character special file 1:3 0 666"));
    assert_true(strvec_has(&r.tail, "3"));
    assert_true(strvec_has(&r.tail, "linked"));
    assert_true(strvec_has(&r.tail, "pipe"));
    assert_true(strvec_has(&r.tail, "regular empty file"));
    assert_true(strvec_has(&r.tail, "File exists"));
    assert_true(strvec_has(&r.tail, "8"));
    assert_false(strvec_has(&r.tail, "bad"));
}

/* A fork bomb, and what has left its session. Who multiplies begins once the program itself has forked for the last time; and
 * where nothing bounds the number (root is not held to it, but in a user namespace), it would take the machine's memory,
 * and the program's end would be the kernel's doing: there a number is enough. */
static void test_kills_all_at_the_deadline(void **state)
{
    NEEDS_ROOT();
    bool bounded = sandbox_ability()->user || sandbox_ability()->cgroup_pids;
    struct sandbox_spec spec = {.timeout_ms = 700, .processes = 300};
    cleanup_free char *script = xasprintf(
        "f() { while :; do f & done; }; g() { for i in $(seq 200); do sleep 1000 & done; wait; }; "
        "(setsid sleep 1000 &); "
        "(until grep -q sleep /proc/$$/comm; do sleep 0.01; done; %s) & exec sleep 1000",
        bounded ? "f" : "g");
    int64_t start = clock_mono_ms();
    cleanup_(run_done) struct run r = run_spec(spec, script);
    assert_int_equal(r.status, 0);
    assert_int_equal(r.outcome.end, SANDBOX_TIMEOUT);
    assert_true(clock_mono_ms() - start < 500000); /* nobody waited for any of them */
}

static void test_ends_with_its_program(void **state)
{
    NEEDS_ROOT();
    int64_t start = clock_mono_ms();
    cleanup_(run_done) struct run r = run_spec((struct sandbox_spec){.timeout_ms = 500000},
                                               "(setsid sleep 1000 &); sleep 1000 & exit 0");
    assert_int_equal(r.status, 0);
    assert_true(sandbox_succeeded(&r.outcome));
    assert_true(clock_mono_ms() - start < 500000);
}

static void test_pretends_to_be_32_bit(void **state)
{
    NEEDS_ROOT();
    cleanup_(run_done) struct run wide = run("uname -m");
    cleanup_(run_done) struct run narrow =
        run_spec((struct sandbox_spec){.linux32 = true, .timeout_ms = 20000}, "uname -m");
    assert_int_equal(narrow.tail.n, 1);
    if (strcmp(wide.tail.items[0], "x86_64") == 0)
        assert_string_equal(narrow.tail.items[0], "i686");
    if (strcmp(wide.tail.items[0], "aarch64") == 0)
        assert_string_equal(narrow.tail.items[0], "armv8l");
}

static void test_says_what_cannot_be_started(void **state)
{
    NEEDS_ROOT();
    char scratch[64];
    snprintf(scratch, sizeof(scratch), "%s/missing", folder);
    const char *argv[] = {"no-such-program", NULL};
    struct sandbox_spec spec = {
        .scratch = scratch, .mode = SANDBOX_ROOT_EMPTY, .argv = argv, .env = env};
    struct sandbox_outcome o;
    struct err err = ERR_INIT;
    assert_int_equal(sandbox_run(&spec, &o, &err), -ENOENT);
    assert_non_null(strstr(err.text, "no-such-program"));
}

int main(void)
{
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs_and_tells_the_status),
        cmocka_unit_test(test_inherits_nothing),
        cmocka_unit_test(test_fails_to_reach_the_board),
        cmocka_unit_test(test_makes_harmless_devices),
        cmocka_unit_test(test_kills_all_at_the_deadline),
        cmocka_unit_test(test_ends_with_its_program),
        cmocka_unit_test(test_pretends_to_be_32_bit),
        cmocka_unit_test(test_says_what_cannot_be_started),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
