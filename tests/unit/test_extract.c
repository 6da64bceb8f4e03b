#include "agent/extract.h"
#include "agent/layer.h"
#include "common/mem.h"
#include "tests/lib/tar_maker.h"
#include "tests/lib/test.h"

#include <fcntl.h>
#include <sys/stat.h>

static char *dir, *in, *root;

static int set_up(void **state)
{
    dir = test_dir();
    in = xasprintf("%s/in", dir);
    root = xasprintf("%s/root", dir);
    return mkdir(root, 0755);
}

static int tear_down(void **state)
{
    test_dir_remove(dir);
    free(in);
    free(root);
    return 0;
}

static int try(unsigned flags, const struct layer_limits *limits, struct err *err)
{
    struct extract_options o = {.flags = flags};
    if (limits)
        o.limits = *limits;
    return extract_tar_file(in, root, &o, NULL, err);
}

static void extract(unsigned flags)
{
    struct err err = ERR_INIT;
    if (try(flags, NULL, &err) < 0)
        fail_msg("%s", err.text);
}

static char *at(const char *path)
{
    static char buf[4096];
    snprintf(buf, sizeof(buf), "%s/%s", root, path);
    return buf;
}

static struct stat stat_of(const char *path)
{
    struct stat st;
    assert_int_equal(lstat(at(path), &st), 0);
    return st;
}

static bool exists(const char *path)
{
    struct stat st;
    return lstat(at(path), &st) == 0;
}

static void assert_content(const char *path, const char *content)
{
    cleanup_free char *text = test_read(at(path), NULL);
    assert_string_equal(text, content);
}

static void assert_refused(unsigned flags, const char *name, const char *why)
{
    struct err err = ERR_INIT;
    assert_true(try(flags, NULL, &err) < 0);
    if (!strstr(err.text, name) || !strstr(err.text, why))
        fail_msg("\"%s\" does not name %s: %s", err.text, name, why);
}

static void test_plain(void **state)
{
    TAR_MAKE(in, "pax", "gzip", {.path = "d", .mode = S_IFDIR | 0500, .mtime = 77},
             {.path = "d/f", .data = "hello", .mode = S_IFREG | 04755, .mtime = 99},
             {.path = "d/h", .hard = "d/f"}, {.path = "l", .mode = S_IFLNK | 0777, .link = "/etc"},
             {.path = "deep/er/x", .data = "x"}, {.path = "hole", .hole = 100000, .data = "end"});
    extract(0);
    assert_content("d/f", "hello");
    assert_int_equal(stat_of("d/f").st_mode, S_IFREG | 0755); /* no set-user-ID unasked */
    assert_int_equal(stat_of("d/f").st_mtim.tv_sec, 99);
    assert_int_equal(stat_of("d/f").st_ino, stat_of("d/h").st_ino);
    assert_int_equal(stat_of("d").st_mode, S_IFDIR | 0500);
    assert_int_equal(stat_of("d").st_mtim.tv_sec, 77);
    assert_true(S_ISLNK(stat_of("l").st_mode));
    assert_content("deep/er/x", "x");
    assert_int_equal(stat_of("hole").st_size, 100003);
    TAR_MAKE(in, "pax", "none", {.path = "s", .mode = S_IFREG | 04755});
    extract(EXTRACT_SETID);
    assert_int_equal(stat_of("s").st_mode, S_IFREG | 04755);
}

static void test_later_replaces(void **state)
{
    TAR_MAKE(in, "pax", "none", {.path = "a", .data = "1"}, {.path = "a", .data = "22"},
             {.path = "b", .mode = S_IFDIR | 0700}, {.path = "b/c", .data = "c"},
             {.path = "b", .data = "file"}, {.path = "x", .data = "x"},
             {.path = "x", .mode = S_IFDIR | 0711}, {.path = "x/y", .data = "y"},
             {.path = "x", .mode = S_IFDIR | 0750});
    extract(0);
    assert_content("a", "22");
    assert_content("b", "file");
    assert_content("x/y", "y");
    assert_int_equal(stat_of("x").st_mode, S_IFDIR | 0750);
}

static void test_nothing_leaves_the_folder(void **state)
{
    cleanup_free char *victim = xasprintf("%s/victim", dir);
    cleanup_free char *up = xasprintf("%s/up", root), *abs = xasprintf("%s/abs", root);
    assert_int_equal(mkdir(victim, 0755), 0);
    assert_int_equal(symlink("../victim", up) | symlink(victim, abs), 0);
    TAR_MAKE(in, "pax", "none", {.path = "../escaped"});
    assert_refused(0, "../escaped", "..");
    assert_refused(EXTRACT_LAYER, "../escaped", "..");
    TAR_MAKE(in, "pax", "none", {.path = "/escaped"});
    assert_refused(0, "/escaped", "absolute");
    TAR_MAKE(in, "pax", "none", {.path = "up/x"});
    assert_refused(0, "up/x", "no folder");
    TAR_MAKE(in, "pax", "none", {.path = "abs/x"});
    assert_refused(0, "abs/x", "no folder");
    TAR_MAKE(in, "pax", "none", {.path = "n", .mode = S_IFLNK | 0777, .link = "../victim"},
             {.path = "n/x"});
    assert_refused(0, "n/x", "no folder");
    TAR_MAKE(in, "pax", "none", {.path = "h", .hard = "up/x"});
    assert_refused(0, "entry h", "");
    TAR_MAKE(in, "pax", "none", {.path = "h", .hard = "../victim"});
    assert_refused(0, "entry h", "..");
    TAR_MAKE(in, "pax", "none", {.path = "up", .mode = S_IFDIR | 0777}, {.path = "up/x"});
    extract(0); /* the link is replaced, not followed */
    assert_true(S_ISDIR(stat_of("up").st_mode));
    cleanup_free char *x = xasprintf("%s/x", victim);
    assert_int_not_equal(access(x, F_OK), 0);
}

static void test_layer_links_stay_in_the_root(void **state)
{
    TAR_MAKE(in, "pax", "none", {.path = "usr/lib", .mode = S_IFDIR | 0755},
             {.path = "lib", .mode = S_IFLNK | 0777, .link = "usr/lib"},
             {.path = "top", .mode = S_IFLNK | 0777, .link = "/../../../usr"},
             {.path = "loop", .mode = S_IFLNK | 0777, .link = "loop/x"});
    extract(EXTRACT_LAYER);
    TAR_MAKE(in, "pax", "none", {.path = "lib/a", .data = "a"}, {.path = "top/b", .data = "b"},
             {.path = "/absolute", .data = "c"}, {.path = "lib/h", .hard = "lib/a"});
    extract(EXTRACT_LAYER);
    assert_content("usr/lib/a", "a");
    assert_content("usr/b", "b");
    assert_content("absolute", "c");
    assert_int_equal(stat_of("usr/lib/h").st_nlink, 2);
    TAR_MAKE(in, "pax", "none", {.path = "loop/y"});
    assert_refused(EXTRACT_LAYER, "loop/y", "");
}

static void test_whiteouts(void **state)
{
    TAR_MAKE(in, "pax", "none", {.path = "w/gone/x"}, {.path = "w/stays"}, {.path = "o/low"},
             {.path = "o/sub/low"}, {.path = "o/new"});
    extract(EXTRACT_LAYER);
    TAR_MAKE(in, "pax", "none", {.path = "o/sub/high"}, {.path = "o/.wh..wh..opq"},
             {.path = "o/late"}, {.path = "w/.wh.gone"}, {.path = "w/.wh.never"});
    extract(EXTRACT_LAYER);
    assert_false(exists("w/gone") || exists("w/.wh.gone") || exists("o/.wh..wh..opq"));
    assert_true(exists("w/stays"));
    assert_false(exists("o/low") || exists("o/sub/low") || exists("o/new"));
    assert_true(exists("o/sub/high") && exists("o/late"));
    /* Elsewhere they are names like any other. */
    TAR_MAKE(in, "pax", "none", {.path = "w/.wh.stays", .data = "1"});
    extract(0);
    assert_true(exists("w/stays") && exists("w/.wh.stays"));
    TAR_MAKE(in, "pax", "none", {.path = "w/.wh..", .data = "1"});
    assert_refused(EXTRACT_LAYER, "w/.wh..", "nothing");
}

static void test_limits(void **state)
{
    struct err err = ERR_INIT;
    TAR_MAKE(in, "pax", "none", {.path = "bomb", .hole = 10000000000, .data = "x"});
    assert_int_equal(try(0, NULL, &err), -EFBIG);
    assert_non_null(strstr(err.text, "bomb"));
    assert_false(exists("bomb"));
    struct layer_limits two = {.max_entries = 2};
    TAR_MAKE(in, "pax", "none", {.path = "1"}, {.path = "2"}, {.path = "3"});
    assert_int_equal(try(0, &two, &err), -EFBIG);
    TAR_MAKE(in, "pax", "none", {.path = "dev", .mode = S_IFBLK | 0666, .major = 8});
    assert_refused(0, "dev", "device");
    struct extract_stats stats;
    struct extract_options skip_devices = {.flags = EXTRACT_SKIP_DEVICES};
    assert_int_equal(extract_tar_file(in, root, &skip_devices, &stats, NULL), 0);
    assert_int_equal(stats.skipped, 1);
    assert_false(exists("dev"));
}

/* A pipe, as a context comes from the coordinator. */
static void test_from_a_pipe(void **state)
{
    size_t n;
    int fds[2];
    TAR_MAKE(in, "ustar", "none", {.path = "p", .data = "piped"});
    cleanup_free char *tar = test_read(in, &n);
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(write(fds[1], tar, n), (ssize_t)n);
    close(fds[1]);
    struct extract_options o = {0};
    assert_int_equal(extract_tar(fds[0], root, &o, NULL, NULL), 0);
    close(fds[0]);
    assert_content("p", "piped");
}

static void test_round_trip(void **state)
{
    cleanup_free char *again = xasprintf("%s/again", dir), *layer = xasprintf("%s/layer", dir);
    cleanup_free char *copy = xasprintf("%s/copy", dir);
    if (getuid() != getgid())
        skip();
    struct layer_options o = {.compression = LAYER_ZSTD, .id_shift = getuid(), .epoch = 500};
    struct layer_result first, second;
    struct err err = ERR_INIT;
    TAR_MAKE(in, "pax", "none", {.path = "d", .mode = S_IFDIR | 01777, .mtime = 3},
             {.path = "d/f", .data = "hello", .mode = S_IFREG | 04755, .mtime = 400},
             {.path = "d/\xff", .hard = "d/f"},
             {.path = "l", .mode = S_IFLNK | 0777, .link = "/etc", .mtime = 4},
             {.path = "p", .mode = S_IFIFO | 0644});
    assert_int_equal(layer_from_tar(in, layer, &o, &first, NULL), 0);
    assert_int_equal(mkdir(again, 0755), 0);
    struct extract_options x = {.flags = EXTRACT_LAYER | EXTRACT_SETID};
    if (extract_tar_file(layer, again, &x, NULL, &err) < 0 ||
        layer_from_folder(again, copy, &o, &second, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(first.content, second.content);
}

int main(void)
{
    umask(077); /* it must not matter */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_plain, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_later_replaces, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_leaves_the_folder, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_layer_links_stay_in_the_root, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_whiteouts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_limits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_from_a_pipe, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_round_trip, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
