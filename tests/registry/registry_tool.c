/* Drives the registry client for the tests: commands come as JSON lists on standard input, one a line, and
 * each gives a line of JSON. One process is one client, so tokens and connections last.
 *
 * usage: registry-tool HOST [USER PASSWORD]      environment: RETRY_MS, RETRY_MAX_MS,
 * ENDPOINT, PIN, CA_FILE */
#include "common/http_sync.h"
#include "common/json.h"
#include "common/log.h"
#include "common/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

static struct http_sync *http;
static struct registry *registry;

/* A file that a command has open. */
static int fd = -1;

static const char *word(const json_t *command, size_t i)
{
    return json_string_value(json_array_get(command, i));
}

static int64_t number(const json_t *command, size_t i)
{
    return json_integer_value(json_array_get(command, i));
}

static int64_t open_file(const char *path, int flags)
{
    struct stat st;
    fd = open(path, flags | O_CLOEXEC, 0644);
    return fd < 0 || fstat(fd, &st) < 0 ? -1 : st.st_size;
}

/* put REPOSITORY REFERENCE TYPE TEXT ONCE */
static struct registry_op *start_put(const json_t *c)
{
    struct registry_put put = {.repository = word(c, 1),
                               .reference = word(c, 2),
                               .media_type = word(c, 3),
                               .body = word(c, 4),
                               .size = strlen(word(c, 4)),
                               .once = json_is_true(json_array_get(c, 5))};
    return registry_manifest_put(registry, &put, NULL, NULL);
}

/* blob-put REPOSITORY DIGEST FILE FROM CHUNK */
static struct registry_op *start_blob_put(const json_t *c)
{
    struct registry_upload upload = {.repository = word(c, 1),
                                     .digest = word(c, 2),
                                     .mount_from = word(c, 4),
                                     .chunk = number(c, 5)};
    int64_t size = open_file(word(c, 3), O_RDONLY);
    upload.body = http_body_fd(fd, 0, size);
    return registry_blob_put(registry, &upload, NULL, NULL);
}

/* blob-text REPOSITORY DIGEST TEXT */
static struct registry_op *start_blob_text(const json_t *c)
{
    struct registry_upload upload = {.repository = word(c, 1),
                                     .digest = word(c, 2),
                                     .body = http_body_memory(word(c, 3), strlen(word(c, 3)))};
    return registry_blob_put(registry, &upload, NULL, NULL);
}

/* blob-get REPOSITORY DIGEST SIZE FILE, or into memory without FILE */
static struct registry_op *start_blob_get(const json_t *c)
{
    struct http_sink sink = http_sink_memory(1024);
    if (word(c, 4)) {
        open_file(word(c, 4), O_WRONLY | O_CREAT | O_TRUNC);
        sink = http_sink_fd(fd);
    }
    return registry_blob_get(registry, word(c, 1), word(c, 2), number(c, 3), sink, NULL, NULL);
}

static struct registry_op *start(const json_t *c)
{
    const char *verb = word(c, 0);
    if (str_eq(verb, "ping"))
        return registry_ping(registry, NULL, NULL);
    if (str_eq(verb, "tags"))
        return registry_tags(registry, word(c, 1), NULL, NULL);
    if (str_eq(verb, "head"))
        return registry_manifest_head(registry, word(c, 1), word(c, 2), NULL, NULL);
    if (str_eq(verb, "get"))
        return registry_manifest_get(registry, word(c, 1), word(c, 2), NULL, NULL);
    if (str_eq(verb, "put"))
        return start_put(c);
    if (str_eq(verb, "delete"))
        return registry_manifest_delete(registry, word(c, 1), word(c, 2), NULL, NULL);
    if (str_eq(verb, "blob-head"))
        return registry_blob_head(registry, word(c, 1), word(c, 2), NULL, NULL);
    if (str_eq(verb, "blob-get"))
        return start_blob_get(c);
    if (str_eq(verb, "blob-put"))
        return start_blob_put(c);
    if (str_eq(verb, "blob-text"))
        return start_blob_text(c);
    if (str_eq(verb, "mount"))
        return registry_blob_mount(registry, word(c, 1), word(c, 2), word(c, 3), NULL, NULL);
    fprintf(stderr, "unknown command\n");
    exit(2);
}

static json_t *answer(const struct registry_result *r, const struct err *err)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    json_t *tags = json_array();
    VEC_FOREACH (&r->tags, t)
        json_array_append_new(tags, json_string(*t));
    return json_pack("{s:s?,s:s,s:b,s:s,s:s?,s:I,s:s,s:b,s:b,s:b,s:I,s:o,s:I}", "error",
                     err->code ? strerrorname_np(-err->code) : NULL, "text", err->text, "retryable",
                     err->retryable, "digest", r->digest, "media_type", r->media_type, "size",
                     (json_int_t)r->size, "body", strbuf_str(&r->body), "existed", r->existed,
                     "mounted", r->mounted, "unknown", r->unknown, "retry_after_ms",
                     (json_int_t)r->retry_after_ms, "tags", tags, "peak_kb",
                     (json_int_t)usage.ru_maxrss);
}

static void serve(const char *line, size_t n)
{
    cleanup_registry_result struct registry_result result = {0};
    struct err err = ERR_INIT;
    cleanup_json json_t *command = NULL;
    if (json_parse(line, n, 1 << 20, &command, &err) == 0)
        err.code = registry_wait(start(command), &result, &err);
    if (fd >= 0)
        close(steal_fd(&fd));
    cleanup_json json_t *out = answer(&result, &err);
    cleanup_free char *text = json_canonical(out);
    puts(text);
    fflush(stdout);
}

static int64_t setting(const char *name, int64_t otherwise)
{
    const char *s = getenv(name);
    return s ? atoll(s) : otherwise;
}

int main(int argc, char **argv)
{
    cleanup_free char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    if (argc < 2)
        return 2;
    http = http_sync_new();
    registry =
        registry_new(http_sync_client(http), &(struct registry_options){
                                                 .host = argv[1],
                                                 .endpoint = getenv("ENDPOINT"),
                                                 .pin = getenv("PIN"),
                                                 .ca_file = getenv("CA_FILE"),
                                                 .username = argc > 3 ? argv[2] : NULL,
                                                 .password = argc > 3 ? argv[3] : NULL,
                                                 .retry_ms = setting("RETRY_MS", 20),
                                                 .retry_max_ms = setting("RETRY_MAX_MS", 2000),
                                             });
    while ((n = getline(&line, &cap, stdin)) > 0)
        serve(line, (size_t)n);
    registry_free(registry);
    http_sync_free(http);
    return 0;
}
