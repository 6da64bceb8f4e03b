/* What if: what a run missed. A copy has not all that the farm knows, and the farm not all that its mirrors have: what is
 * missed is asked for, and the run is made again. Nothing is asked for twice. */
#include "daemon/model/objects.h"
#include "daemon/model/what_if_int.h"

/* ---- missing ---- */

/* The one of that name; made, if there is none yet. `name` is taken over. */
static struct what_lack *lack(struct what_if *w, char *name)
{
    struct what_lack *l = NULL;
    HASH_FIND_STR(w->lacks, name, l);
    if (l) {
        free(name);
        return l;
    }
    l = xnew(struct what_lack);
    l->hash_key = name;
    HASH_ADD_KEYPTR(hh, w->lacks, l->hash_key, strlen(name), l);
    vec_push(&w->missed, l);
    return l;
}

void what_if_lack_job(struct what_if *w, const char *key)
{
    struct what_lack *l = lack(w, xstrdup(key));
    if (!l->key)
        l->key = xstrdup(key);
}

const struct what_lack *what_if_lack(struct what_if *w, const struct effect *e, const char *commit,
                                     bool paths)
{
    const char *dockerfile = e->dockerfile ? e->dockerfile : "";
    struct what_lack *l =
        lack(w, xasprintf("%s\n%s\n%s\n%s\n%d", e->source, commit, e->path, dockerfile, paths));
    if (!l->source) {
        l->source = xstrdup(e->source);
        l->commit = xstrdup(commit);
        l->path = xstrdup(e->path);
        l->dockerfile = xstrdup(dockerfile);
        l->paths = paths;
    }
    return l;
}

/* ---- asking ---- */

static bool ask_model(struct what_if *w, struct model *m, const struct what_lack *l)
{
    if (l->key)
        return model_copy_job(m, &w->copy, l->key);
    return !l->paths &&
           model_copy_context(m, &w->copy, l->source, l->commit, l->path, l->dockerfile);
}

bool what_if_ask(struct what_if *w, struct model *m)
{
    bool any = false;
    VEC_FOREACH (&w->missed, it) {
        struct what_lack *l = *it;
        bool known = ask_model(w, m, l);
        any = any || known;
        if (!known && !l->key)
            vec_push(&w->open, l);
    }
    w->missed.n = 0;
    return any;
}

bool what_if_look(struct what_if *w, struct what_if_look *ret)
{
    if (!w->open.n)
        return false;
    const struct what_lack *l = w->open.items[w->open.n - 1];
    *ret = (struct what_if_look){.source = l->source,
                                 .commit = l->commit,
                                 .path = l->path,
                                 .dockerfile = *l->dockerfile ? l->dockerfile : NULL,
                                 .paths = l->paths ? &w->q.paths : NULL};
    return true;
}

void what_if_looked(struct what_if *w, struct model *m, const struct context_facts *facts,
                    bool touched)
{
    struct what_lack *l = w->open.items[--w->open.n];
    if (!facts)
        return;
    l->answered = true;
    l->touched = touched;
    l->exists = facts->exists;
    l->id = xstrdup(facts->id);
    l->dockerfile_text = xstrdup(facts->dockerfile_text);
    l->error = xstrdup(facts->error);
    l->time = facts->time;
    l->size = facts->size;
    if (l->id) /* these very files may have been seen before, in another commit */
        model_copy_epoch(m, &w->copy, l->source, l->id);
}

/* ---- the end ---- */

void what_if_lacks_done(struct what_if *w)
{
    struct what_lack *l, *next;
    HASH_ITER(hh, w->lacks, l, next)
    {
        HASH_DEL(w->lacks, l);
        free(l->key);
        free(l->source);
        free(l->commit);
        free(l->path);
        free(l->dockerfile);
        free(l->id);
        free(l->dockerfile_text);
        free(l->error);
        free(l->hash_key);
        free(l);
    }
    vec_free(&w->missed);
    vec_free(&w->open);
}
