/* What only some builders can read, and since which buildah. Versions are from buildah's change log;
 * 1.28 was tried with each. */
#include "common/dockerfile_internal.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#define EVER  0
#define NEVER INT_MAX

/* A flag of an instruction. */
struct flag {
    enum df_keyword keyword;
    const char *name;
    const char *what;
    const char *hint;
    int buildah;
};

static const struct flag flags[] = {
    {DF_COPY, "from", NULL, NULL, EVER},
    {DF_COPY, "chown", NULL, NULL, EVER},
    {DF_COPY, "chmod", "COPY --chmod", "a RUN chmod", 1020},
    {DF_COPY, "link", "COPY --link", "COPY without it: the files are the same", 1041},
    {DF_COPY, "parents", "COPY --parents", "one COPY for each folder", 1040},
    {DF_COPY, "exclude", "COPY --exclude", "a .dockerignore", 1038},
    {DF_ADD, "from", NULL, NULL, EVER},
    {DF_ADD, "chown", NULL, NULL, EVER},
    {DF_ADD, "chmod", "ADD --chmod", "a RUN chmod", 1020},
    {DF_ADD, "link", "ADD --link", "ADD without it: the files are the same", 1041},
    {DF_ADD, "exclude", "ADD --exclude", "a .dockerignore", 1038},
    {DF_ADD, "checksum", "ADD --checksum", "a RUN that downloads and compares", 1033},
    {DF_ADD, "keep-git-dir", "ADD --keep-git-dir", "a RUN git clone", NEVER},
    {DF_ADD, "unpack", "ADD --unpack", NULL, NEVER},
    {DF_RUN, "mount", NULL, NULL, EVER},
    {DF_RUN, "network", "RUN --network", "RUN without it", 1030},
    {DF_RUN, "security", "RUN --security", NULL, NEVER},
    {DF_RUN, "device", "RUN --device", NULL, NEVER},
    {DF_HEALTHCHECK, "interval", NULL, NULL, EVER},
    {DF_HEALTHCHECK, "timeout", NULL, NULL, EVER},
    {DF_HEALTHCHECK, "start-period", NULL, NULL, EVER},
    {DF_HEALTHCHECK, "start-interval", "HEALTHCHECK --start-interval", "HEALTHCHECK without it",
     1037},
    {DF_HEALTHCHECK, "retries", NULL, NULL, EVER},
};

void df_note(struct dockerfile *dockerfile, struct dockerfile_feature feature)
{
    vec_push(&dockerfile->features, feature);
}

const struct dockerfile_feature *dockerfile_features(const struct dockerfile *dockerfile,
                                                     size_t *ret_n)
{
    *ret_n = dockerfile->features.n;
    return dockerfile->features.items;
}

static void note_at(struct dockerfile *dockerfile, const struct df_instruction *instruction,
                    const char *what, const char *hint, int buildah)
{
    df_note(dockerfile, (struct dockerfile_feature){what, hint, instruction->line,
                                                    (int)dockerfile->stages.n - 1, buildah});
}

/* The mounts that buildah 1.28 knows are those that there are; another type is a typing error. */
static void note_mount(struct dockerfile *dockerfile, const struct df_instruction *run,
                       struct df_span options)
{
    static const char *const types[] = {"bind", "cache", "tmpfs", "secret", "ssh"};
    struct df_span key, value;
    while (df_next_option(run->text, &options, &key, &value)) {
        if (!df_span_is(run->text, key, "type"))
            continue;
        bool known = false;
        for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
            known = known || df_span_is(run->text, value, types[i]);
        if (!known)
            note_at(dockerfile, run, "RUN --mount of an unknown type",
                    "type=bind, cache, tmpfs, secret or ssh", NEVER);
    }
}

static void note_flag(struct dockerfile *dockerfile, const struct df_instruction *instruction,
                      struct df_span name, struct df_span value)
{
    const struct flag *flag = flags, *end = flags + sizeof(flags) / sizeof(flags[0]);
    while (flag < end && !(flag->keyword == instruction->keyword &&
                           df_span_is(instruction->text, name, flag->name)))
        flag++;
    if (flag == end)
        note_at(dockerfile, instruction, "an unknown flag", NULL, NEVER);
    else if (flag->what)
        note_at(dockerfile, instruction, flag->what, flag->hint, flag->buildah);
    if (instruction->keyword == DF_RUN && df_span_is(instruction->text, name, "mount"))
        note_mount(dockerfile, instruction, value);
}

static bool is_git_source(const char *s, size_t n)
{
    const char *hash = memchr(s, '#', n);
    size_t end = hash ? (size_t)(hash - s) : n;
    bool remote = str_starts(s, "git@") || memmem(s, n, "://", 3);
    return (end >= 4 && remote && memcmp(s + end - 4, ".git", 4) == 0) || str_starts(s, "git://");
}

static void note_git_sources(struct dockerfile *dockerfile, const struct df_instruction *add)
{
    struct df_span word;
    size_t pos = add->args;
    while (df_next_word(add->text, add->n, dockerfile->escape, &pos, &word)) {
        if (!is_git_source(add->text + word.start, word.end - word.start))
            continue;
        note_at(dockerfile, add, "ADD of a git repository", "a RUN git clone", 1036);
        return;
    }
}

/* ${X-…}, ${X#…} and the like, which are the shell's in a RUN and the builder's elsewhere. */
static void note_substitutions(struct dockerfile *dockerfile, const struct df_instruction *in)
{
    const char *s = in->text + in->args;
    while ((s = strstr(s, "${"))) {
        s += 2;
        while (isalnum((unsigned char)*s) || *s == '_')
            s++;
        bool plain = *s == '}' || (*s == ':' && s[1] && strchr("-+?", s[1]));
        if (plain || !*s)
            continue;
        note_at(dockerfile, in, "a substitution other than ${X}, ${X:-…}, ${X:+…} and ${X:?…}",
                "one of those", 1039);
        return;
    }
}

void df_note_features(struct dockerfile *dockerfile, const struct df_instruction *instruction)
{
    static const unsigned flagged =
        1u << DF_COPY | 1u << DF_ADD | 1u << DF_RUN | 1u << DF_HEALTHCHECK;
    static const unsigned expanded = 1u << DF_ADD | 1u << DF_ARG | 1u << DF_COPY | 1u << DF_ENV |
                                     1u << DF_EXPOSE | 1u << DF_LABEL | 1u << DF_STOPSIGNAL |
                                     1u << DF_USER | 1u << DF_VOLUME | 1u << DF_WORKDIR;
    unsigned keyword = 1u << instruction->keyword;
    struct df_span word, name, value;
    size_t pos = instruction->args;
    while ((keyword & flagged) &&
           df_next_flag(instruction, dockerfile->escape, &pos, &word, &name, &value))
        note_flag(dockerfile, instruction, name, value);
    if (instruction->keyword == DF_ADD)
        note_git_sources(dockerfile, instruction);
    if (keyword & expanded)
        note_substitutions(dockerfile, instruction);
}

int dockerfile_buildah_number(const char *version)
{
    char *end;
    unsigned long major = strtoul(version, &end, 10);
    if (end == version || *end != '.' || major > 1000)
        return INT_MAX;
    unsigned long minor = strtoul(end + 1, NULL, 10);
    return (int)(major * 1000 + (minor > 999 ? 999 : minor));
}

static bool is_used(const struct dockerfile_feature *feature, const struct dockerfile_plan *plan)
{
    return feature->stage < 0 || plan->used.items[feature->stage];
}

const struct dockerfile_feature *dockerfile_newest_feature(const struct dockerfile *dockerfile,
                                                           const struct dockerfile_plan *plan)
{
    const struct dockerfile_feature *newest = NULL;
    VEC_FOREACH (&dockerfile->features, feature)
        if (is_used(feature, plan) && feature->buildah > (newest ? newest->buildah : EVER))
            newest = feature;
    return newest;
}

int dockerfile_check_buildah(const struct dockerfile *dockerfile,
                             const struct dockerfile_plan *plan, const char *version,
                             struct err *err)
{
    int have = dockerfile_buildah_number(version);
    VEC_FOREACH (&dockerfile->features, feature) {
        if (!is_used(feature, plan) || (feature->buildah <= have && feature->buildah != NEVER))
            continue;
        return err_set(err, -EOPNOTSUPP, "line %d: %s: buildah %s cannot build it%s%s",
                       feature->line, feature->what, version, feature->hint ? "; write " : "",
                       feature->hint ? feature->hint : "");
    }
    return 0;
}
