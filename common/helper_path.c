#include "common/helper_path.h"

#include "common/mem.h"
#include "sheaf-config.h"

#include <errno.h>
#include <limits.h>

int helper_path(const char *name, char **ret_path, struct err *err)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n > 0) {
        self[n] = '\0';
        char *slash = strrchr(self, '/');
        cleanup_free char *beside = xasprintf("%.*s/%s", (int)(slash - self), self, name);
        if (access(beside, X_OK) == 0) {
            *ret_path = steal_ptr(beside);
            return 0;
        }
    }
    cleanup_free char *installed = xasprintf("%s/%s", SHEAF_LIBEXECDIR, name);
    if (access(installed, X_OK) != 0)
        return err_set(err, -ENOENT, "helper %s is neither beside this program nor in %s", name,
                       SHEAF_LIBEXECDIR);
    *ret_path = steal_ptr(installed);
    return 0;
}
