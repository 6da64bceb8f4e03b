#include "daemon/model/reason.h"

#include <stdarg.h>

const char *const reason_names[] = {
    [REASON_NONE] = "none",
    [REASON_FIRST_BUILD] = "first-build",
    [REASON_INPUT_CHANGED] = "input-changed",
    [REASON_REBUILD_ASKED] = "rebuild-asked",
    [REASON_TRIED_AGAIN] = "tried-again",
    [REASON_RETRY_ASKED] = "retry-asked",
    [REASON_CHILD_MISSING] = "child-missing",
    [REASON_INSPECTING] = "inspecting",
    [REASON_RESOLVING_BASE] = "resolving-base",
    [REASON_BASE_BUILDING] = "base-building",
    [REASON_NO_BOARD] = "no-board",
    [REASON_BOARDS_BUSY] = "boards-busy",
    [REASON_BACKING_OFF] = "backing-off",
    [REASON_RUNNING] = "running",
    [REASON_PUBLISHING] = "publishing",
    [REASON_RETAINING] = "retaining",
    [REASON_REPOSITORY_BUSY] = "repository-busy",
    [REASON_HELD] = "held",
    [REASON_PINNED] = "pinned",
    [REASON_FROZEN] = "frozen",
    [REASON_DORMANT] = "dormant",
    [REASON_OUT_OF_BOUNDS] = "out-of-bounds",
    [REASON_NOT_CONFIGURED] = "not-configured",
    [REASON_REF_DELETED] = "ref-deleted",
    [REASON_REF_IGNORED] = "ref-ignored",
    [REASON_NOT_OFFERED] = "not-offered",
    [REASON_RETIRED] = "retired",
    [REASON_STALE] = "stale",
    [REASON_CONTEXT_GONE] = "context-gone",
    [REASON_CONTEXT_REFUSED] = "context-refused",
    [REASON_DOCKERFILE] = "dockerfile",
    [REASON_BASE_MISSING] = "base-missing",
    [REASON_BASE_CYCLE] = "base-cycle",
    [REASON_SOURCE_AWAY] = "source-away",
    [REASON_REGISTRY_AWAY] = "registry-away",
    [REASON_TAG_CONFLICT] = "tag-conflict",
    [REASON_TAG_MOVED] = "tag-moved",
    [REASON_TAG_DELETED] = "tag-deleted",
    [REASON_RESTORING] = "restoring",
    [REASON_REPOSITORY_STOPPED] = "repository-stopped",
    [REASON_JOB_FAILED] = "job-failed",
    [REASON_SUPERSEDED] = "superseded",
    [REASON_CANCELLED] = "cancelled",
    [REASON_PUBLISHED] = "published",
    [REASON_UNCHANGED] = "unchanged",
    [REASON_COUNT] = NULL,
};

bool reason_take(struct reason *r, enum reason_code code, char *text)
{
    bool changed = r->code != code || !str_eq(r->text ? r->text : "", text);
    free(r->text);
    *r = (struct reason){.code = code, .text = text};
    return changed;
}

bool reason_set(struct reason *r, enum reason_code code, const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        abort();
    va_end(ap);
    return reason_take(r, code, text);
}

bool reason_copy(struct reason *r, const struct reason *from)
{
    return reason_take(r, from->code, xstrdup(from->text ? from->text : ""));
}

void reason_done(struct reason *r)
{
    free(r->text);
    *r = (struct reason){0};
}
