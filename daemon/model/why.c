/* Why a build is made: the comparison of the inputs that each platform has now with those of its last success. */
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"

const struct slot *slot_to_retry(const struct model *m, const struct track *t)
{
    for (int p = 0; p < PLATFORM_COUNT; p++) {
        const struct slot *s = t->slots[p];
        if (s && s->state == SLOT_READY && s->job && job_retry_due(m, s->job))
            return s;
    }
    return NULL;
}

/* What the platforms of a track have to say. */
struct telling {
    strvec texts;     /* each different one */
    strvec platforms; /* those that say it, "linux/amd64, linux/arm64" */
    bool everybody;   /* all platforms say the same */
    bool first;       /* none of those that changed was ever built */
    bool bases_alone; /* nothing but the content of bases changed */
};

static void tell(struct telling *all, const char *text, const char *platform)
{
    for (size_t i = 0; i < all->texts.n; i++) {
        if (!str_eq(all->texts.items[i], text))
            continue;
        cleanup_free char *before = all->platforms.items[i];
        all->platforms.items[i] = xasprintf("%s, %s", before, platform);
        return;
    }
    strvec_add(&all->texts, text);
    strvec_add(&all->platforms, platform);
}

/* The inputs of the last success are gone with its job only where a store was mended by hand. */
static void compare_slots(struct model *m, const struct track *t, struct telling *all)
{
    size_t ready = 0, changed = 0;
    *all = (struct telling){.first = true, .bases_alone = true};
    for (int p = 0; p < PLATFORM_COUNT; p++) {
        const struct slot *s = t->slots[p];
        if (!s || s->state != SLOT_READY)
            continue;
        ready++;
        if (str_eq(s->last_key, s->key))
            continue;
        changed++;
        const struct job *last = s->last_key ? job_find(m, s->last_key) : NULL;
        bool bases_alone = false;
        cleanup_free char *text =
            last ? key_difference(last->inputs, slot_inputs(s), &bases_alone) : NULL;
        all->first = all->first && !last;
        all->bases_alone = all->bases_alone && bases_alone;
        tell(all, last ? (text ? text : "nothing that is known") : "never built before",
             s->platform_name);
    }
    all->everybody = changed == ready && all->texts.n == 1;
}

static char *told(const struct telling *all)
{
    if (all->everybody)
        return xstrdup(all->texts.items[0]);
    struct strbuf b = {0};
    for (size_t i = 0; i < all->texts.n; i++)
        strbuf_addf(&b, "%s%s: %s", i ? "; " : "", all->platforms.items[i], all->texts.items[i]);
    return b.n ? strbuf_steal(&b) : xstrdup("the set of platforms changed");
}

/* Whether work that is wanted was given up, since the track was stopped. */
static bool given_up(const struct track *t)
{
    for (int p = 0; p < PLATFORM_COUNT; p++) {
        const struct slot *s = t->slots[p];
        if (s && s->state == SLOT_READY && s->job && s->job->state == JOB_CANCELLED)
            return true;
    }
    return false;
}

/* Whose output the registry has lost: what is built again though nothing changed. */
static char *lost(const struct track *t)
{
    struct strbuf b = {0};
    for (int p = 0; p < PLATFORM_COUNT; p++) {
        const struct slot *s = t->slots[p];
        if (s && s->state == SLOT_READY && s->job && job_under_way(s->job))
            strbuf_addf(&b, "%s%s", b.n ? ", " : "", s->platform_name);
    }
    strbuf_addf(&b, "%sthe registry has lost what was built", b.n ? ": " : "");
    return strbuf_steal(&b);
}

void build_explain(struct model *m, struct track *t, struct build *b)
{
    const struct slot *retried = slot_to_retry(m, t);
    struct telling all = {0};
    compare_slots(m, t, &all);
    b->class = CLASS_SOURCE;
    /* There may be more to it than the lost child. What differs from the last success was wanted by the build before too, if that
     * has these keys: then it is not why there is another. */
    bool differs = all.texts.n && !(t->current && build_matches(t->current, t));
    if (t->asked == REASON_CHILD_MISSING && (retried || differs))
        track_ask(m, t, REASON_NONE);
    if (t->asked == REASON_CHILD_MISSING) {
        b->why = lost(t);
    } else if (t->asked == REASON_RETRY_ASKED) {
        b->class = CLASS_PERSON;
        b->why = xstrdup("a person asked to try it again");
    } else if (t->asked) {
        b->class = CLASS_PERSON;
        b->why = all.texts.n ? told(&all) : xstrdup("a person asked for it");
    } else if (retried) {
        const struct job *j = retried->job;
        b->class = j->class == CLASS_PERSON ? CLASS_SOURCE : j->class;
        b->why_code = REASON_TRIED_AGAIN;
        b->why = xasprintf("%s: failed before: %s: %s", retried->platform_name,
                           failure_kind_names[j->kind], j->reason ? j->reason : "");
    } else {
        b->class = all.texts.n && all.bases_alone ? CLASS_RIPPLE : CLASS_SOURCE;
        b->why_code = all.texts.n && all.first ? REASON_FIRST_BUILD : REASON_INPUT_CHANGED;
        b->why = !all.texts.n && given_up(t) ? xstrdup("it was given up before it was done")
                                             : told(&all);
    }
    b->why_code = t->asked ? t->asked : b->why_code;
    track_ask(m, t, REASON_NONE);
    strvec_done(&all.texts);
    strvec_done(&all.platforms);
}
