/* From refs to tracks to tags: which refs of a source an image follows, and which tags the track of
 * one of them claims. Pure. */
#pragma once

#include "common/err.h"
#include "daemon/model/farm.h"
#include "daemon/model/template.h"
#include "daemon/model/version.h"

/* Tags that begin so are Sheaf's own (retain.c): no image may claim one. */
#define TAG_RESERVED "_sheaf"
/* A tag of ours leaves room for the longest platform suffix ("-ppc64le") below the 128 of a registry. */
#define TAG_TEXT_MAX 119

/* Whether `pattern`, a full ref name with at most one '*', matches `ref`; as in git's refspecs the '*'
 * matches any text, slashes included, but not none. *ret_start and *ret_n (both may be NULL) are what
 * it matched, within `ref`: nothing (n 0) for a pattern without '*'. */
bool ref_match(const char *pattern, const char *ref, const char **ret_start, size_t *ret_n);

/* Why an image does or does not follow a ref. */
enum ref_verdict {
    REF_FOLLOWED,
    REF_NO_MATCH,      /* the pattern does not match */
    REF_NO_VERSION,    /* it matches, but $version would be no version and the image needs one */
    REF_OUT_OF_BOUNDS, /* its version is outside `versions:` */
};

/* What an image makes of a ref. */
struct ref_reading {
    enum ref_verdict verdict;
    char version[VERSION_TEXT_MAX + 1]; /* "" where the pattern has no '*' */
    struct version parsed;              /* parts is 0 where there is no version */
};

/* Judges `ref` for the image; the reading is by value. */
struct ref_reading ref_read(const struct farm_image *image, const char *ref);

/* One or two words that name the verdict in messages ("not a version"). */
const char *ref_verdict_text(enum ref_verdict verdict);

/* Whether the image can only follow refs that carry a version: $version, bounds, `maintain:` or a tag
 * that several of its tracks claim say so. */
bool image_needs_version(const struct farm_image *image);

/* The track's name: "image@ref" or "image@ref:variant", without refs/heads/ and refs/tags/. The caller
 * owns it. */
char *track_name(const char *image, const char *ref, const char *variant);

/* Fills in the variables of one track. Everything is borrowed, from the reading too; variant and
 * commit may be NULL. The platform is PLATFORM_COUNT; the caller sets another. */
struct template_vars track_vars(const struct farm *farm, const struct farm_image *image,
                                const char *ref, const struct ref_reading *reading,
                                const char *variant, const char *commit);

/* One tag that a track claims. */
struct tag_claim {
    char *tag;
    bool shared; /* several tracks of the image may claim it (`1.4`, `latest`): its owner is the
                    highest version; otherwise the tag is exactly this track's */
};
typedef VEC(struct tag_claim) tag_claims;

/* Frees the claims and the array; leaves it empty. */
void tag_claims_done(tag_claims *claims);
#define cleanup_tag_claims cleanup_(tag_claims_done)

/* The tags that the track with these variables claims, in the order of the image's templates, each
 * once. A template with a part that the version does not have claims nothing, nor does a shared one for
 * a prerelease. A '/' (of a branch's name) becomes '-', a '+' (of a version) '_'. -EINVAL when a
 * result is no tag, -EEXIST when one is what another gets for a single platform of the image;
 * *ret_claims is untouched then. */
int tags_of_track(const struct farm_image *image, const struct template_vars *vars,
                  tag_claims *ret_claims, struct err *err);

/* Whether several tracks of the image can claim what this tag template gives. */
bool tag_template_shared(const struct farm_image *image, const char *text);

/* Whether the tag is called as a single platform's of another one is ("1.4-arm64"): which, and how many bytes the other's
 * name has. Whether there is such another is not asked. */
bool tag_of_platform(const char *tag, enum platform *ret_platform, size_t *ret_n);

/* Whether `tag` is one by the OCI's grammar and at most TAG_TEXT_MAX long. */
bool tag_valid(const char *tag);

/* One track that claims a tag, for tag_owner_cmp. */
struct tag_claimant {
    bool shared;                   /* of its claim */
    const struct version *version; /* weak; NULL or without parts: none */
};

/* Which of two tracks owns a tag that both claim: >0 the first, <0 the second, 0 neither: a conflict,
 * in which the incumbent stays. The higher version owns it where at least one of the claims is a shared
 * one. */
int tag_owner_cmp(const struct tag_claimant *a, const struct tag_claimant *b);
