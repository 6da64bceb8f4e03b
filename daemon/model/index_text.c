/* The bytes of an index. It is serialised once; what is stored is what is pushed, now and for every later tag. */
#include "common/oci.h"
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"

#include <errno.h>
#include <time.h>

char *publication_children_text(const childvec *children)
{
    json_t *list = json_array();
    VEC_FOREACH (children, c) {
        json_t *item =
            json_pack("{s:s,s:s,s:I,s:s,s:s,s:s,s:s}", "platform", platform_info(c->platform)->name,
                      "digest", c->digest, "size", (json_int_t)c->size, "media_type", c->media_type,
                      "content", c->content, "key", c->key, "packing", c->packing);
        if (c->lost)
            json_object_set_new(item, "lost", json_true());
        json_array_append_new(list, item);
    }
    char *text = json_canonical(list);
    json_decref(list);
    return text;
}

int publication_decode(struct publication *p)
{
    cleanup_json json_t *list = json_loads(p->children, 0, NULL);
    size_t i;
    json_t *item;
    json_array_foreach (list, i, item) {
        const char *platform, *digest, *media_type, *content, *key, *packing;
        json_int_t size;
        int lost = 0;
        struct child c = {0};
        if (json_unpack(item, "{s:s,s:s,s:I,s:s,s:s,s:s,s:s,s?b}", "platform", &platform, "digest",
                        &digest, "size", &size, "media_type", &media_type, "content", &content,
                        "key", &key, "packing", &packing, "lost", &lost) < 0 ||
            platform_parse(platform, &c.platform, NULL) < 0)
            return -EINVAL;
        c.digest = xstrdup(digest);
        c.media_type = xstrdup(media_type);
        c.content = xstrdup(content);
        c.key = xstrdup(key);
        c.packing = xstrdup(packing);
        c.size = size;
        c.lost = lost;
        vec_push(&p->child, c);
    }
    return 0;
}

static void annotate(json_t *to, const char *name, const char *value)
{
    if (!value || !*value)
        return;
    cleanup_free char *key = xasprintf("org.opencontainers.image.%s", name);
    json_object_set_new(to, key, json_string(value));
}

/* base.name and base.digest are of the last stage's immediate FROM; the digest is that of the base's index. */
static void annotate_base(json_t *to, struct model *m, const struct track *t)
{
    for (int p = 0; p < PLATFORM_COUNT; p++) {
        const struct slot *s = t->slots[p];
        if (!s || s->state != SLOT_READY || !s->last_from)
            continue;
        VEC_FOREACH (&s->pins, pin) {
            if (!str_eq(pin->reference, s->last_from))
                continue;
            annotate(to, "base.name", pin->reference);
            if (pin->node && pin->node->current)
                annotate(to, "base.digest", pin->node->current->digest);
            else if (pin->base)
                annotate(to, "base.digest", model_base_digest(m, pin->reference));
            return;
        }
    }
}

/* RFC 3339 in UTC. */
static void format_time(int64_t wall_ms, char to[32])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(to, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static json_t *annotations(struct model *m, const struct track *t)
{
    char created[32];
    json_t *to = json_object();
    format_time(m->wall, created);
    annotate(to, "created", created);
    annotate(to, "revision", t->current->commit);
    annotate(to, "source", t->image->source);
    annotate(to, "version", t->version);
    annotate_base(to, m, t);
    return to;
}

void publication_serialise(struct model *m, struct track *t, struct publication *p)
{
    bool docker = p->child.n && oci_type_is_docker(p->child.items[0].media_type);
    struct oci_index index = {0};
    index.media_type = xstrdup(docker ? DOCKER_TYPE_LIST : OCI_TYPE_INDEX);
    VEC_FOREACH (&p->child, c) {
        struct oci_descriptor d = {.media_type = xstrdup(c->media_type), .size = c->size};
        snprintf(d.digest, sizeof(d.digest), "%s", c->digest);
        oci_descriptor_set_platform(&d, c->platform);
        vec_push(&index.manifests, d);
    }
    if (!docker)
        index.annotations = annotations(m, t);
    p->media_type = xstrdup(index.media_type);
    p->bytes = oci_index_dump(&index);
    char digest[DIGEST_SIZE];
    digest_of(p->bytes, strlen(p->bytes), digest);
    p->digest = xstrdup(digest);
    oci_index_done(&index);
}
