/* A random farm: small numbers from which a struct farm, and what its Dockerfiles say, are made. Reloads change the
 * numbers; shrinking leaves images, boards and platforms out. */
#pragma once

#include "daemon/model/farm.h"
#include "tests/model/random.h"

#define MAX_IMAGES        6
#define MAX_BOARDS        3
#define MAX_SOURCES       3
#define N_PLATFORMS       3 /* amd64, arm64, arm/v7: the first of enum platform */
#define N_OUTSIDE         4
#define TAG_LISTS         5 /* of templates */
#define TAGS_OF_PLATFORMS 4 /* the one with names that another tag has for one platform */
#define REGISTRY          "r.test/osf" /* of the farm, till it moves */
#define OTHER             "s.test/osf"

enum ref_kind { REF_MASTER, REF_BRANCHES, REF_TAGS, REF_KINDS };

struct image_spec {
    bool present, rootfs, per_arch, emulated, hold, docker, builder, zstd;
    bool elsewhere; /* its repository is in the other registry, whichever the farm's is */
    bool says;      /* its Dockerfile does not spell the farm's registry out */
    unsigned source;
    enum ref_kind refs;
    unsigned variants;           /* 0 to 2 */
    unsigned required, optional; /* bits by platform */
    unsigned tags;               /* which list of templates */
    unsigned bounds, maintain;
    int history;
    unsigned script;     /* rises to change the key */
    unsigned repository; /* the image whose name the repository has: its own, mostly */
};

struct farm_spec {
    uint64_t seed;
    unsigned n_images, n_boards, n_sources;
    struct image_spec image[MAX_IMAGES];
    bool freeze, cycles, enforce;
    bool moved; /* its registry is the other one */
    bool named; /* under `registries:` it names both, whether or not anything is published there */
    int keep;
    unsigned cut; /* images that shrinking leaves out */
    int64_t lease_term_ms;
};

/* What shrinking leaves out of a farm. */
struct farm_cut {
    unsigned images, boards; /* bits */
    bool one_platform;
};

/* The farm of a seed. */
struct farm_spec farm_spec_make(uint64_t seed, const struct farm_cut *cut);
/* The farm that farm.yaml would give. The caller owns it. */
struct farm *farm_spec_build(const struct farm_spec *spec);
/* Changes something, as a person does who edits farm.yaml. Returns in words what; a static text. */
const char *farm_spec_edit(struct farm_spec *spec, unsigned a, unsigned b);

/* Whatever is published in a repository is published in the other registry from now on, and farm.yaml does not name the
 * one that it was in any more. */
void farm_spec_leave(struct farm_spec *spec, const char *repository);

/* "alpha" and so on. */
const char *image_name(unsigned i);
/* Where an image is published: a registry and the path before its repository. */
const char *image_registry(const struct farm_spec *spec, unsigned i);
/* The URL of a source. */
const char *source_url(unsigned i);
/* "refs/heads/master" and so on; NULL after the last. */
const char *ref_name(unsigned i);
/* A base from outside, as a Dockerfile names it, normalised. */
const char *outside_name(unsigned i);
/* "one", "two", "three". */
const char *board_name(unsigned i);

/* The Dockerfile of an image at the n-th version of its context. The caller owns it. */
char *farm_spec_dockerfile(const struct farm_spec *spec, unsigned image, uint64_t version);
/* The image that a context's folder belongs to. */
unsigned image_of_path(const char *path);
