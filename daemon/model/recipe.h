/* Which images the recipe of a slot names. */
#pragma once

#include "common/dockerfile.h"
#include "daemon/model/state.h"

/* What the platforms of a track share while they are evaluated, one after another: nothing that it is made of changes
 * meanwhile. Zeroed is a beginning. */
struct recipe_reader {
    struct context *of;        /* whose Dockerfile was read last; NULL: none was */
    struct dockerfile *parsed; /* that Dockerfile */
    /* A slot whose references are those of every platform of the track that has the same arguments and target; NULL:
     * none is known. */
    const struct slot *like;
    strvec args; /* with which they were found: the values of its build arguments */
    char *target;
    bool asked,
        alike; /* whether any text of farm.yaml asks which platform it is, once that is `asked` */
    struct strbuf
        config; /* what all platforms have of a list of inputs, where they are alike: see key.c */
};

/* Whether the texts of farm.yaml say the same for all platforms of the slot's track. */
bool recipe_alike(struct recipe_reader *reader, const struct slot *s);

/* Fills in the pins, the last FROM and the buildah that is wanted of a slot from the Dockerfile of its context, or the
 * pin of the image's builder; or its parse_error. The slot has none of them yet. */
void recipe_read(struct model *m, struct slot *s, struct recipe_reader *reader);
/* Frees what was shared. */
void recipe_reader_done(struct recipe_reader *reader);
