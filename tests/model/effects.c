/* What effects do outside: the registry, upstream, outside registries. Each is carried out in one go, and fails, or
 * loses its answer, as the history says. */
#include "tests/model/check.h"

/* ---- starting ---- */

static void keep_op(struct sim *s, struct effect *e)
{
    struct op op = {.effect = *e};
    *e = (struct effect){0};
    if (op.effect.kind == EFFECT_RESOLVE_BASE) {
        const char *known = model_base_digest(s->m, op.effect.reference);
        snprintf(op.known, sizeof(op.known), "%s", known ? known : "");
    }
    vec_push(&s->ops, op);
}

void effect_start(struct sim *s, struct effect *e)
{
    switch (e->kind) {
    case EFFECT_REPLY:
        rpc_reply(s, e->token, e->status, e->body);
        return;
    case EFFECT_LEASE:
        return;
    default:
        keep_op(s, e);
    }
}

/* ---- upstream ---- */

static unsigned source_index(const char *url)
{
    for (unsigned i = 0; i < MAX_SOURCES; i++)
        if (str_eq(source_url(i), url))
            return i;
    return 0;
}

void context_read(struct sim *s, const struct context_wanted *of, struct context_read *ret)
{
    struct upstream_sim *up = &s->source[source_index(of->source)].up;
    int commit = upstream_find(up, of->commit);
    if (commit < 0)
        sim_fail(s, "inv00_commits_are_the_sources", "%.12s is asked of %s, which has it not",
                 of->commit, of->source);
    int version = upstream_version(up, commit, of->path);
    uint64_t content = upstream_content(up, version, of->path);
    *ret = (struct context_read){.facts = {.exists = upstream_folder_exists(up, version, of->path),
                                           .time = up->commits.items[commit].time,
                                           .size = 1000}};
    struct context_facts *facts = &ret->facts;
    digest_from(mix2(content, 5), ret->id);
    ret->dockerfile = farm_spec_dockerfile(&s->spec, image_of_path(of->path), content);
    if (facts->exists && content % 40 == 7) {
        facts->error = "a link leads out of the folder";
    } else if (facts->exists) {
        facts->id = ret->id;
        facts->dockerfile_text = of->dockerfile && content % 30 != 3 ? ret->dockerfile : NULL;
    }
}

static void inspect(struct sim *s, const struct effect *e, bool fail)
{
    const struct upstream_sim *up = &s->source[source_index(e->source)].up;
    const struct context_wanted of = {e->source, e->commit, e->path, e->dockerfile};
    struct context_read read;
    if (fail || up->away) {
        model_on_context_failed(sim_turn(s), e->source, e->commit, e->path, e->dockerfile,
                                "the repository is away");
        return;
    }
    context_read(s, &of, &read);
    model_on_context(sim_turn(s), e->source, e->commit, e->path, e->dockerfile, &read.facts);
    free(read.dockerfile);
}

void source_list(struct sim *s, unsigned source, unsigned lag)
{
    struct source_sim *src = &s->source[source];
    if (src->listing)
        return;
    struct upstream_sim *up = &src->up;
    src->listing = true;
    src->listed = lag && up->past.n >= lag ? up->past.items[up->past.n - lag] : up->refs;
    for (unsigned i = 0; i < MAX_REFS; i++) {
        const char *known = model_ref_commit(s->m, source_url(source), ref_name(i));
        snprintf(src->known[i], sizeof(src->known[i]), "%s", known ? known : "");
        const char *pending = model_ref_pending(s->m, source_url(source), ref_name(i));
        snprintf(src->pending[i], sizeof(src->pending[i]), "%s", pending ? pending : "");
    }
}

static bool wanted_ref(const strvec *patterns, const char *ref)
{
    VEC_FOREACH (patterns, pattern) {
        const char *star = strchr(*pattern, '*');
        size_t n = star ? (size_t)(star - *pattern) : 0;
        if (star ? strncmp(*pattern, ref, n) == 0 && strlen(ref) > n : str_eq(*pattern, ref))
            return true;
    }
    return false;
}

void source_listed(struct sim *s, unsigned source, bool lost)
{
    struct source_sim *src = &s->source[source];
    if (!src->listing)
        return;
    src->listing = false;
    sim_pass(s); /* two sightings are never of one turn */
    if (lost || src->up.away) {
        model_on_source_failed(sim_turn(s), source_url(source), "the repository is away");
        return;
    }
    cleanup_strvec strvec patterns = {0};
    struct seen_ref seen[MAX_REFS];
    size_t n = 0;
    model_source_patterns(s->m, source_url(source), &patterns);
    for (unsigned i = 0; i < MAX_REFS; i++) {
        int at = src->listed.at[i];
        if (at < 0 || !wanted_ref(&patterns, ref_name(i)))
            continue;
        int known = upstream_find(&src->up, src->known[i]);
        int pending = upstream_find(&src->up, src->pending[i]);
        bool descends = known < 0 || upstream_descends(&src->up, at, known);
        seen[n++] = (struct seen_ref){.name = ref_name(i),
                                      .commit = src->up.commits.items[at].id,
                                      .descends = descends,
                                      .follows = !descends && pending >= 0 &&
                                                 upstream_descends(&src->up, at, pending) &&
                                                 !upstream_descends(&src->up, known, at)};
    }
    model_on_refs(sim_turn(s), source_url(source), seen, n);
}

/* ---- outside bases ---- */

static void resolve(struct sim *s, const struct op *op, bool fail)
{
    unsigned base = 0;
    const char *reference = op->effect.reference;
    while (base < N_OUTSIDE && !str_eq(outside_name(base), reference))
        base++;
    if (base == N_OUTSIDE) {
        model_on_base_failed(sim_turn(s), reference, true, "no such image", 0);
        return;
    }
    const struct outside_sim *o = &s->outside[base];
    if (fail || o->away || o->gone) {
        bool gone = !fail && !o->away;
        model_on_base_failed(sim_turn(s), reference, gone, gone ? "no such tag" : "it is away", 0);
        return;
    }
    char digest[72], child[N_PLATFORMS][72];
    struct base_child children[N_PLATFORMS];
    size_t n = 0;
    outside_digest(base, o, digest);
    for (unsigned p = 0; p < N_PLATFORMS; p++)
        if (outside_child(base, o, (enum platform)p, child[p]))
            children[n++] = (struct base_child){(enum platform)p, child[p]};
    bool unchanged = str_eq(op->known, digest);
    model_on_base(sim_turn(s), reference, digest, children, unchanged ? 0 : n, unchanged);
}

/* ---- the registry ---- */

struct published {
    bool ok;
    enum publish_step step; /* that failed */
    enum publish_failure failure;
    enum platform platform;
    char error[160];
};

static struct published away(const char *error)
{
    struct published p = {.failure = PUBLISH_AWAY, .platform = PLATFORM_COUNT};
    snprintf(p.error, sizeof(p.error), "%s", error);
    return p;
}

static struct published check_children(struct registry_repository *repo, const struct effect *e)
{
    VEC_FOREACH (&e->children, c) {
        const struct manifest *m = registry_manifest(repo, c->digest);
        if (m && m->platform == c->platform && str_eq(m->media_type, c->media_type))
            continue;
        struct published p = away(m ? "the child is not what its board said" : "no such child");
        p.failure = PUBLISH_MISSING;
        p.platform = c->platform;
        return p;
    }
    return (struct published){.ok = true};
}

static struct published put_tag(struct sim *s, struct registry_repository *repo,
                                const struct effect *e, const struct effect_tag *tag)
{
    const char *now = registry_tag(repo, tag->tag);
    if (str_eq(now, tag->digest))
        return (struct published){.ok = true};
    if (now && !e->adopt && !effect_knows(e, now)) {
        struct published p = away("a tag names what this farm did not publish");
        p.failure = PUBLISH_FOREIGN;
        return p;
    }
    if (tag->index ? !registry_put_index(repo, e) : !registry_manifest(repo, tag->digest))
        return away("the registry refuses: a manifest is not there");
    check_put(s, e, tag);
    registry_set_tag(repo, tag->tag, tag->digest);
    covered(COVERED_MOVED_TAGS);
    return (struct published){.ok = true};
}

/* Tags of one rank are put side by side: each is told of by itself, also when others fail; those of the next rank only when all
 * are right. After `most` of them the registry is there no more, or nobody to ask it. */
static struct published put_tags(struct sim *s, struct registry_repository *repo,
                                 const struct effect *e, strvec *done, size_t most)
{
    struct published all = {.ok = true};
    size_t first = s->step ? s->step->a : 0;
    for (size_t i = 0, n; all.ok && i < e->tags.n; i += n) {
        for (n = 1; i + n < e->tags.n && e->tags.items[i + n].rank == e->tags.items[i].rank; n++)
            ;
        for (size_t k = 0; k < n; k++) {
            const struct effect_tag *tag = &e->tags.items[i + (first + k) % n];
            struct published one =
                most ? put_tag(s, repo, e, tag) : away("the registry does not answer any more");
            most -= most > 0;
            if (one.ok)
                strvec_add(done, tag->tag);
            else
                all = one;
        }
    }
    all.step = PUBLISH_TAGS;
    return all;
}

static struct published put_index(struct registry_repository *repo, const struct effect *e)
{
    struct published p = check_children(repo, e);
    if (!p.ok)
        return p;
    if (!registry_put_index(repo, e))
        p = away("the registry refuses: a child is not there");
    else if (e->tags.n)
        registry_set_tag(repo, e->tags.items[0].tag, e->digest);
    p.step = PUBLISH_INDEX;
    return p;
}

/* A retention tag: its place names the manifest from now on. */
static struct published retain(struct registry_repository *repo, const struct effect *e)
{
    struct published p = away("no such manifest");
    p.failure = PUBLISH_MISSING;
    struct manifest *m = registry_manifest(repo, e->digest);
    if (!m && e->tags.items[0].index && registry_put_index(repo, e))
        m = registry_manifest(repo, e->digest);
    if (!m)
        return p;
    registry_set_tag(repo, e->tags.items[0].tag, e->digest);
    return (struct published){.ok = true};
}

static struct published put_and_verify(struct sim *s, struct registry_repository *repo,
                                       const struct effect *e, strvec *done, size_t most)
{
    struct published p = put_tags(s, repo, e, done, most);
    if (!p.ok)
        return p;
    VEC_FOREACH (&e->tags, tag)
        if (!str_eq(registry_tag(repo, tag->tag), tag->digest))
            p = away("a tag was read back as something else");
    p.step = PUBLISH_VERIFY;
    return p;
}

/* It breaks off after `most` PUTs of tags. */
static struct published execute(struct sim *s, const struct effect *e, strvec *done, size_t most)
{
    if (s->registry.away)
        return away("the registry is away");
    struct registry_repository *repo = registry_repository(&s->registry, e->repository);
    if (e->kind == EFFECT_RETAIN)
        return retain(repo, e);
    switch (e->step) {
    case PUBLISH_CHILDREN:
        return check_children(repo, e);
    case PUBLISH_INDEX:
        return put_index(repo, e);
    default:
        return put_and_verify(s, repo, e, done, most);
    }
}

static void retained(struct sim *s, const struct effect *e, const struct published *p)
{
    const char *name = e->tags.items[0].tag;
    sim_say(s, "retention tag %s of %s: %s", name, e->repository, p->ok ? "done" : p->error);
    if (p->ok) {
        covered(COVERED_RETAINED);
        model_on_retained(sim_turn(s), e->repository, name, e->digest);
        return;
    }
    if (p->failure == PUBLISH_MISSING) {
        covered(COVERED_CHILD_MISSING);
        check_missing_manifest(s, e->digest);
    }
    model_on_retain_failed(sim_turn(s), e->repository, name, e->digest, p->failure, p->error, 0);
}

static void answer(struct sim *s, const struct effect *e, const struct published *p,
                   const strvec *done)
{
    static const char *const steps[] = {"children", "index", "tags", "verify"};
    sim_say(s, "publication %lld, to its %s: %s", (long long)e->publication, steps[e->step],
            p->ok ? "done" : p->error);
    VEC_FOREACH (done, tag)
        model_on_publication_tag(sim_turn(s), e->publication, *tag);
    if (p->ok) {
        model_on_publication_step(sim_turn(s), e->publication, e->step);
        return;
    }
    if (p->failure == PUBLISH_MISSING) {
        covered(COVERED_CHILD_MISSING);
        check_missing(s, e->publication, p->platform);
    }
    if (p->failure == PUBLISH_FOREIGN)
        covered(COVERED_STOPPED);
    model_on_publication_failed(sim_turn(s), e->publication, p->step, p->failure, p->platform,
                                p->error, 0);
}

/* How many of its tags are PUT before it breaks off. */
static size_t some_tags(const struct sim *s, const struct effect *e)
{
    return s->step ? s->step->b / 8 % (e->tags.n + 1) : 0;
}

static void run_publish(struct sim *s, struct op *op, enum op_way way)
{
    const struct effect *e = &op->effect;
    cleanup_strvec strvec done = {0};
    bool tags = e->kind == EFFECT_PUBLISH && e->step == PUBLISH_VERIFY;
    struct published p = away("the registry is away");
    if (way == OP_FAILED && tags) { /* in the middle of it */
        p = execute(s, e, &done, some_tags(s, e));
        if (p.ok)
            p = away("the registry is away by now");
        p.step = p.step > PUBLISH_TAGS ? p.step : PUBLISH_TAGS;
    } else if (way != OP_FAILED) {
        p = execute(s, e, &done, SIZE_MAX);
    }
    if (way == OP_ANSWER_LOST) {
        strvec_done(&done);
        p = away("the registry did not answer");
        p.step = tags ? PUBLISH_TAGS : e->step;
    }
    if (e->kind == EFFECT_RETAIN)
        retained(s, e, &p);
    else
        answer(s, e, &p, &done);
}

/* Outside, without anybody being told. */
static void execute_unseen(struct sim *s, const struct effect *e, size_t most)
{
    cleanup_strvec strvec done = {0};
    if (e->kind == EFFECT_PUBLISH || e->kind == EFFECT_RETAIN)
        execute(s, e, &done, most);
}

static void audit(struct sim *s, const struct effect *e, bool fail)
{
    struct registry_repository *repo = registry_repository(&s->registry, e->repository);
    if (fail || s->registry.away) {
        model_on_audit_failed(sim_turn(s), e->repository, 0);
        return;
    }
    VEC(struct audited) seen = {0};
    VEC_FOREACH (&e->tags, tag)
        vec_push(&seen, (struct audited){tag->tag, tag->digest, registry_tag(repo, tag->tag)});
    sim_say(s, "an audit of %s", e->repository);
    covered(COVERED_AUDITED);
    model_on_audited(sim_turn(s), e->repository, seen.items, seen.n);
    vec_free(&seen);
}

void op_run(struct sim *s, size_t at, enum op_way way)
{
    if (at >= s->ops.n)
        return;
    struct op op = s->ops.items[at];
    if (way == OP_DONE_LATER) { /* what is carried out twice is as if it were once */
        execute_unseen(s, &op.effect, SIZE_MAX);
        return;
    }
    vec_remove(&s->ops, at);
    switch (op.effect.kind) {
    case EFFECT_INSPECT:
        inspect(s, &op.effect, way == OP_FAILED || way == OP_ANSWER_LOST);
        break;
    case EFFECT_RESOLVE_BASE:
        resolve(s, &op, way == OP_FAILED || way == OP_ANSWER_LOST);
        break;
    case EFFECT_AUDIT:
        audit(s, &op.effect, way == OP_FAILED || way == OP_ANSWER_LOST);
        break;
    default:
        run_publish(s, &op, way);
    }
    effect_done(&op.effect);
}

void op_orphaned(struct sim *s, struct op *op, bool landed)
{
    if (landed) /* up to some request */
        execute_unseen(s, &op->effect, some_tags(s, &op->effect));
    effect_done(&op->effect);
}
