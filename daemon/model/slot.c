/* One platform of one track: what it needs now.
 *
 *     happy path     the context is known and there, every reference is pinned: ready, with a key
 *     failure modes  the context is still being read, or an outside base looked up: waiting;
 *                    the tree is refused, the Dockerfile cannot be used, a base lacks the tag or the
 *                    platform, upstream dropped the folder: blocked; the folder never was: not offered */
#include "common/dockerfile.h"
#include "common/oci.h"
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"
#include "daemon/model/slot_text.h"
#include "daemon/model/tagging.h"

#include <stdarg.h>

char *slot_expand(struct model *m, const struct slot *s, const char *text)
{
    if (!text)
        return NULL;
    const struct track *t = s->t;
    struct ref_reading reading = {.verdict = REF_FOLLOWED, .parsed = t->parsed_version};
    snprintf(reading.version, sizeof(reading.version), "%s", t->version ? t->version : "");
    struct template_vars vars = track_vars(m->farm, t->image, t->ref_name, &reading, t->variant,
                                           t->ref ? t->ref->commit : NULL);
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

void slot_forget(struct slot *s)
{
    s->context = s->parsed = NULL;
    s->job = NULL;
    pins_done(s);
    str_replace(&s->key, NULL);
}

void slot_done(struct slot *s)
{
    pins_done(s);
    vec_free(&s->pins);
    strvec_done(&s->references);
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
    reason_set(&s->reason, code, "%s", text);
    free(text);
}

/* ---- the context ---- */

/* The context of the commit that the ref names now. */
static const struct context *find_context(struct model *m, struct slot *s)
{
    const struct track *t = s->t;
    if (s->context && s->context->known && str_eq(s->context->commit, t->ref->commit))
        return s->context;
    cleanup_free char *path = slot_expand(m, s, t->image->context);
    cleanup_free char *dockerfile = t->image->kind == FARM_KIND_DOCKERFILE
                                        ? slot_expand(m, s, t->image->dockerfile)
                                        : xstrdup("");
    const struct context *c =
        context_get(m, t->image->source, t->ref_name, t->ref->commit, path, dockerfile);
    if (c != s->context)
        slot_forget(s);
    return s->context = c;
}

static bool evaluate_context(struct model *m, struct slot *s)
{
    const struct farm_image *image = s->t->image;
    const struct context *c = find_context(m, s);
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

static void parse_builder(struct model *m, struct slot *s)
{
    if (!s->t->image->builder)
        return;
    cleanup_free char *text = slot_expand(m, s, s->t->image->builder);
    struct err err = ERR_INIT;
    cleanup_oci_reference struct oci_reference reference = {0};
    if (oci_reference_parse(text, &reference, &err) < 0)
        s->parse_error = xasprintf("builder: %s", err.text);
    else
        vec_push(&s->references, oci_reference_format(&reference));
}

/* A board builds natively, for one platform: a stage of another one has no place there. */
static void take_references(struct slot *s, const struct dockerfile_plan *plan)
{
    VEC_FOREACH (&plan->references, r) {
        if (r->platform != s->platform) {
            s->parse_error =
                xasprintf("line %d: %s is wanted for %s, and a board builds %s only", r->line,
                          r->text, platform_info(r->platform)->name, s->platform_name);
            return;
        }
        if (!strvec_has(&s->references, r->name))
            strvec_add(&s->references, r->name);
    }
    if (plan->base >= 0)
        str_replace(&s->last_from, plan->references.items[plan->base].name);
}

/* Fills in m->parsed. */
static int parse_once(struct model *m, const struct context *c, struct err *err)
{
    if (m->parsed_of == c)
        return 0;
    dockerfile_free(steal_ptr(m->parsed));
    m->parsed_of = NULL;
    int r = dockerfile_parse(c->dockerfile_text, strlen(c->dockerfile_text), &m->parsed, err);
    if (r == 0)
        m->parsed_of = c;
    return r;
}

/* Boards have builders of several versions: which of them can build it. */
static void note_builder(struct slot *s, const struct dockerfile_feature *newest)
{
    str_replace(&s->buildah_for, NULL);
    s->buildah = newest ? newest->buildah : 0;
    if (newest)
        s->buildah_for = xasprintf("line %d: %s", newest->line, newest->what);
}

static int resolve_dockerfile(struct model *m, struct slot *s,
                              const struct dockerfile_options *options, struct err *err)
{
    cleanup_dockerfile_plan struct dockerfile_plan plan = {0};
    int r = parse_once(m, s->context, err);
    if (r < 0)
        return r;
    r = dockerfile_resolve(m->parsed, options, &plan, err);
    if (r < 0)
        return r;
    take_references(s, &plan);
    note_builder(s, dockerfile_newest_feature(m->parsed, &plan));
    return m->buildah ? dockerfile_check_buildah(m->parsed, &plan, m->buildah, err) : 0;
}

static void parse_dockerfile(struct model *m, struct slot *s)
{
    const struct farm_image *image = s->t->image;
    VEC(struct dockerfile_arg) args = {0};
    cleanup_strvec strvec values = {0};
    VEC_FOREACH (&image->args, pair) {
        vec_push(&values, slot_expand(m, s, pair->value));
        vec_push(&args, (struct dockerfile_arg){pair->name, values.items[values.n - 1]});
    }
    cleanup_free char *target = slot_expand(m, s, image->target);
    struct dockerfile_options options = {
        .args = args.items, .n_args = args.n, .platform = s->platform, .target = target};
    struct err err = ERR_INIT;
    if (resolve_dockerfile(m, s, &options, &err) < 0)
        s->parse_error = xasprintf("%s: %s", s->context->dockerfile, err.text);
    vec_free(&args);
}

/* One image that the recipe names: one of ours is never fetched from outside instead. */
static int make_pin(struct model *m, struct slot *s, const char *reference, struct err *err)
{
    cleanup_oci_reference struct oci_reference parsed = {0};
    int r = oci_reference_parse(reference, &parsed, err);
    if (r < 0)
        return r;
    struct pin pin = {.reference = xstrdup(reference),
                      .repository = oci_reference_repository(&parsed)};
    if (!parsed.digest && model_owns(m, pin.repository))
        pin.node = model_node(m, pin.repository, parsed.tag ? parsed.tag : "latest");
    else
        pin.base = base_named(m, reference);
    vec_push(&s->pins, pin);
    return 0;
}

static void make_pins(struct model *m, struct slot *s)
{
    struct err err = ERR_INIT;
    VEC_FOREACH (&s->references, reference)
        if (!s->parse_error && make_pin(m, s, *reference, &err) < 0)
            s->parse_error = xstrdup(err.text);
    s->t->rebase = true;
}

/* The pins, made once for each context and configuration: they are the track's edges even while they lead
 * nowhere, so that it is told when that changes. */
static bool evaluate_references(struct model *m, struct slot *s)
{
    if (s->parsed != s->context) {
        pins_done(s);
        strvec_done(&s->references);
        str_replace(&s->last_from, NULL);
        str_replace(&s->parse_error, NULL);
        str_replace(&s->key, NULL);
        note_builder(s, NULL);
        if (s->t->image->kind == FARM_KIND_ROOTFS)
            parse_builder(m, s);
        else
            parse_dockerfile(m, s);
        if (!s->parse_error)
            make_pins(m, s);
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
    node_wake(m, pin->node);
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
static bool evaluate(struct model *m, struct slot *s)
{
    if (s->retired || !s->wanted)
        slot_forget(s);
    if (s->retired) {
        conclude(s, SLOT_NOT_OFFERED, REASON_RETIRED, "retired by request");
        return false;
    }
    if (!s->wanted) {
        conclude(s, SLOT_NOT_OFFERED, REASON_NOT_OFFERED, "no longer in farm.yaml%s",
                 slot_kept_child(s) ? "; its last child stays until it is retired" : "");
        return false;
    }
    if (!evaluate_context(m, s))
        return false;
    if (!s->seen) {
        s->seen = true;
        model_touch(m, s);
    }
    return evaluate_references(m, s) && evaluate_pins(m, s);
}

void slot_evaluate(struct model *m, struct slot *s)
{
    if (!evaluate(m, s)) {
        str_replace(&s->key, NULL);
        s->job = NULL;
        return;
    }
    if (!s->key || s->keyed_rebuild != s->rebuild) {
        key_compute(m, s);
        s->job = NULL;
    }
    s->keyed_rebuild = s->rebuild;
    if (!s->job) /* jobs stay in memory: one that was found is still that of the key */
        s->job = job_find(m, s->key);
    if (s->job)
        job_note_builder(s->job, s);
    if (s->state != SLOT_READY)
        conclude(s, SLOT_READY, REASON_NONE, "%s", "");
}
