/* What the parts of config share. */
#pragma once

#include "daemon/config.h"

#include <uthash.h>
#include <yaml.h>

#define CONFIG_FILE_MAX   (1024 * 1024) /* bytes of one file */
#define CONFIG_FILES_MAX  1000
#define CONFIG_DEPTH_MAX  16 /* of includes */
#define CONFIG_ERRORS_MAX 100
#define CONFIG_VALUES_MAX 200000 /* values looked at: aliases can repeat them */

/* One file, parsed. */
struct config_file {
    char *path; /* as it is told */
    char *text;
    yaml_document_t document;
    bool has_document;
};

/* A value, and where it stands; weak. */
struct config_value {
    struct config_file *file;
    yaml_node_t *node;
};

/* A key seen, to tell one that is given twice, in another file too. */
struct config_given {
    char *path;
    char *where; /* "file:line:column" */
    UT_hash_handle hh;
};

/* One reading of a configuration. */
struct config {
    VEC(struct config_file *) files; /* in the order in which they count */
    struct farm *farm;
    strvec *errors; /* weak */
    size_t dropped; /* errors beyond CONFIG_ERRORS_MAX */
    size_t values;  /* looked at so far */
    struct config_given *given;
    struct strbuf key;                         /* of the value at hand: "images.minideb.ref" */
    VEC(struct config_value) image_entries;    /* of farm->images, in step */
    VEC(struct config_value) source_entries;   /* of farm->sources as far as given */
    VEC(struct config_value) registry_entries; /* of farm->registries as far as given */
};

/* ---- config_files.c ---- */

/* Reads and parses `path` and its includes into c->files; errors are noted. */
void config_open(struct config *c, const char *path);
/* The same from a copy, whose files are all there is. */
int config_open_copy(struct config *c, const char *copy, struct err *err);
/* The files' text in one piece; the caller owns it. NULL when a text is not UTF-8. */
char *config_make_copy(const struct config *c);
/* Frees the files. */
void config_close(struct config *c);
/* The top of a file's document; false when it is empty. */
bool config_root(struct config_file *file, struct config_value *ret_value);

/* ---- config_value.c ---- */

/* Notes an error at the value, under the key at hand. */
void config_error(struct config *c, const struct config_value *v, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same `offset` bytes into a scalar that stands on one line. */
void config_error_in(struct config *c, const struct config_value *v, size_t offset, const char *fmt,
                     ...) __attribute__((format(printf, 4, 5)));
/* The same at a line and column (from 0) of a file, under `key`. */
void config_error_at(struct config *c, const char *file, size_t line, size_t column,
                     const char *key, const char *fmt, ...) __attribute__((format(printf, 6, 7)));
/* "file:line:column" of the value; the caller owns it. */
char *config_where(const struct config_value *v);
/* Goes down to `name` below the key at hand; returns what config_key_pop takes. */
size_t config_key_push(struct config *c, const char *name);
/* Comes back up. */
void config_key_pop(struct config *c, size_t mark);

/* The text of a scalar that is not empty; NULL, with an error noted, for anything else. Borrowed. */
const char *config_text(struct config *c, const struct config_value *v);
/* The value of `key` in a mapping; false when it is not there. */
bool config_child(const struct config_value *mapping, const char *key,
                  struct config_value *ret_value);
/* The items of a list; NULL, with an error noted, when it is none. `ret_n` is their number. */
const yaml_node_item_t *config_items(struct config *c, const struct config_value *v, size_t *ret_n);
/* The value of an item. */
struct config_value config_item(const struct config_value *v, yaml_node_item_t item);

/* ---- config_mapping.c ---- */

struct config_key;
/* Reads a value into the field that its key stands for. */
typedef void config_read_fn(struct config *c, const struct config_value *v,
                            const struct config_key *key, void *field);

/* A key of a mapping. */
struct config_key {
    const char *name;
    config_read_fn *read;
    size_t offset;   /* of the field in the mapping's struct */
    const void *arg; /* what `read` wants to know: a config_range, config_choices, … */
    bool merges;     /* the key may stand in several files, which add to each other */
};
#define CONFIG_KEY(name, read, type, member, arg)                                                  \
    {                                                                                              \
        name, read, offsetof(type, member), arg, false                                             \
    }

/* Reads a mapping whose keys are known ones. */
void config_read_mapping(struct config *c, const struct config_value *v,
                         const struct config_key *keys, size_t n, void *target);

/* One entry of a mapping whose keys are names. */
typedef void config_entry_fn(struct config *c, const char *name, const struct config_value *key,
                             const struct config_value *value, void *arg);
/* Reads such a mapping; doubles are refused, in other files too. */
void config_read_entries(struct config *c, const struct config_value *v, config_entry_fn *entry,
                         void *arg);

/* ---- config_types.c: readers for config_key ---- */

struct config_range {
    int64_t min, max;
    const char *example; /* what to write, as in the messages */
};

struct config_choice {
    const char *name; /* NULL ends the list */
    int value;
};

config_read_fn config_string;    /* char *; arg: NULL or a config_text_check */
config_read_fn config_bool;      /* bool */
config_read_fn config_int;       /* int; arg: struct config_range */
config_read_fn config_duration;  /* int64_t, ms; arg: struct config_range */
config_read_fn config_size;      /* int64_t, bytes; arg: struct config_range */
config_read_fn config_enum;      /* an enum or int; arg: array of struct config_choice */
config_read_fn config_strings;   /* strvec; arg: NULL or a config_text_check */
config_read_fn config_argv;      /* strvec; empty items are fine */
config_read_fn config_platforms; /* platformvec */
config_read_fn config_pairs;     /* farm_pairs; arg: NULL or a config_text_check for the names */
config_read_fn config_address;   /* struct farm_address */
config_read_fn config_history;   /* int: newest, all or a number */

/* What a text may be. */
struct config_text_check {
    bool (*valid)(const char *text);
    const char *wanted; /* "an absolute path, such as /var/lib/sheaf" */
};

/* "12h", "1h30m", "90s", "500ms", "2d" in milliseconds; -EINVAL else. */
int config_parse_duration(const char *text, int64_t *ret_ms);
/* "512MiB", "1.5GB", "100B" in bytes; -EINVAL else. */
int config_parse_size(const char *text, int64_t *ret_bytes);

/* ---- config_keys.c ---- */

/* Reads one file's document into c->farm. */
void config_read_file(struct config *c, const struct config_value *root);
/* Whether `text` is an absolute path. */
bool config_valid_absolute(const char *text);

/* ---- config_image.c ---- */

/* Reads one entry of `images:`. */
config_entry_fn config_read_image;
/* Fills in what the farm decides for an image, and checks what must hold between its values. */
void config_finish_image(struct config *c, struct farm_image *image,
                         const struct config_value *entry);

/* ---- config_check.c ---- */

/* Checks between images and the rest, and adds the registries and sources that are only implied. */
void config_finish(struct config *c);
