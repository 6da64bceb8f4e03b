/* Jobs of the past, packed. A packed job is the 32 bytes of its key, then the other columns in their order: a number as
 * a varint, a text as the number of its pieces plus 1 (NULL: 0) and its pieces. A piece is 0 and the 32 bytes of a digest,
 * or the number of a word plus 1: lists of inputs consist of digests and of what other jobs have too.
 *
 *     happy path     an object that is done loses its last build (job_forget_spec) -> packed at the end of some turn;
 *                    loaded without a spec: packed at once
 *     and back       its key is looked for (job_find) -> an object again, until nothing refers to it */
#include "daemon/model/past.h"

#include "daemon/model/objects.h"
#include "daemon/model/queue.h"

#include <assert.h>

#define KEY       32
#define FIRST     64 /* places of a new table */
#define ALGORITHM "sha256:"

static const struct table *columns_of_jobs(void)
{
    return table_of(TABLE_JOB);
}

static char *member(const struct job *j, size_t column)
{
    return (char *)(uintptr_t)j + columns_of_jobs()->columns[column].offset;
}

/* ---- digests ---- */

/* Of each digit's character: its value plus 1. */
static const unsigned char hex_digits[256] = {
    ['0'] = 1, ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9, ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
};

/* Whether a digest begins at `s`: "sha256:" and 64 lower-case digits. */
static bool read_digest(const char *s, unsigned char ret[KEY])
{
    if (!str_starts(s, ALGORITHM))
        return false;
    const unsigned char *at = (const unsigned char *)s + strlen(ALGORITHM);
    for (size_t i = 0; i < KEY; i++, at += 2) {
        unsigned high = hex_digits[at[0]], low = high ? hex_digits[at[1]] : 0;
        if (!low)
            return false;
        ret[i] = (unsigned char)((high - 1) << 4 | (low - 1));
    }
    return true;
}

/* Whether `s` is a digest and nothing else. */
static bool digest_alone(const char *s, unsigned char ret[KEY])
{
    return read_digest(s, ret) && !s[strlen(ALGORITHM) + 2 * KEY];
}

static void write_digest(struct strbuf *to, const unsigned char *digest)
{
    static const char digits[] = "0123456789abcdef";
    char text[2 * KEY];
    for (size_t i = 0; i < KEY; i++) {
        text[2 * i] = digits[digest[i] >> 4];
        text[2 * i + 1] = digits[digest[i] & 15];
    }
    strbuf_add(to, ALGORITHM);
    strbuf_addn(to, text, sizeof(text));
}

/* ---- words ---- */

/* A text that many jobs have. */
struct word {
    size_t n;
    char s[]; /* not terminated */
};

static uint64_t hash_of(const char *s, size_t n)
{
    uint64_t h = n, part = 0;
    for (; n >= sizeof(part); n -= sizeof(part), s += sizeof(part)) {
        memcpy(&part, s, sizeof(part));
        h = (h ^ part) * 0x9e3779b97f4a7c15;
        h ^= h >> 32;
    }
    part = 0;
    memcpy(&part, s, n);
    h = (h ^ part) * 0x9e3779b97f4a7c15;
    return h ^ h >> 32;
}

/* Where the word is, or would be. */
static uint32_t *word_place(const struct past *p, const char *s, size_t n)
{
    for (size_t i = hash_of(s, n);; i++) {
        uint32_t *at = &p->word_at[i & (p->word_cap - 1)];
        const struct word *word = *at ? p->words.items[*at - 1] : NULL;
        if (!word || (word->n == n && memcmp(word->s, s, n) == 0))
            return at;
    }
}

static void grow_words(struct past *p)
{
    free(p->word_at);
    p->word_cap = p->word_cap ? p->word_cap * 2 : FIRST;
    p->word_at = xcalloc(p->word_cap, sizeof(*p->word_at));
    for (size_t i = 0; i < p->words.n; i++)
        *word_place(p, p->words.items[i]->s, p->words.items[i]->n) = (uint32_t)(i + 1);
}

/* The number of a word plus 1. */
static uint32_t word_of(struct past *p, const char *s, size_t n)
{
    if (2 * p->words.n >= p->word_cap)
        grow_words(p);
    uint32_t *at = word_place(p, s, n);
    if (*at)
        return *at;
    struct word *word = xcalloc(1, sizeof(*word) + n);
    word->n = n;
    memcpy(word->s, s, n);
    vec_push(&p->words, word);
    return *at = (uint32_t)p->words.n;
}

/* ---- packing ---- */

static void put_number(struct strbuf *to, uint64_t n)
{
    char bytes[10];
    size_t used = 0;
    for (; n > 0x7f; n >>= 7)
        bytes[used++] = (char)(n | 0x80);
    bytes[used++] = (char)n;
    strbuf_addn(to, bytes, used);
}

static uint64_t get_number(const char **from)
{
    uint64_t n = 0;
    for (unsigned shift = 0;; shift += 7) {
        uint64_t byte = (unsigned char)*(*from)++;
        n |= (byte & 0x7f) << shift;
        if (byte < 0x80)
            return n;
    }
}

/* How long the piece is that begins at `s`; `ret_digest` is filled in where it is a digest, else it ends where one
 * begins, and after what parts two inputs of a list. */
static size_t piece_length(const char *s, unsigned char ret_digest[KEY], bool *ret_is_digest)
{
    *ret_is_digest = read_digest(s, ret_digest);
    if (*ret_is_digest)
        return strlen(ALGORITHM) + 2 * KEY;
    for (size_t n = 1 + strcspn(s + 1, "s["); s[n]; n += 1 + strcspn(s + n + 1, "s[")) {
        unsigned char digest[KEY];
        if (s[n] == 's' ? s[n + 1] == 'h' && read_digest(s + n, digest)
                        : n >= 2 && s[n - 1] == ',' && s[n - 2] == ']')
            return n;
    }
    return strlen(s);
}

static void put_text(struct past *p, struct strbuf *to, const char *s)
{
    cleanup_strbuf struct strbuf pieces = {0};
    size_t n = 0;
    for (; s && *s; n++) {
        unsigned char digest[KEY];
        bool is_digest;
        size_t length = piece_length(s, digest, &is_digest);
        put_number(&pieces, is_digest ? 0 : word_of(p, s, length));
        if (is_digest)
            strbuf_addn(&pieces, digest, sizeof(digest));
        s += length;
    }
    put_number(to, s ? n + 1 : 0);
    strbuf_addn(to, strbuf_str(&pieces), pieces.n);
}

static char *get_text(const struct past *p, const char **from)
{
    cleanup_strbuf struct strbuf text = {0};
    uint64_t n = get_number(from);
    if (!n)
        return NULL;
    while (--n) {
        uint64_t word = get_number(from);
        if (word) {
            strbuf_addn(&text, p->words.items[word - 1]->s, p->words.items[word - 1]->n);
            continue;
        }
        write_digest(&text, (const unsigned char *)*from);
        *from += KEY;
    }
    return xstrndup(strbuf_str(&text), text.n); /* without the buffer's spare room */
}

/* Negative ones take as little room as positive ones. */
static uint64_t zigzag(int64_t n)
{
    return (uint64_t)n << 1 ^ (uint64_t)(n >> 63);
}

static int64_t unzigzag(uint64_t n)
{
    return (int64_t)(n >> 1) ^ -(int64_t)(n & 1);
}

static char *pack(struct past *p, const unsigned char key[KEY], const struct job *j)
{
    cleanup_strbuf struct strbuf to = {0};
    strbuf_addn(&to, key, KEY);
    for (size_t i = 1; i < columns_of_jobs()->n_columns; i++) {
        const char *value = member(j, i);
        switch (columns_of_jobs()->columns[i].type) {
        case COLUMN_TEXT:
            put_text(p, &to, *(char *const *)(const void *)value);
            break;
        case COLUMN_INT:
            put_number(&to, zigzag(*(const int64_t *)(const void *)value));
            break;
        case COLUMN_BOOL:
            put_number(&to, *(const bool *)value);
            break;
        case COLUMN_ENUM:
            put_number(&to, *(const unsigned *)(const void *)value);
            break;
        }
    }
    return xmemdup(to.s, to.n);
}

static struct job *unpack(const struct past *p, const char *packed)
{
    struct job *j = xnew(struct job);
    struct strbuf key = {0};
    j->row.table = TABLE_JOB;
    write_digest(&key, (const unsigned char *)packed);
    j->key = strbuf_steal(&key);
    packed += KEY;
    for (size_t i = 1; i < columns_of_jobs()->n_columns; i++) {
        char *value = member(j, i);
        switch (columns_of_jobs()->columns[i].type) {
        case COLUMN_TEXT:
            *(char **)(void *)value = get_text(p, &packed);
            break;
        case COLUMN_INT:
            *(int64_t *)(void *)value = unzigzag(get_number(&packed));
            break;
        case COLUMN_BOOL:
            *(bool *)value = get_number(&packed) != 0;
            break;
        case COLUMN_ENUM:
            *(unsigned *)(void *)value = (unsigned)get_number(&packed);
            break;
        }
    }
    platform_parse(j->platform_name, &j->platform, NULL);
    return j;
}

/* ---- the table ---- */

/* The first place of a key: it is evenly spread as it is. */
static size_t home(const struct past *p, const void *key)
{
    uint64_t h;
    memcpy(&h, key, sizeof(h));
    return h & (p->cap - 1);
}

/* Where the key is, or would be. */
static size_t place_of(const struct past *p, const void *key)
{
    size_t i = home(p, key);
    while (p->at[i] && memcmp(p->at[i], key, KEY) != 0)
        i = (i + 1) & (p->cap - 1);
    return i;
}

static void grow(struct past *p)
{
    char **old = p->at;
    size_t n = p->cap;
    p->cap = n ? n * 2 : FIRST;
    p->at = xcalloc(p->cap, sizeof(*p->at));
    for (size_t i = 0; i < n; i++)
        if (old[i])
            p->at[place_of(p, old[i])] = old[i];
    free(old);
}

/* The key is not in it. */
static void insert(struct past *p, char *packed)
{
    if (2 * p->n >= p->cap)
        grow(p);
    p->at[place_of(p, packed)] = packed;
    p->n++;
}

/* What stands behind the place and could stand in it moves up: a search ends at a free place. */
static void take_out(struct past *p, size_t hole)
{
    free(p->at[hole]);
    p->at[hole] = NULL;
    p->n--;
    for (size_t i = (hole + 1) & (p->cap - 1); p->at[i]; i = (i + 1) & (p->cap - 1)) {
        size_t from_home = (i - home(p, p->at[i])) & (p->cap - 1);
        if (from_home < ((i - hole) & (p->cap - 1)))
            continue;
        p->at[hole] = p->at[i];
        p->at[i] = NULL;
        hole = i;
    }
}

struct job *past_recall(struct model *m, const char *key)
{
    struct past *p = &m->past;
    unsigned char digest[KEY];
    if (!p->n || !digest_alone(key, digest))
        return NULL;
    size_t at = place_of(p, digest);
    if (!p->at[at])
        return NULL;
    struct job *j = unpack(p, p->at[at]);
    take_out(p, at);
    job_add(m, j);
    past_expect(m, j);
    return j;
}

void past_each(const struct model *m, void (*fn)(void *data, const struct job *j), void *data)
{
    for (size_t i = 0; i < m->past.cap; i++) {
        if (!m->past.at[i])
            continue;
        struct job *j = unpack(&m->past, m->past.at[i]);
        fn(data, j);
        row_done(TABLE_JOB, j);
        free(j);
    }
}

void past_done(struct past *past)
{
    for (size_t i = 0; i < past->cap; i++)
        free(past->at[i]);
    free(past->at);
    free(past->word_at);
    VEC_FOREACH (&past->words, word)
        free(*word);
    vec_free(&past->words);
    vec_free(&past->to);
    *past = (struct past){0};
}

/* ---- what is of the past ---- */

/* Its spec is forgotten (job_forget_spec), and whoever wants it again describes it anew. */
static bool forgotten(const struct job *j)
{
    bool done = j->state == JOB_SUCCEEDED || (j->state == JOB_CANCELLED && !j->settled);
    return done && j->spec && !*j->spec && !j->builds.n && !j->live && !j->pinning;
}

void past_expect(struct model *m, struct job *j)
{
    if (!j || j->past_expected)
        return;
    j->past_expected = true;
    vec_push(&m->past.to, j);
}

void job_hold(struct job *j)
{
    if (j)
        j->holders++;
}

void job_let_go(struct model *m, struct job *j)
{
    if (!j)
        return;
    assert(j->holders > 0);
    if (!--j->holders)
        past_expect(m, j);
}

/* "Why built", and the choice of a board, ask for the last success of a slot. */
static bool last_success(const struct model *m, const struct job *j)
{
    const struct track *t = track_find(m, j->track);
    const struct slot *s = t ? t->slots[j->platform] : NULL;
    return s && str_eq(s->last_key, j->key);
}

/* Packs an object, and frees it, if its key is one that can be packed. */
static void put_away(struct model *m, struct job *j)
{
    unsigned char key[KEY];
    if (!digest_alone(j->key, key))
        return;
    insert(&m->past, pack(&m->past, key, j));
    HASH_DEL(m->jobs, j);
    queue_drop(j); /* it may have been cancelled there */
    job_free(j);
}

void past_turn_end(struct model *m)
{
    VEC_FOREACH (&m->past.to, it) {
        struct job *j = *it;
        j->past_expected = false;
        if (forgotten(j) && !j->holders && !last_success(m, j))
            put_away(m, j);
    }
    m->past.to.n = 0;
}

bool past_load(struct model *m, const struct cell *cells)
{
    struct job j = {0};
    unsigned char key[KEY];
    if (row_borrow(TABLE_JOB, cells, &j) < 0 || !forgotten(&j) || !digest_alone(j.key, key) ||
        platform_parse(j.platform_name, &j.platform, NULL) < 0)
        return false;
    insert(&m->past, pack(&m->past, key, &j));
    return true;
}
