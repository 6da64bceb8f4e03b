/* "What if" in the middle of histories: whatever is asked at whatever moment changes nothing, comes to an end and is
 * answered the same twice; and at rest, what is foretold of a push, a base that moves or another farm.yaml is what is
 * built and published when that is done. */
#include "daemon/model/what_if.h"

#include "daemon/model/objects.h"
#include "tests/model/check_int.h"

#define ROUNDS_MAX   64
#define FORETOLD     3 /* events of one history */
#define BASE_POLL_MS (16 * 60 * 1000)

/* ---- nothing is changed ---- */

#define PACK_ALL(out, list, table)                                                                 \
    for (__typeof__(*(list)) *it = (list); it; it = it->hh.next)                                   \
    row_pack((out), (table), it, 0)

/* A number that stands for a set of rows: jobs of the past are kept in another order each time. */
static void add_row(void *sum, const struct job *j)
{
    struct strbuf row = {0};
    row_pack(&row, TABLE_JOB, j, 0);
    *(uint64_t *)sum += mix_bytes(row.s, row.n);
    strbuf_done(&row);
}

static void pack_jobs(const struct model *m, struct strbuf *out)
{
    uint64_t sum = 0;
    for (const struct job *j = m->jobs; j; j = j->hh.next)
        add_row(&sum, j);
    past_each(m, add_row, &sum);
    strbuf_addn(out, &sum, sizeof(sum));
}

/* The columns of all live objects, and what is waiting to leave. The caller owns it. */
static struct strbuf everything(const struct sim *s)
{
    struct strbuf out = {0};
    const struct model *m = s->m;
    PACK_ALL(&out, m->settings, TABLE_SETTING);
    PACK_ALL(&out, m->sources, TABLE_SOURCE);
    for (struct source *source = m->sources; source; source = source->hh.next)
        PACK_ALL(&out, source->refs, TABLE_REF);
    PACK_ALL(&out, m->contexts, TABLE_CONTEXT);
    PACK_ALL(&out, m->epochs, TABLE_EPOCH);
    PACK_ALL(&out, m->bases, TABLE_BASE);
    PACK_ALL(&out, m->tracks, TABLE_TRACK);
    for (struct track *t = m->tracks; t; t = t->hh.next)
        for (int p = 0; p < PLATFORM_COUNT; p++)
            if (t->slots[p])
                row_pack(&out, TABLE_SLOT, t->slots[p], 0);
    pack_jobs(m, &out);
    PACK_ALL(&out, m->attempts, TABLE_ATTEMPT);
    PACK_ALL(&out, m->builds, TABLE_BUILD);
    PACK_ALL(&out, m->publications, TABLE_PUBLICATION);
    PACK_ALL(&out, m->tags, TABLE_TAG);
    PACK_ALL(&out, m->boards, TABLE_BOARD);
    PACK_ALL(&out, m->places, TABLE_RETENTION);
    const struct turn *turn = &s->gathering.turn;
    strbuf_addf(&out, "%zu changes, %zu effects, %zu dirty, %zu to plan, %d asked, due at %lld",
                turn->delta.changes.n, turn->effects.n, m->dirty.n, m->plan.n, m->retaining,
                (long long)model_next_due(m));
    return out;
}

/* ---- asking ---- */

/* What the mirrors have of it; they have not everything. */
static void look(struct sim *s, struct what_if *w, const struct what_if_look *what, bool all)
{
    struct context_wanted of = {what->source, what->commit, what->path, what->dockerfile};
    uint64_t chance = mix2(mix_text(what->commit), mix_text(what->path));
    int source = -1;
    for (int i = 0; i < MAX_SOURCES; i++)
        if (str_eq(source_url((unsigned)i), what->source))
            source = i;
    bool there = source >= 0 && upstream_find(&s->source[source].up, what->commit) >= 0;
    if (!there || (!all && chance % 3 == 0)) {
        what_if_looked(w, s->m, NULL, false);
        return;
    }
    struct context_read read;
    context_read(s, &of, &read);
    what_if_looked(w, s->m, &read.facts, chance % 2);
    free(read.dockerfile);
}

/* The answer, or NULL where the question has none; the caller owns it. */
static json_t *run(struct sim *s, const struct what_if_question *q, bool all)
{
    struct what_if *w;
    struct what_if_look what;
    struct err err = ERR_INIT;
    if (what_if_new(s->m, q, NULL, &w, &err) < 0) {
        farm_free(q->farm);
        return NULL;
    }
    bool again = true;
    for (unsigned rounds = 0; again; rounds++) {
        if (rounds > ROUNDS_MAX)
            sim_fail(s, "inv13_what_if_ends", "it asks for more and more");
        what_if_run(w);
        again = what_if_ask(w, s->m);
        while (what_if_look(w, &what)) {
            look(s, w, &what, all);
            again = true;
        }
    }
    json_t *answer = what_if_answer(w);
    what_if_free(w);
    if (!answer || json_is_true(json_object_get(answer, "too_much")))
        sim_fail(s, "inv13_what_if_ends", "there is no end of what follows");
    return answer;
}

static json_t *ask(struct sim *s, const struct what_if_question *q, bool all)
{
    struct strbuf before = everything(s);
    json_t *answer = run(s, q, all);
    struct strbuf after = everything(s);
    if (before.n != after.n || memcmp(before.s, after.s, before.n) != 0)
        sim_fail(s, "inv13_what_if_changes_nothing", "the model is not what it was");
    strbuf_done(&before);
    strbuf_done(&after);
    covered(COVERED_WHAT_IF);
    return answer;
}

/* ---- at any moment ---- */

static struct farm *edited(struct sim *s, struct rng *r)
{
    struct farm_spec spec = s->spec;
    for (unsigned n = 1 + rng_below(r, 3); n > 0; n--)
        farm_spec_edit(&spec, (unsigned)rng_next(r), (unsigned)rng_next(r));
    return farm_spec_build(&spec);
}

static void push_question(struct sim *s, struct rng *r, struct what_if_question *q)
{
    static const char *const paths[] = {"amd64/x", "x", ".", "alpha/Dockerfile"};
    q->kind = WHAT_IF_PUSH;
    q->source = rng_one_in(r, 3) ? image_name(rng_below(r, s->spec.n_images))
                                 : source_url(rng_below(r, s->spec.n_sources));
    if (!rng_one_in(r, 3))
        q->ref = ref_name(rng_below(r, MAX_REFS));
    if (q->ref && rng_one_in(r, 3))
        q->commit = ref_name(rng_below(r, MAX_REFS));
    else if (rng_one_in(r, 3))
        strvec_add(&q->paths, paths[rng_below(r, 4)]);
}

/* The farm of a question is taken over by whoever answers it: made anew each time. */
static json_t *ask_random(struct sim *s, uint64_t seed)
{
    struct rng r = {seed};
    struct what_if_question q = {0};
    switch (rng_below(&r, 5)) {
    case 0:
        q.kind = WHAT_IF_BASE;
        q.reference =
            rng_one_in(&r, 2) ? outside_name(rng_below(&r, N_OUTSIDE)) : REGISTRY "/alpha:latest";
        break;
    case 1:
        q.kind = WHAT_IF_CONFIG;
        q.farm = edited(s, &r);
        break;
    case 2:
        q.kind = WHAT_IF_BOARD;
        q.board = board_name(rng_below(&r, s->spec.n_boards));
        break;
    default:
        push_question(s, &r, &q);
    }
    json_t *answer = ask(s, &q, false);
    strvec_done(&q.paths);
    return answer;
}

void what_if_at_random(struct sim *s)
{
    uint64_t seed = mix3(s->history->seed, s->step->number, 77);
    if (seed % 6)
        return;
    json_t *answer = ask_random(s, seed), *again = ask_random(s, seed);
    if (answer && !json_equal(answer, again))
        sim_fail(s, "inv13_what_if_says_the_same", "asked twice, it is answered otherwise");
    json_decref(answer);
    json_decref(again);
}

/* ---- at rest: asked, done, compared ---- */

static int64_t last_build(const struct sim *s)
{
    const char *last = model_setting(s->m, "next build");
    return last ? strtoll(last, NULL, 10) : 0;
}

static const char *text(const json_t *of, const char *name)
{
    const char *t = json_string_value(json_object_get(of, name));
    return t ? t : "";
}

/* Where each tag points: "repository:tag" to digest. The caller owns it. */
static json_t *tags_now(const struct sim *s)
{
    json_t *tags = json_object();
    for (const struct tag *t = s->m->tags; t; t = t->hh.next)
        if (!t->shown || str_eq(t->digest, t->shown->digest))
            json_object_set_new(tags, t->hash_key, json_string(t->digest));
    return tags;
}

/* A build of the farm's since. */
static const struct change *built(const struct store_row *row, int64_t last)
{
    const struct change *c = row->latest ? &row->latest->change : NULL;
    return c && row_int(c, "id") > last ? c : NULL;
}

static bool is_superseded(const char *state)
{
    return str_eq(state, "superseded");
}

static bool falls_asleep(const json_t *t)
{
    return str_eq(text(json_object_get(t, "after"), "state"), "dormant") &&
           !str_eq(text(json_object_get(t, "before"), "state"), "dormant");
}

/* Whether a track that claims tags of the repository is told to be in conflict, for who is first has the tag; or falls asleep
 * once another version is published, perhaps before it is itself. */
static bool contended(const struct sim *s, const json_t *answer, const char *repository)
{
    const json_t *t;
    size_t i;
    json_array_foreach (json_object_get(answer, "tracks"), i, t) {
        const struct track *track = track_find(s->m, text(t, "track"));
        bool conflict = *text(t, "conflict") || (track && track->conflict);
        if ((conflict || falls_asleep(t)) && track && track->image &&
            str_eq(track->image->repository, repository))
            return true;
    }
    return false;
}

/* What supersedes what, and how often an optional platform publishes again, hangs on which job ends first: then how many
 * builds there are, and why, is left open; not what they come to. */
static bool depends_on_time(const struct sim *s, const json_t *answer, int64_t last)
{
    const json_t *told = json_object_get(answer, "builds"), *b, *j;
    size_t i, k;
    json_array_foreach (json_object_get(answer, "tracks"), i, b)
        if (*text(b, "conflict")) /* who is first has the tag */
            return true;
    json_array_foreach (told, i, b) {
        if (is_superseded(text(b, "state")))
            return true;
        json_array_foreach (json_object_get(b, "jobs"), k, j)
            if (!json_is_true(json_object_get(j, "required")))
                return true;
    }
    for (const struct store_row *row = s->store.table[TABLE_BUILD]; row; row = row->hh.next)
        if (built(row, last) && is_superseded(row_text(&row->latest->change, "state")))
            return true;
    return false;
}

static bool was_told(const json_t *told, const struct change *build, bool loose)
{
    const json_t *b;
    size_t i;
    json_array_foreach (told, i, b)
        if (str_eq(text(b, "track"), row_text(build, "track")) &&
            (loose || str_eq(text(json_object_get(b, "why"), "text"), row_text(build, "why"))))
            return true;
    return false;
}

static bool was_built(const struct sim *s, const json_t *b, int64_t last)
{
    for (const struct store_row *row = s->store.table[TABLE_BUILD]; row; row = row->hh.next)
        if (built(row, last) && str_eq(text(b, "track"), row_text(&row->latest->change, "track")))
            return true;
    return false;
}

/* What was built since is what was foretold, for the reasons that were; `loose`: whatever the reasons. */
static void compare_builds(struct sim *s, const json_t *answer, int64_t last, bool loose)
{
    const json_t *told = json_object_get(answer, "builds"), *b;
    size_t i, n = 0;
    for (const struct store_row *row = s->store.table[TABLE_BUILD]; row; row = row->hh.next) {
        const struct change *c = built(row, last);
        n += c != NULL;
        if (c && !was_told(told, c, loose))
            sim_fail(s, "inv13_what_was_foretold_is_built", "not foretold: %s: %s",
                     row_text(c, "track"), row_text(c, "why"));
    }
    json_array_foreach (told, i, b)
        if (!was_built(s, b, last))
            sim_fail(s, "inv13_what_was_foretold_is_built", "foretold, and not built: %s: %s",
                     text(b, "track"), text(json_object_get(b, "why"), "text"));
    if (!loose && n != json_array_size(told))
        sim_fail(s, "inv13_what_was_foretold_is_built", "%zu builds instead of %zu", n,
                 json_array_size(told));
}

/* Whether the tag named there is in a repository of which two want one. */
static bool open_tag(const struct sim *s, const json_t *answer, const char *name)
{
    const char *colon = strrchr(name, ':');
    cleanup_free char *repository = xstrndup(name, colon ? (size_t)(colon - name) : strlen(name));
    return contended(s, answer, repository);
}

static bool told_to_move(const json_t *answer, const char *name)
{
    const json_t *t;
    size_t i;
    json_array_foreach (json_object_get(answer, "tags"), i, t) {
        cleanup_free char *tag = xasprintf("%s:%s", text(t, "repository"), text(t, "tag"));
        if (str_eq(tag, name) && json_is_true(json_object_get(t, "moves")))
            return true;
    }
    return false;
}

/* Each tag has moved that was to, and no other. */
static void compare_tags(struct sim *s, const json_t *answer, json_t *before)
{
    json_t *now = tags_now(s), *told = json_object_get(answer, "tags"), *t;
    const char *name;
    json_t *digest;
    size_t i;
    json_array_foreach (told, i, t) {
        cleanup_free char *tag = xasprintf("%s:%s", text(t, "repository"), text(t, "tag"));
        if (json_is_true(json_object_get(t, "moves")) && !open_tag(s, answer, tag) &&
            str_eq(text(before, tag), text(now, tag)))
            sim_fail(s, "inv13_what_was_foretold_is_published", "%s was to move", tag);
    }
    json_object_foreach (now, name, digest)
        if (!str_eq(text(before, name), json_string_value(digest)) && !told_to_move(answer, name) &&
            !open_tag(s, answer, name))
            sim_fail(s, "inv13_what_was_foretold_is_published", "%s moves unforetold", name);
    covered_more(COVERED_FORETOLD_TAGS, json_array_size(told));
    json_decref(now);
}

/* Every track is where it was foretold to be: as before, if it was not named. */
static void compare_tracks(struct sim *s, const json_t *answer)
{
    json_t *told = json_object_get(answer, "tracks"), *t;
    size_t i;
    json_array_foreach (told, i, t) {
        const struct track *now = track_find(s->m, text(t, "track"));
        const json_t *after = json_object_get(t, "after");
        const char *is = now && now->image ? track_state_names[now->state] : "";
        if (!str_eq(text(after, "state"), is) &&
            !(now && now->image && contended(s, answer, now->image->repository)))
            sim_fail(s, "inv13_tracks_are_as_foretold", "%s is '%s' instead of '%s'",
                     text(t, "track"), is, text(after, "state"));
    }
}

static void done_and_compared(struct sim *s, const char *what, json_t *answer, json_t *before,
                              int64_t last)
{
    size_t n = json_array_size(json_object_get(answer, "builds"));
    sim_say(s, "%s: %zu builds foretold", what, n);
    if (s->flags & HISTORY_VERBOSE) {
        cleanup_free char *words = json_dumps(answer, JSON_COMPACT);
        sim_say(s, "%s", words);
    }
    sim_pass(s);
    if (!settle(s))
        sim_fail(s, "inv03_fixpoint", "after %s the farm does not come to rest", what);
    if (answer && json_array_size(json_object_get(answer, "notes")) == 0) { /* all was known */
        bool loose = depends_on_time(s, answer, last);
        compare_builds(s, answer, last, loose);
        compare_tags(s, answer, before);
        compare_tracks(s, answer);
        covered(COVERED_FORETOLD);
        covered_more(COVERED_FORETOLD_BUILDS, n);
    }
    json_decref(answer);
    json_decref(before);
}

static void push_comes(struct sim *s, struct rng *r)
{
    unsigned i = rng_below(r, s->spec.n_sources);
    struct upstream_sim *up = &s->source[i].up;
    unsigned ref = rng_below(r, up->n_refs);
    upstream_push(up, ref, rng_next(r));
    struct what_if_question q = {.kind = WHAT_IF_PUSH,
                                 .source = source_url(i),
                                 .ref = ref_name(ref),
                                 .commit = up->commits.items[up->refs.at[ref]].id};
    int64_t last = last_build(s);
    json_t *answer = ask(s, &q, true), *before = tags_now(s);
    for (unsigned n = 0; n < 2; n++) { /* it may be no descendant */
        source_list(s, i, 0);
        source_listed(s, i, false);
        sim_pass(s);
    }
    done_and_compared(s, "a push", answer, before, last);
}

static void base_moves(struct sim *s, struct rng *r)
{
    unsigned base = rng_below(r, N_OUTSIDE);
    struct outside_sim *o = &s->outside[base];
    const struct base *known = base_find(s->m, outside_name(base));
    char digest[72], child[N_PLATFORMS][72];
    struct base_child children[N_PLATFORMS];
    size_t n = 0;
    if (!known || !known->dependents.n || !known->digest || o->gone ||
        strchr(outside_name(base), '@'))
        return;
    o->version++;
    outside_digest(base, o, digest);
    for (unsigned p = 0; p < N_PLATFORMS; p++) {
        bool has = outside_child(base, o, (enum platform)p, child[p]);
        if (has != (known->child[p] != NULL) || (has && str_eq(known->child[p], child[p])))
            return; /* not new for all its platforms: nobody foretells that */
        if (has)
            children[n++] = (struct base_child){(enum platform)p, child[p]};
    }
    struct what_if_question q = {.kind = WHAT_IF_BASE, .reference = outside_name(base)};
    int64_t last = last_build(s);
    json_t *answer = ask(s, &q, true), *before = tags_now(s);
    model_on_base(sim_turn(s), outside_name(base), digest, children, n, false);
    done_and_compared(s, "a base", answer, before, last);
}

static void farm_changes(struct sim *s, struct rng *r)
{
    const char *how = farm_spec_edit(&s->spec, (unsigned)rng_next(r), (unsigned)rng_next(r));
    sim_say(s, "%s", how);
    struct what_if_question q = {.kind = WHAT_IF_CONFIG, .farm = farm_spec_build(&s->spec)};
    int64_t last = last_build(s);
    json_t *answer = ask(s, &q, true), *before = tags_now(s);
    sim_reload(s);
    sim_pass(s);
    for (unsigned i = 0; i < s->spec.n_sources; i++) {
        source_list(s, i, 0);
        source_listed(s, i, false);
        sim_pass(s);
    }
    done_and_compared(s, "another farm.yaml", answer, before, last);
}

/* Whether a child was not there at the first look: that it is lost is known after the second. */
static bool misses_children(const struct model *m)
{
    for (const struct retention *r = m->places; r; r = r->hh.next)
        if (r->missed)
            return true;
    return false;
}

void what_if_foretells(struct sim *s)
{
    struct rng r = {mix2(s->history->seed, 78)};
    sim_advance(s, BASE_POLL_MS); /* what has moved outside is seen first */
    for (unsigned n = 0; n < FORETOLD; n++) {
        look_everywhere(s);
        if (!settle(s) || s->strangers || misses_children(s->m))
            return; /* what somebody did to the registry nobody foretells */
        inv04_store_equals_model(s);
        inv12_full_plan_agrees(s);
        unsigned kind = rng_below(&r, 4);
        if (kind == 0)
            base_moves(s, &r);
        else if (kind == 1)
            farm_changes(s, &r);
        else
            push_comes(s, &r);
    }
}
