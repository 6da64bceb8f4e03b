/* Bases from outside the farm: looked up once when first named, then polled.
 *
 *     happy path     asked -> resolved -> (base_poll_ms later) asked -> resolved, perhaps to another digest
 *     failure modes  the registry is away: the last digest stays good, asked again after a back-off;
 *                    there is no such thing: its dependents are blocked, asked again like any other */
#include "daemon/model/objects.h"

#include <jansson.h>

static void ask(struct model *m, struct base *b)
{
    b->asked = true;
    b->check_due = 0;
    model_effect(m, EFFECT_RESOLVE_BASE)->reference = xstrdup(b->reference);
}

struct base *base_find(const struct model *m, const char *reference)
{
    struct base *b = NULL;
    HASH_FIND_STR(m->bases, reference, b);
    return b;
}

void base_add(struct model *m, struct base *b)
{
    HASH_ADD_KEYPTR(hh, m->bases, b->reference, strlen(b->reference), b);
}

struct base *base_named(struct model *m, const char *reference)
{
    struct base *b = base_find(m, reference);
    if (!b) {
        b = xnew(struct base);
        b->row.table = TABLE_BASE;
        b->reference = xstrdup(reference);
        base_add(m, b);
    }
    return b;
}

/* A base that a recipe names by digest does not move: what is known of it is so for good. */
static bool for_good(const struct base *b)
{
    return b->digest && strchr(b->reference, '@');
}

/* One that nothing was built on for a while is looked up again. */
void base_wanted(struct model *m, struct base *b)
{
    if (!b->asked && !b->check_due && !for_good(b))
        ask(m, b);
}

const char *model_base_digest(const struct model *m, const char *reference)
{
    const struct base *b = base_find(m, reference);
    return b ? b->digest : NULL;
}

void base_decode(struct base *b)
{
    for (int p = 0; p < PLATFORM_COUNT; p++)
        str_replace(&b->child[p], NULL);
    json_t *children = b->children ? json_loads(b->children, 0, NULL) : NULL, *child;
    size_t i;
    json_array_foreach (children, i, child) {
        const char *name = json_string_value(json_object_get(child, "platform"));
        enum platform p;
        if (name && platform_parse(name, &p, NULL) == 0)
            str_replace(&b->child[p], json_string_value(json_object_get(child, "digest")));
    }
    json_decref(children);
}

static char *encode_children(const struct base_child *children, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_pack("{s:s,s:s}", "platform",
                                              platform_info(children[i].platform)->name, "digest",
                                              children[i].digest));
    char *text = json_dumps(list, JSON_COMPACT);
    json_decref(list);
    return text;
}

static void plan_dependents(struct model *m, struct base *b)
{
    VEC_FOREACH (&b->dependents, t)
        model_plan_later(m, *t);
}

static void checked(struct model *m, struct base *b, int64_t delay)
{
    b->asked = false;
    b->checked_at = m->wall;
    b->check_due = for_good(b) ? 0 : m->mono + delay;
    if (b->check_due)
        model_timer(m, b->check_due);
    model_touch(m, b);
}

void model_on_base(struct model *m, const char *reference, const char *digest,
                   const struct base_child *children, size_t n, bool unchanged)
{
    struct base *b = base_find(m, reference);
    if (!b)
        return;
    bool changed = b->error || !str_eq(b->digest, digest);
    b->failures = 0;
    str_replace(&b->error, NULL);
    if (!unchanged) {
        str_replace(&b->digest, digest);
        free(b->children);
        b->children = encode_children(children, n);
        base_decode(b);
    }
    checked(m, b, m->farm->base_poll_ms);
    if (changed)
        plan_dependents(m, b);
}

void model_on_base_failed(struct model *m, const char *reference, bool gone, const char *error,
                          int64_t wait_ms)
{
    struct base *b = base_find(m, reference);
    if (!b)
        return;
    b->failures++;
    b->gone = gone; /* stored by checked() */
    str_replace(&b->error, error);
    checked(m, b, model_backoff_asked(b->failures, wait_ms));
    plan_dependents(m, b);
}

bool base_retry_now(struct model *m, struct base *b)
{
    if (!b->error || b->asked)
        return false;
    ask(m, b);
    return true;
}

void base_timer(struct model *m)
{
    for (struct base *b = m->bases; b; b = b->hh.next) {
        if (!b->check_due || b->asked)
            continue;
        if (b->check_due > m->mono)
            model_timer(m, b->check_due);
        else if (b->dependents.n)
            ask(m, b);
        else
            b->check_due = 0;
    }
}
