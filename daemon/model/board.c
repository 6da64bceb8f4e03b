/* Boards.
 *
 *     happy path     joining -> online (its first session) -> draining -> offline
 *     failure modes  no poll for a term: offline, back online with its next poll; blamed too often: quarantined
 *                    until its agent is started anew */
#include "common/dockerfile.h"
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"
#include "daemon/model/schedule.h"

#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>

#define BIT(s)        (1u << (s))
#define GONE_AFTER_MS ((int64_t)24 * 60 * 60 * 1000)

static const unsigned allowed[] = {
    [BOARD_JOINING] = BIT(BOARD_ONLINE),
    [BOARD_ONLINE] = BIT(BOARD_DRAINING) | BIT(BOARD_OFFLINE) | BIT(BOARD_QUARANTINED),
    [BOARD_DRAINING] = BIT(BOARD_ONLINE) | BIT(BOARD_OFFLINE) | BIT(BOARD_QUARANTINED),
    [BOARD_OFFLINE] = BIT(BOARD_ONLINE) | BIT(BOARD_DRAINING) | BIT(BOARD_QUARANTINED),
    [BOARD_QUARANTINED] = BIT(BOARD_OFFLINE),
};

bool board_may(enum board_state from, enum board_state to)
{
    return allowed[from] & BIT(to);
}

struct board *board_find(const struct model *m, const char *name)
{
    struct board *b = NULL;
    HASH_FIND_STR(m->boards, name, b);
    return b;
}

void board_add(struct model *m, struct board *b)
{
    b->temperature = NAN;
    HASH_ADD_KEYPTR(hh, m->boards, b->name, strlen(b->name), b);
}

/* What waits for a board may go on, or has to say why it does not. */
static bool waits_for_board(const struct track *t)
{
    if (t->state == TRACK_BUILDING ||
        (t->state == TRACK_WAITING && t->reason.code == REASON_BASE_BUILDING))
        return true;
    for (int p = 0; p < PLATFORM_COUNT; p++) {
        const struct job *j = t->slots[p] ? t->slots[p]->job : NULL;
        if (j && j->state == JOB_FAILED && j->memory_above)
            return true;
    }
    return false;
}

void board_plan_waiting(struct model *m)
{
    for (struct track *t = m->tracks; t; t = t->hh.next)
        if (waits_for_board(t))
            model_plan_later(m, t);
}

/* What waits for a board looks again, and is placed anew. */
static void changed(struct model *m)
{
    schedule_boards_changed(m);
    board_plan_waiting(m);
}

void board_move(struct model *m, struct board *b, enum board_state state)
{
    if (b->state == state)
        return;
    assert(board_may(b->state, state));
    b->state = state;
    model_touch(m, b);
    if (state != BOARD_ONLINE) /* one that is connects may ask for nothing: its poll says */
        board_takes(m, b, false);
    changed(m);
}

/* ---- how long it has taken nothing ---- */

int64_t board_gone_clock(const struct board *b)
{
    return b->away_clock + GONE_AFTER_MS;
}

void board_takes(struct model *m, struct board *b, bool takes)
{
    if (takes == !b->away_clock)
        return;
    b->away_clock = takes ? 0 : model_clock(m);
    model_touch(m, b);
    if (!takes)
        model_timer(m, model_clock_due(m, board_gone_clock(b)));
    if (!b->gone)
        return;
    b->gone = false;
    changed(m);
}

static bool gone_by_now(struct model *m, const struct board *b)
{
    if (!b->away_clock)
        return false;
    int64_t due = model_clock_due(m, board_gone_clock(b));
    if (due > m->mono)
        model_timer(m, due);
    return due <= m->mono;
}

static void gone_due(struct model *m, struct board *b)
{
    if (b->gone || !gone_by_now(m, b))
        return;
    b->gone = true;
    changed(m);
}

void boards_start(struct model *m)
{
    for (struct board *b = m->boards; b; b = b->hh.next) {
        b->due = m->mono + m->farm->lease_term_ms;
        model_timer(m, b->due);
        b->gone = gone_by_now(m, b);
    }
}

static void take_facts(struct board *b, const struct wire_facts *facts)
{
    memset(b->native, 0, sizeof(b->native));
    memset(b->emulated, 0, sizeof(b->emulated));
    enum platform p;
    VEC_FOREACH (&facts->platforms, name)
        if (platform_parse(*name, &p, NULL) == 0)
            b->native[p] = true;
    VEC_FOREACH (&facts->emulated, name)
        if (platform_parse(*name, &p, NULL) == 0)
            b->emulated[p] = !b->native[p];
    b->slots = facts->slots;
    b->memory = facts->memory;
    b->kind_rootfs = strvec_has(&facts->kinds, "rootfs");
    b->kind_dockerfile = strvec_has(&facts->kinds, "dockerfile");
    strvec_done(&b->labels);
    VEC_FOREACH (&facts->labels, label)
        strvec_add(&b->labels, *label);
}

/* The newest version of buildah that a board has; NULL: none is known. */
static const char *newest_buildah(const struct model *m)
{
    const char *newest = NULL;
    struct version best = {0}, this;
    for (const struct board *b = m->boards; b; b = b->hh.next) {
        if (!b->buildah_version || version_parse(b->buildah_version, &this) < 0 ||
            (newest && version_cmp(&this, &best) <= 0))
            continue;
        newest = b->buildah_version;
        best = this;
    }
    return newest;
}

/* What the newest builder at hand cannot parse is refused before dispatch. */
static void note_buildah(struct model *m)
{
    const char *newest = newest_buildah(m);
    if (str_eq(newest, m->buildah))
        return;
    str_replace(&m->buildah, newest);
    for (struct track *t = m->tracks; t; t = t->hh.next)
        for (int p = 0; p < PLATFORM_COUNT; p++)
            if (t->slots[p])
                slot_forget(m, t->slots[p]);
    plan_all(m);
}

void board_take_facts(struct model *m, struct board *b, const struct wire_facts *facts)
{
    take_facts(b, facts);
    const char *buildah = wire_map_get(&facts->builders, "buildah");
    b->buildah = buildah ? dockerfile_buildah_number(buildah) : INT_MAX;
    str_replace(&b->buildah_version, buildah);
    note_buildah(m);
}

void board_decode(struct model *m, struct board *b)
{
    struct wire_facts facts = {0};
    if (!b->facts || wire_facts_decode(b->facts, strlen(b->facts), &facts, NULL) < 0)
        return;
    board_take_facts(m, b, &facts);
    wire_facts_done(&facts);
}

int64_t board_slots(const struct model *m, const struct board *b)
{
    const struct farm_board_rule *rule = farm_board_rule(m->farm, b->name);
    return rule && rule->slots && rule->slots < b->slots ? rule->slots : b->slots;
}

char *board_why_not(const struct model *m, const struct board *b)
{
    const struct farm_board_rule *rule = farm_board_rule(m->farm, b->name);
    int64_t min_disk = rule ? rule->min_disk : m->farm->min_disk;
    if (b->state == BOARD_QUARANTINED)
        return xasprintf("is quarantined: %" PRId64 " jobs failed on it and then succeeded on "
                         "another board; it takes work again once its agent is started anew",
                         b->blames);
    if (b->state == BOARD_JOINING)
        return xstrdup("has not connected yet: start its sheaf-agent");
    if (b->state != BOARD_ONLINE)
        return xasprintf("is %s", board_state_names[b->state]);
    if (!b->seq)
        return xstrdup("has connected and not asked for work yet");
    if (b->draining)
        return xstrdup("is draining");
    if (rule && rule->max_temperature && b->temperature > rule->max_temperature)
        return xasprintf("is hot (%.0f of %d degrees)", b->temperature, rule->max_temperature);
    if (b->disk_free < min_disk)
        return xasprintf("is low on disk (%" PRId64 " of %" PRId64 " MiB)", b->disk_free >> 20,
                         min_disk >> 20);
    return NULL;
}

/* ---- events ---- */

void model_on_board_added(struct model *m, const char *name, const char *secret_hash)
{
    struct board *b = board_find(m, name);
    if (!b) {
        b = xnew(struct board);
        b->row.table = TABLE_BOARD;
        b->name = xstrdup(name);
        b->joined_at = m->wall;
        board_add(m, b);
    }
    str_replace(&b->secret_hash, secret_hash);
    model_touch(m, b);
}

const char *model_board_by_secret(const struct model *m, const char *secret_hash)
{
    for (const struct board *b = m->boards; b; b = b->hh.next)
        if (str_eq(b->secret_hash, secret_hash))
            return b->name;
    return NULL;
}

/* A long poll that found nothing is answered empty in the end. */
static void poll_over(struct model *m, struct board *b)
{
    if (b->poll && b->poll_due <= m->mono)
        board_reply_poll(m, b, true);
    else if (b->poll)
        model_timer(m, b->poll_due);
}

static void lose_lease(struct model *m, struct attempt *a)
{
    struct job *j = a->job;
    bool running = a->state == ATTEMPT_RUNNING;
    attempt_move(m, a, ATTEMPT_LOST);
    a->kind = FAILURE_INFRA;
    if (j->live == a && (j->state == JOB_LEASED || j->state == JOB_RUNNING))
        job_attempt_lost(m, j, a, running);
}

static void leases_due(struct model *m, struct board *b)
{
    for (size_t i = b->leases.n; i-- > 0;) {
        struct attempt *a = b->leases.items[i];
        if (a->state == ATTEMPT_LOST)
            continue;
        if (a->due <= m->mono)
            lose_lease(m, a);
        else
            model_timer(m, a->due);
    }
}

void board_timer(struct model *m)
{
    for (struct board *b = m->boards; b; b = b->hh.next) {
        poll_over(m, b);
        leases_due(m, b);
        gone_due(m, b);
        bool there = b->state == BOARD_ONLINE || b->state == BOARD_DRAINING;
        if (there && b->due <= m->mono)
            board_move(m, b, BOARD_OFFLINE);
        else if (there)
            model_timer(m, b->due);
    }
}
