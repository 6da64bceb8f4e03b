/* Queues of wanted jobs, one for each thing that is asked of a board: so a board that takes nothing, however many jobs
 * only it could take, is in nobody's way, and costs nothing when it goes and comes back: no job moves.
 *
 * There are few of them, for most jobs have not failed: a platform, a kind of recipe. Each is a binary heap in which jobs
 * know their places. */
#include "daemon/model/queue.h"

#include "daemon/model/objects.h"

bool queue_before(const struct job *a, const struct job *b)
{
    return a->order != b->order ? a->order < b->order : strcmp(a->key, b->key) < 0;
}

/* ---- one heap ---- */

static void set(jobvec *heap, size_t i, struct job *j)
{
    heap->items[i] = j;
    j->at = i;
}

static void sift_up(jobvec *heap, size_t i)
{
    struct job *j = heap->items[i];
    while (i > 0 && queue_before(j, heap->items[(i - 1) / 2])) {
        set(heap, i, heap->items[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    set(heap, i, j);
}

static void sift_down(jobvec *heap, size_t i)
{
    struct job *j = heap->items[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= heap->n)
            break;
        if (child + 1 < heap->n && queue_before(heap->items[child + 1], heap->items[child]))
            child++;
        if (!queue_before(heap->items[child], j))
            break;
        set(heap, i, heap->items[child]);
        i = child;
    }
    set(heap, i, j);
}

void queue_sort(struct queue *q)
{
    for (size_t i = q->heap.n / 2; i-- > 0;)
        sift_down(&q->heap, i);
}

/* ---- which ---- */

static void ask(const struct model *m, const struct job *j, struct demand *d)
{
    memset(d, 0, sizeof(*d)); /* what lies between the members is compared too */
    d->avoid = j->avoid ? board_find(m, j->avoid) : NULL;
    d->timed_out = j->timeouts > 0 && j->suspect ? board_find(m, j->suspect) : NULL;
    d->memory_above = j->memory_above;
    d->platform = j->platform;
    d->dockerfile = j->dockerfile && *j->dockerfile;
    d->buildah = d->dockerfile ? j->buildah : 0;
    d->emulated = j->emulated;
}

static struct queue *queue_for(struct model *m, const struct job *j)
{
    struct queue *q = NULL;
    struct demand d;
    ask(m, j, &d);
    HASH_FIND(hh, m->queues, &d, sizeof(d), q);
    if (q)
        return q;
    q = xnew(struct queue);
    memcpy(&q->demand, &d, sizeof(d));
    HASH_ADD(hh, m->queues, demand, sizeof(q->demand), q);
    return q;
}

void queue_put(struct model *m, struct job *j)
{
    struct queue *q = queue_for(m, j);
    if (j->queue != q) {
        queue_drop(j);
        j->queue = q;
        vec_push(&q->heap, j);
        j->at = q->heap.n - 1;
    }
    sift_up(&q->heap, j->at);
    sift_down(&q->heap, j->at);
}

void queue_drop(struct job *j)
{
    struct queue *q = j->queue;
    if (!q)
        return;
    j->queue = NULL;
    struct job *last = q->heap.items[--q->heap.n];
    if (last == j)
        return;
    set(&q->heap, j->at, last);
    sift_up(&q->heap, last->at);
    sift_down(&q->heap, last->at);
}

struct job *queue_pop(struct queue *q)
{
    struct job *j = q->heap.items[0];
    queue_drop(j);
    return j;
}

/* ---- all ---- */

size_t queue_length(const struct model *m)
{
    size_t n = 0;
    for (const struct queue *q = m->queues; q; q = q->hh.next)
        n += q->heap.n;
    return n;
}

static void queue_free(struct model *m, struct queue *q)
{
    HASH_DEL(m->queues, q);
    vec_free(&q->heap);
    vec_free(&q->fit);
    free(q->say.text);
    free(q);
}

void queue_sweep(struct model *m)
{
    struct queue *q, *next;
    HASH_ITER(hh, m->queues, q, next)
    {
        if (!q->heap.n)
            queue_free(m, q);
    }
}

void queue_done(struct model *m)
{
    struct queue *q, *next;
    HASH_ITER(hh, m->queues, q, next)
    queue_free(m, q);
}
