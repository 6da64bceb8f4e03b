/* Short forms: the steps of a history that a real farm can carry out, as JSON lines for tests/farm/histories. They
 * are about a fixed farm, of these sources, and of tracks that a number picks out of those that there are. */
#pragma once

#include "tests/model/history.h"

/* The form of one step, printed as an object that is still open. Returns whether it has one; if not, nothing is
 * printed. */
typedef bool short_form(const struct step *st);

/* steps.c: the step by the table of kinds. As short_form. */
bool step_short(const struct step *st);
/* commands.c: the command that the numbers of a step pick. As short_form. */
bool command_short(unsigned a, unsigned b, unsigned c);

/* The kinds: one for each function of steps.c that has a short form. */
short_form short_goes_on, short_push, short_rewrite, short_look, short_source_away, short_registry,
    short_collect, short_board, short_dies, short_crash, short_reload, short_command;

/* Prints the first `n` steps of a history that have a short form, one object a line. */
void print_short(const struct history *h, unsigned n);
