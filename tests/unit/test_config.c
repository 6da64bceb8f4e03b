#include "daemon/config.h"

#include "tests/lib/test.h"

#include <fcntl.h>
#include <sys/stat.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static char dir[] = "/tmp/sheaf-test-config-XXXXXX";
static strvec written;

/* Writes a file below the test's folder; its path is the caller's. */
static char *put(const char *name, const char *text)
{
    char *path = xasprintf("%s/%s", dir, name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    if (!strvec_has(&written, path))
        strvec_add(&written, path);
    return path;
}

static char *slurp(const char *path)
{
    cleanup_fclose FILE *f = fopen(path, "re");
    struct strbuf out = {0};
    char block[4096];
    size_t n;
    if (!f)
        fail_msg("%s: %s", path, strerror(errno));
    while ((n = fread(block, 1, sizeof(block), f)) > 0)
        strbuf_addn(&out, block, n);
    return strbuf_steal(&out);
}

/* All errors of a file, one a line; "" when it is accepted. */
static char *errors_of(const char *path, struct farm **ret_farm)
{
    cleanup_strvec strvec errors = {0};
    struct strbuf out = {0};
    if (config_read(path, ret_farm, NULL, &errors) == 0)
        return xstrdup("");
    VEC_FOREACH (&errors, line)
        strbuf_addf(&out, "%s%s", out.n ? "\n" : "", *line);
    return strbuf_steal(&out);
}

/* Calls `check` for each case of a file: lines "=== header", then YAML up to the next. */
static void each_case(const char *file, void (*check)(const char *header, const char *yaml))
{
    cleanup_free char *path = xasprintf("%s/%s", TEST_CONFIG_DIR, file);
    cleanup_free char *text = slurp(path);
    char *at = strstr(text, "=== ");
    int count = 0;
    while (at) {
        char *header = at + 4, *yaml = strchr(header, '\n');
        assert_non_null(yaml);
        *yaml++ = '\0';
        char *next = str_starts(yaml, "=== ") ? yaml : strstr(yaml, "\n=== ");
        if (next && *next == '\n')
            *++next = '\0', next[-1] = '\n';
        cleanup_free char *one = next ? xstrndup(yaml, (size_t)(next - yaml)) : xstrdup(yaml);
        at = next;
        if (at)
            *at = '=';
        check(header, one);
        count++;
    }
    assert_true(count > 4);
}

static void check_accepted(const char *header, const char *yaml)
{
    cleanup_free char *path = put("farm.yaml", yaml);
    cleanup_farm struct farm *farm = NULL;
    cleanup_free char *errors = errors_of(path, &farm);
    if (*errors)
        fail_msg("%s\n%s", header, errors);
}

static void accepted(void **state)
{
    each_case("accepted.txt", check_accepted);
}

static void check_refused(const char *header, const char *yaml)
{
    cleanup_free char *path = put("farm.yaml", yaml);
    cleanup_farm struct farm *farm = NULL;
    cleanup_free char *errors = errors_of(path, &farm);
    cleanup_free char *expected = xasprintf("%s:%s", path, header + (*header == '*'));
    if (!str_starts(errors, expected) || strchr(errors, '\n'))
        fail_msg("%s\n--- expected %s\n--- got      %s", yaml, expected, errors);
}

static void refused(void **state)
{
    each_case("refused.txt", check_refused);
}

static const char example[] =
    "registry: registry.example.org/osf/\n"
    "platforms: [linux/amd64, linux/arm64, linux/arm/v7]\n"
    "images:\n"
    "  minideb:\n"
    "    source: https://github.com/bitnami/minideb.git\n"
    "    ref: refs/heads/master\n"
    "    variants: [bookworm, trixie]\n"
    "    rootfs: ./mkimage \"$SHEAF_ROOTFS\"\n"
    "    cmd: [/bin/bash]\n"
    "  alpine:\n"
    "    source: https://github.com/alpinelinux/docker-alpine.git\n"
    "    ref: refs/heads/v*\n"
    "    versions: \">=3.19\"\n"
    "    context: $alpine_arch\n"
    "    optional: [linux/arm/v7, linux/arm/v6]\n"
    "    deadline: 12h\n"
    "    history: all\n"
    "  app: {source: https://github.com/bitnami/minideb.git, context: ./}\n"
    "boards:\n"
    "  rpi3-*: { slots: 1, max-temperature: 75, labels: [slow] }\n"
    "sources: {\"https://github.com/bitnami/minideb.git\": {poll: 1m30s}}\n";

static void example_images(const struct farm *farm)
{
    const struct farm_image *minideb = farm_image(farm, "minideb");
    assert_string_equal(minideb->repository, "registry.example.org/osf/minideb");
    assert_int_equal(minideb->kind, FARM_KIND_ROOTFS);
    assert_null(minideb->dockerfile);
    assert_int_equal(minideb->tags.n, 1);
    assert_string_equal(minideb->tags.items[0], "$variant");
    assert_true(minideb->has_cmd && !minideb->has_entrypoint);
    assert_int_equal(minideb->platforms.n, 3);
    assert_int_equal(minideb->timeout_ms, 3600000);
    assert_int_equal(minideb->history, 1);

    const struct farm_image *alpine = farm_image(farm, "alpine");
    assert_string_equal(alpine->tags.items[0], "$version");
    assert_string_equal(alpine->dockerfile, "Dockerfile");
    assert_int_equal(alpine->platforms.n, 2);
    assert_int_equal(alpine->optional.n, 2);
    assert_int_equal(alpine->deadline_ms, 12 * 3600000LL);
    assert_int_equal(alpine->history, FARM_HISTORY_ALL);

    const struct farm_image *app = farm_image(farm, "app");
    assert_string_equal(app->context, "");
    assert_string_equal(app->ref, "HEAD");
    assert_string_equal(app->tags.items[0], "latest");
}

static void values(void **state)
{
    cleanup_free char *path = put("farm.yaml", example);
    cleanup_farm struct farm *farm = NULL;
    struct err err = ERR_INIT;
    if (config_load(path, &farm, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(farm->registry, "registry.example.org/osf");
    assert_string_equal(farm->registry_host, "registry.example.org");
    example_images(farm);

    const struct farm_board_rule *board = farm_board_rule(farm, "rpi3-7");
    assert_int_equal(board->slots, 1);
    assert_int_equal(board->max_temperature, 75);
    assert_int_equal(board->min_disk, 1 << 30);
    assert_string_equal(board->labels.items[0], "slow");

    assert_int_equal(farm->sources.n, 2);
    assert_int_equal(farm_source(farm, farm_image(farm, "app")->source)->poll_ms, 90000);
    assert_int_equal(farm_source(farm, farm_image(farm, "alpine")->source)->poll_ms, 300000);
    assert_string_equal(farm_registry(farm, "registry.example.org")->endpoint,
                        "https://registry.example.org");
    assert_string_equal(farm_registry(farm, "docker.io")->endpoint, "https://registry-1.docker.io");
    assert_int_equal(farm->listen_agents.port, 7430);
    assert_int_equal(farm->keep, 3);
}

static void loopback_is_plain(void **state)
{
    static const struct {
        const char *yaml, *host, *endpoint;
        bool plain;
    } cases[] = {
        {"registry: 127.0.0.1:5000/osf\n", "127.0.0.1:5000", "http://127.0.0.1:5000", true},
        {"registry: localhost/osf\n", "localhost", "http://localhost", true},
        {"registry: '[::1]:5000/osf'\n", "[::1]:5000", "http://[::1]:5000", true},
        {"registry: r.lan/osf\nregistries: {r.lan: {plain-http: true}}\n", "r.lan", "http://r.lan",
         true},
        {"registry: localhost/osf\nregistries: {localhost: {plain-http: false}}\n", "localhost",
         "https://localhost", false},
        {"registry: r.lan/osf\nregistries: {r.lan: {endpoint: 'http://[::1]:1/'}}\n", "r.lan",
         "http://[::1]:1", true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        cleanup_free char *path = put("farm.yaml", cases[i].yaml);
        cleanup_farm struct farm *farm = NULL;
        struct err err = ERR_INIT;
        if (config_load(path, &farm, &err) < 0)
            fail_msg("%s", err.text);
        const struct farm_registry *registry = farm_registry(farm, cases[i].host);
        assert_string_equal(registry->endpoint, cases[i].endpoint);
        assert_int_equal(registry->plain_http, cases[i].plain);
    }
}

static void expect_error(const char *path, const char *part)
{
    cleanup_farm struct farm *farm = NULL;
    cleanup_free char *errors = errors_of(path, &farm);
    if (!strstr(errors, part))
        fail_msg("%s\n--- expected %s\n--- got      %s", path, part, errors);
}

static void includes(void **state)
{
    cleanup_free char *main_file =
        put("farm.yaml", "registry: r.example/osf\nplatforms: [linux/amd64]\n"
                         "include: [one.yaml, 'conf-*.yaml', 'none-*.yaml']\n"
                         "images: {a: {source: /srv/a}}\nboards: {x: {slots: 1}}\n");
    free(put("one.yaml", "images: {b: {source: /srv/a}}\n"));
    free(put("conf-2.yaml", "boards: {y: {slots: 2}}\n"));
    free(put("conf-3.yaml", "# nothing\n"));
    cleanup_farm struct farm *farm = NULL;
    struct err err = ERR_INIT;
    if (config_load(main_file, &farm, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(farm->images.n, 2);
    assert_int_equal(farm->sources.n, 1);
    assert_int_equal(farm_board_rule(farm, "y")->slots, 2);

    free(put("conf-3.yaml", "images: {b: {source: /srv/b}}\n"));
    expect_error(main_file, "conf-3.yaml:1:10: images.b: given twice; it is at");
    expect_error(main_file, "one.yaml:1:10 already, leave one out");
    free(put("conf-3.yaml", "registry: r.example/other\n"));
    expect_error(main_file, "conf-3.yaml:1:1: registry: given twice");
    free(put("conf-3.yaml", "include: farm.yaml\n"));
    expect_error(main_file, "conf-3.yaml:1:10: include:");
    expect_error(main_file, "a cycle of includes: ");
    free(put("conf-3.yaml", "include: conf-3.yaml\n"));
    expect_error(main_file, "conf-3.yaml; leave this one out");
    free(put("conf-3.yaml", "include: gone.yaml\n"));
    expect_error(main_file, "gone.yaml: no such file");
    free(put("conf-3.yaml", "include: {a: b}\n"));
    expect_error(main_file, "conf-3.yaml:1:10: include: a mapping, where");
    free(put("conf-3.yaml", "images: [\n"));
    expect_error(main_file, "conf-3.yaml:2:1: yaml: ");
    free(put("conf-3.yaml", ""));
}

static void copies(void **state)
{
    cleanup_free char *main_file =
        put("farm.yaml", "registry: r.example/osf\nplatforms: [linux/amd64]\n"
                         "include: one.yaml\n");
    cleanup_free char *one = put("one.yaml", "images: {b: {source: /srv/a}}\n");
    cleanup_strvec strvec errors = {0};
    cleanup_farm struct farm *farm = NULL, *again = NULL;
    cleanup_free char *copy = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(config_read(main_file, &farm, &copy, &errors), 0);
    unlink(one);
    if (config_load_copy(copy, &again, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(farm_image(again, "b")->repository, "r.example/osf/b");
    assert_int_equal(config_load_copy("[", &again, &err), -EINVAL);
    assert_int_equal(config_load_copy("{}", &again, &err), -EINVAL);
}

static void bad_files(void **state)
{
    cleanup_free char *nowhere = xasprintf("%s/nowhere.yaml", dir);
    expect_error(nowhere, "nowhere.yaml:1:1: file: No such file or directory");
    expect_error(dir, ":1:1: file: cannot be read: Is a directory");
    cleanup_free char *path = put("farm.yaml", "");
    expect_error(path, ":1:1: registry: missing");
    struct strbuf big = {0};
    for (int i = 0; i < 40000; i++)
        strbuf_addf(&big, "key-%d: a value of some length\n", i);
    free(put("farm.yaml", big.s));
    strbuf_done(&big);
    expect_error(path, ":1:1: file: more than 1048576 bytes");
    struct strbuf many = {0};
    for (int i = 0; i < 300; i++)
        strbuf_addf(&many, "key-%d: x\n", i);
    free(put("farm.yaml", many.s));
    strbuf_done(&many);
    expect_error(path, "… and more");
}

/* Anchors that repeat each other, and one that holds itself. */
static void aliases(void **state)
{
    cleanup_free char *path =
        put("farm.yaml", "registry: r.example/osf\nplatforms: &p [linux/amd64]\n"
                         "images:\n  a: &a {source: /srv/a, platforms: *p}\n  b: *a\n");
    cleanup_farm struct farm *farm = NULL;
    cleanup_free char *none = errors_of(path, &farm);
    assert_string_equal(none, "");
    free(put("farm.yaml", "registry: &r [*r]\nimages: &i {a: *i}\n"));
    expect_error(path, "registry: ");
    expect_error(path, "images.a.a: unknown key");
}

static void exit_status(void **state)
{
    cleanup_free char *path = put("farm.yaml", "registry: r.example/osf\n");
    assert_int_equal(config_check_main(path), 0);
    free(put("farm.yaml", "registry: osf\n"));
    int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC), saved = dup(STDERR_FILENO);
    dup2(quiet, STDERR_FILENO);
    int status = config_check_main(path);
    dup2(saved, STDERR_FILENO);
    close(quiet);
    close(saved);
    assert_int_equal(status, 1);
}

static int make_dir(void **state)
{
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    VEC_FOREACH (&written, path)
        unlink(*path);
    strvec_done(&written);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepted),   cmocka_unit_test(refused),
        cmocka_unit_test(values),     cmocka_unit_test(loopback_is_plain),
        cmocka_unit_test(includes),   cmocka_unit_test(copies),
        cmocka_unit_test(bad_files),  cmocka_unit_test(aliases),
        cmocka_unit_test(exit_status)};
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
