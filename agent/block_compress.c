#include "agent/block_compress.h"

#include "common/mem.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#define GZIP_BLOCK  (256u << 10)
#define ZSTD_BLOCK  (2u << 20)
#define WINDOW      (32u << 10) /* deflate's */
#define GZIP_LEVEL  6
#define ZSTD_LEVEL  3
#define MAX_WORKERS 64

enum block_state {
    BLOCK_EMPTY,
    BLOCK_READY, /* waits for a worker */
    BLOCK_BUSY,
    BLOCK_DONE
};

struct block {
    enum block_state state;
    unsigned char *in; /* WINDOW bytes of what went before, then the block */
    size_t n, primed;
    bool last;
    unsigned char *out;
    size_t out_n;
    uint32_t crc;
    bool failed;
};

/* The ring is filled at `head` and emptied at `tail` by the caller's thread; workers take blocks between
 * them at `next`, in order. Only state, next and stop are shared: they are under the lock. */
struct block_compressor {
    enum layer_compression kind;
    size_t block_size, out_size;
    block_sink sink;
    void *ctx;

    struct block *ring;
    size_t n_ring, head, tail, next;
    pthread_t workers[MAX_WORKERS];
    int n_workers;
    pthread_mutex_t lock;
    pthread_cond_t ready, done;
    bool stop;

    bool begun;
    uint32_t crc;
    uint64_t total;
};

static const unsigned char gzip_header[10] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255};

static bool deflate_block(z_stream *z, struct block *b, size_t out_size)
{
    const unsigned char *data = b->in + WINDOW;
    b->crc = (uint32_t)crc32(0, data, (uInt)b->n);
    if (deflateReset(z) != Z_OK)
        return false;
    if (b->primed && deflateSetDictionary(z, data - b->primed, (uInt)b->primed) != Z_OK)
        return false;
    z->next_in = (unsigned char *)data;
    z->avail_in = (uInt)b->n;
    z->next_out = b->out;
    z->avail_out = (uInt)out_size;
    int r = deflate(z, b->last ? Z_FINISH : Z_SYNC_FLUSH);
    b->out_n = out_size - z->avail_out;
    return r == (b->last ? Z_STREAM_END : Z_OK) && z->avail_in == 0 && z->avail_out > 0;
}

static bool zstd_block(ZSTD_CCtx *z, struct block *b, size_t out_size)
{
    b->out_n = 0;
    if (b->n == 0) /* the stream ended with the block before */
        return true;
    size_t n = ZSTD_compress2(z, b->out, out_size, b->in + WINDOW, b->n);
    b->out_n = ZSTD_isError(n) ? 0 : n;
    return !ZSTD_isError(n);
}

/* The next block to compress, or NULL when it is time to end. */
static struct block *take(struct block_compressor *c)
{
    struct block *b = NULL;
    pthread_mutex_lock(&c->lock);
    while (!c->stop && c->ring[c->next % c->n_ring].state != BLOCK_READY)
        pthread_cond_wait(&c->ready, &c->lock);
    if (!c->stop) {
        b = &c->ring[c->next++ % c->n_ring];
        b->state = BLOCK_BUSY;
    }
    pthread_mutex_unlock(&c->lock);
    return b;
}

static void give(struct block_compressor *c, struct block *b)
{
    pthread_mutex_lock(&c->lock);
    b->state = BLOCK_DONE;
    pthread_cond_signal(&c->done);
    pthread_mutex_unlock(&c->lock);
}

static void *gzip_worker(void *arg)
{
    struct block_compressor *c = arg;
    z_stream z = {0};
    bool ok = deflateInit2(&z, GZIP_LEVEL, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) == Z_OK;
    for (struct block *b; (b = take(c)); give(c, b))
        b->failed = !ok || !deflate_block(&z, b, c->out_size);
    if (ok)
        deflateEnd(&z);
    return NULL;
}

static void *zstd_worker(void *arg)
{
    struct block_compressor *c = arg;
    ZSTD_CCtx *z = ZSTD_createCCtx();
    bool ok = z && !ZSTD_isError(ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel, ZSTD_LEVEL)) &&
              !ZSTD_isError(ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, 1));
    for (struct block *b; (b = take(c)); give(c, b))
        b->failed = !ok || !zstd_block(z, b, c->out_size);
    ZSTD_freeCCtx(z);
    return NULL;
}

static int cpu_count(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
    return n < 1 ? 1 : n;
}

static int start_workers(struct block_compressor *c, int threads, struct err *err)
{
    for (int i = 0; i < threads; i++) {
        int r = pthread_create(&c->workers[i], NULL,
                               c->kind == LAYER_GZIP ? gzip_worker : zstd_worker, c);
        if (r && i == 0)
            return err_errno(err, -r, "cannot start a thread");
        if (r) /* fewer will do */
            break;
        c->n_workers++;
    }
    return 0;
}

int block_compressor_new(enum layer_compression kind, int threads, block_sink sink, void *ctx,
                         struct block_compressor **ret, struct err *err)
{
    struct block_compressor *c = xnew(struct block_compressor);
    c->kind = kind;
    c->sink = sink;
    c->ctx = ctx;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->ready, NULL);
    pthread_cond_init(&c->done, NULL);
    if (kind == LAYER_PLAIN) {
        *ret = c;
        return 0;
    }
    if (threads <= 0)
        threads = cpu_count();
    if (threads > MAX_WORKERS)
        threads = MAX_WORKERS;
    c->block_size = kind == LAYER_GZIP ? GZIP_BLOCK : ZSTD_BLOCK;
    c->out_size =
        kind == LAYER_GZIP ? compressBound(GZIP_BLOCK) + 64 : ZSTD_compressBound(ZSTD_BLOCK);
    /* Slack for when this thread, which feeds and drains, has to wait for a CPU. */
    c->n_ring = (size_t)threads * (kind == LAYER_GZIP ? 4 : 2) + 2;
    c->ring = xcalloc(c->n_ring, sizeof(*c->ring));
    for (size_t i = 0; i < c->n_ring; i++) {
        c->ring[i].in = xcalloc(1, WINDOW + c->block_size);
        c->ring[i].out = xcalloc(1, c->out_size);
    }
    int r = start_workers(c, threads, err);
    if (r < 0)
        block_compressor_free(c);
    else
        *ret = c;
    return r;
}

/* Waits for the oldest block in flight and passes it on. */
static int drain_one(struct block_compressor *c, struct err *err)
{
    struct block *b = &c->ring[c->tail % c->n_ring];
    pthread_mutex_lock(&c->lock);
    while (b->state != BLOCK_DONE)
        pthread_cond_wait(&c->done, &c->lock);
    b->state = BLOCK_EMPTY;
    pthread_mutex_unlock(&c->lock);
    c->tail++;
    if (b->failed)
        return err_set(err, -ENOMEM, "compression failed");
    c->crc = (uint32_t)crc32_combine(c->crc, b->crc, (z_off_t)b->n);
    c->total += b->n;
    if (!c->begun && c->kind == LAYER_GZIP) {
        c->begun = true;
        int r = c->sink(c->ctx, gzip_header, sizeof(gzip_header), err);
        if (r < 0)
            return r;
    }
    return b->out_n ? c->sink(c->ctx, b->out, b->out_n, err) : 0;
}

/* Whether the oldest block in flight can be passed on without waiting. */
static bool drainable(struct block_compressor *c)
{
    pthread_mutex_lock(&c->lock);
    bool done = c->tail < c->head && c->ring[c->tail % c->n_ring].state == BLOCK_DONE;
    pthread_mutex_unlock(&c->lock);
    return done;
}

static int submit(struct block_compressor *c, bool last, struct err *err)
{
    struct block *b = &c->ring[c->head % c->n_ring];
    b->last = last;
    pthread_mutex_lock(&c->lock);
    b->state = BLOCK_READY;
    c->head++;
    pthread_cond_broadcast(&c->ready);
    pthread_mutex_unlock(&c->lock);

    int r = 0;
    while (r == 0 && (c->head - c->tail == c->n_ring || drainable(c)))
        r = drain_one(c, err);
    if (r < 0 || last)
        return r;
    struct block *next = &c->ring[c->head % c->n_ring];
    /* Inputs are written by this thread alone, so b's is whole, whether it was drained or not. */
    memcpy(next->in, b->in + b->n, WINDOW);
    next->primed = c->kind == LAYER_GZIP ? WINDOW : 0;
    next->n = 0;
    return 0;
}

int block_compressor_write(struct block_compressor *c, const void *data, size_t n, struct err *err)
{
    if (c->kind == LAYER_PLAIN)
        return c->sink(c->ctx, data, n, err);
    const unsigned char *p = data;
    while (n > 0) {
        struct block *b = &c->ring[c->head % c->n_ring];
        size_t room = c->block_size - b->n, take_n = n < room ? n : room;
        memcpy(b->in + WINDOW + b->n, p, take_n);
        b->n += take_n;
        p += take_n;
        n -= take_n;
        if (b->n < c->block_size)
            continue;
        int r = submit(c, false, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static void put_le32(unsigned char *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (unsigned char)(v >> (8 * i));
}

int block_compressor_finish(struct block_compressor *c, struct err *err)
{
    if (c->kind == LAYER_PLAIN)
        return 0;
    int r = submit(c, true, err);
    while (r == 0 && c->tail < c->head)
        r = drain_one(c, err);
    if (r < 0 || c->kind != LAYER_GZIP)
        return r;
    unsigned char trailer[8];
    put_le32(trailer, c->crc);
    put_le32(trailer + 4, (uint32_t)c->total);
    return c->sink(c->ctx, trailer, sizeof(trailer), err);
}

void block_compressor_free(struct block_compressor *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    pthread_cond_broadcast(&c->ready);
    pthread_mutex_unlock(&c->lock);
    for (int i = 0; i < c->n_workers; i++)
        pthread_join(c->workers[i], NULL);
    for (size_t i = 0; i < c->n_ring; i++) {
        free(c->ring[i].in);
        free(c->ring[i].out);
    }
    free(c->ring);
    pthread_cond_destroy(&c->ready);
    pthread_cond_destroy(&c->done);
    pthread_mutex_destroy(&c->lock);
    free(c);
}
