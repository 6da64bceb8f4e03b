#include "daemon/model/farm.h"

#include <fnmatch.h>

bool platformvec_has(const platformvec *v, enum platform p)
{
    VEC_FOREACH (v, it) {
        if (*it == p)
            return true;
    }
    return false;
}

const char *farm_pairs_get(const farm_pairs *pairs, const char *name)
{
    VEC_FOREACH (pairs, it) {
        if (str_eq(it->name, name))
            return it->value;
    }
    return NULL;
}

static void pairs_done(farm_pairs *pairs)
{
    VEC_FOREACH (pairs, it) {
        free(it->name);
        free(it->value);
    }
    vec_free(pairs);
}

static void image_done(struct farm_image *image)
{
    char *strings[] = {image->name,    image->repository, image->where,   image->source,
                       image->ref,     image->versions,   image->context, image->dockerfile,
                       image->script,  image->builder,    image->target,  image->test,
                       image->workdir, image->user};
    for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
        free(strings[i]);
    strvec_done(&image->variants);
    strvec_done(&image->cmd);
    strvec_done(&image->entrypoint);
    strvec_done(&image->tags);
    pairs_done(&image->args);
    pairs_done(&image->env);
    pairs_done(&image->labels);
    vec_free(&image->platforms);
    vec_free(&image->optional);
}

static void board_rule_done(struct farm_board_rule *rule)
{
    free(rule->pattern);
    strvec_done(&rule->labels);
}

static void registry_done(struct farm_registry *registry)
{
    free(registry->host);
    free(registry->endpoint);
    free(registry->username);
    free(registry->password_file);
}

static void source_done(struct farm_source *source)
{
    free(source->url);
    free(source->ssh_key);
    free(source->username);
    free(source->password_file);
}

struct farm *farm_hold(struct farm *farm)
{
    farm->holders++;
    return farm;
}

void farm_free(struct farm *farm)
{
    if (!farm || farm->holders) {
        if (farm)
            farm->holders--;
        return;
    }
    VEC_FOREACH (&farm->images, image)
        image_done(image);
    VEC_FOREACH (&farm->boards, rule)
        board_rule_done(rule);
    VEC_FOREACH (&farm->registries, registry)
        registry_done(registry);
    VEC_FOREACH (&farm->sources, source)
        source_done(source);
    vec_free(&farm->images);
    vec_free(&farm->boards);
    vec_free(&farm->registries);
    vec_free(&farm->sources);
    vec_free(&farm->platforms);
    free(farm->registry);
    free(farm->registry_host);
    free(farm->state);
    free(farm->listen_agents.host);
    free(farm->listen_status.host);
    strvec_done(&farm->listen_hosts);
    free(farm->listen_token_file);
    free(farm->listen_socket);
    free(farm);
}

/* Each of the sorted structs begins with the string that it is sorted by. */
_Static_assert(offsetof(struct farm_image, name) == 0, "images sort by name");
_Static_assert(offsetof(struct farm_registry, host) == 0, "registries sort by host");
_Static_assert(offsetof(struct farm_source, url) == 0, "sources sort by url");

static int first_string_cmp(const void *a, const void *b)
{
    return str_cmp(*(char *const *)a, *(char *const *)b);
}

#define sort_by_first(v)                                                                           \
    do {                                                                                           \
        if ((v)->n > 1)                                                                            \
            qsort((v)->items, (v)->n, sizeof(*(v)->items), first_string_cmp);                      \
    } while (0)
#define find_by_first(v, key)                                                                      \
    ((v)->n ? bsearch(&(key), (v)->items, (v)->n, sizeof(*(v)->items), first_string_cmp) : NULL)

void farm_sort(struct farm *farm)
{
    sort_by_first(&farm->images);
    sort_by_first(&farm->registries);
    sort_by_first(&farm->sources);
}

const struct farm_image *farm_image(const struct farm *farm, const char *name)
{
    return find_by_first(&farm->images, name);
}

const struct farm_registry *farm_registry(const struct farm *farm, const char *host)
{
    return find_by_first(&farm->registries, host);
}

const struct farm_source *farm_source(const struct farm *farm, const char *url)
{
    return find_by_first(&farm->sources, url);
}

/* How closely the pattern names the board: -1 not at all, INT_MAX exactly. */
static int rule_weight(const char *pattern, const char *board)
{
    if (str_eq(pattern, board))
        return INT32_MAX;
    if (fnmatch(pattern, board, 0) != 0)
        return -1;
    int literal = 0;
    for (const char *c = pattern; *c; c++)
        literal += !strchr("*?[]", *c);
    return literal;
}

const struct farm_board_rule *farm_board_rule(const struct farm *farm, const char *board)
{
    const struct farm_board_rule *best = NULL;
    int best_weight = -1;
    VEC_FOREACH (&farm->boards, rule) {
        int weight = rule_weight(rule->pattern, board);
        if (weight <= best_weight)
            continue;
        best = rule;
        best_weight = weight;
    }
    return best;
}

bool farm_image_offers(const struct farm_image *image, enum platform p)
{
    return platformvec_has(&image->platforms, p) || platformvec_has(&image->optional, p);
}

/* ---- comparing ---- */

static bool lists_equal(const strvec *a, const strvec *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (!str_eq(a->items[i], b->items[i]))
            return false;
    return true;
}

static bool pairs_equal(const farm_pairs *a, const farm_pairs *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (!str_eq(a->items[i].name, b->items[i].name) ||
            !str_eq(a->items[i].value, b->items[i].value))
            return false;
    return true;
}

static bool platforms_equal(const platformvec *a, const platformvec *b)
{
    return a->n == b->n && (a->n == 0 || memcmp(a->items, b->items, a->n * sizeof(*a->items)) == 0);
}

static bool watched_equal(const struct farm_image *a, const struct farm_image *b)
{
    return str_eq(a->name, b->name) && str_eq(a->repository, b->repository) &&
           str_eq(a->source, b->source) && str_eq(a->ref, b->ref) &&
           lists_equal(&a->variants, &b->variants) && str_eq(a->versions, b->versions) &&
           a->maintain == b->maintain && a->history == b->history;
}

static bool recipe_equal(const struct farm_image *a, const struct farm_image *b)
{
    return a->kind == b->kind && str_eq(a->context, b->context) &&
           str_eq(a->dockerfile, b->dockerfile) && str_eq(a->script, b->script) &&
           str_eq(a->builder, b->builder) && str_eq(a->target, b->target) &&
           pairs_equal(&a->args, &b->args) && str_eq(a->test, b->test) &&
           a->has_cmd == b->has_cmd && a->has_entrypoint == b->has_entrypoint &&
           lists_equal(&a->cmd, &b->cmd) && lists_equal(&a->entrypoint, &b->entrypoint) &&
           pairs_equal(&a->env, &b->env) && pairs_equal(&a->labels, &b->labels) &&
           str_eq(a->workdir, b->workdir) && str_eq(a->user, b->user);
}

static bool published_equal(const struct farm_image *a, const struct farm_image *b)
{
    return lists_equal(&a->tags, &b->tags) && platforms_equal(&a->platforms, &b->platforms) &&
           platforms_equal(&a->optional, &b->optional) && a->deadline_ms == b->deadline_ms &&
           a->media_type == b->media_type && a->compression == b->compression &&
           a->timeout_ms == b->timeout_ms && a->emulated == b->emulated && a->hold == b->hold &&
           a->enforce == b->enforce && a->priority == b->priority;
}

#if defined(__x86_64__)
/* A new member belongs into one of the three functions above: what is left out there keeps its old meaning when
 * farm.yaml is loaded again. */
_Static_assert(sizeof(struct farm_image) == 384, "farm_image_equal compares every member");
#endif

bool farm_image_equal(const struct farm_image *a, const struct farm_image *b)
{
    return watched_equal(a, b) && recipe_equal(a, b) && published_equal(a, b);
}
