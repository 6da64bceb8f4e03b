#include "agent/xattr_shift.h"

#include <string.h>

/* <linux/capability.h> has the same numbers, but a struct only for the host's byte order. */
#define REVISION_2         2
#define REVISION_3         3
#define REVISION_BYTE      3 /* the highest of the little-endian first word */
#define CAPABILITY_V2_SIZE 20

static uint32_t get_le32(const unsigned char *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

bool capability_shift(const unsigned char *value, size_t size, uint32_t shift,
                      unsigned char ret[CAPABILITY_V3_SIZE])
{
    if (!shift || size != CAPABILITY_V2_SIZE || value[REVISION_BYTE] != REVISION_2)
        return false;
    memcpy(ret, value, CAPABILITY_V2_SIZE);
    ret[REVISION_BYTE] = REVISION_3;
    for (int i = 0; i < 4; i++)
        ret[CAPABILITY_V2_SIZE + i] = (unsigned char)(shift >> (8 * i));
    return true;
}

size_t capability_unshift(unsigned char *value, size_t size, uint32_t shift)
{
    if (size != CAPABILITY_V3_SIZE || value[REVISION_BYTE] != REVISION_3 ||
        get_le32(value + CAPABILITY_V2_SIZE) != shift)
        return size;
    value[REVISION_BYTE] = REVISION_2;
    return CAPABILITY_V2_SIZE;
}
