#include "common/nearest.h"
#include "tests/lib/test.h"

static void distances(void **state)
{
    static const struct {
        const char *a, *b;
        int distance;
    } cases[] = {{"", "", 0},
                 {"abc", "abc", 0},
                 {"abc", "acb", 1},
                 {"abc", "ab", 1},
                 {"abc", "xabc", 1},
                 {"Abc", "aBC", 0},
                 {"media_type", "media-type", 0},
                 {"kitten", "sitting", 3},
                 {"", "abc", 3}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(edit_distance(cases[i].a, cases[i].b), cases[i].distance);
        assert_int_equal(edit_distance(cases[i].b, cases[i].a), cases[i].distance);
    }
    char longer[500];
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    assert_int_equal(edit_distance(longer, ""), 63);
}

static void nearest(void **state)
{
    static const char *const words[] = {"platforms", "optional", "ref", "registry", "tags"};
    static const struct {
        const char *word, *expected;
    } cases[] = {{"platfroms", "platforms"},
                 {"platform", "platforms"},
                 {"tag", "tags"},
                 {"Ref", "ref"},
                 {"xyz", NULL},
                 {"", NULL}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *got = nearest_word(cases[i].word, words, 5);
        if (cases[i].expected)
            assert_string_equal(got, cases[i].expected);
        else
            assert_null(got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(distances), cmocka_unit_test(nearest)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
