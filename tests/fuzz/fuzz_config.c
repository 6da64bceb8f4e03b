/* Any text as farm.yaml: no crash; an error is one line with a place, and what is accepted is whole. */
#include "daemon/config.h"
#include "daemon/model/tagging.h"

#include <assert.h>
#include <jansson.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_farm(const struct farm *farm)
{
    assert(farm->registry && farm->registry_host);
    VEC_FOREACH (&farm->images, image) {
        assert(image->source && image->ref && image->repository && image->context);
        assert(image->platforms.n > 0 && image->tags.n > 0);
        assert(farm_source(farm, image->source));
        assert(farm_image(farm, image->name) == image);
    }
}

static void check_error(const struct err *err)
{
    assert(err->code < 0);
    assert(str_starts(err->text, "farm.yaml:") && !strchr(err->text, '\n'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    cleanup_farm struct farm *farm = NULL;
    struct err err = ERR_INIT;
    json_t *files = json_pack("[{ss ss%}]", "path", "farm.yaml", "text", (const char *)data, n);
    cleanup_free char *copy = files ? json_dumps(files, 0) : NULL;
    json_decref(files);
    if (!copy || memchr(data, 0, n))
        return 0;
    if (config_load_copy(copy, &farm, &err) == 0)
        check_farm(farm);
    else
        check_error(&err);
    return 0;
}
