/* The kinds of step, and what each does: one line in the table, one function. */
#include "daemon/model/state.h"
#include "tests/model/check.h"
#include "tests/model/short.h"

/* ---- upstream ---- */

static unsigned some_source(struct sim *s, unsigned a)
{
    return a % s->spec.n_sources;
}

static void push(struct sim *s, const struct step *st)
{
    unsigned i = some_source(s, st->a);
    struct upstream_sim *up = &s->source[i].up;
    sim_say(s, "%s: a push to %s", source_url(i), ref_name(st->b % up->n_refs));
    upstream_push(up, st->b, mix(st->c));
}

static void rewrite(struct sim *s, const struct step *st)
{
    unsigned i = some_source(s, st->a);
    struct upstream_sim *up = &s->source[i].up;
    const char *ref = ref_name(st->b % up->n_refs);
    switch (st->c % 5) {
    case 0:
        covered(COVERED_FORCED);
        sim_say(s, "%s: a forced push to %s", source_url(i), ref);
        upstream_force(up, st->b, mix(st->c));
        return;
    case 1:
        sim_say(s, "%s: %s is reverted by a commit", source_url(i), ref);
        upstream_revert(up, st->b, mix(st->c));
        return;
    case 2:
        sim_say(s, "%s: %s is moved back", source_url(i), ref);
        upstream_rewind(up, st->b, mix(st->c));
        return;
    default:
        sim_say(s, "%s: %s is deleted", source_url(i), ref);
        upstream_delete(up, st->b);
    }
}

static void look(struct sim *s, const struct step *st)
{
    unsigned i = some_source(s, st->a);
    unsigned lag = st->b % 6 == 0 ? 1 + st->c % 3 : 0;
    sim_say(s, "%s is listed%s", source_url(i), lag ? ", by a mirror that lags" : "");
    source_list(s, i, lag);
    if (st->c % 4)
        source_listed(s, i, st->b % 8 == 1);
}

static void looked(struct sim *s, const struct step *st)
{
    unsigned i = some_source(s, st->a);
    sim_say(s, "the listing of %s %s", source_url(i), st->b % 6 == 0 ? "is lost" : "arrives");
    source_listed(s, i, st->b % 6 == 0);
}

static void source_away(struct sim *s, const struct step *st)
{
    unsigned i = some_source(s, st->a);
    s->source[i].up.away = !s->source[i].up.away;
    sim_say(s, "%s is %s", source_url(i), s->source[i].up.away ? "away" : "there again");
}

static void outside(struct sim *s, const struct step *st)
{
    unsigned i = st->a % N_OUTSIDE;
    struct outside_sim *o = &s->outside[i];
    if (st->b % 4) {
        covered(COVERED_BASES_MOVED);
        o->version++;
        sim_say(s, "%s moves", outside_name(i));
    } else if (st->b % 8 == 0) {
        o->gone = !o->gone;
        sim_say(s, "%s is %s", outside_name(i), o->gone ? "deleted" : "there again");
    } else {
        o->away = !o->away;
        sim_say(s, "the registry of %s is %s", outside_name(i), o->away ? "away" : "there again");
    }
}

/* ---- effects ---- */

static void effect(struct sim *s, const struct step *st)
{
    static const enum op_way ways[] = {OP_DONE, OP_DONE,       OP_DONE,        OP_DONE,
                                       OP_DONE, OP_DONE_LATER, OP_ANSWER_LOST, OP_FAILED};
    for (unsigned n = 1 + st->c % 3; n > 0 && s->ops.n; n--)
        op_run(s, (st->a + n) % s->ops.n, ways[(st->b >> n) % 8]);
}

static void registry(struct sim *s, const struct step *st)
{
    s->registry.away = !s->registry.away;
    sim_say(s, "the registry is %s", s->registry.away ? "away" : "there again");
}

static void collect(struct sim *s, const struct step *st)
{
    check_before_collecting(s);
    unsigned n = registry_collect(&s->registry);
    check_collected(s);
    covered_more(COVERED_COLLECTED, n);
    sim_say(s, "the registry collects garbage: %u manifests", n);
}

static struct registry_repository *some_repository(struct sim *s, unsigned a)
{
    struct registry_repository *r = s->registry.repositories;
    for (unsigned n = a % 4; r && n > 0 && r->hh.next; n--)
        r = r->hh.next;
    return r;
}

static bool is_place(const struct registry_tag *t)
{
    return t->name[0] == '_';
}

/* Whether a tag that people read names the manifest, or an index that has it; with `places`, one of the others too. */
static bool is_named(struct registry_repository *r, const struct manifest *m, bool places)
{
    for (const struct registry_tag *t = r->tags; t; t = t->hh.next) {
        const struct manifest *named = registry_manifest(r, t->digest);
        bool names = named == m || (named && strvec_has(&named->children, m->digest));
        if (names && (places || !is_place(t)))
            return true;
    }
    return false;
}

/* An accident: of what no tag keeps or, as if somebody had deleted it there, of what no tag but a place does. */
static void lose_manifest(struct sim *s, const struct step *st)
{
    struct registry_repository *r = some_repository(s, st->a);
    struct manifest *m = r ? r->manifests : NULL;
    for (unsigned n = st->b % 8; m && n > 0 && m->hh.next; n--)
        m = m->hh.next;
    if (!m || is_named(r, m, st->c % 2))
        return;
    sim_say(s, "the registry loses %.14s of %s", m->digest, r->name);
    if (is_named(r, m, true)) {
        s->strangers = true;
        covered(COVERED_LOST_KEPT);
    }
    registry_lose(r, m->digest);
}

/* Another index of ours; the tag's own where there is none. */
static const char *other_index(struct registry_repository *r, const struct registry_tag *t)
{
    for (const struct manifest *m = r->manifests; m; m = m->hh.next)
        if (m->index && m->children.n && !str_eq(m->digest, t->digest))
            return m->digest;
    return t->digest;
}

static void stranger(struct sim *s, const struct step *st)
{
    struct registry_repository *r = some_repository(s, st->a);
    struct registry_tag *t = r ? r->tags : NULL;
    for (unsigned n = st->a / 4 % 8; t && n > 0 && t->hh.next; n--)
        t = t->hh.next;
    if (!t || is_place(t))
        return; /* nobody is so foolish */
    s->strangers = true;
    covered(COVERED_STRANGERS);
    if (st->b % 4 == 0) {
        sim_say(s, "somebody deletes %s:%s by hand", r->name, t->name);
        registry_delete_tag(r, t->name);
        return;
    }
    sim_say(s, "somebody moves %s:%s by hand", r->name, t->name);
    if (st->b % 4 == 1) {
        cleanup_free char *name = xstrdup(t->name), *digest = xstrdup(other_index(r, t));
        registry_set_tag(r, name, digest);
        return;
    }
    struct effect e = {.media_type = (char *)(uintptr_t) "application/x"};
    char digest[72];
    digest_from(mix3(st->b, st->c, 8), digest);
    e.digest = digest;
    registry_put_index(r, &e);
    registry_set_tag(r, t->name, digest);
}

/* ---- boards ---- */

static void board(struct sim *s, const struct step *st)
{
    unsigned i = st->a % s->spec.n_boards;
    struct board_sim *b = &s->board[i];
    switch (st->b % 6) {
    case 0:
        sim_say(s, "board %s %s", b->name, b->up ? "loses power" : "starts");
        if (b->up)
            board_down(s, i);
        else
            board_up(s, i);
        return;
    case 1:
        sim_say(s, "board %s: its agent is restarted", b->name);
        board_down(s, i);
        b->buildah += st->c % 3 == 0; /* upgraded meanwhile */
        board_up(s, i);
        return;
    case 2:
        b->hot = !b->hot;
        return;
    case 3:
        b->full = !b->full;
        return;
    case 4:
        sim_say(s, "board %s %s draining", b->name,
                b->session && session_is_draining(b->session) ? "ends" : "begins");
        if (b->session)
            session_set_draining(b->session, s->now, !session_is_draining(b->session));
        return;
    default:
        board_up(s, i);
    }
}

/* A board with work loses power for longer than its leases last. */
static void dies(struct sim *s, const struct step *st)
{
    for (unsigned k = 0; k < s->spec.n_boards; k++) {
        unsigned i = (st->a + k) % s->spec.n_boards;
        if (!s->board[i].up || !s->board[i].running.n)
            continue;
        sim_say(s, "board %s loses power for long", s->board[i].name);
        board_down(s, i);
        sim_pass(s);
        sim_advance(s, s->spec.lease_term_ms + 40000);
        return;
    }
}

static bool go_on_so_far(struct sim *s, bool jobs);

/* A job of the board has to go elsewhere, and all others lose power for more than a day. */
static void others_vanish(struct sim *s, const struct step *st)
{
    unsigned at = st->a % s->spec.n_boards;
    struct board_sim *b = &s->board[at];
    if (s->spec.n_boards < 2 || !b->running.n || b->net != NET_OK || (s->stalled && s->busy))
        return;
    sim_say(s, "all boards but %s lose power for long", b->name);
    for (unsigned i = 0; i < s->spec.n_boards; i++)
        if (i != at)
            board_down(s, i);
    job_ends(s, at, 0, st->c % 2 ? END_MEMORY : END_TIMEOUT);
    for (unsigned n = 0; n < 3; n++)
        go_on_so_far(s, false);
    sim_advance(s, 25 * 3600000);
}

static void network(struct sim *s, const struct step *st)
{
    static const char *const texts[] = {"works", "is slow", "is cut"};
    if (st->b % 8 == 4) {
        others_vanish(s, st);
        return;
    }
    struct board_sim *b = &s->board[st->a % s->spec.n_boards];
    b->mute = st->b % 8 == 7;
    if (b->mute) {
        sim_say(s, "board %s: its polls forget what it holds", b->name);
        sim_pass(s);
        if (b->running.n)
            sim_advance(s, s->spec.lease_term_ms + 40000);
        return;
    }
    if (st->b % 4 == 3) {
        b->lose_replies = 1 + st->c % 2;
        sim_say(s, "board %s: answers will be lost", b->name);
        return;
    }
    b->net = (enum net)(st->b % 4);
    sim_say(s, "board %s: its network %s", b->name, texts[b->net]);
}

static void call(struct sim *s, const struct step *st)
{
    if (s->rpcs.n)
        rpc_deliver(s, st->a % s->rpcs.n, st->b % 8 == 0);
}

static void ends(struct sim *s, const struct step *st)
{
    static const enum ending endings[] = {END_SUCCESS, END_SUCCESS, END_SUCCESS,  END_SAME,
                                          END_SAME,    END_RECIPE,  END_RECIPE,   END_INFRA,
                                          END_TIMEOUT, END_MEMORY,  END_REJECTED, END_LOST};
    for (unsigned k = 0; k < s->spec.n_boards; k++) {
        unsigned i = (st->a + k) % s->spec.n_boards;
        if (!s->board[i].running.n)
            continue;
        job_ends(s, i, st->b % s->board[i].running.n, endings[st->c % 12]);
        return;
    }
}

/* ---- the coordinator ---- */

static void crash(struct sim *s, const struct step *st)
{
    sim_say(s, "the coordinator is killed%s, and started again",
            !s->busy    ? ""
            : st->a & 1 ? " after its commit"
                        : " before its commit");
    sim_crash(s, st->a & 1, st->b);
}

static void slow(struct sim *s, const struct step *st)
{
    s->commit_slow = 1 + st->a % 6;
    sim_say(s, "the store is slow for %u passes", s->commit_slow);
}

static void full(struct sim *s, const struct step *st)
{
    if (!s->stalled)
        covered(COVERED_STALLS);
    sim_stall(s, !s->stalled);
    sim_say(s, "the store %s", s->stalled ? "has no room" : "has room again");
}

static void command(struct sim *s, const struct step *st)
{
    if (s->stalled && s->busy)
        return; /* 503 */
    command_do(s, st->a, st->b, st->c);
}

static void wait(struct sim *s, const struct step *st)
{
    static const int64_t times[] = {100, 2000, 6000, 20000, 20000, 60000, 100000, 400000};
    int64_t ms = st->a % 64 == 0 ? 3700000 : times[st->a / 64 % 8];
    ms = st->a % 1024 == 1 ? 25 * 3600000
                           : ms; /* nothing waits for a board that is away for so long */
    sim_say(s, "%lld s go by", (long long)ms / 1000);
    sim_pass(s);
    sim_advance(s, ms);
}

static void wall(struct sim *s, const struct step *st)
{
    if (s->flags & HISTORY_STILL_WALL)
        return;
    covered(COVERED_WALL_JUMPS);
    int64_t jump = (int64_t)(1 + st->a % 1000) * 3600000;
    s->wall_skew += st->b & 1 ? jump : -jump;
    sim_say(s, "the wall clock jumps by %lld h", (long long)(st->b & 1 ? jump : -jump) / 3600000);
}

/* ---- going on ---- */

static bool finish_jobs(struct sim *s)
{
    bool any = false;
    for (unsigned i = 0; i < s->spec.n_boards; i++)
        for (size_t k = 0; k < s->board[i].running.n; k++) {
            struct board_sim *b = &s->board[i];
            if (!b->up || b->running.items[k].ended)
                continue;
            job_ends(s, i, k, END_SUCCESS);
            any = true;
        }
    return any;
}

static bool go_on_so_far(struct sim *s, bool jobs)
{
    bool any = false;
    for (unsigned i = 0; i < s->spec.n_sources; i++)
        if (s->source[i].listing) {
            source_listed(s, i, false);
            sim_pass(s);
        }
    for (unsigned n = 0; s->ops.n && n < 200; n++) {
        op_run(s, 0, OP_DONE);
        sim_pass(s);
        any = true;
    }
    if (jobs)
        any = finish_jobs(s) || any;
    sim_advance(s, 1000);
    return any || s->ops.n;
}

bool go_on(struct sim *s)
{
    return go_on_so_far(s, true);
}

static void goes_on(struct sim *s, const struct step *st)
{
    unsigned i = some_source(s, st->a);
    sim_pass(s);
    source_list(s, i, 0);
    for (unsigned n = 1 + st->b % 4; n > 0; n--)
        go_on_so_far(s, st->c % 3 != 0);
}

/* ---- another farm.yaml ---- */

static const struct publication *in_its_tags(const struct sim *s)
{
    for (const struct publication *p = s->m->publications; p; p = p->hh.next)
        if (p->state == PUBLICATION_TAGS)
            return p;
    return NULL;
}

/* All that is under way is carried out, but for tags. */
static void all_but_tags(struct sim *s)
{
    for (size_t i = 0, n = 0; i < s->ops.n && n < 200; n++) {
        const struct effect *e = &s->ops.items[i].effect;
        if (e->kind == EFFECT_PUBLISH && e->step == PUBLISH_VERIFY) {
            i++;
            continue;
        }
        op_run(s, i, OP_DONE);
        sim_pass(s);
    }
}

/* A publication that moves its tags, if one comes so far. */
static const struct publication *comes_to_its_tags(struct sim *s)
{
    const struct publication *p = in_its_tags(s);
    for (unsigned n = 0; !p && n < 6 && !(s->stalled && s->busy); n++) {
        finish_jobs(s);
        sim_advance(s, 1000);
        all_but_tags(s);
        p = in_its_tags(s);
    }
    return p;
}

static void reload(struct sim *s, const struct step *st)
{
    const struct publication *p = st->c % 8 ? NULL : comes_to_its_tags(s);
    if (p) {
        sim_say(s, "farm.yaml: the registry of %s leaves it", p->repository);
        farm_spec_leave(&s->spec, p->repository);
    } else {
        sim_say(s, "farm.yaml: %s: %s", image_name(st->a % s->spec.n_images),
                farm_spec_edit(&s->spec, st->a, st->b));
    }
    if (s->stalled && s->busy)
        return; /* taken up with the next one */
    sim_reload(s);
}

/* ---- a base that moves on while what is built on it waits ---- */

/* Whether something else that is kept in date is built on it. */
static bool is_base(const struct track *t)
{
    VEC_FOREACH (&t->claims, node)
        VEC_FOREACH (&(*node)->dependents, d)
            if (t->ref && *d != t && !t->stopped && !(*d)->stopped)
                return true;
    return false;
}

/* One of them, and rather one that is published. */
static const struct track *some_base(struct sim *s, unsigned a)
{
    const struct track *found = NULL;
    unsigned n = 0;
    for (const struct track *t = s->m->tracks; t; t = t->hh.next) {
        if (!is_base(t) || (found && found->last && !t->last))
            continue;
        n = found && !found->last && t->last ? 1 : n + 1;
        if (mix2(a, n) % n == 0)
            found = t;
    }
    return found;
}

/* How the jobs on boards end that are of that image, or those that are not. */
static void jobs_end(struct sim *s, const char *image, bool its, enum ending how)
{
    for (unsigned i = 0; i < s->spec.n_boards; i++)
        for (size_t k = 0; k < s->board[i].running.n; k++) {
            const struct running *r = &s->board[i].running.items[k];
            if (s->board[i].up && !r->ended && str_eq(r->image, image) == its)
                job_ends(s, i, k, how);
        }
}

/* Whether a job of that image waits for a board. */
static bool waits_for_a_board(const struct sim *s, const char *image)
{
    for (const struct job *j = s->m->jobs; j; j = j->hh.next)
        if (j->state == JOB_WANTED && strncmp(j->track, image, strlen(image)) == 0)
            return true;
    return false;
}

/* Nothing stands in the way: what goes on ends, if it can. */
static void all_is_well(struct sim *s, unsigned source)
{
    s->registry.away = s->source[source].up.away = false;
    for (unsigned i = 0; i < s->spec.n_boards; i++) {
        struct board_sim *b = &s->board[i];
        b->net = NET_OK;
        b->hot = b->full = b->bad = b->mute = false;
        board_up(s, i);
    }
    for (unsigned n = 0; n < 8; n++)
        go_on(s);
}

/* A push to the base, and what follows. All other jobs stay where they are, but for those that are in its way. */
static void base_moves(struct sim *s, const char *image, unsigned source, unsigned ref,
                       uint64_t content)
{
    upstream_push(&s->source[source].up, ref, content | 1);
    sim_pass(s);
    source_list(s, source, 0);
    for (unsigned k = 0; k < 3; k++) {
        go_on_so_far(s, false);
        jobs_end(s, image, true, END_SUCCESS);
        if (waits_for_a_board(s, image))
            jobs_end(s, image, false, END_INFRA);
    }
    go_on_so_far(s, false);
}

/* Those that were left are built after all, on what the base was. */
static void others_end(struct sim *s, const char *image, enum ending how)
{
    for (unsigned n = 0; n < 3; n++) {
        jobs_end(s, image, false, how);
        go_on_so_far(s, false);
    }
}

/* Far enough that what is built on it is superseded as often as it may be, and that more is published then than is
 * kept. What that may not take from the job that still waits, the collector would. */
static void base_moves_on(struct sim *s, const struct step *st)
{
    static const enum ending endings[] = {END_SUCCESS, END_SAME, END_RECIPE, END_REJECTED};
    const struct track *t = some_base(s, st->a);
    if (!t || (s->stalled && s->busy))
        return;
    unsigned source = s->spec.image[image_of_path(t->image_name)].source, ref = 0;
    cleanup_free char *image = xstrdup(t->image_name);
    while (ref + 1 < MAX_REFS && !str_eq(ref_name(ref), t->ref_name))
        ref++;
    sim_say(s, "%s moves on, and on", t->id);
    all_is_well(s, source);
    for (unsigned n = st->b % 4 ? 6 + (unsigned)s->spec.keep : 2 + st->b / 4 % 3; n > 0; n--)
        base_moves(s, image, source, ref, mix2(st->c, n));
    covered(COVERED_BASES_MOVED_ON);
    if (st->c % 2)
        collect(s, st);
    if (st->c / 2 % 3)
        others_end(s, image, endings[st->c / 6 % 4]);
    s->look = true;
}

static const struct kind {
    const char *name;
    unsigned weight;
    void (*run)(struct sim *s, const struct step *st);
    short_form *on_a_farm; /* NULL: nothing that a real farm can carry out */
} kinds[] = {
    {"goes-on", 18, goes_on, short_goes_on},
    {"push", 10, push, short_push},
    {"rewrite", 6, rewrite, short_rewrite},
    {"look", 8, look, short_look},
    {"looked", 3, looked},
    {"source-away", 1, source_away, short_source_away},
    {"outside", 3, outside},
    {"effect", 18, effect},
    {"registry", 2, registry, short_registry},
    {"collect", 1, collect, short_collect},
    {"lose", 1, lose_manifest},
    {"stranger", 2, stranger},
    {"board", 5, board, short_board},
    {"network", 4, network},
    {"call", 6, call},
    {"ends", 14, ends},
    {"crash", 4, crash, short_crash},
    {"dies", 2, dies, short_dies},
    {"slow", 3, slow},
    {"full", 3, full},
    {"reload", 4, reload, short_reload},
    {"command", 5, command, short_command},
    {"wait", 8, wait},
    {"wall", 2, wall},
    {"base-moves-on", 2, base_moves_on},
};

unsigned n_step_kinds(void)
{
    return sizeof(kinds) / sizeof(*kinds);
}

unsigned step_weight(unsigned kind)
{
    return kinds[kind].weight;
}

bool step_short(const struct step *st)
{
    return kinds[st->kind].on_a_farm && kinds[st->kind].on_a_farm(st);
}

void step_do(struct sim *s, const struct step *st)
{
    kinds[st->kind].run(s, st);
    if (st->joined)
        return;
    sim_pass(s);
    boards_pump(s);
}
