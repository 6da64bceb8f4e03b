/* Which images the recipe of a slot names, read once for all platforms of a track where that gives the same.
 *
 *     happy path     the references, each with its pin
 *     failure modes  the Dockerfile cannot be used, or the builder is no image: parse_error */
#include "daemon/model/recipe.h"

#include "common/oci.h"
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"
#include "daemon/model/slot_text.h"
#include "daemon/model/template.h"

/* ---- the builder ---- */

static void parse_builder(struct model *m, struct slot *s, strvec *names)
{
    if (!s->t->image->builder)
        return;
    cleanup_free char *text = slot_expand(m, s, s->t->image->builder);
    struct err err = ERR_INIT;
    cleanup_oci_reference struct oci_reference reference = {0};
    if (oci_reference_parse(text, &reference, &err) < 0)
        s->parse_error = xasprintf("builder: %s", err.text);
    else
        vec_push(names, oci_reference_format(&reference));
}

/* ---- the Dockerfile ---- */

/* A board builds natively, for one platform: a stage of another one has no place there. */
static void take_references(struct slot *s, const struct dockerfile_plan *plan, strvec *names)
{
    VEC_FOREACH (&plan->references, r) {
        if (r->platform != s->platform) {
            s->parse_error =
                xasprintf("line %d: %s is wanted for %s, and a board builds %s only", r->line,
                          r->text, platform_info(r->platform)->name, s->platform_name);
            return;
        }
        if (!strvec_has(names, r->name))
            strvec_add(names, r->name);
    }
    if (plan->base >= 0)
        str_replace(&s->last_from, plan->references.items[plan->base].name);
}

static bool asks(const char *text)
{
    return text && strchr(text, '$') && template_uses_platform(text);
}

static bool pairs_ask(const farm_pairs *pairs)
{
    VEC_FOREACH (pairs, pair)
        if (asks(pair->value))
            return true;
    return false;
}

bool recipe_alike(struct recipe_reader *reader, const struct slot *s)
{
    const struct farm_image *image = s->t->image;
    if (!reader->asked)
        reader->alike = !asks(image->context) && !asks(image->dockerfile) && !asks(image->target) &&
                        !pairs_ask(&image->args) && !pairs_ask(&image->env) &&
                        !pairs_ask(&image->labels);
    reader->asked = true;
    return reader->alike;
}

static int parse_once(struct recipe_reader *reader, struct context *c, struct err *err)
{
    if (reader->of == c)
        return 0;
    dockerfile_free(steal_ptr(reader->parsed));
    reader->of = NULL;
    int r = dockerfile_parse(c->dockerfile_text, strlen(c->dockerfile_text), &reader->parsed, err);
    if (r == 0)
        reader->of = c;
    return r;
}

/* Boards have builders of several versions: which of them can build it. */
static void note_builder(struct slot *s, const struct dockerfile_feature *newest)
{
    if (!newest)
        return;
    s->buildah = newest->buildah;
    s->buildah_for = xasprintf("line %d: %s", newest->line, newest->what);
}

static int resolve_dockerfile(struct model *m, struct slot *s, struct recipe_reader *reader,
                              const struct dockerfile_options *options, strvec *names,
                              struct err *err)
{
    cleanup_dockerfile_plan struct dockerfile_plan plan = {0};
    reader->like = NULL;
    int r = parse_once(reader, s->context, err);
    if (r < 0)
        return r;
    r = dockerfile_resolve(reader->parsed, options, &plan, err);
    if (r < 0)
        return r;
    take_references(s, &plan, names);
    note_builder(s, dockerfile_newest_feature(reader->parsed, &plan));
    reader->like = plan.of_platform ? NULL : s;
    return m->buildah && !s->parse_error
               ? dockerfile_check_buildah(reader->parsed, &plan, m->buildah, err)
               : 0;
}

/* farm.yaml may give each platform other arguments and another target. */
static bool same_arguments(const struct recipe_reader *reader, const strvec *args,
                           const char *target)
{
    if (!str_eq(reader->target, target) || reader->args.n != args->n)
        return false;
    for (size_t i = 0; i < args->n; i++)
        if (!str_eq(reader->args.items[i], args->items[i]))
            return false;
    return true;
}

static void copy_recipe(struct slot *s, const struct slot *like)
{
    s->last_from = xstrdup(like->last_from);
    s->buildah = like->buildah;
    s->buildah_for = xstrdup(like->buildah_for);
    if (!s->pins.cap && like->pins.n) { /* most slots have one pin: no more room than that */
        s->pins.cap = like->pins.n;
        s->pins.items = xcalloc(like->pins.n, sizeof(*s->pins.items));
    }
    VEC_FOREACH (&like->pins, pin)
        vec_push(&s->pins, (struct pin){.reference = xstrdup(pin->reference),
                                        .repository = xstrdup(pin->repository),
                                        .node = pin->node,
                                        .base = pin->base});
}

/* Adds the references to `names`, or takes the pins over from a slot that has the same. */
static void parse_dockerfile(struct model *m, struct slot *s, struct recipe_reader *reader,
                             strvec *names)
{
    const struct farm_image *image = s->t->image;
    bool known = reader->of == s->context && reader->like && !reader->like->parse_error;
    if (known && recipe_alike(reader, s)) {
        copy_recipe(s, reader->like);
        return;
    }
    VEC(struct dockerfile_arg) args = {0};
    strvec values = {0};
    VEC_FOREACH (&image->args, pair) {
        vec_push(&values, slot_expand(m, s, pair->value));
        vec_push(&args, (struct dockerfile_arg){pair->name, values.items[values.n - 1]});
    }
    char *target = slot_expand(m, s, image->target);
    bool same = known && same_arguments(reader, &values, target);
    struct dockerfile_options options = {
        .args = args.items, .n_args = args.n, .platform = s->platform, .target = target};
    struct err err = ERR_INIT;
    if (same)
        copy_recipe(s, reader->like);
    else if (resolve_dockerfile(m, s, reader, &options, names, &err) < 0)
        s->parse_error = xasprintf("%s: %s", s->context->dockerfile, err.text);
    strvec_done(&reader->args);
    free(reader->target);
    reader->args = values;
    reader->target = target;
    vec_free(&args);
}

/* ---- pins ---- */

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

void recipe_read(struct model *m, struct slot *s, struct recipe_reader *reader)
{
    cleanup_strvec strvec names = {0};
    struct err err = ERR_INIT;
    if (s->t->image->kind == FARM_KIND_ROOTFS)
        parse_builder(m, s, &names);
    else
        parse_dockerfile(m, s, reader, &names);
    VEC_FOREACH (&names, name)
        if (!s->parse_error && make_pin(m, s, *name, &err) < 0)
            s->parse_error = xstrdup(err.text);
}

void recipe_reader_done(struct recipe_reader *reader)
{
    dockerfile_free(steal_ptr(reader->parsed));
    strvec_done(&reader->args);
    free(steal_ptr(reader->target));
    strbuf_done(&reader->config);
}
