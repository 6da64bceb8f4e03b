#include "agent/layer.h"
#include "common/digest.h"
#include "common/mem.h"
#include "tests/lib/tar_maker.h"
#include "tests/lib/test.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

static char *dir, *in, *out;

static int set_up(void **state)
{
    dir = test_dir();
    in = xasprintf("%s/in", dir);
    out = xasprintf("%s/out", dir);
    return 0;
}

static int tear_down(void **state)
{
    test_dir_remove(dir);
    free(in);
    free(out);
    return 0;
}

static struct layer_options options(void)
{
    return (struct layer_options){
        .compression = LAYER_GZIP, .epoch = 1000000000, .threads = 2, .devices = true};
}

static struct layer_result make(const struct layer_options *o)
{
    struct err err = ERR_INIT;
    struct layer_result r;
    if (layer_from_tar(in, out, o, &r, &err) < 0)
        fail_msg("%s", err.text);
    return r;
}

/* Names of the entries in the order of the layer. */
static bool note_entry(void *ctx, const struct layer_entry *e)
{
    strbuf_addf(ctx, "%s%s%s%s ", e->path,
                e->hard            ? "="
                : S_ISLNK(e->mode) ? ">"
                                   : "",
                e->link ? e->link : "", S_ISDIR(e->mode) && !e->hard ? "/" : "");
    return false;
}

static void assert_names(const char *names)
{
    struct strbuf b = {0};
    struct layer_observer o = {.ctx = &b, .entry = note_entry};
    struct layer_result r;
    assert_int_equal(layer_scan(out, NULL, &o, 1, &r, NULL), 0);
    assert_string_equal(strbuf_str(&b), names);
    strbuf_done(&b);
}

static void assert_refused(const struct layer_options *o, int code, const char *name,
                           const char *why)
{
    struct err err = ERR_INIT;
    struct layer_result r;
    unlink(out);
    assert_int_equal(layer_from_tar(in, out, o, &r, &err), code);
    assert_int_equal(err.code, code);
    if (!strstr(err.text, name) || !strstr(err.text, why))
        fail_msg("\"%s\" does not name %s: %s", err.text, name, why);
    assert_int_not_equal(access(out, F_OK), 0);
}

/* A few MB that compress neither well nor not at all. */
static char *noise(size_t n)
{
    char *p = xcalloc(1, n);
    uint32_t x = 12345;
    for (size_t i = 0; i < n; i++) {
        x = x * 1664525 + 1013904223;
        p[i] = (char)("the quick brown fox"[x >> 28] ^ (x >> 20 & 1));
    }
    return p;
}

/* The tree whose digests are fixed below: every architecture must get the same bytes. */
static void make_golden(const char *format)
{
    cleanup_free char *big = noise(3000000);
    TAR_MAKE(in, format, "none",
             {.path = "./usr/bin/tool",
              .mode = S_IFREG | 04755,
              .data = big,
              .size = 3000000,
              .id = 7,
              .mtime = 2000000000},
             {.path = "./usr/bin/a-tool", .hard = "./usr/bin/tool"},
             {.path = "./usr", .mode = S_IFDIR | 0755, .mtime = 5},
             {.path = "./usr-x", .mode = S_IFDIR | 01777},
             {.path = "./usr/bin", .mode = S_IFDIR | 0755},
             {.path = "./null", .mode = S_IFCHR | 0666, .major = 1, .minor = 3},
             {.path = "./link", .mode = S_IFLNK | 0777, .link = "usr/bin/tool"},
             {.path = "./pipe", .mode = S_IFIFO | 0600},
             {.path = "./\xc3\xa4", .data = "umlaut", .id = 3000000},
             {.path = "./usr/l/o/n/g/"
                      "0123456789012345678901234567890123456789012345678901234567890123456789/"
                      "0123456789012345678901234567890123456789012345678901234567890123456789",
              .data = "x",
              .mtime = -5},
             {.path = "./ping", .data = "y", .xattr = "user.note", .value = "kept"});
}

static void test_golden(void **state)
{
    make_golden("pax");
    struct layer_options o = options();
    struct layer_result r = make(&o);
    assert_string_equal(r.diff_id,
                        "sha256:a82361464635dcf20eab98852c982f99c06e0fea2c0cd29a2a23c773a4ec8899");
    assert_string_equal(r.content,
                        "sha256:d49309a4dde6ada29b96dd98f7bf5cc76ac5d1fce73ba5512f210d9708455ca7");
    assert_string_equal(r.digest,
                        "sha256:7ed70935089aa675d0e13cdbfc621657979324341dddad61520ef046d773e4f2");
    o.compression = LAYER_ZSTD;
    r = make(&o);
    assert_string_equal(r.digest,
                        "sha256:41779e818bfaef7345ee1e9cdea30123da4c95ca6920d2b7787576d1c2c10873");
}

static void test_bytes_do_not_depend_on_threads(void **state)
{
    make_golden("pax");
    for (int c = LAYER_PLAIN; c <= LAYER_ZSTD; c++) {
        struct layer_options o = options();
        struct layer_result first, r;
        o.compression = (enum layer_compression)c;
        o.threads = 1;
        first = make(&o);
        for (int threads = 2; threads <= 8; threads *= 2) {
            o.threads = threads;
            r = make(&o);
            assert_string_equal(r.digest, first.digest);
            assert_string_equal(r.diff_id, first.diff_id);
        }
    }
}

static void test_result_describes_the_file(void **state)
{
    make_golden("gnutar");
    struct layer_options o = options();
    for (int c = LAYER_PLAIN; c <= LAYER_ZSTD; c++) {
        o.compression = (enum layer_compression)c;
        struct layer_result r = make(&o), scanned;
        assert_int_equal(layer_scan(out, NULL, NULL, 0, &scanned, NULL), 0);
        assert_string_equal(scanned.digest, r.digest);
        assert_string_equal(scanned.diff_id, r.diff_id);
        assert_string_equal(scanned.content, r.content);
        assert_int_equal(scanned.size, r.size);
        assert_int_equal(scanned.unpacked, r.unpacked);
        assert_int_equal(scanned.entries, r.entries);
    }
}

static void test_order_and_links(void **state)
{
    make_golden("pax");
    struct layer_options o = options();
    make(&o);
    assert_names("link>usr/bin/tool null ping pipe usr/ usr/bin/ usr/bin/a-tool "
                 "usr/bin/tool=usr/bin/a-tool "
                 "usr/l/o/n/g/"
                 "0123456789012345678901234567890123456789012345678901234567890123456789/"
                 "0123456789012345678901234567890123456789012345678901234567890123456789 "
                 "usr-x/ \xc3\xa4 ");
}

static void test_times_change_no_content(void **state)
{
    struct layer_options o = options();
    TAR_MAKE(in, "pax", "none", {.path = "a", .data = "1", .mtime = 17}, {.path = "b"});
    struct layer_result first = make(&o);
    TAR_MAKE(in, "gnutar", "xz", {.path = "./b", .mtime = 99}, {.path = "a", .data = "1"});
    struct layer_result second = make(&o);
    assert_string_equal(first.content, second.content);
    assert_string_not_equal(first.diff_id, second.diff_id);
    /* Times after the epoch are all one. */
    TAR_MAKE(in, "pax", "none", {.path = "a", .data = "1", .mtime = 1000000001}, {.path = "b"});
    first = make(&o);
    TAR_MAKE(in, "pax", "gzip", {.path = "a", .data = "1", .mtime = 1700000000}, {.path = "b"});
    second = make(&o);
    assert_string_equal(first.digest, second.digest);
    TAR_MAKE(in, "pax", "none", {.path = "a", .data = "2"}, {.path = "b"});
    second = make(&o);
    assert_string_not_equal(first.content, second.content);
}

static void test_everything_else_changes_content(void **state)
{
    static const struct tar_spec variants[] = {
        {.path = "a", .data = "1"},
        {.path = "a", .data = "1", .mode = S_IFREG | 0755},
        {.path = "a", .data = "1", .id = 5},
        {.path = "b", .data = "1"},
        {.path = "a", .data = "1", .xattr = "user.x", .value = "1"},
        {.path = "a", .data = "1", .xattr = "user.x", .value = "2"},
        {.path = "a", .mode = S_IFLNK | 0777, .link = "1"},
        {.path = "a", .mode = S_IFLNK | 0777, .link = "2"},
        {.path = "a", .mode = S_IFDIR | 0755},
        {.path = "a", .mode = S_IFIFO | 0644},
        {.path = "a", .mode = S_IFCHR | 0644, .major = 1},
        {.path = "a", .mode = S_IFCHR | 0644, .minor = 1},
        {.path = "a", .mode = S_IFBLK | 0644, .minor = 1},
    };
    enum { N = sizeof(variants) / sizeof(*variants) };
    struct layer_options o = options();
    struct layer_result results[N];
    for (int i = 0; i < N; i++) {
        tar_make(in, "pax", "none", &variants[i], 1);
        results[i] = make(&o);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(results[i].content, results[k].content);
    }
}

static void test_host_attributes_are_left_out(void **state)
{
    struct layer_options o = options();
    TAR_MAKE(in, "pax", "none", {.path = "a"});
    struct layer_result plain = make(&o);
    TAR_MAKE(in, "pax", "none", {.path = "a", .xattr = "security.selinux", .value = "x"});
    struct layer_result labelled = make(&o);
    assert_string_equal(plain.digest, labelled.digest);
}

static void test_sparse_is_written_out(void **state)
{
    struct layer_options o = options();
    cleanup_free char *whole = xcalloc(1, 200003);
    memcpy(whole + 200000, "end", 3);
    TAR_MAKE(in, "pax", "none", {.path = "s", .data = whole, .size = 200003}, {.path = "z"});
    struct layer_result plain = make(&o);
    TAR_MAKE(in, "pax", "none", {.path = "s", .hole = 200000, .data = "end"}, {.path = "z"});
    struct layer_result sparse = make(&o);
    assert_string_equal(plain.digest, sparse.digest);
}

static void test_later_entries_replace(void **state)
{
    struct layer_options o = options();
    TAR_MAKE(in, "pax", "none", {.path = "a", .data = "old"}, {.path = "b", .hard = "a"},
             {.path = "a", .data = "new"}, {.path = "d", .mode = S_IFDIR | 0755},
             {.path = "d/x", .data = "gone"}, {.path = "d", .data = "a file now"},
             {.path = "c", .hard = "b"});
    struct layer_result r = make(&o);
    assert_names("a b c=b d ");
    TAR_MAKE(in, "pax", "none", {.path = "a", .data = "new"}, {.path = "b", .data = "old"},
             {.path = "c", .hard = "b"}, {.path = "d", .data = "a file now"});
    struct layer_result same = make(&o);
    assert_string_equal(r.digest, same.digest);
}

static void test_names_that_are_not_utf8(void **state)
{
    struct layer_options o = options();
    TAR_MAKE(in, "pax", "none", {.path = "\xff\xfe", .data = "1"},
             {.path = "\xff", .hard = "\xff\xfe"});
    make(&o);
    assert_names("\xff \xff\xfe=\xff ");
}

static void test_hostile(void **state)
{
    struct layer_options o = options();
    TAR_MAKE(in, "pax", "none", {.path = "good"}, {.path = "a/../../etc/passwd"});
    assert_refused(&o, -EBADMSG, "a/../../etc/passwd", "\"..\"");
    TAR_MAKE(in, "ustar", "none", {.path = "/etc/passwd"});
    assert_refused(&o, -EBADMSG, "/etc/passwd", "absolute");
    TAR_MAKE(in, "pax", "none", {.path = "h", .hard = "/etc/shadow"});
    assert_refused(&o, -EBADMSG, "entry h", "absolute");
    TAR_MAKE(in, "pax", "none", {.path = "h", .hard = "missing"});
    assert_refused(&o, -EBADMSG, "h", "not there");
    TAR_MAKE(in, "pax", "none", {.path = "d", .mode = S_IFDIR | 0755}, {.path = "h", .hard = "d"});
    assert_refused(&o, -EBADMSG, "h", "folder");
    TAR_MAKE(in, "pax", "none", {.path = "l", .mode = S_IFLNK | 0777, .link = "/etc"},
             {.path = "l/passwd"});
    assert_refused(&o, -EBADMSG, "l/passwd", "not a folder");
    TAR_MAKE(in, "pax", "none", {.path = "x/.wh.y"});
    assert_refused(&o, -EBADMSG, "x/.wh.y", "whiteout");
    o.devices = false;
    TAR_MAKE(in, "pax", "none", {.path = "dev/sda", .mode = S_IFBLK | 0600, .major = 8});
    assert_refused(&o, -EBADMSG, "dev/sda", "device");
    TAR_MAKE(in, "pax", "none", {.path = "dev/null", .mode = S_IFCHR | 0666, .major = 8});
    assert_refused(&o, -EBADMSG, "dev/null", "device");
}

/* What debootstrap leaves in /dev, every engine mounts anew. */
static void test_leaves_out_the_usual_devices(void **state)
{
    struct layer_options o = options();
    o.devices = false;
    TAR_MAKE(in, "pax", "none", {.path = "dev", .mode = S_IFDIR | 0755},
             {.path = "dev/null", .mode = S_IFCHR | 0666, .major = 1, .minor = 3},
             {.path = "dev/tty", .mode = S_IFCHR | 0666, .major = 5}, {.path = "a", .data = "x"});
    make(&o);
    assert_names("a dev/ ");
}

static void test_limits(void **state)
{
    struct layer_options o = options();
    TAR_MAKE(in, "pax", "none", {.path = "small"},
             {.path = "bomb", .hole = 100000000, .data = "x"});
    o.limits.max_bytes = 1000000;
    assert_refused(&o, -EFBIG, "bomb", "limit");
    o = options();
    o.limits.max_entries = 2;
    TAR_MAKE(in, "pax", "none", {.path = "1"}, {.path = "2"}, {.path = "3"});
    assert_refused(&o, -EFBIG, "2 entries", "more than");
}

static void test_damaged(void **state)
{
    struct layer_options o = options();
    make_golden("pax");
    size_t n;
    cleanup_free char *tar = test_read(in, &n);
    test_write(in, tar, n / 2);
    assert_refused(&o, -EBADMSG, "", "");
    test_write(in, "no tar at all, just text", 24);
    assert_refused(&o, -EBADMSG, "", "");
    test_write(in, "", 0);
    assert_refused(&o, -EBADMSG, "", "");
}

static void test_folder_is_as_its_tar(void **state)
{
    cleanup_free char *root = xasprintf("%s/root", dir), *sub = xasprintf("%s/root/sub", dir);
    cleanup_free char *a = xasprintf("%s/a", root), *b = xasprintf("%s/b", sub);
    cleanup_free char *link = xasprintf("%s/l", root);
    assert_int_equal(mkdir(root, 0755) | mkdir(sub, 0750), 0);
    test_write(b, "data", 4);
    assert_int_equal(chmod(sub, 02750) | chmod(b, 0600) | linkat(AT_FDCWD, b, AT_FDCWD, a, 0) |
                         symlink("/nowhere", link),
                     0);
    struct layer_options o = options();
    o.id_shift = getuid() == getgid() ? getuid() : 0;
    if (getuid() != getgid())
        skip();
    struct layer_result r, same;
    struct err err = ERR_INIT;
    if (layer_from_folder(root, out, &o, &r, &err) < 0)
        fail_msg("%s", err.text);
    assert_names("a l>/nowhere sub/ sub/b=a ");
    TAR_MAKE(in, "pax", "none", {.path = "sub", .mode = S_IFDIR | 02750, .mtime = 2000000000},
             {.path = "sub/b", .data = "data", .mode = S_IFREG | 0600, .mtime = 2000000000},
             {.path = "a", .hard = "sub/b"},
             {.path = "l", .mode = S_IFLNK | 0777, .link = "/nowhere", .mtime = 2000000000});
    same = make(&o);
    assert_string_equal(r.digest, same.digest);
    o.id_shift = 1234567;
    assert_int_equal(layer_from_folder(root, out, &o, &r, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "sandbox"));
}

/* What a layer is made of may be large: memory must not follow it. */
static void test_memory_is_bounded(void **state)
{
    TAR_MAKE(in, "pax", "none", {.path = "zeros", .hole = 150000000, .data = "x"});
    struct layer_options o = options();
    o.compression = LAYER_ZSTD;
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    make(&o);
    getrusage(RUSAGE_SELF, &after);
    assert_true(after.ru_maxrss - before.ru_maxrss < 50000); /* kB */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_bytes_do_not_depend_on_threads),
        cmocka_unit_test(test_result_describes_the_file),
        cmocka_unit_test(test_order_and_links),
        cmocka_unit_test(test_times_change_no_content),
        cmocka_unit_test(test_everything_else_changes_content),
        cmocka_unit_test(test_host_attributes_are_left_out),
        cmocka_unit_test(test_sparse_is_written_out),
        cmocka_unit_test(test_later_entries_replace),
        cmocka_unit_test(test_names_that_are_not_utf8),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_leaves_out_the_usual_devices),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_folder_is_as_its_tar),
        cmocka_unit_test(test_memory_is_bounded),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
