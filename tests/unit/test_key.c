/* The key of a job (rules 0.2 and 0.3): what is in it, one input after another, and what is not. */
#include "common/digest.h"
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"
#include "tests/lib/model_steps.h"

#include <jansson.h>

#define BASES "https://git.test/bases.git"
#define APPS  "https://git.test/apps.git"
#define APP   "app@master"
#define FILES "sha256:c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0"
#define OTHER "sha256:c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1"
#define CHILD "sha256:d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0"
#define NEWER "sha256:d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1"
/* of TEXT, and of what the base's job makes */
#define TEXT_DIGEST "sha256:110bd4d41e2ce623621e385f657588dcb38b19beb41f39adc1571f5ccc7e30d2"
#define BUILT       "sha256:328d4cd10eafa5f9fec1399697101f5da2dc98164f6849c42ffb4b9f106db9bc"
#define TEXT                                                                                       \
    "ARG V\nFROM r.test/osf/base:latest AS slim\nCOPY --from=debian:12 /etc /etc\n"                \
    "FROM slim\nRUN echo $V\n"

static const struct slot *slot(struct world *w)
{
    const struct slot *s = track_find(w->m, APP)->slots[PLATFORM_AMD64];
    assert_int_equal(s->state, SLOT_READY);
    return s;
}

/* A commit of APPS is seen and read. */
static void push_files(struct world *w, const char *commit, const char *id, const char *dockerfile,
                       int64_t time)
{
    struct context_facts facts = {
        .exists = true, .id = id, .dockerfile_text = dockerfile, .time = time, .size = 10};
    world_see(w, APPS, WORLD_MASTER, commit);
    struct effect e = world_take(w, EFFECT_INSPECT);
    world_begin(w, 1);
    model_on_context(w->m, e.source, e.commit, e.path, e.dockerfile, &facts);
    world_end(w);
    effect_done(&e);
}

static void resolve(struct world *w, const char *digest)
{
    struct effect e = world_take(w, EFFECT_RESOLVE_BASE);
    struct base_child child = {PLATFORM_AMD64, digest};
    world_begin(w, 1);
    model_on_base(w->m, e.reference, digest, &child, 1, false);
    world_end(w);
    effect_done(&e);
}

static void add_pair(farm_pairs *pairs, const char *name, const char *value)
{
    vec_push(pairs, (struct farm_pair){xstrdup(name), xstrdup(value)});
}

/* An app that has every input at something else than its default, built on a base of ours and one from outside. */
static void full_example(struct world *w)
{
    world_init(w);
    world_image(w, "base", BASES, WORLD_MASTER, "./mk");
    struct farm_image *app = world_image(w, "app", APPS, WORLD_MASTER, NULL);
    app->target = xstrdup("slim");
    add_pair(&app->args, "V", "1 \"é\"");
    app->has_cmd = app->has_entrypoint = true;
    strvec_add(&app->cmd, "serve");
    strvec_add(&app->cmd, "--all");
    strvec_add(&app->entrypoint, "/init");
    add_pair(&app->env, "PATH", "/bin");
    add_pair(&app->env, "HOME", "/srv");
    add_pair(&app->labels, "org.test.ref", "$branch");
    app->workdir = xstrdup("/srv");
    app->user = xstrdup("nobody");
    app->test = xstrdup("true");
    app->compression = FARM_COMPRESSION_ZSTD;
    app->emulated = true;
    world_start(w);
    world_board(w, "one");
    world_push(w, BASES, "b1", NULL);
    world_settle(w, NULL);
    push_files(w, "a1", FILES, TEXT, 1600000000);
    resolve(w, CHILD);
    struct err err = ERR_INIT;
    world_begin(w, 1);
    assert_int_equal(model_on_rebuild(w->m, APP, NULL, false, &err), 0);
    world_end(w);
    world_build(w, "one", "app", "x");
    world_settle(w, NULL);
    world_is(w, APP, "published", "published");
}

/* One built from a script, of which farm.yaml says no more than it must. */
static void least_example(struct world *w)
{
    world_init(w);
    world_image(w, "app", APPS, WORLD_MASTER, "./mk");
    world_start(w);
    world_board(w, "one");
    push_files(w, "a1", FILES, NULL, 1600000000);
    world_settle(w, NULL);
}

/* ---- the list, to the letter: whoever changes it rebuilds every farm ---- */

/* The list of the slot is this one, with ' for ". */
static void expect_list(struct world *w, const char *list, const char *key)
{
    cleanup_free char *text = xstrdup(slot_inputs(slot(w)));
    for (char *c = text; *c; c++)
        if (*c == '"')
            *c = '\'';
    assert_string_equal(text, list);
    assert_string_equal(slot(w)->key, key);
    assert_string_equal(slot(w)->job->key, key);
    assert_string_equal(slot(w)->job->inputs, slot_inputs(slot(w))); /* stored, for "why" */
}

static void test_the_list_of_a_full_example(void **state)
{
    struct world w;
    full_example(&w);
    expect_list(&w,
                "[['version',1],['repository','r.test/osf/app'],['platform','linux/amd64'],"
                "['kind','dockerfile'],['dockerfile','" TEXT_DIGEST "'],['target','slim'],"
                "['context','" FILES "'],['base r.test/osf/base:latest','" BUILT "'],"
                "['base docker.io/library/debian:12','" CHILD "'],['argument V','1 \\'é\\''],"
                "['cmd',['serve','--all']],['entrypoint',['/init']],['env HOME','/srv'],"
                "['env PATH','/bin'],['label org.test.ref','master'],['workdir','/srv'],"
                "['user','nobody'],['test','true'],['compression','zstd'],['emulated',true],"
                "['epoch',1600000000],['rebuild',1]]",
                "sha256:76e569984f793007dffa58f5d3a5c9ea2e13119e72857f139e60d5297748f6d7");
    world_done(&w);
}

/* What is at its default is left out: the key is what it was before there was such an input. */
static void test_the_list_of_the_least_example(void **state)
{
    struct world w;
    least_example(&w);
    expect_list(&w,
                "[['version',1],['repository','r.test/osf/app'],['platform','linux/amd64'],"
                "['kind','rootfs'],['script','./mk'],['context','" FILES "'],['epoch',1600000000]]",
                "sha256:03da2fe4ab5253b4db7e480ccefb8f69e720017a0c8483d0d50a403abcb2ade2");
    world_done(&w);
}

/* ---- each input ---- */

/* The names of the inputs that differ between two lists, "a, b". The caller frees it. */
static char *differing(const char *before, const char *after)
{
    struct strbuf names = {0};
    json_t *lists[] = {json_loads(before, 0, NULL), json_loads(after, 0, NULL)}, *pair, *other;
    for (int side = 0; side < 2; side++) {
        size_t i, k;
        json_array_foreach (lists[side], i, pair) {
            const char *name = json_string_value(json_array_get(pair, 0));
            bool there = false, same = false;
            json_array_foreach (lists[!side], k, other) {
                if (!str_eq(json_string_value(json_array_get(other, 0)), name))
                    continue;
                there = true;
                same = json_equal(pair, other);
            }
            if (!same && !(side && there)) /* what both have is told once */
                strbuf_addf(&names, "%s%s", names.n ? ", " : "", name);
        }
    }
    json_decref(lists[0]);
    json_decref(lists[1]);
    return names.n ? strbuf_steal(&names) : xstrdup("");
}

static void set_target(struct farm_image *i)
{
    str_replace(&i->target, NULL);
}
static void set_argument(struct farm_image *i)
{
    str_replace(&i->args.items[0].value, "2");
}
static void set_cmd(struct farm_image *i)
{
    strvec_add(&i->cmd, "--more");
}
static void set_empty_cmd(struct farm_image *i)
{
    strvec_done(&i->cmd);
}
static void set_no_cmd(struct farm_image *i)
{
    strvec_done(&i->cmd);
    i->has_cmd = false;
}
static void set_entrypoint(struct farm_image *i)
{
    str_replace(&i->entrypoint.items[0], "/sbin/init");
}
static void set_env(struct farm_image *i)
{
    str_replace(&i->env.items[0].value, "/sbin");
}
static void set_label(struct farm_image *i)
{
    str_replace(&i->labels.items[0].value, "x");
}
static void set_workdir(struct farm_image *i)
{
    str_replace(&i->workdir, "/");
}
static void set_user(struct farm_image *i)
{
    str_replace(&i->user, NULL);
}
static void set_test(struct farm_image *i)
{
    str_replace(&i->test, "false");
}
static void set_compression(struct farm_image *i)
{
    i->compression = FARM_COMPRESSION_GZIP;
}
static void set_media_type(struct farm_image *i)
{
    i->compression = FARM_COMPRESSION_GZIP;
    i->media_type = FARM_MEDIA_DOCKER;
}
static void set_emulated(struct farm_image *i)
{
    i->emulated = false;
}
static void set_repository(struct farm_image *i)
{
    str_replace(&i->repository, "r.test/osf/other");
}
static void set_kind(struct farm_image *i)
{
    i->kind = FARM_KIND_ROOTFS;
    i->script = xstrdup("./mk");
    str_replace(&i->dockerfile, NULL);
    str_replace(&i->target, NULL);
}

static void test_each_setting_that_is_an_input(void **state)
{
    static const struct {
        void (*change)(struct farm_image *);
        const char *inputs;
    } cases[] = {
        {set_target, "target"},
        {set_argument, "argument V"},
        {set_cmd, "cmd"},
        {set_empty_cmd, "cmd"}, /* an empty one is not none */
        {set_no_cmd, "cmd"},
        {set_entrypoint, "entrypoint"},
        {set_env, "env PATH"},
        {set_label, "label org.test.ref"},
        {set_workdir, "workdir"},
        {set_user, "user"},
        {set_test, "test"},
        {set_compression, "compression"},
        {set_media_type, "compression, media type"},
        {set_emulated, "emulated"},
        {set_repository, "repository"},
        {set_kind, "kind, dockerfile, target, base r.test/osf/base:latest, "
                   "base docker.io/library/debian:12, script"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct world w;
        full_example(&w);
        cleanup_free char *key = xstrdup(slot(&w)->key), *inputs = xstrdup(slot_inputs(slot(&w)));
        cases[i].change(world_find_image(&w, "app"));
        world_reload(&w);
        if (world_asked(&w, EFFECT_INSPECT)) /* another Dockerfile, or none, is asked for */
            push_files(&w, "a1", FILES, NULL, 1600000000);
        cleanup_free char *names = differing(inputs, slot_inputs(slot(&w)));
        assert_string_equal(names, cases[i].inputs);
        assert_string_not_equal(slot(&w)->key, key);
        assert_string_equal(world_text(&w, APP, "why", "code"), "input-changed");
        world_done(&w);
    }
}

/* What upstream, the bases and people change. */
static void test_each_input_that_no_setting_is(void **state)
{
    struct err err = ERR_INIT;
    struct world w;
    full_example(&w);
    const char *expected[] = {"context, epoch", "dockerfile, base docker.io/library/debian:12",
                              "base r.test/osf/base:latest", "base docker.io/library/debian:12",
                              "rebuild"};
    for (int i = 0; i < 5; i++) {
        cleanup_free char *key = xstrdup(slot(&w)->key), *inputs = xstrdup(slot_inputs(slot(&w)));
        if (i == 0) { /* files that were never seen have their own date */
            push_files(&w, "a2", OTHER, TEXT, 1600000001);
        } else if (i == 1) {
            push_files(&w, "a3", OTHER, "FROM r.test/osf/base:latest AS slim\n", 1700000000);
        } else if (i == 2) {
            world_push(&w, BASES, "b2", NULL);
            world_build(&w, "one", "base", "new");
            world_publish(&w);
        } else if (i == 3) {
            push_files(&w, "a4", OTHER, TEXT, 1700000000);
            world_settle(&w, NULL);
            str_replace(&key, slot(&w)->key);
            str_replace(&inputs, slot_inputs(slot(&w)));
            world_wait(&w, w.farm->base_poll_ms);
            resolve(&w, NEWER);
        } else {
            world_begin(&w, 1);
            assert_int_equal(model_on_rebuild(w.m, APP, NULL, false, &err), 0);
            world_end(&w);
        }
        cleanup_free char *names = differing(inputs, slot_inputs(slot(&w)));
        assert_string_equal(names, expected[i]);
        assert_string_not_equal(slot(&w)->key, key);
        assert_int_equal(world_settle(&w, NULL), 1);
    }
    world_done(&w);
}

/* The script of a root file system, its variant and its platform; nothing else differs between their slots. */
static void test_script_variant_and_platform(void **state)
{
    struct world w;
    world_init(&w);
    struct farm_image *app = world_image(&w, "app", APPS, WORLD_MASTER, "./mk");
    strvec_add(&app->variants, "a");
    strvec_add(&app->variants, "b");
    str_replace(&app->tags.items[0], "$variant");
    vec_push(&app->platforms, PLATFORM_ARM64);
    world_start(&w);
    push_files(&w, "a1", FILES, NULL, 1600000000);
    const struct track *a = track_find(w.m, "app@master:a"), *b = track_find(w.m, "app@master:b");
    cleanup_free char *inputs = xstrdup(slot_inputs(a->slots[PLATFORM_AMD64]));
    cleanup_free char *variant = differing(inputs, slot_inputs(b->slots[PLATFORM_AMD64]));
    cleanup_free char *platform = differing(inputs, slot_inputs(a->slots[PLATFORM_ARM64]));
    assert_string_equal(variant, "variant");
    assert_string_equal(platform, "platform");
    str_replace(&world_find_image(&w, "app")->script, "./mk --more");
    world_reload(&w);
    cleanup_free char *script = differing(inputs, slot_inputs(a->slots[PLATFORM_AMD64]));
    assert_string_equal(script, "script");
    world_done(&w);
}

/* ---- what is not in it ---- */

static void test_what_is_not_in_it_builds_nothing(void **state)
{
    struct world w;
    full_example(&w);
    cleanup_free char *key = xstrdup(slot(&w)->key), *inputs = xstrdup(slot_inputs(slot(&w)));
    struct farm_image *app = world_find_image(&w, "app");
    app->timeout_ms = 1;
    app->priority = 100;
    app->deadline_ms = 1;
    app->enforce = true;
    app->history = 7;
    strvec_add(&app->tags, "another"); /* also what annotations an index would have */
    struct farm_board_rule rule = {.pattern = xstrdup("*"), .slots = 1};
    strvec_add(&rule.labels, "slow");
    vec_push(&w.farm->boards, rule);
    w.farm->keep = 9;
    w.farm->lease_term_ms = w.farm->log_limit = w.farm->context_limit = w.farm->timeout_ms =
        1000000;
    world_reload(&w);
    world_board(&w, "two");                        /* another board, with another buildah */
    push_files(&w, "a2", FILES, TEXT, 1700000000); /* another commit with the same files */
    assert_int_equal(world_settle(&w, NULL), 0);
    assert_string_equal(slot_inputs(slot(&w)), inputs);
    assert_string_equal(slot(&w)->key, key);
    world_is(&w, APP, "published", "published");
    /* and what the farm's order of names is does not matter */
    struct farm_pair first = app->env.items[0];
    app->env.items[0] = app->env.items[1];
    app->env.items[1] = first;
    world_reload(&w);
    assert_string_equal(slot(&w)->key, key);
    world_done(&w);
}

/* A base of ours that is packed anew, or named by another manifest with the same content, changes no key. */
static void test_a_base_is_in_it_by_its_content(void **state)
{
    struct world w;
    full_example(&w);
    cleanup_free char *key = xstrdup(slot(&w)->key);
    cleanup_free char *before = xstrdup(slot(&w)->pins.items[0].digest);
    world_find_image(&w, "base")->compression = FARM_COMPRESSION_ZSTD;
    world_reload(&w);
    struct wire_poll_response got;
    struct wire_lease *lease = world_lease(&w, "one", "base", &got);
    char digest[DIGEST_SIZE];
    digest_of("zstd", 4, digest);
    world_succeed_as(&w, lease, digest, slot(&w)->pins.items[0].content);
    wire_poll_response_done(&got);
    assert_int_equal(world_settle(&w, NULL), 0);
    assert_string_not_equal(slot(&w)->pins.items[0].digest, before); /* it pulls the new one */
    assert_string_equal(slot(&w)->key, key);
    world_done(&w);
}

/* ---- SOURCE_DATE_EPOCH ---- */

static int64_t epoch_of(int64_t committed)
{
    struct world w;
    world_init(&w);
    world_image(&w, "app", APPS, WORLD_MASTER, "./mk");
    world_start(&w);
    world_board(&w, "one");
    push_files(&w, "a1", FILES, NULL, committed);
    struct wire_poll_response got;
    int64_t epoch = world_lease(&w, "one", "app", &got)->job.epoch;
    assert_int_equal(key_epoch(w.m, slot(&w)), epoch);
    wire_poll_response_done(&got);
    world_restart(&w);
    assert_int_equal(key_epoch(w.m, slot(&w)), epoch);
    world_done(&w);
    return epoch;
}

static void test_the_epoch_is_at_least_2000(void **state)
{
    assert_int_equal(epoch_of(0), 946684800);
    assert_int_equal(epoch_of(-1), 946684800);
    assert_int_equal(epoch_of(946684799), 946684800);
    assert_int_equal(epoch_of(946684801), 946684801);
    assert_int_equal(epoch_of(4102444800), 4102444800);
}

/* Files that come again have the date with which they were seen first, whoever committed them since. */
static void test_the_epoch_is_that_of_the_first_sight(void **state)
{
    struct world w;
    least_example(&w);
    push_files(&w, "a2", OTHER, NULL, 1500000000);
    assert_int_equal(key_epoch(w.m, slot(&w)), 1500000000);
    push_files(&w, "a3", FILES, NULL, 1700000000);
    assert_int_equal(key_epoch(w.m, slot(&w)), 1600000000);
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_list_of_a_full_example),
        cmocka_unit_test(test_the_list_of_the_least_example),
        cmocka_unit_test(test_each_setting_that_is_an_input),
        cmocka_unit_test(test_each_input_that_no_setting_is),
        cmocka_unit_test(test_script_variant_and_platform),
        cmocka_unit_test(test_what_is_not_in_it_builds_nothing),
        cmocka_unit_test(test_a_base_is_in_it_by_its_content),
        cmocka_unit_test(test_the_epoch_is_at_least_2000),
        cmocka_unit_test(test_the_epoch_is_that_of_the_first_sight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
