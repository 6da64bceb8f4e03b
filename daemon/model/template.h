/* The lower-case `$names` of farm.yaml, filled in for one track and, where it matters, one platform.
 *
 * `$name` and `${name}` are names of ours when they begin with a lower-case letter; `$$` is one dollar;
 * everything else, `$PATH` and `$(…)` included, stays as it is. */
#pragma once

#include "common/err.h"
#include "common/platform.h"
#include "daemon/model/version.h"

#include <stdbool.h>
#include <stddef.h>

/* What the names stand for. Strings are borrowed; NULL is "has none". */
struct template_vars {
    const char *registry;   /* the farm's prefix */
    const char *image;      /* its name in farm.yaml */
    const char *repository; /* full */
    const char *variant;
    const char *ref;        /* full name of the ref ("refs/tags/v1.4.0") */
    const char *commit;     /* 40 hex digits */
    const char *version;    /* what the '*' of the image's pattern matched, without a leading v */
    struct version parsed;  /* of version; parts is 0 where it is no version */
    enum platform platform; /* PLATFORM_COUNT where the text is not of one platform */
};

/* What a text of farm.yaml may use. */
struct template_rules {
    const char *ref;   /* the image's pattern; NULL: allows what any would */
    bool has_variant;  /* the image has variants */
    bool has_platform; /* the text is filled in for one platform at a time */
};

/* Checks every name in `text`: unknown ones, those that the rules exclude and a `${` that does not end
 * give -EINVAL with what to write instead, and *ret_offset (bytes into text; may be NULL). */
int template_check(const char *text, const struct template_rules *rules, size_t *ret_offset,
                   struct err *err);

/* Fills in `text`; the caller owns *ret_text. -ENOENT, naming the name, when one of them has no value
 * (`$patch` of 3.20, `$branch` of a tag); -EINVAL for what template_check refuses. */
int template_expand(const char *text, const struct template_vars *vars, char **ret_text,
                    struct err *err);

/* Whether it uses a name that says something else for each platform. */
bool template_uses_platform(const char *text);
/* Whether `text` uses $name (as "version", without the dollar). */
bool template_uses(const char *text, const char *name);
