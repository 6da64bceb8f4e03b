#include "daemon/logs.h"

#include "tests/lib/test.h"

#include <errno.h>
#include <ftw.h>
#include <sys/stat.h>

/* Bytes at offsets, and what is said to have arrived. */

#define LIMIT 100

static uv_loop_t loop;
static struct logs *logs;
static char folder[64];
static char text[300];

struct answer {
    bool there;
    int64_t received, durable;
    int code;
};

static void note(void *data, int64_t received, int64_t durable, const struct err *err)
{
    *(struct answer *)data = (struct answer){true, received, durable, err ? err->code : 0};
}

static struct answer wait_for(struct answer *a)
{
    while (!a->there)
        uv_run(&loop, UV_RUN_ONCE);
    return *a;
}

static struct answer append(int64_t offset, size_t n)
{
    struct answer a = {0};
    logs_append(logs, "L1", offset, text, n, note, &a);
    return wait_for(&a);
}

static struct answer sync_log(void)
{
    struct answer a = {0};
    logs_sync(logs, "L1", note, &a);
    return wait_for(&a);
}

static int64_t size_on_disk(void)
{
    cleanup_free char *path = xasprintf("%s/L1.log", folder);
    struct stat st;
    return stat(path, &st) == 0 ? st.st_size : -1;
}

static int setup(void **state)
{
    uv_loop_init(&loop);
    memset(text, 'x', sizeof(text));
    strcpy(folder, "/tmp/test-logs.XXXXXX");
    assert_non_null(mkdtemp(folder));
    return logs_new(&loop, folder, LIMIT, &logs, NULL);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    return remove(path);
}

static int teardown(void **state)
{
    logs_free(logs);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void test_in_order(void **state)
{
    assert_int_equal(append(0, 10).received, 10);
    assert_int_equal(append(10, 5).received, 15);
    assert_int_equal(append(0, 10).code, -EILSEQ);
    struct answer a = append(20, 5);
    assert_int_equal(a.code, -EILSEQ);
    assert_int_equal(a.received, 15);
    a = sync_log();
    assert_int_equal(a.received, 15);
    assert_int_equal(a.durable, 15);
    assert_int_equal(size_on_disk(), 15);
}

/* Who sends must get on, or its job would never end. */
static void test_beyond_the_limit(void **state)
{
    assert_int_equal(append(0, 90).received, 90);
    assert_int_equal(append(90, 30).received, 120);
    assert_int_equal(append(120, 200).received, 320);
    assert_int_equal(append(320, 0).received, 320);
    assert_int_equal(sync_log().received, LIMIT);
    assert_int_equal(size_on_disk(), LIMIT);
}

/* After a restart nobody knows how much was dropped: the sender asks from where it likes. */
static void test_beyond_the_limit_again(void **state)
{
    append(0, 150);
    logs_free(logs);
    assert_int_equal(logs_new(&loop, folder, LIMIT, &logs, NULL), 0);
    struct answer a = append(0, 10);
    assert_int_equal(a.code, -EILSEQ);
    assert_int_equal(a.received, LIMIT);
    assert_int_equal(append(LIMIT, 50).received, 150);
    assert_int_equal(append(150, 50).received, 200);
}

static void test_a_gap_is_none_beyond_the_limit_either(void **state)
{
    append(0, 10);
    struct answer a = append(LIMIT + 5, 10);
    assert_int_equal(a.code, -EILSEQ);
    assert_int_equal(a.received, 10);
    assert_int_equal(append(INT64_C(1) << 50, 10).code, -EILSEQ);
}

#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        T(test_in_order),
        T(test_beyond_the_limit),
        T(test_beyond_the_limit_again),
        T(test_a_gap_is_none_beyond_the_limit_either),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
