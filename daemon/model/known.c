#include "daemon/model/known.h"

#include <uthash.h>

struct digest {
    char *text;
    size_t n;
    UT_hash_handle hh;
};

struct known {
    size_t holders;
    struct digest *digests;
};

static struct digest *find(const struct known *k, const char *text)
{
    struct digest *d = NULL;
    if (k)
        HASH_FIND_STR(k->digests, text, d);
    return d;
}

void known_add(struct known **k, const char *text)
{
    struct digest *d = find(*k, text);
    if (!*k) {
        *k = xnew(struct known);
        (*k)->holders = 1;
    }
    if (!d) {
        d = xnew(struct digest);
        d->text = xstrdup(text);
        HASH_ADD_KEYPTR(hh, (*k)->digests, d->text, strlen(d->text), d);
    }
    d->n++;
}

void known_remove(struct known *k, const char *text)
{
    struct digest *d = find(k, text);
    if (!d || --d->n > 0)
        return;
    HASH_DEL(k->digests, d);
    free(d->text);
    free(d);
}

bool known_has(const struct known *k, const char *digest)
{
    return find(k, digest);
}

struct known *known_hold(struct known *k)
{
    if (k)
        k->holders++;
    return k;
}

void known_free(struct known *k)
{
    struct digest *d, *next;
    if (!k || --k->holders > 0)
        return;
    HASH_ITER(hh, k->digests, d, next)
    {
        HASH_DEL(k->digests, d);
        free(d->text);
        free(d);
    }
    free(k);
}
