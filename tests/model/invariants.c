/* The invariants that are watched at every step. Each is a function by its name; what they remember is in the
 * checker. The dear ones are in invariants_dear.c. */
#include "common/digest.h"
#include "common/oci.h"
#include "daemon/model/queue.h"
#include "daemon/model/schedule.h"
#include "tests/model/check_int.h"

#include <inttypes.h>

/* ---- what is remembered ---- */

struct checker *checker_new(struct sim *s)
{
    (void)s;
    return xnew(struct checker);
}

static void forget_causes(struct checker *c)
{
    strvec_done(&c->asked_tracks);
    strvec_done(&c->asked_jobs);
    strvec_done(&c->missing_jobs);
    strvec_done(&c->moved_refs);
}

void checker_free(struct checker *c)
{
    struct decided *d, *next_d;
    HASH_ITER(hh, c->decided, d, next_d)
    {
        HASH_DEL(c->decided, d);
        free(d);
    }
    struct lease_seen *l, *next_l;
    HASH_ITER(hh, c->leases, l, next_l)
    {
        HASH_DEL(c->leases, l);
        free(l);
    }
    struct tag_seen *t, *next_t;
    HASH_ITER(hh, c->tags, t, next_t)
    {
        HASH_DEL(c->tags, t);
        free(t->name);
        free(t->bytes);
        free(t->digest);
        free(t);
    }
    struct failed_at *f, *next_f;
    HASH_ITER(hh, c->failed, f, next_f)
    {
        HASH_DEL(c->failed, f);
        free(f->key);
        free(f);
    }
    forget_causes(c);
    strvec_done(&c->ever_asked);
    strvec_done(&c->new_jobs);
    strvec_done(&c->again_jobs);
    strvec_done(&c->woken);
    strvec_done(&c->slept);
    strvec_done(&c->needed);
    free(c);
}

static void ever_asked(struct checker *c, const char *what)
{
    if (!strvec_has(&c->ever_asked, what))
        strvec_add(&c->ever_asked, what);
}

/* What failed of its build is due from then on, for whoever wants it. */
static void failed_asked(struct checker *c, const struct track *t)
{
    const struct build *b = t ? t->current : NULL;
    for (size_t i = 0; b && i < b->jobs.n; i++)
        if (b->jobs.items[i]->job->state == JOB_FAILED)
            ever_asked(c, b->jobs.items[i]->job_key);
}

void check_asked(struct sim *s, const char *track, const char *key)
{
    struct checker *c = s->check;
    if (track)
        strvec_add(&c->asked_tracks, track);
    if (key)
        strvec_add(&c->asked_jobs, key);
    if (track || key)
        ever_asked(c, track ? track : key);
    if (track)
        failed_asked(c, track_find(s->m, track));
}

void check_missing(struct sim *s, int64_t publication, enum platform platform)
{
    const struct publication *p = publication_find(s->m, publication);
    const struct child *child = p ? publication_child(p, platform) : NULL;
    if (child)
        strvec_add(&s->check->missing_jobs, child->key);
}

struct missing {
    strvec *jobs;
    const char *digest;
};

static void note_missing(void *data, const struct job *j)
{
    const struct missing *missing = data;
    if (str_eq(j->manifest_digest, missing->digest))
        strvec_add(missing->jobs, j->key);
}

void check_missing_manifest(struct sim *s, const char *digest)
{
    struct missing missing = {&s->check->missing_jobs, digest};
    for (const struct job *j = s->m->jobs; j; j = j->hh.next)
        note_missing(&missing, j);
    past_each(s->m, note_missing, &missing);
}

void check_restarted(struct sim *s)
{
    struct checker *c = s->check;
    struct lease_seen *l, *next;
    HASH_ITER(hh, c->leases, l, next)
    {
        if (store_sim_find(&s->store, false, TABLE_ATTEMPT, NULL, l->id)) {
            l->listed = s->now;
            continue;
        }
        HASH_DEL(c->leases, l);
        free(l);
    }
    struct decided *d, *next_d;
    HASH_ITER(hh, c->decided, d, next_d)
    {
        if (store_sim_find(&s->store, false, TABLE_PUBLICATION, NULL, d->id))
            continue;
        HASH_DEL(c->decided, d);
        free(d);
    }
    strvec_done(&c->new_jobs);
    strvec_done(&c->again_jobs);
}

/* ---- 1 and 2: what the registry is told ---- */

static struct tag_seen *tag_of(struct checker *c, const char *repository, const char *tag)
{
    struct tag_seen *t = NULL;
    cleanup_free char *name = xasprintf("%s:%s", repository, tag);
    HASH_FIND_STR(c->tags, name, t);
    if (t)
        return t;
    t = xnew(struct tag_seen);
    t->name = steal_ptr(name);
    HASH_ADD_KEYPTR(hh, c->tags, t->name, strlen(t->name), t);
    return t;
}

static void inv01_generations_non_decreasing(struct sim *s, const struct effect *e,
                                             const struct effect_tag *tag)
{
    const struct change *row =
        store_sim_find(&s->store, false, TABLE_PUBLICATION, NULL, e->publication);
    struct tag_seen *t = tag_of(s->check, e->repository, tag->tag);
    int64_t generation = row ? row_int(row, "generation") : 0;
    const char *bytes = tag->index ? e->bytes : tag->digest;
    if (generation < t->generation)
        sim_fail(s, __func__, "%s: generation %" PRId64 " after %" PRId64, t->name, generation,
                 t->generation);
    if (generation == t->generation && !str_eq(bytes, t->bytes))
        sim_fail(s, __func__, "%s: generation %" PRId64 " with other bytes", t->name, generation);
    t->generation = generation;
    str_replace(&t->bytes, bytes);
    str_replace(&t->digest, tag->digest);
}

const struct tag_seen *put_last(struct sim *s, const struct registry_repository *r,
                                const struct registry_tag *t)
{
    cleanup_free char *name = xasprintf("%s:%s", r->name, t->name);
    const struct tag_seen *seen = NULL;
    HASH_FIND_STR(s->check->tags, name, seen);
    return seen && str_eq(seen->digest, t->digest) ? seen : NULL;
}

static struct decided *decided_find(struct checker *c, int64_t id)
{
    struct decided *d = NULL;
    HASH_FIND(hh, c->decided, &id, sizeof(id), d);
    return d;
}

static void inv02_index_has_its_platforms(struct sim *s, const struct effect *e)
{
    const struct decided *d = decided_find(s->check, e->publication);
    struct registry_repository *repo = registry_repository(&s->registry, e->repository);
    unsigned has = 0;
    VEC_FOREACH (&e->children, c) {
        const struct manifest *m = registry_manifest(repo, c->digest);
        has |= 1u << c->platform;
        if (!m || m->platform != c->platform || !str_eq(m->media_type, c->media_type))
            sim_fail(s, __func__, "publication %" PRId64 ": the child for %s is %s", e->publication,
                     platform_info(c->platform)->name, m ? "another platform's" : "not there");
    }
    if (!d)
        sim_fail(s, __func__, "publication %" PRId64 " was never decided", e->publication);
    if ((has & d->required) != d->required || (has & ~d->allowed))
        sim_fail(s, __func__,
                 "publication %" PRId64 " of %s: platforms %x, required %x, allowed %x",
                 e->publication, e->repository, has, d->required, d->allowed);
}

/* What is PUT is the document of these children, in so many bytes. */
static void inv02_bytes_are_the_index(struct sim *s, const struct effect *e)
{
    char digest[DIGEST_SIZE];
    struct err err = ERR_INIT;
    struct oci_index index = {0};
    digest_of(e->bytes, strlen(e->bytes), digest);
    if (!str_eq(digest, e->digest))
        sim_fail(s, __func__, "publication %" PRId64 ": its bytes are of another digest",
                 e->publication);
    if (oci_index_parse(e->bytes, strlen(e->bytes), e->media_type, &index, &err) < 0)
        sim_fail(s, __func__, "publication %" PRId64 ": %s", e->publication, err.text);
    if (index.manifests.n != e->children.n)
        sim_fail(s, __func__, "publication %" PRId64 ": its index has %zu children of %zu",
                 e->publication, index.manifests.n, e->children.n);
    VEC_FOREACH (&e->children, c) {
        const struct oci_descriptor *found = oci_index_find(&index, c->platform);
        if (!found || !str_eq(found->digest, c->digest))
            sim_fail(s, __func__, "publication %" PRId64 ": its index names another child for %s",
                     e->publication, platform_info(c->platform)->name);
    }
    oci_index_done(&index);
}

void check_put(struct sim *s, const struct effect *e, const struct effect_tag *tag)
{
    inv01_generations_non_decreasing(s, e, tag);
    struct tag_seen *t = tag_of(s->check, e->repository, tag->tag);
    t->required = t->allowed = 0;
    if (!tag->index)
        return;
    inv02_index_has_its_platforms(s, e);
    inv02_bytes_are_the_index(s, e);
    const struct decided *d = decided_find(s->check, e->publication);
    t->required = d->required;
    t->allowed = d->allowed;
}

/* What the registry's tags name, whoever looks: nothing of it may have gone since it was PUT. */
static void inv02_tagged_indexes_are_whole(struct sim *s, struct registry_repository *r,
                                           const struct registry_tag *t)
{
    const struct tag_seen *put = put_last(s, r, t);
    const struct manifest *m = registry_manifest(r, t->digest);
    unsigned has = 0;
    if (!put || !put->allowed)
        return;
    VEC_FOREACH (&m->children, digest) {
        const struct manifest *child = registry_manifest(r, *digest);
        if (!child && s->strangers)
            return; /* somebody moved the tag away, and back when a child of it was lost */
        if (!child)
            sim_fail(s, "inv09_garbage_is_garbage", "%s lacks a child", put->name);
        has |= 1u << child->platform;
    }
    if ((has & put->required) != put->required || (has & ~put->allowed))
        sim_fail(s, __func__, "%s: platforms %x, required %x, allowed %x", put->name, has,
                 put->required, put->allowed);
}

static void inv09_garbage_is_garbage(struct sim *s, struct registry_repository *r,
                                     const struct registry_tag *t)
{
    if (!registry_manifest(r, t->digest))
        sim_fail(s, __func__, "%s:%s names what is not there", r->name, t->name);
}

static void check_registry(struct sim *s)
{
    for (struct registry_repository *r = s->registry.repositories; r; r = r->hh.next)
        for (struct registry_tag *t = r->tags; t; t = t->hh.next) {
            inv09_garbage_is_garbage(s, r, t);
            inv02_tagged_indexes_are_whole(s, r, t);
        }
}

void check_every_step(struct sim *s)
{
    if (s->check->registry_changes != registry_changes())
        check_registry(s);
    s->check->registry_changes = registry_changes();
}

/* What upstream's tree of the build's commit has, by our own reckoning: the commit may be of the source that was the
 * image's before. */
static bool folder_there(struct sim *s, const struct track *t, const char *commit, enum platform p)
{
    struct upstream_sim *up = &s->source[0].up;
    int at = upstream_find(up, commit);
    for (unsigned i = 1; at < 0 && i < MAX_SOURCES; i++) {
        up = &s->source[i].up;
        at = upstream_find(up, commit);
    }
    cleanup_free char *path = strchr(t->image->context, '$')
                                  ? xasprintf("%s/%s", t->image_name, platform_info(p)->alpine)
                                  : xstrdup(t->image_name);
    return at >= 0 && upstream_folder_exists(up, upstream_version(up, at, path), path);
}

/* Tags that somebody moved are to name again what they named: no platform is dropped, though another gates by now. */
static bool puts_back(const struct model *m, const struct publication *p)
{
    VEC_FOREACH (&p->tags, pt) {
        const struct tag *tag = (*pt)->index ? tag_find(m, p->repository, (*pt)->tag) : NULL;
        if ((*pt)->index && !(tag && tag->shown && children_equal(&tag->shown->child, &p->child)))
            return false;
    }
    return true;
}

/* Design rule 7: which platforms the new publication waits for. */
static bool required(struct sim *s, const struct track *t, const char *commit, enum platform p)
{
    const struct slot *slot = t->slots[p];
    /* what it has published to another repository counts for nothing in this one */
    bool had = t->last && str_eq(t->last->repository, t->image->repository) &&
               publication_child(t->last, p);
    if (slot && slot->retired)
        return false;
    if (!platformvec_has(&t->image->platforms, p)) /* what farm.yaml names no more is not dropped */
        return had && !farm_image_offers(t->image, p);
    bool new_one = t->publication && !had && !(slot && slot->last_key);
    /* a commit that changes nothing else makes no new build: what it has no folder of is offered no more */
    return !new_one && (had || (folder_there(s, t, commit, p) &&
                                (!t->ref || folder_there(s, t, t->ref->commit, p))));
}

static bool allowed(const struct track *t, enum platform p)
{
    bool retired = t->slots[p] && t->slots[p]->retired;
    const struct publication *newest = publication_newest(t);
    return !retired && (farm_image_offers(t->image, p) || (newest && publication_child(newest, p)));
}

/* A new publication: what it has to have is settled now. */
static void publication_decided(struct sim *s, const struct change *row)
{
    const struct track *t = track_find(s->m, row_text(row, "track"));
    const struct publication *p = publication_find(s->m, row_int(row, "id"));
    if (!t || !t->image || !p)
        sim_fail(s, "inv02_index_has_its_platforms", "a publication of no track");
    inv10_held_tags_stay(s, t, p);
    rule03_parts_are_the_incumbents(s, t, p);
    struct decided *d = xnew(struct decided);
    d->id = p->id;
    bool back =
        ((t->pinned || t->dormant || t->deleted) && is_return(s->m, t, p)) || puts_back(s->m, p);
    const char *commit = t->current && t->current->commit ? t->current->commit : "";
    for (int i = 0; i < N_PLATFORMS; i++) {
        enum platform platform = (enum platform)i;
        bool there = publication_child(p, platform);
        if (back ? there : allowed(t, platform))
            d->allowed |= 1u << i;
        if (back ? there : required(s, t, commit, platform))
            d->required |= 1u << i;
    }
    HASH_ADD(hh, s->check->decided, id, sizeof(d->id), d);
}

/* ---- 5: what can be seen ---- */

static void inv05_effects_are_committed(struct sim *s, const struct effect *e)
{
    const struct change *row =
        store_sim_find(&s->store, false, TABLE_PUBLICATION, NULL, e->publication);
    if (!row)
        sim_fail(s, __func__, "a step of publication %" PRId64 ", which is not stored",
                 e->publication);
    const char *state = row_text(row, "state");
    static const char *const states[] = {"tags", "prepared", "tags", "tags"};
    /* One that is given up while its step waits for the commit may still be asked for its index, under its own place. */
    if (e->step == PUBLISH_INDEX && str_eq(state, "abandoned"))
        return;
    if (!str_eq(state, states[e->step]))
        sim_fail(s, __func__, "step %d of publication %" PRId64 ", which is stored as %s", e->step,
                 e->publication, state);
}

/* What a place is told to name is what is stored. */
static void inv05_places_are_committed(struct sim *s, const struct effect *e)
{
    cleanup_free char *key = xasprintf("%s\n%s\n", e->repository, e->tags.items[0].tag);
    struct store_row *row = NULL;
    HASH_FIND_STR(s->store.table[TABLE_RETENTION], key, row);
    if (!row || !row->committed)
        sim_fail(s, __func__, "%s is not stored", e->tags.items[0].tag);
}

void check_effect(struct sim *s, const struct effect *e)
{
    if (e->kind == EFFECT_PUBLISH)
        inv05_effects_are_committed(s, e);
    if (e->kind == EFFECT_RETAIN)
        inv05_places_are_committed(s, e);
}

/* Of a registry that farm.yaml does not name nothing is asked, with whatever access it would have by default. */
static void inv05_named_registries_are_asked(struct sim *s, const struct effect *e)
{
    if (!sim_names_registry(s, e->repository))
        sim_fail(s, __func__, "%s is asked for something, and farm.yaml does not name its registry",
                 e->repository);
}

void check_asked_of(struct sim *s, const struct effect *e)
{
    if (e->kind == EFFECT_PUBLISH || e->kind == EFFECT_RETAIN || e->kind == EFFECT_AUDIT)
        inv05_named_registries_are_asked(s, e);
}

void check_granted(struct sim *s, const char *lease, int64_t epoch, const char *secret)
{
    const struct change *row =
        store_sim_find(&s->store, false, TABLE_ATTEMPT, NULL, strtoll(lease + 1, NULL, 10));
    if (!row || row_int(row, "epoch") != epoch ||
        (row_cell(row, "secret")->s && !str_eq(row_text(row, "secret"), secret)))
        sim_fail(s, "inv05_effects_are_committed", "lease %s, which is not stored so", lease);
}

void check_result(struct sim *s, struct running *r, int status)
{
    if (status != 200) {
        covered(COVERED_LATE_RESULTS);
        return;
    }
    const struct change *row =
        store_sim_find(&s->store, false, TABLE_ATTEMPT, NULL, strtoll(r->lease + 1, NULL, 10));
    if (!row || row_cell(row, "secret")->s)
        sim_fail(s, "inv05_effects_are_committed", "the result of %s was taken, and is not stored",
                 r->lease);
    if (r->taken)
        sim_fail(s, "inv07_leases_end", "the result of %s was taken twice", r->lease);
    r->taken = true;
}

/* ---- 6: keys ---- */

static bool settled(const struct change *row)
{
    const char *state = row_text(row, "state");
    return str_eq(state, "succeeded") || str_eq(state, "failed") ||
           (str_eq(state, "cancelled") && row_int(row, "settled"));
}

static bool under_way(const struct change *row)
{
    const char *state = row_text(row, "state");
    return str_eq(state, "wanted") || str_eq(state, "leased") || str_eq(state, "running");
}

static struct failed_at *failed_of(struct checker *c, const char *key)
{
    struct failed_at *f = NULL;
    HASH_FIND_STR(c->failed, key, f);
    return f;
}

static void note_failed(struct sim *s, const char *key)
{
    struct failed_at *f = failed_of(s->check, key);
    if (!f) {
        f = xnew(struct failed_at);
        f->key = xstrdup(key);
        HASH_ADD_KEYPTR(hh, s->check->failed, f->key, strlen(f->key), f);
    }
    f->at = sim_mono(s);
}

/* A failure is tried again of itself, but not before an hour. */
static bool tried_again(struct sim *s, const struct change *old, const char *key)
{
    const struct failed_at *f = failed_of(s->check, key);
    if (!str_eq(row_text(old, "state"), "failed"))
        return false;
    /* For want of memory: as soon as a board with more comes. */
    return !f || sim_mono(s) - f->at >= 3600000 || str_eq(row_text(old, "kind"), "memory");
}

/* Whether a person asked for the job, for one of the tracks that want it now, or for another job of their builds. */
static bool asked_again(struct sim *s, const char *key)
{
    const strvec *asked = &s->check->ever_asked;
    if (strvec_has(asked, key))
        return true;
    VEC_FOREACH (&job_find(s->m, key)->builds, b) {
        if (strvec_has(asked, (*b)->track_id))
            return true;
        VEC_FOREACH (&(*b)->jobs, bj)
            if (strvec_has(asked, (*bj)->job_key))
                return true;
    }
    return false;
}

static void inv06_settled_keys_stay(struct sim *s, const struct change *old,
                                    const struct change *now)
{
    const struct checker *c = s->check;
    const char *key = row_text(now, "key");
    if (row_int(now, "epoch") < row_int(old, "epoch"))
        sim_fail(s, __func__, "the epoch of %.14s falls", key);
    if (!settled(old) || !under_way(now))
        return;
    if (strvec_has(&c->missing_jobs, key) || tried_again(s, old, key))
        return;
    bool succeeded = str_eq(row_text(old, "state"), "succeeded");
    if (succeeded || !asked_again(s, key))
        sim_fail(s, __func__, "%.14s of %s was %s, and is wanted again", key,
                 row_text(now, "track"), row_text(old, "state"));
}

static void inv06_one_epoch(struct sim *s)
{
    for (const struct attempt *a = s->m->attempts; a; a = a->hh.next) {
        bool live = a->state == ATTEMPT_GRANTED || a->state == ATTEMPT_RUNNING;
        if (!live || a->cancel)
            continue;
        if (a->job->live != a || a->epoch != a->job->epoch)
            sim_fail(s, __func__, "%s is %s with epoch %" PRId64 ", its key's is %" PRId64,
                     a->lease, attempt_state_names[a->state], a->epoch, a->job->epoch);
        /* A late success undoes a failure. */
        if (a->job->state != JOB_LEASED && a->job->state != JOB_RUNNING &&
            a->job->state != JOB_FAILED)
            sim_fail(s, __func__, "%s is %s, its job is %s", a->lease,
                     attempt_state_names[a->state], job_state_names[a->job->state]);
    }
}

/* ---- 7: leases and results ---- */

static struct lease_seen *lease_of(struct checker *c, int64_t id)
{
    struct lease_seen *l = NULL;
    HASH_FIND(hh, c->leases, &id, sizeof(id), l);
    return l;
}

void check_listed(struct sim *s, const char *lease, int64_t epoch, const char *board)
{
    struct lease_seen *l = lease_of(s->check, strtoll(lease + 1, NULL, 10));
    if (l && l->epoch == epoch && str_eq(l->board, board))
        l->listed = sim_mono(s);
}

static void inv07_leases_end(struct sim *s)
{
    int64_t mono = sim_mono(s);
    for (const struct attempt *a = s->m->attempts; a; a = a->hh.next) {
        struct lease_seen *l = lease_of(s->check, a->id);
        if (!l) {
            l = xnew(struct lease_seen);
            *l = (struct lease_seen){.id = a->id, .epoch = a->epoch, .listed = mono};
            snprintf(l->board, sizeof(l->board), "%s", a->board_name);
            HASH_ADD(hh, s->check->leases, id, sizeof(l->id), l);
        }
        if (a->state != ATTEMPT_LOST && mono - l->listed > s->spec.lease_term_ms)
            sim_fail(s, __func__, "%s is %s, and no poll listed it for %" PRId64 " s", a->lease,
                     attempt_state_names[a->state], (mono - l->listed) / 1000);
    }
}

/* What a call changed: nothing but one answer. */
static void unchanged(struct sim *s, const char *lease, const struct wire_result *result,
                      const char *what)
{
    struct model *m = s->m;
    size_t dirty = m->dirty.n, plan = m->plan.n, rows = m->turn->delta.changes.n;
    size_t effects = m->turn->effects.n;
    model_on_result(m, lease, result, UINT64_MAX);
    if (m->turn->effects.n != effects + 1 || m->turn->effects.items[effects].status != 409)
        sim_fail(s, "inv07_leases_end", "%s: %s is taken", lease, what);
    if (m->dirty.n != dirty || m->plan.n != plan || m->turn->delta.changes.n != rows)
        sim_fail(s, "inv07_leases_end", "%s: %s changes something", lease, what);
}

void check_again(struct sim *s, const char *lease, const struct wire_result *result)
{
    unchanged(s, lease, result, "a result that comes twice");
}

void check_stale(struct sim *s, const char *lease, const struct wire_result *result)
{
    struct wire_result old = *result, later = *result;
    old.epoch--;
    later.epoch++;
    unchanged(s, lease, &old, "a result of an older epoch");
    unchanged(s, lease, &later, "a result of an epoch that never was");
}

void check_idempotent(struct sim *s, const struct command *c)
{
    struct command_answer again = {0};
    struct err err = ERR_INIT;
    if (c->verb == COMMAND_REBUILD || (c->verb == COMMAND_ROLLBACK && !c->publication))
        return; /* each asking is another one */
    int r = model_on_command(s->m, c, &again, &err);
    if (r == 0 && again.changed)
        sim_fail(s, "inv00_commands_are_idempotent", "%s %s twice: %s", command_name(c->verb),
                 c->track ? c->track : "", again.text);
    command_answer_done(&again);
}

/* ---- design rule 9 ---- */

static void rule09_second_sighting(struct sim *s, const struct change *old,
                                   const struct change *now)
{
    const char *was = row_text(old, "commit"), *is = row_text(now, "commit");
    if (row_int(now, "deleted") && !row_int(old, "deleted") && !row_int(old, "missing"))
        sim_fail(s, __func__, "%s counts as deleted at once", row_text(now, "name"));
    const char *pending = row_text(old, "pending_commit");
    if (str_eq(was, is) || str_eq(pending, is))
        return;
    for (unsigned i = 0; i < MAX_SOURCES; i++) {
        const struct upstream_sim *up = &s->source[i].up;
        int from = upstream_find(up, was), to = upstream_find(up, is);
        int before = upstream_find(up, pending);
        bool follows =
            before >= 0 && upstream_descends(up, to, before) && !upstream_descends(up, from, to);
        if (str_eq(source_url(i), row_text(now, "source")) && from >= 0 && to >= 0 && !follows &&
            !upstream_descends(up, to, from))
            sim_fail(s, __func__, "%s moves to what is no descendant at once",
                     row_text(now, "name"));
    }
}

static void note_moved(struct checker *c, const char *source, const char *name)
{
    cleanup_free char *ref = xasprintf("%s %s", source, name);
    strvec_add(&c->moved_refs, ref);
}

static void ref_written(struct sim *s, const struct change *old, const struct change *now)
{
    rule09_second_sighting(s, old, now);
    if (!str_eq(row_text(old, "commit"), row_text(now, "commit")))
        note_moved(s->check, row_text(now, "source"), row_text(now, "name"));
}

/* ---- rows ---- */

/* What is not built is built for nothing. */
static void inv10_stopped_build_nothing(struct sim *s, const struct change *now)
{
    const struct job *j = job_find(s->m, row_text(now, "key"));
    VEC_FOREACH (&j->builds, b)
        if ((*b)->track && (*b)->track->current == *b && !(*b)->track->stopped)
            return;
    sim_fail(s, __func__, "%.14s of %s is wanted, and all who could want it have stopped", j->key,
             j->track);
}

static void job_written(struct sim *s, const struct change *old, const struct change *now)
{
    if (str_eq(row_text(now, "state"), "wanted"))
        inv10_stopped_build_nothing(s, now);
    if (!old) {
        strvec_add(&s->check->new_jobs, row_text(now, "key"));
        return;
    }
    inv06_settled_keys_stay(s, old, now);
    if (!under_way(old) &&
        under_way(now)) /* what was superseded waits for its ancestors like what is new */
        strvec_add(settled(old) ? &s->check->again_jobs : &s->check->new_jobs,
                   row_text(now, "key"));
    if (str_eq(row_text(now, "state"), "failed") && !str_eq(row_text(old, "state"), "failed"))
        note_failed(s, row_text(now, "key"));
}

static bool same_row(const struct change *a, const struct change *b)
{
    for (size_t i = 0; i < b->n_cells; i++)
        if (a->cells[i].i != b->cells[i].i || !str_eq(a->cells[i].s, b->cells[i].s))
            return false;
    return a->deleted == b->deleted;
}

void check_row(struct sim *s, const struct change *old, const struct change *now)
{
    s->check->rows += !old || !same_row(old, now);
    if (now->table == TABLE_TRACK && old && row_int(now, "dormant") && !row_int(old, "dormant") &&
        str_eq(row_text(old, "awake"), "asked"))
        sim_fail(s, "rule08_asked_stay", "%s sleeps though a person woke it", row_text(now, "id"));
    coverage_row(old, now);
    if (s->flags & HISTORY_VERBOSE)
        say_row(s, old, now);
    if (now->deleted)
        return;
    if (now->table == TABLE_JOB)
        job_written(s, old, now);
    else if (now->table == TABLE_PUBLICATION && !old)
        publication_decided(s, now);
    else if (now->table == TABLE_BUILD && !old)
        inv10_dormant_build_nothing(s, now);
    else if (now->table == TABLE_TRACK && old && row_int(old, "dormant") != row_int(now, "dormant"))
        strvec_add(row_int(now, "dormant") ? &s->check->slept : &s->check->woken,
                   row_text(now, "id"));
    else if (now->table == TABLE_TAG && old)
        inv10_held_owners_stay(s, old, now);
    else if (now->table == TABLE_REF && old)
        ref_written(s, old, now);
}

uint64_t check_rows_written(const struct sim *s)
{
    return s->check->rows;
}

void check_committed(struct sim *s, const struct change *row)
{
    (void)s;
    (void)row;
}

/* What is to go to another board, or to one with more memory, waits for one that takes work or may do so again. */
static void inv11_waits_end(struct sim *s)
{
    for (const struct queue *q = s->m->queues; q; q = q->hh.next)
        VEC_FOREACH (&q->heap, it) {
            const struct job *j = *it;
            if ((j->timeouts > 0 || j->memory_above) && !schedule_has_board(s->m, j))
                sim_fail(s, __func__, "%s for %s waits for a board, and there is none to wait for",
                         j->track, j->platform_name);
        }
}

void check_pass(struct sim *s)
{
    check_new_jobs(s);
    check_woken(s);
    inv06_one_epoch(s);
    inv07_leases_end(s);
    inv11_waits_end(s);
    forget_causes(s->check);
}
