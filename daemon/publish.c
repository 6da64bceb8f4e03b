/* One step of a publication.
 *
 *     children  for each: GET the manifest, GET its config, compare with the slot
 *     index     PUT by digest (HEAD first)
 *     tag       HEAD; if it is what it should be: done; if it names what the store does not know: foreign; else PUT
 *     verify    HEAD every tag
 *
 * Failure modes: the registry is away or refuses (tried again by the model); a child is not there; a tag is
 * foreign. A tag's PUT whose outcome is not known has its time limit waited out, so that it cannot land after a
 * later generation's; the model then reads back. */
#include "daemon/publish.h"

#include "common/log.h"

#include <errno.h>

/* The registry client gives up a request that stands still for so long. */
#define UNKNOWN_OUTCOME_MS 60000

struct step {
    struct publisher *p;
    struct effect effect;
    struct registry *registry;
    const char *path; /* of the repository, within the effect's */
    size_t i;         /* the child or tag at hand */
    struct registry_op *op;
    uv_timer_t timer; /* waits out a PUT of unknown outcome */
    struct err err;
    struct step *prev, *next;
};

struct publisher {
    uv_loop_t *loop;
    struct registries *registries;
    publish_done_fn done;
    void *data;
    struct step *steps;
    bool closing; /* freed with its last step */
};

struct publisher *publisher_new(uv_loop_t *loop, struct registries *registries,
                                publish_done_fn done, void *data)
{
    struct publisher *p = xnew(struct publisher);
    *p = (struct publisher){.loop = loop, .registries = registries, .done = done, .data = data};
    return p;
}

/* ---- ends ---- */

static void free_step(uv_handle_t *handle)
{
    struct step *s = handle->data;
    effect_done(&s->effect);
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
        free(s->p);
    uv_close((uv_handle_t *)&s->timer, free_step);
}

static void finish(struct step *s, struct publish_outcome *outcome)
{
    struct publisher *p = s->p;
    outcome->publication = s->effect.publication;
    outcome->step = s->effect.step;
    if (s->effect.step == PUBLISH_TAG)
        outcome->tag = s->effect.tags.items[0].tag;
    if (!outcome->ok && !p->closing)
        log_warning("publishing to %s: %s", s->effect.repository, outcome->error);
    if (!p->closing)
        p->done(p->data, outcome);
    drop(s);
}

static void succeed(struct step *s)
{
    finish(s, &(struct publish_outcome){.ok = true});
}

static void fail(struct step *s, enum publish_failure failure, const char *error)
{
    struct publish_outcome outcome = {.failure = failure, .error = error};
    if (s->effect.step == PUBLISH_CHILDREN && s->i < s->effect.children.n)
        outcome.platform = s->effect.children.items[s->i].platform;
    finish(s, &outcome);
}

static void fail_away(struct step *s, const struct err *err)
{
    fail(s, PUBLISH_AWAY, err->text);
}

/* ---- children ---- */

static void next_child(struct step *s);

static void on_config(void *arg, struct registry_result *result, const struct err *err)
{
    struct step *s = arg;
    const struct effect_child *child = &s->effect.children.items[s->i];
    if (err) {
        fail(s, err->code == -ENOENT ? PUBLISH_MISSING : PUBLISH_AWAY, err->text);
        return;
    }
    cleanup_oci_config struct oci_config config = {0};
    struct err bad = ERR_INIT;
    if (oci_config_parse(strbuf_str(&result->body), result->body.n, &config, &bad) < 0 ||
        oci_config_check_platform(&config, child->platform, &bad) < 0) {
        fail(s, PUBLISH_MISSING, bad.text);
        return;
    }
    s->i++;
    next_child(s);
}

static void on_child(void *arg, struct registry_result *result, const struct err *err)
{
    struct step *s = arg;
    const struct effect_child *child = &s->effect.children.items[s->i];
    if (err) {
        fail(s, err->code == -ENOENT ? PUBLISH_MISSING : PUBLISH_AWAY, err->text);
        return;
    }
    cleanup_oci_manifest struct oci_manifest manifest = {0};
    struct err bad = ERR_INIT;
    if (!str_eq(result->media_type, child->media_type)) {
        fail(s, PUBLISH_MISSING, "the child's media type is not what its board said");
        return;
    }
    if (oci_manifest_parse(strbuf_str(&result->body), result->body.n, result->media_type, &manifest,
                           &bad) < 0) {
        fail(s, PUBLISH_MISSING, bad.text);
        return;
    }
    s->op = registry_blob_get(s->registry, s->path, manifest.config.digest, manifest.config.size,
                              http_sink_memory(OCI_MANIFEST_MAX), on_config, s);
}

static void next_child(struct step *s)
{
    if (s->i == s->effect.children.n) {
        succeed(s);
        return;
    }
    s->op = registry_manifest_get(s->registry, s->path, s->effect.children.items[s->i].digest,
                                  on_child, s);
}

/* ---- the index ---- */

static void on_index(void *arg, struct registry_result *result, const struct err *err)
{
    (void)result;
    if (err)
        fail_away(arg, err);
    else
        succeed(arg);
}

static void put_index(struct step *s)
{
    struct registry_put put = {.repository = s->path,
                               .reference = s->effect.digest,
                               .media_type = s->effect.media_type,
                               .body = s->effect.bytes,
                               .size = strlen(s->effect.bytes)};
    s->op = registry_manifest_put(s->registry, &put, on_index, s);
}

/* ---- one tag ---- */

static void on_waited(uv_timer_t *timer)
{
    struct step *s = timer->data;
    fail_away(s, &s->err);
}

/* The PUT may still land: nothing else is written to the tag until its time limit is over. */
static void wait_out(struct step *s, const struct err *err)
{
    s->err = *err;
    uv_timer_start(&s->timer, on_waited, UNKNOWN_OUTCOME_MS, 0);
}

static void on_tag_put(void *arg, struct registry_result *result, const struct err *err)
{
    struct step *s = arg;
    (void)result;
    if (!err)
        succeed(s);
    else if (err->code == -ETIMEDOUT || err->code == -ECONNRESET)
        wait_out(s, err);
    else
        fail_away(s, err);
}

static void put_tag(struct step *s, const char *media_type, const char *bytes, size_t n)
{
    struct registry_put put = {.repository = s->path,
                               .reference = s->effect.tags.items[0].tag,
                               .media_type = media_type,
                               .body = bytes,
                               .size = n,
                               .once = true};
    s->op = registry_manifest_put(s->registry, &put, on_tag_put, s);
}

static void on_child_bytes(void *arg, struct registry_result *result, const struct err *err)
{
    struct step *s = arg;
    if (err)
        fail_away(s, err);
    else
        put_tag(s, result->media_type, strbuf_str(&result->body), result->body.n);
}

static void on_tag_head(void *arg, struct registry_result *result, const struct err *err)
{
    struct step *s = arg;
    const struct effect_tag *tag = &s->effect.tags.items[0];
    if (err && err->code != -ENOENT) {
        fail_away(s, err);
        return;
    }
    if (!err && str_eq(result->digest, tag->digest)) {
        succeed(s);
        return;
    }
    if (!err && !s->effect.adopt && !strvec_has(&s->effect.known, result->digest)) {
        cleanup_free char *text = xasprintf("tag %s names %.19s, which this farm did not publish",
                                            tag->tag, result->digest);
        fail(s, PUBLISH_FOREIGN, text);
        return;
    }
    if (tag->index)
        put_tag(s, s->effect.media_type, s->effect.bytes, strlen(s->effect.bytes));
    else
        s->op = registry_manifest_get(s->registry, s->path, tag->digest, on_child_bytes, s);
}

/* ---- reading back ---- */

static void verify_next(struct step *s);

static void on_verify(void *arg, struct registry_result *result, const struct err *err)
{
    struct step *s = arg;
    const struct effect_tag *tag = &s->effect.tags.items[s->i];
    if (err) {
        fail_away(s, err);
        return;
    }
    if (!str_eq(result->digest, tag->digest)) {
        cleanup_free char *text = xasprintf("tag %s was read back as %.19s, not as %.19s", tag->tag,
                                            result->digest, tag->digest);
        fail(s, PUBLISH_AWAY, text);
        return;
    }
    s->i++;
    verify_next(s);
}

static void verify_next(struct step *s)
{
    if (s->i == s->effect.tags.n)
        succeed(s);
    else
        s->op = registry_manifest_head(s->registry, s->path, s->effect.tags.items[s->i].tag,
                                       on_verify, s);
}

/* ---- beginning ---- */

static void begin(struct step *s)
{
    switch (s->effect.step) {
    case PUBLISH_CHILDREN:
        next_child(s);
        return;
    case PUBLISH_INDEX:
        put_index(s);
        return;
    case PUBLISH_TAG:
        s->op = registry_manifest_head(s->registry, s->path, s->effect.tags.items[0].tag,
                                       on_tag_head, s);
        return;
    case PUBLISH_VERIFY:
        verify_next(s);
    }
}

void publish_start(struct publisher *p, struct effect *effect)
{
    struct step *s = xnew(struct step);
    s->p = p;
    s->effect = *effect;
    *effect = (struct effect){0};
    uv_timer_init(p->loop, &s->timer);
    s->timer.data = s;
    s->next = p->steps;
    if (s->next)
        s->next->prev = s;
    p->steps = s;
    s->registry = registries_of(p->registries, s->effect.repository, &s->path);
    begin(s);
}

void publisher_free(struct publisher *p)
{
    if (!p)
        return;
    p->closing = true;
    if (!p->steps) {
        free(p);
        return;
    }
    for (struct step *s = p->steps, *next; s; s = next) {
        next = s->next;
        if (uv_is_active((uv_handle_t *)&s->timer))
            drop(s); /* may free p, with the last one */
        else
            registry_op_cancel(s->op);
    }
}
