#include "agent/layer_index.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#define DEFAULT_MAX_BYTES   (8ull << 30)
#define DEFAULT_MAX_ENTRIES 1000000u
#define ARENA_CHUNK         (64u << 10)
#define ARENA_MAX           (256u << 20)
#define PATH_LENGTH_MAX     4096
#define NAME_LENGTH_MAX     255

struct arena_chunk {
    struct arena_chunk *next;
    size_t used, size;
    char bytes[];
};

void layer_index_init(struct layer_index *ix, const struct layer_limits *limits, bool strict)
{
    *ix = (struct layer_index){.strict = strict};
    if (limits)
        ix->limits = *limits;
    if (!ix->limits.max_bytes)
        ix->limits.max_bytes = DEFAULT_MAX_BYTES;
    if (!ix->limits.max_entries)
        ix->limits.max_entries = DEFAULT_MAX_ENTRIES;
    if (ix->limits.max_entries > NODE_NONE - 1)
        ix->limits.max_entries = NODE_NONE - 1;
}

void layer_index_forget(struct layer_index *ix)
{
    while (ix->arena.chunk) {
        struct arena_chunk *next = ix->arena.chunk->next;
        free(ix->arena.chunk);
        ix->arena.chunk = next;
    }
    ix->arena.total = 0;
}

void layer_index_done(struct layer_index *ix)
{
    layer_index_forget(ix);
    vec_free(&ix->nodes);
}

/* n bytes aligned for anything, or NULL when the arena is full. */
static void *arena_get(struct layer_arena *a, size_t n)
{
    n = (n + 15) & ~(size_t)15;
    if (n > ARENA_MAX - a->total)
        return NULL;
    if (!a->chunk || a->chunk->size - a->chunk->used < n) {
        size_t size = n > ARENA_CHUNK ? n : ARENA_CHUNK;
        struct arena_chunk *c = xrealloc(NULL, 1, sizeof(*c) + size);
        *c = (struct arena_chunk){.next = a->chunk, .size = size};
        a->chunk = c;
    }
    void *p = a->chunk->bytes + a->chunk->used;
    a->chunk->used += n;
    a->total += n;
    return p;
}

int layer_index_copy(struct layer_index *ix, const void *p, size_t n, const char *path,
                     const char **ret, struct err *err)
{
    char *copy = n < ARENA_MAX ? arena_get(&ix->arena, n + 1) : NULL;
    if (!copy) {
        cleanup_free char *shown = layer_path_show(path);
        return err_set(err, -EFBIG, "names and attributes take more than %u MiB at %s",
                       ARENA_MAX >> 20, shown);
    }
    if (n)
        memcpy(copy, p, n);
    copy[n] = '\0';
    *ret = copy;
    return 0;
}

char *layer_path_show(const char *path)
{
    struct strbuf b = {0};
    for (const unsigned char *p = (const unsigned char *)path; *p && b.n < 300; p++) {
        if (*p < 0x20 || *p >= 0x7f || *p == '\\')
            strbuf_addf(&b, "\\x%02x", *p);
        else
            strbuf_addc(&b, (char)*p);
    }
    if (strlen(path) > 300)
        strbuf_add(&b, "...");
    return strbuf_steal(&b);
}

int layer_path_cmp(const char *a, const char *b)
{
    /* "." is the root: before everything. */
    if (a[0] == '.' && a[1] == '\0')
        a = "";
    if (b[0] == '.' && b[1] == '\0')
        b = "";
    while (*a && *a == *b)
        a++, b++;
    int x = *a == '/' ? 1 : *a ? (unsigned char)*a + 1 : 0;
    int y = *b == '/' ? 1 : *b ? (unsigned char)*b + 1 : 0;
    return x - y;
}

bool layer_xattr_kept(const char *name)
{
    return strcmp(name, "security.capability") == 0 || str_starts(name, "user.");
}

static int bad_path(const char *name, const char *what, const char *why, struct err *err)
{
    cleanup_free char *shown = layer_path_show(name);
    return err_set(err, -EBADMSG, "%s %s: %s", what, shown, why);
}

/* Copies the components of `name` to `out`, joined by single slashes, without ".". */
static const char *normalise(const char *name, char *out)
{
    size_t n = 0;
    for (const char *p = name; *p;) {
        size_t len = strcspn(p, "/");
        bool dot = len == 1 && p[0] == '.';
        if (len > NAME_LENGTH_MAX)
            return "a name in it is longer than 255 bytes";
        if (len == 2 && p[0] == '.' && p[1] == '.')
            return "\"..\" in a path";
        if (len && !dot) {
            if (n)
                out[n++] = '/';
            memcpy(out + n, p, len);
            n += len;
        }
        p += len + (p[len] == '/');
    }
    if (n == 0)
        out[n++] = '.';
    out[n] = '\0';
    return NULL;
}

int layer_index_path(struct layer_index *ix, const char *name, const char *what,
                     const char **ret_path, struct err *err)
{
    if (!name || !*name)
        return err_set(err, -EBADMSG, "%s without a name", what);
    if (strlen(name) >= PATH_LENGTH_MAX)
        return bad_path(name, what, "longer than 4095 bytes", err);
    if (ix->strict && name[0] == '/')
        return bad_path(name, what, "an absolute path", err);
    char buf[PATH_LENGTH_MAX + 2];
    const char *why = normalise(name, buf);
    if (why)
        return bad_path(name, what, why, err);
    return layer_index_copy(ix, buf, strlen(buf), buf, ret_path, err);
}

bool layer_index_leaves_out(const struct layer_index *ix, const struct layer_entry *entry)
{
    static const struct {
        const char *path;
        uint32_t major, minor;
    } known[] = {{"dev/null", 1, 3},   {"dev/zero", 1, 5},    {"dev/full", 1, 7},
                 {"dev/random", 1, 8}, {"dev/urandom", 1, 9}, {"dev/console", 5, 1},
                 {"dev/tty", 5, 0},    {"dev/ptmx", 5, 2}};
    if (!ix->strict || ix->devices || entry->hard || !S_ISCHR(entry->mode))
        return false;
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
        if (entry->major == known[i].major && entry->minor == known[i].minor &&
            str_eq(entry->path, known[i].path))
            return true;
    return false;
}

/* Why an entry cannot be in the result, or NULL. */
static const char *refusal(const struct layer_index *ix, const struct layer_entry *e)
{
    const char *base = strrchr(e->path, '/');
    base = base ? base + 1 : e->path;
    if (!ix->whiteouts && str_starts(base, ".wh."))
        return "a name that a layer would read as a whiteout";
    if (e->hard)
        return NULL;
    if ((S_ISCHR(e->mode) || S_ISBLK(e->mode)) && !ix->devices)
        return "a device node is not allowed here";
    if (strcmp(e->path, ".") == 0 && !S_ISDIR(e->mode))
        return "the root is not a folder";
    if (S_ISLNK(e->mode) && (!e->link || !*e->link))
        return "a symbolic link to nothing";
    return NULL;
}

static int too_big(const struct layer_index *ix, const struct layer_entry *e, struct err *err)
{
    cleanup_free char *shown = layer_path_show(e->path);
    return err_set(err, -EFBIG,
                   "entry %s (%" PRIu64 " bytes) goes over the limit of %" PRIu64 " bytes in all",
                   shown, e->size, ix->limits.max_bytes);
}

int layer_index_check(struct layer_index *ix, const struct layer_entry *entry, struct err *err)
{
    const char *why = refusal(ix, entry);
    if (why)
        return bad_path(entry->path, "entry", why, err);
    if (ix->entries >= ix->limits.max_entries)
        return err_set(err, -EFBIG, "more than %" PRIu64 " entries", ix->limits.max_entries);
    if (entry->size > ix->limits.max_bytes - ix->bytes)
        return too_big(ix, entry, err);
    ix->bytes += entry->size;
    ix->entries++;
    return 0;
}

int layer_index_add(struct layer_index *ix, const struct layer_entry *entry,
                    struct layer_node **ret_node, struct err *err)
{
    int r = layer_index_check(ix, entry, err);
    if (r < 0)
        return r;
    uint32_t order = (uint32_t)ix->nodes.n;
    vec_push(&ix->nodes, (struct layer_node){.entry = *entry, .order = order, .inode = order});
    if (ret_node)
        *ret_node = &ix->nodes.items[order];
    return 0;
}

/* -------------------------------------------------------------------------------------- finishing */

static int node_cmp(const void *pa, const void *pb)
{
    const struct layer_node *a = pa, *b = pb;
    int r = layer_path_cmp(a->entry.path, b->entry.path);
    return r ? r : (a->order > b->order) - (a->order < b->order);
}

/* The last node called `path` that came before `order`; NULL if there is none. Nodes are sorted. */
static struct layer_node *holder(struct layer_index *ix, const char *path, uint32_t order)
{
    struct layer_node key = {.entry.path = path, .order = order};
    size_t lo = 0, hi = ix->nodes.n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (node_cmp(&ix->nodes.items[mid], &key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    struct layer_node *n = lo ? &ix->nodes.items[lo - 1] : NULL;
    return n && layer_path_cmp(n->entry.path, path) == 0 ? n : NULL;
}

/* Sets each hard link's inode. A chain of links is followed; every step goes back in the source. */
static int resolve_links(struct layer_index *ix, struct err *err)
{
    VEC_FOREACH (&ix->nodes, n) {
        if (!n->entry.hard || n->inode != n->order)
            continue;
        struct layer_node *t = n;
        while (t && t->entry.hard && t->inode == t->order)
            t = holder(ix, t->entry.link, t->order);
        if (t && S_ISDIR(t->entry.mode) && !t->entry.hard)
            return bad_path(n->entry.path, "hard link", "to a folder", err);
        if (!t && ix->strict)
            return bad_path(n->entry.path, "hard link", "to what is not there before it", err);
        if (t)
            n->inode = t->inode;
    }
    return 0;
}

static bool below(const char *path, const char *folder)
{
    size_t n = strlen(folder);
    return strcmp(folder, ".") == 0 || (strncmp(path, folder, n) == 0 && path[n] == '/');
}

/* Marks what a later entry replaced: earlier ones of the same name, and what was below a name that is no
 * folder any more. An entry that goes *through* such a name is refused: it would end up elsewhere. */
static int drop_replaced(struct layer_index *ix, struct err *err)
{
    VEC(struct layer_node *) above = {0};
    int r = 0;
    for (size_t i = 0; i < ix->nodes.n && r == 0; i++) {
        struct layer_node *n = &ix->nodes.items[i];
        if (i + 1 < ix->nodes.n && layer_path_cmp(n->entry.path, n[1].entry.path) == 0) {
            n->dropped = true;
            continue;
        }
        while (above.n && !below(n->entry.path, above.items[above.n - 1]->entry.path))
            above.n--;
        struct layer_node *top = above.n ? above.items[above.n - 1] : NULL;
        if (top && (top->entry.hard || !S_ISDIR(top->entry.mode))) {
            if (top->order > n->order)
                n->dropped = true;
            else if (ix->strict)
                r = bad_path(n->entry.path, "entry", "goes through what is not a folder", err);
            continue;
        }
        vec_push(&above, n);
    }
    vec_free(&above);
    return r;
}

/* Makes the node the file of its linked set: everything but the name comes from the set's origin. */
static void become_file(struct layer_node *n, const struct layer_node *origin)
{
    if (n == origin)
        return;
    const char *path = n->entry.path;
    n->entry = origin->entry;
    n->entry.path = path;
    n->header_at = origin->header_at;
    n->data_at = origin->data_at;
    memcpy(n->data_digest, origin->data_digest, DIGEST_SIZE);
}

/* Makes the node a hard link to `file`. It repeats mode, owners and attributes: Docker sets them once more, on
 * the one inode that both names have. */
static void become_link(struct layer_node *n, const struct layer_node *file)
{
    const char *path = n->entry.path;
    n->entry = file->entry;
    n->entry.path = path;
    n->entry.hard = true;
    n->entry.link = file->entry.path;
    n->entry.size = 0;
}

/* Gives the first surviving name of each linked set the file, and points the others at it. (An origin that
 * survives is not overwritten before the first name has copied it: it is that name, or comes later.) */
static void elect_files(struct layer_index *ix)
{
    uint32_t n = (uint32_t)ix->nodes.n;
    struct layer_node *nodes = ix->nodes.items;
    /* both by order: where that node is now, and the first name of its set */
    cleanup_free uint32_t *at = xcalloc(n, sizeof(*at));
    cleanup_free uint32_t *first = xcalloc(n, sizeof(*first));
    for (uint32_t i = 0; i < n; i++) {
        at[nodes[i].order] = i;
        first[i] = NODE_NONE;
    }
    for (uint32_t i = 0; i < n; i++) {
        const struct layer_node *origin = &nodes[at[nodes[i].inode]];
        uint32_t *f = &first[nodes[i].inode];
        if (nodes[i].dropped || (origin == &nodes[i] && origin->entry.hard))
            continue; /* a link to what is not in this layer stays as it is */
        if (*f == NODE_NONE) {
            *f = i;
            become_file(&nodes[i], origin);
        } else {
            become_link(&nodes[i], &nodes[*f]);
        }
    }
}

static void remove_dropped(struct layer_index *ix)
{
    size_t kept = 0;
    VEC_FOREACH (&ix->nodes, n) {
        if (!n->dropped)
            ix->nodes.items[kept++] = *n;
    }
    ix->nodes.n = kept;
}

int layer_index_finish(struct layer_index *ix, struct err *err)
{
    if (ix->nodes.n == 0)
        return 0;
    qsort(ix->nodes.items, ix->nodes.n, sizeof(*ix->nodes.items), node_cmp);
    int r = resolve_links(ix, err);
    if (r == 0)
        r = drop_replaced(ix, err);
    if (r < 0)
        return r;
    elect_files(ix);
    remove_dropped(ix);
    return 0;
}
