/* Where a track stands and why (rule A.3): each reason that there is, what brings it about, and what a person reads. */
#include "daemon/model/objects.h"
#include "tests/lib/model_commands.h"
#include "tests/lib/model_steps.h"

#define BASES  "https://git.test/bases.git"
#define APPS   "https://git.test/apps.git"
#define BASE   "base@master"
#define APP    "app@master"
#define REPO   "r.test/osf/app"
#define ON     "FROM r.test/osf/base:latest\n"
#define HAND   "sha256:4242424242424242424242424242424242424242424242424242424242424242"
#define MINUTE ((int64_t)60000)

/* ---- farms ---- */

static struct farm_image *app_of(struct world *w, const char *script)
{
    world_init(w);
    struct farm_image *image = world_image(w, "app", APPS, WORLD_MASTER, script);
    str_replace(&image->context, "src");
    return image;
}

static void start(struct world *w)
{
    world_start(w);
    world_board(w, "one");
}

/* One image that is built from a script, and not yet seen. */
static void app(struct world *w)
{
    app_of(w, "./mk");
    start(w);
}

/* It waits for the board's poll. */
static void wanted(struct world *w)
{
    app(w);
    world_push(w, APPS, "a1", NULL);
}

static void built(struct world *w)
{
    wanted(w);
    world_build(w, "one", "app", "x");
}

static void published(struct world *w)
{
    built(w);
    world_publish(w);
}

static void dockerfile(struct world *w, const char *text)
{
    app_of(w, NULL);
    start(w);
    world_push(w, APPS, "a1", text);
}

/* A base that is published, and an app that is built on it. */
static void two_images(struct world *w)
{
    app_of(w, NULL);
    world_image(w, "base", BASES, WORLD_MASTER, "./mk");
    start(w);
    world_push(w, BASES, "b1", NULL);
    world_build(w, "one", "base", "x");
    world_publish(w);
}

/* A track for each version; only the highest is active at first. */
static struct farm_image *versions(struct world *w)
{
    struct farm_image *image = app_of(w, "./mk");
    str_replace(&image->ref, "refs/tags/v*");
    str_replace(&image->tags.items[0], "$version");
    strvec_add(&image->tags, "latest");
    return image;
}

static void see_versions(struct world *w, const char *const *refs)
{
    world_see_all(w, APPS, "a1", refs);
    world_settle(w, NULL);
}

static const char *const one_and_two[] = {"refs/tags/v1", "refs/tags/v2", NULL};
static const char *const one_to_three[] = {"refs/tags/v1", "refs/tags/v2", "refs/tags/v3", NULL};

static void inspected(struct world *w, const struct context_facts *facts)
{
    struct effect e = world_take(w, EFFECT_INSPECT);
    world_begin(w, 1);
    model_on_context(w->m, e.source, e.commit, e.path, e.dockerfile, facts);
    world_end(w);
    effect_done(&e);
}

/* ---- waiting ---- */

static void files_are_being_read(struct world *w)
{
    app(w);
    world_see(w, APPS, WORLD_MASTER, "a1");
}
static void the_git_server_is_away(struct world *w)
{
    files_are_being_read(w);
    struct effect e = world_take(w, EFFECT_INSPECT);
    world_begin(w, 1);
    model_on_context_failed(w->m, e.source, e.commit, e.path, e.dockerfile, "cannot connect");
    world_end(w);
    effect_done(&e);
}
static void a_base_is_looked_up(struct world *w)
{
    dockerfile(w, "FROM debian:12\n");
}
static void base_failed(struct world *w, bool gone)
{
    a_base_is_looked_up(w);
    struct effect e = world_take(w, EFFECT_RESOLVE_BASE);
    world_begin(w, 1);
    model_on_base_failed(w->m, e.reference, gone, gone ? "no such tag" : "cannot connect", 0);
    world_end(w);
    effect_done(&e);
}
static void the_bases_registry_is_away(struct world *w)
{
    base_failed(w, false);
}
static void a_base_of_ours_is_built(struct world *w)
{
    two_images(w);
    world_push(w, BASES, "b2", NULL);
    world_push(w, APPS, "a1", ON);
}

/* ---- blocked ---- */

static void the_tree_is_refused(struct world *w)
{
    files_are_being_read(w);
    inspected(w, &(struct context_facts){.exists = true, .id = HAND, .error = "it is too large"});
}
static void the_folder_has_gone(struct world *w)
{
    published(w);
    world_see(w, APPS, WORLD_MASTER, "a2");
    inspected(w, &(struct context_facts){.exists = false});
}
static void no_folder_was_ever_there(struct world *w)
{
    files_are_being_read(w);
    inspected(w, &(struct context_facts){.exists = false});
}
static void the_dockerfile_is_missing(struct world *w)
{
    dockerfile(w, NULL);
}
static void the_base_is_not_there(struct world *w)
{
    base_failed(w, true);
}
static void the_base_of_ours_is_not_published(struct world *w)
{
    app_of(w, NULL);
    world_image(w, "base", BASES, WORLD_MASTER, "./mk");
    start(w);
    world_push(w, APPS, "a1", ON);
}
static void it_is_built_on_itself(struct world *w)
{
    dockerfile(w, "FROM r.test/osf/app:latest\n");
}
static void its_tag_is_reserved(struct world *w)
{
    str_replace(&app_of(w, "./mk")->tags.items[0], "_sheaf");
    start(w);
    world_push(w, APPS, "a1", NULL);
}
static void a_tag_names_what_nobody_knows(struct world *w)
{
    published(w);
    world_push(w, APPS, "a2", NULL);
    world_build(w, "one", "app", "y");
    world_retain(w);
    world_step(w);
    world_step_fails(w, PUBLISH_FOREIGN, PLATFORM_COUNT, "tag latest names what we do not know");
}
static void what_it_returns_to_is_lost(struct world *w)
{
    published(w);
    world_push(w, APPS, "a2", NULL);
    world_build(w, "one", "app", "y");
    world_publish(w);
    world_ask(w, COMMAND_ROLLBACK, APP);
    world_child_missing(w, PLATFORM_AMD64, "linux/amd64 is gone");
}

/* ---- building ---- */

static void no_board_is_there(struct world *w)
{
    app_of(w, "./mk");
    world_start(w);
    world_push(w, APPS, "a1", NULL);
}
static void the_board_is_away(struct world *w)
{
    wanted(w);
    world_wait(w, w->farm->lease_term_ms);
}
static void a_mirror_was_away(struct world *w)
{
    wanted(w);
    world_break(w, "one", "app", WIRE_FAILURE_INFRA);
}
static void a_board_builds_it(struct world *w)
{
    wanted(w);
    struct wire_poll_response got;
    world_lease(w, "one", "app", &got);
    wire_poll_response_done(&got);
}

/* ---- publishing ---- */

static void its_child_has_no_place_yet(struct world *w)
{
    built(w);
}
static void it_is_published_now(struct world *w)
{
    built(w);
    world_retain(w);
}
static void the_registry_is_away(struct world *w)
{
    it_is_published_now(w);
    world_step_fails(w, PUBLISH_AWAY, PLATFORM_COUNT, "cannot connect");
}
static void another_one_is_published(struct world *w)
{
    static const char *const both[] = {"refs/heads/a", "refs/heads/b", NULL};
    struct farm_image *image = app_of(w, "./mk");
    str_replace(&image->ref, "refs/heads/*");
    str_replace(&image->tags.items[0], "$branch");
    vec_push(&image->args, (struct farm_pair){xstrdup("B"), xstrdup("$branch")});
    start(w);
    world_see_all(w, APPS, "a1", both);
    world_inspect(w, NULL);
    struct wire_poll_response got = world_poll(w, "one");
    for (size_t i = 0; i < got.leases.n; i++)
        world_succeed(w, &got.leases.items[i], got.leases.items[i].job.track);
    wire_poll_response_done(&got);
    world_retain(w);
    assert_string_equal(world_text(w, "app@b", "reason", "code"), "publishing");
}

/* ---- at rest ---- */

static void a_person_holds_it(struct world *w)
{
    published(w);
    world_ask(w, COMMAND_HOLD, APP);
    world_push(w, APPS, "a2", NULL);
    world_build(w, "one", "app", "y");
}
static void farm_yaml_holds_it(struct world *w)
{
    built(w);
    world_find_image(w, "app")->hold = true;
    world_reload(w);
}
static void it_is_pinned(struct world *w)
{
    published(w);
    struct command c = {.verb = COMMAND_PIN, .track = APP, .publication = "1", .who = "ann"};
    world_do(w, &c);
    world_push(w, APPS, "a2", NULL);
    world_build(w, "one", "app", "y");
}
static void the_farm_is_frozen(struct world *w)
{
    app(w);
    world_ask(w, COMMAND_FREEZE, NULL);
    world_push(w, APPS, "a1", NULL);
    world_build(w, "one", "app", "x");
}
static void farm_yaml_freezes_it(struct world *w)
{
    built(w);
    w->farm->freeze = true;
    world_reload(w);
}
static void a_held_one_keeps_one_of_its_tags(struct world *w)
{
    versions(w);
    start(w);
    see_versions(w, one_and_two);
    world_ask(w, COMMAND_HOLD, "app@v2");
    see_versions(w, one_to_three);
}
static void a_held_one_keeps_its_only_tag(struct world *w)
{
    struct farm_image *image = versions(w);
    strvec_done(&image->tags);
    strvec_add(&image->tags, "latest");
    start(w);
    see_versions(w, one_and_two);
    world_ask(w, COMMAND_HOLD, "app@v2");
    world_see_all(w, APPS, "a2", one_to_three);
    world_settle(w, NULL);
}
static void another_image_has_its_tag(struct world *w)
{
    struct farm_image *other = app_of(w, "./mk");
    other = world_image(w, "other", BASES, WORLD_MASTER, "./other");
    str_replace(&other->repository, REPO);
    start(w);
    world_push(w, BASES, "b1", NULL);
    world_settle(w, NULL);
    world_push(w, APPS, "a1", NULL);
    world_settle(w, NULL);
}
static void it_failed_twice(struct world *w)
{
    wanted(w);
    world_break(w, "one", "app", WIRE_FAILURE_RECIPE);
    world_break(w, "one", "app", WIRE_FAILURE_RECIPE);
}
static void memory_ran_out(struct world *w)
{
    wanted(w);
    world_break(w, "one", "app", WIRE_FAILURE_MEMORY);
}
static void a_person_cancelled_its_job(struct world *w)
{
    struct err err = ERR_INIT;
    wanted(w);
    cleanup_free char *key = xstrdup(track_find(w->m, APP)->slots[PLATFORM_AMD64]->key);
    world_begin(w, 1);
    assert_int_equal(model_on_cancel_job(w->m, key, &err), 0);
    world_end(w);
}
static void a_person_cancelled_its_build(struct world *w)
{
    struct err err = ERR_INIT;
    wanted(w);
    world_begin(w, 1);
    assert_int_equal(model_on_cancel_build(w->m, 1, &err), 0);
    world_end(w);
}
static void a_person_retired_it(struct world *w)
{
    published(w);
    world_ask(w, COMMAND_RETIRE, APP);
}
static void its_ref_was_deleted(struct world *w)
{
    versions(w);
    start(w);
    see_versions(w, one_and_two);
    see_versions(w, one_and_two + 1);
    see_versions(w, one_and_two + 1);
}
static void it_was_old_at_first_sight(struct world *w)
{
    versions(w);
    start(w);
    see_versions(w, one_and_two);
}
static void its_version_is_out_of_bounds(struct world *w)
{
    it_was_old_at_first_sight(w);
    world_find_image(w, "app")->versions = xstrdup("<2");
    world_reload(w);
}
static void farm_yaml_names_it_no_more(struct world *w)
{
    published(w);
    str_replace(&world_find_image(w, "app")->name, "other");
    world_reload(w);
}

/* ---- why it is built ---- */

static void its_files_changed(struct world *w)
{
    published(w);
    world_push(w, APPS, "a2", NULL);
}
static void a_person_wants_it_anew(struct world *w)
{
    published(w);
    world_ask(w, COMMAND_REBUILD, APP);
}
static void its_delay_is_over(struct world *w)
{
    it_failed_twice(w);
    world_wait(w, 60 * MINUTE);
}
static void a_person_tries_it_again(struct world *w)
{
    it_failed_twice(w);
    world_ask(w, COMMAND_RETRY, APP);
}
/* It was published, and is to be published again: another tag is wanted. */
static void the_registry_lost_it(struct world *w)
{
    published(w);
    strvec_add(&world_find_image(w, "app")->tags, "another");
    world_reload(w);
    world_child_missing(w, PLATFORM_AMD64, "linux/amd64 is gone");
}

/* ---- how a build ended ---- */

static void newer_inputs_came(struct world *w)
{
    wanted(w);
    world_push(w, APPS, "a2", NULL);
}
static void its_output_is_what_there_was(struct world *w)
{
    published(w);
    world_push(w, APPS, "a2", NULL);
    world_build(w, "one", "app", "x");
    world_publish(w);
}

/* ---- platforms, tags, repositories ---- */

static void a_platform_is_named_no_more(struct world *w)
{
    static const char *const both[] = {"linux/amd64", "linux/arm64", NULL};
    struct farm_image *image = app_of(w, "./mk");
    vec_push(&image->platforms, PLATFORM_ARM64);
    w->platforms = both;
    start(w);
    world_push(w, APPS, "a1", NULL);
    world_settle(w, NULL);
    world_find_image(w, "app")->platforms.n = 1;
    world_reload(w);
    world_settle(w, NULL);
}
static void a_platform_was_retired(struct world *w)
{
    struct command c = {.verb = COMMAND_RETIRE, .track = APP, .platform = "linux/arm64"};
    a_platform_is_named_no_more(w);
    vec_push(&world_find_image(w, "app")->platforms, PLATFORM_ARM64);
    world_reload(w);
    world_do(w, &c);
}
static void an_optional_one_is_behind(struct world *w)
{
    a_platform_is_named_no_more(w);
    struct farm_image *image = world_find_image(w, "app");
    vec_push(&image->optional, PLATFORM_ARM64);
    image->deadline_ms = 60 * MINUTE;
    world_reload(w);
    w->platforms = NULL; /* no board of that platform any more */
    world_session(w, "one", "one", (int64_t)1 << 30, NULL);
    world_push(w, APPS, "a2", NULL);
    world_settle(w, NULL);
    world_wait(w, 60 * MINUTE);
}
static void somebody_moved_a_tag(struct world *w)
{
    published(w);
    cleanup_free char *older = xstrdup(world_tag_digest(w, REPO, "latest"));
    world_push(w, APPS, "a2", NULL);
    world_settle(w, NULL);
    world_audited(w, REPO, older);
}
static void somebody_deleted_a_tag(struct world *w)
{
    published(w);
    world_audited(w, REPO, NULL);
}
static void a_person_has_it_put_back(struct world *w)
{
    struct err err = ERR_INIT;
    published(w);
    world_audited(w, REPO, HAND);
    world_begin(w, 1);
    assert_int_equal(model_on_restore(w->m, REPO, &err), 0);
    world_end(w);
}

static void a_branch_is_called_as_a_tag(struct world *w)
{
    static const char *const refs[] = {"refs/heads/one", "refs/tags/one", NULL};
    struct farm_image *image = app_of(w, "./mk");
    str_replace(&image->ref, "refs/*");
    str_replace(&image->tags.items[0], "$ref");
    start(w);
    world_see_all(w, APPS, "c1", refs);
}

/* ---- the table ---- */

/* Where a reason is read. */
enum place {
    TRACK,     /* beside its state */
    WHY,       /* of its latest build: why that was made */
    END,       /* of its latest build: how that ended */
    BEFORE,    /* of the build before: how that ended */
    CELL,      /* of its second platform */
    ATTENTION, /* in the list of what wants attention */
};

static const struct example {
    void (*reach)(struct world *);
    const char *track, *state; /* state "": whatever */
    enum place place;
    const char *code, *text;
} examples[] = {
    {files_are_being_read, APP, "waiting", TRACK, "inspecting",
     "linux/amd64: reading a1 of https://git.test/apps.git"},
    {the_git_server_is_away, APP, "waiting", TRACK, "source-away",
     "linux/amd64: reading a1 of https://git.test/apps.git: cannot connect"},
    {a_base_is_looked_up, APP, "waiting", TRACK, "resolving-base",
     "linux/amd64: looking up base docker.io/library/debian:12"},
    {the_bases_registry_is_away, APP, "waiting", TRACK, "registry-away",
     "linux/amd64: base docker.io/library/debian:12: cannot connect"},
    {a_base_of_ours_is_built, APP, "waiting", TRACK, "base-building",
     "base base@master is under way"},
    {the_tree_is_refused, APP, "blocked", TRACK, "context-refused", "linux/amd64: it is too large"},
    {the_folder_has_gone, APP, "blocked", TRACK, "context-gone",
     "linux/amd64: upstream dropped the folder 'src' of a platform that was built before"},
    {no_folder_was_ever_there, APP, "blocked", TRACK, "not-offered",
     "upstream has none of the image's platforms, or all are retired"},
    {the_dockerfile_is_missing, APP, "blocked", TRACK, "dockerfile",
     "linux/amd64: no Dockerfile in the folder 'src'"},
    {the_base_is_not_there, APP, "blocked", TRACK, "base-missing",
     "linux/amd64: base docker.io/library/debian:12: no such tag"},
    {the_base_of_ours_is_not_published, APP, "blocked", TRACK, "base-missing",
     "linux/amd64: base r.test/osf/base:latest is not published"},
    {it_is_built_on_itself, APP, "blocked", TRACK, "base-cycle",
     "built on itself: app@master <- app@master"},
    {its_tag_is_reserved, APP, "blocked", TRACK, "tag-conflict",
     "tag _sheaf: '_sheaf' begins with _sheaf, as the tags do that Sheaf keeps for itself"},
    {a_tag_names_what_nobody_knows, APP, "blocked", TRACK, "repository-stopped",
     "tag latest names what we do not know; adopt or restore decides"},
    {what_it_returns_to_is_lost, APP, "blocked", TRACK, "child-missing",
     "publication 1 cannot be returned to: linux/amd64 is gone; choose another, or release"},
    {no_board_is_there, APP, "building", TRACK, "no-board",
     "linux/amd64: no board offers linux/amd64"},
    {the_board_is_away, APP, "building", TRACK, "boards-busy", "linux/amd64: board one is offline"},
    {a_mirror_was_away, APP, "building", TRACK, "backing-off",
     "linux/amd64: it broke; tried again after 5 s"},
    {a_board_builds_it, APP, "building", TRACK, "running", "linux/amd64 on one"},
    {its_child_has_no_place_yet, APP, "publishing", TRACK, "retaining",
     "the registry is told to keep linux/amd64"},
    {it_is_published_now, APP, "publishing", TRACK, "publishing", "generation 1"},
    {the_registry_is_away, APP, "publishing", TRACK, "registry-away", "cannot connect"},
    {another_one_is_published, "app@a", "publishing", TRACK, "repository-busy",
     "another publication of r.test/osf/app goes first"},
    {published, APP, "published", TRACK, "published", ""},
    {a_held_one_keeps_one_of_its_tags, "app@v3", "published", TRACK, "held",
     "tag latest stays with app@v2, which is held"},
    {a_held_one_keeps_its_only_tag, "app@v3", "held", TRACK, "held",
     "tag latest stays with app@v2, which is held"},
    {a_person_holds_it, APP, "held", TRACK, "held", "held by ann: a reason"},
    {farm_yaml_holds_it, APP, "held", TRACK, "held", "farm.yaml holds the image"},
    {it_is_pinned, APP, "held", TRACK, "pinned", "pinned to publication 1 by ann"},
    {the_farm_is_frozen, APP, "held", TRACK, "frozen", "the farm is frozen by ann: a reason"},
    {farm_yaml_freezes_it, APP, "held", TRACK, "frozen", "farm.yaml freezes the farm"},
    {another_image_has_its_tag, APP, "conflict", TRACK, "tag-conflict",
     "r.test/osf/app:latest is claimed by other@master too"},
    {it_failed_twice, APP, "failed", TRACK, "job-failed",
     "linux/amd64: recipe: it broke; tried again after 1 h"},
    {memory_ran_out, APP, "failed", TRACK, "job-failed",
     "linux/amd64: memory: it broke; tried again on a board with more than 1024 MiB"},
    {a_person_cancelled_its_job, APP, "cancelled", TRACK, "cancelled", "linux/amd64 was cancelled"},
    {a_person_cancelled_its_build, APP, "cancelled", TRACK, "cancelled", "by request"},
    {a_person_retired_it, APP, "retired", TRACK, "retired",
     "retired: it is not built, and owns no tags"},
    {its_ref_was_deleted, "app@v1", "deleted", TRACK, "ref-deleted",
     "refs/tags/v1 is gone upstream; its tags stay"},
    {it_was_old_at_first_sight, "app@v1", "dormant", TRACK, "dormant",
     "older than what is kept in date; wakes when it moves or is asked for"},
    {its_version_is_out_of_bounds, "app@v2", "dormant", TRACK, "out-of-bounds",
     "version 2 is outside versions: <2; its tags stay"},
    {farm_yaml_names_it_no_more, APP, "unknown", TRACK, "not-configured", "no longer in farm.yaml"},

    {wanted, APP, "building", WHY, "first-build", "never built before"},
    {its_files_changed, APP, "building", WHY, "input-changed", "its files changed"},
    {a_person_wants_it_anew, APP, "building", WHY, "rebuild-asked", "a person asked for it"},
    {its_delay_is_over, APP, "building", WHY, "tried-again",
     "linux/amd64: failed before: recipe: it broke"},
    {a_person_tries_it_again, APP, "building", WHY, "retry-asked",
     "a person asked to try it again"},
    {the_registry_lost_it, APP, "building", WHY, "child-missing",
     "linux/amd64: the registry has lost what was built"},

    {newer_inputs_came, APP, "", BEFORE, "superseded", "newer inputs"},
    {its_output_is_what_there_was, APP, "published", END, "unchanged",
     "the output is what is published already"},
    {published, APP, "", END, "published", ""},
    {a_person_cancelled_its_build, APP, "", END, "cancelled", "by request"},
    {it_failed_twice, APP, "", END, "job-failed", "linux/amd64: recipe: it broke"},

    {a_platform_is_named_no_more, APP, "published", CELL, "not-offered",
     "no longer in farm.yaml; its last child stays until it is retired"},
    {a_platform_was_retired, APP, "", CELL, "retired", "retired by request"},

    {an_optional_one_is_behind, APP, "published", ATTENTION, "stale",
     "linux/arm64: its last good child is shown, older than the others by more than the deadline"},
    {somebody_moved_a_tag, APP, "published", ATTENTION, "tag-moved",
     "somebody moved it to sha256:c837b82ef9b9, it should name sha256:25352f28d6d1; it is left "
     "there, since farm.yaml does not enforce"},
    {somebody_deleted_a_tag, APP, "published", ATTENTION, "tag-deleted",
     "somebody deleted it, it should name sha256:c837b82ef9b9; it is left there, since farm.yaml "
     "does not enforce"},
    {a_person_has_it_put_back, APP, "", ATTENTION, "restoring",
     "its tags are put back, whatever they name"},
    {a_branch_is_called_as_a_tag, "app@one", "waiting", ATTENTION, "ref-ignored",
     "refs/heads/one is not built: app@one has that name already, and follows refs/tags/one; "
     "rename one of them, or let `ref` match only one"},
};

/* ---- reading it ---- */

static json_t *find_attention(json_t *status, const char *code)
{
    json_t *a;
    size_t i;
    json_array_foreach (json_object_get(status, "attention"), i, a) {
        json_t *reason = json_object_get(a, "reason");
        if (str_eq(json_string_value(json_object_get(reason, "code")), code))
            return reason;
    }
    return NULL;
}

/* The end of the build, as its row has it, in the form of a reason. */
static json_t *end_of_build(struct world *w, int64_t id)
{
    const struct table *t = table_of(TABLE_BUILD);
    json_t *reason = json_object();
    VEC_FOREACH (&w->rows, row)
        for (size_t i = 0; row->table == TABLE_BUILD && row->cells[0].i == id && i < t->n_columns;
             i++) {
            if (str_eq(t->columns[i].name, "end_code"))
                json_object_set_new(reason, "code", json_string(row->cells[i].s));
            else if (str_eq(t->columns[i].name, "end"))
                json_object_set_new(reason, "text", json_string(row->cells[i].s));
        }
    return reason;
}

static json_t *read_reason(struct world *w, const struct example *example)
{
    json_t *view =
        example->place == ATTENTION ? view_status(w->m) : view_track(w->m, example->track);
    json_t *cells = json_object_get(view, "cells"), *reason = NULL;
    int64_t latest = track_find(w->m, example->track)->build;
    if (example->place == TRACK)
        reason = json_object_get(view, "reason");
    else if (example->place == WHY)
        reason = json_object_get(view, "why");
    else if (example->place == CELL)
        reason = json_object_get(json_array_get(cells, 1), "reason");
    else if (example->place == ATTENTION)
        reason = find_attention(view, example->code);
    reason = example->place == END      ? end_of_build(w, latest)
             : example->place == BEFORE ? end_of_build(w, latest - 1)
                                        : json_incref(reason);
    json_decref(view);
    return reason;
}

static void test_each_reason_and_what_a_person_reads(void **state)
{
    int wrong = 0;
    for (size_t i = 0; i < sizeof(examples) / sizeof(*examples); i++) {
        const struct example *example = &examples[i];
        struct world w;
        example->reach(&w);
        json_t *reason = read_reason(&w, example);
        const char *code = json_string_value(json_object_get(reason, "code"));
        const char *text = json_string_value(json_object_get(reason, "text"));
        const char *stands = *example->state ? world_track_state(&w, example->track) : "";
        if (!str_eq(stands, example->state) || !str_eq(code, example->code) ||
            !str_eq(text, example->text)) {
            print_error("%zu, %s: %s, %s: \"%s\"\n", i, example->code, stands, code ? code : "none",
                        text ? text : "none");
            wrong++;
        }
        json_decref(reason);
        world_done(&w);
    }
    assert_int_equal(wrong, 0);
}

/* No reason code and no state of a track is without its row. */
static void test_the_table_has_them_all(void **state)
{
    for (int code = REASON_NONE + 1; code < REASON_COUNT; code++) {
        bool found = false;
        for (size_t i = 0; i < sizeof(examples) / sizeof(*examples); i++)
            found = found || str_eq(examples[i].code, reason_names[code]);
        if (!found)
            fail_msg("no row reaches the reason %s", reason_names[code]);
    }
    for (int s = 0; s < TRACK_STATE_COUNT; s++) {
        bool found = false;
        for (size_t i = 0; i < sizeof(examples) / sizeof(*examples); i++)
            found = found || str_eq(examples[i].state, track_state_names[s]);
        if (!found)
            fail_msg("no row reaches the state %s", track_state_names[s]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_reason_and_what_a_person_reads),
        cmocka_unit_test(test_the_table_has_them_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
