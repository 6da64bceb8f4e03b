/* The text with every image replaced by a local one. */
#include "common/dockerfile_internal.h"

#include <errno.h>

int dockerfile_rewrite(const struct dockerfile *dockerfile, const struct dockerfile_plan *plan,
                       dockerfile_local_fn local, void *arg, char **ret_text, struct err *err)
{
    cleanup_strbuf struct strbuf out = {0};
    size_t done = 0;
    VEC_FOREACH (&plan->edits, edit) {
        const char *text = edit->text;
        if (edit->reference >= 0) {
            const struct dockerfile_reference *reference = &plan->references.items[edit->reference];
            text = local(reference, arg);
            if (!text)
                return err_set(err, -ENOENT, "line %d: no local image for %s", reference->line,
                               reference->name);
        }
        strbuf_addn(&out, dockerfile->text + done, edit->start - done);
        strbuf_add(&out, text);
        done = edit->end;
    }
    strbuf_addn(&out, dockerfile->text + done, dockerfile->n - done);
    *ret_text = strbuf_steal(&out);
    return 0;
}
