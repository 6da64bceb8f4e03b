/* The content digest: what a layer holds, whatever its times, order and packing. */
#include "agent/layer_index.h"

#include <string.h>
#include <sys/stat.h>

static void add_u32(struct digest *h, uint32_t v)
{
    unsigned char b[4] = {(unsigned char)(v >> 24), (unsigned char)(v >> 16),
                          (unsigned char)(v >> 8), (unsigned char)v};
    digest_update(h, b, sizeof(b));
}

static void add_bytes(struct digest *h, const void *p, size_t n)
{
    add_u32(h, (uint32_t)n);
    if (n)
        digest_update(h, p, n);
}

static void add_string(struct digest *h, const char *s)
{
    add_bytes(h, s, s ? strlen(s) : 0);
}

void layer_content_begin(struct digest *h)
{
    static const char version[] = "sheaf layer content 1\n";
    digest_update(h, version, sizeof(version) - 1);
}

void layer_content_add(struct digest *h, const struct layer_entry *e, const char *data_digest)
{
    add_string(h, e->path);
    if (e->hard) {
        add_u32(h, 0);
        add_string(h, e->link);
        return;
    }
    bool device = S_ISCHR(e->mode) || S_ISBLK(e->mode);
    add_u32(h, e->mode);
    add_u32(h, e->uid);
    add_u32(h, e->gid);
    add_u32(h, device ? e->major : 0);
    add_u32(h, device ? e->minor : 0);
    add_string(h, S_ISLNK(e->mode) ? e->link : NULL);
    add_u32(h, (uint32_t)e->n_xattrs);
    for (size_t i = 0; i < e->n_xattrs; i++) {
        add_string(h, e->xattrs[i].name);
        add_bytes(h, e->xattrs[i].value, e->xattrs[i].size);
    }
    if (S_ISREG(e->mode))
        add_string(h, data_digest);
}
