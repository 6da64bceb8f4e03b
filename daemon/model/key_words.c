/* What differs between two lists of inputs, in words that a person reads with pleasure: "its Dockerfile changed and
 * base debian:12 has new content". Each difference is a clause; clauses of one kind are told together where they are
 * many. Which inputs there are is said in key.c; one that is not known here is told by its name. */
#include "daemon/model/plan.h"

#include <jansson.h>
#include <time.h>

/* Of one kind, clauses up to so many are told one by one. */
#define TOLD_SINGLY 3
/* Of a long list, so many names are told. */
#define NAMES_TOLD 3
#define VALUE_MAX  60

struct difference {
    const char *kind, *name; /* "argument", "VERSION"; name "" where the kind is one input */
    const char *input;       /* both, as the list has it */
    const json_t *from, *to; /* NULL: not in that list */
};
typedef VEC(struct difference) differences;

/* ---- inputs in words ---- */

/* An input of which there is one. A clause with "%1" and "%2" tells the values. */
struct words {
    const char *input, *changed, *added, *removed;
};

static const struct words words[] = {
    {"rebuild", "a person asked for it", "a person asked for it", "a person asked for it"},
    {"version", "inputs are listed in another way", "inputs are listed in another way",
     "inputs are listed in another way"},
    {"repository", "it is pushed to %2 now, no longer to %1", "it is pushed to %2 now",
     "it is no longer pushed to %1"},
    {"platform", "it is for %2 now, no longer for %1", "it is for %2 now",
     "it is no longer for %1"},
    {"kind", "it is built from a %2 now, no longer from a %1", "it is built from a %2 now",
     "it is no longer built from a %1"},
    {"script", "its script changed", "it is made by a script now", "it has no script any more"},
    {"variant", "its variant is %2 now, no longer %1", "its variant is %2 now",
     "it has no variant any more"},
    {"dockerfile", "its Dockerfile changed", "it has a Dockerfile now",
     "it has no Dockerfile any more"},
    {"target", "it is built up to stage %2 now, no longer %1",
     "it is built up to stage %2 now, no longer the last one",
     "it is built up to its last stage now, no longer %1"},
    {"context", "its files changed", "it has files now", "it has no files any more"},
    {"cmd", "its command changed from %1 to %2", "its command is %2 now",
     "its command is the base's again, no longer %1"},
    {"entrypoint", "its entrypoint changed from %1 to %2", "its entrypoint is %2 now",
     "its entrypoint is the base's again, no longer %1"},
    {"workdir", "its working directory changed from %1 to %2", "its working directory is %2 now",
     "its working directory is the base's again, no longer %1"},
    {"user", "its user changed from %1 to %2", "its user is %2 now",
     "its user is the base's again, no longer %1"},
    {"test", "its test command changed", "it has a test command now",
     "it has no test command any more"},
    {"media type", "its media types are %2's now",
     "its media types are Docker's now, no longer OCI's",
     "its media types are OCI's now, no longer Docker's"},
    {"compression", "its layers are packed with %2 now",
     "its layers are packed with zstd now, no longer with gzip",
     "its layers are packed with gzip now, no longer with zstd"},
    {"emulated", "boards that emulate may build it", "boards that emulate may build it now",
     "boards that emulate may not build it any more"},
    {"epoch", "its date changed from %1 to %2", "its date is %2 now", "it has no date any more"},
};

/* Inputs of which there are many, "KIND NAME". */
static const struct {
    const char *kind, *one, *many;
} named[] = {
    {"argument", "build argument", "build arguments"},
    {"env", "environment variable", "environment variables"},
    {"label", "label", "labels"},
};
#define N_NAMED (sizeof(named) / sizeof(*named))

/* ---- values in words ---- */

/* At most VALUE_MAX bytes of `s`, whole characters of one line; quoted where the sentence would swallow it. */
static void add_value_text(struct strbuf *b, const char *s)
{
    size_t n = strlen(s), take = n;
    if (n > VALUE_MAX)
        for (take = VALUE_MAX; take > 0 && ((unsigned char)s[take] & 0xc0) == 0x80;)
            take--;
    bool quoted = !n || strpbrk(s, " ,;'\t\n\r");
    strbuf_add(b, quoted ? "'" : "");
    for (size_t i = 0; i < take; i++)
        strbuf_addc(b, (unsigned char)s[i] < ' ' || s[i] == 0x7f ? ' ' : s[i]);
    strbuf_add(b, take < n ? "…" : "");
    strbuf_add(b, quoted ? "'" : "");
}

static int64_t day_of(const json_t *seconds)
{
    return json_integer_value(seconds) / (24 * 60 * 60);
}

/* Two of one day are told apart by the time of day. */
static void add_date(struct strbuf *b, const struct difference *d, const json_t *seconds)
{
    bool one_day =
        json_is_integer(d->from) && json_is_integer(d->to) && day_of(d->from) == day_of(d->to);
    char text[32];
    struct tm tm;
    time_t t = (time_t)json_integer_value(seconds);
    if (gmtime_r(&t, &tm) &&
        strftime(text, sizeof(text), one_day ? "%Y-%m-%d %H:%M:%S" : "%Y-%m-%d", &tm))
        strbuf_add(b, text);
}

static void add_value(struct strbuf *b, const struct difference *d, const json_t *value)
{
    const char *s = json_string_value(value);
    if (s && str_eq(d->kind, "kind"))
        strbuf_add(b, str_eq(s, "rootfs") ? "script" : "Dockerfile");
    else if (s && str_starts(s, "sha256:"))
        strbuf_addf(b, "%.12s", s + strlen("sha256:"));
    else if (s)
        add_value_text(b, s);
    else if (json_is_integer(value) && str_eq(d->kind, "epoch"))
        add_date(b, d, value);
    else {
        cleanup_free char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        add_value_text(b, text ? text : "?");
    }
}

static void add_clause(struct strbuf *b, const char *clause, const struct difference *d)
{
    for (const char *p = clause; *p; p++) {
        if (p[0] == '%' && (p[1] == '1' || p[1] == '2'))
            add_value(b, d, *++p == '1' ? d->from : d->to);
        else
            strbuf_addc(b, *p);
    }
}

/* An image as people write it. */
static const char *familiar(const char *reference)
{
    static const char *const prefixes[] = {"docker.io/library/", "docker.io/"};
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++)
        if (str_starts(reference, prefixes[i]))
            return reference + strlen(prefixes[i]);
    return reference;
}

/* ---- what differs ---- */

static const json_t *find_input(const json_t *list, const char *name)
{
    size_t i;
    json_t *pair;
    json_array_foreach (list, i, pair)
        if (str_eq(json_string_value(json_array_get(pair, 0)), name))
            return json_array_get(pair, 1);
    return NULL;
}

static const struct words *words_of(const char *input)
{
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        if (str_eq(words[i].input, input))
            return &words[i];
    return NULL;
}

static void add_difference(differences *list, const char *input, const json_t *from,
                           const json_t *to)
{
    static const char *const kinds[] = {"base", "argument", "env", "label"};
    struct difference d = {.kind = input, .name = "", .input = input, .from = from, .to = to};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        size_t n = strlen(kinds[i]);
        if (strncmp(input, kinds[i], n) == 0 && input[n] == ' ') {
            d.kind = kinds[i];
            d.name = input + n + 1;
        }
    }
    vec_push(list, d);
}

static void compare(const json_t *before, const json_t *after, differences *list)
{
    size_t i;
    json_t *pair;
    json_array_foreach (after, i, pair) {
        const char *input = json_string_value(json_array_get(pair, 0));
        const json_t *from = find_input(before, input), *to = json_array_get(pair, 1);
        if (!from || !json_equal(from, to))
            add_difference(list, input, from, to);
    }
    json_array_foreach (before, i, pair) {
        const char *input = json_string_value(json_array_get(pair, 0));
        if (!find_input(after, input))
            add_difference(list, input, json_array_get(pair, 1), NULL);
    }
}

static size_t count(const differences *list, const char *kind)
{
    size_t n = 0;
    VEC_FOREACH (list, d)
        n += str_eq(d->kind, kind);
    return n;
}

/* ---- clauses ---- */

/* "a, b and c" of what `list` has; frees nothing. */
static char *enumerate(const strvec *list)
{
    struct strbuf b = {0};
    for (size_t i = 0; i < list->n; i++) {
        if (i)
            strbuf_add(&b, i + 1 == list->n ? " and " : ", ");
        strbuf_add(&b, list->items[i]);
    }
    return strbuf_steal(&b);
}

/* The names in `names`, cut where they are many. The caller owns it. */
static char *some_names(const strvec *names)
{
    cleanup_strvec strvec told = {0};
    size_t take = names->n > NAMES_TOLD + 1 ? NAMES_TOLD : names->n;
    for (size_t i = 0; i < take; i++)
        strvec_add(&told, names->items[i]);
    if (take < names->n) {
        cleanup_free char *more = xasprintf("%zu more", names->n - take);
        strvec_add(&told, more);
    }
    return enumerate(&told);
}

static void push(strvec *clauses, struct strbuf *b)
{
    cleanup_free char *text = strbuf_steal(b);
    strvec_add(clauses, text);
}

/* The files of another commit have another date, the Dockerfile is one of them, and another kind has another recipe. */
static bool told_by_another(const differences *list, const struct difference *d)
{
    if (str_eq(d->input, "epoch"))
        return count(list, "context") > 0;
    if (str_eq(d->input, "context"))
        return count(list, "dockerfile") > 0 && count(list, "kind") == 0;
    return (str_eq(d->input, "script") || str_eq(d->input, "dockerfile")) &&
           count(list, "kind") > 0;
}

static void tell_single(strvec *clauses, const differences *list)
{
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        VEC_FOREACH (list, d) {
            const struct words *w = &words[i];
            struct strbuf b = {0};
            if (!str_eq(d->input, w->input) || told_by_another(list, d))
                continue;
            add_clause(&b, !d->from ? w->added : !d->to ? w->removed : w->changed, d);
            push(clauses, &b);
        }
}

/* Bases that are in one list only, or in both with other content. */
static void tell_bases(strvec *clauses, const differences *list)
{
    cleanup_strvec strvec moved = {0}, added = {0}, removed = {0};
    VEC_FOREACH (list, d)
        if (str_eq(d->kind, "base"))
            strvec_add(!d->from ? &added : !d->to ? &removed : &moved, familiar(d->name));
    cleanup_free char *m = some_names(&moved), *a = some_names(&added), *r = some_names(&removed);
    struct strbuf b = {0};
    if (moved.n) {
        strbuf_addf(&b, moved.n == 1 ? "base %s has new content" : "bases %s have new content", m);
        push(clauses, &b);
    }
    if (added.n && removed.n)
        strbuf_addf(&b, "it is built on %s now, no longer on %s", a, r);
    else if (added.n)
        strbuf_addf(&b, "it is built on %s now", a);
    else if (removed.n)
        strbuf_addf(&b, "it is built on %s no longer", r);
    if (b.n)
        push(clauses, &b);
}

static void tell_one_named(strvec *clauses, const char *what, const struct difference *d)
{
    struct strbuf b = {0};
    strbuf_addf(&b, "%s %s", what, d->name);
    add_clause(&b, !d->from ? " is new: %2" : !d->to ? " is gone" : " changed from %1 to %2", d);
    push(clauses, &b);
}

static void tell_named(strvec *clauses, const differences *list, size_t kind)
{
    cleanup_strvec strvec names = {0};
    VEC_FOREACH (list, d)
        if (str_eq(d->kind, named[kind].kind)) {
            if (count(list, d->kind) <= TOLD_SINGLY)
                tell_one_named(clauses, named[kind].one, d);
            else
                strvec_add(&names, d->name);
        }
    if (!names.n)
        return;
    cleanup_free char *some = some_names(&names);
    struct strbuf b = {0};
    strbuf_addf(&b, "%zu %s changed (%s)", names.n, named[kind].many, some);
    push(clauses, &b);
}

/* Inputs of a release that this one does not know. */
static void tell_unknown(strvec *clauses, const differences *list)
{
    VEC_FOREACH (list, d) {
        if (*d->name || words_of(d->input))
            continue;
        struct strbuf b = {0};
        strbuf_add(&b, d->input);
        add_clause(&b,
                   !d->from ? " is new: %2"
                   : !d->to ? " is gone"
                            : " changed from %1 to %2",
                   d);
        push(clauses, &b);
    }
}

char *key_difference(const char *old_inputs, const char *new_inputs, bool *ret_bases_alone)
{
    json_t *before = json_loads(old_inputs, 0, NULL), *after = json_loads(new_inputs, 0, NULL);
    differences list = {0};
    cleanup_strvec strvec clauses = {0};
    compare(before, after, &list);
    tell_single(&clauses, &list);
    tell_bases(&clauses, &list);
    for (size_t i = 0; i < N_NAMED; i++)
        tell_named(&clauses, &list, i);
    tell_unknown(&clauses, &list);
    *ret_bases_alone = list.n && count(&list, "base") == list.n;
    vec_free(&list);
    json_decref(before);
    json_decref(after);
    return clauses.n ? enumerate(&clauses) : NULL;
}
