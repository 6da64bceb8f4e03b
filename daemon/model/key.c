/* The key of a job: the hash of a canonical list of named inputs, the first of which is the list's own version. An
 * input at its default is left out, so that one added by a later release rebuilds nothing; the version rises only where
 * the same inputs are listed in another way, and that builds everything again. key_words.c tells what differs between two
 * lists. */
#include "common/digest.h"
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"
#include "daemon/model/recipe.h"
#include "daemon/model/slot_text.h"

#include <inttypes.h>

/* ---- building the list: [["name","value"],...] ----
 *
 * Written as text at once, in the form that jansson would give it (compact, UTF-8 as it is): a plan over everything
 * computes thousands of keys. */

static void add_escaped(struct strbuf *list, const char *s)
{
    while (*s) {
        size_t n = 0;
        while ((unsigned char)s[n] >= ' ' && s[n] != '"' && s[n] != '\\')
            n++;
        strbuf_addn(list, s, n);
        s += n;
        static const char plain[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
        const char *known = *s ? strchr(plain, *s) : NULL;
        if (known)
            strbuf_addf(list, "\\%c", letters[known - plain]);
        else if (*s)
            strbuf_addf(list, "\\u%04X", (unsigned)(unsigned char)*s);
        s += *s != 0;
    }
}

static void add_string(struct strbuf *list, const char *s)
{
    strbuf_addn(list, "\"", 1);
    add_escaped(list, s);
    strbuf_addn(list, "\"", 1);
}

/* A pair whose name is `kind` and `name`, and whose value is one string. */
static void add_named(struct strbuf *list, const char *kind, const char *name, const char *value)
{
    if (!value)
        return;
    strbuf_add(list, list->n > 1 ? ",[\"" : "[\"");
    add_escaped(list, kind);
    add_escaped(list, name);
    strbuf_add(list, "\",\"");
    add_escaped(list, value);
    strbuf_add(list, "\"]");
}

static void add_text(struct strbuf *list, const char *name, const char *value)
{
    add_named(list, "", name, value);
}

/* Begins a pair of one of our own names; its value follows, then a bracket. */
static void add_name(struct strbuf *list, const char *name)
{
    strbuf_add(list, list->n > 1 ? ",[\"" : "[\"");
    strbuf_add(list, name);
    strbuf_add(list, "\",");
}

/* A value that is JSON already. */
static void add_literal(struct strbuf *list, const char *name, const char *value)
{
    add_name(list, name);
    strbuf_add(list, value);
    strbuf_addn(list, "]", 1);
}

static void add_integer(struct strbuf *list, const char *name, int64_t value)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRId64, value);
    add_literal(list, name, text);
}

static void add_strings(struct strbuf *list, const char *name, const strvec *values)
{
    add_name(list, name);
    strbuf_addn(list, "[", 1);
    VEC_FOREACH (values, s) {
        if (s != values->items)
            strbuf_addn(list, ",", 1);
        add_string(list, *s);
    }
    strbuf_add(list, "]]");
}

static int pair_cmp(const void *a, const void *b)
{
    return strcmp((*(const struct farm_pair *const *)a)->name,
                  (*(const struct farm_pair *const *)b)->name);
}

static void add_pairs(struct strbuf *list, const char *name, const farm_pairs *pairs,
                      struct model *m, const struct slot *s)
{
    if (!pairs->n)
        return;
    const struct farm_pair **sorted = xcalloc(pairs->n, sizeof(*sorted));
    for (size_t i = 0; i < pairs->n; i++)
        sorted[i] = &pairs->items[i];
    qsort(sorted, pairs->n, sizeof(*sorted), pair_cmp);
    for (size_t i = 0; i < pairs->n; i++) {
        cleanup_free char *value = slot_expand(m, s, sorted[i]->value);
        add_named(list, name, sorted[i]->name, value);
    }
    free(sorted);
}

static void add_recipe(struct strbuf *list, struct model *m, const struct slot *s)
{
    const struct farm_image *image = s->t->image;
    if (image->kind == FARM_KIND_ROOTFS) {
        add_text(list, "script", image->script);
        add_text(list, "variant", s->t->variant);
        return;
    }
    cleanup_free char *target = slot_expand(m, s, image->target);
    add_text(list, "dockerfile", context_dockerfile_digest(s->context));
    add_text(list, "target", target);
}

static void add_config(struct strbuf *list, struct model *m, const struct slot *s)
{
    const struct farm_image *image = s->t->image;
    add_pairs(list, "argument ", &image->args, m, s);
    if (image->has_cmd)
        add_strings(list, "cmd", &image->cmd);
    if (image->has_entrypoint)
        add_strings(list, "entrypoint", &image->entrypoint);
    add_pairs(list, "env ", &image->env, m, s);
    add_pairs(list, "label ", &image->labels, m, s);
    add_text(list, "workdir", image->workdir);
    add_text(list, "user", image->user);
    add_text(list, "test", image->test);
    if (image->media_type == FARM_MEDIA_DOCKER)
        add_text(list, "media type", "docker");
    if (image->compression == FARM_COMPRESSION_ZSTD)
        add_text(list, "compression", "zstd");
    if (image->emulated)
        add_literal(list, "emulated", "true");
}

int64_t key_epoch(struct model *m, const struct slot *s)
{
    const struct epoch *e = context_epoch(m, s->context);
    return e ? e->time : 0;
}

const char *key_packing(const struct farm_image *image)
{
    if (image->media_type == FARM_MEDIA_DOCKER)
        return "docker+gzip";
    return image->compression == FARM_COMPRESSION_ZSTD ? "oci+zstd" : "oci+gzip";
}

/* The same for all platforms but where farm.yaml asks which it is. */
static void add_shared_config(struct strbuf *list, struct model *m, const struct slot *s,
                              struct recipe_reader *reader)
{
    size_t begin = list->n;
    if (reader->config.n) {
        strbuf_addn(list, reader->config.s, reader->config.n);
        return;
    }
    add_config(list, m, s);
    if (recipe_alike(reader, s))
        strbuf_addn(&reader->config, list->s + begin, list->n - begin);
}

static void make_list(struct strbuf *list, struct model *m, const struct slot *s,
                      struct recipe_reader *reader)
{
    list->n = 0;
    strbuf_add(list, "[");
    add_literal(list, "version", "1");
    add_text(list, "repository", s->t->image->repository);
    add_text(list, "platform", s->platform_name);
    add_text(list, "kind", s->t->image->kind == FARM_KIND_ROOTFS ? "rootfs" : "dockerfile");
    add_recipe(list, m, s);
    add_text(list, "context", s->context->id);
    VEC_FOREACH (&s->pins, pin)
        add_named(list, "base ", pin->reference, pin->content);
    add_shared_config(list, m, s, reader);
    add_integer(list, "epoch", key_epoch(m, s));
    if (s->rebuild)
        add_integer(list, "rebuild", s->rebuild);
    strbuf_add(list, "]");
}

/* The job of the platform in the track's latest build: mostly it is still the one that is wanted, most of all after a
 * start. */
static struct job *latest_job(const struct slot *s)
{
    if (s->t->current)
        VEC_FOREACH (&s->t->current->jobs, bj)
            if ((*bj)->platform == s->platform)
                return (*bj)->job;
    return NULL;
}

void key_compute(struct model *m, struct slot *s, struct recipe_reader *reader)
{
    struct strbuf *list = &m->key_list;
    make_list(list, m, s, reader);
    struct job *latest = latest_job(s);
    if (latest && str_eq(latest->inputs, list->s)) { /* one list has one key */
        str_replace(&s->key, latest->key);
        slot_set_job(m, s, latest);
    } else {
        char digest[DIGEST_SIZE];
        digest_of(list->s, list->n, digest);
        str_replace(&s->key, digest);
        slot_set_job(m, s, job_find(m, s->key));
    }
    bool has = s->job && str_eq(s->job->inputs, list->s);
    str_replace(&s->inputs, has ? NULL : list->s);
}

const char *slot_inputs(const struct slot *s)
{
    return s->inputs ? s->inputs : s->job->inputs;
}
