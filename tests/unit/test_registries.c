#include "daemon/registries.h"

#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>

/* What a reload leaves of the clients that there are: what is under way with them must go on. */

static uv_loop_t loop;
static struct http_client *client;
static struct registries *registries;
static struct farm_registry entries[2];
static struct farm farm;
static char password_file[] = "/tmp/test-registries.XXXXXX";

static void write_password(const char *password)
{
    FILE *f = fopen(password_file, "we");
    assert_non_null(f);
    fprintf(f, "%s\n", password);
    fclose(f);
}

static int setup(void **state)
{
    uv_loop_init(&loop);
    client = http_client_new(&loop);
    registries = registries_new(client);
    int fd = mkostemp(strcpy(password_file, "/tmp/test-registries.XXXXXX"), O_CLOEXEC);
    assert_true(fd >= 0);
    close(fd);
    write_password("one");
    entries[0] = (struct farm_registry){
        .host = (char *)"r.example.org", .username = (char *)"u", .password_file = password_file};
    entries[1] = (struct farm_registry){.host = (char *)"s.example.org"};
    farm = (struct farm){.registry_timeout_ms = 1000};
    farm.registries.items = entries;
    farm.registries.n = 2;
    assert_int_equal(registries_configure(registries, &farm, NULL), 0);
    return 0;
}

static int teardown(void **state)
{
    registries_free(registries);
    http_client_free(client);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    unlink(password_file);
    return 0;
}

static void test_what_is_as_before_stays(void **state)
{
    struct registry *r = registries_get(registries, "r.example.org");
    struct registry *s = registries_get(registries, "s.example.org");
    struct registry *other = registries_get(registries, "elsewhere.example.org");
    assert_int_equal(registries_configure(registries, &farm, NULL), 0);
    assert_ptr_equal(registries_get(registries, "r.example.org"), r);
    assert_ptr_equal(registries_get(registries, "s.example.org"), s);
    assert_ptr_equal(registries_get(registries, "elsewhere.example.org"), other);
}

/* Cancelled means that its end comes from the loop; the others' ends do not. */
static void note_end(void *arg, struct registry_result *result, const struct err *err)
{
    *(int *)arg = err ? err->code : 0;
}

static void test_what_has_changed_is_made_anew(void **state)
{
    int r_end = 1, s_end = 1;
    registry_ping(registries_get(registries, "r.example.org"), note_end, &r_end);
    struct registry_op *s =
        registry_ping(registries_get(registries, "s.example.org"), note_end, &s_end);
    write_password("two");
    assert_int_equal(registries_configure(registries, &farm, NULL), 0);
    while (r_end == 1)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(r_end, -ECANCELED);
    assert_int_equal(s_end, 1);
    registry_op_cancel(s);
    while (s_end == 1)
        uv_run(&loop, UV_RUN_ONCE);
}

static void test_a_bad_file_changes_nothing(void **state)
{
    struct registry *r = registries_get(registries, "r.example.org");
    struct err err = ERR_INIT;
    farm.registry_timeout_ms = 2000;
    unlink(password_file);
    assert_int_equal(registries_configure(registries, &farm, &err), -ENOENT);
    assert_non_null(strstr(err.text, password_file));
    assert_ptr_equal(registries_get(registries, "r.example.org"), r);
}

#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        T(test_what_is_as_before_stays),
        T(test_what_has_changed_is_made_anew),
        T(test_a_bad_file_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
