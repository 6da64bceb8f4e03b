/* A view's JSON text, rendered once for all who read it until something happens. */
#pragma once

#include "daemon/coordinator.h"

struct rendered {
    char *text;
    size_t n;
    int fd;     /* the same bytes in memory that the kernel sends without copying; -1 or 0: none */
    size_t now; /* where the digits of now_at stand in it; 0: nowhere */
    uint64_t moment; /* coordinator_moment, when it was made */
};

/* Makes what is shown; the reference is the caller's. */
typedef json_t *(*rendered_fn)(struct coordinator *c);

/* Answers `call` with what `render` makes, or made when nothing has happened since: at once if all that it tells is
 * committed, else after the commit. `now_at` in it is always that of the answer. */
void rendered_answer(struct rendered *r, struct coordinator *c, struct http_call *call,
                     rendered_fn render);
/* Frees the text. */
void rendered_done(struct rendered *r);
