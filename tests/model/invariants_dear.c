/* The invariants that look at everything: at some steps in bulk, at every step of a replay, and at rest. */
#include "daemon/model/tagging.h"
#include "tests/model/check_int.h"

#include <inttypes.h>

/* The longest back-off, and something for what follows when it ends. */
#define AWAY_ENDS_MS 420000

/* ---- 12 ---- */

struct stood {
    enum track_state state;
    enum reason_code code;
};

void inv12_full_plan_agrees(struct sim *s)
{
    struct model *m = s->m;
    struct turn turn = {0};
    unsigned n = HASH_COUNT(m->tracks), i = 0;
    struct stood *before = xcalloc(n + 1, sizeof(*before));
    for (const struct track *t = m->tracks; t; t = t->hh.next)
        before[i++] = (struct stood){t->state, t->reason.code};
    model_turn_begin(m, &turn, m->mono, m->wall);
    plan_all(m);
    model_turn_end(m);
    VEC_FOREACH (&turn.delta.changes, c) {
        cleanup_free char *key = row_key(c), *what = row_differences(s, c);
        sim_fail(s, __func__, "planning everything writes %s %s%s", table_of(c->table)->name, key,
                 what);
    }
    if (turn.effects.n)
        sim_fail(s, __func__, "planning everything asks for something");
    i = 0;
    for (const struct track *t = m->tracks; t; t = t->hh.next, i++)
        if (t->state != before[i].state || t->reason.code != before[i].code)
            sim_fail(s, __func__, "%s is %s (%s), and planning everything says %s (%s)", t->id,
                     track_state_names[before[i].state], reason_names[before[i].code],
                     track_state_names[t->state], reason_names[t->reason.code]);
    free(before);
    turn_done(&turn);
}

/* ---- 9 ---- */

/* Of what the farm may still need of the registry: all that is there. */
static void need(struct sim *s, const char *repository, const char *digest)
{
    struct registry_repository *r = NULL;
    HASH_FIND_STR(s->registry.repositories, repository, r);
    if (!r || !registry_manifest(r, digest))
        return;
    cleanup_free char *name = xasprintf("%s@%s", repository, digest);
    strvec_add(&s->check->needed, name);
}

static void need_publication(struct sim *s, const struct publication *p)
{
    need(s, p->repository, p->digest);
    VEC_FOREACH (&p->child, c)
        need(s, p->repository, c->digest);
}

/* What a job that waits or runs is built on. */
static void need_bases(struct sim *s, const struct job *j)
{
    struct wire_job spec = {0};
    if (wire_job_decode(j->spec, strlen(j->spec), &spec, NULL) < 0)
        return;
    VEC_FOREACH (&spec.bases, base)
        need(s, base->repository, base->digest);
    wire_job_done(&spec);
}

static void find_needed(struct sim *s)
{
    strvec_done(&s->check->needed);
    for (const struct publication *p = s->m->publications; p; p = p->hh.next)
        if (p->state == PUBLICATION_VERIFIED)
            need_publication(s, p); /* for rollback */
    for (const struct job *j = s->m->jobs; j; j = j->hh.next)
        if (job_under_way(j))
            need_bases(s, j);
}

void check_before_collecting(struct sim *s)
{
    strvec_done(&s->check->needed);
    if (!s->strangers) /* who deletes places, or moves tags, takes what they kept */
        find_needed(s);
}

static bool reachable(struct registry_repository *r, const char *digest)
{
    for (const struct registry_tag *t = r->tags; t; t = t->hh.next)
        if (str_eq(t->digest, digest)) /* an index does not keep its children: distribution#3178 */
            return true;
    return false;
}

static void inv09_needed_is_kept(struct sim *s)
{
    find_needed(s);
    VEC_FOREACH (&s->check->needed, name) {
        char *at = strchr(*name, '@');
        cleanup_free char *repository = xstrndup(*name, (size_t)(at - *name));
        if (!reachable(registry_repository(&s->registry, repository), at + 1))
            sim_fail(s, "inv09_garbage_is_garbage", "%s is needed, and no tag keeps it", *name);
    }
}

void check_collected(struct sim *s)
{
    VEC_FOREACH (&s->check->needed, name) {
        char *at = strchr(*name, '@');
        cleanup_free char *repository = xstrndup(*name, (size_t)(at - *name));
        struct registry_repository *r = registry_repository(&s->registry, repository);
        if (!registry_manifest(r, at + 1))
            sim_fail(s, "inv09_garbage_is_garbage", "%s was collected, and is needed", *name);
    }
    check_every_step(s); /* no tag names what is gone */
}

/* ---- 11 ---- */

/* Every board is there and idle: who waits for one waits for one that takes nothing. */
static bool a_board_takes_nothing(const struct model *m)
{
    for (const struct board *b = m->boards; b; b = b->hh.next)
        if (b->state != BOARD_ONLINE)
            return true;
    return false;
}

static bool not_believed(const char *error)
{
    return error && strstr(error, "no refs");
}

bool waits_for_refs(const struct track *t)
{
    return t->state == TRACK_WAITING && t->reason.code == REASON_SOURCE_AWAY &&
           not_believed(t->reason.text);
}

static bool at_rest(const struct model *m, const struct track *t)
{
    switch (t->state) {
    case TRACK_UNKNOWN:
        return !t->image;
    case TRACK_WAITING:
        return waits_for_refs(t);
    case TRACK_PUBLISHING:
        return false;
    case TRACK_BUILDING:
        return t->reason.code == REASON_NO_BOARD ||
               (t->reason.code == REASON_BOARDS_BUSY && a_board_takes_nothing(m));
    default:
        return true;
    }
}

static bool says_away(const struct reason *r)
{
    return r->code == REASON_REGISTRY_AWAY ||
           (r->code == REASON_SOURCE_AWAY && !not_believed(r->text));
}

static const char *track_that_says_away(const struct model *m)
{
    for (const struct track *t = m->tracks; t; t = t->hh.next) {
        if (says_away(&t->reason))
            return t->reason.text;
        for (int p = 0; !t->stopped && p < PLATFORM_COUNT; p++)
            if (t->slots[p] && says_away(&t->slots[p]->reason))
                return t->slots[p]->reason.text;
    }
    return NULL;
}

/* What the model says to be away; a base that was deleted is gone, and one that nobody names is not looked at. */
static const char *said_to_be_away(const struct sim *s)
{
    const struct model *m = s->m;
    for (const struct source *o = m->sources; o; o = o->hh.next)
        if (o->error && !not_believed(o->error))
            return o->error;
    for (const struct base *b = m->bases; b; b = b->hh.next)
        if (b->error && !b->gone && b->dependents.n)
            return b->error;
    for (const struct publication *p = m->publications; p; p = p->hh.next)
        if (p->state < PUBLICATION_VERIFIED && p->error && sim_names_registry(s, p->repository))
            return p->error;
    for (const struct retention *r = m->places; r; r = r->hh.next)
        if (r->error && r->wanted && sim_names_registry(s, r->repository))
            return r->error;
    return track_that_says_away(m);
}

bool inv11_away_ends(struct sim *s, int64_t ms)
{
    const char *what = said_to_be_away(s);
    if (what && ms > AWAY_ENDS_MS)
        sim_fail(s, __func__, "nothing is away for %" PRId64 " s, and still it is said: %s",
                 ms / 1000, what);
    return what;
}

void inv11_every_track_says(struct sim *s)
{
    for (const struct track *t = s->m->tracks; t; t = t->hh.next) {
        if (!at_rest(s->m, t))
            sim_fail(s, __func__, "%s is %s (%s: %s) while nothing happens", t->id,
                     track_state_names[t->state], reason_names[t->reason.code],
                     t->reason.text ? t->reason.text : "");
        if (t->state == TRACK_CANCELLED && !s->check->ever_asked.n)
            sim_fail(s, __func__, "%s is cancelled, and nobody asked", t->id);
        if (t->image && t->reason.code == REASON_NONE)
            sim_fail(s, __func__, "%s is %s and does not say why", t->id,
                     track_state_names[t->state]);
    }
}

/* Tags of single platforms, and others of their names. */
static void cover_parts(const struct track *t)
{
    if (t->state == TRACK_BLOCKED && t->tag_error && strstr(t->tag_error, " alone; "))
        covered(COVERED_SEEN_PART_BLOCKED);
    VEC_FOREACH (&t->claims, it) {
        const struct tag_node *n = *it;
        if (n->whole && n->whole->current && t->conflict && str_starts(t->conflict, n->name))
            covered(COVERED_SEEN_PART_CONFLICT);
        VEC_FOREACH (&n->parts, part)
            if (t->conflict && str_starts(t->conflict, (*part)->name) && n->current)
                covered(COVERED_SEEN_PART_TAKEN);
    }
    VEC_FOREACH (&t->bases, n)
        if ((*n)->whole && (*n)->whole->claimants.n && t->last)
            covered(COVERED_SEEN_PART_BASE);
}

static void cover_tracks(const struct model *m)
{
    static const struct {
        enum reason_code code;
        enum coverage what;
    } codes[] = {{REASON_DORMANT, COVERED_SEEN_DORMANT},
                 {REASON_OUT_OF_BOUNDS, COVERED_SEEN_OUT_OF_BOUNDS},
                 {REASON_TAG_CONFLICT, COVERED_SEEN_CONFLICT},
                 {REASON_BASE_CYCLE, COVERED_SEEN_CYCLE},
                 {REASON_BASE_MISSING, COVERED_SEEN_BASE_MISSING},
                 {REASON_CONTEXT_GONE, COVERED_SEEN_CONTEXT_GONE},
                 {REASON_NO_BOARD, COVERED_SEEN_NO_BOARD}};
    for (const struct track *t = m->tracks; t; t = t->hh.next) {
        for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++)
            if (t->reason.code == codes[i].code)
                covered(codes[i].what);
        cover_parts(t);
        if (t->image && !t->ref && t->reason.code == REASON_INSPECTING)
            covered(COVERED_SEEN_AWAITED);
        if (t->image && !t->ref && t->reason.code == REASON_REF_DELETED)
            covered(COVERED_SEEN_NOT_THERE);
        if (t->reason.code == REASON_HELD && str_starts(t->reason.text, "tag "))
            covered(COVERED_SEEN_STAYS);
        for (int p = 0; p < PLATFORM_COUNT; p++)
            if (t->slots[p] && slot_stale(t->slots[p]))
                covered(COVERED_SEEN_STALE);
    }
    for (const struct job *j = m->jobs; j; j = j->hh.next)
        if (j->builds.n > 1)
            covered(COVERED_JOBS_SHARED);
}

/* Whose image is published elsewhere by now, or nowhere, has given up what has put no tag. */
static void inv10_what_left_is_given_up(struct sim *s)
{
    for (const struct publication *p = s->m->publications; p; p = p->hh.next) {
        const struct track *t = p->state < PUBLICATION_TAGS ? track_find(s->m, p->track_id) : NULL;
        if (t && !(t->image && str_eq(t->image->repository, p->repository)))
            sim_fail(s, __func__, "publication %" PRId64 " goes on to %s", p->id, p->repository);
    }
}

/* ---- when ---- */

void check_step(struct sim *s)
{
    check_every_step(s);
    if (s->in_turn || !sim_dear(s))
        return;
    cover_tracks(s->m);
    inv10_what_left_is_given_up(s);
    inv12_full_plan_agrees(s);
    inv04_store_equals_model(s);
    if (!s->strangers)
        inv09_needed_is_kept(s);
}

/* ---- 3: at rest ---- */

static bool claims_shared(const struct track *t, const struct tag_node *n)
{
    for (size_t i = 0; i < t->claims.n; i++)
        if (t->claims.items[i] == n)
            return t->shared.items[i];
    return false;
}

/* Whether it was put with another tag, as what that is for one platform. */
static bool is_part(const struct tag *tag)
{
    VEC_FOREACH (&tag->shown->tags, pt)
        if (str_eq((*pt)->tag, tag->name))
            return !(*pt)->index;
    return false;
}

/* Whether somebody else puts a tag of which this one, that `t` has not got, is a single platform's: `t` is in conflict. */
static bool is_part_of_another(const struct track *t, const struct tag_node *n)
{
    if (!n->whole || (n->current && str_eq(n->current->track_id, t->id)))
        return false;
    VEC_FOREACH (&n->whole->claimants, it) {
        const struct track *o = *it;
        if (o != t && o->image && o->last && !o->retired && o->slots[n->platform])
            return true;
    }
    return false;
}

/* Of those that are published, the one of the highest version has the tag. */
static bool owner(const struct track *t, const struct tag_node *n)
{
    if ((n->current && n->current->shown && is_part(n->current)) || is_part_of_another(t, n))
        return false;
    struct tag_claimant mine = {claims_shared(t, n), &t->parsed_version};
    VEC_FOREACH (&n->claimants, it) {
        const struct track *o = *it;
        struct tag_claimant theirs = {claims_shared(o, n), &o->parsed_version};
        if (o == t || !o->image || !o->last || o->retired)
            continue;
        bool stays = n->current && str_eq(n->current->track_id, o->id);
        if (stays || tag_owner_cmp(&mine, &theirs) <= 0)
            return false;
    }
    return true;
}

static void inv03_tags_name_what_is_wanted(struct sim *s, const struct track *t)
{
    VEC_FOREACH (&t->claims, it) {
        const struct tag *tag = (*it)->current;
        if (!tag || !owner(t, *it))
            continue;
        struct registry_repository *r = registry_repository(&s->registry, tag->repository);
        const struct publication *p = publication_find(s->m, tag->publication);
        if (!str_eq(registry_tag(r, tag->name), tag->digest) && !s->strangers)
            sim_fail(s, __func__, "%s:%s is not what the farm believes", r->name, tag->name);
        for (int k = 0; k < PLATFORM_COUNT; k++) {
            const struct slot *slot = t->slots[k];
            if (!slot || slot->state != SLOT_READY || !slot_gates(slot))
                continue;
            const struct child *c = publication_child(p, (enum platform)k);
            if (!c || !slot->job || !str_eq(c->content, slot->job->content_digest))
                sim_fail(s, __func__, "%s:%s does not have what %s wants for %s", r->name,
                         tag->name, t->id, slot->platform_name);
        }
    }
}

/* Boards are idle: a job waits only where none of them takes it. */
static void inv03_what_can_run_runs(struct sim *s)
{
    for (const struct board *b = s->m->boards; b; b = b->hh.next)
        if (b->state != BOARD_ONLINE)
            return;
    for (const struct job *j = s->m->jobs; j; j = j->hh.next)
        if (j->state == JOB_WANTED && schedule_can_run(s->m, j))
            sim_fail(s, __func__, "%s for %s could run, and does not", j->track, j->platform_name);
}

/* Where upstream has the track's ref: -1 where it has not. */
static int upstream_at(struct sim *s, const struct track *t, const struct upstream_sim **ret_up)
{
    const struct image_spec *i = &s->spec.image[image_of_path(t->image_name)];
    const struct upstream_sim *up = &s->source[i->source].up;
    unsigned ref = 0;
    while (!str_eq(ref_name(ref), t->ref_name))
        ref++;
    *ret_up = up;
    return up->refs.at[ref];
}

static void inv03_inputs_are_upstreams(struct sim *s, const struct track *t)
{
    const struct upstream_sim *up;
    int at = upstream_at(s, t, &up);
    if (source_get(s->m, t->ref->source)->error)
        return; /* no refs where there were some: nothing is believed */
    if (at < 0 || !str_eq(t->ref->commit, up->commits.items[at].id))
        sim_fail(s, __func__, "%s is published, and upstream is elsewhere", t->id);
}

/* What is in farm.yaml counts as deleted where its source, be it another one by now, has not the ref, and only there. */
static void inv03_deleted_is_not_there(struct sim *s, const struct track *t)
{
    const struct upstream_sim *up;
    const struct source *source = NULL;
    if (t->image)
        HASH_FIND_STR(s->m->sources, t->image->source, source);
    if (!source || source->error)
        return;
    bool there = upstream_at(s, t, &up) >= 0;
    if (t->ref && !str_eq(t->ref->source, t->image->source))
        sim_fail(s, __func__, "%s follows a ref of %s", t->id, t->ref->source);
    if (there != (t->ref && !t->deleted))
        sim_fail(s, __func__, "%s: upstream %s its ref, and it %s", t->id,
                 there ? "has" : "has not", t->ref && !t->deleted ? "has one" : "is deleted");
}

/* Whether its newest inputs are none that can be built: files that are refused, a folder that has gone, a base that is away. */
static bool cannot_be_built(const struct track *t)
{
    for (int p = 0; p < PLATFORM_COUNT; p++) {
        const struct slot *s = t->slots[p];
        if (s && slot_gates(s) && (s->state == SLOT_BLOCKED || s->state == SLOT_WAITING))
            return true;
    }
    return t->stopped;
}

/* What a person keeps from publishing is made of the newest inputs all the same, and waits as held. */
static void inv03_what_waits_is_the_newest(struct sim *s, const struct track *t)
{
    bool waits = t->state == TRACK_HELD || t->state == TRACK_CONFLICT ||
                 t->reason.code == REASON_REPOSITORY_STOPPED;
    if (!waits || cannot_be_built(t))
        return;
    if (t->pinned && t->reason.code == REASON_REPOSITORY_STOPPED)
        return; /* it is its return that waits, whatever the build does meanwhile */
    if (build_active(t->current) && t->current->state != BUILD_HELD)
        sim_fail(s, __func__, "%s waits for a person, and its build is %s", t->id,
                 build_state_names[t->current->state]);
    VEC_FOREACH (&t->current->jobs, bj) {
        const struct slot *slot = t->slots[(*bj)->platform];
        if (slot->state == SLOT_READY && !str_eq(slot->key, (*bj)->job_key))
            sim_fail(s, __func__, "%s waits for a person with %s of older inputs", t->id,
                     slot->platform_name);
    }
}

void check_rest(struct sim *s)
{
    inv11_every_track_says(s);
    inv12_full_plan_agrees(s);
    if ((s->flags & HISTORY_ALL) || s->history->seed % 2)
        inv04_store_equals_model(s);
    check_every_step(s);
    cover_tracks(s->m);
    for (const struct track *t = s->m->tracks; t; t = t->hh.next) {
        inv03_what_waits_is_the_newest(s, t);
        inv03_deleted_is_not_there(s, t);
        if (t->state == TRACK_PUBLISHED && !t->pinned) {
            inv03_inputs_are_upstreams(s, t);
            inv03_tags_name_what_is_wanted(s, t);
        }
    }
    inv03_what_can_run_runs(s);
    uint64_t rows = check_rows_written(s);
    sim_crash(s, true, 0);
    if (check_rows_written(s) != rows)
        sim_fail(s, "inv03_fixpoint", "a restart decides something");
}
