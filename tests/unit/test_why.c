/* "Why built": what differs between two lists of inputs, as a person reads it. */
#include "daemon/model/plan.h"
#include "tests/lib/model_world.h"

#define SOURCE "https://git.test/a.git"
#define MASTER "refs/heads/master"

/* The sentence of two lists, each without its brackets. */
static void expect(const char *before, const char *after, const char *text)
{
    bool alone = false;
    cleanup_free char *a = xasprintf("[[\"version\",1]%s%s]", *before ? "," : "", before);
    cleanup_free char *b = xasprintf("[[\"version\",1]%s%s]", *after ? "," : "", after);
    cleanup_free char *told = key_difference(a, b, &alone);
    assert_string_equal(told ? told : "", text);
}

static void test_each_input(void **state)
{
    static const struct {
        const char *before, *after, *text;
    } cases[] = {
        {"", "", ""},
        {"[\"script\",\"a\"]", "[\"script\",\"b\"]", "its script changed"},
        {"[\"dockerfile\",\"sha256:1\"]", "[\"dockerfile\",\"sha256:2\"]",
         "its Dockerfile changed"},
        {"[\"context\",\"sha256:1\"]", "[\"context\",\"sha256:2\"]", "its files changed"},
        {"[\"dockerfile\",\"sha256:1\"],[\"context\",\"sha256:1\"],[\"epoch\",1]",
         "[\"dockerfile\",\"sha256:2\"],[\"context\",\"sha256:2\"],[\"epoch\",2]",
         "its Dockerfile changed"},
        {"[\"context\",\"sha256:1\"],[\"epoch\",1]", "[\"context\",\"sha256:2\"],[\"epoch\",2]",
         "its files changed"},
        {"[\"epoch\",946684800]", "[\"epoch\",1700000000]",
         "its date changed from 2000-01-01 to 2023-11-14"},
        {"[\"epoch\",1600000000]", "[\"epoch\",1600003601]",
         "its date changed from 2020-09-13 12:26:40 to 2020-09-13 13:26:41"},
        {"[\"argument VERSION\",\"1.2\"]", "[\"argument VERSION\",\"1.3\"]",
         "build argument VERSION changed from 1.2 to 1.3"},
        {"[\"argument A\",\"\"]", "[\"argument A\",\"b c\"]",
         "build argument A changed from '' to 'b c'"},
        {"", "[\"argument A\",\"1\"]", "build argument A is new: 1"},
        {"[\"argument A\",\"1\"]", "", "build argument A is gone"},
        {"[\"env PATH\",\"/bin\"]", "[\"env PATH\",\"/sbin\"]",
         "environment variable PATH changed from /bin to /sbin"},
        {"[\"label a.b\",\"x\"]", "", "label a.b is gone"},
        {"[\"base docker.io/library/debian:12\",\"sha256:1\"]",
         "[\"base docker.io/library/debian:12\",\"sha256:2\"]", "base debian:12 has new content"},
        {"[\"base docker.io/library/debian:11\",\"sha256:1\"]",
         "[\"base docker.io/library/debian:12\",\"sha256:2\"]",
         "it is built on debian:12 now, no longer on debian:11"},
        {"", "[\"base quay.io/a/b:1\",\"sha256:2\"]", "it is built on quay.io/a/b:1 now"},
        {"[\"base docker.io/a/b:1\",\"sha256:2\"]", "", "it is built on a/b:1 no longer"},
        {"[\"base x.y/a:1\",\"sha256:1\"],[\"base x.y/b:1\",\"sha256:1\"]",
         "[\"base x.y/a:1\",\"sha256:2\"],[\"base x.y/b:1\",\"sha256:2\"]",
         "bases x.y/a:1 and x.y/b:1 have new content"},
        {"", "[\"test\",\"true\"]", "it has a test command now"},
        {"[\"test\",\"true\"]", "[\"test\",\"false\"]", "its test command changed"},
        {"[\"test\",\"true\"]", "", "it has no test command any more"},
        {"", "[\"target\",\"slim\"]", "it is built up to stage slim now, no longer the last one"},
        {"[\"target\",\"slim\"]", "[\"target\",\"full\"]",
         "it is built up to stage full now, no longer slim"},
        {"[\"target\",\"slim\"]", "", "it is built up to its last stage now, no longer slim"},
        {"[\"cmd\",[\"a\"]]", "[\"cmd\",[\"b\",\"c\"]]",
         "its command changed from [\"a\"] to '[\"b\",\"c\"]'"},
        {"", "[\"entrypoint\",[\"b\"]]", "its entrypoint is [\"b\"] now"},
        {"[\"user\",\"root\"]", "[\"user\",\"nobody\"]", "its user changed from root to nobody"},
        {"", "[\"workdir\",\"/srv\"]", "its working directory is /srv now"},
        {"", "[\"compression\",\"zstd\"]",
         "its layers are packed with zstd now, no longer with gzip"},
        {"[\"media type\",\"docker\"]", "", "its media types are OCI's now, no longer Docker's"},
        {"", "[\"emulated\",true]", "boards that emulate may build it now"},
        {"[\"emulated\",true]", "", "boards that emulate may not build it any more"},
        {"", "[\"rebuild\",1]", "a person asked for it"},
        {"[\"rebuild\",1]", "[\"rebuild\",2]", "a person asked for it"},
        {"[\"repository\",\"r/a\"]", "[\"repository\",\"r/b\"]",
         "it is pushed to r/b now, no longer to r/a"},
        {"[\"kind\",\"dockerfile\"],[\"dockerfile\",\"sha256:1\"]",
         "[\"kind\",\"rootfs\"],[\"script\",\"x\"]",
         "it is built from a script now, no longer from a Dockerfile"},
        {"[\"variant\",\"bookworm\"]", "[\"variant\",\"trixie\"]",
         "its variant is trixie now, no longer bookworm"},
        /* of a later release */
        {"", "[\"packages\",\"sha256:123456789012345\"]", "packages is new: 123456789012"},
        {"[\"packages\",3]", "[\"packages\",4]", "packages changed from 3 to 4"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        expect(cases[i].before, cases[i].after, cases[i].text);
}

static void test_several_changes(void **state)
{
    expect("[\"dockerfile\",\"sha256:1\"],[\"base docker.io/library/debian:12\",\"sha256:1\"]",
           "[\"dockerfile\",\"sha256:2\"],[\"base docker.io/library/debian:12\",\"sha256:2\"]",
           "its Dockerfile changed and base debian:12 has new content");
    expect(
        "[\"script\",\"a\"],[\"argument V\",\"1\"]",
        "[\"script\",\"b\"],[\"argument V\",\"2\"],[\"test\",\"true\"]",
        "its script changed, it has a test command now and build argument V changed from 1 to 2");
    expect("",
           "[\"argument A\",\"1\"],[\"argument B\",\"1\"],[\"argument C\",\"1\"],[\"argument "
           "D\",\"1\"]",
           "4 build arguments changed (A, B, C and D)");
    expect("[\"env A\",\"1\"],[\"env B\",\"1\"],[\"env C\",\"1\"]",
           "[\"env D\",\"1\"],[\"env E\",\"1\"],[\"env F\",\"1\"],[\"rebuild\",1]",
           "a person asked for it and 6 environment variables changed (D, E, F and 3 more)");
}

/* What a value holds does not leave its sentence: control characters, characters of several bytes that are cut. */
static void test_odd_values(void **state)
{
    expect("[\"argument A\",\"x\"]", "[\"argument A\",\"one\\ntwo\\u001b[31m\"]",
           "build argument A changed from x to 'one two [31m'");
    expect("[\"argument A\",\"x\"]",
           "[\"argument A\",\"12345678901234567890123456789012345678901234567890123456789é\"]",
           "build argument A changed from x to "
           "12345678901234567890123456789012345678901234567890123456789…");
}

static void test_bases_alone(void **state)
{
    bool alone = false;
    free(key_difference("[[\"base a\",\"1\"]]", "[[\"base a\",\"2\"]]", &alone));
    assert_true(alone);
    free(key_difference("[[\"base a\",\"1\"]]", "[[\"base a\",\"2\"],[\"epoch\",1]]", &alone));
    assert_false(alone);
}

/* ---- of builds ---- */

static void expect_why(struct world *w, const char *code, const char *text)
{
    assert_string_equal(world_text(w, "tool@master", "why", "code"), code);
    assert_string_equal(world_text(w, "tool@master", "why", "text"), text);
}

static void test_of_a_build(void **state)
{
    static const char *const both[] = {"linux/amd64", "linux/arm64", NULL};
    struct world w;
    world_init(&w);
    struct farm_image *tool = world_image(&w, "tool", SOURCE, MASTER, "./mk");
    vec_push(&tool->platforms, PLATFORM_ARM64);
    w.platforms = both;
    world_start(&w);
    world_board(&w, "one");
    world_see(&w, SOURCE, MASTER, "c1");
    assert_int_equal(world_settle(&w, NULL), 2);
    expect_why(&w, "first-build", "never built before");
    world_see(&w, SOURCE, MASTER, "c2");
    assert_int_equal(world_settle(&w, NULL), 2);
    expect_why(&w, "input-changed", "its files changed");
    world_begin(&w, 1);
    struct err err = ERR_INIT;
    assert_int_equal(model_on_rebuild(w.m, "tool@master", "linux/arm64", false, &err), 0);
    world_end(&w);
    assert_int_equal(world_settle(&w, NULL), 1);
    expect_why(&w, "rebuild-asked", "linux/arm64: a person asked for it");
    world_done(&w);
}

/* An argument that differs by platform tells of each. */
static void test_platforms_that_differ(void **state)
{
    static const char *const both[] = {"linux/amd64", "linux/arm64", NULL};
    struct world w;
    world_init(&w);
    struct farm_image *tool = world_image(&w, "tool", SOURCE, MASTER, "./mk");
    w.platforms = both;
    world_start(&w);
    world_board(&w, "one");
    world_see(&w, SOURCE, MASTER, "c1");
    assert_int_equal(world_settle(&w, NULL), 1);
    vec_push(&tool->platforms, PLATFORM_ARM64);
    vec_push(&tool->args, (struct farm_pair){xstrdup("P"), xstrdup("$platform")});
    world_begin(&w, 1);
    model_on_config(w.m, w.farm);
    world_end(&w);
    assert_int_equal(world_settle(&w, NULL), 2);
    expect_why(
        &w, "input-changed",
        "linux/amd64: build argument P is new: linux/amd64; linux/arm64: never built before");
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_input), cmocka_unit_test(test_several_changes),
        cmocka_unit_test(test_odd_values), cmocka_unit_test(test_bases_alone),
        cmocka_unit_test(test_of_a_build), cmocka_unit_test(test_platforms_that_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
