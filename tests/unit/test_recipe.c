/* Which images each platform of a track needs: what they share is read once, what differs is not shared. */
#include "daemon/model/objects.h"
#include "tests/lib/model_world.h"

#define APPS "https://git.test/apps.git"
#define LIB  "docker.io/library/"

/* The references of a slot, with blanks between, or its error. The caller frees it. */
static char *named(const struct slot *s)
{
    struct strbuf text = {0};
    VEC_FOREACH (&s->pins, pin)
        strbuf_addf(&text, "%s%s", text.n ? " " : "", pin->reference);
    if (s->parse_error)
        strbuf_addf(&text, "%s!%s", text.n ? " " : "", s->parse_error);
    return strbuf_steal(&text);
}

struct recipe {
    const char *text, *argument, *target; /* argument: the value of V; NULL: none */
    const char *amd64, *arm;
};

static void check(const struct recipe *recipe)
{
    struct world w;
    world_init(&w);
    struct farm_image *app = world_image(&w, "app", APPS, "refs/heads/master", NULL);
    vec_push(&app->platforms, PLATFORM_ARM_V7);
    app->target = xstrdup(recipe->target);
    if (recipe->argument)
        vec_push(&app->args, (struct farm_pair){xstrdup("V"), xstrdup(recipe->argument)});
    world_start(&w);
    for (int again = 0; again < 3;
         again++) { /* each time anew, in the place of what was read before */
        char commit[] = {'a', (char)('1' + again), '\0'};
        world_see(&w, APPS, "refs/heads/master", commit);
        world_inspect(&w, recipe->text);
    }
    const struct track *t = track_find(w.m, "app@master");
    cleanup_free char *amd64 = named(t->slots[PLATFORM_AMD64]);
    cleanup_free char *arm = named(t->slots[PLATFORM_ARM_V7]);
    assert_string_equal(amd64, recipe->amd64);
    assert_string_equal(arm, recipe->arm);
    if (t->slots[PLATFORM_ARM_V7]->pins.n)
        assert_string_equal(t->slots[PLATFORM_ARM_V7]->last_from,
                            t->slots[PLATFORM_ARM_V7]->pins.items[0].reference);
    world_done(&w);
}

static void test_what_each_platform_needs(void **state)
{
    static const struct recipe recipes[] = {
        {"FROM debian:12\nCOPY --from=busybox:1 / /\n", NULL, NULL,
         LIB "debian:12 " LIB "busybox:1", LIB "debian:12 " LIB "busybox:1"},
        {"FROM scratch\n", NULL, NULL, "", ""},
        {"ARG V\nFROM debian:$V\n", "12", NULL, LIB "debian:12", LIB "debian:12"},
        /* the Dockerfile asks which platform it is */
        {"FROM debian:$TARGETARCH\n", NULL, NULL, LIB "debian:amd64", LIB "debian:arm"},
        {"ARG TARGETVARIANT\nARG X=${TARGETVARIANT:-none}\nFROM debian:$X\n", NULL, NULL,
         LIB "debian:none", LIB "debian:v7"},
        {"FROM debian:12\nARG BUILDPLATFORM\nENV X=$BUILDPLATFORM\n"
         "RUN --mount=from=x/${X} true\n",
         NULL, NULL, LIB "debian:12 docker.io/x/linux/amd64:latest",
         LIB "debian:12 docker.io/x/linux/arm/v7:latest"},
        {"FROM --platform=linux/amd64 debian:12\n", NULL, NULL, LIB "debian:12",
         "!line 1: debian:12 is wanted for linux/amd64, and a board builds linux/arm/v7 only"},
        /* farm.yaml does */
        {"ARG V\nFROM debian:$V\n", "$debian_arch", NULL, LIB "debian:amd64", LIB "debian:armhf"},
        {"FROM debian:12 AS amd64\nFROM busybox:1 AS arm\n", NULL, "$arch", LIB "debian:12",
         LIB "busybox:1"},
        {"FROM debian:12 AS amd64\n", NULL, "$arch", LIB "debian:12",
         "!Dockerfile: there is no stage 'arm'"},
        /* neither can use it */
        {"FROM $NOPE\n", NULL, NULL,
         "!Dockerfile: line 1: $NOPE is empty; give the ARG a default or the image args:",
         "!Dockerfile: line 1: $NOPE is empty; give the ARG a default or the image args:"},
    };
    for (size_t i = 0; i < sizeof(recipes) / sizeof(*recipes); i++)
        check(&recipes[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_each_platform_needs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
