/* Tables of text with aligned columns, and colours where they are wanted. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

enum ink { INK_PLAIN, INK_DIM, INK_BOLD, INK_GREEN, INK_YELLOW, INK_RED, INK_BLUE };

struct table;

/* A table whose columns are headed by the words of `columns`, separated by '|'; one that begins with
 * '>' is aligned to the right. The caller owns it. */
struct table *table_new(const char *columns, bool colors);
/* Adds the next cell of the current row; rows fill up by themselves. */
void table_cell(struct table *t, enum ink ink, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Prints it, heading first; the last column is not padded. Nothing at all if there are no rows. */
void table_print(const struct table *t, FILE *out);
/* Frees it; NULL is allowed. */
void table_free(struct table *t);
/* How many columns of a terminal a text takes: control characters none, all others one. */
size_t text_width(const char *s);
/* Prints text in an ink. */
void print_ink(FILE *out, bool colors, enum ink ink, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
