/* A history's short form: what the numbers of a step mean on a real farm. */
#include "tests/model/short.h"

#include "tests/model/farm_spec.h"

/* The farm's sources: those of the refs of farm_spec.c that an image of theirs follows. */
static const struct source {
    const char *name;
    unsigned n, refs[4];
} sources[] = {
    {"base", 4, {3, 4, 5, 6}}, /* tags */
    {"rest", 1, {0}},          /* a branch, of several images */
    {"alone", 3, {0, 1, 2}},   /* branches */
};

static const struct source *some_source(unsigned a)
{
    return &sources[a % (sizeof(sources) / sizeof(*sources))];
}

/* A ref of a source, as members. */
static void print_ref(const char *what, const struct step *st)
{
    const struct source *s = some_source(st->a);
    printf("{\"do\": \"%s\", \"source\": \"%s\", \"ref\": \"%s\"", what, s->name,
           ref_name(s->refs[st->b % s->n]));
}

bool short_push(const struct step *st)
{
    print_ref("push", st);
    printf(", \"changed\": %s", st->c % 3 ? "true" : "false");
    return true;
}

bool short_rewrite(const struct step *st)
{
    static const char *const ways[] = {"force", "revert", "rewind", "delete", "delete"};
    print_ref(ways[st->c % 5], st);
    printf(", \"number\": %u", st->c / 5);
    return true;
}

bool short_look(const struct step *st)
{
    printf("{\"do\": \"poll\", \"source\": \"%s\"", some_source(st->a)->name);
    return true;
}

bool short_goes_on(const struct step *st)
{
    short_look(st);
    printf(", \"rest\": true");
    return true;
}

bool short_source_away(const struct step *st)
{
    printf("{\"do\": \"source-away\", \"source\": \"%s\"", some_source(st->a)->name);
    return true;
}

bool short_registry(const struct step *st)
{
    printf("{\"do\": \"registry-away\"");
    return true;
}

bool short_collect(const struct step *st)
{
    printf("{\"do\": \"collect\"");
    return true;
}

bool short_board(const struct step *st)
{
    static const char *const ways[] = {"power", "restart", NULL, NULL, NULL, "start"};
    const char *way = ways[st->b % 6];
    if (way)
        printf("{\"do\": \"board-%s\", \"board\": %u", way, st->a % 2);
    return way;
}

bool short_dies(const struct step *st)
{
    printf("{\"do\": \"board-power\", \"board\": %u", st->a % 2);
    return true;
}

bool short_crash(const struct step *st)
{
    printf("{\"do\": \"crash\"");
    return true;
}

bool short_reload(const struct step *st)
{
    static const char *const images[] = {"extra", "top", "alone"};
    printf("{\"do\": \"reload\", \"image\": \"%s\"", images[st->a % 3]);
    return true;
}

bool short_command(const struct step *st)
{
    return command_short(st->a, st->b, st->c);
}

void print_short(const struct history *h, unsigned n)
{
    VEC_FOREACH (&h->steps, st) {
        if (n == 0)
            return;
        if (!step_short(st))
            continue;
        printf(", \"step\": %u}\n", st->number);
        n--;
    }
}
