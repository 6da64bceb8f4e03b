/* The C library's allocator, in its place: a quarter of a history went there. A list of free pieces for each size, nothing
 * joined or given back, no threads; what is freed twice, or was never allocated, ends the program as it would there. The
 * sanitizers bring their own. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define STEP      16
#define SMALL     64 /* sizes that are multiples of STEP; from there on powers of two */
#define CLASSES   (SMALL + 40)
#define BLOCK     ((size_t)1 << 20)
#define ALLOCATED 0xa110ca7ed
#define FREED     0xf4eed

/* Before each piece. */
struct head {
    size_t class;
    uint64_t state;
};
_Static_assert(sizeof(struct head) == STEP, "pieces are aligned as malloc's");

static struct head *unused[CLASSES];
static char *block, *block_end;

static size_t size_of(size_t class)
{
    return class < SMALL ? (class + 1) * STEP : (size_t)SMALL * STEP << (class - SMALL + 1);
}

static size_t class_of(size_t size)
{
    if (size <= SMALL * STEP)
        return size ? (size - 1) / STEP : 0;
    return SMALL + 63 - (size_t)__builtin_clzl((size - 1) / (SMALL * STEP));
}

/* While a piece is free it holds the next one of its size. */
static struct head **next_of(struct head *h)
{
    return (struct head **)(h + 1);
}

static struct head *new_piece(size_t class)
{
    size_t size = sizeof(struct head) + size_of(class);
    if ((size_t)(block_end - block) < size) {
        size_t n = size > BLOCK ? size : BLOCK;
        void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            return NULL;
        block = p;
        block_end = block + n;
    }
    struct head *h = (struct head *)(void *)block;
    block += size;
    h->class = class;
    return h;
}

static void *take(size_t size)
{
    size_t class = class_of(size);
    struct head *h = class < CLASSES ? unused[class] : NULL;
    if (h)
        unused[class] = *next_of(h);
    else if (class >= CLASSES || !(h = new_piece(class))) {
        errno = ENOMEM;
        return NULL;
    }
    h->state = ALLOCATED;
    return h + 1;
}

void *malloc(size_t size)
{
    return take(size);
}

void free(void *p)
{
    struct head *h = (struct head *)p - 1;
    if (!p)
        return;
    if (h->state != ALLOCATED)
        abort();
    h->state = FREED;
    *next_of(h) = unused[h->class];
    unused[h->class] = h;
}

void *calloc(size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    void *p = take(bytes); /* not malloc: the compiler would make a calloc of the two */
    return p ? memset(p, 0, bytes) : NULL;
}

void *realloc(void *p, size_t size)
{
    if (!p)
        return take(size);
    struct head *h = (struct head *)p - 1;
    size_t had = size_of(h->class);
    if (h->state != ALLOCATED)
        abort();
    if (size <= had)
        return p;
    void *new = take(size);
    if (!new)
        return NULL;
    memcpy(new, p, had);
    free(p);
    return new;
}

#endif
