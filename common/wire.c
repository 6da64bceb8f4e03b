#include "common/wire.h"

#include "common/platform.h"

#include <ctype.h>
#include <errno.h>

/* ---- forms of texts ---- */

bool wire_lease_id_valid(const char *s)
{
    size_t n = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");
    return n > 0 && n <= 64 && s[n] == '\0';
}

static bool is_filled(const char *s)
{
    return *s != '\0';
}

/* For what goes into a header or a URL: printable ASCII, no space. */
static bool is_word(const char *s)
{
    if (!*s)
        return false;
    for (; *s; s++)
        if (*s <= ' ' || *s > '~')
            return false;
    return true;
}

static bool is_digest(const char *s)
{
    return strncmp(s, "sha256:", 7) == 0 && strspn(s + 7, "0123456789abcdef") == 64 &&
           s[7 + 64] == '\0';
}

static bool is_platform(const char *s)
{
    enum platform p;
    return platform_parse(s, &p, NULL) == 0;
}

static bool is_variable(const char *s)
{
    return *s && !strchr(s, '=');
}

/* A path that stays below the folder that it is relative to. */
static bool is_inner_path(const char *s)
{
    if (!*s || *s == '/')
        return false;
    for (const char *part = s; part;) {
        size_t n = strcspn(part, "/");
        if (n == 2 && strncmp(part, "..", 2) == 0)
            return false;
        part = part[n] ? part + n + 1 : NULL;
    }
    return true;
}

/* ---- tables ---- */

#define SAFE_INT   ((INT64_C(1) << 53) - 1)
#define TEXT_SHORT 128
#define TEXT_NAME  512
#define TEXT_LONG  (64 * 1024)
#define MAX_ARGS   1024

#define TYPE(T, words, most, checker)                                                              \
    const struct wire_type *T##_type(void)                                                         \
    {                                                                                              \
        static const struct wire_type type = {.name = words,                                       \
                                              .size = sizeof(struct T),                            \
                                              .max_text = (most),                                  \
                                              .fields = T##_fields,                                \
                                              .n = sizeof(T##_fields) / sizeof(*T##_fields),       \
                                              .check = checker};                                   \
        return &type;                                                                              \
    }

/* FIELD(struct, member, kind, …): the member's name is the JSON's. */
#define FIELD(T, m, k, ...)                                                                        \
    {                                                                                              \
        .name = #m, .kind = WIRE_##k, .offset = offsetof(struct T, m), __VA_ARGS__                 \
    }
#define COUNT(T, m, ...) FIELD(T, m, INT, .max = SAFE_INT, __VA_ARGS__)
#define DIGEST(T, m, ...)                                                                          \
    FIELD(T, m, STRING, .text = 71, FORM(is_digest, "a sha256 digest"), __VA_ARGS__)
#define VERSION                                                                                    \
    {                                                                                              \
        .name = "version", .kind = WIRE_VERSION                                                    \
    }
#define FORM(f, words) .valid = f, .expected = words
#define OF(T)          .type = T##_type
#define NULLABLE       .flags = WIRE_NULLABLE
#define OPTIONAL       .flags = WIRE_OPTIONAL
#define FILLED         FORM(is_filled, "a text that is not empty")
#define WORD           FORM(is_word, "a word of printable ASCII")
#define LEASE_ID       .text = 64, FORM(wire_lease_id_valid, "a lease's id")

static const char *const held_states[] = {"running", "finished", NULL};

static const struct wire_field wire_held_fields[] = {
    FIELD(wire_held, lease, STRING, LEASE_ID),
    COUNT(wire_held, epoch, .min = 1),
    FIELD(wire_held, state, ENUM, .names = held_states),
};
TYPE(wire_held, "held lease", 4096, NULL)

static const struct wire_field wire_facts_fields[] = {
    FIELD(wire_facts, platforms, STRINGS, .limit = 16, .text = TEXT_SHORT, WORD),
    FIELD(wire_facts, emulated, STRINGS, .limit = 16, .text = TEXT_SHORT, WORD),
    FIELD(wire_facts, slots, INT, .max = WIRE_MAX_SLOTS),
    FIELD(wire_facts, cpus, INT, .min = 1, .max = 65536),
    COUNT(wire_facts, memory, .min = 0),
    FIELD(wire_facts, machine, STRING, .text = TEXT_SHORT, FILLED),
    FIELD(wire_facts, kernel, STRING, .text = TEXT_SHORT, FILLED),
    FIELD(wire_facts, page_size, INT, .min = 1, .max = 1 << 30),
    FIELD(wire_facts, kinds, STRINGS, .limit = 16, .text = TEXT_SHORT, WORD),
    FIELD(wire_facts, builders, MAP, .limit = 16, .text = TEXT_SHORT, WORD),
    FIELD(wire_facts, sandbox, STRINGS, .limit = 32, .text = TEXT_SHORT, WORD),
    FIELD(wire_facts, labels, STRINGS, .limit = 64, .text = TEXT_SHORT, WORD),
};
TYPE(wire_facts, "facts", 64 * 1024, NULL)

static const struct wire_field wire_session_request_fields[] = {
    VERSION,
    FIELD(wire_session_request, agent, STRING, .text = TEXT_SHORT, WORD),
    FIELD(wire_session_request, boot, STRING, .text = TEXT_SHORT, WORD),
    FIELD(wire_session_request, facts, OBJECT, OF(wire_facts)),
    FIELD(wire_session_request, held, LIST, .limit = WIRE_MAX_HELD, OF(wire_held)),
};
TYPE(wire_session_request, "session request", 512 * 1024, NULL)

static const struct wire_field wire_session_response_fields[] = {
    FIELD(wire_session_response, session, STRING, .text = TEXT_SHORT, WORD),
    FIELD(wire_session_response, board, STRING, .text = TEXT_SHORT, WORD),
    FIELD(wire_session_response, cancel, STRINGS, .limit = WIRE_MAX_HELD, LEASE_ID),
    FIELD(wire_session_response, term_ms, INT, .min = 1, .max = 86400000),
    FIELD(wire_session_response, poll_ms, INT, .max = 3600000),
};
TYPE(wire_session_response, "session answer", 128 * 1024, NULL)

static const struct wire_field wire_poll_request_fields[] = {
    VERSION,
    FIELD(wire_poll_request, session, STRING, .text = TEXT_SHORT, WORD),
    COUNT(wire_poll_request, seq, .min = 0),
    FIELD(wire_poll_request, held, LIST, .limit = WIRE_MAX_HELD, OF(wire_held)),
    FIELD(wire_poll_request, free, INT, .max = WIRE_MAX_SLOTS),
    FIELD(wire_poll_request, load, REAL, .max = 1000000),
    FIELD(wire_poll_request, temperature, REAL, .min = -1000, .max = 1000, NULLABLE),
    COUNT(wire_poll_request, disk_free, .min = 0),
    COUNT(wire_poll_request, memory_free, .min = 0),
    FIELD(wire_poll_request, draining, BOOL),
};
TYPE(wire_poll_request, "poll request", 256 * 1024, NULL)

static const struct wire_field wire_base_fields[] = {
    FIELD(wire_base, reference, STRING, .text = TEXT_NAME, WORD),
    FIELD(wire_base, repository, STRING, .text = TEXT_NAME, WORD),
    DIGEST(wire_base, digest),
};
TYPE(wire_base, "base", 4096, NULL)

static const struct wire_field wire_context_fields[] = {DIGEST(wire_context, id)};
TYPE(wire_context, "context", 4096, NULL)

static const struct wire_field wire_previous_fields[] = {
    DIGEST(wire_previous, manifest),
    DIGEST(wire_previous, content),
};
TYPE(wire_previous, "previous output", 4096, NULL)

static const char *const job_kinds[] = {"rootfs", "dockerfile", NULL};
static const char *const media_types[] = {"oci", "docker", NULL};
static const char *const compressions[] = {"gzip", "zstd", NULL};

#define SOME_STRINGS .limit = MAX_ARGS, .text = TEXT_LONG
static const struct wire_field wire_job_fields[] = {
    DIGEST(wire_job, key),
    FIELD(wire_job, image, STRING, .text = TEXT_NAME, FILLED),
    FIELD(wire_job, track, STRING, .text = 2 * TEXT_NAME, FILLED),
    FIELD(wire_job, repository, STRING, .text = TEXT_NAME, WORD),
    FIELD(wire_job, platform, STRING, .text = TEXT_SHORT, FORM(is_platform, "a known platform")),
    FIELD(wire_job, emulated, BOOL),
    FIELD(wire_job, kind, ENUM, .names = job_kinds),
    FIELD(wire_job, context, OBJECT, OF(wire_context), NULLABLE),
    COUNT(wire_job, epoch, .min = 0),
    FIELD(wire_job, script, STRING, .text = TEXT_LONG, FILLED, NULLABLE),
    FIELD(wire_job, variant, STRING, .text = TEXT_NAME, NULLABLE),
    FIELD(wire_job, builder, STRING, .text = TEXT_NAME, WORD, NULLABLE),
    FIELD(wire_job, dockerfile, STRING, .text = 4096, FORM(is_inner_path, "a path in the context"),
          NULLABLE),
    FIELD(wire_job, target, STRING, .text = TEXT_NAME, NULLABLE),
    FIELD(wire_job, args, MAP, SOME_STRINGS, FORM(is_variable, "a variable's name")),
    FIELD(wire_job, bases, LIST, .limit = 256, OF(wire_base)),
    FIELD(wire_job, cmd, STRINGS, SOME_STRINGS, NULLABLE),
    FIELD(wire_job, entrypoint, STRINGS, SOME_STRINGS, NULLABLE),
    FIELD(wire_job, env, MAP, SOME_STRINGS, FORM(is_variable, "a variable's name")),
    FIELD(wire_job, labels, MAP, SOME_STRINGS, FILLED),
    FIELD(wire_job, workdir, STRING, .text = 4096, NULLABLE),
    FIELD(wire_job, user, STRING, .text = TEXT_NAME, NULLABLE),
    FIELD(wire_job, test, STRING, .text = TEXT_LONG, FILLED, NULLABLE),
    FIELD(wire_job, media_type, ENUM, .names = media_types),
    FIELD(wire_job, compression, ENUM, .names = compressions),
    COUNT(wire_job, timeout_ms, .min = 1),
    FIELD(wire_job, no_cache, BOOL),
    FIELD(wire_job, previous, OBJECT, OF(wire_previous), NULLABLE),
};

static int job_check(const void *value, struct err *err)
{
    const struct wire_job *job = value;
    if (job->kind == WIRE_JOB_ROOTFS && !job->script)
        return err_set(err, -EINVAL, "kind rootfs needs a script");
    if (job->kind == WIRE_JOB_DOCKERFILE && !job->dockerfile)
        return err_set(err, -EINVAL, "kind dockerfile needs a dockerfile");
    if (job->kind == WIRE_JOB_DOCKERFILE && !job->context)
        return err_set(err, -EINVAL, "kind dockerfile needs a context");
    return 0;
}
TYPE(wire_job, "job", 1024 * 1024, job_check)

static const struct wire_field wire_lease_fields[] = {
    FIELD(wire_lease, lease, STRING, LEASE_ID),
    COUNT(wire_lease, epoch, .min = 1),
    FIELD(wire_lease, secret, STRING, .text = TEXT_NAME, WORD),
    FIELD(wire_lease, job, OBJECT, OF(wire_job), .as_text = offsetof(struct wire_lease, job_text)),
};
TYPE(wire_lease, "lease", 1024 * 1024 + 4096, NULL)

static const struct wire_field wire_poll_response_fields[] = {
    COUNT(wire_poll_response, seq, .min = 0),
    FIELD(wire_poll_response, leases, LIST, .limit = WIRE_MAX_SLOTS, OF(wire_lease)),
    FIELD(wire_poll_response, cancel, STRINGS, .limit = WIRE_MAX_HELD, LEASE_ID),
};
TYPE(wire_poll_response, "poll answer", 8 * 1024 * 1024, NULL)

static const struct wire_field wire_descriptor_fields[] = {
    DIGEST(wire_descriptor, digest),
    COUNT(wire_descriptor, size, .min = 0),
    FIELD(wire_descriptor, media_type, STRING, .text = TEXT_NAME, WORD),
};
TYPE(wire_descriptor, "descriptor", 4096, NULL)

static const struct wire_field wire_timings_fields[] = {
    COUNT(wire_timings, context, .min = 0), COUNT(wire_timings, pull, .min = 0),
    COUNT(wire_timings, recipe, .min = 0),  COUNT(wire_timings, layer, .min = 0),
    COUNT(wire_timings, test, .min = 0),    COUNT(wire_timings, push, .min = 0),
};
TYPE(wire_timings, "timings", 4096, NULL)

static const struct wire_field wire_package_fields[] = {
    FIELD(wire_package, manager, STRING, .text = TEXT_SHORT, WORD),
    FIELD(wire_package, name, STRING, .text = TEXT_NAME, FILLED),
    FIELD(wire_package, version, STRING, .text = TEXT_NAME),
    FIELD(wire_package, architecture, STRING, .text = TEXT_SHORT),
};
TYPE(wire_package, "package", 4096, NULL)

static const char *const outcomes[] = {"succeeded", "failed", "cancelled", "lost", NULL};
static const char *const failures[] = {"",       "infra",    "recipe", "timeout",
                                       "memory", "rejected", NULL};

const char *wire_outcome_name(enum wire_outcome outcome)
{
    return outcomes[outcome];
}

const char *wire_failure_name(enum wire_failure kind)
{
    return failures[kind];
}

#define PACKAGES .limit = WIRE_MAX_PACKAGES, OF(wire_package)
static const struct wire_field wire_result_fields[] = {
    VERSION,
    COUNT(wire_result, epoch, .min = 1),
    FIELD(wire_result, outcome, ENUM, .names = outcomes),
    FIELD(wire_result, kind, ENUM, .names = failures, NULLABLE),
    FIELD(wire_result, reason, STRING, .text = 8192, NULLABLE),
    FIELD(wire_result, manifest, OBJECT, OF(wire_descriptor), NULLABLE),
    DIGEST(wire_result, config_digest, NULLABLE),
    DIGEST(wire_result, content_digest, NULLABLE),
    FIELD(wire_result, layers, LIST, .limit = 512, OF(wire_descriptor)),
    FIELD(wire_result, timings, OBJECT, OF(wire_timings)),
    FIELD(wire_result, packages, LIST, PACKAGES),
    FIELD(wire_result, build_root, LIST, PACKAGES, NULLABLE),
    COUNT(wire_result, log_size, OPTIONAL),
    FIELD(wire_result, reused_previous, BOOL),
};

static int result_check(const void *value, struct err *err)
{
    const struct wire_result *r = value;
    if (r->outcome == WIRE_FAILED && r->kind == WIRE_FAILURE_NONE)
        return err_set(err, -EINVAL, "outcome failed needs a kind");
    if (r->outcome == WIRE_SUCCEEDED && !(r->manifest && r->config_digest && r->content_digest))
        return err_set(err, -EINVAL,
                       "outcome succeeded needs manifest, config_digest and content_digest");
    return 0;
}
TYPE(wire_result, "result", 16 * 1024 * 1024, result_check)

static const struct wire_field wire_log_answer_fields[] = {
    COUNT(wire_log_answer, received, .min = 0),
    COUNT(wire_log_answer, durable, OPTIONAL),
};
TYPE(wire_log_answer, "log answer", 4096, NULL)

static const struct wire_field wire_error_fields[] = {
    FIELD(wire_error, error, STRING, .text = TEXT_LONG),
};
TYPE(wire_error, "error answer", TEXT_LONG * 2, NULL)
