/* The farm that most rules are shown with: a base that a script builds, and an app on it. */
#pragma once

#include "tests/lib/model_steps.h"

#define BASES  "https://git.test/bases.git"
#define APPS   "https://git.test/apps.git"
#define BASE   "base@master"
#define APP    "app@master"
#define REPO   "r.test/osf/base"
#define ON     "FROM r.test/osf/base:latest\n" /* the app's Dockerfile */
#define MINUTE ((int64_t)60000)
#define HOUR   (60 * MINUTE)

/* Begins a farm of the image `base` alone, which is not started yet. Returns the image, to be changed. */
struct farm_image *world_base(struct world *w);
/* Starts the farm, with the board `one`. */
void world_go(struct world *w);
/* Such a farm, started. */
void world_base_alone(struct world *w);
/* The base is pushed, and all that follows is built and published. */
void world_publish_base(struct world *w, const char *commit);
/* The base alone, of which b1 is published. */
void world_base_published(struct world *w);
/* The same for a second platform, linux/arm64, which is optional where that is said. Returns the image. */
struct farm_image *world_base_of_two(struct world *w, bool optional);
/* The base (b1) and the app on it (a1), both published. */
void world_base_and_app(struct world *w);
