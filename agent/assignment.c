#include "agent/assignment.h"

#include <limits.h>

#define MEMBERS(table) .fields = table, .n = sizeof(table) / sizeof(*table)

static const struct wire_field option_fields[] = {
    {"emulated", WIRE_BOOL, .offset = offsetof(struct assignment_options, emulated)},
    {"cache", WIRE_STRING, .offset = offsetof(struct assignment_options, cache), .text = PATH_MAX},
    {"cache_limit", WIRE_INT, .offset = offsetof(struct assignment_options, cache_limit),
     .max = INT64_MAX},
    {"buildroots", WIRE_STRING, .offset = offsetof(struct assignment_options, buildroots),
     .text = PATH_MAX},
    {"builder", WIRE_STRING, .offset = offsetof(struct assignment_options, builder), .text = 64},
};

const struct wire_type *assignment_options_type(void)
{
    static const struct wire_type type = {.name = "options",
                                          .size = sizeof(struct assignment_options),
                                          .max_text = 64 * 1024,
                                          MEMBERS(option_fields)};
    return &type;
}

static const struct wire_field fields[] = {
    {"coordinator", WIRE_STRING, .offset = offsetof(struct assignment, coordinator), .text = 2048},
    {"lease", WIRE_OBJECT, .offset = offsetof(struct assignment, lease), .type = wire_lease_type},
    {"options", WIRE_OBJECT, .offset = offsetof(struct assignment, options),
     .type = assignment_options_type},
};

const struct wire_type *assignment_type(void)
{
    static const struct wire_type type = {.name = "assignment",
                                          .size = sizeof(struct assignment),
                                          .max_text = 2 * 1024 * 1024,
                                          MEMBERS(fields)};
    return &type;
}
