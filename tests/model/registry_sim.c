#include "tests/model/registry_sim.h"

static uint64_t changes;

uint64_t registry_changes(void)
{
    return changes;
}

/* ---- what is there ---- */

struct registry_repository *registry_repository(struct registry_sim *r, const char *name)
{
    struct registry_repository *found = NULL;
    HASH_FIND_STR(r->repositories, name, found);
    if (found)
        return found;
    found = xnew(struct registry_repository);
    found->name = xstrdup(name);
    HASH_ADD_KEYPTR(hh, r->repositories, found->name, strlen(found->name), found);
    return found;
}

struct manifest *registry_manifest(struct registry_repository *r, const char *digest)
{
    struct manifest *m = NULL;
    HASH_FIND_STR(r->manifests, digest, m);
    return m;
}

static struct registry_tag *find_tag(struct registry_repository *r, const char *tag)
{
    struct registry_tag *t = NULL;
    HASH_FIND_STR(r->tags, tag, t);
    return t;
}

const char *registry_tag(struct registry_repository *r, const char *tag)
{
    const struct registry_tag *t = find_tag(r, tag);
    return t ? t->digest : NULL;
}

/* ---- what is pushed ---- */

static struct manifest *push(struct registry_repository *r, const char *digest,
                             const char *media_type)
{
    struct manifest *m = registry_manifest(r, digest);
    if (m)
        return m;
    m = xnew(struct manifest);
    m->digest = xstrdup(digest);
    m->media_type = xstrdup(media_type);
    HASH_ADD_KEYPTR(hh, r->manifests, m->digest, strlen(m->digest), m);
    return m;
}

void registry_push_child(struct registry_repository *r, const char *digest, const char *media_type,
                         enum platform platform)
{
    push(r, digest, media_type)->platform = platform;
}

bool registry_put_index(struct registry_repository *r, const struct effect *e)
{
    VEC_FOREACH (&e->children, c)
        if (!registry_manifest(r, c->digest))
            return false;
    struct manifest *m = push(r, e->digest, e->media_type);
    m->index = true;
    if (!m->children.n)
        VEC_FOREACH (&e->children, c)
            strvec_add(&m->children, c->digest);
    return true;
}

void registry_set_tag(struct registry_repository *r, const char *tag, const char *digest)
{
    struct registry_tag *t = find_tag(r, tag);
    changes++;
    if (!t) {
        t = xnew(struct registry_tag);
        t->name = xstrdup(tag);
        HASH_ADD_KEYPTR(hh, r->tags, t->name, strlen(t->name), t);
    }
    str_replace(&t->digest, digest);
}

/* ---- what is deleted ---- */

static void free_manifest(struct registry_repository *r, struct manifest *m)
{
    changes++;
    HASH_DEL(r->manifests, m);
    free(m->digest);
    free(m->media_type);
    strvec_done(&m->children);
    free(m);
}

static bool needed(struct registry_repository *r, const struct manifest *m)
{
    for (struct registry_tag *t = r->tags; t; t = t->hh.next) {
        if (str_eq(t->digest,
                   m->digest)) /* an index does not keep its children: distribution#3178 */
            return true;
    }
    return false;
}

unsigned registry_collect(struct registry_sim *r)
{
    unsigned n = 0;
    for (struct registry_repository *repo = r->repositories; repo; repo = repo->hh.next) {
        struct manifest *m, *next;
        HASH_ITER(hh, repo->manifests, m, next)
        {
            if (needed(repo, m))
                continue;
            free_manifest(repo, m);
            n++;
        }
    }
    return n;
}

static void free_tag(struct registry_repository *r, struct registry_tag *t)
{
    changes++;
    HASH_DEL(r->tags, t);
    free(t->name);
    free(t->digest);
    free(t);
}

void registry_delete_tag(struct registry_repository *r, const char *tag)
{
    struct registry_tag *t = find_tag(r, tag);
    if (t)
        free_tag(r, t);
}

void registry_lose(struct registry_repository *r, const char *digest)
{
    struct manifest *m = registry_manifest(r, digest);
    cleanup_free char *lost = xstrdup(digest);
    struct registry_tag *t, *next;
    HASH_ITER(hh, r->tags, t, next)
    {
        if (str_eq(t->digest, lost))
            free_tag(r, t);
    }
    if (m)
        free_manifest(r, m);
}

void registry_done(struct registry_sim *r)
{
    struct registry_repository *repo, *next;
    HASH_ITER(hh, r->repositories, repo, next)
    {
        while (repo->manifests)
            free_manifest(repo, repo->manifests);
        struct registry_tag *t, *next_tag;
        HASH_ITER(hh, repo->tags, t, next_tag)
        free_tag(repo, t);
        HASH_DEL(r->repositories, repo);
        free(repo->name);
        free(repo);
    }
}

/* ---- outside ---- */

void digest_from(uint64_t number, char ret[72])
{
    snprintf(ret, 72, "sha256:%016llx%016llx%016llx%016llx", (unsigned long long)mix(number),
             (unsigned long long)mix(number + 1), (unsigned long long)mix(number + 2),
             (unsigned long long)mix(number + 3));
}

void outside_digest(unsigned base, const struct outside_sim *o, char ret[72])
{
    digest_from(mix3(base, o->version, 1), ret);
}

bool outside_child(unsigned base, const struct outside_sim *o, enum platform p, char ret[72])
{
    if (mix3(base, o->version, 50 + p) % 12 == 0)
        return false;
    /* A new version changes the children of some platforms only. */
    unsigned version = o->version;
    while (version && mix3(base, version, 100 + p) % 3 == 0)
        version--;
    digest_from(mix3(base, version, 200 + p), ret);
    return true;
}
