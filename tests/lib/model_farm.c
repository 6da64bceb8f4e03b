#include "tests/lib/model_farm.h"

struct farm_image *world_base(struct world *w)
{
    world_init(w);
    return world_image(w, "base", BASES, WORLD_MASTER, "./mk");
}

void world_go(struct world *w)
{
    world_start(w);
    world_board(w, "one");
}

void world_base_alone(struct world *w)
{
    world_base(w);
    world_go(w);
}

void world_publish_base(struct world *w, const char *commit)
{
    world_push(w, BASES, commit, NULL);
    world_settle(w, ON);
}

void world_base_published(struct world *w)
{
    world_base_alone(w);
    world_publish_base(w, "b1");
}

struct farm_image *world_base_of_two(struct world *w, bool optional)
{
    static const char *const two_platforms[] = {"linux/amd64", "linux/arm64", NULL};
    struct farm_image *image = world_base(w);
    if (optional)
        vec_push(&image->optional, PLATFORM_ARM64);
    else
        vec_push(&image->platforms, PLATFORM_ARM64);
    w->platforms = two_platforms;
    world_go(w);
    world_publish_base(w, "b1");
    return image;
}

void world_base_and_app(struct world *w)
{
    world_base(w);
    world_image(w, "app", APPS, WORLD_MASTER, NULL);
    world_go(w);
    world_publish_base(w, "b1");
    world_push(w, APPS, "a1", ON);
    world_settle(w, ON);
    world_is(w, APP, "published", "published");
}
