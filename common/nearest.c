#include "common/nearest.h"

#include <ctype.h>
#include <string.h>

#define WORD_MAX 63

static int fold(char c)
{
    return c == '_' ? '-' : tolower((unsigned char)c);
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

int edit_distance(const char *a, const char *b)
{
    size_t na = strnlen(a, WORD_MAX), nb = strnlen(b, WORD_MAX);
    int rows[3][WORD_MAX + 1]; /* the row before the last one, the last one, this one */
    int *older = rows[0], *last = rows[1], *now = rows[2];

    for (size_t j = 0; j <= nb; j++)
        last[j] = (int)j;
    for (size_t i = 1; i <= na; i++) {
        now[0] = (int)i;
        for (size_t j = 1; j <= nb; j++) {
            int differs = fold(a[i - 1]) != fold(b[j - 1]);
            now[j] = least(least(last[j], now[j - 1]) + 1, last[j - 1] + differs);
            if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) &&
                fold(a[i - 2]) == fold(b[j - 1]))
                now[j] = least(now[j], older[j - 2] + 1);
        }
        int *spare = older;
        older = last;
        last = now;
        now = spare;
    }
    return last[nb];
}

const char *nearest_word(const char *word, const char *const *words, size_t n)
{
    const char *best = NULL;
    int best_distance = 1 + (int)strnlen(word, WORD_MAX) / 3; /* the most that is believed */
    for (size_t i = 0; i < n; i++) {
        int distance = edit_distance(word, words[i]);
        if (distance > best_distance || (best && distance == best_distance))
            continue;
        best = words[i];
        best_distance = distance;
    }
    return best;
}
