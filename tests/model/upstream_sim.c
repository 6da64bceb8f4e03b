#include "tests/model/upstream_sim.h"

static int add_commit(struct upstream_sim *u, int parent, uint64_t content)
{
    struct commit c = {.parent = parent, .content = content};
    uint64_t h = mix2(u->seed, u->commits.n);
    snprintf(c.id, sizeof(c.id), "%03zu%016llx%016llx%05x", u->commits.n + 1, (unsigned long long)h,
             (unsigned long long)mix(h), (unsigned)(h & 0xfffff));
    c.time = 1600000000 + (int64_t)u->commits.n * 1000;
    vec_push(&u->commits, c);
    return (int)u->commits.n - 1;
}

static void keep_past(struct upstream_sim *u)
{
    vec_push(&u->past, u->refs);
}

void upstream_init(struct upstream_sim *u, uint64_t seed)
{
    *u =
        (struct upstream_sim){.seed = seed, .n_refs = mix2(seed, 98) % 6 ? MAX_REFS - 2 : MAX_REFS};
    int root = add_commit(u, -1, mix(seed) | 1);
    for (unsigned i = 0; i < MAX_REFS; i++)
        u->refs.at[i] = i == 0 || (i < u->n_refs && mix2(seed, i) % 3) ? root : -1;
    keep_past(u);
}

void upstream_done(struct upstream_sim *u)
{
    vec_free(&u->commits);
    vec_free(&u->past);
}

static void set(struct upstream_sim *u, unsigned ref, int commit)
{
    keep_past(u);
    u->refs.at[ref % u->n_refs] = commit;
}

void upstream_push(struct upstream_sim *u, unsigned ref, uint64_t random)
{
    int on = u->refs.at[ref % u->n_refs];
    if (on < 0)
        on = u->refs.at[0];
    set(u, ref, add_commit(u, on, random));
}

void upstream_force(struct upstream_sim *u, unsigned ref, uint64_t random)
{
    int on = u->refs.at[ref % u->n_refs];
    int parent = on >= 0 ? u->commits.items[on].parent : -1;
    set(u, ref, add_commit(u, random % 4 ? parent : -1, random));
}

void upstream_revert(struct upstream_sim *u, unsigned ref, uint64_t random)
{
    int on = u->refs.at[ref % u->n_refs];
    uint64_t old = u->commits.items[random % u->commits.n].content;
    set(u, ref, add_commit(u, on, old | 1));
}

void upstream_rewind(struct upstream_sim *u, unsigned ref, uint64_t random)
{
    set(u, ref, (int)(random % u->commits.n));
}

void upstream_delete(struct upstream_sim *u, unsigned ref)
{
    set(u, ref, -1);
}

int upstream_find(const struct upstream_sim *u, const char *id)
{
    for (size_t i = 0; i < u->commits.n; i++)
        if (str_eq(u->commits.items[i].id, id))
            return (int)i;
    return -1;
}

bool upstream_descends(const struct upstream_sim *u, int commit, int ancestor)
{
    for (; commit >= 0; commit = u->commits.items[commit].parent)
        if (commit == ancestor)
            return true;
    return false;
}

bool upstream_reachable(const struct upstream_sim *u, int commit)
{
    for (unsigned i = 0; i < MAX_REFS; i++)
        if (upstream_descends(u, u->refs.at[i], commit))
            return true;
    return false;
}

int upstream_version(const struct upstream_sim *u, int commit, const char *path)
{
    for (;; commit = u->commits.items[commit].parent) {
        const struct commit *c = &u->commits.items[commit];
        bool changes = (c->content & 1) || mix2(c->content, mix_text(path)) % 3 == 0;
        if (c->parent < 0 || changes)
            return commit;
    }
}

uint64_t upstream_content(const struct upstream_sim *u, int version, const char *path)
{
    return mix2(u->commits.items[version].content, mix_text(path));
}

bool upstream_folder_exists(const struct upstream_sim *u, int version, const char *path)
{
    return !strchr(path, '/') || upstream_content(u, version, path) % 8 != 0;
}
