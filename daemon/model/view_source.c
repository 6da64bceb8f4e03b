/* What people see of sources, and of what was seen of their refs; docs/api.md says what each member means. */
#include "common/json.h"
#include "daemon/model/objects.h"
#include "daemon/model/plan.h"
#include "daemon/model/view.h"

json_t *view_sighting(const struct model *m, const struct ref *r)
{
    int64_t look;
    cleanup_free char *text = r ? source_ref_awaits(m, r, &look) : NULL;
    if (!text)
        return json_null();
    return json_pack("{s:o,s:I,s:o}", "commit", view_text(r->pending_commit), "look",
                     (json_int_t)look, "text", json_text(text));
}

/* Appends the refs of which something was seen that does not count yet. */
static void add_refs(const struct model *m, const struct source *s, json_t *list)
{
    for (const struct ref *r = s ? s->refs : NULL; r; r = r->hh.next) {
        json_t *seen = view_sighting(m, r);
        /* Few have such a text; whether a ref is listed asks all images. */
        if (json_is_null(seen) || !source_ref_is_listed(m, r)) {
            json_decref(seen);
            continue;
        }
        json_object_set_new(seen, "ref", json_string(r->name));
        json_object_set_new(seen, "image", json_null());
        json_array_append_new(list, seen);
    }
}

/* Appends the images of which no ref was seen yet. */
static void add_images(const struct model *m, const struct farm_source *fs, const struct source *s,
                       json_t *list)
{
    VEC_FOREACH (&m->farm->images, i) {
        cleanup_free char *text = str_eq(i->source, fs->url) ? track_image_awaits(m, i) : NULL;
        if (!text)
            continue;
        cleanup_free char *named = xconcat(i->name, ": ", text, NULL);
        json_array_append_new(
            list, json_pack("{s:s,s:s,s:n,s:I,s:o}", "ref", i->ref, "image", i->name, "commit",
                            "look", (json_int_t)(s ? s->sighting : 0), "text", json_text(named)));
    }
}

static json_t *source(const struct model *m, const struct farm_source *fs)
{
    struct source *s = NULL;
    HASH_FIND_STR(m->sources, fs->url, s);
    json_t *images = json_array();
    VEC_FOREACH (&m->farm->images, i)
        if (str_eq(i->source, fs->url))
            json_array_append_new(images, json_string(i->name));
    int refs = 0;
    for (const struct ref *r = s ? s->refs : NULL; r; r = r->hh.next)
        refs += !r->deleted;
    json_t *awaits = json_array();
    add_refs(m, s, awaits);
    add_images(m, fs, s, awaits);
    const char *state = !s || !s->polled_at ? "new" : s->error ? "failing" : "ok";
    return json_pack("{s:s,s:s,s:o,s:o,s:i,s:I,s:o,s:I,s:o,s:n,s:I}", "url", fs->url, "state",
                     state, "error", view_text(s ? s->error : NULL), "images", images, "refs", refs,
                     "look", (json_int_t)(s ? s->sighting : 0), "awaits", awaits, "poll_ms",
                     (json_int_t)fs->poll_ms, "polled_at", view_time(s ? s->polled_at : 0),
                     "next_at", "failures", (json_int_t)(s ? s->failures : 0));
}

json_t *view_sources(struct model *m)
{
    json_t *list = json_array();
    VEC_FOREACH (&m->farm->sources, s)
        json_array_append_new(list, source(m, s));
    return json_pack("{s:o}", "sources", list);
}
