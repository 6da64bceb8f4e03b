#include "daemon/model/tagging.h"

#include <ctype.h>
#include <errno.h>

bool ref_match(const char *pattern, const char *ref, const char **ret_start, size_t *ret_n)
{
    const char *star = strchr(pattern, '*');
    size_t before = star ? (size_t)(star - pattern) : 0, after = star ? strlen(star + 1) : 0;
    size_t length = strlen(ref);
    if (!star && !str_eq(pattern, ref))
        return false;
    if (star && (length <= before + after || strncmp(pattern, ref, before) != 0 ||
                 !str_eq(star + 1, ref + length - after)))
        return false;
    if (ret_start)
        *ret_start = star ? ref + before : ref + length;
    if (ret_n)
        *ret_n = star ? length - before - after : 0;
    return true;
}

/* Whether the tracks of the image can differ only in what this text names: then what it gives is
 * exactly one track's. */
bool tag_template_shared(const struct farm_image *image, const char *text)
{
    static const char *const whole[] = {"version", "tag",    "branch",
                                        "ref",     "commit", "short_commit"};
    bool names_ref = !strchr(image->ref, '*');
    for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++)
        names_ref = names_ref || template_uses(text, whole[i]);
    bool names_variant = image->variants.n < 2 || template_uses(text, "variant");
    return !names_ref || !names_variant;
}

static bool uses_version(const char *text)
{
    return text && (template_uses(text, "version") || template_uses(text, "major") ||
                    template_uses(text, "minor") || template_uses(text, "patch"));
}

static bool pairs_use_version(const farm_pairs *pairs)
{
    VEC_FOREACH (pairs, pair) {
        if (uses_version(pair->value))
            return true;
    }
    return false;
}

bool image_needs_version(const struct farm_image *image)
{
    if (!strchr(image->ref, '*'))
        return false;
    if (image->versions || image->maintain != FARM_MAINTAIN_PATCH)
        return true;
    VEC_FOREACH (&image->tags, tag) {
        if (uses_version(*tag) || tag_template_shared(image, *tag))
            return true;
    }
    return uses_version(image->context) || uses_version(image->dockerfile) ||
           uses_version(image->builder) || uses_version(image->target) ||
           pairs_use_version(&image->args) || pairs_use_version(&image->env) ||
           pairs_use_version(&image->labels);
}

struct ref_reading ref_read(const struct farm_image *image, const char *ref)
{
    struct ref_reading reading = {.verdict = REF_NO_MATCH};
    const char *start;
    size_t n;
    if (!ref_match(image->ref, ref, &start, &n))
        return reading;
    reading.verdict = REF_NO_VERSION;
    if (n > 1 && *start == 'v' && isdigit((unsigned char)start[1])) {
        start++;
        n--;
    }
    bool fits = n <= VERSION_TEXT_MAX;
    if (fits)
        memcpy(reading.version, start, n);
    bool is_version = fits && version_parse(reading.version, &reading.parsed) == 0;
    if (!is_version && image_needs_version(image))
        return reading;
    reading.verdict = REF_FOLLOWED;
    if (is_version && !version_within(image->versions, &reading.parsed))
        reading.verdict = REF_OUT_OF_BOUNDS;
    return reading;
}

const char *ref_verdict_text(enum ref_verdict verdict)
{
    static const char *const texts[] = {
        [REF_FOLLOWED] = "followed",
        [REF_NO_MATCH] = "not matched",
        [REF_NO_VERSION] = "not a version",
        [REF_OUT_OF_BOUNDS] = "outside versions",
    };
    return texts[verdict];
}

static const char *short_ref(const char *ref)
{
    static const char *const prefixes[] = {"refs/heads/", "refs/tags/"};
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        if (str_starts(ref, prefixes[i]))
            return ref + strlen(prefixes[i]);
    }
    return ref;
}

char *track_name(const char *image, const char *ref, const char *variant)
{
    return xconcat(image, "@", short_ref(ref), variant ? ":" : "", variant ? variant : "", NULL);
}

struct template_vars track_vars(const struct farm *farm, const struct farm_image *image,
                                const char *ref, const struct ref_reading *reading,
                                const char *variant, const char *commit)
{
    return (struct template_vars){
        .registry = farm->registry,
        .image = image->name,
        .repository = image->repository,
        .variant = variant,
        .ref = ref,
        .commit = commit,
        .version = reading->version[0] ? reading->version : NULL,
        .parsed = reading->parsed,
        .platform = PLATFORM_COUNT,
    };
}

void tag_claims_done(tag_claims *claims)
{
    VEC_FOREACH (claims, claim)
        free(claim->tag);
    vec_free(claims);
}

bool tag_valid(const char *tag)
{
    size_t n = strlen(tag);
    if (n == 0 || n > TAG_TEXT_MAX || *tag == '.' || *tag == '-')
        return false;
    for (const char *c = tag; *c; c++) {
        if (!isalnum((unsigned char)*c) && !strchr("._-", *c))
            return false;
    }
    return true;
}

/* Branches may hold '/' and versions '+', which no tag can. */
static void mend_tag(char *tag)
{
    for (char *c = tag; *c; c++)
        *c = *c == '/' ? '-' : *c == '+' ? '_' : *c;
}

static void add_claim(tag_claims *claims, char *tag, bool shared)
{
    VEC_FOREACH (claims, claim) {
        if (!str_eq(claim->tag, tag))
            continue;
        claim->shared = claim->shared || shared;
        free(tag);
        return;
    }
    vec_push(claims, (struct tag_claim){.tag = tag, .shared = shared});
}

static int claim_template(const struct farm_image *image, const char *text,
                          const struct template_vars *vars, tag_claims *claims, struct err *err)
{
    bool shared = tag_template_shared(image, text);
    if (shared && version_is_prerelease(&vars->parsed))
        return 0;
    cleanup_free char *tag = NULL;
    struct err why = ERR_INIT;
    int r = template_expand(text, vars, &tag, &why);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return err_set(err, r, "tag %s: %s", text, why.text);
    mend_tag(tag);
    if (!tag_valid(tag))
        return err_set(err, -EINVAL, "tag %s: '%s' is no tag", text, tag);
    if (str_starts(tag, TAG_RESERVED))
        return err_set(err, -EINVAL,
                       "tag %s: '%s' begins with " TAG_RESERVED
                       ", as the tags do that Sheaf keeps for itself",
                       text, tag);
    add_claim(claims, steal_ptr(tag), shared);
    return 0;
}

bool tag_of_platform(const char *tag, enum platform *ret_platform, size_t *ret_n)
{
    const char *dash = strrchr(tag, '-');
    for (int p = 0; dash && dash > tag && p < PLATFORM_COUNT; p++) {
        if (!str_eq(dash + 1, platform_info((enum platform)p)->suffix))
            continue;
        *ret_platform = (enum platform)p;
        *ret_n = (size_t)(dash - tag);
        return true;
    }
    return false;
}

/* With each tag TAG those of its platforms are put, TAG-arm64: none of them may be another's. */
static int check_platform_tags(const struct farm_image *image, const tag_claims *claims,
                               struct err *err)
{
    VEC_FOREACH (claims, one) {
        enum platform p;
        size_t n;
        if (!tag_of_platform(one->tag, &p, &n) || !farm_image_offers(image, p))
            continue;
        VEC_FOREACH (claims, other)
            if (strlen(other->tag) == n && strncmp(other->tag, one->tag, n) == 0)
                return err_set(err, -EEXIST,
                               "tag '%s' is what '%s' is for %s alone; choose another, or leave it "
                               "out",
                               one->tag, other->tag, platform_info(p)->name);
    }
    return 0;
}

int tags_of_track(const struct farm_image *image, const struct template_vars *vars,
                  tag_claims *ret_claims, struct err *err)
{
    cleanup_tag_claims tag_claims claims = {0};
    VEC_FOREACH (&image->tags, text) {
        int r = claim_template(image, *text, vars, &claims, err);
        if (r < 0)
            return r;
    }
    int r = check_platform_tags(image, &claims, err);
    if (r < 0)
        return r;
    *ret_claims = claims;
    claims = (tag_claims){0};
    return 0;
}

int tag_owner_cmp(const struct tag_claimant *a, const struct tag_claimant *b)
{
    bool versions = a->version && a->version->parts && b->version && b->version->parts;
    if (!versions || !(a->shared || b->shared))
        return 0;
    return version_cmp(a->version, b->version);
}
