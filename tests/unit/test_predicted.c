/* What the table of ARCHITECTURE.md lets a reader predict of cases that nobody had thought of. */
#include "common/digest.h"
#include "daemon/model/objects.h"
#include "tests/lib/model_commands.h"
#include "tests/lib/model_farm.h"

#include <errno.h>

#define ARM64 "linux/arm64"
#define OTHER "r.test/osf/other"

static void one_image(struct world *w)
{
    world_base(w);
    world_go(w);
    world_publish_base(w, "b1");
}

static void publish_to(struct world *w, const char *repository)
{
    str_replace(&world_find_image(w, "base")->repository, repository);
    world_reload(w);
    world_settle(w, NULL);
}

/* ---- commands ---- */

/* Its tags in another repository are not those that were pinned: they stay, and it is held there. Back, it is pinned. */
static void test_a_pin_of_another_repository(void **state)
{
    struct world w;
    one_image(&w);
    world_publish_base(&w, "b2");
    publish_to(&w, OTHER);
    publish_to(&w, REPO);
    struct command pin = {.verb = COMMAND_PIN, .track = BASE, .publication = "1"};
    world_do(&w, &pin);
    world_settle(&w, NULL);
    int64_t pinned = world_tag(&w, REPO, "latest"), other = world_tag(&w, OTHER, "latest");
    publish_to(&w, OTHER);
    world_is(&w, BASE, "published", "published");
    assert_int_equal(world_tag(&w, OTHER, "latest"), other);
    world_publish_base(&w, "b3");
    world_restart(&w);
    world_is(&w, BASE, "held", "pinned");
    world_says(&w, BASE, "pinned to publication 1 of " REPO " by a person");
    assert_int_equal(world_tag(&w, OTHER, "latest"), other);
    publish_to(&w, REPO);
    assert_int_equal(world_tag(&w, REPO, "latest"), pinned);
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_pin_of_another_repository),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
