/* Pin and rollback: the track's tags return to an older publication, and stay there.
 *
 *     happy path     the publication's children are wanted again -> a publication of the repository's next generation,
 *                    journalled as any other, under the tags that the track owns -> held there until released
 *     failure modes  the registry lost a child: said so, and the tags stay where they are;
 *                    the index lacks a platform that may not be dropped: refused */
#include "daemon/model/command.h"
#include "daemon/model/hold.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>

#define DIGEST_PREFIX "sha256:"
#define PREFIX_MIN    (sizeof(DIGEST_PREFIX) - 1 + 6) /* of a digest that is cut short */

/* ---- which publication ---- */

static bool done_by(const struct publication *p, const struct track *t)
{
    return p->state == PUBLICATION_VERIFIED && str_eq(p->repository, t->image->repository);
}

/* The last one before it that has other children. */
static struct publication *one_before(const struct track *t, const struct publication *last)
{
    struct publication *best = NULL;
    VEC_FOREACH (&t->published, it) {
        struct publication *p = *it;
        if (!done_by(p, t) || children_equal(&p->child, &last->child))
            continue;
        if (!best || p->build > best->build || (p->build == best->build && p->id > best->id))
            best = p;
    }
    return best;
}

static char *list_all(const struct track *t)
{
    struct strbuf list = {0};
    VEC_FOREACH (&t->published, p)
        if (done_by(*p, t))
            strbuf_addf(&list, "%s%" PRId64, list.n ? ", " : "", (*p)->id);
    return list.n ? strbuf_steal(&list) : xstrdup("none");
}

static bool named(const struct publication *p, const char *name)
{
    if (str_starts(name, DIGEST_PREFIX))
        return strlen(name) >= PREFIX_MIN && str_starts(p->digest, name);
    char *end = NULL;
    int64_t id = strtoll(name, &end, 10);
    return isdigit((unsigned char)*name) && !*end && p->id == id;
}

/* By number, or by the beginning of the index's digest; of several with one digest, the last. */
static int find(const struct track *t, const char *name, struct publication **ret, struct err *err)
{
    struct publication *found = NULL;
    VEC_FOREACH (&t->published, it) {
        struct publication *p = *it;
        if (!done_by(p, t) || !named(p, name))
            continue;
        if (found && !str_eq(found->digest, p->digest))
            return err_set(err, -EINVAL, "%s: more than one publication of %s begins so", name,
                           t->id);
        if (!found || p->id > found->id)
            found = p;
    }
    *ret = found;
    if (found)
        return 0;
    cleanup_free char *all = list_all(t);
    return err_set(err, -ENOENT, "%s has no publication '%s'; those that it has: %s", t->id, name,
                   all);
}

/* ---- going there ---- */

/* design rule 7: a published platform is dropped only by `retire`. */
static int check_platforms(const struct track *t, const struct publication *target, struct err *err)
{
    for (int p = 0; p < PLATFORM_COUNT; p++) {
        const struct slot *s = t->slots[p];
        if (!s || s->retired || s->optional || publication_child(target, (enum platform)p))
            continue;
        if (track_published(t) && publication_child(t->last, (enum platform)p))
            return err_set(err, -EBUSY,
                           "publication %" PRId64 " has no %s, which %s must have: retire that "
                           "platform first (sheafctl retire %s --platform %s)",
                           target->id, s->platform_name, t->id, t->id, s->platform_name);
    }
    return 0;
}

static int go_to(struct model *m, struct track *t, const struct command *c,
                 struct publication *target, struct command_answer *a, struct err *err)
{
    const struct publication *at = hold_pinned(m, t);
    if (at && children_equal(&at->child, &target->child) && !at->error) {
        answer_set(a, false, "%s is pinned to publication %" PRId64 " already", t->id, at->id);
        return 0;
    }
    int r = check_platforms(t, target, err);
    if (r < 0)
        return r;
    if (target->error) { /* the registry had lost a child: it is looked for again */
        str_replace(&target->error, NULL);
        model_touch(m, target);
    }
    hold_put(m, t, c);
    t->pinned = target->id;
    bool there = t->last && children_equal(&t->last->child, &target->child);
    const char *away = model_repository(m, t->image->repository)->stopped;
    answer_set(a, true, "%s %s publication %" PRId64 " (%.19s) until it is released%s%s", t->id,
               there ? "stays at" : "returns to, and stays at,", target->id, target->digest,
               away ? ", once adopt or restore has its repository go on: " : "", away ? away : "");
    return 0;
}

static int refuse_retired(const struct track *t, struct err *err)
{
    return err_set(err, -EBUSY, "%s is retired: wake it (sheafctl wake %s)", t->id, t->id);
}

int command_pin(struct model *m, struct track *t, const struct command *c, struct command_answer *a,
                struct err *err)
{
    struct publication *target = NULL;
    if (t->retired) /* it owns no tags */
        return refuse_retired(t, err);
    if (!c->publication)
        return err_set(err, -EINVAL, "publication: which one? (sheafctl show %s lists them)",
                       t->id);
    int r = find(t, c->publication, &target, err);
    return r < 0 ? r : go_to(m, t, c, target, a, err);
}

/* One that has put no tag yet is nothing to return from: a hold ends it. */
static int refuse_only_one(struct model *m, const struct track *t, const struct publication *last,
                           struct err *err)
{
    const struct publication *running = publish_running(m, t);
    if (running && running->state < PUBLICATION_TAGS)
        return err_set(err, -EBUSY,
                       "publication %" PRId64 " is the only one that %s has, and publication "
                       "%" PRId64 " has not begun with its tags: sheafctl hold %s ends that one",
                       last->id, t->id, running->id, t->id);
    return err_set(err, -EBUSY, "publication %" PRId64 " is the only one of %s", last->id, t->id);
}

/* Without a publication: the one before the newest that tags name, or begin to; asked twice, it goes back once. */
int command_rollback(struct model *m, struct track *t, const struct command *c,
                     struct command_answer *a, struct err *err)
{
    if (c->publication)
        return command_pin(m, t, c, a, err);
    if (t->retired)
        return refuse_retired(t, err);
    const struct publication *last = publication_newest_begun(t), *at = hold_pinned(m, t);
    if (!last)
        return err_set(err, -EBUSY, "%s was never published: there is nothing to return to", t->id);
    if (at && !at->error && !children_equal(&at->child, &last->child)) {
        answer_set(a, false,
                   "%s is back at publication %" PRId64 " already; name one to go further back",
                   t->id, at->id);
        return 0;
    }
    struct publication *target = one_before(t, last);
    return target ? go_to(m, t, c, target, a, err) : refuse_only_one(m, t, last, err);
}
