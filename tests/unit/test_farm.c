#include "daemon/model/farm.h"
#include "tests/lib/test.h"

static struct farm *small_farm(void)
{
    struct farm *farm = xnew(struct farm);
    static const char *const names[] = {"nginx", "alpine", "minideb"};
    for (size_t i = 0; i < 3; i++) {
        struct farm_image image = {.name = xstrdup(names[i]),
                                   .repository = xasprintf("127.0.0.1:5000/osf/%s", names[i])};
        vec_push(&image.platforms, PLATFORM_AMD64);
        vec_push(&image.optional, PLATFORM_ARM_V6);
        vec_push(&farm->images, image);
    }
    static const char *const rules[] = {"*", "rpi*", "rpi3-?", "rpi3-a"};
    for (size_t i = 0; i < 4; i++)
        vec_push(&farm->boards, (struct farm_board_rule){.pattern = xstrdup(rules[i])});
    vec_push(&farm->registries, (struct farm_registry){.host = xstrdup("quay.io")});
    vec_push(&farm->registries, (struct farm_registry){.host = xstrdup("docker.io")});
    vec_push(&farm->sources, (struct farm_source){.url = xstrdup("/srv/b.git")});
    vec_push(&farm->sources, (struct farm_source){.url = xstrdup("/srv/a.git")});
    farm_sort(farm);
    return farm;
}

static void lookups(void **state)
{
    cleanup_farm struct farm *farm = small_farm();
    assert_string_equal(farm_image(farm, "alpine")->name, "alpine");
    assert_string_equal(farm_image(farm, "nginx")->name, "nginx");
    assert_null(farm_image(farm, "nginy"));
    assert_string_equal(farm_registry(farm, "quay.io")->host, "quay.io");
    assert_null(farm_registry(farm, "ghcr.io"));
    assert_string_equal(farm_source(farm, "/srv/b.git")->url, "/srv/b.git");
    assert_true(farm_image_offers(farm_image(farm, "alpine"), PLATFORM_ARM_V6));
    assert_false(farm_image_offers(farm_image(farm, "alpine"), PLATFORM_ARM64));
}

static void empty_farm(void **state)
{
    cleanup_farm struct farm *farm = xnew(struct farm);
    farm_sort(farm);
    assert_null(farm_image(farm, "alpine"));
    assert_null(farm_board_rule(farm, "x"));
    farm_free(NULL);
}

static void closest_board_rule(void **state)
{
    cleanup_farm struct farm *farm = small_farm();
    assert_string_equal(farm_board_rule(farm, "rpi3-a")->pattern, "rpi3-a");
    assert_string_equal(farm_board_rule(farm, "rpi3-b")->pattern, "rpi3-?");
    assert_string_equal(farm_board_rule(farm, "rpi4")->pattern, "rpi*");
    assert_string_equal(farm_board_rule(farm, "x86")->pattern, "*");
}

/* What farm_image_equal misses would keep its old meaning when farm.yaml is loaded again. */
static void entries_compare(void **state)
{
    cleanup_farm struct farm *a = small_farm();
    cleanup_farm struct farm *b = small_farm();
    struct farm_image *x = &a->images.items[0], *y = &b->images.items[0];
    str_replace(&y->where, "elsewhere");
    assert_true(farm_image_equal(x, y));
    str_replace(&y->context, "other");
    assert_false(farm_image_equal(x, y));
    str_replace(&y->context, x->context);
    vec_push(&y->args, (struct farm_pair){xstrdup("A"), xstrdup("1")});
    assert_false(farm_image_equal(x, y));
    vec_push(&x->args, (struct farm_pair){xstrdup("A"), xstrdup("2")});
    assert_false(farm_image_equal(x, y));
    str_replace(&x->args.items[0].value, "1");
    assert_true(farm_image_equal(x, y));
    y->hold = true;
    assert_false(farm_image_equal(x, y));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lookups), cmocka_unit_test(empty_farm),
                                       cmocka_unit_test(closest_board_rule),
                                       cmocka_unit_test(entries_compare)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
