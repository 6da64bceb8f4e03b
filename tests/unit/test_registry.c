/* What only shows on a loop that others use too: operations side by side, cancelled, left behind. The
 * registries' habits are in tests/registry. */
#include "common/registry.h"

#include "common/clock.h"
#include "common/http_sync.h"
#include "tests/lib/test.h"
#include "tests/lib/tiny_http.h"

#include <signal.h>
#include <stdatomic.h>

#define MANIFEST "{\"schemaVersion\":2,\"mediaType\":\"" OCI_TYPE_MANIFEST "\",\"layers\":[]}"

/* ---- the registry's side ---- */

static struct tiny_http *server;
static atomic_int tokens, manifests;

static void challenge(int socket)
{
    tiny_answer(socket,
                "HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer realm=\"%s/token\",service=\"s\"\r\n"
                "Content-Length: 0\r\n\r\n",
                tiny_http_url(server));
}

static void answer_token(int socket)
{
    char body[64];
    usleep(50000); /* so that all who want it wait for it */
    int n = snprintf(body, sizeof(body), "{\"token\":\"t%d\",\"expires_in\":300}", ++tokens);
    tiny_answer(socket, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", n, body);
}

static void answer_upload(int socket, const char *header, size_t n)
{
    if (strstr(header, "HEAD "))
        tiny_answer(socket, "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
    else
        tiny_answer(socket, "HTTP/1.1 202 OK\r\nX-Took: %zu\r\nContent-Length: 0\r\n\r\n", n);
}

static int handle(void *arg, int socket, const char *header, const char *body, size_t n)
{
    char c;
    if (strstr(header, "/hang/"))
        return read(socket, &c, 1) > 0;
    if (strstr(header, "/busy/"))
        tiny_answer(socket, "HTTP/1.1 503 No\r\nRetry-After: 20\r\nContent-Length: 0\r\n\r\n");
    else if (strstr(header, " /token"))
        answer_token(socket);
    else if (!strstr(header, "\r\nAuthorization: Bearer t"))
        challenge(socket);
    else if (strstr(header, "/blobs/"))
        answer_upload(socket, header, n);
    else if (++manifests)
        tiny_answer(socket,
                    "HTTP/1.1 200 OK\r\nContent-Type: " OCI_TYPE_MANIFEST
                    "\r\nContent-Length: %zu\r\n\r\n%s",
                    strlen(MANIFEST), MANIFEST);
    return 1;
}

/* ---- our side ---- */

static uv_loop_t loop;
static struct http_client *client;
static struct registry *registry;

struct outcome {
    int dones, code, responses, status;
    struct registry_op *op;
    struct registry_result result;
    size_t left;
};

static void on_done(void *arg, struct registry_result *result, const struct err *err)
{
    struct outcome *o = arg;
    o->dones++;
    o->code = err ? err->code : 0;
    if (o->op)
        registry_op_cancel(o->op); /* harmless here */
    registry_result_done(&o->result);
    o->result = *result;
    *result = (struct registry_result){0};
}

static int setup(void **state)
{
    tokens = manifests = 0;
    server = tiny_http_new(NULL, handle, NULL);
    uv_loop_init(&loop);
    client = http_client_new(&loop);
    registry = registry_new(client, &(struct registry_options){
                                        .host = "fake",
                                        .endpoint = tiny_http_url(server),
                                        .retry_ms = 10,
                                    });
    return 0;
}

static void close_all(void)
{
    registry_free(registry);
    http_client_free(client);
    uv_run(&loop, UV_RUN_DEFAULT);
    registry = NULL;
}

static int teardown(void **state)
{
    if (registry)
        close_all();
    tiny_http_free(server);
    return uv_loop_close(&loop);
}

static void test_a_token_is_shared(void **state)
{
    struct outcome o[20] = {0};
    for (size_t i = 0; i < 20; i++)
        o[i].op = registry_manifest_get(registry, "a/b", "1", on_done, &o[i]);
    for (size_t i = 0; i < 20; i++)
        assert_int_equal(o[i].dones, 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    for (size_t i = 0; i < 20; i++) {
        assert_int_equal(o[i].dones, 1);
        assert_int_equal(o[i].code, 0);
        assert_string_equal(o[i].result.body.s, MANIFEST);
        registry_result_done(&o[i].result);
    }
    assert_int_equal(tokens, 1);
    assert_int_equal(manifests, 20);
}

static void on_late(uv_timer_t *timer)
{
    struct outcome *o = timer->data;
    registry_op_cancel(o->op);
    registry_op_cancel(o->op);
    assert_int_equal(o->dones, 0);
}

/* Cancelled before anything was sent, while a token is fetched, while an answer is awaited. */
static void test_cancel(void **state)
{
    static const struct {
        const char *repository;
        int after_ms;
    } rows[] = {{"a/b", 0}, {"a/b", 25}, {"hang/b", 50}};
    for (size_t i = 0; i < 3; i++) {
        struct outcome o = {0};
        uv_timer_t timer;
        uv_timer_init(&loop, &timer);
        timer.data = &o;
        o.op = registry_manifest_get(registry, rows[i].repository, "1", on_done, &o);
        uv_timer_start(&timer, on_late, (uint64_t)rows[i].after_ms, 0);
        uv_run(&loop, UV_RUN_DEFAULT);
        uv_close((uv_handle_t *)&timer, NULL);
        uv_run(&loop, UV_RUN_DEFAULT);
        assert_int_equal(o.dones, 1);
        assert_int_equal(o.code, -ECANCELED);
    }
}

static void test_cancel_of_one_leaves_the_others(void **state)
{
    struct outcome a = {0}, b = {0};
    uv_timer_t timer;
    uv_timer_init(&loop, &timer);
    timer.data = &a;
    a.op = registry_manifest_get(registry, "a/b", "1", on_done, &a);
    b.op = registry_manifest_get(registry, "a/b", "1", on_done, &b);
    uv_timer_start(&timer, on_late, 25, 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(a.code, -ECANCELED);
    assert_int_equal(b.code, 0);
    registry_result_done(&b.result);
}

static void test_free_ends_operations(void **state)
{
    struct outcome a = {0}, b = {0};
    a.op = registry_manifest_get(registry, "hang/b", "1", on_done, &a);
    b.op = registry_blob_put(registry,
                             &(struct registry_upload){.repository = "a/b",
                                                       .digest = "sha256:x",
                                                       .body = http_body_memory("x", 1)},
                             on_done, &b);
    close_all();
    assert_int_equal(a.dones, 1);
    assert_int_equal(a.code, -ECANCELED);
    assert_int_equal(b.dones, 1);
}

/* ---- blocking ---- */

static struct http_sync *sync_http;

static void on_alarm(int signal)
{
    http_sync_interrupt(sync_http);
}

/* In the middle of a back-off of 20 seconds. */
static void test_wait_is_interrupted(void **state)
{
    struct err err = ERR_INIT;
    sync_http = http_sync_new();
    struct registry *r =
        registry_new(http_sync_client(sync_http),
                     &(struct registry_options){.host = "fake", .endpoint = tiny_http_url(server)});
    signal(SIGALRM, on_alarm);
    ualarm(100000, 0);
    int64_t t = clock_mono_ms();
    assert_int_equal(registry_wait(registry_manifest_get(r, "busy/b", "1", NULL, NULL), NULL, &err),
                     -ECANCELED);
    assert_in_range(clock_mono_ms() - t, 50, 5000);
    assert_int_equal(registry_wait(registry_ping(r, NULL, NULL), NULL, &err), -ECANCELED);
    registry_free(r);
    http_sync_free(sync_http);
}

/* ---- raw ---- */

static void on_raw_response(void *arg, const struct http_response *response)
{
    struct outcome *o = arg;
    o->responses++;
    o->status = response->status;
}

static void on_raw_done(void *arg, struct http_response *response, const struct err *err)
{
    struct outcome *o = arg;
    o->dones++;
    o->code = err ? err->code : 0;
    registry_op_cancel(o->op); /* harmless here */
    const char *took = http_response_header(response, "X-Took");
    o->left = took ? strtoul(took, NULL, 10) : 0;
}

static ssize_t on_pull(void *arg, char *buf, size_t room)
{
    struct outcome *o = arg;
    size_t n = o->left < room ? o->left : room;
    memset(buf, 'x', n);
    o->left -= n;
    return (ssize_t)n;
}

static void test_raw_hides_the_401(void **state)
{
    struct outcome o = {0};
    o.op = registry_raw(registry, &(struct registry_raw){.repository = "a/b",
                                                         .http = {.url = "/v2/a/b/manifests/1",
                                                                  .on_response = on_raw_response,
                                                                  .done = on_raw_done,
                                                                  .arg = &o}});
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(o.dones, 1);
    assert_int_equal(o.code, 0);
    assert_int_equal(o.responses, 1);
    assert_int_equal(o.status, 200);
}

static void test_raw_learns_before_it_pulls(void **state)
{
    struct outcome o = {.left = 1000000};
    o.op =
        registry_raw(registry, &(struct registry_raw){.repository = "a/b",
                                                      .push = true,
                                                      .http = {.method = "PATCH",
                                                               .url = "/v2/a/b/blobs/uploads/1",
                                                               .body = http_body_pull(on_pull, -1),
                                                               .on_response = on_raw_response,
                                                               .done = on_raw_done,
                                                               .arg = &o}});
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(o.dones, 1);
    assert_int_equal(o.status, 202);
    assert_int_equal(o.left, 1000000);
}

static void test_raw_cancelled(void **state)
{
    struct outcome o = {0};
    o.op = registry_raw(registry, &(struct registry_raw){.repository = "hang/b",
                                                         .http = {.url = "/v2/hang/b/manifests/1",
                                                                  .on_response = on_raw_response,
                                                                  .done = on_raw_done,
                                                                  .arg = &o}});
    close_all();
    assert_int_equal(o.dones, 1);
    assert_int_equal(o.code, -ECANCELED);
    assert_int_equal(o.responses, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_a_token_is_shared),
        T(test_cancel),
        T(test_cancel_of_one_leaves_the_others),
        T(test_free_ends_operations),
        T(test_wait_is_interrupted),
        T(test_raw_hides_the_401),
        T(test_raw_learns_before_it_pulls),
        T(test_raw_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
