/* Retention tags and pruning (design section 8.4): a registry in memory that deletes every untagged manifest, children
 * of tagged indexes included, after every step. */
#include "common/digest.h"
#include "common/oci.h"
#include "daemon/model/objects.h"
#include "daemon/model/tagging.h"
#include "tests/lib/model_commands.h"
#include "tests/lib/model_steps.h"

#define SOURCE "https://git.test/a.git"
#define OTHER  "https://git.test/b.git"
#define MASTER "refs/heads/master"
#define TRACK  "base@master"
#define REPO   "r.test/osf/base"
#define DEBIAN "docker.io/library/debian"

static const char *const both[] = {"linux/amd64", "linux/arm64", NULL};

/* ---- the registry ---- */

struct manifest {
    char *repository, *digest;
    strvec children;
};

struct registry {
    VEC(struct manifest) manifests;
    VEC(struct effect_tag) tags; /* "repository:tag" -> digest */
    unsigned collected;
};

static struct manifest *find(struct registry *r, const char *repository, const char *digest)
{
    VEC_FOREACH (&r->manifests, m)
        if (str_eq(m->repository, repository) && str_eq(m->digest, digest))
            return m;
    return NULL;
}

static void push(struct registry *r, const char *repository, const char *digest)
{
    if (!find(r, repository, digest))
        vec_push(&r->manifests, (struct manifest){xstrdup(repository), xstrdup(digest), {0}});
}

static void push_index(struct registry *r, const struct effect *e)
{
    if (find(r, e->repository, e->digest))
        return;
    push(r, e->repository, e->digest);
    struct oci_index index = {0};
    struct err err = ERR_INIT;
    assert_int_equal(oci_index_parse(e->bytes, strlen(e->bytes), e->media_type, &index, &err), 0);
    VEC_FOREACH (&index.manifests, d) {
        assert_non_null(find(r, e->repository, d->digest));
        strvec_add(&find(r, e->repository, e->digest)->children, d->digest);
    }
    oci_index_done(&index);
}

static struct effect_tag *tag_of(struct registry *r, const char *repository, const char *tag)
{
    cleanup_free char *name = xasprintf("%s:%s", repository, tag);
    VEC_FOREACH (&r->tags, t)
        if (str_eq(t->tag, name))
            return t;
    vec_push(&r->tags, (struct effect_tag){.tag = steal_ptr(name)});
    return &r->tags.items[r->tags.n - 1];
}

static void put(struct registry *r, const char *repository, const char *tag, const char *digest)
{
    assert_non_null(find(r, repository, digest));
    str_replace(&tag_of(r, repository, tag)->digest, digest);
}

/* Somebody deletes the manifest, and so every tag on it. */
static void forget(struct registry *r, const char *digest)
{
    VEC_FOREACH (&r->tags, t)
        if (str_eq(t->digest, digest))
            str_replace(&t->digest, NULL);
    VEC_FOREACH (&r->manifests, m)
        if (str_eq(m->digest, digest))
            str_replace(&m->digest, "gone");
}

static bool tagged(struct registry *r, const struct manifest *m)
{
    VEC_FOREACH (&r->tags, t)
        if (str_eq(t->digest, m->digest) &&
            strncmp(t->tag, m->repository, strlen(m->repository)) == 0)
            return true;
    return false;
}

/* As `docker-registry garbage-collect --delete-untagged`: an index does not keep its children. */
static void collect(struct registry *r)
{
    for (size_t i = r->manifests.n; i-- > 0;) {
        struct manifest *m = &r->manifests.items[i];
        if (tagged(r, m))
            continue;
        free(m->repository);
        free(m->digest);
        strvec_done(&m->children);
        vec_remove(&r->manifests, i);
        r->collected++;
    }
}

/* No tag names an index that lacks a child; but for places that nothing needs any more. */
static void check_tags(struct registry *r)
{
    VEC_FOREACH (&r->tags, t)
        VEC_FOREACH (&r->manifests, m)
            if (!strstr(t->tag, ":" TAG_RESERVED) && str_eq(m->digest, t->digest))
                VEC_FOREACH (&m->children, c)
                    if (!find(r, m->repository, *c))
                        fail_msg("%s has lost %s", t->tag, *c);
}

/* What the store keeps, and what waiting jobs need, is there. */
static void check_kept(struct registry *r, struct model *m)
{
    for (struct publication *p = m->publications; p; p = p->hh.next) {
        if (p->state != PUBLICATION_VERIFIED)
            continue;
        assert_non_null(find(r, p->repository, p->digest));
        VEC_FOREACH (&p->child, c)
            assert_non_null(find(r, p->repository, c->digest));
    }
    for (struct job *j = m->jobs; j; j = j->hh.next)
        VEC_FOREACH (&j->pins, pin) {
            bool there = false;
            VEC_FOREACH (&r->manifests, it)
                there = there || str_eq(it->digest, *pin);
            if (!there)
                fail_msg("the job of %s has lost its base %s", j->track, *pin);
        }
}

static void registry_done(struct registry *r)
{
    VEC_FOREACH (&r->manifests, m) {
        free(m->repository);
        free(m->digest);
        strvec_done(&m->children);
    }
    vec_free(&r->manifests);
    VEC_FOREACH (&r->tags, t) {
        free(t->tag);
        free(t->digest);
    }
    vec_free(&r->tags);
}

/* ---- effects ---- */

static void retain(struct world *w, struct registry *r, const struct effect *e)
{
    const char *name = e->tags.items[0].tag;
    if (e->tags.items[0].index)
        push_index(r, e);
    bool there = find(r, e->repository, e->digest);
    if (there)
        put(r, e->repository, name, e->digest);
    world_begin(w, 1);
    if (there)
        model_on_retained(w->m, e->repository, name, e->digest);
    else
        model_on_retain_failed(w->m, e->repository, name, e->digest, PUBLISH_MISSING, "not there",
                               0);
    world_end(w);
}

static enum platform missing(struct registry *r, const struct effect *e)
{
    VEC_FOREACH (&e->children, c)
        if (!find(r, e->repository, c->digest))
            return c->platform;
    return PLATFORM_COUNT;
}

static void publish(struct world *w, struct registry *r, const struct effect *e)
{
    enum platform p = missing(r, e);
    if (e->step == PUBLISH_VERIFY)
        assert_int_equal(p, PLATFORM_COUNT);
    if (p == PLATFORM_COUNT && e->step != PUBLISH_CHILDREN)
        push_index(r, e);
    for (size_t i = 0; p == PLATFORM_COUNT && i < e->tags.n; i++)
        put(r, e->repository, e->tags.items[i].tag, e->tags.items[i].digest);
    world_begin(w, 1);
    if (p != PLATFORM_COUNT)
        model_on_publication_failed(w->m, e->publication, PUBLISH_CHILDREN, PUBLISH_MISSING, p,
                                    "not there", 0);
    else
        model_on_publication_step(w->m, e->publication, e->step);
    world_end(w);
}

/* Carries out one effect, collects, and checks. Returns false when there is none. */
static bool step(struct world *w, struct registry *r)
{
    for (size_t i = 0; i < w->todo.n; i++) {
        struct effect e = w->todo.items[i];
        if (e.kind != EFFECT_PUBLISH && e.kind != EFFECT_RETAIN)
            continue;
        vec_remove(&w->todo, i);
        if (e.kind == EFFECT_RETAIN)
            retain(w, r, &e);
        else
            publish(w, r, &e);
        effect_done(&e);
        collect(r);
        check_tags(r);
        check_kept(r, w->m);
        return true;
    }
    return false;
}

static void run(struct world *w, struct registry *r)
{
    while (step(w, r))
        ;
}

/* The lease's board pushes its output, which the registry keeps for as long as nothing collects. */
static void succeed(struct world *w, struct registry *r, const struct wire_lease *lease,
                    const char *content)
{
    char digest[DIGEST_SIZE];
    digest_of(content, strlen(content), digest);
    push(r, lease->job.repository, digest);
    world_succeed(w, lease, content);
    run(w, r);
}

static void finish(struct world *w, struct registry *r, const char *image, const char *platform)
{
    struct wire_poll_response got = world_poll(w, "one");
    VEC_FOREACH (&got.leases, lease)
        if (str_eq(lease->job.image, image) && (!platform || str_eq(lease->job.platform, platform)))
            succeed(w, r, lease, lease->job.key);
    wire_poll_response_done(&got);
    run(w, r);
}

static void see(struct world *w, const char *source, const char *commit)
{
    world_see(w, source, MASTER, commit);
    world_inspect(w, "FROM " REPO ":latest\n");
}

static struct farm_image *begin(struct world *w, struct registry *r)
{
    *r = (struct registry){0};
    world_init(w);
    w->platforms = both;
    return world_image(w, "base", SOURCE, MASTER, "./mk");
}

static struct farm_image *farm_image_of(struct world *w, const char *name)
{
    VEC_FOREACH (&w->farm->images, image)
        if (str_eq(image->name, name))
            return image;
    return NULL;
}

static void start(struct world *w)
{
    world_start(w);
    world_board(w, "one");
}

static void end(struct world *w, struct registry *r)
{
    registry_done(r);
    world_done(w);
}

/* How many retentions are asked for; the first is copied. */
static int asked(struct world *w, const struct effect **ret)
{
    int n = 0;
    VEC_FOREACH (&w->todo, e)
        if (e->kind == EFFECT_RETAIN && !n++ && ret)
            *ret = e;
    return n;
}

static int count_places(struct world *w, const char *kind)
{
    int n = 0;
    for (const struct retention *r = w->m->places; r; r = r->hh.next)
        n += str_eq(r->kind, kind);
    return n;
}

/* ---- tests ---- */

static void test_nothing_kept_is_collected(void **state)
{
    struct world w;
    struct registry r;
    begin(&w, &r);
    start(&w);
    for (int i = 0; i < 12; i++) {
        char commit[16];
        snprintf(commit, sizeof(commit), "c%d", i);
        see(&w, SOURCE, commit);
        finish(&w, &r, "base", NULL);
        assert_string_equal(world_track_state(&w, TRACK), "published");
        if (i % 3 == 0)
            world_restart(&w);
    }
    /* three are kept; the rings are of one more, and move */
    assert_int_equal(track_find(w.m, TRACK)->published.n, 3);
    assert_int_equal(count_places(&w, "linux/amd64"), 4);
    assert_int_equal(count_places(&w, "index"), 4);
    assert_true(r.collected > 0);
    /* the others are history */
    int past = 0;
    VEC_FOREACH (&w.rows, row)
        past += row->table == TABLE_PAST_PUBLICATION;
    assert_int_equal(past, 9);
    end(&w, &r);
}

static void test_a_child_is_kept_while_another_is_built(void **state)
{
    struct world w;
    struct registry r;
    struct farm_image *image = begin(&w, &r);
    vec_push(&image->platforms, PLATFORM_ARM64);
    start(&w);
    see(&w, SOURCE, "c1");
    finish(&w, &r, "base", "linux/amd64");
    collect(&r);
    assert_int_equal(r.manifests.n, 1);
    assert_string_equal(world_track_state(&w, TRACK), "building");
    finish(&w, &r, "base", "linux/arm64");
    assert_string_equal(world_track_state(&w, TRACK), "published");
    end(&w, &r);
}

static void test_a_child_that_was_collected_before_is_built_again(void **state)
{
    struct world w;
    struct registry r;
    begin(&w, &r);
    start(&w);
    see(&w, SOURCE, "c1");
    struct wire_poll_response got = world_poll(&w, "one");
    world_succeed(&w, &got.leases.items[0], "x"); /* and it is not there when it is to be kept */
    wire_poll_response_done(&got);
    run(&w, &r);
    assert_string_equal(world_track_state(&w, TRACK), "publishing");
    world_wait(&w, 5000); /* it is looked for again */
    run(&w, &r);
    assert_string_equal(world_track_state(&w, TRACK), "building");
    finish(&w, &r, "base", NULL);
    assert_string_equal(world_track_state(&w, TRACK), "published");
    end(&w, &r);
}

static void test_a_rollback_and_a_pin_survive(void **state)
{
    struct world w;
    struct registry r;
    begin(&w, &r);
    start(&w);
    see(&w, SOURCE, "c0");
    finish(&w, &r, "base", NULL);
    see(&w, SOURCE, "c1");
    finish(&w, &r, "base", NULL);
    assert_true(world_ask(&w, COMMAND_ROLLBACK, TRACK));
    run(&w, &r);
    const char *digest = tag_of(&r, REPO, "latest")->digest;
    for (int i = 2; i < 10;
         i++) { /* held: builds are not published, and their children come and go */
        char commit[16];
        snprintf(commit, sizeof(commit), "c%d", i);
        see(&w, SOURCE, commit);
        finish(&w, &r, "base", NULL);
        assert_string_equal(tag_of(&r, REPO, "latest")->digest, digest);
    }
    assert_true(world_ask(&w, COMMAND_RELEASE, TRACK));
    run(&w, &r);
    assert_string_equal(world_track_state(&w, TRACK), "published");
    end(&w, &r);
}

/* A dependent's job waits for a board while its base is published more often than publications are kept. It wants
 * arm64 and is superseded by no newer base, since farm.yaml freezes what it is built from: its ref does not move and its
 * base's tag is another's. */
static void test_a_waiting_jobs_base_stays(void **state)
{
    struct world w;
    struct registry r;
    begin(&w, &r);
    struct farm_image *app = world_image(&w, "app", OTHER, MASTER, NULL);
    app->platforms.items[0] = PLATFORM_ARM64;
    vec_push(&farm_image_of(&w, "base")->platforms, PLATFORM_ARM64);
    w.farm->keep = 1;
    start(&w);
    see(&w, SOURCE, "c0");
    finish(&w, &r, "base", NULL);
    see(&w, OTHER, "b0");
    /* the job of app is a person's wish by now: superseded twice, it may finish with what it has */
    track_find(w.m, "app@master")->superseded = 2;
    struct job *job = track_find(w.m, "app@master")->slots[PLATFORM_ARM64]->job;
    assert_int_equal(job->state, JOB_WANTED);
    cleanup_free char *pin = xstrdup(job->pins.items[0]);
    for (int i = 1; i < 6; i++) {
        char commit[16];
        snprintf(commit, sizeof(commit), "c%d", i);
        see(&w, SOURCE, commit);
        finish(&w, &r, "base", NULL);
        assert_int_equal(job->state, JOB_WANTED);
        assert_non_null(find(&r, REPO, pin));
    }
    assert_int_equal(track_find(w.m, TRACK)->published.n, 1);
    finish(&w, &r, "app", NULL);
    end(&w, &r);
}

static void test_more_are_kept_where_a_tag_stayed_behind(void **state)
{
    struct world w;
    struct registry r;
    struct farm_image *image = begin(&w, &r);
    w.farm->keep = 1;
    str_replace(&image->tags.items[0], "old");
    start(&w);
    see(&w, SOURCE, "c0");
    finish(&w, &r, "base", NULL);
    str_replace(&image->tags.items[0], "new");
    world_begin(&w, 1);
    model_on_config(w.m, w.farm);
    world_end(&w);
    run(&w, &r);
    for (int i = 1; i < 5; i++) {
        char commit[16];
        snprintf(commit, sizeof(commit), "c%d", i);
        see(&w, SOURCE, commit);
        finish(&w, &r, "base", NULL);
    }
    assert_int_equal(track_find(w.m, TRACK)->published.n, 2); /* what `old` names, and the last */
    end(&w, &r);
}

static void test_a_restart_asks_again_for_what_is_not_known_to_be_done(void **state)
{
    struct world w;
    struct registry r;
    begin(&w, &r);
    start(&w);
    see(&w, SOURCE, "c1");
    struct wire_poll_response got = world_poll(&w, "one");
    char digest[DIGEST_SIZE];
    digest_of("x", 1, digest);
    push(&r, REPO, digest);
    world_succeed(&w, &got.leases.items[0], "x");
    wire_poll_response_done(&got);
    assert_int_equal(asked(&w, NULL), 1);
    assert_string_equal(world_text(&w, TRACK, "reason", "code"), "retaining");
    world_restart(&w);
    assert_int_equal(asked(&w, NULL), 1);
    run(&w, &r);
    assert_string_equal(world_track_state(&w, TRACK), "published");
    world_restart(&w);
    assert_int_equal(w.todo.n, 0);
    end(&w, &r);
}

static void test_a_registry_that_is_away_is_asked_again(void **state)
{
    struct world w;
    struct registry r;
    begin(&w, &r);
    start(&w);
    see(&w, SOURCE, "c1");
    struct wire_poll_response got = world_poll(&w, "one");
    world_succeed(&w, &got.leases.items[0], "x");
    wire_poll_response_done(&got);
    const struct effect *e = NULL;
    assert_int_equal(asked(&w, &e), 1);
    world_begin(&w, 1);
    model_on_retain_failed(w.m, e->repository, e->tags.items[0].tag, e->digest, PUBLISH_AWAY,
                           "no route", 0);
    world_end(&w);
    assert_string_equal(world_text(&w, TRACK, "reason", "code"), "registry-away");
    world_wait(&w, 4000);
    assert_int_equal(asked(&w, NULL), 1);
    world_wait(&w, 1000);
    assert_int_equal(asked(&w, NULL), 2);
    end(&w, &r);
}

/* Seen `n` more commits, from number `from` on, each built and published. */
static void publish_more(struct world *w, struct registry *r, int from, int n)
{
    for (int i = from; i < from + n; i++) {
        char commit[16];
        snprintf(commit, sizeof(commit), "c%d", i);
        see(w, SOURCE, commit);
        finish(w, r, "base", NULL);
        assert_string_equal(world_track_state(w, TRACK), "published");
    }
}

/* The coordinator was killed with a PUT on its way, which lands when what it brought is needed no more. */
static void test_a_killed_coordinators_put_lands_late(void **state)
{
    struct world w;
    struct registry r;
    begin(&w, &r);
    w.farm->keep = 2;
    w.farm->registry_timeout_ms = 60000;
    start(&w);
    see(&w, SOURCE, "c0");
    struct wire_poll_response got = world_poll(&w, "one");
    char digest[DIGEST_SIZE];
    digest_of("x", 1, digest);
    push(&r, REPO, digest);
    world_succeed(&w, &got.leases.items[0], "x");
    wire_poll_response_done(&got);
    const struct effect *e = NULL;
    assert_int_equal(asked(&w, &e), 1);
    cleanup_free char *place = xstrdup(e->tags.items[0].tag);
    world_restart(&w);
    run(&w, &r);
    publish_more(&w, &r, 1, 3);
    push(&r, REPO, digest); /* a registry may keep it longer */
    put(&r, REPO, place, digest);
    publish_more(&w, &r, 4, 3);
    /* when it can land no more, the place is taken again */
    int places = count_places(&w, "linux/amd64");
    assert_true(str_eq(tag_of(&r, REPO, place)->digest, digest));
    world_wait(&w, 60000);
    publish_more(&w, &r, 7, 4);
    assert_int_equal(count_places(&w, "linux/amd64"), places);
    assert_false(str_eq(tag_of(&r, REPO, place)->digest, digest));
    end(&w, &r);
}

/* The PUT of an index was not answered, and its publication is superseded: the place is not the next one's. */
static void test_an_indexs_put_lands_late(void **state)
{
    struct world w;
    struct registry r;
    begin(&w, &r);
    w.farm->registry_timeout_ms = 60000;
    start(&w);
    publish_more(&w, &r, 0, 1);
    see(&w, SOURCE, "late");
    struct wire_poll_response got = world_poll(&w, "one");
    char digest[DIGEST_SIZE];
    digest_of("x", 1, digest);
    push(&r, REPO, digest);
    world_succeed(&w, &got.leases.items[0], "x");
    wire_poll_response_done(&got);
    struct effect e = {0};
    for (bool found = false;
         !found;) { /* the step that PUTs the index is the first one that is not done */
        for (size_t i = 0; i < w.todo.n && !found; i++)
            if (w.todo.items[i].kind == EFFECT_PUBLISH && w.todo.items[i].step == PUBLISH_INDEX) {
                e = w.todo.items[i];
                vec_remove(&w.todo, i);
                found = true;
            }
        if (!found)
            assert_true(step(&w, &r));
    }
    world_begin(&w, 1);
    model_on_publication_failed(w.m, e.publication, PUBLISH_INDEX, PUBLISH_AWAY, PLATFORM_COUNT,
                                "timed out", 0);
    world_end(&w);
    publish_more(&w, &r, 1, 2);
    push(&r, REPO, e.digest);
    put(&r, REPO, e.tags.items[0].tag, e.digest); /* now it lands */
    effect_done(&e);
    publish_more(&w, &r, 3, 1);
    end(&w, &r);
}

/* Found out when its publication looks for it, not when it is to be kept: once it is built again it has a place again. */
static void test_a_child_that_is_lost_has_no_place(void **state)
{
    struct world w;
    struct registry r;
    struct farm_image *image = begin(&w, &r);
    start(&w);
    publish_more(&w, &r, 0, 1);
    const struct track *t = track_find(w.m, TRACK);
    cleanup_free char *digest = xstrdup(t->last->child.items[0].digest);
    strvec_add(&image->tags, "new");
    world_begin(&w, 1);
    model_on_config(w.m, w.farm);
    world_end(&w);
    forget(&r, digest);
    for (int again = 0; again < 2; again++) {
        for (size_t i = 0; i < w.todo.n; i++) {
            struct effect e = w.todo.items[i];
            if (e.kind != EFFECT_PUBLISH)
                continue;
            vec_remove(&w.todo, i);
            assert_int_equal(e.step, PUBLISH_INDEX);
            publish(&w, &r, &e);
            effect_done(&e);
            break;
        }
        world_wait(&w, 5000);
    }
    assert_string_equal(world_track_state(&w, TRACK), "building");
    world_restart(&w); /* nothing that lacks it is published meanwhile */
    assert_string_equal(world_track_state(&w, TRACK), "building");
    struct wire_poll_response got = world_poll(&w, "one");
    push(&r, REPO, digest);
    world_succeed(&w, &got.leases.items[0], got.leases.items[0].job.key);
    wire_poll_response_done(&got);
    run(&w, &r);
    assert_string_equal(world_track_state(&w, TRACK), "published");
    bool kept = false;
    for (const struct retention *place = w.m->places; place; place = place->hh.next)
        kept = kept || str_eq(tag_of(&r, REPO, place->name)->digest, digest);
    assert_true(kept);
    end(&w, &r);
}

/* An audit finds a child's place empty. */
static void miss_place(struct world *w, const char *digest)
{
    for (const struct retention *place = w->m->places; place; place = place->hh.next) {
        if (!str_eq(place->digest, digest))
            continue;
        struct audited seen = {place->name, digest, NULL};
        struct err err = ERR_INIT;
        world_begin(w, 1);
        assert_int_equal(model_on_audit(w->m, REPO, &err), 0);
        model_on_audited(w->m, REPO, &seen, 1);
        world_end(w);
        return;
    }
    fail_msg("no place names %s", digest);
}

/* Built again it is what is published already: no tag moves, but the build has not ended before the registry keeps it. */
static void test_an_unchanged_build_waits_until_it_is_kept(void **state)
{
    struct world w;
    struct registry r;
    begin(&w, &r);
    start(&w);
    publish_more(&w, &r, 0, 1);
    const struct track *t = track_find(w.m, TRACK);
    cleanup_free char *digest = xstrdup(t->last->child.items[0].digest);
    forget(&r, digest);
    miss_place(&w, digest);
    for (int again = 0; again < 2; again++) {
        for (size_t i = 0; i < w.todo.n; i++) {
            struct effect e = w.todo.items[i];
            if (e.kind != EFFECT_RETAIN)
                continue;
            vec_remove(&w.todo, i);
            retain(&w, &r, &e);
            effect_done(&e);
            break;
        }
        world_wait(&w, 5000);
    }
    assert_string_equal(world_track_state(&w, TRACK), "building");
    struct wire_poll_response got = world_poll(&w, "one");
    push(&r, REPO, digest);
    world_succeed(&w, &got.leases.items[0], got.leases.items[0].job.key);
    wire_poll_response_done(&got);
    assert_string_equal(world_track_state(&w, TRACK), "publishing");
    assert_int_equal(t->reason.code, REASON_RETAINING);
    assert_true(build_active(t->current));
    world_restart(&w);
    t = track_find(w.m, TRACK);
    assert_int_equal(t->reason.code, REASON_RETAINING);
    run(&w, &r);
    assert_string_equal(world_track_state(&w, TRACK), "published");
    assert_int_equal(t->current->state, BUILD_UNCHANGED);
    end(&w, &r);
}

/* An outside base has that manifest for the first `n` of both platforms. */
static void base_has(struct world *w, struct registry *r, size_t n)
{
    char digest[DIGEST_SIZE], whole[DIGEST_SIZE];
    digest_of("manifest", 8, digest);
    digest_of(&n, sizeof(n), whole);
    push(r, DEBIAN, digest);
    put(r, DEBIAN, "12", digest);
    const struct base_child children[] = {{PLATFORM_AMD64, digest}, {PLATFORM_ARM64, digest}};
    world_begin(w, 1);
    model_on_base(w->m, DEBIAN ":12", whole, children, n, false);
    world_end(w);
}

/* Its build was given up, and nothing takes its place yet: nobody wants the job. The next build finds it out again. */
static void test_what_is_lost_of_a_superseded_build_is_not_built_for_it(void **state)
{
    struct world w;
    struct registry r = {0};
    world_init(&w);
    w.platforms = both;
    struct farm_image *image = world_image(&w, "base", SOURCE, MASTER, NULL);
    vec_push(&image->platforms, PLATFORM_ARM64);
    start(&w);
    world_see(&w, SOURCE, MASTER, "c1");
    world_inspect(&w, "FROM debian:12\n");
    base_has(&w, &r, 2);
    struct wire_poll_response got = world_poll(&w, "one");
    VEC_FOREACH (&got.leases, lease)
        if (str_eq(lease->job.platform, "linux/amd64"))
            world_succeed(&w, lease, "x"); /* and it is not there when it is to be kept */
    wire_poll_response_done(&got);
    run(&w, &r);
    world_ask(&w, COMMAND_RETIRE, TRACK);
    base_has(&w, &r, 1);
    world_ask(&w, COMMAND_WAKE, TRACK);
    assert_string_equal(world_track_state(&w, TRACK), "blocked");
    world_wait(&w, 5000);
    run(&w, &r);
    const struct track *t = track_find(w.m, TRACK);
    const struct job *j = t->slots[PLATFORM_AMD64]->job;
    assert_int_equal(t->current->state, BUILD_SUPERSEDED);
    assert_false(job_under_way(j));
    base_has(&w, &r, 2);
    finish(&w, &r, "base", NULL);
    world_wait(&w, 5000);
    run(&w, &r);
    finish(&w, &r, "base", NULL);
    assert_string_equal(world_track_state(&w, TRACK), "published");
    end(&w, &r);
}

/* The names cannot be a user's: no template gives one. */
static void test_the_names_are_reserved(void **state)
{
    struct world w;
    struct registry r;
    struct farm_image *image = begin(&w, &r);
    str_replace(&image->tags.items[0], "$branch");
    str_replace(&image->ref, "refs/heads/*");
    start(&w);
    world_see(&w, SOURCE, "refs/heads/" TAG_RESERVED ".x", "c1");
    assert_string_equal(world_track_state(&w, "base@" TAG_RESERVED ".x"), "blocked");
    world_see(&w, SOURCE, "refs/heads/sheaf", "c1");
    world_inspect(&w, NULL);
    finish(&w, &r, "base", NULL);
    for (const struct retention *place = w.m->places; place; place = place->hh.next) {
        assert_memory_equal(place->name, TAG_RESERVED ".", sizeof(TAG_RESERVED));
        assert_true(strlen(place->name) < TAG_TEXT_MAX);
    }
    end(&w, &r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_kept_is_collected),
        cmocka_unit_test(test_a_child_is_kept_while_another_is_built),
        cmocka_unit_test(test_a_child_that_was_collected_before_is_built_again),
        cmocka_unit_test(test_a_rollback_and_a_pin_survive),
        cmocka_unit_test(test_a_waiting_jobs_base_stays),
        cmocka_unit_test(test_more_are_kept_where_a_tag_stayed_behind),
        cmocka_unit_test(test_a_restart_asks_again_for_what_is_not_known_to_be_done),
        cmocka_unit_test(test_a_registry_that_is_away_is_asked_again),
        cmocka_unit_test(test_a_killed_coordinators_put_lands_late),
        cmocka_unit_test(test_an_indexs_put_lands_late),
        cmocka_unit_test(test_a_child_that_is_lost_has_no_place),
        cmocka_unit_test(test_an_unchanged_build_waits_until_it_is_kept),
        cmocka_unit_test(test_what_is_lost_of_a_superseded_build_is_not_built_for_it),
        cmocka_unit_test(test_the_names_are_reserved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
