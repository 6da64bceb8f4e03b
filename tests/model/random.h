/* Numbers from a seed: everything that is random in a history comes from here, so that a seed replays. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Scrambles 64 bits. */
static inline uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

/* Scrambles several. */
static inline uint64_t mix2(uint64_t a, uint64_t b)
{
    return mix(mix(a) ^ b);
}

static inline uint64_t mix3(uint64_t a, uint64_t b, uint64_t c)
{
    return mix(mix2(a, b) ^ c);
}

/* A number that a text stands for. */
static inline uint64_t mix_text(const char *s)
{
    uint64_t h = 0xcbf29ce484222325;
    for (; s && *s; s++)
        h = (h ^ (unsigned char)*s) * 0x100000001b3;
    return mix(h);
}

/* A number that `n` bytes stand for, eight at a time: for much. */
static inline uint64_t mix_bytes(const char *s, size_t n)
{
    uint64_t h = 0, word;
    for (; n >= sizeof(word); n -= sizeof(word), s += sizeof(word)) {
        memcpy(&word, s, sizeof(word));
        h = (h ^ word) * 0x9e3779b97f4a7c15;
        h ^= h >> 32;
    }
    word = n;
    if (n)
        memcpy(&word, s, n);
    return mix2(h, word + n);
}

/* A stream of numbers. */
struct rng {
    uint64_t at;
};

static inline uint64_t rng_next(struct rng *r)
{
    return mix(r->at++);
}

/* 0 … n-1. */
static inline unsigned rng_below(struct rng *r, unsigned n)
{
    return (unsigned)(rng_next(r) % n);
}

/* Once in n times. */
static inline bool rng_one_in(struct rng *r, unsigned n)
{
    return rng_below(r, n) == 0;
}
