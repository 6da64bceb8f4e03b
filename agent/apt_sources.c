#include "agent/apt_sources.h"

#include "agent/run.h"

#include <errno.h>

#define KEYRING "/usr/share/keyrings/debian-archive-keyring.gpg"

char *apt_host_suite(void)
{
    cleanup_fclose FILE *f = fopen("/etc/os-release", "re");
    char line[512], name[64];
    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "VERSION_CODENAME=%63[a-z]", name) == 1 ||
            sscanf(line, "VERSION_CODENAME=\"%63[a-z]\"", name) == 1)
            return xstrdup(name);
    return NULL;
}

bool apt_is_debian_suite(const char *name)
{
    static const char *const suites[] = {"buster",    "bullseye", "bookworm", "trixie",
                                         "forky",     "duke",     "sid",      "oldoldstable",
                                         "oldstable", "stable",   "testing",  "unstable"};
    for (size_t i = 0; name && i < sizeof(suites) / sizeof(*suites); i++)
        if (str_eq(suites[i], name))
            return true;
    return false;
}

/* Appends the source line for one target of the machine's, if it serves what is wanted. */
static void consider(const char *uri, const char *release, const char *host_suite,
                     const char *suite, strvec *lines)
{
    size_t n = strlen(host_suite);
    if (strncmp(release, host_suite, n) != 0)
        return;
    const char *extra = release + n; /* "", "-updates", "-security", "-backports" */
    bool own = str_eq(suite, host_suite);
    if (*extra && !(own && (str_eq(extra, "-updates") || str_eq(extra, "-security"))))
        return;
    cleanup_free char *line =
        xasprintf("deb [signed-by=" KEYRING "] %s %s%s main", uri, suite, extra);
    if (strvec_has(lines, line))
        return;
    strvec_add(lines, line);
    if (!*extra && lines->n > 1) { /* the release itself comes first */
        char *last = lines->items[lines->n - 1];
        memmove(lines->items + 1, lines->items, (lines->n - 1) * sizeof(char *));
        lines->items[0] = last;
    }
}

void apt_sources_parse(const char *text, const char *host_suite, const char *suite,
                       strvec *ret_lines)
{
    cleanup_free char *copy = xstrdup(text);
    char *save = NULL;
    for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *field[4] = {line};
        int n = 1;
        for (char *p = line; n < 4 && (p = strchr(p, '|')); field[n++] = p)
            *p++ = '\0';
        /* Before a first apt-get update there is no origin: apt prints the name of the field. */
        if (n == 4 && str_eq(field[2], "main") &&
            (str_eq(field[3], "Debian") || !*field[3] || field[3][0] == '$'))
            consider(field[0], field[1], host_suite, suite, ret_lines);
    }
}

/* What apt says of the index files of its sources; without `release_info` also of those never fetched. */
static int ask_apt(bool release_info, struct strbuf *out, struct err *err)
{
    const char *const argv[] = {"apt-get",
                                "indextargets",
                                "--format",
                                "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)",
                                "Created-By: Packages",
                                release_info ? NULL : "--no-release-info",
                                NULL};
    return run_capture(argv, out, err);
}

int apt_sources_for(const char *suite, strvec *ret_lines, struct err *err)
{
    cleanup_free char *host = apt_host_suite();
    for (int release_info = 1; host && ret_lines->n == 0 && release_info >= 0; release_info--) {
        cleanup_strbuf struct strbuf out = {0};
        int r = ask_apt(release_info, &out, err);
        if (r < 0)
            return r;
        apt_sources_parse(strbuf_str(&out), host, suite, ret_lines);
    }
    if (ret_lines->n == 0)
        return err_set(err, -ENOENT,
                       "this machine's apt names no Debian mirror for its own release");
    return 0;
}

int apt_options(strvec *ret_lines, struct err *err)
{
    static const char *const argv[] = {"apt-config", "dump", "--no-empty", NULL};
    static const char *const wanted[] = {
        "Acquire::http::", "Acquire::https::",  "Acquire::Retries ",
        "Acquire::Check-", "Acquire::ForceIPv", "Acquire::Max-FutureTime "};
    cleanup_strbuf struct strbuf out = {0};
    int r = run_capture(argv, &out, err);
    if (r < 0)
        return r;
    char *save = NULL;
    for (char *line = strtok_r(out.s, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++)
            if (str_starts(line, wanted[i]))
                strvec_add(ret_lines, line);
    return 0;
}
