/* A registry in memory, and the outside ones that bases come from. */
#pragma once

#include "daemon/model/model.h"
#include "tests/model/farm_spec.h"

#include <uthash.h>

struct manifest {
    char *digest;
    char *media_type;
    enum platform platform; /* of a child */
    bool index;
    strvec children; /* of an index */
    UT_hash_handle hh;
};

struct registry_tag {
    char *name;
    char *digest;
    UT_hash_handle hh;
};

struct registry_repository {
    char *name;
    struct manifest *manifests;
    struct registry_tag *tags;
    UT_hash_handle hh;
};

struct registry_sim {
    struct registry_repository *repositories;
    bool away;
};

/* Frees what it holds. */
void registry_done(struct registry_sim *r);
/* The repository, made when it is new. */
struct registry_repository *registry_repository(struct registry_sim *r, const char *name);
/* The manifest, or NULL. */
struct manifest *registry_manifest(struct registry_repository *r, const char *digest);
/* What the tag names, or NULL. */
const char *registry_tag(struct registry_repository *r, const char *tag);
/* A board pushes a manifest of one platform. */
void registry_push_child(struct registry_repository *r, const char *digest, const char *media_type,
                         enum platform platform);
/* PUTs an index by digest; false, as registries do, when a child is not there. */
bool registry_put_index(struct registry_repository *r, const struct effect *e);
/* Points a tag to a manifest that is there. */
void registry_set_tag(struct registry_repository *r, const char *tag, const char *digest);
/* Deletes every manifest that no tag needs. Returns how many. */
unsigned registry_collect(struct registry_sim *r);
/* How often tags or manifests of any registry have changed so far. */
uint64_t registry_changes(void);
/* Deletes a tag, if it is there. */
void registry_delete_tag(struct registry_repository *r, const char *tag);
/* Loses a manifest, and with it the tags that name it: an accident. */
void registry_lose(struct registry_repository *r, const char *digest);

/* A base from outside: what its tag names, which moves. */
struct outside_sim {
    unsigned version;
    bool gone, away;
};

/* The digest of its index. */
void outside_digest(unsigned base, const struct outside_sim *o, char ret[72]);
/* The digest of a platform's child; false: it has none. */
bool outside_child(unsigned base, const struct outside_sim *o, enum platform p, char ret[72]);
/* A digest made from a number. */
void digest_from(uint64_t number, char ret[72]);
