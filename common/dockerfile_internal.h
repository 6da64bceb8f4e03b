/* What the parts of the Dockerfile parser share. */
#pragma once

#include "common/dockerfile.h"

#include <uthash.h>

enum df_keyword {
    DF_ADD,
    DF_ARG,
    DF_CMD,
    DF_COPY,
    DF_ENTRYPOINT,
    DF_ENV,
    DF_EXPOSE,
    DF_FROM,
    DF_HEALTHCHECK,
    DF_LABEL,
    DF_MAINTAINER,
    DF_ONBUILD,
    DF_RUN,
    DF_SHELL,
    DF_STOPSIGNAL,
    DF_USER,
    DF_VOLUME,
    DF_WORKDIR,
    DF_KEYWORD_COUNT
};

/* Bytes [start, end) of an instruction's text. */
struct df_span {
    size_t start, end;
};

/* From `at` on, the instruction's text stands at `offset` of the file. */
struct df_piece {
    size_t at, offset;
};

/* One instruction with its continuation lines joined, keyword included. */
struct df_instruction {
    enum df_keyword keyword;
    int line;
    int stage; /* -1 before the first FROM */
    char *text;
    size_t n;
    size_t args; /* where the text after the keyword begins */
    VEC(struct df_piece) pieces;
};

/* One stage; the spans are within its FROM. */
struct df_stage {
    size_t from; /* index of its FROM among the instructions */
    struct df_span image;
    struct df_span platform_flag; /* "--platform=…" whole; empty when not given */
    struct df_span platform_value;
    char *name; /* as declared by AS; NULL without */
};

struct dockerfile {
    char *text;
    size_t n;
    char escape;
    VEC(struct df_instruction) instructions;
    VEC(struct df_stage) stages;
    VEC(struct dockerfile_feature) features;
};

/* The keyword's name in capitals. */
const char *df_keyword_name(enum df_keyword keyword);
/* The offset in the file of byte `at` of the instruction's text. */
size_t df_offset(const struct df_instruction *instruction, size_t at);

/* The next word of `text` (n bytes) at or after *pos: blanks separate, quotes and escapes do not. Moves
 * *pos past it. */
bool df_next_word(const char *text, size_t n, char escape, size_t *pos, struct df_span *ret_word);
/* The next `--name[=value]` at *pos, before the first other word. Moves *pos past it; *ret_name is
 * without dashes, *ret_value (empty without '=') without the '='. */
bool df_next_flag(const struct df_instruction *instruction, char escape, size_t *pos,
                  struct df_span *ret_word, struct df_span *ret_name, struct df_span *ret_value);
/* Whether the span of the text is exactly `word`, whatever the case. */
bool df_span_is(const char *text, struct df_span span, const char *word);

/* The next `key=value` of a --mount's comma-separated value, of which *rest is what is left. Quotes
 * around the whole are no part of it. */
bool df_next_option(const char *text, struct df_span *rest, struct df_span *ret_key,
                    struct df_span *ret_value);

/* Looks at an instruction just parsed and notes its features. */
void df_note_features(struct dockerfile *dockerfile, const struct df_instruction *instruction);
/* Notes one feature of the line. */
void df_note(struct dockerfile *dockerfile, struct dockerfile_feature feature);

/* A variable: ARG or ENV. A NULL value is one that could not be worked out. */
struct df_var {
    char *name;
    char *value;
    bool env; /* ENV, which an ARG of that name does not change */
    UT_hash_handle hh;
};

/* The variables that are set at some place, and those of the stage below. */
struct df_scope {
    struct df_var *vars;
    const struct df_scope *parent; /* weak */
    bool *
        ret_read; /* is set when a variable of this very scope is looked up; NULL: nobody wants to know */
};

/* The longest value that is worked out; a longer one can be no part of a reference. */
#define DF_VALUE_MAX 4096

/* Sets `name`; value may be NULL (could not be worked out). An ARG over an ENV changes nothing. */
void df_scope_set(struct df_scope *scope, const char *name, size_t n, const char *value, bool env);
/* The variable, or NULL when it is not set. */
const struct df_var *df_scope_get(const struct df_scope *scope, const char *name, size_t n);
/* Frees the variables. */
void df_scope_done(struct df_scope *scope);

/* Expands variables and removes quotes and escapes from n bytes. The caller owns *ret_text. -EINVAL:
 * wrong syntax, a substitution that we do not know, a variable that could not be worked out, or a
 * result over DF_VALUE_MAX. */
int df_expand(const char *s, size_t n, char escape, const struct df_scope *scope, char **ret_text,
              struct err *err);
