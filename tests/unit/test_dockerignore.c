#include "tests/lib/test.h"

#include "common/mem.h"
#include "daemon/dockerignore.h"

struct expectation {
    const char *text;
    const char *path;
    bool excluded;
};

static struct dockerignore *parse(const char *text)
{
    struct dockerignore *ignore = NULL;
    struct err err = ERR_INIT;
    if (dockerignore_parse(text, strlen(text), &ignore, &err) < 0)
        fail_msg("%s: %s", text, err.text);
    return ignore;
}

static void expect_all(const struct expectation *all, size_t n)
{
    for (const struct expectation *e = all; e < all + n; e++) {
        struct dockerignore *ignore = parse(e->text);
        if (dockerignore_excludes(ignore, e->path) != e->excluded)
            fail_msg("'%s' on '%s': expected %s", e->text, e->path,
                     e->excluded ? "excluded" : "kept");
        dockerignore_free(ignore);
    }
}
#define EXPECT(...)                                                                                \
    do {                                                                                           \
        const struct expectation _all[] = {__VA_ARGS__};                                           \
        expect_all(_all, sizeof(_all) / sizeof(*_all));                                            \
    } while (0)

static void test_nothing(void **state)
{
    assert_false(dockerignore_excludes(NULL, "a"));
    EXPECT({"", "a", false}, {"\n\n", "a", false}, {"   \t \r\n", "a", false});
}

static void test_plain_names(void **state)
{
    EXPECT({"a", "a", true}, {"a", "b/a", false}, {"a", "a/b/c", true}, {"a/b", "a/b/c", true},
           {"a/b", "a", false}, {"a/b", "a/bc", false}, {"Dockerfile", "Dockerfile", true},
           {".dockerignore", ".dockerignore", true});
}

static void test_lines(void **state)
{
    EXPECT({"# a\nb", "b", true}, {"#a", "#a", false}, {" #a", "#a", true},
           {"a   \t\r\n", "a", true}, {"   a", "a", true},
           {"\xef\xbb\xbf"
            "a",
            "a", true},
           {"a\nb\nc", "c", true}, {"a b", "a b", true});
}

static void test_paths_are_cleaned(void **state)
{
    EXPECT({"/a", "a", true}, {"./a", "a", true}, {"a/", "a/b", true}, {"a//b", "a/b", true},
           {"a/../b", "b", true}, {"a/./b/", "a/b", true}, {"../a", "a", false},
           {"a/../../b", "b", false}, {"/../a", "a", true}, {"/", "a", false}, {".", "a", false},
           {"..", "a", false}, {"../..", "a", false}, {"!/a\n", "a", false});
}

static void test_stars(void **state)
{
    EXPECT({"*", "a", true}, {"*", "a/b", true}, {"*.md", "a.md", true}, {"*.md", "d/a.md", false},
           {"*/a", "x/a", true}, {"*/a", "x/y/a", false}, {"a*", "ab/c", true},
           {"a*c", "abc", true}, {"a*c", "a/c", false}, {"?", "a", true}, {"?", "\xc3\xa9", true},
           {"??", "\xc3\xa9", false}, {"?", "ab", false}, {"a?b", "a/b", false},
           {"?", "\xff", true});
}

static void test_double_stars(void **state)
{
    EXPECT({"**", "a/b/c", true}, {"**/a", "a", true}, {"**/a", "x/y/a", true},
           {"**/a", "x/ya", false}, {"**/*.o", "a.o", true}, {"**/*.o", "x/y/a.o", true},
           {"a/**", "a/b", true}, {"a/**", "a", false}, {"a/**/b", "a/b", true},
           {"a/**/b", "a/x/y/b", true}, {"a/**/b", "a/xb", false}, {"a/**/b", "ab", false},
           {"*/**", "a/b", true}, {"*/**", "a", false}, {"**/a/**", "x/a/b", true},
           {"**/a/**/b", "x/a/y/b", true});
}

/* What moby's own matcher does, not what one would guess. */
static void test_double_star_oddities(void **state)
{
    EXPECT({"**foo", "barfoo", true}, {"**foo", "x/barfoo", true}, {"**fo?", "barfoo", false},
           {"foo**", "foobar/x", true}, {"**", ".hidden", true});
}

static void test_classes(void **state)
{
    EXPECT({"[a-c]", "b", true}, {"[a-c]", "d", false}, {"[^a-c]", "d", true},
           {"[^a-c]", "a", false}, {"x[ab]y", "xby", true}, {"[!a]", "!", true},
           {"[\\]]", "]", true}, {"\\*", "*", true}, {"\\*", "a", false}, {"a]", "a]", true},
           {"x[^a]y", "x/y", true}, {"[\xc3\xa0-\xc3\xbf]", "\xc3\xa9", true});
}

static void test_exceptions(void **state)
{
    EXPECT({"*\n!a", "a", false}, {"*\n!a", "b", true}, {"*\n!a\na/x", "a/x", true},
           {"*\n!a\na/x", "a/y", false}, {"!a\n*", "a", true}, {"d\n!d/keep", "d/keep", false},
           {"d\n!d/keep", "d/keep/below", false}, {"d\n!d/keep", "d/other", true},
           {"*.md\n! README.md", "README.md", false}, {"**\n!**/*.c", "x/a.c", false},
           {"*\n!Dockerfile", "Dockerfile", false}, {"a\n!a\na", "a", true});
}

static void test_errors(void **state)
{
    const char *bad[] = {"[",    "[]",  "[^]", "[a", "[a-", "[a-]",
                         "[-a]", "a\\", "!",   "! ", "!/",  "[z-a]"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct dockerignore *ignore = NULL;
        struct err err = ERR_INIT;
        char text[32];
        snprintf(text, sizeof(text), "ok\n\n%s\n", bad[i]);
        assert_int_equal(dockerignore_parse(text, strlen(text), &ignore, &err), -EINVAL);
        assert_non_null(strstr(err.text, ".dockerignore:3: "));
        assert_null(ignore);
    }
    struct dockerignore *ignore = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(dockerignore_parse("a\0b", 3, &ignore, &err), -EINVAL);
}

/* A pattern that makes a backtracking matcher take for ever. */
static void test_hostile_pattern(void **state)
{
    struct strbuf pattern = {0}, path = {0};
    for (int i = 0; i < 200; i++)
        strbuf_add(&pattern, "**/*a");
    for (int i = 0; i < 1500; i++)
        strbuf_add(&path, i % 3 ? "a" : "/");
    strbuf_add(&pattern, "b");
    struct dockerignore *ignore = parse(pattern.s);
    assert_false(dockerignore_excludes(ignore, path.s + 1));
    dockerignore_free(ignore);
    strbuf_done(&pattern);
    strbuf_done(&path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_plain_names),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_paths_are_cleaned),
        cmocka_unit_test(test_stars),
        cmocka_unit_test(test_double_stars),
        cmocka_unit_test(test_double_star_oddities),
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_exceptions),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_hostile_pattern),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
