/* The audit of owned tags, within the model. */
#pragma once

#include "daemon/model/state.h"

/* After loading: the first audits come in some seconds. */
void audit_start(struct model *m);
/* Begins the audit whose time has come. */
void audit_timer(struct model *m);
/* Decides anew which of the repository's tags are to be put back. */
void audit_judge(struct model *m, struct repository *r);
/* Why the repository has stopped and who decides. The caller owns it. */
char *repository_stopped_text(const struct repository *r);
/* What is to be said of a tag that names something else. The caller owns it. */
char *audit_text(struct model *m, struct tag *tag);
