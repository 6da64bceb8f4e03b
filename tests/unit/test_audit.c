/* The audit of owned tags: what is said, what is put back, and what stops a repository. */
#include "daemon/model/objects.h"
#include "tests/lib/model_commands.h"
#include "tests/lib/model_steps.h"

#include <errno.h>

#define SOURCE "https://git.test/a.git"
#define MASTER "refs/heads/master"
#define TRACK  "base@master"
#define REPO   "r.test/osf/base"
#define HAND   "sha256:4242424242424242424242424242424242424242424242424242424242424242"

static struct farm_image *begin(struct world *w)
{
    world_init(w);
    w->farm->audit_ms = 3600000;
    return world_image(w, "base", SOURCE, MASTER, "./mk");
}

static void start(struct world *w)
{
    world_start(w);
    world_board(w, "one");
    world_see(w, SOURCE, MASTER, "c1");
    world_settle(w, NULL);
}

static int asked(struct world *w)
{
    int n = 0;
    VEC_FOREACH (&w->todo, e)
        n += e->kind == EFFECT_AUDIT;
    return n;
}

/* Answers the one audit that is asked for: `tag` names `found` ("": nothing), all others what is expected. */
static void answer(struct world *w, const char *tag, const char *found)
{
    assert_int_equal(asked(w), 1);
    for (size_t i = 0; i < w->todo.n; i++) {
        struct effect e = w->todo.items[i];
        if (e.kind != EFFECT_AUDIT)
            continue;
        vec_remove(&w->todo, i);
        VEC(struct audited) seen = {0};
        VEC_FOREACH (&e.tags, t) {
            bool odd = str_eq(t->tag, tag);
            vec_push(&seen, (struct audited){t->tag, t->digest,
                                             !odd     ? t->digest
                                             : *found ? found
                                                      : NULL});
        }
        world_begin(w, 1);
        model_on_audited(w->m, e.repository, seen.items, seen.n);
        world_end(w);
        vec_free(&seen);
        effect_done(&e);
        return;
    }
}

static void ask(struct world *w)
{
    struct err err = ERR_INIT;
    world_begin(w, 1);
    assert_int_equal(model_on_audit(w->m, REPO, &err), 0);
    world_end(w);
}

static void audit(struct world *w, const char *tag, const char *found)
{
    ask(w);
    answer(w, tag, found);
}

static const struct tag *tag(struct world *w, const char *name)
{
    return tag_find(w->m, REPO, name);
}

static void test_at_a_start_at_intervals_and_on_request(void **state)
{
    struct world w;
    begin(&w);
    start(&w);
    world_wait(&w, 10000);
    answer(&w, "", "");
    world_wait(&w, 3590000);
    assert_int_equal(asked(&w), 0);
    world_wait(&w, 20000);
    answer(&w, "", "");
    ask(&w);
    ask(&w);
    assert_int_equal(asked(&w), 1);
    world_restart(&w);
    assert_int_equal(w.todo.n, 0);
    world_wait(&w, 10000);
    answer(&w, "", "");
    assert_string_equal(world_track_state(&w, TRACK), "published");
    world_done(&w);
}

static void test_one_that_was_asked_for_outlives_a_restart(void **state)
{
    struct world w;
    begin(&w);
    w.farm->audit_ms = 0; /* none of itself */
    start(&w);
    ask(&w);
    assert_int_equal(asked(&w), 1);
    world_restart(&w);
    world_wait(&w, 20000);
    assert_int_equal(asked(&w), 1);
    answer(&w, "latest", HAND);
    assert_string_equal(tag(&w, "latest")->found, HAND);
    world_restart(&w); /* it is done */
    world_wait(&w, 20000);
    assert_int_equal(asked(&w), 0);
    world_done(&w);
}

static void test_what_is_looked_at(void **state)
{
    struct world w;
    begin(&w);
    start(&w);
    ask(&w);
    VEC_FOREACH (&w.todo, e)
        if (e->kind == EFFECT_AUDIT) {
            assert_int_equal(e->tags.n,
                             4); /* latest, latest-amd64, a child's and an index's place */
            assert_string_equal(e->repository, REPO);
        }
    world_done(&w);
}

/* Publishes c2, then moves the tag back by hand. */
static const char *older(struct world *w)
{
    static char digest[128];
    snprintf(digest, sizeof(digest), "%s", tag(w, "latest")->digest);
    world_see(w, SOURCE, MASTER, "c2");
    world_settle(w, NULL);
    return digest;
}

static void test_moved_by_hand_is_said_and_left(void **state)
{
    struct world w;
    begin(&w);
    start(&w);
    audit(&w, "latest", older(&w));
    assert_true(world_attention(&w, "tag-moved"));
    assert_int_equal(world_publish(&w), 0);
    assert_string_equal(world_track_state(&w, TRACK), "published");
    world_restart(&w);
    assert_true(world_attention(&w, "tag-moved"));
    audit(&w, "", ""); /* somebody has moved it back */
    assert_false(world_attention(&w, "tag-moved"));
    world_done(&w);
}

static void test_deleted_by_hand_is_said_and_left(void **state)
{
    struct world w;
    begin(&w);
    start(&w);
    audit(&w, "latest-amd64", "");
    assert_true(world_attention(&w, "tag-deleted"));
    assert_int_equal(world_publish(&w), 0);
    world_done(&w);
}

static void put_back(const char *moved, bool delete, const char *how)
{
    struct world w;
    begin(&w)->enforce = true;
    start(&w);
    const char *found = older(&w);
    int64_t generation = tag(&w, "latest")->generation;
    cleanup_free char *digest = xstrdup(tag(&w, "latest")->digest);
    if (str_eq(how, "held")) {
        world_ask(&w, COMMAND_HOLD, TRACK);
        world_see(&w, SOURCE, MASTER, "c3");
        world_settle(&w, NULL);
    }
    if (str_eq(how, "failed")) {
        world_see(&w, SOURCE, MASTER, "c3");
        world_inspect(&w, NULL);
        for (int i = 0; i < 2; i++) {
            struct wire_poll_response got = world_poll(&w, "one");
            world_fail(&w, &got.leases.items[0], WIRE_FAILURE_RECIPE);
            wire_poll_response_done(&got);
        }
        assert_string_equal(world_track_state(&w, TRACK), "failed");
    }
    if (str_eq(how, "deleted"))
        for (int i = 0; i < 2; i++)
            world_see(&w, SOURCE, "refs/heads/other", "c1");
    audit(&w, moved, delete ? "" : found);
    assert_true(world_attention(&w, delete ? "tag-deleted" : "tag-moved"));
    if (str_eq(how, "restart"))
        world_restart(&w);
    assert_true(world_publish(&w) > 0);
    assert_false(world_attention(&w, "tag-deleted"));
    assert_false(world_attention(&w, "tag-moved"));
    assert_string_equal(tag(&w, "latest")->digest, digest);
    assert_int_equal(tag(&w, "latest")->generation, generation + 1);
    assert_int_equal(world_publish(&w), 0);
    if (!*how)
        assert_string_equal(world_track_state(&w, TRACK), "published");
    else if (!str_eq(how, "restart"))
        assert_string_equal(world_track_state(&w, TRACK), how);
    world_done(&w);
}

static void test_enforce_puts_it_back(void **state)
{
    put_back("latest", false, "");
    put_back("latest", true, "");
    put_back("latest-amd64", false, "");
    put_back("latest-amd64", true, "");
}

static void test_it_is_put_back_whatever_the_track_does(void **state)
{
    put_back("latest", false, "restart");
    put_back("latest", false, "held");
    put_back("latest", true, "failed");
    put_back("latest", true, "deleted");
}

static void test_what_the_store_does_not_know_stops_the_repository(void **state)
{
    struct world w;
    begin(&w)->enforce = true; /* even so: it may be another coordinator */
    start(&w);
    audit(&w, "latest", HAND);
    assert_true(world_attention(&w, "repository-stopped"));
    world_see(&w, SOURCE, MASTER, "c2");
    world_settle(&w, NULL);
    assert_string_equal(world_text(&w, TRACK, "reason", "code"), "repository-stopped");
    world_restart(&w);
    assert_true(world_attention(&w, "repository-stopped"));
    world_settle(&w, NULL);
    assert_string_equal(world_text(&w, TRACK, "reason", "code"), "repository-stopped");
    world_done(&w);
}

static void test_adopt_takes_it_for_granted(void **state)
{
    struct world w;
    struct err err = ERR_INIT;
    begin(&w);
    start(&w);
    audit(&w, "latest", HAND);
    world_begin(&w, 1);
    assert_int_equal(model_on_adopt(w.m, REPO, &err), 0);
    world_end(&w);
    answer(&w, "latest", HAND);
    assert_false(world_attention(&w, "repository-stopped"));
    assert_false(world_attention(&w, "tag-moved"));
    world_restart(&w);
    audit(&w, "latest", HAND); /* and stays so */
    assert_false(world_attention(&w, "repository-stopped"));
    assert_int_equal(world_publish(&w), 0);
    world_see(&w, SOURCE, MASTER, "c2"); /* until the next publication */
    world_settle(&w, NULL);
    assert_string_equal(world_track_state(&w, TRACK), "published");
    assert_null(tag(&w, "latest")->adopted);
    world_done(&w);
}

static void test_restore_puts_ours_back(void **state)
{
    struct world w;
    struct err err = ERR_INIT;
    begin(&w);
    start(&w);
    cleanup_free char *digest = xstrdup(tag(&w, "latest")->digest);
    audit(&w, "latest", HAND);
    world_begin(&w, 1);
    assert_int_equal(model_on_restore(w.m, REPO, &err), 0);
    world_end(&w);
    bool adopt = false;
    for (size_t i = 0; i < w.todo.n; i++)
        adopt = adopt || w.todo.items[i].kind == EFFECT_PUBLISH;
    assert_true(adopt);
    world_restart(&w); /* it is remembered that it was asked for */
    assert_true(world_publish(&w) > 0);
    assert_string_equal(tag(&w, "latest")->digest, digest);
    assert_false(world_attention(&w, "repository-stopped"));
    world_wait(&w, 70000);
    answer(&w, "", ""); /* all well: it is over */
    assert_null(model_setting(w.m, "restoring " REPO));
    audit(&w, "latest", HAND);
    assert_true(world_attention(&w, "repository-stopped"));
    assert_int_equal(model_on_restore(w.m, "r.test/osf/other", &err), -ENOENT);
    world_done(&w);
}

/* The publication that is under way has moved all tags but `latest`, under which it finds a stranger. */
static void stop_between_two_tags(struct world *w)
{
    struct effect e = world_take(w, EFFECT_PUBLISH);
    world_begin(w, 1);
    VEC_FOREACH (&e.tags, t)
        if (!str_eq(t->tag, "latest"))
            model_on_publication_tag(w->m, e.publication, t->tag);
    model_on_publication_failed(w->m, e.publication, PUBLISH_TAGS, PUBLISH_FOREIGN, PLATFORM_COUNT,
                                "latest names another", 0);
    world_end(w);
    effect_done(&e);
    audit(w, "latest", HAND);
}

/* Two tags of one track that named different indexes, since a publication ended between them, get back what each named. */
static void test_each_tag_is_put_back_to_what_it_named(void **state)
{
    struct world w;
    struct err err = ERR_INIT;
    struct farm_image *image = begin(&w);
    image->enforce = true;
    strvec_add(&image->tags, "x");
    start(&w);
    cleanup_free char *first = xstrdup(tag(&w, "latest")->digest);
    world_push(&w, SOURCE, "c2", NULL);
    world_build(&w, "one", "base", "new");
    world_retain(&w);
    world_step(&w); /* its index is put */
    stop_between_two_tags(&w);
    cleanup_free char *second = xstrdup(tag(&w, "x")->digest);
    assert_string_not_equal(second, first);
    world_ask(&w, COMMAND_HOLD, TRACK); /* the build's own publication comes later */
    world_begin(&w, 1);
    assert_int_equal(model_on_restore(w.m, REPO, &err), 0);
    world_end(&w);
    world_publish(&w);
    world_wait(&w, 70000);
    answer(&w, "", "");
    world_wait(&w, 70000);
    audit(&w, "x", first);
    assert_true(world_publish(&w) > 0);
    assert_string_equal(tag(&w, "latest")->digest, first);
    assert_string_equal(tag(&w, "x")->digest, second);
    world_ask(&w, COMMAND_RELEASE, TRACK);
    world_publish(&w);
    assert_string_equal(tag(&w, "latest")->digest, second);
    world_done(&w);
}

/* A tag that is to be put back waits where its repository has stopped, and does not hide what the build waits for. */
static void test_a_stopped_repository_puts_nothing_back(void **state)
{
    struct world w;
    struct farm_image *image = begin(&w);
    image->enforce = true;
    strvec_add(&image->tags, "x");
    start(&w);
    audit(&w, "latest", HAND);
    audit(&w, "x", "");
    assert_true(world_attention(&w, "tag-deleted"));
    world_push(&w, SOURCE, "c2", NULL);
    assert_string_equal(world_track_state(&w, TRACK), "building");
    world_build(&w, "one", "base", "new");
    world_retain(&w);
    assert_int_equal(track_find(w.m, TRACK)->current->state, BUILD_HELD);
    world_is(&w, TRACK, "blocked", "repository-stopped");
    world_done(&w);
}

/* A deleted tag is put back when another, that is put with it, is found to be a stranger's: nothing is left to put back,
 * whether the coordinator was started since or not. */
static void test_what_was_put_back_before_the_stop_is_there(void **state)
{
    for (int restart = 0; restart < 2; restart++) {
        struct world w;
        begin(&w)->enforce = true;
        start(&w);
        audit(&w, "latest-amd64", "");
        struct effect e = world_take(&w, EFFECT_PUBLISH);
        world_begin(&w, 1);
        model_on_publication_step(w.m, e.publication, PUBLISH_INDEX);
        world_end(&w);
        effect_done(&e);
        e = world_take(&w, EFFECT_PUBLISH);
        world_begin(&w, 1);
        model_on_publication_tag(w.m, e.publication, "latest-amd64");
        model_on_publication_failed(w.m, e.publication, PUBLISH_TAGS, PUBLISH_FOREIGN,
                                    PLATFORM_COUNT, "a stranger's", 0);
        world_end(&w);
        effect_done(&e);
        if (restart)
            world_restart(&w);
        assert_null(tag(&w, "latest-amd64")->found);
        assert_true(world_attention(&w, "repository-stopped"));
        assert_false(tag(&w, "latest")->put_back);
        world_is(&w, TRACK, "published", "published");
        world_done(&w);
    }
}

/* What a publication changed meanwhile is not judged by what was seen before. */
static void test_an_audit_that_a_publication_overtook_is_repeated(void **state)
{
    struct world w;
    begin(&w);
    start(&w);
    ask(&w);
    cleanup_free char *old = xstrdup(tag(&w, "latest")->digest);
    world_see(&w, SOURCE, MASTER, "c2");
    world_settle(&w, NULL);
    answer(&w, "latest", old);
    assert_false(world_attention(&w, "tag-moved"));
    world_wait(&w, 5000);
    answer(&w, "", "");
    world_done(&w);
}

/* A person wants to know what is there now: an audit that began before may have looked too early. */
static void test_one_that_is_asked_for_during_another_is_made(void **state)
{
    struct world w;
    struct err err = ERR_INIT;
    begin(&w);
    w.farm->audit_ms = 0; /* none of itself */
    start(&w);
    ask(&w);
    ask(&w);
    answer(&w, "", "");
    answer(&w, "latest", HAND);
    assert_true(world_attention(&w, "repository-stopped"));
    ask(&w);
    world_begin(&w, 1);
    assert_int_equal(model_on_adopt(w.m, REPO, &err), 0);
    world_end(&w);
    answer(&w, "", "");
    answer(&w, "latest", HAND);
    assert_false(world_attention(&w, "repository-stopped"));
    assert_false(world_attention(&w, "tag-moved"));
    world_wait(&w, 100000);
    assert_int_equal(asked(&w), 0);
    world_done(&w);
}

static void test_a_registry_that_is_away_is_asked_again(void **state)
{
    struct world w;
    begin(&w);
    start(&w);
    ask(&w);
    world_begin(&w, 1);
    model_on_audit_failed(w.m, REPO, 0);
    world_end(&w);
    world_wait(&w, 30000);
    assert_int_equal(asked(&w), 1); /* the first, which was not taken away */
    world_wait(&w, 40000);
    assert_int_equal(asked(&w), 2);
    world_done(&w);
}

/* Nor is it asked meanwhile about another repository that it has. */
static void test_a_registry_that_asks_not_to_be_asked(void **state)
{
    const int64_t minute = 60000, waits[] = {10 * minute, 24 * 60 * minute}; /* an hour at most */
    struct world w;
    begin(&w);
    world_image(&w, "other", SOURCE, MASTER, "./mk");
    start(&w);
    ask(&w);
    for (size_t i = 0; i < 2; i++) {
        int64_t wait = i == 0 ? 10 * minute : 60 * minute;
        struct effect e = world_take(&w, EFFECT_AUDIT);
        world_begin(&w, 1);
        model_on_audit_failed(w.m, e.repository, waits[i]);
        world_end(&w);
        effect_done(&e);
        world_wait(&w, wait - 1000);
        assert_int_equal(asked(&w), 0);
        world_wait(&w, 1000 + minute);
        assert_int_equal(asked(&w), 1);
    }
    world_done(&w);
}

static void test_a_place_that_was_moved_is_brought_about_again(void **state)
{
    struct world w;
    begin(&w);
    start(&w);
    const struct retention *place = w.m->places;
    cleanup_free char *name = xstrdup(place->name);
    audit(&w, name, "");
    assert_null(place->digest);
    assert_int_equal(world_retain(&w), 1);
    assert_string_equal(place->digest, place->wanted);
    world_done(&w);
}

/* Whether the audit that is asked for looks at the tag. */
static bool looks_at(struct world *w, const char *name)
{
    VEC_FOREACH (&w->todo, e)
        if (e->kind == EFFECT_AUDIT)
            VEC_FOREACH (&e->tags, t)
                if (str_eq(t->tag, name))
                    return true;
    return false;
}

/* A retired platform's own tag stays where it is, and is nobody's: it is not said to be put back, which nothing would do. */
static void test_a_retired_platforms_tag_is_nobodys(void **state)
{
    static const char *const both[] = {"linux/amd64", "linux/arm64", NULL};
    struct world w;
    struct farm_image *image = begin(&w);
    image->enforce = true;
    vec_push(&image->platforms, PLATFORM_ARM64);
    w.platforms = both;
    start(&w);
    audit(&w, "latest-arm64", older(&w));
    assert_true(world_publish(&w) > 0); /* while it is one of two it is put back */
    assert_false(world_attention(&w, "tag-moved"));
    world_do(&w,
             &(struct command){.verb = COMMAND_RETIRE, .track = TRACK, .platform = "linux/arm64"});
    world_settle(&w, NULL);
    ask(&w);
    assert_true(looks_at(&w, "latest") && looks_at(&w, "latest-amd64"));
    assert_false(looks_at(&w, "latest-arm64"));
    answer(&w, "", "");
    assert_non_null(tag(&w, "latest-arm64"));
    world_do(&w,
             &(struct command){.verb = COMMAND_WAKE, .track = TRACK, .platform = "linux/arm64"});
    world_settle(&w, NULL);
    ask(&w);
    assert_true(looks_at(&w, "latest-arm64"));
    world_done(&w);
}

/* What was found of a retired track's tags is said no more, since nobody would do anything about it. */
static void test_a_retired_tracks_tag_is_nobodys(void **state)
{
    struct world w;
    begin(&w);
    start(&w);
    audit(&w, "latest", older(&w));
    assert_true(world_attention(&w, "tag-moved"));
    world_do(&w, &(struct command){.verb = COMMAND_RETIRE, .track = TRACK});
    assert_false(world_attention(&w, "tag-moved"));
    world_done(&w);
}

/* So does a tag that no template of farm.yaml gives any more, until one does. */
static void test_a_tag_without_a_template_is_nobodys(void **state)
{
    struct world w;
    struct farm_image *image = begin(&w);
    image->enforce = true;
    strvec_add(&image->tags, "old");
    start(&w);
    audit(&w, "old", HAND);
    assert_true(world_attention(&w, "tag-moved"));
    free(image->tags.items[1]);
    vec_remove(&image->tags, 1);
    world_begin(&w, 1);
    model_on_config(w.m, w.farm);
    world_end(&w);
    assert_false(world_attention(&w, "tag-moved"));
    ask(&w);
    assert_false(looks_at(&w, "old") || looks_at(&w, "old-amd64"));
    assert_true(looks_at(&w, "latest-amd64"));
    answer(&w, "", "");
    strvec_add(&image->tags, "old");
    world_begin(&w, 1);
    model_on_config(w.m, w.farm);
    world_end(&w);
    ask(&w);
    assert_true(looks_at(&w, "old-amd64"));
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_at_a_start_at_intervals_and_on_request),
        cmocka_unit_test(test_one_that_was_asked_for_outlives_a_restart),
        cmocka_unit_test(test_what_is_looked_at),
        cmocka_unit_test(test_moved_by_hand_is_said_and_left),
        cmocka_unit_test(test_deleted_by_hand_is_said_and_left),
        cmocka_unit_test(test_enforce_puts_it_back),
        cmocka_unit_test(test_it_is_put_back_whatever_the_track_does),
        cmocka_unit_test(test_what_the_store_does_not_know_stops_the_repository),
        cmocka_unit_test(test_adopt_takes_it_for_granted),
        cmocka_unit_test(test_restore_puts_ours_back),
        cmocka_unit_test(test_each_tag_is_put_back_to_what_it_named),
        cmocka_unit_test(test_a_stopped_repository_puts_nothing_back),
        cmocka_unit_test(test_what_was_put_back_before_the_stop_is_there),
        cmocka_unit_test(test_an_audit_that_a_publication_overtook_is_repeated),
        cmocka_unit_test(test_one_that_is_asked_for_during_another_is_made),
        cmocka_unit_test(test_a_registry_that_is_away_is_asked_again),
        cmocka_unit_test(test_a_registry_that_asks_not_to_be_asked),
        cmocka_unit_test(test_a_place_that_was_moved_is_brought_about_again),
        cmocka_unit_test(test_a_retired_platforms_tag_is_nobodys),
        cmocka_unit_test(test_a_retired_tracks_tag_is_nobodys),
        cmocka_unit_test(test_a_tag_without_a_template_is_nobodys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
