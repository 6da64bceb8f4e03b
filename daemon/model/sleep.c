/* Which tracks are kept in date: what falls asleep, and what wakes (design rule 8).
 *
 * When a version is published for the first time, `maintain` puts the lower ones of its series to sleep, itself if
 * there is a higher one. A dormant track wakes
 *
 *     for a dependent in date, on a tag that it has or would publish: it sleeps again when there is none any more;
 *     when its ref moves, or a rebuild is asked for: it is published, and is in date like any other from then on,
 *                     which `maintain` may end at once;
 *     by `wake`: it never sleeps by itself.
 *
 * What a track is built on is not known while its files are read, nor what tracks there are before the first look for a new
 * pattern, so nothing loses its last dependent meanwhile. A track whose version is outside `versions` is not kept in date
 * as long as it is, awake or not. */
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"

/* ---- who is needed ---- */

static bool wants_it(const struct track *dependent)
{
    return dependent->image && !dependent->dormant && !dependent->deleted && !dependent->retired &&
           !dependent->out_of_bounds;
}

static bool can_publish(const struct track *t)
{
    return !t->deleted && !t->retired && !t->out_of_bounds;
}

/* Whether it has published nothing yet, and takes the tag from a lower version once it has. */
static bool will_take(const struct model *m, const struct tag_node *n, const struct track *t)
{
    const struct track *owner = track_find(m, n->current->track_id);
    return !t->publication && can_publish(t) && owner &&
           version_newer(&t->parsed_version, &owner->parsed_version) > 0;
}

/* Whether the tag is the track's: it has it, or will; where nobody has, it is the highest in date that may publish it. */
static bool is_its(const struct model *m, const struct tag_node *n, const struct track *t)
{
    if (n->current)
        return str_eq(n->current->track_id, t->id) || will_take(m, n, t);
    VEC_FOREACH (&n->claimants, it) {
        const struct track *c = *it;
        if (!c->dormant && can_publish(c) &&
            version_newer(&c->parsed_version, &t->parsed_version) > 0)
            return false;
    }
    return true;
}

static bool needed_above(const struct model *m, struct track *t)
{
    t->mark = m->visit;
    VEC_FOREACH (&t->claims, n) {
        if (!is_its(m, *n, t))
            continue;
        VEC_FOREACH (&(*n)->dependents, it) {
            struct track *d = *it;
            if (d->mark == m->visit || !wants_it(d))
                continue;
            if (d->awake != AWAKE_NEEDED || needed_above(m, d))
                return true;
        }
    }
    return false;
}

/* Whether something that keeps itself in date is built, however indirectly, on a tag that is the track's: those that are awake
 * for each other alone do not count. */
static bool needed(struct model *m, struct track *t)
{
    m->visit++;
    return needed_above(m, t);
}

/* ---- who is told ---- */

#define NAMED_MAX 3 /* of those for whom a track is awake */

typedef VEC(const char *) track_ids; /* borrowed */

/* Keeps the list in order, and each id once. */
static void add_id(track_ids *list, const char *id)
{
    size_t at = list->n;
    while (at > 0 && strcmp(list->items[at - 1], id) > 0)
        at--;
    if (at > 0 && str_eq(list->items[at - 1], id))
        return;
    vec_push(list, id);
    for (size_t i = list->n - 1; i > at; i--)
        list->items[i] = list->items[i - 1];
    list->items[at] = id;
}

/* Those in date that are built on a tag that is the track's. */
static void needed_by(const struct model *m, const struct track *t, track_ids *list)
{
    VEC_FOREACH (&t->claims, n) {
        if (!is_its(m, *n, t))
            continue;
        VEC_FOREACH (&(*n)->dependents, d)
            if (wants_it(*d))
                add_id(list, (*d)->id);
    }
}

static char *needed_text(const struct model *m, const struct track *t)
{
    track_ids list = {0};
    needed_by(m, t, &list);
    struct strbuf b = {0};
    for (size_t i = 0; i < list.n && i < NAMED_MAX; i++)
        strbuf_addf(&b, "%s%s", i == 0 ? "" : i + 1 == list.n ? " and " : ", ", list.items[i]);
    if (list.n > NAMED_MAX)
        strbuf_addf(&b, " and %zu more", list.n - NAMED_MAX);
    if (list.n)
        strbuf_addf(&b, " %s built on it: it sleeps once nothing in date is",
                    list.n > 1 ? "are" : "is");
    else
        strbuf_add(&b, "something in date was built on it: it sleeps once it is known that "
                       "nothing is");
    vec_free(&list);
    return strbuf_steal(&b);
}

char *track_awake_text(const struct model *m, const struct track *t)
{
    if (!wants_it(t) || t->awake == AWAKE_ALWAYS)
        return NULL;
    if (t->awake == AWAKE_NEEDED)
        return needed_text(m, t);
    return xstrdup(
        t->awake == AWAKE_ONCE
            ? "its ref moved, or a rebuild was asked for: it is published once, and stays "
              "in date unless `maintain` has a higher version in its place"
            : "a person woke it: it does not sleep by itself");
}

/* ---- sleeping ---- */

static void set_awake(struct model *m, struct track *t, enum awake why)
{
    if (t->awake == why)
        return;
    t->awake = why;
    model_touch(m, t);
    if (why == AWAKE_NEEDED && !t->in_woken)
        vec_push(&m->woken, t);
    t->in_woken = t->in_woken || why == AWAKE_NEEDED;
}

static void fall_asleep(struct model *m, struct track *t)
{
    t->dormant = true;
    model_touch(m, t);
    set_awake(m, t, AWAKE_ALWAYS);
    model_plan_later(m, t);
}

/* At the end of the plan, when it is known what all are built on: see track_doze. */
static void sleep_unless_needed(struct model *m, struct track *t)
{
    if (!t->dormant && t->awake < AWAKE_ONCE)
        set_awake(m, t, AWAKE_NEEDED);
}

/* Whether it is not known yet what all that is in date is built on. What nobody needs that is known does not count: it
 * stays awake only if it is needed by what is being read. */
static bool reading(struct model *m)
{
    int n = m->unread_tracks;
    VEC_FOREACH (&m->woken, t)
        n -= (*t)->unread && (*t)->awake == AWAKE_NEEDED && !needed(m, *t);
    return n > 0;
}

bool track_doze(struct model *m)
{
    bool any = false;
    size_t kept = 0;
    if (!m->woken.n || m->sight_awaited || reading(m))
        return false;
    for (size_t i = 0; i < m->woken.n; i++) {
        struct track *t = m->woken.items[i];
        bool wakes = !t->dormant && t->awake == AWAKE_NEEDED;
        if (wakes && (needed(m, t) || t->dozed == m->plans)) {
            m->woken.items[kept++] = t;
            continue;
        }
        t->in_woken = false;
        any = any || wakes;
        if (!wakes)
            continue;
        t->dozed = m->plans; /* who woke it again in the same plan would do so for ever */
        fall_asleep(m, t);
    }
    m->woken.n = kept;
    return any;
}

/* Whether `maintain` keeps `newest` in date instead of `t`. */
static bool supersedes(const struct track *newest, const struct track *t)
{
    return newest != t && newest->image == t->image && newest->publication && can_publish(newest) &&
           str_eq(newest->variant, t->variant) && t->parsed_version.parts &&
           newest->parsed_version.parts &&
           version_same_series(&newest->parsed_version, &t->parsed_version, t->image->maintain) &&
           version_newer(&newest->parsed_version, &t->parsed_version) > 0;
}

void track_first_published(struct model *m, struct track *t)
{
    if (!t->image || t->image->maintain == FARM_MAINTAIN_PATCH)
        return;
    VEC_FOREACH (&model_repository(m, t->image->repository)->tracks, it) {
        if (supersedes(*it, t))
            sleep_unless_needed(m, t);
        else if ((*it)->publication && supersedes(t, *it))
            sleep_unless_needed(m, *it);
    }
}

void track_published_again(struct model *m, struct track *t)
{
    set_awake(m, t, AWAKE_ALWAYS);
    if (t->image->maintain == FARM_MAINTAIN_PATCH)
        return;
    VEC_FOREACH (&model_repository(m, t->image->repository)->tracks, it)
        if (supersedes(*it, t))
            sleep_unless_needed(m, t);
}

/* `maintain` was made stricter: as if each version had been published just now. */
static void apply_maintain(struct model *m, const struct farm_image *image)
{
    VEC_FOREACH (&model_repository(m, image->repository)->tracks, t)
        if ((*t)->image == image && (*t)->publication && !(*t)->dormant)
            track_first_published(m, *t);
}

void track_maintain(struct model *m)
{
    static const char *const names[] = {"patch", "minor", "major"};
    VEC_FOREACH (&m->farm->images, image) {
        cleanup_free char *key = xconcat("maintain/", image->name, NULL);
        const char *was = model_setting(m, key), *is = names[image->maintain];
        if (str_eq(was ? was : names[FARM_MAINTAIN_PATCH], is))
            continue;
        model_set_setting(m, key, is);
        apply_maintain(m, image);
    }
}

/* ---- waking ---- */

void track_wake(struct model *m, struct track *t, enum awake why)
{
    if (!t->dormant) {
        if (t->awake != AWAKE_ALWAYS && why > t->awake)
            set_awake(m, t, why);
        return;
    }
    t->dormant = false;
    model_touch(m, t);
    set_awake(m, t, why);
    model_plan_later(m, t);
}

void node_wake(struct model *m, const struct tag_node *n)
{
    struct track *best = NULL;
    VEC_FOREACH (&n->claimants, it) {
        struct track *t = *it;
        if (!can_publish(t))
            continue;
        if (n->current ? str_eq(n->current->track_id, t->id)
                       : !best || version_newer(&t->parsed_version, &best->parsed_version) > 0)
            best = t;
        if (!n->current && !t->dormant)
            return; /* it is kept in date, and will publish the tag */
    }
    if (best && best->dormant)
        track_wake(m, best, AWAKE_NEEDED);
}
