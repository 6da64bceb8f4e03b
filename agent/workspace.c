#include "agent/workspace.h"

#include "agent/sandbox.h"
#include "agent/tree_remove.h"
#include "common/log.h"
#include "common/mem.h"

#include <errno.h>
#include <sys/stat.h>

int workspace_open(struct workspace *w, const char *dir, struct err *err)
{
    *w = (struct workspace){.dir = xstrdup(dir), .work = xasprintf("%s/work", dir)};
    tree_unmount(w->work);
    int r = tree_remove(w->work, err);
    if (r < 0)
        return r;
    if (mkdir(w->work, 0700) != 0)
        return err_errno(err, -errno, "making %s", w->work);
    return 0;
}

void workspace_close(struct workspace *w)
{
    struct err err = ERR_INIT;
    if (w->work) {
        tree_unmount(w->work);
        if (tree_remove(w->work, &err) < 0)
            log_error("%s", err.text);
    }
    free(w->dir);
    free(w->work);
    *w = (struct workspace){0};
}

char *workspace_path(const struct workspace *w, const char *name)
{
    return xasprintf("%s/%s", w->work, name);
}

char *workspace_scratch(struct workspace *w)
{
    return xasprintf("%s/sandbox-%u", w->work, w->scratches++);
}

int workspace_folder(const struct workspace *w, const char *name, unsigned mode, char **ret_path,
                     struct err *err)
{
    cleanup_free char *path = workspace_path(w, name);
    uint32_t owner = sandbox_id_shift();
    if (mkdir(path, 0700) != 0 || chown(path, owner, owner) != 0 || chmod(path, mode) != 0)
        return err_errno(err, -errno, "making %s", path);
    *ret_path = steal_ptr(path);
    return 0;
}
