/* What a path below /v2/ and an Authorization header say. Pure. */
#pragma once

#include <stdbool.h>

enum gateway_kind {
    GATEWAY_ROOT,     /* /v2/ */
    GATEWAY_MANIFEST, /* <repository>/manifests/<reference> */
    GATEWAY_BLOB,     /* <repository>/blobs/<digest> */
    GATEWAY_UPLOADS,  /* <repository>/blobs/uploads/ */
    GATEWAY_UPLOAD,   /* <repository>/blobs/uploads/<session> */
    GATEWAY_OTHER,    /* tags, referrers, catalogue, nonsense */
};

struct gateway_target {
    enum gateway_kind kind;
    char *repository; /* full name, host included; NULL for ROOT and OTHER */
    char *reference;  /* tag or digest, or session; NULL otherwise */
};

/* Reads the decoded path below /v2/ ("" for /v2/ itself). */
struct gateway_target gateway_target_parse(const char *path);
/* Frees it; leaves it empty. */
void gateway_target_done(struct gateway_target *t);

/* Reads "Basic base64(lease:secret)", "Bearer lease:secret" or "Bearer secret" (then *ret_lease is
 * NULL); the caller owns both. False for anything else, NULL included. */
bool gateway_credentials(const char *authorization, char **ret_lease, char **ret_secret);
