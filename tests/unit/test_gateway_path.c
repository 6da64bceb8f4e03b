/* What the gateway reads out of paths and credentials. */
#include "tests/lib/test.h"

#include "common/mem.h"
#include "daemon/gateway_path.h"

static void check(const char *path, enum gateway_kind kind, const char *repository,
                  const char *reference)
{
    struct gateway_target t = gateway_target_parse(path);
    if (t.kind != kind || !str_eq(t.repository, repository) || !str_eq(t.reference, reference))
        fail_msg("%s: kind %d, %s, %s", path, (int)t.kind, t.repository, t.reference);
    gateway_target_done(&t);
}

static void test_targets(void **state)
{
    check("", GATEWAY_ROOT, NULL, NULL);
    check("r:5000/a/b/manifests/sha256:00", GATEWAY_MANIFEST, "r:5000/a/b", "sha256:00");
    check("r/a/blobs/sha256:00", GATEWAY_BLOB, "r/a", "sha256:00");
    check("r/a/blobs/uploads/", GATEWAY_UPLOADS, "r/a", NULL);
    check("r/a/blobs/uploads", GATEWAY_UPLOADS, "r/a", NULL);
    check("r/a/blobs/uploads/17", GATEWAY_UPLOAD, "r/a", "17");
    /* the words may be parts of names */
    check("r/manifests/blobs/manifests/latest", GATEWAY_MANIFEST, "r/manifests/blobs", "latest");
    check("r/a/blobs/uploads/manifests/latest", GATEWAY_MANIFEST, "r/a/blobs/uploads", "latest");
    check("r/a/tags/list", GATEWAY_OTHER, NULL, NULL);
    check("_catalog", GATEWAY_OTHER, NULL, NULL);
    check("r/a/referrers/sha256:00", GATEWAY_OTHER, NULL, NULL);
    check("/manifests/x", GATEWAY_OTHER, NULL, NULL);
    check("r/a/manifests/", GATEWAY_OTHER, NULL, NULL);
    check("r/a/manifests/x/y", GATEWAY_OTHER, NULL, NULL);
    check("r/a/blobs/uploads/17/x", GATEWAY_OTHER, NULL, NULL);
}

static void check_credentials(const char *header, bool good, const char *lease, const char *secret)
{
    cleanup_free char *got_lease = NULL, *got_secret = NULL;
    assert_int_equal(gateway_credentials(header, &got_lease, &got_secret), good);
    assert_true(str_eq(got_lease, lease));
    assert_true(str_eq(got_secret, secret));
}

static void test_credentials(void **state)
{
    check_credentials(NULL, false, NULL, NULL);
    check_credentials("Basic TDE6czpj", true, "L1", "s:c");        /* L1:s:c */
    check_credentials("basic TDE6c2VjcmV0", true, "L1", "secret"); /* L1:secret */
    check_credentials("Basic TDE6czM=", true, "L1", "s3");         /* L1:s3 */
    check_credentials("Basic TDE=", false, NULL, NULL);            /* L1 */
    check_credentials("Basic TDE6", false, NULL, NULL);            /* L1: */
    check_credentials("Basic TDE6AHM=", false, NULL, NULL);        /* L1:\0s */
    check_credentials("Basic !!!!", false, NULL, NULL);
    check_credentials("Bearer L1:secret", true, "L1", "secret");
    check_credentials("Bearer secret", true, NULL, "secret");
    check_credentials("Bearer ", false, NULL, NULL);
    check_credentials("Digest x", false, NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_targets),
                                       cmocka_unit_test(test_credentials)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
