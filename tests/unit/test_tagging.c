#include "daemon/model/tagging.h"
#include "tests/lib/test.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void patterns(void **state)
{
    static const struct {
        const char *pattern, *ref, *matched; /* NULL: no match */
    } cases[] = {
        {"refs/tags/v*", "refs/tags/v1.4.0", "1.4.0"},
        {"refs/tags/v*", "refs/tags/v", NULL},
        {"refs/tags/v*", "refs/tags/1.4", NULL},
        {"refs/tags/v*", "refs/heads/v1", NULL},
        {"refs/heads/v*", "refs/heads/v3.20", "3.20"},
        {"refs/heads/*", "refs/heads/feature/x", "feature/x"},
        {"refs/tags/nginx-*-deb", "refs/tags/nginx-1.2-deb", "1.2"},
        {"refs/tags/nginx-*-deb", "refs/tags/nginx-deb", NULL},
        {"refs/tags/nginx-*-deb", "refs/tags/nginx--deb", NULL},
        {"refs/heads/master", "refs/heads/master", ""},
        {"refs/heads/master", "refs/heads/master2", NULL},
        {"HEAD", "HEAD", ""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *start = NULL;
        size_t n = 0;
        bool matched = ref_match(cases[i].pattern, cases[i].ref, &start, &n);
        if (matched != (cases[i].matched != NULL))
            fail_msg("%s against %s", cases[i].ref, cases[i].pattern);
        if (!matched)
            continue;
        cleanup_free char *text = xstrndup(start, n);
        assert_string_equal(text, cases[i].matched);
    }
}

/* An image with these templates, separated by blanks; strings that are not templates are weak. */
static struct farm_image image_of(const char *ref, const char *versions, const char *tags)
{
    struct farm_image image = {.name = (char *)"img",
                               .repository = (char *)"r.example/osf/img",
                               .ref = (char *)ref,
                               .versions = (char *)versions,
                               .context = (char *)""};
    cleanup_free char *copy = xstrdup(tags);
    for (char *save, *t = strtok_r(copy, " ", &save); t; t = strtok_r(NULL, " ", &save))
        strvec_add(&image.tags, t);
    return image;
}

static void image_end(struct farm_image *image)
{
    strvec_done(&image->tags);
    strvec_done(&image->variants);
}

static void readings(void **state)
{
    static const struct {
        const char *ref, *versions, *tags, *seen, *version;
        enum ref_verdict verdict;
    } cases[] = {
        {"refs/heads/v*", ">=3.19", "$version", "refs/heads/v3.20", "3.20", REF_FOLLOWED},
        {"refs/heads/v*", ">=3.19", "$version", "refs/heads/v3.9", "3.9", REF_OUT_OF_BOUNDS},
        {"refs/heads/v*", NULL, "$version", "refs/heads/vendor", "endor", REF_NO_VERSION},
        {"refs/heads/v*", NULL, "$version", "refs/heads/master", "", REF_NO_MATCH},
        {"refs/tags/*", NULL, "$version", "refs/tags/v1.4", "1.4", REF_FOLLOWED},
        {"refs/tags/*", NULL, "$version", "refs/tags/vv1", "vv1", REF_NO_VERSION},
        {"refs/heads/*", NULL, "$branch", "refs/heads/edge", "edge", REF_FOLLOWED},
        {"refs/heads/*", NULL, "$branch latest", "refs/heads/edge", "edge", REF_NO_VERSION},
        {"refs/heads/master", NULL, "latest", "refs/heads/master", "", REF_FOLLOWED},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct farm_image image = image_of(cases[i].ref, cases[i].versions, cases[i].tags);
        struct ref_reading reading = ref_read(&image, cases[i].seen);
        if (reading.verdict != cases[i].verdict)
            fail_msg("%s under %s: %s", cases[i].seen, cases[i].ref,
                     ref_verdict_text(reading.verdict));
        assert_string_equal(reading.version, cases[i].version);
        image_end(&image);
    }
}

static void long_refs(void **state)
{
    char ref[600] = "refs/tags/v";
    memset(ref + strlen(ref), '1', 500);
    struct farm_image image = image_of("refs/tags/v*", NULL, "$version");
    assert_int_equal(ref_read(&image, ref).verdict, REF_NO_VERSION);
    image_end(&image);
}

/* The claims as "tag" or "tag*" for shared ones, separated by blanks; "!" for an error. */
static char *claims_text(const struct farm_image *image, const char *ref, const char *variant)
{
    struct farm farm = {.registry = (char *)"r.example/osf"};
    struct ref_reading reading = ref_read(image, ref);
    struct template_vars vars = track_vars(&farm, image, ref, &reading, variant,
                                           "0123456789abcdef0123456789abcdef01234567");
    cleanup_tag_claims tag_claims claims = {0};
    struct err err = ERR_INIT;
    if (tags_of_track(image, &vars, &claims, &err) < 0)
        return xasprintf("!%s", err.text);
    struct strbuf out = {0};
    VEC_FOREACH (&claims, claim)
        strbuf_addf(&out, "%s%s%s", out.n ? " " : "", claim->tag, claim->shared ? "*" : "");
    return strbuf_steal(&out);
}

static void claims(void **state)
{
    static const struct {
        const char *ref, *tags, *seen, *expected;
    } cases[] = {
        {"refs/tags/v*", "$version $major.$minor latest", "refs/tags/v1.4.0", "1.4.0 1.4* latest*"},
        {"refs/tags/v*", "$version $major.$minor latest", "refs/tags/v1.5.0-rc.1", "1.5.0-rc.1"},
        {"refs/tags/v*", "$version $major.$minor latest", "refs/tags/v1.4", "1.4* latest*"},
        {"refs/tags/v*", "$version $major.$minor.$patch", "refs/tags/v1.4", "1.4"},
        {"refs/tags/v*", "$version ${major}", "refs/tags/v1.4+deb1", "1.4_deb1 1*"},
        {"refs/tags/v*", "$tag-$image", "refs/tags/v1.4", "v1.4-img"},
        {"refs/heads/*", "$branch $short_commit", "refs/heads/a/b", "a-b 0123456789ab"},
        {"refs/heads/master", "latest edge latest", "refs/heads/master", "latest edge"},
        {"refs/heads/*", "$branch", "refs/heads/-x", "!tag $branch: '-x' is no tag"},
        {"refs/heads/*", "$branch", "refs/heads/a b", "!tag $branch: 'a b' is no tag"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct farm_image image = image_of(cases[i].ref, NULL, cases[i].tags);
        cleanup_free char *text = claims_text(&image, cases[i].seen, NULL);
        assert_string_equal(text, cases[i].expected);
        image_end(&image);
    }
}

static void claims_of_variants(void **state)
{
    struct farm_image image = image_of("refs/heads/master", NULL, "$variant $variant-$branch x");
    strvec_add(&image.variants, "bookworm");
    strvec_add(&image.variants, "trixie");
    cleanup_free char *text = claims_text(&image, "refs/heads/master", "trixie");
    assert_string_equal(text, "trixie trixie-master x*");
    image_end(&image);
}

static void owners(void **state)
{
    struct version low, high;
    assert_int_equal(version_parse("1.4.9", &low), 0);
    assert_int_equal(version_parse("1.4.10", &high), 0);
    struct tag_claimant a = {true, &low}, b = {true, &high}, exact = {false, &low};
    struct tag_claimant none = {true, NULL}, exact_high = {false, &high};
    assert_true(tag_owner_cmp(&a, &b) < 0);
    assert_true(tag_owner_cmp(&b, &a) > 0);
    assert_true(tag_owner_cmp(&exact, &b) < 0);
    assert_int_equal(tag_owner_cmp(&exact, &exact_high), 0);
    assert_int_equal(tag_owner_cmp(&a, &a), 0);
    assert_int_equal(tag_owner_cmp(&a, &none), 0);
}

static void names(void **state)
{
    static const struct {
        const char *ref, *variant, *expected;
    } cases[] = {{"refs/heads/master", "bookworm", "i@master:bookworm"},
                 {"refs/tags/v1/2", NULL, "i@v1/2"},
                 {"HEAD", NULL, "i@HEAD"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        cleanup_free char *name = track_name("i", cases[i].ref, cases[i].variant);
        assert_string_equal(name, cases[i].expected);
    }
}

static void expansion(void **state)
{
    struct template_vars vars = {.registry = "r.example/osf",
                                 .image = "img",
                                 .variant = "trixie",
                                 .ref = "refs/tags/v1.4",
                                 .version = "1.4",
                                 .repository = "r.example/osf/img",
                                 .platform = PLATFORM_ARM_V7};
    assert_int_equal(version_parse("1.4", &vars.parsed), 0);
    static const struct {
        const char *text, *expected; /* NULL: no value */
    } cases[] = {
        {"", ""},
        {"$alpine_arch", "armv7"},
        {"a/${debian_arch}x/$arch", "a/armhfx/arm"},
        {"$platform", "linux/arm/v7"},
        {"$registry/base:$variant", "r.example/osf/base:trixie"},
        {"$$version $PATH ${HOME} $(id) $1 $", "$version $PATH ${HOME} $(id) $1 $"},
        {"$major-$minor", "1-4"},
        {"$patch", NULL},
        {"$branch", NULL},
        {"$tag", "v1.4"},
        {"$commit", NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        cleanup_free char *text = NULL;
        int r = template_expand(cases[i].text, &vars, &text, NULL);
        assert_int_equal(r, cases[i].expected ? 0 : -ENOENT);
        if (cases[i].expected)
            assert_string_equal(text, cases[i].expected);
    }
}

static void checks(void **state)
{
    static const struct {
        const char *text, *ref;
        bool variant, platform;
        const char *error; /* NULL: fine; else part of the message */
        size_t offset;
    } cases[] = {
        {"$version-$variant", "refs/tags/v*", true, false, NULL, 0},
        {"x-$verison", "refs/tags/v*", false, false, "write $version", 2},
        {"$versions", "refs/tags/v*", false, false, "write $version", 0},
        {"$debain_arch", "HEAD", false, true, "write $debian_arch", 0},
        {"$xyzzy", "HEAD", false, false, "$xyzzy is unknown", 0},
        {"a$version", "refs/heads/master", false, false, "refs/tags/v*", 1},
        {"$variant", "HEAD", false, false, "variants:", 0},
        {"$alpine_arch", "HEAD", false, false, "leave it out", 0},
        {"$alpine_arch", "HEAD", false, true, NULL, 0},
        {"a${version", "refs/tags/v*", false, false, "${version}", 1},
        {"$tag", "refs/heads/*", false, false, "write $branch", 0},
        {"$branch", "refs/tags/*", false, false, "write $tag", 0},
        {"$$nothing $UPPER", "HEAD", false, false, NULL, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct template_rules rules = {cases[i].ref, cases[i].variant, cases[i].platform};
        struct err err = ERR_INIT;
        size_t offset = 0;
        int r = template_check(cases[i].text, &rules, &offset, &err);
        assert_int_equal(r, cases[i].error ? -EINVAL : 0);
        if (cases[i].error && !strstr(err.text, cases[i].error))
            fail_msg("%s: %s", cases[i].text, err.text);
        assert_int_equal(offset, cases[i].offset);
    }
}

static void tag_grammar(void **state)
{
    char longest[TAG_TEXT_MAX + 2] = {0};
    memset(longest, 'a', TAG_TEXT_MAX);
    assert_true(tag_valid(longest));
    longest[TAG_TEXT_MAX] = 'a';
    assert_false(tag_valid(longest));
    assert_true(tag_valid("_1.4-x"));
    assert_false(tag_valid(""));
    assert_false(tag_valid(".x"));
    assert_false(tag_valid("-x"));
    assert_false(tag_valid("a/b"));
    assert_false(tag_valid("a\xc3\xa9"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(patterns),
                                       cmocka_unit_test(readings),
                                       cmocka_unit_test(long_refs),
                                       cmocka_unit_test(claims),
                                       cmocka_unit_test(claims_of_variants),
                                       cmocka_unit_test(owners),
                                       cmocka_unit_test(names),
                                       cmocka_unit_test(expansion),
                                       cmocka_unit_test(checks),
                                       cmocka_unit_test(tag_grammar)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
