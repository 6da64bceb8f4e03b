/* What if: the model's own functions on a copy of it, to say what an event would cause. Nothing of the farm that runs is
 * changed, and no effect leaves.
 *
 *     what_if_new        where the model lives: checks the question and takes the copy
 *     what_if_run        anywhere, for as long as it takes: the event, and all that follows from it until nothing does
 *     what_if_ask        where the model lives: tells of what the copy lacked; true: run again
 *     what_if_look       what only a mirror can tell, one after the other; what_if_looked: run again
 *     what_if_answer
 *
 * What follows is invented as well as can be: every job succeeds with new content on the board that the scheduler gives
 * it, after the time that such a job took before; registries and upstreams answer at once. What is under way when the
 * question is asked is taken to end well before the event. docs/api.md says what the answer has. */
#pragma once

#include "daemon/model/model.h"

enum what_if_kind {
    WHAT_IF_PUSH,   /* commits that change files of a source */
    WHAT_IF_BASE,   /* new content of a base */
    WHAT_IF_CONFIG, /* another farm.yaml */
    WHAT_IF_BOARD   /* a board is lost */
};

struct what_if_question {
    enum what_if_kind kind;
    const char *source; /* PUSH: a URL; or the name of an image: then only its context changes */
    const char *
        ref; /* PUSH: full or short name; one that begins with refs/ may be new. NULL: every ref that is
                              kept in date */
    const char *commit; /* PUSH: where the ref moves to: a commit that there is, in full, or a ref
                              whose commit it is; NULL: to one that nobody made */
    strvec paths;       /* PUSH: what is changed in the source; empty: every context */
    const char *reference; /* BASE: as in a Dockerfile */
    const char *board;     /* BOARD */
    struct farm *farm;     /* CONFIG: taken over by what_if_new, if that succeeds */
};

struct what_if;

/* Room for a copy, made on any thread. The caller owns it. */
struct what_if *what_if_prepare(size_t bytes);
/* How much room that is. */
size_t what_if_size(const struct model *m);
/* Checks the question and takes the copy; the question may then be ended. `room` is taken over, if this succeeds; NULL:
 * none was made before. The model's farm must outlive *ret, which the caller owns. -ENOENT: no such source, ref, base or board; -EINVAL: it cannot happen; the text says why. */
int what_if_new(struct model *m, const struct what_if_question *q, struct what_if *room,
                struct what_if **ret, struct err *err);
/* Lets it happen. Takes as long as the plan of all that follows; touches nothing but `w`. */
void what_if_run(struct what_if *w);
/* From any thread: nobody waits for the answer, and a run may end early. */
void what_if_cancel(struct what_if *w);
/* Adds to the copy what the last run missed and `m` knows. Whether to run again: there was something. */
bool what_if_ask(struct what_if *w, struct model *m);
/* Something that the last run missed, that the model does not know and that a mirror may have. */
struct what_if_look {
    const char *source, *commit;
    const char *path;       /* of a context, "" for the root */
    const char *dockerfile; /* its path below the context; NULL: none */
    const strvec *
        paths; /* NULL: the facts are wanted; else whether a change of one of these changes the context */
};
/* The first such thing, after what_if_ask. Whether there is one; *ret is valid until it is answered. */
bool what_if_look(struct what_if *w, struct what_if_look *ret);
/* Answers it, where the model lives. `facts` NULL: nothing can be told. */
void what_if_looked(struct what_if *w, struct model *m, const struct context_facts *facts,
                    bool touched);
/* The answer of the last run; the caller owns it. */
json_t *what_if_answer(struct what_if *w);
/* NULL is fine. */
void what_if_free(struct what_if *w);
