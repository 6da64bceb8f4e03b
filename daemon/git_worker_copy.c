/* Objects from one repository of this machine to another. libgit2's own transport for paths knows what is
 * there already only under upstream's names for refs, and mirrors have none of those: it would copy an
 * upstream whole at every change. */
#include "daemon/git_worker_int.h"

#include <errno.h>

struct copy {
    git_repository *from, *to;
    git_revwalk *walk;
    git_packbuilder *pack;
    git_indexer *indexer;
    git_indexer_progress stats; /* the indexer's own memory from one piece to the next */
    int64_t limit, taken;       /* bytes */
    bool over;
};

/* Tags of tags are as deep as somebody made them. */
#define TAGS_MAX 16

/* Puts the tags that `id` passes through into the pack, and the commit behind them on the walk. */
static int push(struct copy *copy, const git_oid *id)
{
    git_object *object = NULL;
    int r = git_object_lookup(&object, copy->from, id, GIT_OBJECT_ANY);
    for (int depth = 0; r == 0 && git_object_type(object) == GIT_OBJECT_TAG; depth++) {
        git_object *target = NULL;
        r = git_packbuilder_insert(copy->pack, git_object_id(object), NULL);
        if (r == 0)
            r = depth < TAGS_MAX ? git_tag_target(&target, (git_tag *)object) : GIT_EPEEL;
        git_object_free(object);
        object = target;
    }
    if (r == 0)
        r = git_object_type(object) == GIT_OBJECT_COMMIT
                ? git_revwalk_push(copy->walk, git_object_id(object))
                : git_packbuilder_insert_recur(copy->pack, git_object_id(object), NULL);
    git_object_free(object);
    return r;
}

/* Leaves out what `to` has: whatever one of its refs reaches, as far as `from` knows that commit. */
static int hide(git_reference *ref, struct copy *copy)
{
    git_object *commit = NULL, *known = NULL;
    int r = git_reference_peel(&commit, ref, GIT_OBJECT_COMMIT);
    git_reference_free(ref);
    if (r < 0)
        return 0; /* one that does not lead to a commit hides nothing */
    r = git_object_lookup(&known, copy->from, git_object_id(commit), GIT_OBJECT_COMMIT);
    if (r == 0)
        r = git_revwalk_hide(copy->walk, git_object_id(commit));
    git_object_free(known);
    git_object_free(commit);
    return r == GIT_ENOTFOUND ? 0 : r;
}

static int hide_all(struct copy *copy)
{
    git_reference_iterator *iterator = NULL;
    git_reference *ref;
    int r = git_reference_iterator_glob_new(&iterator, copy->to, "refs/sheaf/*");
    while (r == 0 && (r = git_reference_next(&ref, iterator)) == 0)
        r = hide(ref, copy);
    git_reference_iterator_free(iterator);
    return r == GIT_ITEROVER ? 0 : r;
}

static int take_bytes(void *data, size_t n, void *payload)
{
    struct copy *copy = payload;
    copy->taken += (int64_t)n;
    copy->over = copy->taken > copy->limit;
    return copy->over ? GIT_EUSER : git_indexer_append(copy->indexer, data, n, &copy->stats);
}

/* git_packbuilder_write would do the same without telling how much it is. */
static int write_pack(struct copy *copy)
{
    if (git_packbuilder_object_count(copy->pack) == 0)
        return 0;
    git_odb *odb = NULL;
    cleanup_free char *folder = xasprintf("%sobjects/pack", git_repository_path(copy->to));
    int r = git_repository_odb(&odb, copy->to);
    if (r == 0)
        r = git_indexer_new(&copy->indexer, folder, 0, odb, NULL);
    if (r == 0)
        r = git_packbuilder_foreach(copy->pack, take_bytes, copy);
    if (r == 0)
        r = git_indexer_commit(copy->indexer, &copy->stats);
    if (r == 0)
        r = git_odb_refresh(odb);
    git_indexer_free(copy->indexer);
    git_odb_free(odb);
    return r;
}

int git_copy_objects(git_repository *from, git_repository *to, const git_oid *ids, size_t n,
                     int64_t limit, const char *what, struct err *err)
{
    struct copy copy = {.from = from, .to = to, .limit = limit};
    int r = git_revwalk_new(&copy.walk, from);
    if (r == 0)
        r = git_packbuilder_new(&copy.pack, from);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = push(&copy, &ids[i]);
    if (r == 0)
        r = hide_all(&copy);
    if (r == 0)
        r = git_packbuilder_insert_walk(copy.pack, copy.walk);
    if (r == 0)
        r = write_pack(&copy);
    git_packbuilder_free(copy.pack);
    git_revwalk_free(copy.walk);
    if (copy.over)
        return err_set(err, -EFBIG, "%s: the fetch would bring more than %lld bytes", what,
                       (long long)limit);
    return r < 0 ? git_worker_error(err, r, true, "%s", what) : 0;
}
