#include "agent/image_user.h"

#include "agent/inside.h"
#include "common/mem.h"

#include <errno.h>

static bool parse_id(const char *s, uint32_t *ret)
{
    char *end;
    unsigned long n = strtoul(s, &end, 10);
    if (!*s || *end || n > 65535)
        return false;
    *ret = (uint32_t)n;
    return true;
}

/* Finds the line of a passwd-like file whose first field is `name` or, if that is NULL, whose third is `id`;
 * its third and fourth fields are what is looked for. */
static bool find(const char *root, const char *path, const char *name, uint32_t id, uint32_t *third,
                 uint32_t *fourth)
{
    int fd = inside_open(root, path);
    cleanup_fclose FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
    char line[1024];
    while (f && fgets(line, sizeof(line), f)) {
        char found[256] = "";
        uint32_t a = 0, b = 0;
        if (sscanf(line, "%255[^:]:%*[^:]:%u:%u", found, &a, &b) < 2)
            continue;
        if (name ? str_eq(found, name) : a == id) {
            *third = a;
            if (fourth)
                *fourth = b;
            return true;
        }
    }
    return false;
}

int image_user(const char *root, const char *user, uint32_t *ret_uid, uint32_t *ret_gid,
               struct err *err)
{
    uint32_t uid = 0, gid = 0;
    cleanup_free char *name = xstrdup(user ? user : "");
    char *group = strchr(name, ':');
    if (group)
        *group++ = '\0';
    if (*name && parse_id(name, &uid)) {
        uint32_t same;
        find(root, "etc/passwd", NULL, uid, &same, &gid);
    } else if (*name && !find(root, "etc/passwd", name, 0, &uid, &gid)) {
        return err_set(err, -ENOENT, "the image has no user '%s'", name);
    }
    if (group && *group && !parse_id(group, &gid) && !find(root, "etc/group", group, 0, &gid, NULL))
        return err_set(err, -ENOENT, "the image has no group '%s'", group);
    *ret_uid = uid;
    *ret_gid = gid;
    return 0;
}
