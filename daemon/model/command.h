/* What the commands' files share; command.c finds the track, dispatches and records. Each command returns 0 with its
 * answer, or a negative errno with what to do about it, and is idempotent: asked again it changes nothing. */
#pragma once

#include "daemon/model/objects.h"
#include "daemon/model/plan.h"

/* Sets the answer's text, and whether anything was changed. */
void answer_set(struct command_answer *a, bool changed, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Who asked, in words; never NULL. */
const char *command_who(const struct command *c);
/* Reads c->platform (*ret is PLATFORM_COUNT where there is none); -EINVAL when the track has no such slot. */
int command_platform(const struct command *c, const struct track *t, enum platform *ret,
                     struct err *err);

/* -EINVAL: the track is not built for that platform, but for those that the text names. */
int command_not_built(const struct track *t, const char *platform, struct err *err)
    __attribute__((warn_unused_result));

/* -EBUSY where the track's repository has stopped, with who decides. */
int command_repository_stopped(struct model *m, const struct track *t, struct err *err)
    __attribute__((warn_unused_result));
/* -EBUSY: its version is not built. */
int command_out_of_bounds(const struct track *t, struct err *err)
    __attribute__((warn_unused_result));

/* hold.c */
/* Puts a hold on the track. */
int command_hold(struct model *m, struct track *t, const struct command *c,
                 struct command_answer *a, struct err *err);
/* Ends hold and pin. */
int command_release(struct model *m, struct track *t, const struct command *c,
                    struct command_answer *a, struct err *err);
/* A hold on all. */
int command_freeze(struct model *m, struct track *t, const struct command *c,
                   struct command_answer *a, struct err *err);
/* Ends it. */
int command_thaw(struct model *m, struct track *t, const struct command *c,
                 struct command_answer *a, struct err *err);
/* return.c */
/* The track's tags go to a publication and stay there. */
int command_pin(struct model *m, struct track *t, const struct command *c, struct command_answer *a,
                struct err *err);
/* The same; by default to the one before the newest. */
int command_rollback(struct model *m, struct track *t, const struct command *c,
                     struct command_answer *a, struct err *err);
/* promote.c */
/* What the track built last is what its tags name, now. */
int command_promote(struct model *m, struct track *t, const struct command *c,
                    struct command_answer *a, struct err *err);
/* retire.c */
/* The track, or one platform of it. */
int command_retire(struct model *m, struct track *t, const struct command *c,
                   struct command_answer *a, struct err *err);
/* Undoes that; a dormant track is kept in date. */
int command_wake(struct model *m, struct track *t, const struct command *c,
                 struct command_answer *a, struct err *err);
/* retry.c */
/* What has failed or backs off is tried now; without a track: the job c->job. */
int command_retry(struct model *m, struct track *t, const struct command *c,
                  struct command_answer *a, struct err *err);
/* request.c */
/* Built again though nothing changed. */
int command_rebuild(struct model *m, struct track *t, const struct command *c,
                    struct command_answer *a, struct err *err);
