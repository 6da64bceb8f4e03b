/* Jobs of the past, packed: the columns after the key in their order, a number as a varint, a text as the number of its pieces plus 1 (NULL: 0) and its pieces. A piece is 0 and the 32 bytes of a digest,
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
    UT_hash_handle hh;
    uint32_t number; /* in past.words, plus 1 */
    size_t n;
    char s[]; /* not terminated */
};

static uint32_t word_of(struct past *p, const char *s, size_t n)
{
    struct word *word = NULL;
    HASH_FIND(hh, p->word, s, n, word);
    if (word)
        return word->number;
    word = xcalloc(1, sizeof(*word) + n);
    word->n = n;
    memcpy(word->s, s, n);
    vec_push(&p->words, word);
    word->number = (uint32_t)p->words.n;
    HASH_ADD(hh, p->word, s, n, word);
    return word->number;
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

struct packed {
    UT_hash_handle hh;
    unsigned char key[KEY];
    char columns[];
};

static void pack(struct past *p, const unsigned char key[KEY], const struct job *j)
{
    cleanup_strbuf struct strbuf to = {0};
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
    struct packed *packed = xcalloc(1, sizeof(*packed) + to.n);
    memcpy(packed->key, key, KEY);
    memcpy(packed->columns, to.s, to.n);
    HASH_ADD(hh, p->jobs, key, KEY, packed);
}

static struct job *unpack(const struct past *p, const struct packed *packed)
{
    struct job *j = xnew(struct job);
    struct strbuf key = {0};
    j->row.table = TABLE_JOB;
    write_digest(&key, packed->key);
    j->key = strbuf_steal(&key);
    const char *from = packed->columns;
    for (size_t i = 1; i < columns_of_jobs()->n_columns; i++) {
        char *value = member(j, i);
        switch (columns_of_jobs()->columns[i].type) {
        case COLUMN_TEXT:
            *(char **)(void *)value = get_text(p, &from);
            break;
        case COLUMN_INT:
            *(int64_t *)(void *)value = unzigzag(get_number(&from));
            break;
        case COLUMN_BOOL:
            *(bool *)value = get_number(&from) != 0;
            break;
        case COLUMN_ENUM:
            *(unsigned *)(void *)value = (unsigned)get_number(&from);
            break;
        }
    }
    platform_parse(j->platform_name, &j->platform, NULL);
    return j;
}

/* ---- the packed ones ---- */

struct job *past_recall(struct model *m, const char *key)
{
    struct past *p = &m->past;
    unsigned char digest[KEY];
    struct packed *packed = NULL;
    if (!p->jobs || !digest_alone(key, digest))
        return NULL;
    HASH_FIND(hh, p->jobs, digest, KEY, packed);
    if (!packed)
        return NULL;
    struct job *j = unpack(p, packed);
    HASH_DEL(p->jobs, packed);
    free(packed);
    job_add(m, j);
    past_expect(m, j);
    return j;
}

void past_each(const struct model *m, void (*fn)(void *data, const struct job *j), void *data)
{
    for (const struct packed *packed = m->past.jobs; packed; packed = packed->hh.next) {
        struct job *j = unpack(&m->past, packed);
        fn(data, j);
        row_done(TABLE_JOB, j);
        free(j);
    }
}

void past_done(struct past *past)
{
    struct packed *packed, *next;
    HASH_ITER(hh, past->jobs, packed, next)
    {
        HASH_DEL(past->jobs, packed);
        free(packed);
    }
    HASH_CLEAR(hh, past->word);
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
    pack(&m->past, key, j);
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
    pack(&m->past, key, &j);
    return true;
}
