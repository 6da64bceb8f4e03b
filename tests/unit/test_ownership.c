/* Design rule 3: who owns a tag. */
#include "daemon/model/objects.h"
#include "tests/lib/model_commands.h"
#include "tests/lib/model_steps.h"

#define SOURCE "https://git.test/a.git"
#define REPO   "r.test/osf/tool"
#define REFS(...)                                                                                  \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }
#define TAG(v) "refs/tags/v" v

static void begin(struct world *w)
{
    world_init(w);
    struct farm_image *image = world_image(w, "tool", SOURCE, "refs/tags/v*", "./mk");
    str_replace(&image->tags.items[0], "$version");
    strvec_add(&image->tags, "$major.$minor");
    strvec_add(&image->tags, "latest");
    world_start(w);
    world_board(w, "one");
}

static const char *owner(struct world *w, const char *tag)
{
    const struct tag *t = tag_find(w->m, REPO, tag);
    return t ? t->track_id : "";
}

static void see(struct world *w, const char *commit, const char *const *refs)
{
    world_see_all(w, SOURCE, commit, refs);
    world_settle(w, NULL);
}

static void test_the_highest_published_version_owns(void **state)
{
    struct world w;
    begin(&w);
    see(&w, "c1", REFS(TAG("1.4.0")));
    assert_string_equal(owner(&w, "latest"), "tool@v1.4.0");
    see(&w, "c1", REFS(TAG("1.4.0"), TAG("1.3.9")));
    assert_string_equal(owner(&w, "latest"), "tool@v1.4.0");
    assert_string_equal(owner(&w, "1.3"), "tool@v1.3.9");
    see(&w, "c1", REFS(TAG("1.4.0"), TAG("1.3.9"), TAG("1.4.1")));
    assert_string_equal(owner(&w, "latest"), "tool@v1.4.1");
    assert_string_equal(owner(&w, "1.4"), "tool@v1.4.1");
    assert_string_equal(owner(&w, "1.4.0"), "tool@v1.4.0");
    see(&w, "c1", REFS(TAG("1.4.0"), TAG("1.3.9"), TAG("1.4.1"), TAG("2.0.0-rc1")));
    assert_string_equal(owner(&w, "latest"), "tool@v1.4.1");
    assert_string_equal(owner(&w, "2.0.0-rc1"), "tool@v2.0.0-rc1");
    world_done(&w);
}

/* A higher version that does not build takes nothing. */
static void test_only_a_complete_publication_takes_a_tag(void **state)
{
    struct world w;
    begin(&w);
    see(&w, "c1", REFS(TAG("1.4.0")));
    world_see_all(&w, SOURCE, "c2", REFS(TAG("1.4.0"), TAG("1.5.0")));
    world_inspect(&w, NULL);
    for (int i = 0; i < 2; i++) {
        struct wire_poll_response got = world_poll(&w, "one");
        VEC_FOREACH (&got.leases, lease)
            if (strstr(lease->job.track, "1.5.0"))
                world_fail(&w, lease, WIRE_FAILURE_RECIPE);
            else
                world_succeed(&w, lease, lease->job.key);
        wire_poll_response_done(&got);
    }
    world_settle(&w, NULL);
    assert_string_equal(world_track_state(&w, "tool@v1.5.0"), "failed");
    assert_string_equal(owner(&w, "latest"), "tool@v1.4.0");
    world_done(&w);
}

static void test_a_deleted_ref_stops_and_its_tags_stay_owned(void **state)
{
    struct world w;
    begin(&w);
    see(&w, "c1", REFS(TAG("1.4.0"), TAG("1.3.0")));
    see(&w, "c1", REFS(TAG("1.4.0"), TAG("1.3.0"), TAG("1.5.0")));
    see(&w, "c1", REFS(TAG("1.4.0"), TAG("1.3.0")));
    assert_string_equal(world_track_state(&w, "tool@v1.5.0"), "published"); /* one sighting */
    see(&w, "c1", REFS(TAG("1.4.0"), TAG("1.3.0")));
    assert_string_equal(world_track_state(&w, "tool@v1.5.0"), "deleted");
    see(&w, "c2", REFS(TAG("1.4.0"), TAG("1.3.0"))); /* 1.4.0 is built anew */
    assert_string_equal(owner(&w, "latest"), "tool@v1.5.0");
    assert_string_equal(owner(&w, "1.5"), "tool@v1.5.0");
    world_restart(&w);
    world_settle(&w, NULL);
    assert_string_equal(owner(&w, "latest"), "tool@v1.5.0");
    assert_string_equal(world_track_state(&w, "tool@v1.5.0"), "deleted");
    world_done(&w);
}

static void test_two_that_claim_exactly_one_tag_conflict(void **state)
{
    struct world w;
    world_init(&w);
    world_image(&w, "tool", SOURCE, "refs/heads/master", "./mk");
    struct farm_image *second =
        world_image(&w, "other", "https://git.test/b.git", "refs/heads/master", "./mk");
    str_replace(&second->repository, REPO);
    world_start(&w);
    world_board(&w, "one");
    world_see(&w, SOURCE, "refs/heads/master", "c1");
    world_settle(&w, NULL);
    world_see(&w, "https://git.test/b.git", "refs/heads/master", "b1");
    world_settle(&w, NULL);
    assert_string_equal(owner(&w, "latest"), "tool@master");
    assert_string_equal(world_track_state(&w, "tool@master"), "published");
    assert_string_equal(world_track_state(&w, "other@master"), "conflict");
    assert_string_equal(world_text(&w, "other@master", "reason", "code"), "tag-conflict");
    assert_string_equal(world_text(&w, "other@master", "reason", "text"),
                        REPO ":latest is claimed by tool@master too");
    world_restart(&w);
    world_see(&w, SOURCE, "refs/heads/master", "c2");
    world_settle(&w, NULL);
    assert_string_equal(owner(&w, "latest"), "tool@master");
    world_done(&w);
}

/* It publishes what it owns alone, and says what it does not own. */
static void test_a_conflict_about_one_of_two_tags_is_told(void **state)
{
    struct world w;
    world_init(&w);
    world_image(&w, "tool", SOURCE, "refs/heads/master", "./mk");
    struct farm_image *second =
        world_image(&w, "other", "https://git.test/b.git", "refs/heads/master", "./mk");
    str_replace(&second->repository, REPO);
    strvec_add(&second->tags, "own");
    world_start(&w);
    world_board(&w, "one");
    world_see(&w, SOURCE, "refs/heads/master", "c1");
    world_settle(&w, NULL);
    assert_false(world_attention(&w, "tag-conflict"));
    world_see(&w, "https://git.test/b.git", "refs/heads/master", "b1");
    world_settle(&w, NULL);
    assert_string_equal(owner(&w, "own"), "other@master");
    assert_string_equal(owner(&w, "latest"), "tool@master");
    assert_true(world_attention(&w, "tag-conflict"));
    world_done(&w);
}

static void reload(struct world *w)
{
    world_begin(w, 1);
    farm_sort(w->farm);
    model_on_config(w->m, w->farm);
    world_end(w);
    world_settle(w, NULL);
}

/* An image has another name in farm.yaml and publishes where it did: its versions own what they owned. */
static void test_a_renamed_image_owns_what_it_owned(void **state)
{
    struct world w;
    begin(&w);
    see(&w, "c1", REFS(TAG("1.4.0")));
    cleanup_free char *digest = xstrdup(tag_find(w.m, REPO, "latest")->digest);
    size_t jobs = HASH_COUNT(w.m->jobs);
    str_replace(&w.farm->images.items[0].name, "utensil");
    reload(&w);
    see(&w, "c1", REFS(TAG("1.4.0")));
    assert_string_equal(world_track_state(&w, "utensil@v1.4.0"), "published");
    assert_string_equal(owner(&w, "latest"), "utensil@v1.4.0");
    assert_int_equal(HASH_COUNT(w.m->jobs), jobs);
    see(&w, "c2", REFS(TAG("1.4.0"), TAG("1.3.9")));
    assert_string_equal(owner(&w, "1.3"), "utensil@v1.3.9");
    assert_string_equal(owner(&w, "latest"), "utensil@v1.4.0");
    world_restart(&w);
    world_settle(&w, NULL);
    assert_string_equal(owner(&w, "1.4"), "utensil@v1.4.0");
    assert_string_not_equal(tag_find(w.m, REPO, "latest")->digest, digest); /* of c2 by now */
    world_done(&w);
}

/* A higher version with the files of the one before, and without a tag of its own: it owns what it claims. */
static void test_a_version_that_changes_nothing_owns_too(void **state)
{
    struct world w;
    begin(&w);
    free(w.farm->images.items[0].tags.items[0]);
    vec_remove(&w.farm->images.items[0].tags, 0);
    reload(&w);
    see(&w, "c1", REFS(TAG("1.4.0")));
    cleanup_free char *digest = xstrdup(tag_find(w.m, REPO, "latest")->digest);
    see(&w, "c1", REFS(TAG("1.4.0"), TAG("1.4.1")));
    assert_string_equal(owner(&w, "1.4"), "tool@v1.4.1");
    assert_string_equal(owner(&w, "latest"), "tool@v1.4.1");
    assert_string_equal(tag_find(w.m, REPO, "latest")->digest, digest);
    const struct seen_ref seen[] = {{.name = TAG("1.4.0"), .commit = "c2", .descends = true},
                                    {.name = TAG("1.4.1"), .commit = "c1", .descends = true}};
    world_begin(&w, 1);
    model_on_refs(w.m, SOURCE, seen, 2);
    world_end(&w);
    world_settle(&w, NULL);
    assert_string_equal(owner(&w, "latest"), "tool@v1.4.1");
    assert_string_equal(tag_find(w.m, REPO, "1.4")->digest, digest);
    world_done(&w);
}

/* ---- a tag that is called as a single platform's of another ---- */

/* `whole` puts `1` and `1-amd64` in the repository, `part` has a template that gives `1-amd64`. */
static void two_images(struct world *w)
{
    world_init(w);
    struct farm_image *whole = world_image(w, "whole", SOURCE, "refs/heads/master", "./mk");
    struct farm_image *part =
        world_image(w, "part", "https://git.test/b.git", "refs/heads/master", "./mk");
    whole = &w->farm->images.items[0];
    str_replace(&whole->repository, REPO);
    str_replace(&part->repository, REPO);
    str_replace(&whole->tags.items[0], "1");
    str_replace(&part->tags.items[0], "1-amd64");
    world_start(w);
    world_board(w, "one");
}

static void push(struct world *w, const char *which, const char *commit)
{
    world_see(w, str_eq(which, "part") ? "https://git.test/b.git" : SOURCE, "refs/heads/master",
              commit);
    world_settle(w, NULL);
}

static const char *digest(struct world *w, const char *tag)
{
    return tag_find(w->m, REPO, tag)->digest;
}

static void test_a_platforms_tag_is_the_incumbents(void **state)
{
    struct world w;
    two_images(&w);
    push(&w, "whole", "c1");
    push(&w, "part", "b1");
    assert_string_equal(world_track_state(&w, "part@master"), "conflict");
    assert_string_equal(world_text(&w, "part@master", "reason", "code"), "tag-conflict");
    assert_string_equal(world_track_state(&w, "whole@master"), "published");
    assert_string_equal(owner(&w, "1-amd64"), "whole@master");
    world_restart(&w);
    push(&w, "whole", "c2");
    push(&w, "part", "b2");
    assert_string_equal(digest(&w, "1-amd64"),
                        tag_find(w.m, REPO, "1")->shown->child.items[0].digest);
    /* a person decides */
    world_ask(&w, COMMAND_PROMOTE, "part@master");
    world_settle(&w, NULL);
    assert_string_equal(owner(&w, "1-amd64"), "part@master");
    assert_string_equal(world_track_state(&w, "part@master"), "published");
    assert_true(world_attention(&w, "tag-conflict")); /* the other has no tag for amd64 alone */
    push(&w, "whole", "c3");
    assert_string_equal(world_track_state(&w, "whole@master"), "published");
    assert_string_equal(digest(&w, "1-amd64"), track_find(w.m, "part@master")->last->digest);
    world_ask(&w, COMMAND_PROMOTE, "whole@master");
    world_settle(&w, NULL);
    assert_string_equal(world_track_state(&w, "part@master"), "conflict");
    assert_string_equal(digest(&w, "1-amd64"),
                        tag_find(w.m, REPO, "1")->shown->child.items[0].digest);
    world_done(&w);
}

static void test_a_tag_by_name_stays_its_own(void **state)
{
    struct world w;
    two_images(&w);
    push(&w, "part", "b1");
    push(&w, "whole", "c1");
    assert_string_equal(world_track_state(&w, "part@master"), "published");
    assert_string_equal(world_track_state(&w, "whole@master"), "published");
    assert_true(world_attention(&w, "tag-conflict"));
    assert_string_equal(owner(&w, "1"), "whole@master");
    assert_string_equal(owner(&w, "1-amd64"), "part@master");
    for (int i = 0; i < 2; i++) { /* each moves its own, and no other */
        world_restart(&w);
        push(&w, "whole", i ? "c3" : "c2");
        push(&w, "part", i ? "b3" : "b2");
        assert_string_equal(digest(&w, "1-amd64"), track_find(w.m, "part@master")->last->digest);
        assert_string_equal(digest(&w, "1"), track_find(w.m, "whole@master")->last->digest);
    }
    /* what it leaves is put with the other's */
    world_ask(&w, COMMAND_RETIRE, "part@master");
    world_settle(&w, NULL);
    assert_false(world_attention(&w, "tag-conflict"));
    assert_string_equal(digest(&w, "1-amd64"),
                        tag_find(w.m, REPO, "1")->shown->child.items[0].digest);
    world_done(&w);
}

/* Versions of one image: 1.4.0 is put for amd64 as 1.4.0-amd64, which somebody tags upstream too. */
static void test_a_ref_that_is_called_as_a_platforms_tag(void **state)
{
    struct world w;
    begin(&w);
    see(&w, "c1", REFS(TAG("1.4.0")));
    see(&w, "c1", REFS(TAG("1.4.0"), TAG("1.4.0-amd64")));
    assert_string_equal(world_track_state(&w, "tool@v1.4.0"), "published");
    assert_string_equal(world_track_state(&w, "tool@v1.4.0-amd64"), "conflict");
    assert_string_equal(owner(&w, "1.4.0-amd64"), "tool@v1.4.0");
    world_done(&w);
}

/* Two templates of one track, which farm.yaml could not tell of: it is blocked, and says so. */
static void test_templates_that_collide_in_one_track(void **state)
{
    struct world w;
    world_init(&w);
    struct farm_image *image = world_image(&w, "tool", SOURCE, "refs/tags/v*", "./mk");
    str_replace(&image->tags.items[0], "$version");
    strvec_add(&image->tags, "1-amd64");
    world_start(&w);
    world_board(&w, "one");
    see(&w, "c1", REFS(TAG("1")));
    assert_string_equal(world_track_state(&w, "tool@v1"), "blocked");
    assert_string_equal(world_text(&w, "tool@v1", "reason", "code"), "tag-conflict");
    assert_string_equal(world_text(&w, "tool@v1", "reason", "text"),
                        "tag '1-amd64' is what '1' is for linux/amd64 alone; choose another, "
                        "or leave it out");
    world_done(&w);
}

/* Who is built on a single platform's tag is built on who puts that: in a cycle it is blocked, and it waits. */
static void test_a_platforms_tag_is_a_base(void **state)
{
    struct world w;
    world_init(&w);
    world_image(&w, "tool", SOURCE, "refs/heads/master", "./mk");
    world_image(&w, "app", "https://git.test/b.git", "refs/heads/master", NULL);
    world_start(&w);
    world_board(&w, "one");
    push(&w, "whole", "c1");
    world_see(&w, "https://git.test/b.git", "refs/heads/master", "b1");
    world_settle(&w, "FROM r.test/osf/tool:latest-amd64\n");
    assert_string_equal(world_track_state(&w, "app@master"), "published");
    world_see(&w, SOURCE, "refs/heads/master", "c2");
    world_inspect(&w, NULL);
    world_see(&w, "https://git.test/b.git", "refs/heads/master", "b2");
    world_inspect(&w, "FROM r.test/osf/tool:latest-amd64\n");
    assert_string_equal(world_text(&w, "app@master", "reason", "code"), "base-building");
    world_see(&w, "https://git.test/b.git", "refs/heads/master", "b3");
    world_inspect(&w, "FROM r.test/osf/app:latest-amd64\n");
    assert_string_equal(world_track_state(&w, "app@master"), "blocked");
    assert_string_equal(world_text(&w, "app@master", "reason", "code"), "base-cycle");
    world_done(&w);
}

/* A tag that a frozen track wanted goes to one that was promoted to it before: there is nothing left to wait for. */
static void test_what_a_frozen_track_wanted_is_anothers(void **state)
{
    struct world w;
    begin(&w);
    struct farm_image *image = world_find_image(&w, "tool");
    strvec_done(&image->tags);
    strvec_add(&image->tags, "$version");
    world_reload(&w);
    see(&w, "c1", REFS(TAG("1.0.0")));
    world_see_all(&w, SOURCE, "c1", REFS(TAG("1.0.0"), TAG("1.1.0")));
    world_ask(&w, COMMAND_HOLD, "tool@v1.1.0");
    world_settle(&w, NULL);
    world_is(&w, "tool@v1.1.0", "held", "held");
    strvec_add(&world_find_image(&w, "tool")->tags, "latest");
    world_reload(&w);
    world_ask(&w, COMMAND_PROMOTE, "tool@v1.1.0");
    world_ask(&w, COMMAND_FREEZE, NULL);
    world_is(&w, "tool@v1.0.0", "held", "frozen");
    world_publish(&w);
    assert_string_equal(owner(&w, "latest"), "tool@v1.1.0");
    world_is(&w, "tool@v1.0.0", "published", "published");
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_highest_published_version_owns),
        cmocka_unit_test(test_only_a_complete_publication_takes_a_tag),
        cmocka_unit_test(test_a_deleted_ref_stops_and_its_tags_stay_owned),
        cmocka_unit_test(test_two_that_claim_exactly_one_tag_conflict),
        cmocka_unit_test(test_a_conflict_about_one_of_two_tags_is_told),
        cmocka_unit_test(test_a_renamed_image_owns_what_it_owned),
        cmocka_unit_test(test_a_version_that_changes_nothing_owns_too),
        cmocka_unit_test(test_a_platforms_tag_is_the_incumbents),
        cmocka_unit_test(test_a_tag_by_name_stays_its_own),
        cmocka_unit_test(test_a_ref_that_is_called_as_a_platforms_tag),
        cmocka_unit_test(test_templates_that_collide_in_one_track),
        cmocka_unit_test(test_a_platforms_tag_is_a_base),
        cmocka_unit_test(test_what_a_frozen_track_wanted_is_anothers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
