#include "common/json.h"

#include "tests/lib/test.h"

static json_t *parsed(const char *text)
{
    json_t *json = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(json_parse(text, strlen(text), 1000, &json, &err), 0);
    return json;
}

static void refused(const char *text, int code)
{
    json_t *json = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(json_parse(text, strlen(text), 30, &json, &err), code);
    assert_null(json);
}

static void test_parse(void **state)
{
    refused("{\"a\":1,\"a\":2}", -EINVAL);
    refused("{} {}", -EINVAL);
    refused("", -EINVAL);
    refused("[1,", -EINVAL);
    refused("[1,2,3,4,5,6,7,8,9,10,11,12,13,14]", -EMSGSIZE);
    cleanup_json json_t *json = parsed("[null, \"x\"]");
    assert_int_equal(json_array_size(json), 2);
}

static void test_many_values(void **state)
{
    size_t n = 3000001;
    char *text = xcalloc(n + 1, 1);
    for (size_t i = 0; i < n; i++)
        text[i] = "[],"[i % 3];
    text[0] = '[';
    text[1] = '1';
    text[n - 1] = ']';
    json_t *json = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(json_parse(text, n, n, &json, &err), -EMSGSIZE);
    assert_null(json);
    free(text);
}

static void test_parse_file(void **state)
{
    char path[] = "/tmp/sheaf-test-XXXXXX";
    struct err err = ERR_INIT;
    cleanup_json json_t *json = NULL;
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "{\"a\":1}", 7), 7);
    close(fd);
    assert_int_equal(json_parse_file(path, 3, &json, &err), -EMSGSIZE);
    assert_int_equal(json_parse_file(path, 7, &json, &err), 0);
    unlink(path);
    assert_int_equal(json_parse_file(path, 7, &json, &err), -ENOENT);
}

static void test_canonical(void **state)
{
    cleanup_json json_t *json = parsed("{ \"b\": [1, \"\\u00e9/\"], \"a\": null }");
    cleanup_free char *text = json_canonical(json);
    assert_string_equal(text, "{\"a\":null,\"b\":[1,\"\xc3\xa9/\"]}");
}

static void test_unpack(void **state)
{
    cleanup_json json_t *json = parsed("{\"a\":1,\"b\":\"x\"}");
    struct err err = ERR_INIT;
    int a = 0;
    const char *b = NULL;
    assert_int_equal(json_unpack_strict(json, &err, "{s:i,s:s}", "a", &a, "b", &b), 0);
    assert_string_equal(b, "x");
    assert_int_equal(json_unpack_strict(json, &err, "{s:i}", "a", &a), -EINVAL);
    assert_non_null(strstr(err.text, "b"));
    assert_int_equal(json_unpack_loose(json, &err, "{s:i}", "a", &a), 0);
}

static void test_getters(void **state)
{
    cleanup_json json_t *json =
        parsed("{\"s\":\"x\",\"i\":7,\"b\":true,\"o\":{},\"l\":[],\"n\":null}");
    struct err err = ERR_INIT;
    const char *s = "default";
    int64_t i = -1;
    bool b = false;
    json_t *o = NULL, *l = NULL;
    assert_int_equal(json_get_string(json, "s", &s, &err), 0);
    assert_string_equal(s, "x");
    assert_int_equal(json_get_int(json, "i", 0, 10, &i, &err), 0);
    assert_int_equal(i, 7);
    assert_int_equal(json_get_bool(json, "b", &b, &err), 0);
    assert_true(b);
    assert_int_equal(json_get_object(json, "o", &o, &err), 0);
    assert_int_equal(json_get_array(json, "l", &l, &err), 0);
    assert_true(o && l);
    assert_int_equal(json_get_int(json, "i", 0, 6, &i, &err), -EINVAL);
    assert_int_equal(json_get_string(json, "i", &s, &err), -EINVAL);
    assert_string_equal(err.text, "\"i\" is not a string");
    assert_int_equal(json_get_string(json, "n", &s, &err), -ENOENT);
    assert_int_equal(json_get_string(json, "z", &s, &err), -ENOENT);
    assert_int_equal(json_opt_string(json, "z", &s, &err), 0);
    assert_int_equal(json_opt_array(json, "n", &l, &err), 0);
    assert_int_equal(json_opt_bool(json, "s", &b, &err), -EINVAL);
    assert_int_equal(json_get_bool(l, "s", &b, &err), -EINVAL);
    assert_string_equal(s, "x");
}

static void assert_text(json_t *json, const char *expected)
{
    assert_string_equal(json_string_value(json), expected);
    json_decref(json);
}

static void test_texts_of_any_bytes(void **state)
{
    assert_text(json_text("stäte €, 🌾"), "stäte €, 🌾");
    assert_text(json_text("b\xe4r and b\xc3\xa4r"), "b?r and bär");
    assert_text(json_text("\xc0\xaf \xed\xa0\x80 \xf4\x90\x80\x80 \xe2\x82"), "?? ??? ???? ??");
    assert_text(json_text_of("a\0b", 3), "a?b");
    assert_text(json_text_of("", 0), "");
}

/* As jansson would write what json_text makes of them. */
static void test_texts_are_written_as_jansson_does(void **state)
{
    static const char *const texts[] = {"",
                                        "plain",
                                        "\"quoted\" and \\",
                                        "\b\f\n\r\t\x01\x1f\x7f/",
                                        "stäte €, 🌾",
                                        "b\xe4r",
                                        "\xc0\xaf \xed\xa0\x80 \xf4\x90\x80\x80 \xe2\x82",
                                        "\xf0\x9f\x8c"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        cleanup_json json_t *json = json_text(texts[i]);
        cleanup_free char *expected = json_canonical(json);
        cleanup_strbuf struct strbuf written = {0};
        json_write_text(&written, texts[i]);
        assert_string_equal(written.s, expected);
    }
}

/* A text that has the same names in strings, in inner objects and as values. */
#define HOLDS                                                                                      \
    "{\"a\":\"\\\"b\\\":false,\",\"inner\":{\"b\":\"x\",\"n\":[1,\"b\"]},\"l\":[{\"b\":0}],\"x\":" \
    "\"b\","

static void test_one_member_of_a_text(void **state)
{
    cleanup_strbuf struct strbuf text = {0};
    strbuf_add(&text, HOLDS "\"b\":false,\"z\":true}");
    json_set_bool(&text, "b", false);
    assert_string_equal(text.s, HOLDS "\"b\":false,\"z\":true}");
    json_set_bool(&text, "b", true);
    json_set_bool(&text, "z", false);
    assert_string_equal(text.s, HOLDS "\"b\":true,\"z\":false}");
    json_set_bool(&text, "z", true);
    assert_string_equal(text.s, HOLDS "\"b\":true,\"z\":true}");
    static const struct {
        const char *name, *value; /* NULL: none of that name */
    } members[] = {{"a", "\"\\\"b\\\":false,\""},
                   {"inner", "{\"b\":\"x\",\"n\":[1,\"b\"]}"},
                   {"l", "[{\"b\":0}]"},
                   {"z", "true"},
                   {"n", NULL},
                   {"", NULL}};
    for (size_t i = 0; i < sizeof(members) / sizeof(*members); i++) {
        cleanup_json json_t *member = json_member(text.s, members[i].name);
        cleanup_free char *value = member ? json_canonical(member) : NULL;
        assert_true(str_eq(value, members[i].value));
    }
}

/* What is cut where it is too long is still text. */
static void test_errors_are_cut_between_characters(void **state)
{
    char longer[2 * ERR_TEXT_MAX];
    for (size_t shift = 0; shift < 4; shift++) {
        memset(longer, 'x', shift);
        longer[shift] = '\0';
        while (strlen(longer) + 4 < sizeof(longer))
            strcat(longer, "🌾");
        struct err err = ERR_INIT;
        assert_int_equal(err_set(&err, -EIO, "%s", longer), -EIO);
        assert_in_range(strlen(err.text), ERR_TEXT_MAX - 4, ERR_TEXT_MAX - 1);
        assert_text(json_text(err.text), err.text);
        assert_int_equal(err_wrap(&err, "a%zu", shift), -EIO);
        assert_text(json_text(err.text), err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_many_values),
        cmocka_unit_test(test_parse_file),
        cmocka_unit_test(test_canonical),
        cmocka_unit_test(test_unpack),
        cmocka_unit_test(test_getters),
        cmocka_unit_test(test_texts_of_any_bytes),
        cmocka_unit_test(test_texts_are_written_as_jansson_does),
        cmocka_unit_test(test_one_member_of_a_text),
        cmocka_unit_test(test_errors_are_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
