/* Commands and what the registry's tags name, on tests/lib/model_world. */
#pragma once

#include "tests/lib/model_world.h"

/* Asks for a command in a turn of its own; `c` as model_on_command takes it. Asserts that it is done, and returns whether
 * it changed something. */
bool world_do(struct world *w, const struct command *c);
/* The same, with a verb and a track alone. */
bool world_ask(struct world *w, enum command_verb verb, const char *track);
/* Asserts that the command is refused with `code`, and that the text says `says`. */
void world_refused(struct world *w, const struct command *c, int code, const char *says);
/* The publication that the tag's row names, 0: none. */
int64_t world_tag(struct world *w, const char *repository, const char *tag);
/* The digest that the tag's row names; "" where there is none. Borrowed until the next write. */
const char *world_tag_digest(struct world *w, const char *repository, const char *tag);
/* How many rows of the record there are. */
size_t world_actions(struct world *w);
