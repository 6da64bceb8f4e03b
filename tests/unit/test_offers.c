/* Which boards are given what (rules 10.3 and 0.6): who gets nothing and why, how many slots are free, and Dockerfiles
 * that the builders at hand cannot build. */
#include "daemon/model/objects.h"
#include "tests/lib/model_steps.h"

#define SOURCE "https://git.test/a.git"
#define TRACK  "app@master"

/* A farm with one image, and the board `one` with what the world says of boards. */
static void farm(struct world *w, const char *script)
{
    world_init(w);
    w->farm->min_disk = (int64_t)1 << 30;
    world_image(w, "app", SOURCE, WORLD_MASTER, script);
    world_start(w);
}

static size_t offered(struct world *w)
{
    struct wire_poll_response got = world_poll(w, "one");
    size_t n = got.leases.n;
    wire_poll_response_done(&got);
    return n;
}

/* ---- boards that get nothing, and what they need to get something ---- */

static void nothing(struct world *w)
{
    (void)w;
}
static void offline(struct world *w)
{
    world_poll(w, "one");
    world_wait(w, w->farm->lease_term_ms);
}
static void draining(struct world *w)
{
    w->draining = true;
    world_poll(w, "one");
}
static void staying(struct world *w)
{
    w->draining = false;
}
static void hot(struct world *w)
{
    vec_push(&w->farm->boards, (struct farm_board_rule){.pattern = xstrdup("o*"),
                                                        .max_temperature = 60,
                                                        .min_disk = (int64_t)1 << 30});
    world_reload(w);
    w->temperature = 60.5;
    world_poll(w, "one");
}
static void cooler(struct world *w)
{
    w->temperature = 60;
}
static void low_on_disk(struct world *w)
{
    w->disk_free = ((int64_t)1 << 30) - 1;
    world_poll(w, "one");
}
static void more_disk(struct world *w)
{
    w->disk_free = (int64_t)1 << 30;
}
static void quarantined(struct world *w)
{
    struct board *b = board_find(w->m, "one");
    world_begin(w, 1);
    b->blames = 3;
    board_move(w->m, b, BOARD_QUARANTINED);
    world_end(w);
    world_poll(w, "one"); /* connected again is not started anew */
}
static void started_anew(struct world *w)
{
    world_session(w, "one", "another boot", (int64_t)1 << 30, NULL);
}
static void silent(struct world *w)
{
    world_poll(w, "one");
    world_restart(w);
}

static void test_who_gets_nothing_says_why(void **state)
{
    static const struct {
        void (*before)(struct world *);
        const char *says;
        void (*after)(struct world *);
    } cases[] = {
        {offline, "board one is offline", nothing},
        {draining, "board one is draining", staying},
        {hot, "board one is hot (60 of 60 degrees)", cooler},
        {low_on_disk, "board one is low on disk (1023 of 1024 MiB)", more_disk},
        {quarantined, "board one is quarantined: 3 jobs failed on it", started_anew},
        {silent, "board one has connected and not asked for work yet", nothing},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct world w;
        farm(&w, "./mk");
        world_board(&w, "one");
        cases[i].before(&w);
        world_push(&w, SOURCE, "c1", NULL);
        world_is(&w, TRACK, "building", "boards-busy");
        world_says(&w, TRACK, cases[i].says);
        cases[i].after(&w);
        assert_int_equal(offered(&w), 1);
        world_done(&w);
    }
}

/* One that was made known and never came is no board yet. */
static void test_a_joining_board_offers_nothing(void **state)
{
    struct world w;
    farm(&w, "./mk");
    world_begin(&w, 1);
    model_on_board_added(w.m, "one", "sha256:1");
    world_end(&w);
    world_push(&w, SOURCE, "c1", NULL);
    world_is(&w, TRACK, "building", "no-board");
    world_says(&w, TRACK, "no board offers linux/amd64");
    assert_int_equal(offered(&w), 1);
    world_done(&w);
}

static void test_an_emulated_board_takes_only_what_says_so(void **state)
{
    static const char *const arm64[] = {"linux/arm64", NULL}, *const amd64[] = {"linux/amd64",
                                                                                NULL};
    struct world w;
    world_init(&w);
    w.platforms = arm64;
    w.emulated = amd64;
    world_image(&w, "app", SOURCE, WORLD_MASTER, "./mk");
    world_start(&w);
    world_board(&w, "one");
    world_push(&w, SOURCE, "c1", NULL);
    assert_int_equal(offered(&w), 0);
    world_is(&w, TRACK, "building", "no-board");
    world_says(&w, TRACK,
               "no board runs linux/amd64 natively, and the image takes no emulated one");
    world_find_image(&w, "app")->emulated = true;
    world_reload(&w);
    struct wire_poll_response got;
    assert_true(world_lease(&w, "one", "app", &got)->job.emulated);
    wire_poll_response_done(&got);
    world_done(&w);
}

/* ---- slots ---- */

/* Eight jobs wait; the board is offered as many as the smallest of the three bounds lets it. */
static void test_slots_are_the_smallest_of_three(void **state)
{
    static const struct {
        int64_t has, offers;
        int farm_yaml;
        size_t gets;
    } cases[] = {
        {2, 2, 0, 2}, {4, 4, 3, 3}, /* farm.yaml's */
        {4, 1, 3, 1},               /* the agent has but one free */
        {2, 2, 5, 2},               /* farm.yaml makes no slots */
        {3, 7, 0, 3},               /* nor does an agent that offers more than it has */
        {4, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct world w;
        world_init(&w);
        w.slots = cases[i].has;
        w.free = cases[i].offers;
        vec_push(&w.farm->boards,
                 (struct farm_board_rule){.pattern = xstrdup("one"), .slots = cases[i].farm_yaml});
        for (char name[] = "a"; *name <= 'h'; ++*name)
            world_image(&w, name, SOURCE, WORLD_MASTER, name);
        world_start(&w);
        world_board(&w, "one");
        world_push(&w, SOURCE, "c1", NULL);
        assert_int_equal(offered(&w), cases[i].gets);
        world_done(&w);
    }
}

/* What the board has leased already is taken off what it may have, whatever it says is free. */
static void test_live_leases_are_taken_off(void **state)
{
    struct world w;
    struct world_agent one = {.name = "one"};
    world_init(&w);
    w.slots = 3;
    for (char name[] = "a"; *name <= 'h'; ++*name)
        world_image(&w, name, SOURCE, WORLD_MASTER, name);
    world_start(&w);
    world_board(&w, "one");
    world_agent_session(&w, &one, NULL);
    world_push(&w, SOURCE, "c1", NULL);
    struct wire_poll_response first = world_agent_poll(&w, &one, NULL, 0);
    assert_int_equal(first.leases.n, 2);
    w.free = 3;
    struct wire_poll_response next = world_agent_poll(&w, &one, first.leases.items, first.leases.n);
    assert_int_equal(next.leases.n, 1);
    wire_poll_response_done(&first);
    wire_poll_response_done(&next);
    world_done(&w);
}

/* ---- what the builders at hand cannot build ---- */

#define HEREDOC "FROM scratch\nRUN <<E\necho\nE\n"
#define LINK    "FROM scratch\nCOPY --link / /\n"

static void test_what_is_beyond_the_newest_buildah_is_refused(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {{HEREDOC, "line 2"}, {LINK, "line 2"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct world w;
        farm(&w, NULL);
        w.buildah = "1.28.2";
        world_board(&w, "one");
        world_push(&w, SOURCE, "c1", cases[i].text);
        world_is(&w, TRACK, "blocked", "dockerfile");
        world_says(&w, TRACK, cases[i].says);
        world_says(&w, TRACK, "1.28.2");
        assert_int_equal(offered(&w), 0);
        w.buildah = "1.41.0"; /* a board comes that can */
        world_board(&w, "two");
        world_is(&w, TRACK, "building", "boards-busy");
        world_done(&w);
    }
}

/* It goes to the board whose buildah can, and not to the one whose cannot. */
static void test_it_goes_to_a_board_whose_buildah_can(void **state)
{
    struct world w;
    farm(&w, NULL);
    w.buildah = "1.28.2";
    world_board(&w, "one");
    w.buildah = "1.41.0";
    world_board(&w, "two");
    world_push(&w, SOURCE, "c1", LINK);
    w.buildah = "1.28.2";
    assert_int_equal(offered(&w), 0);
    world_is(&w, TRACK, "building", "boards-busy");
    w.buildah = "1.41.0";
    world_build(&w, "two", "app", "x");
    world_publish(&w);
    world_is(&w, TRACK, "published", "published");
    /* of this platform no board has one, though the farm has: it waits, and the reason names the line */
    world_begin(&w, 1);
    board_move(w.m, board_find(w.m, "two"), BOARD_QUARANTINED);
    world_end(&w);
    w.platforms = (const char *const[]){"linux/arm64", NULL};
    world_session(&w, "two", "two", (int64_t)1 << 30, NULL);
    world_restart(&w);
    world_push(&w, SOURCE, "c2", LINK);
    world_is(&w, TRACK, "building", "no-board");
    world_says(&w, TRACK,
               "line 2: COPY --link: no board of linux/amd64 has a buildah that can build it");
    world_done(&w);
}

/* Nor is it offered one after a restart, when the job is of a build that may finish though its inputs are newer. */
static void test_a_restart_knows_which_buildah_it_needs(void **state)
{
    struct world w;
    farm(&w, NULL);
    w.buildah = "1.41.0";
    world_board(&w, "two");
    world_board(&w, "one");
    int64_t free = w.free;
    w.free = 0; /* they are busy */
    world_push(&w, SOURCE, "c1", LINK);
    world_push(&w, SOURCE, "c2", LINK);
    world_push(&w, SOURCE, "c3", LINK);
    world_push(&w, SOURCE, "c4", "FROM scratch\nCOPY / /\n");
    world_restart(&w);
    w.free = free;
    w.buildah = "1.28.2"; /* one was installed anew */
    world_session(&w, "one", "two", (int64_t)1 << 30, NULL);
    assert_int_equal(offered(&w), 0);
    w.buildah = "1.41.0";
    world_session(&w, "two", "two", (int64_t)1 << 30, NULL);
    world_build(&w, "two", "app", "x"); /* c3 */
    world_done(&w);
}

/* The board with the newest buildah has an older one now. */
static void test_what_the_boards_have_can_become_older(void **state)
{
    struct world w;
    farm(&w, NULL);
    w.buildah = "1.41.0";
    world_board(&w, "one");
    world_push(&w, SOURCE, "c1", LINK);
    world_is(&w, TRACK, "building", "boards-busy");
    w.buildah = "1.28.2";
    world_session(&w, "one", "two", (int64_t)1 << 30, NULL);
    world_is(&w, TRACK, "blocked", "dockerfile");
    world_restart(&w);
    world_is(&w, TRACK, "blocked", "dockerfile");
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_gets_nothing_says_why),
        cmocka_unit_test(test_a_joining_board_offers_nothing),
        cmocka_unit_test(test_an_emulated_board_takes_only_what_says_so),
        cmocka_unit_test(test_slots_are_the_smallest_of_three),
        cmocka_unit_test(test_live_leases_are_taken_off),
        cmocka_unit_test(test_what_is_beyond_the_newest_buildah_is_refused),
        cmocka_unit_test(test_it_goes_to_a_board_whose_buildah_can),
        cmocka_unit_test(test_a_restart_knows_which_buildah_it_needs),
        cmocka_unit_test(test_what_the_boards_have_can_become_older),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
