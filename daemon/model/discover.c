/* Which refs become tracks (design rule 8).
 *
 * At the first sight of an image's pattern every ref that it follows becomes a track, all in one turn: of tags, the
 * newest few (`history`) are active, the others dormant; branches are all active; `maintain` leaves the highest
 * of each series active. A ref that appears later is active, and is published once in any case. What sleeps and wakes
 * afterwards: sleep.c. */
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"
#include "daemon/model/tagging.h"

/* The image's source is another one now, and has the track's ref as well. */
static void track_found(struct model *m, struct track *t)
{
    track_link(m, t);
    track_recall(m, t);
    model_plan_later(m, t);
    track_tell_dependents(m, t);
}

/* The look at one image's refs that makes its tracks. */
struct look {
    const struct farm_image *image;
    struct source *source;
    bool first; /* sight: what is old sleeps */
    bool noted; /* ref->known and ref->kept are of this image */
};

/* Another ref has the name of one that is not followed any more: a branch, say, in place of a tag. */
static void take_ref(struct model *m, struct track *t, const struct ref *r, bool dormant)
{
    str_replace(&t->ref_name, r->name);
    model_touch(m, t);
    track_found(m, t);
    if (t->image)
        vec_push(&model_repository(m, t->image->repository)->tracks, t);
    if (!dormant)
        track_wake(m, t, AWAKE_ALWAYS);
}

/* Whether the image has tracks at the ref that all sleep, though they be of variants that farm.yaml names no more: then a
 * variant that it adds is no reason to build what is old. */
static bool sleeps_there(struct model *m, struct look *look, const struct ref *ref)
{
    struct ref *r;
    for (r = look->noted ? NULL : look->source->refs; r; r = r->hh.next)
        r->known = r->kept = false;
    for (struct track *t = look->noted ? NULL : m->tracks; t; t = t->hh.next) {
        if (!str_eq(t->image_name, look->image->name))
            continue;
        HASH_FIND_STR(look->source->refs, t->ref_name, r);
        if (r)
            r->known = true;
        if (r && !t->dormant)
            r->kept = true;
    }
    look->noted = true;
    return ref->known && !ref->kept;
}

static void make_track(struct model *m, struct look *look, struct ref *r, const char *variant,
                       bool dormant)
{
    const struct farm_image *image = look->image;
    cleanup_free char *id = track_name(image->name, r->name, variant);
    struct track *t = track_find(m, id);
    if (t && t->image && !t->ref)
        track_found(m, t);
    else if (t && !t->image && !str_eq(t->ref_name, r->name))
        take_ref(m, t, r, dormant);
    if (t)
        return;
    if (!look->first)
        dormant = sleeps_there(m, look, r);
    t = xnew(struct track);
    t->row.table = TABLE_TRACK;
    t->id = steal_ptr(id);
    t->image_name = xstrdup(image->name);
    t->ref_name = xstrdup(r->name);
    t->variant = xstrdup(variant);
    t->dormant = dormant;
    t->wait_clock = -1;
    track_add(m, t);
    model_touch(m, t);
    track_link(m, t);
    struct repository *repository = model_repository(m, image->repository);
    vec_push(&repository->tracks, t);
    model_plan_later(m, t);
    track_tell_dependents(m, t); /* it may be what they were blocked for */
}

/* A version outside the image's bounds makes no track; one that is there already follows its ref. */
static void find_track(struct model *m, const struct farm_image *image, const struct ref *r,
                       const char *variant)
{
    cleanup_free char *id = track_name(image->name, r->name, variant);
    struct track *t = track_find(m, id);
    if (t && t->image && !t->ref)
        track_found(m, t);
}

static void find_tracks(struct model *m, const struct farm_image *image, const struct ref *r)
{
    if (!image->variants.n)
        find_track(m, image, r, NULL);
    VEC_FOREACH (&image->variants, variant)
        find_track(m, image, r, *variant);
}

static void make_tracks(struct model *m, struct look *look, struct ref *r, bool dormant)
{
    if (!look->image->variants.n)
        make_track(m, look, r, NULL, dormant);
    VEC_FOREACH (&look->image->variants, variant)
        make_track(m, look, r, *variant, dormant);
}

/* ---- first sight ---- */

struct candidate {
    struct ref *ref;
    struct version version;
};

static bool is_tag(const struct ref *r)
{
    return str_starts(r->name, "refs/tags/");
}

/* The newest first. Of equal versions a tag before a branch, as in git: of two that have one short name it has the track. */
static int candidate_cmp(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    int order = -version_newer(&x->version, &y->version);
    if (order == 0)
        order = is_tag(y->ref) - is_tag(x->ref);
    return order ? order : strcmp(x->ref->name, y->ref->name);
}

/* Whether one of the first `i` candidates makes the next one an older one of its series. Those of a series are
 * neighbours, among the releases and again among the prereleases. */
static bool series_has_newer(const struct farm_image *image, const struct candidate *all, size_t i)
{
    const struct version *v = &all[i].version;
    if (image->maintain == FARM_MAINTAIN_PATCH || i == 0)
        return false;
    if (version_same_series(&all[i - 1].version, v, image->maintain))
        return true;
    if (!version_is_prerelease(v))
        return false;
    for (size_t k = 0; k < i && !version_is_prerelease(&all[k].version); k++)
        if (version_same_series(&all[k].version, v, image->maintain))
            return true;
    return false;
}

/* What the image was last seen with: another pattern or other bounds make for another first sight. */
static char *sight_of(const struct farm_image *image)
{
    return image->versions ? xconcat(image->ref, " ", image->versions, NULL) : xstrdup(image->ref);
}

bool track_image_unseen(const struct model *m, const struct farm_image *image)
{
    cleanup_free char *key = xconcat("seen/", image->name, NULL), *sight = sight_of(image);
    return !str_eq(model_setting(m, key), sight);
}

static void note_sight(struct model *m, const struct farm_image *image)
{
    cleanup_free char *key = xconcat("seen/", image->name, NULL), *sight = sight_of(image);
    model_set_setting(m, key, sight);
}

static int64_t sightings(const struct model *m, const struct farm_image *image)
{
    struct source *s = NULL;
    HASH_FIND_STR(m->sources, image->source, s);
    return s ? s->sighting : 0;
}

/* How often the source was looked at for what the image has with its present pattern and bounds; -1: it is not known. */
static int64_t looks(const struct model *m, const struct farm_image *image)
{
    cleanup_free char *key = xconcat("awaited/", image->name, NULL);
    const char *value = model_setting(m, key);
    return value ? sightings(m, image) - strtoll(value, NULL, 10) : -1;
}

/* How many of the tags that are found are kept in date. A tag that an earlier look did not find is new, though none was
 * found then: the newest is built, whatever `history` says of what was there before. */
static int kept_tags(const struct model *m, const struct farm_image *image)
{
    return image->history == 0 && looks(m, image) > 1 ? 1 : image->history;
}

static void discover_image(struct model *m, const struct farm_image *image, struct source *s,
                           bool sighted)
{
    bool first = track_image_unseen(m, image);
    if (first && !sighted)
        return;
    VEC(struct candidate) found = {0};
    for (struct ref *r = s->refs; r; r = r->hh.next) {
        struct ref_reading reading = ref_read(image, r->name);
        if (reading.verdict == REF_FOLLOWED && !r->deleted)
            vec_push(&found, (struct candidate){r, reading.parsed});
        else if (reading.verdict == REF_OUT_OF_BOUNDS && !r->deleted)
            find_tracks(m, image, r);
    }
    if (found.n)
        qsort(found.items, found.n, sizeof(*found.items), candidate_cmp);
    struct look look = {.image = image, .source = s, .first = first};
    int active_tags = 0, history = kept_tags(m, image);
    for (size_t i = 0; i < found.n; i++) {
        const struct candidate *c = &found.items[i];
        bool tag = is_tag(c->ref);
        bool dormant = series_has_newer(image, found.items, i) ||
                       (tag && history != FARM_HISTORY_ALL && active_tags >= history);
        active_tags += tag && !dormant;
        make_tracks(m, &look, c->ref, first && dormant);
    }
    if (first && found.n)
        note_sight(m, image);
    vec_free(&found);
}

void track_discover(struct model *m, struct source *s, bool sighted)
{
    VEC_FOREACH (&m->farm->images, image)
        if (str_eq(image->source, s->url))
            discover_image(m, image, s, sighted);
}

/* ---- refs that are called alike ---- */

static int text_cmp(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Whether the pattern can match a tag and a branch, and so two refs of one short name. */
static bool follows_both(const struct farm_image *image)
{
    return strchr(image->ref, '*') && !str_starts(image->ref, "refs/tags/") &&
           !str_starts(image->ref, "refs/heads/");
}

void track_ignored_refs(const struct model *m, const struct farm_image *image, strvec *texts)
{
    struct source *s = NULL;
    HASH_FIND_STR(m->sources, image->source, s);
    if (!s || !follows_both(image))
        return;
    for (const struct ref *r = s->refs; r; r = r->hh.next) {
        if (r->deleted || ref_read(image, r->name).verdict != REF_FOLLOWED)
            continue;
        const char *variant = image->variants.n ? image->variants.items[0] : NULL;
        cleanup_free char *id = track_name(image->name, r->name, variant);
        const struct track *t = track_find(m, id);
        if (!t || str_eq(t->ref_name, r->name))
            continue;
        cleanup_free char *text =
            xasprintf("%s is not built: %s has that name already, and follows %s%s; rename one of "
                      "them, or let `ref` match only one",
                      r->name, id, t->ref_name, t->deleted ? ", which is gone upstream" : "");
        strvec_add(texts, text);
    }
    if (texts->n)
        qsort(texts->items, texts->n, sizeof(*texts->items), text_cmp);
}

/* ---- an image whose source is another one ---- */

/* How many sightings of its source there were when that became the image's; -1 where that is not known. */
static int64_t sightings_before(const struct model *m, const struct farm_image *image,
                                const char **ret_url)
{
    cleanup_free char *key = xconcat("source/", image->name, NULL);
    const char *value = model_setting(m, key);
    const char *url = value ? strchr(value, ' ') : NULL;
    *ret_url = url ? url + 1 : NULL;
    return url ? strtoll(value, NULL, 10) : -1;
}

/* From when on a look at its source shows what an image has with its present pattern and bounds. */
static void note_awaited(struct model *m, const struct farm_image *image)
{
    if (!track_image_unseen(m, image))
        return;
    cleanup_free char *key = xconcat("awaited/", image->name, NULL), *sight = sight_of(image);
    const char *value = model_setting(m, key);
    const char *noted = value ? strchr(value, ' ') : NULL;
    if (noted && str_eq(noted + 1, sight))
        return;
    cleanup_free char *now = xasprintf("%lld %s", (long long)sightings(m, image), sight);
    model_set_setting(m, key, now);
}

static bool is_awaited(const struct model *m, const struct farm_image *image)
{
    if (!track_image_unseen(m, image))
        return false;
    struct source *s = NULL;
    HASH_FIND_STR(m->sources, image->source, s);
    return !(s && s->error) && looks(m, image) == 0;
}

char *track_image_awaits(const struct model *m, const struct farm_image *image)
{
    if (!track_image_unseen(m, image))
        return NULL;
    cleanup_free char *what =
        image->versions ? xasprintf("%s, versions %s", image->ref, image->versions) : NULL;
    if (looks(m, image) <= 0)
        return xasprintf("waits for the first look for %s", what ? what : image->ref);
    return xasprintf("look %lld found nothing that it follows (%s)", (long long)sightings(m, image),
                     what ? what : image->ref);
}

static void note_sight_awaited(struct model *m)
{
    m->sight_awaited = false;
    VEC_FOREACH (&m->farm->images, image)
        m->sight_awaited = m->sight_awaited || is_awaited(m, image);
}

static void note_source(struct model *m, const struct farm_image *image)
{
    const char *url;
    if (sightings_before(m, image, &url) >= 0 && str_eq(url, image->source))
        return;
    cleanup_free char *key = xconcat("source/", image->name, NULL);
    cleanup_free char *value = xasprintf("%lld %s", (long long)sightings(m, image), image->source);
    cleanup_free char *seen = xconcat("seen/", image->name, NULL);
    cleanup_free char *awaited = xconcat("awaited/", image->name, NULL);
    if (url) { /* what it has is first sight again */
        model_set_setting(m, seen, NULL);
        model_set_setting(m, awaited, NULL);
    }
    model_set_setting(m, key, value);
}

void track_sources(struct model *m)
{
    VEC_FOREACH (&m->farm->images, image) {
        note_source(m, image);
        note_awaited(m, image);
    }
    note_sight_awaited(m);
}

bool track_awaits_sighting(const struct model *m, const struct track *t)
{
    const char *url;
    return !t->ref && sightings(m, t->image) <= sightings_before(m, t->image, &url);
}

void track_source_looked_at(struct model *m, const struct source *s)
{
    VEC_FOREACH (&m->farm->images, image) {
        const char *url;
        if (!str_eq(image->source, s->url) || s->sighting > sightings_before(m, image, &url) + 1)
            continue;
        VEC_FOREACH (&model_repository(m, image->repository)->tracks, t)
            if ((*t)->image == image && !(*t)->ref)
                model_plan_later(m, *t);
    }
    note_sight_awaited(m);
}
