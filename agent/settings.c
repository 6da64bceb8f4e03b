#include "agent/settings.h"

#include "common/platform.h"
#include "sheaf-config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#define FILE_MAX (64 * 1024)

struct loader {
    struct settings *settings;
    bool from_file;    /* the value being set comes from the settings file */
    bool file_private; /* and nobody else may read that */
    bool seen[32];     /* by the command line: the file does not override */
};

typedef int (*set_fn)(struct loader *loader, const char *value, struct err *err);

/* ---- values ---- */

static int check_private(int fd, const char *path, struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_errno(err, -errno, "cannot read %s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(err, -EINVAL, "%s is not a file", path);
    if (st.st_mode & 077)
        return err_set(err, -EACCES,
                       "%s holds a secret, but others may read it (mode %04o): chmod 0600 %s", path,
                       (unsigned)st.st_mode & 07777, path);
    if (st.st_uid != 0 && st.st_uid != geteuid())
        return err_set(err, -EACCES, "%s holds a secret, but belongs to another user", path);
    return 0;
}

static int read_text(int fd, const char *path, struct strbuf *ret, struct err *err)
{
    char buf[4096];
    ssize_t n;
    while ((n = read(fd, buf, sizeof(buf))) > 0 && ret->n <= FILE_MAX)
        strbuf_addn(ret, buf, (size_t)n);
    if (n < 0)
        return err_errno(err, -errno, "cannot read %s", path);
    if (ret->n > FILE_MAX || strlen(strbuf_str(ret)) != ret->n)
        return err_set(err, -EINVAL, "%s is no text of at most %d bytes", path, FILE_MAX);
    return 0;
}

/* In place; the start of what is left. */
static char *trim(char *s)
{
    while (isspace((unsigned char)*s))
        s++;
    size_t n = strlen(s);
    while (n > 0 && isspace((unsigned char)s[n - 1]))
        s[--n] = '\0';
    return s;
}

static int set_secret_text(struct settings *settings, char *text, struct err *err)
{
    char *secret = trim(text);
    if (!*secret || strlen(secret) > 512)
        return err_set(err, -EINVAL, "the secret is empty or longer than 512 bytes");
    for (const char *p = secret; *p; p++)
        if (*p <= ' ' || *p > '~')
            return err_set(err, -EINVAL, "the secret is not one word");
    str_replace(&settings->secret, secret);
    return 0;
}

static int set_secret(struct loader *l, const char *value, struct err *err)
{
    if (!l->from_file)
        return err_set(err, -EINVAL, "every user can see a command line: use --secret-file");
    if (!l->file_private)
        return err_set(err, -EACCES, "the file holds a secret, but others may read it: chmod 0600");
    cleanup_free char *text = xstrdup(value);
    return set_secret_text(l->settings, text, err);
}

static int set_secret_file(struct loader *l, const char *value, struct err *err)
{
    cleanup_strbuf struct strbuf text = {0};
    cleanup_close int fd = open(value, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return err_errno(err, -errno, "cannot read %s", value);
    int r = check_private(fd, value, err);
    if (r == 0)
        r = read_text(fd, value, &text, err);
    if (r == 0 && text.n == 0)
        r = err_set(err, -EINVAL, "%s is empty", value);
    if (r == 0)
        r = set_secret_text(l->settings, text.s, err);
    return r;
}

static int set_coordinator(struct loader *l, const char *value, struct err *err)
{
    const char *host = str_starts(value, "http://")    ? value + 7
                       : str_starts(value, "https://") ? value + 8
                                                       : "";
    if (!*host || *host == '/' || strpbrk(value, " \t\"?#@"))
        return err_set(err, -EINVAL, "\"%s\" is not an address such as http://host:7480", value);
    str_replace(&l->settings->coordinator, value);
    for (size_t n = strlen(value); n > 0 && l->settings->coordinator[n - 1] == '/'; n--)
        l->settings->coordinator[n - 1] = '\0';
    return 0;
}

static int set_name(struct loader *l, const char *value, struct err *err)
{
    str_replace(&l->settings->name, value);
    return 0;
}

static int set_state(struct loader *l, const char *value, struct err *err)
{
    if (*value == '/') {
        str_replace(&l->settings->state, value);
        return 0;
    }
    char here[PATH_MAX];
    if (!getcwd(here, sizeof(here)))
        return err_errno(err, -errno, "cannot find the current folder");
    free(l->settings->state);
    l->settings->state = xasprintf("%s/%s", here, value);
    return 0;
}

static int set_helper(struct loader *l, const char *value, struct err *err)
{
    str_replace(&l->settings->helper, value);
    return 0;
}

static int set_builder(struct loader *l, const char *value, struct err *err)
{
    str_replace(&l->settings->builder, value);
    return 0;
}

static int parse_number(const char *value, int64_t min, int64_t max, int64_t *ret, struct err *err)
{
    char *end = NULL;
    errno = 0;
    long long n = isdigit((unsigned char)*value) ? strtoll(value, &end, 10) : -1;
    int shift = 0;
    if (end && *end && !end[1]) {
        const char *units = "KMGT", *unit = strchr(units, toupper((unsigned char)*end));
        shift = unit ? (int)(unit - units + 1) * 10 : 0;
        end += shift > 0;
    }
    bool bad = !end || *end || errno == ERANGE || n > (INT64_MAX >> shift);
    if (bad || n << shift < min || n << shift > max)
        return err_set(err, -EINVAL, "\"%s\" is not a number from %lld to %lld", value,
                       (long long)min, (long long)max);
    *ret = n << shift;
    return 0;
}

static int set_slots(struct loader *l, const char *value, struct err *err)
{
    return parse_number(value, 1, 256, &l->settings->slots, err);
}

static int set_log_limit(struct loader *l, const char *value, struct err *err)
{
    return parse_number(value, 64 * 1024, INT64_C(1) << 40, &l->settings->log_limit, err);
}

static int set_cache_limit(struct loader *l, const char *value, struct err *err)
{
    return parse_number(value, 0, INT64_C(1) << 50, &l->settings->cache_limit, err);
}

static int set_kill_after(struct loader *l, const char *value, struct err *err)
{
    return parse_number(value, 1, 3600, &l->settings->kill_after, err);
}

/* Calls `f` for each part of a list with commas or spaces. */
static int each_word(const char *value, struct loader *l, set_fn f, struct err *err)
{
    cleanup_free char *copy = xstrdup(value);
    char *rest = NULL;
    for (char *word = strtok_r(copy, ", \t", &rest); word; word = strtok_r(NULL, ", \t", &rest)) {
        int r = f(l, word, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int add_label(struct loader *l, const char *word, struct err *err)
{
    if (l->settings->labels.n >= 64 || strlen(word) > 128)
        return err_set(err, -EINVAL, "too many labels, or too long");
    if (!strvec_has(&l->settings->labels, word))
        strvec_add(&l->settings->labels, word);
    return 0;
}

static int set_labels(struct loader *l, const char *value, struct err *err)
{
    return each_word(value, l, add_label, err);
}

static int add_emulated(struct loader *l, const char *word, struct err *err)
{
    enum platform p;
    if (strcmp(word, "all") == 0) {
        strvec_add(&l->settings->emulated, word);
        return 0;
    }
    int r = platform_parse(word, &p, err);
    if (r == 0)
        strvec_add(&l->settings->emulated, platform_info(p)->name);
    return r;
}

static int set_emulated(struct loader *l, const char *value, struct err *err)
{
    return each_word(value, l, add_emulated, err);
}

static int set_log_level(struct loader *l, const char *value, struct err *err)
{
    if (log_set_level_name(value) < 0)
        return err_set(err, -EINVAL, "\"%s\" is not error, warning, info or debug", value);
    str_replace(&l->settings->log_level, value);
    return 0;
}

/* ---- names ---- */

static const struct option {
    const char *name;
    set_fn set;
    bool repeats;
    const char *help;
} options[] = {
    {"coordinator", set_coordinator, false, "URL    where sheafd listens for agents"},
    {"secret-file", set_secret_file, false, "FILE   this board's secret (mode 0600)"},
    {"secret", set_secret, false, NULL},
    {"name", set_name, false, "NAME   what this board calls itself in its log"},
    {"state", set_state, false, "DIR    what is kept (/var/lib/sheaf-agent)"},
    {"slots", set_slots, false, "N      jobs at a time (1)"},
    {"label", set_labels, true, "WORD   a label of this board; may be repeated"},
    {"labels", set_labels, true, NULL},
    {"emulated", set_emulated, true,
     "[LIST] foreign platforms to run by an interpreter; all without LIST"},
    {"log-limit", set_log_limit, false, "SIZE   log kept of one job (64M)"},
    {"cache-limit", set_cache_limit, false, "SIZE   bases and layers kept (4G)"},
    {"builder", set_builder, false, "NAME   builder of Dockerfiles (buildah)"},
    {"kill-after", set_kill_after, false, "SECS   from asking a job to end to killing it (20)"},
    {"helper", set_helper, false, "PATH   the program that does a job (sheaf-job)"},
    {"log-level", set_log_level, false, "LEVEL  error, warning, info or debug"},
};
#define N_OPTIONS (sizeof(options) / sizeof(*options))

static const struct option *find_option(const char *name, size_t n)
{
    for (size_t i = 0; i < N_OPTIONS; i++)
        if (strlen(options[i].name) == n && strncmp(options[i].name, name, n) == 0)
            return &options[i];
    return NULL;
}

static void print_help(void)
{
    puts("sheaf-agent: builds container images on this board for a sheafd.\n\nusage: sheaf-agent "
         "[--config FILE] [--OPTION VALUE]...\n");
    printf("  --%-12s %s\n", "config", "FILE   the options below as `name = value` lines");
    for (size_t i = 0; i < N_OPTIONS; i++)
        if (options[i].help)
            printf("  --%-12s %s\n", options[i].name, options[i].help);
    puts("\nSIGTERM ends the jobs and stops; SIGUSR1 takes no new ones; SIGUSR2 takes them again.");
}

/* ---- the command line and the file ---- */

static int set_line(struct loader *l, char *line, struct err *err)
{
    line = trim(line);
    if (!*line || *line == '#')
        return 0;
    char *equals = strchr(line, '=');
    if (!equals)
        return err_set(err, -EINVAL, "not `name = value`");
    *equals = '\0';
    const char *name = trim(line);
    const struct option *o = find_option(name, strlen(name));
    if (!o)
        return err_set(err, -EINVAL, "unknown setting \"%s\"", name);
    if (l->seen[o - options])
        return 0;
    int r = o->set(l, trim(equals + 1), err);
    return r < 0 ? err_wrap(err, "%s", name) : 0;
}

static int load_file(struct loader *l, const char *path, struct err *err)
{
    cleanup_strbuf struct strbuf text = {0};
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return err_errno(err, -errno, "cannot read %s", path);
    int r = read_text(fd, path, &text, err);
    if (r < 0)
        return r;
    l->from_file = true;
    l->file_private = check_private(fd, path, NULL) == 0;
    int number = 1;
    for (char *line = text.s, *next; line; line = next, number++) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        r = set_line(l, line, err);
        if (r < 0)
            return err_wrap(err, "%s:%d", path, number);
    }
    return 0;
}

static int set_argument(struct loader *l, char **argv, int *at, const char **ret_config,
                        struct err *err)
{
    const char *arg = argv[*at];
    if (!str_starts(arg, "--"))
        return err_set(err, -EINVAL, "unexpected argument \"%s\"; see --help", arg);
    size_t n = strcspn(arg + 2, "=");
    bool is_config = n == 6 && strncmp(arg + 2, "config", 6) == 0;
    const struct option *o = find_option(arg + 2, n);
    if (!o && !is_config)
        return err_set(err, -EINVAL, "unknown option \"%s\"; see --help", arg);
    const char *value = arg[2 + n] == '=' ? arg + 3 + n : argv[*at + 1];
    bool bare = !value || (value == argv[*at + 1] && str_starts(value, "--"));
    if (bare && o && o->set == set_emulated)
        value = "all";
    else if (bare)
        return err_set(err, -EINVAL, "%s wants a value", arg);
    else if (value == argv[*at + 1])
        ++*at;
    if (is_config) {
        *ret_config = value;
        return 0;
    }
    if (!o->repeats)
        l->seen[o - options] = true;
    if (o->set == set_secret_file) /* either spelling */
        l->seen[find_option("secret", 6) - options] = true;
    int r = o->set(l, value, err);
    return r < 0 ? err_wrap(err, "--%s", o->name) : 0;
}

static void set_defaults(struct settings *s)
{
    char host[256] = "board";
    const char *state = getenv("STATE_DIRECTORY"); /* from systemd */
    gethostname(host, sizeof(host) - 1);
    s->name = xstrdup(host);
    s->state = xstrdup(state && *state == '/' ? state : "/var/lib/sheaf-agent");
    s->builder = xstrdup("buildah");
    s->helper = xstrdup(getenv("SHEAF_JOB"));
    s->slots = 1;
    s->kill_after = 20;
    s->log_limit = INT64_C(64) << 20;
    s->cache_limit = INT64_C(4) << 30;
}

static int check_complete(const struct settings *s, struct err *err)
{
    if (!s->coordinator)
        return err_set(err, -EINVAL, "no coordinator: say --coordinator URL or --config FILE");
    if (!s->secret)
        return err_set(err, -EINVAL, "no secret: say --secret-file FILE or --config FILE");
    return 0;
}

static int load(int argc, char **argv, struct settings *ret, struct err *err)
{
    struct loader loader = {.settings = ret};
    const char *config = NULL;
    int r = 0;
    for (int i = 1; i < argc && r == 0; i++)
        r = set_argument(&loader, argv, &i, &config, err);
    if (r == 0 && config)
        r = load_file(&loader, config, err);
    return r < 0 ? r : check_complete(ret, err);
}

int settings_load(int argc, char **argv, struct settings *ret, struct err *err)
{
    *ret = (struct settings){0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            print_help();
            return 1;
        }
        if (strcmp(argv[i], "--version") == 0) {
            puts("sheaf-agent " SHEAF_VERSION);
            return 1;
        }
    }
    set_defaults(ret);
    int r = load(argc, argv, ret, err);
    if (r < 0)
        settings_done(ret);
    return r;
}

void settings_done(struct settings *s)
{
    free(s->coordinator);
    free(s->secret);
    free(s->name);
    free(s->state);
    free(s->helper);
    free(s->builder);
    free(s->log_level);
    strvec_done(&s->labels);
    strvec_done(&s->emulated);
    *s = (struct settings){0};
}
