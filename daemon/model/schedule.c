/* Scheduling: what people asked for before what upstream pushed before what follows from it, with ageing; within
 * that, the longest chain of remaining work first.
 *
 * One binary heap a platform: a hundred thousand wanted jobs cost what ten do. A job's place is fixed when it is
 * queued (its class counts as a later arrival), which is what makes ageing free. */
#include "daemon/model/schedule.h"

#include "daemon/model/objects.h"

#include <inttypes.h>

/* A source's push counts as having arrived so much after a person's request, a ripple twice as much. */
#define CLASS_HANDICAP_MS (60 * 60 * 1000)
/* Jobs that arrived within so much of each other are ordered by the chain behind them. */
#define BUCKET_MS (10 * 60 * 1000)
/* What is assumed of a track that was never built. */
#define DEFAULT_DURATION_MS 60000
/* Jobs at a heap's head that fit no free board are looked past, up to so many. */
#define LOOK_PAST       64
#define CHAIN_DEPTH_MAX 64

/* ---- the heaps ---- */

static bool before(const struct job *a, const struct job *b)
{
    if (a->order / BUCKET_MS != b->order / BUCKET_MS)
        return a->order < b->order;
    if (a->chain != b->chain)
        return a->chain > b->chain;
    return a->order != b->order ? a->order < b->order : strcmp(a->key, b->key) < 0;
}

static void heap_push(jobvec *heap, struct job *j)
{
    vec_push(heap, j);
    size_t i = heap->n - 1;
    while (i > 0 && before(j, heap->items[(i - 1) / 2])) {
        heap->items[i] = heap->items[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap->items[i] = j;
}

static struct job *heap_pop(jobvec *heap)
{
    struct job *top = heap->items[0], *last = heap->items[--heap->n];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= heap->n)
            break;
        if (child + 1 < heap->n && before(heap->items[child + 1], heap->items[child]))
            child++;
        if (!before(heap->items[child], last))
            break;
        heap->items[i] = heap->items[child];
        i = child;
    }
    if (heap->n)
        heap->items[i] = last;
    return top;
}

int64_t schedule_chain(struct model *m, struct track *t)
{
    if (t->visiting)
        return 0;
    int64_t own = DEFAULT_DURATION_MS, behind = 0;
    for (int p = 0; p < PLATFORM_COUNT; p++) {
        const struct slot *s = t->slots[p];
        const struct job *last = s && s->last_key ? job_find(m, s->last_key) : NULL;
        if (last && last->duration_ms > own)
            own = last->duration_ms;
    }
    t->visiting = true;
    VEC_FOREACH (&t->claims, n)
        VEC_FOREACH (&(*n)->dependents, d) {
            int64_t chain = schedule_chain(m, *d);
            behind = chain > behind ? chain : behind;
        }
    t->visiting = false;
    return own + behind;
}

void schedule_add(struct model *m, struct job *j)
{
    if (j->queued)
        return;
    struct track *t = track_find(m, j->track);
    j->queued = true;
    j->chain = t ? schedule_chain(m, t) : DEFAULT_DURATION_MS;
    j->order = m->mono + CLASS_HANDICAP_MS * (int64_t)j->class;
    if (t && t->image)
        j->order -= (int64_t)t->image->priority * 60000;
    heap_push(&m->ready[j->platform], j);
    m->dispatch = true;
}

/* ---- which board ---- */

/* Whether the board could ever run it. */
static bool offers(const struct board *b, const struct job *j)
{
    bool platform = b->native[j->platform] || (b->emulated[j->platform] && j->emulated);
    return platform && b->memory > j->memory_above;
}

static bool present(const struct board *b)
{
    return b->state == BOARD_ONLINE;
}

bool schedule_can_run(const struct model *m, const struct job *j)
{
    for (const struct board *b = m->boards; b; b = b->hh.next)
        if (present(b) && offers(b, j))
            return true;
    return false;
}

bool schedule_elsewhere(const struct model *m, const struct job *j, const char *than,
                        int64_t memory_above)
{
    for (const struct board *b = m->boards; b; b = b->hh.next)
        if (!str_eq(b->name, than) && offers(b, j) && b->memory > memory_above &&
            b->state != BOARD_QUARANTINED && b->state != BOARD_JOINING)
            return true;
    return false;
}

/* A board that failed it is avoided while there is another that could take it. */
static bool avoided(const struct model *m, const struct board *b, const struct job *j)
{
    if (!str_eq(j->avoid, b->name))
        return false;
    for (const struct board *o = m->boards; o; o = o->hh.next)
        if (o != b && present(o) && offers(o, j))
            return true;
    return j->timeouts > 0;
}

static int64_t free_slots(const struct model *m, const struct board *b)
{
    if (!b->poll || !present(b))
        return 0;
    int64_t live = 0;
    VEC_FOREACH (&b->leases, a)
        live += (*a)->state != ATTEMPT_LOST;
    int64_t left = board_slots(m, b) - live;
    int64_t said = b->agent_free - b->granted_now;
    return left < said ? left : said;
}

static bool takes_work(const struct model *m, const struct board *b)
{
    if (free_slots(m, b) <= 0)
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

/* The board that built the track last is preferred, a native one to one that emulates, an idle one to a busy one. */
static int64_t preference(const struct model *m, const struct board *b, const struct job *j,
                          const char *last)
{
    return (b->native[j->platform] ? 1000000 : 0) + (str_eq(b->name, last) ? 100000 : 0) +
           free_slots(m, b) * 100 - (int64_t)(b->load * 10);
}

static struct board *choose(struct model *m, const struct job *j)
{
    struct board *best = NULL;
    int64_t best_score = 0;
    const char *last = last_board(m, j);
    for (struct board *b = m->boards; b; b = b->hh.next) {
        if (!offers(b, j) || !takes_work(m, b) || avoided(m, b, j))
            continue;
        int64_t score = preference(m, b, j, last);
        if (!best || score > best_score) {
            best = b;
            best_score = score;
        }
    }
    return best;
}

static bool wants_platform(const struct model *m, enum platform p)
{
    for (const struct board *b = m->boards; b; b = b->hh.next)
        if ((b->native[p] || b->emulated[p]) && takes_work(m, b))
            return true;
    return false;
}

/* ---- placing ---- */

static void grant(struct model *m, struct job *j, struct board *b)
{
    j->queued = false;
    attempt_grant(m, j, b);
    b->granted_now++;
}

static void place_platform(struct model *m, enum platform p)
{
    jobvec *heap = &m->ready[p];
    struct job *aside[LOOK_PAST];
    size_t n = 0;
    while (heap->n && n < LOOK_PAST && wants_platform(m, p)) {
        struct job *j = heap_pop(heap);
        if (j->state != JOB_WANTED || j->retry_due) {
            j->queued = false;
            continue;
        }
        struct board *b = choose(m, j);
        if (b)
            grant(m, j, b);
        else
            aside[n++] = j;
    }
    for (size_t i = 0; i < n; i++)
        heap_push(heap, aside[i]);
}

void schedule_run(struct model *m)
{
    for (int p = 0; p < PLATFORM_COUNT; p++)
        if (m->ready[p].n)
            place_platform(m, (enum platform)p);
    for (struct board *b = m->boards; b; b = b->hh.next)
        if (b->granted_now)
            board_answer_poll(m, b);
}

/* ---- why it waits ---- */

void schedule_why(struct model *m, const struct job *j, struct reason *ret)
{
    if (j->retry_due > m->mono) {
        reason_set(ret, REASON_BACKING_OFF, "%s; tried again in %" PRId64 " s",
                   j->reason ? j->reason : "failed", (j->retry_due - m->mono + 999) / 1000);
        return;
    }
    cleanup_strbuf struct strbuf busy = {0};
    bool emulated_only = false;
    for (const struct board *b = m->boards; b; b = b->hh.next) {
        if (b->emulated[j->platform] && !j->emulated)
            emulated_only = true;
        if (!offers(b, j) || b->state == BOARD_JOINING)
            continue;
        cleanup_free char *why = board_why_not(m, b);
        strbuf_addf(&busy, "%sboard %s %s", busy.n ? ", " : "", b->name, why ? why : "is busy");
    }
    if (busy.n)
        reason_set(ret, REASON_BOARDS_BUSY, "%s", strbuf_str(&busy));
    else if (emulated_only)
        reason_set(ret, REASON_NO_BOARD,
                   "no board runs %s natively, and the image takes no emulated one",
                   j->platform_name);
    else if (j->memory_above)
        reason_set(ret, REASON_NO_BOARD, "no board of %s with more than %" PRId64 " MiB",
                   j->platform_name, j->memory_above >> 20);
    else
        reason_set(ret, REASON_NO_BOARD, "no board offers %s", j->platform_name);
}
