/* What if: asked first, and then let happen; what was foretold is what is built. */
#include "common/digest.h"
#include "daemon/model/copy.h"
#include "daemon/model/what_if.h"
#include "tests/lib/model_world.h"

#include <errno.h>
#include <pthread.h>

#define SOURCE "https://git.test/a.git"
#define OTHER  "https://git.test/b.git"
#define MASTER "refs/heads/master"
#define FROM   "FROM r.test/osf/base:latest\n"

/* ---- asking ---- */

/* What a mirror has: NULL as long as there is none. */
static bool (*mirror)(const struct what_if_look *look, struct context_facts *ret,
                      bool *ret_touched);

/* Asks the mirror for all that is open. Whether it told anything. */
static bool ask_mirror(struct world *w, struct what_if *what)
{
    struct what_if_look look;
    bool any = false;
    while (what_if_look(what, &look)) {
        struct context_facts facts = {.exists = true, .time = 1700000000, .size = 1};
        bool touched = false, known = mirror && mirror(&look, &facts, &touched);
        what_if_looked(what, w->m, known ? &facts : NULL, touched);
        any = any || known;
    }
    return any;
}

static json_t *ask(struct world *w, const struct what_if_question *q)
{
    struct what_if *what = NULL;
    struct err err = ERR_INIT;
    json_t *before = view_tracks(w->m);
    if (what_if_new(w->m, q, what_if_prepare(what_if_size(w->m)), &what, &err) < 0)
        fail_msg("%s", err.text);
    int rounds = 0;
    for (bool again = true; again;) {
        what_if_run(what);
        assert_true(++rounds < 10);
        again = what_if_ask(what, w->m);
        again = ask_mirror(w, what) || again;
    }
    json_t *answer = what_if_answer(what), *after = view_tracks(w->m);
    what_if_free(what);
    assert_true(json_equal(before, after));
    json_decref(before);
    json_decref(after);
    size_t effects = w->todo.n, rows = w->rows.n;
    world_begin(w, 0);
    world_end(w);
    assert_int_equal(w->todo.n, effects);
    assert_int_equal(w->rows.n, rows);
    return answer;
}

static json_t *ask_push(struct world *w, const char *source, const char *path)
{
    struct what_if_question q = {.kind = WHAT_IF_PUSH, .source = source};
    if (path)
        strvec_add(&q.paths, path);
    json_t *answer = ask(w, &q);
    strvec_done(&q.paths);
    return answer;
}

static void refused(struct world *w, const struct what_if_question *q, int code, const char *text)
{
    struct what_if *what = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(what_if_new(w->m, q, NULL, &what, &err), code);
    if (!strstr(err.text, text))
        fail_msg("%s", err.text);
}

/* The builds of an answer: "1 base@master: its files changed; ..." */
static const char *told(json_t *answer)
{
    static char text[2000];
    size_t i, n = 0;
    json_t *b;
    text[0] = '\0';
    json_array_foreach (json_object_get(answer, "builds"), i, b)
        n +=
            (size_t)snprintf(text + n, sizeof(text) - n, "%s%d %s: %s", i ? "; " : "",
                             (int)json_integer_value(json_object_get(b, "wave")),
                             json_string_value(json_object_get(b, "track")),
                             json_string_value(json_object_get(json_object_get(b, "why"), "text")));
    return text;
}

static json_int_t number(json_t *answer, const char *name)
{
    return json_integer_value(json_object_get(answer, name));
}

static const char *part(json_t *answer, const char *name)
{
    static char *text;
    free(text);
    text = json_dumps(json_object_get(answer, name), JSON_COMPACT);
    return text;
}

/* What the farm itself builds from now on, in the order of the builds. */
static void expect_builds(struct world *w, json_t *answer, int64_t after, const char *dockerfile)
{
    json_t *b;
    size_t i, next = 0;
    json_t *list = json_object_get(answer, "builds");
    assert_int_equal(world_settle(w, dockerfile), number(answer, "jobs"));
    VEC_FOREACH (&w->rows, row) {
        if (row->table != TABLE_BUILD || row->cells[0].i <= after)
            continue;
        bool found = false;
        next++;
        json_array_foreach (list, i, b)
            found = found ||
                    (str_eq(json_string_value(json_object_get(b, "track")), row->cells[1].s) &&
                     str_eq(json_string_value(json_object_get(json_object_get(b, "why"), "text")),
                            row->cells[5].s));
        if (!found)
            fail_msg("%s was not foretold: %s", row->cells[1].s, row->cells[5].s);
    }
    assert_int_equal(next, json_array_size(list));
}

static int64_t last_build(const struct world *w)
{
    int64_t last = 0;
    VEC_FOREACH (&w->rows, row)
        if (row->table == TABLE_BUILD && row->cells[0].i > last)
            last = row->cells[0].i;
    return last;
}

/* ---- a farm: base <- left, right <- top; alone ---- */

static void world_of(struct world *w)
{
    world_init(w);
    world_image(w, "base", SOURCE, MASTER, "./mk");
    world_image(w, "left", OTHER, MASTER, NULL);
    world_image(w, "right", OTHER, MASTER, NULL);
    world_image(w, "alone", OTHER, MASTER, "./mk");
    static const char *const folders[] = {"left", "right", "alone"};
    VEC_FOREACH (&w->farm->images, image)
        for (size_t i = 0; i < 3; i++)
            if (str_eq(image->name, folders[i]))
                str_replace(&image->context, folders[i]);
    world_start(w);
    world_board(w, "one");
    world_see(w, SOURCE, MASTER, "c1");
    world_see(w, OTHER, MASTER, "d1");
    world_settle(w, FROM);
    assert_string_equal(world_track_state(w, "left@master"), "published");
}

/* ---- tests ---- */

static void test_a_push_ripples(void **state)
{
    struct world w;
    world_of(&w);
    int64_t last = last_build(&w);
    json_t *answer = ask_push(&w, SOURCE, NULL);
    assert_string_equal(told(answer),
                        "1 base@master: its files changed; "
                        "2 left@master: base r.test/osf/base:latest has new content; "
                        "2 right@master: base r.test/osf/base:latest has new content");
    assert_int_equal(number(answer, "jobs"), 3);
    assert_string_equal(part(answer, "tracks"), "[]");
    assert_string_equal(part(answer, "notes"), "[]");
    assert_int_equal(json_array_size(json_object_get(answer, "tags")), 3);
    assert_true(number(answer, "duration_ms") > 0);
    world_see(&w, SOURCE, MASTER, "c2");
    expect_builds(&w, answer, last, FROM);
    json_decref(answer);
    world_done(&w);
}

/* A board with all its slots taken is asked again when one is free. */
static void test_more_jobs_than_slots(void **state)
{
    struct world w;
    world_init(&w);
    for (int i = 0; i < 7; i++) {
        cleanup_free char *name = xasprintf("image%d", i);
        world_image(&w, name, SOURCE, MASTER, "./mk");
    }
    world_start(&w);
    world_board(&w, "one");
    world_see(&w, SOURCE, MASTER, "c1");
    assert_int_equal(world_settle(&w, NULL), 7);
    json_t *answer = ask_push(&w, SOURCE, NULL);
    assert_int_equal(number(answer, "jobs"), 7);
    assert_string_equal(part(answer, "tracks"), "[]");
    assert_true(number(answer, "work_ms") > number(answer, "duration_ms"));
    json_decref(answer);
    world_done(&w);
}

static void test_a_push_of_some_paths(void **state)
{
    struct world w;
    world_of(&w);
    json_t *answer = ask_push(&w, OTHER, "./left/src/");
    assert_string_equal(told(answer), "1 left@master: its files changed");
    json_decref(answer);
    answer = ask_push(&w, OTHER, "docs");
    assert_string_equal(told(answer), "");
    json_decref(answer);
    answer = ask_push(&w, "alone", NULL);
    assert_string_equal(told(answer), "1 alone@master: its files changed");
    json_decref(answer);
    struct what_if_question q = {.kind = WHAT_IF_PUSH, .source = OTHER, .ref = "refs/heads/new"};
    answer = ask(&w, &q);
    assert_string_equal(told(answer), ""); /* nothing follows it */
    json_decref(answer);
    world_done(&w);
}

/* ---- what mirrors have ---- */

#define REAL "00112233445566778899aabbccddeeff00112233"

/* One that has the commit REAL, in which left is built on nothing any more, and what left/docs is. */
static bool some_mirror(const struct what_if_look *look, struct context_facts *ret,
                        bool *ret_touched)
{
    static char id[DIGEST_SIZE];
    if (look->paths) {
        *ret_touched = !strvec_has(look->paths, "left/docs");
        return true;
    }
    digest_of(look->path, strlen(look->path), id);
    ret->id = id;
    ret->dockerfile_text = look->dockerfile ? "FROM scratch\n" : NULL;
    return str_eq(look->commit, REAL) && !str_eq(look->path, "right");
}

/* A commit that somebody made: its own files count, where a mirror has them. */
static void test_a_push_of_a_commit_that_there_is(void **state)
{
    struct world w;
    world_of(&w);
    struct what_if_question q = {
        .kind = WHAT_IF_PUSH, .source = OTHER, .ref = "master", .commit = REAL};
    json_t *answer = ask(&w, &q);
    assert_string_equal(told(answer), "1 alone@master: its files changed; "
                                      "1 left@master: its files changed; "
                                      "1 right@master: its files changed");
    assert_non_null(strstr(part(answer, "notes"), "the files in 'left' of " REAL " have not been"));
    json_decref(answer);
    mirror = some_mirror;
    answer = ask(&w, &q);
    mirror = NULL;
    assert_string_equal(told(answer), "1 alone@master: its files changed; "
                                      "1 left@master: its Dockerfile changed and it is built on "
                                      "r.test/osf/base:latest no longer; "
                                      "1 right@master: its files changed");
    assert_null(strstr(part(answer, "notes"), "'left'"));
    assert_non_null(strstr(part(answer, "notes"), "'right'"));
    json_decref(answer);
    world_done(&w);
}

/* Where another ref is: its files are known already. */
static void test_a_push_of_what_another_ref_is(void **state)
{
    struct world w;
    world_init(&w);
    world_image(&w, "a", SOURCE, "refs/heads/v*", "./mk");
    world_start(&w);
    world_board(&w, "one");
    struct seen_ref seen[] = {{"refs/heads/v2", "d1", true}, {"refs/heads/v1", "c1", true}};
    world_begin(&w, 1);
    model_on_refs(w.m, SOURCE, seen, 2);
    world_end(&w);
    world_settle(&w, NULL);
    struct what_if_question q = {.kind = WHAT_IF_PUSH, .source = "a", .ref = "v1", .commit = "v2"};
    json_t *answer = ask(&w, &q);
    assert_string_equal(told(answer), "1 a@v1: its files changed");
    assert_string_equal(part(answer, "notes"), "[]");
    int64_t last = last_build(&w);
    world_see(&w, SOURCE, "refs/heads/v1", "d1");
    expect_builds(&w, answer, last, NULL);
    json_decref(answer);
    q.commit = "none";
    refused(&w, &q, -ENOENT, "'none' is neither a ref of");
    q = (struct what_if_question){.kind = WHAT_IF_PUSH, .source = "a", .commit = REAL};
    refused(&w, &q, -EINVAL, "which ref moves to");
    q.ref = "v1";
    strvec_add(&q.paths, "a");
    refused(&w, &q, -EINVAL, "no paths are needed");
    strvec_done(&q.paths);
    world_done(&w);
}

/* A .dockerignore is a mirror's to read. */
static void test_a_push_of_what_is_ignored(void **state)
{
    struct world w;
    world_of(&w);
    json_t *answer = ask_push(&w, OTHER, "left/docs");
    assert_string_equal(told(answer), "1 left@master: its files changed");
    assert_non_null(strstr(part(answer, "notes"), "a .dockerignore in 'left'"));
    json_decref(answer);
    mirror = some_mirror;
    answer = ask_push(&w, OTHER, "left/docs");
    assert_string_equal(told(answer), "");
    assert_string_equal(part(answer, "notes"), "[]");
    json_decref(answer);
    answer = ask_push(&w, OTHER, "left/main.c");
    assert_string_equal(told(answer), "1 left@master: its files changed");
    json_decref(answer);
    answer = ask_push(&w, OTHER, "left/Dockerfile");
    mirror = NULL;
    assert_string_equal(told(answer), "1 left@master: its Dockerfile changed");
    json_decref(answer);
    world_done(&w);
}

static void test_what_cannot_be_asked(void **state)
{
    struct world w;
    world_of(&w);
    struct what_if_question q = {.kind = WHAT_IF_PUSH, .source = "nobody"};
    refused(&w, &q, -ENOENT, "no source or image 'nobody'");
    q = (struct what_if_question){.kind = WHAT_IF_PUSH, .source = SOURCE, .ref = "next"};
    refused(&w, &q, -ENOENT, "refs/heads/next");
    q = (struct what_if_question){.kind = WHAT_IF_BASE, .reference = "debian:12"};
    refused(&w, &q, -ENOENT, "nothing is built on docker.io/library/debian:12");
    q = (struct what_if_question){
        .kind = WHAT_IF_BASE,
        .reference = "a@sha256:0000000000000000000000000000000000000000000000000000000000000000"};
    refused(&w, &q, -EINVAL, "pinned by its digest");
    q = (struct what_if_question){.kind = WHAT_IF_BOARD, .board = "two"};
    refused(&w, &q, -ENOENT, "no board 'two'");
    world_done(&w);
}

static void test_a_base_of_ours(void **state)
{
    struct world w;
    world_of(&w);
    struct what_if_question q = {.kind = WHAT_IF_BASE, .reference = "r.test/osf/base"};
    json_t *answer = ask(&w, &q);
    assert_string_equal(told(answer),
                        "1 base@master: a person asked for it; "
                        "2 left@master: base r.test/osf/base:latest has new content; "
                        "2 right@master: base r.test/osf/base:latest has new content");
    json_decref(answer);
    world_done(&w);
}

static void resolve(struct world *w, const char *digest)
{
    struct base_child child = {PLATFORM_AMD64, digest};
    world_begin(w, 1);
    model_on_base(w->m, "docker.io/library/debian:12", digest, &child, 1, false);
    world_end(w);
}

static void test_a_base_from_outside(void **state)
{
    struct world w;
    world_init(&w);
    world_image(&w, "tool", SOURCE, MASTER, NULL);
    world_start(&w);
    world_board(&w, "one");
    world_see(&w, SOURCE, MASTER, "c1");
    world_inspect(&w, "FROM debian:12\n");
    resolve(&w, "sha256:1111111111111111111111111111111111111111111111111111111111111111");
    world_settle(&w, NULL);
    assert_string_equal(world_track_state(&w, "tool@master"), "published");
    int64_t last = last_build(&w);
    struct what_if_question q = {.kind = WHAT_IF_BASE, .reference = "debian:12"};
    json_t *answer = ask(&w, &q);
    assert_string_equal(told(answer), "1 tool@master: base debian:12 has new content");
    resolve(&w, "sha256:2222222222222222222222222222222222222222222222222222222222222222");
    expect_builds(&w, answer, last, NULL);
    json_decref(answer);
    world_done(&w);
}

/* ---- another farm.yaml ---- */

/* The world's farm once more, with base's script and an image more. */
static struct farm *another_farm(const char *script, bool more)
{
    struct world other;
    world_init(&other);
    world_image(&other, "base", SOURCE, MASTER, script);
    world_image(&other, "left", OTHER, MASTER, NULL);
    world_image(&other, "right", OTHER, MASTER, NULL);
    if (more)
        world_image(&other, "more", OTHER, MASTER, "./mk");
    else
        world_image(&other, "alone", OTHER, MASTER, "./mk");
    VEC_FOREACH (&other.farm->images, image)
        if (!str_eq(image->name, "base") && !str_eq(image->name, "more"))
            str_replace(&image->context, image->name);
    farm_sort(other.farm);
    return other.farm;
}

static void test_another_farm(void **state)
{
    struct world w;
    world_of(&w);
    struct what_if_question q = {.kind = WHAT_IF_CONFIG, .farm = another_farm("./other", true)};
    json_t *answer = ask(&w, &q);
    assert_string_equal(part(answer, "images"),
                        "{\"added\":[\"more\"],\"removed\":[\"alone\"],\"changed\":[\"base\"]}");
    assert_non_null(strstr(told(answer), "1 base@master: its script changed"));
    assert_non_null(strstr(told(answer), "1 more@master: never built before"));
    assert_non_null(strstr(told(answer), "2 left@master: base r.test/osf/base:latest has new"));
    assert_non_null(strstr(part(answer, "tracks"),
                           "{\"track\":\"alone@master\",\"before\":{\"state\":\"published\""));
    assert_non_null(strstr(part(answer, "tracks"), "\"after\":null"));
    json_decref(answer);
    world_done(&w);
}

/* What was built once with these inputs is settled, though nothing refers to it now. */
static void test_a_change_taken_back(void **state)
{
    struct world w;
    world_of(&w);
    struct farm *first = w.farm, *second = another_farm("./other", false);
    world_begin(&w, 1);
    model_on_config(w.m, second);
    world_end(&w);
    w.farm = second;
    assert_int_equal(world_settle(&w, FROM), 3);
    int64_t last = last_build(&w);
    struct what_if_question q = {.kind = WHAT_IF_CONFIG, .farm = another_farm("./mk", false)};
    json_t *answer = ask(&w, &q);
    assert_int_equal(number(answer, "jobs"), 0);
    assert_int_equal(json_array_size(json_object_get(answer, "builds")), 3);
    assert_non_null(strstr(part(answer, "builds"), "\"done_before\":true"));
    world_begin(&w, 1);
    model_on_config(w.m, first);
    world_end(&w);
    w.farm = first;
    expect_builds(&w, answer, last, FROM);
    farm_free(second);
    json_decref(answer);
    world_done(&w);
}

/* Two images that claim one tag. */
static void test_a_conflict_is_foretold(void **state)
{
    struct world w;
    world_of(&w);
    struct farm *farm = another_farm("./mk", true);
    VEC_FOREACH (&farm->images, image)
        if (str_eq(image->name, "more"))
            str_replace(&image->repository, "r.test/osf/base");
    struct what_if_question q = {.kind = WHAT_IF_CONFIG, .farm = farm};
    json_t *answer = ask(&w, &q);
    assert_non_null(strstr(part(answer, "tracks"), "\"state\":\"conflict\""));
    assert_non_null(strstr(part(answer, "tracks"), "claimed by base@master too"));
    json_decref(answer);
    world_done(&w);
}

/* ---- boards ---- */

static void test_a_lost_board(void **state)
{
    struct world w;
    world_of(&w);
    world_board(&w, "two");
    struct what_if_question q = {.kind = WHAT_IF_BOARD, .board = "two"};
    json_t *answer = ask(&w, &q);
    assert_string_equal(part(answer, "unserved"), "[]");
    assert_string_equal(part(answer, "delayed"), "[]");
    assert_string_equal(part(answer, "remaining"),
                        "[{\"platform\":\"linux/amd64\",\"boards\":[\"one\"]}]");
    json_decref(answer);
    world_see(&w, SOURCE, MASTER, "c2");
    world_inspect(&w, NULL);
    q.board = "one"; /* whose poll was open */
    answer = ask(&w, &q);
    json_t *job = json_array_get(json_object_get(answer, "interrupted"), 0);
    assert_int_equal(json_array_size(json_object_get(answer, "interrupted")), 1);
    assert_string_equal(json_string_value(json_object_get(job, "track")), "base@master");
    assert_string_equal(json_string_value(json_object_get(job, "board")), "two");
    assert_true(number(job, "without_ms") > 0);
    assert_true(number(job, "ends_ms") >= number(job, "without_ms"));
    assert_int_equal(number(answer, "under_way"), 1);
    assert_string_equal(part(answer, "tracks"), "[]");
    json_decref(answer);
    world_done(&w);
}

static void test_the_only_board(void **state)
{
    struct world w;
    world_of(&w);
    struct what_if_question q = {.kind = WHAT_IF_BOARD, .board = "one"};
    json_t *answer = ask(&w, &q);
    const char *unserved = part(answer, "unserved");
    assert_non_null(strstr(unserved, "\"platform\":\"linux/amd64\""));
    assert_non_null(strstr(unserved, "\"alone@master\""));
    json_decref(answer);
    world_see(&w, SOURCE, MASTER, "c2");
    world_inspect(&w, NULL);
    struct wire_poll_response got = world_poll(&w, "one");
    answer = ask(&w, &q);
    assert_non_null(strstr(part(answer, "interrupted"), "\"board\":null"));
    assert_non_null(strstr(part(answer, "interrupted"), "board one is offline"));
    assert_non_null(strstr(part(answer, "tracks"), "\"state\":\"building\""));
    /* what would have followed is not done either */
    assert_int_equal(json_array_size(json_object_get(answer, "delayed")), 2);
    assert_non_null(strstr(part(answer, "delayed"), "\"track\":\"left@master\""));
    assert_non_null(strstr(part(answer, "delayed"), "what it follows from"));
    assert_string_equal(part(answer, "remaining"),
                        "[{\"platform\":\"linux/amd64\",\"boards\":[]}]");
    json_decref(answer);
    wire_poll_response_done(&got);
    world_done(&w);
}

/* ---- what is under way, what holds ---- */

static void test_what_is_under_way_ends_first(void **state)
{
    struct world w;
    world_of(&w);
    world_see(&w, SOURCE, MASTER, "c2");
    world_inspect(&w, NULL);
    struct wire_poll_response got = world_poll(&w, "one");
    assert_int_equal(got.leases.n, 1);
    json_t *answer = ask_push(&w, "alone", NULL);
    assert_string_equal(told(answer), "1 alone@master: its files changed");
    assert_int_equal(number(answer, "under_way"), 1);
    assert_true(number(answer, "rest_ms") > 0);
    json_decref(answer);
    wire_poll_response_done(&got);
    world_done(&w);
}

/* A copy that is loaded and started decides nothing. */
static void test_a_copy_is_at_rest(void **state)
{
    struct world w;
    world_of(&w);
    struct model_copy copy = {0};
    model_copy_take(w.m, &copy);
    struct model *real = w.m;
    struct model_hooks hooks = {NULL, NULL};
    w.m = model_new(w.farm, &hooks);
    model_copy_load(&copy, w.m);
    model_turn_begin(w.m, &w.turn, w.mono, w.wall);
    model_start(w.m);
    model_turn_end(w.m);
    assert_int_equal(w.turn.delta.changes.n, 0);
    assert_int_equal(w.turn.effects.n, 0);
    json_t *a = view_tracks(real), *b = view_tracks(w.m);
    assert_true(json_equal(a, b));
    json_decref(a);
    json_decref(b);
    turn_done(&w.turn);
    model_copy_done(&copy);
    model_free(w.m);
    w.m = real;
    world_done(&w);
}

/* ---- on a thread of its own ---- */

static void *run_on_thread(void *what)
{
    what_if_run(what);
    return NULL;
}

/* The run shares nothing with the model but the farm: a thread sanitizer has nothing to say. */
static void test_beside_the_farm(void **state)
{
    struct world w;
    struct what_if *what = NULL;
    struct err err = ERR_INIT;
    pthread_t thread;
    world_of(&w);
    struct what_if_question q = {.kind = WHAT_IF_PUSH, .source = SOURCE};
    assert_int_equal(what_if_new(w.m, &q, NULL, &what, &err), 0);
    assert_int_equal(pthread_create(&thread, NULL, run_on_thread, what), 0);
    world_see(&w, SOURCE, MASTER, "c2");
    world_settle(&w, FROM);
    assert_int_equal(pthread_join(thread, NULL), 0);
    json_t *answer = what_if_answer(what);
    assert_int_equal(json_array_size(json_object_get(answer, "builds")), 3);
    json_decref(answer);
    what_if_cancel(what);
    what_if_run(what);
    answer = what_if_answer(what);
    assert_int_equal(json_array_size(json_object_get(answer, "builds")), 0);
    json_decref(answer);
    what_if_free(what);
    world_done(&w);
}

/* ---- farms at random ---- */

#define FARMS  100
#define IMAGES 9

static unsigned next_random(unsigned *seed)
{
    *seed = *seed * 1103515245 + 12345;
    return *seed >> 16;
}

/* Each image is built on one or two that come before it, or on nothing; three upstreams have them all. */
static void random_farm(struct world *w, unsigned *seed)
{
    world_init(w);
    for (unsigned i = 0; i < IMAGES; i++) {
        cleanup_free char *name = xasprintf("image%u", i);
        cleanup_free char *source = xasprintf("https://git.test/%u.git", next_random(seed) % 3);
        struct farm_image *image = world_image(w, name, source, MASTER, NULL);
        static const char *const args[] = {"ONE", "TWO"};
        for (unsigned a = 0; a < 2; a++) {
            unsigned base = next_random(seed) % (i + 1);
            char *value =
                base == i ? xstrdup("scratch") : xasprintf("r.test/osf/image%u:latest", base);
            vec_push(&image->args, (struct farm_pair){xstrdup(args[a]), value});
        }
    }
    world_start(w);
    world_board(w, "one");
    for (unsigned s = 0; s < 3; s++) {
        cleanup_free char *source = xasprintf("https://git.test/%u.git", s);
        world_see(w, source, MASTER, "c1");
    }
}

static void test_random_farms(void **state)
{
    static const char dockerfile[] =
        "ARG ONE\nARG TWO\nFROM ${TWO} AS two\nFROM ${ONE}\nCOPY --from=two /a /b\n";
    size_t builds = 0;
    for (unsigned farm = 1; farm <= FARMS; farm++) {
        unsigned seed = farm;
        struct world w;
        random_farm(&w, &seed);
        world_settle(&w, dockerfile);
        for (int pushes = 0; pushes < 3; pushes++) {
            cleanup_free char *source =
                xasprintf("https://git.test/%u.git", next_random(&seed) % 3);
            cleanup_free char *commit = xasprintf("d%u.%d", farm, pushes);
            int64_t last = last_build(&w);
            if (!model_ref_commit(w.m, source, MASTER))
                continue;
            json_t *answer = ask_push(&w, source, NULL);
            world_see(&w, source, MASTER, commit);
            expect_builds(&w, answer, last, dockerfile);
            builds += json_array_size(json_object_get(answer, "builds"));
            json_decref(answer);
        }
        world_done(&w);
    }
    assert_true(builds > FARMS * IMAGES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_push_ripples),
        cmocka_unit_test(test_more_jobs_than_slots),
        cmocka_unit_test(test_a_push_of_some_paths),
        cmocka_unit_test(test_a_push_of_a_commit_that_there_is),
        cmocka_unit_test(test_a_push_of_what_another_ref_is),
        cmocka_unit_test(test_a_push_of_what_is_ignored),
        cmocka_unit_test(test_what_cannot_be_asked),
        cmocka_unit_test(test_a_base_of_ours),
        cmocka_unit_test(test_a_base_from_outside),
        cmocka_unit_test(test_another_farm),
        cmocka_unit_test(test_a_change_taken_back),
        cmocka_unit_test(test_a_conflict_is_foretold),
        cmocka_unit_test(test_a_lost_board),
        cmocka_unit_test(test_the_only_board),
        cmocka_unit_test(test_what_is_under_way_ends_first),
        cmocka_unit_test(test_a_copy_is_at_rest),
        cmocka_unit_test(test_beside_the_farm),
        cmocka_unit_test(test_random_farms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
