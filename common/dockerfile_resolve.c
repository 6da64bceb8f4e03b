/* From the parsed file and the arguments of one build to the images that it needs. */
#include "common/dockerfile_internal.h"
#include "common/nearest.h"
#include "common/oci.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <strings.h>

/* What is known of a stage while the plan is made. */
struct stage_state {
    struct df_scope scope; /* its ARGs and ENVs; below it those of the stage that it is FROM */
    bool done;
    int base; /* reference at the bottom of its FROMs; -1: scratch */
};

struct resolver {
    const struct dockerfile *dockerfile;
    const struct dockerfile_options *options;
    struct dockerfile_plan plan;
    struct df_scope predefined; /* TARGETARCH and its sisters */
    struct df_scope global;     /* ARGs before the first FROM */
    struct stage_state *stages;
};

static const char *option_arg(const struct dockerfile_options *options, const char *name, size_t n)
{
    for (size_t i = 0; i < options->n_args; i++) {
        const char *have = options->args[i].name;
        if (strlen(have) == n && memcmp(have, name, n) == 0)
            return options->args[i].value;
    }
    return NULL;
}

/* BuildKit's platform arguments. arm64's variant is the only one there is, and is not named. */
static void set_predefined(struct resolver *r)
{
    static const char *const sides[] = {"TARGET", "BUILD"};
    const struct platform_info *info = platform_info(r->options->platform);
    bool variant = info->variant && r->options->platform != PLATFORM_ARM64;
    const struct dockerfile_arg args[] = {{"PLATFORM", info->name},
                                          {"OS", "linux"},
                                          {"ARCH", info->architecture},
                                          {"VARIANT", variant ? info->variant : ""}};
    for (size_t s = 0; s < 2; s++) {
        for (size_t i = 0; i < sizeof(args) / sizeof(args[0]); i++) {
            char name[32];
            size_t n = (size_t)(stpcpy(stpcpy(name, sides[s]), args[i].name) - name);
            const char *given = option_arg(r->options, name, n);
            df_scope_set(&r->predefined, name, n, given ? given : args[i].value, false);
        }
    }
}

/* The value of an ARG that has no build argument: its default, else what the file's head says. NULL
 * in *ret_value: it stays unset. A default that cannot be worked out is noted as such. */
static void set_default_arg(struct resolver *r, struct df_scope *scope, const char *name, size_t n,
                            const char *value, size_t value_n)
{
    cleanup_free char *text = NULL;
    if (value) {
        int c = df_expand(value, value_n, r->dockerfile->escape, scope, &text, NULL);
        df_scope_set(scope, name, n, c == 0 ? text : NULL, false);
        return;
    }
    const struct df_var *above = df_scope_get(&r->global, name, n);
    if (above)
        df_scope_set(scope, name, n, above->value, false);
}

static void do_arg(struct resolver *r, struct df_scope *scope, const struct df_instruction *arg)
{
    struct df_span word;
    size_t pos = arg->args;
    while (df_next_word(arg->text, arg->n, r->dockerfile->escape, &pos, &word)) {
        const char *name = arg->text + word.start, *end = arg->text + word.end;
        const char *equals = memchr(name, '=', (size_t)(end - name));
        size_t n = (size_t)((equals ? equals : end) - name);
        const char *given = option_arg(r->options, name, n);
        if (given)
            df_scope_set(scope, name, n, given, false);
        else
            set_default_arg(r, scope, name, n, equals ? equals + 1 : NULL,
                            equals ? (size_t)(end - equals - 1) : 0);
    }
}

static void set_env(struct resolver *r, struct df_scope *scope, const char *name, size_t n,
                    const char *value, size_t value_n)
{
    cleanup_free char *text = NULL;
    int c = df_expand(value, value_n, r->dockerfile->escape, scope, &text, NULL);
    df_scope_set(scope, name, n, c == 0 ? text : NULL, true);
}

/* ENV name=value … or the old ENV name value. */
static void do_env(struct resolver *r, struct df_scope *scope, const struct df_instruction *env)
{
    struct df_span word;
    size_t pos = env->args;
    char escape = r->dockerfile->escape;
    while (df_next_word(env->text, env->n, escape, &pos, &word)) {
        const char *name = env->text + word.start, *end = env->text + word.end;
        const char *equals = memchr(name, '=', (size_t)(end - name));
        if (equals) {
            set_env(r, scope, name, (size_t)(equals - name), equals + 1,
                    (size_t)(end - equals - 1));
            continue;
        }
        while (pos < env->n && isspace((unsigned char)env->text[pos]))
            pos++;
        set_env(r, scope, name, (size_t)(end - name), env->text + pos, env->n - pos);
        return;
    }
}

static void add_edit(struct resolver *r, const struct df_instruction *in, struct df_span span,
                     int reference, const char *text)
{
    if (span.end == span.start)
        return;
    struct dockerfile_edit edit = {.start = df_offset(in, span.start),
                                   .end = df_offset(in, span.end - 1) + 1,
                                   .reference = reference,
                                   .text = xstrdup(text)};
    vec_push(&r->plan.edits, edit);
}

static int add_reference(struct resolver *r, const struct df_instruction *in, struct df_span span,
                         const char *text, enum platform platform,
                         enum dockerfile_reference_kind kind, struct err *err)
{
    cleanup_oci_reference struct oci_reference image = {0};
    struct err why = ERR_INIT;
    int c = oci_reference_parse(text, &image, &why);
    if (c < 0)
        return err_set(err, c, "line %d: %s", in->line, why.text);
    add_edit(r, in, span, (int)r->plan.references.n, NULL);
    struct dockerfile_reference reference = {.kind = kind,
                                             .text = xstrdup(text),
                                             .name = oci_reference_format(&image),
                                             .platform = platform,
                                             .line = in->line,
                                             .stage = in->stage};
    vec_push(&r->plan.references, reference);
    return (int)r->plan.references.n - 1;
}

/* Expands a word that names an image, a stage or a platform: it must not be empty. */
static int expand_name(struct resolver *r, const struct df_instruction *in, struct df_span span,
                       const struct df_scope *scope, char **ret_text, struct err *err)
{
    cleanup_free char *text = NULL;
    struct err why = ERR_INIT;
    int c = df_expand(in->text + span.start, span.end - span.start, r->dockerfile->escape, scope,
                      &text, &why);
    if (c < 0)
        return err_set(err, c, "line %d: %s", in->line, why.text);
    if (!*text)
        return err_set(err, -EINVAL,
                       "line %d: %.*s is empty; give the ARG a default or the image args:",
                       in->line, (int)(span.end - span.start), in->text + span.start);
    *ret_text = steal_ptr(text);
    return 0;
}

/* The stage of that name, whatever the case; -1 if there is none. */
static int stage_by_name(const struct dockerfile *dockerfile, const char *name)
{
    for (size_t i = 0; i < dockerfile->stages.n; i++) {
        const char *have = dockerfile->stages.items[i].name;
        if (have && strcasecmp(have, name) == 0)
            return (int)i;
    }
    return -1;
}

/* A number of at most 4 digits, or -1. */
static int small_number(const char *text)
{
    size_t n = strspn(text, "0123456789");
    return n > 0 && n <= 4 && !text[n] ? atoi(text) : -1;
}

static int resolve_stage(struct resolver *r, int index, struct err *err);

static int from_platform(struct resolver *r, const struct df_stage *stage,
                         const struct df_instruction *from, enum platform *ret_platform,
                         struct err *err)
{
    *ret_platform = r->options->platform;
    if (stage->platform_flag.end == stage->platform_flag.start)
        return 0;
    r->plan.of_platform = true;
    cleanup_free char *text = NULL;
    struct err why = ERR_INIT;
    int c = expand_name(r, from, stage->platform_value, &r->global, &text, err);
    if (c < 0)
        return c;
    c = platform_parse(text, ret_platform, &why);
    return c < 0 ? err_set(err, c, "line %d: --platform: %s", from->line, why.text) : 0;
}

/* FROM of an earlier stage: spelled as that was declared. */
static int from_stage(struct resolver *r, int index, int below, struct err *err)
{
    const struct df_stage *stage = &r->dockerfile->stages.items[index];
    const struct df_instruction *from = &r->dockerfile->instructions.items[stage->from];
    int c = resolve_stage(r, below, err);
    if (c < 0)
        return c;
    r->stages[index].scope.parent = &r->stages[below].scope;
    r->stages[index].base = r->stages[below].base;
    add_edit(r, from, stage->platform_flag, -1, "");
    add_edit(r, from, stage->image, -1, r->dockerfile->stages.items[below].name);
    return 0;
}

static int from_image(struct resolver *r, int index, const char *text, struct err *err)
{
    const struct df_stage *stage = &r->dockerfile->stages.items[index];
    const struct df_instruction *from = &r->dockerfile->instructions.items[stage->from];
    enum platform platform;
    int c = from_platform(r, stage, from, &platform, err);
    if (c < 0)
        return c;
    add_edit(r, from, stage->platform_flag, -1, "");
    c = add_reference(r, from, stage->image, text, platform, DOCKERFILE_FROM, err);
    r->stages[index].base = c;
    return c < 0 ? c : 0;
}

static int do_from(struct resolver *r, int index, struct err *err)
{
    const struct df_stage *stage = &r->dockerfile->stages.items[index];
    const struct df_instruction *from = &r->dockerfile->instructions.items[stage->from];
    cleanup_free char *text = NULL;
    int c = expand_name(r, from, stage->image, &r->global, &text, err);
    if (c < 0)
        return c;
    r->stages[index].base = -1;
    int below = stage_by_name(r->dockerfile, text);
    if (below >= 0 && below < index)
        return from_stage(r, index, below, err);
    if (!str_eq(text, "scratch"))
        return from_image(r, index, text, err);
    add_edit(r, from, stage->image, -1, "scratch");
    return 0;
}

/* The stage that --from names, -1 for an image. */
static int earlier_stage(struct resolver *r, const struct df_instruction *in, const char *text,
                         int *ret_stage, struct err *err)
{
    int index = small_number(text);
    if (index < 0)
        index = stage_by_name(r->dockerfile, text);
    if (index >= (int)r->dockerfile->stages.n)
        return err_set(err, -EINVAL, "line %d: there is no stage %d", in->line, index);
    if (index >= in->stage)
        return err_set(err, -EINVAL, "line %d: the stage '%s' is not an earlier one", in->line,
                       text);
    *ret_stage = index;
    return 0;
}

/* A --from or from=: a stage by number or name, or an image. */
static int do_from_value(struct resolver *r, const struct df_instruction *in, struct df_span span,
                         enum dockerfile_reference_kind kind, struct err *err)
{
    cleanup_free char *text = NULL;
    int stage = -1;
    int c = expand_name(r, in, span, &r->stages[in->stage].scope, &text, err);
    if (c == 0)
        c = earlier_stage(r, in, text, &stage, err);
    if (c < 0 || str_eq(text, "scratch"))
        return c;
    if (stage < 0) {
        c = add_reference(r, in, span, text, r->options->platform, kind, err);
        return c < 0 ? c : 0;
    }
    const char *name = r->dockerfile->stages.items[stage].name;
    char number[16];
    snprintf(number, sizeof(number), "%d", stage);
    add_edit(r, in, span, -1, name ? name : number);
    return resolve_stage(r, stage, err);
}

static int do_mount(struct resolver *r, const struct df_instruction *run, struct df_span options,
                    struct err *err)
{
    struct df_span key, value;
    int c = 0;
    while (c == 0 && df_next_option(run->text, &options, &key, &value)) {
        if (df_span_is(run->text, key, "from"))
            c = do_from_value(r, run, value, DOCKERFILE_MOUNT_FROM, err);
    }
    return c;
}

static int do_flags(struct resolver *r, const struct df_instruction *in, struct err *err)
{
    struct df_span word, name, value;
    size_t pos = in->args;
    bool run = in->keyword == DF_RUN;
    int c = 0;
    while (c == 0 && df_next_flag(in, r->dockerfile->escape, &pos, &word, &name, &value)) {
        if (run && df_span_is(in->text, name, "mount"))
            c = do_mount(r, in, value, err);
        else if (!run && df_span_is(in->text, name, "from"))
            c = do_from_value(r, in, value, DOCKERFILE_COPY_FROM, err);
    }
    return c;
}

static int do_instruction(struct resolver *r, const struct df_instruction *in, struct err *err)
{
    struct df_scope *scope = in->stage < 0 ? &r->global : &r->stages[in->stage].scope;
    switch (in->keyword) {
    case DF_ARG:
        do_arg(r, scope, in);
        return 0;
    case DF_ENV:
        do_env(r, scope, in);
        return 0;
    case DF_COPY:
    case DF_ADD:
    case DF_RUN:
        return do_flags(r, in, err);
    default:
        return 0;
    }
}

static int resolve_stage(struct resolver *r, int index, struct err *err)
{
    if (r->stages[index].done)
        return 0;
    r->stages[index].done = true;
    r->plan.used.items[index] = true;
    int c = do_from(r, index, err);
    size_t i = r->dockerfile->stages.items[index].from + 1;
    for (; c == 0 && i < r->dockerfile->instructions.n; i++) {
        const struct df_instruction *in = &r->dockerfile->instructions.items[i];
        if (in->stage != index)
            break;
        c = do_instruction(r, in, err);
    }
    return c;
}

/* What a stage that is not needed is FROM does not matter, but must not be looked for. */
static void blank_unused_stages(struct resolver *r)
{
    for (size_t i = 0; i < r->plan.used.n; i++) {
        const struct df_stage *stage = &r->dockerfile->stages.items[i];
        const struct df_instruction *from = &r->dockerfile->instructions.items[stage->from];
        if (r->plan.used.items[i])
            continue;
        add_edit(r, from, stage->platform_flag, -1, "");
        add_edit(r, from, stage->image, -1, "scratch");
    }
}

static int unknown_target(const struct dockerfile *dockerfile, const char *target, struct err *err)
{
    const char *names[DOCKERFILE_STAGES_MAX];
    size_t n = 0;
    VEC_FOREACH (&dockerfile->stages, stage) {
        if (stage->name)
            names[n++] = stage->name;
    }
    const char *nearest = nearest_word(target, names, n);
    return err_set(err, -EINVAL, "there is no stage '%s'%s%s", target, nearest ? "; write " : "",
                   nearest ? nearest : "");
}

static int find_target(const struct dockerfile *dockerfile, const char *target, int *ret_stage,
                       struct err *err)
{
    int index = (int)dockerfile->stages.n - 1;
    if (target && *target) {
        index = stage_by_name(dockerfile, target);
        if (index < 0)
            index = small_number(target);
    }
    if (index < 0 || index >= (int)dockerfile->stages.n)
        return unknown_target(dockerfile, target, err);
    *ret_stage = index;
    return 0;
}

static int edit_cmp(const void *a, const void *b)
{
    const struct dockerfile_edit *x = a, *y = b;
    return (x->start > y->start) - (x->start < y->start);
}

/* Stages are looked at as they are needed: puts references and edits into the order of the text. */
static void sort_plan(struct dockerfile_plan *plan)
{
    if (plan->edits.n > 1)
        qsort(plan->edits.items, plan->edits.n, sizeof(*plan->edits.items), edit_cmp);
    struct dockerfile_reference *sorted = xcalloc(plan->references.n + 1, sizeof(*sorted));
    int base = -1, next = 0;
    VEC_FOREACH (&plan->edits, edit) {
        if (edit->reference < 0)
            continue;
        if (edit->reference == plan->base)
            base = next;
        sorted[next] = plan->references.items[edit->reference];
        edit->reference = next++;
    }
    free(plan->references.items);
    plan->references.items = sorted;
    plan->references.cap = plan->references.n + 1;
    plan->base = base;
}

static int make_plan(struct resolver *r, struct err *err)
{
    size_t head = 0;
    set_predefined(r);
    r->predefined.ret_read = &r->plan.of_platform;
    r->global.parent = &r->predefined;
    for (; r->dockerfile->instructions.items[head].stage < 0; head++)
        do_arg(r, &r->global, &r->dockerfile->instructions.items[head]);
    for (size_t i = 0; i < r->dockerfile->stages.n; i++)
        vec_push(&r->plan.used, false);
    int c = find_target(r->dockerfile, r->options->target, &r->plan.target, err);
    if (c == 0)
        c = resolve_stage(r, r->plan.target, err);
    if (c < 0)
        return c;
    r->plan.base = r->stages[r->plan.target].base;
    blank_unused_stages(r);
    sort_plan(&r->plan);
    return 0;
}

int dockerfile_resolve(const struct dockerfile *dockerfile,
                       const struct dockerfile_options *options, struct dockerfile_plan *ret_plan,
                       struct err *err)
{
    struct resolver r = {.dockerfile = dockerfile, .options = options};
    r.stages = xcalloc(dockerfile->stages.n, sizeof(*r.stages));
    int c = make_plan(&r, err);
    if (c == 0)
        *ret_plan = r.plan;
    else
        dockerfile_plan_done(&r.plan);
    for (size_t i = 0; i < dockerfile->stages.n; i++)
        df_scope_done(&r.stages[i].scope);
    df_scope_done(&r.global);
    df_scope_done(&r.predefined);
    free(r.stages);
    return c;
}

void dockerfile_plan_done(struct dockerfile_plan *plan)
{
    VEC_FOREACH (&plan->references, reference) {
        free(reference->text);
        free(reference->name);
    }
    VEC_FOREACH (&plan->edits, edit)
        free(edit->text);
    vec_free(&plan->references);
    vec_free(&plan->edits);
    vec_free(&plan->used);
}
