/* What sheafd and sheaf-git-worker have in common: limits, and how an error's kind travels.
 *
 * One JSON object a line, both ways; the worker answers each request, in order, with the request's id. */
#pragma once

#include <errno.h>
#include <string.h>

#define GIT_REQUEST_MAX    (4 << 20)  /* bytes of a request's line */
#define GIT_ANSWER_MAX     (64 << 20) /* bytes of an answer's line */
#define GIT_REFS_MAX       200000     /* refs that a source may have */
#define GIT_MATCHES_MAX    50000      /* of those, refs that match what is asked for */
#define GIT_DOCKERFILE_MAX (1 << 20)  /* bytes of a Dockerfile */
#define GIT_OID_SIZE       41         /* 40 hex digits and the NUL */

struct git_code {
    const char *name;
    int code;
};

/* "code" of a failure, and the errno that it is in a struct err. */
static const struct git_code git_codes[] = {
    {"network", -ENETUNREACH}, /* not reached, or the connection broke */
    {"auth", -EACCES},         /* reached, and refused: keys, passwords, host keys, certificates */
    {"missing", -ENOENT},      /* no such repository, ref or object */
    {"invalid", -EINVAL},      /* what upstream has cannot be used; or a request without sense */
    {"limit", -EFBIG},         /* larger than we take */
    {"space", -ENOSPC},        /* our disk is full */
    {"busy", -EBUSY},          /* another process holds what is wanted */
    {"io", -EIO},              /* anything else on our side */
};

/* The name for `code`; "io" for one that has none. */
static inline const char *git_code_name(int code)
{
    for (size_t i = 0; i < sizeof(git_codes) / sizeof(*git_codes); i++) {
        if (git_codes[i].code == code)
            return git_codes[i].name;
    }
    return "io";
}

/* The errno for `name`; -EPROTO for one that is unknown. */
static inline int git_code_errno(const char *name)
{
    for (size_t i = 0; i < sizeof(git_codes) / sizeof(*git_codes); i++) {
        if (strcmp(git_codes[i].name, name) == 0)
            return git_codes[i].code;
    }
    return -EPROTO;
}
