/* Any bytes as a Dockerfile: no crash, no unbounded work; and what is rewritten can be read again and
 * names nothing but local images. */
#include "common/dockerfile.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char *local_name(const struct dockerfile_reference *reference, void *arg)
{
    assert(reference->name && reference->line > 0);
    return "localhost/local";
}

/* What the build needs of the text; 0 when it could be worked out. */
static int plan_of(const char *text, size_t n, const char *target, struct dockerfile **ret,
                   struct dockerfile_plan *ret_plan)
{
    static const struct dockerfile_arg args[] = {{"A", "debian"}, {"EMPTY", ""}};
    struct dockerfile_options options = {
        .platform = PLATFORM_ARM_V7, .target = target, .args = args, .n_args = 2};
    struct err err = ERR_INIT;
    int r = dockerfile_parse(text, n, ret, &err);
    if (r == 0)
        r = dockerfile_resolve(*ret, &options, ret_plan, &err);
    assert(r == err.code);
    return r;
}

static void check_rewritten(const char *text, const char *target)
{
    cleanup_dockerfile struct dockerfile *again = NULL;
    cleanup_dockerfile_plan struct dockerfile_plan plan = {0};
    int r = plan_of(text, strlen(text), target, &again, &plan);
    assert(r == 0 || r == -E2BIG); /* a local name may be longer */
    VEC_FOREACH (&plan.references, reference)
        assert(str_eq(reference->text, "localhost/local"));
}

static void try_target(const char *text, size_t n, const char *target)
{
    cleanup_dockerfile struct dockerfile *dockerfile = NULL;
    cleanup_dockerfile_plan struct dockerfile_plan plan = {0};
    cleanup_free char *rewritten = NULL;
    struct err err = ERR_INIT;
    if (plan_of(text, n, target, &dockerfile, &plan) < 0)
        return;
    if (dockerfile_check_buildah(dockerfile, &plan, "1.28.2", &err) < 0)
        assert(err.text[0]);
    if (dockerfile_rewrite(dockerfile, &plan, local_name, NULL, &rewritten, &err) == 0)
        check_rewritten(rewritten, target);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    try_target((const char *)data, n, NULL);
    try_target((const char *)data, n, "0");
    return 0;
}
