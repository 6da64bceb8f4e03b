/* The end of the model. */
#include "daemon/model/known.h"
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"
#include "daemon/model/queue.h"

/* Frees every object of a hash table: `extra` first, then its columns. */
#define free_all(head, id, extra)                                                                  \
    do {                                                                                           \
        __auto_type _o = (head);                                                                   \
        __auto_type _next = _o;                                                                    \
        HASH_ITER(hh, head, _o, _next)                                                             \
        {                                                                                          \
            HASH_DEL(head, _o);                                                                    \
            extra(_o);                                                                             \
            row_done(id, _o);                                                                      \
            free(_o);                                                                              \
        }                                                                                          \
    } while (0)

static void nothing(const void *object)
{
    (void)object;
}

static void ref_extra(struct ref *r)
{
    vec_free(&r->tracks);
}

static void source_extra(struct source *s)
{
    free_all(s->refs, TABLE_REF, ref_extra);
}

static void context_extra(struct context *c)
{
    free(c->hash_key);
    free(c->dockerfile_digest);
    free(c->ref);
}

static void epoch_extra(struct epoch *e)
{
    free(e->hash_key);
}

static void tag_extra(struct tag *t)
{
    free(t->hash_key);
}

static void base_extra(struct base *b)
{
    vec_free(&b->dependents);
    for (int p = 0; p < PLATFORM_COUNT; p++)
        free(b->child[p]);
}

static void track_extra(struct track *t)
{
    for (int p = 0; p < PLATFORM_COUNT; p++) {
        if (!t->slots[p])
            continue;
        slot_done(t->slots[p]);
        row_done(TABLE_SLOT, t->slots[p]);
        free(t->slots[p]);
    }
    free(t->version);
    free(t->tag_error);
    free(t->conflict);
    reason_done(&t->reason);
    strvec_done(&t->tags);
    vec_free(&t->claims);
    vec_free(&t->published);
    vec_free(&t->places);
    vec_free(&t->shared);
    vec_free(&t->bases);
    vec_free(&t->outside);
}

static void job_extra(struct job *j)
{
    strvec_done(&j->pins);
    vec_free(&j->builds);
}

static void publication_extra(struct publication *p)
{
    children_done(&p->child);
    VEC_FOREACH (&p->tags, pt) {
        row_done(TABLE_PUBLICATION_TAG, *pt);
        free(*pt);
    }
    vec_free(&p->tags);
}

static void retention_extra(struct retention *r)
{
    free(r->hash_key);
}

static void board_extra(struct board *b)
{
    free(b->buildah_version);
    free(b->session);
    strvec_done(&b->labels);
    strvec_done(&b->unknown);
    vec_free(&b->leases);
    vec_free(&b->idle_in);
}

static void free_nodes(struct model *m)
{
    struct tag_node *n, *next;
    HASH_ITER(hh, m->nodes, n, next)
    {
        HASH_DEL(m->nodes, n);
        free(n->name);
        free(n->repository);
        free(n->tag);
        vec_free(&n->claimants);
        vec_free(&n->dependents);
        vec_free(&n->parts);
        free(n);
    }
}

static void free_repositories(struct model *m)
{
    struct repository *r, *next;
    HASH_ITER(hh, m->repositories, r, next)
    {
        HASH_DEL(m->repositories, r);
        free(r->name);
        free(r->stopped);
        vec_free(&r->publications);
        vec_free(&r->tracks);
        vec_free(&r->queue);
        vec_free(&r->to_prune);
        known_free(r->known);
        vec_free(&r->tags);
        free(r);
    }
}

void model_free(struct model *m)
{
    if (!m)
        return;
    struct build *b, *next;
    HASH_ITER(hh, m->builds, b, next)
    build_free(m, b);
    wait_free(m);
    free_all(m->attempts, TABLE_ATTEMPT, nothing);
    free_all(m->settings, TABLE_SETTING, nothing);
    free_all(m->sources, TABLE_SOURCE, source_extra);
    free_all(m->contexts, TABLE_CONTEXT, context_extra);
    free_all(m->epochs, TABLE_EPOCH, epoch_extra);
    free_all(m->bases, TABLE_BASE, base_extra);
    free_all(m->tracks, TABLE_TRACK, track_extra);
    free_all(m->jobs, TABLE_JOB, job_extra);
    free_all(m->publications, TABLE_PUBLICATION, publication_extra);
    free_all(m->tags, TABLE_TAG, tag_extra);
    free_all(m->boards, TABLE_BOARD, board_extra);
    free_all(m->places, TABLE_RETENTION, retention_extra);
    retain_done(m);
    free_nodes(m);
    free_repositories(m);
    past_done(&m->past);
    vec_free(&m->dirty);
    vec_free(&m->plan);
    vec_free(&m->retired_builds);
    vec_free(&m->ended_attempts);
    vec_free(&m->backing_off);
    vec_free(&m->loaded_waiting);
    strbuf_done(&m->key_list);
    vec_free(&m->behind);
    vec_free(&m->unread);
    queue_done(m);
    vec_free(&m->looked_past);
    vec_free(&m->woken);
    free(m->buildah);
    free(m);
}
