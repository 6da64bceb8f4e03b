/* What the files of wire_table share. */
#pragma once

#include "common/wire_table.h"

/* Any VEC: the header is copied in and out, since the item's type is the table's to know. */
struct any_vec {
    void *items;
    size_t n, cap;
};

/* Whether the member is a pointer to what the field describes. */
bool wire_held_by_pointer(const struct wire_field *f);
/* The size of that. */
size_t wire_pointee_size(const struct wire_field *f);
/* The numbers of the type's fields in the order in which they are encoded. Borrowed until the thread ends or has asked for
 * many types. */
const unsigned char *wire_order(const struct wire_type *t);

/* Reads a text of exactly the form that wire_encode gives, without making JSON values of it first: what coordinator and
 * agents send each other, and what is stored, has that form. False where it has not, or anything in it is not as the table
 * wants; `value` (zeroed) may have been filled in partly then, and is to be ended with wire_done all the same. */
bool wire_read_canonical(const struct wire_type *type, const char *text, size_t n, void *value);
