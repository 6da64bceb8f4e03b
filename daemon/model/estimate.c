/* Estimates: of each slot the work (milliseconds on a board of ESTIMATE_SPEED), of each board its speed, of each track
 * the longest chain of work that begins with it.
 *
 * Only duration = work / speed is ever seen, so both are learnt together: a result moves the board's speed towards what
 * the slot's work says, and the slot's work towards what the board's speed says. A slot that was never built is taken
 * for the mean of its image's other tracks, then for the farm's, then for a minute: with no history at all, a chain's
 * length is the number of its links. */
#include "daemon/model/estimate.h"

#include "daemon/model/objects.h"

#define UNKNOWN_WORK_MS 60000
/* An emulating board is taken for so many times slower than it is natively. */
#define EMULATION 8
/* How much one result tells of a board, in percent: much where the work is known, little where it is guessed. */
#define LEARN_KNOWN   25
#define LEARN_GUESSED 10
/* How much one result tells of a slot's work, in percent. */
#define LEARN_WORK 50
/* One result, however strange, changes a board's speed by no more than this factor. */
#define SPEED_STEP 4
/* Chains are walked anew when a slot's work turns out to be off by more than so many percent. */
#define CHAIN_STEP 10

/* ---- work ---- */

static int64_t at_least_1(int64_t ms)
{
    return ms > 0 ? ms : 1;
}

/* The mean of the image's other tracks; 0: none was built. */
static int64_t work_of_siblings(struct model *m, const struct track *t, enum platform p)
{
    if (!t->image)
        return 0;
    int64_t sum = 0, n = 0;
    const struct repository *r = model_repository(m, t->image->repository);
    VEC_FOREACH (&r->tracks, it) {
        const struct slot *s = (*it)->slots[p];
        if ((*it)->image != t->image || !s || !s->work_ms)
            continue;
        sum += s->work_ms;
        n++;
    }
    return n ? sum / n : 0;
}

int64_t estimate_work(struct model *m, const struct track *t, enum platform p)
{
    if (t->slots[p] && t->slots[p]->work_ms)
        return t->slots[p]->work_ms;
    int64_t work = work_of_siblings(m, t, p);
    if (work)
        return work;
    return m->work_slots[p] ? at_least_1(m->work_sum[p] / m->work_slots[p]) : UNKNOWN_WORK_MS;
}

static void set_work(struct model *m, struct slot *s, int64_t work)
{
    int64_t was = s->work_ms, step = was * CHAIN_STEP / 100;
    m->work_slots[s->platform] += !was;
    m->work_sum[s->platform] += work - was;
    s->work_ms = work;
    model_touch(m, s);
    if (!was || work > was + step || work < was - step)
        m->chains++;
}

void estimate_start(struct model *m)
{
    estimate_boards_changed(m);
    for (struct track *t = m->tracks; t; t = t->hh.next)
        for (int p = 0; p < PLATFORM_COUNT; p++) {
            if (!t->slots[p] || !t->slots[p]->work_ms)
                continue;
            m->work_slots[p]++;
            m->work_sum[p] += t->slots[p]->work_ms;
        }
}

/* ---- boards ---- */

/* A board that has built nothing yet is taken for the mean of those that have. */
static int64_t speed_of(const struct model *m, const struct board *b, enum platform p)
{
    if (b->speed)
        return b->speed;
    return m->usual_speed[p] ? m->usual_speed[p] : ESTIMATE_SPEED;
}

static int64_t speed_for(const struct model *m, const struct board *b, enum platform p)
{
    int64_t speed = speed_of(m, b, p);
    return b->native[p] ? speed : at_least_1(speed / EMULATION);
}

static void sum_up(struct model *m, enum platform p)
{
    int64_t sum = 0, n = 0;
    for (const struct board *b = m->boards; b; b = b->hh.next)
        if (b->speed && (b->native[p] || b->emulated[p])) {
            sum += b->speed;
            n++;
        }
    m->usual_speed[p] = n ? sum / n : 0;
    m->fastest[p] = 0;
    for (const struct board *b = m->boards; b; b = b->hh.next) {
        int64_t speed = b->native[p] || b->emulated[p] ? speed_for(m, b, p) : 0;
        m->fastest[p] = speed > m->fastest[p] ? speed : m->fastest[p];
    }
}

/* Chains are counted on the fastest board that the farm has, there or not: places do not change whenever it comes and goes. */
void estimate_boards_changed(struct model *m)
{
    bool changed = false;
    for (int p = 0; p < PLATFORM_COUNT; p++) {
        int64_t was = m->fastest[p];
        sum_up(m, (enum platform)p);
        changed = changed || m->fastest[p] != was;
    }
    m->chains += changed;
}

int64_t estimate_duration(struct model *m, const struct job *j, const struct board *b)
{
    const struct track *t = track_find(m, j->track);
    int64_t work = t ? estimate_work(m, t, j->platform) : UNKNOWN_WORK_MS;
    return at_least_1(work * ESTIMATE_SPEED / speed_for(m, b, j->platform));
}

int64_t estimate_left(struct model *m, const struct attempt *a)
{
    int64_t whole = estimate_duration(m, a->job, a->board), gone = m->mono - a->granted_mono;
    int64_t left = whole - gone, least = at_least_1(whole / 16);
    int64_t overdue = left < 0 ? -left : 0;
    return (left > least ? left : least) + overdue;
}

void estimate_learn(struct model *m, const struct job *j, struct board *b, int64_t took)
{
    struct track *t = track_find(m, j->track);
    struct slot *s = t ? t->slots[j->platform] : NULL;
    if (!s || took <= 0)
        return;
    int64_t was = speed_of(m, b, j->platform), percent = LEARN_GUESSED;
    if (s->work_ms)
        percent = LEARN_KNOWN;
    int64_t seen = estimate_work(m, t, j->platform) * ESTIMATE_SPEED / took;
    seen = b->native[j->platform] ? seen : seen * EMULATION;
    seen = seen > was * SPEED_STEP ? was * SPEED_STEP : seen;
    seen = seen < was / SPEED_STEP ? was / SPEED_STEP : seen;
    b->speed = at_least_1(was + (seen - was) * percent / 100);
    model_touch(m, b);
    for (int p = 0; p < PLATFORM_COUNT; p++)
        sum_up(m, (enum platform)p);
    int64_t work = at_least_1(took * speed_for(m, b, j->platform) / ESTIMATE_SPEED);
    set_work(m, s, s->work_ms ? s->work_ms + (work - s->work_ms) * LEARN_WORK / 100 : work);
}

/* ---- chains ---- */

int64_t estimate_stamp(const struct model *m)
{
    return m->chains + m->edges;
}

static int64_t on_fastest(const struct model *m, int64_t work, enum platform p)
{
    int64_t speed = m->fastest[p] ? m->fastest[p] : ESTIMATE_SPEED;
    return at_least_1(work * ESTIMATE_SPEED / speed);
}

static int64_t chain_of(struct model *m, struct track *t);

/* What is built on the track, and will be built again when it is. */
static int64_t chain_behind(struct model *m, struct track *t)
{
    int64_t longest = 0;
    VEC_FOREACH (&t->claims, n)
        VEC_FOREACH (&(*n)->dependents, d) {
            int64_t chain = (*d)->dormant || (*d)->deleted ? 0 : chain_of(m, *d);
            longest = chain > longest ? chain : longest;
        }
    return longest;
}

/* Of the track itself the slowest platform: its dependents wait for all. Kept until a length in it changes. */
static int64_t chain_of(struct model *m, struct track *t)
{
    int64_t stamp = estimate_stamp(m);
    if (t->chain_stamp == stamp)
        return t->chain_ms;
    t->chain_stamp = stamp; /* before its dependents: a cycle ends here */
    t->chain_ms = 0;
    int64_t own = 0;
    for (int p = 0; p < PLATFORM_COUNT; p++) {
        if (!t->slots[p] || !t->slots[p]->wanted)
            continue;
        int64_t ms = on_fastest(m, estimate_work(m, t, (enum platform)p), (enum platform)p);
        own = ms > own ? ms : own;
    }
    t->chain_ms = own + chain_behind(m, t);
    return t->chain_ms;
}

int64_t estimate_chain(struct model *m, const struct job *j, struct track *t)
{
    if (!t)
        return UNKNOWN_WORK_MS;
    return on_fastest(m, estimate_work(m, t, j->platform), j->platform) + chain_behind(m, t);
}
