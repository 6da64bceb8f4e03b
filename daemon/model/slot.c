/* One platform of one track: what it needs now.
 *
 *     happy path     the context is known and there, every reference is pinned: ready, with a key
 *     failure modes  the context is still being read, or an outside base looked up: waiting;
 *                    the tree is refused, the Dockerfile cannot be used, a base lacks the tag or the
 *                    platform, upstream dropped the folder: blocked; the folder never was: not offered */
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"
#include "daemon/model/recipe.h"
#include "daemon/model/slot_text.h"
#include "daemon/model/tagging.h"

#include <stdarg.h>

char *slot_expand(struct model *m, const struct slot *s, const char *text)
{
    if (!text)
        return NULL;
    if (!strchr(text, '$'))
        return xstrdup(text);
    const struct track *t = s->t;
    struct ref_reading reading = {.verdict = REF_FOLLOWED, .parsed = t->parsed_version};
    struct template_vars vars = track_vars(m->farm, t->image, t->ref_name, &reading, t->variant,
                                           t->ref ? t->ref->commit : NULL);
    vars.version = t->version && *t->version ? t->version : NULL;
    vars.platform = s->platform;
    char *expanded = NULL;
    if (template_expand(text, &vars, &expanded, NULL) < 0)
        return xstrdup(text);
    return expanded;
}

static void pin_done(struct pin *pin)
{
    free(pin->reference);
    free(pin->repository);
    free(pin->digest);
    free(pin->content);
}

static void pins_done(struct slot *s)
{
    VEC_FOREACH (&s->pins, pin)
        pin_done(pin);
    s->t->rebase = s->t->rebase || s->pins.n;
    s->pins.n = 0;
}

void slot_set_job(struct model *m, struct slot *s, struct job *j)
{
    if (s->job == j)
        return;
    job_hold(j);
    job_let_go(m, s->job);
    s->job = j;
}

/* Takes the slot from the list of one context's readers to that of another's; NULL: of none. */
static void set_context(struct slot *s, struct context *c)
{
    if (s->context == c)
        return;
    if (s->context)
        *(s->reader_before ? &s->reader_before->reader_after : &s->context->readers) =
            s->reader_after;
    if (s->reader_after)
        s->reader_after->reader_before = s->reader_before;
    s->reader_before = NULL;
    s->reader_after = c ? c->readers : NULL;
    if (s->reader_after)
        s->reader_after->reader_before = s;
    if (c)
        c->readers = s;
    s->context = c;
}

void slot_forget(struct model *m, struct slot *s)
{
    set_context(s, NULL);
    s->parsed = NULL;
    slot_set_job(m, s, NULL);
    pins_done(s);
    str_replace(&s->key, NULL);
}

void slot_done(struct slot *s)
{
    pins_done(s);
    vec_free(&s->pins);
    free(s->last_from);
    free(s->parse_error);
    free(s->buildah_for);
    free(s->key);
    free(s->inputs);
    reason_done(&s->reason);
}

static void conclude(struct slot *s, enum slot_state state, enum reason_code code, const char *fmt,
                     ...) __attribute__((format(printf, 4, 5)));

static void conclude(struct slot *s, enum slot_state state, enum reason_code code, const char *fmt,
                     ...)
{
    char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        abort();
    va_end(ap);
    s->state = state;
    reason_take(&s->reason, code, text);
}

/* ---- the context ---- */

/* The context of the commit that the ref names now: mostly that of another platform of the track. */
static struct context *find_context(struct model *m, struct slot *s, struct recipe_reader *reader)
{
    const struct track *t = s->t;
    struct context *near = reader->of;
    if (s->context && s->context->known && str_eq(s->context->commit, t->ref->commit))
        return s->context;
    if (near && recipe_alike(reader, s)) {
        if (near != s->context)
            slot_forget(m, s);
        return s->context = near;
    }
    cleanup_free char *path = slot_expand(m, s, t->image->context);
    cleanup_free char *dockerfile = t->image->kind == FARM_KIND_DOCKERFILE
                                        ? slot_expand(m, s, t->image->dockerfile)
                                        : xstrdup("");
    bool same = near && str_eq(near->path, path) && str_eq(near->dockerfile, dockerfile);
    struct context *c =
        same ? near
             : context_get(m, t->image->source, t->ref_name, t->ref->commit, path, dockerfile);
    if (c != s->context)
        slot_forget(m, s);
    set_context(s, c);
    return c;
}

static bool evaluate_context(struct model *m, struct slot *s, struct recipe_reader *reader)
{
    const struct farm_image *image = s->t->image;
    struct context *c = find_context(m, s, reader);
    if (!c->known && c->error)
        conclude(s, SLOT_WAITING, REASON_SOURCE_AWAY, "reading %.12s of %s: %s", c->commit,
                 c->source, c->error);
    else if (!c->known)
        conclude(s, SLOT_WAITING, REASON_INSPECTING, "reading %.12s of %s", c->commit, c->source);
    else if (c->error)
        conclude(s, SLOT_BLOCKED, REASON_CONTEXT_REFUSED, "%s", c->error);
    else if (!c->exists && s->seen)
        conclude(s, SLOT_BLOCKED, REASON_CONTEXT_GONE,
                 "upstream dropped the folder '%s' of a platform that was built before", c->path);
    else if (!c->exists)
        conclude(s, SLOT_NOT_OFFERED, REASON_NOT_OFFERED, "upstream has no folder '%s'", c->path);
    else if (image->kind == FARM_KIND_DOCKERFILE && !c->dockerfile_text)
        conclude(s, SLOT_BLOCKED, REASON_DOCKERFILE, "no %s in the folder '%s'", c->dockerfile,
                 c->path);
    else
        return true;
    return false;
}

/* ---- the references of the recipe ---- */

/* The pins, made once for each context and configuration: they are the track's edges even while they lead
 * nowhere, so that it is told when that changes. */
static bool evaluate_references(struct model *m, struct slot *s, struct recipe_reader *reader)
{
    if (s->parsed != s->context) {
        pins_done(s);
        str_replace(&s->last_from, NULL);
        str_replace(&s->parse_error, NULL);
        str_replace(&s->key, NULL);
        str_replace(&s->buildah_for, NULL);
        s->buildah = 0;
        recipe_read(m, s, reader);
        s->t->rebase = true;
        s->parsed = s->context;
    }
    if (!s->parse_error)
        return true;
    conclude(s, SLOT_BLOCKED, REASON_DOCKERFILE, "%s", s->parse_error);
    return false;
}

/* ---- what each reference means now ---- */

/* Pins it; the key is to be computed again if it pinned something else before. */
static void pin_set(struct slot *s, struct pin *pin, const char *digest, const char *content)
{
    if (str_eq(pin->digest, digest) && str_eq(pin->content, content))
        return;
    str_replace(&pin->digest, digest);
    str_replace(&pin->content, content);
    str_replace(&s->key, NULL);
}

/* One of ours: what its tag points to. */
static bool pin_ours(struct model *m, struct slot *s, struct pin *pin)
{
    const struct tag *current = pin->node->current;
    node_wake(m, tag_node_made_by(pin->node));
    if (!current) {
        conclude(s, SLOT_BLOCKED, REASON_BASE_MISSING, "base %s is not published", pin->node->name);
        return false;
    }
    const struct child *child =
        current->shown ? publication_child(current->shown, s->platform) : NULL;
    if (!child) {
        conclude(s, SLOT_BLOCKED, REASON_BASE_MISSING, "base %s has no %s", pin->node->name,
                 s->platform_name);
        return false;
    }
    pin_set(s, pin, child->digest, child->content);
    return true;
}

static bool pin_outside(struct model *m, struct slot *s, struct pin *pin)
{
    const struct base *b = pin->base;
    base_wanted(m, pin->base);
    if (!b->digest && b->error)
        conclude(s, b->gone ? SLOT_BLOCKED : SLOT_WAITING,
                 b->gone ? REASON_BASE_MISSING : REASON_REGISTRY_AWAY, "base %s: %s", b->reference,
                 b->error);
    else if (!b->digest)
        conclude(s, SLOT_WAITING, REASON_RESOLVING_BASE, "looking up base %s", b->reference);
    else if (!b->child[s->platform])
        conclude(s, SLOT_BLOCKED, REASON_BASE_MISSING, "base %s has no %s", b->reference,
                 s->platform_name);
    else {
        pin_set(s, pin, b->child[s->platform], b->child[s->platform]);
        return true;
    }
    return false;
}

static bool evaluate_pin(struct model *m, struct slot *s, struct pin *pin)
{
    if (pin->node ? pin_ours(m, s, pin) : pin_outside(m, s, pin))
        return true;
    pin_set(s, pin, NULL, NULL);
    return false;
}

static bool evaluate_pins(struct model *m, struct slot *s)
{
    bool ok = true;
    struct reason first = {0};
    enum slot_state state = SLOT_READY;
    VEC_FOREACH (&s->pins, pin) {
        if (evaluate_pin(m, s, pin) || !ok)
            continue;
        ok = false;
        state = s->state;
        reason_copy(&first, &s->reason);
    }
    if (!ok)
        conclude(s, state, first.code, "%s", first.text);
    reason_done(&first);
    return ok;
}

/* Whether the slot is ready to be given a key; concludes with what is in the way otherwise. */
static bool evaluate(struct model *m, struct slot *s, struct recipe_reader *reader)
{
    if (s->retired || !s->wanted)
        slot_forget(m, s);
    if (s->retired) {
        conclude(s, SLOT_NOT_OFFERED, REASON_RETIRED, "retired by request");
        return false;
    }
    if (!s->wanted) {
        conclude(s, SLOT_NOT_OFFERED, REASON_NOT_OFFERED, "no longer in farm.yaml%s",
                 slot_kept_child(s) ? "; its last child stays until it is retired" : "");
        return false;
    }
    if (!evaluate_context(m, s, reader))
        return false;
    if (!s->seen) {
        s->seen = true;
        model_touch(m, s);
    }
    return evaluate_references(m, s, reader) && evaluate_pins(m, s);
}

static void slot_evaluate(struct model *m, struct slot *s, struct recipe_reader *reader)
{
    if (!evaluate(m, s, reader)) {
        str_replace(&s->key, NULL);
        slot_set_job(m, s, NULL);
        return;
    }
    if (!s->key || s->keyed_rebuild != s->rebuild)
        key_compute(m, s, reader);
    else if (!s->job) /* jobs stay in memory: one that was found is still that of the key */
        slot_set_job(m, s, job_find(m, s->key));
    s->keyed_rebuild = s->rebuild;
    if (s->job)
        job_note_builder(m, s->job, s);
    s->state = SLOT_READY;
    if (s->reason.code)
        reason_take(&s->reason, REASON_NONE, xstrdup(""));
}

void slots_evaluate(struct model *m, struct track *t)
{
    struct recipe_reader reader = {0};
    for (int p = 0; p < PLATFORM_COUNT; p++)
        if (t->slots[p])
            slot_evaluate(m, t->slots[p], &reader);
    recipe_reader_done(&reader);
}
