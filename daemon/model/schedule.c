/* Scheduling: which wanted job goes to which board, and when.
 *
 * The order (design rule 10): people's requests before what upstream pushed before what follows from it; within that,
 * the longest chain of remaining work first. Both are counted as waiting: a class is worth CLASS_STEP_MS of it, a long
 * chain up to as much, so whatever waits long enough is first in the end and nothing starves. A job's place depends on
 * when it was queued and not on the time now: ageing costs nothing.
 *
 * The board: where the job is likely to be done first, given how fast boards are and what they still have to do
 * (estimate.c). That may be a board that is busy now: then the job waits for it, is counted as that board's, and leaves
 * the slow board that is free to the next job. So a slow board gets what nobody waits for.
 *
 * Jobs that ask the same of a board stand in one queue (queue.c). Where no board that is willing could take them they are
 * not looked at, however many they are; the others cost the same, a hundred thousand or ten. */
#include "daemon/model/schedule.h"

#include "daemon/model/estimate.h"
#include "daemon/model/objects.h"
#include "daemon/model/queue.h"

#include <inttypes.h>
#include <time.h>

/* A source's push counts as having come so much after a person's request, a ripple twice as much. */
#define CLASS_STEP_MS ((int64_t)6 * 60 * 60 * 1000)
/* A chain of this length counts as half a class's step of waiting, an endless one as a whole step. */
#define CHAIN_HALF_MS ((int64_t)60 * 60 * 1000)
/* One point of an image's priority, -100 to 100, counts as so much waiting. */
#define PRIORITY_MS 60000
/* Jobs that are left waiting for a busy board are looked past, up to so many of each queue where a board is free, and of
 * each platform where none is. */
#define LOOK_PAST 64
/* A job waits for a busy board only if it would be done by that in less than this share (percent) of the time. */
#define WAIT_PERCENT 90
/* The board that built the track last has its caches: it counts as so much (percent) faster. */
#define KNOWS_PERCENT 10
/* When lengths of chains change, the queue is ranked anew: at once while it is short, else once a minute. */
#define SHORT_QUEUE 1000
#define RANK_MS     60000
/* A board whose poll was answered so recently is likely to be asking for more in a moment. */
#define POLLS_AGAIN_MS 5000
#define MOMENT_MS      1000
/* The boards that a job waits for are named, up to so many. */
#define NAMED_AT_MOST 8

/* ---- the order ---- */

/* As one of those that want the job has it. */
static int64_t place_for(struct model *m, const struct job *j, struct track *t)
{
    int64_t chain = estimate_chain(m, j, t);
    int64_t order = j->queued_clock + CLASS_STEP_MS * (int64_t)j->class;
    order -= (int64_t)((double)CLASS_STEP_MS * (double)chain / (double)(chain + CHAIN_HALF_MS));
    if (t && t->image)
        order -= (int64_t)t->image->priority * PRIORITY_MS;
    return order;
}

/* The earliest of those. */
static void rank(struct model *m, struct job *j)
{
    if (!j->builds.n) {
        j->order = place_for(m, j, track_find(m, j->track));
        return;
    }
    j->order = INT64_MAX;
    VEC_FOREACH (&j->builds, b) {
        int64_t order = place_for(m, j, (*b)->track);
        j->order = order < j->order ? order : j->order;
    }
}

static void rank_anew(struct model *m)
{
    if (m->ranked == estimate_stamp(m) ||
        (queue_length(m) > SHORT_QUEUE && m->mono < m->ranked_at + RANK_MS))
        return;
    m->ranked = estimate_stamp(m);
    m->ranked_at = m->mono;
    for (struct queue *q = m->queues; q; q = q->hh.next) {
        VEC_FOREACH (&q->heap, j)
            rank(m, *j);
        queue_sort(q);
    }
}

void schedule_add(struct model *m, struct job *j)
{
    if (!j->queued_clock) {
        j->queued_clock = model_clock(m);
        model_touch(m, j);
    }
    model_clock_keep(m);
    rank(m, j);
    queue_put(m, j);
    m->dispatch = true;
}

/* The earlier of the place that it has and of one for which it was queued now with that class. */
bool schedule_raise(struct model *m, struct job *j, enum build_class class)
{
    if (class >= j->class)
        return false;
    int64_t now = model_clock(m), as_it_was = j->queued_clock;
    as_it_was += CLASS_STEP_MS * (int64_t)(j->class - class);
    if (j->queued_clock)
        j->queued_clock = as_it_was < now ? as_it_was : now;
    j->class = class;
    model_touch(m, j);
    return true;
}

void schedule_join(struct model *m, struct job *j, const struct build *b)
{
    if (!job_under_way(j))
        return;
    bool raised = schedule_raise(m, j, b->class);
    if (!j->queue)
        return;
    int64_t order = place_for(m, j, b->track);
    if (raised)
        rank(m, j);
    else
        j->order = order < j->order ? order : j->order;
    queue_put(m, j);
}

void schedule_demand_changed(struct model *m, struct job *j)
{
    if (!j->queue)
        return;
    queue_put(m, j);
    m->dispatch = true;
}

void schedule_boards_changed(struct model *m)
{
    estimate_boards_changed(m);
    m->boards_stamp++;
    m->dispatch = true;
}

/* ---- what boards can do ---- */

/* Whether the board could ever run it. */
static bool is_dockerfile(const struct job *j)
{
    return j->dockerfile && *j->dockerfile;
}

/* A board says which kinds of recipe it has the tools for, and which buildah. */
static bool has_tools(const struct board *b, const struct job *j)
{
    return is_dockerfile(j) ? b->kind_dockerfile && b->buildah >= j->buildah : b->kind_rootfs;
}

static bool buildah_too_old(const struct board *b, const struct job *j)
{
    return is_dockerfile(j) && b->kind_dockerfile && b->buildah < j->buildah;
}

static bool runs(const struct board *b, const struct job *j)
{
    return b->native[j->platform] || (b->emulated[j->platform] && j->emulated);
}

static bool offers(const struct board *b, const struct job *j)
{
    return runs(b, j) && has_tools(b, j) && b->memory > j->memory_above;
}

static bool present(const struct board *b)
{
    return b->state == BOARD_ONLINE;
}

/* Whether there is something in waiting for it. */
static bool may_come_back(const struct board *b)
{
    return b->state != BOARD_QUARANTINED && b->state != BOARD_JOINING && !b->gone;
}

bool schedule_elsewhere(const struct model *m, const struct job *j, const char *than,
                        int64_t memory_above)
{
    for (const struct board *b = m->boards; b; b = b->hh.next)
        if (!str_eq(b->name, than) && offers(b, j) && b->memory > memory_above && may_come_back(b))
            return true;
    return false;
}

/* After a timeout it is tried on another board only, whatever fails there, as long as there is one. */
static bool timed_out_on(const struct board *b, const struct job *j)
{
    return j->timeouts > 0 && str_eq(j->suspect, b->name);
}

bool schedule_has_board(const struct model *m, const struct job *j)
{
    for (const struct board *b = m->boards; b; b = b->hh.next)
        if (offers(b, j) && !timed_out_on(b, j) && may_come_back(b))
            return true;
    return false;
}

/* Whether a job that board b has failed waits for board o. */
static bool waits_for(const struct board *o, const struct board *b, const struct job *j)
{
    return o != b && present(o) && offers(o, j) && !timed_out_on(o, j) && !o->gone;
}

/* A board that failed it is avoided while there is another that could take it. */
static bool avoided(const struct model *m, const struct board *b, const struct job *j)
{
    if (timed_out_on(b, j))
        return true;
    if (!str_eq(j->avoid, b->name))
        return false;
    for (const struct board *o = m->boards; o; o = o->hh.next)
        if (waits_for(o, b, j))
            return true;
    return false;
}

static int64_t live_leases(const struct board *b)
{
    int64_t live = 0;
    VEC_FOREACH (&b->leases, a)
        live += (*a)->state != ATTEMPT_LOST;
    return live;
}

static int64_t free_slots(const struct model *m, const struct board *b)
{
    if (!b->poll || !present(b))
        return 0;
    int64_t left = board_slots(m, b) - live_leases(b);
    int64_t said = b->agent_free - b->granted_now;
    return left < said ? left : said;
}

/* Whether the board would be given work now, had it a free slot. */
static bool willing(const struct model *m, const struct board *b)
{
    if (!present(b))
        return false;
    cleanup_free char *why_not = board_why_not(m, b);
    return !why_not;
}

static const char *last_board(struct model *m, const struct job *j)
{
    const struct track *t = track_find(m, j->track);
    const struct slot *s = t ? t->slots[j->platform] : NULL;
    const struct job *last = s && s->last_key ? job_find(m, s->last_key) : NULL;
    return last ? last->board : NULL;
}

/* ---- when each board's slots are free ---- */

/* Slot i, which is free later than it was, moves to its place behind. */
static void sort_from(struct board *b, size_t i)
{
    int64_t t = b->idle_in.items[i];
    for (; i + 1 < b->idle_in.n && t > b->idle_in.items[i + 1]; i++)
        b->idle_in.items[i] = b->idle_in.items[i + 1];
    b->idle_in.items[i] = t;
}

/* The slot that is free first gets a job. */
static void occupy(struct board *b, int64_t ms)
{
    b->idle_in.items[0] += ms;
    sort_from(b, 0);
}

/* A slot that has no job and that the agent does not offer is not counted on. */
static void note_slots(struct model *m, struct board *b)
{
    b->idle_in.n = 0;
    if (!willing(m, b))
        return;
    int64_t live = live_leases(b), idle = free_slots(m, b), in = 0;
    if (!b->poll && m->mono - b->answered_at < POLLS_AGAIN_MS) {
        idle = board_slots(m, b) - live;
        in = MOMENT_MS;
    }
    for (; idle > 0; idle--)
        vec_push(&b->idle_in, in);
    VEC_FOREACH (&b->leases, a)
        if ((*a)->state != ATTEMPT_LOST)
            vec_push(&b->idle_in, estimate_left(m, *a));
    for (size_t i = b->idle_in.n; i-- > 0;)
        sort_from(b, i);
}

static bool is_free(const struct board *b)
{
    return b->idle_in.n && b->idle_in.items[0] == 0;
}

/* ---- which board ---- */

struct choice {
    struct board *board;
    int64_t takes; /* milliseconds of work */
    int64_t ends;  /* milliseconds from now, as far as it matters to the choice */
};

/* Of two boards that would be done at about the same time, the one with more idle slots; of those that nothing is known
 * of, the one with more memory: it is likely the faster one. */
static int64_t handicap(const struct board *b, int64_t takes)
{
    size_t busy = 0;
    for (size_t i = 0; i < b->idle_in.n; i++)
        busy += b->idle_in.items[i] > 0;
    int64_t ms = takes * (int64_t)busy / (int64_t)b->idle_in.n / 100;
    return b->speed ? ms : ms + takes / (50 + (b->memory >> 26));
}

/* Where the job would end first: `now` of the boards that are free, `ever` of all that its queue fits. */
static void choose(struct model *m, const struct queue *q, const struct job *j, struct choice *now,
                   struct choice *ever)
{
    const char *last = last_board(m, j);
    VEC_FOREACH (&q->fit, it) {
        struct board *b = *it;
        struct choice c = {.board = b, .takes = estimate_duration(m, j, b)};
        int64_t counts = c.takes;
        if (str_eq(last, b->name))
            counts -= counts * KNOWS_PERCENT / 100;
        c.ends = b->idle_in.items[0] + counts + handicap(b, counts);
        if (!ever->board || c.ends < ever->ends)
            *ever = c;
        if (is_free(b) && (!now->board || c.ends < now->ends))
            *now = c;
    }
}

static void grant(struct model *m, struct job *j, const struct choice *c)
{
    attempt_grant(m, j, c->board);
    c->board->granted_now++;
    occupy(c->board, c->takes);
}

/* Places the job, or leaves it waiting; whether it is placed. */
static bool place(struct model *m, const struct queue *q, struct job *j)
{
    struct choice now = {0}, ever = {0};
    choose(m, q, j, &now, &ever);
    if (now.board && now.ends * WAIT_PERCENT / 100 <= ever.ends) {
        grant(m, j, &now);
        return true;
    }
    if (ever.board)
        occupy(ever.board, ever.takes);
    return false;
}

/* ---- placing ---- */

/* Whether a board that the queue fits is free. In a round boards only become busy. */
static bool has_free(struct queue *q)
{
    while (q->cursor < q->fit.n && !is_free(q->fit.items[q->cursor]))
        q->cursor++;
    return q->cursor < q->fit.n;
}

/* Which boards could take the jobs of a queue, all of which ask the same. */
static void find_fit(struct model *m, struct queue *q, const bool *free)
{
    q->fit.n = q->cursor = q->looked_past = 0;
    if (!q->heap.n || !free[q->demand.platform])
        return;
    const struct job *j = q->heap.items[0];
    for (struct board *b = m->boards; b; b = b->hh.next)
        if (b->idle_in.n && offers(b, j) && !avoided(m, b, j))
            vec_push(&q->fit, b);
}

/* The queue whose first job is the next, or NULL when no free board is left to be given one. Jobs of which all boards are
 * busy are looked at too, since they are in the way of those behind; `busy` counts them, for each platform. */
static struct queue *next_queue(struct model *m, const size_t *busy)
{
    struct queue *best = NULL;
    bool any = false;
    for (struct queue *q = m->queues; q; q = q->hh.next) {
        if (!q->heap.n || !q->fit.n)
            continue;
        bool free = has_free(q);
        if ((free ? q->looked_past : busy[q->demand.platform]) == LOOK_PAST)
            continue;
        any = any || free;
        if (!best || queue_before(q->heap.items[0], best->heap.items[0]))
            best = q;
    }
    return any ? best : NULL;
}

static void place_all(struct model *m)
{
    size_t busy[PLATFORM_COUNT] = {0};
    struct queue *q;
    while ((q = next_queue(m, busy))) {
        bool free = has_free(q);
        struct job *j = queue_pop(q);
        if (place(m, q, j))
            continue;
        vec_push(&m->looked_past, j);
        ++*(free ? &q->looked_past : &busy[j->platform]);
    }
    VEC_FOREACH (&m->looked_past, j)
        queue_put(m, *j);
    m->looked_past.n = 0;
}

/* What is to go to another board, or to one with more memory, waits for no board that is gone: without another one it has
 * failed. */
static void end_vain_waits(struct model *m)
{
    for (struct queue *q = m->queues; q; q = q->hh.next) {
        if (!q->heap.n || (!q->demand.timed_out && !q->demand.memory_above) ||
            schedule_has_board(m, q->heap.items[0]))
            continue;
        while (q->heap.n)
            job_nowhere(m, q->heap.items[0]);
    }
}

static bool anybody_asks(const struct model *m)
{
    for (const struct board *b = m->boards; b; b = b->hh.next)
        if (free_slots(m, b) > 0)
            return true;
    return false;
}

static void begin_round(struct model *m)
{
    bool free[PLATFORM_COUNT] = {0};
    for (struct board *b = m->boards; b; b = b->hh.next) {
        note_slots(m, b);
        for (int p = 0; p < PLATFORM_COUNT; p++)
            free[p] = free[p] || ((b->native[p] || b->emulated[p]) && is_free(b));
    }
    for (struct queue *q = m->queues; q; q = q->hh.next)
        find_fit(m, q, free);
}

void schedule_run(struct model *m)
{
    end_vain_waits(m);
    if (queue_length(m) && anybody_asks(m)) {
        rank_anew(m);
        begin_round(m);
        place_all(m);
    }
    queue_sweep(m);
    for (struct board *b = m->boards; b; b = b->hh.next)
        if (b->granted_now)
            board_answer_poll(m, b);
}

/* ---- why it waits ---- */

/* When the last of the boards that the job waits for, all of which take nothing now, is not waited for any more; 0: one of
 * them takes work, or there is none. */
static int64_t waits_until(const struct model *m, const struct job *j, const struct board *avoid)
{
    int64_t until = 0;
    for (const struct board *o = m->boards; o; o = o->hh.next) {
        bool waits = avoid ? waits_for(o, avoid, j)
                           : offers(o, j) && !timed_out_on(o, j) && may_come_back(o);
        if (waits && !o->away_clock)
            return 0;
        if (waits && board_gone_clock(o) > until)
            until = board_gone_clock(o);
    }
    return until;
}

/* A moment of the farm's clock, as a person's clock shows it. */
static void format_moment(const struct model *m, int64_t clock, char text[32])
{
    time_t t = (time_t)((m->wall + model_clock_due(m, clock) - m->mono) / 1000);
    struct tm tm = {0};
    gmtime_r(&t, &tm);
    strftime(text, 32, "%Y-%m-%d %H:%M UTC", &tm);
}

/* What becomes of it, and when, if no board takes it. */
static void add_end(const struct model *m, const struct job *j, struct strbuf *text)
{
    char when[32];
    bool fails = j->timeouts > 0 || j->memory_above;
    const struct board *avoid = !fails && j->avoid ? board_find(m, j->avoid) : NULL;
    int64_t until = fails || avoid ? waits_until(m, j, avoid) : 0;
    if (!until)
        return;
    format_moment(m, until, when);
    if (fails)
        strbuf_addf(text, "; it has failed if no other board takes it by %s", when);
    else if (offers(avoid, j))
        strbuf_addf(text, "; board %s gets it again if no other takes it by %s", avoid->name, when);
}

/* Appends what a board that could run the job says; of many boards the last ones are counted. */
static void add_board(const struct model *m, const struct board *b, const struct job *j, size_t n,
                      struct strbuf *text)
{
    if (n >= NAMED_AT_MOST)
        return;
    cleanup_free char *why = board_why_not(m, b);
    const char *free = avoided(m, b, j)       ? "has failed it"
                       : free_slots(m, b) > 0 ? "is slower than to wait for another"
                                              : "is busy";
    strbuf_addf(text, "%sboard %s %s", n ? ", " : "", b->name, why ? why : free);
}

static void ask_boards(const struct model *m, const struct job *j, struct boards_say *say)
{
    cleanup_strbuf struct strbuf text = {0};
    size_t n = 0;
    free(say->text);
    *say = (struct boards_say){.stamp = m->boards_stamp};
    for (const struct board *b = m->boards; b; b = b->hh.next) {
        say->emulated_only = say->emulated_only || (b->emulated[j->platform] && !j->emulated);
        say->tools_only = say->tools_only || (runs(b, j) && !has_tools(b, j));
        say->too_old = say->too_old || (runs(b, j) && buildah_too_old(b, j));
        if (!offers(b, j) || b->state == BOARD_JOINING)
            continue;
        say->can_run = say->can_run || present(b);
        add_board(m, b, j, n++, &text);
    }
    if (n > NAMED_AT_MOST)
        strbuf_addf(&text, " and %zu more", n - NAMED_AT_MOST);
    if (!n)
        return;
    add_end(m, j, &text);
    say->text = strbuf_steal(&text);
}

/* What the boards say to the job; `own` is room for one that is in no queue. */
static const struct boards_say *boards_say(const struct model *m, const struct job *j,
                                           struct boards_say *own)
{
    struct boards_say *say = j->queue ? &j->queue->say : own;
    if (say == own || say->stamp != m->boards_stamp)
        ask_boards(m, j, say);
    return say;
}

bool schedule_can_run(const struct model *m, const struct job *j)
{
    if (j->queue && j->queue->say.stamp == m->boards_stamp)
        return j->queue->say.can_run;
    for (const struct board *b = m->boards; b; b = b->hh.next)
        if (present(b) && offers(b, j))
            return true;
    return false;
}

static void say_no_board(const struct job *j, const struct boards_say *say, struct reason *ret)
{
    if (say->too_old)
        reason_set(ret, REASON_NO_BOARD, "%s: no board of %s has a buildah that can build it",
                   j->buildah_for, j->platform_name);
    else if (say->tools_only)
        reason_set(ret, REASON_NO_BOARD, "no board of %s builds %s", j->platform_name,
                   is_dockerfile(j) ? "Dockerfiles: install buildah on one" : "root file systems");
    else if (say->emulated_only)
        reason_set(ret, REASON_NO_BOARD,
                   "no board runs %s natively, and the image takes no emulated one",
                   j->platform_name);
    else if (j->memory_above)
        reason_set(ret, REASON_NO_BOARD, "no board of %s with more than %" PRId64 " MiB",
                   j->platform_name, j->memory_above >> 20);
    else
        reason_set(ret, REASON_NO_BOARD, "no board offers %s", j->platform_name);
}

void schedule_why(struct model *m, const struct job *j, struct reason *ret)
{
    if (j->retry_due) { /* until its timer has put it back in the queue */
        reason_set(ret, REASON_BACKING_OFF, "%s; tried again after %" PRId64 " s",
                   j->reason ? j->reason : "failed", model_backoff(j->infra_failures) / 1000);
        return;
    }
    struct boards_say own = {0};
    const struct boards_say *say = boards_say(m, j, &own);
    if (say->text)
        reason_set(ret, REASON_BOARDS_BUSY, "%s", say->text);
    else
        say_no_board(j, say, ret);
    free(own.text);
}
