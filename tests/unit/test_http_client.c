#include "common/http_client.h"

#include "common/clock.h"
#include "common/http_sync.h"
#include "tests/lib/test.h"
#include "tests/lib/tiny_http.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

/* ---- the server's side: what each path answers ---- */

static void answer_big(int socket, size_t n)
{
    char block[8192];
    memset(block, 'x', sizeof(block));
    tiny_answer(socket, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", n);
    for (size_t done = 0; done < n; done += sizeof(block))
        tiny_answer(socket, "%.*s", (int)(n - done < sizeof(block) ? n - done : sizeof(block)),
                    block);
}

/* An error whose text does not end before the client has had enough. */
static void answer_without_end(int socket)
{
    char block[8192];
    memset(block, 'x', sizeof(block));
    tiny_answer(socket, "HTTP/1.1 503 Busy\r\nConnection: close\r\n\r\n");
    while (send(socket, block, sizeof(block), MSG_NOSIGNAL) > 0)
        ;
}

static int handle(void *arg, int socket, const char *header, const char *body, size_t n)
{
    if (strstr(header, " /hello "))
        tiny_answer(socket,
                    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-One:  a \r\nx-ONE: b\r\n\r\nhello");
    else if (strstr(header, " /echo "))
        tiny_answer(socket, "HTTP/1.1 201 Created\r\nContent-Length: %zu\r\n\r\n%.*s", n, (int)n,
                    body);
    else if (strstr(header, " /header "))
        tiny_answer(socket, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(header),
                    header);
    else if (strstr(header, " /size "))
        tiny_answer(socket, "HTTP/1.1 200 OK\r\nX-Size: %zu\r\nContent-Length: 0\r\n\r\n", n);
    else if (strstr(header, " /continue "))
        tiny_answer(socket,
                    "HTTP/1.1 100 Continue\r\nX-A: 1\r\n\r\nHTTP/1.1 204 No\r\nX-B: 2\r\n\r\n");
    else if (strstr(header, " /redirect "))
        tiny_answer(socket,
                    "HTTP/1.1 307 There\r\nLocation: /hello\r\nContent-Length: 4\r\n\r\nmove");
    else if (strstr(header, " /loop "))
        tiny_answer(socket, "HTTP/1.1 302 There\r\nLocation: /loop\r\nContent-Length: 0\r\n\r\n");
    else if (strstr(header, " /short "))
        tiny_answer(socket, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello");
    else if (strstr(header, " /missing "))
        tiny_answer(socket, "HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno!");
    else if (strstr(header, " /big "))
        answer_big(socket, 3000000);
    else if (strstr(header, " /flood "))
        for (int i = 0; i < 40000; i++)
            tiny_answer(socket, i ? "X-Filler: 0123456789\r\n" : "HTTP/1.1 200 OK\r\n");
    else if (strstr(header, " /endless-error "))
        answer_without_end(socket);
    return !strstr(header, " /short ") && !strstr(header, " /flood ") &&
           !strstr(header, " /endless-error ");
}

/* /hang waits until the client or the server's end closes the socket. */
static int handle_hang(void *arg, int socket, const char *header, const char *body, size_t n)
{
    char c;
    if (!strstr(header, " /hang"))
        return handle(arg, socket, header, body, n);
    if (strstr(header, " /hang-in-body "))
        tiny_answer(socket, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello");
    return read(socket, &c, 1) > 0;
}

/* ---- fixtures ---- */

static struct tiny_http *server;
static struct http_sync *client;

static int setup(void **state)
{
    server = tiny_http_new(NULL, handle_hang, NULL);
    client = http_sync_new();
    return 0;
}

static int teardown(void **state)
{
    http_sync_free(client);
    tiny_http_free(server);
    return 0;
}

static const char *at(const char *path)
{
    static char url[128];
    snprintf(url, sizeof(url), "%s%s", tiny_http_url(server), path);
    return url;
}

static struct http_response ask(struct http_options o)
{
    struct http_response response = {0};
    struct err err = ERR_INIT;
    int code = http_sync_request(client, &o, &response, &err);
    if (code)
        fail_msg("%s", err.text);
    return response;
}

static struct err ask_in_vain(struct http_options o)
{
    struct http_response response = {0};
    struct err err = ERR_INIT;
    assert_int_not_equal(http_sync_request(client, &o, &response, &err), 0);
    return err;
}

/* ---- tests ---- */

static void test_get(void **state)
{
    cleanup_http_response struct http_response r = ask((struct http_options){.url = at("/hello")});
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body.s, "hello");
    assert_int_equal(r.received, 5);
    assert_string_equal(http_response_header(&r, "X-one"), "a");
    assert_string_equal(http_response_header_nth(&r, "X-one", 1), "b");
    assert_null(http_response_header(&r, "X-Two"));
    assert_string_equal(r.url, at("/hello"));
}

static void test_connection_is_used_again(void **state)
{
    for (int i = 0; i < 3; i++) {
        struct http_response r = ask((struct http_options){.url = at("/hello")});
        http_response_done(&r);
    }
    assert_int_equal(tiny_http_connections(server), 1);
}

static void test_request_header(void **state)
{
    const char *headers[] = {"Accept: a/b", "X-Y: z", NULL};
    cleanup_http_response struct http_response r = ask((struct http_options){
        .method = "POST", .url = at("/header"), .headers = headers, .authorization = "Bearer t"});
    assert_non_null(strstr(r.body.s, "POST /header HTTP/1.1\r\n"));
    assert_non_null(strstr(r.body.s, "\r\nAccept: a/b\r\n"));
    assert_non_null(strstr(r.body.s, "\r\nX-Y: z\r\n"));
    assert_non_null(strstr(r.body.s, "\r\nAuthorization: Bearer t\r\n"));
    assert_non_null(strstr(r.body.s, "\r\nContent-Length: 0\r\n"));
    assert_null(strstr(r.body.s, "Expect"));
}

static void test_header_injection_is_refused(void **state)
{
    const char *headers[] = {"X: a\r\nY: b", NULL};
    struct err e = ask_in_vain((struct http_options){.url = at("/hello"), .headers = headers});
    assert_int_equal(e.code, -EINVAL);
}

static void test_head(void **state)
{
    cleanup_http_response struct http_response r =
        ask((struct http_options){.method = "HEAD", .url = at("/missing")});
    assert_int_equal(r.status, 404);
    assert_int_equal(r.body.n, 0);
}

static void test_body_from_memory(void **state)
{
    cleanup_http_response struct http_response r = ask((struct http_options){
        .method = "PUT", .url = at("/echo"), .body = http_body_memory("payload", 7)});
    assert_int_equal(r.status, 201);
    assert_string_equal(r.body.s, "payload");
}

static void test_body_from_fd(void **state)
{
    FILE *f = tmpfile();
    fputs("0123456789", f);
    fflush(f);
    cleanup_http_response struct http_response r = ask((struct http_options){
        .method = "PATCH", .url = at("/echo"), .body = http_body_fd(fileno(f), 2, 5)});
    assert_string_equal(r.body.s, "23456");
    struct err e = ask_in_vain((struct http_options){
        .method = "PATCH", .url = at("/echo"), .body = http_body_fd(fileno(f), 2, 50)});
    assert_int_equal(e.code, -ENODATA);
    fclose(f);
}

static void test_sink_fd_gets_only_success(void **state)
{
    FILE *f = tmpfile();
    char buf[16] = "";
    cleanup_http_response struct http_response a =
        ask((struct http_options){.url = at("/missing"), .sink = http_sink_fd(fileno(f))});
    assert_string_equal(a.body.s, "no!");
    cleanup_http_response struct http_response b =
        ask((struct http_options){.url = at("/hello"), .sink = http_sink_fd(fileno(f))});
    assert_int_equal(b.body.n, 0);
    assert_int_equal(pread(fileno(f), buf, sizeof(buf), 0), 5);
    assert_string_equal(buf, "hello");
    fclose(f);
}

static void test_memory_limit(void **state)
{
    struct err e = ask_in_vain((struct http_options){.url = at("/big")});
    assert_int_equal(e.code, -EMSGSIZE);
    assert_false(e.retryable);
    cleanup_http_response struct http_response r =
        ask((struct http_options){.url = at("/big"), .sink = http_sink_memory(3000000)});
    assert_int_equal(r.body.n, 3000000);
}

/* The status counts, not how much is said about it. */
static void test_endless_error(void **state)
{
    cleanup_http_response struct http_response r =
        ask((struct http_options){.url = at("/endless-error")});
    assert_int_equal(r.status, 503);
    assert_in_range(r.body.n, 1024, 1024 * 1024);
}

static void test_header_limit(void **state)
{
    assert_int_equal(ask_in_vain((struct http_options){.url = at("/flood")}).code, -EMSGSIZE);
}

static void test_interim_answer_is_forgotten(void **state)
{
    cleanup_http_response struct http_response r =
        ask((struct http_options){.url = at("/continue")});
    assert_int_equal(r.status, 204);
    assert_null(http_response_header(&r, "X-A"));
    assert_string_equal(http_response_header(&r, "X-B"), "2");
}

static void test_redirects(void **state)
{
    cleanup_http_response struct http_response a =
        ask((struct http_options){.url = at("/redirect")});
    assert_int_equal(a.status, 307);
    assert_string_equal(a.body.s, "move");
    cleanup_http_response struct http_response b =
        ask((struct http_options){.url = at("/redirect"), .redirects = 2});
    assert_int_equal(b.status, 200);
    assert_string_equal(b.body.s, "hello");
    assert_string_equal(b.url, at("/hello"));
    struct err e = ask_in_vain((struct http_options){.url = at("/loop"), .redirects = 2});
    assert_int_equal(e.code, -ELOOP);
}

static void test_transport_errors(void **state)
{
    struct err e = ask_in_vain((struct http_options){.url = at("/short")});
    assert_int_equal(e.code, -ECONNRESET);
    assert_true(e.retryable);
    e = ask_in_vain((struct http_options){.url = "http://127.0.0.1:1/"});
    assert_int_equal(e.code, -ECONNREFUSED);
    assert_true(e.retryable);
    e = ask_in_vain((struct http_options){.url = "file:///etc/passwd"});
    assert_int_equal(e.code, -EINVAL);
    e = ask_in_vain((struct http_options){.url = "http://bad host/"});
    assert_int_equal(e.code, -EINVAL);
}

static void test_times(void **state)
{
    int64_t t = clock_mono_ms();
    struct err e = ask_in_vain((struct http_options){.url = at("/hang"), .total_ms = 100});
    assert_int_equal(e.code, -ETIMEDOUT);
    e = ask_in_vain((struct http_options){.url = at("/hang-in-body"), .stall_ms = 100});
    assert_int_equal(e.code, -ETIMEDOUT);
    assert_in_range(clock_mono_ms() - t, 200, 2000);
}

static void test_pin_needs_tls_and_text(void **state)
{
    assert_int_equal(ask_in_vain((struct http_options){.url = at("/hello"), .pin = "abc="}).code,
                     -EINVAL);
    assert_int_equal(
        ask_in_vain((struct http_options){.url = "https://127.0.0.1:1/", .pin = ""}).code, -EINVAL);
}

static void test_unix_socket(void **state)
{
    char folder[] = "/tmp/sheaf-test-XXXXXX";
    assert_non_null(mkdtemp(folder));
    cleanup_free char *path = xasprintf("%s/s", folder);
    cleanup_free char *url = xasprintf("http://unix:%s:/hello", path);
    struct tiny_http *u = tiny_http_new(path, handle, NULL);
    cleanup_http_response struct http_response r = ask((struct http_options){.url = url});
    assert_string_equal(r.body.s, "hello");
    cleanup_http_response struct http_response q =
        ask((struct http_options){.url = "http://x/hello", .unix_socket = path});
    assert_int_equal(q.status, 200);
    http_sync_free(client);
    client = http_sync_new();
    tiny_http_free(u);
    unlink(path);
    rmdir(folder);
}

/* ---- streaming with pauses, on a loop of the test's own ---- */

struct stream {
    struct http_request *request;
    uv_timer_t timer;
    size_t moved, total;
    int pauses, responses, dones;
    int pause_ms;
    bool ready, cancel_in_push;
    int status, code;
    char size[32];
};

static void on_tick(uv_timer_t *timer)
{
    struct stream *s = timer->data;
    s->ready = true;
    if (s->request)
        http_request_resume(s->request);
}

static void wait_a_little(struct stream *s)
{
    s->pauses++;
    uv_timer_start(&s->timer, on_tick, s->pause_ms ? s->pause_ms : 2, 0);
}

static int on_push(void *arg, const char *data, size_t n)
{
    struct stream *s = arg;
    if (s->cancel_in_push) {
        http_request_cancel(s->request);
        return 0;
    }
    assert_int_equal(s->responses, 1);
    if (!s->ready) {
        wait_a_little(s);
        return -EAGAIN;
    }
    s->ready = false;
    s->moved += n;
    return 0;
}

static ssize_t on_pull(void *arg, char *buf, size_t room)
{
    struct stream *s = arg;
    if (!s->ready) {
        wait_a_little(s);
        return -EAGAIN;
    }
    s->ready = false;
    size_t n = s->total - s->moved < room ? s->total - s->moved : room;
    memset(buf, 'y', n);
    s->moved += n;
    return (ssize_t)n;
}

static void on_response(void *arg, const struct http_response *response)
{
    struct stream *s = arg;
    s->responses++;
    s->status = response->status;
}

static void on_done(void *arg, struct http_response *response, const struct err *err)
{
    struct stream *s = arg;
    const char *size = http_response_header(response, "X-Size");
    snprintf(s->size, sizeof(s->size), "%s", size ? size : "");
    http_request_cancel(s->request); /* harmless here */
    s->request = NULL;
    s->code = err ? err->code : 0;
    s->dones++;
}

static void run_stream(struct stream *s, struct http_options o, bool free_at_once)
{
    uv_loop_t loop;
    uv_loop_init(&loop);
    uv_timer_init(&loop, &s->timer);
    s->timer.data = s;
    struct http_client *c = http_client_new(&loop);
    o.arg = s;
    o.on_response = on_response;
    o.done = on_done;
    s->request = http_request_start(c, &o);
    assert_int_equal(s->dones, 0);
    if (!free_at_once)
        uv_run(&loop, UV_RUN_DEFAULT);
    http_client_free(c);
    assert_int_equal(s->dones, free_at_once ? 0 : 1);
    uv_close((uv_handle_t *)&s->timer, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_int_equal(s->dones, 1);
}

static void test_push_pauses(void **state)
{
    struct stream s = {0};
    run_stream(&s, (struct http_options){.url = at("/big"), .sink = http_sink_push(on_push)},
               false);
    assert_int_equal(s.code, 0);
    assert_int_equal(s.moved, 3000000);
    assert_true(s.pauses > 5);
}

static void test_pull_pauses(void **state)
{
    for (int known = 0; known < 2; known++) {
        struct stream s = {.total = 3000000};
        run_stream(&s,
                   (struct http_options){.method = "PUT",
                                         .url = at("/size"),
                                         .body = http_body_pull(on_pull, known ? 3000000 : -1)},
                   false);
        assert_int_equal(s.code, 0);
        assert_string_equal(s.size, "3000000");
        assert_true(s.pauses > 5);
    }
}

static void test_pauses_do_not_stall(void **state)
{
    struct stream s = {.total = 1000, .pause_ms = 300};
    run_stream(&s,
               (struct http_options){.method = "PUT",
                                     .url = at("/size"),
                                     .stall_ms = 150,
                                     .body = http_body_pull(on_pull, 1000)},
               false);
    assert_int_equal(s.code, 0);
}

static void test_pull_too_short(void **state)
{
    struct stream s = {.total = 1000};
    run_stream(&s,
               (struct http_options){
                   .method = "PUT", .url = at("/size"), .body = http_body_pull(on_pull, 2000)},
               false);
    assert_int_equal(s.code, -ENODATA);
}

static void test_cancel_in_push(void **state)
{
    struct stream s = {.cancel_in_push = true};
    run_stream(&s, (struct http_options){.url = at("/big"), .sink = http_sink_push(on_push)},
               false);
    assert_int_equal(s.code, -ECANCELED);
}

static void test_free_cancels(void **state)
{
    struct stream s = {0};
    run_stream(&s, (struct http_options){.url = at("/hang")}, true);
    assert_int_equal(s.code, -ECANCELED);
    assert_int_equal(s.responses, 0);
}

static void on_alarm(int signal)
{
    http_sync_interrupt(client);
}

static void test_interrupt_from_a_signal(void **state)
{
    signal(SIGALRM, on_alarm);
    ualarm(50000, 0);
    struct err e = ask_in_vain((struct http_options){.url = at("/hang")});
    assert_int_equal(e.code, -ECANCELED);
    e = ask_in_vain((struct http_options){.url = at("/hello")});
    assert_int_equal(e.code, -ECANCELED);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_get),
        T(test_connection_is_used_again),
        T(test_request_header),
        T(test_header_injection_is_refused),
        T(test_head),
        T(test_body_from_memory),
        T(test_body_from_fd),
        T(test_sink_fd_gets_only_success),
        T(test_memory_limit),
        T(test_header_limit),
        T(test_interim_answer_is_forgotten),
        T(test_endless_error),
        T(test_redirects),
        T(test_transport_errors),
        T(test_times),
        T(test_pin_needs_tls_and_text),
        T(test_unix_socket),
        T(test_push_pauses),
        T(test_pull_pauses),
        T(test_pauses_do_not_stall),
        T(test_pull_too_short),
        T(test_cancel_in_push),
        T(test_free_cancels),
        T(test_interrupt_from_a_signal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
