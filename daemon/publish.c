/* What one effect asks for: the next steps of a publication, or one retention. Steps follow each other, a step's parts (a child,
 * the index, or a tag each) have no order among themselves, and run side by side.
 *
 *     to the index    children: each: GET the manifest, GET its config, compare with the slot
 *                     index: PUT under its retention tag (HEAD first)
 *     to the end      tags, those of each rank together: each: HEAD; if it is what it should be: done; if it names what the
 *                     store does not know: foreign; else PUT. Then HEAD every tag
 *     children alone  as above
 *
 * Which steps need a commit in between: ARCHITECTURE.md, "What a publication journals". A retention is a tag that nobody else has
 * business with: HEAD; if it is not what it should be: PUT.
 *
 * Failure modes: the registry is away or refuses (tried again by the model); a child is not there; a tag is
 * foreign. All parts under way are waited for before the step is said to have failed, with what tags were moved all the
 * same; no other step begins. A tag's PUT whose outcome is not known (it broke off, or was answered with 5xx: the registry may
 * have stored it, or may do so late) has its time limit waited out, so that it cannot land after a later generation's; the model
 * then asks for all of it again. So has one that an earlier coordinator may have sent before it ended, before the tags are read
 * back. */
#include "daemon/publish.h"

#include "common/clock.h"
#include "common/log.h"

#include <errno.h>

/* So many parts are under way at once. */
#define PARTS_AT_ONCE 4
/* Children's manifests that were read lately, for the tags that will name them: at most so many, of so many bytes. */
#define KEPT_MANIFESTS 24
#define KEPT_BYTES_MAX 65536

struct step;

struct part {
    struct step *s;
    size_t i; /* the child or tag */
    struct registry_op *op;
};

struct step {
    struct publisher *p;
    struct effect effect;
    struct registry *registry;
    const char *path;       /* of the repository, within the effect's */
    enum publish_step step; /* that is being done */
    bool *moved;            /* of the effect's tags: it names what it should */
    struct part *parts;     /* of this step, or rank; as many as the effect has children or tags */
    size_t first, n_parts, begun, ended; /* first: of the children or tags */
    uv_timer_t timer;                    /* waits out a PUT of unknown outcome */
    int64_t not_before;                  /* clock_mono_ms: it ends then at the earliest */
    bool failed;
    enum publish_failure failure; /* of the first part that failed, like all below */
    enum platform platform;
    struct err err;
    int64_t wait_ms; /* the longest that a part was told to wait */
    struct step *prev, *next;
};

struct manifest {
    char *repository, *digest, *media_type;
    struct strbuf bytes;
};

struct publisher {
    uv_loop_t *loop;
    struct registries *registries;
    publish_done_fn done;
    void *data;
    struct step *steps;
    struct manifest kept[KEPT_MANIFESTS]; /* a ring */
    size_t next_kept;
    int64_t limit_ms,
        started;  /* started: clock_mono_ms, 0 once nothing of an earlier coordinator is resumed */
    bool closing; /* freed with its last step */
};

struct publisher *publisher_new(uv_loop_t *loop, struct registries *registries,
                                publish_done_fn done, void *data)
{
    struct publisher *p = xnew(struct publisher);
    *p = (struct publisher){.loop = loop,
                            .registries = registries,
                            .done = done,
                            .data = data,
                            .limit_ms = 60000,
                            .started = clock_mono_ms()};
    return p;
}

void publisher_set_limit(struct publisher *p, int64_t ms)
{
    p->limit_ms = ms;
}

void publisher_resumed(struct publisher *p)
{
    p->started = 0;
}

/* ---- children's manifests ---- */

static void manifest_done(struct manifest *m)
{
    free(m->repository);
    free(m->digest);
    free(m->media_type);
    strbuf_done(&m->bytes);
}

static const struct manifest *find_kept(const struct step *s, const char *digest)
{
    for (size_t i = 0; i < KEPT_MANIFESTS; i++) {
        const struct manifest *m = &s->p->kept[i];
        if (str_eq(m->digest, digest) && str_eq(m->repository, s->effect.repository))
            return m;
    }
    return NULL;
}

static void keep_manifest(const struct step *s, const struct registry_result *r)
{
    struct publisher *p = s->p;
    if (r->body.n > KEPT_BYTES_MAX || find_kept(s, r->digest))
        return;
    struct manifest *m = &p->kept[p->next_kept++ % KEPT_MANIFESTS];
    manifest_done(m);
    *m = (struct manifest){.repository = xstrdup(s->effect.repository),
                           .digest = xstrdup(r->digest),
                           .media_type = xstrdup(r->media_type)};
    strbuf_addn(&m->bytes, r->body.s, r->body.n);
}

/* ---- ends ---- */

static void free_publisher(struct publisher *p)
{
    for (size_t i = 0; i < KEPT_MANIFESTS; i++)
        manifest_done(&p->kept[i]);
    free(p);
}

static void free_step(uv_handle_t *handle)
{
    struct step *s = handle->data;
    effect_done(&s->effect);
    free(s->parts);
    free(s->moved);
    free(s);
}

static void drop(struct step *s)
{
    if (s->prev)
        s->prev->next = s->next;
    else
        s->p->steps = s->next;
    if (s->next)
        s->next->prev = s->prev;
    if (s->p->closing && !s->p->steps)
        free_publisher(s->p);
    uv_close((uv_handle_t *)&s->timer, free_step);
}

static void finish(struct step *s)
{
    struct publisher *p = s->p;
    struct publish_outcome o = {.publication = s->effect.publication,
                                .step = s->step,
                                .ok = !s->failed,
                                .repository = s->effect.repository,
                                .digest = s->effect.digest,
                                .failure = s->failure,
                                .platform = s->platform,
                                .error = s->err.text,
                                .wait_ms = s->wait_ms};
    if (s->effect.kind == EFFECT_RETAIN)
        o.retention = s->effect.tags.items[0].tag;
    VEC(const char *) tags = {0};
    for (size_t i = 0; i < s->effect.tags.n; i++)
        if (s->moved[i])
            vec_push(&tags, s->effect.tags.items[i].tag);
    o.tags = tags.items;
    o.n_tags = tags.n;
    if (s->failed && !p->closing)
        log_warning("publishing to %s: %s", s->effect.repository, s->err.text);
    if (!p->closing)
        p->done(p->data, &o);
    vec_free(&tags);
    drop(s);
}

/* ---- one after the other ---- */

static void begin_parts(struct step *s);
static void go_on(struct step *s);

static void on_waited(uv_timer_t *timer)
{
    go_on(timer->data);
}

static bool is_last(const struct step *s)
{
    if (s->step == PUBLISH_TAGS && s->first + s->n_parts < s->effect.tags.n)
        return false;
    return s->step == s->effect.step || s->effect.kind == EFFECT_RETAIN;
}

static void begin_step(struct step *s, enum publish_step step, size_t first);

static void go_on(struct step *s)
{
    if (s->failed || s->p->closing || is_last(s))
        finish(s);
    else if (s->step == PUBLISH_TAGS && s->first + s->n_parts < s->effect.tags.n)
        begin_step(s, PUBLISH_TAGS, s->first + s->n_parts);
    else
        begin_step(s, s->step + 1, 0);
}

/* A PUT of unknown outcome may still land: nothing else is written to the tag, and nothing is read back, until its time limit
 * is over. */
static void end_step(struct step *s)
{
    int64_t wait = s->not_before - clock_mono_ms();
    bool waits = s->failed || s->first + s->n_parts == s->effect.tags.n;
    if (s->step != PUBLISH_TAGS || wait <= 0 || !waits || s->p->closing) {
        go_on(s);
        return;
    }
    uv_update_time(s->p->loop);
    uv_timer_start(&s->timer, on_waited, (uint64_t)wait, 0);
}

static void end_part(struct part *part)
{
    struct step *s = part->s;
    part->op = NULL;
    s->ended++;
    if (s->ended == s->begun && (s->failed || s->p->closing))
        end_step(s);
    else if (s->ended < s->n_parts)
        begin_parts(s);
    else
        end_step(s);
}

static void succeed(struct part *part)
{
    struct step *s = part->s;
    if (s->step == PUBLISH_TAGS)
        s->moved[part->i] = true;
    end_part(part);
}

static void fail(struct part *part, enum publish_failure failure, const char *error)
{
    struct step *s = part->s;
    if (!s->failed) {
        s->failed = true;
        s->failure = failure;
        (void)!err_set(&s->err, -EIO, "%s", error);
        if (s->step == PUBLISH_CHILDREN)
            s->platform = s->effect.children.items[part->i].platform;
    }
    end_part(part);
}

/* As the registry answered. */
static void fail_asked(struct part *part, enum publish_failure failure,
                       const struct registry_result *result, const struct err *err)
{
    struct step *s = part->s;
    if (result->retry_after_ms > s->wait_ms)
        s->wait_ms = result->retry_after_ms;
    fail(part, failure, err->text);
}

static void fail_away(struct part *part, const struct registry_result *result,
                      const struct err *err)
{
    fail_asked(part, PUBLISH_AWAY, result, err);
}

/* ---- a child ---- */

static void on_config(void *arg, struct registry_result *result, const struct err *err)
{
    struct part *part = arg;
    const struct effect_child *child = &part->s->effect.children.items[part->i];
    if (err) {
        fail_asked(part, err->code == -ENOENT ? PUBLISH_MISSING : PUBLISH_AWAY, result, err);
        return;
    }
    cleanup_oci_config struct oci_config config = {0};
    struct err bad = ERR_INIT;
    if (oci_config_parse(strbuf_str(&result->body), result->body.n, &config, &bad) < 0 ||
        oci_config_check_platform(&config, child->platform, &bad) < 0)
        fail(part, PUBLISH_MISSING, bad.text);
    else
        succeed(part);
}

static void on_child(void *arg, struct registry_result *result, const struct err *err)
{
    struct part *part = arg;
    struct step *s = part->s;
    const struct effect_child *child = &s->effect.children.items[part->i];
    if (err) {
        fail_asked(part, err->code == -ENOENT ? PUBLISH_MISSING : PUBLISH_AWAY, result, err);
        return;
    }
    cleanup_oci_manifest struct oci_manifest manifest = {0};
    struct err bad = ERR_INIT;
    if (!str_eq(result->media_type, child->media_type)) {
        fail(part, PUBLISH_MISSING, "the child's media type is not what its board said");
        return;
    }
    if (oci_manifest_parse(strbuf_str(&result->body), result->body.n, result->media_type, &manifest,
                           &bad) < 0) {
        fail(part, PUBLISH_MISSING, bad.text);
        return;
    }
    keep_manifest(s, result);
    part->op = registry_blob_get(s->registry, s->path, manifest.config.digest, manifest.config.size,
                                 http_sink_memory(OCI_MANIFEST_MAX), on_config, part);
}

/* ---- the index ---- */

static void on_index(void *arg, struct registry_result *result, const struct err *err)
{
    if (err)
        fail_away(arg, result, err);
    else
        succeed(arg);
}

/* Under its retention tag, so that no registry collects it before the first tag names it. Once: of one that failed the model
 * knows that it may still land (retain_index_end). */
static void put_index(struct part *part)
{
    struct step *s = part->s;
    struct registry_put put = {.repository = s->path,
                               .reference = s->effect.tags.n ? s->effect.tags.items[0].tag
                                                             : s->effect.digest,
                               .media_type = s->effect.media_type,
                               .body = s->effect.bytes,
                               .size = strlen(s->effect.bytes),
                               .once = true};
    part->op = registry_manifest_put(s->registry, &put, on_index, part);
}

/* ---- a tag ---- */

static void on_tag_put(void *arg, struct registry_result *result, const struct err *err)
{
    struct part *part = arg;
    if (!err) {
        succeed(part);
        return;
    }
    if (result->unknown || err->code == -ECANCELED)
        part->s->not_before = clock_mono_ms() + part->s->p->limit_ms;
    if (err->code == -ENODATA && part->s->effect.kind == EFFECT_RETAIN) {
        fail(part, PUBLISH_MISSING, err->text);
        return;
    }
    fail_away(part, result, err);
}

static void put_tag(struct part *part, const char *media_type, const char *bytes, size_t n)
{
    struct step *s = part->s;
    struct registry_put put = {.repository = s->path,
                               .reference = s->effect.tags.items[part->i].tag,
                               .media_type = media_type,
                               .body = bytes,
                               .size = n,
                               .once = true,
                               .looked = true};
    part->op = registry_manifest_put(s->registry, &put, on_tag_put, part);
}

static void on_child_bytes(void *arg, struct registry_result *result, const struct err *err)
{
    const struct part *part = arg;
    if (err && err->code == -ENOENT && part->s->effect.kind == EFFECT_RETAIN)
        fail(arg, PUBLISH_MISSING, err->text);
    else if (err)
        fail_away(arg, result, err);
    else
        put_tag(arg, result->media_type, strbuf_str(&result->body), result->body.n);
}

static void move_tag(struct part *part)
{
    struct step *s = part->s;
    const struct effect_tag *tag = &s->effect.tags.items[part->i];
    if (tag->index) {
        put_tag(part, s->effect.media_type, s->effect.bytes, strlen(s->effect.bytes));
        return;
    }
    const struct manifest *m = find_kept(s, tag->digest);
    if (m)
        put_tag(part, m->media_type, strbuf_str(&m->bytes), m->bytes.n);
    else
        part->op = registry_manifest_get(s->registry, s->path, tag->digest, on_child_bytes, part);
}

static void on_tag_head(void *arg, struct registry_result *result, const struct err *err)
{
    struct part *part = arg;
    struct step *s = part->s;
    const struct effect_tag *tag = &s->effect.tags.items[part->i];
    if (err && err->code != -ENOENT) {
        fail_away(part, result, err);
    } else if (!err && str_eq(result->digest, tag->digest)) {
        succeed(part);
    } else if (!err && !s->effect.adopt && !effect_knows(&s->effect, result->digest)) {
        cleanup_free char *text = xasprintf("tag %s names %.19s, which this farm did not publish",
                                            tag->tag, result->digest);
        fail(part, PUBLISH_FOREIGN, text);
    } else {
        move_tag(part);
    }
}

/* ---- reading back ---- */

static void on_verify(void *arg, struct registry_result *result, const struct err *err)
{
    struct part *part = arg;
    const struct effect_tag *tag = &part->s->effect.tags.items[part->i];
    if (err) {
        fail_away(part, result, err);
    } else if (!str_eq(result->digest, tag->digest)) {
        cleanup_free char *text = xasprintf("tag %s was read back as %.19s, not as %.19s", tag->tag,
                                            result->digest, tag->digest);
        fail(part, PUBLISH_AWAY, text);
    } else {
        succeed(part);
    }
}

/* ---- beginning ---- */

static void begin_part(struct part *part)
{
    struct step *s = part->s;
    switch (s->step) {
    case PUBLISH_CHILDREN:
        part->op = registry_manifest_get(s->registry, s->path,
                                         s->effect.children.items[part->i].digest, on_child, part);
        return;
    case PUBLISH_INDEX:
        put_index(part);
        return;
    case PUBLISH_TAGS:
    case PUBLISH_VERIFY:
        part->op = registry_manifest_head(s->registry, s->path, s->effect.tags.items[part->i].tag,
                                          s->step == PUBLISH_TAGS ? on_tag_head : on_verify, part);
    }
}

static void begin_parts(struct step *s)
{
    while (!s->failed && !s->p->closing && s->begun < s->n_parts &&
           s->begun - s->ended < PARTS_AT_ONCE)
        begin_part(&s->parts[s->begun++]);
}

/* How many of them from `first` on are done side by side. */
static size_t count_parts(const struct step *s, size_t first)
{
    const struct effect *e = &s->effect;
    if (s->step == PUBLISH_CHILDREN)
        return e->children.n;
    if (s->step == PUBLISH_INDEX)
        return 1;
    size_t n = first;
    while (n < e->tags.n &&
           (s->step == PUBLISH_VERIFY || e->tags.items[n].rank == e->tags.items[first].rank))
        n++;
    return n - first;
}

/* A step of no parts, ended from the loop like any other. */
static void on_nothing(uv_timer_t *timer)
{
    end_step(timer->data);
}

static void begin_step(struct step *s, enum publish_step step, size_t first)
{
    s->step = step;
    s->first = first;
    s->n_parts = count_parts(s, first);
    s->begun = s->ended = 0;
    for (size_t i = 0; i < s->n_parts; i++)
        s->parts[i] = (struct part){.s = s, .i = first + i};
    if (s->n_parts)
        begin_parts(s);
    else
        uv_timer_start(&s->timer, on_nothing, 0, 0);
}

void publish_start(struct publisher *p, struct effect *effect)
{
    struct step *s = xnew(struct step);
    s->p = p;
    s->effect = *effect;
    *effect = (struct effect){0};
    if (s->effect.kind == EFFECT_RETAIN) {
        s->effect.step = PUBLISH_TAGS;
        s->effect.adopt = true; /* nobody else's business is under our own names */
    }
    uv_timer_init(p->loop, &s->timer);
    s->timer.data = s;
    s->next = p->steps;
    if (s->next)
        s->next->prev = s;
    p->steps = s;
    if (p->started && s->effect.step == PUBLISH_VERIFY)
        s->not_before = p->started + p->limit_ms;
    s->registry = registries_of(p->registries, s->effect.repository, &s->path);
    size_t most = s->effect.children.n > s->effect.tags.n ? s->effect.children.n : s->effect.tags.n;
    s->parts = xcalloc(most + 1, sizeof(*s->parts)); /* an index may have neither */
    s->moved = xcalloc(s->effect.tags.n + 1, sizeof(*s->moved));
    bool tags = s->effect.kind == EFFECT_RETAIN || s->effect.step == PUBLISH_VERIFY;
    begin_step(s, tags ? PUBLISH_TAGS : PUBLISH_CHILDREN, 0);
}

void publisher_free(struct publisher *p)
{
    if (!p)
        return;
    p->closing = true;
    if (!p->steps) {
        free_publisher(p);
        return;
    }
    for (struct step *s = p->steps, *next; s; s = next) {
        next = s->next;
        if (uv_is_active((uv_handle_t *)&s->timer)) {
            drop(s); /* may free p, with the last one */
            continue;
        }
        for (size_t i = 0; i < s->begun; i++)
            if (s->parts[i].op)
                registry_op_cancel(s->parts[i].op);
    }
}
