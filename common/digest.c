#include "common/digest.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#define PREFIX "sha256:"
#define BYTES  32
#define BLOCK  (256 * 1024)

static void write_hex(const unsigned char raw[BYTES], char ret[DIGEST_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    char *p = ret + strlen(PREFIX);
    memcpy(ret, PREFIX, strlen(PREFIX));
    for (size_t i = 0; i < BYTES; i++) {
        *p++ = digits[raw[i] >> 4];
        *p++ = digits[raw[i] & 15];
    }
    *p = 0;
}

void digest_init(struct digest *d)
{
    gnutls_hash_hd_t hash = NULL;
    if (gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) < 0)
        abort();
    d->state = hash;
}

void digest_update(struct digest *d, const void *data, size_t n)
{
    if (n > 0 && gnutls_hash(d->state, data, n) < 0)
        abort();
}

void digest_final(struct digest *d, char ret[DIGEST_SIZE])
{
    unsigned char raw[BYTES];
    gnutls_hash_deinit(steal_ptr(d->state), raw);
    write_hex(raw, ret);
}

void digest_done(struct digest *d)
{
    if (d->state)
        gnutls_hash_deinit(steal_ptr(d->state), NULL);
}

void digest_of(const void *data, size_t n, char ret[DIGEST_SIZE])
{
    unsigned char raw[BYTES];
    if (gnutls_hash_fast(GNUTLS_DIG_SHA256, data, n, raw) < 0)
        abort();
    write_hex(raw, ret);
}

int digest_of_fd(int fd, char ret[DIGEST_SIZE], int64_t *ret_size, struct err *err)
{
    cleanup_digest struct digest d = {0};
    cleanup_free char *block = xcalloc(1, BLOCK);
    int64_t size = 0;
    digest_init(&d);
    for (;;) {
        ssize_t n = pread(fd, block, BLOCK, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(err, -errno, "cannot read what is to be hashed");
        if (n == 0)
            break;
        digest_update(&d, block, (size_t)n);
        size += n;
    }
    digest_final(&d, ret);
    if (ret_size)
        *ret_size = size;
    return 0;
}

bool digest_valid(const char *s)
{
    if (!s || !str_starts(s, PREFIX))
        return false;
    s += strlen(PREFIX);
    return strspn(s, "0123456789abcdef") == 2 * BYTES && s[2 * BYTES] == 0;
}
