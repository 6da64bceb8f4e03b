/* Which job goes to which board, and when (design rule 10), and waiting for ancestors (rule 6). */
#include "tests/lib/bench_world.h"
#include "tests/lib/test.h"

#define MINUTE ((int64_t)60000)
#define HOUR   (60 * MINUTE)

/* ---- a farm whose images are named by one letter, with what each is built on ---- */

struct shape {
    const char *image;
    const char *bases; /* "ab": built on a and on b */
};

/* A commit is "a-1": image and generation. */
static const char *dockerfile(const char *commit, void *arg)
{
    static char text[512];
    size_t n = (size_t)snprintf(text, sizeof(text), "FROM scratch\n");
    for (const struct shape *s = arg; s->image; s++)
        for (const char *b = *s->image == *commit ? s->bases : ""; *b; b++)
            n +=
                (size_t)snprintf(text + n, sizeof(text) - n, "COPY --from=r.test/osf/%c / /\n", *b);
    return text;
}

static void push(struct bench_world *w, const char *image, int generation)
{
    char source[64], commit[16];
    snprintf(source, sizeof(source), "https://git.test/%s.git", image);
    snprintf(commit, sizeof(commit), "%s-%d", image, generation);
    struct seen_ref seen = {"refs/heads/main", commit, true};
    bench_begin(w);
    model_on_refs(w->m, source, &seen, 1);
    bench_end(w);
}

static void begin(struct bench_world *w, const struct shape *shapes, const enum platform *platforms,
                  size_t n)
{
    bench_init(w);
    w->dockerfile = dockerfile;
    w->arg = (void *)(uintptr_t)shapes;
    w->keep_rows = true;
    for (const struct shape *s = shapes; s->image; s++) {
        char source[64];
        snprintf(source, sizeof(source), "https://git.test/%s.git", s->image);
        bench_image(w, s->image, source, "refs/heads/main", platforms, n);
    }
    /* Boards are borrowed while they are added: there is room for all. */
    vec_reserve(&w->boards, 8);
    bench_start(w);
}

static void push_all(struct bench_world *w, const struct shape *shapes, int generation)
{
    for (const struct shape *s = shapes; s->image; s++)
        push(w, s->image, generation);
    bench_effects(w);
}

static const enum platform amd64[] = {PLATFORM_AMD64};

static struct bench_board *board(struct bench_world *w, const char *name, int64_t slots)
{
    return bench_board(w, name, amd64, 1, slots, (int64_t)4 << 30);
}

/* What it got for its poll: the first letter of each lease's track. */
static const char *gets(struct bench_world *w, struct bench_board *b)
{
    static char text[64];
    size_t held = b->leases.n, n = 0;
    bench_poll(w, b);
    for (; held < b->leases.n; held++)
        text[n++] = *b->leases.items[held].track;
    text[n] = 0;
    return text;
}

/* Its only lease is done after `ms`. */
static void finish(struct bench_world *w, struct bench_board *b, int64_t ms)
{
    w->mono += ms;
    bench_succeed(w, b, 0);
    bench_effects(w);
}

/* Everything is built, and no board asks for more. */
static void settle(struct bench_world *w)
{
    bench_settle(w);
    VEC_FOREACH (&w->boards, b) {
        bench_begin(w);
        model_on_poll_closed(w->m, b->token);
        bench_end(w);
        b->token = 0;
    }
}

static void rebuild(struct bench_world *w, const char *track)
{
    struct err err = ERR_INIT;
    bench_begin(w);
    assert_int_equal(model_on_rebuild(w->m, track, NULL, false, &err), 0);
    bench_end(w);
}

/* The text of the reason of the track's only cell. */
static const char *waits(struct bench_world *w, const char *track, const char *code)
{
    static char text[512];
    json_t *view = view_track(w->m, track), *reason = json_object_get(view, "reason");
    assert_string_equal(json_string_value(json_object_get(reason, "code")), code);
    snprintf(text, sizeof(text), "%s", json_string_value(json_object_get(reason, "text")));
    json_decref(view);
    return text;
}

/* ---- the order ---- */

static void test_the_longest_chain_goes_first(void **state)
{
    static const struct shape shapes[] = {{"a", ""},  {"b", ""}, {"c", "b"},
                                          {"d", "c"}, {"e", ""}, {0}};
    struct bench_world w;
    begin(&w, shapes, amd64, 1);
    struct bench_board *b = board(&w, "one", 1);
    push_all(&w, shapes, 1);
    assert_string_equal(gets(&w, b), "b");
    finish(&w, b, MINUTE);
    assert_string_equal(gets(&w, b), "c");
    bench_done(&w);
}

static void test_a_person_before_a_push_before_a_ripple(void **state)
{
    static const struct shape shapes[] = {{"a", ""}, {"b", "a"}, {"c", ""}, {"d", ""}, {0}};
    struct bench_world w;
    begin(&w, shapes, amd64, 1);
    struct bench_board *b = board(&w, "one", 1);
    push_all(&w, shapes, 1);
    settle(&w);
    push(&w, "a", 2);
    bench_effects(&w);
    assert_string_equal(gets(&w, b), "a");
    finish(&w, b, MINUTE);
    push(&w, "c", 2);
    bench_effects(&w);
    rebuild(&w, "d@main");
    assert_string_equal(gets(&w, b), "d");
    finish(&w, b, MINUTE);
    assert_string_equal(gets(&w, b), "c");
    finish(&w, b, MINUTE);
    assert_string_equal(gets(&w, b), "b");
    bench_done(&w);
}

static void test_what_waits_long_enough_goes_first(void **state)
{
    static const struct shape shapes[] = {{"a", ""}, {"b", "a"}, {"c", ""}, {"d", ""}, {0}};
    struct bench_world w;
    begin(&w, shapes, amd64, 1);
    struct bench_board *b = board(&w, "one", 1);
    push_all(&w, shapes, 1);
    settle(&w);
    push(&w, "a", 2);
    bench_effects(&w);
    assert_string_equal(gets(&w, b), "a");
    finish(&w, b, MINUTE); /* b ripples */
    w.mono += 13 * HOUR;
    rebuild(&w, "d@main");
    assert_string_equal(gets(&w, b), "b");
    bench_done(&w);
}

static void test_no_platform_starves_on_a_board_of_two(void **state)
{
    static const enum platform two[] = {PLATFORM_AMD64, PLATFORM_ARM64};
    static const struct shape shapes[] = {{"a", ""}, {"b", ""}, {0}};
    struct bench_world w;
    begin(&w, shapes, two, 2);
    struct bench_board *b = bench_board(&w, "both", two, 2, 1, (int64_t)4 << 30);
    push(&w, "a", 1);
    bench_effects(&w);
    w.mono += HOUR;
    push(&w, "b", 1);
    bench_effects(&w);
    assert_string_equal(gets(&w, b), "a");
    finish(&w, b, MINUTE);
    assert_string_equal(gets(&w, b), "a"); /* its other platform */
    bench_done(&w);
}

static void test_what_no_board_can_run_is_in_nobodys_way(void **state)
{
    static const enum platform arm64[] = {PLATFORM_ARM64};
    static struct shape shapes[101];
    static char names[100][8];
    struct bench_world w;
    for (int i = 0; i < 100; i++) {
        snprintf(names[i], sizeof(names[i]), "%c%d", i == 99 ? 'z' : 'a', i);
        shapes[i] = (struct shape){names[i], ""};
    }
    begin(&w, shapes, arm64, 1);
    VEC_FOREACH (&w.farm->images, image)
        image->emulated = *image->name == 'z';
    struct bench_board *b = board(&w, "emulator", 4);
    vec_push(&b->emulated, PLATFORM_ARM64);
    bench_session(&w, b);
    push_all(&w, shapes, 1);
    w.mono += MINUTE;
    assert_string_equal(gets(&w, b), "z");
    assert_non_null(strstr(waits(&w, "a7@main", "no-board"), "no board runs linux/arm64 natively"));
    /* and gets its board as soon as there is one */
    struct bench_board *native = bench_board(&w, "native", arm64, 1, 2, (int64_t)4 << 30);
    assert_string_equal(gets(&w, native), "aa");
    bench_done(&w);
}

/* A hundred images that no emulating board may build, and z, which may be built so. */
static const struct shape *hundred_and_z(void)
{
    static struct shape shapes[102];
    static char names[101][8];
    for (int i = 0; i < 101; i++) {
        snprintf(names[i], sizeof(names[i]), "%c%d", i == 100 ? 'z' : 'a', i);
        shapes[i] = (struct shape){names[i], ""};
    }
    return shapes;
}

/* What only a board could take that takes nothing now does not keep the others from theirs. */
static void test_what_no_board_takes_now_is_in_nobodys_way(void **state)
{
    static const enum platform arm64[] = {PLATFORM_ARM64};
    const struct shape *shapes = hundred_and_z();
    for (int why = 0; why < 3; why++) {
        struct bench_world w;
        begin(&w, shapes, arm64, 1);
        w.farm->min_disk = (int64_t)1 << 30;
        vec_push(&w.farm->boards, (struct farm_board_rule){.pattern = xstrdup("native"),
                                                           .max_temperature = 60,
                                                           .min_disk = (int64_t)1 << 30});
        VEC_FOREACH (&w.farm->images, image)
            image->emulated = *image->name == 'z';
        struct bench_board *native = bench_board(&w, "native", arm64, 1, 2, (int64_t)4 << 30);
        struct bench_board *b = board(&w, "emulator", 4);
        vec_push(&b->emulated, PLATFORM_ARM64);
        bench_session(&w, b);
        native->temperature = why == 0 ? 80 : 40;
        native->disk_free = why == 1 ? 1 << 20 : (int64_t)10 << 30;
        native->draining = why == 2;
        bench_poll(&w, native);
        push_all(&w, shapes, 1);
        w.mono += MINUTE;
        assert_string_equal(gets(&w, b), "z");
        assert_string_equal(gets(&w, native), "");
        native->temperature = 40;
        native->disk_free = (int64_t)10 << 30;
        native->draining = false;
        bench_poll_again(&w, native);
        assert_int_equal(native->leases.n, 2);
        bench_done(&w);
    }
}

static void fail_all(struct bench_world *w, struct bench_board *b, enum wire_failure kind)
{
    for (; b->leases.n; b->leases.n--) {
        struct bench_lease *l = &b->leases.items[b->leases.n - 1];
        struct wire_result r = {.epoch = l->epoch,
                                .outcome = WIRE_FAILED,
                                .kind = kind,
                                .reason = (char *)(uintptr_t) "it broke"};
        bench_begin(w);
        model_on_result(w->m, l->lease, &r, ++w->token);
        bench_end(w);
        free(l->lease);
        free(l->job);
        free(l->track);
    }
}

/* Neither does what has failed on the only board that is free. */
static void test_what_avoids_the_free_board_is_in_nobodys_way(void **state)
{
    const struct shape *shapes = hundred_and_z();
    struct bench_world w;
    begin(&w, shapes, amd64, 1);
    struct bench_board *one = board(&w, "one", 100), *two = board(&w, "two", 1);
    for (int i = 0; i < 100; i++)
        push(&w, shapes[i].image, 1);
    bench_effects(&w);
    bench_poll(&w, one);
    assert_int_equal(one->leases.n, 100);
    fail_all(&w, one, WIRE_FAILURE_RECIPE);
    bench_poll(&w, two); /* it gets one of them, and is busy */
    assert_int_equal(two->leases.n, 1);
    push(&w, "z100", 1);
    bench_effects(&w);
    assert_string_equal(gets(&w, one), "z");
    bench_done(&w);
}

/* ---- the board ---- */

/* Two boards of one slot that built a twice: "slow" takes four times as long. */
static void learn(struct bench_world *w, const struct shape *shapes, struct bench_board **ret_fast,
                  struct bench_board **ret_slow)
{
    *ret_fast = board(w, "fast", 1);
    *ret_slow = board(w, "slow", 1);
    push_all(w, shapes, 1);
    for (int generation = 2; generation < 14; generation++) {
        struct bench_board *b = generation % 2 ? *ret_fast : *ret_slow;
        bench_poll(w, b);
        while (b->leases.n) {
            finish(w, b, generation % 2 ? 10 * MINUTE : 40 * MINUTE);
            bench_poll(w, b);
        }
        settle(w);
        push_all(w, shapes, generation);
    }
}

static void test_a_job_waits_for_the_faster_board(void **state)
{
    static const struct shape shapes[] = {{"a", ""}, {"b", ""}, {0}};
    struct bench_world w;
    struct bench_board *fast, *slow;
    begin(&w, shapes, amd64, 1);
    learn(&w, shapes, &fast, &slow);
    assert_int_equal(strlen(gets(&w, fast)), 1);
    assert_string_equal(gets(&w, slow), "");
    const char *left = *fast->leases.items[0].track == 'a' ? "b@main" : "a@main";
    const char *why = waits(&w, left, "boards-busy");
    assert_non_null(strstr(why, "board fast is busy"));
    /* what is overdue is not waited for */
    w.mono += HOUR;
    bench_poll_again(&w, slow);
    assert_int_equal(slow->leases.n, 1);
    bench_done(&w);
}

static void test_what_was_learnt_survives_a_restart(void **state)
{
    static const struct shape shapes[] = {{"a", ""}, {"b", ""}, {0}};
    struct bench_world w;
    struct bench_board *fast, *slow;
    double load, start;
    begin(&w, shapes, amd64, 1);
    learn(&w, shapes, &fast, &slow);
    bench_restart(&w, &load, &start);
    bench_session(&w, fast);
    bench_session(&w, slow);
    assert_int_equal(strlen(gets(&w, fast)), 1);
    assert_string_equal(gets(&w, slow), "");
    bench_done(&w);
}

static void test_the_board_that_built_it_last_is_preferred(void **state)
{
    static const struct shape shapes[] = {{"a", ""}, {"b", ""}, {0}};
    struct bench_world w;
    begin(&w, shapes, amd64, 1);
    struct bench_board *one = board(&w, "one", 1), *two = board(&w, "two", 1);
    push_all(&w, shapes, 1);
    const char *got = gets(&w, one);
    char first[2] = {*got, 0};
    gets(&w, two);
    bench_succeed(&w, one, 0);
    finish(&w, two, MINUTE);
    bench_poll(&w, one);
    bench_poll(&w, two);
    for (int generation = 2; generation < 5; generation++) {
        push(&w, first, generation);
        bench_effects(&w);
        assert_int_equal(one->leases.n, 1);
        finish(&w, one, MINUTE);
        bench_poll(&w, one);
    }
    bench_done(&w);
}

/* ---- why it waits ---- */

static void test_every_wait_has_its_reason(void **state)
{
    static const struct shape shapes[] = {{"a", ""}, {"b", ""}, {0}};
    struct bench_world w;
    begin(&w, shapes, amd64, 1);
    w.farm->min_disk = (int64_t)1 << 30;
    vec_push(&w.farm->boards, (struct farm_board_rule){.pattern = xstrdup("hot"),
                                                       .max_temperature = 60,
                                                       .min_disk = 1 << 30});
    push_all(&w, shapes, 1);
    assert_string_equal(waits(&w, "a@main", "no-board"),
                        "linux/amd64: no board offers linux/amd64");
    struct bench_board *hot = board(&w, "hot", 1), *full = board(&w, "full", 1);
    struct bench_board *leaving = board(&w, "leaving", 1), *busy = board(&w, "busy", 1);
    hot->temperature = 80;
    full->disk_free = 1 << 20;
    leaving->draining = true;
    bench_poll(&w, hot);
    bench_poll(&w, full);
    bench_poll(&w, leaving);
    assert_int_equal(strlen(gets(&w, busy)), 1);
    const char *left = *busy->leases.items[0].track == 'a' ? "b@main" : "a@main";
    bench_begin(&w);
    model_on_config(w.m, w.farm);
    bench_end(&w);
    const char *why = waits(&w, left, "boards-busy");
    assert_non_null(strstr(why, "board hot is hot"));
    assert_non_null(strstr(why, "board full is low on disk"));
    assert_non_null(strstr(why, "board leaving is draining"));
    assert_non_null(strstr(why, "board busy is busy"));
    bench_done(&w);
}

/* Of many boards some are named, and what they say is asked anew whenever it may have changed. */
static void test_of_many_boards_some_are_named(void **state)
{
    static const struct shape shapes[] = {{"a", ""}, {0}};
    struct bench_world w;
    begin(&w, shapes, amd64, 1);
    vec_reserve(&w.boards, 12);
    for (int i = 0; i < 12; i++) {
        char name[16];
        snprintf(name, sizeof(name), "b%d", i);
        struct bench_board *b = board(&w, name, 1);
        b->draining = true;
        bench_poll(&w, b);
    }
    push_all(&w, shapes, 1);
    const char *why = waits(&w, "a@main", "boards-busy");
    assert_non_null(strstr(why, "board b0 is draining, board b1 is draining"));
    assert_non_null(strstr(why, "board b7 is draining and 4 more"));
    w.boards.items[1].draining = false;
    w.boards.items[1].slots = 0;
    bench_poll_again(&w, &w.boards.items[1]);
    why = waits(&w, "a@main", "boards-busy");
    assert_non_null(strstr(why, "board b0 is draining, board b1 is busy"));
    bench_done(&w);
}

/* ---- waiting for ancestors ---- */

/* d is built on b and c; a push to a comes to it through b at once, one to x through e and c late. */
static const struct shape far[] = {{"a", ""},  {"b", "a"},  {"x", ""}, {"e", "x"},
                                   {"c", "e"}, {"d", "bc"}, {0}};

static void test_a_diamond_is_built_once_however_deep(void **state)
{
    struct bench_world w;
    begin(&w, far, amd64, 1);
    struct bench_board *one = board(&w, "one", 1), *two = board(&w, "two", 1);
    push_all(&w, far, 1);
    settle(&w);
    push(&w, "x", 2);
    bench_effects(&w);
    assert_string_equal(gets(&w, one), "x");
    push(&w, "a", 2);
    bench_effects(&w);
    assert_string_equal(gets(&w, two), "a");
    finish(&w, two, MINUTE);
    assert_string_equal(gets(&w, two), "b");
    finish(&w, two, MINUTE);
    assert_string_equal(gets(&w, two), "");
    assert_string_equal(waits(&w, "d@main", "base-building"), "base x@main is under way");
    finish(&w, one, MINUTE);
    int jobs = (int)bench_settle(&w);
    assert_int_equal(jobs, 3); /* e, c, d */
    bench_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_longest_chain_goes_first),
        cmocka_unit_test(test_a_person_before_a_push_before_a_ripple),
        cmocka_unit_test(test_what_waits_long_enough_goes_first),
        cmocka_unit_test(test_no_platform_starves_on_a_board_of_two),
        cmocka_unit_test(test_what_no_board_can_run_is_in_nobodys_way),
        cmocka_unit_test(test_what_no_board_takes_now_is_in_nobodys_way),
        cmocka_unit_test(test_what_avoids_the_free_board_is_in_nobodys_way),
        cmocka_unit_test(test_a_job_waits_for_the_faster_board),
        cmocka_unit_test(test_what_was_learnt_survives_a_restart),
        cmocka_unit_test(test_the_board_that_built_it_last_is_preferred),
        cmocka_unit_test(test_every_wait_has_its_reason),
        cmocka_unit_test(test_of_many_boards_some_are_named),
        cmocka_unit_test(test_a_diamond_is_built_once_however_deep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
